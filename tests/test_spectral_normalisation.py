"""Real spectral normalisation: the norm of a layer is that of the convolution on images, whatever their size."""

import copy
import pickle

import pytest
import torch
from torch import nn

from unrolling import unroll
from unrolling.algorithms import LeastSquares, ProximalGradient
from unrolling.networks import (
    DnCNN,
    LipschitzBatchNorm,
    LipschitzDnCNN,
    MaxMin,
    RealSpectralNorm,
    lipschitz_bound,
    normalise_convolutions,
)
from unrolling.operators import Identity, LayerConvolution, convolution_norm
from unrolling.prox import Averaged, DenoiserProx
from unrolling.testing import check_operator

LAYERS = {
    "zeros": {"padding": 1},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflected": {"padding": 2, "padding_mode": "reflect"},
    "repeated, with a stride": {"padding": 1, "padding_mode": "replicate", "stride": 2},
    "same, dilated": {"padding": "same", "dilation": 2},
    "valid, in groups": {"padding": 0, "groups": 2},
}


def layer(name="zeros", inputs=2, outputs=4, taps=3):
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, taps, **LAYERS[name]).double()


def matrix(operator):
    """Column by column."""
    count = torch.Size(operator.input_shape).numel()
    with torch.no_grad():
        images = operator(torch.eye(count, dtype=torch.float64).reshape(count, *operator.input_shape))
    return images.flatten(1).mT


def power_iterations(operator, count=200):
    """An independent estimate of the norm, from another start than the library's."""
    x = torch.randn(1, *operator.input_shape, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    with torch.no_grad():
        for _ in range(count):
            x = operator.adjoint(operator(x))
            x = x / x.norm()
        return float(operator(x).norm())


def noisy(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", LAYERS)
def test_the_operator_of_a_layer_is_the_layer_without_bias_and_its_adjoint_is_exact(name):
    conv = layer(name)
    operator = LayerConvolution(conv, (8, 7))
    x = torch.randn(2, 2, 8, 7, dtype=torch.float64)
    bias = conv.bias.reshape(-1, 1, 1)
    torch.testing.assert_close(operator(x), conv(x) - bias, rtol=1e-12, atol=1e-12)
    dense = matrix(operator)
    y = torch.randn(2, *operator.output_shape, dtype=torch.float64)
    torch.testing.assert_close(operator.adjoint(y).flatten(1), y.flatten(1) @ dense, rtol=1e-12, atol=1e-12)
    check_operator(operator)


@pytest.mark.parametrize("name", LAYERS)
def test_the_norm_at_a_size_is_the_largest_singular_value_and_no_size_exceeds_the_bound_for_all(name):
    conv = layer(name)
    exact = float(torch.linalg.matrix_norm(matrix(LayerConvolution(conv, (8, 8))), 2))
    assert convolution_norm(conv, (8, 8), tolerance=1e-8) == pytest.approx(exact, rel=1e-6)
    if name in ("reflected", "repeated, with a stride"):
        with pytest.raises(ValueError, match=r"depends on the images' size without bound: give shape=\(height, width"):
            convolution_norm(conv)
        return
    bound = convolution_norm(conv)
    sizes = [convolution_norm(conv, size) for size in ((8, 8), (5, 23), (36, 36))]
    assert max(sizes) <= bound
    assert max(sizes) > 0.96 * bound


def test_the_norm_of_one_tap_is_that_of_its_matrix():
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 3, 1).double()
    wanted = float(torch.linalg.matrix_norm(conv.weight[..., 0, 0].detach(), 2))
    assert convolution_norm(conv) == pytest.approx(wanted, rel=1e-12)
    assert convolution_norm(conv, (6, 6), tolerance=1e-9) == pytest.approx(wanted, rel=1e-8)


def test_the_norm_of_the_weight_as_a_matrix_is_too_small():
    """So that a layer which torch's spectral norm divides by it is half as long again."""
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, 3, padding=1)
    as_matrix = float(torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2))
    assert 1.4 < convolution_norm(conv, (16, 16), tolerance=1e-2) / as_matrix < 3
    usual = nn.utils.parametrizations.spectral_norm(copy.deepcopy(conv), n_power_iterations=200).eval()
    assert convolution_norm(usual, (16, 16), tolerance=1e-2) > 1.4


