"""Detection of sequences: the best path through a trellis (Viterbi), and the sum over all paths (BCJR), as iterations
over all times at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolling.algorithms.detection.trellis import Observed, Trellis, check_observed, check_trellis
from unrolling.core import Iteration
from unrolling.core.refusals import explained


class Messages(NamedTuple):
    """The state of ``Viterbi`` and ``BCJR``: what the symbols up to a time, and from it on, say about the state of the
    channel then.
    """

    score: Tensor  # (batch, T, states): forward + backward - likelihood, the answer
    # (batch, T, states): the best (or the sum over) paths that end in a state, its own likelihood included
    forward: Tensor
    backward: Tensor  # (batch, T, states): that begin in it


class _Passing(Iteration):
    """Every time passes what it knows to its neighbours, at once. ``likelihood`` is ``prepare``: it runs once, whatever
    the depth.
    """

    def __init__(self, likelihood: nn.Module, levels: int, memory: int) -> None:
        super().__init__()
        self.trellis = check_trellis(levels, memory)
        self.likelihood = self.prepare = likelihood

    def start(self, problem: Float[Tensor, "batch T states"]) -> Messages:
        """Nothing is known."""
        zero = torch.zeros_like(problem)
        return Messages(zero, zero, zero)

    def forward(self, state: Messages, problem: Float[Tensor, "batch T states"]) -> Messages:
        """One step: after d of them each time has heard from the d - 1 on either side."""
        batch, length, states = problem.shape
        levels, rest = self.trellis.levels, states // self.trellis.levels
        # Before: (i_t-1 ... i_t-L) loses its oldest symbol. After: (i_t+1 ... ) loses its newest.
        past = self.combine(state.forward.reshape(batch, length, rest, levels), 3)
        past = torch.cat([torch.zeros_like(past[:, :1]), past[:, :-1]], dim=1)
        future = self.combine(state.backward.reshape(batch, length, levels, rest), 2)
        future = torch.cat([future[:, 1:], torch.zeros_like(future[:, :1])], dim=1)
        arriving = past.unsqueeze(2).expand(-1, -1, levels, -1).reshape(batch, length, states)
        leaving = future.unsqueeze(3).expand(-1, -1, -1, levels).reshape(batch, length, states)
        # A constant for all states of a time changes no decision, and without this one the messages would grow with the
        # number of steps.
        ahead, behind = _centered(problem + arriving), _centered(problem + leaving)
        return Messages(ahead + leaving, ahead, behind)

    def combine(self, messages: Tensor, dim: int) -> Tensor:
        """Of several paths into one."""
        raise NotImplementedError

    def check(self, data: Observed) -> None:
        super().check(data)
        check_observed(data, self.trellis.memory)


def _centered(messages: Tensor) -> Tensor:
    return messages - messages.amax(2, keepdim=True)


class Viterbi(_Passing):
    """f_t(s) = l_t(s) + max_(s' -> s) f_(t-1)(s'), b_t(s) = l_t(s) + max_(s -> s') b_(t+1)(s'), score f + b - l: of the
    best path through s at time t.

    Viterbi 1967, doi:10.1109/TIT.1967.1054010, and Forney 1973, doi:10.1109/PROC.1973.9030, with both sweeps and all
    times at once (max-sum message passing; Kschischang, Frey and Loeliger 2001, doi:10.1109/18.910572). After T steps
    the state no longer changes, and the best state of each time is on the maximum-likelihood path; d steps decide from
    the d - 1 symbols before and after, as a decoder with a finite decision delay does, for which five times the memory
    loses next to nothing. The first step decides from y_t alone. ``solve`` runs it until it stands still; unrolled with
    a learned ``likelihood`` it is ViterbiNet, Shlezinger, Farsad, Eldar and Goldsmith 2020,
    doi:10.1109/TWC.2020.2972352, arXiv:1905.10750; survey, section VI.

    Parameters: those of ``likelihood``.

    Args:
        likelihood: ``Observed`` -> log p(y_t | s), up to a number for each t, (batch, T, M^L).
        levels: M, of the alphabet.
        memory: L, taps of the channel, the present symbol's included.
    """

    def combine(self, messages: Tensor, dim: int) -> Tensor:
        return messages.amax(dim)


class BCJR(_Passing):
    """As ``Viterbi`` with log-sum-exp in the place of the maximum: log p(s_t | y) up to a constant, so that the best
    symbol of each time is decided alone.

    Bahl, Cocke, Jelinek and Raviv 1974, doi:10.1109/TIT.1974.1055186: the fewest wrong symbols that any detector can
    have. After T steps it is exact. The likelihood must be normalised alike in all states: scaling it, which changes no
    Viterbi path, changes the posterior.

    Parameters: those of ``likelihood``.

    Args:
        likelihood: as for ``Viterbi``.
        levels: M, of the alphabet.
        memory: L, taps of the channel, the present symbol's included.
    """

    def combine(self, messages: Tensor, dim: int) -> Tensor:
        return messages.logsumexp(dim)

    def estimate(self, state: Messages, problem: Tensor) -> Float[Tensor, "batch T states"]:
        """log p(a_t | y) of the newest symbol of each state: the symbols that are decided are the likeliest ones, not
        those of the likeliest states.
        """
        batch, length, states = state.score.shape
        levels = self.trellis.levels
        total = state.score.log_softmax(2).reshape(batch, length, levels, states // levels).logsumexp(3)
        return total.unsqueeze(3).expand(-1, -1, -1, states // levels).reshape(batch, length, states)


@explained
def viterbi_path(likelihood: Float[Tensor, "batch T states"], trellis: Trellis) -> Int[Tensor, "batch T"]:
    """The states of the best path, by the sweep and the traceback of the textbook: one time after the other, each
    costing O(M^(L + 1)).

    Args:
        likelihood: log p(y_t | s), up to a number for each t.
        trellis: of the channel; all states are equally likely at the beginning.
    """
    if likelihood.ndim != 3 or likelihood.shape[1] < 1 or likelihood.shape[2] != trellis.states:
        raise ValueError(f"likelihood is (batch, T, {trellis.states}); got shape {tuple(likelihood.shape)}")
    levels, rest = trellis.levels, trellis.states // trellis.levels
    best = likelihood[:, 0]
    choices = []
    for t in range(1, likelihood.shape[1]):
        value, oldest = best.unflatten(1, (rest, levels)).max(2)
        choices.append(oldest)
        best = likelihood[:, t] + value.repeat(1, levels)
    state = best.argmax(1)
    path = [state]
    for oldest in reversed(choices):
        newer = state % rest
        state = newer * levels + oldest.gather(1, newer.unsqueeze(1)).squeeze(1)
        path.append(state)
    return torch.stack(path[::-1], dim=1)
