"""The sparse-coding systems by what they learn, what they are told, and what their penalties ask for."""

import math

import pytest
import torch
from families import by_day
from sparse_signals import nmse, path
from tiny import bits, recovery, same
from torch import nn

from unrolling import solve
from unrolling.algorithms import FISTA, VAMP, GramISTA
from unrolling.algorithms.messages.state_evolution import SparsePrior, measurement_noise
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.systems.catalogue import find
from unrolling.systems.sparse_coding import _common as common
from unrolling.systems.sparse_coding import hyperlista, lista_cpss, lvamp
from unrolling.tasks.samples import Samples
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.tasks.sparse.varying import VaryingDictionary
from unrolling.training.fit import fit
from unrolling.training.stages import scaled

T, M, N = 16, 250, 500
COUNTS = {
    "hyperlista": 3,
    "alista": 2 * T,
    "tilista": M * N + 2 * T,
    "lista_cp": T * (M * N + 2),
    "lista_cpss": T * (M * N + 2),
    "gated_lista": T * (M * N + 4 + N),
    "na_alista": 84_354 + 256,
    "lista_ss": M * N + N * N + T * N,
    "lamp": M * N + 2 * T,
    "lamp_l1": M * N + 2 * T,
    "lamp_pwl": M * N + 5 * T,
    "lvamp": 2 * T,
    "lvamp_pwl": 5 * T,
    "liht": T * (M * N + N * N + N),
    "liht_k": T * (M * N + N * N),
}


@pytest.fixture(scope="module")
def reference():
    return Recovery(held_out=2)


def learned(name, task, depth=T):
    system = find(f"sparse_coding/{name}")
    return system.network(next(iter(system.recipes.values())), task, depth)


@pytest.mark.parametrize("name", COUNTS)
def test_on_the_reference_problem_a_network_learns_the_published_number_of_parameters(name, reference):
    """A threshold per unit in LISTA-SS and LIHT; a step size, which W could hold, beside each W of the coupled
    networks.
    """
    depth = 2 if name.startswith("liht") else T
    net = learned(name, reference, depth)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == COUNTS[name] * depth // T


def test_ada_lista_learns_two_square_matrices_and_two_numbers_a_layer():
    net = learned("ada_lista", VaryingDictionary(m=20, n=40, held_out=20), depth=5)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 2 * 20**2 + 2 * 5


# Told nothing


