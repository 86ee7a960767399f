"""Constraints: the initial value to the bit, always inside the set, assignment starts again."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from iterations import gaussian
from torch import nn

from unrolling import Bounded, Iteration, Positive, Simplex, UnitNorm, ZeroMean, constrain, unroll
from unrolling.algorithms import ISTA

SHAPE = (4, 3)


def positive(seed):
    return gaussian(*SHAPE, seed=seed).exp()


def unit(seed):
    value = gaussian(*SHAPE, seed=seed)
    return value / value.norm(dim=0)


def centred(seed):
    value = gaussian(*SHAPE, seed=seed)
    return value - value.mean(0)


def distribution(seed):
    return gaussian(*SHAPE, seed=seed).softmax(-1)


def inside(seed):
    return 3 * torch.rand(*SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


# name: the constraint, values that lie in its set, what says by how much a value lies outside
CASES = {
    "Positive": (Positive, positive, lambda v: (-v).clamp_min(0)),
    "UnitNorm": (lambda: UnitNorm(0), unit, lambda v: (v.norm(dim=0) - 1).abs()),
    "ZeroMean": (lambda: ZeroMean(0), centred, lambda v: v.mean(0).abs() / v.abs().max().clamp_min(1)),
    "Simplex": (Simplex, distribution, lambda v: torch.cat([(-v).clamp_min(0).flatten(), (v.sum(-1) - 1).abs()])),
    "Bounded": (lambda: Bounded(-1.0, 2.0), inside, lambda v: torch.maximum(v - 2, -1 - v).clamp_min(0)),
}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Holder(Iteration):
    """x <- x + weight, its parameter constrained."""

    def __init__(self, value, constraint):
        super().__init__()
        self.weight = nn.Parameter(value.clone())
        constrain(self, "weight", constraint)

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return state + self.weight


def raw(module):
    return module.parametrizations.weight.original


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=st.integers(0, 10_000))
def test_the_initial_value_is_exact_to_the_bit(name, dtype, seed):
    constraint, make, _ = CASES[name]
    value = make(seed).to(DTYPES[dtype])
    assert torch.equal(Holder(value, constraint()).weight, value)


@pytest.mark.parametrize("name", CASES)
@given(seed=st.integers(0, 100), free=hnp.arrays("float64", SHAPE, elements=st.floats(-300, 300)))
def test_every_raw_value_gives_one_inside_the_set(name, seed, free):
    constraint, make, outside = CASES[name]
    holder = Holder(make(seed), constraint())
    free = torch.from_numpy(free.copy())
    if name == "UnitNorm":  # zero has no direction
        free = torch.where(free.abs() < 1e-3, 1.0, free)
    with torch.no_grad():
        raw(holder).copy_(free)
    assert bool(torch.isfinite(holder.weight).all())
    assert float(outside(holder.weight.detach()).max()) <= 1e-12


@pytest.mark.parametrize("name", CASES)
def test_training_moves_the_value_and_keeps_it_inside_the_set(name):
    constraint, make, outside = CASES[name]
    holder = Holder(make(0), constraint())
    target = make(1)
    optimizer = torch.optim.SGD([raw(holder)], lr=0.02)
    first = float((holder.weight - target).detach().square().sum())
    for _ in range(200):
        optimizer.zero_grad()
        loss = (holder.weight - target).square().sum()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.7 * first
    assert float(outside(holder.weight.detach()).max()) <= 1e-12


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_finite_differences(name):
    constraint, make, _ = CASES[name]
    holder = Holder(make(2), constraint())
    with torch.no_grad():
        raw(holder).add_(0.3 * gaussian(*SHAPE, seed=3))
    assert torch.autograd.gradcheck(lambda _: holder.weight, (raw(holder),))


@pytest.mark.parametrize("name", CASES)
def test_assignment_starts_again_at_exactly_the_value(name):
    constraint, make, _ = CASES[name]
    holder = Holder(make(0), constraint())
    with torch.no_grad():
        raw(holder).add_(0.5 * gaussian(*SHAPE, seed=4))
    assert not torch.equal(holder.weight, make(0))
    twin = copy.deepcopy(holder)
    assert torch.equal(twin.weight, holder.weight)
    twin.weight = make(7)
    assert torch.equal(twin.weight, make(7))
    assert not torch.equal(holder.weight, make(7))
    with torch.no_grad():
        raw(twin).add_(0.5 * gaussian(*SHAPE, seed=5))
    assert not torch.equal(twin.weight, make(7))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("copied", [False, True])
def test_untied_layers_are_assigned_one_by_one(name, copied):
    constraint, make, _ = CASES[name]
    parent = Holder(make(0), constraint())
    net = unroll(parent, 3, untied="weight")
    if copied:
        net = copy.deepcopy(net)
    for number, layer in enumerate(net.layers):
        layer.weight = make(10 + number)
    for number, layer in enumerate(net.layers):
        assert torch.equal(layer.weight, make(10 + number))
    assert torch.equal(parent.weight, make(0))


@pytest.mark.parametrize("name", CASES)
def test_what_training_reached_is_saved_and_loaded_exactly(name):
    constraint, make, _ = CASES[name]
    parent = Holder(make(0), constraint())
    net, other = (unroll(parent, 2, untied="weight") for _ in range(2))
    with torch.no_grad():
        raw(net.layers[0]).add_(0.5 * gaussian(*SHAPE, seed=4))
        raw(net.layers[1]).add_(50 * gaussian(*SHAPE, seed=4))  # Bounded and Simplex reach their borders there
    other.load_learned(net.learned())
    for key, value in net.learned().items():
        assert torch.equal(other.learned()[key], value)
    third = unroll(parent, 2, untied="weight")
    third.load_state_dict(net.state_dict())
    for key, value in net.learned().items():
        assert torch.equal(third.learned()[key], value)


def test_zero_stays_zero():
    value = torch.tensor([0.0, 0.25, 0.75])
    for constraint in (Positive(), Simplex()):
        holder = Holder(value, constraint)
        assert torch.equal(holder.weight, value)
        with torch.no_grad():
            raw(holder).copy_(torch.tensor([80.0, -80.0, -80.0]))
        assert holder.weight[0].item() == 0
        assert bool(torch.isfinite(holder.weight).all())
    assert holder.weight.sum().item() == pytest.approx(1)


def test_a_bounded_value_has_slope_one_at_the_start_on_both_sides():
    holder = Holder(torch.tensor([1.9, -0.99], dtype=torch.float64), Bounded(-1.0, 2.0))
    for sign in (1, -1):
        with torch.no_grad():
            raw(holder).fill_(sign * 1e-6)
        moved = holder.weight - torch.tensor([1.9, -0.99], dtype=torch.float64)
        torch.testing.assert_close(moved, torch.full((2,), sign * 1e-6, dtype=torch.float64), rtol=1e-3, atol=0)


def test_a_unit_norm_may_span_several_dimensions_and_be_complex():
    kernels = torch.complex(gaussian(2, 3, 3), gaussian(2, 3, 3, seed=1))
    kernels = kernels / torch.linalg.vector_norm(kernels, dim=(1, 2), keepdim=True)
    holder = Holder(kernels, UnitNorm((1, 2)))
    assert torch.equal(holder.weight, kernels)
    with torch.no_grad():
        raw(holder).add_(1.0)
    torch.testing.assert_close(torch.linalg.vector_norm(holder.weight, dim=(1, 2)), torch.ones(2, dtype=torch.float64))


NAN = float("nan")


@pytest.mark.parametrize(
    ("constraint", "value", "message"),
    [
        (Positive(), [0.5, -0.25], "Positive needs values that are at least 0; the smallest is -0.25"),
        (Positive(), [0.5, NAN], "Positive needs values that are at least 0; the smallest is nan"),
        (UnitNorm(0), [3.0, 4.0], "UnitNorm needs unit norms along dim 0; they go from 5 to 5: normalise first"),
        (UnitNorm(0), [0.0, 0.0], "UnitNorm needs unit norms"),
        (ZeroMean(0), [1.0, 2.0], r"ZeroMean needs means of zero along dim 0; the largest is 1.5: subtract it first"),
        (
            Simplex(),
            [0.5, 0.75],
            r"Simplex needs non-negative values that sum to one along dim -1; .* the sums go "
            r"from 1.25 to 1.25",
        ),
        (
            Simplex(),
            [1.5, -0.5],
            "Simplex needs non-negative values that sum to one along dim -1; the smallest is -0.5",
        ),
        (Bounded(0.0, 1.0), [0.5, 1.5], r"Bounded needs values .*between 0.0 and 1.0; they go from 0.5 to 1.5"),
        (Bounded(0.0, 1.0), [0.5, NAN], r"Bounded needs values"),
    ],
)
def test_values_outside_the_set_are_refused(constraint, value, message):
    with pytest.raises(ValueError, match=message):
        Holder(torch.tensor(value), constraint)


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"low < high; got low 2.0, high 1.0"):
        Bounded(2.0, 1.0)


def test_what_is_fixed_takes_no_gradient_beside_what_is_learned_and_keeps_no_memory():
    parent, kept, found = ISTA(gaussian(6, 9), 0.1), [], []
    for untied in ("threshold", ("step_size", "threshold")):  # two numbers of one kind, the first fixed or not
        net = unroll(parent, 3, untied=untied)
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(1) or t, lambda t: t):
            net(gaussian(4, 6)).square().sum().backward()
        kept.append(len(saved))
        found.append([layer.parametrizations.threshold.original.grad for layer in net.layers])
    assert kept[0] < kept[1]
    torch.testing.assert_close(*found)
