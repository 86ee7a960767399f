"""Learned corrections that vanish with depth: the fixed point stays that of the algorithm, whatever was learned."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from iterations import gaussian, unit_dictionary
from torch import Tensor, nn

from unrolling import Convergent, Equilibrium, Iteration, Status, soft_threshold, solve, testing, unroll
from unrolling.algorithms import ADMM, FISTA, ISTA, LeastSquares, Splitting
from unrolling.core import tree
from unrolling.core.convergent import Corrected
from unrolling.operators import Matrix

M, N = 6, 8
A = unit_dictionary(M, N)
Y = gaussian(4, M, seed=1)


class Learned(nn.Module):
    """W tanh(V [T(s), s]) for one field of width N, of any gain."""

    def __init__(self, gain=1.0, seed=0, dtype=torch.float64):
        super().__init__()
        self.inner = nn.Parameter(gain * gaussian(2 * N, 5, seed=seed, dtype=dtype))
        self.outer = nn.Parameter(gain * gaussian(5, N, seed=seed + 1, dtype=dtype))

    def forward(self, stepped, state, problem):
        return torch.tanh(torch.cat([stepped, state], -1) @ self.inner) @ self.outer


class Each(nn.Module):
    """Weights of its own for every sample, drawn at gains from 1e-3 to 1e3."""

    def __init__(self, count, width, seed=0):
        super().__init__()
        gain = 10 ** torch.linspace(-3, 3, count, dtype=torch.float64).reshape(-1, 1, 1)
        self.register_buffer("inner", gain * gaussian(count, 2 * width, 5, seed=seed))
        self.register_buffer("outer", gain * gaussian(count, 5, width, seed=seed + 1))

    def forward(self, stepped, state, problem):
        hidden = torch.tanh(torch.cat([stepped, state], 1).unsqueeze(1) @ self.inner)
        return (hidden @ self.outer).squeeze(1)


class Ridge(Iteration):
    """Gradient descent on 0.5 |A x - y|^2 + 0.25 |x|^2, a contraction by a norm that is not Euclidean too."""

    def start(self, problem):
        return problem.new_zeros(problem.shape[0], N)

    def forward(self, state, problem):
        return state - 0.2 * ((state @ A.T - problem) @ A + 0.5 * state)

    def objective(self, state, problem):
        return 0.5 * (state @ A.T - problem).square().sum(1) + 0.25 * state.square().sum(1)


def splitting():
    """ADMM, whose map is averaged in z + u alone."""
    return ADMM(LeastSquares(Matrix(A)), [Splitting(Matrix(torch.eye(N, dtype=A.dtype)), soft_threshold, 0.1)])


class AllFields(nn.Module):
    """Moves z and the multipliers by tanh of themselves and of the data, and x by nothing."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=torch.float64))

    def forward(self, stepped, state, problem):
        moved = [torch.tanh(self.gain * z.roll(1, -1) + 1) for z in stepped.z]
        return type(stepped)(None, tuple(moved), tuple(self.gain * z for z in stepped.z))


def limit(iteration, data=Y, tolerance=1e-13):
    return solve(iteration, data, tolerance=tolerance, max_iterations=20_000)


@pytest.mark.parametrize("make", [lambda: ISTA(A, 0.1), Ridge], ids=["averaged", "contraction"])
def test_a_thousand_random_weights_lead_to_the_fixed_point_of_the_parent(make):
    y = Y[:1].expand(1000, M).contiguous()
    wanted = limit(make(), Y[:1]).estimate
    found = limit(Convergent(make(), Each(1000, N), reach=3.0), y)
    assert found.converged.all()
    torch.testing.assert_close(found.estimate, wanted.expand_as(found.estimate), rtol=0, atol=1e-9)
    # They did not go the same way there.
    fifth = unroll(Convergent(make(), Each(1000, N), reach=3.0), 5)(y)
    assert float((fifth - unroll(make(), 5)(Y[:1])).abs().amax(1).median()) > 0.01


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    gain=st.floats(-300, 300),
    reach=st.floats(0, 100),
    decay=st.floats(0.05, 0.95),
    batch=st.integers(1, 4),
)
@pytest.mark.nightly
def test_neither_weights_nor_budget_move_the_limit(seed, gain, reach, decay, batch):
    parent, y = Ridge(), gaussian(batch, M, seed=seed)
    found = limit(Convergent(parent, Learned(gain, seed), reach=reach, decay=decay), y)
    torch.testing.assert_close(found.estimate, limit(parent, y).estimate, rtol=0, atol=1e-8)


@pytest.mark.parametrize("gain", [0.1, 1.0, -50.0])
def test_the_limit_of_admm_stays_though_its_map_is_averaged_in_other_coordinates(gain):
    found = limit(Convergent(splitting(), AllFields(gain), reach=2.0, decay=0.7))
    torch.testing.assert_close(found.estimate, limit(splitting()).estimate, rtol=0, atol=1e-8)


