"""Intervals, times, baselines and the comparison."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import moved, recovery, system

from unrolling import solve
from unrolling.algorithms import FISTA, CoordinateDescent, GramISTA
from unrolling.evaluation.baselines import affine_estimate, linear_mmse, run_method
from unrolling.evaluation.classical import run_classical, steps_of, trace
from unrolling.evaluation.compare import compare
from unrolling.evaluation.generic import train_mlp
from unrolling.evaluation.headlines import headline, standing
from unrolling.evaluation.measure import interval
from unrolling.evaluation.records import ROLES
from unrolling.networks.mlp import MLP, hidden_width
from unrolling.tasks.base import NMSE, PSNR, Samples, Task, estimates_of, evaluate, first, pieces_of
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.sparse.baselines import scikit_learn

# Intervals


def _draws(count, seed):
    """Errors and energies, exponential with means 0.1 and 1: the ratio of sums is -10 dB in the long run."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.column_stack([rng.exponential(0.1, count), rng.exponential(1, count)]))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    found = [interval(NMSE, _draws(120, seed), seed) for seed in range(50)]
    covered = sum(i.low <= -10 <= i.high for i in found)
    assert covered >= 43
    # And is no wider than it must be: two standard deviations of the estimate to both sides.
    spread = np.std([i.mean for i in found])
    assert np.mean([i.high - i.low for i in found]) == pytest.approx(3.92 * spread, rel=0.25)


def test_the_interval_is_the_same_each_time_and_holds_the_value():
    pieces = _draws(60, 0)
    assert interval(NMSE, pieces, 4) == interval(NMSE, pieces, 4)
    assert interval(NMSE, pieces, 4) != interval(NMSE, pieces, 5)
    found = interval(PSNR, pieces, 0)
    assert found.low < found.mean == PSNR.value(pieces) < found.high


def test_four_times_the_samples_halve_the_interval():
    few, many = (
        np.mean([i.high - i.low for i in (interval(NMSE, _draws(count, seed)) for seed in range(8))])
        for count in (100, 400)
    )
    assert few / many == pytest.approx(2, rel=0.2)


def test_pictures_are_resampled_and_never_parts_of_one():
    """Twelve pictures of 10 to 50 dB, each of many pixels: what is uncertain is which pictures these are."""
    levels = torch.linspace(10, 50, 12)
    target = torch.zeros(12, 64, 64)
    estimate = (10 ** (-levels / 20)).view(12, 1, 1).expand_as(target)
    pieces = PSNR.pieces(estimate, Samples(None, target))
    assert pieces.shape == (12, 2)
    found = interval(PSNR, pieces)
    assert found.mean == pytest.approx(30, abs=1e-4)
    half = 1.96 * float(levels.std(correction=0)) / 12**0.5
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)
    assert found.note == "over 12 pictures only: a bootstrap of so few is too narrow"
    assert interval(PSNR, pieces.repeat(2, 1)).note == ""
    alone = interval(PSNR, pieces[:1])
    assert alone.mean == pytest.approx(10, abs=1e-4)
    assert math.isnan(alone.low)
    assert "over 1 picture only" in alone.note


# Measuring methods


def test_estimates_of_a_part_are_scored_against_that_part():
    task = recovery()
    run = steps_of(GramISTA(task.dictionary, 0.1), 4)
    whole, part = estimates_of(run, task.test), estimates_of(run, task.test, 5)
    assert len(part[0]) == 5
    torch.testing.assert_close(part[0], whole[0][:5])
    torch.testing.assert_close(pieces_of(task, task.test, part), pieces_of(task, task.test, whole)[:5])
    assert first(task.test[0], 5).data.shape == (5, 8)


@pytest.mark.parametrize(
    "make", [lambda d: GramISTA(d, 0.05), lambda d: FISTA(GramISTA(d, 0.05)), lambda d: CoordinateDescent(d, 0.05)]
)
def test_trace_counts_the_iterations_that_a_loop_counts(make):
    task = recovery(held_out=30)
    iteration = make(task.dictionary)
    (y, x), values = task.test[0], []
    with torch.no_grad():
        problem = iteration.prepare(y)
        state = iteration.start(problem)
        for _ in range(60):
            state = iteration(state, problem)
            values.append(NMSE.value(task.pieces(iteration.estimate(state, problem), Samples(None, x))))
    run = trace(iteration, task, task.test, 60)
    assert run.steps == list(range(1, 61))
    assert run.values == values
    for goal in (values[2], values[10] + 1e-6, values[40]):
        by_hand = next(k for k, value in enumerate(values, 1) if value <= goal)
        assert run.first(lambda value, goal=goal: value <= goal) == by_hand
        assert trace(iteration, task, task.test, 60, lambda value, goal=goal: value <= goal).steps[-1] == by_hand
    assert run.first(lambda value: value < min(values) - 1) is None


