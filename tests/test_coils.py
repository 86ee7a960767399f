"""Several receive coils: simulated and estimated maps, noise between coils, the task, CG-SENSE; and what is refused."""

import numpy as np
import pytest
import pywt
import torch

from unrolling import solve
from unrolling.algorithms import CoilSampling, ConjugateGradient
from unrolling.operators import (
    CoilData,
    MultiCoilFourier,
    Wavelet,
    calibration_region,
    estimate_maps,
    noise_covariance,
    normalise_maps,
    prewhiten,
    root_sum_of_squares,
)
from unrolling.operators.fourier import fft, from_corner, ifft, to_corner
from unrolling.prox import OrthonormalShrink
from unrolling.tasks import Coils, find_task
from unrolling.tasks.medical import (
    cartesian_mask,
    equispaced_mask,
    head,
    mask_kind,
    poisson_disc_mask,
    receive_coils,
    with_phase,
)
from unrolling.testing import check_iteration, check_operator


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def recording(size=64, coils=6, rate=0.25, noise=0.005, seed=0):
    """Image, maps, mask and samples of one slice."""
    g = generator(seed)
    image, maps = with_phase(head(size, g), g), receive_coils(coils, size, size, g)
    mask = torch.fft.ifftshift(cartesian_mask(size, size, rate, centre=0.16, seed=seed))
    noisy = noise * torch.view_as_complex(torch.randn(coils, size, size, 2, generator=g))
    return image, maps, mask, mask * (fft(maps * image) + noisy)


# Maps


def test_simulated_maps_are_normalised_smooth_and_all_different():
    maps = receive_coils(8, 48, 40, generator())
    assert torch.allclose(maps.abs().square().sum(0), torch.ones(48, 40), atol=1e-5)
    assert float((maps[:, 1:] - maps[:, :-1]).abs().max()) < 0.1
    products = (maps.flatten(1) @ maps.flatten(1).mH).abs()
    own = products.diagonal().sqrt()
    assert float((products / own / own.unsqueeze(1) - torch.eye(8)).max()) < 0.9


@pytest.mark.parametrize("coils", [1, 2, 5, 32])
def test_any_number_of_coils_covers_the_image(coils):
    assert torch.allclose(receive_coils(coils, 16, 24, generator(3)).abs().square().sum(0), torch.ones(16, 24))


def test_maps_from_calibration_lines_are_the_true_ones_up_to_phase_within_three_percent():
    image, maps, mask, samples = recording()
    found = estimate_maps(samples.unsqueeze(0), mask.unsqueeze(0))[0]
    tissue = image.abs() > 0.1
    # |<S', S>| = 1 - |S' - e^it S|^2 / 2 at the best phase
    error = (2 - 2 * (found.conj() * maps).sum(0).abs()[tissue]).clamp_min(0).sqrt()
    assert float(error.mean()) < 0.03 < 0.5 < float((2 - 2 * (maps[0].abs()[tissue])).mean())
    assert torch.allclose(found.abs().square().sum(0)[tissue], torch.ones(int(tissue.sum())), atol=1e-4)
    # Combined with them the image has its magnitude, also where the object is and the phase turns smoothly.
    combined = (found.conj() * fft_images(maps * image)).sum(0)
    assert float((combined.abs() - image.abs())[tissue].abs().max()) < 0.02


def fft_images(images):
    return ifft(fft(images))


def test_maps_of_a_batch_are_those_of_its_samples_and_scale_and_shift_do_not_matter():
    first, second = recording(32, 3, seed=1), recording(32, 3, seed=2)
    both = estimate_maps(torch.stack([first[3], second[3]]), torch.stack([first[2], second[2]]))
    for number, (_, _, mask, samples) in enumerate((first, second)):
        alone = estimate_maps(samples.unsqueeze(0), mask.unsqueeze(0))[0]
        assert torch.allclose(both[number], alone, atol=1e-5)
        assert torch.allclose(estimate_maps(1e-20 * samples.unsqueeze(0), mask.unsqueeze(0))[0], alone, atol=1e-3)


