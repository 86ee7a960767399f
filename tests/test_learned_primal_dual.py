"""Learned primal-dual, Learned PDHG and Learned Primal: identities and counts of the paper, and their parent."""

import pytest
import torch
from families import some
from iterations import gaussian
from test_pdhg import SIZE, projections
from torch import nn

from unrolling import solve, unroll
from unrolling.algorithms.splitting.learned_primal_dual import (
    LearnedPDHG,
    LearnedPrimalDual,
    Transmission,
    least_squares_start,
)
from unrolling.algorithms.splitting.primal_dual_operator import PDHG
from unrolling.networks.conv_block import ConvBlock, PReLU
from unrolling.operators import LinearOperator, ParallelBeam, Radon
from unrolling.prox import soft_threshold
from unrolling.testing import check_iteration

MEMORY = 3


class Rows(LinearOperator):
    """Sums along the lines of an image as a sinogram, with the two dimensions that convolutions take."""

    def __init__(self):
        super().__init__(SIZE, (5, 5))
        self.register_buffer("matrix", projections().matrix)

    def forward(self, x):
        return (x.flatten(1) @ self.matrix.T).reshape(-1, 5, 5)

    def adjoint(self, y):
        return (y.flatten(1) @ self.matrix).reshape(-1, *SIZE)


def data(batch=3):
    return Rows()(0.5 + 0.2 * gaussian(batch, *SIZE))


def block(*arguments, **options):
    """In double precision from the first."""
    torch.set_default_dtype(torch.float64)
    try:
        return ConvBlock(*arguments, **options)
    finally:
        torch.set_default_dtype(torch.float32)


def blocks(memory=MEMORY, width=4, start=True, layers=3, **options):
    dual, primal = least_squares_start(memory, **options) if start else (None, None)
    return (
        block(memory + 2, memory, width, layers, linear=dual, seed=1),
        block(memory + 1, memory, width, layers, linear=primal, seed=2),
    )


def random_blocks(memory=MEMORY, width=2, layers=3):
    """As after some training: all weights at work, and small enough not to explode."""
    found = blocks(memory, width, start=False, layers=layers)
    for each in found:
        for parameter in each.parameters():
            parameter.data += 0.1 * gaussian(*parameter.shape, seed=parameter.numel())
    return found


class Prox(nn.Module):
    """(u - sigma y) / (1 + sigma) of the channels u and y."""

    def __init__(self, step):
        super().__init__()
        self.step = nn.Parameter(torch.tensor(step, dtype=torch.float64))

    def forward(self, both):
        return PDHG.dual_prox(both[:, :1], both[:, 1:], self.step)


class Soft(nn.Module):
    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.01, dtype=torch.float64))

    def forward(self, x):
        return soft_threshold(x, self.threshold)


SMALL = {"memory": 2, "width": 1, "layers": 2}  # a finite difference for each weight takes its time
CASES = {
    "primal-dual": lambda: LearnedPrimalDual(Rows(), *random_blocks(**SMALL), memory=2),
    "one channel": lambda: LearnedPrimalDual(Rows(), *random_blocks(1, 1, 2), memory=1),
    "primal": lambda: LearnedPrimalDual(Rows(), None, random_blocks(**SMALL)[1], memory=2),
    "non-linear": lambda: LearnedPrimalDual(Transmission(Rows(), 0.1), *random_blocks(**SMALL), memory=2),
    "learned proxes, added": lambda: LearnedPDHG(Rows(), block(2, 1, 1, 2), block(1, 1, 1, 2)),
    "learned proxes": lambda: LearnedPDHG(Rows(), block(2, 1, 1, 2), block(1, 1, 1, 2), residual="none"),
}


@pytest.mark.parametrize("name", some(CASES, "primal-dual", "learned proxes"))
def test_each_passes_every_check_of_an_iteration(name):
    # What it converges to, if it does, is the business of training.
    check_iteration(CASES[name](), data(), depth=2, skip=("compile", "solve", "fixed_point", "second_derivative"))


