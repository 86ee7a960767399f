"""Buffers that forward writes belong to the layer that owns their module; constraints give back what they are given."""

import copy

import pytest
import torch
from iterations import gaussian
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from unrolling import Iteration, Positive, constrain, unroll
from unrolling.training import files

N = 6


class Centred(nn.Module):
    """Takes off a running mean that it keeps itself."""

    written_buffers = ("mean",)

    def __init__(self, assign=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(N))
        self.register_buffer("mean", torch.zeros(N))
        self.assign = assign

    def forward(self, x):
        if self.training:
            mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            if self.assign:
                self.mean = mean
            else:
                self.mean.copy_(mean)
        return self.weight * (x - self.mean)


PRIORS = {
    "batch norm": lambda: nn.Sequential(nn.Linear(N, N), nn.BatchNorm1d(N)),
    "batch norm alone": lambda: nn.BatchNorm1d(N),
    "batch norm without affine": lambda: nn.Sequential(nn.Linear(N, N), nn.BatchNorm1d(N, affine=False)),
    "instance norm with running statistics": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, affine=True, track_running_stats=True), nn.Flatten()
    ),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(N, N))),
    "spectral norm by a hook": lambda: nn.Sequential(spectral_norm(nn.Linear(N, N))),
    "written_buffers": Centred,
    "written_buffers, assigned": lambda: Centred(assign=True),
}


class Denoising(Iteration):
    def __init__(self, prior):
        super().__init__()
        self.prior = prior
        self.step_size = nn.Parameter(torch.tensor(0.5))

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        return state + self.step_size * (problem - state) + 0.1 * self.prior(state + problem)


def trained(iteration, steps=12, **learned):
    """A network after some steps of gradient descent."""
    net = unroll(iteration, 3, **learned)
    for step in range(steps):
        net(gaussian(8, N, seed=step, dtype=torch.float32) + 2).square().mean().backward()
        with torch.no_grad():
            for p in net.parameters():
                if p.grad is not None:
                    p -= 1e-2 * p.grad
                    p.grad = None
    return net.eval()


def statistics(net):
    return [
        {k: v for k, v in layer.state_dict().items() if k.endswith(("_mean", "mean", "_u"))} for layer in net.layers
    ]


@pytest.mark.parametrize("learned", [{"tied": "prior"}, {"untied": "prior"}, {"tied": "step_size", "untied": "prior"}])
@pytest.mark.parametrize("name", PRIORS)
def test_each_layer_has_statistics_of_its_own_and_the_parent_is_untouched(name, learned):
    parent = Denoising(PRIORS[name]())
    before = copy.deepcopy(parent.state_dict())
    net = trained(parent, **learned)
    assert all(torch.equal(value, before[key]) for key, value in parent.state_dict().items())
    first, *others = statistics(net)
    assert first
    for key, value in first.items():
        assert not torch.equal(value, before[key])
        for other in others:
            assert torch.equal(value, other[key]) == ("untied" not in learned)


@pytest.mark.parametrize("learned", [{"tied": "prior"}, {"untied": "prior"}, {"tied": "prior", "untied": "step_size"}])
@pytest.mark.parametrize("name", PRIORS)
def test_statistics_go_along_with_copies_and_weights(name, learned, tmp_path):
    parent, y = Denoising(PRIORS[name]()), gaussian(5, N, seed=99, dtype=torch.float32)
    net = trained(parent, **learned)
    wanted = net(y)
    assert torch.equal(copy.deepcopy(net)(y), wanted)
    loaded = unroll(parent, 3, **learned).eval()
    loaded.load_state_dict(net.state_dict())
    assert torch.equal(loaded(y), wanted)
    files.write(tmp_path / "weights.safetensors", net.learned(), {})
    by_file = unroll(parent, 3, **learned).eval()
    by_file.load_learned(files.read(tmp_path / "weights.safetensors")[0])
    torch.testing.assert_close(by_file(y), wanted, rtol=1e-5, atol=1e-6)
    assert net.learned().keys() == by_file.learned().keys()


