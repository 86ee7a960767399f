"""Operators on complex numbers as operators on pairs of real tensors, one rule each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.export.trace import ExportError

aten = torch.ops.aten
REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


@dataclass(frozen=True)
class Pair:
    """z = re + i im."""

    re: Tensor
    im: Tensor


def split(tensor: Tensor) -> Pair:
    """Real and imaginary parts that lie in the last dimension, (..., 2)."""
    return Pair(*tensor.unbind(-1))  # which also says that there are two


def join(z: Pair) -> Tensor:
    """The two parts in a last dimension, (..., 2): the inverse of ``split``."""
    return torch.stack([z.re, z.im], dim=-1)


def _lift(value: Any) -> Pair:
    """A pair of a real tensor too."""
    return value if isinstance(value, Pair) else Pair(value, torch.zeros_like(value))


def _parts(number: Any) -> tuple[float, float]:
    return (number.real, number.imag) if isinstance(number, complex) else (number, 0.0)


def _real_dtype(kwargs: dict[str, Any]) -> dict[str, Any]:
    dtype = kwargs.get("dtype")
    return {**kwargs, "dtype": REAL[dtype]} if dtype in REAL else kwargs


# Operators that act on both parts alike: they are linear with real coefficients, or only move entries.
EACH = {
    *(
        aten.view,
        aten._unsafe_view,
        aten.reshape,
        aten.expand,
        aten.permute,
        aten.t,
        aten.transpose,
        aten.slice,
        aten.select,
        aten.squeeze,
        aten.unsqueeze,
    ),
    *(
        aten.clone,
        aten.alias,
        aten.detach,
        aten.lift_fresh_copy,
        aten.neg,
        aten.sum,
        aten.mean,
        aten.cumsum,
        aten.flip,
        aten.roll,
        aten.repeat,
        aten.diagonal,
    ),
    *(
        aten.gather,
        aten.index,
        aten.index_select,
        aten.tril,
        aten.triu,
        aten.unfold,
        aten.split_with_sizes,
        aten.split,
        aten.unbind,
        aten.as_strided,
    ),
    *(aten.resolve_conj, aten.resolve_neg, aten.empty_like, aten.new_empty, aten.empty),
}


def each(op: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation that acts on both parts alike: ``op`` of the real parts and of the imaginary ones."""
    kwargs = _real_dtype(kwargs)
    re, im = ([getattr(value, part) if isinstance(value, Pair) else value for value in args] for part in ("re", "im"))
    left, right = op(*re, **kwargs), op(*im, **kwargs)
    if isinstance(left, tuple | list):
        return [Pair(a, b) for a, b in zip(left, right, strict=True)]
    return Pair(left, right)


def _several(op: Any, tensors: list[Any], *args: Any, **kwargs: Any) -> Pair:
    lifted = [_lift(tensor) for tensor in tensors]
    return Pair(op([z.re for z in lifted], *args, **kwargs), op([z.im for z in lifted], *args, **kwargs))


def _add(op: Any, a: Any, b: Any, *, alpha: Any = 1) -> Pair:
    sign = -1 if getattr(op, "overloadpacket", op) is aten.sub else 1
    if not isinstance(a, Tensor | Pair):
        a, b, alpha, sign = _times(b, sign * alpha), a, 1, 1
    if not isinstance(b, Tensor | Pair):
        re, im = _parts(b)
        a = _lift(a)
        return Pair(a.re + sign * alpha * re, a.im + sign * alpha * im)
    a, b = _lift(a), _lift(b)
    return Pair(a.re + _scaled(b.re, sign * alpha), a.im + _scaled(b.im, sign * alpha))


def _scaled(x: Tensor, factor: Any) -> Tensor:
    return x if factor == 1 else -x if factor == -1 else factor * x


