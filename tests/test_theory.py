"""Claims of the theory: measured right, and judged right."""

import json

import pytest
import torch
from command_line import refused
from tiny import moved, recovery

from unrolling import unroll as make
from unrolling.algorithms import AMP, CoupledISTA, GramISTA
from unrolling.algorithms.sparse.analytic import analytic_weights, mutual_coherence
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.tasks.sparse import theory
from unrolling.tasks.sparse.recovery import Recovery

TASK = recovery(m=60, n=100, probability=0.02, held_out=200)


def by_name(claims):
    return {claim.name: claim for claim in claims}


def test_a_straight_line_is_linear_convergence_and_a_plateau_is_not():
    line = theory.linear_convergence(TASK, [-3.0 * k for k in range(1, 12)])
    assert line.agrees
    assert line.measured.startswith("-3.00 dB per layer, R^2 = 1.000; it falls at every layer")
    plateau = theory.linear_convergence(TASK, [-10 + 5 * 0.3**k for k in range(12)])
    assert not plateau.agrees
    dip = theory.linear_convergence(TASK, [-3, -6, -9, -8, -12, -15])
    assert "rises at layer 4" in dip.measured
    assert theory.linear_convergence(recovery(snr=20.0), [-3.0, -6.0, -9.0]).agrees is None


def test_no_entry_is_ever_wrong_with_the_thresholds_of_the_theorem():
    claim = theory.no_false_positives(TASK)
    assert claim.holds
    assert claim.agrees
    assert claim.measured.startswith("0 false positives")
    steps = [b - a for a, b in zip(claim.values, claim.values[1:], strict=False)]
    assert all(step < 0 for step in steps)
    # A matrix that is its own inverse has no coherence: everything is recovered.
    task = recovery()
    task.dictionary = torch.eye(8)
    assert theory.no_false_positives(task).values[1] < -200


def test_without_the_theorems_thresholds_there_are_false_positives(monkeypatch):
    monkeypatch.setattr(theory, "soft_threshold", lambda z, level: torch.sign(z) * torch.relu(z.abs() - 0.3 * level))
    assert not theory.no_false_positives(TASK).agrees


def test_coupled_weights_have_no_gap_and_others_the_gap_that_was_made():
    net = make(GramISTA(TASK.dictionary, 0.1), 4, untied=("encoder", "inhibition", "threshold"))
    assert max(theory.coupling(net).values) < 1e-6
    with torch.no_grad():
        for k, layer in enumerate(net.layers):
            layer.inhibition.add_(0.1 * 0.5**k * torch.eye(100))
    claim = theory.coupling(net)
    assert claim.values == pytest.approx([0.1, 0.05, 0.025, 0.0125], rel=1e-4)
    assert claim.agrees
    assert theory.coupling(make(CoupledISTA(TASK.dictionary, 0.1), 2, untied="encoder")) is None
    tied = theory.coupling(make(GramISTA(TASK.dictionary, 0.1), 4, tied=("encoder", "inhibition")))
    assert (tied.holds, tied.agrees) == (False, None)


def test_thresholds_that_fall_agree_and_others_do_not():
    net = make(CoupledISTA(TASK.dictionary, 0.1), 5, untied="threshold")
    assert not theory.vanishing_thresholds(net).agrees
    with torch.no_grad():
        for k, layer in enumerate(net.layers):
            layer.threshold = layer.threshold.detach() * 0.3**k
    assert theory.vanishing_thresholds(net).agrees
    assert theory.vanishing_thresholds(make(CoupledISTA(TASK.dictionary, 0.1), 5, tied="threshold")) is None


def test_coherence_is_that_of_the_weights_in_use():
    weights = analytic_weights(TASK.dictionary)
    net = make(CoupledISTA(TASK.dictionary, 0.1, encoder=weights), 3, untied="encoder")
    claim = theory.coherence(net, TASK)
    assert claim.values == pytest.approx([mutual_coherence(TASK.dictionary, weights)] * 3, rel=1e-4)
    moved_claim = theory.coherence(moved(net, size=0.05), TASK)
    assert min(moved_claim.values) > claim.values[0]


def test_limits_are_those_of_the_spec_and_nothing_beats_the_oracle_by_far():
    """State evolution at p = 0.1, m / n = 0.5: -35.0 dB at an SNR of 30 dB; least squares on the true support about
    -36.
    """
    task = Recovery(snr=30.0, held_out=300)
    bayes, oracle = theory.limits(task, [-20.0, -34.0])
    assert "limit -35.0" in bayes.measured
    assert bayes.agrees
    assert oracle.measured.startswith("oracle -3")
    too_good, _ = theory.limits(task, [-40.0])
    assert not too_good.agrees
    assert theory.limits(Recovery(held_out=2), [-20.0]) == []


def test_state_evolution_predicts_amp_and_not_another_encoder():
    task = Recovery(snr=30.0, held_out=300)
    net = make(AMP(task.dictionary, BernoulliGaussian(0.1)), 8, tied="encoder")
    with torch.no_grad():
        quality = [task.metric.value(task.pieces(state.x, task.test[0])) for state in net.trajectory(task.test[0].data)]
    claim = theory.predicted(net, task, quality)
    assert claim.holds
    assert claim.values[0] == pytest.approx(quality[0], abs=0.2)
    changed = theory.predicted(moved(net, size=0.01), task, quality)
    assert not changed.holds
    assert theory.predicted(make(GramISTA(task.dictionary, 0.1), 3), task, [-1.0, -2.0, -3.0]) is None


def test_the_command_prints_every_claim(unroll):
    found = json.loads(unroll("theory", "sparse_coding/lista", "--json")[1])
    names = {claim["name"] for claim in found}
    assert {"linear convergence", "coherence", "weight coupling", "vanishing thresholds", "no false positives"} <= names
    output = unroll("theory", "sparse_coding/lista")[1]
    assert all(claim["measured"] in output for claim in found)
    refused(unroll("theory", "sparse_coding/lista", "--depth", "77"), "no weights are shipped")
