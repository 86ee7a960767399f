"""The layers of Gated LISTA and of Neurally Augmented ALISTA."""

import math

import pytest
import torch
from tiny import moved, recovery, same

from unrolling import testing, unroll
from unrolling.algorithms import CoupledISTA
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.augmented import AugmentedISTA
from unrolling.algorithms.sparse.gated import GatedISTA
from unrolling.systems.catalogue import find
from unrolling.tasks.sparse.recovery import Recovery

A = recovery(m=20, n=40).dictionary.double()
Y = recovery(m=20, n=40).test[0].data.double()
GATES = ("piecewise", "inverse", "exponential")
NEURAL = ("cell", "inner", "outer", "hidden", "memory")


def steps(iteration, y, count=6):
    problem = iteration.prepare(y)
    state, found = iteration.start(problem), []
    for _ in range(count):
        state = iteration(state, problem)
        found.append(state.x)
    return found


# Gates


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("selection", [(0.0, 13.0), (5.0, 20.0)])
def test_with_its_gates_shut_it_is_coupled_ista_to_the_bit(gate, selection):
    weights = analytic_weights(A)
    gated = GatedISTA(A, 0.8, encoder=weights, selection=selection, gate=gate)
    coupled = CoupledISTA(A, 0.8, encoder=weights, selection=selection)
    assert all(torch.equal(a, b) for a, b in zip(steps(gated, Y), steps(coupled, Y), strict=True))