def trained(network, steps=20, size=14):
    """Moved a long way by an optimizer."""
    torch.manual_seed(0)
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        clean = torch.rand(2, size, size).round()
        optimizer.zero_grad()
        (network(clean + 0.3 * torch.randn_like(clean)) - clean).square().mean().backward()
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize(("normalise", "activation"), [(False, "relu"), (True, "relu"), (False, "sort")])
def test_every_layer_of_a_trained_network_keeps_its_norm_at_any_size(normalise, activation):
    options = {"normalise": normalise, "epsilon": 0.5, "activation": activation}
    network = trained(LipschitzDnCNN(4, 8, shape=(14, 14), **options))
    before = LipschitzDnCNN(4, 8, **options)
    assert not torch.allclose(network.residual[2].weight, before.residual[2].weight, atol=1e-2)
    limit = 0.5 ** (1 / 4)
    for conv in (part for part in network.residual if isinstance(part, nn.Conv2d)):
        own = copy.deepcopy(conv).double()
        norms = [power_iterations(LayerConvolution(own, size)) for size in ((14, 14), (19, 8))]
        assert max(norms) <= 1.02 * limit
        assert norms[0] > 0.9 * limit
    assert network.residual_bound() <= 0.5 * 1.02**4
    x = noisy(1000, 12, 12)
    y = x + 10 ** (-3 * torch.rand(1000, 1, 1)) * torch.randn_like(x)
    with torch.no_grad():
        moved = (network(x) - x - network(y) + y).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert float(moved.max()) <= network.residual_bound() * (1 + 1e-5)


def test_sorted_pairs_lengthen_no_difference_and_shorten_no_gradient():
    x, y = torch.randn(2, 3, 8, 5, 4, dtype=torch.float64, requires_grad=True)
    sort = MaxMin()
    out = sort(x)
    assert torch.equal(out.sort(dim=1).values, x.sort(dim=1).values)
    assert bool((out[:, :4] >= out[:, 4:]).all())
    assert bool((out - sort(y)).norm() <= (x - y).norm())
    given = torch.randn_like(out)
    (slope,) = torch.autograd.grad(out, x, given)
    assert float(slope.norm()) == pytest.approx(float(given.norm()), rel=1e-12)
    assert lipschitz_bound(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), sort)) > 0
    with pytest.raises(ValueError, match=r"x has shape \(2, 3, 4, 4\); channels in pairs are wanted"):
        sort(torch.zeros(2, 3, 4, 4))


def test_a_network_that_sorts_is_steeper_than_one_of_rectifiers_and_within_its_bound():
    torch.manual_seed(0)
    slopes = []
    for activation in ("sort", "relu"):
        network = LipschitzDnCNN(5, 8, epsilon=0.5, shape=(16, 16), activation=activation).eval()
        assert network.residual_bound() <= 0.5 * (1 + 1e-2) ** 5
        x = noisy(200, 16, 16)
        y = x + 1e-2 * torch.randn_like(x)
        with torch.no_grad():
            moved = (network(x) - x - network(y) + y).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
        assert float(moved.max()) <= network.residual_bound() * (1 + 1e-5)
        slopes.append(float(moved.max()))
    assert slopes[0] > 2 * slopes[1]
    with pytest.raises(ValueError, match=r"channels is 5; to be sorted in pairs, their number has to be even"):
        LipschitzDnCNN(3, 5, activation="sort")
    with pytest.raises(ValueError, match=r"activation is 'tanh'; there are 'relu' and 'sort'"):
        LipschitzDnCNN(3, 4, activation="tanh")


def test_training_divides_by_a_norm_that_its_power_iterations_come_to():
    conv = layer().float()
    normalise_convolutions(nn.Sequential(conv), shape=(20, 20))
    with torch.no_grad():
        conv.parametrizations.weight.original.copy_(3 * torch.randn(4, 2, 3, 3))
    conv.train()
    for _ in range(100):
        weight = conv.weight
    plain = nn.Conv2d(2, 4, 3, padding=1)
    plain.weight = nn.Parameter(weight.detach())
    assert convolution_norm(plain, (20, 20)) == pytest.approx(1, abs=1e-3)
    # gradients of what was divided: the norm does not change with the weight's length
    (slope,) = torch.autograd.grad(weight.sum(), conv.parametrizations.weight.original)
    assert abs(float((slope * conv.parametrizations.weight.original.detach()).sum())) < 1e-4


def test_a_weight_that_changes_outside_of_training_is_kept_within_its_limit_too():
    network = LipschitzDnCNN(3, 4).eval()
    with torch.no_grad():
        for part in network.residual:
            if isinstance(part, nn.Conv2d):
                part.parametrizations.weight.original.mul_(7)
    assert network.residual_bound() <= 1.02**3


