"""Non-negative matrix factorisation of mixtures of known kinds of sources: the parent and the layer of Deep NMF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sound.nmf import (
    FLOOR,
    PositiveUnitNorm,
    divergence_of,
    equal_activations,
    level_of,
    set_sparsity,
    unit_columns,
    update_activations,
)
from unrolling.core import Iteration, Positive, constrain
from unrolling.operators.stft import STFT, masked


class Mixture(NamedTuple):
    """The problem of ``NMFSeparation``."""

    magnitude: Tensor  # (batch, frames, bins context): |X|, neighbouring frames stacked
    spectrum: Tensor  # (batch, bins, frames), complex: X
    samples: int  # of the mixture


class NMFSeparation(Iteration):
    """Sources of known kinds from a mixture: (24) on its magnitudes |X|, then s_c = STFT^-1((V_c H_c) / (sum_c V_c H_c)
    X), survey III-D and (21)-(26).

    The columns of W, and the rows of H with them, belong to the sources in turn. The estimates add up to the mixture.

    Parameters: ``dictionary`` W (bins context, rank), non-negative with unit columns; ``reconstruction`` V (bins,
    rank), non-negative, at the start the rows of W for the middle frame; ``sparsity`` mu where it is positive.

    Args:
        stft: of the signals.
        dictionaries: W_c >= 0 for each source, (bins context, rank_c).
        beta: of the divergence.
        sparsity: mu, for mixtures of unit root mean square.
        context: frames on which each activation rests, an odd number: the frame and its neighbours. Frames beyond the
            ends are silent.
        constrained: as for ``NMFActivations``.

    Raises:
        ValueError: an even context, dictionaries that do not fit the STFT, and what ``NMFActivations`` refuses.
    """

    sparsity: Tensor

    def __init__(
        self,
        stft: STFT,
        dictionaries: Sequence[Float[Tensor, "bins rank"]],
        *,
        beta: float = 1.0,
        sparsity: float = 0.0,
        context: int = 1,
        constrained: bool = True,
    ) -> None:
        super().__init__()
        if context < 1 or context % 2 == 0:
            raise ValueError(
                f"context is {context}; it is an odd number of frames, a frame and as many before it as after it"
            )
        rows = stft.bins * context
        wrong = [
            tuple(dictionary.shape)
            for dictionary in dictionaries
            if dictionary.ndim != 2 or dictionary.shape[0] != rows
        ]
        if wrong or not dictionaries:
            raise ValueError(
                f"dictionaries have {rows} rows ({stft.bins} bins in {context} frames), one of them per "
                f"source; got {wrong or 'none'}"
            )
        self.stft, self.beta, self.context = stft, float(beta), context
        self.ranks = [dictionary.shape[1] for dictionary in dictionaries]
        together = unit_columns(torch.cat(list(dictionaries), dim=1))
        middle = slice(context // 2 * stft.bins, (context // 2 + 1) * stft.bins)
        self.dictionary = nn.Parameter(together)
        self.reconstruction = nn.Parameter(together[middle].clone())
        set_sparsity(self, sparsity, together)
        if constrained:
            constrain(self, "dictionary", PositiveUnitNorm())
            constrain(self, "reconstruction", Positive())

    def prepare(self, data: Float[Tensor, "batch samples"]) -> Mixture:
        """Spectrum and stacked magnitudes."""
        spectrum = self.stft(data)
        return Mixture(stack_frames(spectrum.mT.abs(), self.context), spectrum, data.shape[1])

    def start(self, problem: Mixture) -> Float[Tensor, "batch frames rank"]:
        """The transpose of H: equal activations in every frame, such that W H has its sum."""
        return equal_activations(problem.magnitude, self.dictionary)

    def forward(
        self, state: Float[Tensor, "batch frames rank"], problem: Mixture
    ) -> Float[Tensor, "batch frames rank"]:
        return update_activations(problem.magnitude, self.dictionary, state, self.beta, self.sparsity)

    def masks(self, activations: Float[Tensor, "batch frames rank"]) -> Float[Tensor, "batch sources bins frames"]:
        """(V_c H_c) / (sum_c V_c H_c): in [0, 1], one in sum."""
        parts = [
            h @ v.mT
            for v, h in zip(
                self.reconstruction.split(self.ranks, dim=1), activations.split(self.ranks, dim=2), strict=True
            )
        ]
        level = level_of(activations).unsqueeze(1)
        models = torch.stack(parts, dim=1) / level + FLOOR
        return (models / models.sum(1, keepdim=True)).mT

    def estimate(self, state: Tensor, problem: Mixture) -> Float[Tensor, "batch sources samples"]:
        """The sources, which add up to the mixture."""
        spectra = masked(self.masks(state), problem.spectrum.unsqueeze(1))
        return self.stft.inverse(spectra.flatten(0, 1), problem.samples).unflatten(0, spectra.shape[:2])

    def objective(self, state: Tensor, problem: Mixture) -> Float[Tensor, " batch"]:
        """D_beta(|X| | W H) + mu |H|_1, (batch,)."""
        found = divergence_of(problem.magnitude, self.dictionary, state, self.beta)
        return found + self.sparsity * state.flatten(1).sum(1)

    def check(self, data: Tensor) -> None:
        super().check(data)
        self.stft.check_input(data, "data")


def stack_frames(magnitude: Float[Tensor, "batch frames bins"], context: int) -> Float[Tensor, "batch frames rows"]:
    """Each frame with its neighbours, the earliest first, zero beyond the ends: (batch, frames, bins context)."""
    if context < 1 or context % 2 == 0:
        raise ValueError(f"context is {context}; it is an odd number of frames: the frame and its neighbours")
    if context == 1:
        return magnitude.contiguous()
    side, frames = context // 2, magnitude.shape[1]
    padded = nn.functional.pad(magnitude, (0, 0, side, side))
    return torch.cat([padded[:, k : k + frames] for k in range(context)], dim=2)
