"""A trained network fitted to one scan, or to a folder of them, without truth: to another mask, noise or anatomy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import nn

from unrolling.core import Unrolled
from unrolling.core.arguments import check_count, check_range
from unrolling.tasks.base import Task
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import Measurement
from unrolling.training.batches import generator, like_network
from unrolling.training.checkpoints import copied, put
from unrolling.training.learnables import groups, learnables, trained_by
from unrolling.training.losses import Loss, asked
from unrolling.training.losses_by_name import check_measured
from unrolling.training.stages import Stage
from unrolling.training.supervised import Given, Supervised
from unrolling.training.without_truth import Consistency

HELD, LOOKED = 2, 3  # tell generators of what is held out and of what is looked at from those of the steps
LOOKS = 4  # draws that a criterion which draws is a mean over
N = TypeVar("N", bound=nn.Module)


class Adapted(NamedTuple, Generic[N]):
    """What adaptation gave."""

    network: N  # a new one
    criterion: list[float]  # before the first step, and each time that it was looked at
    step: int  # after how many steps the network was best; 0: it is as it was


class _Scans(Task):
    """Data of which a measurement is known, and nothing else."""

    name, summary = "adaptation", "Data without truth."

    def __init__(self, measurement: Measurement | None) -> None:
        self._measurement = measurement

    def measurement(self) -> Measurement:
        return super().measurement() if self._measurement is None else self._measurement


def adapt(
    network: N,
    data: Any,
    loss: Loss,
    measurement: Measurement | None = None,
    *,
    learned: Sequence[str] | None = None,
    steps: int = 60,
    rate: float = 1e-3,
    held: float = 0.1,
    every: int = 5,
    patience: int = 4,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> Adapted[N]:
    """A copy of a network, trained on some data alone; never worse by its criterion than the network was.

    Where measurements can be split, a part of them is kept from training, and the criterion is how far the estimates
    from the rest miss them: |A x' - y| / |y|, the mean over the data (zero-shot learning, Yaman, Hosseini and Akcakaya
    2022, arXiv:2102.07737). Else it is the loss itself, with random numbers that no step draws. It is computed before
    the first step and after every few; the copy ends with the values that were best, which may be those it had, and
    adaptation ends where none were better for a while.

    Args:
        network: as it was trained; it stays as it is.
        data: what the network takes, a batch of one or more; or a list of those, which take turns.
        loss: without truth (``training.without_truth``), or ``Energy``.
        measurement: how the data came about, such as ``task.measurement()``; a loss that asks for none needs none.
        learned: names of the parameters that move, such as ``("threshold", "step_size")``; by default all.
        steps: at most.
        rate: of Adam.
        held: part of the measurements that is kept for the criterion, where they can be split.
        every: steps between two looks at it.
        patience: looks without a better value, after which it ends.
        seed: of all that is drawn.
        watch: told the steps taken and the criterion at each look.

    Raises:
        ValueError: no data; a name that is no learned parameter; a loss that the measurement does not support; numbers
            out of their range; a criterion that is not finite before the first step.
    """
    check_count(steps, "steps")
    check_count(every, "every")
    check_count(patience, "patience")
    check_range(held, "held", 0.0, 1.0, above=True, below=True)
    items = list(data) if isinstance(data, list) else [data]
    if not items:
        raise ValueError("there are no data to adapt to: the list is empty")
    scans = _Scans(measurement)
    check_measured(loss, scans)
    stage = Stage(steps, rate=rate, parameters=None if learned is None else tuple(learned), loss=loss)
    if "state" in asked(loss) and not isinstance(network, Unrolled):
        raise ValueError(f"{loss!r} asks for a state, and {type(network).__name__} has none")
    trained_by(stage, network)
    own = copy.deepcopy(network).eval()
    with torch.enable_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return _Adaptation(own, [like_network(item, own) for item in items], stage, scans, held, seed).run(
            every, patience, watch
        )


class _Adaptation(Generic[N]):
    """The steps on a copy, and the best values so far."""

    def __init__(self, network: N, items: list[Any], stage: Stage, scans: _Scans, held: float, seed: int) -> None:
        self.network, self.stage, self.seed = network, stage, seed
        self.chosen = trained_by(stage, network)
        self.supervised = Supervised(network, scans, stage)
        self.measurement = scans._measurement
        self.seen, self.kept = items, None
        if self.measurement is not None and self.measurement.splits:
            pairs = [self.measurement.split(item, 1 - held, self._draws(HELD, k)) for k, item in enumerate(items)]
            self.seen, self.kept = [seen for seen, _ in pairs], [kept for _, kept in pairs]

    def _draws(self, *numbers: int) -> Draws:
        return Draws([generator(self.seed, *numbers)])

    @torch.no_grad()
    def criterion(self) -> float:
        """The mean over the data; the lower the better."""
        values = []
        for number, seen in enumerate(self.seen):
            if self.kept is not None and self.measurement is not None:
                misfit = Consistency(relative=True)
                values.append(float(misfit(self.network(seen), None, self.kept[number], self.measurement)))
                continue
            looks = range(LOOKS)
            values += [float(self.supervised(Given(seen, None, self._draws(LOOKED, number, k)))) for k in looks]
        return sum(values) / len(values)

    def run(self, every: int, patience: int, watch: Callable[[int, float], None] | None) -> Adapted[N]:
        known = learnables(self.network)
        for item in known:
            item.tensor.requires_grad_(any(item.tensor is other.tensor for other in self.chosen))
        (optimizer,) = self.stage.optimizer.make(groups(self.stage, self.chosen))
        found, best, values = [self.criterion()], 0, copied(self.network)
        if not isfinite(found[0]):
            raise ValueError(
                f"before the first step the criterion is {found[0]}: the estimate or the data are not finite"
            )
        if watch is not None:
            watch(0, found[0])
        for step in range(1, self.stage.steps + 1):
            optimizer.zero_grad()
            loss = self.supervised(Given(self.seen[step % len(self.seen)], None, self._draws(0, step)))
            loss.backward()
            nn.utils.clip_grad_norm_([item.tensor for item in self.chosen], 1.0)
            optimizer.step()
            if step % every and step < self.stage.steps:
                continue
            found.append(self.criterion())
            if watch is not None:
                watch(step, found[-1])
            if found[-1] < min(found[:-1]):  # never of NaN
                best, values = step, copied(self.network)
            elif not isfinite(found[-1]) or (step - best) // every >= patience:
                break
        put(self.network, values)
        for item in known:
            item.tensor.requires_grad_(True)
            item.tensor.grad = None
        return Adapted(self.network, found, best)
