"""The guard of what operators, networks and algorithms are given: kind, precision, shape, before any work starts.

A message names the argument, says what it was and what was expected. What passes costs a few comparisons of
attributes; no value is looked at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.execution import is_plain
from unrolling.core.naming import class_name
from unrolling.core.refusals import is_told, kind_of, refusal

Shape = tuple[Any, ...]  # whole numbers, and None where any size will do
MOST = 2**31 - 1  # that a loop could count to within a day
Method = TypeVar("Method", bound=Callable[..., Any])


def keep(module: nn.Module, name: str, value: Tensor, given: Any = None) -> None:
    """``module.name = value``: a parameter where an ``nn.Parameter`` was given, which is learned, else a buffer.

    Args:
        module: whose attribute it becomes.
        name: of the attribute.
        value: what is kept; the parameter itself where it is one.
        given: the caller's argument that ``value`` was made of, where it is another tensor.
    """
    if isinstance(value, nn.Parameter):
        module.register_parameter(name, value)
    elif isinstance(given, nn.Parameter):
        module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=given.requires_grad))
    else:
        module.register_buffer(name, value)


def check_tensor(value: Any, name: str, owner: str) -> Tensor:
    """Refuses what is no tensor, by the argument's name.

    Raises:
        TypeError: it is a list, a NumPy array, a number, ...
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {kind_of(value)}; {owner} works on tensors: give torch.as_tensor({name})")
    return value


def check_numbers(value: Any, name: str, owner: str, *, real: bool = False) -> None:
    """Refuses what is no tensor of floating-point or complex numbers, or with ``real`` of real ones.

    Raises:
        TypeError: a list, an array, integers, Booleans; complex numbers where real ones are wanted.
    """
    check_tensor(value, name, owner)
    if not tree.is_number(value):
        raise TypeError(f"{name} is {value.dtype}; {owner} works on floating-point tensors: use {name}.float()")
    if real and value.is_complex():
        raise TypeError(f"{name} is {value.dtype}; {owner} works on real tensors: give {name}.real or {name}.abs()")


def check_range(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False
) -> None:
    """Refuses a number outside low <= value <= high, or with ``above`` and ``below`` the bounds themselves too. Of
    tensors single numbers on the processor are looked at, where nobody traces.

    Raises:
        TypeError: it is no number.
        ValueError: it lies outside, or is NaN.
    """
    if isinstance(value, Tensor):
        if value.ndim or not value.is_cpu or not is_plain():
            return
        value = value.item()
    if isinstance(value, bool) or not hasattr(value, "__float__") or hasattr(value, "__len__"):
        raise TypeError(f"{name} is {kind_of(value)}; it is a number")
    if (value > low if above else value >= low) and (value < high if below else value <= high):
        return
    left = "" if low == -math.inf else f"{'above' if above else 'at least'} {low:g}"
    right = "" if high == math.inf else f"{'below' if below else 'at most'} {high:g}"
    raise ValueError(f"{name} is {value}; it must be {' and '.join(part for part in (left, right) if part)}")


def check_count(value: Any, name: str, least: int = 1, most: int = MOST) -> None:
    """Refuses what is no whole number, one below the least, or one that nothing could be counted to.

    Raises:
        TypeError, ValueError: by name.
    """
    if isinstance(value, (bool, float)) or not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{name} is {value!r}; it is a whole number")
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")
    if isinstance(value, int) and value > most:
        raise ValueError(f"{name} is {value}; it must be at most {most}")


def check_shape(value: Tensor, shape: Shape, owner: str, side: str, name: str, *, leading: bool = False) -> None:
    """Refuses a tensor that is not (batch, *shape), or with ``leading`` (batch, ..., *shape).

    Raises:
        ValueError: another number of dimensions, or another size.
    """
    sizes, count = value.shape, len(shape)
    if (len(sizes) <= count if leading else len(sizes) != count + 1) or any(
        want is not None and want != size for want, size in zip(shape, sizes[len(sizes) - count :], strict=True)
    ):
        wanted = ("..., " if leading else "") + ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: {owner} needs an {side} of shape (batch, {wanted}), and got {tuple(sizes)}")


def precision_of(dtype: torch.dtype) -> torch.dtype:
    """The dtype of real and imaginary parts."""
    return dtype.to_real() if dtype.is_complex else dtype


