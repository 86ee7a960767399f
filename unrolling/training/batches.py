"""Where training batches come from: the same ones for any number of processes, micro-batches and workers, and at any
resumption.

A batch is put together from grains, each drawn with a generator of its own that is seeded by the run's seed, the step
and the grain's number. A process draws the grains that fall to it and no others.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from unrolling.core import tree
from unrolling.tasks.base import Samples, Task
from unrolling.tasks.samples import concatenate, moved
from unrolling.training.stages import Stage

_MASK = 2**64 - 1


def generator(*numbers: int) -> torch.Generator:
    """A generator seeded by whole numbers, in order: neighbours are as different as strangers (SplitMix64, Steele, Lea
    and Flood 2014).
    """
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
    # torch's generator on the CPU looks at no more than 32 bits
    return torch.Generator().manual_seed(mixed & 0xFFFFFFFF)


@dataclass(frozen=True)
class Share:
    """What one process draws of each batch.

    Attributes:
        rank: of this process.
        processes: how many there are.
        accumulate: micro-batches per process and step, whose gradients are added up.
    """

    rank: int = 0
    processes: int = 1
    accumulate: int = 1

    def grains(self, batch: int, most: int) -> int:
        """Into how many grains a batch is divided: up to ``most``, of equal size and two samples at least, the same for
        all shares that divide them.

        Raises:
            ValueError: the batch cannot be shared out evenly among processes and micro-batches.
        """
        parts = self.processes * self.accumulate
        if batch % parts:
            raise ValueError(
                f"a batch of {batch} cannot be shared evenly among {self.processes} processes with "
                f"{self.accumulate} micro-batches each"
            )
        usual = max(
            count for count in range(1, max(1, most) + 1) if count == 1 or (batch % count == 0 and batch // count >= 2)
        )
        return usual if usual % parts == 0 else parts

    def of_part(self, part: int, grains: int) -> range:
        """Which grains of all fall to a micro-batch of this process."""
        each = grains // (self.processes * self.accumulate)
        begin = (self.rank * self.accumulate + part) * each
        return range(begin, begin + each)


def check_draw(task: Task, stage: Stage, number: int) -> None:
    """Refuses a curriculum on what the task does not draw with.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    parameters = inspect.signature(task.draw).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name in parameters if name not in ("batch", "generator")]
    for name in stage.draw:
        if name not in known:
            raise ValueError(
                f"stage {number} draws with {name!r}, which the task {task.name} does not take; it takes "
                f"{', '.join(known) or 'nothing'}"
            )


class _Steps(Dataset[list[Samples]]):
    """This process's micro-batches by step, for a loader whose workers prepare the steps to come."""

    def __init__(self, task: Task, stage: Stage, share: Share, seed: int, first: int) -> None:
        self.task, self.stage, self.share, self.seed, self.first = task, stage, share, seed, first
        self.grains = share.grains(stage.batch, task.grains)
        self.parts = [share.of_part(part, self.grains) for part in range(share.accumulate)]

    def __getitem__(self, step: int) -> list[Samples]:
        """The micro-batches of a step of the stage."""
        number = self.first + step // self.stage.repeat
        values = self.stage.drawn(step - step % self.stage.repeat)
        return [self._draw(part, number, values) for part in self.parts]

    def _draw(self, grains: range, number: int, values: Mapping[str, float]) -> Samples:
        size = self.stage.batch // self.grains
        drawn = [self.task.draw(size, generator(self.seed, number, grain), **values) for grain in grains]
        if len(drawn) == 1:
            return drawn[0]
        return concatenate(drawn)


def batches(
    task: Task, stage: Stage, share: Share, *, seed: int, first: int, begin: int, workers: int = 0
) -> Iterator[list[Samples]]:
    """This process's micro-batches, step by step.

    Args:
        task: draws them.
        stage: batch size, curriculum, number of steps.
        share: what of each batch falls to this process.
        seed: of the run.
        first: number of steps before the stage.
        begin: step of the stage to begin at.
        workers: processes that draw ahead; with them a task that reads from a disk streams.

    Raises:
        RuntimeError: a worker died; what to do is in the message.
    """
    steps = _Steps(task, stage, share, seed, first)
    if workers == 0:
        for step in range(begin, stage.steps):
            yield steps[step]
        return
    loader: DataLoader[Any] = DataLoader(
        steps, batch_size=None, sampler=range(begin, stage.steps), num_workers=workers, worker_init_fn=_one_thread
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "worker" not in str(error).lower():
            raise
        raise RuntimeError(
            f"a worker that draws batches died ({str(error).splitlines()[0]}); out of memory, perhaps: use fewer "
            "workers or none. The same command goes on from the last checkpoint"
        ) from error


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def like_network(data: Any, network: nn.Module) -> Any:
    """Data on the device of a network and in its precision; where its parameters have several, data keep theirs."""
    numbers = [p for p in network.parameters() if tree.is_number(p)]
    device = numbers[0].device if numbers else torch.device("cpu")
    precisions = {p.real.dtype for p in numbers}
    real = next(iter(precisions)) if len(precisions) == 1 else None

    def move(tensor: Tensor) -> Tensor:
        if real is None or not tree.is_number(tensor):
            return tensor.to(device)
        return tensor.to(device, real.to_complex() if tensor.is_complex() else real)

    return tree.apply(move, data)


def to_device(samples: Samples, device: torch.device) -> Samples:
    """Data and targets there."""
    if device.type == "cpu":
        return samples
    return moved(samples, lambda tensor: tensor.to(device, non_blocking=True))