@pytest.mark.parametrize(
    "name", ["lamp", "lamp_l1", "lamp_pwl", "lvamp", "lvamp_pwl", "hyperlista", "alista", "lista_cp"]
)
def test_initial_values_depend_on_the_dictionary_alone(name):
    """Neither the density of the signals nor the level of the noise is in them; both are the task's to know."""
    sparse, noisy = (
        learned(name, recovery(m=20, n=40, probability=p, snr=snr, seed=3), depth=3)
        for p, snr in ((0.02, math.inf), (0.3, 10.0))
    )
    assert same(sparse.learned(), noisy.learned())
    # Buffers too, such as the noise that VAMP is told: NaN, which is equal to nothing, stands for none.
    for left, right in zip(sparse.buffers(), noisy.buffers(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
@pytest.mark.nightly
def test_lvamp_told_nothing_is_in_no_layer_behind_vamp_told_everything():
    """It begins with three times the true probability and variance, which costs half a decibel in the first layer."""
    task = recovery(m=100, n=200, probability=0.1, snr=20.0, held_out=400)
    noise = measurement_noise(task.snr, SparsePrior(task.probability), 0.5)
    recipe = lvamp.SYSTEM.recipes["recovery"]
    net = lvamp.SYSTEM.network(recipe, task, 8)
    y, x = task.test[0]
    told = path(VAMP(task.dictionary, BernoulliGaussian(0.1, 1.0), noise), y, x, 8)
    untrained = path(net.parent, y, x, 8)
    assert untrained[0] > told[0] + 0.4
    fit(net, task, recipe.schedule(8), quiet=True, validations=0)
    with torch.no_grad():
        trained = [nmse(estimate, x) for estimate in net.estimates(y)]
    assert all(ours < theirs + 0.2 for ours, theirs in zip(trained, told, strict=True))


# How much is selected


def test_selection_follows_the_density_and_the_noise_and_gives_way_to_other_penalties():
    clean, noisy = common.selection(recovery(probability=0.1)), common.selection(recovery(probability=0.1, snr=30.0))
    assert clean == common.SELECTION
    assert noisy == common.NOISY_SELECTION
    assert common.selection(recovery(probability=0.2)).growth == pytest.approx(2 * clean.growth)
    assert common.selection(recovery(probability=0.2, snr=20.0)).most == pytest.approx(2 * noisy.most)
    assert common.selection(recovery(group=2)).growth == 0
    assert common.selection(recovery(nonnegative=1)).growth == 0


@pytest.mark.parametrize(("selection", "layer"), [(common.SELECTION, 5), (common.NOISY_SELECTION, 9)])
def test_a_layer_selects_more_entries_than_there_are_from_the_one_on_that_is_named(selection, layer):
    """From there on a layer is a hard threshold for most signals, 50 of whose 500 entries are not zero."""
    assert [selection.count(step, 500) > 50 for step in range(16)] == [step + 1 >= layer for step in range(16)]


# Penalties


@pytest.mark.parametrize("name", ["alista", "tilista", "lista_cp", "lista_cpss", "gated_lista", "na_alista"])
def test_groups_are_found_whole_and_signs_are_kept(name):
    grouped = recovery(m=20, n=40, group=4, probability=0.1)
    x = learned(name, grouped, depth=6)(grouped.test[0].data)
    present = (x != 0).reshape(-1, 10, 4)
    assert torch.equal(present.all(2), present.any(2))
    assert present.any()
    assert not present.all()
    positive = recovery(m=20, n=40, nonnegative=1, probability=0.1)
    x = learned(name, positive, depth=6)(positive.test[0].data)
    assert x.min() == 0
    assert x.max() > 0


@pytest.mark.nightly
@pytest.mark.parametrize("structure", by_day({"group": 5}, {"nonnegative": 1}))
def test_knowing_the_structure_recovers_signals_that_the_lasso_does_not(structure):
    """As many non-zeros as the lasso can no longer find (m = 40, n = 100, p = 0.15) are found by group, or with their
    sign known.
    """
    task = recovery(m=40, n=100, probability=0.15, held_out=60, **structure)
    y, x = task.test[0]

    def error(**own):
        found = solve(FISTA(GramISTA(task.dictionary, 1e-3, **own)), y, tolerance=1e-5, max_iterations=3000).estimate
        return task.metric.value(task.pieces(found, Samples(None, x)))

    assert error(prox=task.prox) < error() - 5


def test_liht_with_a_fixed_number_keeps_no_more_and_a_task_expects_p_times_n():
    task = Recovery(m=50, n=100, probability=0.05, coherence=0.9, held_out=20)
    assert common.expected_support(task) == 5
    assert int((learned("liht_k", task, depth=4)(task.test[0].data) != 0).sum(1).max()) <= 8


# Schedules


def test_w_stays_at_the_analytic_weights_until_the_scalars_are_learned_and_moves_then():
    task = recovery(m=12, n=24)
    recipe = lista_cpss.SYSTEM.recipes["recovery"]
    net = lista_cpss.SYSTEM.network(recipe, task, 2)
    *first, joint = scaled(recipe.schedule(2), 24)
    before = bits(net)
    fit(net, task, first, quiet=True, validations=0)
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert not any("encoder" in name for name in moved)
    assert any("threshold" in name for name in moved)
    assert any("step_size" in name for name in moved)
    fit(net, task, [joint], quiet=True, validations=0)
    assert (
        sum("encoder" in name and not torch.equal(value, before[name]) for name, value in net.state_dict().items()) == 2
    )


def test_hyperlista_is_trained_by_a_wide_and_a_narrow_search_within_the_range_that_its_rate_says():
    stage, narrow = hyperlista.schedule(16)
    assert not stage.optimizer.needs_gradients
    assert narrow.rate < stage.rate
    assert narrow.batch > stage.batch
    parent = hyperlista.SYSTEM.recipes["recovery"].parent(recovery(m=20, n=40))
    values = [value.item() for value in (parent.threshold_scale, parent.momentum_scale, parent.support_scale)]
    assert values == pytest.approx(hyperlista.CENTRE)
    assert isinstance(parent, nn.Module)
    assert math.exp(stage.rate) == pytest.approx(4.5, abs=0.1)
