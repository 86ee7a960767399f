"""Whether a file and its network give the same, on data that may set them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.export import states
from unrolling.export.loading import Loaded
from unrolling.export.ports import ESTIMATE, named
from unrolling.export.trace import BATCH, ExportError, Traced

BATCHES = (1, 2, 5)
# Of a sample: silence, a silent half, loud, quiet, and as it is.
SCALES: tuple[float | None, ...] = (0.0, None, 100.0, 0.01, 1.0)
SMALL = 1e-3  # of the largest value of the example's answer: below, errors are not relative to the sample's own


class Compared(NamedTuple):
    """What was compared, and how it went."""

    absolute: float
    relative: float
    shapes: dict[str, list[int]]  # of the inputs


class Example(NamedTuple):
    """What a network is exported with."""

    data: Any
    state: Any  # None without one
    samples: int
    batched: bool  # whether the state has samples

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The tensors by name: of the data, then of the state.

        Raises:
            ValueError: one of each that would have the same name.
        """
        data, state = named(self.data), {} if self.state is None else states.state_ports(self.state)
        both = data.keys() & state.keys()
        if both:
            raise ValueError(
                f"{', '.join(both)} would be of the data and of the state; give the data's field another name"
            )
        return data | state

    def again(self, count: int, generator: torch.Generator) -> Example:
        """Samples of it, drawn with replacement."""
        index = torch.randint(self.samples, (count,), generator=generator).to(tree.tensors(self.data)[0].device)
        return self._replace(
            data=tree.select(self.data, index, self.samples, "the example"),
            state=states.select(self.state, index, self.samples, self.batched),
            samples=count,
        )


@torch.no_grad()
def answer(network: nn.Module, data: Any, state: Any = None) -> dict[str, Tensor]:
    """What a network gives by name: the estimate, then the parts of the next state.

    Raises:
        TypeError: it gives something else.
        ValueError: values that are not finite, or a state that does not come out as it went in.
    """
    estimate, after = states.run(network, data, state)
    if not isinstance(estimate, Tensor):
        raise TypeError(
            f"the network returns a {type(estimate).__name__}; an exported one returns a tensor, its estimate"
        )
    found = {ESTIMATE: estimate}
    if state is not None:
        states.check_next(state, after)
        found |= {states.NEXT + name: tensor for name, tensor in states.state_ports(after).items()}
    for name, tensor in found.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"the network's {name} of the example is not finite, so that nothing can be compared with it"
            )
    return found


def compare(
    reference: nn.Module,
    loaded: Loaded,
    example: Example,
    traced: Traced,
    draw: Callable[[int], Any] | None = None,
) -> list[Compared]:
    """Batches of 1, 2 and 5 samples, data whose free sizes are doubled, the state that the network starts from, and
    samples that are silent, half silent, loud and quiet.

    Args:
        draw: number of samples -> data; by default samples of the example.

    Raises:
        ExportError: an answer of another shape or dtype, or one that is not finite where the network's is.
    """
    found = []
    for each in _checks(reference, example, traced, draw):
        wanted = answer(reference, each.data, each.state)
        found.append(_errors(wanted, _given(loaded, each), _shapes(each)))
    return [*found, *_extremes(reference, loaded, example, traced)]


def _checks(
    reference: nn.Module, example: Example, traced: Traced, draw: Callable[[int], Any] | None
) -> Iterator[Example]:
    generator = torch.Generator().manual_seed(0)
    dynamic = BATCH in traced.sizes
    for count in BATCHES if dynamic else (example.samples,) * len(BATCHES):
        drawn = example.again(count, generator)
        yield drawn if draw is None else drawn._replace(data=draw(count))
    first = None if example.state is None else states.first_state(reference, example.data)
    if first is not None:
        yield example._replace(state=first)
    if traced.sizes.keys() - {BATCH} and _twice_is_allowed(example, traced):
        doubled = _doubled(example.again(2 if dynamic else example.samples, generator), traced)
        try:
            answer(reference, doubled.data, doubled.state)
        except Exception as error:
            raise ExportError(
                f"the sizes {', '.join(traced.sizes.keys() - {BATCH})} seem free, and yet the network refuses data of "
                f"twice these ({error}); export with free_sizes=False"
            ) from error
        yield doubled


def _twice_is_allowed(example: Example, traced: Traced) -> bool:
    """Whether no free size becomes larger than the file takes when it is doubled."""
    pairs = [
        pair for name, tensor in example.inputs.items() for pair in zip(traced.shapes[name], tensor.shape, strict=False)
    ]
    limits = [
        (traced.sizes[name][1], size)
        for name, size in pairs
        if isinstance(name, str) and name != BATCH and name in traced.sizes
    ]
    return all(high is None or 2 * size <= high for high, size in limits)


