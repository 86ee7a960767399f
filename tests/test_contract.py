"""What a run's tensors mean: shared or per sample, at every batch size; pieces, marks, empty batches, scales."""

import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from iterations import Detection, Lasso, channel_data, gaussian, unit_dictionary
from torch import Tensor, nn

from unrolling import Iteration, Positive, constrain, solve, unroll
from unrolling.algorithms import FISTA, IHT, ISTA, GramISTA
from unrolling.algorithms.images.blind_deblurring import BlindDeblurring, differences
from unrolling.core import tree
from unrolling.core.solve import DivergenceError, Status


class Coupled(Iteration):
    """x <- y + A x, whose matrix goes into the problem in a way of its own."""

    def __init__(self, put, n=4, constrained=False):
        super().__init__()
        matrix = 0.15 * gaussian(n, n, seed=1).abs()
        if constrained:
            self.matrix = nn.Parameter(matrix)
            constrain(self, "matrix", Positive())
        else:
            self.register_buffer("matrix", matrix)
        self.register_buffer("order", torch.arange(n).flip(0))
        self.put = put

    def prepare(self, data):
        return self.put(data, self.matrix, self.order)

    def start(self, problem):
        return torch.zeros_like(tree.tensors(problem)[0])

    def forward(self, state, problem):
        y, matrix = tree.tensors(problem)[:2]
        return y + state @ matrix.mT


class Nested(NamedTuple):
    y: Tensor
    rest: dict


PUTS = {
    "a tuple": lambda y, A, order: (y, A),
    "a view": lambda y, A, order: (y, A[:, :], order.view(2, 2)),
    "a transposed view": lambda y, A, order: (y, A.mT.mT),
    "a row of the buffer too": lambda y, A, order: (y, A, A[0]),
    "a dict in a list": lambda y, A, order: [y, {"matrix": A, "order": order}],
    "a named tuple": lambda y, A, order: Nested(y, {"all": (A, order)}),
}


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS.keys())
def test_a_batch_that_equals_the_size_of_a_buffer_changes_nothing(put, constrained):
    iteration, y = Coupled(put, constrained=constrained), gaussian(6, 4)
    wanted = torch.linalg.solve(torch.eye(4) - iteration.matrix, y.mT).mT
    net = unroll(iteration, 5)
    together = net(y)
    for batch in range(1, 7):
        solution = solve(iteration, y[:batch], tolerance=1e-12)
        assert bool(solution.converged.all())
        torch.testing.assert_close(solution.estimate, wanted[:batch], rtol=0, atol=1e-9)
        torch.testing.assert_close(solve(iteration, y, tolerance=1e-12, chunk=batch).estimate, wanted)
        torch.testing.assert_close(net(y, chunk=batch), together)


def test_a_buffer_that_is_neither_shared_nor_per_sample_is_refused_by_name_before_any_step():
    steps = []
    iteration = Coupled(lambda y, A, order: (y, 2 * A))
    iteration.register_forward_pre_hook(lambda *_: steps.append(1))
    with pytest.raises(ValueError, match=r"problem\[1\] has leading size 4 and the batch is 3"):
        solve(iteration, gaussian(3, 4))
    assert not steps


def test_a_callback_may_move_a_constrained_parameter():
    iteration = Coupled(PUTS["a tuple"])
    iteration.step_size = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    constrain(iteration, "step_size", Positive())
    iteration.forward = lambda state, problem: iteration.step_size * torch.ones_like(state)

    def halve(progress):
        iteration.step_size = 0.5 * iteration.step_size.detach()

    solution = solve(iteration, gaussian(2, 4), tolerance=0, max_iterations=3, callback=halve)
    assert torch.equal(solution.estimate, torch.full((2, 4), 0.25, dtype=torch.float64))


def test_a_blind_deblurring_converges_in_picture_and_kernel():
    y = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    iteration = BlindDeblurring(differences(), kernel_size=5)
    loose, tight = (solve(iteration, y, tolerance=t, max_iterations=n) for t, n in ((0.01, 400), (0.0, 400)))
    assert int(loose.iterations) > 5
    limit = tight.state.kernel
    assert float((loose.state.kernel - limit).norm() / limit.norm()) < 0.25


# Scale


SCALE_FREE = {
    "ISTA": lambda scale: ISTA(unit_dictionary(8, 12, dtype=torch.float32), 0.1 * scale),
    "GramISTA": lambda scale: GramISTA(unit_dictionary(8, 12, dtype=torch.float32), 0.1 * scale),
    "FISTA": lambda scale: FISTA(ISTA(unit_dictionary(8, 12, dtype=torch.float32), 0.1 * scale)),
    "IHT": lambda scale: IHT(unit_dictionary(8, 12, dtype=torch.float32), 3),
}


