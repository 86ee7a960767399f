"""The training loop: runs a schedule, writes checkpoints, resumes where it stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.tasks.base import Samples, Task, evaluate
from unrolling.training import health
from unrolling.training.batches import Share, batches, like_network, to_device
from unrolling.training.checkpoints import Checkpoints, Position, set_generators, unique
from unrolling.training.checks import check_schedule
from unrolling.training.interrupt import Interrupt
from unrolling.training.machine import Machine
from unrolling.training.optimizers import unpack
from unrolling.training.progress import Reporter
from unrolling.training.stages import Learnable, Schedule, Stage, groups, learnables, matching, trained_by
from unrolling.training.supervised import Supervised
from unrolling.training.weights import shape

LOG = "training.jsonl"


class History(NamedTuple):
    """What a training run did."""

    steps: int  # optimizer steps taken
    seconds: float  # of training, over all resumptions
    losses: list[float]  # a smoothed loss about every hundredth of the run
    validations: list[tuple[int, int, float]]  # stage, step within it, metric on the validation set
    best: float | None  # the best of these
    health: health.Health  # which layers learned


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
) -> History:
    """Train a network on a task; run again with the same arguments after an interruption, it goes on where it stopped.

    Every step draws its batch from generators seeded by ``seed`` and the step number, so that a resumed run sees the
    batches an uninterrupted one would, and so does a run on several processes. On one process of a CPU a resumed run
    ends with the same weights to the bit.

    Args:
        network: an ``Unrolled``, or any module from data to estimates.
        task: training data, loss and metric.
        schedule: the stages, in order.
        directory: for checkpoints and the log; None keeps nothing.
        seed: of the batches, and of networks that draw random numbers.
        machine: devices, processes, precision, micro-batches, workers.
        validations: how many times in the run the metric is computed on the validation set (a stage that stops early
            computes its own besides).
        choose: end with the ``last`` weights, or with the ``best`` on the validation set.
        keep: how many of the newest checkpoints to keep; the best one is kept besides.
        checkpoint_seconds: time between two checkpoints; one more is written at the end of each stage.
        loggers: of Lightning Fabric, such as ``TensorBoardLogger``, told what the log is told.
        quiet: no progress bar.

    Raises:
        ValueError: a stage that does not fit the network or the task; a checkpoint of another run, a damaged one, one
            of a newer version.
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
    checkpoints = None if directory is None else Checkpoints(Path(directory), keep, run)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loop = _Loop(
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
        )
        return loop.run()