def _times(a: Any, b: Any) -> Pair:
    """a b, each a pair, a real tensor or a number."""
    if not isinstance(a, Pair) and (isinstance(b, Pair) or not isinstance(a, Tensor)):
        a, b = b, a
    a = _lift(a)
    if isinstance(b, complex):
        return Pair(_scaled(a.re, b.real) - _scaled(a.im, b.imag), _scaled(a.re, b.imag) + _scaled(a.im, b.real))
    if not isinstance(b, Pair):
        return Pair(a.re * b, a.im * b) if isinstance(b, Tensor) else Pair(_scaled(a.re, b), _scaled(a.im, b))
    return Pair(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def _square(z: Pair) -> Tensor:
    """|z|^2."""
    return z.re * z.re + z.im * z.im


def _abs(z: Pair) -> Tensor:
    return torch.sqrt(_square(z))


def _divide(op: Any, a: Any, b: Any) -> Pair:
    if isinstance(b, complex):
        return _times(a, 1 / b)
    if not isinstance(b, Pair):
        return Pair(a.re / b, a.im / b)
    size = _square(b)
    return _times(Pair(b.re / size, -b.im / size), a)


def _sign(z: Pair) -> Pair:
    size = _abs(z)
    size = torch.where(size == 0, torch.ones_like(size), size)
    return Pair(z.re / size, z.im / size)


def _power(op: Any, z: Any, exponent: Any) -> Pair:
    if not (isinstance(z, Pair) and isinstance(exponent, int | float) and exponent == int(exponent)):
        raise ExportError(
            f"a complex power with the exponent {exponent} cannot be written in real numbers here; whole numbers can"
        )
    result = Pair(torch.ones_like(z.re), torch.zeros_like(z.re))
    for _ in range(abs(int(exponent))):
        result = _times(result, z)
    return result if exponent >= 0 else _divide(None, Pair(torch.ones_like(z.re), torch.zeros_like(z.re)), result)


def _product(op: Any, a: Any, b: Any) -> Pair:
    """A product that is linear in both factors: matrices, batches of matrices."""
    if not isinstance(a, Pair):
        return Pair(op(a, b.re), op(a, b.im))
    if not isinstance(b, Pair):
        return Pair(op(a.re, b), op(a.im, b))
    return Pair(op(a.re, b.re) - op(a.im, b.im), op(a.re, b.im) + op(a.im, b.re))


def _product_and_sum(product: Callable[..., Tensor]) -> Callable[..., Pair]:
    def rule(op: Any, bias: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Pair:
        both = _product(product, a, b) if isinstance(a, Pair) or isinstance(b, Pair) else product(a, b)
        return _add(None, _times(bias, beta), _times(both, alpha))

    return rule


def _convolve(op: Any, x: Any, weight: Any, bias: Any, *args: Any) -> Pair:
    if isinstance(bias, Pair):
        channels = [1, -1, *[1] * (len(args[0]))]
        return _add(
            None, _product(lambda a, b: op(a, b, None, *args), x, weight), each(aten.view.default, bias, channels)
        )
    return (
        _product(lambda a, b: op(a, b, None, *args), x, weight)
        if bias is None
        else _convolve(op, x, weight, _lift(bias), *args)
    )


def _full(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Tensors of one number: ``full(size, value)``, ``full_like(z, value)``, ``scalar_tensor(value)``, ``zeros``,
    ``ones``.
    """
    if kwargs.get("dtype") is not None and not kwargs["dtype"].is_complex:
        return op(*[value.re if isinstance(value, Pair) else value for value in args], **kwargs)
    kwargs = _real_dtype(kwargs)
    first = [value.re if isinstance(value, Pair) else value for value in args]
    numbers = [k for k, value in enumerate(first) if isinstance(value, int | float | complex)]
    if not numbers:
        re = op(*first, **kwargs)
        return Pair(re, torch.zeros_like(re))
    values = _parts(first[numbers[-1]])
    both = [op(*[part if k == numbers[-1] else value for k, value in enumerate(first)], **kwargs) for part in values]
    return Pair(*both)


def _filled(op: Any, z: Any, *args: Any, **kwargs: Any) -> Pair:
    """``masked_fill(z, mask, value)``, ``constant_pad_nd(z, pad, value)``: the last argument is a number."""
    z = _lift(z)
    *rest, value = (*args, 0) if getattr(op, "overloadpacket", op) is aten.constant_pad_nd and len(args) == 1 else args
    re, im = _parts(value)
    return Pair(op(z.re, *rest, re, **kwargs), op(z.im, *rest, im, **kwargs))


def _scatter(op: Any, z: Any, dim: int, index: Tensor, source: Any) -> Pair:
    z = _lift(z)
    re, im = (
        (source.re, source.im)
        if isinstance(source, Pair)
        else (source, torch.zeros_like(source))
        if isinstance(source, Tensor)
        else _parts(source)
    )
    return Pair(op(z.re, dim, index, re), op(z.im, dim, index, im))


def _written(op: Any, z: Any, source: Any, *args: Any, **kwargs: Any) -> Pair:
    """``slice_scatter(z, source, ...)`` and its like."""
    z, source = _lift(z), _lift(source)
    return Pair(op(z.re, source.re, *args, **kwargs), op(z.im, source.im, *args, **kwargs))


def _put(op: Any, z: Any, indices: Any, values: Any, *args: Any) -> Pair:
    z, values = _lift(z), _lift(values)
    return Pair(op(z.re, indices, values.re, *args), op(z.im, indices, values.im, *args))


def _where(op: Any, condition: Tensor, a: Any, b: Any) -> Pair:
    a, b = _lift(a), _lift(b)
    return Pair(torch.where(condition, a.re, b.re), torch.where(condition, a.im, b.im))


def _copy(op: Any, z: Any, **kwargs: Any) -> Any:
    if kwargs.get("dtype") is not None and not kwargs["dtype"].is_complex:
        return op(z.re, **kwargs)  # as torch does: the imaginary part is dropped
    kwargs = _real_dtype(kwargs)
    return Pair(op(z.re, **kwargs), op(z.im, **kwargs)) if isinstance(z, Pair) else _lift(op(z, **kwargs))


def _fourier(op: Any, z: Any, *args: Any) -> Any:
    """Real transforms have no form of their own: the two parts are put together for the transform alone, which every
    runtime has.
    """
    transformed = op(torch.view_as_complex(join(z)) if isinstance(z, Pair) else z, *args)
    return split(torch.view_as_real(transformed)) if transformed.is_complex() else transformed


def _norm(op: Any, z: Pair, *args: Any, **kwargs: Any) -> Tensor:
    return op(_abs(z), *args, **_real_dtype(kwargs))


def _equal(op: Any, a: Any, b: Any) -> Tensor:
    a = _lift(a)
    re, im = (b.re, b.im) if isinstance(b, Pair) else (b, 0.0) if isinstance(b, Tensor) else _parts(b)
    return (a.re == re) & (a.im == im) if op.overloadpacket is aten.eq else (a.re != re) | (a.im != im)


def _embedded(matrix: Pair) -> Tensor:
    """[[Re, -Im], [Im, Re]]: real matrices of twice the size that add, multiply and invert like the complex ones."""
    return torch.cat([torch.cat([matrix.re, -matrix.im], -1), torch.cat([matrix.im, matrix.re], -1)], -2)


def _inverse(op: Any, matrix: Pair, **kwargs: Any) -> tuple[Pair, Tensor]:
    inverse, info = op(_embedded(matrix), **kwargs)
    n = matrix.re.shape[-1]
    return Pair(inverse[..., :n, :n], inverse[..., n:, :n]), info


def _solve(op: Any, matrix: Any, right: Any, **kwargs: Any) -> tuple[Any, ...]:
    if not kwargs.pop("left", True):
        raise ExportError(
            "solving X A = B for complex matrices cannot be written in real numbers here; solve A^T X^T = B^T"
        )
    matrix, right = _lift(matrix), _lift(right)
    vector = right.re.ndim == matrix.re.ndim - 1
    both = torch.cat([part.unsqueeze(-1) if vector else part for part in (right.re, right.im)], -2)
    solution, _, _, info = op(_embedded(matrix), both, **kwargs)
    re, im = solution.chunk(2, -2)
    return Pair(re.squeeze(-1), im.squeeze(-1)) if vector else Pair(re, im), None, None, info


# Operators that make complex numbers of real ones.
MAKERS = {aten.complex, aten.polar, aten.view_as_complex, aten._fft_r2c}

RULES: dict[Any, Callable[..., Any]] = {
    aten.add: _add,
    aten.sub: _add,
    aten.rsub: lambda op, a, b, alpha=1: (
        _add(None, _times(a, -alpha), b) if isinstance(a, Pair) else _add(aten.sub, b, a, alpha=alpha)
    ),
    aten.mul: lambda op, a, b: _times(a, b),
    aten.div: _divide,
    aten.reciprocal: lambda op, z: _power(None, z, -1),
    aten.pow: _power,
    aten.mm: _product,
    aten.bmm: _product,
    aten.matmul: _product,
    aten.addmm: _product_and_sum(torch.mm),
    aten.baddbmm: _product_and_sum(torch.bmm),
    aten.convolution: _convolve,
    aten.cat: _several,
    aten.stack: _several,
    aten.where: _where,
    aten.scatter: _scatter,
    aten.scatter_add: _scatter,
    aten.slice_scatter: _written,
    aten.select_scatter: _written,
    aten.copy: _written,
    aten.diagonal_scatter: _written,
    aten.index_put: _put,
    aten.masked_fill: _filled,
    aten.constant_pad_nd: _filled,
    aten.full: _full,
    aten.full_like: _full,
    aten.scalar_tensor: _full,
    aten.zeros: _full,
    aten.ones: _full,
    aten.zeros_like: _full,
    aten.new_zeros: _full,
    aten.new_full: _full,
    aten._to_copy: _copy,
    aten._conj: lambda op, z: Pair(z.re, -z.im),
    aten._conj_physical: lambda op, z: Pair(z.re, -z.im),
    aten.conj_physical: lambda op, z: Pair(z.re, -z.im),
    aten.abs: lambda op, z: _abs(z),
    aten.angle: lambda op, z: torch.atan2(z.im, z.re),
    aten.sgn: lambda op, z: _sign(z),
    aten.exp: lambda op, z: Pair(torch.exp(z.re) * torch.cos(z.im), torch.exp(z.re) * torch.sin(z.im)),
    aten.real: lambda op, z: z.re,
    aten.imag: lambda op, z: z.im,
    aten.view_as_real: lambda op, z: join(z),
    aten.view_as_complex: lambda op, x: split(x),
    aten.complex: lambda op, re, im: Pair(re, im),
    aten.polar: lambda op, size, angle: Pair(size * torch.cos(angle), size * torch.sin(angle)),
    aten._fft_c2c: _fourier,
    aten._fft_r2c: _fourier,
    aten._fft_c2r: _fourier,
    aten.linalg_vector_norm: _norm,
    aten.eq: _equal,
    aten.ne: _equal,
    aten.linalg_inv_ex: _inverse,
    aten._linalg_solve_ex: _solve,
    aten.sym_size: lambda op, z, *args: op(z.re, *args),
    aten.sym_numel: lambda op, z: op(z.re),
    aten._assert_tensor_metadata: lambda op, *args, **kwargs: None,
}
