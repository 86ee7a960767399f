"""Photographs recovered from a quarter of their measurements, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms import FISTA, CoordinateDescent, Decoded, GramISTA, SynthesisISTA
from unrolling.operators.patches import BlockSensing, projections
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.images.blocks import (
    PATCH,
    block_decode,
    block_decoder,
    block_dictionary,
    free_mean,
    least_squares,
    orthonormal_rows,
    patch_frame,
)
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.sparse.baselines import FIRST_WEIGHT, RATE, scikit_learn

BLOCK = 16
# Chosen on the validation photographs: textures and pictures from microscopes and telescopes made things worse there.
TRAINING = ("china", "flower", "chelsea", "motorcycle", "coins")


class Photographs(Pictures):
    """y = Phi b for every block b of 16 x 16 pixels, Phi (m, 256) with orthonormal rows from Gaussian ones; recover the
    photograph.

    Data are (batch, height / 16, width / 16, m), targets (batch, height, width) in [0, 1].

    Args:
        ratio: m / 256.
        seed: of Phi and of the training crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file, ``sensing.matrix`` among them, used instead of drawing Phi.
        crop: side of the training crops.

    Raises:
        ValueError: a ratio that leaves no measurement or more than pixels, and what ``Pictures`` refuses.
    """

    name = "photographs"
    given = "random projections of the blocks of a photograph"
    sought = "the photograph"
    multiple = BLOCK
    vectors = True
    options: Mapping[str, Any] = {"ratio": 0.25}
    units: Mapping[str, str] = {"data": "1, products with luma", "estimate": "1, luma from 0 (black) to 1 (white)"}
    notes = (
        "ISTA and FISTA start at zero unless a row says that it starts at the linear estimate; networks over "
        "overlapping patches start at its code, so that before training they equal ISTA from there. All end by adding "
        "what the measurements say about the error that remains.",
        "Convergence means that the last third of the iterations, two hundred at least, has moved the PSNR by less "
        "than 0.05 dB. ISTA and FISTA pass through better pictures on their way to the minimiser of their objective "
        "than the minimiser is.",
        "A step of coordinate descent changes one coordinate and costs O(n), a step of ISTA O(m n) or O(n^2): compare "
        "times, not iterations.",
    )

    def __init__(
        self,
        ratio: float = 0.25,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        matrix = orthonormal_rows(ratio, BLOCK, seed) if fixed is None else fixed["sensing.matrix"]
        self.sensing = BlockSensing(matrix)
        super().__init__(seed, data, crop, TRAINING)

    @property
    def summary(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        m = self.sensing.matrix.shape[0]
        side = "x".join(map(str, self.timing.target.shape[1:]))
        return (
            f"Recover photographs from {m / BLOCK**2:.0%} of their measurements: every block of 16 x 16 pixels is seen "
            f"through the same {m} random projections. "
            f"None of the test photographs ({', '.join(self.photographs['test'])}) was trained or tuned on. Times are "
            f"per crop of {side} pixels."
        )

    @classmethod
    def small(cls) -> Photographs:
        return cls(data=few_drawn(), crop=32)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Another ratio than a quarter."""
        return "" if options["ratio"] == 0.25 else f"ratio{options['ratio']:g}"

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The lasso over overlapping patches, and the one over disjoint blocks."""

        def patches(weight: float) -> SynthesisISTA:
            return SynthesisISTA(self.sensing, patch_frame(), free_mean(weight, PATCH))

        def begun(weight: float) -> SynthesisISTA:
            return SynthesisISTA(self.sensing, patch_frame(), free_mean(weight, PATCH), initial=self.linear_estimate())

        def continued(weight: float) -> FISTA:
            return FISTA(patches(weight), continuation=(max(FIRST_WEIGHT / weight, 1.0), RATE))

        dictionary, decoder = block_dictionary(self.sensing), block_decoder(self.sensing)
        return [
            Iterative("ISTA", patches, (0.01,), 200),
            Iterative("ISTA from the linear estimate", begun, (0.003, 0.01, 0.03), 200, tuning=60),
            Iterative("FISTA", lambda w: FISTA(patches(w)), (0.003, 0.01), 1200, tuning=100),
            Iterative("FISTA with continuation", continued, (0.01,), 600),
            Iterative(
                "FISTA, disjoint blocks",
                lambda w: Decoded(FISTA(GramISTA(dictionary, free_mean(w, BLOCK))), decoder),
                (0.02, 0.04),
                600,
                tuning=100,
            ),
            Iterative(
                "coordinate descent, disjoint blocks",
                lambda w: Decoded(CoordinateDescent(dictionary, free_mean(w, BLOCK)), decoder),
                (0.02,),
                300,
            ),
            scikit_learn(
                self,
                dictionary,
                "omp",
                "orthogonal matching pursuit, disjoint blocks",
                "n_nonzero_coefs",
                (8, 16, 24),
                limit=1,
                decode=block_decode(self.sensing),
            ),
        ]

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        return Samples(self.sensing(clean), clean)

    def rows(self, data: Tensor) -> Tensor:
        return data.reshape(-1, data.shape[-1])

    def target_rows(self, target: Tensor) -> Tensor:
        return BlockSensing(torch.eye(BLOCK**2, device=target.device))(target).reshape(-1, BLOCK**2)

    def assemble(self, rows: Tensor, data: Tensor) -> Tensor:
        return BlockSensing(torch.eye(BLOCK**2, device=rows.device)).adjoint(rows.reshape(*data.shape[:3], BLOCK**2))

    def linear_gain(self) -> Tensor:
        """(256, m): the linear estimate b = G y of least squared error over all blocks of the training photographs, at
        every fourth pixel.
        """
        moment = torch.zeros(BLOCK**2, BLOCK**2, dtype=torch.float64)
        for picture in self.photographs["train"].values():
            blocks = picture.unfold(0, BLOCK, 4).unfold(1, BLOCK, 4).reshape(-1, BLOCK**2).double()
            moment += blocks.T @ blocks / len(blocks) * len(blocks) ** 0.5
        return least_squares(self.sensing.matrix, moment)

    def linear_estimate(self) -> BlockSensing:
        """The linear estimate, from measurements to pictures."""
        return BlockSensing(self.linear_gain().T.contiguous()).H  # pyright: ignore[reportReturnType]

    def shifts(self) -> Sequence[Shift]:
        """Noise on the measurements, and darker pictures."""
        crops = self.timing.target[:2]
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.timing.data[:2].shape, generator=generator)

        def noisy(level: float) -> Samples:
            return Samples(self.sensing(crops) + level * noise, crops)

        return (
            Shift(
                "noise on the measurements, standard deviation",
                (0.0, 0.02, 0.05, 0.1, 0.2),
                noisy,
                0.0,
                "White noise is added to every measurement.",
            ),
            Shift(
                "brightness",
                (0.25, 0.5, 1.0),
                lambda v: Samples(self.sensing(v * crops), v * crops),
                1.0,
                "Pictures are darkened; the PSNR still counts from white = 1.",
            ),
        )

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {"sensing.matrix": self.sensing.matrix}

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"sensing.matrix": projections(identity["measurements"], BLOCK**2, identity["seed"])}

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.sensing.matrix.contiguous().numpy().tobytes())
        return {**super().identity(digest), "measurements": self.sensing.matrix.shape[0]}
