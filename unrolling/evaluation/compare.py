"""A network beside its parent, classical baselines, other libraries and generic networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from unrolling._progress import Bar
from unrolling.core import Safeguarded, Unrolled
from unrolling.evaluation import illustrate
from unrolling.evaluation.bands import measure_coverage
from unrolling.evaluation.budget import shortened
from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.contenders import Measured, short, training
from unrolling.evaluation.criteria import criteria
from unrolling.evaluation.generic import train_mlp
from unrolling.evaluation.headlines import headline, standing
from unrolling.evaluation.layers import examine_layers
from unrolling.evaluation.measure import Contender, environment
from unrolling.evaluation.records import Curve, Row, SafeguardReport
from unrolling.evaluation.shifts import size_sweep, sweep
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.papers import Reference, cited
from unrolling.tasks.base import Task, evaluate, first, pieces_of
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.exhibits import Shown
from unrolling.training.fit import fit

Depth = Literal["quick", "usual", "thorough"]
SIZES = (10, 100, 1000, 10_000)
# Of a generic network, however fast and from however few samples a step the network itself learns.
LEAST_STEPS, LEAST_BATCH = 4000, 16
BUDGETS = {"quick": 40.0, "usual": 150.0, "thorough": None}
BUDGET_WORDS = (
    "Algorithms and generic networks share a budget of {:g} foreseen seconds of one thread. Where a share does not go "
    "as far, settings are chosen on fewer samples, the score is taken of the first samples, and then there are fewer "
    "iterations or steps: each row says so. What is shown layer by layer is of fewer samples too, or left out, where "
    "that takes long."
)


def compare(
    system: System,
    task_name: str,
    recipe: Recipe,
    task: Task,
    network: Unrolled,
    *,
    seed: int = 0,
    note: str = "",
    quiet: bool = False,
    say: Callable[[str], None] = lambda text: None,
    effort: Depth = "usual",
    limit: float | None = 900.0,
    training_seconds: float | None = None,
    replicas: Sequence[Unrolled] = (),
    compile_after: float = float("inf"),
    baselines: Sequence[Baseline] | None = None,
    generic: tuple[int, int] | None = None,
    budget: float | Literal["effort"] | None = "effort",
) -> Comparison:
    """Measure a trained network against everything its task names, all times alternating in one run.

    Args:
        system: for names and citations.
        task_name: as in ``--task``.
        recipe: its parent, and how it was trained.
        task: data and baselines; settings are chosen on ``task.validation``, scores come from ``task.test``.
        network: trained or loaded.
        seed: of the generic networks and of the intervals.
        note: where the network's weights come from.
        quiet: no progress bars; there are some on a terminal only.
        say: told what did not go as it should.
        effort: ``quick`` leaves out the generic network of equal work and the shifts; ``thorough`` adds training on
            fewer samples.
        limit: seconds that a baseline may take; a row that failed or took longer says so, and the rest stands.
        training_seconds: of the network.
        replicas: the same network trained with other seeds.
        compile_after: the network is also measured compiled where so many seconds are foreseen for the test set; its
            row says what compiling cost.
        baselines: what to compare with instead of what task and system name.
        generic: optimizer steps and samples per step of generic networks; by default those of the recipe's schedule,
            and 4000 steps at least.
        budget: foreseen seconds of one thread that choosing settings, running algorithms and training generic networks
            may take together, shared by the rows (``evaluation.budget``); None for any. By default 40 where the effort
            is ``quick``, 150 usually, any where it is ``thorough``.
    """
    if baselines is None:
        own = system.baselines[task_name](system, task) if task_name in system.baselines else ()
        size = sum(p.numel() for p in network.parameters() if p.requires_grad)
        baselines = [*own, *task.baselines(size)]
    steps = training(recipe.schedule(len(network)), LEAST_STEPS, LEAST_BATCH) if generic is None else generic
    allowed = BUDGETS[effort] if budget == "effort" else budget
    task, left_out = (task, "") if allowed is None else shortened(task, network, allowed / 6)
    with Bar(f"comparing {system.title}", quiet=quiet) as bar:
        measured = Measured(task, network, system.title, seed, limit, quiet, say, bar)
        looks = None if allowed is None else allowed / 8  # of what is looked at layer by layer
        contenders, curves = measured.networks(
            system.network(recipe, task, len(network)), note, training_seconds, looks
        )
        goal = task.metric.value(pieces_of(task, task.test, contenders[0].estimates or ()))
        others, lines = measured.baselines(
            baselines, recipe.parent(task), goal, steps, effort, allowed, system.three_runs.get(task_name)
        )
        points = [each for each in others if each.role == "network"]  # beside the network itself
        rest = [each for each in others if each.role != "network"]
        contenders, curves = [contenders[0], *points, *contenders[1:], *rest], [*curves, *lines]
        contenders += measured.compiled(contenders[0], compile_after)
        guarded = _guard(system, network)
        rows, estimates = measured.measure([*contenders, *guarded])
        guarded_rows, rows = rows[len(contenders) :], rows[: len(contenders)]
        _set_curve_seconds(curves, rows)
        comparison = Comparison(
            system.name,
            system.title,
            task_name,
            task.summary,
            task.metric,
            rows,
            environment(seed),
            headline=headline(system.title, task, rows),
            curves=curves,
            notes=[
                *task.notes,
                *([f"Intervals are {rows[0].quality.note}."] if rows[0].quality.note else []),
                *([left_out] if left_out else []),
                *([BUDGET_WORDS.format(allowed)] if allowed is not None else []),
            ],
            parameters=illustrate.parameters(network),
            atoms=illustrate.atoms(task, network),
            equations=system.equations,
            bibliography=[paper.bibtex() for paper in (*system.papers, *cited(task.references))],
        )

        def part(name: str, make: Callable[[], None]) -> None:
            """A part of the page; where it fails the rest stands, and the page says so."""
            if measured.interrupted:
                return
            try:
                make()
            except KeyboardInterrupt:
                measured.interrupted = True
            except Exception as error:
                comparison.notes.append(f"{name} could not be shown: {short(error)}")

        def drawing() -> None:
            comparison.drawing = network.draw(first(task.test[0], 2).data, system.title)

        def seeds() -> None:
            rows[0].seeds = [task.metric.value(evaluate(other, task, task.test)) for other in replicas]

        def layers() -> None:
            bar.update(name="looking at the layers")
            comparison.layers = examine_layers(network, task, quality=curves[0].quality, budget=looks)
            comparison.theory = list(task.theory(network, comparison.layers.quality))

        def examples() -> None:
            found = task.exhibits(
                [
                    Shown(contender.name, contender.role, -task.metric.rank(standing(row, rows[0])), found)
                    for contender, found, row in zip(contenders, estimates, rows, strict=False)
                    if found  # not of those that failed
                ]
            )
            comparison.pictures, comparison.codes, comparison.sounds = found.pictures, found.codes, found.sounds
            comparison.time_series = found.time_series

        def progress() -> None:
            with torch.no_grad():
                comparison.layer_pictures = list(task.progress(list(network.estimates(task.test[0].data))))

        def guard() -> None:
            if guarded_rows and not guarded[0].error:
                comparison.safeguard = _guarded(network, task, guarded_rows[0])

        def bars() -> None:
            bar.update(name="calibrating error bars")
            away = task.shifts() if effort != "quick" else ()
            comparison.coverage = measure_coverage(network, task, away, budget=None if allowed is None else allowed / 8)

        def shifts() -> None:
            bar.advance(name="away from the training data")
            comparison.shifts = sweep(
                task, task.shifts(), _few(contenders, rows), None if allowed is None else allowed / 5
            )

        def sizes() -> None:
            bar.update(name="training on fewer samples")
            vectors = task.vectors and task.timing.target is not None
            comparison.sizes = size_sweep(task, _trainers(system, recipe, network, seed, steps, vectors), SIZES)

        part("The drawing", drawing)
        part("Other seeds", seeds)
        part("The layers", layers)
        part("Examples", examples)
        part("Estimates after each layer", progress)
        part("The safeguard", guard)
        part("Error bars", bars)
        if effort != "quick":
            part("Shifts", shifts)
        if effort == "thorough":
            part("Fewer samples", sizes)

        def judged() -> None:
            comparison.criteria = criteria(comparison)

        part("The criteria", judged)
        if measured.interrupted:
            comparison.interrupted = True
            comparison.notes.append("Interrupted: what is not here was not measured.")
        return comparison


def compare_network(
    network: Unrolled,
    task: Task,
    *,
    title: str,
    reference: str | Reference | None = None,
    generic_steps: int = 2000,
    generic_batch: int = 128,
    **options: Any,
) -> Comparison:
    """``compare`` for a network of one's own, without a system.

    Args:
        network: trained.
        task: its data, and what to compare with.
        title: its name.
        reference: where it was published, a key of the list of papers or a ``Reference``.
        generic_steps: optimizer steps of the generic networks.
        generic_batch: their samples per step.
        options: of ``compare``.
    """
    recipe = Recipe(
        parent=lambda given: network.parent,
        tying=Tying(network.tied, network.untied),
        depth=len(network),
        schedule=lambda depth: [],
    )
    system = System("own/network", title, "", "", (reference,) if reference else (), {task.name: recipe})
    return compare(system, task.name, recipe, task, network, generic=(generic_steps, generic_batch), **options)


def _guard(system: System, network: Unrolled) -> list[Contender]:
    """The safeguarded network, where its parent has an objective."""
    if not hasattr(network.parent, "objective"):
        return []
    words = "a layer's step is taken only where the parent's objective gets no worse than by the parent's own step"
    return [
        Contender(
            f"{system.title}, safeguarded", "network", Safeguarded(network), len(network), None, words, network=network
        )
    ]


def _guarded(network: Unrolled, task: Task, row: Row) -> SafeguardReport:
    """How often the safeguard took the network's step on the test set, and what that costs."""
    accepted, kept = [], True
    with torch.no_grad():
        for batch in task.test:
            found = Safeguarded(network).run(batch.data)
            accepted.append(found.accepted.double().reshape(len(found.accepted), -1))  # one column without a batch
            kept = kept and bool((found.merit <= found.parent_merit).all())
    rates = torch.cat(accepted, dim=1).mean(1)
    return SafeguardReport(float(rates.mean()), rates.tolist(), kept, row.quality, row.seconds, row.paired)


