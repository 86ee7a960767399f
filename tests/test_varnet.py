"""Descent on k-space with a network for the maps: the end-to-end variational network."""

import pytest
import torch
from image_problems import complex_images
from iterations import gaussian
from skimage.metrics import structural_similarity

from unrolling import testing, unroll
from unrolling.algorithms.splitting.kspace_descent import CoilPreparation, KSpaceDescent, calibration_mask
from unrolling.networks.normalised_unet import NormalisedUNet
from unrolling.operators import CoilData, KSpace
from unrolling.operators.fourier import fft, from_corner, ifft, normalise_maps, to_corner
from unrolling.systems.catalogue import find
from unrolling.systems.medical._coils import combine_unmapped
from unrolling.systems.medical._kspace import Measured
from unrolling.systems.medical.varnet import published
from unrolling.tasks.medical.coils import Coils
from unrolling.training.similarity import Dissimilarity

COILS, SIZE = 3, 12


def columns(width=SIZE, kept=(0, 1, 2, 4, 7, 11, 10)):
    """A mask of columns; 0, 1, 2 and -1, -2 lie around frequency zero."""
    mask = torch.zeros(1, 1, width, dtype=torch.float64)
    mask[..., list(kept)] = 1
    return mask


def coils(count=2, size=SIZE, mask=None):
    maps = normalise_maps(
        torch.complex(gaussian(count, COILS, size, size, seed=5), gaussian(count, COILS, size, size, seed=6))
    )
    mask = columns() if mask is None else mask
    return CoilData(mask.unsqueeze(1) * fft(maps * complex_images(count, 0, (size, size)).unsqueeze(1)), mask, maps)


def unet(width=2, pools=1, offset="mean", seed=0):
    torch.manual_seed(seed)
    made = NormalisedUNet(width, pools, offset=offset).double()
    torch.nn.init.normal_(made.network.last.weight, std=0.2)
    return made


def test_the_published_network_has_29_936_966_parameters():
    iteration, depth = published()
    maps = sum(p.numel() for p in iteration.prepare.parameters())
    total = sum(p.numel() for p in iteration.parameters())
    assert maps + depth * (total - maps) == 29_936_966


def test_the_network_for_maps_is_shared_and_each_step_has_a_network_of_its_own():
    net = find("medical/varnet").network(find("medical/varnet").recipes["multicoil"], Coils.small(), 3)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in net.parent.named_children()}
    learned = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert learned == count["prepare"] + 3 * (count["regulariser"] + 1)


def test_steps_are_the_formula_written_by_hand():
    data, net, maps = coils(), unet(seed=1), unet(seed=2)
    iteration = KSpaceDescent(net, maps, step_size=0.75).double()
    mask = data.mask.unsqueeze(1)
    middle = torch.zeros(SIZE, dtype=torch.float64)
    middle[[0, 1, 2, -1, -2]] = 1
    low = ifft(middle * data.samples)
    found = torch.stack([maps(low[:, c]) for c in range(COILS)], 1)
    s = found / found.abs().square().sum(1, keepdim=True).sqrt()
    k = data.samples
    for _ in range(3):
        image = (s.conj() * ifft(k)).sum(1)
        k = k - 0.75 * mask * (k - data.samples) - fft(s * net(image).unsqueeze(1))
    problem = iteration.prepare(data)
    state = iteration.start(problem)
    for _ in range(3):
        state = iteration(state, problem)
    assert torch.allclose(state, k, rtol=0, atol=1e-11)
    assert torch.allclose(iteration.estimate(state, problem), ifft(k).norm(dim=1), rtol=0, atol=1e-11)
    iteration.output = "maps"
    combined = (s.conj() * ifft(k)).sum(1)
    assert torch.allclose(iteration.estimate(state, problem), combined.abs(), rtol=0, atol=1e-11)
    given = KSpaceDescent(net, output="maps")
    assert torch.allclose(given.estimate(state, problem), combined, rtol=0, atol=1e-11)


def test_a_scan_times_a_number_gives_the_image_times_it():
    data, iteration = coils(), KSpaceDescent(unet(seed=1), unet(offset="image", seed=2)).double()
    net = unroll(iteration, 3, tied="prepare", untied="regulariser")
    scaled = data._replace(samples=1e-3 * data.samples)
    assert torch.allclose(net(scaled), 1e-3 * net(data), rtol=1e-10, atol=0)


