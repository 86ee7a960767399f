"""Losses without truth: what each is in expectation, what it shows the network, and that none looks at a target."""

import pytest
import torch
from iterations import gaussian

from unrolling.algorithms import BlockSamples
from unrolling.operators import KSpace
from unrolling.operators.fourier import fft, ifft
from unrolling.tasks import (
    MRI,
    Coils,
    CompressiveRates,
    Inpainting,
)
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import Direct, Gaussian, Measurement, Poisson, denoising_measurement
from unrolling.tasks.transformations import Flips, Permutations, Product, Rotations, Shifts, Turns
from unrolling.training.without_truth import (
    SURE,
    Consistency,
    Equivariance,
    Neighbours,
    Recorrupted,
    Splitting,
    pixels_of_blocks,
)

N, SIGMA = 6, 0.3


def draws(*seeds):
    return Draws([torch.Generator().manual_seed(seed) for seed in seeds or (0,)])


def denoiser(noise, count=60_000, seed=0):
    """A linear map, one signal many times, and its noisy data."""
    weight = 0.3 * gaussian(N, N, seed=seed) + 0.5 * torch.eye(N, dtype=torch.float64)
    x = gaussian(1, N, seed=seed + 1).abs() + 0.5
    measurement = Measurement(Direct(), noise, invertible=True)
    y = noise.sample(x.expand(count, N), draws(seed + 2))
    return weight, x, y, measurement, lambda data: data @ weight.T


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Poisson(0.2)], ids=["Gaussian", "Poisson"])
def test_sure_is_in_expectation_the_squared_error_of_a_linear_map(noise):
    weight, x, y, measurement, run = denoiser(noise)
    more = {"data": y, "run": run, "measurement": measurement, "draws": draws(5)}
    found = SURE()(run(y), None, **more)
    # |(W - I) x|^2 + sum_j var_j |W_j|^2, in closed form
    variance = SIGMA**2 * torch.ones_like(x) if isinstance(noise, Gaussian) else noise.gain * x
    true = ((x @ weight.T - x).square().sum() + (variance * weight.square().sum(0)).sum()) / N
    assert found.item() == pytest.approx(true.item(), abs=0.012)
    error = (run(y) - x).square().mean().item()
    assert error == pytest.approx(true.item(), abs=0.005)
    assert abs(Consistency()(run(y), None, y, measurement).item() - error) > 0.03  # which the noise is in


def test_the_divergence_is_that_of_the_probe_at_every_step_and_the_trace_on_average():
    weight, _, y, measurement, run = denoiser(Gaussian(SIGMA))

    def slope(step, seed):
        more = {"data": y, "run": run, "measurement": measurement, "draws": draws(seed)}
        sure = SURE(step)(run(y), None, **more)
        rest = (run(y) - y).square().mean() - SIGMA**2
        return ((sure - rest) * N / (2 * SIGMA**2)).item()

    assert slope(1e-3, 7) == pytest.approx(slope(10.0, 7), rel=1e-8)
    assert slope(0.1, 7) == pytest.approx(weight.trace().item(), abs=0.05)
    assert slope(0.1, 7) != pytest.approx(slope(0.1, 8), abs=1e-6)


def test_of_complex_measurements_both_parts_count_and_those_under_the_mask_alone():
    task = MRI(size=16, noise=0.05, real=0)
    x = gaussian(1, 16, 16, seed=3).to(torch.complex64).expand(3000, 16, 16)
    data = task.measure(x, torch.Generator().manual_seed(0)).data
    measurement = task.measurement()

    def run(given):
        return 0.8 * ifft(given.samples)

    found = SURE()(run(data), None, data=data, run=run, measurement=measurement, draws=draws(1))
    # of A f(y) - A x: 0.2^2 |A x|^2 + 0.8^2 sigma^2 for each of the real numbers
    clean = measurement.image(x[:1], data)
    share = clean.abs().square().sum() / (2 * data.mask.sum())
    assert found.item() == pytest.approx(0.04 * share.item() + 0.64 * 0.05**2, rel=0.02)


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Poisson(0.2)], ids=["Gaussian", "Poisson"])
def test_recorrupted_data_are_independent_and_the_loss_is_the_supervised_one_and_a_constant(noise):
    _, x, y, measurement, run = denoiser(noise, 100_000)
    loss = Recorrupted(0.3)
    first, second = loss.show(y, measurement, draws(4))
    torch.testing.assert_close(0.7 * first + 0.3 * second, y)
    torch.testing.assert_close(first.mean(0), x[0], atol=0.02, rtol=0)
    both = torch.cov(torch.cat([first, second], 1).T)
    variance = SIGMA**2 * torch.ones(N, dtype=torch.float64) if isinstance(noise, Gaussian) else noise.gain * x[0]
    torch.testing.assert_close(both.diagonal()[:N], variance / 0.7, atol=0.02, rtol=0.02)
    assert both[:N, N:].abs().max() < 0.02  # independent: no covariance
    found = loss(run(first), None, measurement=measurement, kept=second)
    supervised = (run(first) - x).square().mean()
    constant = (variance / 0.3).mean()
    assert found.item() == pytest.approx((supervised + constant).item(), rel=0.02)


def test_of_an_equivariant_exact_inverse_equivariance_is_zero():
    task = MRI(size=16, noise=0.0, rate=1.0, real=0)
    x = torch.complex(gaussian(3, 16, 16), gaussian(3, 16, 16, seed=1))
    whole = torch.ones(1, 16, 16, dtype=torch.float64)
    measurement, group = task.measurement(), Product((Turns(), Flips(), Shifts()))

    def value(mask, noise=True):
        data = KSpace(mask * fft(x), mask)
        loss = Equivariance(group, noise=noise)
        run = lambda given: ifft(given.samples)  # noqa: E731
        return loss(run(data), None, data=data, run=run, measurement=measurement, draws=draws(2)).item()

    assert value(whole) < 1e-25
    assert value(task.mask.double() * (torch.arange(16) % 3 > 0)) > 1e-3


