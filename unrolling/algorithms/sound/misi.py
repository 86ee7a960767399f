"""Phases from magnitudes: multiple-input spectrogram inversion, and with one source the algorithm of Griffin and
Lim.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import Iteration, scale
from unrolling.core.arguments import check_count
from unrolling.core.refusals import explain_call
from unrolling.operators.stft import STFT, with_phase

FLOOR = 1e-6  # of a modulus that is divided by, relative to the root mean square of the mixture's spectrum


class Magnitudes(NamedTuple):
    """A mixture with the magnitudes of its sources: the data and the problem of ``MISI``."""

    mixture: Tensor  # (batch, samples)
    magnitudes: Tensor  # (batch, sources, bins, frames), at least 0


class MISIState(NamedTuple):
    """The state of ``MISI``."""

    sources: Tensor  # (batch, sources, samples): s_c = STFT^-1(A_c exp(j theta_c))
    consistent: Tensor  # (batch, sources, samples): u_c = s_c + (x - sum_c s_c) / C, which add up to the mixture


class MISI(Iteration):
    """theta_c <- angle STFT u_c,  s_c <- STFT^-1(A_c exp(j theta_c)),  u_c <- s_c + (x - sum_c s_c) / C, the magnitudes
    A_c held fixed.

    Multiple-input spectrogram inversion (Gunawan and Sen 2010, doi:10.1109/LSP.2010.2042530; survey, section III-D). At
    the start u_c = x, whose phase is the mixture's: the first step gives the magnitudes with the mixture's phase, and
    step k + 1 what the literature counts as k iterations. Phases are spectra over their moduli, so that no derivative
    of an angle is taken.

    With the window of ``sqrt_hann`` the sum over sources, frames and both sides of the spectrum of (|STFT u_c| - A_c)^2
    never rises.

    Parameters: those of ``magnitudes``, if it has any.

    Args:
        stft: of the signals.
        magnitudes: a module from mixtures (batch, samples) to ``Magnitudes``, learned perhaps; it becomes ``prepare``
            and is known as ``magnitudes``. By default data are ``Magnitudes`` already.
        mixture_consistent: whether the estimate is u_c, whose sum is the mixture, and not s_c.

    Raises:
        ValueError: shapes of mixtures and magnitudes that do not belong together.
    """

    def __init__(self, stft: STFT, *, magnitudes: nn.Module | None = None, mixture_consistent: bool = False) -> None:
        super().__init__()
        self.stft, self.mixture_consistent = stft, mixture_consistent
        if magnitudes is not None:
            self.magnitudes = magnitudes
            self.prepare = magnitudes

    def start(self, problem: Magnitudes) -> MISIState:
        """u_c = x; there are no sources yet."""
        spread = problem.mixture.unsqueeze(1).repeat(1, problem.magnitudes.shape[1], 1)
        return MISIState(torch.zeros_like(spread), spread)

    def forward(self, state: MISIState, problem: Magnitudes) -> MISIState:
        batch, count, samples = state.consistent.shape
        spectrum = self.stft(state.consistent.flatten(0, 1)).unflatten(0, (batch, count))
        found = with_phase(problem.magnitudes, spectrum, floor_of(self.level(problem)))
        sources = self.stft.inverse(found.flatten(0, 1), samples).unflatten(0, (batch, count))
        error = problem.mixture.unsqueeze(1) - sources.sum(1, keepdim=True)
        return MISIState(sources, sources + error / count)

    def level(self, problem: Magnitudes) -> Float[Tensor, "batch 1 1 1"]:
        """The root mean square of the mixture's spectrum: by Parseval from its samples, and the same for every step."""
        samples = problem.mixture.shape[1]
        mean = scale.norm(problem.mixture, 1) * samples**-0.5
        return (mean * torch.linalg.vector_norm(self.stft.window)).reshape(-1, 1, 1, 1)

    def estimate(self, state: MISIState, problem: Any) -> Float[Tensor, "batch sources samples"]:
        """s_c, or u_c."""
        return state.consistent if self.mixture_consistent else state.sources

    def objective(self, state: MISIState, problem: Magnitudes) -> Float[Tensor, " batch"]:
        """sum_c | |STFT u_c| - A_c |^2 over frames and both sides of the spectrum, (batch,)."""
        batch, count, _ = state.consistent.shape
        spectrum = self.stft(state.consistent.flatten(0, 1)).unflatten(0, (batch, count))
        return self.stft.energy((spectrum.abs() - problem.magnitudes).flatten(0, 1)).unflatten(0, (batch, count)).sum(1)

    def check(self, data: Any) -> None:
        super().check(data)
        if "magnitudes" in self._modules:
            self.stft.check_input(data, "data")
            return
        self.stft.check_input(data.mixture, "data.mixture")
        bins, frames = self.stft.bins, self.stft.frames(data.mixture.shape[1])
        if data.magnitudes.ndim != 4 or data.magnitudes.shape[2:] != (bins, frames):
            raise ValueError(
                f"mixtures of {data.mixture.shape[1]} samples have magnitudes of shape (batch, sources, {bins}, "
                f"{frames}); got {tuple(data.magnitudes.shape)}"
            )