@pytest.mark.parametrize("gate", GATES)
def test_the_gate_is_the_published_formula(gate):
    """From an arbitrary x, entry by entry, in float64."""
    gated = GatedISTA(A, 0.8, gate=gate)
    gated.sharpness = torch.linspace(0.5, 3, 40, dtype=torch.float64)
    with torch.no_grad():
        gated.gain.fill_(0.7)
        gated.overshoot.fill_(1.3)
    x = torch.randn(Y.shape[0], 40, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    got = gated(gated.start(gated.prepare(Y))._replace(x=x), Y).x
    theta, w = float(gated.threshold.detach()), gated.encoder.matrix.detach()
    for i in (0, 5):
        g = torch.zeros(40, dtype=torch.float64)
        for j in range(40):
            u = float(gated.sharpness[j].detach()) * abs(float(x[i, j]))
            f = {"piecewise": max(1 - u, 0), "inverse": 0.2 / (0.001 + u), "exponential": math.exp(-u)}[gate]
            g[j] = (1 + 0.7 * f) * x[i, j]
        z = g + w @ (Y[i] - A @ g)
        shrunk = z.sign() * (z.abs() - theta).clamp_min(0)
        expected = shrunk + 1.3 * theta * (shrunk - x[i]) / ((shrunk - x[i]).abs() + 0.1)
        torch.testing.assert_close(got[i].detach(), expected, rtol=1e-12, atol=1e-12)


def test_gains_enlarge_what_is_there_and_leave_zeros():
    gated = GatedISTA(A, 0.8)
    with torch.no_grad():
        gated.gain.fill_(0.5)
    first = steps(gated, Y, 1)[0]
    plain = steps(CoupledISTA(A, 0.8), Y, 1)[0]
    assert torch.equal(first, plain)  # there is nothing to enlarge in the first step
    x = first.clone()
    enlarged = x + gated.gain * (x * gated._decay(gated.sharpness * x.abs()))
    assert (enlarged[x != 0].abs() > x[x != 0].abs()).all()
    assert (enlarged[x == 0] == 0).all()


@pytest.mark.parametrize("gate", GATES)
def test_the_gated_iteration_keeps_the_contract(gate):
    testing.check_iteration(GatedISTA(A, 0.4, gate=gate), Y, skip=("compile", "export"))


def test_an_unknown_gate_is_refused():
    with pytest.raises(ValueError, match="gate is 'sigmoid'; it is piecewise"):
        GatedISTA(A, 0.4, gate="sigmoid")


# The recurrent network


def test_without_its_output_weights_thresholds_are_in_a_fixed_ratio_to_the_mean_of_what_is_left():
    """theta = softplus(b) |W r|_1 / n and gamma = softplus(a), whatever the cell does."""
    augmented = AugmentedISTA(A, 1.7, step_size=0.9, units=8)
    w, x = analytic_weights(A), torch.zeros(len(Y), 40, dtype=torch.float64)
    for got in steps(augmented, Y):
        direction = (Y - x @ A.T) @ w.T
        theta = 1.7 * direction.abs().mean(1, keepdim=True)
        moved_on = x + 0.9 * direction
        x = moved_on.sign() * (moved_on.abs() - theta).clamp_min(0)
        torch.testing.assert_close(got.detach(), x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_amplitude_does_not_matter(factor):
    """f(s y) = s f(y), with a recurrent network that does something."""
    net = moved(unroll(AugmentedISTA(A, 1.5, units=8, selection=(2.0, 20.0)), 5, tied=NEURAL), size=0.3)
    with torch.no_grad():
        torch.testing.assert_close(net(factor * Y), factor * net(Y), rtol=1e-8, atol=factor * 1e-10)


def test_the_recurrent_network_sees_each_sample_by_itself():
    net = moved(unroll(AugmentedISTA(A, 1.5, units=8), 5, tied=NEURAL), size=0.3)
    with torch.no_grad():
        whole = net(Y)
        torch.testing.assert_close(net(Y[3:4]), whole[3:4], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(net(Y.reshape(4, 4, -1)), whole.reshape(4, 4, -1), rtol=1e-9, atol=1e-11)
        assert not torch.allclose(whole, unroll(AugmentedISTA(A, 1.5, units=8), 5, tied=NEURAL)(Y))


def test_a_silent_sample_gives_zero():
    net = moved(unroll(AugmentedISTA(A, 1.5, units=8), 5, tied=NEURAL), size=0.3)
    assert torch.equal(net(torch.zeros_like(Y)), torch.zeros(len(Y), 40, dtype=torch.float64))


@pytest.mark.parametrize("size", [(20, 40), (50, 100)])
def test_the_published_number_of_parameters_whatever_the_dictionary(size):
    """67,584 of the cell, 16,512 and 258 of the two linear maps, and twice 128 of where it starts."""
    m, n = size
    system = find("sparse_coding/na_alista")
    task = Recovery(m=m, n=n, probability=0.05, densest=0.2, held_out=2)
    net = system.network(system.recipes["recovery"], task)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 84_354 + 256


def test_the_global_generator_is_left_alone_and_the_seed_decides():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again, other = (AugmentedISTA(A, units=8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(dict(one.named_parameters()), dict(again.named_parameters()))
    assert not torch.equal(one.cell.weight_hh, other.cell.weight_hh)


def test_the_augmented_iteration_keeps_the_contract():
    testing.check_iteration(AugmentedISTA(A, 1.5, units=8), Y, skip=("compile", "export"))


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"step_size": -1.0}, {"units": 0}, {"threshold": math.inf}])
def test_values_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="must be positive and finite"):
        AugmentedISTA(A, **options)


# Signals of different densities


def test_every_signal_has_a_density_of_its_own():
    """Counts spread over the whole range, which those of one density do not."""
    mixed, alike = (
        Recovery(m=20, n=2000, probability=p, densest=d, held_out=500) for p, d in ((0.05, 0.2), (0.125, 0.0))
    )
    shares = [(task.test[0].target != 0).double().mean(1) for task in (mixed, alike)]
    assert mixed.density == alike.density == 0.125
    assert abs(float(shares[0].mean()) - 0.125) < 0.005
    # A uniform variable between 0.05 and 0.2 has a standard deviation of 0.15 / sqrt(12) = 0.0433.
    assert abs(float(shares[0].std()) - 0.0433) < 0.004
    assert float(shares[1].std()) < 0.01
    fixed = mixed.draw(200, torch.Generator().manual_seed(0), probability=0.05)
    assert abs(float((fixed.target != 0).double().mean()) - 0.05) < 0.005


def test_what_is_told_of_one_density_is_left_out_where_there_are_several():
    names = {method.name for method in recovery(probability=0.1, densest=0.2).baselines(0)}
    assert "VAMP, told nothing" in names
    assert not {"AMP, told the prior", "VAMP, told prior and noise"} & names


@pytest.mark.parametrize("densest", [0.1, 0.2, 1.5, -0.1])
def test_a_range_of_densities_goes_upwards_and_ends_at_one(densest):
    with pytest.raises(ValueError, match="densest is"):
        recovery(probability=0.2, densest=densest)
