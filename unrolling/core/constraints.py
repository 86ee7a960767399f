"""Constraints on parameters, as parametrizations for ``torch.nn.utils.parametrize``.

Each stores the value it was given and a free tensor whose start reproduces that value to the bit, so that an untrained
network is its parent. ``constrain(module, "threshold", Positive())`` is ``register_parametrization``; assigning
``module.threshold = v`` starts again at exactly v. The same object serves projected training, where the parameter
itself is moved and then put back: ``project(v)`` is the nearest point of the set.

The values of all layers of a network are worked out together (``core/constrained_layers.py``) where a constraint's
class says ``elementwise = True``: its ``forward`` works on each number for itself, and so on a stack. (Norms and means
may be added up in another order there, and would not give back the initial value to the bit.)

torch gives a parametrized module a class of its own, which no other process knows, and refuses to pickle it. Here it is
pickled as its class from before, the names of the parametrized parameters and its contents; whoever reads it makes the
class again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import register_parametrization

from unrolling.core.constrained_layers import ACTIVE, saving


def constrain(module: nn.Module, name: str, constraint: nn.Module) -> None:
    """Keep the parameter ``name`` of ``module`` inside a set, whatever an optimizer does.

    Raises:
        ValueError: the present value lies outside the set.
    """
    register_parametrization(module, name, constraint)
    read_quickly(type(module), name)
    allow_pickling(module)


def read_quickly(cls: type, name: str) -> None:
    """Puts another property into the place of torch's, which goes through several Python calls before the constraint's
    own operations; that shows on single samples. This one makes one.
    """
    setattr(cls, name, property(_reader(name), cls.__dict__[name].fset))


def _reader(name: str) -> Callable[[nn.Module], Tensor]:
    def read(module: nn.Module) -> Tensor:
        parts: Any = module._modules["parametrizations"]._modules[name]  # pyright: ignore[reportOptionalMemberAccess]
        if parametrize._cache_enabled:
            kept: Any = parametrize._cache
            key = (id(module), name)
            if key not in kept:
                kept[key] = parts()
            return kept[key]
        value = parts._parameters.get("original")
        if value is None:
            value = parts.original
        elif not is_compiling() and (active := ACTIVE.get()) is not None:
            entry = active[0].get(parts)
            # What is read inside of a checkpoint is worked out inside, because its backward pass does so too.
            if (
                entry is not None
                and entry[0] is value
                and entry[1] == value._version
                and (not torch.is_grad_enabled() or (entry[3] and active[1] == saving()))
            ):
                return entry[2]
        for rule in parts._modules.values():
            value = rule.forward(value)
        return value

    read.looks_at_active = True  # pyright: ignore[reportFunctionMemberAccess]
    return read


def allow_pickling(module: nn.Module) -> None:
    """Makes every parametrized part of a module one that can be pickled."""
    for part in module.modules():
        if parametrize.is_parametrized(part):
            cls: Any = type(part)
            cls.__reduce_ex__ = _reduce


def _reduce(module: nn.Module, protocol: int) -> tuple[Callable[..., nn.Module], tuple[Any, ...], dict[str, Any]]:
    cls = type(module)
    if "__getstate__" not in vars(cls):  # a subclass of the class that torch made
        raise TypeError(f"{cls.__name__} is a subclass of a parametrized class, which cannot be pickled")
    names: Any = module.parametrizations
    read = [(name, hasattr(vars(cls)[name].fget, "looks_at_active")) for name in names]
    original: Any = cls.__bases__[0]
    return _remake, (original, tuple(read)), dict(original.__getstate__(module))


def _remake(original: type[nn.Module], names: tuple[tuple[str, bool], ...]) -> nn.Module:
    """An empty module of the class that torch makes for parametrized parameters; pickle fills it."""
    module = original.__new__(original)
    nn.Module.__init__(module)
    parametrize._inject_new_class(module)
    for name, quick in names:
        parametrize._inject_property(module, name)
        if quick:
            read_quickly(type(module), name)
    cls: Any = type(module)
    cls.__reduce_ex__ = _reduce
    return module


class Positive(nn.Module):
    """v = v0 exp(rho), rho = 0 at the start. A zero stays zero. (softplus would not return v0 to the bit.)"""

    elementwise = True
    initial: Tensor

    def forward(self, rho: Tensor) -> Tensor:
        return self.initial * torch.exp(rho)

    def project(self, value: Tensor) -> Tensor:
        """max(v, 0)."""
        return value.clamp_min(0)

    def right_inverse(self, value: Tensor) -> Tensor:
        if not bool((value >= 0).all()):
            raise ValueError(f"Positive needs values that are at least 0; the smallest is {float(value.min()):.4g}")
        self.register_buffer("initial", value.detach().clone())
        return torch.zeros_like(value)


class UnitNorm(nn.Module):
    """w |w0| / |w|, of Euclidean norm one along ``dim``; w = w0 at the start.

    Args:
        dim: dimensions over which the norm is taken; 0 for the columns of a dictionary (m, n).
    """

    norm: Tensor

    def __init__(self, dim: int | tuple[int, ...] = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, w: Tensor) -> Tensor:
        return w * (self.norm / torch.linalg.vector_norm(w, dim=self.dim, keepdim=True))

    def project(self, value: Tensor) -> Tensor:
        """v / |v|; of a zero, which all points of the sphere are as near to, the one with equal entries."""
        norm = torch.linalg.vector_norm(value, dim=self.dim, keepdim=True)
        ones = torch.ones_like(value)
        return torch.where(norm == 0, ones / torch.linalg.vector_norm(ones, dim=self.dim, keepdim=True), value / norm)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def right_inverse(self, value: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(value.detach(), dim=self.dim, keepdim=True)
        if not bool(torch.isclose(norm, torch.ones_like(norm), atol=1e-4).all()):
            raise ValueError(
                f"UnitNorm needs unit norms along dim {self.dim}; they go from {float(norm.min()):.4g} to "
                f"{float(norm.max()):.4g}: normalise first"
            )
        self.register_buffer("norm", norm)
        return value.clone()


class ZeroMean(nn.Module):
    """w - (mean w - mean w0), of mean zero along ``dim``; w = w0 at the start.

    Args:
        dim: dimensions over which the mean is taken.
    """

    mean: Tensor

    def __init__(self, dim: int | tuple[int, ...]) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, w: Tensor) -> Tensor:
        return w - (w.mean(self.dim, keepdim=True) - self.mean)

    def project(self, value: Tensor) -> Tensor:
        """v - mean v."""
        return value - value.mean(self.dim, keepdim=True)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def right_inverse(self, value: Tensor) -> Tensor:
        mean = value.detach().mean(self.dim, keepdim=True)
        size = value.detach().abs().mean(self.dim, keepdim=True)
        if not bool((mean.abs() <= 1e-4 * size.clamp_min(torch.finfo(size.dtype).tiny)).all()):
            raise ValueError(
                f"ZeroMean needs means of zero along dim {self.dim}; the largest is "
                f"{float(mean.abs().max()):.4g}: subtract it first"
            )
        self.register_buffer("mean", mean)
        return value.clone()


class Simplex(nn.Module):
    """v = v0 exp(rho) / sum(v0 exp(rho)), non-negative with sum one along ``dim``; rho = 0 at the start. A zero stays
    zero.

    Args:
        dim: the dimensions that sum to one.
    """

    initial: Tensor
    total: Tensor

    def __init__(self, dim: int | tuple[int, ...] = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, rho: Tensor) -> Tensor:
        # Shifting rho changes nothing mathematically and keeps exp from overflowing; at rho = 0 the shift is zero.
        # Entries that are and stay zero have no say in it: theirs might be the largest, and all others vanish.
        shift = torch.where(self.initial > 0, rho, -torch.inf).amax(self.dim, keepdim=True)
        weight = self.initial * torch.exp(torch.minimum(rho - shift, torch.zeros_like(rho)))
        return weight * (self.total / weight.sum(self.dim, keepdim=True))

    def project(self, value: Tensor) -> Tensor:
        """max(v - t, 0), t such that it sums to one (Held, Wolfe and Crowder 1974, doi:10.1007/BF01580223)."""
        dims = (self.dim,) if isinstance(self.dim, int) else self.dim
        last = [dim - value.ndim if dim >= 0 else dim for dim in dims]
        flat = value.movedim(last, list(range(-len(last), 0)))
        rows = flat.flatten(-len(last))
        ordered = rows.sort(dim=-1, descending=True).values
        count = torch.arange(1, rows.shape[-1] + 1, dtype=rows.dtype, device=rows.device)
        candidates = (ordered.cumsum(-1) - 1) / count
        index = ((ordered > candidates).sum(-1, keepdim=True) - 1).clamp_min(0)  # none exceeds NaN
        nearest = (rows - candidates.gather(-1, index)).clamp_min(0)
        return nearest.reshape(flat.shape).movedim(list(range(-len(last), 0)), last)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def right_inverse(self, value: Tensor) -> Tensor:
        total = value.detach().sum(self.dim, keepdim=True)
        if not (bool((value >= 0).all()) and bool(torch.isclose(total, torch.ones_like(total), atol=1e-4).all())):
            raise ValueError(
                f"Simplex needs non-negative values that sum to one along dim {self.dim}; the smallest is "
                f"{float(value.min()):.4g}, the sums go from {float(total.min()):.4g} to {float(total.max()):.4g}"
            )
        self.register_buffer("initial", value.detach().clone())
        self.register_buffer("total", total)
        return torch.zeros_like(value)


class Bounded(nn.Module):
    """v in [low, high]: v0 + a tanh(rho / a), a the distance from v0 to the bound on the side of rho; rho = 0 and slope
    1 at the start.

    Args:
        low: lower bound.
        high: upper bound; the initial value lies between the two.
    """

    elementwise = True
    initial: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"Bounded needs low < high; got low {low}, high {high}")
        self.low, self.high = low, high

    def forward(self, rho: Tensor) -> Tensor:
        # a bound has none beyond it
        room = torch.where(rho > 0, self.high - self.initial, self.initial - self.low).clamp_min(
            torch.finfo(rho.dtype).tiny
        )
        return torch.clamp(self.initial + room * torch.tanh(rho / room), self.low, self.high)

    def project(self, value: Tensor) -> Tensor:
        """min(max(v, low), high)."""
        return value.clamp(self.low, self.high)

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"

    def right_inverse(self, value: Tensor) -> Tensor:
        if not bool(((value >= self.low) & (value <= self.high)).all()):
            raise ValueError(
                f"Bounded needs values between {self.low} and {self.high}; they go from "
                f"{float(value.min()):.4g} to {float(value.max()):.4g}"
            )
        self.register_buffer("initial", value.detach().clone())
        return torch.zeros_like(value)