def test_maps_have_the_origin_of_the_images():
    image, maps, mask, _ = recording(32, 4, noise=0.0)
    # with its origin in the middle, the image lies in the corners
    moved = mask * fft(torch.fft.ifftshift(maps * image, (-2, -1)))
    found, rolled = (estimate_maps(s.unsqueeze(0), mask.unsqueeze(0))[0] for s in (mask * fft(maps * image), moved))
    both = torch.fft.fftshift(rolled, (-2, -1))
    assert float((found.conj() * both).sum(0).abs()[image.abs() > 0.1].min()) > 0.999


def test_the_calibration_region_is_the_largest_full_rectangle_around_the_zero_frequency():
    mask = torch.zeros(20, 30)
    mask[7:13, 10:21] = 1  # rows 7 to 12 around 10, columns 10 to 20 around 15
    mask[2, 3] = 1
    assert calibration_region(torch.fft.ifftshift(mask)) == (6, 11)
    assert calibration_region(torch.ones(9, 8)) == (9, 8)
    mask[10, 15] = 0
    assert calibration_region(torch.fft.ifftshift(mask)) == (0, 0)


@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 9)])
def test_data_terms_take_both_origins_at_zero_and_conversions_lead_there(height, width):
    g = generator(6)
    maps, x = (torch.randn(2, 3, height, width, dtype=torch.complex64, generator=g) for _ in range(2))
    x, mask = x[:, 0], (torch.rand(2, height, width, generator=g) < 0.6).float()  # all with their origins in the middle
    operator = MultiCoilFourier(mask, maps, image_origin="centre", frequency_origin="centre")
    samples = operator(x)
    data = CoilData(*(to_corner(t, "centre") for t in (samples, mask, maps)))
    term = CoilSampling()
    assert torch.allclose(from_corner(term.image(to_corner(x, "centre"), data), "centre"), samples, atol=1e-5)
    back = from_corner(term(data).back, "centre")
    assert torch.allclose(back, operator.adjoint(samples), atol=1e-5)
    # what scanners write: fftshift(fft2(ifftshift(image)))
    written = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(maps[0, 1] * x[0]), norm="ortho"))
    assert torch.allclose(samples[0, 1], mask[0] * written, atol=1e-5)


# Noise


def test_whitened_noise_is_independent_with_variance_one():
    g = generator(4)
    mixing = torch.randn(5, 5, dtype=torch.complex64, generator=g)
    noise = mixing @ torch.randn(5, 40_000, dtype=torch.complex64, generator=g)
    covariance = noise_covariance(noise)
    assert torch.allclose(covariance, mixing @ mixing.mH, rtol=0.1, atol=0.3)
    white = prewhiten(noise.view(5, 200, 200), covariance).flatten(1)
    assert torch.allclose(noise_covariance(white), torch.eye(5, dtype=torch.complex64), atol=1e-3)


def test_whitening_samples_and_maps_leaves_the_image_and_weighs_the_noisier_coil_less():
    image, maps, _, samples = recording(32, 4, rate=1.0, noise=0.0)
    deviations = torch.tensor([1.0, 1.0, 1.0, 30.0])
    g = generator(5)
    noisy = samples + 0.01 * deviations.view(-1, 1, 1) * torch.randn(samples.shape, dtype=torch.complex64, generator=g)
    covariance = torch.diag(deviations.square()).to(torch.complex64)

    def least_squares(s, m):
        data = CoilData(s.unsqueeze(0), torch.ones(1, 32, 32), m.unsqueeze(0))
        return solve(ConjugateGradient(CoilSampling()), data, tolerance=1e-6, max_iterations=200).estimate[0]

    plain, white = least_squares(noisy, maps), least_squares(*(prewhiten(v, covariance) for v in (noisy, maps)))
    assert float((white - image).norm()) < 0.2 * float((plain - image).norm())


def test_root_sum_of_squares_of_normalised_coils_is_the_magnitude():
    image, maps, _, _ = recording(32, 4)
    assert torch.allclose(root_sum_of_squares(maps * image), image.abs(), atol=1e-6)


# Masks


