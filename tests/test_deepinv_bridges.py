"""Operators, networks, denoisers and losses between deepinv and this library, in both directions; ``pytest -m bench``
where deepinv is installed (dependency group ``peers``).
"""

import importlib.util

import pytest
import torch
from iterations import gaussian
from torch import nn

from unrolling import Equilibrium, Matrix, Stage, fit, solve, unroll
from unrolling.algorithms import ISTA, LeastSquares, ProximalGradient
from unrolling.algorithms.images.inpainting import KnownPixels, Masked
from unrolling.operators import CircularConvolution, MaskedFourier, from_deepinv, to_deepinv
from unrolling.prox import DenoiserProx
from unrolling.tasks import PSNR, Pairs
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import Gaussian, Measurement, SampledMeasurement
from unrolling.tasks.transformations import Flips
from unrolling.testing import check_operator
from unrolling.training.without_truth import SURE, Consistency, Equivariance, Splitting

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(importlib.util.find_spec("deepinv") is None, reason="deepinv is not installed"),
]
SIZE = 8


@pytest.fixture(scope="module")
def deepinv():
    from benchmarks.peers_unfolded import deepinv

    return deepinv()


def mask(seed=0):
    return (gaussian(SIZE, SIZE, seed=seed) > -0.3).float()


def images(count=2, seed=3):
    return gaussian(count, 1, SIZE, SIZE, seed=seed).float()


def test_physics_pass_every_check_and_bring_their_closed_forms(deepinv):
    physics = deepinv.physics
    kernel = gaussian(1, 1, 3, 3).float()
    for made, shape in (
        (physics.Denoising(), (1, SIZE, SIZE)),
        (physics.Inpainting((1, SIZE, SIZE), mask=mask()[None]), (1, SIZE, SIZE)),
        (physics.MRI(mask=mask(), img_size=(2, SIZE, SIZE)), (2, SIZE, SIZE)),
        (physics.BlurFFT((1, SIZE, SIZE), filter=kernel), (1, SIZE, SIZE)),
        (physics.Blur(filter=kernel, padding="circular"), (1, SIZE, SIZE)),
        (physics.Downsampling(img_size=(1, SIZE, SIZE), filter="gaussian", factor=2), (1, SIZE, SIZE)),
        (physics.SinglePixelCamera(m=20, img_size=(1, SIZE, SIZE)), (1, SIZE, SIZE)),
    ):
        operator = from_deepinv(made, shape)
        check_operator(operator, dtype=torch.float32)
        closed = isinstance(made, physics.DecomposablePhysics)
        if closed:
            assert operator.solve_normal(images(1).expand(2, *shape), 0.3).shape == (2, *shape)


def test_our_operators_as_physics(deepinv):
    blur = CircularConvolution(torch.tensor([[0.0, 0.1, 0.0], [0.1, 1.0, 0.0], [0.0, 0.05, 0.0]]))
    physics = to_deepinv(blur)
    x = images()
    y = physics.A(x)
    assert float(physics.adjointness_test(img_size=(1, SIZE, SIZE))) < 1e-5
    torch.testing.assert_close(physics.A_dagger(y), x, rtol=1e-2, atol=1e-2)  # their least squares, on our operator
    wanted = blur.solve_normal(blur.adjoint(y[:, 0]) + 0.1 * x[:, 0], 0.1)[:, None]
    torch.testing.assert_close(physics.prox_l2(x, y, 10.0, solver="CG", tol=1e-6), wanted, rtol=1e-3, atol=1e-4)
    complex_one = to_deepinv(MaskedFourier(mask()))
    z = torch.complex(x, images(seed=5))
    back = complex_one.A_adjoint(complex_one.A(z))
    torch.testing.assert_close(back, torch.fft.ifft2(mask() * torch.fft.fft2(z)), rtol=1e-4, atol=1e-5)


def test_their_optimizer_on_ours_and_our_iteration_on_theirs(deepinv):
    matrix = gaussian(9, 6).float()
    y = gaussian(3, 9, seed=2).float()
    ours = ISTA(Matrix(matrix), 0.1)
    wanted = solve(ours, y, tolerance=1e-7, max_iterations=20_000).estimate
    physics = to_deepinv(Matrix(matrix))
    theirs = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.L1Prior(),
        stepsize=ours.step_size.item(),
        lambda_reg=0.1,
        max_iter=20_000,
        thres_conv=1e-8,
        early_stop=True,
        custom_init=lambda y, physics: {"est": (y.new_zeros(y.shape[0], 6),) * 2},
    )
    torch.testing.assert_close(theirs(y, physics), wanted, rtol=1e-3, atol=1e-4)
    again = from_deepinv(physics, (6,))
    torch.testing.assert_close(
        solve(ISTA(again, 0.1), y, tolerance=1e-7, max_iterations=20_000).estimate, wanted, rtol=1e-3, atol=1e-4
    )


