"""A stream: recursive least squares over time, a layer for each moment, calls that hand the state on."""

from typing import NamedTuple

import pytest
import torch
from prototypes import compared, deployed, exported, train
from torch import Tensor, nn

from unrolling import Bounded, Iteration, constrain, deploy, solve, unroll
from unrolling.tasks.base import NMSE, Samples, Task
from unrolling.tasks.baselines import Iterative

N, MOMENTS = 3, 6


class Recording(NamedTuple):
    """What was measured at some moments in a row."""

    rows: Tensor  # (batch, moments, n)
    values: Tensor  # (batch, moments)


class Tracker(NamedTuple):
    """The state of recursive least squares."""

    weights: Tensor  # (batch, n)
    covariance: Tensor  # (batch, n, n)
    moment: int  # of the recording, the next one


class LeastSquares(Iteration):
    """x <- x + g (b_t - a_t x), g = P a_t / (f + a_t P a_t), P <- (P - g a_t P) / f: with forgetting f."""

    def __init__(self, forgetting=0.95):
        super().__init__()
        self.forgetting = nn.Parameter(torch.tensor(forgetting))
        constrain(self, "forgetting", Bounded(0.0, 1.0))

    def start(self, problem):
        eye = torch.eye(N, dtype=problem.rows.dtype, device=problem.rows.device)
        return Tracker(torch.zeros_like(problem.rows[:, 0]), 10 * eye.expand(problem.rows.shape[0], N, N), 0)

    def forward(self, state, problem):
        moment = state.moment % problem.rows.shape[1]
        row, value = problem.rows[:, moment], problem.values[:, moment]
        projected = (state.covariance @ row.unsqueeze(2)).squeeze(2)
        gain = projected / (self.forgetting + (row * projected).sum(1, keepdim=True))
        weights = state.weights + gain * (value - (row * state.weights).sum(1)).unsqueeze(1)
        covariance = (state.covariance - gain.unsqueeze(2) * projected.unsqueeze(1)) / self.forgetting
        return Tracker(weights, covariance, state.moment + 1)


class Tracking(Task):
    """Find the present weights of a linear system that drifts."""

    name, summary, metric = "tracking", "Find the present weights of a linear system that drifts.", NMSE

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.validation, self.test = [self.draw(24, generator)], [self.draw(24, generator)]
        self.timing = self.test[0]

    def baselines(self, size):
        return (Iterative("recursive least squares", LeastSquares, (0.8, 0.95), 6, setting="forgetting"),)

    def draw(self, batch, generator):
        x = torch.randn(batch, N, generator=generator)
        rows = torch.randn(batch, MOMENTS, N, generator=generator)
        values = []
        for moment in range(MOMENTS):
            x = x + 0.4 * torch.randn(x.shape, generator=generator)
            values.append((rows[:, moment] * x).sum(1) + 0.05 * torch.randn(batch, generator=generator))
        return Samples(Recording(rows, torch.stack(values, 1)), x)


def halves(data):
    return [Recording(data.rows[:, part], data.values[:, part]) for part in (slice(0, 3), slice(3, 6))]


def test_two_calls_with_the_state_between_them_are_one():
    data = Tracking().test[0].data
    whole = solve(LeastSquares(), data, tolerance=0, max_iterations=MOMENTS)
    net, state = unroll(LeastSquares(), 3), None
    for part in halves(data):
        estimate, state = net(part, state, return_state=True)
    torch.testing.assert_close(estimate, whole.estimate)
    state = None
    for part in halves(data):
        estimate, state = deploy(net.eval(), "plain")(part, state, return_state=True)
    torch.testing.assert_close(estimate, whole.estimate)
    # All moments weigh the same without forgetting, and the start counts as measurements of its own.
    gram = data.rows.mT @ data.rows + 0.1 * torch.eye(N)
    wanted = torch.linalg.solve(gram, (data.rows.mT @ data.values.unsqueeze(2))).squeeze(2)
    plain = unroll(LeastSquares(1.0), MOMENTS)(data)
    torch.testing.assert_close(plain, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_stream_goes_all_the_way(tmp_path):
    task = Tracking()
    net = unroll(LeastSquares(), MOMENTS, untied="forgetting")
    before, after = train(net, task, rate=0.1)
    assert after < before - 0.3
    compared(net, task, tmp_path / "page", ["tracking"])
    deployed(net, task.test[0].data)
    exported(net, tmp_path / "stream.pt2", task.test[0].data)


@pytest.mark.nightly
def test_a_stream_as_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    exported(unroll(LeastSquares(), 2, untied="forgetting"), tmp_path / "s.onnx", Tracking().test[0].data, "onnx")
