"""A restoration unit that is applied until a policy says that it is enough, picture by picture."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, tree
from unrolling.core.arguments import check_numbers
from unrolling.core.naming import class_name


class Halting(NamedTuple):
    """The state of ``HaltingRestoration``, and of the last step what losses of policies look at."""

    answer: Tensor  # (batch, height, width): x where its picture stopped
    x: Tensor  # (batch, height, width): goes on
    memory: Tensor  # (batch, features): of the policy
    value: Tensor  # (batch,): q of going on from here; of stopping it is 0
    running: Tensor  # (batch,): 1 as long as the picture has not stopped, else 0
    steps: Tensor  # (batch,): taken by x
    before: Tensor  # (batch, height, width): x before the last step
    asked: Tensor  # (batch,): q before it
    reached: Tensor  # (batch,): the chance of a policy that draws lots, sigmoid(q) for going on, to have come that far
    mixture: Tensor  # (batch, height, width): what that policy would answer on average, if the rest stopped here


class HaltingRestoration(Iteration):
    """x <- P(x + f(x)); a picture stops before the first step at which the policy's value of going on, q(x, h), is not
    positive.

    Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709 (dynamically unfolding recurrent restorer; survey, Table I): the
    control of a differential equation dx/dt = f(x) whose end is free. Stronger noise is given more steps. The unit f
    and the policy are the same in all steps, so that any number of them may be taken: ``solve`` takes as many as each
    picture wants, and freezes those that have stopped.

    With f = -grad E it is gradient descent on E; with a policy that always goes on, or none, a fixed number of steps.

    Parameters: those of ``unit`` and ``policy``.

    Args:
        data_term: what the data are: where x begins, and the projection P onto what they allow.
        unit: f, (batch, height, width) to the same.
        policy: (x, memory) -> (value, memory), (batch,) and (batch, features); its ``features`` says how many. None
            never stops.
    """

    algorithm = "PeronaMalik"

    def __init__(self, data_term: DataTerm, unit: nn.Module, policy: nn.Module | None = None) -> None:
        super().__init__()
        self.data_term = data_term
        self.prepare = data_term
        self.unit, self.policy = unit, policy

    def _asked(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The value of going on, and what the policy remembers."""
        return (x.new_ones(x.shape[0]), memory) if self.policy is None else self.policy(x, memory)

    def start(self, problem: Problem) -> Halting:
        """The data term's start, and the first decision."""
        x = self.data_term.start(problem)
        features: Any = 1 if self.policy is None else self.policy.features
        value, memory = self._asked(x, x.new_zeros(x.shape[0], features))
        one = x.new_ones(x.shape[0])
        return Halting(x, x, memory, value, one, torch.zeros_like(one), x, one, one, x)

    def forward(self, state: Halting, problem: Problem) -> Halting:
        running = state.running * (state.value > 0).to(state.running)
        x = self.data_term.project(state.x + self.unit(state.x), problem)
        # A decision that is not a number is none: its picture is not one that stopped.
        unclear = torch.where(state.running > 0, 0 * state.value, torch.zeros_like(state.value))
        answer = torch.where(running.reshape(-1, 1, 1) > 0, x, state.answer) + unclear.reshape(-1, 1, 1).to(x.dtype)
        value, memory = self._asked(x, state.memory)
        # The chance to have come to the decision before this step: all before it were for going on.
        first = (state.steps > 0).to(state.reached)
        reached = state.reached * (1 - first + first * torch.sigmoid(state.asked))
        going = (reached * torch.sigmoid(state.value)).reshape(-1, 1, 1)
        mixture = x if self.policy is None else state.mixture + going * (x - state.x)
        return Halting(answer, x, memory, value, running, state.steps + 1, state.x, state.value, reached, mixture)

    def estimate(self, state: Halting, problem: Problem) -> Float[Tensor, "batch height width"]:
        """Each picture where it stopped, or as it is."""
        return state.answer

    def supervised(self, state: Halting, problem: Problem) -> Float[Tensor, "batch height width"]:
        """The answer of a policy that draws lots, on average over them: it has a gradient in the policy."""
        return state.mixture

    def residual(self, new: Halting, old: Halting, problem: Problem) -> Float[Tensor, " batch"]:
        """0 where a picture has stopped, infinity where it goes on, NaN where it left the finite numbers; without a
        policy the relative change of x.
        """
        if self.policy is None:
            return tree.relative_change(new.x, old.x)
        going = new.running * (new.value > 0).to(new.running)
        return torch.where(going > 0, torch.inf, going) + 0 * (new.x + new.answer).flatten(1).sum(1)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)
        check_numbers(self.data_term.measured(data), "data", class_name(self), real=True)

    def advice(self) -> str:
        return "take fewer steps, or a unit that was trained for as many"
