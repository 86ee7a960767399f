"""What algorithms on images converge to: closed forms, one another, other libraries."""

import numpy as np
import pytest
import torch
from image_problems import HEIGHT, WEIGHT, WIDTH, blurred, images
from iterations import gaussian
from pictured import scene

from unrolling import solve
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import Blurred, KnownBlur, LeastSquares, SampledFourier
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.operators import FilterBank, FiniteDifferences, Identity, KSpace
from unrolling.operators.fourier import fft
from unrolling.operators.patches import BlockSensing
from unrolling.operators.resize import BicubicReduction
from unrolling.prox import soft_threshold
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.isotropic import IsotropicShrink, Ridge


@pytest.mark.nightly
def test_total_variation_by_three_algorithms_is_one_image_and_that_of_scikit_image():
    from skimage.restoration import denoise_tv_chambolle

    y = scene(12, 10).double() + 0.05 * gaussian(1, 12, 10)
    methods = [
        ChambollePock(LeastSquares(Identity()), FiniteDifferences(), IsotropicShrink(), WEIGHT).double(),
        ProximalGradient(
            LeastSquares(Identity()), AnalysisProx(FiniteDifferences(), 8.0, iterations=1000), WEIGHT
        ).double(),
        ADMM(
            LeastSquares(Identity()),
            [Splitting(FiniteDifferences(), IsotropicShrink(), WEIGHT).double()],
            inner=(1e-9, 100),
        ).double(),
    ]
    steps = [2000, 1, 300]
    found = [
        solve(method, y, tolerance=0.0, max_iterations=count).estimate
        for method, count in zip(methods, steps, strict=True)
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=2e-4, rtol=0)
    reference = denoise_tv_chambolle(y[0].numpy(), weight=WEIGHT, eps=1e-9, max_num_iter=20000)
    np.testing.assert_allclose(found[0][0].numpy(), reference, atol=2e-3)


@pytest.mark.nightly
def test_total_variation_of_masked_fourier_samples_by_admm_and_fista_has_the_same_objective():
    x = scene(12, 10).double()
    m = (torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(1)) < 0.6).double()
    data = KSpace(m * fft(x), m)
    admm = ADMM(
        SampledFourier(real=True),
        [Splitting(FiniteDifferences("circular"), IsotropicShrink(), 0.01, penalty=0.1).double()],
    ).double()
    fista = FISTA(
        ProximalGradient(
            SampledFourier(real=True), AnalysisProx(FiniteDifferences("circular"), 8.0, iterations=60), 0.01
        )
    ).double()
    one = solve(admm, data, tolerance=0.0, max_iterations=600)
    two = solve(fista, data, tolerance=0.0, max_iterations=300)
    torch.testing.assert_close(one.estimate, two.estimate, atol=2e-3, rtol=0)
    problem = admm.prepare(data)
    assert float(admm.objective(one.state, problem)) == pytest.approx(
        float(fista.objective(two.state, problem)), rel=1e-3
    )


def test_a_ridge_comes_to_its_closed_form_by_every_algorithm():
    """min 0.5 |k * x - y|^2 + (lambda / 2) |D x|^2, diagonal in the Fourier basis."""
    data = blurred(images())
    transform, term = FiniteDifferences("circular"), KnownBlur()
    problem = term(data)
    closed = term.solve(problem.back, WEIGHT * transform.gram_spectrum(HEIGHT, WIDTH).double(), problem)
    admm = ADMM(KnownBlur(), [Splitting(FiniteDifferences("circular"), Ridge(), WEIGHT, penalty=0.1).double()]).double()
    primal = ChambollePock(KnownBlur(), FiniteDifferences("circular"), Ridge(), WEIGHT).double()
    half = HalfQuadraticSplitting(
        KnownBlur(), FiniteDifferences("circular"), Ridge(), WEIGHT, penalty=1e4, growth=1.0
    ).double()
    torch.testing.assert_close(
        solve(admm, data, tolerance=1e-12, max_iterations=2000).estimate, closed, atol=1e-8, rtol=0
    )
    torch.testing.assert_close(
        solve(primal, data, tolerance=1e-12, max_iterations=20000).estimate, closed, atol=1e-7, rtol=0
    )
    assert float((solve(half, data, tolerance=0.0, max_iterations=3000).estimate - closed).abs().max()) < float(
        (data.image - closed).abs().max()
    )


def test_without_a_penalty_an_invertible_blur_is_undone():
    kernel = torch.zeros(1, 3, 3, dtype=torch.float64)
    kernel[0, 1, 1], kernel[0, 0, 1] = 0.8, 0.2
    x = images()
    data = Blurred(KnownBlur().image(x, Blurred(x, kernel)), kernel)
    gradient = ProximalGradient(KnownBlur(), soft_threshold, 0.0).double()
    torch.testing.assert_close(
        solve(gradient, data, tolerance=1e-14, max_iterations=500).estimate, x, atol=1e-10, rtol=0
    )


def test_the_data_term_of_super_resolution_starts_at_the_enlarged_image():
    operator = BicubicReduction(2)
    y = scene(12, 10).double()
    problem = LeastSquares(operator.double())(y)
    torch.testing.assert_close(LeastSquares(operator).start(problem), operator.enlarge(y))


@pytest.mark.parametrize("solved", ["orthonormal rows", "filters among zeros"])
def test_equations_without_a_fourier_basis_are_solved_all_the_same(solved):
    x = images(2)[:, :8, :8].contiguous()
    sensing = BlockSensing(torch.linalg.qr(gaussian(16, 6))[0].T.contiguous())
    operator = sensing if solved == "orthonormal rows" else FilterBank(gaussian(2, 3, 3), "zero")
    y = operator(x)
    splitting = Splitting(FiniteDifferences(), Ridge(), WEIGHT, penalty=0.5).double()
    found = solve(
        ADMM(LeastSquares(operator), [splitting], inner=(1e-12, 200)).double(), y, tolerance=1e-11, max_iterations=2000
    ).estimate
    residual = operator.adjoint(operator(found) - y) + WEIGHT * FiniteDifferences().adjoint(FiniteDifferences()(found))
    assert float(residual.abs().max()) < 1e-6
