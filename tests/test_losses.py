"""Losses against values worked out by hand or by another library."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling.training.losses import (
    MSE,
    LogNMSE,
    NegativeSISDR,
    PermutationInvariant,
    RelativeMSE,
    SampleLoss,
    ShiftInvariantMSE,
    WeightedSum,
    describe,
    trajectory,
)


def pair(*shape, seed=0):
    return gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 1)


def test_mse_is_torchs():
    x, y = pair(4, 3, 5)
    torch.testing.assert_close(MSE()(x, y), torch.nn.functional.mse_loss(x, y))
    z = torch.complex(x, y)
    torch.testing.assert_close(MSE()(z, torch.zeros_like(z)), z.abs().square().mean())


def test_nmse_is_the_mean_of_the_samples_ratios():
    x, y = pair(4, 7)
    expected = np.mean([np.sum((x[i] - y[i]).numpy() ** 2) / np.sum(y[i].numpy() ** 2) for i in range(4)])
    assert RelativeMSE()(x, y).item() == pytest.approx(expected)
    assert RelativeMSE(floor=0.5)(torch.ones(1, 2), torch.zeros(1, 2)).item() == pytest.approx(4.0)


def test_log_nmse_is_in_decibels_and_its_gradient_does_not_fade():
    x, y = pair(4, 7)
    assert LogNMSE()(x, y).item() == pytest.approx(10 * np.log10(((x - y) ** 2).sum().item() / (y**2).sum().item()))
    norms = []
    for error in (1e-1, 1e-4):
        z = (y + error * x).requires_grad_()
        LogNMSE()(z, y).backward()
        norms.append(error * z.grad.norm().item())  # of a relative change of the error
    assert norms[1] == pytest.approx(norms[0], rel=0.01)


@given(st.integers(0, 3), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 100))
def test_shift_invariant_mse_is_the_smallest_over_all_shifts(r, dy, dx, seed):
    x, y = pair(3, 10, 11, seed=seed)
    y[0] = torch.roll(x[0], (dy, dx), (0, 1))
    found = ShiftInvariantMSE(r).each(x, y)
    for k in range(3):
        inner = y[k, r : 10 - r, r : 11 - r].numpy()
        shifts = itertools.product(range(-r, r + 1), repeat=2)
        candidates = [np.mean((x[k, r + i : 10 - r + i, r + j : 11 - r + j].numpy() - inner) ** 2) for i, j in shifts]
        assert found[k].item() == pytest.approx(min(candidates))
    if max(abs(dy), abs(dx)) <= r:
        assert found[0].item() == pytest.approx(0, abs=1e-12)


def test_shift_invariant_mse_has_the_gradient_of_the_best_shift():
    x, y = pair(2, 9, 9)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ShiftInvariantMSE(2)(x, y), (x,))


def test_shift_invariant_mse_of_no_shift_is_mse_and_too_small_images_are_refused():
    x, y = pair(2, 6, 6)
    torch.testing.assert_close(ShiftInvariantMSE(0)(x, y), MSE()(x, y))
    with pytest.raises(ValueError, match="a shift of 3 pixels needs images larger than 6; got 6 x 6"):
        ShiftInvariantMSE(3)(x, y)
    with pytest.raises(ValueError, match="shift is -1"):
        ShiftInvariantMSE(-1)


@pytest.mark.parametrize("zero_mean", [False, True])
def test_si_sdr_is_that_of_torchmetrics_and_blind_to_scale(zero_mean):
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    x, y = pair(5, 200)
    x = y + 0.3 * x + 1.0
    loss = NegativeSISDR(zero_mean)
    torch.testing.assert_close(loss.each(x, y), -scale_invariant_signal_distortion_ratio(x, y, zero_mean=zero_mean))
    torch.testing.assert_close(loss(7 * x, y), loss(x, y))
    torch.testing.assert_close(loss(x, 0.1 * y), loss(x, y))


def test_permutation_invariance():
    from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_distortion_ratio

    x, y = pair(4, 3, 50)
    x = y[:, [2, 0, 1]] + 0.5 * x
    loss = PermutationInvariant(NegativeSISDR())
    best, _ = permutation_invariant_training(x, y, scale_invariant_signal_distortion_ratio, eval_func="max")
    torch.testing.assert_close(loss.each(x, y), -best)
    torch.testing.assert_close(loss(x[:, [1, 2, 0]], y), loss(x, y))
    assert loss(x, y) < NegativeSISDR()(x.flatten(0, 1), y.flatten(0, 1))
    with pytest.raises(ValueError, match="needs"):
        loss(x[:, 0], y[:, 0])


def test_a_trajectory_is_the_weighted_sum_and_skips_weights_of_zero():
    x, y = pair(4, 3)
    called = []

    def loss(a, b):
        called.append(1)
        return MSE()(a, b)

    value = trajectory(loss, [0.25, 0.0, 0.75], [x, x + 1, 2 * x], y)
    torch.testing.assert_close(value, 0.25 * MSE()(x, y) + 0.75 * MSE()(2 * x, y))
    assert len(called) == 2
    with pytest.raises(ValueError, match="all layers have weight 0"):
        trajectory(loss, [0.0], [x], y)
    with pytest.raises(ValueError, match="2 weights and 1 estimates"):
        trajectory(loss, [0.5, 0.5], [x], y)


def test_joined_losses_add_up_by_name():
    x, y = pair(4, 3)
    loss = WeightedSum((("a", 0.5, MSE()), ("b", 2.0, RelativeMSE())))
    torch.testing.assert_close(
        loss({"a": x, "b": 2 * x}, {"a": y, "b": x}), 0.5 * MSE()(x, y) + 2 * RelativeMSE()(2 * x, x)
    )
    torch.testing.assert_close(loss({"a": x, "b": 2 * x}, y), 0.5 * MSE()(x, y) + 2 * RelativeMSE()(2 * x, y))
    with pytest.raises(ValueError, match="WeightedSum names 'b'; there are a"):
        loss({"a": x}, y)


@pytest.mark.parametrize("loss", [MSE(), RelativeMSE(), LogNMSE(), NegativeSISDR()])
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(
        ValueError,
        match=rf"{type(loss).__name__} compares tensors of one shape; got estimates \(4, "
        r"1\) and targets \(4, 3\)",
    ):
        loss(torch.ones(4, 1), torch.ones(4, 3))


@given(st.sampled_from([MSE(), RelativeMSE(), NegativeSISDR()]), st.integers(0, 50))
def test_means_over_samples_do_not_depend_on_how_a_batch_is_divided(loss, seed):
    x, y = pair(6, 5, seed=seed)
    torch.testing.assert_close((loss(x[:3], y[:3]) + loss(x[3:], y[3:])) / 2, loss(x, y))


def test_a_loss_describes_itself():
    assert describe(None) == "of the task"
    assert describe(ShiftInvariantMSE(3)) == "ShiftInvariantMSE(shift=3)"
    assert describe(torch.nn.functional.l1_loss) == "l1_loss"
    with pytest.raises(TypeError, match="without `each`"):
        type("Empty", (SampleLoss,), {})()(torch.ones(1, 1), torch.ones(1, 1))
