"""One step, three runs beside each other in a comparison: by ``solve``, by ``unroll`` and as ``Equilibrium``."""

import pytest
import torch
from torch import nn

from unrolling import Equilibrium, Iteration, solve, unroll
from unrolling.evaluation import contenders
from unrolling.evaluation.compare import compare
from unrolling.evaluation.three_runs import fixed_points
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.catalogue import catalogue, find
from unrolling.tasks import PSNR, Pairs, evaluate
from unrolling.tasks.baselines import ThreeRuns


class Relaxation(Iteration):
    """x <- c x + w y, whose fixed point is w y / (1 - c)."""

    def __init__(self, weight=0.1, contraction=0.5):
        super().__init__()
        self.weight, self.contraction = nn.Parameter(torch.tensor(weight)), contraction

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        return self.contraction * state + self.weight * problem


def said(step, data):
    return f"multiplies by {step.contraction}"


def same():
    """Data whose target are the data."""
    pairs = [(y, y) for y in torch.rand(24, 6, generator=torch.Generator().manual_seed(0)) + 0.5]
    return Pairs(pairs[:16], pairs[16:], metric=PSNR)


def rows(network, task, share=None, **runs):
    """Both, made one after the other."""
    return [make()[0][0] for _, _, make in fixed_points(ThreeRuns(said, **runs), network, "Own", task, share, 0, True)]


def quality(task, run):
    with torch.no_grad():
        return task.metric.value(evaluate(run, task, task.test))


def scored(task, row):
    return task.metric.value(torch.cat([task.pieces(x, b) for x, b in zip(row.estimates, task.test, strict=True)]))


def test_the_rows_are_what_solve_and_equilibrium_give():
    task, network = same(), unroll(Relaxation(), 3, tied="weight")
    plugged, implicit = rows(network, task, steps=1, rate=1e-12)
    layer = network.layers[0]
    wanted = quality(task, lambda y: solve(layer, y, tolerance=1e-4).estimate)
    assert scored(task, plugged) == pytest.approx(wanted, abs=1e-6)
    wanted = quality(task, Equilibrium(layer, learned="weight", tolerance=1e-4))
    assert scored(task, implicit) == pytest.approx(wanted, abs=1e-6)
    assert [row.name for row in (plugged, implicit)] == ["Own, plug-and-play by solve", "Own, as Equilibrium"]
    assert "8 of 8 at a residual of 0.0001 after 14 steps" in plugged.note  # 2^-14 is the first power below
    assert plugged.iterations == 14
    assert said(layer, None) in implicit.note
    assert "its gradient takes 2 products with the Jacobian" in implicit.note  # one eigenvalue: GMRES needs no more
    assert plugged.parameters == implicit.parameters == 1


def test_training_at_the_fixed_point_finds_what_is_right_there_and_leaves_the_network_alone():
    task, network = same(), unroll(Relaxation(0.4), 3, tied="weight")
    plugged, implicit = rows(network, task, steps=60, batch=8, rate=5e-3)
    assert scored(task, implicit) > scored(task, plugged) + 10  # w = 0.5 is right at the fixed point
    assert "60 steps, at the fixed point" in implicit.note
    assert float(network.layers[0].weight.detach()) == pytest.approx(0.4)
    assert implicit.training_seconds > 0


def test_a_budget_that_does_not_go_as_far_is_said():
    network = unroll(Relaxation(contraction=0.999), 3, tied="weight")
    plugged, implicit = rows(network, same(), share=1e-3, iterations=3000, tolerance=1e-6, steps=4000)
    assert "all that its share of the budget allows" in plugged.note
    assert plugged.iterations < 3000
    assert "trained no further: its share of the budget does not go as far" in implicit.note
    assert implicit.training_seconds is None
    assert all(torch.equal(a, b) for a, b in zip(implicit.estimates, plugged.estimates, strict=True))


def test_where_nothing_contracts_the_rows_say_that_nothing_converged():
    network = unroll(Relaxation(contraction=-1.0), 3, tied="weight")
    plugged, implicit = rows(network, same(), iterations=20, steps=1)
    assert "0 of 8 at a residual of 0.0001 after 20 steps" in plugged.note
    assert said(network.layers[0], None) in implicit.note
    diverging = unroll(Relaxation(contraction=1e9), 3, tied="weight")
    plugged = fixed_points(ThreeRuns(said), diverging, "Own", same(), None, 0, True)[0][2]()[0][0]
    assert "0 of 8" in plugged.note
    assert all(estimate.isnan().all() for estimate in plugged.estimates)


def test_layers_that_differ_have_no_step_to_repeat():
    network = unroll(Relaxation(), 3, untied="weight")
    with pytest.raises(ValueError, match=r"Own has layers that differ \(weight\): no step to be repeated"):
        fixed_points(ThreeRuns(said), network, "Own", same(), None, 0, True)
    assert fixed_points(None, network, "Own", same(), None, 0, True) == []


def test_a_comparison_has_them_beside_the_network(monkeypatch):
    monkeypatch.setattr(contenders, "time_all", lambda usable, batch: [None] * len(usable))
    task = same()
    recipe = Recipe(lambda task: Relaxation(), Tying(tied=("weight",)), 3, lambda depth: [])
    runs = {task.name: ThreeRuns(said, steps=1, rate=1e-12)}
    system = System("own/relaxation", "Own", "", "", (), {task.name: recipe}, three_runs=runs)
    network = system.network(recipe, task)
    options = {"effort": "quick", "baselines": [], "generic": (1, 2), "quiet": True}
    found = compare(system, task.name, recipe, task, network, **options)
    assert [row.name for row in found.rows[:4]] == [
        "Own, 3 layers",
        "Own, plug-and-play by solve",
        "Own, as Equilibrium",
        "Own before training",
    ]
    assert [row.role for row in found.rows[:4]] == ["network", "network", "network", "initial"]
    assert found.rows[1].paired.difference == pytest.approx(found.rows[1].quality.mean - found.rows[0].quality.mean)


@pytest.mark.parametrize("name", [name for name, system in catalogue().items() if system.three_runs])
def test_systems_that_say_so_have_one_step(name):
    system = find(name)
    for task in system.three_runs:
        assert not system.recipes[task].tied(None).untied


def test_denoising_with_real_spectral_normalisation_contracts_at_once():
    system = find("imaging/realsn")
    task, recipe = system.task("denoising").small(), system.recipes["denoising"]
    network = system.network(recipe, task).eval()
    data = task.test[0].data
    words = system.three_runs["denoising"].contraction(network.layers[0], data)
    assert words == "a contraction: a step multiplies distances by at most 0"
    found = solve(network.layers[0], data)
    assert found.iterations.tolist() == [2] * len(data)  # the second finds that nothing changes
    with torch.no_grad():
        torch.testing.assert_close(found.estimate, network(data))
        torch.testing.assert_close(Equilibrium(network.layers[0], learned="prox")(data), network(data))


def test_one_denoiser_in_a_primal_dual_method_is_said_not_to_contract():
    system = find("imaging/learned_prox")
    assert system.three_runs.keys() == system.recipes.keys()
    for runs in system.three_runs.values():
        assert "no contraction is known" in runs.contraction(None, None)
    task = system.task("known_deblurring").small()
    network = system.network(system.recipes["known_deblurring"], task, 2).eval()
    own = fixed_points(system.three_runs["known_deblurring"], network, system.title, task, 1e-9, 0, True)
    plugged = own[0][2]()[0][0]
    assert plugged.iterations >= 20
    assert plugged.name == "Learned proximal operators, plug-and-play by solve"