def test_a_long_run_is_looked_at_every_fortieth_part_and_ends_when_it_has_settled():
    task = recovery(held_out=10)
    run = trace(FISTA(GramISTA(task.dictionary, 0.1)), task, task.test, 5000)
    assert run.settled
    assert run.steps[-1] < 5000
    assert all(after - before <= max(1, before / 40) for before, after in zip(run.steps, run.steps[1:], strict=False))
    exact = solve(
        FISTA(GramISTA(task.dictionary, 0.1)), task.test[0].data, tolerance=1e-6, max_iterations=20_000
    ).estimate
    assert run.values[-1] == pytest.approx(NMSE.value(task.pieces(exact, task.test[0])), abs=0.1)


def test_a_method_is_run_until_it_matches_or_said_never_to():
    task = recovery(held_out=40)
    method = Iterative("ISTA", lambda w: GramISTA(task.dictionary, w), (0.003, 0.03, 0.3), 400)
    values = {w: trace(method.make(w), task, task.test, 400) for w in method.settings}
    best = min(run.values[-1] for run in values.values())
    rows, curves = run_classical(method, task, best + 1, best + 1, 7)
    assert [row.role for row in rows] == ["parent", "parent", "parent"]
    end = curves[0].iterations[-1]
    assert (rows[2].name, rows[2].iterations) == ("ISTA, at convergence" if end < 400 else "ISTA, 400 iterations", end)
    assert rows[0].iterations == 7
    reached = rows[1].iterations
    assert "until it matches" in rows[1].name
    assert NMSE.value(evaluate(rows[1].run, task, task.test)) <= best + 1
    assert reached == min(run.first(lambda value: value <= best + 1) or 10**9 for run in values.values())
    assert curves[0].quality[-1] <= best + 1
    rows, _ = run_classical(method, task, best - 20, best - 20, None)
    assert [row.role for row in rows] == ["classical"]
    assert "until it matches" not in rows[0].name
    assert "never reaches" in rows[0].note


# Baselines


class Gaussian(Task):
    """y = H x + b + e, everything Gaussian; the training data are a pool that is given out in order, and so is the
    validation set.
    """

    name, metric = "gaussian", NMSE

    def __init__(self):
        rng = np.random.default_rng(0)
        self.mixing = rng.normal(size=(6, 9))
        self.operator, self.mean, self.noise = rng.normal(size=(4, 6)), rng.normal(size=6), 0.3
        self.pool = self.sample(2048, 1)
        self.validation, self.test = [self.pool], [self.sample(20_000, 2)]
        self.given = 0

    def sample(self, count, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(count, 9)) @ self.mixing.T + self.mean
        y = x @ self.operator.T + 0.5 + self.noise * rng.normal(size=(count, 4))
        return Samples(torch.from_numpy(y).float(), torch.from_numpy(x).float())

    def draw(self, batch, generator):
        start, self.given = self.given, self.given + batch
        return Samples(self.pool.data[start : start + batch], self.pool.target[start : start + batch])


@pytest.fixture(scope="module")
def linear():
    task = Gaussian()
    return task, linear_mmse(task, rows=2048)


def test_the_linear_estimate_is_the_least_squares_solution(linear):
    task, contender = linear
    y, x = (t.double().numpy() for t in task.pool)
    solution, *_ = np.linalg.lstsq(np.column_stack([y, np.ones(len(y))]), x, rcond=None)
    new = task.test[0].data
    wanted = np.column_stack([new.double().numpy(), np.ones(len(new))]) @ solution
    np.testing.assert_allclose(contender.run(new).numpy(), wanted, atol=2e-4 * np.abs(wanted).max())
    assert contender.parameters == solution.size


def test_no_affine_estimate_has_a_smaller_error_than_the_linear_one(linear):
    task, contender = linear
    y, x = task.pool
    best = (contender.run(y) - x).square().sum().item()
    generator = torch.Generator().manual_seed(0)
    for size in (1e-2, 0.1):
        for _ in range(10):
            change = size * torch.randn(5, 6, generator=generator)
            assert (contender.run(y) + y @ change[:4] + change[4] - x).square().sum().item() > best