class Filters(nn.Module):
    """Images (batch, height, width) to the same."""

    def __init__(self, level=False):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3, padding=1))

    def forward(self, y, level=None):
        weight = 0.3 if level is None else level.reshape(-1, 1, 1)
        return 0.8 * y + weight * self.layers(y.unsqueeze(1)).squeeze(1)


def unrolled():
    """Missing pixels by gradient steps and a small network; data are ``Masked``."""
    return unroll(ProximalGradient(KnownPixels(), DenoiserProx(Filters(), sigma=0.1), weight=0.1), 3, tied="prox")


def test_an_unrolled_network_is_their_reconstructor(deepinv):
    network = unrolled()
    physics = deepinv.physics.Inpainting((1, SIZE, SIZE), mask=mask()[None])
    model = to_deepinv(network, data=lambda y, physics: Masked(y, physics.mask.reshape(-1, SIZE, SIZE)), channel=True)
    assert isinstance(model, deepinv.models.Reconstructor)
    y = physics(images())
    torch.testing.assert_close(model(y, physics)[:, 0], network(Masked(y[:, 0], mask()[None])))
    other = deepinv.physics.Inpainting((1, SIZE, SIZE), mask=mask(7)[None])
    assert not torch.equal(model(y, other), model(y, physics))  # it follows the physics that it is given
    for kind in (solve_as_model, equilibrium_as_model):
        assert kind(network)(y, physics).shape == y.shape
    with pytest.raises(ValueError, match="channel=True, and images and measurements have one channel"):
        model(y.expand(-1, 3, -1, -1), physics)


def as_model(network):
    return to_deepinv(network, data=lambda y, physics: Masked(y, physics.mask.reshape(-1, SIZE, SIZE)), channel=True)


class Solved(nn.Module):
    def __init__(self, iteration):
        super().__init__()
        self.iteration = iteration

    def forward(self, data):
        return solve(self.iteration, data, tolerance=1e-2, max_iterations=20, on_divergence="mark").estimate


def solve_as_model(network):
    return as_model(Solved(network.parent))


def equilibrium_as_model(network):
    return as_model(Equilibrium(network.parent, learned="prox", tolerance=1e-1, max_iterations=20))


def gradient(value, network):
    learned = [p for p in network.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, learned)])


def test_their_losses_on_our_network(deepinv):
    """The value and the gradient are those of the formula with our network called directly."""
    network = unrolled()
    physics = deepinv.physics.Inpainting(
        (1, SIZE, SIZE), mask=mask()[None], noise_model=deepinv.physics.GaussianNoise(0.1)
    )
    model, x = as_model(network), images()
    y = physics.A(x)
    data = Masked(y[:, 0], mask()[None])
    estimate = model(y, physics)
    assert gradient(
        deepinv.loss.SupLoss()(x_net=estimate, x=x, y=y, physics=physics, model=model).mean(), network
    ).any()
    value = deepinv.loss.MCLoss()(x_net=model(y, physics), y=y, physics=physics, model=model).mean()
    ours = (mask() * network(data) - y[:, 0]).square().mean()
    torch.testing.assert_close(value, ours)
    torch.testing.assert_close(gradient(value, network), gradient(ours, network), rtol=1e-4, atol=1e-6)
    for loss in (
        deepinv.loss.SureGaussianLoss(0.1),
        deepinv.loss.EILoss(deepinv.transform.Rotate(multiples=90)),
        deepinv.loss.SplittingLoss(split_ratio=0.6),
    ):
        adapted = loss.adapt_model(model)
        adapted.train()
        found = loss(x_net=adapted(y, physics, update_parameters=True), y=y, physics=physics, model=adapted).mean()
        grad = gradient(found, network)
        assert torch.isfinite(found)
        assert torch.isfinite(grad).all()
        assert grad.any()


