"""The training loop: steps, checkpoints, resumption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from math import isfinite
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Samples, Task
from unrolling.tasks.draws import Draws
from unrolling.training import health
from unrolling.training.batches import Share, batches, generator, like_network, to_device
from unrolling.training.checkpoints import Checkpoints, Position, copied, put, set_generators
from unrolling.training.interrupt import Interrupt
from unrolling.training.learnables import Learnable, groups, learnables, matching, of_turn, trained_by
from unrolling.training.optimizers import unpack
from unrolling.training.progress import Reporter
from unrolling.training.stages import Schedule, Stage
from unrolling.training.supervised import Given, Supervised
from unrolling.training.validation import Validations

LOG = "training.jsonl"
OF_LOSSES = 1  # tells generators of losses from those of batches


class History(NamedTuple):
    """What a training run did."""

    steps: int  # optimizer steps taken
    seconds: float  # of training, over all resumptions
    losses: list[float]  # a smoothed loss about every hundredth of the run
    validations: list[tuple[int, int, float]]  # stage, step within it, metric on the validation set
    best: float | None  # the best of these at the depth of the last stage
    health: health.Health  # which layers learned


@dataclass
class _Turn:
    """What one of the turns of a stage moves, or the stage itself where it has none."""

    stage: Stage
    chosen: list[Learnable]
    optimizers: list[torch.optim.Optimizer]
    wrapped: list[Any] = field(default_factory=list)  # the same ones, as Fabric gives them back

    def __post_init__(self) -> None:
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def begin(self, all_chosen: list[Learnable], factor: float) -> None:
        """Before a step: nothing but this turn's own tensors takes gradients, at rates of this moment."""
        if len(self.chosen) < len(all_chosen):
            own = {id(item.tensor) for item in self.chosen}
            for item in all_chosen:
                item.tensor.requires_grad_(id(item.tensor) in own)
                item.tensor.grad = None
        for optimizer, rates in zip(self.wrapped, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor


class Loop:
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
        name: str,
    ) -> None:
        self.network, self.task, self.schedule, self.checkpoints = network, task, schedule, checkpoints
        self.fabric, self.share, self.seed, self.workers = fabric, share, seed, workers
        self.choose, self.checkpoint_seconds = choose, checkpoint_seconds
        self.main = fabric.is_global_zero
        self.total = sum(stage.steps for stage in schedule)
        self.validations = Validations(network, task, schedule, validations)
        self.items = learnables(network)
        self.before = health.snapshot(self.items, network)
        self.position = Position()
        self.interrupt = Interrupt()
        folder = None if checkpoints is None else checkpoints.folder
        self.reporter = Reporter(
            self.total,
            len(schedule),
            folder / LOG if folder and self.main else None,
            task.metric,
            quiet=quiet or not self.main,
            name=name,
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
                        with self._settings(stage):
                            self._stage(number, stage)
        finally:
            for item in self.items:
                item.tensor.requires_grad_(True)
                item.tensor.grad = None
            network.eval()
        best = self.validations.best
        if self.choose == "best" and best is not None:
            self._load_best()
        after = health.snapshot(self.items, network)
        layers = (
            {row.key: row.layer for row in network.parameter_table()}
            if isinstance(network, Unrolled)
            else dict.fromkeys(after, None)
        )
        found = health.examine(self.before, after, layers, self.reporter.norms)
        position = self.position
        return History(position.taken, position.seconds, self.reporter.losses, position.validations, best, found)

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
        self.validations.restore(found)

    def _stage(self, number: int, stage: Stage) -> None:
        chosen = trained_by(stage, self.network, number, self.items)
        for item in self.items:
            item.tensor.requires_grad_(any(item is other for other in chosen))
            item.tensor.grad = None
        if self.position.step == 0 and stage.inherit is not None:
            self._inherit(stage)
        turns = [self._turn(number, of_turn(stage, turn)) for turn in stage.turns] or [self._turn(number, stage)]
        self.optimizers = [optimizer for turn in turns for optimizer in turn.optimizers]
        if self.position.optimizers:
            unpack(self.optimizers, self.position.tensors, self.position.optimizers)
        supervised = Supervised(self.network, self.task, stage)
        model, *wrapped = self.fabric.setup(supervised, *self.optimizers)
        for turn in turns:
            turn.wrapped, wrapped[: len(turn.optimizers)] = wrapped[: len(turn.optimizers)], []
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
            turn = turns[stage.turn(step)]
            turn.begin(chosen, factor)
            loss = self._step(turn, model, parts, first + step + 1, stage.turn(step))
            self.position.step += 1
            self.position.taken += 1
            logged = self.reporter.step(number, first + step + 1, loss, turn.stage.rate * factor)
            if logged is not None:
                self._check_loss(self.reporter.losses[-1], turn, parts, first + step + 1)
                if self.fabric.loggers:
                    self.fabric.log_dict(logged, step=first + step + 1)
            if self._validate(number, stage, first + step + 1) and self.validations.exhausted(
                number, stage, self.position
            ):
                break
            clock = self._between(clock, first + step + 1, logged is not None)
        self._check_weights(first + self.position.step)
        self.position.stage, self.position.step, self.position.optimizers, self.position.tensors = number + 1, 0, [], {}
        self.position.seconds += time.monotonic() - clock
        self.optimizers = []
        self._save()

    def _turn(self, number: int, stage: Stage) -> _Turn:
        chosen = trained_by(stage, self.network, number, self.items)
        return _Turn(stage, chosen, stage.optimizer.make(groups(stage, chosen)))

    def _step(self, turn: _Turn, model: Any, parts: list[Samples], global_step: int, which: int) -> Tensor:
        """One optimizer step on the micro-batches of this process; the loss, averaged over them."""
        stage, chosen, wrapped = turn.stage, turn.chosen, turn.wrapped
        kind = stage.optimizer
        parts = [to_device(part, self.fabric.device) for part in parts]
        several = len(parts) > 1

        def closure() -> Tensor:
            total = None
            for optimizer in wrapped:
                optimizer.zero_grad()
            for count, part in enumerate(parts, 1):
                draws = self._draws(stage, count - 1, global_step)
                hold = self.share.processes > 1 and count < len(parts)
                with self.fabric.no_backward_sync(model) if hold else nullcontext():
                    given = Given(like_network(part.data, self.network), like_network(part.target, self.network), draws)
                    loss = model(given, which)
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
            self._check_loss(float(loss), turn, parts, global_step)
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

    def _draws(self, stage: Stage, part: int, global_step: int) -> Draws:
        """What a loss draws for a micro-batch of this process, each grain of it from a generator of its own."""
        grains = self.share.of_part(part, self.share.grains(stage.batch, self.task.grains))
        return Draws([generator(self.seed, global_step, grain, OF_LOSSES) for grain in grains])

    @contextmanager
    def _settings(self, stage: Stage) -> Iterator[None]:
        """The numbers of the layers that a stage sets are their own again after it."""
        network: Any = self.network
        own = [(layer, name, attrgetter(name)(layer)) for name in stage.settings for layer in network.layers]
        try:
            yield
        finally:
            for layer, name, value in own:
                _put(layer, name, value)

    def _set(self, stage: Stage, step: int) -> None:
        """Numbers of the layers that move along the stage."""
        network: Any = self.network
        for name, value in stage.set(step).items():
            for layer in network.layers:
                _put(layer, name, value)

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
        self._good = copied(self.network)

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
        if not self.validations.due(stage, self.position, global_step):
            return False
        with self.fabric.autocast():
            value = self.validations.measure(stage)
        value = float(self.fabric.broadcast(value))
        self.position.validations.append((number, self.position.step, value))
        self.reporter.validated(number, global_step, value)
        if self.fabric.loggers:
            self.fabric.log(self.task.metric.name, value, step=global_step)
        if self.validations.improved(number, value):
            self._keep_best(value)
        return True

    def _keep_best(self, value: float) -> None:
        self._check_weights(self.position.taken)
        if self.checkpoints is not None:
            if self.main:
                self.checkpoints.save_best(self.network, value, self.position)
        elif self.choose == "best":
            self._best_weights = copied(self.network)

    def _load_best(self) -> None:
        if self.checkpoints is not None:
            self.fabric.barrier()
            self.checkpoints.load_best(self.network)
        else:
            put(self.network, self._best_weights)

    def _check_loss(self, loss: float, turn: _Turn, parts: list[Samples], step: int) -> None:
        """Stops a run whose loss is no longer a number, saying where that comes from."""
        if isfinite(loss):
            return
        data = to_device(parts[0], self.fabric.device).data
        where = health.find_fault(self.network, turn.chosen, data, turn.stage.depth)
        self._give_up(f"the loss became {loss} at step {step} of {self.total}: {where}")

    def _check_weights(self, step: int) -> None:
        """Keeps ruined weights out of checkpoints: a loss may be finite whose gradient is not."""
        bad = [item for item in self.items if not bool(torch.isfinite(item.tensor).all())]
        if bad:
            self._give_up(f"{health.find_fault(self.network, bad, None, None)} by step {step}, the loss being finite")

    def _give_up(self, message: str) -> None:
        put(self.network, self._good)
        raise ArithmeticError(
            f"{message}; the network is as it was "
            f"{'at the last checkpoint' if self.position.taken else 'at the start'}. Lower the learning rate, or set "
            "Stage(clip=...)"
        )


def _put(layer: nn.Module, name: str, value: float) -> None:
    """Sets a number of a layer or of a part of it."""
    part, _, last = name.rpartition(".")
    setattr(layer.get_submodule(part), last, value)