def test_the_linear_estimate_reaches_the_posterior_mean_of_the_gaussian(linear):
    task, contender = linear
    covariance = task.mixing @ task.mixing.T
    gain = (
        covariance
        @ task.operator.T
        @ np.linalg.inv(task.operator @ covariance @ task.operator.T + task.noise**2 * np.eye(4))
    )
    y, x = task.test[0]
    exact = task.mean + (y.double().numpy() - task.mean @ task.operator.T - 0.5) @ gain.T
    bound = NMSE.value(task.pieces(torch.from_numpy(exact).float(), Samples(None, x)))
    found = NMSE.value(task.pieces(contender.run(y), Samples(None, x)))
    assert bound - 1e-6 < found < bound + 0.1
    assert bound < NMSE.value(task.pieces(torch.from_numpy(task.mean).float().expand_as(x), Samples(None, x))) - 1


@pytest.mark.parametrize("parameters", [1, 500, 4321, 50_000])
@pytest.mark.parametrize(("inputs", "outputs", "layers"), [(8, 16, 2), (100, 3, 1), (5, 5, 3)])
def test_the_width_brings_the_mlp_closest_to_a_number_of_parameters(parameters, inputs, outputs, layers):
    def count(width):
        return sum(p.numel() for p in MLP(inputs, width, outputs, layers).parameters())

    width = hidden_width(parameters, inputs, outputs, layers)
    assert width >= 1
    gap = abs(count(width) - parameters)
    assert all(gap <= abs(count(other) - parameters) for other in (width - 1, width + 1) if other >= 1)


def test_the_generic_network_learns_and_has_about_as_many_parameters():
    task = recovery(held_out=60)
    contender = train_mlp(task, 3000, 300, 64)
    assert contender.parameters == pytest.approx(3000, rel=0.03)
    assert NMSE.value(evaluate(contender.run, task, task.test)) < -0.5


def test_a_generic_network_starts_at_the_linear_estimate_and_learns_more():
    task = recovery(held_out=200)
    affine = affine_estimate(task, rows=4096)
    linear = linear_mmse(task, affine=affine)
    y = task.test[0].data
    still = train_mlp(task, 500, 1, 8, rates=(1e-12,), affine=affine)
    torch.testing.assert_close(still.run(y), linear.run(y), rtol=1e-5, atol=1e-6)
    trained = train_mlp(task, 3000, 300, 64, affine=affine)
    assert trained.parameters == pytest.approx(3000 + linear.parameters, rel=0.03)
    scores = [NMSE.value(evaluate(method.run, task, task.test)) for method in (trained, linear)]
    assert scores[0] < scores[1]


@pytest.mark.parametrize(("algorithm", "tolerance"), [("lasso_lars", 1e-4), ("lasso_cd", 3e-2)])
def test_scikit_learn_solves_our_lasso(algorithm, tolerance):
    """More measurements than unknowns, so that the solution is unique; coordinate descent stops on a duality gap of its
    own.
    """
    task = recovery(m=24, n=16)
    y = task.test[0].data
    ours = solve(
        FISTA(GramISTA(task.dictionary.double(), 0.05)), y.double(), tolerance=1e-10, max_iterations=50_000
    ).estimate.float()
    theirs = run_method(
        task,
        scikit_learn(task, task.dictionary, algorithm, "lasso", "alpha", (0.05,), limit=8, max_iter=5000),
    )
    assert (theirs.role, theirs.limit) == ("library", 8)
    assert (theirs.run(y) - ours).abs().max().item() < tolerance * ours.abs().max().item()
    assert 0 < (ours != 0).double().mean() < 1


# The comparison


@pytest.fixture(scope="module")
def trained():
    chosen = system()
    recipe = chosen.recipes["recovery"]
    task = chosen.task("recovery", m=20, n=40)
    net = moved(chosen.network(recipe, task, 3), size=1e-3)
    return chosen, recipe, task, net


@pytest.fixture(scope="module")
def comparison(trained):
    chosen, recipe, task, net = trained
    return compare(chosen, "recovery", recipe, task, net, seed=1, note="a note", quiet=True)