def test_corrections_that_hold_the_state_still_do_not_pass_for_convergence():
    parent = ISTA(A, 0.1)
    found = limit(Convergent(parent, lambda stepped, state, problem: state - stepped, reach=50.0))
    torch.testing.assert_close(found.estimate, limit(parent).estimate, rtol=0, atol=1e-9)
    # For a step as long as the classical one they are free to: the state has not moved at all.
    begun = unroll(Convergent(parent, lambda stepped, state, problem: state - stepped, reach=50.0), 3)(Y)
    assert float(begun.abs().max()) == 0
    rest = solve(Convergent(parent, lambda stepped, state, problem: state - stepped, reach=50.0), Y, max_iterations=3)
    assert (rest.status == Status.LIMIT).all()


def test_all_corrections_together_are_no_longer_than_the_reach():
    parent = ISTA(A, 0.1)
    iteration = Convergent(parent, Learned(1e6), reach=2.0, decay=0.6)
    problem = iteration.prepare(Y)
    first = (parent(parent.start(parent.prepare(Y)), parent.prepare(Y))).norm(dim=1)
    state, total = iteration.start(problem), torch.zeros(len(Y), dtype=torch.float64)
    for number in range(40):
        new = iteration(state, problem)
        added = (new.state - parent(state.state, problem)).norm(dim=1)
        assert (added <= 2 * first * 0.4 * 0.6**number * (1 + 1e-9) + 1e-15).all()
        state, total = new, total + added
    assert (total <= 2 * first).all()
    assert (total > 1.9 * first).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_leave_the_classical_algorithm(value):
    correction = Learned()
    with torch.no_grad():
        correction.outer.fill_(value)
    network = unroll(Convergent(ISTA(A, 0.1), correction), 4, untied=("correction",))
    assert torch.equal(network(Y), unroll(ISTA(A, 0.1), 4)(Y))


class Halved(Iteration):
    """x <- x / 2, whose fixed point is zero."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return state / 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128, torch.float32])
def test_corrections_end_so_that_a_limit_of_zero_is_reached(dtype):
    found = solve(
        Convergent(Halved(), lambda stepped, state, problem: torch.ones_like(state), decay=0.5),
        torch.ones(2, 3, dtype=dtype),
        tolerance=0,
        max_iterations=60,
    )
    assert float(found.estimate.abs().max()) < 10 * torch.finfo(dtype).eps


def test_weights_near_the_end_of_the_range_keep_the_limit():
    correction = Learned()
    with torch.no_grad():
        correction.outer.mul_(1e306)
    found = limit(Convergent(Ridge(), correction))
    torch.testing.assert_close(found.estimate, limit(Ridge()).estimate, rtol=0, atol=1e-9)


def test_one_sample_that_is_not_finite_is_lost_alone():
    y = Y.clone()
    y[1, 0] = torch.nan
    estimate = unroll(Convergent(ISTA(A, 0.1), Learned()), 4)(y)
    assert estimate[1].isnan().any()
    kept = torch.tensor([0, 2, 3])
    torch.testing.assert_close(estimate[kept], unroll(Convergent(ISTA(A, 0.1), Learned()), 4)(Y)[kept])


def test_without_a_correction_it_is_the_parent_to_the_bit():
    zero = Learned()
    nn.init.zeros_(zero.outer)
    for correction in (zero, lambda stepped, state, problem: None):
        network = unroll(Convergent(ISTA(A, 0.1), correction), 6)
        assert torch.equal(network(Y), unroll(ISTA(A, 0.1), 6)(Y))
    learned = unroll(Convergent(ISTA(A, 0.1), zero), 6, untied=("correction",))
    learned(Y).square().sum().backward()  # zero weights must not stop the gradient
    assert all(float(layer.correction.outer.grad.norm()) > 0 for layer in learned.layers)


class HalfPlane(Iteration):
    """The projection onto x_0 >= 1: every point there is fixed."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return torch.cat([state[:, :1].clamp_min(1), state[:, 1:]], 1)


def test_of_several_fixed_points_it_is_one_but_not_always_the_parents():
    y = torch.zeros(3, 2, dtype=torch.float64)
    found = limit(Convergent(HalfPlane(), lambda stepped, state, problem: torch.ones_like(state)), y)
    torch.testing.assert_close(HalfPlane()(found.estimate, y), found.estimate, rtol=0, atol=1e-12)
    assert float((found.estimate - limit(HalfPlane(), y).estimate).abs().max()) > 0.5