@pytest.mark.parametrize(("height", "width", "rate"), [(48, 48, 0.25), (40, 24, 1 / 3), (32, 33, 0.125), (16, 16, 0.9)])
def test_poisson_disc_masks_have_their_acceleration_to_the_last_point_and_a_full_middle(height, width, rate):
    mask = poisson_disc_mask(height, width, rate, centre=0.2, seed=1)
    assert int(mask.sum()) == round(rate * height * width)
    side = round(0.2 * min(height, width))
    top, left = height // 2 - side // 2, width // 2 - side // 2
    assert bool(mask[top : top + side, left : left + side].all())
    assert not torch.equal(mask, poisson_disc_mask(height, width, rate, centre=0.2, seed=2))
    assert torch.equal(mask, poisson_disc_mask(height, width, rate, centre=0.2, seed=1))


def test_points_of_a_poisson_disc_mask_keep_their_distance():
    mask = poisson_disc_mask(64, 64, 0.1, centre=0.05, seed=0)
    assert mask_kind(mask) == "points"
    outer = mask.clone()
    outer[20:44, 20:44] = 0
    neighbours = torch.nn.functional.conv2d(outer[None, None], torch.ones(1, 1, 3, 3), padding=1)[0, 0] * outer
    assert float(neighbours.max()) == 1  # itself
    random = (torch.rand(64, 64, generator=generator()) < 0.1).float()
    assert float((torch.nn.functional.conv2d(random[None, None], torch.ones(1, 1, 3, 3))).max()) > 2


def test_equispaced_columns_are_as_many_as_the_rate_says_and_evenly_apart():
    mask = equispaced_mask(4, 96, 0.25, centre=0.08, offset=0.5)
    columns = torch.nonzero(mask[0]).flatten()
    assert len(columns) == 24
    assert mask_kind(mask) == "lines"
    outside = [i for i in range(96) if not 44 <= i < 52]  # of the 8 in the middle
    gaps = torch.tensor([outside.index(i) for i in columns.tolist() if i in outside]).diff()
    assert (len(gaps), int(gaps.min()), int(gaps.max())) == (15, 5, 6)


# Wavelets


@pytest.mark.parametrize("moments", [1, 2])
def test_wavelets_are_unitary_operators(moments):
    check_operator(Wavelet(2, moments), shape=(8, 12))
    check_operator(Wavelet(3, moments), shape=(6, 8), dtype=torch.complex64)
    wavelet = Wavelet(3, moments)
    x = torch.randn(6, 20, 24, generator=generator(), dtype=torch.float64)
    assert torch.allclose(wavelet.adjoint(wavelet(x)), x, atol=1e-12)


@pytest.mark.parametrize(("moments", "name"), [(1, "haar"), (2, "db2")])
def test_one_level_of_wavelets_is_that_of_another_library(moments, name):
    x = torch.randn(8, 12, generator=generator(), dtype=torch.float64)
    coarse = Wavelet(1, moments)(x.unsqueeze(0))[0, :4, :6].numpy()
    # PyWavelets' filters lie as many pixels later as a filter has taps less two.
    expected = pywt.dwt2(np.roll(x.numpy(), 2 * moments - 2 - (moments - 1), (0, 1)), name, mode="periodization")[0]
    assert np.allclose(coarse, expected) or np.allclose(np.sort(coarse.ravel()), np.sort(expected.ravel()))


def test_the_prox_of_wavelets_is_the_minimiser():
    prox = OrthonormalShrink(Wavelet(2))
    z = torch.randn(1, 8, 8, generator=generator(), dtype=torch.complex128)
    x = prox(z, 0.3)

    def value(image):
        return float(0.5 * (image - z).abs().square().sum() + prox.penalty(image, 0.3))

    g = generator(1)
    for _ in range(20):
        change = 1e-3 * torch.randn(1, 8, 8, generator=g, dtype=torch.complex128)
        assert value(x) <= value(x + change)


# CG-SENSE


def multicoil(size=16, coils=3, batch=2, dtype=torch.complex64):
    task = Coils(size=size, coils=coils)
    data = task.draw(batch, generator()).data
    return CoilData(data.samples.to(dtype), data.mask.to(dtype.to_real()), data.maps.to(dtype))


def test_cg_sense_passes_what_is_asked_of_iterations():
    g = generator()
    samples, maps = (torch.randn(3, 2, 4, 4, dtype=torch.complex64, generator=g) for _ in range(2))
    mask = (torch.rand(3, 1, 4, generator=g) < 0.7).float()
    data = CoilData(mask.unsqueeze(1) * samples, mask, normalise_maps(maps))
    skip = ("compile", "export", "second_derivative")
    check_iteration(ConjugateGradient(CoilSampling(), 0.1), data, depth=2, skip=skip)


