"""Unroll an iteration into a network: one layer per step, each parameter tied, untied or fixed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolling.core.arguments import Guard
from unrolling.core.batch import in_pieces
from unrolling.core.constrained_layers import ConstrainedLayers, Entries, run_with
from unrolling.core.copies import Copied
from unrolling.core.drawing import Drawn
from unrolling.core.gradients import Backprop, GradientRule
from unrolling.core.iteration import Iteration
from unrolling.core.learned import Learned, check_value, evaluating, row_of, some, statistics_of
from unrolling.core.naming import class_name, names_by_alias, owner_of, parameter_names, plain_name, resolve, value_of
from unrolling.core.refusals import explained
from unrolling.core.sharing import (
    layer_memo,
    learnable_copy,
    other_buffers,
    own_memo,
    refuse_written,
    versions,
    written_buffers,
)

L = TypeVar("L", bound=Iteration, covariant=True)


class Unrolled(Copied, Drawn, Generic[L]):
    """A fixed number of steps of an iteration, with learned parameters. Made by ``unroll``; a plain ``nn.Module``.

    Attributes:
        layers: one iteration per layer, in a ``ModuleList``; the same object in every place when nothing is untied.
        gradient: how to differentiate through the layers.
        tied: names of the parameters that all layers share.
        untied: names of the parameters that each layer has for itself.
        parent: the iteration that was unrolled.
    """

    parent: L
    layers: Sequence[L]

    def __init__(
        self,
        parent: L,
        layers: Sequence[L],
        tied: tuple[str, ...],
        untied: tuple[str, ...],
        gradient: GradientRule,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)  # pyright: ignore[reportAttributeAccessIssue]
        self.gradient = gradient
        self.tied, self.untied = tied, untied
        # For each layer the first one that holds the same `prepare`, and so has the same problem.
        makers = [id(layer._modules.get("prepare") or layer) for layer in layers]
        self._prepared_by = [makers.index(maker) for maker in makers]
        self._prepared_once = len(set(makers)) == 1
        # Not a sub-module: the parent is looked at by parameter_table, never trained, moved or saved.
        self.__dict__["parent"] = parent
        self._shared_buffers = other_buffers(layers[0])

    def __len__(self) -> int:
        return len(self.layers)

    @explained
    def forward(
        self,
        data: Any,
        state: Any = None,
        *,
        layers: slice | range | None = None,
        return_state: bool = False,
        chunk: int | None = None,
    ) -> Any:
        """The estimate of the last layer.

        Args:
            data: (batch, ...) tensor, or a NamedTuple of such.
            state: where to start instead of the first layer's own start: the last state of the sample before, say, of a
                stream.
            layers: which ones, as for ``run``; all by default.
            return_state: give (estimate, state after the last layer).
            chunk: work on about so many samples at a time, at the memory of these and of the answer where no gradient
                is recorded.

        Raises:
            ValueError: as for ``run``; a chunk below 1.
        """
        if chunk is not None:
            run = partial(self, layers=layers, return_state=return_state)
            return in_pieces(run, self, data, state, chunk)
        return run_with(self._constrained_now(), self._estimate, data, state, layers, return_state)

    def _estimate(self, data: Any, state: Any, layers: slice | range | None, return_state: bool) -> Any:
        if layers is None:
            chosen = self._in_order()
            self.admit(data)
            problems = self._prepare(chosen, range(len(chosen)), data)
        else:
            chosen, problems = self._choose(layers, data)
        begin = chosen[0].start(problems[0]) if state is None else state
        last = self._through(chosen, problems, begin)
        estimate = chosen[-1].estimate(last, problems[-1])
        return (estimate, last) if return_state else estimate

    def _through(self, chosen: list[L], problems: list[Any], state: Any) -> Any:
        """The state after these layers; in training, buffers that forward writes unannounced are refused."""
        if not self.training or not self._shared_buffers or torch.compiler.is_compiling():
            return self.gradient.run(chosen, problems, state)
        before = versions(self._shared_buffers)
        state = self.gradient.run(chosen, problems, state)
        refuse_written(self._shared_buffers, before)
        return state

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
        return run_with(self._constrained_now(), self._run, data, state, layers)

    def _run(self, data: Any, state: Any, layers: slice | range | None) -> Any:
        chosen, problems = self._choose(layers, data)
        if state is None:
            state = chosen[0].start(problems[0])
        return self._through(chosen, problems, state)

    def supervised(self, data: Any, *, layers: slice | range | None = None, return_state: bool = False) -> Any:
        """What a loss sees after the last of some layers, with the state if asked for; arguments as for ``run``."""
        seen, state = run_with(self._constrained_now(), self._supervised, data, layers)
        return (seen, state) if return_state else seen

    def _supervised(self, data: Any, layers: slice | range | None) -> Any:
        chosen, problems = self._choose(layers, data)
        state = self._through(chosen, problems, chosen[0].start(problems[0]))
        return chosen[-1].supervised(state, problems[-1]), state

    def trajectory(self, data: Any, *, state: Any = None, layers: slice | range | None = None) -> Iterator[Any]:
        """The state after each layer, one by one; arguments as for ``run``."""
        for _, _, state in self.walk(data, state=state, layers=layers):  # noqa: B020
            yield state

    def walk(
        self, data: Any, *, state: Any = None, layers: slice | range | None = None
    ) -> Iterator[tuple[L, Any, Any]]:
        """Each layer with its problem and the state after it, one by one; arguments as for ``run``."""
        chosen, problems = self._choose(layers, data)
        if state is None:
            state = chosen[0].start(problems[0])
        known = self._constrained_now()
        for layer, problem in zip(chosen, problems, strict=True):
            state = run_with(known, layer, state, problem)
            yield layer, problem, state

    def estimates(self, data: Any, *, state: Any = None, layers: slice | range | None = None) -> Iterator[Tensor]:
        """The estimate after each layer, one by one; arguments as for ``run``."""
        for layer, problem, after in self.walk(data, state=state, layers=layers):
            yield layer.estimate(after, problem)

    def prepared(self, data: Any) -> list[tuple[Any, Any]]:
        """Each layer with its problem, for loops of one's own; a ``prepare`` that several layers hold runs once."""
        chosen, problems = self._choose(None, data)
        return list(zip(chosen, problems, strict=True))

    def admit(self, data: Any) -> None:
        """Refuses data that do not fit, before the first layer, from kinds, dtypes and shapes alone.

        Raises:
            TypeError, ValueError: by the argument's name.
        """
        first = self._modules["layers"]._modules["0"]  # pyright: ignore[reportOptionalMemberAccess]
        if not torch.compiler.is_compiling():  # pyright: ignore[reportPrivateImportUsage]
            guard = self.__dict__.get("_guard")
            if guard is None:
                guard = self.__dict__["_guard"] = Guard(self.layers[0])
            guard(data)
        first.check(data)  # pyright: ignore

    def _in_order(self) -> list[L]:
        layers: Any = self._modules["layers"]  # without Module.__getattr__, which takes its time
        return list(layers._modules.values())

    def _constrained_now(self) -> Entries | None:
        """The values of constrained parameters at this moment, worked out for all layers together."""
        if torch.compiler.is_compiling():  # pyright: ignore[reportPrivateImportUsage]
            return None  # the compiler joins operations itself
        made, layers = self.__dict__.get("_constrained"), self._in_order()
        if made is None or made.layers != layers:
            made = self.__dict__["_constrained"] = ConstrainedLayers(layers)
        return made.entries()

    def _prepare(self, chosen: list[L], indices: Iterable[int], data: Any) -> list[Any]:
        """One problem per layer; a ``prepare`` that several layers hold runs once."""
        if self._prepared_once:
            return [chosen[0].prepare(data)] * len(chosen)
        done: dict[int, Any] = {}
        problems = []
        for layer, index in zip(chosen, indices, strict=True):
            maker = self._prepared_by[index]
            if maker not in done:
                done[maker] = layer.prepare(data)
            problems.append(done[maker])
        return problems

    def _choose(self, layers: slice | range | None, data: Any) -> tuple[list[L], list[Any]]:
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
        chosen = [self.layers[index] for index in indices]
        self.admit(data)
        return chosen, self._prepare(chosen, indices, data)

    def parameter_table(self) -> list[Learned]:
        """Every learned quantity by its name in the algorithm, beside its classical value; tied ones first, then layer
        by layer.
        """
        shared = [row_of(name, None, self.layers[0], self.parent) for name in self.tied]
        return shared + [
            row_of(name, number, layer, self.parent) for number, layer in enumerate(self.layers) for name in self.untied
        ]

    def located_learned(self) -> list[tuple[str, int | None, nn.Parameter]]:
        """The tensors an optimizer moves, each once: name in the algorithm, layer (None when tied), and of a
        constrained parameter its free tensor.
        """
        located, seen = [], set()
        for number, layer in enumerate(self.layers):
            names = names_by_alias(layer)
            for path, parameter in layer.named_parameters():
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    name = names[plain_name(path)]
                    located.append((name, number if name in self.untied else None, parameter))
        return located

    def named_learned(self) -> list[tuple[str, nn.Parameter]]:
        """``located_learned`` without the layers."""
        return [(name, parameter) for name, _, parameter in self.located_learned()]

    def learned(self) -> dict[str, Tensor]:
        """The learned values by the keys of ``parameter_table``, and the statistics that forward keeps (of a
        normalisation, say) by the names of their buffers: contiguous, each once, ready for safetensors.
        """
        with evaluating(self):  # reading a spectral norm in training would move its power iteration
            rows = {row.key: row.value for row in self.parameter_table()}
        values = {**rows, **statistics_of(self.layers if self.untied else self.layers[:1], bool(self.untied))}
        return {key: t.detach().clone(memory_format=torch.contiguous_format) for key, t in values.items()}

    def fixed_tensors(self) -> dict[str, Tensor]:
        """The tensors that are not learned, by name, constraints applied; shared by all layers."""
        learned = set(self.tied) | set(self.untied)
        layer = self.layers[0]
        written = {name for name, _ in written_buffers(layer)}
        values = {name: value_of(layer, name).detach() for name in parameter_names(layer) if name not in learned}
        return values | {
            name: buffer
            for name, buffer in layer.named_buffers()
            if "parametrizations." not in name and name not in written
        }

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
        statistics = statistics_of(self.layers if self.untied else self.layers[:1], bool(self.untied))
        known = {key: row.value for key, row in rows.items()} | statistics
        missing, foreign = [] if partial else sorted(known.keys() - values.keys()), sorted(values.keys() - known.keys())
        if missing or foreign:
            raise ValueError(
                f"these values are of another network: it lacks {some(missing) or 'nothing'} and brings "
                f"{some(foreign) or 'nothing'} that this one (depth {len(self)}, tied {list(self.tied)}, untied "
                f"{list(self.untied)}) does not have"
            )
        for key, value in values.items():
            if value.shape != known[key].shape:
                raise ValueError(
                    f"{key} has shape {tuple(value.shape)}, and this network needs {tuple(known[key].shape)}"
                )
        rows = {key: row for key, row in rows.items() if key in values}
        for key, row in rows.items():
            owner, leaf = owner_of(self.layers[row.layer or 0], row.name)
            if parametrize.is_parametrized(owner, leaf):
                given = {k: v for k, v in values.items() if k in statistics}
                check_value(
                    owner, leaf, key, values[key].to(row.value), {id(statistics[k]): v for k, v in given.items()}
                )
        for key, buffer in statistics.items():
            if key in values:
                buffer.copy_(values[key])
        with evaluating(self):
            for key, row in rows.items():
                owner, leaf = owner_of(self.layers[row.layer or 0], row.name)
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

        result = super()._apply(once, recurse)
        if any((old.dtype, old.device) != (new.dtype, new.device) for old, new in done.values()):
            # The parent goes along, for who compares with it; the caller's own stays where it was.
            self.__dict__["parent"] = copy.deepcopy(self.parent)._apply(fn)
        return result

    def extra_repr(self) -> str:
        return (
            f"{len(self)} layers of {class_name(self.parent)}, tied={list(self.tied)}, "
            f"untied={list(self.untied)}, gradient={self.gradient!r}"
        )


def unroll(
    iteration: L,
    depth: int,
    *,
    tied: str | Iterable[str] = (),
    untied: str | Iterable[str] = (),
    gradient: GradientRule | None = None,
) -> Unrolled[L]:
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
        shared = layer_memo(iteration, set(tied_names), set(untied_names))
        # A layer is a copy in which everything that `shared` holds is the same object as in the other layers.
        layers = [copy.deepcopy(iteration, own_memo(shared)) for _ in range(depth)]
    else:
        layers = [learnable_copy(iteration, tied_names)] * depth
    return Unrolled(iteration, layers, tied_names, untied_names, gradient)
