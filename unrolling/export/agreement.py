"""Whether a file and its network give the same, on data that may set them apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.export import states
from unrolling.export.loading import Loaded
from unrolling.export.plan import FEW, KINDS, Example, Plan, batches_of
from unrolling.export.ports import ESTIMATE
from unrolling.export.trace import BATCH, ExportError, SizesError, Traced, first_line

BATCHES: tuple[int, ...] = (1, 2, 5)
NEAR, FARTHEST = 3, 1e-2  # times the network's own rounding that a file may be off, and how far at most
NUDGES = 3  # data moved by a last digit, where one answer does not show how far rounding is magnified
SMALL = 1e-3  # of the largest value of the example's answer: below, errors are not relative to the sample's own


class Compared(NamedTuple):
    """What was compared, and how it went."""

    absolute: float
    relative: float
    shapes: dict[str, list[int]]  # of the inputs; of a batch as it is
    what: str = ""  # the inputs, in words
    own: float = 0.0  # how far the network is from itself in double precision, relative; where that was asked for


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
    sizes: Plan,
    draw: Callable[[int], Any] | None = None,
    tolerance: float = 0.0,
) -> list[Compared]:
    """Batches of 1, 2 and 5 samples, the state that the network starts from, the sizes of the plan, and samples of all
    kinds.

    A network may magnify rounding: two orders of the same sums then give results that differ by more than a tolerance,
    and neither is the right one. Where an answer is off by more, both are compared with the network in double
    precision; a single answer may lie nearer to that by luck, so that those to data moved by a last digit count too.

    Args:
        reference: the network that was exported.
        loaded: the file, read back.
        example: the data, and the state where there is one, that it was traced with.
        traced: what tracing gave.
        sizes: which sizes are free, and which are tried.
        draw: number of samples -> data; by default samples of the example.
        tolerance: relative error above which the network's own rounding is looked at.

    Raises:
        SizesError: at another size than the example's, by more than the tolerance.
        ExportError: an answer of another shape or dtype, one that is not finite where the network's is, or none.
    """
    found, double = [], _Double(reference, tolerance)
    for each in _checks(reference, example, traced, sizes, draw):
        wanted = answer(reference, each.data, each.state)
        try:
            got = _given(loaded, each)
            found.append(double.looked_at(_errors(wanted, got, _shapes(each)), each, wanted, got, {}))
        except ExportError as error:
            raise (SizesError(str(error)) if _resized(each, example) else error) from error
        _check_resized(found[-1], _resized(each, example), tolerance)
    return [*found, *_extremes(reference, loaded, example, traced, sizes, double)]


class _Double:
    """The network in double precision, made when it is asked for."""

    def __init__(self, reference: nn.Module, tolerance: float) -> None:
        self.reference, self.tolerance, self._network = reference, tolerance, None

    def looked_at(
        self,
        found: Compared,
        given: Example,
        wanted: Mapping[str, Tensor],
        got: Mapping[str, Tensor],
        floor: Mapping[str, float],
        pick: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> Compared:
        """The same with ``own``, where the error is above the tolerance and the file is about as near to the network in
        double precision as the network is.
        """
        if found.relative <= self.tolerance or found.relative > FARTHEST:
            return found
        try:
            exact = {name: pick(tensor) for name, tensor in self._answer(given).items()}

            def off(part: Mapping[str, Tensor]) -> float:
                return _errors(exact, {name: part[name].to(t.dtype) for name, t in exact.items()}, {}, floor).relative

            network, file = off(wanted), off(got)
            generator = torch.Generator().manual_seed(2)
            for _ in range(NUDGES):
                if file <= NEAR * network:
                    break
                nudged = answer(self.reference, tree.apply(partial(_nudged, generator), given.data), given.state)
                network = max(network, off({name: pick(tensor) for name, tensor in nudged.items()}))
        except Exception:  # of many kinds: it cannot be run in double precision
            return found
        return found._replace(own=network) if file <= NEAR * network else found

    @torch.no_grad()
    def _answer(self, given: Example) -> dict[str, Tensor]:
        if self._network is None:
            self._network = copy.deepcopy(self.reference).double()
            for buffer in self._network.buffers():
                buffer.data = _doubled(buffer.data)
        data, state = tree.apply(_doubled, given.data), tree.apply(_doubled, given.state)
        return answer(self._network, data, state)


def _nudged(generator: torch.Generator, tensor: Tensor) -> Tensor:
    """Values moved by at most their last digit, up or down."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    sign = torch.randint(-1, 2, tensor.shape, generator=generator).to(tensor.device)
    return tensor * (1 + sign * torch.finfo(tensor.dtype).eps).to(tensor.dtype)


