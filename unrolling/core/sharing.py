"""What the layers of a network share, and what each has for itself: parameters, constraints, buffers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm

from unrolling.core.iteration import Iteration
from unrolling.core.naming import names_by_alias, plain_name

L = TypeVar("L", bound=Iteration)
_OLD_SPECTRAL_NORM = spectral_norm.__globals__["SpectralNorm"]  # of the function: its module has the same name


def learnable_copy(iteration: L, learned: tuple[str, ...]) -> L:
    """A copy that owns its tensors, of which those named are learned; nothing of it shares memory with the parent."""
    return copy.deepcopy(iteration, layer_memo(iteration, set(learned), set()))


def written_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that forward writes, by their names: running statistics of normalisations, vectors of a power
    iteration, and what a class of one's own names in ``written_buffers = ("mean",)``.
    """
    for path, part in module.named_modules():
        names: set[str] = set(getattr(part, "written_buffers", ()))
        if isinstance(part, nn.modules.batchnorm._NormBase):
            names |= {"running_mean", "running_var", "num_batches_tracked"}
        elif isinstance(part, parametrizations._SpectralNorm):
            names |= {"_u", "_v"}
        for hook in part._forward_pre_hooks.values():
            if isinstance(hook, _OLD_SPECTRAL_NORM):
                names |= {f"{hook.name}_u", f"{hook.name}_v"}
        for name, buffer in part._buffers.items():
            if name in names and buffer is not None:
                yield f"{path}.{name}" if path else name, buffer


def working_buffers(module: nn.Module) -> set[int]:
    """The ids of written buffers that training alone works with, named in ``working_buffers = ("vector",)``: a
    checkpoint holds them, weights do not.
    """
    return {
        id(buffer)
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None and name in getattr(part, "working_buffers", ())
    }


def other_buffers(module: nn.Module) -> list[tuple[str, nn.Module, str]]:
    """The buffers that forward is not known to write, each with its owner and its name there: all layers share them."""
    written = {name for name, _ in written_buffers(module)}
    return [
        (path, module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2])
        for path, _ in module.named_buffers()
        if path not in written
    ]


def versions(buffers: list[tuple[str, nn.Module, str]]) -> list[tuple[Tensor | None, int]]:
    """What changes when one of them is written, in place or by another in its place. The tensors are kept: of one that
    is gone the next may get the address.
    """
    found = [owner._buffers[leaf] for _, owner, leaf in buffers]
    return [(t, 0 if t is None or t.is_inference() else t._version) for t in found]


def refuse_written(buffers: list[tuple[str, nn.Module, str]], before: list[tuple[Tensor | None, int]]) -> None:
    """Refuses buffers that a forward pass has written since ``before``.

    Raises:
        RuntimeError: there is one; the message says how to declare it.
    """
    for (path, owner, leaf), old, new in zip(buffers, before, versions(buffers), strict=True):
        if old[0] is not new[0] or old[1] != new[1]:
            raise RuntimeError(
                f"forward wrote into the buffer {path}, which all layers share and weights leave out; say that "
                f'{type(owner).__name__} writes it, by `written_buffers = ("{leaf}",)` in its class, and each layer '
                "that has parameters of its own there gets one of its own"
            )


def detached_memo(module: nn.Module) -> dict[int, Any]:
    """A memo for ``copy.deepcopy`` of a module that has been run: tensors which old hooks of torch (``spectral_norm``,
    ``weight_norm``) leave in it belong to a graph and cannot be copied as they are.
    """
    return {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }


def layer_memo(iteration: Iteration, tied: set[str], untied: set[str]) -> dict[int, Any]:
    """The memo with which ``copy.deepcopy`` makes a layer: what is in it is the same object in all layers.

    No tensor in it shares memory with the parent: loading a state into the network writes in place, and neither the
    parent nor the tensors of whoever made it may change with that.
    """
    memo: dict[int, Any] = detached_memo(iteration)
    own = set()
    names = names_by_alias(iteration)
    for path, parameter in iteration.named_parameters():
        name = names[plain_name(path)]
        if name in untied:
            own.add(id(parameter))
        else:
            memo[id(parameter)] = nn.Parameter(parameter.detach().clone(), requires_grad=name in tied)
    # A constraint has no parameters of its own, but holds the initial value of one: it goes where that one goes.
    lists = [part for part in iteration.modules() if isinstance(part, parametrize.ParametrizationList)]
    constraint_buffers = {id(buffer) for part in lists for buffer in part.buffers()}
    bound = {
        id(constraint)
        for part in lists
        if any(id(p) in own for p in part.parameters())
        for constraint in part.modules()
    }
    layer_buffers = {
        id(buffer): iteration.get_submodule(path.rpartition(".")[0])
        for path, buffer in written_buffers(iteration)
        if _of_layer(iteration, path, own)
    }
    bound |= {id(part) for owner in layer_buffers.values() for part in iteration.modules() if _inside(owner, part)}
    for buffer in iteration.buffers():
        if id(buffer) not in constraint_buffers and id(buffer) not in layer_buffers:
            memo[id(buffer)] = buffer.detach().clone()
    for part in iteration.modules():
        if (
            part is not iteration
            and id(part) not in memo
            and id(part) not in bound
            and not any(id(p) in own for p in part.parameters())
        ):
            copy.deepcopy(part, memo)
    return memo


def own_memo(memo: dict[Any, Any]) -> dict[Any, Any]:
    """A memo for one more layer. Under "torch" torch keeps the storages that were copied; in one dictionary for all
    layers they would share the memory of buffers that are each layer's own.
    """
    return {**memo, "torch": dict(memo.get("torch", {}))}


def _of_layer(iteration: Iteration, path: str, own: set[int]) -> bool:
    """Whether a written buffer is each layer's own: where the sub-module that it serves has untied parameters, or has
    no parameters at all and the layers differ.
    """
    parts = path.split(".")[:-1]
    for length in range(len(parts), 0, -1):
        module = iteration.get_submodule(".".join(parts[:length]))
        parameters = list(module.parameters())
        if parameters:
            return any(id(p) in own for p in parameters)
    return bool(own)


def _inside(part: nn.Module, module: nn.Module) -> bool:
    """Whether ``part`` is ``module`` or one of its sub-modules: a copy of the part needs a copy of the module."""
    return any(part is other for other in module.modules())