def _few(contenders: Sequence[Contender], rows: Sequence[Row]) -> list[Contender]:
    """Those that a sweep shows: the network, its parent at as many iterations and further on, classical methods without
    iterations, the generic ones.
    """
    usable = [(c, r) for c, r in zip(contenders, rows, strict=True) if not c.error]
    own = contenders[0].network
    chosen = [c for c, _ in usable if c.role == "generic" or (c.role == "network" and c.network is own)]
    parents = [c for c, _ in usable if c.role == "parent"]
    direct = [c for c, _ in usable if c.role == "classical" and c.iterations is None and c.limit is None]
    return [chosen[0], *reversed(parents), *direct, *chosen[1:]]


def _trainers(
    system: System, recipe: Recipe, network: Unrolled, seed: int, budget: tuple[int, int], vectors: bool
) -> list[tuple[str, str, Callable[[Task], Callable[[Any], Tensor]]]]:
    """What trains the network and the generic one, with the steps of the real training."""
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)

    def ours(task: Task) -> Callable[[Any], Tensor]:
        fresh = system.network(recipe, task, len(network))
        fit(fresh, task, recipe.schedule(len(network)), seed=seed, choose="best", quiet=True)
        return fresh

    def generic(task: Task) -> Callable[[Any], Tensor]:
        return train_mlp(task, learned, *budget, seed=seed, choose="best").run

    found: list[tuple[str, str, Callable[[Task], Callable[[Any], Tensor]]]] = [(system.title, "network", ours)]
    return [*found, ("MLP, as many parameters", "generic", generic)] if vectors else found


def _set_curve_seconds(curves: Sequence[Curve], rows: Sequence[Row]) -> None:
    """Seconds per iteration from the longest timed run of the same method."""
    for curve in curves:
        name = curve.name.split(", weight")[0]
        fitting = [
            r
            for r in rows
            if r.iterations
            and r.seconds
            and (r is rows[0] if curve.role == "network" else r.name.startswith(f"{name}, "))
        ]
        if fitting:
            row = max(fitting, key=lambda r: r.iterations or 0)
            assert row.seconds is not None
            assert row.iterations is not None
            curve.seconds = row.seconds.batch / row.iterations
