"""Constraints worked out for all layers together: the same values, gradients and refusals as read one by one."""

import copy
import threading

import pytest
import torch
from iterations import gaussian
from torch import nn
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.checkpoint import checkpoint

from unrolling import Backprop, Bounded, Checkpointed, Iteration, Positive, Truncated, UnitNorm, constrain, unroll
from unrolling.algorithms import ISTA
from unrolling.core.constrained_layers import ACTIVE


class Watching(Iteration):
    """x <- gain x + shift with constrained numbers; keeps the values that forward read."""

    def __init__(self, gain=0.7, shift=0.2, constraint=None):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=torch.float64))
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float64))
        constrain(self, "gain", Positive() if constraint is None else constraint)
        constrain(self, "shift", Bounded(-1.0, 1.0))
        self.__dict__["read"] = []

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        gain, shift = self.gain, self.shift
        self.read.append((gain, shift))
        return gain * state + shift


def watching(depth=4, moved=0.3, **options):
    net = unroll(Watching(), depth, untied=("gain", "shift"), **options)
    with torch.no_grad():
        for number, p in enumerate(net.parameters()):
            p.add_(moved * (number + 1) / depth)
    return net


def one_by_one(net):
    return [(layer.gain, layer.shift) for layer in net.layers]


def read_in(net, data=None):
    for layer in net.layers:
        layer.read.clear()
    net(torch.ones(2, 3, dtype=torch.float64) if data is None else data)
    return [layer.read[-1] for layer in net.layers]


def assert_equal(values, others):
    for pair, other in zip(values, others, strict=True):
        for value, known in zip(pair, other, strict=True):
            assert torch.equal(value, known)


@pytest.mark.parametrize("recorded", [False, True])
def test_layers_read_what_they_would_read_alone(recorded):
    net = watching()
    with torch.set_grad_enabled(recorded):
        values = read_in(net)
        assert_equal(values, one_by_one(net))
    assert all(value.requires_grad == recorded for pair in values for value in pair)


@pytest.mark.parametrize("rule", [Backprop(), Checkpointed(2), Checkpointed(1)], ids=repr)
def test_gradients_are_those_of_a_loop_over_the_layers(rule):
    net, data = watching(6, gradient=rule), gaussian(2, 3)
    net(data).square().sum().backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    state = data
    for layer in net.layers:
        state = layer(state, data)
    state.square().sum().backward()
    for ours, p in zip(got, net.parameters(), strict=True):
        torch.testing.assert_close(ours, p.grad, rtol=1e-12, atol=1e-12)


def test_first_and_second_derivatives_agree_with_finite_differences():
    net, data = watching(3), gaussian(2, 3)

    def loss(*_):
        return net(data).square().sum()

    parameters = tuple(net.parameters())
    assert torch.autograd.gradcheck(loss, parameters)
    assert torch.autograd.gradgradcheck(loss, parameters)


def test_a_jacobian_taken_at_once_is_the_one_taken_row_by_row():
    net, data = watching(3), gaussian(1, 3)
    out, parameters = net(data)[0], tuple(net.parameters())
    rows = [torch.autograd.grad(value, parameters, retain_graph=True) for value in out]
    at_once = torch.autograd.grad(out, parameters, torch.eye(3, dtype=out.dtype), is_grads_batched=True)
    for number, whole in enumerate(at_once):
        torch.testing.assert_close(whole, torch.stack([row[number] for row in rows]))


def test_what_a_pass_did_not_use_gets_no_gradient_instead_of_zeros():
    net, data = watching(4), gaussian(2, 3)
    net(data, layers=slice(0, 2)).sum().backward()
    used = [[p.grad is not None for p in layer.parameters()] for layer in net.layers]
    assert used == [[True, True]] * 2 + [[False, False]] * 2
    net = watching(4, gradient=Truncated(1))
    net(data).sum().backward()
    assert [all(p.grad is None for p in layer.parameters()) for layer in net.layers] == [True, True, True, False]


class Doubled(nn.Module):
    def forward(self, value):
        return 2 * value


def bump(net):
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.125)


def through_data(net):
    for p in net.parameters():
        p.data.mul_(1.5)


def restart(net):
    net.layers[1].gain = torch.tensor(0.25, dtype=torch.float64)