def check_precision(value: Tensor, name: str, wanted: torch.dtype, owner: str) -> None:
    """Refuses floating-point or complex numbers of another precision than the weights have.

    Raises:
        TypeError: they are; ``.to(dtype)`` of either side is the way out.
    """
    dtype = value.dtype
    if not (dtype.is_floating_point or dtype.is_complex) or precision_of(dtype) is wanted:
        return
    if value.ndim == 0 or torch.is_autocast_enabled(value.device.type):
        return
    fitting = wanted.to_complex() if dtype.is_complex else wanted
    raise TypeError(
        f"{name} is {dtype} and the numbers of {owner} are {wanted}; they have one precision: use "
        f"{name}.to({fitting}), or move the other with .to({precision_of(dtype)})"
    )


def check_input(module: nn.Module, value: Any, name: str, *shape: Any, real: bool = True) -> None:
    """Refuses what a module with weights cannot work on, before any work: from kind, shape and precision alone.

    Args:
        module: whose first parameter has the precision.
        value: what it is called with, (batch, *shape).
        name: of the argument.
        shape: of a sample; None where any size will do, and ``...`` in front where there may be further dimensions.
        real: whether complex numbers are refused.

    Raises:
        TypeError: no tensor of floating-point numbers, another precision.
        ValueError: another number of dimensions, or another size.
    """
    owner = class_name(module)
    check_numbers(value, name, owner, real=real)
    if shape[0] is ...:
        # A single row too, as under ``torch.func.vmap``.
        check_shape(value.unsqueeze(0).unsqueeze(0), shape[1:], owner, "input", name, leading=True)
    else:
        check_shape(value, shape, owner, "input", name)
    check_precision(value, name, precision_of(next(module.parameters()).dtype), owner)


class Guard:
    """What a network asks of its data whatever its iteration asks: tensors, of the precision of its weights.

    Args:
        module: whose parameters and buffers have the precision; where they have several, any will do.
    """

    def __init__(self, module: nn.Module) -> None:
        self.owner = class_name(module)
        self._holder: dict[str, Any] | None = None
        found: set[torch.dtype] = set()
        for part in module.modules():
            for held in (part._parameters, part._buffers):
                for name, tensor in held.items():
                    # Numbers without dimension take the precision of what they meet.
                    if tensor is not None and tensor.ndim and tree.is_number(tensor):
                        if self._holder is None:
                            self._holder, self._name = held, name  # the dictionary stays when the tensors move
                        found.add(precision_of(tensor.dtype))
        if len(found) != 1:
            self._holder = None

    def __call__(self, data: Any) -> None:
        """Refuses data of another kind.

        Raises:
            TypeError: a list or an array where a tensor belongs, or tensors of another precision.
        """
        held = self._holder
        if isinstance(data, Tensor) and (held is None or data.dtype is held[self._name].dtype):
            return
        wanted = None if held is None else precision_of(held[self._name].dtype)
        if isinstance(data, Tensor):
            if wanted is not None and data.dtype is not wanted:
                check_precision(data, "data", wanted, self.owner)
            return
        count = 0
        for name, leaf in _leaves(data, "data"):
            if isinstance(leaf, Tensor):
                count += 1
                if wanted is not None and leaf.dtype is not wanted:
                    check_precision(leaf, name, wanted, self.owner)
            elif type(leaf).__module__ == "numpy" or _is_list_of_numbers(leaf):
                check_tensor(leaf, name, self.owner)
        if not count:
            check_tensor(data, "data", self.owner)


def admit(iteration: Any, data: Any, guard: Guard | None = None) -> None:
    """Refuses data that an iteration cannot work on, from kinds, dtypes and shapes alone, before the first step.

    Args:
        iteration: has the last word, by its ``check``.
        data: what a network or ``solve`` was given.
        guard: of the network; made anew by default.

    Raises:
        TypeError, ValueError: the message names the argument, what it was and what was expected.
    """
    (Guard(iteration) if guard is None else guard)(data)
    iteration.check(data)


