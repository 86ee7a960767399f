"""Expectation propagation: its loop, its start, where it is exact."""

import torch
from channels import BPSK, received

from unrolling import solve, unroll
from unrolling.algorithms.detection.linear_detection import lmmse
from unrolling.algorithms.detection.mimo import pam, posterior
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.core import tree
from unrolling.tasks import Detection


def test_expectation_propagation_is_the_loop_written_by_hand():
    data, _ = received(n=7, k=4, snr=6.0)
    levels = BPSK
    precision, shift = torch.ones(6, 4, dtype=torch.float64), torch.zeros(6, 4, dtype=torch.float64)
    iteration = ExpectationPropagation(levels, damping=0.3)
    states = [iteration.start(iteration.prepare(data)), *unroll(iteration, 6).trajectory(data)]
    for state in states:
        for b in range(6):
            h, s2 = data.channel[b], data.noise_variance[b, 0]
            cover = torch.linalg.inv(h.T @ h / s2 + precision[b].diag())
            mean = cover @ (h.T @ data.y[b] / s2 + shift[b])
            cavity = 1 / (1 / cover.diagonal() - precision[b])
            t = cavity * (mean / cover.diagonal() - shift[b])
            weight = torch.exp(-((t.unsqueeze(1) - levels) ** 2) / (2 * cavity.unsqueeze(1)))
            weight = weight / weight.sum(1, keepdim=True)
            m = weight @ levels
            p = ((weight * levels**2).sum(1) - m**2).clip(1e-6)
            torch.testing.assert_close(state.x[b], m, rtol=0, atol=1e-7)
            new = 1 / p - 1 / cavity
            keep = torch.where(new > 0, 0.3, 1.0)
            precision[b] = (1 - keep) * new + keep * precision[b]
            shift[b] = (1 - keep) * (m / p - t / cavity) + keep * shift[b]


def test_expectation_propagation_starts_at_the_unbiased_lmmse_estimate():
    data, _ = received(snr=5.0)
    iteration = ExpectationPropagation(BPSK)
    torch.testing.assert_close(iteration.start(iteration.prepare(data)).message, lmmse(data, unbiased=True))


def test_expectation_propagation_is_exact_for_one_stream():
    """There is nothing to approximate: the answer is the posterior mean of the symbol given all of y."""
    data, _ = received(n=5, k=1, snr=0.0, order=4)
    energy = data.channel.square().sum((1, 2)).unsqueeze(1)
    z = torch.einsum("bnk,bn->bk", data.channel, data.y) / energy
    wanted = posterior(z, data.noise_variance / energy, pam(4)).mean
    for depth in (1, 7):
        torch.testing.assert_close(unroll(ExpectationPropagation(pam(4)), depth)(data), wanted)


def test_expectation_propagation_comes_near_the_true_posterior_mean():
    """By enumeration of all 2^8 vectors: nearer than OAMP, whose errors all have one variance, and than LMMSE."""
    data, _ = received(batch=200, n=12, k=8, snr=8.0)
    vectors = torch.cartesian_prod(*[BPSK] * 8)
    distance = (data.y.unsqueeze(1) - vectors @ data.channel.mT).square().sum(2)
    weight = torch.softmax(-distance / (2 * data.noise_variance), dim=1)
    exact = weight @ vectors
    errors = [
        (estimate - exact).square().mean().item()
        for estimate in (
            unroll(ExpectationPropagation(BPSK, damping=0.5), 10)(data),
            unroll(OAMP(BPSK), 10)(data),
            lmmse(data),
        )
    ]
    assert errors[0] < 0.6 * errors[1]
    assert errors[0] < 0.3 * errors[2]


def test_it_ends_in_single_precision_too_where_symbols_are_sure():
    """There a message is a difference of numbers a million times larger, which never comes to rest."""
    task = Detection(streams=4, antennas=6, held_out=200)
    data = task.test[0].data
    iterations = []
    for dtype in (torch.float32, torch.float64):
        own = tree.apply(lambda t, d=dtype: t.to(d), data)
        found = solve(ExpectationPropagation(task.levels).to(dtype), own, tolerance=1e-4)
        assert bool(found.converged.all())
        iterations.append(found.iterations.double().mean())
    torch.testing.assert_close(*iterations, rtol=0.2, atol=0)
