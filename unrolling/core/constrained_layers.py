"""The constrained parameters of a network's layers, worked out together and once per pass.

Read one by one, a network of 16 layers with two positive numbers each works out 32 exponentials of a single number,
which is a third of its time on a single sample. While a pass runs, what ``ConstrainedLayers`` worked out stands in the
context variable ``ACTIVE``, where the reading properties of ``constrain`` look first. A value is used only for the free
tensor that it was made from, as it was then; whatever else is met is worked out where it is read: outside of a pass,
in a compiled graph, under ``torch.func``, by parametrizations that are not registered by ``constrain``.
"""

from __future__ import annotations

import copy
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from unrolling.core.execution import is_plain

LARGEST = 4096  # entries of a parameter that is copied into a stack; larger ones are worked out where they are read


# The value of a constrained parameter: the free tensor that it was made from, the version of that then, the value, and
# whether gradients reach the free tensor if it needs any. (A plain tuple: it is made for each parameter of each pass.)
Entry = tuple[Tensor, int, Tensor, bool]
Entries = Mapping[nn.Module, Entry]  # by the list that torch keeps of a parameter's parametrizations

# The entries of the pass that is running, and how autograd saved tensors when it began.
ACTIVE: ContextVar[tuple[Entries, Any] | None] = ContextVar("constrained", default=None)


def value_in(active: tuple[Entries, Any], parts: nn.Module, free: Tensor) -> Tensor | None:
    """The value that a pass has worked out for a free tensor as it is now; None where there is none."""
    entries, saving = active
    entry = entries.get(parts)
    if entry is None:
        return None
    source, version, value, recorded = entry
    if source is not free or version != free._version:
        return None
    if not torch.is_grad_enabled():
        return value
    # What is read inside of a checkpoint is worked out inside, because its backward pass does so too.
    return value if recorded and saving == _saving() else None