class _Loop:
    """One run of ``fit``; its methods are the parts of the loop."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        schedule: Schedule,
        checkpoints: Checkpoints | None,
        fabric: Any,
        share: Share,
        seed: int,
        workers: int,
        validations: int,
        choose: str,
        checkpoint_seconds: float,
        quiet: bool,
    ) -> None:
        self.network, self.task, self.schedule, self.checkpoints = network, task, schedule, checkpoints
        self.fabric, self.share, self.seed, self.workers = fabric, share, seed, workers
        self.choose, self.checkpoint_seconds = choose, checkpoint_seconds
        self.main = fabric.is_global_zero
        self.total = sum(stage.steps for stage in schedule)
        self.validate_every = max(1, self.total // validations) if validations else 0
        self.items = learnables(network)
        self.before = health.snapshot(self.items, network)
        self.position = Position()
        self.best: float | None = None
        self.interrupt = Interrupt()
        folder = None if checkpoints is None else checkpoints.folder
        self.reporter = Reporter(
            self.total,
            len(schedule),
            folder / LOG if folder and self.main else None,
            task.metric,
            quiet=quiet or not self.main,
        )
        self.eager = fabric.device.type == "cpu"  # where looking at a number costs nothing

    def run(self) -> History:
        self._resume()
        network = self.network
        network.to(self.fabric.device).train()
        self._remember()
        try:
            with self.reporter, self.interrupt:
                for number, stage in enumerate(self.schedule):
                    if number >= self.position.stage:
                        self._stage(number, stage)
        finally:
            for item in self.items:
                item.tensor.requires_grad_(True)
                item.tensor.grad = None
            network.eval()
        if self.choose == "best" and self.best is not None:
            self._load_best()
        after = health.snapshot(self.items, network)
        layers = (
            {row.key: row.layer for row in network.parameter_table()}
            if isinstance(network, Unrolled)
            else dict.fromkeys(after, None)
        )
        found = health.examine(self.before, after, layers, self.reporter.norms)
        position = self.position
        return History(position.taken, position.seconds, self.reporter.losses, position.validations, self.best, found)

    def _resume(self) -> None:
        """Take up the newest checkpoint, or begin."""
        if self.checkpoints is None:
            return
        if self.main:
            self.checkpoints.folder.mkdir(parents=True, exist_ok=True)
        self.fabric.barrier()
        found = self.checkpoints.resume(self.network)
        self.fabric.barrier()
        if found is None:
            if self.main:
                (self.checkpoints.folder / LOG).unlink(missing_ok=True)
            return
        self.position = found
        set_generators(found.tensors)
        self.reporter.restore(found.report)
        values = [value for _, _, value in found.validations]
        if values:
            self.best = max(values) if self.task.metric.better == "higher" else min(values)

    def _stage(self, number: int, stage: Stage) -> None:
        chosen = trained_by(stage, self.network, number, self.items)
        for item in self.items:
            item.tensor.requires_grad_(any(item is other for other in chosen))
            item.tensor.grad = None
        if self.position.step == 0 and stage.inherit is not None:
            self._inherit(stage)
        self.optimizers = stage.optimizer.make(groups(stage, chosen))
        if self.position.optimizers:
            unpack(self.optimizers, self.position.tensors, self.position.optimizers)
        supervised = Supervised(self.network, self.task, stage)
        model, *wrapped = self.fabric.setup(supervised, *self.optimizers)
        if "parent" in supervised.__dict__:
            first = next(self.network.parameters())
            supervised.__dict__["parent"].to(first.device, first.dtype)
        rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        first = sum(earlier.steps for earlier in self.schedule[:number])
        clock = time.monotonic()
        self._saved = clock
        source = batches(
            self.task, stage, self.share, seed=self.seed, first=first, begin=self.position.step, workers=self.workers
        )
        for parts in source:
            step = self.position.step
            factor = stage.annealing.factor(step, stage.steps)
            if stage.settings:
                self._set(stage, step)
            for optimizer, own in zip(wrapped, rates, strict=True):
                for group, rate in zip(optimizer.param_groups, own, strict=True):
                    group["lr"] = rate * factor
            loss = self._step(number, stage, chosen, model, wrapped, parts, first + step + 1)
            self.position.step += 1
            self.position.taken += 1
            logged = self.reporter.step(number, first + step + 1, loss, stage.rate * factor)
            if logged is not None:
                self._check_loss(self.reporter.losses[-1], chosen, parts, stage, first + step + 1)
                if self.fabric.loggers:
                    self.fabric.log_dict(logged, step=first + step + 1)
            if self._validate(number, stage, first + step + 1) and self._exhausted(number, stage):
                break
            clock = self._between(clock, first + step + 1, logged is not None)
        self._check_weights(first + self.position.step)
        self.position.stage, self.position.step, self.position.optimizers, self.position.tensors = number + 1, 0, [], {}
        self.position.seconds += time.monotonic() - clock
        self.optimizers = []
        self._save()

    def _step(
        self,
        number: int,
        stage: Stage,
        chosen: list[Learnable],
        model: Any,
        wrapped: Sequence[Any],
        parts: list[Samples],
        global_step: int,
    ) -> Tensor:
        """One optimizer step on the micro-batches of this process; the loss, averaged over them."""
        kind = stage.optimizer
        parts = [to_device(part, self.fabric.device) for part in parts]
        several = len(parts) > 1

        def closure() -> Tensor:
            total = None
            for optimizer in wrapped:
                optimizer.zero_grad()
            for count, part in enumerate(parts, 1):
                hold = self.share.processes > 1 and count < len(parts)
                with self.fabric.no_backward_sync(model) if hold else nullcontext():
                    loss = model(part.data, part.target)
                    if kind.needs_gradients:
                        self.fabric.backward(loss / len(parts) if several else loss)
                total = loss.detach() if total is None else total + loss.detach()
            assert total is not None
            if not kind.needs_gradients:  # processes that saw different losses would part ways
                return self.fabric.all_reduce(total / len(parts), reduce_op="mean")
            if stage.clip is not None:
                for optimizer in wrapped:
                    self.fabric.clip_gradients(model, optimizer, max_norm=stage.clip, error_if_nonfinite=False)
            return total / len(parts) if several else total

        if kind.takes_closure:
            loss = torch.as_tensor(wrapped[0].step(closure))
        else:
            loss = closure()
        if self.eager:
            self._check_loss(float(loss), chosen, parts, stage, global_step)
        if self.reporter.health_due(global_step):
            self.reporter.examined(
                health.gradient_norms(chosen), health.activations(self.network, parts[0].data, stage.depth)
            )
        if not kind.takes_closure:
            for optimizer in wrapped:
                optimizer.step()
        if stage.project:
            with torch.no_grad():
                for name, constraint in stage.project.items():
                    for item in matching(name, chosen):
                        item.tensor.copy_(constraint.project(item.tensor))  # pyright: ignore[reportCallIssue]
        return loss

    def _set(self, stage: Stage, step: int) -> None:
        """Numbers of the layers that move along the stage."""
        network: Any = self.network
        for name, value in stage.set(step).items():
            for layer in network.layers:
                setattr(layer, name, value)

    def _between(self, clock: float, global_step: int, agreed: bool) -> float:
        """Between two steps: write a checkpoint when it is time, and stop when asked to. Returns when the seconds were
        last counted.
        """
        now = time.monotonic()
        # With several processes all must stop at the same step; they agree on it whenever something is logged.
        stop = (
            self.interrupt.asked
            if self.share.processes == 1
            else agreed and bool(self.fabric.broadcast(self.interrupt.asked))
        )
        if stop or now - self._saved > self.checkpoint_seconds:
            self._check_weights(global_step)
            self.position.seconds += now - clock
            self._save()
            clock = self._saved = time.monotonic()
        if stop:
            raise KeyboardInterrupt
        return clock

    def _save(self) -> None:
        self._remember()
        if self.checkpoints is not None and self.main:
            self.position.report = self.reporter.state()
            self.checkpoints.save(self.network, self.optimizers, self.position)

    def _remember(self) -> None:
        """Weights that are known to be good, for a run that goes wrong."""
        self._good = {name: tensor.detach().clone() for name, tensor in unique(self.network.state_dict()).items()}

    def _inherit(self, stage: Stage) -> None:
        """The last layer of the stage takes the values of the one before it."""
        network: Any = self.network
        last = (stage.depth or len(network)) - 1
        if last == 0:
            return
        factors = stage.inherit or {}
        values = {}
        for row in network.parameter_table():
            if row.layer == last - 1:
                factor = next(
                    (f for name, f in factors.items() if row.name == name or row.name.startswith(name + ".")), 1.0
                )
                values[f"layers.{last}.{row.name}"] = row.value.detach() * factor
        network.load_learned(values, partial=True)

    def _validate(self, number: int, stage: Stage, global_step: int) -> bool:
        """Computes the metric on the validation set when it is time; whether it was."""
        due = bool(self.validate_every) and (global_step % self.validate_every == 0 or global_step == self.total)
        if stage.stop is not None:
            due = due or self.position.step % stage.stop.every == 0
        if not due:
            return False
        network, depth = self.network, stage.depth

        def estimate(data: Any) -> Tensor:
            data = like_network(data, network)
            if not isinstance(network, Unrolled) or depth is None:
                return tree.apply(lambda t: t.cpu(), network(data))
            return network(data, layers=slice(0, depth)).cpu()

        network.eval()
        with self.fabric.autocast():
            value = self.task.metric.value(evaluate(estimate, self.task, self.task.validation))
        network.train()
        value = float(self.fabric.broadcast(value))
        self.position.validations.append((number, self.position.step, value))
        self.reporter.validated(number, global_step, value)
        if self.fabric.loggers:
            self.fabric.log(self.task.metric.name, value, step=global_step)
        if isfinite(value) and (
            self.best is None or (value != self.best and self.task.metric.at_least_as_good(value, self.best))
        ):
            self.best = value
            self._keep_best(value)
        return True

    def _keep_best(self, value: float) -> None:
        self._check_weights(self.position.taken)
        if self.checkpoints is not None:
            if self.main:
                self.checkpoints.save_best(self.network, value, self.position)
        elif self.choose == "best":
            self._best_weights = {
                name: tensor.detach().clone() for name, tensor in unique(self.network.state_dict()).items()
            }

    def _load_best(self) -> None:
        if self.checkpoints is not None:
            self.fabric.barrier()
            self.checkpoints.load_best(self.network)
        else:
            self.network.load_state_dict(self._best_weights, strict=False)

    def _exhausted(self, number: int, stage: Stage) -> bool:
        """Whether the stage has run out of patience."""
        if stage.stop is None:
            return False
        best, since = None, 0
        sign = 1 if self.task.metric.better == "higher" else -1
        for where, step, value in self.position.validations:
            if where == number and (best is None or sign * (value - best) > stage.stop.gain):
                best, since = value, step
        return self.position.step - since >= stage.stop.steps

    def _check_loss(self, loss: float, chosen: list[Learnable], parts: list[Samples], stage: Stage, step: int) -> None:
        """Stops a run whose loss is no longer a number, saying where that comes from."""
        if isfinite(loss):
            return
        where = health.find_fault(self.network, chosen, to_device(parts[0], self.fabric.device).data, stage.depth)
        self._give_up(f"the loss became {loss} at step {step} of {self.total}: {where}")

    def _check_weights(self, step: int) -> None:
        """Keeps ruined weights out of checkpoints: a loss may be finite whose gradient is not."""
        bad = [item for item in self.items if not bool(torch.isfinite(item.tensor).all())]
        if bad:
            self._give_up(f"{health.find_fault(self.network, bad, None, None)} by step {step}, the loss being finite")

    def _give_up(self, message: str) -> None:
        self.network.load_state_dict(self._good, strict=False)
        raise ArithmeticError(
            f"{message}; the network is as it was "
            f"{'at the last checkpoint' if self.position.taken else 'at the start'}. Lower the learning rate, or set "
            "Stage(clip=...)"
        )