def _leaves(item: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        for field, part in zip(item._fields, item, strict=True):  # pyright: ignore[reportAttributeAccessIssue]
            yield from _leaves(part, f"{name}.{field}")
    elif isinstance(item, tuple) or (isinstance(item, list) and not _is_list_of_numbers(item)):
        for position, part in enumerate(item):
            yield from _leaves(part, f"{name}[{position}]")
    elif isinstance(item, dict):
        for key, part in item.items():
            yield from _leaves(part, f"{name}[{key!r}]")
    else:
        yield name, item


def _is_list_of_numbers(item: Any) -> bool:
    return isinstance(item, list) and all(
        isinstance(part, (int, float, complex)) or _is_list_of_numbers(part) for part in item
    )


# Operators


def guarded(method: Method, sides: tuple[str, ...]) -> Method:
    """A method of a linear operator that refuses arguments which do not fit.

    Args:
        method: (self, x, ...) or (self, x, y, ...).
        sides: what the first arguments are: ``input`` or ``output``.
    """
    if getattr(method, "guards", False):
        return method
    if len(sides) == 2:

        @functools.wraps(method)
        def two(self: Any, x: Tensor, y: Tensor, *others: Any, **options: Any) -> Any:
            if not isinstance(x, Tensor) or x.shape[1:] != self.input_shape or self.batch_size is not None:
                check_argument(self, x, "input", "x")
            if not isinstance(y, Tensor) or y.shape[1:] != self.output_shape or self.batch_size is not None:
                check_argument(self, y, "output", "y")
            try:
                return method(self, x, y, *others, **options)
            except Exception as error:
                _explain(self, {"x": x, "y": y}, error)
                if is_told(error):
                    raise
                raise refusal(method, type(self).__name__, (self, x, y, *others), options, error) from error

        two.guards = True  # pyright: ignore[reportAttributeAccessIssue]
        return two  # pyright: ignore[reportReturnType]

    side, solves = sides[0], method.__name__ == "solve_normal"
    shape = f"{side}_shape"

    @functools.wraps(method)
    def one(self: Any, x: Tensor, *others: Any, **options: Any) -> Any:
        if not isinstance(x, Tensor) or x.shape[1:] != getattr(self, shape) or self.batch_size is not None:
            check_argument(self, x, side, "x" if side == "input" else "y")
        if solves and (others or "rho" in options):
            check_range(others[0] if others else options["rho"], "rho", 0.0)
        try:
            return method(self, x, *others, **options)
        except Exception as error:
            _explain(self, {"x" if side == "input" else "y": x}, error)
            if is_told(error):
                raise
            raise refusal(method, type(self).__name__, (self, x, *others), options, error) from error

    one.guards = True  # pyright: ignore[reportAttributeAccessIssue]
    return one  # pyright: ignore[reportReturnType]


def check_argument(operator: Any, value: Any, side: str, name: str) -> None:
    """Refuses an input or output that an operator has no place for.

    Raises:
        TypeError: no tensor.
        ValueError: another shape, or another number of samples than the operator has kernels, masks or maps.
    """
    owner = type(operator).__name__
    check_tensor(value, name, owner)
    shape = operator.input_shape if side == "input" else operator.output_shape
    check_shape(value, shape, owner, side, name, leading=operator.leading)
    count = operator.batch_size
    if count is not None and value.shape[0] != count:
        raise ValueError(
            f"{name}: {owner} has parameters of their own for each of {count} samples, and got an {side} of "
            f"{value.shape[0]}: shape {tuple(value.shape)}"
        )


def _explain(operator: Any, arguments: dict[str, Tensor], error: Exception) -> None:
    """Names the argument whose dtype torch has no operation for; other errors are left as they are."""
    if not isinstance(error, RuntimeError):
        return
    owner = type(operator).__name__
    numbers = [t for t in [*operator.parameters(), *operator.buffers()] if tree.is_number(t)]
    for name, value in arguments.items():
        dtype = value.dtype
        if not tree.is_number(value):
            raise TypeError(
                f"{name} is {dtype}; {owner} works on floating-point tensors: use {name}.float()"
            ) from error
        for tensor in numbers:
            if tensor.ndim and precision_of(tensor.dtype) is not precision_of(dtype):
                check_precision(value, name, precision_of(tensor.dtype), owner)
        if "dtype" in str(error) or "real" in str(error) or "omplex" in str(error) or "Half" in str(error):
            held = ", ".join(sorted({str(t.dtype) for t in numbers})) or "no numbers of its own"
            raise TypeError(f"{name} is {dtype}, which {owner} ({held}) does not work on: {error}") from error
