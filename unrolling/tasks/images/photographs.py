"""Photographs recovered from a quarter of their measurements, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.operators.patches import BlockSensing, projections
from unrolling.tasks.base import PSNR, Samples, Shift, Task
from unrolling.tasks.images import sources as images

BLOCK = 16
# Chosen on the validation photographs: textures and pictures from microscopes and telescopes made things worse there.
TRAINING = ("china", "flower", "chelsea", "motorcycle", "coins")


class Photographs(Task):
    """y = Phi b for every block b of 16 x 16 pixels, Phi (m, 256) with orthonormal rows from Gaussian ones; recover the
    photograph.

    Data are (batch, height / 16, width / 16, m), targets (batch, height, width) in [0, 1]. The PSNR of each photograph
    counts equally; its interval comes from tiles of 64 x 64 pixels.

    Args:
        ratio: m / 256.
        seed: of Phi and of the training crops.
        data: a folder of photographs to test on, or with sub-folders train, validation and test that replace the
            packages' photographs.
        fixed: tensors of a weights file, ``sensing.matrix`` among them, used instead of drawing Phi.
        crop: side of the training crops.
    """

    name = "photographs"
    metric = PSNR
    units: Mapping[str, str] = {"data": "1, products with luma", "estimate": "1, luma from 0 (black) to 1 (white)"}
    pictures = True

    def __init__(
        self,
        ratio: float = 0.25,
        seed: int = 0,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        m = round(ratio * BLOCK**2)
        if not 1 <= m <= BLOCK**2:
            raise ValueError(f"ratio is {ratio}; measurements per block must number between 1 and {BLOCK**2}")
        self.seed, self.crop = seed, crop
        matrix = projections(m, BLOCK**2, seed) if fixed is None else fixed["sensing.matrix"]
        self.sensing = BlockSensing(matrix)
        parts = images.split(data, TRAINING).items()
        self.photographs = {
            part: {name: _whole_blocks(name, p) for name, p in pictures.items()} for part, pictures in parts
        }
        for name, picture in self.photographs["train"].items():
            if min(picture.shape) < crop:
                raise ValueError(
                    f"{name} has {picture.shape[0]} x {picture.shape[1]} pixels in whole blocks, less "
                    f"than a training crop of {crop} x {crop}"
                )
        self.validation = [self._measured(p.unsqueeze(0)) for p in self.photographs["validation"].values()]
        self.test = [self._measured(p.unsqueeze(0)) for p in self.photographs["test"].values()]
        self.timing = self._measured(_timing_crops(list(self.photographs["test"].values())))
        side = "x".join(map(str, self.timing.target.shape[1:]))
        self.summary = (
            f"Recover photographs from {m / BLOCK**2:.0%} of their measurements: every block of 16 x 16 pixels is seen "
            f"through the same {m} random projections. "
            f"None of the test photographs ({', '.join(self.photographs['test'])}) was trained or tuned on. Times are "
            f"per crop of {side} pixels."
        )

    def _measured(self, photographs: Tensor) -> Samples:
        return Samples(self.sensing(photographs), photographs)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        pictures = list(self.photographs["train"].values())
        size = torch.tensor([float(p.numel()) for p in pictures]).sqrt()
        crops = [
            self._crop(pictures[i], generator)
            for i in torch.multinomial(size, batch, replacement=True, generator=generator).tolist()
        ]
        return self._measured(torch.stack(crops))

    def _crop(self, picture: Tensor, generator: torch.Generator) -> Tensor:
        """A random crop at any offset, in one of its eight orientations."""
        side = self.crop
        top, left, turn = (
            int(torch.randint(high, (), generator=generator))
            for high in (picture.shape[0] - side + 1, picture.shape[1] - side + 1, 8)
        )
        crop = torch.rot90(picture[top : top + side, left : left + side], turn % 4)
        return crop.T if turn >= 4 else crop

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """100 x mean squared error, so that a gradient norm of order one means something to Adam's clipping."""
        return 100 * (estimate - target).square().mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return super().pieces(estimate.clamp(0, 1), samples)

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
        matrix = self.sensing.matrix.double()
        inner = matrix @ moment @ matrix.T
        ridge = 1e-5 * inner.diagonal().mean() * torch.eye(len(inner), dtype=torch.float64)
        return torch.linalg.solve(inner + ridge, matrix @ moment).T.float().contiguous()

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Structural similarity, averaged over photographs (Wang et al. 2004, doi:10.1109/TIP.2003.819861)."""
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        pairs = zip(estimates, batches, strict=True)
        values = [ssim(e.clamp(0, 1).unsqueeze(1), b.target.unsqueeze(1), data_range=1.0) for e, b in pairs]
        return {"SSIM": float(torch.stack([torch.as_tensor(value) for value in values]).mean())}

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
                lambda v: self._measured(v * crops),
                1.0,
                "Pictures are darkened; the PSNR still counts from white = 1.",
            ),
        )

    def fixed(self) -> dict[str, Tensor]:
        return {"sensing.matrix": self.sensing.matrix}

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"sensing.matrix": projections(identity["measurements"], BLOCK**2, identity["seed"])}

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.sensing.matrix.contiguous().numpy().tobytes())
        for picture in self.photographs["train"].values():
            digest.update(picture.contiguous().numpy().tobytes())
        return {
            "name": self.name,
            "measurements": self.sensing.matrix.shape[0],
            "crop": self.crop,
            "seed": self.seed,
            "photographs": {part: list(pictures) for part, pictures in self.photographs.items()},
            "fingerprint": digest.hexdigest()[:16],
        }


def _whole_blocks(name: str, picture: Tensor) -> Tensor:
    """The picture without the rows and columns that fill no block."""
    height, width = (side // BLOCK * BLOCK for side in picture.shape)
    if min(height, width) == 0:
        raise ValueError(
            f"{name} has {picture.shape[0]} x {picture.shape[1]} pixels, less than one block of {BLOCK} x {BLOCK}"
        )
    return picture[:height, :width].contiguous()


def _timing_crops(pictures: list[Tensor], count: int = 4, side: int = 256) -> Tensor:
    """Crops of one size from the corners of the photographs, as many as asked for."""
    side = min(side, *(min(p.shape) for p in pictures))
    corners = [
        crop for p in pictures for crop in (p[:side, :side], p[-side:, -side:], p[:side, -side:], p[-side:, :side])
    ]
    return torch.stack([corners[i % len(corners)] for i in range(count)]).contiguous()
