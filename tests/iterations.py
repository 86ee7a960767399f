"""Iterations that only the tests use: each has a feature that the library's own do not have together."""

from typing import NamedTuple

import torch
from torch import nn

from unrolling import Iteration, Matrix, Positive, constrain, soft_threshold


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit_dictionary(m, n, seed=0, dtype=torch.float64):
    dictionary = gaussian(m, n, seed=seed, dtype=dtype)
    return dictionary / torch.linalg.vector_norm(dictionary, dim=0)


class Lasso(Iteration):
    """The twelve-line ISTA of the design page, for real and complex dictionaries: `encoder` (n, m) and `threshold` are
    parameters.
    """

    def __init__(self, dictionary, weight):
        super().__init__()
        step = 1 / float(torch.linalg.matrix_norm(dictionary, 2)) ** 2
        self.register_buffer("dictionary", dictionary)
        self.encoder = nn.Parameter(step * dictionary.mH.resolve_conj().contiguous())
        self.threshold = nn.Parameter(torch.full(dictionary.shape[1:], weight * step, dtype=dictionary.real.dtype))

    def start(self, problem):
        return problem.new_zeros(problem.shape[0], self.dictionary.shape[1])

    def forward(self, state, problem):
        return soft_threshold(state + (problem - state @ self.dictionary.T) @ self.encoder.T, self.threshold)


class Channel(NamedTuple):
    """Each sample brings its own matrix; all share one set of levels."""

    y: torch.Tensor  # (batch, m)
    matrix: torch.Tensor  # (batch, m, n)
    scale: torch.Tensor  # (1, n)


class Filtered(NamedTuple):
    """The problem of `Detection`."""

    matched: torch.Tensor  # (batch, n)
    gram: torch.Tensor  # (batch, n, n)
    scale: torch.Tensor  # (1, n)


class Memory(NamedTuple):
    """The state of `Detection`."""

    x: torch.Tensor  # (batch, n)
    change: torch.Tensor  # (batch, n): the last step
    steps: int


class Detection(Iteration):
    """Projected heavy-ball descent with the channel of each sample, `prepare` a method with a learned parameter in it,
    the state a NamedTuple.
    """

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.regularisation = nn.Parameter(torch.tensor(0.5, dtype=dtype))
        self.step_size = nn.Parameter(torch.tensor(0.05, dtype=dtype))
        self.momentum = nn.Parameter(torch.tensor(0.3, dtype=dtype))
        constrain(self, "step_size", Positive())

    def prepare(self, data):
        gram = data.matrix.mT @ data.matrix + self.regularisation * torch.eye(
            data.matrix.shape[-1], dtype=data.matrix.dtype
        )
        return Filtered((data.matrix.mT @ data.y.unsqueeze(-1)).squeeze(-1), gram, data.scale)

    def start(self, problem):
        return Memory(torch.zeros_like(problem.matched), torch.zeros_like(problem.matched), 0)

    def forward(self, state, problem):
        descent = problem.matched - (problem.gram @ state.x.unsqueeze(-1)).squeeze(-1)
        change = self.momentum * state.change + self.step_size * descent
        return Memory(problem.scale * torch.tanh((state.x + change) / problem.scale), change, state.steps + 1)


class Shrinking(Iteration):
    """Each step smooths without padding, so that the state loses two entries."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.kernel = nn.Parameter(torch.tensor([0.25, 0.5, 0.25], dtype=dtype))

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return self.kernel[0] * state[:, :-2] + self.kernel[1] * state[:, 1:-1] + self.kernel[2] * state[:, 2:]


class Synthesis(nn.Module):
    """A^T through the very module that holds A."""

    def __init__(self, analysis):
        super().__init__()
        self.analysis = analysis

    def forward(self, y):
        return self.analysis.adjoint(y)


class Shared(Iteration):
    """One operator is held twice, by two names, and `prepare` is the second."""

    def __init__(self, dictionary, weight):
        super().__init__()
        step = 1 / float(torch.linalg.matrix_norm(dictionary, 2)) ** 2
        self.analysis = Matrix(nn.Parameter(dictionary.clone()))
        self.synthesis = self.prepare = Synthesis(self.analysis)
        self.step_size = nn.Parameter(torch.tensor(step, dtype=dictionary.dtype))
        self.threshold = nn.Parameter(torch.tensor(weight * step, dtype=dictionary.dtype))

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        return soft_threshold(state + self.step_size * (problem - self.synthesis(self.analysis(state))), self.threshold)


def channel_data(batch, m=5, n=4, seed=0, dtype=torch.float64):
    return Channel(
        gaussian(batch, m, seed=seed, dtype=dtype),
        gaussian(batch, m, n, seed=seed + 1, dtype=dtype),
        torch.full((1, n), 2.0, dtype=dtype),
    )
