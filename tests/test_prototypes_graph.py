"""A graph: message passing along a list of edges, which is data, one for all samples or one for each."""

from typing import NamedTuple

import pytest
import torch
from prototypes import compared, deployed, exported, score, train
from torch import Tensor, nn

from unrolling import Iteration, Positive, constrain, solve, unroll
from unrolling.tasks.base import NMSE, Samples, Task
from unrolling.tasks.baselines import Iterative
from unrolling.testing import check_iteration

NODES, EDGES = 12, 24


class Graph(NamedTuple):
    """Noisy values at the nodes of a graph."""

    values: Tensor  # (batch, nodes)
    edges: Tensor  # (1, 2, edges) int64, shared, or (batch, 2, edges)


class Smoothing(Iteration):
    """Gradient descent for 0.5 |x - y|^2 + 0.5 weight sum over edges (x_i - x_j)^2 by messages along the edges."""

    def __init__(self, weight=1.0, step_size=0.05):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.step_size = nn.Parameter(torch.tensor(step_size))
        constrain(self, "weight", Positive())
        constrain(self, "step_size", Positive())

    def start(self, problem):
        return problem.values

    def forward(self, state, problem):
        source, target = problem.edges.expand(state.shape[0], -1, -1).unbind(1)
        message = state.gather(1, source) - state.gather(1, target)
        pull = torch.zeros_like(state).scatter_add(1, target, message).scatter_add(1, source, -message)
        return state + self.step_size * (problem.values - state + self.weight * pull)

    def objective(self, state, problem):
        source, target = problem.edges.expand(state.shape[0], -1, -1).unbind(1)
        differences = state.gather(1, source) - state.gather(1, target)
        return 0.5 * (state - problem.values).square().sum(1) + 0.5 * self.weight * differences.square().sum(1)


class Denoising(Task):
    """Recover smooth values on a graph from noisy ones."""

    name, summary, metric = "graph", "Recover smooth values on a graph from noisy ones.", NMSE

    def __init__(self, own=False):
        generator = torch.Generator().manual_seed(0)
        self.own = own  # edges of each sample
        self.edges = self._edges(1, generator)
        self.validation, self.test = [self.draw(24, generator)], [self.draw(24, generator)]
        self.timing = self.test[0]

    def _edges(self, count, generator):
        ring = torch.arange(NODES)
        chords = torch.stack([torch.randperm(NODES, generator=generator) for _ in range(count)])
        ring = torch.stack([ring, (ring + 1) % NODES]).expand(count, -1, -1)
        return torch.cat([ring, torch.stack([chords, chords.roll(1, 1)], 1)], 2)

    def baselines(self, size):
        return (Iterative("messages", Smoothing, (0.3, 1.0), 40, setting="weight"),)

    def draw(self, batch, generator):
        edges = self._edges(batch, generator) if self.own else self.edges
        source, target = edges.expand(batch, -1, -1).unbind(1)
        x = torch.randn(batch, NODES, generator=generator)
        for _ in range(8):
            x = x.scatter_reduce(1, target, x.gather(1, source), "mean")
        x = x / x.abs().amax(1, keepdim=True)
        return Samples(Graph(x + 0.3 * torch.randn(x.shape, generator=generator), edges), x)


@pytest.mark.parametrize("own", [False, True])
def test_solve_finds_the_solution_of_the_linear_system(own):
    task = Denoising(own)
    data = task.test[0].data
    solution = solve(Smoothing(), data, tolerance=1e-7)
    assert bool(solution.converged.all())
    edges = data.edges.expand(24, -1, -1)
    incidence = torch.zeros(24, EDGES, NODES)
    rows = torch.arange(24).unsqueeze(1)
    columns = torch.arange(EDGES)
    incidence.index_put_((rows, columns, edges[:, 0]), torch.tensor(1.0), accumulate=True)
    incidence.index_put_((rows, columns, edges[:, 1]), torch.tensor(-1.0), accumulate=True)
    matrix = torch.eye(NODES) + incidence.mT @ incidence
    wanted = torch.linalg.solve(matrix, data.values.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(solution.estimate, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(solve(Smoothing(), data, tolerance=1e-7, chunk=7).iterations, solution.iterations)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("own", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_a_graph_goes_all_the_way(own, tmp_path):
    task = Denoising(own)
    net = unroll(Smoothing(weight=0.3), 4, untied=("weight", "step_size"))
    before, after = train(net, task)
    assert after < before - 0.3
    assert after < score(lambda data: data.values, task) - 1
    comparison = compared(net, task, tmp_path / "page", ["graph"])
    assert comparison
    data = task.test[0].data
    deployed(net, data)
    exported(net, tmp_path / "graph.pt2", data)


@pytest.mark.nightly
def test_a_graph_as_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    task = Denoising()
    exported(unroll(Smoothing(), 3, untied="weight"), tmp_path / "graph.onnx", task.test[0].data, "onnx")


@pytest.mark.parametrize("own", [False, True])
def test_it_is_a_sound_iteration(own):
    data = Denoising(own).draw(4, torch.Generator().manual_seed(1)).data
    check_iteration(Smoothing(), data, skip=("compile", "export"))
