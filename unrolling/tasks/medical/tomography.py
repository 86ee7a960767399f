"""Slices from few, noisy projections."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.sirt import SIRT
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.primal_dual_operator import PDHG, diagonal_steps
from unrolling.core import solve
from unrolling.core.arguments import check_count, check_range
from unrolling.operators import FiniteDifferences
from unrolling.operators.attenuation import WATER, from_counts, photon_counts, with_gaussian_noise
from unrolling.operators.geometry import FanBeam, ParallelBeam
from unrolling.operators.radon import FilteredBackProjection, Radon
from unrolling.prox.box import Box
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks import exhibits
from unrolling.tasks.authors import attribution
from unrolling.tasks.base import PSNR, Samples, Shift, Task, first
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.images.pictures import similarity
from unrolling.tasks.measurements import Gaussian, Measurement, image_measurement
from unrolling.tasks.medical.ct import ct_by_part
from unrolling.tasks.medical.ellipses import random_ellipses, random_head, shepp_logan
from unrolling.tasks.medical.regression import regressed_snr

BEAMS = ("parallel", "fan")
HELD = 8  # of each kind of slices to validate on
TESTED = (4, 16)  # times that the phantom is measured, other ellipses
BALANCE = 10.0  # of the steps of PDHG, see ``diagonal_steps``
WEIGHTS = (0.6, 1.2, 1.7, 2.5, 5.0)  # of total variation, sinograms in mm


class Tomography(Task):
    """y = A x + noise, A the Radon transform of a slice x from 0 to 1; data are sinograms (batch, views, bins), in mm:
    lengths times values.

    Slices are random ellipses (``ellipses``) unless ``data`` names some; held-out ones are as many ellipses and random
    heads to validate on, and to test on the phantom of Shepp and Logan, measured four times, and other ellipses, which
    ``more`` reports apart. Pixels are 1 mm wide, parallel views lie evenly over 180 degrees, those of a fan over 360.

    Args:
        size: of the slices, pixels along a side; slices of ``data`` are brought to it.
        views: how many.
        beam: ``parallel`` or ``fan``.
        noise: standard deviation of white noise in parts of the mean of |A x| of each sinogram.
        photons: where above 0, in the place of that noise: photons that meet each bin, of which exp(-0.02 A x) arrive
            in the mean, 0.02 per mm being water; data are the logarithms of their counts.
        seed: of slices and noise.
        data: a file of slices, divided 80 / 10 / 10 in its order, or a folder with sub-folders train, validation and
            test of such files, or a folder of slices to test on; see ``ct_by_part``.
        fixed: tensors of a weights file; none is needed.
        geometry: another one than size, views and beam stand for, and in their place; of square slices.

    Raises:
        ValueError: an unknown beam, negative noise or photons, slices that cannot be read.
    """

    name = "tomography"
    given = "a sinogram: few projections of a slice"
    sought = "the slice"
    metric = PSNR
    vectors = False
    threads = 1
    options: Mapping[str, Any] = {"size": 128, "views": 30, "beam": "parallel", "noise": 0.05, "photons": 0.0}
    notes = ("The PSNR has a peak of 1; estimates are not clipped, and every slice counts equally.",)
    references = ("adler2018learned",)
    units: Mapping[str, str] = {"data": "mm, times values of the slice", "estimate": "1, from 0 to 1"}

    def __init__(
        self,
        size: int = 128,
        views: int = 30,
        beam: str = "parallel",
        noise: float = 0.05,
        photons: float = 0.0,
        seed: int = 0,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        geometry: ParallelBeam | FanBeam | None = None,
    ) -> None:
        if geometry is not None:
            if geometry.image[0] != geometry.image[1]:
                raise ValueError(
                    f"geometry has slices of {geometry.image[0]} x {geometry.image[1]} pixels; take square ones"
                )
            size, views = geometry.image[0], geometry.views
            beam = "parallel" if isinstance(geometry, ParallelBeam) else "fan"
        check_count(size, "size", 8)
        check_count(views, "views")
        check_range(noise, "noise", 0.0, math.inf, below=True)
        check_range(photons, "photons", 0.0, math.inf, below=True)
        if beam not in BEAMS:
            raise ValueError(f"beam is {beam!r}; it is one of {', '.join(BEAMS)}")
        self.size, self.views, self.beam, self.noise, self.photons, self.seed = size, views, beam, noise, photons, seed
        self._data = data
        self.geometry = self._even() if geometry is None else geometry
        self.radon = Radon(self.geometry)
        self.fbp = FilteredBackProjection(self.geometry)
        if data is not None:
            assert self.slices
        where = "random ellipses, the phantom of Shepp and Logan" if data is None else "slices of your own"
        dose = f"{photons:g} photons a bin" if photons else f"{noise:.0%} noise"
        self.summary = f"Slices ({where}) from {views} projections, {beam} beam, {dose}."

    def _even(self) -> ParallelBeam | FanBeam:
        kind = ParallelBeam if self.beam == "parallel" else FanBeam
        return kind.even(self.views, self.size)

    @cached_property
    def slices(self) -> dict[str, list[Tensor]]:
        """Slices by part; of random ones those that are held out."""
        if self._data is not None:
            return ct_by_part(self._data, self.size)

        def held(make: Callable[[int, torch.Generator], Tensor], count: int, seed: int) -> list[Tensor]:
            return [
                make(self.size, torch.Generator().manual_seed(seed + 97 * self.seed + 10_007 * n)) for n in range(count)
            ]

        phantoms, ellipses = TESTED
        return {
            "train": [],
            "validation": held(random_ellipses, HELD, 1_000_003) + held(random_head, HELD, 1_500_007),
            "test": [shepp_logan(self.size)] * phantoms + held(random_ellipses, ellipses, 2_000_003),
        }

    def measure(
        self,
        slices: Tensor,
        generator: torch.Generator,
        *,
        noise: float | None = None,
        photons: float | None = None,
        radon: Radon | None = None,
    ) -> Samples:
        """Sinograms of slices (batch, size, size), with noise of another amount, or through another transform, where
        they are given.
        """
        y = (self.radon if radon is None else radon)(slices)
        photons = self.photons if photons is None else photons
        if photons and noise is None:
            return Samples(from_counts(photon_counts(WATER * y, photons, generator), photons) / WATER, slices)
        return Samples(with_gaussian_noise(y, self.noise if noise is None else noise, generator), slices)

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("validation", (HELD, HELD), 3_000_017)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("test", TESTED, 4_000_037)

    def _held(self, part: str, batches: tuple[int, ...], seed: int) -> list[Samples]:
        """In batches of one kind; slices of one's own one by one."""
        held, found = self.slices[part], []
        counts = batches if self._data is None else (1,) * len(held)
        generator = torch.Generator().manual_seed(seed + 7919 * self.seed)
        for count in counts:
            found.append(self.measure(torch.stack(held[:count]), generator))
            held = held[count:]
        return found

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        held = self.slices["test"]
        return self.measure(torch.stack((held[:1] + held[-1:])[:2]), torch.Generator().manual_seed(5_000_011))

    def example(self) -> Any:
        """One sinogram."""
        return first(self.timing, 1).data

    @classmethod
    def small(cls) -> Tomography:
        return cls(size=24, views=8)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Size, beam, views and dose."""
        dose = f"photons{options['photons']:g}" if options["photons"] else f"noise{100 * options['noise']:g}"
        return f"{options['size']}-{options['beam']}{options['views']}-{dose}"

    def measurement(self) -> Measurement:
        return image_measurement(LeastSquares(self.radon), self._level if self.noise and not self.photons else None)

    def _level(self, y: Tensor) -> Gaussian:
        return Gaussian(self.noise * y.abs().mean((-2, -1)))

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        if self._data is None:
            slices = [random_ellipses(self.size, generator) for _ in range(batch)]
        else:
            held = self.slices["train"]
            if not held:
                raise ValueError(f"{self._data} holds no slices to train on: put some into a sub-folder train")
            chosen = torch.randint(len(held), (batch,), generator=generator).tolist()
            turns = torch.randint(8, (batch,), generator=generator).tolist()
            slices = [
                held[i].rot90(turn % 4).flip(0) if turn > 3 else held[i].rot90(turn)
                for i, turn in zip(chosen, turns, strict=True)
            ]
        return self.measure(torch.stack(slices), generator)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation by the primal-dual hybrid gradient method, SIRT, filtered back-projection, and a U-Net on
        that.
        """
        differences = FiniteDifferences()

        def variation(weight: float) -> PDHG:
            steps: dict[str, Any] = {**diagonal_steps(self.radon, differences, balance=BALANCE)}
            return PDHG(self.radon, differences, IsotropicShrink(), weight, image_prox=Box(0.0), **steps)

        def rounds(count: int) -> Callable[[Tensor], Tensor]:
            sirt = SIRT(self.radon)
            return lambda data: solve(sirt, data, tolerance=0.0, max_iterations=count).estimate

        def filtered(window: Any) -> Callable[[Tensor], Tensor]:
            return FilteredBackProjection(self.geometry, window)

        return [
            Iterative("total variation, PDHG", variation, WEIGHTS, 1000, tuning=300),
            Method("SIRT", rounds, (10, 20, 40, 80, 160, 320), "{setting} iterations"),
            Method(
                "filtered back-projection",
                filtered,
                ("ramp", "shepp-logan", "cosine", "hamming", "hann"),
                "window {setting}",
                linear=True,
            ),
            unet_on(self.fbp, size, levels=3),
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The first test slices side by side."""
        names = [] if self._data is not None else ["the phantom of Shepp and Logan", "ellipses"]
        return exhibits.pictures(names, [batch.target for batch in self.test], methods, self._score)

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The first test slice after each layer."""
        return exhibits.layers("the first test slice", self.test[0].target, estimates, self._score)

    def _score(self, estimate: Tensor, target: Tensor) -> str:
        return self.metric.text(self.metric.value(self.pieces(estimate, Samples(None, target))))

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Structural similarity, the regressed SNR in dB, and of phantom and ellipses the PSNR of each, in dB."""
        pairs = [(e, b.target[: len(e)]) for e, b in zip(estimates, batches, strict=True)]
        found = {"SSIM": similarity([e for e, _ in pairs], [t for _, t in pairs])}
        found["regressed SNR (dB)"] = float(torch.cat([regressed_snr(e, t) for e, t in pairs]).mean())
        if self._data is None and len(pairs) == len(TESTED):
            for name, (estimate, target) in zip(("Shepp-Logan", "ellipses"), pairs, strict=True):
                pieces = self.pieces(estimate, Samples(None, target))
                found[f"PSNR of {name} (dB)"] = self.metric.value(pieces)
        return found

    def shifts(self) -> Sequence[Shift]:
        """Another dose, and angles that are not where the network takes them to be."""
        target = self.timing.target

        def made(**other: Any) -> Samples:
            return self.measure(target, torch.Generator().manual_seed(6_000_011), **other)

        def turned(degrees: float) -> Samples:
            generator = torch.Generator().manual_seed(6_000_017)
            errors = torch.randn(self.views, generator=generator) * math.radians(degrees)
            angles = [a + float(e) for a, e in zip(self.geometry.angles, errors, strict=True)]
            return made(radon=Radon(self.geometry.at(angles)))

        words = "The network was trained for one dose."
        if self.photons:
            doses = tuple(self.photons * factor for factor in (10.0, 3.0, 1.0, 0.3, 0.1))
            dose = Shift("photons a bin", doses, lambda n: made(photons=n), self.photons, words)
        else:
            levels = tuple(sorted({0.0, 0.01, 0.02, 0.05, 0.1, 0.2, self.noise}))
            dose = Shift("noise in parts of the mean", levels, lambda level: made(noise=level), self.noise, words)
        off = Shift(
            "error of the angles, degrees",
            (0.0, 0.25, 0.5, 1.0, 2.0),
            turned,
            0.0,
            "Views are not where they should be.",
        )
        return [dose, off]

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256(repr(self.geometry).encode())
        drawn = [random_ellipses(self.size, torch.Generator().manual_seed(self.seed))]
        for each in drawn if self._data is None else self.slices["train"]:
            digest.update((each * 255).round().byte().contiguous().numpy().tobytes())
        note = attribution(self._data)
        return {
            "name": self.name,
            "size": self.size,
            "views": self.views,
            "beam": self.beam,
            "noise": self.noise,
            "photons": self.photons,
            "seed": self.seed,
            "material": "ellipses" if self._data is None else "slices",
            **({"attribution": note} if note else {}),
            "fingerprint": digest.hexdigest()[:16],
        }
