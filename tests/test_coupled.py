"""LISTA-CP's family: equality with ISTA, support selection, analytic weights and coherence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian, unit_dictionary

from unrolling import hard_threshold, nonnegative, soft_threshold, solve, testing, unroll
from unrolling.algorithms import ISTA, CoupledISTA, GramISTA, Selection, SelectiveGramISTA, ThinISTA
from unrolling.algorithms.sparse.analytic import (
    analytic_weights,
    minimal_coherence_weights,
    mutual_coherence,
    projected_gradient_weights,
)

A = unit_dictionary(12, 30)
Y = gaussian(7, 12, seed=3)


def steps(iteration, y, count):
    state = iteration.start(iteration.prepare(y))
    states = []
    for _ in range(count):
        state = iteration(state, iteration.prepare(y))
        states.append(state)
    return states


# The iterations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_selection_it_is_ista_to_the_bit(dtype):
    a, y = A.to(dtype), Y.to(dtype)
    coupled, thin = CoupledISTA(a, 0.1), ThinISTA(a, 0.1)
    for one, other in zip(steps(coupled, y, 9), steps(thin, y, 9), strict=True):
        assert torch.equal(one.x, other)
    for one, other in zip(
        steps(SelectiveGramISTA(a, 0.1, selection=(0.0, 13.0)), y, 9), steps(GramISTA(a, 0.1), y, 9), strict=True
    ):
        assert torch.equal(one.x, other)


def test_a_hand_written_loop_with_selection_gives_the_same():
    selection = Selection(9.0, 25.0)
    weights = analytic_weights(A)
    coupled = CoupledISTA(A, 0.8, encoder=weights, selection=selection)
    theta = float(coupled.threshold)
    x = torch.zeros(7, 30, dtype=torch.float64)
    for step, state in enumerate(steps(coupled, Y, 6)):
        z = x + (Y - x @ A.T) @ weights.T
        count = int(30 * min(9.0 * (step + 1), 25.0) / 100)
        largest = torch.zeros_like(z, dtype=torch.bool).scatter(1, z.abs().topk(count).indices, True)
        x = torch.where(largest & (z.abs() > theta), z, soft_threshold(z, theta))
        torch.testing.assert_close(state.x, x, rtol=1e-12, atol=1e-13)
    assert state.steps == 6


def test_selection_grows_to_its_limit_and_full_selection_is_hard_thresholding():
    selection = Selection(1.2, 13.0)
    assert [selection.count(step, 500) for step in (0, 1, 9, 10, 11, 50)] == [6, 12, 60, 65, 65, 65]
    coupled = CoupledISTA(A, 0.8, selection=(100.0, 100.0))
    z = Y @ coupled.encoder.matrix.T
    assert torch.equal(coupled(coupled.start(Y), Y).x, hard_threshold(z, float(coupled.threshold)))


@pytest.mark.nightly
def test_the_objective_is_the_lassos_and_its_minimum_a_fixed_point():
    coupled = CoupledISTA(A, 0.1)
    solution = solve(coupled, Y, tolerance=1e-13, max_iterations=100_000)
    assert bool(solution.converged.all())
    classical = solve(ISTA(A, 0.1), Y, tolerance=1e-13, max_iterations=100_000).estimate
    torch.testing.assert_close(solution.estimate, classical, rtol=1e-7, atol=1e-9)
    expected = 0.5 * (Y - classical @ A.T).square().sum(1) + 0.1 * classical.abs().sum(1)
    torch.testing.assert_close(coupled.objective(solution.state, Y), expected)


def settled(iteration, state):
    return bool(torch.isfinite(iteration.residual(state, state, Y)).all())


def test_solve_does_not_take_a_pause_of_the_selection_for_convergence():
    coupled = CoupledISTA(A, 0.8, selection=(2.0, 13.0))
    assert [settled(coupled, s) for s in steps(coupled, Y, 8)] == [False] * 6 + [True] * 2
    plain = CoupledISTA(A, 0.8)
    assert all(settled(plain, s) for s in steps(plain, Y, 2))


ITERATIONS = {
    "selective": lambda: CoupledISTA(A, 0.5, selection=(5.0, 20.0)),
    "non-negative": lambda: CoupledISTA(A, 0.1, encoder=analytic_weights(A), prox=nonnegative),
    "gram": lambda: SelectiveGramISTA(A, 0.5, selection=(5.0, 20.0)),
}


@pytest.mark.parametrize("name", ITERATIONS)
def test_it_conforms(name):
    skip = ("compile", "export") if name == "non-negative" else "compile"
    testing.check_iteration(ITERATIONS[name](), Y, skip=skip)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", ["selective", "gram"])
def test_it_compiles(name, backend):
    testing.check_compile(ITERATIONS[name](), Y, backend=backend)


def test_coupled_weights_are_lista_with_w_t_equal_to_identity_less_w_e_a():
    coupled = CoupledISTA(A, 0.4, encoder=analytic_weights(A), selection=(5.0, 20.0))
    gram = SelectiveGramISTA(A, 0.4, selection=(5.0, 20.0))
    with torch.no_grad():
        gram.encoder.matrix.copy_(coupled.encoder.matrix)
        gram.inhibition.copy_(torch.eye(30) - coupled.encoder.matrix @ A)
    gram.threshold = coupled.threshold.detach().expand(30)
    for one, other in zip(steps(coupled, Y, 8), steps(gram, Y, 8), strict=True):
        torch.testing.assert_close(one.x, other.x, rtol=1e-10, atol=1e-11)


def test_the_published_parameter_counts():
    """Sixteen layers, m = 250, n = 500: LISTA-CP untied 2,000,016, tied 125,016, TiLISTA 125,032, ALISTA 32."""
    parent = CoupledISTA(unit_dictionary(250, 500, dtype=torch.float32), 0.4)

    def count(tied=(), untied=()):
        return sum(p.numel() for p in unroll(parent, 16, tied=tied, untied=untied).parameters() if p.requires_grad)

    assert count(untied=("encoder", "threshold")) == 2_000_016
    assert count(tied=("encoder",), untied=("threshold",)) == 125_016
    assert count(tied=("encoder",), untied=("step_size", "threshold")) == 125_032
    assert count(untied=("step_size", "threshold")) == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": (-1.0, 13.0)}, "selection is"),
        ({"selection": (1.0, 130.0)}, "selection is"),
        (
            {"encoder": torch.ones(12, 30)},
            r"encoder has shape \(12, 30\); for a dictionary \(12, 30\) it is \(30, 12\)",
        ),
        ({"selection": (1.0, 13.0), "prox": nonnegative}, "support selection goes with soft-thresholding"),
        ({"weight": -1.0}, "weight must be finite and at least 0"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CoupledISTA(A, **{"weight": 0.1, **options})


# Analytic weights


@given(st.integers(3, 12), st.integers(0, 20), st.integers(0, 50))
def test_analytic_weights_satisfy_their_optimality_conditions(m, more, seed):
    a = unit_dictionary(m, m + more, seed=seed)
    w = analytic_weights(a)
    torch.testing.assert_close((w @ a).diagonal(), torch.ones(m + more, dtype=torch.float64), rtol=1e-6, atol=1e-8)
    gram = a @ a.T
    for row, column in zip(w @ gram, a.T, strict=True):  # the gradient is parallel to the constraint's
        scale = (row @ column) / (column @ column)
        torch.testing.assert_close(row, scale * column, rtol=1e-5, atol=1e-6 * float(row.norm()))


def test_they_are_at_least_as_good_as_projected_gradient_descent_and_agree_with_it_in_the_end():
    closed, few, many = (
        analytic_weights(A),
        projected_gradient_weights(A, iterations=30),
        projected_gradient_weights(A, step_size=1.0, iterations=20_000),
    )

    def value(w):
        return float((w @ A).square().sum())

    torch.testing.assert_close((few @ A).diagonal(), torch.ones(30, dtype=torch.float64))
    assert value(closed) < value(few)
    torch.testing.assert_close(closed, many, rtol=1e-5, atol=1e-6)


def test_they_follow_a_rotation_of_the_measurements():
    q = torch.linalg.qr(gaussian(12, 12, seed=5))[0]
    torch.testing.assert_close(analytic_weights(q @ A), analytic_weights(A) @ q.T, rtol=1e-9, atol=1e-10)


def test_a_dictionary_of_low_rank_has_weights_too():
    a = gaussian(12, 4, seed=1) @ gaussian(4, 9, seed=2)
    torch.testing.assert_close((analytic_weights(a) @ a).diagonal(), torch.ones(9, dtype=torch.float64))


def test_coherence_by_linear_programs_is_the_smallest():
    a = unit_dictionary(8, 14)
    least = minimal_coherence_weights(a)
    torch.testing.assert_close((least @ a).diagonal(), torch.ones(14, dtype=torch.float64))
    assert mutual_coherence(a, least) <= mutual_coherence(a, analytic_weights(a)) <= mutual_coherence(a) + 1e-12
    some = minimal_coherence_weights(a, [3, 5])
    worst = (some @ a).abs()
    for row, i in zip(worst, (3, 5), strict=True):
        others = torch.cat([row[:i], row[i + 1 :]]).max()
        for other in (a.T[i], analytic_weights(a)[i]):
            assert others <= (other @ torch.cat([a[:, :i], a[:, i + 1 :]], 1)).abs().max() + 1e-9


def test_coherence_of_a_known_dictionary():
    a = torch.tensor([[1.0, 0.6, 0.0], [0.0, 0.8, 2.0]])
    assert mutual_coherence(a) == pytest.approx(0.8)
    assert mutual_coherence(a, torch.tensor([[2.0, 0.0], [0.6, 0.8], [0.0, 0.5]])) == pytest.approx(1.6)
