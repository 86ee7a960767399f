"""The classical algorithm: stopping, removal of finished samples, errors."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import Detection, Lasso, Shrinking, channel_data, gaussian, unit_dictionary
from torch import Tensor

from unrolling import DivergenceError, Iteration, solve, unroll
from unrolling.algorithms import FISTA, IHT, ISTA, GramISTA
from unrolling.core import tree


class Relaxation(Iteration):
    """x <- r x + (1 - r) y with a rate for each sample, whose fixed point is y; it records the batch sizes that it
    sees.
    """

    def __init__(self, rates):
        super().__init__()
        self.rates, self.sizes = rates, []

    def prepare(self, data):
        return data, self.rates.unsqueeze(1)

    def start(self, problem):
        return torch.zeros_like(problem[0])

    def forward(self, state, problem):
        y, rate = problem
        self.sizes.append(state.shape[0])
        return rate * state + (1 - rate) * y


@given(st.lists(st.floats(0.0, 0.97), min_size=1, max_size=40))
def test_finished_samples_leave_the_batch(rates):
    rates = torch.tensor(rates, dtype=torch.float64)
    iteration, y = Relaxation(rates), gaussian(len(rates), 3)
    solution = solve(iteration, y, tolerance=1e-8)
    assert bool(solution.converged.all())
    assert bool((solution.residual <= 1e-8).all())
    torch.testing.assert_close(solution.estimate, y, rtol=0, atol=1e-5)
    for step, size in enumerate(iteration.sizes, start=1):
        running = int((solution.iterations >= step).sum())
        # An eighth of the batch may be done and still in it, no more; in a batch of up to eight, none.
        assert running <= size < running + max(1, 0.125 * size)


def test_with_removal_each_sample_gets_the_answer_and_the_iterations_that_it_gets_alone():
    rates, y = torch.linspace(0.05, 0.95, 12, dtype=torch.float64), gaussian(12, 3)
    together = solve(Relaxation(rates), y, tolerance=1e-6)
    assert len(set(together.iterations.tolist())) > 6
    for i in range(12):
        alone = solve(Relaxation(rates[i : i + 1]), y[i : i + 1], tolerance=1e-6)
        assert int(alone.iterations) == int(together.iterations[i])
        assert torch.equal(alone.estimate[0], together.estimate[i])
        assert torch.equal(alone.residual[0], together.residual[i])


def test_the_last_sample_runs_alone():
    iteration = Relaxation(torch.tensor([0.0, 0.0, 0.0, 0.9], dtype=torch.float64))
    solution = solve(iteration, gaussian(4, 2), tolerance=1e-6)
    assert iteration.sizes[:3] == [4, 4, 1]  # r = 0 is there after one step, and the second step shows it
    assert sum(iteration.sizes) == int(solution.iterations.sum())


@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize(
    "iteration",
    [ISTA(unit_dictionary(6, 9), 0.1), FISTA(GramISTA(unit_dictionary(6, 9), 0.1)), IHT(unit_dictionary(6, 9), 3)],
)
def test_solve_without_tolerance_is_the_network_to_the_bit(iteration, depth):
    y = gaussian(7, 6)
    solution = solve(iteration, y, tolerance=0.0, max_iterations=depth)
    assert torch.equal(solution.estimate, unroll(iteration, depth)(y))
    assert solution.iterations.tolist() == [depth] * 7
    assert not bool(solution.converged.any())


def test_residual_is_the_relative_change_of_the_last_step():
    lasso, y = Lasso(unit_dictionary(6, 9), 0.1), gaussian(4, 6)
    previous, last = (solve(lasso, y, tolerance=0.0, max_iterations=k).estimate for k in (9, 10))
    wanted = (last - previous).norm(dim=1) / torch.maximum(last.norm(dim=1), previous.norm(dim=1))
    torch.testing.assert_close(solve(lasso, y, tolerance=0.0, max_iterations=10).residual, wanted)


def test_residual_of_a_namedtuple_state_is_that_of_its_worst_field():
    detection, data = Detection(), channel_data(3)
    previous, last = (solve(detection, data, tolerance=0.0, max_iterations=k).state for k in (4, 5))
    fields = [(last.x, previous.x), (last.change, previous.change)]
    each = [(n - o).norm(dim=1) / torch.maximum(n.norm(dim=1), o.norm(dim=1)) for n, o in fields]
    wanted = torch.stack(each).amax(0)
    torch.testing.assert_close(solve(detection, data, tolerance=0.0, max_iterations=5).residual, wanted)


def test_a_solution_that_started_at_the_answer_stays_there():
    lasso, y = Lasso(unit_dictionary(6, 9), 0.1), gaussian(4, 6)
    cold = solve(lasso, y, tolerance=1e-10, max_iterations=100_000)
    warm = solve(lasso, y, tolerance=1e-9, state=cold.state)
    assert warm.iterations.tolist() == [1] * 4
    torch.testing.assert_close(warm.estimate, cold.estimate, rtol=0, atol=1e-8)


def test_unfinished_samples_are_reported():
    solution = solve(
        Relaxation(torch.tensor([0.1, 0.99], dtype=torch.float64)),
        torch.ones(2, 1, dtype=torch.float64),
        tolerance=1e-6,
        max_iterations=20,
    )
    assert solution.converged.tolist() == [True, False]
    assert int(solution.iterations[1]) == 20
    assert float(solution.estimate[1]) == pytest.approx(1 - 0.99**20)


def test_callback_sees_every_step_and_can_stop():
    seen = []

    def callback(progress):
        seen.append((progress.iteration, progress.samples.tolist(), progress.state.shape[0], len(progress.residual)))
        return progress.iteration == 6

    solution = solve(Relaxation(torch.tensor([0.0, 0.9, 0.9], dtype=torch.float64)), gaussian(3, 2), callback=callback)
    assert [number for number, *_ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[0] == (1, [0, 1, 2], 3, 3)
    assert seen[-1] == (6, [1, 2], 2, 2)
    assert solution.iterations.tolist() == [2, 6, 6]
    assert solution.converged.tolist() == [True, False, False]


def test_continuation_is_not_taken_for_convergence():
    # The first weights are so large that the code stays zero for many steps, which looks converged.
    y, dictionary = gaussian(5, 6), unit_dictionary(6, 9)
    plain = solve(FISTA(ISTA(dictionary, 0.1)), y, tolerance=1e-9, max_iterations=100_000)
    continued = solve(FISTA(ISTA(dictionary, 0.1), continuation=(1e4, 0.9)), y, tolerance=1e-9, max_iterations=100_000)
    assert bool((continued.iterations > 80).all())
    torch.testing.assert_close(continued.estimate, plain.estimate, rtol=0, atol=1e-6)


class Mixed(NamedTuple):
    """A state with every kind of tensor that the contract allows."""

    x: Tensor  # (batch, n)
    level: Tensor  # (1, n), of all samples
    age: Tensor  # ()
    flags: Tensor  # (batch,), integer
    total: Tensor  # (batch,), floating point


class MixedIteration(Iteration):
    """x <- r x + (1 - r) y; the shared level only counts."""

    def __init__(self, rates):
        super().__init__()
        self.rates = rates

    def prepare(self, data):
        return data, self.rates.unsqueeze(1)

    def start(self, problem):
        y = problem[0]
        return Mixed(
            torch.zeros_like(y),
            torch.zeros(1, y.shape[1], dtype=y.dtype),
            torch.zeros((), dtype=y.dtype),
            torch.arange(y.shape[0]),
            y.new_zeros(y.shape[0]),
        )

    def forward(self, state, problem):
        y, rate = problem
        return Mixed(rate * state.x + (1 - rate) * y, state.level, state.age + 1, state.flags, state.total)


def test_shared_and_dimensionless_tensors_and_integers_in_a_state():
    rates, y = torch.tensor([0.0, 0.3, 0.6, 0.9], dtype=torch.float64), gaussian(4, 3)
    solution = solve(MixedIteration(rates), y, tolerance=1e-9)
    plain = solve(Relaxation(rates), y, tolerance=1e-9)
    assert torch.equal(solution.estimate, plain.estimate)
    assert torch.equal(solution.iterations, plain.iterations)
    assert solution.state.flags.tolist() == [0, 1, 2, 3]
    assert tuple(solution.state.level.shape) == (1, 3)
    assert float(solution.state.age) == int(solution.iterations.max())


def test_an_empty_batch_has_an_empty_solution():
    solution = solve(Lasso(unit_dictionary(6, 9), 0.1), torch.zeros(0, 6, dtype=torch.float64))
    assert tuple(solution.estimate.shape) == (0, 9)
    assert solution.iterations.numel() == 0


def test_a_state_that_is_zero_has_converged():
    dictionary, y = unit_dictionary(6, 9), gaussian(3, 6)
    solution = solve(ISTA(dictionary, 2 * float((y @ dictionary).abs().max())), y)
    assert solution.iterations.tolist() == [1, 1, 1]
    assert torch.equal(solution.estimate, torch.zeros(3, 9, dtype=torch.float64))


@pytest.mark.parametrize(
    "make",
    [
        ISTA,
        GramISTA,
        lambda d, w, step_size: FISTA(ISTA(d, w, step_size=step_size)),
        lambda d, _, step_size: IHT(d, 9, step_size=step_size),
    ],
)
def test_divergence_says_when_how_large_and_what_is_safe(make):
    dictionary = unit_dictionary(6, 9, dtype=torch.float32)
    bound = float(torch.linalg.matrix_norm(dictionary.double(), 2)) ** 2
    iteration = make(dictionary, 0.01, step_size=3 / bound)
    with pytest.raises(DivergenceError) as caught:
        solve(iteration, gaussian(4, 6, dtype=torch.float32), tolerance=1e-6, max_iterations=100_000)
    message = str(caught.value)
    assert message.startswith(f"{type(iteration).__name__.removeprefix('Parametrized')} diverged: the state of sample ")
    assert " is no longer finite after iteration " in message
    when, size = (
        int(message.split("after iteration ")[1].split(",")[0]),
        float(message.split("before that was ")[1].split(";")[0]),
    )
    last = solve(iteration, gaussian(4, 6, dtype=torch.float32), tolerance=0.0, max_iterations=when - 1).state
    first = last if isinstance(last, Tensor) else last[0]
    assert bool(torch.isfinite(first).all())
    assert size > 1e18  # of float32, whose squares overflow there
    assert f"1/L = {1 / bound:.4g} is safe" in message
    assert bool(
        solve(
            make(dictionary, 0.01, step_size=1 / bound), gaussian(4, 6, dtype=torch.float32), tolerance=1e-3
        ).converged.all()
    )


def test_divergence_in_the_first_step_and_without_advice():
    class Exploding(Iteration):
        def start(self, problem):
            return problem

        def forward(self, state, problem):
            return state / 0

    with pytest.raises(DivergenceError, match=r"Exploding diverged: .* after iteration 1, .*; use a smaller step size"):
        solve(Exploding(), torch.ones(2, 3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_data_that_are_not_finite_are_refused_with_their_place(bad):
    y = gaussian(3, 6)
    y[1, 4] = bad
    with pytest.raises(ValueError, match=r"data holds 1 values that are NaN or infinite, the first at index \(1, 4\)"):
        solve(Lasso(unit_dictionary(6, 9), 0.1), y)
    data = channel_data(3)
    data.matrix[2, 0, 1] = bad
    with pytest.raises(ValueError, match=r"data.matrix holds 1 values .* index \(2, 0, 1\)"):
        solve(Detection(), data)


def test_a_state_that_changes_its_shape_is_refused_by_name():
    with pytest.raises(
        ValueError,
        match=r"state whose shape stays; state went from \(2, 8\) to \(2, 6\) \(unroll it "
        r"with Backprop",
    ):
        solve(Shrinking(), gaussian(2, 8))


@pytest.mark.parametrize(
    ("options", "message"), [({"tolerance": -1.0}, "tolerance is -1.0"), ({"max_iterations": 0}, "max_iterations is 0")]
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        solve(Lasso(unit_dictionary(6, 9), 0.1), gaussian(1, 6), **options)


class Stateless(Iteration):
    def start(self, problem):
        return torch.zeros(())

    def forward(self, state, problem):
        return state


class Misshapen(Iteration):
    def start(self, problem):
        return problem, problem[:2]

    def forward(self, state, problem):
        return state


class Sideways(Iteration):
    """Its problem is transposed, so that it is not batch first."""

    def prepare(self, data):
        return {"y": data, "also": [data.T]}

    def start(self, problem):
        return torch.zeros_like(problem["y"])

    def forward(self, state, problem):
        # The first sample is done at once, the others never.
        return torch.cat([problem["y"][:1], state[1:] + 1]) if state.shape[0] == 3 else state + 1


def test_tensors_that_are_not_batch_first_are_refused_by_name():
    with pytest.raises(ValueError, match="the state of Stateless holds no tensor of 3 samples"):
        solve(Stateless(), gaussian(3, 6))
    with pytest.raises(ValueError, match=r"state\[1\] has leading size 2 and the batch is 3"):
        solve(Misshapen(), gaussian(3, 6))
    with pytest.raises(ValueError, match=r"problem\['also'\]\[0\] has leading size 6 and the batch is 3"):
        solve(Sideways(), gaussian(3, 6))


def test_tree_walks_every_container():
    item = {
        "a": torch.ones(2),
        "b": [torch.zeros(2), (3, "x")],
        "c": Mixed(torch.ones(2), torch.ones(1), torch.ones(()), torch.ones(2), torch.ones(2)),
    }
    assert [name for name, _ in tree.named_tensors(item, "s")] == [
        "s['a']",
        "s['b'][0]",
        "s['c'].x",
        "s['c'].level",
        "s['c'].age",
        "s['c'].flags",
        "s['c'].total",
    ]
    doubled = tree.apply(lambda t: 2 * t, item)
    assert doubled["b"][1] == (3, "x")
    assert type(doubled["c"]) is Mixed
    assert torch.equal(doubled["a"], torch.full((2,), 2.0))
    chosen = tree.select(item, torch.tensor([1]), 2, "s")
    assert [tuple(t.shape) for t in tree.tensors(chosen)] == [(1,), (1,), (1,), (1,), (), (1,), (1,)]
