"""Gradient rules: the same forward result under all of them, and how their gradients are related."""

import re
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import Detection, Lasso, Shrinking, channel_data, gaussian, unit_dictionary
from torch import nn

from unrolling import Backprop, Checkpointed, Implicit, Iteration, Matrix, OneStep, Truncated, anderson, gmres, unroll
from unrolling.algorithms import FISTA, ISTA, CoordinateDescent, GramISTA, SynthesisISTA
from unrolling.core import GradientRule
from unrolling.core.naming import parameter_names

DICTIONARY, Y = unit_dictionary(6, 9), gaussian(5, 6, seed=3)
CASES = {
    "ISTA": (lambda: ISTA(DICTIONARY, 0.1), Y),
    "GramISTA": (lambda: GramISTA(DICTIONARY, 0.1), Y),
    "FISTA": (lambda: FISTA(ISTA(DICTIONARY, 0.1)), Y),
    "CoordinateDescent": (lambda: CoordinateDescent(DICTIONARY, 0.1), Y),
    "Detection": (Detection, channel_data(5)),
}


def gradients(iteration, data, depth, rule, *, tied=True):
    """The output, and the gradients of a fixed linear function of it in each learned parameter."""
    names = parameter_names(iteration)
    net = unroll(iteration, depth, gradient=rule, **{"tied" if tied else "untied": names})
    output = net(data)
    inputs = [p for p in net.parameters() if p.requires_grad]
    return output.detach(), torch.autograd.grad(
        (output * gaussian(*output.shape, seed=9)).sum(), inputs, materialize_grads=True
    )


def assert_equal(left, right):
    assert len(left) == len(right) > 0
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rule", [Checkpointed(), Truncated(2), OneStep(), Implicit(), Implicit(anderson)], ids=repr)
def test_every_rule_has_the_same_forward_result(name, rule):
    make, data = CASES[name]
    iteration = make()
    wanted = unroll(iteration, 7)(data)
    net = unroll(iteration, 7, tied=parameter_names(iteration), gradient=rule)
    assert torch.equal(net(data), wanted)
    with torch.no_grad():
        assert torch.equal(net(data), wanted)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("every", [None, 1, 2, 3, 7, 50])
def test_checkpointed_is_backprop_exactly(name, tied, every):
    make, data = CASES[name]
    for wanted, got in zip(
        *(gradients(make(), data, 7, rule, tied=tied) for rule in (Backprop(), Checkpointed(every))), strict=True
    ):
        assert_equal(wanted, got)


def test_checkpointed_takes_states_that_change_their_shape():
    data = gaussian(3, 20)
    wanted, got = (gradients(Shrinking(), data, 5, rule)[1] for rule in (Backprop(), Checkpointed(2)))
    assert_equal(wanted, got)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("last", [7, 8, 100])
def test_truncated_at_the_depth_or_beyond_is_backprop(name, last):
    make, data = CASES[name]
    assert_equal(gradients(make(), data, 7, Backprop())[1], gradients(make(), data, 7, Truncated(last))[1])


@pytest.mark.parametrize("name", CASES)
def test_one_step_is_truncated_after_one(name):
    make, data = CASES[name]
    assert_equal(gradients(make(), data, 7, OneStep())[1], gradients(make(), data, 7, Truncated(1))[1])


@given(depth=st.integers(1, 6), last=st.integers(1, 8))
def test_truncated_gives_the_last_layers_their_gradient_and_the_others_none(depth, last):
    lasso = Lasso(DICTIONARY, 0.1)
    full, cut = (unroll(lasso, depth, untied="threshold", gradient=rule) for rule in (Backprop(), Truncated(last)))
    for net in (full, cut):
        net(Y).square().sum().backward()
    for number, (a, b) in enumerate(zip(full.layers, cut.layers, strict=True)):
        if number >= depth - last:
            assert torch.equal(a.threshold.grad, b.threshold.grad)
        else:
            assert b.threshold.grad is None