def test_a_network_that_was_trained_is_another_one_than_the_others_that_its_parent_makes():
    parent = Denoising(PRIORS["batch norm"]())
    y = gaussian(5, N, dtype=torch.float32)
    fresh = unroll(parent, 3, untied="prior").eval()
    wanted = fresh(y)
    trained(parent, untied="prior")
    assert torch.equal(fresh(y), wanted)
    assert torch.equal(unroll(parent, 3, untied="prior").eval()(y), wanted)


@pytest.mark.parametrize("hook", [spectral_norm, weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_a_parent_that_was_run_can_be_unrolled_and_its_network_copied(hook):
    parent, y = Denoising(hook(nn.Linear(N, N))), gaussian(5, N, dtype=torch.float32)
    parent.eval()
    wanted = parent(torch.zeros_like(y), y)
    net = unroll(parent, 1, untied="prior").eval()
    assert torch.equal(net(y), wanted)
    assert torch.equal(copy.deepcopy(net)(y), wanted)


# Unannounced


class Silent(Centred):
    written_buffers = ()


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("learned", [{"tied": "prior"}, {"untied": "prior"}, {"untied": "step_size"}])
def test_a_buffer_that_forward_writes_unannounced_is_refused_by_name_in_training_alone(learned, assign):
    net = unroll(Denoising(nn.Sequential(Silent(assign))), 3, **learned)
    y = gaussian(5, N, dtype=torch.float32) + 1
    for run in (net, net.run, net.supervised):
        with pytest.raises(RuntimeError, match=r"the buffer prior.0.mean.*`written_buffers = \(\"mean\",\)` in its cl"):
            run(y)
    net.eval()(y)


# Constraints


class Rounded(nn.Module):
    """Without right inverse: what it is given comes back on a grid."""

    def forward(self, w):
        return w + (w.round() - w).detach()

    def right_inverse(self, value):
        return value


class Scaled(nn.Module):
    """Gives back half of what it is given."""

    def forward(self, w):
        return 0.5 * w

    def right_inverse(self, value):
        return value.clone()


class Plain(Iteration):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(gaussian(N, N, dtype=torch.float32))
        self.step_size = nn.Parameter(torch.tensor(0.5))

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        return state + self.step_size * (problem - 0.1 * state @ self.matrix)


@pytest.mark.parametrize("constraint", [Scaled, Rounded])
def test_a_constraint_that_does_not_give_back_a_value_is_refused_and_nothing_changes(constraint):
    parent = Plain()
    parametrize.register_parametrization(parent, "matrix", constraint(), unsafe=True)
    net = unroll(parent, 2, untied=("step_size", "matrix"))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    values = {k: v + 0.3 for k, v in net.learned().items()}
    with pytest.raises(ValueError, match=rf"layers.\d.matrix is constrained by {constraint.__name__}.*state_dict inst"):
        net.load_learned(values)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("learned", [{"tied": "prior"}, {"untied": "prior"}, {"untied": ("prior", "step_size")}])
@pytest.mark.parametrize("name", ["spectral norm", "spectral norm by a hook"])
def test_spectral_norms_are_as_saved_after_loading_into_a_fresh_network(name, learned):
    net = trained(Denoising(PRIORS[name]()), steps=40, **learned)
    torch.manual_seed(7)  # the fresh one starts from other vectors and another weight
    fresh = unroll(Denoising(PRIORS[name]()), 3, **learned)
    fresh.load_learned(net.learned())
    y = gaussian(5, N, seed=5, dtype=torch.float32)
    torch.testing.assert_close(fresh.eval()(y), net(y), rtol=1e-5, atol=1e-6)


def test_statistics_of_untied_layers_are_apart_beside_a_tied_constraint():
    """torch's deepcopy remembers storages, so that the memory of one layer's statistics was that of all."""
    iteration = Denoising(PRIORS["batch norm"]())
    constrain(iteration, "step_size", Positive())
    net = trained(iteration, untied="prior", tied="step_size")
    means = [layer.prior[1].running_mean for layer in net.layers]
    assert len({mean.data_ptr() for mean in means}) == 3
    assert not torch.allclose(means[0], means[1])
