"""Classical algorithms on images: conformance, hand-written loops, closed forms, other libraries."""

import numpy as np
import pytest
import torch
from families import by_day, some
from image_problems import (
    HEIGHT,
    WEIGHT,
    WIDTH,
    blurred,
    complex_images,
    diffusion,
    few,
    few_complex,
    images,
    kspace,
    learned_admm,
    mask,
    variation_splitting,
)
from iterations import gaussian
from pictured import scene

from unrolling import unroll
from unrolling.algorithms.images.diffusion import Diffusion, EdgeStopping, PeronaMalik
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import Blurred, KnownBlur, LeastSquares, SampledFourier
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.operators import CircularConvolution, FilterBank, FiniteDifferences, Identity, KSpace
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.operators.fourier import fft, ifft
from unrolling.prox import soft_threshold
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.influence import RadialBasis
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.testing import check_compile, check_iteration

TINY = {"size": 2, "knots": 7}  # a finite difference for each parameter takes its time
CASES = {
    "ADMM, masked Fourier, total variation": lambda: (
        ADMM(SampledFourier(real=True), [variation_splitting()]).double(),
        kspace(few()),
    ),
    "ADMM, complex": lambda: (learned_admm(real=False, **TINY), kspace(few_complex())),
    "ADMM, separate start": lambda: (learned_admm(separate_start=True, **TINY), kspace(few())),
    "ADMM, measured values put back": lambda: (learned_admm(hard_consistency=True, **TINY), kspace(few())),
    "ADMM, damped": lambda: (learned_admm(dual_update="damped", **TINY), kspace(few())),
    "ADMM, two splittings": lambda: (
        ADMM(KnownBlur(), [variation_splitting(), Splitting(Identity(), soft_threshold, 0.05).double()]).double(),
        blurred(few()),
    ),
    "half-quadratic splitting": lambda: (
        HalfQuadraticSplitting(KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), WEIGHT).double(),
        blurred(few()),
    ),
    "proximal gradient": lambda: (
        ProximalGradient(KnownBlur(), AnalysisProx(FiniteDifferences(), 8.0, iterations=5), WEIGHT).double(),
        blurred(few()),
    ),
    "FISTA on images": lambda: (
        FISTA(ProximalGradient(SampledFourier(), soft_threshold, 0.05)).double(),
        kspace(few_complex()),
    ),
    "Chambolle-Pock": lambda: (
        ChambollePock(LeastSquares(Identity()), FiniteDifferences(), IsotropicShrink(), WEIGHT).double(),
        few(),
    ),
    "Perona-Malik": lambda: (PeronaMalik(LeastSquares(Identity()), 0.1, weight=0.1).double(), few()),
    "reaction diffusion": lambda: (diffusion(size=2, centres=7), few()),
    "variational network": lambda: (diffusion(size=2, centres=7, normalised=True), few()),
}


QUICK = ("ADMM, complex", "Chambolle-Pock", "reaction diffusion")


@pytest.mark.parametrize("name", some(CASES, *QUICK))
def test_each_passes_every_check_of_an_iteration(name):
    iteration, data = CASES[name]()
    # Where measured values are put back, the mask is a decision, which has no gradient.
    check_iteration(
        iteration,
        data,
        skip=("compile", "gradients", "second_derivative") if iteration.__dict__.get("hard_consistency") else "compile",
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day("reaction diffusion", "ADMM, separate start", "FISTA on images"))
def test_a_representative_of_each_family_is_traced_into_one_graph(name):
    """With its gradients, and without the compiler at the end, which takes minutes: the nightly run has all of it."""
    check_compile(*CASES[name](), backend="aot_eager")


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
def test_each_compiles_into_one_graph(name):
    """Of complex numbers without Inductor, whose gradient of a real number times complex ones is wrong in torch 2.13;
    `compiled` takes no gradients.
    """
    check_compile(*CASES[name](), backend="aot_eager" if name == "ADMM, complex" else "inductor")