class Shared(Iteration):
    """x <- r x + (1 - r) gain y; the state also holds a level of all samples, a number as a tensor, and a number for
    each sample.
    """

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def start(self, problem):
        return (
            torch.zeros_like(problem),
            problem.new_ones(1, 6),
            problem.new_zeros(()),
            problem.new_ones(problem.shape[0]),
        )

    def forward(self, state, problem):
        x, level, age, factor = state
        return 0.6 * x + 0.4 * self.gain * level * factor.unsqueeze(1) * problem, level, age + 1, 0.5 * factor + 0.5


@pytest.mark.parametrize("rule", [Implicit(gmres, 1e-12), Implicit(anderson, 1e-12)], ids=repr)
def test_implicit_takes_states_with_shared_tensors_and_numbers(rule):
    for got, wanted in zip(
        gradients(Shared(), Y, 100, rule)[1], gradients(Shared(), Y, 100, Backprop())[1], strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


class Pair(NamedTuple):
    x: torch.Tensor  # (batch, n)
    y: torch.Tensor  # (batch, n)


class HeavyPair(NamedTuple):
    velocity: torch.Tensor  # (batch, n)
    x: torch.Tensor  # (batch, n)
    y: torch.Tensor  # (batch, n)


class Coupled(Iteration):
    """x <- 0.4 y + gain b, y <- 0.3 x."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def start(self, problem):
        return Pair(torch.zeros_like(problem), torch.zeros_like(problem))

    def forward(self, state, problem):
        return Pair(0.4 * state.y + self.gain * problem, 0.3 * state.x)


class Heavy(Iteration):
    """The same with momentum in x; its fixed point is that of `Coupled`, whose fields have the same names and other
    places.
    """

    def __init__(self, plain):
        super().__init__()
        self.plain = plain

    def start(self, problem):
        return HeavyPair(torch.zeros_like(problem), *self.plain.start(problem))

    def forward(self, state, problem):
        new = self.plain(Pair(state.x + 0.2 * state.velocity, state.y), problem)
        return HeavyPair(new.x - state.x, new.x, new.y)

    def estimate(self, state, problem):
        return state.x + state.y

    def fixed_point(self):
        return self.plain


@pytest.mark.parametrize(
    "make",
    [
        lambda: Heavy(Coupled()),
        lambda: FISTA(
            SynthesisISTA(
                Matrix(torch.eye(6, dtype=torch.float64)),
                Matrix(torch.linalg.qr(gaussian(9, 6)).Q.T.contiguous()),
                0.2,
                step_size=0.5,
            )
        ),
    ],
    ids=["fields by name", "the first field"],
)
def test_implicit_by_a_fixed_point_whose_state_has_several_fields(make):
    for got, wanted in zip(
        *(gradients(make(), Y, 600, rule)[1] for rule in (Implicit(gmres, 1e-12), Backprop())), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)


def saved_bytes(rule, depth=100, batch=64):
    """Bytes that the backward pass of a network keeps: saved tensors by storage, parameters apart, and what a rule's
    own solver holds.
    """
    net = unroll(Lasso(unit_dictionary(30, 50), 0.1), depth, tied=("encoder", "threshold"), gradient=rule)
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        output = net(gaussian(batch, 30))
    solver = getattr(output.grad_fn, "solve", None)
    for cell in solver.__closure__ if solver else ():
        for tensor in cell.cell_contents if isinstance(cell.cell_contents, list) else ():
            note(tensor)
    for parameter in net.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_memory_of_a_hundred_layers():
    full = saved_bytes(Backprop())
    assert full > 100 * 64 * (30 + 50) * 8  # the state and the residual of each layer
    assert saved_bytes(OneStep()) < 0.03 * full
    assert saved_bytes(Implicit()) < 0.03 * full
    assert saved_bytes(Truncated(10)) < 0.12 * full
    assert saved_bytes(Checkpointed(10)) < 0.15 * full


@pytest.mark.parametrize("name", ["ISTA", "FISTA", "GramISTA", "Detection"])
@pytest.mark.parametrize("rule", [Implicit(gmres, tolerance=1e-12), Implicit(anderson, tolerance=1e-12)], ids=repr)
def test_implicit_in_a_deep_network_is_backprop_through_it(name, rule):
    make, data = CASES[name]
    exact = gradients(make(), data, 1500, Backprop())[1]
    for got, wanted in zip(gradients(make(), data, 1500, rule)[1], exact, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    assert rule.report.converged
    assert rule.report.residual <= 1e-12
    assert rule.report.fixed_point_residual < 1e-10
    assert 0 < rule.report.iterations < 1000


def test_implicit_warns_when_its_solver_did_not_converge_and_says_how_far_it_is():
    rule = Implicit(anderson, tolerance=1e-12, max_iterations=3)
    net = unroll(Lasso(DICTIONARY, 0.05), 500, tied="encoder", gradient=rule)
    with pytest.warns(
        RuntimeWarning,
        match=r"Implicit\(anderson, tolerance=1e-12\) stopped at a relative residual of "
        r".* after 3 products \(asked for 1e-12\)",
    ):
        net(Y).sum().backward()
    assert not rule.report.converged
    assert rule.report.residual > 1e-12
    assert rule.report.iterations == 3


def test_the_report_says_how_far_the_state_was_from_the_fixed_point():
    rule = Implicit(tolerance=1e-3)
    net = unroll(Lasso(DICTIONARY, 0.5), 2, tied="encoder", gradient=rule)
    assert rule.report is None
    net(Y).sum().backward()
    x = net(Y).detach()
    after = net.layers[0](x, Y).detach()
    wanted = float(((after - x).norm(dim=1) / after.norm(dim=1)).max())
    assert rule.report.fixed_point_residual == pytest.approx(wanted, rel=1e-6)
    assert wanted > 1e-3


def test_implicit_refuses_untied_parameters_by_name():
    with pytest.raises(ValueError, match=r"threshold is untied; tie it, or use Backprop\(\) or Checkpointed\(\)"):
        unroll(Lasso(DICTIONARY, 0.1), 3, tied="encoder", untied="threshold", gradient=Implicit())


@pytest.mark.parametrize("rule", [Implicit(), OneStep(), Truncated(2)], ids=repr)
def test_a_fixed_point_of_a_state_that_changes_its_shape_is_refused_by_name(rule):
    layer, data = Shrinking(), gaussian(2, 20)
    wanted = (
        f"{rule!r} differentiates a fixed point, so that a step must keep the state's shape, but state went from "
        "(2, 20) to"
    )
    with pytest.raises(ValueError, match=re.escape(wanted)):
        rule.attach(layer, data, data)


def test_implicit_in_a_network_refuses_a_state_that_changes_its_shape():
    with pytest.raises(
        ValueError,
        match=r"Implicit\(gmres, tolerance=1e-06\) .* state went from \(2, 14\) to \(2, "
        r"12\); use Backprop\(\) or Checkpointed\(\)",
    ):
        unroll(Shrinking(), 3, tied="kernel", gradient=Implicit())(gaussian(2, 20))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Checkpointed(0), "every is 0"),
        (lambda: Truncated(0), "last is 0"),
        (lambda: Truncated(-1), "last is -1"),
    ],
)
def test_numbers_of_layers_below_one_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rule_without_run_is_refused():
    class Nothing(GradientRule):
        def __repr__(self):
            return "Nothing()"

    with pytest.raises(TypeError, match=r"Nothing\(\) is not a gradient rule: it has no `run`"):
        unroll(Lasso(DICTIONARY, 0.1), 3, gradient=Nothing())(Y)
    with pytest.raises(TypeError, match=r"Nothing\(\) needs a finite number of layers"):
        Nothing().attach(Lasso(DICTIONARY, 0.1), Y, Y)


def test_rules_print_as_they_are_written():
    rules = [Backprop(), Checkpointed(), Checkpointed(3), Truncated(4), OneStep(), Implicit(), Implicit(anderson, 1e-3)]
    assert [repr(r) for r in rules] == [
        "Backprop()",
        "Checkpointed()",
        "Checkpointed(3)",
        "Truncated(4)",
        "OneStep()",
        "Implicit(gmres, tolerance=1e-06)",
        "Implicit(anderson, tolerance=0.001)",
    ]


def system(batch, n, seed, radius=0.9):
    """Matrices of norm ``radius`` and right-hand sides, with u -> M u."""
    M = gaussian(batch, n, n, seed=seed)
    M = radius * M / torch.linalg.matrix_norm(M, 2)[:, None, None]
    return M, gaussian(batch, n, seed=seed + 1), lambda u: torch.einsum("bij,bj->bi", M, u)


@given(
    batch=st.integers(1, 5), n=st.integers(1, 12), seed=st.integers(0, 1000), solver=st.sampled_from([gmres, anderson])
)
def test_linear_solvers_solve_every_sample(batch, n, seed, solver):
    M, b, apply = system(batch, n, seed)
    found = solver(apply, b, 1e-10, 1000)
    assert found.converged
    exact = torch.linalg.solve(torch.eye(n, dtype=torch.float64) - M, b)
    torch.testing.assert_close(found.solution, exact, rtol=0, atol=1e-8 * float(exact.abs().max()))
    residual = (b - found.solution + apply(found.solution)).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(found.residual, residual, rtol=1e-3, atol=1e-14)


@pytest.mark.parametrize("solver", [gmres, anderson])
def test_linear_solvers_take_samples_that_are_done_at_once_beside_hard_ones(solver):
    M, b, _ = system(4, 30, seed=3, radius=0.999)
    M[0], b[1], M[2] = 0, 0, 0.5 * torch.eye(30)
    found = solver(lambda u: torch.einsum("bij,bj->bi", M, u), b, 1e-10, 2000)
    assert found.converged
    assert bool(torch.isfinite(found.solution).all())
    torch.testing.assert_close(
        found.solution, torch.linalg.solve(torch.eye(30, dtype=torch.float64) - M, b), rtol=0, atol=1e-6
    )
    assert torch.equal(found.solution[1], torch.zeros(30, dtype=torch.float64))


def test_gmres_needs_no_more_products_than_the_dimension_and_restarts_when_it_must():
    M, b, apply = system(1, 20, seed=5, radius=5.0)  # no contraction: the plain iteration would diverge
    exact = torch.linalg.solve(torch.eye(20, dtype=torch.float64) - M, b)
    found = gmres(apply, b, 1e-12, 100)
    assert found.iterations <= 20 + 2
    torch.testing.assert_close(found.solution, exact, rtol=1e-8, atol=1e-8)
    M, b, apply = system(3, 60, seed=6)
    restarted = gmres(apply, b, 1e-10, 1000, restart=5)
    assert restarted.converged
    torch.testing.assert_close(
        restarted.solution, torch.linalg.solve(torch.eye(60, dtype=torch.float64) - M, b), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("solver", [gmres, anderson])
def test_linear_solvers_that_cannot_finish_say_so(solver):
    _, b, apply = system(2, 30, seed=7, radius=0.99)
    found = solver(apply, b, 1e-12, 5)
    assert not found.converged
    assert found.iterations <= 6
    residual = (b - found.solution + apply(found.solution)).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(found.residual, residual)


def test_gmres_stops_where_it_makes_no_progress():
    # I - M is singular, and b is not in its range.
    found = gmres(lambda u: u * torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 1.0]]), 1e-6, 1000)
    assert not found.converged
    assert found.iterations < 500
    assert float(found.residual) == pytest.approx(0.5**0.5, rel=1e-5)