def new_start(net):
    net.layers[2].parametrizations.gain[0].initial.data.fill_(0.125)


def optimize(net):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.ones(1, 2, dtype=torch.float64)).sum().backward()
    optimizer.step()


def load(net):
    net.load_state_dict({k: v + 0.0625 for k, v in net.state_dict().items()})


def single(net):
    net.float()


def one_single(net):
    net.layers[1].float()


def replaced(net):
    net.layers[2] = copy.deepcopy(net.layers[0])


def constrained_again(net):
    register_parametrization(net.layers[0], "gain", Doubled())


@pytest.mark.parametrize(
    "change",
    [bump, through_data, restart, new_start, optimize, load, single, one_single, replaced, constrained_again],
    ids=lambda f: f.__name__,
)
def test_values_are_never_those_of_before(change):
    net = watching()
    with torch.no_grad():
        before = read_in(net)
    change(net)
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded):
            values = read_in(net, torch.ones(2, 3, dtype=net.layers[0].gain.dtype))
            assert_equal(values, one_by_one(net))
    assert any(not torch.equal(a, b) for x, y in zip(before, values, strict=True) for a, b in zip(x, y, strict=True))


def test_a_hook_that_moves_a_later_layer_is_seen():
    net = watching()

    @torch.no_grad()
    def hook(*_):
        net.layers[3].parametrizations.gain.original.fill_(1.0)

    net.layers[0].register_forward_hook(hook)
    values = read_in(net)
    assert_equal(values[3:], one_by_one(net)[3:])


def test_an_exception_leaves_nothing_behind():
    net = watching()
    net.layers[2].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_in(net)
    assert ACTIVE.get() is None
    for _ in net.walk(torch.ones(1, 2, dtype=torch.float64), layers=slice(0, 2)):
        assert ACTIVE.get() is None


class Nesting(Watching):
    """A step with a network of its own inside."""

    def __init__(self):
        super().__init__()
        self.inner = unroll(Watching(0.5, 0.1), 2, untied="gain")

    def forward(self, state, problem):
        before = self.gain
        state = super().forward(self.inner(state), problem)
        assert self.gain is before
        return state


def test_networks_inside_networks_and_in_turn_read_their_own():
    net, other = unroll(Nesting(), 3, untied=("gain", "shift", "inner")), watching()
    bump(net)

    def hook(*_):
        other(torch.ones(1, 2, dtype=torch.float64))

    net.layers[1].register_forward_hook(hook)
    for layer in other.layers:
        layer.read.clear()
    assert_equal(read_in(net), one_by_one(net))
    assert_equal([layer.read[-1] for layer in other.layers], one_by_one(other))