@pytest.mark.parametrize(("slopes", "count"), [("channel", 253_220), ("layer", 251_980)])
def test_it_has_the_published_number_of_parameters(slopes, count):
    operator = Radon(ParallelBeam.even(4, 8))
    iteration = LearnedPrimalDual(
        operator, ConvBlock(7, 5, slopes=slopes), ConvBlock(6, 5, slopes=slopes), memory=5, scale=1.0
    )
    network = unroll(iteration, 10, untied=("dual", "primal"))
    assert sum(p.numel() for p in network.parameters()) == count
    assert [sum(p.numel() for p in c.parameters()) for c in iteration.dual.convolutions] == [2048, 9248, 1445]
    assert [sum(p.numel() for p in c.parameters()) for c in iteration.primal.convolutions] == [1760, 9248, 1445]


def test_before_training_the_estimates_are_those_of_the_primal_dual_method_for_least_squares():
    """Whatever the random numbers in its other channels, and also with layers of their own."""
    operator, y = Rows(), data()
    norm = operator.norm()
    tau, sigma, theta = 0.7, 1.3, 0.8
    classical = PDHG(
        operator, primal_step=tau / norm**2, dual_step=sigma, extrapolation=theta
    ).double()  # A / |A| with steps tau and sigma
    options = {"primal_step": tau, "dual_step": sigma, "extrapolation": theta}
    learned = LearnedPrimalDual(operator, *blocks(**options), memory=MEMORY)
    network = unroll(learned, 8, untied=("dual", "primal"))
    for found, wanted in zip(network.estimates(y), unroll(classical, 8).estimates(y), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)
    assert torch.equal(solve(learned, y, tolerance=0.0, max_iterations=8).estimate, network(y))


def test_learned_pdhg_with_the_proxes_of_the_parent_is_the_parent():
    """Gamma(u, y) = (u - sigma y) / (1 + sigma), Lambda the soft threshold, as the specification has it."""
    operator, y = Rows(), data()
    norm, tau, sigma = operator.norm(), 0.6, 0.9
    learned = LearnedPDHG(
        operator, Prox(sigma), Soft(), residual="none", primal_step=tau, dual_step=sigma, extrapolation=0.9
    )
    classical = PDHG(
        operator,
        primal_step=tau / norm**2,
        dual_step=sigma,
        extrapolation=0.9,
        image_prox=soft_threshold,
        image_weight=0.01 * norm**2 / tau,
    ).double()
    for found, wanted in zip(unroll(learned, 10).trajectory(y), unroll(classical, 10).trajectory(y), strict=True):
        torch.testing.assert_close(found.x, wanted.x, atol=1e-10, rtol=0)
        torch.testing.assert_close(found.dual * norm, wanted.duals[0], atol=1e-9, rtol=0)


def test_linear_blocks_are_the_proxes_of_least_squares():
    step = 0.5
    matrix = torch.tensor([[1 / (1 + step), -step / (1 + step)]], dtype=torch.float64)
    found, u, y = block(2, 1, 6, linear=matrix), gaussian(2, 1, 5, 4), gaussian(2, 1, 5, 4, seed=1)
    torch.testing.assert_close(found(torch.cat([u, y], 1)), PDHG.dual_prox(u, y, step), atol=1e-12, rtol=0)


def test_networks_that_say_nothing_give_nothing():
    dual, primal = random_blocks()
    for each in (dual, primal):
        for parameter in each.convolutions[-1].parameters():
            nn.init.zeros_(parameter)
    assert float(unroll(LearnedPrimalDual(Rows(), dual, primal, memory=MEMORY), 3)(data()).abs().max()) == 0


def test_learned_primal_is_the_same_with_the_dual_step_fixed_to_the_plain_residual():
    class Plain(nn.Module):
        """A f - y - h in channel 0, so that h + Gamma is A f - y."""

        def forward(self, x):
            h, projected, y = x[:, :MEMORY], x[:, MEMORY], x[:, MEMORY + 1]
            return torch.cat([(projected - y).unsqueeze(1), torch.zeros_like(h[:, 1:])], 1) - h

    primal = random_blocks()[1]
    estimates = [unroll(LearnedPrimalDual(Rows(), dual, primal, memory=MEMORY), 4)(data()) for dual in (None, Plain())]
    torch.testing.assert_close(*estimates, atol=1e-12, rtol=0)