# Against loops written by hand


def test_admm_with_filters_is_the_loop_written_by_hand():
    """ADMM-CSNet before training: D the cosine patterns, a piecewise linear function that is the soft threshold on its
    knots.
    """
    iteration, data = learned_admm(), kspace(images())
    atoms = zero_mean_atoms(3, torch.float64)
    spectra = torch.stack(
        [
            torch.fft.fft2(
                torch.nn.functional.pad(a.flip((-2, -1)), (0, WIDTH - 3, 0, HEIGHT - 3)).roll((-1, -1), (-2, -1))
            )
            for a in atoms
        ]
    )
    m, y, rho, eta = data.mask, data.samples, 0.25, 1.5
    symmetric = 0.5 * (m + m.flip((-2, -1)).roll((1, 1), (-2, -1)))  # of real images: the mask's even part
    denominator = symmetric + rho * spectra.abs().square().sum(0)

    def apply(x):
        return torch.fft.ifft2(torch.fft.fft2(x).unsqueeze(1) * spectra).real

    def solved(z_minus_dual):
        back = ifft(m * y).real + rho * torch.fft.ifft2((torch.fft.fft2(z_minus_dual) * spectra.conj()).sum(1)).real
        return torch.fft.ifft2(torch.fft.fft2(back) / denominator).real

    dual = torch.zeros(3, 8, HEIGHT, WIDTH, dtype=torch.float64)
    x = solved(dual)
    net = unroll(iteration, 5, untied=("splittings",))
    for state in net.trajectory(data):
        u = apply(x) + dual
        assert float(u.detach().abs().max()) < 1
        knots = torch.linspace(-1, 1, 101, dtype=torch.float64)
        z = torch.from_numpy(np.interp(u.numpy(), knots.numpy(), np.sign(knots) * np.maximum(np.abs(knots) - 0.04, 0)))
        dual = dual + eta * (apply(x) - z)
        x = solved(z - dual)
        torch.testing.assert_close(state.x.detach(), x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("real", [True, False])
def test_each_x_of_admm_solves_its_normal_equations(real):
    """Over real images the solution is exact for masks without symmetry too, where the real part of the complex one is
    not.
    """
    iteration = learned_admm(real)
    data = kspace(images() if real else complex_images())
    problem = iteration.prepare(data)
    state = iteration.start(problem)
    (part,) = iteration.splittings
    for _ in range(3):
        state = iteration(state, problem)
        right = problem.back + part.back.adjoint(part.penalty * (state.z[0] - state.dual[0]))
        normal = ifft(data.mask.square() * fft(state.x))
        left = (normal.real if real else normal) + part.back.adjoint(part.penalty * part.back(state.x))
        torch.testing.assert_close(left, right, atol=1e-10, rtol=0)


def test_without_a_denoiser_the_measured_frequencies_of_admm_grow_geometrically():
    """(b) of the specification: z = u, eta = 1, so that alpha stays 0 and F x_n = m y (1 - (rho / (1 + rho))^n)."""
    rho = 0.25
    splitting = Splitting(Identity(), torch.nn.Identity(), penalty=rho)
    iteration, data = ADMM(SampledFourier(), [splitting]).double(), kspace(complex_images())
    for n, state in enumerate(unroll(iteration, 6).trajectory(data), start=2):  # the start is the first x
        share = 1 - (rho / (1 + rho)) ** n
        torch.testing.assert_close(fft(state.x.detach()), (data.mask * data.samples * share), atol=1e-9, rtol=1e-6)


def test_measured_frequencies_are_put_back():
    data = kspace(images())
    for estimate in unroll(learned_admm(real=False, hard_consistency=True), 3).estimates(data):
        found = data.mask * fft(estimate)
        torch.testing.assert_close(found.detach(), data.samples, atol=1e-12, rtol=0)


def test_half_quadratic_splitting_is_the_loop_written_by_hand():
    iteration = HalfQuadraticSplitting(
        KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), WEIGHT, penalty=2.0, growth=1.5, largest=4.0
    ).double()
    data = blurred(images(1))
    pad = torch.nn.functional.pad(data.kernel[0].double(), (0, WIDTH - 3, 0, HEIGHT - 3)).roll((-1, -1), (0, 1))
    k = torch.fft.fft2(pad)
    x = data.image[0]
    down = torch.exp(2j * torch.pi * torch.fft.fftfreq(HEIGHT, dtype=torch.float64)).reshape(-1, 1) - 1
    right = torch.exp(2j * torch.pi * torch.fft.fftfreq(WIDTH, dtype=torch.float64)).reshape(1, -1) - 1
    for n, state in enumerate(unroll(iteration, 6).trajectory(data)):
        beta = 2.0 * min(1.5**n, 4.0)
        gradient = torch.stack([x.roll(-1, 0) - x, x.roll(-1, 1) - x])
        length = gradient.square().sum(0).sqrt()
        z = gradient * (1 - (WEIGHT / beta) / length.clamp_min(1e-300)).clamp_min(0)
        top = k.conj() * torch.fft.fft2(data.image[0]) + beta * (
            down.conj() * torch.fft.fft2(z[0]) + right.conj() * torch.fft.fft2(z[1])
        )
        x = torch.fft.ifft2(top / (k.abs().square() + beta * (down.abs().square() + right.abs().square()))).real
        torch.testing.assert_close(state.x.detach()[0], x, atol=1e-10, rtol=0)


