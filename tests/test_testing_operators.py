"""Faults that the checks of operators and proximal maps find."""

import math

import pytest
import torch
from iterations import gaussian, unit_dictionary

from unrolling import LinearOperator, Matrix, hard_threshold, soft_threshold
from unrolling.testing import (
    check_adjoint,
    check_linearity,
    check_norm,
    check_operator,
    check_prox,
)

DICTIONARY, Y = unit_dictionary(6, 9), gaussian(5, 6, seed=3)


class Transposed(Matrix):
    """Forgets the conjugate."""

    def adjoint(self, y):
        return y @ self.matrix


class Shifted(Matrix):
    def forward(self, x):
        return super().forward(x) + 1


class Rounded(Matrix):
    """The adjoint is right, but automatic differentiation does not see the operator."""

    def forward(self, x):
        return super().forward(x).detach() + 0 * x.sum()


class Loud(Matrix):
    def norm(self, *args, **kwargs):
        return 1.01 * super().norm(*args, **kwargs)


class Misshapen(Matrix):
    def forward(self, x):
        return super().forward(x).unsqueeze(1)


class Unsolved(Matrix):
    def solve_normal(self, b, rho):
        return b / rho


class BatchMean(Matrix):
    """Linear, but across samples."""

    def forward(self, x):
        return super().forward(x - x.mean(0))


COMPLEX = torch.complex(gaussian(4, 3), gaussian(4, 3, seed=1))


@pytest.mark.parametrize(
    ("operator", "check", "message"),
    [
        (Transposed(COMPLEX), check_adjoint, "`adjoint` is not the adjoint"),
        (Rounded(COMPLEX), check_adjoint, "the gradient of Re <A x, y> in x"),
        (Shifted(COMPLEX), check_linearity, r"A\(a x \+ b z\)"),
        (Misshapen(COMPLEX), check_linearity, r"A\(x\) has shape \(3, 1, 4\) for x \(3, 3\); it should be \(3, 4\)"),
        (BatchMean(COMPLEX), check_linearity, "A of sample 0 alone"),
        (Loud(COMPLEX), check_norm, r"A.norm\(\) is .*, and the largest singular value is"),
        (Unsolved(COMPLEX), check_operator, r"solve_normal\(b, rho\)"),
    ],
)
def test_faults_of_operators_are_found(operator, check, message):
    with pytest.raises(AssertionError, match=message):
        check(operator)
    with pytest.raises(AssertionError):
        check_operator(operator)


def test_an_operator_too_large_for_its_matrix_is_still_checked():
    check_operator(Matrix(COMPLEX), dense_limit=1)
    with pytest.raises(AssertionError, match="not the adjoint"):
        check_operator(Transposed(COMPLEX), dense_limit=1)


class AnyLength(LinearOperator):
    """The same weight on every entry, however many there are."""

    def __init__(self, factor=2.0):
        super().__init__((None,), (None,))
        self.factor = factor

    def forward(self, x):
        return 2 * x

    def adjoint(self, y):
        return self.factor * y


def test_an_operator_of_any_size_is_checked_at_one():
    check_operator(AnyLength(), shape=(5,), dtype=torch.float64)
    with pytest.raises(AssertionError, match="not the adjoint"):
        check_operator(AnyLength(3.0), shape=(5,), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"AnyLength takes inputs of any size; say which to check, shape="):
        check_operator(AnyLength())


class ScaledLate(LinearOperator):
    """A factor that is right only as long as nobody scales: the algebra alone shows it."""

    def __init__(self):
        super().__init__((3,), (3,))

    def forward(self, x):
        return 2 * x

    def adjoint(self, y):
        return 2 * y

    def __rmul__(self, factor):
        return (
            Matrix(torch.eye(3, dtype=torch.float64)) if isinstance(factor, torch.Tensor) else super().__rmul__(factor)
        )


def test_a_fault_of_the_algebra_is_named():
    with pytest.raises(AssertionError, match="the dense matrix of c A, c a tensor is off"):
        check_operator(ScaledLate(), dtype=torch.float64)


@pytest.mark.parametrize(
    ("prox", "message"),
    [
        (lambda z, t: soft_threshold(z, 2 * t), r"prox\(.*, 0.5\) = .* has the objective .*, and x = .* has"),
        (
            lambda z, t: soft_threshold(z, t).detach() + 0 * z,
            "the gradient of the prox disagrees with finite differences",
        ),
        (lambda z, t: soft_threshold(z, t if isinstance(t, float) else t.mean()), "the prox with different thresholds"),
        (lambda z, t: soft_threshold(z, t)[1:], r"the prox of a tensor \(60,\) has shape \(59,\)"),
    ],
)
def test_faults_of_proxes_are_found(prox, message):
    with pytest.raises(AssertionError, match=message):
        check_prox(prox, torch.abs, 0.5)


def test_a_prox_of_a_penalty_that_is_not_convex_is_not_firmly_nonexpansive():
    with pytest.raises(AssertionError, match="the prox is not firmly non-expansive"):
        check_prox(hard_threshold, lambda x: 0.25 * (x != 0), 0.5)


def test_a_wrong_conjugate_is_found():
    with pytest.raises(AssertionError, match="compared with z, is off"):
        check_prox(soft_threshold, torch.abs, 0.5, conjugate=lambda z, s: z.clamp(-math.pi, math.pi))