def test_the_adjoint_of_the_derivative_of_the_transmission_is_that_of_autograd():
    operator = Transmission(Rows(), 0.3)
    x, h = 0.5 + 0.2 * gaussian(2, *SIZE), gaussian(2, 5, 5, seed=3)
    found = operator.derivative_adjoint(x, h)
    _, wanted = torch.autograd.functional.vjp(operator, x, h)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(operator(torch.zeros_like(x)), torch.ones(2, 5, 5, dtype=torch.float64))


def test_gradients_of_the_network_are_those_of_finite_differences():
    """Of all weights of 3 iterations on 16 x 16 pixels, along random directions."""
    operator = Radon(ParallelBeam.even(6, 16))
    network = unroll(LearnedPrimalDual(operator, *random_blocks(2, 3), memory=2), 3, untied=("dual", "primal"))
    y = operator(0.5 + 0.2 * gaussian(1, 16, 16))
    weights = list(network.parameters())
    slopes = torch.autograd.grad(network(y).square().sum(), weights)
    directions = [gaussian(*w.shape, seed=n) for n, w in enumerate(weights)]

    def value(step):
        with torch.no_grad():
            for w, d in zip(weights, directions, strict=True):
                w += step * d
            found = network(y).square().sum()
            for w, d in zip(weights, directions, strict=True):
                w -= step * d
        return found

    wanted = (value(1e-6) - value(-1e-6)) / 2e-6
    found = torch.stack([(s * d).sum() for s, d in zip(slopes, directions, strict=True)]).sum()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_in_mixed_precision_it_stays_close_projections_in_full_precision_included(batch):
    operator = Radon(ParallelBeam.even(6, 16))
    network = unroll(LearnedPrimalDual(operator, *(b.float() for b in random_blocks()), memory=MEMORY), 2)
    y = operator(0.5 + 0.2 * gaussian(batch, 16, 16).float())
    with torch.autocast("cpu", torch.bfloat16):
        found = network(y)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, network(y), atol=0.02, rtol=0)


def test_weights_are_carried_over_to_another_geometry_with_its_own_norm():
    networks = [
        unroll(LearnedPrimalDual(Radon(ParallelBeam.even(views, 16)), *random_blocks(), memory=MEMORY), 2).eval()
        for views in (6, 9)
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    for network, views in zip(networks, (6, 9), strict=True):
        assert network.layers[0].scale == Radon(ParallelBeam.even(views, 16)).norm()


def test_prelu_is_that_of_torch():
    mine, theirs = PReLU(3, 0.3).double(), nn.PReLU(3, 0.3).double()
    u = gaussian(2, 3, 4, 5)
    torch.testing.assert_close(mine(u), theirs(u))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LearnedPrimalDual(Rows(), *blocks(), memory=0), "memory"),
        (lambda: LearnedPrimalDual(Rows(), *blocks(), memory=3, scale=0.0), "scale"),
        (lambda: LearnedPDHG(Rows(), *blocks(1, start=False), residual="all"), "'previous' or 'none'"),
        (lambda: LearnedPDHG(Rows(), *blocks(1, start=False), dual_step=-1.0), "dual_step"),
        (lambda: Transmission(Rows(), 0.0), "attenuation"),
        (lambda: least_squares_start(1), "memory"),
        (lambda: ConvBlock(2, 1, slopes="pixel"), "'channel' or 'layer'"),
        (lambda: ConvBlock(4, 3, 4, linear=torch.ones(3, 4)), "two channels for each"),
        (lambda: ConvBlock(4, 3, 8, linear=torch.ones(2, 4)), r"\(3, 4\)"),
        (lambda: unroll(CASES["primal-dual"](), 2)(gaussian(2, 4, 5)), "data"),
        (lambda: unroll(CASES["non-linear"](), 2)(gaussian(2, 4, 5)), "data"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
