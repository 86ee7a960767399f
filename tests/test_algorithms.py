"""The classical algorithms against loops written by hand, scikit-learn, and what is proved of them."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from families import by_day
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian, unit_dictionary
from sklearn.linear_model import Lasso as SklearnLasso
from torch import nn

from unrolling import LinearOperator, Matrix, hard_threshold, nonnegative, solve, unroll
from unrolling.algorithms import FISTA, IHT, ISTA, CoordinateDescent, GramISTA, ThinISTA

M, N, WEIGHT = 8, 12, 0.1
DICTIONARY, Y = unit_dictionary(M, N), gaussian(6, M, seed=3)
BOUND = float(torch.linalg.matrix_norm(DICTIONARY, 2)) ** 2
COMPLEX = torch.complex(gaussian(M, N, seed=1), gaussian(M, N, seed=2))
COMPLEX_Y = torch.complex(Y, gaussian(6, M, seed=4))


def sklearn_lasso(dictionary, y, weight, *, positive=False):
    """argmin 0.5 |y - D x|^2 + weight |x|_1, by scikit-learn, whose data term is divided by m."""
    model = SklearnLasso(
        alpha=weight / dictionary.shape[0], fit_intercept=False, tol=1e-14, max_iter=1_000_000, positive=positive
    )
    return torch.from_numpy(np.stack([model.fit(dictionary.numpy(), sample.numpy()).coef_ for sample in y]))


def converge(iteration, y=Y, tolerance=1e-10):
    solution = solve(iteration, y, tolerance=tolerance, max_iterations=300_000)
    assert bool(solution.converged.all())
    return solution.estimate


def shrink(z, t):
    return torch.sgn(z) * (z.abs() - t).clamp_min(0)


def lasso_objective(x, y=Y, dictionary=DICTIONARY, weight=WEIGHT):
    return 0.5 * (y - x @ dictionary.T).abs().square().sum(1) + weight * x.abs().sum(1)


ALGORITHMS = {
    "ISTA": lambda: ISTA(DICTIONARY, WEIGHT),
    "GramISTA": lambda: GramISTA(DICTIONARY, WEIGHT),
    "ThinISTA": lambda: ThinISTA(DICTIONARY, WEIGHT),
    "FISTA": lambda: FISTA(ISTA(DICTIONARY, WEIGHT)),
    "FISTA, Gram": lambda: FISTA(GramISTA(DICTIONARY, WEIGHT)),
    "FISTA, continuation": lambda: FISTA(ISTA(DICTIONARY, WEIGHT), continuation=(10.0, 0.8)),
    "CoordinateDescent": lambda: CoordinateDescent(DICTIONARY, WEIGHT),
}


@cache
def limit(name):
    """Of thousands of iterations, which several tests look at."""
    return converge(ALGORITHMS[name]())


@pytest.mark.parametrize("name", by_day(*ALGORITHMS, count=3))
def test_the_limit_is_the_lasso_of_scikit_learn(name):
    exact = sklearn_lasso(DICTIONARY, Y, WEIGHT)
    assert bool(((exact != 0).sum(1) >= 2).all())
    torch.testing.assert_close(limit(name), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_limit_satisfies_the_optimality_conditions(name):
    x = limit(name)
    correlation = (Y - x @ DICTIONARY.T) @ DICTIONARY
    assert float(correlation.abs().max()) <= WEIGHT * (1 + 1e-6)
    active = x.abs() > 1e-6
    torch.testing.assert_close(correlation[active], WEIGHT * x[active].sign(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("make", [ISTA, GramISTA, lambda d, w: FISTA(ISTA(d, w))])
def test_the_limit_of_a_complex_lasso_satisfies_its_optimality_conditions(make):
    x = converge(make(COMPLEX, 2.0), COMPLEX_Y)
    correlation = (COMPLEX_Y - x @ COMPLEX.T) @ COMPLEX.conj()
    active = x.abs() > 1e-6
    assert 0 < int(active.sum()) < active.numel()
    assert float(correlation.abs().max()) <= 2.0 * (1 + 1e-6)
    torch.testing.assert_close(correlation[active], 2.0 * torch.sgn(x[active]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [ISTA, GramISTA])
def test_with_another_prox_the_limit_is_the_nonnegative_lasso(make):
    exact = sklearn_lasso(DICTIONARY, Y, WEIGHT, positive=True)
    torch.testing.assert_close(converge(make(DICTIONARY, WEIGHT, prox=nonnegative)), exact, rtol=0, atol=1e-6)


def test_one_weight_for_each_coefficient():
    weights = torch.linspace(0.02, 0.5, N, dtype=torch.float64)
    exact = sklearn_lasso(DICTIONARY / weights, Y, 1.0) / weights  # substitute weights x for x
    for make in (ISTA, GramISTA, CoordinateDescent):
        torch.testing.assert_close(converge(make(DICTIONARY, weights)), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [ISTA, GramISTA, ThinISTA])
@pytest.mark.parametrize(("dictionary", "y"), [(DICTIONARY, Y), (COMPLEX, COMPLEX_Y)], ids=["real", "complex"])
def test_ista_is_the_loop_written_by_hand(kind, dictionary, y):
    step = 1 / float(torch.linalg.matrix_norm(dictionary, 2)) ** 2
    x = torch.zeros(6, N, dtype=dictionary.dtype)
    for state in unroll(kind(dictionary, WEIGHT), 30).trajectory(y):
        x = shrink(x + step * (y - x @ dictionary.T) @ dictionary.conj(), step * WEIGHT)
        torch.testing.assert_close(state, x, rtol=0, atol=1e-12)


@given(weight=st.sampled_from([0.1, 0.3, 1 / 3, 0.0]), step=st.floats(0.05, 1.0), depth=st.integers(1, 40))
def test_the_gram_form_is_the_residual_form(weight, step, depth):
    residual, gram = (unroll(kind(DICTIONARY, weight, step_size=step / BOUND), depth)(Y) for kind in (ISTA, GramISTA))
    torch.testing.assert_close(gram, residual, rtol=0, atol=1e-12)


@pytest.mark.parametrize("continuation", [None, (8.0, 0.7)])
def test_fista_is_the_loop_written_by_hand(continuation):
    step, x, z, t = 1 / BOUND, torch.zeros(6, N, dtype=torch.float64), torch.zeros(6, N, dtype=torch.float64), 1.0
    states = unroll(FISTA(ISTA(DICTIONARY, WEIGHT), continuation=continuation), 30).trajectory(Y)
    for number, state in enumerate(states):
        scale = max(8 * 0.7**number, 1) if continuation else 1
        before, x = x, shrink(z + step * (Y - z @ DICTIONARY.T) @ DICTIONARY, scale * step * WEIGHT)
        t_next = (1 + (1 + 4 * t**2) ** 0.5) / 2
        z, t = x + (t - 1) / t_next * (x - before), t_next
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-12)
        torch.testing.assert_close(state.z, z, rtol=0, atol=1e-12)
        assert (state.momentum, state.steps) == (pytest.approx(t), number + 1)


@pytest.mark.parametrize("kind", [ISTA, GramISTA])
def test_fista_without_momentum_is_ista_to_the_bit(kind):
    plain, slow = kind(DICTIONARY, WEIGHT), FISTA(kind(DICTIONARY, WEIGHT), momentum=lambda _: 1.0)
    for wanted, state in zip(unroll(plain, 25).trajectory(Y), unroll(slow, 25).trajectory(Y), strict=True):
        assert torch.equal(state.x, wanted)


def test_ista_never_goes_up_and_both_keep_their_proved_rates():
    ista, fista = ISTA(DICTIONARY, WEIGHT), FISTA(ISTA(DICTIONARY, WEIGHT))
    best = limit("FISTA")
    lowest, distance = lasso_objective(best), best.square().sum(1)
    slow = [ista.objective(x, Y) for x in unroll(ista, 200).trajectory(Y)]
    fast = [fista.objective(s, Y) for s in unroll(fista, 200).trajectory(Y)]
    for k, (a, b) in enumerate(zip(slow, fast, strict=True), start=1):
        assert bool((a - lowest <= BOUND * distance / (2 * k) + 1e-12).all())
        assert bool((b - lowest <= 2 * BOUND * distance / (k + 1) ** 2 + 1e-12).all())
    assert all(bool((later <= earlier + 1e-12).all()) for earlier, later in itertools.pairwise(slow))
    assert bool((fast[60] - lowest < slow[60] - lowest).all())
    torch.testing.assert_close(ista.objective(best, Y), lowest)


def test_fista_and_ista_reach_the_same_objective():
    slow, fast = (lasso_objective(limit(name)) for name in ("ISTA", "FISTA"))
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [ISTA, GramISTA, CoordinateDescent])
def test_an_orthogonal_dictionary_needs_one_step(kind):
    basis = torch.linalg.qr(gaussian(M, M)).Q
    exact = shrink(Y @ basis, WEIGHT)
    depth = M if kind is CoordinateDescent else 1
    torch.testing.assert_close(unroll(kind(basis, WEIGHT), depth)(Y), exact, rtol=0, atol=1e-12)


def test_a_weight_above_all_correlations_gives_zero():
    weight = 1.0001 * float((Y @ DICTIONARY).abs().max())
    for kind in (ISTA, GramISTA, CoordinateDescent):
        assert torch.equal(unroll(kind(DICTIONARY, weight), 5)(Y), torch.zeros(6, N, dtype=torch.float64))


def test_coordinate_descent_is_the_loop_written_by_hand():
    gram, x = DICTIONARY.T @ DICTIONARY, torch.zeros(6, N, dtype=torch.float64)
    for state in unroll(CoordinateDescent(DICTIONARY, WEIGHT), 40).trajectory(Y):
        # The exact minimiser in each coordinate, the others held: S(x_i + a_i^T (y - A x)).
        correlation = x + (Y - x @ DICTIONARY.T) @ DICTIONARY
        proposal = shrink(correlation, WEIGHT)
        for sample in range(6):
            k = int((proposal - x)[sample].abs().argmax())
            x[sample, k] = proposal[sample, k]
        torch.testing.assert_close(state.z, x, rtol=0, atol=1e-12)
        torch.testing.assert_close(state.b, x + Y @ DICTIONARY - x @ gram, rtol=0, atol=1e-12)


def test_coordinate_descent_changes_one_coordinate_and_lowers_the_objective():
    cod = CoordinateDescent(DICTIONARY, WEIGHT)
    before = torch.zeros(6, N, dtype=torch.float64)
    for state in unroll(cod, 60).trajectory(Y):
        assert bool(((state.z != before).sum(1) <= 1).all())
        assert bool((lasso_objective(state.z) <= lasso_objective(before) + 1e-12).all())
        before = state.z


def test_iht_with_all_entries_is_a_gradient_step():
    step, x = 1 / BOUND, torch.zeros(6, N, dtype=torch.float64)
    for state in unroll(IHT(DICTIONARY, N), 20).trajectory(Y):
        x = x + step * (Y - x @ DICTIONARY.T) @ DICTIONARY
        torch.testing.assert_close(state, x, rtol=0, atol=1e-13)


@given(st.integers(1, N))
def test_iht_keeps_k_entries_and_never_goes_up(k):
    iht = IHT(DICTIONARY, k)
    before = 0.5 * Y.square().sum(1)
    for state in unroll(iht, 30).trajectory(Y):
        assert bool(((state != 0).sum(1) <= k).all())
        after = iht.objective(state, Y)
        torch.testing.assert_close(after, 0.5 * (Y - state @ DICTIONARY.T).square().sum(1))
        assert bool((after <= before + 1e-12).all())
        before = after


def test_iht_recovers_a_sparse_vector():
    dictionary = unit_dictionary(60, 80)
    x = torch.zeros(3, 80, dtype=torch.float64)
    x[0, [3, 50]], x[1, [7, 8, 9]], x[2, 79] = 1.0, -2.0, 3.0
    found = converge(IHT(dictionary, 3), x @ dictionary.T, tolerance=1e-12)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-8)


def test_iht_by_magnitude_is_ista_with_the_hard_threshold():
    step, x = 1 / BOUND, torch.zeros(6, N, dtype=torch.float64)
    for state in unroll(ISTA(DICTIONARY, WEIGHT, prox=hard_threshold), 15).trajectory(Y):
        z = x + step * (Y - x @ DICTIONARY.T) @ DICTIONARY
        x = z * (z.abs() > WEIGHT * step)
        torch.testing.assert_close(state, x, rtol=0, atol=1e-13)


class Blur(LinearOperator):
    """A circular average of three, without any tensor of its own."""

    def __init__(self, n):
        super().__init__((n,), (n,))

    def forward(self, x):
        return (x.roll(1, 1) + x + x.roll(-1, 1)) / 3

    def adjoint(self, y):
        return self(y)


@pytest.mark.parametrize("make", [lambda a: ISTA(a, 0.05), lambda a: IHT(a, 3), lambda a: FISTA(ISTA(a, 0.05))])
def test_an_operator_gives_what_its_matrix_gives(make):
    blur, y = Blur(9), gaussian(4, 9).float()
    matrix = blur(torch.eye(9)).T.contiguous()
    torch.testing.assert_close(unroll(make(blur), 20)(y), unroll(make(matrix), 20)(y), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(unroll(make(Matrix(matrix)), 20)(y), unroll(make(matrix), 20)(y), rtol=0, atol=0)


def test_a_learned_dictionary_gets_gradients_in_ista():
    ista = ISTA(Matrix(nn.Parameter(DICTIONARY.clone())), WEIGHT)
    net = unroll(ista, 3, tied="dictionary")
    net(Y).square().sum().backward()
    assert net.tied == ("dictionary.matrix",)
    assert float(net.layers[0].dictionary.matrix.grad.abs().sum()) > 0


KINDS = {
    "ISTA": lambda d: ISTA(d, WEIGHT),
    "GramISTA": lambda d: GramISTA(d, WEIGHT),
    "CoD": lambda d: CoordinateDescent(d, WEIGHT),
    "IHT": lambda d: IHT(d, 2),
}


@pytest.mark.parametrize("name", KINDS)
def test_dictionaries_that_cannot_be_used_are_refused(name):
    make = KINDS[name]
    holes = DICTIONARY.clone()
    holes[:, 3] = 0
    with pytest.raises(ValueError, match="column 3 of the dictionary is zero: remove such atoms"):
        make(holes)
    holes[:, 7] = 0
    with pytest.raises(ValueError, match="columns 3, 7 of the dictionary are zero"):
        make(holes)
    bad = DICTIONARY.clone()
    bad[0, 0] = float("nan")
    with pytest.raises(ValueError, match="the dictionary holds NaN or infinite values"):
        make(bad)
    with pytest.raises(TypeError, match=r"a dictionary is floating point or complex; got torch\.int64"):
        make(torch.ones(3, 4, dtype=torch.int64))
    with pytest.raises(
        ValueError, match=r"a dictionary is a matrix \(m, n\) with one atom per column; got shape \(8,\)"
    ):
        make(DICTIONARY[:, 0])


def test_coordinate_descent_refuses_columns_that_are_not_of_norm_one():
    with pytest.raises(
        ValueError,
        match=r"columns must have norm 1, and theirs go from 2 to 2: divide by "
        r"torch.linalg.vector_norm\(dictionary, dim=0\)",
    ):
        CoordinateDescent(2 * DICTIONARY, WEIGHT)
    with pytest.raises(TypeError, match="real dictionaries"):
        CoordinateDescent(COMPLEX / torch.linalg.vector_norm(COMPLEX, dim=0), WEIGHT)


@pytest.mark.parametrize("kind", [ISTA, GramISTA, CoordinateDescent])
@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), torch.tensor([0.1] * (N - 1) + [-0.5])])
def test_weights_that_cannot_be_used_are_refused(kind, weight):
    with pytest.raises(ValueError, match="weight must be finite and at least 0; got"):
        kind(DICTIONARY, weight)


@pytest.mark.parametrize(
    "make",
    [
        lambda s: ISTA(DICTIONARY, WEIGHT, step_size=s),
        lambda s: GramISTA(DICTIONARY, WEIGHT, step_size=s),
        lambda s: IHT(DICTIONARY, 3, step_size=s),
    ],
)
@pytest.mark.parametrize("step_size", [0.0, -1.0, float("nan")])
def test_step_sizes_that_cannot_be_used_are_refused(make, step_size):
    with pytest.raises(ValueError, match=f"step_size must be positive; got {step_size}"):
        make(step_size)


@pytest.mark.parametrize("sparsity", [0, -1, N + 1])
def test_iht_refuses_a_sparsity_outside_its_range(sparsity):
    with pytest.raises(ValueError, match=f"sparsity must be between 1 and the number of atoms, {N}; got {sparsity}"):
        IHT(DICTIONARY, sparsity)


@pytest.mark.parametrize("continuation", [(0.5, 0.5), (2.0, 1.0), (2.0, 0.0)])
def test_fista_refuses_a_continuation_that_does_not_come_down(continuation):
    with pytest.raises(ValueError, match="a continuation needs ratio >= 1 and a rate between 0 and 1"):
        FISTA(ISTA(DICTIONARY, WEIGHT), continuation=continuation)
