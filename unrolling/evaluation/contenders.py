"""Who takes part in a comparison: the network, its parent, what the task names, and generic networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled, deploy
from unrolling.evaluation.baselines import (
    Affine,
    affine_estimate,
    linear_mmse,
    run_method,
    train_generic,
    train_mlp,
    train_working_mlp,
)
from unrolling.evaluation.classical import run_classical
from unrolling.evaluation.cost import cost_of
from unrolling.evaluation.deadline import deadline
from unrolling.evaluation.measure import Contender, interval, spread, time_all
from unrolling.evaluation.records import Curve, Interval, Row, Spread
from unrolling.evaluation.significance import paired
from unrolling.tasks.base import Task, count, estimates_of, first, pieces_of
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method, algorithm, parent_among
from unrolling.training.stages import Schedule

NAN = Interval(float("nan"), float("nan"), float("nan"))
# Multiply-adds that a method may take for as many samples as rare failures ask for: some seconds. No time is looked at,
# so that the same run has the same figures.
MANY_WORK = 2e11
PARENT_STEPS = 2000  # of a parent that the task does not name among its baselines
Found = tuple[list[Contender], list[Curve]]


def training(schedule: Schedule, least: int = 1, batch: int = 1) -> tuple[int, int]:
    """The steps of a schedule and the samples of its largest step, at least so many each."""
    return max(least, sum(stage.steps for stage in schedule)), max(batch, *(stage.batch for stage in schedule), 1)


class Measured:
    """What all methods of a comparison are measured with.

    Args:
        task: data; settings are chosen on ``task.validation``, scores come from ``task.test``.
        network: trained or loaded.
        title: its name.
        seed: of generic networks and of intervals.
        limit: seconds that a baseline may take; a row that failed or took longer says so, and the rest stands.
        quiet: no progress bar while generic networks train.
        say: told what is being done.
    """

    def __init__(
        self,
        task: Task,
        network: Unrolled,
        title: str,
        seed: int,
        limit: float | None,
        quiet: bool,
        say: Callable[[str], None],
    ) -> None:
        self.task, self.network, self.title, self.seed = task, network, title, seed
        self.limit, self.quiet, self.say = limit, quiet, say
        self.interrupted = False  # Ctrl-C: no further baselines
        self.learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self.many = task.many()

    def networks(self, before: Unrolled, note: str, training_seconds: float | None) -> Found:
        """The network, and itself before training."""
        self.say("measuring the network layer by layer")
        depth = len(self.network)
        name = f"{self.title}, {depth} layer{'s' if depth > 1 else ''}"
        trained = Contender(name, "network", self.network, depth, self.learned, note, network=self.network)
        trained.training_seconds = training_seconds
        words = "the same network at its classical values"
        initial = Contender(
            f"{self.title} before training", "initial", before, depth, self.learned, words, network=before
        )
        return [trained, initial], [_layer_curve(self.title, self.network, self.task)]

    def baselines(
        self, baselines: Sequence[Baseline], parent: Any, goal: float, training: tuple[int, int], effort: str
    ) -> Found:
        """What the network is compared with: its parent among classical methods, other libraries, generic networks.

        Args:
            baselines: what the task names, and the system.
            parent: the iteration at its classical values.
            goal: the network's metric on the test set.
            training: steps and samples per step of generic networks.
            effort: ``quick`` leaves out the generic network of equal work.
        """
        task = self.task
        estimates = estimates_of(self.network, task.validation)
        validation_goal = task.metric.value(pieces_of(task, task.validation, estimates))
        own = parent_among(baselines, parent)
        if own is None:
            own = Iterative(algorithm(parent), lambda _: parent, (None,), PARENT_STEPS, setting="")
            baselines = [own, *baselines]
        contenders: list[Contender] = []
        curves: list[Curve] = []
        for makers in (
            [
                (b.name, "parent" if b is own else "classical", self._iterative(b, own, goal, validation_goal))
                for b in baselines
                if isinstance(b, Iterative)
            ],
            [(b.name, _role(b), self._other(b, training)) for b in baselines if _role(b) == "classical"],
            self._vectors(training, effort),
            [(b.name, _role(b), self._other(b, training)) for b in baselines if _role(b) == "generic"],
            [(b.name, _role(b), self._other(b, training)) for b in baselines if _role(b) == "library"],
        ):
            for name, role, make in makers:
                if self.interrupted:
                    contenders.append(Contender(name, role, _nothing, error="not measured: interrupted"))
                    continue
                self.say(name)
                rows, lines = self._attempt(name, role, make)
                contenders += rows
                curves += lines
        return contenders, curves

    def _iterative(
        self, method: Iterative, parent: Iterative, goal: float, validation_goal: float
    ) -> Callable[[], Found]:
        depth = len(self.network) if method is parent else None
        return lambda: run_classical(method, self.task, goal, validation_goal, depth)

    def _other(self, baseline: Baseline, training: tuple[int, int]) -> Callable[[], Found]:
        if isinstance(baseline, Generic):
            return lambda: ([train_generic(self.task, baseline, *training, seed=self.seed, quiet=self.quiet)], [])
        method = (
            baseline if isinstance(baseline, Method) else Method(baseline.name, baseline.make, tuple(baseline.settings))
        )
        return lambda: ([run_method(self.task, method)], [])

    def _vectors(self, training: tuple[int, int], effort: str) -> list[tuple[str, str, Callable[[], Found]]]:
        """A linear estimate and MLPs, where the task's data are vectors and there are targets to fit."""
        task, learned, options = self.task, self.learned, {"seed": self.seed, "quiet": self.quiet}
        if not task.vectors or task.timing.target is None:
            return []

        @cache
        def affine() -> Affine | None:
            return affine_estimate(task, seed=self.seed) if task.affine else None

        def small() -> Found:
            return [train_mlp(task, learned, *training, affine=affine(), **options)], []

        def working() -> Found:
            work = cost_of(self.network, first(task.timing, 1).data).multiply_adds or 1
            return [train_working_mlp(task, work, learned, *training, affine=affine(), **options)], []

        makers: list[tuple[str, str, Callable[[], Found]]] = []
        if task.affine:
            makers.append(("linear MMSE", "generic", lambda: ([linear_mmse(task, affine=affine())], [])))
        makers.append(("MLP, as many parameters", "generic", small))
        return makers if effort == "quick" else [*makers, ("MLP, as many multiply-adds", "generic", working)]

    @torch.no_grad()
    def compiled(self, plain: Contender, after: float) -> list[Contender]:
        """The network compiled, where it takes at least ``after`` seconds for the test set."""
        begin = time.perf_counter()
        plain.estimates = estimates_of(self.network, self.task.test)
        taken = time.perf_counter() - begin
        if taken < after:
            return []
        self.say("compiling the network")

        def make() -> Found:
            run = deploy(self.network, "compiled")
            for data in (
                first(self.task.timing, 1).data,
                self.task.timing.data,
                *(batch.data for batch in self.task.test),
            ):
                run(data)
            note = (
                f"compiled in {run.seconds:.0f} s ({run.graphs} graph{'s' if run.graphs > 1 else ''}); the test "
                f"set takes the plain network {taken:.2g} s"
            )
            name, count, size = f"{plain.name}, compiled", plain.iterations, plain.parameters
            return [Contender(name, "network", run, count, size, note, network=self.network)], []

        return self._attempt(f"{plain.name}, compiled", "network", make)[0]

    def _attempt(self, name: str, role: str, make: Callable[[], Found]) -> Found:
        """What ``make`` gives, or a contender that says why it gave nothing."""
        try:
            with deadline(self.limit):
                return make()
        except KeyboardInterrupt:
            self.interrupted = True
            self.say("interrupted: what was measured is kept; once more ends at once")
            return [Contender(name, role, _nothing, error="not measured: interrupted")], []
        except Exception as error:  # a baseline that fails must not take the others with it
            return [Contender(name, role, _nothing, error=short(error))], []

    def measure(self, contenders: list[Contender]) -> tuple[list[Row], list[list[Tensor]]]:
        """Quality, cost and time of each."""
        task, seed = self.task, self.seed
        self.say(f"measuring quality and time of {len(contenders)} methods")
        estimates: list[list[Tensor]] = []
        for contender in contenders:
            found: list[Tensor] = []
            if not contender.error:
                try:
                    # The network is what the page is about: it takes as long as it takes.
                    with deadline(None if contender.role == "network" else self.limit):
                        found = contender.estimates or estimates_of(contender.run, task.test, contender.limit)
                except KeyboardInterrupt:
                    self.interrupted, contender.error = True, "not measured: interrupted"
                except Exception as error:
                    contender.error = short(error)
            estimates.append(found)
        usable = [contender for contender in contenders if not contender.error]
        try:
            times = dict(zip(map(id, usable), time_all(usable, task.timing), strict=True))
        except KeyboardInterrupt:
            self.interrupted, times = True, {}
        except Exception as error:  # of one that cannot take a single sample, say: what was measured stands
            self.say(f"times could not be measured: {short(error)}")
            times = {}
        single = first(task.timing, 1).data
        ours = pieces_of(task, task.test, estimates[0])
        rows = []
        for contender, found in zip(contenders, estimates, strict=True):
            if contender.error:
                note = f"failed: {contender.error}"
                rows.append(
                    Row(
                        contender.name,
                        contender.role,
                        replace(NAN),
                        contender.iterations,
                        contender.parameters,
                        None,
                        note,
                    )
                )
                continue
            pieces = pieces_of(task, task.test, found)
            quality = interval(task.metric, pieces, seed)
            limited = contender.limit is not None and sum(map(len, found)) < sum(count(batch) for batch in task.test)
            text = f"first {contender.limit} samples; {contender.note}" if limited else contender.note
            row = Row(
                contender.name,
                contender.role,
                quality,
                contender.iterations,
                contender.parameters,
                times.get(id(contender)),
                text,
            )
            row.cost = (
                cost_of(contender.run, single, contender.network)
                if contender.role != "library" and (contender.iterations or 0) <= 2000
                else None
            )
            row.paired = None if contender is contenders[0] or limited else paired(task.metric, pieces, ours, seed)
            row.spread = self._spread(contender, pieces, row.cost.multiply_adds if row.cost else None)
            row.training_seconds = contender.training_seconds
            row.more = task.more(found, task.test) if not limited else {}
            rows.append(row)
        return rows, estimates

    def _spread(self, contender: Contender, pieces: Tensor, work: int | None) -> Spread | None:
        """Over all the samples that the task draws for this, where the method is cheap; else over the test set.

        Args:
            contender: the method.
            pieces: on the test set.
            work: multiply-adds for a sample, where they are known.
        """
        task = self.task
        if contender.limit is None and (many := self.many) and work and work * sum(map(count, many)) <= MANY_WORK:
            pieces = pieces_of(task, many, estimates_of(contender.run, many))
        return spread(task.metric, pieces, task.failure)


def _role(baseline: Baseline) -> str:
    """The role of a baseline's row; ``iterative`` for those that have rows of several."""
    if isinstance(baseline, Iterative):
        return "iterative"
    return "generic" if isinstance(baseline, Generic) else getattr(baseline, "kind", "classical")


def _nothing(data: Any) -> Tensor:
    raise RuntimeError("this method has failed before")


def short(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@torch.no_grad()
def _layer_curve(title: str, network: Unrolled, task: Task) -> Curve:
    estimates: list[list[Tensor]] = [[] for _ in network.layers]
    for batch in task.test:
        for number, estimate in enumerate(network.estimates(batch.data)):
            estimates[number].append(estimate)
    values = [task.metric.value(pieces_of(task, task.test, each)) for each in estimates]
    return Curve(title, "network", list(range(1, len(network) + 1)), values, None)