def test_the_order_of_the_coils_does_not_matter():
    data, iteration = coils(), KSpaceDescent(unet(seed=1), unet(seed=2)).double()
    net, order = unroll(iteration, 2, tied=("prepare", "regulariser")), [2, 0, 1]
    turned = data._replace(samples=data.samples[:, order], maps=data.maps[:, order])
    assert torch.allclose(net(turned), net(data), rtol=1e-10, atol=1e-12)


def test_maps_that_come_with_the_data_are_taken_where_no_network_finds_them():
    data = coils()
    problem = KSpaceDescent(unet()).double().prepare(data)
    assert torch.equal(problem.maps, data.maps)
    net = unroll(KSpaceDescent(unet(), unet()).double(), 2)
    assert torch.equal(net(data), net(KSpace(data.samples, data.mask)))


def test_maps_of_smooth_coils_are_found_up_to_the_phase_of_the_image():
    """From fully sampled k-space, and V the identity: S_c x / |x|."""
    task = Coils(size=32, coils=4, noise=0.0, acceleration=1.0)
    data, x = task.timing.data, task.timing.target
    problem = CoilPreparation(lambda images: images)(KSpace(fft(data.maps * x.unsqueeze(1)), torch.ones(1, 32, 32)))
    seen = (x.abs() > 0.05).unsqueeze(1)
    wanted = data.maps * torch.sgn(x).unsqueeze(1)
    assert float((seen * (problem.maps - wanted)).abs().max()) < 1e-4


@pytest.mark.parametrize("size", [5, 6, 12])
def test_the_untrained_network_changes_nothing_that_was_measured(size):
    mask = torch.ones(1, size, size, dtype=torch.float64)
    data = coils(2, size, mask)
    iteration = KSpaceDescent(NormalisedUNet(2, 2, offset="zero"), NormalisedUNet(2, 2, offset="image")).double()
    x = complex_images(2, 0, (size, size))
    assert torch.allclose(unroll(iteration, 3)(data), x.abs(), rtol=0, atol=1e-12)


# The calibration region


@pytest.mark.parametrize(
    ("kept", "middle"), [((0, 1, 2, 4, 11, 10), (0, 1, 2, 10, 11)), ((0, 1, 4, 10), (0,)), ((0,), (0,))]
)
def test_calibration_lines_are_those_around_frequency_zero_without_gaps(kept, middle):
    assert calibration_mask(columns(kept=kept))[0, 0].nonzero().flatten().tolist() == sorted(middle)
    assert torch.equal(calibration_mask(columns(kept=kept).mT).mT, calibration_mask(columns(kept=kept)))


@pytest.mark.parametrize("shape", [(5, 7), (6, 6), (1, 9)])
def test_it_is_the_union_of_all_rectangles_that_are_measured(shape):
    height, width = shape
    for seed in range(8):
        mask = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.8).double()
        mask[0, 0] = 1
        wanted = torch.zeros(shape, dtype=torch.float64)
        for a in range(height // 2 + 1):
            for b in range(width // 2 + 1):
                rows, cols = [i % height for i in range(-a, a + 1)], [j % width for j in range(-b, b + 1)]
                if bool(mask[rows][:, cols].all()):
                    wanted[[[i] for i in rows], cols] = 1
        assert torch.equal(calibration_mask(mask), wanted)


def test_without_frequency_zero_all_that_was_measured_is_taken():
    mask = columns(kept=(1, 2, 5))
    assert torch.equal(calibration_mask(mask), mask)


# Hostile data


@pytest.mark.parametrize("offset", ["mean", "zero", "image"])
def test_coils_that_see_nothing_and_empty_scans_give_zeros_and_finite_gradients(offset):
    data = coils()
    samples = data.samples.clone()
    samples[0], samples[1, 2] = 0, 0
    net = unroll(KSpaceDescent(unet(offset="zero"), unet(offset=offset)).double(), 2, tied=("prepare", "regulariser"))
    image = net(data._replace(samples=samples))
    image.square().sum().backward()
    assert float(image[0].detach().abs().max()) == 0.0
    assert bool(torch.isfinite(image).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.samples, "CoilData"),
        (lambda d: d._replace(samples=d.samples[:, 0]), "samples are complex"),
        (lambda d: d._replace(samples=d.samples.real), "samples are complex"),
        (lambda d: d._replace(mask=d.mask[..., :5]), "the mask is real"),
        (lambda d: d._replace(maps=d.maps[:, :2]), "maps are complex"),
        (lambda d: KSpace(d.samples, d.mask), "without a network for the maps"),
    ],
)
def test_data_that_do_not_fit_are_refused(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        unroll(KSpaceDescent(unet()).double(), 1)(change(coils()))


@pytest.mark.parametrize("check", ["deployed", "empty_batch", "stream", "batch_independence"])
def test_it_is_a_sound_iteration(check):
    small = columns(6, (0, 1, 5, 3))
    data = coils(2, 6, small)
    iteration = KSpaceDescent(unet(1), unet(1, offset="image", seed=3)).double()
    getattr(testing, f"check_{check}")(iteration, KSpace(data.samples[:, :2], small), depth=2)


def test_its_gradient_is_that_of_finite_differences():
    net = unroll(KSpaceDescent(unet(1), unet(1, offset="image", seed=3)).double(), 2, tied=("prepare", "regulariser"))
    data = coils(1, 6, columns(6, (0, 1, 5, 3)))
    samples = data.samples.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda k: net(KSpace(k, data.mask)), samples, fast_mode=True)


