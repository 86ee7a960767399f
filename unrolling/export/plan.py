"""What a file is run on before it is believed: sizes from the ends of every range that it will state, and samples of
every kind, silence, gaps, constants, impulses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.export import states
from unrolling.export.ports import named, to_pair
from unrolling.export.trace import BATCH, Traced

BLOCK = 64  # hops, grids and powers of two divide it: one sample more than whole blocks begins another
MOST = 4  # times the numbers of the example, or FREELY: larger data are not run
FREELY = 4096


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

    def resized(
        self, shapes: Mapping[str, tuple[int | str, ...]], sizes: Mapping[str, int], zeros: bool = False
    ) -> Example:
        """Cut off or repeated along free sizes and to those that are fixed, but never along the batch.

        Args:
            shapes: of the inputs by name, with the names of free sizes.
            sizes: by the names of those that change.
            zeros: whether there are zeros beyond the ends in the place of repetitions.
        """
        given = iter([shapes[name] for name in self.inputs])

        def fit(tensor: Tensor) -> Tensor:
            for axis, size in enumerate(next(given)[: tensor.ndim]):
                wanted = sizes.get(size, tensor.shape[axis]) if isinstance(size, str) else size
                if axis > 0 and wanted != tensor.shape[axis]:
                    index = torch.arange(wanted, device=tensor.device) % tensor.shape[axis]
                    own = tensor.shape[axis]
                    tensor = tensor.index_select(axis, index)
                    if zeros and wanted > own:
                        tensor.narrow(axis, own, wanted - own).zero_()
            return tensor

        data = tree.apply(fit, self.data)
        if self.state is None:
            return self._replace(data=data)
        values = [fit(tensor) for tensor in states.state_ports(self.state).values()]
        return self._replace(data=data, state=states.like(self.state, iter(values)))


class Plan(NamedTuple):
    """Sizes that a file states, and the sizes that it is run with."""

    sizes: dict[str, tuple[int, int | None]]  # smallest and largest, None for any above those that are run
    runs: list[dict[str, int]]  # besides those of the example
    doubled: dict[str, int]  # the last of them; none where nothing is free
    compared: dict[str, list[int]]  # all sizes that are run, by name, without the batch


def plan(reference: nn.Module, example: Example, traced: Traced, guards: bool = False) -> Plan:
    """The smallest size that the network and its program both take, one more, one below and one above whole blocks, one
    more than the example's, twice the example's, the largest; all free sizes so at once, and each at its ends alone.

    A stated end is one that is run: a lower end at which the network refuses data is moved to where it does not.

    Args:
        reference: the network.
        example: what it was traced with.
        traced: the program.
        guards: whether the file refuses what the program's guards do.
    """
    labels = _labels(example, traced)
    plain = {name: size for name, size in labels.items() if name in traced.sizes}
    if len(plain) < len(labels):  # formulas of each other: whole multiples keep whatever they say
        double = {name: 2 * size for name, size in labels.items()}
        return Plan(traced.sizes, [double], double, {name: [size, 2 * size] for name, size in plain.items()})
    sizes: dict[str, tuple[int, int | None]] = {BATCH: traced.sizes[BATCH]} if BATCH in traced.sizes else {}
    takes = _takes(reference, example, traced, traced.program.module(check_guards=guards))
    for name, size in plain.items():
        low, high = traced.sizes[name]
        low = _lowest(lambda n, name=name: takes({name: n}), low, size)
        if high is not None and not _affordable(example, traced, {name: high}):
            high = 2 * size
        sizes[name] = (low, high)
    candidates = {name: _candidates(size, *sizes[name]) for name, size in plain.items()}
    together = [dict(zip(candidates, row, strict=True)) for row in zip(*candidates.values(), strict=True)]
    alone = [{name: n} for name, row in candidates.items() for n in (row[0], row[2])] if len(plain) > 1 else []
    double = {name: 2 * size for name, size in plain.items()}
    if any(high is not None and double[name] > high for name, (_, high) in sizes.items() if name in double):
        double = {}
    runs: list[dict[str, int]] = []
    for run in [*together, *alone, double]:
        if run and run not in runs and run != plain and (run == double or takes(run)):
            runs.append(run)
    compared = {name: sorted({size, *(run[name] for run in runs if name in run)}) for name, size in plain.items()}
    return Plan(sizes, runs, double, compared)


def smallest(reference: nn.Module, example: Example, traced: Traced) -> dict[str, int]:
    """The smallest size that the network takes while the others are the example's, by the name of each that is free."""
    takes = _takes(reference, example, traced, None)
    return {
        name: _lowest(
            lambda n, name=name: takes({name: n}), 1 if traced.sizes[name][0] <= 2 else traced.sizes[name][0], size
        )
        for name, size in _labels(example, traced).items()
        if name in traced.sizes
    }