def _doubled(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _checks(
    reference: nn.Module, example: Example, traced: Traced, sizes: Plan, draw: Callable[[int], Any] | None
) -> Iterator[Example]:
    generator = torch.Generator().manual_seed(0)
    dynamic = BATCH in traced.sizes
    for count in BATCHES if dynamic else (example.samples,) * len(BATCHES):
        drawn = example.again(count, generator)
        real = None if draw is None else draw(count)
        yield drawn if real is None else drawn._replace(data=real).resized(traced.shapes, {})
    first = None if example.state is None else states.first_state(reference, example.data)
    if first is not None:
        yield example._replace(state=first)
    if sizes.doubled:
        yield _doubled_sizes(reference, example.again(2 if dynamic else example.samples, generator), traced, sizes)


def _doubled_sizes(reference: nn.Module, given: Example, traced: Traced, sizes: Plan) -> Example:
    """Samples of twice the free sizes: repeated, or with zeros beyond their ends where the network has no finite answer
    to these, as one that diverges for a kernel that came to twice its sum.
    """
    refused: Exception | None = None
    for zeros in (False, True):
        doubled = given.resized(traced.shapes, sizes.doubled, zeros)
        try:
            answer(reference, doubled.data, doubled.state)
        except Exception as error:
            refused = refused or error
        else:
            return doubled
    raise ExportError(
        f"the sizes {', '.join(sizes.doubled)} seem free, and yet the network refuses data of "
        f"twice these ({refused}); export with free_sizes=False"
    ) from refused


def _extremes(
    reference: nn.Module, loaded: Loaded, example: Example, traced: Traced, sizes: Plan, double: _Double
) -> Iterator[Compared]:
    """Samples of every kind, and some of the kinds at every size of the plan.

    What the network itself has no finite answer to is left out. Errors are relative to the sample's own largest value.
    """
    generator, dynamic = torch.Generator().manual_seed(1), BATCH in traced.sizes
    usual = {name: SMALL * _largest(tensor) for name, tensor in answer(reference, example.data, example.state).items()}
    for given, kinds in batches_of(example, list(KINDS), dynamic, generator):
        yield from _row_errors(reference, loaded, given, kinds, usual, double)
    for run in sizes.runs:
        # Twice the size is large, and samples as they are were compared there already.
        chosen = FEW[:2] if run == sizes.doubled else FEW
        for given, kinds in batches_of(example.resized(traced.shapes, run), chosen, dynamic, generator):
            try:
                rows = list(_row_errors(reference, loaded, given, kinds, usual, double))
            except ExportError as error:
                raise SizesError(str(error)) from error
            for row in rows:
                _check_resized(row, True, double.tolerance)
            yield from rows


def _row_errors(
    reference: nn.Module,
    loaded: Loaded,
    given: Example,
    kinds: list[str],
    usual: Mapping[str, float],
    double: _Double,
) -> Iterator[Compared]:
    count = given.samples
    try:
        with torch.no_grad():
            estimate, after = states.run(reference, given.data, given.state)
    except Exception:  # the network refuses such data, and so may the file
        return
    wanted = {ESTIMATE: estimate}
    if after is not None:
        wanted |= {states.NEXT + name: tensor for name, tensor in states.state_ports(after).items()}
    got = _given(loaded, given)
    rows = torch.stack([_finite_rows(tensor, count) for tensor in wanted.values()]).all(0)
    for row in rows.nonzero().flatten().tolist():
        one = [{name: _row(tensor, row, count) for name, tensor in part.items()} for part in (wanted, got)]
        told = f"{kinds[row]}, inputs of shapes {_shapes(given)}"
        try:
            found = _errors(one[0], one[1], _shapes(given), usual)
        except ExportError as error:
            raise ExportError(f"{error} ({told})") from error
        found = double.looked_at(found, given, one[0], one[1], usual, lambda tensor, row=row: _row(tensor, row, count))
        yield found._replace(shapes={}, what=told)


def _resized(given: Example, example: Example) -> bool:
    """Whether other sizes than those of the samples differ."""
    pairs = zip(given.inputs.values(), example.inputs.values(), strict=True)
    return any(one.shape[1:] != other.shape[1:] for one, other in pairs)


def _check_resized(found: Compared, resized: bool, tolerance: float) -> None:
    if resized and not (found.own or found.relative <= tolerance):
        raise SizesError(f"the file differs from the network by {found.relative:.2g} on {found.what}")


def _finite_rows(tensor: Tensor, count: int) -> Tensor:
    finite = torch.isfinite(tensor)
    if tensor.ndim and tensor.shape[0] == count:
        return finite.flatten(1).all(1) if tensor.ndim > 1 else finite
    return finite.all().expand(count)


def _row(tensor: Tensor, row: int, count: int) -> Tensor:
    return tensor[row] if tensor.ndim and tensor.shape[0] == count else tensor


def _given(loaded: Loaded, example: Example) -> dict[str, Tensor]:
    try:
        found = loaded(example.data, example.state)
    except Exception as error:  # of many kinds: the runtime's own
        raise ExportError(
            f"the file refuses what the network takes, inputs of shapes {_shapes(example)} ({first_line(error)}); it "
            "was removed"
        ) from error
    if example.state is None:
        return {ESTIMATE: found}
    estimate, after = found
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
    return Compared(absolute, relative, shapes, f"samples as they are, inputs of shapes {shapes}")


def _largest(tensor: Tensor) -> float:
    tensor = tensor if tree.is_number(tensor) else tensor.to(torch.float64)
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _shapes(example: Example) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in example.inputs.items()}