# Applied to files


@pytest.mark.parametrize("origin", ["corner", "centre"])
def test_measured_k_space_is_reconstructed_at_its_own_scale_and_place(origin):
    task = Coils(size=32, coils=4, noise=0.0)
    recipe = find("medical/varnet").recipes["multicoil"]
    network = find("medical/varnet").network(recipe, task, 2)
    data = task.timing.data
    samples = 1e4 * data.samples[0]
    if origin == "centre":  # what ifft makes of these lies in four corners
        samples = data.mask[0] * fft(to_corner(ifft(samples), "centre"))
    measured = Measured(samples, data.mask[0].expand(32, 32), origin=origin)
    with torch.no_grad():
        found = combine_unmapped(network, task, measured)
        wanted = 1e4 * network(data)[0]
    assert torch.allclose(from_corner(found.image, origin), wanted, rtol=1e-4, atol=1e-2)
    assert {c.name: c.value for c in found.conditions}["acceleration"] == 4.0


# The loss


@pytest.mark.parametrize("shape", [(9, 12), (16, 7)])
def test_the_similarity_is_that_of_scikit_image(shape):
    x, y = gaussian(3, *shape, seed=1).abs(), gaussian(3, *shape, seed=2).abs()
    wanted = [
        structural_similarity(a.numpy(), b.numpy(), win_size=7, data_range=float(b.max()))
        for a, b in zip(x, y, strict=True)
    ]
    inside = [_inner_mean(a, b) for a, b in zip(x, y, strict=True)]
    found = 1 - Dissimilarity().each(x, torch.polar(y, gaussian(3, *shape, seed=3)))
    assert torch.allclose(found, torch.tensor(inside, dtype=torch.float64), rtol=0, atol=1e-10)
    assert found.tolist() == pytest.approx(wanted, abs=1e-10)


def _inner_mean(a, b):
    _, grid = structural_similarity(a.numpy(), b.numpy(), win_size=7, data_range=float(b.max()), full=True)
    return grid[3:-3, 3:-3].mean()


def test_the_loss_has_no_scale_and_is_zero_at_the_target():
    x, y = gaussian(2, 9, 9, seed=1).abs(), gaussian(2, 9, 9, seed=2).abs()
    loss = Dissimilarity(absolute=2.0)
    assert float(loss(y, y)) == pytest.approx(0, abs=1e-12)
    assert torch.allclose(loss.each(1e-4 * x, 1e-4 * y), loss.each(x, y), rtol=1e-9)
    more = loss.each(x, y) - Dissimilarity().each(x, y)
    assert torch.allclose(more, 2 * (x - y).abs().mean((1, 2)) / y.amax((1, 2)))
    with pytest.raises(ValueError, match="pixel in its middle"):
        Dissimilarity(window=4)
