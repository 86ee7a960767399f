"""The conformance checks find the faults that they are there for."""

import copy

import pytest
import torch
from iterations import Lasso, Shrinking, channel_data, gaussian, unit_dictionary
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from unrolling import Iteration
from unrolling.testing import (
    CHECKS,
    check_export,
    check_iteration,
    groups,
)

DICTIONARY, Y = unit_dictionary(6, 9), gaussian(5, 6, seed=3)
FAST = ("compile", "export")


class Writing(Lasso):
    """Works in place on its state."""

    def forward(self, state, problem):
        return super().forward(state.mul_(1.0), problem)


class WritingProblem(Lasso):
    """Works in place on its problem."""

    def start(self, problem):
        problem += 1
        return super().start(problem)


class Remembering(Lasso):
    """Hides a step counter in the module."""

    steps = 0

    def forward(self, state, problem):
        self.steps += 1
        return super().forward(state, problem) / self.steps


class Mixing(Lasso):
    """Normalises over the batch."""

    def forward(self, state, problem):
        x = super().forward(state, problem)
        return x / (1 + x.abs().mean())


class LeavingInput(Lasso):
    """Sees how many samples still run, and so is another algorithm once some have finished."""

    def forward(self, state, problem):
        return super().forward(state, problem * state.shape[0])


class Detached(Lasso):
    """Cuts the gradient."""

    def forward(self, state, problem):
        return super().forward(state, problem).detach()


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 0.5 * x

    @staticmethod
    def backward(ctx, grad):
        return grad


class WrongGradient(Lasso):
    """Has a backward pass that is not its derivative."""

    def forward(self, state, problem):
        return Wrong.apply(super().forward(state, problem))


class PreparingTwice(Lasso):
    """Prepares again in each step."""

    def forward(self, state, problem):
        return super().forward(state, self.prepare(problem))


class Single(Lasso):
    """Cannot be copied, so that its layers and itself are one."""

    def __deepcopy__(self, memo):
        return self


class Normalised(nn.Module):
    """Of norm one, but a value that has it already is divided by it once more, which rounds."""

    def forward(self, w):
        return w / torch.linalg.vector_norm(w)

    def right_inverse(self, value):
        return value.clone()


class Inexact(Lasso):
    def __init__(self, dictionary, weight):
        super().__init__(dictionary, weight)
        register_parametrization(self, "encoder", Normalised())


class Flat(Lasso):
    """Gives one number for the batch."""

    def estimate(self, state, problem):
        return state.sum().reshape(1)


class Skipping(Lasso):
    """Its residual is a maximum that NaN passes through."""

    def residual(self, new, old, problem):
        return torch.nan_to_num(super().residual(new, old, problem))


class Absolute(Lasso):
    """Its residual has a scale."""

    def residual(self, new, old, problem):
        return torch.linalg.vector_norm(new - old, dim=1)


class Together(Lasso):
    """One residual for the batch."""

    def residual(self, new, old, problem):
        return super().residual(new, old, problem).max()


class Total(Lasso):
    """One objective for the batch."""

    def objective(self, state, problem):
        return state.abs().sum()


class Averaged(Lasso):
    """An objective that depends on the other samples."""

    def objective(self, state, problem):
        return state.abs().sum(1) + problem.mean()


class Cut(Lasso):
    """An objective that cannot be differentiated."""

    def objective(self, state, problem):
        return state.detach().abs().sum(1)


class Elsewhere(Lasso):
    """Says that another problem has its fixed point."""

    def fixed_point(self):
        return Lasso(self.dictionary, 0.3)


class Hidden(Lasso):
    """Its state is not all of its state: a step depends on the one before through the problem."""

    def prepare(self, data):
        return [data, 0]

    def start(self, problem):
        return super().start(problem[0])

    def forward(self, state, problem):
        problem[1] += 1
        return super().forward(state, problem[0]) / problem[1]


class Narrow(Lasso):
    """Gives another shape to no samples."""

    def estimate(self, state, problem):
        return state if len(state) else state[:, :1]


class Averaging(Lasso):
    """Keeps a running mean that nobody knows of."""

    def __init__(self, dictionary, weight):
        super().__init__(dictionary, weight)
        self.register_buffer("mean", torch.zeros(dictionary.shape[1], dtype=dictionary.dtype))

    def forward(self, state, problem):
        x = super().forward(state, problem)
        self.mean.lerp_(x.detach().mean(0), 0.1)
        return x


