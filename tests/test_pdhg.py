"""The primal-dual method with the data's operator among its dual terms."""

import numpy as np
import pytest
import torch
from families import some
from image_problems import WEIGHT, images
from iterations import gaussian, unit_dictionary

from unrolling import Matrix, solve, unroll
from unrolling.algorithms.sparse.ista import ISTA
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.algorithms.splitting.primal_dual_operator import PDHG, diagonal_steps
from unrolling.operators import CircularConvolution, FiniteDifferences, LinearOperator
from unrolling.prox import Box, IsotropicShrink, soft_threshold
from unrolling.testing import check_iteration, check_prox

SIZE = (5, 4)


class Dense(LinearOperator):
    """A matrix on images (height, width), with shapes that are known."""

    def __init__(self, matrix, shape):
        super().__init__(shape, (matrix.shape[0],))
        self.register_buffer("matrix", matrix)

    def forward(self, x):
        return x.flatten(1) @ self.matrix.T

    def adjoint(self, y):
        return (y @ self.matrix).reshape(-1, *self.input_shape)


def projections(shape=SIZE):
    """Sums along rows, columns and diagonals."""
    i, j = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    lines = [(index == value).flatten() for index in (i, j, i + j, i - j) for value in index.unique()]
    return Dense(torch.stack(lines).double(), shape)


def variation(operator, **options):
    return PDHG(operator, FiniteDifferences(), IsotropicShrink(), WEIGHT, **options).double()


CASES = {
    "least squares with a penalty on x": lambda: (
        PDHG(Matrix(unit_dictionary(8, 6)), image_prox=soft_threshold, image_weight=0.1).double(),
        gaussian(3, 8),
    ),
    "total variation": lambda: (variation(projections()), projections()(images(3, 0, SIZE))),
    "total variation of images that are not negative, diagonal steps": lambda: (
        variation(projections(), image_prox=Box(), **diagonal_steps(projections(), FiniteDifferences())),
        projections()(images(3, 0, SIZE)),
    ),
}


@pytest.mark.parametrize("name", some(CASES, *list(CASES)[:2]))
def test_it_passes_every_check_of_an_iteration(name):
    iteration, data = CASES[name]()
    check_iteration(iteration, data, skip="compile", tolerance=1e-2)


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
def test_it_compiles_into_one_graph(name):
    from unrolling.testing import check_compile

    check_compile(*CASES[name]())


def test_it_is_the_loop_written_by_hand():
    operator = projections()
    iteration = variation(operator, image_prox=Box(), primal_step=0.01, dual_step=0.2, transform_step=3.0)
    y = operator(images(1, 0, SIZE))
    a, data = operator.matrix.numpy(), y[0].numpy()
    x = ahead = np.zeros(SIZE)
    p, q = np.zeros(25), np.zeros((2, *SIZE))
    for state in unroll(iteration, 6).trajectory(y):
        p = (p + 0.2 * (a @ ahead.ravel() - data)) / 1.2
        down, right = np.zeros(SIZE), np.zeros(SIZE)
        down[:-1], right[:, :-1] = np.diff(ahead, axis=0), np.diff(ahead, axis=1)
        q = q + 3.0 * np.stack([down, right])
        q = q / np.maximum(1, np.sqrt((q**2).sum(0)) / WEIGHT)  # the projection onto balls of radius lambda
        divergence = np.zeros(SIZE)
        divergence[:-1] += q[0, :-1]
        divergence[1:] -= q[0, :-1]
        divergence[:, :-1] += q[1, :, :-1]
        divergence[:, 1:] -= q[1, :, :-1]
        new = np.maximum(x - 0.01 * ((a.T @ p).reshape(SIZE) - divergence), 0)
        ahead, x = 2 * new - x, new
        np.testing.assert_allclose(state.x.detach()[0], x, atol=1e-12)
        np.testing.assert_allclose(state.duals[1].detach()[0], q, atol=1e-12)


