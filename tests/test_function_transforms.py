"""vmap, jvp, forward-mode and higher derivatives through everything whose gradient is written by hand."""

import pytest
import torch
from iterations import gaussian, unit_dictionary
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from unrolling import Equilibrium, Implicit, OneStep, Truncated, unroll
from unrolling import algorithms as alg
from unrolling.algorithms.images.blind_steps import correlations, sharpen
from unrolling.operators import (
    STFT,
    BlockSensing,
    CircularConvolution,
    FiniteDifferences,
    Matrix,
    PatchDictionary,
    correlate,
    correlate_adjoint,
    from_pylops,
    solve_positive,
)
from unrolling.operators.half_spectrum import irfft2, rfft2
from unrolling.prox import (
    AnalysisProx,
    BlockSoftThreshold,
    IsotropicShrink,
    LinearSpline,
    RadialBasis,
    SoftDenoiser,
    hard_threshold,
    k_sparse,
    piecewise_polynomial,
    soft_threshold,
    support_select,
    surrogate_hard_threshold,
)


def complex_gaussian(*shape, seed=0):
    return torch.complex(gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 1))


def positive(A, b):
    return solve_positive(lambda x: x @ (A.mT @ A + torch.eye(3, dtype=A.dtype)), b, tolerance=1e-14)


def pylops_gradient(x):
    pylops = pytest.importorskip("pylops")
    return from_pylops(pylops.FirstDerivative((6,), dtype="float64"))(x)


radial = RadialBasis(gaussian(2, 5), -2.0, 2.0)
spline = LinearSpline(2, 7, values=gaussian(2, 7))
stft = STFT(8, 4, window=gaussian(8).abs() + 0.1, length=21)

filters, magnitudes = gaussian(2, 3, 3), gaussian(2, 4, 5).abs()
# (function of tensors, its arguments); each has a gradient of its own somewhere inside.
CASES = {
    "soft threshold": (soft_threshold, (gaussian(3, 5), gaussian(5, seed=1).abs())),
    "soft threshold, complex": (soft_threshold, (complex_gaussian(3, 5), gaussian(5, seed=1).abs())),
    "surrogate": (lambda z, t: surrogate_hard_threshold(z, t, 1.0), (gaussian(3, 5), gaussian(5, seed=1).abs() + 0.1)),
    "support": (lambda z, t: support_select(z, t, 2), (gaussian(3, 5), gaussian(5, seed=1).abs())),
    "groups": (BlockSoftThreshold(2), (gaussian(3, 6), gaussian(6, seed=1).abs())),
    "isotropic": (IsotropicShrink(), (gaussian(3, 2, 4, 4), gaussian(1, 4, 4, seed=1).abs())),
    "total variation": (
        AnalysisProx(FiniteDifferences(), 8.0, iterations=3),
        (gaussian(2, 4, 4), torch.tensor([0.3]).double()),
    ),
    "table": (
        lambda z, table: piecewise_polynomial(z, table, -1.0, 0.5),
        (gaussian(3, 2, 4), gaussian(2, 4, 4, seed=1)),
    ),
    "spline": (spline, (gaussian(3, 2, 4),)),
    "radial basis": (radial, (gaussian(3, 2, 4),)),
    "overlapping patches": (PatchDictionary(gaussian(3, 4, 4), 2), (gaussian(2, 3, 3, 3),)),
    "patches": (PatchDictionary(gaussian(3, 4, 4), 2).adjoint, (gaussian(2, 4, 4),)),
    "correlation": (lambda x, k: correlate(x, k, "zero"), (gaussian(2, 5, 5), filters)),
    "its adjoint": (lambda y, k: correlate_adjoint(y, k, "zero"), (gaussian(2, 2, 5, 5), filters)),
    "half spectrum": (rfft2, (gaussian(2, 4, 5),)),
    "from half a spectrum": (lambda x: irfft2(rfft2(x) * 2j, (4, 5)), (gaussian(2, 4, 5),)),
    "circular convolution": (CircularConvolution(gaussian(3, 3)), (gaussian(2, 5, 5),)),
    "positive definite solution": (positive, (gaussian(4, 3, seed=3), gaussian(2, 3))),
    "STFT": (stft, (gaussian(2, 21),)),
    "its inverse": (lambda x: stft.inverse(stft(x), 21), (gaussian(2, 21),)),
    "sharpen": (
        sharpen,
        (
            complex_gaussian(2, 3, 4, 3),
            complex_gaussian(2, 3, 4, 3, seed=2),
            complex_gaussian(2, 4, 3, seed=4),
            gaussian(3, seed=6).abs(),
        ),
    ),
    "correlations": (
        lambda f, z: torch.cat([p.to(torch.complex128) for p in correlations(f, z)]),
        (complex_gaussian(2, 3, 4, 3), complex_gaussian(2, 3, 4, 3, seed=2)),
    ),
    "PyLops": (pylops_gradient, (gaussian(3, 6),)),
    "NMF": (
        lambda w, h: alg.update_activations(magnitudes, w, h, 1.5, 0.1),
        (gaussian(5, 3).abs(), gaussian(2, 4, 3, seed=1).abs()),
    ),
}
SURROGATES = {"surrogate"}  # whose derivative is not the function's


def stretched(tensor, number):
    """Another point of the same kind, positive where that is."""
    return tensor * (1 + 0.1 * number)