def test_perona_malik_is_the_four_neighbour_scheme_of_its_paper():
    """I + (3 / 16) sum over the four neighbours of g(d) d, g(d) = 1 / (1 + (d / kappa)^2); no flow through the
    border.
    """
    kappa, x = 0.125, images(1)[0].numpy()
    iteration = PeronaMalik(LeastSquares(Identity()), kappa, step_size=0.1875).double()
    for state in unroll(iteration, 10).trajectory(images(1)):
        total = np.zeros_like(x)
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            neighbour = np.pad(x, 1, mode="edge")
            neighbour = np.roll(neighbour, -step, axis)[1:-1, 1:-1]
            difference = neighbour - x
            total += difference / (1 + (difference / kappa) ** 2)
        x = x + 0.1875 * total
        np.testing.assert_allclose(state[0], x, atol=1e-12)


def test_diffusion_without_reaction_keeps_the_mean_and_the_extremes_bound_it():
    y = images(2)
    x = unroll(PeronaMalik(LeastSquares(Identity()), 0.1).double(), 40)(y)
    torch.testing.assert_close(x.mean((1, 2)), y.mean((1, 2)))
    assert bool((x.amax((1, 2)) <= y.amax((1, 2))).all())
    assert bool((x.amin((1, 2)) >= y.amin((1, 2))).all())


@pytest.mark.parametrize("weight", [0.0, 0.1, 3.0])
def test_diffusion_with_no_influence_stays_at_the_data(weight):
    filters = FilterBank(BasisFilters(zero_mean_atoms(5, torch.float64)))
    iteration = Diffusion(
        LeastSquares(Identity()), filters, RadialBasis(torch.zeros(24, 63, dtype=torch.float64)), weight, scale=255.0
    ).double()
    torch.testing.assert_close(unroll(iteration, 5)(images()), images(), atol=1e-12, rtol=0)


