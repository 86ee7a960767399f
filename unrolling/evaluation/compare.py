"""A network beside its parent, classical baselines, other libraries and generic networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from unrolling.core import Safeguarded, Unrolled, deploy
from unrolling.evaluation import illustrate, theory
from unrolling.evaluation.baselines import linear_mmse, scikit_learn, train_mlp, train_rival, train_working_mlp
from unrolling.evaluation.classical import run_classical
from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.cost import cost_of
from unrolling.evaluation.criteria import criteria
from unrolling.evaluation.deadline import deadline
from unrolling.evaluation.layers import examine_layers
from unrolling.evaluation.measure import Contender, environment, interval, time_all
from unrolling.evaluation.records import Curve, Interval, Row, SafeguardReport
from unrolling.evaluation.shifts import size_sweep, sweep
from unrolling.evaluation.significance import paired
from unrolling.evaluation.sounds import sounds
from unrolling.systems.base import Classical, Recipe, Reference, System, Tying
from unrolling.tasks.base import Task, count, estimates_of, evaluate, first, pieces_of
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.fit import fit

Depth = Literal["quick", "usual", "thorough"]
NAN = Interval(float("nan"), float("nan"), float("nan"))
SIZES = (10, 100, 1000, 10_000)


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
) -> Comparison:
    """Measure a trained network against everything its recipe names, all times alternating in one run.

    Args:
        system: for names and citations.
        task_name: as in ``--task``.
        recipe: what to compare with.
        task: data; classical weights are chosen on ``task.validation``, scores come from ``task.test``.
        network: trained or loaded.
        seed: of the generic networks and of the intervals.
        note: where the network's weights come from.
        quiet: no progress bar while generic networks train.
        say: told what is being done.
        effort: ``quick`` leaves out the generic network of equal work and the shifts; ``thorough`` adds training on
            fewer samples.
        limit: seconds that a baseline may take; a row that failed or took longer says so, and the rest stands.
        training_seconds: of the network.
        replicas: the same network trained with other seeds.
        compile_after: the network is also measured compiled where it takes so many seconds for the test set; its row
            says what compiling cost.
    """
    measured = _Measured(task, network, seed, limit, say)
    contenders, curves = measured.contend(system, recipe, note, training_seconds, effort, quiet)
    contenders += measured.compiled(contenders[0], compile_after)
    guarded = _guard(system, network)
    rows, estimates = measured.measure([*contenders, *guarded])
    guarded_rows, rows = rows[len(contenders) :], rows[: len(contenders)]
    _set_curve_seconds(curves, rows)
    if replicas:
        rows[0].seeds = [task.metric.value(evaluate(other, task, task.test)) for other in replicas]
    say("looking at the layers")
    layers = examine_layers(network, task)
    atoms = recipe.atoms
    comparison = Comparison(
        system.name,
        system.title,
        task_name,
        task.summary,
        task.metric,
        rows,
        environment(seed),
        headline=illustrate.headline(system.title, task, rows),
        curves=curves,
        notes=[*recipe.notes, *([f"Intervals are {rows[0].quality.note}."] if rows[0].quality.note else [])],
        parameters=illustrate.parameters(network),
        atoms=[]
        if atoms is None
        else [("classical", atoms(network.parent).numpy()), ("learned, last layer", atoms(network.layers[-1]).numpy())],
        pictures=illustrate.pictures(task, contenders, estimates, rows) if task.pictures else [],
        codes=[] if task.pictures or task.rate else illustrate.codes(task, contenders, estimates),
        sounds=sounds(task, contenders, estimates) if task.rate else [],
        layers=layers,
        layer_pictures=illustrate.layer_pictures(task, network) if task.pictures else [],
        theory=theory.examine(network, task, layers.quality) if isinstance(task, Recovery) else [],
        safeguard=_guarded(network, task, guarded_rows[0]) if guarded_rows else None,
        bibliography=[reference.bibtex() for reference in (*system.references, *recipe.data_references)],
    )
    if effort != "quick":
        say("away from the training data")
        comparison.shifts = sweep(task, task.shifts(), _few(contenders, rows))
    if effort == "thorough":
        say("training on fewer samples")
        comparison.sizes = size_sweep(task, _trainers(system, recipe, network, seed), SIZES)
    comparison.criteria = criteria(comparison)
    return comparison


def compare_network(
    network: Unrolled,
    task: Task,
    *,
    title: str,
    classical: Sequence[Classical] = (),
    reference: Reference | None = None,
    generic_steps: int = 2000,
    generic_batch: int = 128,
    **options: Any,
) -> Comparison:
    """``compare`` for a network of one's own, without a system.

    Args:
        network: trained.
        task: its data.
        title: its name.
        classical: methods to compare with; by default the parent alone, at its classical values.
        reference: where it was published.
        generic_steps: optimizer steps of the generic network.
        generic_batch: its samples per step.
        options: of ``compare``.
    """
    parent = network.parent
    methods = classical or [
        Classical(type(parent).__name__.removeprefix("Parametrized"), lambda _: parent, (0.0,), 2000)
    ]
    recipe = Recipe(
        task=lambda **given: task,
        parent=lambda given: parent,
        depth=len(network),
        tying=lambda given: Tying(network.tied, network.untied),
        schedule=lambda depth: [],
        classical=lambda given: methods,
        parent_name=methods[0].name,
        generic_steps=generic_steps,
        generic_batch=generic_batch,
    )
    system = System("own/network", title, "", "", (reference,) if reference else (), {task.name: recipe}, Path())
    return compare(system, task.name, recipe, task, network, **options)


class _Measured:
    """What all methods of a comparison are measured with."""

    def __init__(
        self, task: Task, network: Unrolled, seed: int, limit: float | None, say: Callable[[str], None]
    ) -> None:
        self.task, self.network, self.seed, self.limit, self.say = task, network, seed, limit, say

    def contend(
        self, system: System, recipe: Recipe, note: str, training_seconds: float | None, effort: str, quiet: bool
    ) -> tuple[list[Contender], list[Curve]]:
        """The methods, and the curves of those that go step by step."""
        task, network, seed = self.task, self.network, self.seed
        metric, depth = task.metric, len(network)
        learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self.say("measuring the network layer by layer")
        curves = [_layer_curve(system.title, network, task)]
        goal = curves[0].quality[-1]
        validation_goal = metric.value(pieces_of(task, task.validation, estimates_of(network, task.validation)))
        before = system.network(recipe, task, depth)
        name = f"{system.title}, {depth} layer{'s' if depth > 1 else ''}"
        contenders = [
            Contender(
                name, "network", network, depth, learned, note, network=network, training_seconds=training_seconds
            ),
            Contender(
                f"{system.title} before training",
                "initial",
                before,
                depth,
                learned,
                "the same network at its classical values",
                network=before,
            ),
        ]
        for method in recipe.classical(task):
            self.say(f"{method.name}: weight from validation data, then the test set")
            role = "parent" if method.name == recipe.parent_name else "classical"
            found = self._attempt(
                method.name,
                role,
                lambda m=method, r=role: run_classical(
                    m, task, goal, validation_goal, depth if r == "parent" else None
                ),
            )
            if isinstance(found, Contender):
                contenders.append(found)
            else:
                contenders += found[0]
                curves += found[1]
        contenders += [
            Contender(method.name, "classical", method.run, None, 0, method.note, method.limit)
            for method in recipe.direct(task)
        ]
        makers: list[tuple[str, str, Callable[[], Contender]]] = []
        if recipe.vectors:
            steps, batch = recipe.generic_steps, recipe.generic_batch
            if recipe.affine:
                makers.append(("linear MMSE", "generic", lambda: linear_mmse(task, seed=seed)))
            makers.append(
                (
                    "MLP, as many parameters",
                    "generic",
                    lambda: train_mlp(task, learned, steps, batch, seed=seed, quiet=quiet),
                )
            )
            if effort != "quick":
                work = cost_of(network, first(task.timing, 1).data).multiply_adds or 1
                makers.append(
                    (
                        "MLP, as many multiply-adds",
                        "generic",
                        lambda: train_working_mlp(task, work, learned, steps, batch, seed=seed, quiet=quiet),
                    )
                )
        makers += [
            (rival.name, "generic", lambda r=rival: train_rival(task, r, seed=seed, quiet=quiet))
            for rival in recipe.rivals(task, learned)
        ]
        if recipe.dictionary is not None:
            dictionary, decode = recipe.dictionary(task), recipe.decode(task)
            makers += [
                (
                    p.label,
                    "peer",
                    lambda p=p: scikit_learn(
                        task, dictionary, p.algorithm, decode, limit=p.limit, label=p.label, **p.options
                    ),
                )
                for p in recipe.peers(task)
            ]
        for label, role, make in makers:
            self.say(label)
            found = self._attempt(label, role, make)
            contenders.append(found if isinstance(found, Contender) else found[0])
        return contenders, curves

    @torch.no_grad()
    def compiled(self, plain: Contender, after: float) -> list[Contender]:
        """The network compiled, where it takes at least ``after`` seconds for the test set."""
        begin = time.perf_counter()
        plain.estimates = estimates_of(self.network, self.task.test)
        taken = time.perf_counter() - begin
        if taken < after:
            return []
        self.say("compiling the network")

        def make() -> Contender:
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
            return Contender(
                f"{plain.name}, compiled",
                "network",
                run,
                plain.iterations,
                plain.parameters,
                note,
                network=self.network,
            )

        found = self._attempt(f"{plain.name}, compiled", "network", make)
        return [found if isinstance(found, Contender) else found[0]]

    def _attempt(self, name: str, role: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, or a contender that says why it gave nothing."""
        try:
            with deadline(self.limit):
                found = make()
            return found if isinstance(found, Contender | tuple) else (found,)
        except Exception as error:  # a baseline that fails must not take the others with it
            return Contender(name, role, _nothing, error=_short(error))

    def measure(self, contenders: list[Contender]) -> tuple[list[Row], list[list[Tensor]]]:
        """Quality, cost and time of each."""
        task, seed = self.task, self.seed
        self.say(f"measuring quality and time of {len(contenders)} methods")
        estimates: list[list[Tensor]] = []
        for contender in contenders:
            found: list[Tensor] = []
            if not contender.error:
                try:
                    with deadline(self.limit):
                        found = contender.estimates or estimates_of(contender.run, task.test, contender.limit)
                except Exception as error:
                    contender.error = _short(error)
            estimates.append(found)
        usable = [contender for contender in contenders if not contender.error]
        times = dict(zip(map(id, usable), time_all(usable, task.timing), strict=True))
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
                times[id(contender)],
                text,
            )
            row.cost = (
                cost_of(contender.run, single, contender.network)
                if contender.role != "peer" and (contender.iterations or 0) <= 2000
                else None
            )
            row.paired = None if contender is contenders[0] or limited else paired(task.metric, pieces, ours, seed)
            row.training_seconds = contender.training_seconds
            row.more = task.more(found, task.test) if not limited else {}
            rows.append(row)
        return rows, estimates


