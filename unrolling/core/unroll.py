"""Unroll an iteration into a network: one layer per step, each parameter tied, untied or fixed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolling.core.adaptive import PATIENCE, Adaptive
from unrolling.core.compiled import Compiled
from unrolling.core.gradients import Backprop, GradientRule
from unrolling.core.iteration import Iteration

if TYPE_CHECKING:
    from unrolling.core.captured import Captured
    from unrolling.core.inference import Inference


class Learned(NamedTuple):
    """One row of ``parameter_table``."""

    name: str  # in the algorithm: "threshold"
    layer: int | None  # from 0; None when all layers share it
    value: Tensor  # as the layer uses it, constraints applied
    classical: Tensor  # the parent's

    @property
    def key(self) -> str:
        """A name of its own in a weights file: ``threshold`` when tied, ``layers.3.threshold`` when untied."""
        return self.name if self.layer is None else f"layers.{self.layer}.{self.name}"


class Unrolled(nn.Module):
    """A fixed number of steps of an iteration, with learned parameters. Made by ``unroll``; a plain ``nn.Module``.

    Attributes:
        layers: one iteration per layer; the same object in every place when nothing is untied.
        gradient: how to differentiate through the layers.
        tied: names of the parameters that all layers share.
        untied: names of the parameters that each layer has for itself.
        parent: the iteration that was unrolled.
    """

    parent: Iteration

    def __init__(
        self,
        parent: Iteration,
        layers: list[Iteration],
        tied: tuple[str, ...],
        untied: tuple[str, ...],
        gradient: GradientRule,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.gradient = gradient
        self.tied, self.untied = tied, untied
        # For each layer the first one that holds the same `prepare`, and so has the same problem.
        makers = [id(layer._modules.get("prepare") or layer) for layer in layers]
        self._prepared_by = [makers.index(maker) for maker in makers]
        # Not a sub-module: the parent is looked at by parameter_table, never trained, moved or saved.
        self.__dict__["parent"] = parent

    def __len__(self) -> int:
        return len(self.layers)

    def forward(self, data: Any) -> Tensor:
        """The estimate of the last layer."""
        layers: list[Any] = list(self.layers)
        layers[0].check(data)
        problems = self._prepare(range(len(layers)), data)
        state = self.gradient.run(layers, problems, layers[0].start(problems[0]))
        return layers[-1].estimate(state)

    def inference(self) -> Inference:
        """The forward pass without anything that only training needs, with the values of this moment; see
        ``Inference``.
        """
        from unrolling.core.inference import Inference

        return Inference(self)

    def compiled(self, backend: str = "inductor") -> Compiled:
        """The forward pass as one compiled graph for any batch size, the same object at every call; compiled when it is
        first called.

        ``compiled().seconds`` tells what compiling has cost so far, ``compiled().graphs`` how often it was needed. A
        copy of the network compiles anew.

        Args:
            backend: of ``torch.compile``.

        Raises:
            RuntimeError: (from torch, when called) a layer that cannot be compiled without breaking the graph.
        """
        made = self.__dict__.setdefault("_compiled", {})
        if backend not in made:
            made[backend] = Compiled(self, backend)
        return made[backend]

    def captured(self, most: int = 4) -> Captured:
        """``inference()`` whose launches on a GPU are recorded once and replayed, for small networks; see
        ``Captured``.
        """
        from unrolling.core.captured import Captured

        return Captured(self, most)

    def adaptive(self, after: float = PATIENCE) -> Adaptive:
        """``inference()`` that turns into ``compiled()`` once ``after`` seconds have been spent on one kind of data;
        see ``Adaptive``.
        """
        return Adaptive(self, after)

    def __getstate__(self) -> dict[str, Any]:
        # What is compiled, or put in the place of `forward`, belongs to this network: neither a copy nor a file takes
        # it along.
        return {name: value for name, value in self.__dict__.items() if name not in ("_compiled", "forward")}

    def run(self, data: Any, *, state: Any = None, layers: slice | range | None = None) -> Any:
        """The state after some of the layers.

        Args:
            data: as for a call.
            state: where to start; by default the first of these layers' own start.
            layers: which ones, such as ``slice(0, 3)``. When nothing is untied all layers are the same, and more of
                them than were unrolled may be asked for.

        Raises:
            ValueError: layers beyond the depth of a network with untied parameters.
        """
        chosen, problems = self._choose(layers, data)
        if state is None:
            state = chosen[0].start(problems[0])
        return self.gradient.run(chosen, problems, state)

    def trajectory(self, data: Any, *, state: Any = None, layers: slice | range | None = None) -> Iterator[Any]:
        """The state after each layer, one by one; arguments as for ``run``."""
        chosen, problems = self._choose(layers, data)
        if state is None:
            state = chosen[0].start(problems[0])
        for layer, problem in zip(chosen, problems, strict=True):
            state = layer(state, problem)
            yield state

    def prepared(self, data: Any) -> list[tuple[Any, Any]]:
        """Each layer with its problem, for loops of one's own; a ``prepare`` that several layers hold runs once."""
        chosen, problems = self._choose(None, data)
        return list(zip(chosen, problems, strict=True))

    def _prepare(self, indices: Iterable[int], data: Any) -> list[Any]:
        """One problem per layer; a ``prepare`` that several layers hold runs once."""
        done: dict[int, Any] = {}
        problems = []
        for index in indices:
            maker = self._prepared_by[index]
            if maker not in done:
                done[maker] = self.layers[index].prepare(data)  # pyright: ignore[reportCallIssue]
            problems.append(done[maker])
        return problems

    def _choose(self, layers: slice | range | None, data: Any) -> tuple[list[Iteration], list[Any]]:
        depth = len(self.layers)
        if layers is None:
            layers = range(depth)
        elif isinstance(layers, slice):
            start, stop = layers.start or 0, depth if layers.stop is None else layers.stop
            layers = range(start + depth if start < 0 else start, stop + depth if stop < 0 else stop, layers.step or 1)
        if len(layers) == 0:
            raise ValueError(f"layers chooses none of the {depth} layers")
        if min(layers) < 0:
            raise ValueError(
                f"layer {min(layers)} does not exist: layers are numbered from 0, and a slice may count from the end"
            )
        if max(layers) >= depth and self.untied:
            raise ValueError(
                f"layer {max(layers)} does not exist: this network has {depth} layers (numbered from 0), each with "
                f"its own {', '.join(self.untied)}. Repeating the last one is not what it was trained for; train a "
                "deeper network, or tie these parameters"
            )
        indices = [min(index, depth - 1) for index in layers]
        chosen: list[Any] = [self.layers[index] for index in indices]
        chosen[0].check(data)
        return chosen, self._prepare(indices, data)

    def parameter_table(self) -> list[Learned]:
        """Every learned quantity by its name in the algorithm, beside its classical value; tied ones first, then layer
        by layer.
        """
        shared = [_row(name, None, self.layers[0], self.parent) for name in self.tied]
        return shared + [
            _row(name, number, layer, self.parent) for number, layer in enumerate(self.layers) for name in self.untied
        ]

    def located_learned(self) -> list[tuple[str, int | None, nn.Parameter]]:
        """The tensors an optimizer moves, each once: name in the algorithm, layer (None when tied), and of a
        constrained parameter its free tensor.
        """
        located, seen = [], set()
        for number, layer in enumerate(self.layers):
            names = {alias: name for name, aliases in _aliases(layer).items() for alias in aliases}
            for path, parameter in layer.named_parameters():
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    name = names[_plain_name(path)]
                    located.append((name, number if name in self.untied else None, parameter))
        return located

    def named_learned(self) -> list[tuple[str, nn.Parameter]]:
        """``located_learned`` without the layers."""
        return [(name, parameter) for name, _, parameter in self.located_learned()]

    def learned(self) -> dict[str, Tensor]:
        """The learned values by the keys of ``parameter_table``: contiguous, each once, ready for safetensors."""
        return {
            row.key: row.value.detach().clone(memory_format=torch.contiguous_format) for row in self.parameter_table()
        }

    def fixed(self) -> dict[str, Tensor]:
        """The tensors that are not learned, by name, constraints applied; shared by all layers."""
        learned = set(self.tied) | set(self.untied)
        layer = self.layers[0]
        values = {name: _get(layer, name).detach() for name in parameter_names(layer) if name not in learned}
        return values | {name: buffer for name, buffer in layer.named_buffers() if "parametrizations." not in name}

    @torch.no_grad()
    def load_learned(self, values: Mapping[str, Tensor], *, partial: bool = False) -> None:
        """Take the values that ``learned`` gave, exactly; nothing changes unless all of them fit.

        Args:
            values: by the keys of ``parameter_table``.
            partial: whether parameters that are not among them keep their values.

        Raises:
            ValueError: keys or shapes that differ from this network's, with what differs; a value that a constraint
                does not allow.
        """
        rows = {row.key: row for row in self.parameter_table()}
        missing, foreign = [] if partial else sorted(rows.keys() - values.keys()), sorted(values.keys() - rows.keys())
        if missing or foreign:
            raise ValueError(
                f"these values are of another network: it lacks {_some(missing) or 'nothing'} and brings "
                f"{_some(foreign) or 'nothing'} that this one (depth {len(self)}, tied {list(self.tied)}, untied "
                f"{list(self.untied)}) does not have"
            )
        rows = {key: row for key, row in rows.items() if key in values}
        for key, row in rows.items():
            if values[key].shape != row.value.shape:
                raise ValueError(
                    f"{key} has shape {tuple(values[key].shape)}, and this network needs {tuple(row.value.shape)}"
                )
            owner, leaf = _owner(self.layers[row.layer or 0], row.name)
            if parametrize.is_parametrized(owner, leaf):
                # On a copy: a constraint that refuses its value must do so before anything has changed.
                constraint: Any = copy.deepcopy(owner.get_submodule(f"parametrizations.{leaf}"))
                constraint.right_inverse(values[key].to(row.value))
        for key, row in rows.items():
            layer = self.layers[row.layer or 0]
            owner, leaf = _owner(layer, row.name)
            value = values[key].to(row.value)
            if parametrize.is_parametrized(owner, leaf):
                setattr(owner, leaf, value)
            else:
                getattr(owner, leaf).copy_(value)

    def _apply(self, fn: Any, recurse: bool = True) -> Unrolled:
        # Module._apply gives each layer a buffer of its own; layers share theirs, and must go on doing so.
        done: dict[int, tuple[Tensor, Tensor]] = {}

        def once(tensor: Tensor) -> Tensor:
            if id(tensor) not in done:
                done[id(tensor)] = (tensor, fn(tensor))
            return done[id(tensor)][1]

        return super()._apply(once, recurse)

    def extra_repr(self) -> str:
        return (
            f"{len(self)} layers of {_class_name(self.parent)}, tied={list(self.tied)}, "
            f"untied={list(self.untied)}, gradient={self.gradient!r}"
        )


