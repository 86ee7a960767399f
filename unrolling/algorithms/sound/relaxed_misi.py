"""MISI that trusts its magnitudes only so far, and shares out what is missing from the mixture by them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.sound.misi import MISI, MISIState, floor_of
from unrolling.operators.stft import STFT, masked, with_phase

_QUIET = 1e-3  # of the mixture's level: magnitudes below are alike to the shares


class RelaxedMISI(MISI):
    """S_c = U_c + alpha (A_c exp(j angle U_c) - U_c),  s_c = STFT^-1 S_c,  e = x - sum_c s_c,  u_c = s_c + STFT^-1(w_c
    STFT e), with U_c = STFT u_c and w_c = A_c^p / sum_i A_i^p.

    With alpha = 1 and p = 0 it is ``MISI`` to the bit: magnitudes are kept, and sources get equal shares of the error.
    The magnitudes that a mask gives are wrong, and by equal shares a source that is silent receives as much of the
    error as one that speaks: alpha below 1 keeps some of the magnitude that the mixture asks for, and p above 0 gives
    the error to who is loud (p = 2: the shares of a Wiener filter; Wisdom, Hershey, Wilson, Thorpe, Chinen, Patton and
    Saurous 2019, arXiv:1811.08521). Whatever alpha and p, the u_c add up to the mixture.

    Parameters: ``relaxation`` alpha (bins,), ``emphasis`` p, and those of ``magnitudes``, if it has any.

    Args:
        stft: of the signals.
        magnitudes: as in ``MISI``.
        mixture_consistent: whether the estimate is u_c, whose sum is the mixture, and not s_c.

    Raises:
        ValueError: as ``MISI`` does.
    """

    def __init__(self, stft: STFT, *, magnitudes: nn.Module | None = None, mixture_consistent: bool = True) -> None:
        super().__init__(stft, magnitudes=magnitudes, mixture_consistent=mixture_consistent)
        self.relaxation = nn.Parameter(torch.ones(stft.bins, dtype=stft.window.dtype))
        self.emphasis = nn.Parameter(torch.zeros((), dtype=stft.window.dtype))

    def forward(self, state: MISIState, problem: Any) -> MISIState:
        batch, count, samples = state.consistent.shape
        magnitudes = problem.magnitudes
        spectrum = self.stft(state.consistent.flatten(0, 1)).unflatten(0, (batch, count))
        level = self.level(problem)
        prescribed = with_phase(magnitudes, spectrum, floor_of(level))
        # Written so that alpha = 1 leaves the prescribed spectrum as it is, bit by bit.
        found = prescribed - masked(1 - self.relaxation.unsqueeze(1), prescribed - spectrum)
        sources = self.stft.inverse(found.flatten(0, 1), samples).unflatten(0, (batch, count))
        error = problem.mixture - sources.sum(1)
        equal = sources + error.unsqueeze(1) / count
        # Likewise: what the shares are beside equal ones is exactly zero where p is.
        further = masked(self._shares(magnitudes, level) - 1 / count, self.stft(error).unsqueeze(1))
        return MISIState(
            sources, equal + self.stft.inverse(further.flatten(0, 1), samples).unflatten(0, (batch, count))
        )

    def _shares(self, magnitudes: Tensor, level: Tensor) -> Tensor:
        """w_c, which add up to one: softmax_c(p log A_c)."""
        relative = magnitudes / torch.where(level == 0, 1, level)
        return torch.softmax(0.5 * self.emphasis * torch.log(relative.square() + _QUIET**2), dim=1)