def test_our_losses_on_their_network(deepinv):
    torch.manual_seed(0)
    physics = deepinv.physics.Inpainting((1, SIZE, SIZE), mask=mask()[None])
    theirs = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.PnP(to_deepinv(Filters(), role="denoiser", channel=True)),
        stepsize=[0.9] * 3,
        sigma_denoiser=[0.1] * 3,
        max_iter=3,
        unfold=True,
        trainable_params=["stepsize"],
    )
    assert isinstance(theirs, deepinv.models.Reconstructor)
    network = from_deepinv(
        theirs,
        physics=lambda data: (
            data.image.unsqueeze(1),
            deepinv.physics.Inpainting((1, SIZE, SIZE), mask=data.mask.unsqueeze(1)),
        ),
    )
    squeezed = nn.Sequential(network, nn.Flatten(1, 2))
    data = Masked((mask() * images()[:, 0]), mask()[None])
    torch.testing.assert_close(squeezed(data), theirs(data.image[:, None], physics)[:, 0])
    measurement = SampledMeasurement(KnownPixels(), Gaussian(0.1), fourier=False)
    value = Consistency()(squeezed(data), None, data, measurement)
    wanted = deepinv.loss.MCLoss()(x_net=theirs(data.image[:, None], physics), y=data.image[:, None], physics=physics)
    torch.testing.assert_close(value, wanted.mean() / mask().mean())
    for loss in (SURE(), Equivariance(Flips())):
        found = loss(squeezed(data), None, data, squeezed, measurement, Draws([torch.Generator().manual_seed(1)] * 2))
        assert gradient(found, theirs).any()
    seen, kept = Splitting(0.6).show(data, measurement, Draws([torch.Generator().manual_seed(1)] * 2))
    assert gradient(Splitting(0.6)(squeezed(seen), None, measurement, kept), theirs).any()


def test_their_network_learns_in_our_training(deepinv, tmp_path):
    torch.manual_seed(0)
    matrix = gaussian(9, 6).float() / 3
    physics = to_deepinv(Matrix(matrix))
    theirs = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.L1Prior(),
        stepsize=[0.1] * 4,
        lambda_reg=[0.1] * 4,
        max_iter=4,
        unfold=True,
        trainable_params=["stepsize", "lambda"],
        custom_init=lambda y, physics: {"est": (y.new_zeros(y.shape[0], 6),) * 2},
    )
    network = from_deepinv(theirs, physics=physics)
    x = gaussian(40, 6, seed=2).float()
    pairs = list(zip(x @ matrix.T, x, strict=True))
    before = float((network(x @ matrix.T) - x).square().mean())
    task = Pairs(pairs[10:], pairs[:10], metric=PSNR)
    task.measurement = Measurement(LeastSquares(Matrix(matrix)), Gaussian(0.05))
    fit(network, task, [Stage(60, rate=2e-2, batch=10)], tmp_path / "run", quiet=True)
    assert float((network(x @ matrix.T) - x).square().mean()) < 0.5 * before


def test_denoisers_both_ways(deepinv):
    x, level = images(), 0.2
    ours = to_deepinv(Filters(), role="denoiser", channel=True)
    assert isinstance(ours, deepinv.models.Denoiser)
    torch.testing.assert_close(ours(x, level)[:, 0], Filters()(x[:, 0], torch.full((2,), level)))
    torch.testing.assert_close(ours(x, torch.tensor([0.1, 0.3]))[:, 0], Filters()(x[:, 0], torch.tensor([0.1, 0.3])))
    torch.manual_seed(2)
    theirs = deepinv.models.DRUNet(in_channels=1, out_channels=1, nc=(4, 4, 4, 4), nb=1, pretrained=None).eval()
    prox = DenoiserProx(from_deepinv(theirs, channel=True), told=True)
    torch.testing.assert_close(prox(x[:, 0], level**2), theirs(x, torch.full((2,), level))[:, 0])
    back = from_deepinv(ours, channel=True)
    torch.testing.assert_close(back(x[:, 0], torch.full((2,), level)), ours(x, level)[:, 0])
    with pytest.raises(TypeError, match="a denoiser is called with images and their noise alone"):
        from_deepinv(theirs, physics=deepinv.physics.Denoising())


def test_what_does_not_belong_is_refused(deepinv):
    with pytest.raises(TypeError, match="shape is None"):
        from_deepinv(deepinv.physics.Denoising())
    with pytest.raises(TypeError, match="physics is None; a reconstructor is called"):
        from_deepinv(to_deepinv(Filters()))
    with pytest.raises(TypeError, match="data, channel and role belong to networks"):
        to_deepinv(Matrix(gaussian(2, 2)), channel=True)
    with pytest.raises(ValueError, match="role is 'prior'; it is one of"):
        to_deepinv(Filters(), role="prior")