class Once(torch.autograd.Function):
    """A square whose first derivative is right and recorded as if it were a constant times the input."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x.detach() * grad


class FirstOnly(Lasso):
    """Its second derivative is wrong in silence."""

    def forward(self, state, problem):
        return Once.apply(state + (problem - state @ self.dictionary.T) @ self.encoder.T)


FAULTS = [
    (Skipping, "residual", r"where the state is NaN the residual is NaN .* a maximum or a comparison that skips NaN"),
    (Absolute, "residual", r"the residual of states 9.54e-07 times as large is off"),
    (Together, "residual", r"the residual has shape \(\); it is one real number per sample, \(5,\)"),
    (Total, "objective", r"the objective has shape \(\); it is one real number per sample"),
    (Averaged, "objective", r"the objective of sample 0 alone is off"),
    (Cut, "objective", r"cannot be differentiated in the state; is it detached"),
    (Elsewhere, "fixed_point", r"in a step of what fixed_point gives: they do not share their fixed point"),
    (Hidden, "stream", r"the estimate of a run in pieces of 1 and 3 layers .* must agree to the bit"),
    (Narrow, "empty_batch", r"the estimate of an empty batch has shape \(0, 1\); expected \(0, 9\)"),
    (Averaging, "statistics", r"forward wrote into the buffer mean.*written_buffers"),
    (FirstOnly, "second_derivative", r"the second derivative is .* and finite differences of the first give"),
    (Writing, "purity", r"step 1 wrote into state; a step returns new tensors"),
    (WritingProblem, "parent", r"is off|differs"),
    (Remembering, "parent", r"must agree to the bit"),
    (Remembering, "purity", r"the second result of step 1 from the same inputs differs"),
    (Mixing, "batch", r"the estimate of sample 0 among 5, compared with the one alone, is off"),
    (Mixing, "solve", r"the solution of sample 0 among 5, compared with the one alone, is off"),
    (LeavingInput, "solve", r"compared with the one alone, is off"),
    (Flat, "batch", r"the estimate has leading size 1 and the batch is 5"),
    (Detached, "training", r"no parameter of the network .* receives a gradient; is a step detached\?"),
    (WrongGradient, "gradients", r"disagrees with finite differences"),
    (PreparingTwice, "prepare", r"prepare ran 5 times in one call of a network with untied=\[\]; expected 1"),
    (PreparingTwice, "solve", r"prepare ran 5 times in one solve; it must run once"),
    (Single, "aliasing", r"learned tensors, expected|shares the memory of a learned tensor"),
    (Single, "training", r"the parent after training its network"),
    (Inexact, "saving", r"the learned values after safetensors .* must agree to the bit"),
]


@pytest.mark.parametrize(("faulty", "check", "message"), FAULTS)
@pytest.mark.filterwarnings("ignore")
def test_each_fault_is_found_and_named(faulty, check, message):
    with pytest.raises((AssertionError, RuntimeError) if check == "training" else AssertionError, match=message):
        check_iteration(faulty(DICTIONARY, 0.1), Y.clone(), skip=set(CHECKS) - {check})


def test_the_message_is_headed_by_the_class_and_the_check():
    with pytest.raises(AssertionError, match=r"^Mixing, batch: the estimate of sample 0"):
        check_iteration(Mixing(DICTIONARY, 0.1), Y, skip=set(CHECKS) - {"batch"})


def test_checks_leave_the_iteration_as_it_was():
    lasso, y = Lasso(DICTIONARY, 0.1), Y.clone()
    before = copy.deepcopy(lasso)
    check_iteration(lasso, y, skip=FAST)
    assert torch.equal(y, Y)
    assert lasso.__dict__.keys() == before.__dict__.keys()
    assert type(lasso.prepare) is nn.Identity
    for name, value in before.state_dict().items():
        assert torch.equal(lasso.state_dict()[name], value)


def test_an_unknown_check_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match="skip names gradient; the checks are parent, prepare, solve, purity, residual, objective, "
        "fixed_point, stream, gradients, second_derivative, batch, empty_batch, saving, training, statistics, "
        "aliasing, deployed, compile, export",
    ):
        check_iteration(Lasso(DICTIONARY, 0.1), Y, skip="gradient")


def test_export_needs_a_batch_that_is_not_a_constant():
    with pytest.raises(AssertionError, match="needs a batch of at least 3"):
        check_export(Lasso(DICTIONARY, 0.1), Y[:2])


def test_groups_cover_every_way_to_hold_a_parameter():
    for name in ("encoder", "threshold"):
        ways = groups(Lasso(DICTIONARY, 0.1))
        assert any(name in tied for tied, _ in ways)
        assert any(name in untied for _, untied in ways)
    assert any(tied and untied for tied, untied in groups(Lasso(DICTIONARY, 0.1)))
    assert groups(Shrinking()) == [((), ()), (("kernel",), ()), ((), ("kernel",))]


class Bare(Iteration):
    """Without parameters, on NamedTuple data."""

    def start(self, problem):
        return torch.zeros_like(problem.y)

    def forward(self, state, problem):
        return 0.5 * (state + problem.y)


def test_an_iteration_without_parameters_passes():
    assert groups(Bare()) == [((), ())]
    check_iteration(Bare(), channel_data(4), skip=FAST)
