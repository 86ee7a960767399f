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


def run_with(entries: Entries | None, call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's result, the entries being what its constrained parameters are read from."""
    if not entries:
        return call(*arguments)
    token = ACTIVE.set((entries, saving()))
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


_ORIGINAL, _FIRST = operator.itemgetter("original"), operator.itemgetter("0")


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
        self.settings = list(_settings(self.constraints[0]))
        # Single numbers are cheaper to compare than to work out again.
        self.compares = not self.settings and all(
            tensor.ndim == 0 for tensor in (self.lists[0].original, *self.buffers[0].values())
        )
        self._last: _Pass | None = None

    def entries(self) -> Entries:
        """The values of this moment; none of them where the parameters are no longer of one kind."""
        try:
            free: list[Any] = list(map(_ORIGINAL, self.parameters))
            unchanged = list(map(_FIRST, self.rules)) == self.constraints and sum(map(len, self.rules)) == len(free)
        except KeyError:
            return {}
        if not unchanged:
            return {}
        if self.settings and len({repr(_settings(constraint)) for constraint in self.constraints}) > 1:
            return {}
        recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in free)
        # On other devices the comparison would wait for their work.
        keeps = not recorded and self.compares and free[0].is_cpu and not torch._C._is_any_autocast_enabled()
        if keeps:
            dtypes = [tensor.dtype for tensor in free]
            numbers = [tensor.item() for tensor in free]
            for name in self.names:
                numbers += [buffers[name].item() for buffers in self.buffers]
            if self._last is not None and self._last.serves(free[0], dtypes, numbers):
                return self._last.entries
        if len({tensor.dtype for tensor in free}) > 1:
            return {}
        try:
            versions = [tensor._version for tensor in free]
            joint = self._with([torch.stack([buffers[name] for buffers in self.buffers]) for name in self.names])
            if recorded:
                values: Any = _Together.apply(joint, *free)
            else:
                with torch.no_grad():
                    stacked = joint.forward(torch.stack(free))
                    values = stacked.unbind()
        # Of several shapes or devices by now, or made in inference mode, where no versions are counted.
        except (AttributeError, RuntimeError, TypeError):
            return {}
        known = itertools.repeat(torch.is_grad_enabled())
        each: Any = zip(free, versions, values, known, strict=False)
        entries: Entries = dict(zip(self.lists, each, strict=True))
        self._last = _Pass(free[0], dtypes, numbers, stacked, entries) if keeps else None  # pyright: ignore
        return entries

    def _with(self, buffers: list[Tensor]) -> Any:
        joint: Any = copy.copy(self.constraints[0])
        joint._buffers = dict(zip(self.names, buffers, strict=True))
        return joint


class _Pass:
    """What a pass that recorded no gradients read and worked out."""

    def __init__(
        self, first: Tensor, dtypes: list[torch.dtype], numbers: list[Any], stacked: Tensor, entries: Entries
    ) -> None:
        self.first, self.first_version, self.read, self.entries = first, first._version, (dtypes, numbers), entries
        self.mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self.stacked, self.version = stacked, self.mode[1] or stacked._version

    def serves(self, first: Tensor, dtypes: list[torch.dtype], numbers: list[Any]) -> bool:
        """Whether the numbers are as they were, and nobody has written into the values. That each free tensor is the
        same is seen where it is read; the first one tells when all were written with the same numbers.
        """
        return (
            first is self.first
            and first._version == self.first_version
            and (dtypes, numbers) == self.read
            and self.mode == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
            and (self.mode[1] or self.stacked._version == self.version)
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
        values = constraint.forward(torch.stack(free)).unbind()
        # A value that nobody learns must not make its products remember what only its gradient would need.
        fixed = [v for v, wanted in zip(values, ctx.needs_input_grad[1:], strict=True) if not wanted]
        if fixed:
            ctx.mark_non_differentiable(*fixed)
        return values

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
            moved = torch.stack([gradients[number] for number in used])  # pyright: ignore
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
    return type(constraint), repr(_settings(constraint)), tuple(free.shape), free.dtype, free.device


def _settings(constraint: nn.Module) -> dict[str, Any]:
    """What a constraint's constructor was told, such as bounds."""
    return {name: value for name, value in vars(constraint).items() if name[0] != "_" and name != "training"}


def _stackable(constraint: Any) -> bool:
    """Whether the class that says ``elementwise`` is the one that wrote ``forward``, or one that knows it."""
    parents = type(constraint).__mro__
    says, wrote = (next((c for c in parents if name in vars(c)), nn.Module) for name in ("elementwise", "forward"))
    return (
        getattr(constraint, "elementwise", False)
        and issubclass(says, wrote)
        and not (constraint._parameters or constraint._modules)
    )


def saving() -> Any:
    """How autograd saves tensors at the moment: a checkpoint, say, has a way of its own."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)  # pyright: ignore[reportAttributeAccessIssue]