@pytest.mark.parametrize("name", CASES)
def test_vmap_is_a_loop(name):
    function, arguments = CASES[name]
    stacked = [torch.stack([stretched(a, number) for number in range(3)]) for a in arguments]
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded):
            wanted = torch.stack([function(*(part[number] for part in stacked)) for number in range(3)])
            torch.testing.assert_close(vmap(function)(*stacked), wanted, rtol=1e-9, atol=1e-10)
            first = torch.stack([function(part, *arguments[1:]) for part in stacked[0]])
            mapped = vmap(function, in_dims=(0, *[None] * (len(arguments) - 1)))(stacked[0], *arguments[1:])
            torch.testing.assert_close(mapped, first, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_jvp_is_the_directional_derivative_and_vjp_its_transpose(name):
    function, arguments = CASES[name]
    tangents = tuple(
        (complex_gaussian if a.is_complex() else gaussian)(*a.shape, seed=10 + number)
        for number, a in enumerate(arguments)
    )
    value, along = jvp(function, arguments, tangents)
    torch.testing.assert_close(value, function(*arguments), rtol=1e-9, atol=1e-10)
    if name not in SURROGATES:
        step = 1e-6
        there, back = (
            function(*(a + sign * step * t for a, t in zip(arguments, tangents, strict=True))) for sign in (1, -1)
        )
        torch.testing.assert_close(along, (there - back) / (2 * step), rtol=1e-5, atol=1e-6)
    _, pull = vjp(function, *arguments)
    cotangent = (complex_gaussian if value.is_complex() else gaussian)(*value.shape, seed=20)
    pulled = pull(cotangent)
    left = (cotangent.conj() * along).real.sum()
    right = sum((p.conj() * t).real.sum() for p, t in zip(pulled, tangents, strict=True))
    torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-9)
    # What transforms see, and what is written by hand, have one gradient.
    leaves = [a.clone().requires_grad_() for a in arguments]
    by_hand = torch.autograd.grad(function(*leaves), leaves, cotangent, allow_unused=True)
    for p, q in zip(pulled, by_hand, strict=True):
        torch.testing.assert_close(p, torch.zeros_like(p) if q is None else q, rtol=1e-8, atol=1e-9)
    with torch.autograd.forward_ad.dual_level():
        dual = function(*(torch.autograd.forward_ad.make_dual(a, t) for a, t in zip(arguments, tangents, strict=True)))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, along, rtol=1e-9, atol=1e-10)


def test_a_hard_threshold_and_the_largest_entries_transform_too():
    z = gaussian(4, 5)
    for prox in (lambda z: hard_threshold(z, 0.5), lambda z: k_sparse(z, 2)):
        assert torch.equal(vmap(prox)(z), prox(z))
        assert torch.equal(jvp(prox, (z,), (torch.ones_like(z),))[1], (prox(z) != 0).to(z))


NETWORKS = {
    "ISTA": lambda: unroll(alg.ISTA(unit_dictionary(4, 6), 0.1), 3, untied=("threshold",)),
    "coupled": lambda: unroll(
        alg.CoupledISTA(unit_dictionary(4, 6), 0.1, selection=(20.0, 50.0)), 3, untied=("threshold",)
    ),
    "implicit": lambda: unroll(alg.ISTA(unit_dictionary(12, 3), 0.1), 300, tied=("threshold",), gradient=Implicit()),
    "one step": lambda: unroll(alg.ISTA(unit_dictionary(4, 6), 0.1), 3, tied=("threshold",), gradient=OneStep()),
    "truncated": lambda: unroll(alg.ISTA(unit_dictionary(4, 6), 0.1), 3, tied=("threshold",), gradient=Truncated(2)),
    "AMP": lambda: unroll(alg.AMP(unit_dictionary(4, 6), SoftDenoiser(1.3)), 3, tied=("encoder",)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_under_transforms(name):
    """Gradients per sample (vmap of grad) are those of a loop; jacobians forwards and backwards agree."""
    network = NETWORKS[name]()
    y = gaussian(4, 12 if name == "implicit" else 4)
    parameters = {key: value.detach() for key, value in network.named_parameters() if value.requires_grad}

    def loss(parameters, sample):
        return functional_call(network, parameters, (sample.unsqueeze(0),)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(parameters, y)
    for number in range(4):
        network.zero_grad()
        network(y[number : number + 1]).square().sum().backward()
        for key, value in network.named_parameters():
            if value.requires_grad:
                wanted = torch.zeros_like(value) if value.grad is None else value.grad
                tolerance = 1e-5 if name == "implicit" else 1e-8
                torch.testing.assert_close(each[key][number], wanted, rtol=tolerance, atol=tolerance)
    if name not in ("truncated", "one step"):
        torch.testing.assert_close(jacfwd(network)(y), jacrev(network)(y), rtol=1e-8, atol=1e-9)


def test_second_derivatives_through_soft_thresholds():
    network = NETWORKS["ISTA"]()
    y = gaussian(1, 4)
    found = hessian(lambda y: network(y).square().sum())(y)
    twice = torch.autograd.functional.hessian(lambda y: network(y).square().sum(), y)
    torch.testing.assert_close(found, twice, rtol=1e-8, atol=1e-9)


def test_a_fixed_point_says_that_it_knows_no_transforms():
    model = Equilibrium(alg.ISTA(unit_dictionary(4, 6), 0.1), learned=("threshold",), gradient=Implicit())
    y = gaussian(2, 4)
    with pytest.raises(RuntimeError, match="unroll the iteration"):
        jvp(model, (y,), (y,))


def test_an_operator_of_blocks_and_matrices_need_no_rule_of_their_own():
    for operator, shape in ((BlockSensing(gaussian(2, 4)), (2, 4, 4)), (Matrix(gaussian(3, 4)), (2, 4))):
        x = gaussian(*shape)
        assert torch.equal(vmap(operator)(x.unsqueeze(0))[0], operator(x))
        torch.testing.assert_close(jvp(operator, (x,), (x,))[1], operator(x))
