"""Dictionaries as data: equality with ISTA, its symmetries, and the task that draws them."""

import math

import pytest
import torch
from iterations import gaussian, unit_dictionary

from unrolling import solve, testing, unroll
from unrolling.algorithms import FISTA, ISTA
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.varying import Sensed, VaryingISTA
from unrolling.tasks.sparse.varying import VaryingDictionary

M, N = 8, 14
DICTIONARIES = torch.stack([unit_dictionary(M, N, seed=seed) for seed in range(5)])
L = float(torch.linalg.matrix_norm(DICTIONARIES, 2).max()) ** 2
Y = gaussian(5, M, seed=3)
OWN, SHARED = Sensed(Y, DICTIONARIES), Sensed(Y, DICTIONARIES[:1])


def iteration(weight=0.1):
    return VaryingISTA(M, weight, L, dtype=torch.float64)


def learned(seed=0):
    net = unroll(iteration(), 4, tied="mixing", untied=("step_size", "threshold"))
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter += 0.1 * gaussian(parameter.numel(), seed=seed + number).reshape(parameter.shape)
    return net


def test_it_is_ista_with_each_samples_own_dictionary():
    for k, dictionary in enumerate(DICTIONARIES):
        ista = unroll(ISTA(dictionary, 0.1, step_size=1 / L), 12)
        for state, x in zip(unroll(iteration(), 12).trajectory(OWN), ista.trajectory(Y[k : k + 1]), strict=True):
            torch.testing.assert_close(state[k : k + 1], x, rtol=1e-12, atol=1e-13)


def test_a_shared_dictionary_is_the_same_as_a_copy_for_each_sample():
    copies = Sensed(Y, DICTIONARIES[:1].expand(5, M, N))
    for net in (unroll(iteration(), 9), learned()):
        torch.testing.assert_close(net(SHARED), net(copies), rtol=1e-11, atol=1e-12)


def test_permuted_columns_have_permuted_codes_whatever_was_learned():
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    net = learned()
    torch.testing.assert_close(net(Sensed(Y, DICTIONARIES[:, :, order])), net(OWN)[:, order], rtol=1e-11, atol=1e-12)


def test_turned_measurements_have_the_same_codes_before_training():
    q = torch.linalg.qr(gaussian(M, M, seed=5))[0]
    net = unroll(iteration(), 9)
    torch.testing.assert_close(net(Sensed(Y @ q.T, q @ DICTIONARIES)), net(OWN), rtol=1e-11, atol=1e-12)


def test_the_inverse_of_a_a_transposed_makes_it_analytic_weights_up_to_their_scale():
    dictionary = DICTIONARIES[0]
    inverse = torch.linalg.inv(dictionary @ dictionary.T)
    it = iteration()
    with torch.no_grad():
        it.mixing.outer.copy_(inverse)
        it.mixing.inner.copy_(torch.linalg.cholesky(inverse).T)
    x = gaussian(5, N, seed=7)
    moved = it.step_size * (
        it.prepare(SHARED).matched - (x @ it.prepare(SHARED).mixed[0].T) @ it.prepare(SHARED).mixed[0]
    )
    weights = analytic_weights(dictionary)
    leverage = (dictionary * (inverse @ dictionary)).sum(0)
    torch.testing.assert_close(
        moved, it.step_size * leverage * ((Y - x @ dictionary.T) @ weights.T), rtol=1e-9, atol=1e-10
    )


