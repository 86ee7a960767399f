"""Patches of photographs as a whole through a Gaussian matrix that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.messages.denoised_amp import DenoisedAMP
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.block_projections import BlockProjections
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.algorithms.splitting.random_measurements import MatrixMeasurements, MatrixSamples, gaussian_matrix
from unrolling.core.arguments import check_count, check_range
from unrolling.operators import FiniteDifferences
from unrolling.operators.resize import resize
from unrolling.operators.wavelets import Wavelet
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.orthonormal import OrthonormalDenoiser, OrthonormalShrink
from unrolling.prox.plug_and_play import DenoiserProx
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import PICTURES, Gaussian, Measurement

SIDES = (384, 256)  # pixels of the longer side that photographs are brought down to for training; the last for scores
MATRIX_SEED = 6_000_003  # of the matrices that are scored with
RIDGE = 1e-5  # of the linear estimate, relative to the mean energy of a measurement


class CompressiveGaussian(Pictures):
    """y = A x + w for patches x of 64 x 64 pixels, A (m, 4096) with independent N(0, 1/m) entries, w white; data are
    ``MatrixSamples(samples, matrix)``.

    Metzler, Mousavi and Baraniuk 2017, arXiv:1704.06625. Photographs are brought down to 256 pixels on their longer
    side, so that a patch holds a part of a scene, and cut into patches side by side; training crops are from them and
    from ones of 384 pixels. In training each batch has a matrix of its own; scores are with one that was not trained
    with.

    Args:
        ratio: m / n.
        noise: standard deviation of w.
        seed: of matrices and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the patches.

    Raises:
        ValueError: a ratio that leaves no measurement or more than pixels, a negative noise, and what ``Pictures``
            refuses.
    """

    name = "compressive_gaussian"
    given = "Gaussian mixtures of all pixels of a picture, and the matrix that made them"
    sought = "the picture"
    options: Mapping[str, Any] = {"ratio": 0.25, "noise": 0.0}
    notes = (
        "The PSNR of each patch counts equally; estimates are clipped to [0, 1].",
        "The matrix of the scores was not trained with; entries are independent with variance 1/m.",
    )
    units: Mapping[str, str] = {
        "samples": "1, products with luma",
        "matrix": "1, entries of variance 1/m",
        "estimate": "1, luma from 0 (black) to 1 (white)",
    }
    grains = 1  # all samples of a batch have one matrix
    sides = SIDES[:1]

    def __init__(
        self,
        ratio: float = 0.25,
        noise: float = 0.0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        check_count(crop, "crop", 8)
        check_range(ratio, "ratio", 0.5 / crop**2, 1.0)
        check_range(noise, "noise", 0.0, float("inf"), below=True)
        self.ratio, self.noise, self.m = ratio, noise, max(1, round(ratio * crop**2))
        self._matrices: dict[int, Tensor] = {}
        with_noise = f" and noise {noise:g}" if noise else ""
        self.summary = (
            f"Patches of {crop} x {crop} pixels of photographs from {self.m} measurements, {ratio:.0%}, through a "
            f"Gaussian matrix{with_noise}; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @property
    def least(self) -> int:
        return self.crop

    @classmethod
    def small(cls) -> CompressiveGaussian:
        return cls(crop=16, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """What is unlike the usual."""
        return "-".join(f"{key}{options[key]:g}" for key in cls.options if options[key] != cls.options[key])

    @cached_property
    def photographs(self) -> dict[str, dict[str, Tensor]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Pictures by part and name, brought down."""
        parts = super().photographs
        held_out = {
            part: {name: self._reduced(picture, SIDES[-1]) for name, picture in parts[part].items()}
            for part in ("validation", "test")
        }
        train: dict[str, Tensor] = {}
        for name, picture in parts["train"].items():
            for side in SIDES:
                train[name if side == SIDES[0] else f"{name}, {side}"] = self._reduced(picture, side)
        return {"train": train, **held_out}

    def _reduced(self, picture: Tensor, side: int) -> Tensor:
        """With its longer side of so many pixels, the shorter no less than a patch's."""
        height, width = picture.shape
        factor = max(side / max(height, width), self.crop / min(height, width))
        if factor >= 1:
            return picture
        return resize(picture, max(self.crop, round(factor * height)), max(self.crop, round(factor * width))).clamp(
            0, 1
        )

    def term(self) -> MatrixMeasurements:
        """A of the data."""
        return MatrixMeasurements((self.crop, self.crop))

    def measurement(self) -> Measurement:
        return Measurement(self.term(), Gaussian(self.noise) if self.noise else None, transformations=PICTURES)

    def matrix(self, number: int = 0) -> Tensor:
        """(1, m, n): the one that is scored with on test patches; others by number."""
        if number not in self._matrices:
            generator = torch.Generator().manual_seed(MATRIX_SEED + 7919 * self.seed + number)
            self._matrices[number] = gaussian_matrix(self.m, self.crop**2, generator)
        return self._matrices[number]

    @cached_property
    def _pool(self) -> Tensor:
        return torch.randn(2 * self.m, self.crop**2, generator=torch.Generator().manual_seed(self.seed))

    def drawn_matrix(self, generator: torch.Generator, ratio: float | None = None) -> Tensor:
        """(1, m, n): m of the rows of a Gaussian matrix with twice as many as are scored with, in random order, pixels
        with random signs; its entries are independent, of the matrices of two batches not quite.

        Raises:
            ValueError: more than twice as many measurements as are scored with.
        """
        m = self.m if ratio is None else max(1, round(ratio * self.crop**2))
        check_range(m, "the number of measurements", 1, 2 * self.m)
        rows = torch.randperm(2 * self.m, generator=generator)[:m]
        signs = 2.0 * torch.randint(2, (self.crop**2,), generator=generator) - 1
        return (self._pool[rows] * (signs / m**0.5)).unsqueeze(0)

    def draw(self, batch: int, generator: torch.Generator, ratio: float | None = None) -> Samples:
        """Training crops; at another ratio where one is given."""
        return self.spoil(self.crops(batch, generator), generator, self.drawn_matrix(generator, ratio))

    def spoil(self, clean: Tensor, generator: torch.Generator, matrix: Tensor | None = None) -> Samples:
        matrix = self.drawn_matrix(generator) if matrix is None else matrix
        data = MatrixSamples(clean.new_zeros(clean.shape[0], matrix.shape[1]), matrix)
        samples = self.term().image(clean, data)
        if self.noise:
            samples = samples + self.noise * torch.randn(samples.shape, generator=generator)
        return Samples(MatrixSamples(samples, matrix), clean)

    def patches(self, picture: Tensor) -> Tensor:
        """A picture cut into patches side by side, what is left over being lost, (patches, side, side)."""
        side = self.crop
        return picture.unfold(0, side, side).unfold(1, side, side).flatten(0, 1).contiguous()

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        """The patches of every picture of a part."""
        matrix = self.matrix(1 if part == "validation" else 0)
        return [
            self.spoil(self.patches(p), torch.Generator().manual_seed(seed + 7919 * self.seed + k), matrix)
            for k, p in enumerate(self.photographs[part].values())
        ]

    def _few(self, count: int) -> Samples:
        clean = self.patches(next(iter(self.photographs["test"].values())))[:count]
        return self.spoil(clean, torch.Generator().manual_seed(3_000_003 + self.seed), self.matrix())

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._few(4)

    def example(self) -> MatrixSamples:
        return self._few(1).data

    @cached_property
    def _linear(self) -> dict[int, Tensor]:
        return {}

    def linear(self, data: MatrixSamples) -> Tensor:
        """C A^T (A C A^T + r I)^-1 y, the best linear estimate for pixels with the covariance C = 1 + exp(-d / 40)."""
        key = id(data.matrix)
        if key not in self._linear:
            matrix = data.matrix[0]
            spread = BlockProjections(self.crop).covariance @ matrix.T
            inner = matrix @ spread
            ridge = (RIDGE * inner.diagonal().mean() + self.noise**2) * torch.eye(len(inner))
            self._linear[key] = torch.linalg.solve((inner + ridge).double(), spread.T.double()).float()
        return (data.samples @ self._linear[key]).unflatten(1, (self.crop, self.crop))

    def baselines(self, size: int) -> Sequence[Baseline]:
        """D-AMP with total variation and with wavelets, FISTA with both, the linear estimate, and a U-Net on A^T y."""
        step = 0.95 / (1 + self.ratio**-0.5) ** 2  # |A| is about 1 + (n / m)^(1/2)

        def variation(factor: float) -> DenoisedAMP:
            return DenoisedAMP(self.term(), variation_denoiser(factor))

        def gradient(weight: float) -> ProximalGradient:
            prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=5)
            return ProximalGradient(self.term(), prox, weight, step_size=step)

        def wavelets(weight: float) -> ProximalGradient:
            return ProximalGradient(self.term(), OrthonormalShrink(Wavelet()), weight, step_size=step)

        return [
            Iterative("D-AMP, total variation", variation, (0.7, 1.0, 1.4), 30, setting="of tau"),
            Iterative(
                "AMP, wavelets",
                lambda a: DenoisedAMP(self.term(), OrthonormalDenoiser(Wavelet(), a)),
                (1.5, 2.0, 2.5),
                30,
                setting="of tau",
            ),
            Iterative("total variation, FISTA", lambda w: FISTA(gradient(w)), (0.003, 0.01, 0.03), 200, tuning=60),
            Iterative("total variation, proximal gradient", gradient, (0.01,), 200),
            Iterative("wavelets, FISTA", lambda w: FISTA(wavelets(w)), (0.003, 0.01, 0.03), 200, tuning=60),
            Iterative("wavelets, ISTA", wavelets, (0.01,), 200),
            Method("linear estimate", lambda _: self.linear, linear=True),
            unet_on(lambda data: self.term().adjoint(data.samples, data), size, levels=3),
        ]

    def shifts(self) -> Sequence[Shift]:
        """Rates, and noise on the measurements."""
        clean = self.timing.target
        generator = torch.Generator().manual_seed(4_000_003 + self.seed)
        noise = torch.randn(self.timing.data.samples.shape, generator=generator)

        def at(ratio: float) -> Samples:
            m = max(1, round(ratio * self.crop**2))
            draw = torch.Generator().manual_seed(MATRIX_SEED + m)
            return self.spoil(clean, draw, gaussian_matrix(m, self.crop**2, draw))

        def noisy(level: float) -> Samples:
            held = self.timing.data
            return Samples(MatrixSamples(held.samples + level * noise, held.matrix), clean)

        return [
            Shift(
                "measurements per pixel", (0.1, 0.15, 0.2, 0.25, 0.35, 0.5), at, self.ratio, "The matrix is another."
            ),
            Shift(
                "noise on the measurements, standard deviation",
                (0.0, 0.01, 0.02, 0.05, 0.1),
                noisy,
                self.noise,
                "White noise is added to every measurement; no method is told.",
            ),
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "ratio": self.ratio, "noise": self.noise}


def variation_denoiser(factor: float, iterations: int = 40) -> DenoiserProx:
    """Total variation as a denoiser that is told the level: the prox of ``factor`` sigma times it."""
    prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=iterations)
    return DenoiserProx(lambda z, sigma: prox(z, factor * sigma.reshape(-1, 1, 1, 1)), told=True)