@pytest.mark.nightly
def test_it_finds_what_other_algorithms_find():
    """The lasso as ISTA does, and total variation of a blurred image as the method that inverts the blur does."""
    dictionary, y = unit_dictionary(10, 15), gaussian(2, 10)
    lasso = PDHG(Matrix(dictionary), image_prox=soft_threshold, image_weight=0.1).double()
    found, wanted = (
        solve(method, y, tolerance=0.0, max_iterations=1500).estimate
        for method in (lasso, ISTA(dictionary, 0.1).double())
    )
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)

    blur = CircularConvolution(torch.full((3, 3), 1 / 9, dtype=torch.float64))
    y = blur(images(2)) + 0.05 * gaussian(2, 9, 8, seed=3)
    circular = FiniteDifferences("circular")
    steps = {"primal_step": 0.5, "dual_step": 0.98, "transform_step": 0.12}
    mine = PDHG(blur, circular, IsotropicShrink(), WEIGHT, **steps).double()
    theirs = ChambollePock(LeastSquares(blur), circular, IsotropicShrink(), WEIGHT).double()
    found, wanted = (solve(method, y, tolerance=0.0, max_iterations=500).estimate for method in (mine, theirs))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("balance", [0.3, 1.0, 3.0])
def test_diagonal_steps_scale_the_operator_to_a_norm_below_one(balance):
    operator, transform = projections(), FiniteDifferences()
    steps = diagonal_steps(operator, transform, balance)
    shape = (operator.input_shape[0] * operator.input_shape[1],)
    basis = torch.eye(*shape, dtype=torch.float64).reshape(-1, *SIZE)
    rows = torch.cat([operator(basis), transform(basis).flatten(1)], 1).T  # K as a matrix
    left = torch.cat([steps["dual_step"].flatten(), steps["transform_step"].expand(rows.shape[0] - 25)])
    scaled = left.sqrt().unsqueeze(1) * rows * steps["primal_step"].flatten().sqrt()
    assert 0.5 < float(torch.linalg.matrix_norm(scaled, 2)) < 1


def test_diagonal_steps_converge_to_the_same_image():
    operator, y = projections(), projections()(images(1, 0, SIZE))
    methods = variation(operator, **diagonal_steps(operator, FiniteDifferences())), variation(operator)
    found, wanted = (solve(method, y, tolerance=0.0, max_iterations=500).estimate for method in methods)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_an_initial_estimate_is_where_it_starts_and_changes_nothing_of_the_end():
    matrix = Matrix(unit_dictionary(8, 6))
    plain = PDHG(matrix, image_prox=soft_threshold, image_weight=0.1).double()
    warm = PDHG(matrix, image_prox=soft_threshold, image_weight=0.1, initial=matrix.H).double()
    y = gaussian(2, 8)
    torch.testing.assert_close(warm.start(y).x, matrix.adjoint(y))
    ends = [solve(method, y, tolerance=1e-12, max_iterations=5000).estimate for method in (plain, warm)]
    torch.testing.assert_close(*ends, atol=1e-8, rtol=0)


def test_a_box_is_the_projection():
    for low, high in ((0.0, None), (-0.5, 1.0), (None, 0.3)):
        check_prox(
            Box(low, high),
            lambda x, low=low, high=high: torch.where(
                (x >= (-torch.inf if low is None else low)) & (x <= (torch.inf if high is None else high)),
                torch.zeros_like(x),
                torch.inf,
            ),
            0.7,
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PDHG(projections(), FiniteDifferences()), "with the prox"),
        (lambda: PDHG(projections(), image_weight=0.1), "no image_prox"),
        (lambda: PDHG(projections(), primal_step=0.0, dual_step=1.0), "primal_step must be positive"),
        (lambda: PDHG(projections(), extrapolation=1.5), "extrapolation"),
        (lambda: PDHG(CircularConvolution(torch.ones(3, 3))), "give primal_step and dual_step"),
        (lambda: variation(projections(), transform_step=-1.0), "transform_step must be positive"),
        (lambda: PDHG(projections(), FiniteDifferences(), IsotropicShrink(), -1.0), "at least 0"),
        (lambda: solve(variation(projections()), torch.zeros(2, 24, dtype=torch.float64)), "data"),
        (lambda: Box(None, None), "at least one bound"),
        (lambda: Box(2.0, 1.0), "nothing lies between"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
