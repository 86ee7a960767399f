"""Training: what a run is, and that it is run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from unrolling.core import Unrolled
from unrolling.files.lock import locked
from unrolling.tasks.base import Task
from unrolling.training import identity
from unrolling.training.batches import Share
from unrolling.training.checkpoints import Checkpoints
from unrolling.training.checks import check_schedule
from unrolling.training.learnables import learnables
from unrolling.training.loop import LOG, History, Loop
from unrolling.training.machine import Machine
from unrolling.training.stages import Schedule
from unrolling.training.weights import shape

__all__ = ["LOG", "History", "fit"]


def fit(
    network: nn.Module,
    task: Task,
    schedule: Schedule,
    directory: str | Path | None = None,
    *,
    seed: int = 0,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    validations: int = 10,
    choose: Literal["last", "best"] = "last",
    keep: int = 2,
    checkpoint_seconds: float = 20.0,
    loggers: Sequence[Any] = (),
    quiet: bool = False,
    name: str = "the network",
) -> History:
    """Train a network on a task; run again with the same arguments after an interruption, it goes on where it stopped.

    Every step draws its batch from generators seeded by ``seed`` and the step number, so that a resumed run sees the
    batches an uninterrupted one would, and so does a run on several processes. On one process of a CPU a resumed run
    ends with the same weights to the bit.

    Args:
        network: an ``Unrolled``, or any module whose ``forward(data)`` is the answer. Several networks that are trained
            in turn (``Stage(turns=...)``) are its children.
        task: training data with or without targets, loss and metric.
        schedule: the stages, in order.
        directory: for checkpoints and the log; None keeps nothing.
        seed: of the batches, and of networks that draw random numbers.
        machine: devices, processes, precision, micro-batches, workers.
        validations: how many times in the run the metric is computed on the validation set (a stage that stops early
            computes its own besides).
        choose: end with the ``last`` weights, or with the ``best`` on the validation set, of those measured at the
            depth of the last stage: fewer layers are another network.
        keep: how many of the newest checkpoints to keep; the best one is kept besides.
        checkpoint_seconds: time between two checkpoints; one more is written at the end of each stage.
        loggers: of Lightning Fabric, such as ``TensorBoardLogger``, told what the log is told.
        quiet: no progress bar; there is one on a terminal only.
        name: what is trained, beside the progress bar.

    Raises:
        ValueError: a stage that does not fit the network or the task; a checkpoint of another run (another schedule,
            seed or task, other validation data, a network of another shape or around other fixed tensors), a damaged
            one, one of a newer version; another process at work in the directory.
        ArithmeticError: the loss or a parameter became NaN or infinite, and where; the network is as it was at the last
            checkpoint.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint has been written.
    """
    check_schedule(network, schedule, task)
    if choose not in ("last", "best"):
        raise ValueError(f"choose is {choose!r}; it is 'last' or 'best'")
    if choose == "best" and validations < 1:
        raise ValueError("choose='best' needs validations of at least 1")
    machine.check()
    fabric = machine.fabric(loggers)
    share = Share(fabric.global_rank, fabric.world_size, machine.accumulate)
    for stage in schedule:
        share.grains(stage.batch, task.grains)
    checkpoints = None
    if directory is not None:
        settings = {"validations": validations, "choose": choose}
        run = {
            "schedule": [stage.describe() for stage in schedule],
            "seed": seed,
            "task": task.identity(),
            "network": {
                **(shape(network) if isinstance(network, Unrolled) else {}),
                "learned": {item.key: list(item.tensor.shape) for item in learnables(network)},
                "parameters": sum(p.numel() for p in network.parameters()),
            },
            "settings": settings,
        }
        prints = {"network": identity.of_network(network), "task": identity.of_task(task)}
        checkpoints = Checkpoints(Path(directory), keep, run, prints)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loop = Loop(
            network,
            task,
            schedule,
            checkpoints,
            fabric,
            share,
            seed,
            machine.workers,
            validations,
            choose,
            checkpoint_seconds,
            quiet,
            name,
        )
        held = locked(directory) if directory is not None and fabric.is_global_zero else nullcontext()
        with held:
            return loop.run()
