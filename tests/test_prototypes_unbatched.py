"""One state without samples: gradient descent on the weights of a small network, differentiated inside the step."""

from typing import NamedTuple

import pytest
import torch
from prototypes import compared, deployed, exported, train
from torch import Tensor, nn

from unrolling import Iteration, Positive, constrain, solve, unroll
from unrolling.export import ExportError
from unrolling.tasks.base import NMSE, Samples, Task
from unrolling.tasks.baselines import Iterative

WIDTH = 4


class Points(NamedTuple):
    """What the network is fitted to, and where it is asked afterwards."""

    x: Tensor  # (points, 2)
    y: Tensor  # (points, 1)


class Weights(NamedTuple):
    """The state: a network."""

    inner: Tensor  # (2, width)
    bias: Tensor  # (width,)
    outer: Tensor  # (width, 1)


class Fitting(Iteration):
    """w <- w - s dE/dw, E the squared error of tanh(x W + b) v over all points."""

    batched = False

    def __init__(self, step_size=0.05):
        super().__init__()
        self.step_size = nn.Parameter(torch.tensor(step_size))
        constrain(self, "step_size", Positive())
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("inner", torch.randn(2, WIDTH, generator=generator))
        self.register_buffer("outer", 0.3 * torch.randn(WIDTH, 1, generator=generator))

    def start(self, problem):
        return Weights(self.inner, torch.zeros_like(self.inner[0]), self.outer)

    def estimate(self, state, problem):
        return torch.tanh(problem.x @ state.inner + state.bias) @ state.outer

    def objective(self, state, problem):
        return (self.estimate(state, problem) - problem.y).square().mean()

    def forward(self, state, problem):
        gradient = torch.func.grad(self.objective)(state, problem)
        return Weights(*(w - self.step_size * g for w, g in zip(state, gradient, strict=True)))


class Written(Fitting):
    """The same with its gradient written out, for files: torch's tracer does not follow torch.func.grad."""

    def forward(self, state, problem):
        hidden = torch.tanh(problem.x @ state.inner + state.bias)
        error = 2 * (hidden @ state.outer - problem.y) / problem.y.shape[0]
        back = error @ state.outer.mT * (1 - hidden.square())
        gradient = Weights(problem.x.mT @ back, back.sum(0), hidden.mT @ error)
        return Weights(*(w - self.step_size * g for w, g in zip(state, gradient, strict=True)))


class Regression(Task):
    """Fit noisy values of a function; the points of a set are not samples of it."""

    name, summary, metric = "regression", "Fit noisy values of a function.", NMSE
    grains = 1  # two sets together are another set

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.validation, self.test = [self.draw(40, generator)], [self.draw(40, generator)]
        self.timing = self.test[0]

    def baselines(self, size):
        return (Iterative("gradient descent", Fitting, (0.05, 0.2), 20, setting="step size"),)

    def draw(self, batch, generator):
        x = torch.randn(batch, 2, generator=generator)
        clean = torch.sin(x.sum(1, keepdim=True))
        return Samples(Points(x, clean + 0.1 * torch.randn(clean.shape, generator=generator)), clean)


def test_solve_lowers_the_error():
    data = Regression().test[0].data
    few, many = (solve(Fitting(0.2), data, tolerance=0, max_iterations=n) for n in (1, 60))
    values = [float(Fitting().objective(s.state, data)) for s in (few, many)]
    assert values[1] < 0.6 * values[0]


@pytest.mark.nightly
@pytest.mark.slow
def test_one_state_goes_all_the_way(tmp_path):
    task = Regression()
    net = unroll(Fitting(), 5, untied="step_size")
    before, after = train(net, task, rate=0.1)
    assert after < before - 0.5
    compared(net, task, tmp_path / "page", ["regression"])
    deployed(net, task.test[0].data)
    with pytest.raises(ExportError, match=r"differentiates by torch\.func\.grad, which"):
        exported(net, tmp_path / "fitting.pt2", task.test[0].data)
    written = unroll(Written(), 5, untied="step_size")
    written.load_learned(net.learned())
    torch.testing.assert_close(written(task.test[0].data), net(task.test[0].data))
    exported(written, tmp_path / "written.pt2", task.test[0].data)


@pytest.mark.nightly
def test_one_state_as_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    exported(unroll(Written(), 2, untied="step_size"), tmp_path / "w.onnx", Regression().test[0].data, "onnx")
