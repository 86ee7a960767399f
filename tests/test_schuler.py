"""Learning to deblur: the quotients against dense equations, the classical start, shifts, what is refused."""

import pytest
import torch
from iterations import gaussian
from pictured import small_task
from torch import nn
from torch.nn.functional import pad

from unrolling import solve, unroll
from unrolling.algorithms import (
    AlternatingDeblurring,
    Features,
    LearnedFeatures,
    ThresholdedGradients,
    crop_kernel,
    deconvolve,
    derivatives_of_gaussians,
    fit_kernel,
    kernel_spectrum,
    normalise_kernel,
)
from unrolling.operators import join
from unrolling.systems.catalogue import find
from unrolling.tasks import kernel_loss
from unrolling.testing import check_iteration

SIDE, BATCH, CHANNELS = 16, 2, 3
SIZE = (SIDE, SIDE)


class Given(nn.Module):
    """Features that do not depend on the images."""

    def __init__(self, blurred, sharp):
        super().__init__()
        self.blurred, self.sharp = blurred, sharp

    def forward(self, blurred, sharp, boundary):
        return Features(self.blurred, self.sharp)


def kernels(side=5, seed=0):
    found = gaussian(BATCH, side, side, seed=seed).abs()
    return found / found.sum((-2, -1), keepdim=True)


def blur(images, kernel):
    return torch.fft.irfft2(torch.fft.rfft2(images) * kernel_spectrum(kernel, SIZE).unsqueeze(1), s=SIZE)


def shifts(image):
    """(SIDE^2, SIDE^2): column p is the image moved by p, so that the product with a kernel is their convolution."""
    return torch.stack([image.roll((i, j), (0, 1)).flatten() for i in range(SIDE) for j in range(SIDE)], 1)


def alternating(features, **options):
    return AlternatingDeblurring(features, periodic=True, **options).double()


def test_both_quotients_are_the_dense_solutions_of_their_normal_equations():
    ridge = 1e-3
    sharp, blurred = (gaussian(BATCH, CHANNELS, SIDE, SIDE, seed=s) for s in (1, 2))
    y, kernel, identity = gaussian(BATCH, 1, SIDE, SIDE, seed=3), kernels(), torch.eye(SIDE**2, dtype=torch.float64)
    _, whole = crop_kernel(fit_kernel(torch.fft.rfft2(blurred), torch.fft.rfft2(sharp), ridge), SIZE, (5, 5))
    spectrum = kernel_spectrum(kernel, SIZE)
    image = torch.fft.irfft2(deconvolve(torch.fft.rfft2(y), spectrum, ridge), s=SIZE)
    for b in range(BATCH):
        left, right = ridge * identity, torch.zeros(SIDE**2, dtype=torch.float64)
        for c in range(CHANNELS):
            moved = shifts(sharp[b, c])
            left, right = left + moved.T @ moved, right + moved.T @ blurred[b, c].flatten()
        torch.testing.assert_close(whole[b].flatten(), torch.linalg.solve(left, right), atol=1e-10, rtol=0)
        # the kernel on the grid, its middle at (0, 0)
        at_origin = shifts(torch.fft.irfft2(spectrum[b], s=SIZE))
        x = torch.linalg.solve(at_origin.T @ at_origin + ridge * identity, at_origin.T @ y[b, 0].flatten())
        torch.testing.assert_close(image[b, 0].flatten(), x, atol=1e-9, rtol=0)