class Turn(Iteration):
    """A quarter turn about the origin: it keeps distances, is not averaged, and does not converge itself."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return torch.stack([-state[:, 1], state[:, 0]], 1)


def test_nothing_is_promised_for_maps_that_only_keep_distances():
    y = torch.ones(1, 2, dtype=torch.float64)
    found = solve(Convergent(Turn(), lambda stepped, state, problem: 0.1 * state), y, max_iterations=400)
    assert not found.converged.any()


class Descent(Iteration):
    """Gradient descent on |w - 3|^2 / 2, one state and no batch."""

    batched = False

    def start(self, problem):
        return torch.zeros((), dtype=torch.float64)

    def forward(self, state, problem):
        return state - 0.5 * (state - 3 * problem)


def test_a_state_without_a_batch():
    iteration = Convergent(Descent(), lambda stepped, state, problem: torch.cos(30 * state), reach=4.0)
    found = solve(iteration, torch.ones((), dtype=torch.float64), tolerance=1e-12)
    assert abs(float(found.estimate) - 3) < 1e-9
    assert found.state.step.shape == found.state.reach.shape == ()


class Pair(NamedTuple):
    """A state of two fields and a counter."""

    x: Tensor
    steps: int
    change: Tensor


class Counted(Iteration):
    """Ridge with a counter and its last step beside the unknown."""

    def start(self, problem):
        zero = problem.new_zeros(problem.shape[0], N)
        return Pair(zero, 0, zero)

    def forward(self, state, problem):
        new = Ridge()(state.x, problem)
        return Pair(new, state.steps + 1, new - state.x)


def test_fields_are_corrected_one_by_one():
    for correction in (
        lambda stepped, state, problem: torch.cos(stepped.x),  # of the first field
        lambda stepped, state, problem: Pair(torch.cos(stepped.x), stepped.steps, None),
        lambda stepped, state, problem: Pair(torch.cos(stepped.x), None, torch.sin(stepped.x)),
    ):
        found = limit(Convergent(Counted(), correction))
        torch.testing.assert_close(found.estimate, limit(Ridge()).estimate, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("correction", "kind", "words"),
    [
        (lambda stepped, state, problem: stepped[:, 1:], ValueError, r"the correction has shape \(4, 7\)"),
        (lambda stepped, state, problem: 1.0, TypeError, "the correction is a float; it is a tensor like the state"),
        (lambda stepped, state, problem: (stepped, None), TypeError, "the correction is a tuple"),
    ],
)
def test_corrections_of_another_kind_are_refused(correction, kind, words):
    with pytest.raises(kind, match=words):
        unroll(Convergent(Ridge(), correction), 2)(Y)


def test_corrections_of_other_fields_are_refused():
    with pytest.raises(ValueError, match="the correction has 2 fields, and the state 3"):
        unroll(Convergent(Counted(), lambda stepped, state, problem: (stepped.x, None)), 2)(Y)
    with pytest.raises(ValueError, match=r"the correction's change has shape \(4, 1\)"):
        unroll(Convergent(Counted(), lambda s, state, problem: Pair(s.x, None, s.x[:, :1])), 2)(Y)


@pytest.mark.parametrize("options", [{"reach": -1.0}, {"reach": torch.inf}, {"decay": 1.0}, {"decay": 0.0}])
def test_budgets_that_do_not_add_up_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Convergent(Ridge(), Learned(), **options)


def test_what_is_no_iteration_is_refused():
    with pytest.raises(TypeError, match="iteration"):
        Convergent(3, Learned())


def test_the_gradient_of_the_limit_is_that_of_the_parent():
    own = Equilibrium(Convergent(ISTA(A, 0.1), Learned()), learned="iteration.threshold", tolerance=1e-12)
    parent = Equilibrium(ISTA(A, 0.1), learned="threshold", tolerance=1e-12)
    slopes = []
    for network in (own, parent):
        network(Y).square().sum().backward()
        slopes.append(next(p.grad for p in network.parameters() if p.requires_grad))
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-9)


def test_it_says_what_its_iteration_says():
    iteration = Convergent(FISTA(ISTA(A, 0.1)), lambda stepped, state, problem: None)
    assert iteration.algorithm == "FISTA"
    assert iteration.fixed_point() is iteration.iteration
    assert hasattr(iteration, "objective")
    assert not hasattr(Convergent(Counted(), Learned()), "objective")
    with pytest.raises(TypeError, match="floating-point"):
        solve(iteration, torch.ones(2, M, dtype=torch.int64))
    state = iteration.start(iteration.prepare(Y))
    assert isinstance(state, Corrected)
    assert tree.batch_size(state.reach, "reach") == len(Y)


def test_it_is_an_iteration_like_any_other():
    testing.check_iteration(
        Convergent(ISTA(A, 0.1), Learned(0.5)), Y, depth=3, skip=("compile", "export", "second_derivative")
    )