@pytest.mark.parametrize("power", [-83, -66, 63])  # 1e-25, 1e-20, 1e19
@pytest.mark.parametrize("name", SCALE_FREE)
def test_scaled_data_have_the_scaled_solution_after_as_many_iterations(name, power):
    y, scale = gaussian(5, 8, dtype=torch.float32), 2.0**power
    plain, scaled = (solve(SCALE_FREE[name](s), s * y, tolerance=1e-4) for s in (1.0, scale))
    assert scaled.iterations.tolist() == plain.iterations.tolist()
    torch.testing.assert_close(scaled.estimate / scale, plain.estimate, rtol=1e-6, atol=1e-6)


# What each sample brings


class Masked(Iteration):
    """Fills in what a mask hides, one mask for each sample, held by the iteration."""

    def __init__(self, masks, rates):
        super().__init__()
        self.register_buffer("masks", masks)
        self.register_buffer("rates", rates)

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        # Known entries go to the data at the sample's own rate, the others to 1.
        goal = torch.where(self.masks, problem, 1.0)
        return state + self.rates.view(-1, 1) * (goal - state)


def test_masks_of_each_sample_stay_with_their_samples_when_some_are_done_first():
    masks = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    rates = torch.tensor([1.0, 0.9, 0.5, 0.1], dtype=torch.float64)
    y = gaussian(4, 6)
    solution = solve(Masked(masks, rates), y, tolerance=1e-10)
    assert bool(solution.converged.all())
    torch.testing.assert_close(solution.estimate, torch.where(masks, y, 1.0), rtol=0, atol=1e-8)
    for i in range(4):
        alone = solve(Masked(masks[i : i + 1], rates[i : i + 1]), y[i : i + 1], tolerance=1e-10)
        assert int(alone.iterations) == int(solution.iterations[i])
        assert torch.equal(alone.estimate[0], solution.estimate[i])


# Samples that diverge


class Fates(Iteration):
    """x <- r x + (1 - r) y; a sample with r > 1 diverges; one whose y is zero goes on to 0 / 0 once it is there."""

    def prepare(self, data):
        return data

    def start(self, problem):
        return torch.zeros_like(problem.y)

    def forward(self, state, problem):
        moved = problem.rate * state + (1 - problem.rate) * problem.y
        gone = (state == problem.y) & (problem.y != 0) & (problem.rate == 0)
        return torch.where(gone, torch.nan, moved)


class Rated(NamedTuple):
    y: Tensor  # (batch, n)
    rate: Tensor  # (batch, 1)


def test_one_diverging_sample_among_a_thousand_is_marked_and_the_others_get_their_answers():
    rate = torch.full((1000, 1), 0.5, dtype=torch.float64)
    rate[617] = 1e30
    data = Rated(gaussian(1000, 3) + 10, rate)
    with pytest.raises(DivergenceError, match="the state of sample 617 is no longer finite"):
        solve(Fates(), data)
    for chunk in (None, 100, 617, 618):
        solution = solve(Fates(), data, tolerance=1e-9, on_divergence="mark", chunk=chunk)
        good = torch.arange(1000) != 617
        assert solution.status[617] == Status.DIVERGED
        assert bool((solution.status[good] == Status.CONVERGED).all())
        assert torch.equal(solution.converged, good)
        torch.testing.assert_close(solution.estimate[good], data.y[good], rtol=1e-8, atol=0)
        assert bool(solution.estimate[617].isnan().all())
        assert bool(solution.state[617].isfinite().all())  # as it last was


def test_a_finished_sample_is_no_longer_looked_at():
    # Of two samples the first is done at the second step and would be 0 / 0 at the third.
    data = Rated(torch.full((2, 3), 2.0), torch.tensor([[0.0], [0.9]]))

    class Late(Fates):
        """Lets a sample stand for one step."""

        def start(self, problem):
            return torch.zeros_like(problem.y), problem.y.new_zeros(problem.y.shape[0])

        def forward(self, state, problem):
            x, there = state
            moved = problem.rate * x + (1 - problem.rate) * problem.y
            here = (moved == problem.y).all(1) + there
            return torch.where((here > 2).unsqueeze(1), torch.nan, moved), here

        def residual(self, new, old, problem):
            return tree.relative_change(new[0], old[0])

    solution = solve(Late(), data, tolerance=1e-3)
    assert bool(solution.converged.all())
    torch.testing.assert_close(solution.estimate, data.y, rtol=1e-2, atol=0)


def test_an_option_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="on_divergence is 'stop'; it is 'raise' or 'mark'"):
        solve(Fates(), Rated(gaussian(2, 3), torch.zeros(2, 1)), on_divergence="stop")