def test_the_json_has_the_shape_that_it_keeps(comparison):
    found = json.loads(json.dumps(comparison.to_json()), parse_constant=pytest.fail)
    assert found["schema"] == 1
    assert found["system"] == "sparse_coding/lista"
    assert {"name": "NMSE", "unit": "dB", "better": "lower", "resampled": "sample"}.items() <= found["metric"].items()
    assert {"schema", "system", "metric", "rows", "environment"} <= found.keys()
    for row in found["rows"]:
        assert {"name", "role", "quality", "iterations", "parameters", "seconds", "note"} <= row.keys()
        assert row["role"] in ("network", "initial", "parent", "classical", "library", "generic")
        assert row["quality"].keys() == {"mean", "low", "high"}
        assert row["quality"]["low"] <= row["quality"]["mean"] <= row["quality"]["high"]
        assert {"batch", "batch_size", "single"} <= row["seconds"].keys()
        assert row["seconds"]["batch"] > 0 < row["seconds"]["single"]
        assert row["iterations"] is None or row["iterations"] >= 1
        assert row["parameters"] is None or row["parameters"] >= 0
    assert len({row["name"] for row in found["rows"]}) == len(found["rows"])


def test_every_role_has_a_row(comparison):
    roles = [row["role"] for row in comparison.to_json()["rows"]]
    assert set(roles) == set(ROLES)
    assert (roles.count("network"), roles.count("initial"), roles.count("generic")) == (1, 1, 3)


def test_the_untrained_network_has_the_parents_error_to_the_bit(comparison):
    rows = {row.name: row for row in comparison.rows}
    assert rows["ISTA, as many iterations"].quality == comparison.row("initial").quality
    assert rows["ISTA, as many iterations"].iterations == 3
    assert comparison.row("network").quality != comparison.row("initial").quality


def test_the_networks_row_says_what_was_measured(comparison, trained):
    _, _, task, net = trained
    row = comparison.row("network")
    assert row.quality.mean == NMSE.value(evaluate(net, task, task.test))
    assert (row.iterations, row.parameters, row.note) == (3, 20 * 40 + 40 * 40 + 3 * 40, "a note")
    curve = comparison.curves[0]
    assert curve.role == "network"
    assert curve.iterations == [1, 2, 3]
    assert curve.quality[-1] == row.quality.mean
    assert all(math.isfinite(c.seconds) and c.seconds > 0 for c in comparison.curves if c.seconds is not None)
    assert comparison.curves[0].seconds == pytest.approx(row.seconds.batch / 3)


def test_the_learned_quantities_are_beside_their_classical_values(comparison, trained):
    _, _, task, _ = trained
    found = {p.name: p for p in comparison.parameters}
    assert found.keys() == {"encoder.matrix", "inhibition", "threshold"}
    assert found["threshold"].layers == [0, 1, 2]
    assert found["encoder.matrix"].layers == [None]
    np.testing.assert_array_equal(
        found["encoder.matrix"].classical, GramISTA(task.dictionary, 0.1).encoder.matrix.detach().numpy()
    )


@pytest.mark.nightly
def test_the_same_seed_gives_the_same_figures_to_the_bit(comparison, trained):
    chosen, recipe, task, net = trained
    again = compare(chosen, "recovery", recipe, task, net, seed=1, quiet=True)

    def figures(c):
        rows = [(row.name, row.role, row.quality, row.paired, row.iterations, row.parameters) for row in c.rows]
        return (
            rows,
            [(k.name, k.iterations, k.quality) for k in c.curves],
            c.shifts,
            c.safeguard and (c.safeguard.quality, c.safeguard.rates),
            c.layers,
        )

    assert figures(again) == figures(comparison)


def test_the_headline_speaks_of_the_best_classical_method(comparison):
    assert comparison.headline.startswith(
        f"LISTA reaches {comparison.row('network').quality.mean:.2f} dB NMSE in 3 layers"
    )
    classical = [row for row in comparison.rows if row.role in ("parent", "classical", "library") or row.linear]
    strongest = min(classical, key=lambda row: standing(row, comparison.rows[0]))
    assert f"The strongest classical row is {strongest.name}, {strongest.quality.mean:.2f} dB" in comparison.headline
    assert "Before training it is at" in comparison.headline


def test_a_method_that_failed_is_not_in_the_headline(comparison):
    rows = [replace(row, quality=replace(row.quality, mean=math.nan)) for row in comparison.rows[1:]]
    text = headline("LISTA", SimpleNamespace(metric=comparison.metric), [comparison.rows[0], *rows])
    assert text == comparison.headline.split(". ")[0] + "."


def test_a_role_that_no_row_has_is_named(comparison):
    with pytest.raises(KeyError, match="winner"):
        comparison.row("winner")


def test_a_comparison_leaves_the_network_as_it_was(trained, comparison):
    *_, net = trained
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            net.parameters(), moved(trained[0].network(trained[1], trained[2], 3), size=1e-3).parameters(), strict=True
        )
    )
