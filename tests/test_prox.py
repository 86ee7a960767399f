"""Proximal operators against brute-force minimisation, and what is known of each."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling import hard_threshold, k_sparse, nonnegative, soft_threshold
from unrolling.testing import check_prox

thresholds = st.floats(0.05, 2.0)


def magnitude(x):
    return x.abs()


def clip(z, _):
    """The prox of s times the conjugate of |.|, which is 0 on the unit ball and infinite outside, whatever s."""
    return z / z.abs().clamp_min(1)


@given(threshold=thresholds, dtype=st.sampled_from([torch.float64, torch.complex128]))
def test_soft_threshold_is_the_prox_of_the_magnitude(threshold, dtype):
    check_prox(soft_threshold, magnitude, threshold, dtype=dtype, conjugate=clip)


@given(threshold=thresholds)
def test_nonnegative_is_the_prox_of_the_magnitude_on_the_positive_half(threshold):
    check_prox(
        nonnegative, lambda x: torch.where(x >= 0, x, torch.inf), threshold, conjugate=lambda z, _: z.clamp_max(1)
    )


@given(threshold=thresholds, dtype=st.sampled_from([torch.float64, torch.complex128]))
def test_hard_threshold_is_the_prox_of_counting(threshold, dtype):
    # H_t is the prox of (t^2 / 2) |.|_0; as a prox with threshold t the penalty is (t / 2) |.|_0.
    check_prox(hard_threshold, lambda x: 0.5 * threshold * (x != 0), threshold, dtype=dtype, convex=False)


@given(st.integers(1, 7), st.integers(0, 8), st.integers(0, 1000), st.booleans())
def test_k_sparse_is_the_nearest_vector_with_k_entries(n, k, seed, is_complex):
    z = gaussian(2, n, seed=seed)
    if is_complex:
        z = torch.complex(z, gaussian(2, n, seed=seed + 1))
    kept = k_sparse(z, k)
    assert bool(((kept != 0).sum(1) <= k).all())
    assert bool(((kept == z) | (kept == 0)).all())
    for row, point in zip(kept, z, strict=True):
        distances = [
            (point.abs().square().sum() - point[list(support)].abs().square().sum())
            for support in itertools.combinations(range(n), min(k, n))
        ]
        torch.testing.assert_close((row - point).abs().square().sum(), min(distances).clamp_min(0), atol=1e-12, rtol=0)


def test_k_sparse_keeps_the_first_of_equal_entries():
    z = torch.tensor([[1.0, -1.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0], [-2.0, 2.0, 2.0, -2.0]])
    assert k_sparse(z, 2).tolist() == [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-2.0, 2.0, 0.0, 0.0]]
    assert k_sparse(z, 4) is z
    with pytest.raises(ValueError, match="k is -1; the number of entries to keep is at least 0"):
        k_sparse(z, -1)


def test_k_sparse_passes_the_gradient_of_what_it_keeps():
    z = torch.tensor([[3.0, -1.0, 2.0]], requires_grad=True)
    k_sparse(z, 2).backward(torch.tensor([[5.0, 7.0, 11.0]]))
    assert z.grad.tolist() == [[5.0, 0.0, 11.0]]


def test_values_that_are_known():
    z = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    one = torch.tensor(1.0)
    for t in (1.0, one):
        assert soft_threshold(z, t).tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]
        assert hard_threshold(z, t).tolist() == [-3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]
        assert nonnegative(z, t).tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]
    assert torch.equal(nonnegative(z), z.clamp_min(0))
    # 3 + 4i has magnitude 5; the soft threshold keeps its phase.
    torch.testing.assert_close(soft_threshold(torch.tensor([3 + 4j]), 2.5), torch.tensor([1.5 + 2j]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_soft_threshold_at_zero_and_with_threshold_zero_has_finite_gradients(dtype):
    z = torch.tensor([0.0, 1.0, -2.0]).to(dtype).requires_grad_()
    threshold = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    out = soft_threshold(z, threshold)
    assert torch.equal(out, z)
    out.abs().square().sum().backward()
    assert torch.equal(z.grad, 2 * z.detach())
    assert float(threshold.grad) == -2 * 3.0  # d/dt sum (|z| - t)^2 = -2 sum |z|


@given(st.sampled_from([(), (1,), (4,), (3, 1), (3, 4)]))
def test_the_gradient_in_a_threshold_has_the_shape_of_the_threshold(shape):
    z, threshold = gaussian(3, 4).requires_grad_(), torch.full(shape, 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_threshold, (z, threshold))
    assert torch.autograd.gradgradcheck(soft_threshold, (z, threshold))


def test_only_the_data_need_a_gradient():
    z = gaussian(3, 4).requires_grad_()
    (by_z,) = torch.autograd.grad(soft_threshold(z, torch.tensor(0.3)).sum(), z)
    assert torch.equal(by_z, (z.abs() > 0.3).double())


def test_complex_numbers_have_no_order():
    with pytest.raises(TypeError, match="nonnegative needs real numbers"):
        nonnegative(torch.tensor([1j]), 0.5)