def test_threads_read_each_with_its_own_gradient_mode():
    net, wrong = watching(), []

    def work(recorded):
        for _ in range(50):
            with torch.set_grad_enabled(recorded):
                out = net(torch.ones(2, 3, dtype=torch.float64))
            if out.requires_grad != recorded:
                wrong.append(recorded)

    threads = [threading.Thread(target=work, args=(recorded,)) for recorded in (True, False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Checkpointing(Watching):
    """A step that works its second half out again in the backward pass."""

    def forward(self, state, problem):
        return checkpoint(super().forward, state, problem, use_reentrant=False)


class Differentiating(Watching):
    """A step with a derivative by its own parameter inside, recorded or not."""

    def forward(self, state, problem):
        def loss(gain):
            values = {"parametrizations.gain.original": gain}
            return torch.func.functional_call(self.parametrizations.gain, {"original": gain}).square() + 0 * len(values)

        free = self.parametrizations.gain.original
        return super().forward(state, problem) - 0.1 * torch.func.grad(loss)(free)


@pytest.mark.parametrize("make", [Checkpointing, Differentiating])
def test_steps_that_compute_again_or_differentiate_inside(make):
    net, data = unroll(make(), 3, untied=("gain", "shift")), gaussian(2, 3)
    bump(net)
    net(data).sum().backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    state = data
    for layer in net.layers:
        state = layer(state, data)
    state.sum().backward()
    for ours, p in zip(got, net.parameters(), strict=True):
        torch.testing.assert_close(ours, p.grad)
    with torch.no_grad():
        torch.testing.assert_close(net(data), state.detach())


def test_inference_mode_and_what_follows_it():
    net, data = watching(), torch.ones(2, 3, dtype=torch.float64)
    with torch.inference_mode():
        inside = net(data)
    for p in net.parameters():
        p.requires_grad_(False)
    leaf = data.clone().requires_grad_()
    net(leaf).sum().backward()  # the values of before cannot be saved for a backward pass
    assert torch.equal(inside.clone(), net(data))
    assert leaf.grad is not None


class Squared(Positive):
    """Another formula, of which nobody has said that it works on stacks."""

    def forward(self, rho):
        return super().forward(rho).square() / self.initial * (1 + rho.ndim)

    def right_inverse(self, value):
        return super().right_inverse(value)


class Own(nn.Module):
    def forward(self, w):
        return w.abs()

    def right_inverse(self, value):
        return value


def test_constraints_of_ones_own_are_read_as_they_are():
    net = unroll(Watching(constraint=Squared()), 3, untied=("gain", "shift"))
    assert_equal(read_in(net), one_by_one(net))
    parent = Watching()
    parent.other = nn.Parameter(torch.tensor(1.0))
    register_parametrization(parent, "other", Own())
    net = unroll(parent, 3, untied=("gain", "shift", "other"))
    assert_equal(read_in(net), one_by_one(net))


def test_parameters_of_all_layers_are_worked_out_once_and_complex_ones_keep_their_gradients():
    class Kernel(Iteration):
        def __init__(self):
            super().__init__()
            kernel = torch.complex(gaussian(3), gaussian(3, seed=1))
            self.kernel = nn.Parameter(kernel / kernel.norm())
            constrain(self, "kernel", UnitNorm(0))
            self.__dict__["read"] = []

        def start(self, problem):
            return problem

        def forward(self, state, problem):
            self.read.append(self.kernel)
            return state * self.kernel

    net, data = unroll(Kernel(), 3, tied="kernel"), torch.complex(gaussian(2, 3), gaussian(2, 3, seed=1))
    net(data)
    assert len({id(kernel) for kernel in net.layers[0].read}) == 1
    assert torch.autograd.gradcheck(lambda _: net(data), tuple(net.parameters()))


def test_copies_work_out_their_own():
    net = watching()
    net(torch.ones(1, 2, dtype=torch.float64))
    with torch.no_grad():
        net(torch.ones(1, 2, dtype=torch.float64))
    for layer in net.layers:
        layer.read.clear()
    for twin in (copy.deepcopy(net), copy.deepcopy(net.eval())):
        bump(twin)
        with torch.no_grad():
            assert_equal(read_in(twin), one_by_one(twin))
            assert_equal(read_in(net), one_by_one(net))


def test_networks_mapped_over_parameters_and_traced():
    net, data = watching(), gaussian(2, 3)
    stacked = {name: torch.stack([p.detach(), p.detach() + 0.5]) for name, p in net.named_parameters()}
    both = torch.func.vmap(lambda values: torch.func.functional_call(net, values, (data,)))(stacked)
    torch.testing.assert_close(both[0], net(data))
    with torch.no_grad():
        traced = torch.jit.trace(net, data)
        bump(net)
        torch.testing.assert_close(traced(data), net(data))


def test_ista_starts_as_its_parent_to_the_bit_and_its_layers_hooks_are_called():
    dictionary = gaussian(8, 16)
    parent = ISTA(dictionary / dictionary.norm(dim=0), 0.1)
    net, y = unroll(parent, 5, untied=("step_size", "threshold")), gaussian(3, 8)
    state = parent.start(y)
    for _ in range(5):
        state = parent(state, y)
    assert torch.equal(net(y), state)
    with torch.no_grad():
        torch.testing.assert_close(net(y), state, rtol=0, atol=0)
    calls = []
    for layer in net.layers:
        layer.register_forward_hook(lambda *_: calls.append("after"))
        layer.register_forward_pre_hook(lambda *_: calls.append("before"))
        layer.register_full_backward_hook(lambda *_: calls.append("backward"))
    net(y).sum().backward()
    assert calls.count("after") == calls.count("before") == calls.count("backward") == 5