# Pieces


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 6, 7, 100])
@pytest.mark.parametrize(
    ("iteration", "data"),
    [(Lasso(unit_dictionary(6, 9), 0.1), gaussian(7, 6)), (Detection(), channel_data(7))],
    ids=["tensors", "tuples"],
)
def test_a_run_in_pieces_is_the_whole_run(iteration, data, chunk):
    seen = []
    whole = solve(iteration, data, tolerance=1e-8)
    parts = solve(iteration, data, tolerance=1e-8, chunk=chunk, callback=lambda p: seen.extend(p.samples.tolist()))
    assert torch.equal(whole.iterations, parts.iterations)
    assert torch.equal(whole.status, parts.status)
    for a, b in zip(tree.tensors(whole), tree.tensors(parts), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    assert set(seen) == set(range(7))
    net = unroll(iteration, 4, untied="threshold" if isinstance(iteration, Lasso) else "momentum")
    both = [net(data), net(data, chunk=chunk)]
    torch.testing.assert_close(both[0], both[1], rtol=1e-9, atol=1e-12)
    parameters = [p for p in net.parameters() if p.requires_grad]
    for a, b in zip(*(torch.autograd.grad(e.sum(), parameters) for e in both), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        half = net.run(data, layers=slice(0, 2))
        again, last = net(data, half, layers=slice(2, 4), chunk=chunk, return_state=True)
        torch.testing.assert_close(again, both[0], rtol=1e-9, atol=1e-12)
        assert tree.batch_size(last, "state") == 7


@pytest.mark.parametrize("chunk", [0, -3])
def test_a_chunk_below_one_is_refused(chunk):
    iteration = Lasso(unit_dictionary(6, 9), 0.1)
    for run in (solve, unroll(iteration, 2)):
        arguments = (iteration, gaussian(3, 6)) if run is solve else (gaussian(3, 6),)
        with pytest.raises(ValueError, match=f"chunk is {chunk}"):
            run(*arguments, chunk=chunk)


MEMORY = """
import resource, torch
from unrolling import solve, unroll
from unrolling.algorithms import GramISTA
torch.set_num_threads(1)
D = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)) / 4
it, y = GramISTA(D, 0.1), torch.randn(100_000, 16)
run = {run}
run(y[:2000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(y)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        "lambda y: solve(it, y, tolerance=0, max_iterations=3, chunk=1000)",
        "torch.no_grad()(lambda y, net=unroll(it, 3): net(y, chunk=1000))",
    ],
)
def test_a_hundred_thousand_samples_at_the_memory_of_one_piece_and_the_answer(run):
    """The estimates are 24.4 MiB; one step of all samples at once would hold four times that."""
    out = subprocess.run([sys.executable, "-c", MEMORY.format(run=run)], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 40


# Nothing


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize(
    ("iteration", "data"),
    [
        (Lasso(unit_dictionary(6, 9), 0.1), gaussian(0, 6)),
        (FISTA(GramISTA(unit_dictionary(6, 9), 0.1)), gaussian(0, 6)),
        (Coupled(PUTS["a dict in a list"]), gaussian(0, 4)),
    ],
)
def test_an_empty_batch_gives_an_empty_answer_of_the_right_shape(iteration, data, chunk):
    width = solve(iteration, torch.zeros(2, *data.shape[1:], dtype=data.dtype), max_iterations=2).estimate.shape[1:]
    solution = solve(iteration, data, chunk=chunk)
    assert solution.estimate.shape == (0, *width)
    assert solution.iterations.shape == solution.status.shape == solution.residual.shape == (0,)
    net = unroll(iteration, 3)
    estimate, state = net(data, chunk=chunk, return_state=True)
    assert estimate.shape == (0, *width)
    assert all(0 in t.shape for t in tree.tensors(state) if t.ndim)


# Integers


class Graph(NamedTuple):
    x: Tensor  # (batch, nodes)
    edges: Tensor  # (1, 2, edges) or (batch, 2, edges) int64


class Diffusion(Iteration):
    """Each node goes half way to what its neighbours send."""

    def start(self, problem):
        return problem.x

    def forward(self, state, problem):
        source, target = problem.edges.expand(state.shape[0], -1, -1).unbind(1)
        sent = torch.zeros_like(state).scatter_add(1, target, state.gather(1, source))
        degree = torch.zeros_like(state).scatter_add(1, target, torch.ones_like(target, dtype=state.dtype))
        return 0.5 * state + 0.5 * sent / degree.clamp_min(1)


def test_integers_among_data_go_along():
    edges = torch.tensor([[[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]]])
    x = gaussian(5, 4)
    shared = solve(Diffusion(), Graph(x, edges), tolerance=1e-9)
    own = solve(Diffusion(), Graph(x, edges.expand(5, -1, -1).contiguous()), tolerance=1e-9)
    assert bool(shared.converged.all())
    assert torch.equal(shared.estimate, own.estimate)
    net = unroll(Diffusion(), 3)
    assert torch.equal(net(Graph(x, edges)), net(Graph(x, edges), chunk=2))