def test_accelerated_and_continued_it_has_the_lassos_solution_of_every_dictionary():
    fista = FISTA(iteration(0.3), continuation=(4.0, 0.8))
    found = solve(fista, OWN, tolerance=1e-12, max_iterations=20_000)
    assert bool(found.converged.all())
    for k, dictionary in enumerate(DICTIONARIES):
        correlation = dictionary.T @ (Y[k] - dictionary @ found.estimate[k])
        there = found.estimate[k] != 0
        assert float(correlation.abs().max()) <= 0.3 + 1e-7
        torch.testing.assert_close(correlation[there], 0.3 * found.estimate[k][there].sign(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("data", [OWN, SHARED], ids=["own", "shared"])
def test_it_conforms(data):
    testing.check_iteration(iteration(), data, skip=("compile", "export"))
    testing.check_compile(iteration(), data, backend="aot_eager")
    testing.check_export(iteration(), data)


def test_ada_lista_learns_two_matrices_and_two_numbers_a_layer():
    """Sixteen layers, m = 250: 125,032 numbers, for any number of columns."""
    net = unroll(VaryingISTA(250, 0.1, 6.0), 16, tied="mixing", untied=("step_size", "threshold"))
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 2 * 250**2 + 32 == 125_032


def test_bad_data_and_arguments_are_refused():
    net = unroll(iteration(), 2)
    with pytest.raises(
        ValueError,
        match=r"Sensed\(y \(batch, 8\), dictionary \(batch, 8, n\) or \(1, 8, n\)\); got "
        r"\(5, 7\) and \(1, 8, 14\)",
    ):
        net(Sensed(Y[:, :7], DICTIONARIES[:1]))
    with pytest.raises(ValueError, match="got 8 and 0"):
        VaryingISTA(8, 0.1, 0)
    with pytest.raises(ValueError, match="weight must be finite"):
        VaryingISTA(8, -0.1, 1.0)


# The task


def same_columns(one, other):
    return torch.equal(one[:, one[0].argsort()], other[:, other[0].argsort()])


def test_permutations_keep_the_columns_and_change_their_order():
    task = VaryingDictionary(m=10, n=20, dictionary_snr=math.inf, held_out=60)
    drawn = [batch.data.dictionary[0] for batch in (*task.validation, *task.test)]
    assert len(drawn) == 40
    assert all(same_columns(dictionary, task.dictionary) for dictionary in drawn)
    assert len({tuple(dictionary[0].tolist()) for dictionary in drawn}) == 40


def test_noise_on_the_dictionary_has_the_level_that_was_asked_for():
    task = VaryingDictionary(m=100, n=200, permute=0, dictionary_snr=25.0, held_out=20)
    norm = torch.linalg.vector_norm(task.dictionary)
    for batch in task.test:
        varied = batch.data.dictionary[0]
        torch.testing.assert_close(torch.linalg.vector_norm(varied, dim=0), torch.ones(200))
        # Columns are normalised after the noise, which takes away no more than its part along them.
        level = 20 * math.log10(float(norm / torch.linalg.vector_norm(varied - task.dictionary)))
        assert level == pytest.approx(25, abs=0.3)


@pytest.mark.parametrize("snr", [math.inf, 20.0])
def test_measurements_are_made_with_the_dictionary_that_comes_with_them(snr):
    task = VaryingDictionary(m=60, n=90, probability=0.2, snr=snr, held_out=400)
    for (y, dictionary), x in task.validation:
        noise = y - x @ dictionary[0].T
        if snr == math.inf:
            assert float(noise.abs().max()) < 1e-5
        else:
            level = 10 * torch.log10(y.var(1) / noise.var(1))
            assert float(level.mean()) == pytest.approx(20, abs=0.6)
    assert sum(len(batch.target) for batch in task.validation) == 400


def test_the_same_seed_draws_the_same_and_a_weights_file_brings_its_dictionary():
    one, other = (VaryingDictionary(m=10, n=20, held_out=40, seed=3) for _ in range(2))
    assert torch.equal(one.test[7].data.dictionary, other.test[7].data.dictionary)
    assert one.identity() == other.identity()
    again = VaryingDictionary(m=99, n=99, held_out=40, seed=3, fixed=one.fixed_tensors())
    assert torch.equal(again.test[0].data.y, one.test[0].data.y)
    assert again.identity() == one.identity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 0.0}, r"probability must lie in \(0, 1\]"),
        ({"permute": 2}, "permute is 0 or 1; got 2"),
        ({"m": 0}, "m must be at least 1; got 0"),
        ({"dictionary_snr": math.nan}, "dictionary_snr must be a number of dB"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        VaryingDictionary(**{"m": 10, "n": 20, "held_out": 5, **options})
