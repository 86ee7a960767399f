"""Who takes part in a comparison: the network, its parent, what the task names, and generic networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from unrolling._progress import Bar
from unrolling.core import Unrolled, deploy, tree
from unrolling.evaluation.baselines import Affine, affine_estimate, linear_mmse, run_method
from unrolling.evaluation.budget import MULTIPLY_ADDS, Allowance, foreseen, of_a_sample, part_of
from unrolling.evaluation.classical import run_classical
from unrolling.evaluation.cost import cost_of, cost_of_long
from unrolling.evaluation.deadline import deadline
from unrolling.evaluation.generic import train_generic, train_mlp, train_working_mlp
from unrolling.evaluation.layers import quality_of_layers
from unrolling.evaluation.measure import Contender, interval, scored_batches, spread, time_all
from unrolling.evaluation.records import Cost, Curve, Interval, Row, Spread
from unrolling.evaluation.significance import holm, paired, paired_rows
from unrolling.evaluation.three_runs import fixed_points
from unrolling.tasks.base import Task, count, estimates_of, first, pieces_of
from unrolling.tasks.baselines import (
    Baseline,
    Generic,
    Iterative,
    Method,
    ThreeRuns,
    algorithm,
    is_algorithm,
    parent_among,
)
from unrolling.training.stages import Schedule

NAN = Interval(float("nan"), float("nan"), float("nan"))
MANY_SECONDS = 10.0  # foreseen, that a method may take for as many samples as rare failures ask for
TRAINING_SHARES = 3  # of the budget that a generic network takes, where an algorithm takes one
MEASURING = 0.3  # of such a share for the score and the time of a method, as the bar of a comparison counts it
LATER = 4  # likewise, for layers, examples and shifts
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
        quiet: no progress bars.
        say: told what did not go as it should.
        bar: of the whole comparison.
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
        bar: Bar | None = None,
    ) -> None:
        self.task, self.network, self.title, self.seed = task, network, title, seed
        self.limit, self.quiet, self.say = limit, quiet, say
        self.bar = Bar(title, quiet=True) if bar is None else bar
        self.share: float | None = None  # of the budget, in foreseen seconds, for a row that is run step by step
        self.interrupted = False  # Ctrl-C: no further baselines
        self.learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self.many = task.many()

    def networks(
        self, before: Unrolled, note: str, training_seconds: float | None, budget: float | None = None
    ) -> Found:
        """The network, and itself before training; the metric after each layer.

        Args:
            before: the network before training.
            note: where its weights come from.
            training_seconds: that it was trained.
            budget: foreseen seconds of the metrics after each layer, kept to by fewer samples; None for any.
        """
        self.bar.update(name="measuring the network layer by layer")
        depth = len(self.network)
        name = f"{self.title}, {depth} layer{'s' if depth > 1 else ''}"
        trained = Contender(name, "network", self.network, depth, self.learned, note, network=self.network)
        trained.training_seconds = training_seconds
        trained.estimates = estimates_of(self.network, self.task.test)
        words = "the same network at its classical values"
        initial = Contender(
            f"{self.title} before training", "initial", before, depth, self.learned, words, network=before
        )
        return [trained, initial], [_layer_curve(self.title, self.network, self.task, budget)]

    def baselines(
        self,
        baselines: Sequence[Baseline],
        parent: Any,
        goal: float,
        training: tuple[int, int],
        effort: str,
        budget: float | None = None,
        runs: ThreeRuns | None = None,
    ) -> Found:
        """What the network is compared with: its own step to the fixed point, its parent among classical methods, other
        libraries, generic networks.

        Args:
            baselines: what the task names, and the system.
            parent: the iteration at its classical values.
            goal: the network's metric on the test set.
            training: steps and samples per step of generic networks.
            effort: ``quick`` leaves out the generic network of equal work.
            budget: foreseen seconds of all of them; None for any.
            runs: how the network's step is run to its fixed point; None where it is not.
        """
        task = self.task
        estimates = estimates_of(self.network, task.validation)
        validation_goal = task.metric.value(pieces_of(task, task.validation, estimates))
        own = parent_among(baselines, parent)
        if own is None:
            own = Iterative(algorithm(parent), lambda _: parent, (None,), PARENT_STEPS, setting="")
            baselines = [own, *baselines]
        # Trainings take several shares; the rest is for what steps do not tell.
        vectors = self._vectors(training, effort)
        trained = sum(isinstance(b, Generic) for b in baselines) + len([name for name, *_ in vectors if "MLP" in name])
        iterative = sum(isinstance(b, Iterative) for b in baselines) + (2 if runs else 0)
        self.share = None if budget is None else budget / max(1, iterative + TRAINING_SHARES * trained)
        points = fixed_points(runs, self.network, self.title, task, self.share, self.seed, self.quiet)
        self.bar.total = (
            (1 + MEASURING) * (len(points) + len(baselines) + len(vectors)) + (TRAINING_SHARES - 1) * trained + LATER
        )
        contenders: list[Contender] = []
        curves: list[Curve] = []
        for makers in (
            points,
            [
                (b.name, "parent" if b is own else "classical", self._iterative(b, parent, goal, validation_goal))
                for b in baselines
                if isinstance(b, Iterative)
            ],
            [(b.name, _role(b), self._other(b, training)) for b in baselines if _role(b) == "classical"],
            vectors,
            [(b.name, _role(b), self._other(b, training)) for b in baselines if _role(b) == "generic"],
            [(b.name, _role(b), self._other(b, training)) for b in baselines if _role(b) == "library"],
        ):
            for name, role, make in makers:
                if self.interrupted:
                    contenders.append(Contender(name, role, _nothing, error="not measured: interrupted"))
                    continue
                self.bar.update(name=name)
                rows, lines = self._attempt(name, role, make)
                self.bar.advance(TRAINING_SHARES if role == "generic" else 1)
                contenders += rows
                curves += lines
        return contenders, curves

    def _iterative(self, method: Iterative, parent: Any, goal: float, validation_goal: float) -> Callable[[], Found]:
        def run() -> Found:
            depth = len(self.network) if is_algorithm(method, parent) else None
            allowance = None if self.share is None else Allowance(self.share, self.network)
            return run_classical(method, self.task, goal, validation_goal, depth, allowance)

        return run

    @property
    def _training_share(self) -> float | None:
        return None if self.share is None else TRAINING_SHARES * self.share

    def _other(self, baseline: Baseline, training: tuple[int, int]) -> Callable[[], Found]:
        if isinstance(baseline, Generic):
            options = {"seed": self.seed, "quiet": self.quiet, "allowed": self._training_share}
            return lambda: ([train_generic(self.task, baseline, *training, **options)], [])
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
            return [train_mlp(task, learned, *training, affine=affine(), allowed=self._training_share, **options)], []

        def working() -> Found:
            work = cost_of(self.network, first(task.timing, 1).data).multiply_adds or 1
            allowed = self._training_share
            return [train_working_mlp(task, work, learned, *training, affine=affine(), allowed=allowed, **options)], []

        makers: list[tuple[str, str, Callable[[], Found]]] = []
        if task.affine:
            makers.append(("linear MMSE", "generic", lambda: ([linear_mmse(task, affine=affine())], [])))
        makers.append(("MLP, as many parameters", "generic", small))
        return makers if effort == "quick" else [*makers, ("MLP, as many multiply-adds", "generic", working)]

    @torch.no_grad()
    def compiled(self, plain: Contender, after: float) -> list[Contender]:
        """The network compiled, where at least ``after`` seconds are foreseen for the test set."""
        if after == float("inf"):
            return []
        taken = of_a_sample(self.network, self.task.test[0]) * sum(map(count, self.task.test))
        if taken < after:
            return []
        self.bar.update(name="compiling the network")

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
        self.bar.update(name=f"measuring quality and time of {len(contenders)} methods")
        estimates: list[list[Tensor]] = []
        for contender in contenders:
            found: list[Tensor] = []
            if not contender.error:
                try:
                    # The network is what the page is about: it takes as long as it takes.
                    with deadline(None if contender.role == "network" else self.limit):
                        batches = scored_batches(contender, task.test)
                        found = contender.estimates or estimates_of(contender.run, batches)
                except KeyboardInterrupt:
                    self.interrupted, contender.error = True, "not measured: interrupted"
                except Exception as error:
                    contender.error = short(error)
            estimates.append(found)
            self.bar.advance(MEASURING)
        usable = [contender for contender in contenders if not contender.error]
        try:
            times = dict(zip(map(id, usable), time_all(usable, task.timing), strict=True))
        except KeyboardInterrupt:
            self.interrupted, times = True, {}
        except Exception as error:  # of one that cannot take a single sample, say: what was measured stands
            self.say(f"times could not be measured: {short(error)}")
            times = {}
        single = first(task.timing, 1).data
        rows, pieces = [], []
        for contender, found in zip(contenders, estimates, strict=True):
            if contender.error:
                note = f"failed: {contender.error}"
                own = contender.iterations, contender.parameters, None, note
                rows.append(Row(contender.name, contender.role, replace(NAN), *own))
                pieces.append(None)
                continue
            batches = scored_batches(contender, task.test)
            pieces.append(pieces_of(task, batches, found))
            given, whole = sum(map(count, batches)), sum(map(count, task.test))
            text = contender.note if given == whole else f"on the first {given} samples; {contender.note}"
            row = Row(
                contender.name,
                contender.role,
                interval(task.metric, pieces[-1], seed),
                contender.iterations,
                contender.parameters,
                times.get(id(contender)),
                text.removesuffix("; "),
                samples=None if given == whole else given,
                linear=contender.linear,
            )
            row.cost = _cost(contender, single)
            row.spread = self._spread(contender, pieces[-1], row.cost.multiply_adds if row.cost else None)
            row.training_seconds = contender.training_seconds
            row.more = task.more(found, batches)
            rows.append(row)
        self._pair(contenders, rows, pieces, estimates[0])
        return rows, estimates

    def _spread(self, contender: Contender, pieces: Tensor, work: int | None) -> Spread | None:
        """Over all the samples that the task draws for this, where the method is cheap; else over the test set.

        Args:
            contender: the method.
            pieces: on the test set.
            work: multiply-adds for a sample, where they are known.
        """
        task, most = self.task, MANY_SECONDS
        if self.share is not None and contender.role != "network":
            most = min(most, 0.5 * self.share)
        many = self.many if contender.limit is None and work else []
        samples = sum(map(count, many))
        if many and work and work * samples / MULTIPLY_ADDS <= most:
            try:
                with deadline(None if contender.role == "network" else self.limit):
                    if foreseen(lambda: contender.run(many[0].data)) * samples / count(many[0]) <= most:
                        pieces = pieces_of(task, many, estimates_of(contender.run, many))
            except Exception as error:  # what was measured on the test set stands
                self.say(f"{contender.name}, single {task.metric.resampled}s: {short(error)}")
        return spread(task.metric, pieces, task.failure)

    def _pair(self, contenders: list[Contender], rows: list[Row], pieces: list[Tensor | None], ours: list[Any]) -> None:
        """The rows' differences from the network on the samples that both were given; p by Holm's method over all."""
        task, others = self.task, [i for i, each in enumerate(pieces) if each is not None and i > 0]
        whole = pieces[0]
        if whole is None:
            return
        same = [i for i in others if rows[i].samples is None and _of(pieces, i).shape == whole.shape]
        found = paired_rows(task.metric, [_of(pieces, i) for i in same], whole, self.seed)
        for i, difference in zip(same, found, strict=True):
            rows[i].paired = difference
        for i in set(others) - set(same):
            batches = scored_batches(contenders[i], task.test)
            part = [
                tree.select(estimate, torch.arange(count(batch)), count(all_of), "estimate")
                for estimate, batch, all_of in zip(ours, batches, task.test, strict=False)
            ]
            rows[i].paired = paired(task.metric, _of(pieces, i), pieces_of(task, batches, part), self.seed)
        tested = [row.paired for row in rows if row.paired is not None]
        for difference, p in zip(tested, holm([each.p for each in tested]), strict=True):
            difference.adjusted = p


def _of(pieces: list[Tensor | None], index: int) -> Tensor:
    found = pieces[index]
    assert found is not None
    return found


def _cost(contender: Contender, single: Any) -> Cost | None:
    """Of one sample; not of other libraries, whose work torch does not see, nor of what cannot take a single one."""
    if contender.role == "library":
        return None
    try:
        if contender.prepare is not None and contender.part is not None:
            return cost_of_long(contender.prepare, contender.part, contender.scale, single, contender.network)
        return cost_of(contender.run, single, contender.network)
    except Exception:  # the row stands without it
        return None


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
def _layer_curve(title: str, network: Unrolled, task: Task, budget: float | None) -> Curve:
    batches = part_of(task.test, 1).batches
    if budget is not None:
        once = of_a_sample(lambda data: list(network.estimates(data)), batches[0])
        batches = part_of(batches, budget / max(once * sum(map(count, batches)), 1e-12)).batches
    values = quality_of_layers(network, task, batches)
    return Curve(title, "network", list(range(1, len(network) + 1)), values, None)