def test_without_noise_the_true_kernel_is_found_and_moves_against_the_features():
    true, sharp = kernels(), gaussian(BATCH, CHANNELS, SIDE, SIDE, seed=1)
    y = gaussian(BATCH, SIDE, SIDE, seed=2)
    options = {"kernel_size": 11, "kernel_ridge": 1e-14}
    for move in ((0, 0), (2, -1), (-3, 3)):
        iteration = alternating(Given(blur(sharp, true), sharp.roll(move, (-2, -1))), **options)
        problem = iteration.prepare(y)
        found = iteration(iteration.start(problem), problem).kernel
        wanted = pad(true, (3, 3, 3, 3)).roll((-move[0], -move[1]), (-2, -1))
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_both_quotients_are_differentiable():
    kernel, y = kernels(3), gaussian(BATCH, 1, SIDE, SIDE, seed=2)

    def quotients(blurred, sharp, ridge):
        blurred, sharp = (pad(t, (0, SIDE - 4, 0, SIDE - 4)) for t in (blurred, sharp))
        found, _ = crop_kernel(fit_kernel(torch.fft.rfft2(blurred), torch.fft.rfft2(sharp), ridge), SIZE, (3, 3))
        image = deconvolve(torch.fft.rfft2(y), kernel_spectrum(found + kernel, SIZE), ridge)
        return torch.cat([found.flatten(), torch.fft.irfft2(image, s=SIZE)[..., :4, :4].flatten()])

    inputs = [gaussian(BATCH, 2, 4, 4, seed=s).requires_grad_() for s in (5, 6)]
    assert torch.autograd.gradcheck(quotients, (*inputs, torch.tensor(0.7, dtype=torch.float64, requires_grad=True)))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_network_is_its_formula(activation, layers):
    """Three stages with parameters drawn at random against plain full transforms and loops over filters."""
    torch.manual_seed(0)
    features = LearnedFeatures(16, 4, 3, activation=activation, layers=layers, threshold=0.5).double()
    parent = AlternatingDeblurring(features, kernel_size=5, kernel_ridge=0.3, image_ridge=0.02, periodic=True).double()
    network = unroll(parent, 3, untied=("features", "kernel_ridge", "image_ridge"))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim:
                parameter += 0.1 * gaussian(*parameter.shape, seed=parameter.numel())
    data = gaussian(BATCH, SIDE, SIDE, seed=4)
    square = sum((data.diff(dim=d).square().flatten(1).mean(1)) for d in (1, 2)).reshape(-1, 1, 1)
    y = (data - data.mean((1, 2), keepdim=True)) / square.sqrt()
    phi, x = {"tanh": torch.tanh, "relu": torch.relu}[activation], y
    for layer in network.layers:
        f = layer.features
        h = []
        for taps, offset in zip(f.filters, f.offset, strict=True):
            both = sum(
                taps[c, i, j] * image.roll((i - 1, j - 1), (-2, -1))
                for c, image in enumerate((y, x))
                for i in range(3)
                for j in range(3)
            )
            h.append(phi(both + offset))
        h = torch.stack(h, 1)
        h = phi(torch.einsum("lm,bmhw->blhw", f.mixing, h)) if layers == 2 else h
        blurred, sharp = (torch.fft.fft2(torch.einsum("jl,blhw->bjhw", m, h)) for m in (f.to_blurred, f.to_sharp))
        k = (sharp.conj() * blurred).sum(1) / (sharp.abs().square().sum(1) + layer.kernel_ridge * SIDE**2)
        k = torch.fft.ifft2(k).real.roll((2, 2), (-2, -1))[:, :5, :5].clamp_min(0)
        k = k / k.sum((-2, -1), keepdim=True)
        spectrum = torch.fft.fft2(pad(k, (0, SIDE - 5, 0, SIDE - 5)).roll((-2, -2), (-2, -1)))
        x = torch.fft.ifft2(spectrum.conj() * torch.fft.fft2(y) / (spectrum.abs().square() + layer.image_ridge)).real
    state = network.run(data)
    torch.testing.assert_close(state.kernel, k, atol=1e-7, rtol=0)
    torch.testing.assert_close(state.sharp.squeeze(1), x, atol=1e-5, rtol=0)


def test_the_start_is_alternating_minimisation_with_thresholded_gradients():
    """With the rectifier exactly, with tanh in the limits: small gradients vanish to third order, large ones stay."""
    y, x = gaussian(BATCH, 1, SIDE, SIDE, seed=1), gaussian(BATCH, 1, SIDE, SIDE, seed=2)

    def derivatives(image):
        found = []
        for taps in derivatives_of_gaussians(9).double():
            parts = (taps[i, j] * image.roll((i - 4, j - 4), (-2, -1)) for i in range(9) for j in range(9))
            found.append(sum(parts))
        return torch.cat(found, 1)

    exact = LearnedFeatures(activation="relu", threshold=0.3).double()(y, x, "circular")
    torch.testing.assert_close(exact.blurred, derivatives(y), atol=1e-6, rtol=0)
    shrunk = derivatives(x).sign() * (derivatives(x).abs() - 0.3).clamp_min(0)
    torch.testing.assert_close(exact.sharp, shrunk, atol=1e-6, rtol=0)
    smooth = LearnedFeatures(threshold=0.3).double()
    small, tiny = (smooth(y, scale * x, "circular").sharp.detach().abs().max() for scale in (1e-2, 1e-3))
    assert float(small / tiny) == pytest.approx(1000, rel=0.02)
    torch.testing.assert_close(smooth(0.1 * y, x, "circular").blurred, derivatives(0.1 * y), atol=1e-4, rtol=1e-3)


def test_shocks_make_an_edge_steep_and_leave_what_is_flat():
    ramp = torch.sigmoid((torch.arange(40.0) - 20) / 3).expand(1, 1, 24, 40)
    features = ThresholdedGradients(1e-6, shocks=0), ThresholdedGradients(1e-6, shocks=30)
    before, after = (f(ramp, ramp).sharp[0, 1, 12] for f in features)
    assert float(after.max()) > 2 * float(before.max())
    assert float(after.sum()) == pytest.approx(float(before.sum()), abs=0.05)


