"""Linear operators: adjoints, algebra, norm, refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian
from torch import nn

from unrolling import LinearOperator, Matrix
from unrolling.operators import BlockSensing, PatchDictionary
from unrolling.testing import check_operator, dense

DTYPES = [torch.float64, torch.complex128, torch.float32, torch.complex64]
sizes = st.integers(1, 7)


def matrix(m, n, dtype=torch.float64, seed=0):
    real = gaussian(m, n, seed=seed)
    return (torch.complex(real, gaussian(m, n, seed=seed + 1)) if dtype.is_complex else real).to(dtype)


class Differences(LinearOperator):
    """Circular differences of an image along its rows: image-shaped, and without any tensor of its own."""

    def __init__(self, height, width):
        super().__init__((height, width), (height, width))

    def forward(self, x):
        return x.roll(-1, 2) - x

    def adjoint(self, y):
        return y.roll(1, 2) - y


@given(m=sizes, n=sizes, batch=st.integers(1, 4), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 99))
def test_a_matrix_passes_every_check(m, n, batch, dtype, seed):
    check_operator(Matrix(matrix(m, n, dtype, seed)), batch=batch)


@given(sizes, sizes, st.sampled_from(DTYPES))
def test_an_operator_on_images_passes_every_check_in_any_dtype(height, width, dtype):
    check_operator(Differences(height, width), dtype=dtype)


@given(sizes, sizes, sizes, st.sampled_from(DTYPES[:2]))
def test_compositions_and_sums_are_those_of_the_matrices(m, n, k, dtype):
    A, B, C = matrix(m, n, dtype), matrix(n, k, dtype, 2), matrix(m, k, dtype, 4)
    c = torch.tensor(2 - 1j if dtype.is_complex else 2.0, dtype=dtype)
    made = Matrix(A) @ Matrix(B) + 0.5 * Matrix(C) - c * Matrix(C)
    torch.testing.assert_close(dense(made, dtype), A @ B + (0.5 - c) * C)
    check_operator(made, dtype=dtype)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([(4, 2), (3, 1), (2, 2)]))
def test_operators_on_patches_and_blocks_pass_every_check(count, rows, columns, size):
    patch, stride = size
    extra = patch // stride - 1
    check_operator(PatchDictionary(gaussian(count, patch, patch), stride), shape=(rows + extra, columns + extra, count))
    check_operator(BlockSensing(matrix(count, patch**2)), shape=(patch * rows, patch * columns))


def test_the_adjoint_of_the_adjoint_is_the_operator_itself():
    A = Matrix(matrix(3, 4))
    assert A.H.H is A


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_norm_is_the_largest_singular_value_to_its_tolerance(m, n, seed):
    A = matrix(m, n, seed=seed)
    exact = torch.linalg.svdvals(A)
    if len(exact) > 1 and exact[1] > 0.99 * exact[0]:
        return  # the tolerance is promised when the top two differ
    assert Matrix(A).norm(1e-8) == pytest.approx(float(exact[0]), rel=1e-6)


def test_norm_of_simple_operators():
    assert Matrix(torch.zeros(3, 4)).norm() == 0.0
    assert Matrix(torch.diag(torch.tensor([1.0, -7.0, 2.0]))).norm() == pytest.approx(7, rel=1e-5)
    assert Differences(2, 8).norm(dtype=torch.float64) == pytest.approx(2, rel=1e-5)
    assert Matrix(torch.eye(5)).norm() == pytest.approx(1)
    assert (3j * Matrix(torch.eye(5, dtype=torch.complex64))).norm() == pytest.approx(3)


def test_norm_says_when_it_did_not_settle_with_its_last_estimate():
    A = torch.diag(torch.tensor([1.0, 1.0 - 1e-4], dtype=torch.float64))
    with pytest.raises(
        ArithmeticError,
        match=r"not known to 1e-12 after 1 products; the last estimate is 0.9999",
    ):
        Matrix(A).norm(1e-12, max_iterations=1)


def test_a_parameter_is_learned_and_a_tensor_is_fixed():
    learned, fixed = Matrix(nn.Parameter(matrix(3, 4))), Matrix(matrix(3, 4))
    assert [name for name, _ in learned.named_parameters()] == ["matrix"]
    assert list(fixed.parameters()) == []
    assert list(fixed.state_dict()) == ["matrix"]
    x = gaussian(2, 4)
    (gradient,) = torch.autograd.grad(learned(x).sum(), learned.matrix)
    torch.testing.assert_close(gradient, x.sum(0).expand(3, 4))


def test_a_factor_may_be_learned_or_move_with_the_module():
    A, factor = Matrix(matrix(3, 4)), nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    scaled = factor * A
    x = gaussian(2, 4)
    (gradient,) = torch.autograd.grad(scaled(x).sum(), factor)
    torch.testing.assert_close(gradient, A(x).sum())
    assert "factor" in dict(scaled.named_parameters())
    assert (torch.tensor(2.0) * A).to(torch.float64).factor.dtype is torch.float64


def test_solve_normal_solves_or_says_that_it_cannot():
    A, b = Matrix(matrix(3, 5, torch.complex128)), torch.complex(gaussian(2, 5), gaussian(2, 5, seed=1))
    exact = torch.linalg.solve(A.matrix.mH @ A.matrix + 0.1 * torch.eye(5), b.mT).mT
    torch.testing.assert_close(A.solve_normal(b, 0.1), exact)
    torch.testing.assert_close(A.solve_normal(b, torch.tensor(0.1, dtype=torch.float64)), exact)
    with pytest.raises(TypeError, match="Differences has no closed form"):
        Differences(2, 3).solve_normal(torch.zeros(1, 2, 3), 0.1)


class Forgetful(LinearOperator):
    def forward(self, x):
        return x


class Backward(LinearOperator):
    def adjoint(self, y):
        return y


@pytest.mark.parametrize(("cls", "method"), [(Forgetful, "adjoint"), (Backward, "forward")])
def test_an_operator_without_a_method_says_which(cls, method):
    with pytest.raises(TypeError, match=f"{cls.__name__} is a LinearOperator without `{method}`"):
        cls((2,), (2,))


def test_shapes_that_do_not_fit_are_refused():
    A, B = Matrix(matrix(3, 4)), Matrix(matrix(3, 5))
    with pytest.raises(ValueError, match=r"A @ B needs A's input \(4,\) to be B's output \(3,\)"):
        A @ B
    with pytest.raises(ValueError, match=r"A \+ B needs equal shapes; got \(4,\) -> \(3,\) and \(5,\) -> \(3,\)"):
        A + B
    with pytest.raises(ValueError, match=r"Matrix needs an input of shape \(batch, 4\), and got \(2, 5\)"):
        A.check_input(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"Differences needs an output of shape \(batch, 2, 3\), and got \(2, 3\)"):
        Differences(2, 3).check_output(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"a matrix has two dimensions; got shape \(4,\)"):
        Matrix(torch.zeros(4))
    A.check_input(torch.zeros(2, 4))
    A.check_output(torch.zeros(2, 3))