def test_transformations_are_groups_that_act_on_each_sample():
    x = gaussian(40, 6, 6)
    for group, size in ((Turns(), 4), (Flips(), 4), (Shifts(), 36)):
        move = group.draw(x[:1].expand(40, 6, 6), draws(3))
        moved = move(x[:1].expand(40, 6, 6))
        assert len({tuple(each.flatten().tolist()) for each in moved}) in range(min(size, 20), size + 1)
        torch.testing.assert_close(moved.flatten(1).sort(1).values, x[:1].flatten(1).sort(1).values.expand(40, 36))
    wide = Turns().draw(x[:, :4], draws(0))(x[:, :4])
    assert wide.shape == (40, 4, 6)
    codes = gaussian(5, 9)
    moved = Permutations().draw(codes, draws(1))(codes)
    torch.testing.assert_close(moved.abs().sort(1).values, codes.abs().sort(1).values)
    # bilinear interpolation is exact at quarters, and at the middle of what is linear
    torch.testing.assert_close(Rotations(0.0).draw(x, draws(0))(x), x)


def test_what_splitting_asks_for_the_network_has_not_seen():
    tasks = (MRI(size=32), MRI(size=32, real=0, noise=0.1), Coils.small(), Inpainting.small(), CompressiveRates.small())
    for task in tasks:
        data, measurement = task.draw(2, torch.Generator().manual_seed(0)).data, task.measurement()
        loss = Splitting(0.6)
        seen, kept = loss.show(data, measurement, draws(1))
        y = measurement.measured(data).clone().requires_grad_()
        again, held = loss.show(measurement.replaced(data, y), measurement, draws(1))
        estimate = gaussian(*measurement.adjoint(y, data).shape).to(measurement.adjoint(y, data).dtype)
        loss(estimate, None, measurement=measurement, kept=held).backward()
        used, y_seen = y.grad.abs() > 0, measurement.measured(again)
        y.grad = None
        (y_seen.abs().square() if y_seen.is_complex() else y_seen).sum().backward()
        shown = y.grad.abs() > 0
        assert used.any(), task.name
        assert shown.any(), task.name
        assert not (used & shown).any(), task.name
        part = shown.sum() / (used | shown).sum()
        assert 0.5 < part < 0.9, (task.name, part)
        # the part that is seen is measured by the operator that goes with it
        x = gaussian(*estimate.shape).to(estimate)
        whole = measurement.image(x, data)
        if isinstance(data, BlockSamples):
            assert seen.matrix.shape[1] + kept.matrix.shape[1] == data.matrix.shape[1]
            both = torch.cat([measurement.image(x, seen), measurement.image(x, kept)], -1)
            torch.testing.assert_close(both.sort(-1).values, whole.sort(-1).values)
        else:
            torch.testing.assert_close(measurement.image(x, seen) + measurement.image(x, kept), whole)


def test_of_a_real_image_a_frequency_and_its_opposite_stay_together():
    task = MRI(size=32)
    data = task.draw(3, torch.Generator().manual_seed(0)).data
    seen, kept = task.measurement().split(data, 0.5, draws(0))
    for mask in (seen.mask, kept.mask):
        torch.testing.assert_close(mask, mask.flip((-2, -1)).roll((1, 1), (-2, -1)) * data.mask.expand_as(mask))
    assert bool((seen.mask[:, :3, :3] == data.mask[:, :3, :3]).all())  # the lowest frequencies
    assert not torch.equal(seen.mask[0], seen.mask[1])


def test_neighbours_are_two_pixels_of_each_block_that_touch():
    y = torch.arange(2 * 5 * 8.0).reshape(2, 5, 8)
    measurement = denoising_measurement(Gaussian(0.1))
    loss = Neighbours(2.0)
    small, (first, second) = loss.show(y, measurement, draws(0))
    other = pixels_of_blocks(y, second)
    assert small.shape == (2, 2, 4)
    for b in range(2):
        for i in range(2):
            for j in range(4):
                block = y[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                one, two = ((block == v[b, i, j]).nonzero()[0] for v in (small, other))
                assert (one - two).abs().sum() == 1
    counts = torch.bincount(4 * first.flatten() + second.flatten(), minlength=16)
    assert set(counts.nonzero().flatten().tolist()) <= {1, 2, 4, 7, 8, 11, 13, 14}
    # f(y) = c y: (c s1 - s2)^2 + 2 ((c s1 - s2) - c (s1 - s2))^2 = (c s1 - s2)^2 + 2 (1 - c)^2 s2^2
    run = lambda data: 0.5 * data  # noqa: E731
    found = loss(run(small), None, data=y, run=run, measurement=measurement, kept=(first, second))
    expected = ((0.5 * small - other).square() + 2 * 0.25 * other.square()).mean()
    torch.testing.assert_close(found, expected)


def test_a_batch_draws_the_same_however_it_is_divided():
    like = torch.zeros(6, 3)
    whole = draws(1, 2).normal(like)
    parts = torch.cat([draws(1).normal(like[:3]), draws(2).normal(like[:3])])
    assert torch.equal(whole, parts)
    with pytest.raises(ValueError, match="5 samples are not 2 parts"):
        draws(1, 2).normal(like[:5])
    assert draws(1, 2).normal(torch.zeros(1, 4, dtype=torch.complex64)).dtype == torch.complex64