def test_contrast_and_brightness_change_no_kernel():
    iteration = AlternatingDeblurring(LearnedFeatures(threshold=0.5), kernel_size=7).double()
    data = gaussian(2, 40, 37)
    wanted, *found = (unroll(iteration, 2).run(d).kernel for d in (data, 40 * data + 3, 1e200 * data, 1e-200 * data))
    for kernel in found:
        torch.testing.assert_close(kernel, wanted, atol=1e-9, rtol=0)
    flat = unroll(iteration, 2)(torch.full((1, 30, 30), 0.7, dtype=torch.float64))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.7))


@pytest.mark.nightly
def test_alternating_minimisation_is_a_sound_iteration():
    data = gaussian(3, 7, 6)
    for features in (ThresholdedGradients(0.3, soft=True), LearnedFeatures(12, 4, 3)):
        iteration = AlternatingDeblurring(features, kernel_size=5, finishing=1)
        slow = ("compile", "export", "gradients", "second_derivative")
        check_iteration(iteration.double(), data, depth=2, skip=slow)


def test_two_stages_have_the_gradients_of_finite_differences():
    iteration = AlternatingDeblurring(ThresholdedGradients(0.3, soft=True), kernel_size=5, finishing=2).double()
    network, y = unroll(iteration, 2, untied=("kernel_ridge", "image_ridge"), tied="features"), gaussian(1, 7, 6)
    given = [p for p in network.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(lambda *_: network(y), given, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_an_image_on_a_grid_has_no_step():
    x = gaussian(2, 5, 6)
    found = join(x, (9, 12))
    assert torch.equal(found[:, :5, :6], x)
    ring = torch.cat([found[:, 4:, :6], found[:, :1, :6]], 1)
    torch.testing.assert_close(ring.diff(dim=1), ring.diff(dim=1)[:, :1].expand(-1, 5, -1))
    with pytest.raises(ValueError, match="less than the image"):
        join(x, (9, 4))


def test_kernels_of_gaussian_processes_are_kernels_and_come_from_the_seed():
    task = small_task("deblurring", kind="shake", size=17)
    made = task.kernels(20, torch.Generator().manual_seed(0))
    assert made.shape == (20, 17, 17)
    assert float(made.min()) >= 0
    torch.testing.assert_close(made.sum((1, 2)), torch.ones(20))
    assert torch.equal(made, task.kernels(20, torch.Generator().manual_seed(0)))
    assert not torch.equal(made, task.kernels(20, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_task("deblurring", kind="shake", size=16), "odd number of pixels"),
        (lambda: small_task("deblurring", size=17), "1 to 17 pixels"),
        (lambda: small_task("deblurring", size=1), "size"),
        (
            lambda: find("imaging/schuler").recipes["deblurring"].parent(small_task("deblurring", colour=1)),
            "grey pictures",
        ),
        (lambda: LearnedFeatures(20, 8), "at least 24 filters"),
        (lambda: LearnedFeatures(side=8), "odd number of pixels"),
        (lambda: LearnedFeatures(activation="sigmoid"), "'tanh' or 'relu'"),
        (lambda: LearnedFeatures(layers=3), "layers 1 or 2"),
        (lambda: ThresholdedGradients(-1.0), "threshold"),
        (lambda: AlternatingDeblurring(ThresholdedGradients(), kernel_size=6), "odd number of pixels"),
        (lambda: AlternatingDeblurring(ThresholdedGradients(), kernel_ridge=0.0), "kernel_ridge"),
        (lambda: solve(AlternatingDeblurring(ThresholdedGradients()), torch.rand(1, 20, 40)), "more than the image"),
        (lambda: solve(AlternatingDeblurring(ThresholdedGradients()), torch.rand(1, 3, 40, 40)), "batch, height"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_loss_on_kernels_needs_kernels():
    with pytest.raises(TypeError, match="the estimate is"):
        kernel_loss(torch.rand(2, 5, 5), torch.rand(2, 5, 5))


@pytest.mark.parametrize(("name", "count"), [("schuler", 20_166), ("schuler_relu", 20_262)])
def test_the_network_has_as_many_numbers_as_its_formula_says(name, count):
    """Three stages of 2 F s^2 + F^2 + 2 J F + 2; with the rectifier F offsets besides."""
    system = find(f"imaging/{name}")
    network = system.network(system.recipes["deblurring"], small_task("deblurring", kind="shake", size=17))
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == count


def test_nothing_positive_leaves_no_blur():
    middle = normalise_kernel(-torch.ones(1, 5, 5))
    assert float(middle[0, 2, 2]) == 1