def test_cg_sense_solves_the_dense_normal_equations():
    data = multicoil(8, 3, 1, torch.complex128)
    operator = MultiCoilFourier(data.mask[0].expand(8, 8), data.maps[0]).double()
    matrix = torch.stack([operator(e.view(1, 8, 8)).flatten() for e in torch.eye(64, dtype=torch.complex128)], 1)
    right = matrix.mH @ data.samples.flatten()
    expected = torch.linalg.solve(matrix.mH @ matrix + 0.02 * torch.eye(64), right).view(8, 8)
    with torch.no_grad():
        iteration = ConjugateGradient(CoilSampling(), 0.02).double()
    found = solve(iteration, data, tolerance=1e-12, max_iterations=300)
    assert torch.allclose(found.estimate[0], expected, atol=1e-9)


def test_exact_solves_have_the_gradient_of_unrolled_conjugate_gradients_at_convergence():
    data = multicoil(8, 3, 1, torch.complex128)
    term = CoilSampling()

    def gradients(solver):
        maps = data.maps.clone().requires_grad_()
        weight = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
        problem = term(data._replace(maps=maps))
        x = solver(problem, weight)
        loss = (x.abs().square() * torch.linspace(0, 1, 64, dtype=torch.float64).view(8, 8)).sum()
        return torch.autograd.grad(loss, [maps, weight])

    def implicit(problem, weight):
        return term.solve(problem.back, weight, problem)

    def unrolled(problem, weight):
        from unrolling.operators.normal_equations import conjugate_gradients

        def apply(x):
            return term.adjoint(term.image(x, problem.data), problem.data) + weight * x

        return conjugate_gradients(apply, problem.back, tolerance=0.0, max_iterations=80)

    for one, other in zip(gradients(implicit), gradients(unrolled), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


# The task


def test_samples_are_the_masked_transforms_of_what_the_coils_see():
    task = Coils(size=32, coils=4, noise=0.0)
    samples, mask, maps = (part := task.draw(3, generator())).data
    assert torch.allclose(samples, mask.unsqueeze(1) * fft(maps * part.target.unsqueeze(1)), atol=1e-6)
    assert mask.shape == (3, 1, 32)
    assert len({tuple(each.flatten().tolist()) for each in mask}) > 1
    assert torch.allclose(mask.mean((1, 2)), torch.full((3,), 0.25))
    noisy = Coils(size=32, coils=4, noise=0.1, acceleration=1.0).draw(1, generator())
    left = noisy.data.samples - fft(noisy.data.maps * noisy.target.unsqueeze(1))
    assert float(left.real.std()) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("mask", ["cartesian", "equispaced", "poisson", "radial"])
def test_every_kind_of_mask_has_its_acceleration(mask):
    for acceleration in (2.0, 4.0):
        drawn = Coils(acceleration=acceleration, mask=mask, size=32, coils=2).draw(1, generator()).data.mask
        assert float(drawn.mean()) == pytest.approx(1 / acceleration, rel=0.15 if mask == "radial" else 1e-6)


def test_the_target_of_estimated_maps_has_their_phase_and_the_image_its_magnitude():
    true, estimated = (
        Coils(size=48, coils=4, maps=maps, noise=0.0, acceleration=2.0) for maps in ("true", "estimated")
    )
    one, other = true.test[0], estimated.test[0]
    assert torch.allclose(one.target.abs(), other.target.abs(), atol=1e-6)
    whole = ifft(fft(one.data.maps * one.target.unsqueeze(1)))
    combined = (other.data.maps.conj() * whole).sum(1)
    tissue = one.target.abs() > 0.1
    assert float((combined - other.target)[tissue].abs().mean()) < 0.03


def test_accelerations_spread_and_crops_are_what_a_curriculum_may_change():
    task = Coils(size=64, coils=2)
    part = task.draw(6, generator(), acceleration=2.0, spread=4.0, crop=32)
    assert part.target.shape == (6, 32, 32)
    rates = part.data.mask.mean((1, 2))
    assert 1 / 8 - 0.02 <= float(rates.min()) < float(rates.max()) <= 0.5


def test_slices_of_a_file_may_be_complex_and_no_square(tmp_path):
    values = torch.randn(10, 24, 20, dtype=torch.complex64, generator=generator()).numpy()
    np.save(tmp_path / "slices.npy", values)
    task = Coils(data=tmp_path / "slices.npy", coils=2, acceleration=2.0)
    assert len(task.validation) == len(task.test) == 1
    kept = task.test[0].target[0].numpy()
    assert np.allclose(kept, values[9] / max(1, np.abs(values[9]).max()), atol=1e-6)
    assert task.draw(2, generator()).data.samples.shape == (2, 2, 24, 20)


def test_more_coils_and_iterations_bring_cg_sense_closer_than_zeros():
    task = find_task("multicoil")(size=48, coils=8, noise=0.002, acceleration=2.0)
    batch = task.test[0]
    found = solve(ConjugateGradient(CoilSampling(), 0.005), batch.data, max_iterations=60).estimate
    zero_filled = task.zero_filled(batch.data)
    assert float((found - batch.target).norm()) < 0.5 * float((zero_filled - batch.target).norm())


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Coils(acceleration=0.5), "at least 1"),
        (lambda: Coils(maps="guessed"), "one of true, estimated"),
        (lambda: Coils(mask="spiral.npy"), "spiral.npy"),
        (lambda: Coils(noise=-1.0), "at least 0"),
        (lambda: Coils(coils=0), "coils"),
        (lambda: estimate_maps(torch.zeros(1, 2, 8, 8, dtype=torch.complex64), torch.ones(1, 8, 8)), "is zero"),
        (lambda: estimate_maps(torch.zeros(1, 2, 8, 8), torch.ones(1, 8, 8)), "complex"),
        (lambda: estimate_maps(torch.ones(1, 2, 8, 8) + 0j, torch.ones(1, 8, 9)), "samples are"),
        (lambda: estimate_maps(torch.ones(1, 2, 8, 8) + 0j, torch.zeros(1, 8, 8)), "auto-calibration lines"),
        (lambda: prewhiten(torch.ones(2, 4, 4) + 0j, torch.ones(3, 3) + 0j), "covariance"),
        (lambda: prewhiten(torch.ones(2, 4, 4) + 0j, -torch.eye(2) + 0j), "positive definite"),
        (lambda: noise_covariance(torch.ones(4, 3) + 0j), "at least as many"),
        (lambda: Wavelet(2, 3), "moments is 3"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_missing_and_vanishing_maps_and_empty_masks_are_refused_or_harmless():
    data = multicoil()
    iteration = ConjugateGradient(CoilSampling(), 0.1)
    with pytest.raises(TypeError, match="CoilData"):
        solve(iteration, data[:2])
    with pytest.raises(ValueError, match="maps"):
        solve(iteration, data._replace(maps=data.maps[:, :2]))
    # maps that vanish somewhere say nothing of the image there
    half = data.maps.clone()
    half[..., :8] = 0
    found = solve(iteration, data._replace(maps=half), max_iterations=50).estimate
    assert torch.isfinite(found.abs()).all()
    assert float(found[..., :8].abs().max()) == 0
    assert float(normalise_maps(torch.zeros(2, 4, 4) + 0j).abs().max()) == 0
    for empty in (data._replace(maps=torch.zeros_like(data.maps)), data._replace(mask=torch.zeros_like(data.mask))):
        assert float(solve(iteration, empty, max_iterations=5).estimate.abs().max()) == 0


def test_the_loss_has_no_scale_and_an_empty_image_teaches_nothing():
    task = Coils.small()
    target = torch.randn(2, 8, 8, generator=generator(), dtype=torch.complex64)
    estimate = (1.1 * target).requires_grad_()
    for factor in (1.0, 1e-20):
        assert abs(float(task.loss(factor * estimate, factor * target).detach()) - 0.1) < 1e-5
    task.loss(estimate, torch.stack([target[0], torch.zeros_like(target[0])])).backward()
    assert float(estimate.grad[0].abs().max()) > 0
    assert float(estimate.grad[1].abs().max()) == 0