@explain_call
class EqualShares(nn.Module):
    """|X| / C for each of C sources: what is known without a network.

    Args:
        stft: of the mixture.
        sources: C.
    """

    def __init__(self, stft: STFT, sources: int) -> None:
        super().__init__()
        check_count(sources, "sources")
        self.stft, self.sources = stft, sources

    def forward(self, mixture: Float[Tensor, "batch samples"]) -> Magnitudes:
        """The mixture with an equal share of its magnitude for each source."""
        return Magnitudes(mixture, (self.stft(mixture).abs() / self.sources).unsqueeze(1).repeat(1, self.sources, 1, 1))


class GriffinLim(Iteration):
    """x <- STFT^-1(A exp(j angle STFT x)): the signal whose magnitudes are A, Griffin and Lim 1984
    (doi:10.1109/TASSP.1984.1164317).

    | |STFT x| - A | never rises. MISI with one source is no such thing: there the mixture is the answer.

    Args:
        stft: of the signals.
        length: samples of the signals; by default those of the longest that has so many frames.
    """

    def __init__(self, stft: STFT, *, length: int | None = None) -> None:
        super().__init__()
        if length is not None:
            check_count(length, "length")
        self.stft, self.length = stft, length

    def start(self, problem: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch samples"]:
        """The signal of zero phases."""
        return self.stft.inverse(torch.complex(problem, torch.zeros_like(problem)), self.length)

    def forward(
        self, state: Float[Tensor, "batch samples"], problem: Float[Tensor, "batch bins frames"]
    ) -> Float[Tensor, "batch samples"]:
        spectrum = self.stft(state)
        level = scale.norm(problem, (1, 2), keepdim=True) * problem.shape[1:].numel() ** -0.5
        return self.stft.inverse(with_phase(problem, spectrum, floor_of(level)), self.length)

    def objective(
        self, state: Float[Tensor, "batch samples"], problem: Float[Tensor, "batch bins frames"]
    ) -> Float[Tensor, " batch"]:
        """| |STFT x| - A |^2 over frames and both sides of the spectrum, (batch,)."""
        return self.stft.energy(self.stft(state).abs() - problem)

    def check(self, data: Tensor) -> None:
        super().check(data)
        if data.is_complex() or data.ndim != 3 or data.shape[1] != self.stft.bins:
            raise ValueError(
                f"data are magnitudes of shape (batch, {self.stft.bins}, frames); got {tuple(data.shape)}, {data.dtype}"
            )


def floor_of(level: Tensor) -> Tensor:
    """Smallest modulus that is divided by, from the root mean square of moduli; one in silence, where there is nothing
    to divide.
    """
    return torch.where(level == 0, 1, FLOOR * level)
