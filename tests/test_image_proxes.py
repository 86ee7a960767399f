"""Proxes and learned functions of images: optimality, invariances, and the sums that they stand for."""

import numpy as np
import torch
from iterations import gaussian

from unrolling.operators import FiniteDifferences
from unrolling.prox import soft_threshold
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.influence import LinearSpline, RadialBasis
from unrolling.prox.isotropic import IsotropicShrink


def images(count):
    return 0.5 + 0.2 * gaussian(count, 9, 8)


def test_shrinkage_by_length_satisfies_the_optimality_of_its_prox_and_of_one_entry_is_the_soft_threshold():
    """z - p = t p / |p| where p is not zero, |z| <= t where it is."""
    z, t = gaussian(3, 2, 4, 5), 0.8
    p = IsotropicShrink()(z, t)
    length = torch.linalg.vector_norm(p, dim=1, keepdim=True)
    kept = (length > 0).expand_as(p)
    assert 0.2 < float(kept.double().mean()) < 0.9
    torch.testing.assert_close((z - p)[kept], (t * p / length)[kept])
    assert float(torch.linalg.vector_norm(z, dim=1, keepdim=True)[length == 0].max()) <= t
    torch.testing.assert_close(IsotropicShrink()(z[:, :1], 0.4), soft_threshold(z[:, :1], 0.4))


def test_the_prox_of_total_variation_moves_and_scales_with_the_image_and_ends_in_its_mean():
    prox, z = AnalysisProx(FiniteDifferences(), 8.0, iterations=3000), images(2)
    found = prox(z, 0.1)
    torch.testing.assert_close(prox(z + 3, 0.1), found + 3)
    torch.testing.assert_close(prox(5 * z, 0.5), 5 * found)
    torch.testing.assert_close(prox(z, 100.0), z.mean((1, 2), keepdim=True).expand_as(z), atol=1e-3, rtol=0)


def test_the_piecewise_linear_function_is_that_of_numpy_and_goes_on_in_a_straight_line():
    values = gaussian(4, 21, seed=2)
    function = LinearSpline(4, 21, values=values).double()
    z = 1.5 * gaussian(2, 4, 30)
    found = function(z).detach()
    knots = np.linspace(-1, 1, 21)
    for c in range(4):
        wanted = np.interp(z[:, c], knots, values[c])
        slopes = [(values[c, 1] - values[c, 0]) / 0.1, (values[c, -1] - values[c, -2]) / 0.1]
        low, high = z[:, c].numpy() < -1, z[:, c].numpy() > 1
        wanted[low] = float(values[c, 0]) + float(slopes[0]) * (z[:, c].numpy()[low] + 1)
        wanted[high] = float(values[c, -1]) + float(slopes[1]) * (z[:, c].numpy()[high] - 1)
        np.testing.assert_allclose(found[:, c], wanted, atol=1e-10)


def test_radial_basis_functions_are_sums_of_gaussians():
    """Within 1e-4 of the sum, and its gradients those of finite differences."""
    weights = gaussian(3, 63, seed=5)
    function = RadialBasis(weights).double()
    z = 200 * gaussian(2, 3, 400)
    centres = torch.linspace(-310, 310, 63, dtype=torch.float64)
    dense = (weights[:, None, :] * torch.exp(-0.5 * ((z.unsqueeze(-1) - centres) / 10).square())).sum(-1)
    torch.testing.assert_close(function(z).detach(), dense, atol=1e-4, rtol=0)
    probe = (50 * gaussian(1, 3, 6, seed=8)).requires_grad_()
    slope = torch.autograd.grad(function(probe).sum(), probe)[0]
    x = probe.detach()
    exact = (
        weights[:, None, :]
        * torch.exp(-0.5 * ((x.unsqueeze(-1) - centres) / 10).square())
        * (-(x.unsqueeze(-1) - centres) / 100)
    ).sum(-1)
    torch.testing.assert_close(slope, exact, atol=1e-3, rtol=1e-2)
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(function, {"weights": w}, (x,)), (weights.clone().requires_grad_(),)
    )
    assert float(function(torch.full((1, 3, 1), 1e4, dtype=torch.float64)).detach().abs().max()) == 0  # it ends at zero