def _labels(example: Example, traced: Traced) -> dict[str, int]:
    """The example's free sizes but the batch, by name or formula."""
    return {
        label: size
        for name, tensor in example.inputs.items()
        for label, size in zip(traced.shapes[name], tensor.shape, strict=False)
        if isinstance(label, str) and label != BATCH
    }


def _candidates(size: int, low: int, high: int | None) -> list[int]:
    """In order: the ends, and what is no round number; each within the range."""
    blocks = max(size // BLOCK, 1) * BLOCK
    found = [low, low + 1, blocks + 1, blocks - 1, size + 1, high or low]
    return [max(low, n if high is None else min(n, high)) for n in found]


def _lowest(takes: Callable[[int], bool], low: int, size: int) -> int:
    """The smallest size that is taken: one of the first few, or by bisection in steps of the next smaller one that is
    taken, as whole blocks may be wanted.
    """
    for least in range(low, min(low + 4, size)):
        if takes(least):
            return least
    step = next((less for less in range(1, min(BLOCK, size - low) + 1) if takes(size - less)), 0)
    if not step:
        return size
    taken, refused = 1, (size - low) // step + 1  # steps below the example's size
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if takes(size - middle * step) else (taken, middle)
    return size - taken * step


def _affordable(example: Example, traced: Traced, sizes: Mapping[str, int]) -> bool:
    wanted, usual = 0, 0
    for name, tensor in example.inputs.items():
        shape = [sizes.get(str(label), n) for label, n in zip(traced.shapes[name], tensor.shape, strict=False)]
        wanted, usual = wanted + prod(shape), usual + tensor.numel()
    return wanted <= max(MOST * usual, FREELY)


def _takes(
    reference: nn.Module, example: Example, traced: Traced, module: nn.Module | None
) -> Callable[[Mapping[str, int]], bool]:
    """Whether the network has a finite answer to data of some sizes, and a program, where there is one, takes them."""
    one = example.again(1, torch.Generator().manual_seed(0)) if BATCH in traced.sizes else example
    paired = {name for name, tensor in example.inputs.items() if tensor.dtype != traced.example[name].dtype}

    def takes(sizes: Mapping[str, int]) -> bool:
        if not _affordable(one, traced, sizes):
            return False
        given = one.resized(traced.shapes, sizes)
        try:
            with torch.no_grad():
                estimate = states.run(reference, given.data, given.state)[0]
                if not (estimate.numel() and bool(torch.isfinite(estimate).all())):
                    return False
                if module is not None:
                    module(**{name: to_pair(t) if name in paired else t for name, t in given.inputs.items()})
        except Exception:  # of many kinds: it refuses them
            return False
        return True

    return takes


def _constant(row: Tensor) -> Tensor:
    return row.abs().mean().to(row.dtype).expand_as(row)


def _impulse(at: float) -> Callable[[Tensor], Tensor]:
    def impulse(row: Tensor) -> Tensor:
        found = torch.zeros_like(row).flatten()
        found[int(at * max(row.numel() - 1, 0))] = row.abs().max().to(row.dtype)
        return found.reshape(row.shape)

    return impulse


def _without(begin: float, end: float) -> Callable[[Tensor], Tensor]:
    def silenced(row: Tensor) -> Tensor:
        row = row.clone()
        width = row.shape[-1] if row.ndim else 0
        row[..., int(begin * width) : int(end * width)] = 0
        return row

    return silenced


# Of a sample's measurement: what it becomes. The first four are also tried at other sizes.
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda row: row,
    "silence": torch.zeros_like,
    "a constant": _constant,
    "an impulse in the middle": _impulse(0.5),
    "a silent half": _without(0, 0.5),
    "a gap": _without(0.4, 0.7),
    "an impulse at the beginning": _impulse(0),
    "a hundred times": lambda row: 100 * row,
    "a hundredth": lambda row: 0.01 * row,
    "turned around": lambda row: -row,
}
FEW = list(KINDS)[:4]


def batches_of(
    example: Example, kinds: list[str], dynamic: bool, generator: torch.Generator
) -> Iterator[tuple[Example, list[str]]]:
    """Samples whose measurement, the first tensor of the data with samples, is of all these kinds, in as many batches
    as that takes, with the kind of each.
    """
    count = len(kinds) if dynamic else example.samples
    for begin in range(0, len(kinds), count):
        chosen = [kinds[(begin + row) % len(kinds)] for row in range(count)]
        drawn = example.again(count, generator)
        yield drawn._replace(data=_changed(drawn.data, count, chosen)), chosen


def _changed(data: Any, count: int, kinds: list[str]) -> Any:
    done = False

    def change(tensor: Tensor) -> Tensor:
        nonlocal done
        if done or tensor.ndim == 0 or tensor.shape[0] != count or not tree.is_number(tensor):
            return tensor
        done = True
        return torch.stack([KINDS[kind](row) for kind, row in zip(kinds, tensor, strict=True)])

    return tree.apply(change, data)