def _nothing(data: Any) -> Tensor:
    raise RuntimeError("this method has failed before")


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


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
            accepted.append(found.accepted.double())
            kept = kept and bool((found.merit <= found.parent_merit).all())
    rates = torch.cat(accepted, dim=1).mean(1)
    return SafeguardReport(float(rates.mean()), rates.tolist(), kept, row.quality, row.seconds, row.paired)


def _few(contenders: Sequence[Contender], rows: Sequence[Row]) -> list[Contender]:
    """Those that a sweep shows: the network, its parent at as many iterations and further on, classical methods without
    iterations, the generic ones.
    """
    usable = [(c, r) for c, r in zip(contenders, rows, strict=True) if not c.error]
    chosen = [c for c, _ in usable if c.role in ("network", "generic")]
    parents = [c for c, _ in usable if c.role == "parent"]
    direct = [c for c, _ in usable if c.role == "classical" and c.iterations is None and c.limit is None]
    return [chosen[0], *reversed(parents), *direct, *chosen[1:]]


def _trainers(
    system: System, recipe: Recipe, network: Unrolled, seed: int
) -> list[tuple[str, str, Callable[[Task], Callable[[Any], Tensor]]]]:
    """What trains the network and the generic one, with the steps of the real training."""
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)

    def ours(task: Task) -> Callable[[Any], Tensor]:
        fresh = system.network(recipe, task, len(network))
        fit(fresh, task, recipe.schedule(len(network)), seed=seed, choose="best", quiet=True)
        return fresh

    def generic(task: Task) -> Callable[[Any], Tensor]:
        return train_mlp(task, learned, recipe.generic_steps, recipe.generic_batch, seed=seed, choose="best").run

    found: list[tuple[str, str, Callable[[Task], Callable[[Any], Tensor]]]] = [(system.title, "network", ours)]
    return [*found, ("MLP, as many parameters", "generic", generic)] if recipe.vectors else found


@torch.no_grad()
def _layer_curve(title: str, network: Unrolled, task: Task) -> Curve:
    estimates: list[list[Tensor]] = [[] for _ in network.layers]
    for batch in task.test:
        for number, estimate in enumerate(network.estimates(batch.data)):
            estimates[number].append(estimate)
    values = [task.metric.value(pieces_of(task, task.test, each)) for each in estimates]
    return Curve(title, "network", list(range(1, len(network) + 1)), values, None)


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
