"""TNRD, DUBLID and ADMM-CSNet: identities and counts of the papers, closed forms, invariances."""

import numpy as np
import pytest
import torch
from families import by_day
from iterations import gaussian
from pictured import scene, small_task

from unrolling import unroll
from unrolling.algorithms.images.blind_deblurring import BlindDeblurring, differences
from unrolling.algorithms.images.blind_steps import (
    crop_kernel,
    fit_kernel,
    kernel_spectrum,
    move_kernel,
    normalise_kernel,
    retrieve,
    sharpen,
)
from unrolling.algorithms.images.diffusion import Compressed, Diffusion, QuantisedBlocks
from unrolling.algorithms.images.dublid import DUBLID
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.networks.dncnn import DnCNN, dncnn_channels
from unrolling.networks.unet import UNet, unet_width
from unrolling.operators import FilterBank, Identity
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.operators.half_spectrum import irfft2, rfft2
from unrolling.operators.spectral import wrap
from unrolling.prox import soft_threshold
from unrolling.prox.influence import RadialBasis
from unrolling.systems.catalogue import find
from unrolling.testing import check_iteration


def learned(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


# Parameter counts of the papers


@pytest.mark.parametrize(("name", "count"), [("tnrd", 10_445), ("tnrd_7x7", 26_645)])
def test_tnrd_has_the_published_number_of_parameters(name, count):
    system = find(f"imaging/{name}")
    assert learned(system.network(system.recipes["denoising"], small_task("denoising"))) == count


@pytest.mark.parametrize(("size", "filters", "count"), [(5, 24, 6_720), (7, 48, 19_200)])
def test_the_variational_network_has_the_published_number_of_parameters(size, filters, count):
    bank = FilterBank(torch.nn.Parameter(gaussian(filters, size, size).float()))
    parent = Diffusion(
        LeastSquares(Identity()), bank, RadialBasis(torch.zeros(filters, 31), -0.25, 0.25), 0.1, normalised=True
    )
    assert learned(unroll(parent, 5, untied=("filters", "influence"))) == count


@pytest.mark.parametrize(("colours", "count"), [(1, 21_268), (3, 21_556)])
def test_dublid_has_the_number_of_parameters_of_the_released_configuration(colours, count):
    system = find("imaging/dublid")
    recipe = system.recipes["deblurring"]
    network = unroll(DUBLID(16, 10, colours=colours), 10, **recipe.tied(None)._asdict())
    assert learned(network) == count


def test_rivals_have_as_many_parameters_as_asked_for():
    for wanted in (10_445, 26_645, 100_000):
        for found in (UNet(unet_width(wanted)), DnCNN(5, dncnn_channels(wanted, 5), normalise=False)):
            assert sum(p.numel() for p in found.parameters()) == pytest.approx(wanted, rel=0.12)


@pytest.mark.parametrize("make", [lambda: UNet(4, 3), lambda: UNet(4, 2, inputs=3), lambda: DnCNN(4, 6)])
def test_an_untrained_u_net_gives_its_input_and_all_keep_the_size(make):
    network = make().eval()
    y = torch.rand(2, 3, 37, 29) if getattr(network, "inputs", 1) == 3 else torch.rand(2, 37, 29)
    assert network(y).shape == y.shape
    if isinstance(network, UNet):
        assert torch.equal(network(y), y)


# TNRD


@pytest.mark.parametrize("size", [5, 7])
def test_filters_have_zero_mean_and_unit_norm_whatever_their_coefficients(size):
    filters = BasisFilters(zero_mean_atoms(size, torch.float64), 10 * gaussian(48, size**2 - 1))()
    torch.testing.assert_close(
        torch.linalg.vector_norm(filters, dim=(1, 2)), torch.ones(48, dtype=torch.float64), atol=1e-12, rtol=0
    )
    assert float(filters.sum((1, 2)).abs().max()) < 1e-12


def compressed(seed=0):
    image = 0.5 + 0.15 * gaussian(2, 16, 24, seed=seed)
    steps = torch.randint(5, 60, (1, 8, 8), generator=torch.Generator().manual_seed(seed)).double() / 255
    from unrolling.tasks.images.deblocking import coefficients_of

    known = torch.ones(1, 16, 24, dtype=torch.float64)
    known[..., 16:] = 0
    return Compressed(image, coefficients_of(image, steps), steps, known)


def test_the_projection_onto_what_a_jpeg_file_says_is_one():
    """Idempotent, into the box, the nearest point of it, and nothing where nothing is known."""
    import scipy.fft

    data, term = compressed(), QuantisedBlocks()
    problem, x = term(data), 0.5 + 0.4 * gaussian(2, 16, 24, seed=7)
    p = term.project(x, problem)
    torch.testing.assert_close(term.project(p, problem), p, atol=1e-12, rtol=0)
    torch.testing.assert_close(p[..., 16:], x[..., 16:])

    def cosines(image):
        blocks = (image[..., :16] - 128 / 255).numpy().reshape(2, 2, 8, 2, 8).transpose(0, 1, 3, 2, 4)
        return scipy.fft.dctn(blocks, axes=(3, 4), norm="ortho")

    stored = data.coefficients[..., :16].numpy().reshape(2, 2, 8, 2, 8).transpose(0, 1, 3, 2, 4)
    half = data.steps[0].numpy() / 2
    assert (np.abs(cosines(p) - stored) <= half + 1e-12).all()
    np.testing.assert_allclose(cosines(p), np.clip(cosines(x), stored - half, stored + half), atol=1e-12)


def test_diffusion_with_projection_is_a_sound_iteration():
    filters = FilterBank(BasisFilters(zero_mean_atoms(2, torch.float64)))
    data = Compressed(*(t[:, :8, :8] if n != 2 else t for n, t in enumerate(compressed())))
    data = Compressed(
        torch.cat([data.image, data.image[:1]]),
        torch.cat([data.coefficients, data.coefficients[:1]]),
        data.steps,
        data.known,
    )
    parent = Diffusion(QuantisedBlocks(), filters, RadialBasis(gaussian(3, 7) * 0.01, -2, 2), 0.0).double()
    check_iteration(parent, data, skip=("compile", "gradients"))


# DUBLID: the closed forms


CHANNELS, SIDE, BATCH = 2, 16, 2


def blind_pieces(seed=0):
    """Kernel (5 x 5), features, sparse features, filters, a blurred image: periodic."""
    kernel = gaussian(BATCH, 5, 5, seed=seed).abs()
    kernel = kernel / kernel.sum((-2, -1), keepdim=True)
    y = gaussian(BATCH, SIDE, SIDE, seed=seed + 1)
    f = gaussian(CHANNELS, 3, 3, seed=seed + 2)
    z = gaussian(BATCH, CHANNELS, SIDE, SIDE, seed=seed + 3)
    return kernel, y, f, z, torch.tensor([0.7, 3.0], dtype=torch.float64)


def convolution_matrix(kernel):
    """Dense, periodic, (SIDE^2, SIDE^2)."""
    matrix = torch.zeros(SIDE, SIDE, SIDE, SIDE, dtype=torch.float64)
    rows, columns = kernel.shape
    for i in range(SIDE):
        for j in range(SIDE):
            for a in range(rows):
                for b in range(columns):
                    matrix[(i + a - rows // 2) % SIDE, (j + b - columns // 2) % SIDE, i, j] += kernel[a, b]
    return matrix.reshape(SIDE**2, SIDE**2)


def test_the_features_and_the_image_are_the_dense_solutions():
    """M1 and M4, survey (10) and (11), on periodic images of 16 x 16."""
    kernel, y, f, z, weight = blind_pieces()
    size = (SIDE, SIDE)
    features = torch.fft.rfft2(y).unsqueeze(1) * torch.fft.rfft2(wrap(f, *size))
    sharp = sharpen(features, torch.fft.rfft2(z), kernel_spectrum(kernel, size), weight)
    found = retrieve(
        torch.fft.rfft2(y).unsqueeze(1),
        sharp,
        kernel_spectrum(kernel, size),
        torch.fft.rfft2(wrap(f.unsqueeze(1), *size)),
        weight,
    )
    identity = torch.eye(SIDE**2, dtype=torch.float64)
    for b in range(BATCH):
        k = convolution_matrix(kernel[b])
        left, right, g_all = k.T @ k, k.T @ y[b].flatten(), torch.fft.irfft2(sharp, s=size)
        for c in range(CHANNELS):
            filtered = convolution_matrix(f[c]) @ y[b].flatten()
            g = torch.linalg.solve(weight[c] * k.T @ k + identity, weight[c] * k.T @ filtered + z[b, c].flatten())
            torch.testing.assert_close(g_all[b, c].flatten(), g, atol=1e-10, rtol=0)
            part = convolution_matrix(f[c])
            left, right = left + weight[c] * part.T @ part, right + weight[c] * part.T @ g
        x = torch.linalg.solve(left, right)
        torch.testing.assert_close(torch.fft.irfft2(found, s=size)[b, 0].flatten(), x, atol=1e-8, rtol=0)


def test_the_image_in_colour_satisfies_its_normal_equations_and_three_equal_filters_are_grey():
    kernel, _, _, z, weight = blind_pieces()
    size = (SIDE, SIDE)
    colour, filters = gaussian(BATCH, 3, SIDE, SIDE, seed=9), gaussian(CHANNELS, 3, 3, 3, seed=10)
    k, spectra, sharp = kernel_spectrum(kernel, size), torch.fft.rfft2(wrap(filters, *size)), torch.fft.rfft2(z)
    x = retrieve(torch.fft.rfft2(colour), sharp, k, spectra, weight)
    eta = weight.reshape(-1, 1, 1)
    misfit = (spectra * x.unsqueeze(1)).sum(2) - sharp
    gradient = k.conj().unsqueeze(1) * (k.unsqueeze(1) * x - torch.fft.rfft2(colour)) + (
        (eta * misfit).unsqueeze(2) * spectra.conj()
    ).sum(1)
    assert float(gradient.abs().max()) < 1e-8


def test_the_steps_are_the_minimisers_of_survey_9():
    """No gradient is left: in g of 0.5 |f*y - k*g|^2 + |g - z|^2 / (2 zeta), in z of lambda |z|_1 + |g - z|^2 / (2
    zeta).
    """
    kernel, y, f, z, zeta = blind_pieces()
    size = (SIDE, SIDE)
    k = kernel_spectrum(kernel, size).unsqueeze(1)
    features = torch.fft.rfft2(y).unsqueeze(1) * torch.fft.rfft2(wrap(f, *size))
    g = sharpen(features, torch.fft.rfft2(z), k.squeeze(1), zeta)
    gradient = k.conj() * (k * g - features) + (g - torch.fft.rfft2(z)) / zeta.reshape(-1, 1, 1)
    assert float(torch.fft.irfft2(gradient, s=size).abs().max()) < 1e-10
    weight, g = 0.3, torch.fft.irfft2(g, s=size)
    new = soft_threshold(g, (weight * zeta).reshape(-1, 1, 1))
    pull = (g - new) / zeta.reshape(-1, 1, 1)
    torch.testing.assert_close(pull[new != 0], weight * new[new != 0].sign())
    assert float(pull.abs().max()) <= weight + 1e-12


def test_the_kernel_of_clean_features_is_the_true_one_and_moves_against_them():
    kernel, _, _, z, _ = blind_pieces()
    size = (SIDE, SIDE)
    sparse = torch.fft.rfft2(z)
    features = kernel_spectrum(kernel, size).unsqueeze(1) * sparse
    found, _ = crop_kernel(fit_kernel(features, sparse, 1e-14), size, (5, 5))
    torch.testing.assert_close(found, kernel, atol=1e-10, rtol=0)
    moved, _ = crop_kernel(fit_kernel(features, torch.fft.rfft2(z.roll((1, -2), (-2, -1))), 1e-14), size, (9, 9))
    torch.testing.assert_close(
        moved, torch.nn.functional.pad(kernel, (2, 2, 2, 2)).roll((-1, 2), (-2, -1)), atol=1e-10, rtol=0
    )
    before = kernel_spectrum(normalise_kernel(torch.zeros_like(kernel)), size)
    near, far = (move_kernel(features, sparse, before, torch.tensor(tau).double()) for tau in (1e-12, 1e12))
    torch.testing.assert_close(near, before, atol=1e-8, rtol=0)
    torch.testing.assert_close(far, kernel_spectrum(kernel, size), atol=1e-8, rtol=0)


def test_the_closed_forms_are_differentiable():
    kernel, y, f, z, weight = blind_pieces()
    size = (SIDE, SIDE)

    def all_four(kernel, f, z, weight):
        k = kernel_spectrum(kernel, size)
        image = torch.fft.rfft2(y[:1]).unsqueeze(1)
        features = image * torch.fft.rfft2(wrap(f, *size))
        sharp = sharpen(features, torch.fft.rfft2(z), k, weight)
        sparse = torch.fft.rfft2(soft_threshold(torch.fft.irfft2(sharp, s=size), 0.05))
        new, _ = crop_kernel(fit_kernel(features, sparse, weight[0]), size, (3, 3))
        x = retrieve(image, sharp, k, torch.fft.rfft2(wrap(f.unsqueeze(1), *size)), weight)
        return new, torch.fft.irfft2(x, s=size)[..., :4, :4]

    inputs = tuple(t.detach().clone().requires_grad_() for t in (kernel[:1, 1:4, 1:4], f, z[:1], weight))
    assert torch.autograd.gradcheck(all_four, inputs, fast_mode=True)


def complex_gaussian(*shape, seed):
    return torch.complex(gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 50)).requires_grad_()


@pytest.mark.parametrize("width", [6, 7])
def test_the_gradients_of_half_spectra_are_those_of_torch(width):
    """Spectra of no real image included: what is imaginary at frequency 0 has no effect, and no gradient."""
    x, spectrum = gaussian(2, 5, width).requires_grad_(), complex_gaussian(2, 5, width // 2 + 1, seed=1)
    weight = complex_gaussian(2, 5, width // 2 + 1, seed=2).detach()
    for ours, theirs in (
        (rfft2(x), torch.fft.rfft2(x)),
        (irfft2(spectrum, (5, width)), torch.fft.irfft2(spectrum, s=(5, width))),
    ):
        assert torch.equal(ours, theirs)
        outer, inputs = (weight if ours.is_complex() else gaussian(2, 5, width, seed=3)), (x, spectrum)
        pairs = [torch.autograd.grad(y, inputs, outer, allow_unused=True) for y in (ours, theirs)]
        for one, two in zip(*pairs, strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                torch.testing.assert_close(one, two, atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(rfft2, (x,))
    assert torch.autograd.gradcheck(lambda s: irfft2(s, (5, width)), (spectrum,))
    assert torch.autograd.gradgradcheck(lambda z: irfft2(rfft2(z) * weight, (5, width)).square(), (x,))


def test_the_gradients_that_are_written_out_are_those_of_the_formulas():
    """Of M1, and of the sums in the kernel's step; and theirs in turn."""
    features, sparse = complex_gaussian(2, 3, 4, 3, seed=4), complex_gaussian(2, 3, 4, 3, seed=5)
    kernel, coupling = (
        complex_gaussian(2, 4, 3, seed=6),
        torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64, requires_grad=True),
    )

    def both(features, sparse, kernel, coupling):
        sharp = sharpen(features, sparse, kernel, coupling)
        return sharp, move_kernel(features, sharp, kernel, coupling[0])

    inputs = (features, sparse, kernel, coupling)
    k, zeta = kernel.unsqueeze(1), coupling.reshape(-1, 1, 1)
    sharp = (zeta * k.conj() * features + sparse) / (zeta * k.abs().square() + 1)
    moved = (coupling[0] * (sharp.conj() * features).sum(1) + kernel) / (coupling[0] * sharp.abs().square().sum(1) + 1)
    outer = (complex_gaussian(2, 3, 4, 3, seed=7).detach(), complex_gaussian(2, 4, 3, seed=8).detach())
    ours, theirs = (torch.autograd.grad(y, inputs, outer) for y in (both(*inputs), (sharp, moved)))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-12)
    assert torch.autograd.gradgradcheck(both, inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["dublid", "survey"])
def test_kernels_are_non_negative_and_sum_to_one_in_every_layer(name):
    parent = DUBLID(8, 4) if name == "dublid" else BlindDeblurring(differences())
    for state in unroll(parent, 4).trajectory(scene(60, 64)):
        assert bool((state.kernel >= 0).all())
        assert float((state.kernel.sum((-2, -1)) - 1).abs().max().detach()) < 1e-6
    kernel = normalise_kernel(-torch.rand(2, 5, 5))  # nowhere positive
    assert bool((kernel[:, 2, 2] == 1).all())


def test_the_survey_form_moves_with_a_periodic_image():
    parent = BlindDeblurring(gaussian(3, 1, 5, 5, seed=2), weight=0.02, kernel_size=7, periodic=True).double()
    net, y, shift = unroll(parent, 4, untied=("filters", "weight")), scene(32, 30).double(), (5, -7)
    torch.testing.assert_close(net(y.roll(shift, (1, 2))), net(y).roll(shift, (1, 2)), atol=1e-9, rtol=0)


def test_the_survey_form_with_two_differences_is_blind_total_variation_by_hand():
    """Survey (7) to (11), constant lambda and zeta, periodic, in the full spectrum."""
    weight, zeta, eta, ridge, side = 0.03125, 8.0, 0.0625, 2.0**-10, 7
    parent = BlindDeblurring(
        differences(torch.float64),
        weight=weight,
        coupling=zeta,
        retrieval=eta,
        ridge=ridge,
        kernel_size=side,
        periodic=True,
    )
    y = scene(24, 20)[0].double()
    fft, ifft = torch.fft.fft2, torch.fft.ifft2
    features = fft(torch.stack([y - y.roll(1, 1), y - y.roll(1, 0)]))
    if not torch.allclose(parent.filters[0, 0, 2], torch.zeros(3, dtype=torch.float64)):  # the first is down the rows
        features = features.flip(0)

    def shrunk(g):
        return g.sign() * (g.abs() - weight * zeta).clamp_min(0)

    z, k = fft(shrunk(ifft(features).real)), torch.ones(24, 20, dtype=torch.complex128)
    energy = features.abs().square().sum(0)[:, :11].mean()  # over the half of the spectrum that is computed
    for state in unroll(parent, 5).trajectory(y.unsqueeze(0)):
        g = (zeta * k.conj() * features + z) / (zeta * k.abs().square() + 1)
        z = fft(shrunk(ifft(g).real))
        whole = ifft((z.conj() * features).sum(0) / (z.abs().square().sum(0) + ridge * energy)).real
        kernel = whole.roll((3, 3), (0, 1))[:side, :side].clamp_min(0)
        kernel[3, 3] += 1e-8
        kernel = kernel / kernel.sum()
        torch.testing.assert_close(state.kernel[0].detach(), kernel, atol=1e-8, rtol=0)
        k = fft(torch.nn.functional.pad(kernel, (0, 13, 0, 17)).roll((-3, -3), (0, 1)))


@pytest.mark.parametrize("name", by_day("dublid", "dublid, colour", "survey", "total variation"))
def test_blind_deblurring_is_a_sound_iteration(name):
    make = {
        "dublid": lambda: DUBLID(3, 3, kernel_size=7, threshold=0.03125, coupling=8.0, start="derivatives"),
        "dublid, colour": lambda: DUBLID(3, 3, colours=3, kernel_size=7),
        "survey": lambda: BlindDeblurring(differences(), kernel_size=7),
        "total variation": lambda: BlindDeblurring(differences(), kernel_size=7, rate=0.9),
    }[name]
    y = scene(20, 18, channels=3).double()
    data = torch.stack([y, y.flip(1), y.flip(2)]) if "colour" in name else y
    check_iteration(make().double(), data, skip=("compile", "gradients", "solve", "export"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DUBLID(kernel_size=4), "odd number"),
        (lambda: BlindDeblurring(differences(), weight=0.0), "weight must be positive"),
        (lambda: BlindDeblurring(differences(), kernel_size=9).check(torch.ones(1, 8, 30)), "more than the image"),
        (lambda: DUBLID(colours=3).check(torch.ones(1, 80, 80)), "images have shape"),
    ],
)
def test_what_makes_no_blind_deblurring_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