def test_the_variational_network_is_its_formula():
    """u - (sum_i K_i^T phi_i(K_i u) / N + lambda (u - f)) / (1 + lambda), with dense matrices."""
    iteration, y = diffusion(normalised=True), images(1)
    phi, matrix = (
        iteration.influence,
        torch.stack(
            [iteration.filters(e.reshape(1, HEIGHT, WIDTH))[0] for e in torch.eye(HEIGHT * WIDTH).double()], -1
        ),
    )
    u = y[0] + 0.05 * images(1, seed=9)[0]
    found = iteration(u.unsqueeze(0), iteration.prepare(y))[0]
    rows = matrix.flatten(1, 2)
    responses = (rows @ u.flatten()).reshape(1, 8, HEIGHT, WIDTH)
    force = torch.einsum("cpi,cp->i", rows, phi(responses)[0].flatten(1)).reshape(HEIGHT, WIDTH)
    torch.testing.assert_close(
        found.detach(), (u - (force / 8 + WEIGHT * (u - y[0])) / (1 + WEIGHT)).detach(), atol=1e-10, rtol=0
    )


def test_the_interior_of_a_diffusion_does_not_see_beyond_its_reach():
    """Five steps of 5 x 5 filters: 20 pixels."""
    filters = FilterBank(BasisFilters(zero_mean_atoms(5, torch.float64)))
    weights = gaussian(24, 63, seed=3) * 0.01
    iteration = Diffusion(LeastSquares(Identity()), filters, RadialBasis(weights), 0.1, scale=255.0).double()
    y = scene(60, 70)[0:1].double()
    other = y.clone()
    other[:, :, 45:] = 0.3
    first, second = (unroll(iteration, 5)(data) for data in (y, other))
    torch.testing.assert_close(first[..., :25], second[..., :25], atol=1e-12, rtol=0)
    assert float((first[..., 25:45] - second[..., 25:45]).abs().max()) > 1e-6


# Bad input


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ADMM(SampledFourier(), []), "at least one penalty"),
        (lambda: ADMM(SampledFourier(), [variation_splitting()], dual_update="other"), "'survey' or 'damped'"),
        (lambda: ADMM(SampledFourier(), [variation_splitting()], start="data", separate_start=True), "separate start"),
        (lambda: Splitting(Identity(), soft_threshold, 0.1, penalty=0.0), "penalty must be positive"),
        (lambda: Splitting(Identity(), soft_threshold, 0.1, synthesis=FiniteDifferences()), "must agree"),
        (
            lambda: HalfQuadraticSplitting(
                KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), 0.1, growth=0.5
            ),
            "growth",
        ),
        (
            lambda: ChambollePock(
                LeastSquares(Identity()), FiniteDifferences(), IsotropicShrink(), 0.1, primal_step=0.0
            ),
            "must be positive",
        ),
        (
            lambda: ChambollePock(
                LeastSquares(Identity()), FiniteDifferences(), IsotropicShrink(), 0.1, extrapolation=2.0
            ),
            "extrapolation",
        ),
        (lambda: ProximalGradient(KnownBlur(), soft_threshold, 0.1, step_size=-1.0), "step_size"),
        (lambda: EdgeStopping(0.0, 0.1), "positive"),
        (
            lambda: Diffusion(LeastSquares(Identity()), FiniteDifferences(), EdgeStopping(1.0, 0.1), -1.0),
            "weight must be at least 0",
        ),
        (
            lambda: Diffusion(LeastSquares(Identity()), FiniteDifferences(), EdgeStopping(1.0, 0.1), 0.1, scale=0.0),
            "scale must be positive",
        ),
        (lambda: AnalysisProx(FiniteDifferences(), 8.0, iterations=0), "at least 1"),
        (lambda: RadialBasis(torch.zeros(3, 1)), "2 centres or more"),
        (lambda: SampledFourier().check(KSpace(images(), mask())), "complex"),
        (lambda: SampledFourier().check(KSpace(fft(images()), mask()[:, :4])), "of one size"),
        (lambda: SampledFourier().check(images()), "KSpace"),
        (lambda: KnownBlur().check(Blurred(images(), torch.ones(1, 20, 20))), "no larger"),
        (lambda: CircularConvolution(torch.ones(3, 3))(torch.ones(1, 2, 2)), "more than the image"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
