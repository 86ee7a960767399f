"""What a row of a comparison may cost. Work is foreseen from what one step does and never read from a clock, so that
the same comparison gives the same figures on any machine, however busy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from unrolling.core import native, tree
from unrolling.evaluation.cost import COUNTS
from unrolling.tasks.base import Samples, Task, count, estimates_of, first, pieces_of

# Of one thread of a usual processor: what seconds are foreseen with.
MULTIPLY_ADDS, ENTRIES, CALL = 2e10, 1e9, 4e-6  # a second; a second; seconds
FORESEEN = 4  # samples that the work of a network is foreseen on,
LARGE = 2**15  # but one where each has so many numbers, beside which calls cost nothing
LEAST_PART, LEAST_SAMPLES = 1 / 20, 2  # of the samples, and of their number, that settings are chosen on
PARTS = 6  # samples that are scored, where they are cut since two of them whole take too long


class _Entries(TorchDispatchMode):
    """Counts the calls of operators and the entries that they write."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls += 1
        self.entries += sum(t.numel() for t in tree_flatten(out)[0] if isinstance(t, Tensor))
        return out


@torch.no_grad()
def foreseen(run: Callable[[], Any]) -> float:
    """Seconds that a call takes on one thread, by its multiply-adds, the entries that it writes and its operators."""
    entries, counter = _Entries(), FlopCounterMode(display=False, custom_mapping=COUNTS)
    with native.counting() as kernels, entries, counter:
        run()
    work = counter.get_total_flops() / 2 + sum(kernels)
    return work / MULTIPLY_ADDS + entries.entries / ENTRIES + CALL * entries.calls


def of_a_sample(run: Callable[[Any], Any], batch: Samples) -> float:
    """Foreseen seconds for one sample of a batch."""
    numbers = sum(t.numel() for t in tree.tensors(batch.data)) / count(batch)
    few = first(batch, 1 if numbers >= LARGE else FORESEEN)
    return foreseen(lambda: run(few.data)) / count(few)


@dataclass
class Part:
    """Some of the samples of held-out batches.

    Attributes:
        batches: the first so many batches, each with its first samples.
        limit: samples of a batch; None for all.
        whole: how many batches there are in all.
    """

    batches: list[Samples]
    limit: int | None
    whole: int

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        return self.limit is None and len(self.batches) == self.whole

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(map(count, self.batches))


def part_of(batches: Sequence[Samples], share: float) -> Part:
    """About this share of the samples: of every batch the first, or of many small batches the first batches."""
    batches = list(batches)
    if share >= 1:
        return Part(batches, None, len(batches))
    total = sum(map(count, batches))
    wanted = min(total, max(LEAST_SAMPLES, math.ceil(total * max(share, LEAST_PART))))
    kept = batches[:wanted]
    limit = math.ceil(wanted / len(kept))
    if limit >= max(map(count, kept)):
        return Part(kept, None, len(batches))
    return Part([first(batch, limit) for batch in kept], limit, len(batches))


def on_part(task: Task, **batches: list[Samples]) -> Task | None:
    """The task with other ``test`` or ``validation`` samples; None for somebody's task that works them out in a
    property, which takes as long as it takes.
    """
    shorter = copy.copy(task)
    try:
        for name, each in batches.items():
            setattr(shorter, name, each)
    except AttributeError:
        return None
    return shorter


def shortened(task: Task, network: Callable[[Any], Tensor], seconds: float) -> tuple[Task, str]:
    """The task with as many samples, for tests and for validation, as the network does in so many foreseen seconds, and
    what was left out in a sentence. Where these are fewer than two, samples are cut (``Task.smaller``). Every row is
    scored on the same samples.
    """
    once = of_a_sample(network, task.test[0])
    have = sum(map(count, task.test)), sum(map(count, task.validation))
    cut = task.smaller(seconds / (once * min(PARTS, have[0]))) if LEAST_SAMPLES * once > seconds else None
    whole, words = (task, "") if cut is None else cut
    if cut is not None:
        once = of_a_sample(network, whole.test[0])
    test, validation = (
        part_of(batches, seconds / max(once * sum(map(count, batches)), 1e-12))
        for batches in (whole.test, whole.validation)
    )
    if test.all and validation.all:
        shorter, counts = whole, ""
    else:
        shorter = on_part(whole, test=test.batches, validation=validation.batches)
        counts = (
            f"scores are those of {test.samples} of the {have[0]} test samples, and settings are chosen on "
            f"{validation.samples} of {have[1]} others"
        )
    if shorter is None:
        shorter, counts = whole, ""
    parts = [f"samples are {words}"] if words else []
    said = ", ".join([*parts, counts] if counts else parts)
    return shorter, f"So that it does not take long, {said}." if said else ""


@dataclass
class Allowance:
    """What a row may cost, in foreseen seconds: half for choosing its settings, half for the test set.

    Attributes:
        seconds: of both.
        network: what is compared with, whose metric on a part is the goal there.
    """

    seconds: float
    network: Callable[[Any], Tensor]

    def plan(
        self, batches: Sequence[Samples], run: Callable[[int], float], iterations: int, runs: int = 1
    ) -> tuple[Part, int]:
        """The samples and the iterations for so many runs: fewer samples first, then fewer iterations.

        Args:
            batches: held out.
            run: foreseen seconds of a run of so many iterations on all of them.
            iterations: of a run, at most.
            runs: how many there are.
        """
        most = 0.5 * self.seconds / runs
        part = part_of(batches, most / max(run(iterations), 1e-12))
        if run(iterations) * LEAST_PART <= most:
            return part, iterations
        least, too_many = 1, iterations
        while too_many - least > 1:
            middle = (least + too_many) // 2
            least, too_many = (middle, too_many) if run(middle) * LEAST_PART <= most else (least, middle)
        return part, least

    def goal(self, task: Task, part: Part) -> float:
        """The network's metric on a part."""
        return task.metric.value(pieces_of(task, part.batches, estimates_of(self.network, part.batches)))


def left_out(part: Part, iterations: int, most: int) -> str:
    """What a plan leaves out, in words; nothing where it leaves nothing out."""
    words = [] if part.all else [f"{part.samples} samples"]
    words += [f"{iterations} of {most} iterations"] if iterations < most else []
    return " and ".join(words)
