"""The step of a trained network run to its fixed point, beside the network: plug-and-play by ``solve``, and implicit by
``Equilibrium``.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import Equilibrium, Implicit, Iteration, Unrolled, solve
from unrolling.evaluation.budget import FORESEEN, Allowance, Part, foreseen, part_of
from unrolling.evaluation.classical import LEAST_ITERATIONS, stepped
from unrolling.evaluation.measure import Contender
from unrolling.tasks.base import Samples, Task, count, estimates_of, first, pieces_of
from unrolling.tasks.baselines import ThreeRuns
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Stage

TIMED = 10  # steps of a run that are timed; the rest take as long
PRODUCTS = 100  # with the Jacobian, in which an implicit gradient is found or not
BACKWARD = 3  # a training step costs so many times what its estimate does

Makers = list[tuple[str, str, Callable[[], tuple[list[Contender], list[Any]]]]]


def fixed_points(
    runs: ThreeRuns | None, network: Unrolled, title: str, task: Task, share: float | None, seed: int, quiet: bool
) -> Makers:
    """The names, roles and makers of both rows; none without ``runs``.

    Args:
        runs: how the fixed point is sought.
        network: trained.
        title: its name.
        task: validation and test data.
        share: foreseen seconds that a row may take; None for any.
        seed: of the training samples.
        quiet: no progress bars.

    Raises:
        ValueError: a network whose layers differ.
    """
    if runs is None:
        return []
    if network.untied:
        raise ValueError(f"{title} has layers that differ ({', '.join(network.untied)}): no step to be repeated")
    found = _FixedPoints(runs, network, title, task, share, seed, quiet)
    return [
        (found.names[0], "network", lambda: ([found.plug_and_play()], [])),
        (found.names[1], "network", lambda: ([found.implicit()], [])),
    ]


class _Found(NamedTuple):
    """Fixed points of the samples of a part."""

    part: Part
    estimates: list[Tensor]
    steps: int  # of the sample that took most
    words: str


class _FixedPoints:
    """What both rows are made of; ``fixed_points`` says of what."""

    def __init__(
        self, runs: ThreeRuns, network: Unrolled, title: str, task: Task, share: float | None, seed: int, quiet: bool
    ) -> None:
        self.runs, self.network, self.task = runs, network, task
        self.share, self.seed, self.quiet = share, seed, quiet
        self.names = f"{title}, plug-and-play by solve", f"{title}, as Equilibrium"
        self.learned = sum(p.numel() for p in network.parameters() if p.requires_grad)

    @cached_property
    def as_learned(self) -> _Found:
        """With what the network learned."""
        return self._sought(self.network.layers[0])

    @cached_property
    def contraction(self) -> str:
        """What is known of whether the step contracts."""
        return self.runs.contraction(self.network.layers[0], first(self.task.test[0], FORESEEN).data)

    def plug_and_play(self) -> Contender:
        """``solve``, nothing being trained for it."""
        note = f"the network's step until it stands still, nothing trained for that; {self.as_learned.words}"
        return self._row(self.names[0], self.network.layers[0], self.as_learned, note)

    def implicit(self) -> Contender:
        """``Equilibrium``, trained at the fixed point where that is within the budget."""
        made = self._equilibrium()
        trained, words, seconds = self._trained(made)
        found = self._sought(made.layer) if trained else self.as_learned
        note = f"{words}; {self._gradient(made)}; {self.contraction}; {found.words}"
        row = self._row(self.names[1], made.layer, found, note)
        row.training_seconds = seconds
        return row

    def _row(self, name: str, step: Iteration, found: _Found, note: str) -> Contender:
        row = stepped(name, "network", step, found.steps, note, found.part, found.estimates, TIMED)
        row.parameters, row.network = self.learned, step
        return row

    def _equilibrium(self) -> Equilibrium:
        runs = self.runs
        rule = Implicit(max_iterations=PRODUCTS)
        options: dict[str, Any] = {"tolerance": runs.tolerance, "max_iterations": runs.iterations, "gradient": rule}
        return Equilibrium(self.network.layers[0], learned=self.network.tied, **options)

    @torch.no_grad()
    def _sought(self, step: Iteration) -> _Found:
        """The fixed points of the test samples, or of as many as the budget allows."""
        runs, test = self.runs, self.task.test
        part, iterations = part_of(test, 1), runs.iterations
        if self.share is not None:
            once = _of_a_step(step, test)
            part, iterations = Allowance(self.share, self.network).plan(test, lambda n: once * n, runs.iterations)
            iterations = min(runs.iterations, max(iterations, len(self.network), LEAST_ITERATIONS))
        options: dict[str, Any] = {"tolerance": runs.tolerance, "max_iterations": iterations, "on_divergence": "mark"}
        found = [solve(step, batch.data, **options) for batch in part.batches]
        converged = torch.cat([each.converged.reshape(-1) for each in found])
        steps = torch.cat([each.iterations.reshape(-1) for each in found])
        low, high = int(steps.min()), int(steps.max())
        after = f"{low}" if low == high else f"{low} to {high}"
        words = f"{int(converged.sum())} of {len(converged)} at a residual of {runs.tolerance:g} after {after} steps"
        if iterations < runs.iterations and not bool(converged.all()):
            words += ", all that its share of the budget allows"
        return _Found(part, [each.estimate for each in found], high, words)

    def _trained(self, made: Equilibrium) -> tuple[bool, str, float | None]:
        """Trains it in place, at its fixed points; whether it changed, what happened in words, and how long it took."""
        runs, task = self.runs, self.task
        before = copy.deepcopy(made.state_dict())
        samples = task.draw(runs.batch, torch.Generator().manual_seed(self.seed))
        known = part_of(task.validation, 0.0)
        if self.share is not None:
            seconds = BACKWARD * runs.steps * runs.iterations * _of_a_step(made.layer, [samples])
            seconds += 2 * runs.iterations * _of_a_step(made.layer, known.batches)
            if seconds > self.share:
                words = "the fixed point of what the network learned, trained no further: its share of the budget "
                return False, f"{words}does not go as far", None

        def score() -> float:
            return task.metric.rank(
                task.metric.value(pieces_of(task, known.batches, estimates_of(made, known.batches)))
            )

        schedule = [Stage(runs.steps, rate=runs.rate, batch=runs.batch, annealing=Cosine(0.05), clip=1.0)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of samples that did not converge: the row counts them
            made.eval()
            untouched = score()
            history = fit(made, task, schedule, seed=self.seed, validations=0, quiet=self.quiet, name=self.names[1])
            made.eval()
            better = score() < untouched
        if not better:
            made.load_state_dict(before)
            return False, f"{runs.steps} steps of training at the fixed point improved nothing", history.seconds
        return True, f"trained {history.seconds:.0f} s, {runs.steps} steps, at the fixed point", history.seconds

    def _gradient(self, made: Equilibrium) -> str:
        """What an implicit gradient took on samples of the kind that training draws."""
        rule: Any = made.gradient
        samples = self.task.draw(self.runs.batch, torch.Generator().manual_seed(self.seed))
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore", RuntimeWarning)
            made(samples.data).abs().square().mean().backward()
        made.zero_grad()
        report = rule.report
        if report is None or not report.converged:
            return f"no implicit gradient found in {PRODUCTS} products with the Jacobian"
        return f"its gradient takes {report.iterations} products with the Jacobian"


def _of_a_step(step: Iteration, batches: list[Samples]) -> float:
    """Foreseen seconds of a step on all samples of some batches."""
    samples = first(batches[0], FORESEEN)
    with torch.no_grad():
        problem = step.prepare(samples.data)
        state = step.start(problem)
        once = foreseen(lambda: step(state, problem))
    return once * sum(map(count, batches)) / count(samples)