def unroll(
    iteration: Iteration,
    depth: int,
    *,
    tied: str | Iterable[str] = (),
    untied: str | Iterable[str] = (),
    gradient: GradientRule | None = None,
) -> Unrolled:
    """The network of ``depth`` steps of an iteration (Fig. 1 of the survey), equal to them to the bit before training.

    Args:
        iteration: the parent; it is not changed.
        depth: number of layers.
        tied: names of parameters or sub-modules that are learned, one value for all layers.
        untied: names of parameters or sub-modules that are learned, one value per layer. All others keep their
            classical values.
        gradient: how to differentiate; ``Backprop()`` by default.

    Raises:
        ValueError: an unknown name (the message lists the known ones), a name given twice, depth < 1, or a gradient
            rule that cannot work here.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}; a network has at least one layer")
    gradient = Backprop() if gradient is None else gradient
    tied_names, untied_names = resolve(iteration, tied, "tied"), resolve(iteration, untied, "untied")
    both = sorted(set(tied_names) & set(untied_names))
    if both:
        raise ValueError(f"{', '.join(both)} is named in tied and in untied; it can only be one")
    gradient.check(untied_names)
    if untied_names:
        shared = _shared(iteration, set(tied_names), set(untied_names))
        # A layer is a copy in which everything that `shared` holds is the same object as in the other layers.
        layers = [copy.deepcopy(iteration, dict(shared)) for _ in range(depth)]
    else:
        layers = [learnable_copy(iteration, tied_names)] * depth
    return Unrolled(iteration, layers, tied_names, untied_names, gradient)


def learnable_copy(iteration: Iteration, learned: tuple[str, ...]) -> Iteration:
    """A copy that owns its learned parameters and shares all other tensors, which no longer take gradients."""
    return copy.deepcopy(iteration, _shared(iteration, set(learned), set()))


def _shared(iteration: Iteration, tied: set[str], untied: set[str]) -> dict[int, Any]:
    """The deepcopy memo that makes layers share what they should."""
    memo: dict[int, Any] = {}
    constraint_buffers = {
        id(buffer)
        for part in iteration.modules()
        if isinstance(part, parametrize.ParametrizationList)
        for buffer in part.buffers()
    }
    for buffer in iteration.buffers():
        if id(buffer) not in constraint_buffers:  # a constraint's initial value goes with its parameter
            memo[id(buffer)] = buffer
    own = set()
    names = {alias: name for name, aliases in _aliases(iteration).items() for alias in aliases}
    for path, parameter in iteration.named_parameters():
        name = names[_plain_name(path)]
        if name in untied:
            own.add(id(parameter))
        elif name in tied:
            memo[id(parameter)] = nn.Parameter(parameter.detach().clone())
        else:
            memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    # A constraint has no parameters of its own, but holds the initial value of one: it goes where that one goes.
    lists = [part for part in iteration.modules() if isinstance(part, parametrize.ParametrizationList)]
    bound = {
        id(constraint)
        for part in lists
        if any(id(p) in own for p in part.parameters())
        for constraint in part.modules()
    }
    for part in iteration.modules():
        if (
            part is not iteration
            and id(part) not in memo
            and id(part) not in bound
            and not any(id(p) in own for p in part.parameters())
        ):
            copy.deepcopy(part, memo)
    return memo


def resolve(iteration: nn.Module, names: str | Iterable[str], argument: str) -> tuple[str, ...]:
    """The full parameter names meant by names of parameters or sub-modules, in the iteration's order.

    Raises:
        ValueError: a name that means no parameter; the message lists the known ones.
    """
    wanted = (names,) if isinstance(names, str) else tuple(names)
    known = _aliases(iteration)
    chosen = set()
    for name in wanted:
        found = {
            full
            for full, aliases in known.items()
            if any(alias == name or alias.startswith(name + ".") for alias in aliases)
        }
        if not found:
            raise ValueError(
                f"{argument} names {name!r}, which {_class_name(iteration)} does not have; it has "
                f"{', '.join(known) or 'no parameters'}"
            )
        chosen |= found
    return tuple(name for name in known if name in chosen)


def parameter_names(module: nn.Module) -> list[str]:
    """The parameters' names in the algorithm, in order: of a constrained one its own name, not that of its free
    tensor.
    """
    return list(_aliases(module))


def _aliases(module: nn.Module) -> dict[str, list[str]]:
    """Each parameter's name with all names it goes by. A sub-module that also serves as ``prepare`` is known by its
    other name.
    """
    paths: dict[int, list[str]] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        paths.setdefault(id(parameter), []).append(_plain_name(path))
    named: dict[str, list[str]] = {}
    for aliases in paths.values():
        name = next((alias for alias in aliases if "prepare" not in alias.split(".")), aliases[0])
        named.setdefault(name, []).extend(aliases)
    return named


def _plain_name(path: str) -> str:
    """``a.parametrizations.threshold.original`` -> ``a.threshold``."""
    head, found, tail = path.rpartition("parametrizations.")
    return head + tail.split(".")[0] if found else path


def _class_name(module: nn.Module) -> str:
    """The class that the user wrote; parametrizations derive one from it."""
    return type(module).__name__.removeprefix("Parametrized")


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def _get(module: nn.Module, name: str) -> Tensor:
    owner, leaf = _owner(module, name)
    return getattr(owner, leaf)


def _row(name: str, layer: int | None, module: nn.Module, parent: nn.Module) -> Learned:
    return Learned(name, layer, _get(module, name), _get(parent, name).detach())


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