def test_a_gain_of_batch_normalisation_lengthens_nothing():
    part = LipschitzBatchNorm(3).eval()
    with torch.no_grad():
        part.weight.copy_(torch.tensor([3.0, -5.0, 0.1]))
        part.running_var.copy_(torch.tensor([4.0, 1.0, 1.0]))
    x, y = torch.randn(2, 4, 3, 5, 5)
    assert float((part(x) - part(y)).norm(dim=1).max()) <= float((x - y).norm(dim=1).max())
    assert lipschitz_bound(part) == 1.0
    one = torch.zeros(1, 3, 1, 1)
    moved = part(one + torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)) - part(one)
    assert float(moved.norm()) == pytest.approx(1, abs=1e-4)  # the steepest one
    usual = nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(LipschitzBatchNorm(3).train()(x), usual.train()(x))  # gains below one


def test_the_bound_of_a_chain_with_something_unknown_is_refused_by_name():
    with pytest.raises(TypeError, match="Dropout has no Lipschitz constant that is known here"):
        lipschitz_bound(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Dropout()))
    with pytest.raises(ValueError, match=r"ReLU has no nn\.Conv2d that could be normalised"):
        normalise_convolutions(nn.ReLU())
    assert lipschitz_bound(nn.LeakyReLU(3.0)) == 3.0


def test_a_weight_beyond_its_limit_is_refused_with_its_norm():
    conv = layer().float()
    normalise_convolutions(nn.Sequential(conv), shape=(8, 8)).eval()
    with pytest.raises(ValueError, match=r"has the norm 3 on images, more than its limit 1: divide its weight"):
        conv.weight = 3 * conv.weight.detach()
    with pytest.raises(ValueError, match=r"limit is 0"):
        RealSpectralNorm(layer(), 0.0)


def test_weights_of_a_network_hold_what_was_learned_and_come_back_to_the_bit():
    """The vectors of the power iteration are as large as images, and are left to checkpoints."""
    torch.manual_seed(0)
    prox = DenoiserProx(LipschitzDnCNN(3, 4, shape=(12, 12)), sigma=0.1)
    step = ProximalGradient(LeastSquares(Identity()), prox, 0.01).eval()
    network, y = unroll(step, 1, tied="prox"), noisy(2, 12, 12)
    trained(network, 5, 12)
    held = network.learned()
    assert not [name for name in held if "vector" in name or "norm" in name]
    assert any("vector" in name for name in network.state_dict())
    other = unroll(step, 1, tied="prox").eval()
    other.load_learned(held)
    assert torch.equal(other(y), network(y))
    assert all(torch.equal(value, held[name]) for name, value in other.learned().items())
    half = {name: value.half().float() for name, value in held.items()}
    other.load_learned(half)
    torch.testing.assert_close(other(y), network(y), rtol=0, atol=1e-2)
    for made in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(made(y), network(y))


def test_the_same_layers_without_the_norm_are_a_dncnn():
    plain, real = DnCNN(3, 4, normalise=False), LipschitzDnCNN(3, 4).eval()
    with torch.no_grad():
        for one, other in zip(plain.residual, real.residual, strict=True):
            if isinstance(one, nn.Conv2d):
                one.weight.copy_(other.weight)
                one.bias.copy_(other.bias)
    x = noisy(2, 9, 8)
    assert torch.equal(plain(x), real(x))


def test_the_average_of_a_non_expansive_chain_is_firmly_non_expansive():
    torch.manual_seed(0)
    chain = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)))
    normalise_convolutions(chain, shape=(9, 9)).eval()
    assert lipschitz_bound(chain) <= 1 + 1e-5
    x, y = torch.randn(2, 500, 2, 9, 9)
    y[:250] = x[:250] + 0.01 * y[:250]
    with torch.no_grad():
        for weight, firm in ((0.5, True), (1.0, False)):
            prox = DenoiserProx(Averaged(chain, weight), sigma=1.0)
            moved = (prox(x) - prox(y)).flatten(1)
            excess = moved.square().sum(1) - (moved * (x - y).flatten(1)).sum(1)
            assert (float(excess.max()) <= 1e-5) is firm
            assert bool((moved.norm(dim=1) <= (x - y).flatten(1).norm(dim=1) * (1 + 1e-5)).all())