def run_with(entries: Entries | None, call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's result, the entries being what its constrained parameters are read from."""
    if not entries:
        return call(*arguments)
    token = ACTIVE.set((entries, _saving()))
    try:
        return call(*arguments)
    finally:
        ACTIVE.reset(token)


def active_entries() -> Entries | None:
    """What is being read from, to be given to ``run_with`` in another place, such as a backward pass."""
    if torch.compiler.is_compiling():  # pyright: ignore[reportPrivateImportUsage]
        return None
    active = ACTIVE.get()
    return None if active is None else active[0]


class ConstrainedLayers:
    """The constrained parameters of some layers.

    Parameters of one kind of constraint and one shape are stacked, so that the constraint's operations run once for all
    of them, and those that several layers share are worked out once. Where no gradient is recorded and nothing has
    changed since the pass before, its values serve again; that is seen from the numbers themselves, which no
    way of writing them escapes.

    Args:
        layers: of a network.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        layers = list(layers)
        self.layers = layers
        uses: Counter[nn.Module] = Counter()
        groups: dict[Hashable, list[ParametrizationList]] = {}
        for layer in layers:
            for parts in _constrained(layer):
                uses[parts] += 1
                if uses[parts] == 1:
                    groups.setdefault(_kind(parts), []).append(parts)
        self.groups: list[_Stack] = []
        self.single: list[ParametrizationList] = []
        for lists in groups.values():
            small = lists[0].original.numel() <= LARGEST
            if small and len(lists) > 1 and _stackable(lists[0][0]):
                self.groups.append(_Stack(lists))
            else:
                self.single += [parts for parts in lists if uses[parts] > 1]

    def entries(self) -> Entries | None:
        """The values of this moment; None where each is better worked out when it is read."""
        if not (self.groups or self.single) or not is_plain():
            return None
        if len(self.groups) == 1 and not self.single:
            return self.groups[0].entries()
        found: dict[nn.Module, Entry] = {}
        for group in self.groups:
            found.update(group.entries())
        for parts in self.single:
            free = parts._parameters.get("original")
            if free is not None and len(parts._modules) == 1 and not free.is_inference():
                value: Any = parts._modules["0"].forward(free)  # pyright: ignore[reportOptionalMemberAccess]
                found[parts] = free, free._version, value, torch.is_grad_enabled() or not free.requires_grad
        return found


class _Stack:
    """Parameters of one kind of constraint and one shape."""

    def __init__(self, lists: Sequence[ParametrizationList]) -> None:
        self.lists = list(lists)
        self.constraints: list[Any] = [parts[0] for parts in lists]
        self.parameters = [parts._parameters for parts in lists]
        self.rules = [parts._modules for parts in lists]
        self.buffers = [constraint._buffers for constraint in self.constraints]
        self.names = list(self.buffers[0])
        self._last: _Pass | None = None

    def entries(self) -> Entries:
        """The values of this moment; none of them where the parameters are no longer of one kind."""
        free: list[Any] = [parameters.get("original") for parameters in self.parameters]
        if [rules["0"] for rules in self.rules] != self.constraints or sum(map(len, self.rules)) != len(free):
            return {}
        try:
            versions = [tensor._version for tensor in free]
        except (AttributeError, RuntimeError):  # one is gone; tensors made in inference mode count no versions
            return {}
        recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in free)
        try:
            numbers = [torch.stack(free)] if not recorded else []
            numbers += [torch.stack([buffers[name] for buffers in self.buffers]) for name in self.names]
        except (RuntimeError, TypeError):  # of several shapes or devices by now
            return {}
        if not recorded and self._last is not None and self._last.serves(free, versions, numbers):
            return self._last.entries
        if len({tensor.dtype for tensor in free}) > 1:
            return {}
        if recorded:
            values = _Together.apply(self._with(numbers), *free)
        else:
            with torch.no_grad():
                values = (stacked := self._with(numbers[1:]).forward(numbers[0])).unbind()
        known = itertools.repeat(torch.is_grad_enabled())
        entries = dict(zip(self.lists, zip(free, versions, values, known, strict=False), strict=True))  # pyright: ignore[reportArgumentType]
        # On other devices the comparison would wait for their work.
        keeps = not recorded and numbers[0].is_cpu and not torch._C._is_any_autocast_enabled()
        self._last = _Pass(free, versions, numbers, stacked, entries) if keeps else None  # pyright: ignore[reportPossiblyUnboundVariable]
        return entries

    def _with(self, buffers: list[Tensor]) -> Any:
        joint: Any = copy.copy(self.constraints[0])
        joint._buffers = dict(zip(self.names, buffers, strict=True))
        return joint


class _Pass:
    """What a pass that recorded no gradients read and worked out."""

    def __init__(
        self, free: list[Tensor], versions: list[int], numbers: list[Tensor], stacked: Tensor, entries: Entries
    ) -> None:
        self.free, self.versions, self.numbers, self.entries = free, versions, numbers, entries
        self.mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch._C._is_any_autocast_enabled()
        self.stacked, self.version = stacked, self.mode[1] or stacked._version

    def serves(self, free: list[Tensor], versions: list[int], numbers: list[Tensor]) -> bool:
        """Whether all is as it was, and nobody has written into the values."""
        mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch._C._is_any_autocast_enabled()
        return (
            mode == self.mode
            and versions == self.versions
            and all(map(operator.is_, free, self.free))
            and (mode[1] or self.stacked._version == self.version)
            and all(map(_same, self.numbers, numbers))
        )


class _Together(torch.autograd.Function):
    """The values of free tensors under one constraint. A value without a gradient gives its free tensor none, where
    that of a stack would give it zeros, by which an optimizer with momentum moves it.
    """

    @staticmethod
    def forward(ctx: Any, constraint: Any, *free: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.constraint = constraint
        ctx.save_for_backward(*free)
        return constraint.forward(torch.stack(free)).unbind()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        used = [number for number, gradient in enumerate(gradients) if gradient is not None]
        result: list[Tensor | None] = [None] * len(gradients)
        if used:
            saved = ctx.saved_tensors
            constraint, again = ctx.constraint, torch.is_grad_enabled()
            if len(used) < len(gradients):
                constraint = copy.copy(constraint)
                constraint._buffers = {name: buffer[used] for name, buffer in constraint._buffers.items()}
            with torch.enable_grad():
                free = torch.stack([saved[number] for number in used])
                free = free if again else free.detach().requires_grad_()
                values = constraint.forward(free)
            moved = torch.stack([gradients[number] for number in used])  # pyright: ignore[reportArgumentType,reportCallIssue]
            (by_free,) = torch.autograd.grad(values, free, moved, create_graph=again)
            for number, gradient in zip(used, by_free.unbind(), strict=True):
                result[number] = gradient
        return None, *result


def _constrained(layer: nn.Module) -> list[ParametrizationList]:
    """The parameters of a layer that ``constrain`` reads, each under a single constraint of this library's making or
    one's own.
    """
    return [
        parts
        for module in layer.modules()
        for name, parts in getattr(module, "parametrizations", {}).items()
        if getattr(getattr(type(module).__dict__.get(name), "fget", None), "looks_at_active", False)
        and len(parts) == 1
        and parts._parameters.get("original") is not None
    ]


def _kind(parts: ParametrizationList) -> Hashable:
    """What parameters have in common that can be stacked."""
    constraint, free = parts[0], parts.original
    settings = {name: value for name, value in vars(constraint).items() if name[0] != "_" and name != "training"}
    return type(constraint), repr(settings), tuple(free.shape), free.dtype, free.device


def _stackable(constraint: Any) -> bool:
    """Whether the class that says ``elementwise`` is the one that wrote ``forward``, or one that knows it."""
    parents = type(constraint).__mro__
    says, wrote = (next((c for c in parents if name in vars(c)), nn.Module) for name in ("elementwise", "forward"))
    return (
        getattr(constraint, "elementwise", False)
        and issubclass(says, wrote)
        and not (constraint._parameters or constraint._modules)
    )


def _same(before: Tensor, now: Tensor) -> bool:
    return before.dtype == now.dtype and before.shape == now.shape and torch.equal(before, now)


def _saving() -> Any:
    """How autograd saves tensors at the moment: a checkpoint, say, has a way of its own."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)