def _doubled(example: Example, traced: Traced) -> Example:
    """Data repeated once along each free size but the batch."""
    shapes = iter(traced.shapes[name] for name in example.inputs)

    def repeat(tensor: Tensor) -> Tensor:
        shape = next(shapes)[: tensor.ndim]
        return (
            tensor.repeat([2 if isinstance(size, str) and size != BATCH else 1 for size in shape])
            if tensor.ndim
            else tensor
        )

    data = tree.apply(repeat, example.data)
    if example.state is None:
        return example._replace(data=data)
    values = [repeat(tensor) for tensor in states.state_ports(example.state).values()]
    return example._replace(data=data, state=states.like(example.state, iter(values)))


def _extremes(reference: nn.Module, loaded: Loaded, example: Example, traced: Traced) -> Iterator[Compared]:
    """Samples whose measurement, the first tensor of the data with samples, is silent, half silent, loud or quiet.

    What the network itself has no finite answer to is left out. Errors are relative to the sample's own largest value.
    """
    generator = torch.Generator().manual_seed(1)
    count = len(SCALES) if BATCH in traced.sizes else example.samples
    largest = {name: _largest(tensor) for name, tensor in answer(reference, example.data, example.state).items()}
    for begin in range(0, len(SCALES), count):
        drawn = example.again(count, generator)
        drawn = drawn._replace(data=_scaled(drawn.data, count, begin))
        try:
            with torch.no_grad():
                estimate, after = states.run(reference, drawn.data, drawn.state)
        except Exception:  # the network refuses such data, and so may the file
            continue
        wanted = {ESTIMATE: estimate}
        if after is not None:
            wanted |= {states.NEXT + name: tensor for name, tensor in states.state_ports(after).items()}
        got = _given(loaded, drawn)
        rows = torch.stack([_finite_rows(tensor, count) for tensor in wanted.values()]).all(0)
        for row in rows.nonzero().flatten().tolist():
            one = [{name: _row(tensor, row, count) for name, tensor in part.items()} for part in (wanted, got)]
            floor = {name: SMALL * size for name, size in largest.items()}
            yield _errors(one[0], one[1], _shapes(drawn), floor)._replace(shapes={})


def _scaled(data: Any, count: int, begin: int) -> Any:
    done = False

    def scale(tensor: Tensor) -> Tensor:
        nonlocal done
        if done or tensor.ndim == 0 or tensor.shape[0] != count or not tree.is_number(tensor):
            return tensor
        done = True
        rows = []
        for k, row in enumerate(tensor):
            factor = SCALES[(begin + k) % len(SCALES)]
            if factor is None:
                row = row.clone()
                row[..., : row.shape[-1] // 2 if row.ndim else 0] = 0
            rows.append(row if factor is None else factor * row)
        return torch.stack(rows)

    return tree.apply(scale, data)


def _finite_rows(tensor: Tensor, count: int) -> Tensor:
    finite = torch.isfinite(tensor)
    if tensor.ndim and tensor.shape[0] == count:
        return finite.flatten(1).all(1) if tensor.ndim > 1 else finite
    return finite.all().expand(count)


def _row(tensor: Tensor, row: int, count: int) -> Tensor:
    return tensor[row] if tensor.ndim and tensor.shape[0] == count else tensor


def _given(loaded: Loaded, example: Example) -> dict[str, Tensor]:
    if example.state is None:
        return {ESTIMATE: loaded(example.data)}
    estimate, after = loaded(example.data, example.state)
    return {ESTIMATE: estimate} | {states.NEXT + name: t for name, t in states.state_ports(after).items()}


def _errors(
    wanted: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    shapes: dict[str, list[int]],
    floor: Mapping[str, float] | None = None,
) -> Compared:
    absolute, relative = 0.0, 0.0
    for name, want in wanted.items():
        got = given[name].to(want.device)
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ExportError(
                f"the file's {name} is {got.dtype} {tuple(got.shape)}, and the network's {want.dtype} "
                f"{tuple(want.shape)}; it was removed"
            )
        if not bool(torch.isfinite(got).all()):  # before any maximum, through which a NaN could pass
            raise ExportError(
                f"the file differs from the network: its {name} is NaN or infinite where the network's is finite, on "
                f"inputs of shapes {shapes}; it was removed"
            )
        difference = got.to(torch.float64) - want.to(torch.float64) if not want.is_complex() else got - want
        error, size = _largest(difference), max(_largest(want), (floor or {}).get(name, 0.0))
        absolute, relative = max(absolute, error), max(relative, error / size if size > 0 else error)
    return Compared(absolute, relative, shapes)


def _largest(tensor: Tensor) -> float:
    tensor = tensor if tree.is_number(tensor) else tensor.to(torch.float64)
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _shapes(example: Example) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in example.inputs.items()}
