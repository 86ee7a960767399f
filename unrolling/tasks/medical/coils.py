"""Magnetic resonance images from part of the k-space of several coils."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.conjugate_gradient import ConjugateGradient
from unrolling.algorithms.splitting.data_terms import CoilSampling
from unrolling.algorithms.splitting.denoised_least_squares import DenoisedLeastSquares
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.core.arguments import check_count
from unrolling.operators import FiniteDifferences
from unrolling.operators.coil_maps import estimate_maps
from unrolling.operators.fourier import CoilData, fft, ifft
from unrolling.operators.wavelets import Wavelet
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.prox.orthonormal import OrthonormalShrink
from unrolling.tasks import exhibits
from unrolling.tasks.authors import attribution
from unrolling.tasks.base import PSNR, Samples, Shift, Task, first
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.measurements import Gaussian, Measurement, SampledMeasurement
from unrolling.tasks.medical import phantoms, sampling
from unrolling.tasks.medical.mri import read_mask
from unrolling.tasks.medical.receivers import receive_coils
from unrolling.tasks.medical.slices import magnitude_errors, relative_errors, slices_by_part

COUNTS = {"train": 60, "validation": 8, "test": 8}  # phantoms
SIZE = 128  # of these
MASKS = ("cartesian", "equispaced", "poisson", "radial")
MAPS = ("true", "estimated")
CALIBRATION = 0.32  # part of the measured lines that lie in the middle: 8 % of all at acceleration 4, 4 % at 8
LINES = 4  # of them at least
PHASE = 0.7  # radians


class Coils(Task):
    """y_c = m . F (S_c . x) + noise for coils c: F unitary, S smooth complex maps with sum_c |S_c|^2 = 1; data are
    ``CoilData``, zero frequency and the image's origin at (0, 0), and every sample has maps, phase and mask of its own.

    Images are random slices of a head (``phantoms``) unless ``data`` names some; real ones get a smooth random phase,
    a new one each time they are drawn. The PSNR has a peak of 1 and counts magnitudes.

    Args:
        acceleration: one in so many frequencies is measured.
        mask: ``cartesian`` (columns, those in the middle and others at random), ``equispaced`` (the others at equal
            distances), ``poisson`` (single frequencies), ``radial`` (pseudo-radial lines), or the path of a ``.npy``
            file with a mask, zero frequency in its middle, for all samples.
        coils: their number.
        maps: ``true``, or ``estimated`` from what is measured around the zero frequency; the phase of the target then
            is the one that these maps leave.
        noise: standard deviation of the noise on real and imaginary part of each measured frequency.
        seed: of phantoms, phases, maps, masks and noise.
        data: a file of slices (see ``read_slices``), divided 80 / 10 / 10 in its order; or a folder with sub-folders
            train, validation and test of such files.
        fixed: nothing; samples bring masks and maps along.
        size: of phantoms.

    Raises:
        ValueError: an acceleration below 1, an unknown mask or one of another size, no coils, unknown maps, negative
            noise, slices that cannot be read or are of unlike sizes.
    """

    name = "multicoil"
    given = "a part of the k-space of a magnetic resonance image, from several coils"
    sought = "the image"
    metric = PSNR
    vectors = False
    threads = 1
    options: Mapping[str, Any] = {
        "acceleration": 4.0,
        "mask": "cartesian",
        "coils": 8,
        "maps": "true",
        "noise": 0.01,
    }
    notes = ("Errors count magnitudes with a peak of 1; every image counts equally. Coils are simulated.",)
    units: Mapping[str, str] = {
        "data.samples": "1, unitary transform of an image from 0 to 1",
        "data.mask": "1",
        "data.maps": "1, their squares add up to 1",
        "estimate": "1, magnitudes from 0 to 1",
    }

    def __init__(
        self,
        acceleration: float = 4.0,
        mask: str = "cartesian",
        coils: int = 8,
        maps: str = "true",
        noise: float = 0.01,
        seed: int = 0,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        size: int = SIZE,
    ) -> None:
        if not noise >= 0:
            raise ValueError(f"noise is {noise}; a standard deviation is at least 0")
        if maps not in MAPS:
            raise ValueError(f"maps is {maps!r}; it is one of {', '.join(MAPS)}")
        check_acceleration(acceleration)
        check_count(coils, "coils")
        check_count(size, "size", 8)
        self.acceleration, self.mask_name, self.coils, self.maps = float(acceleration), mask, coils, maps
        self.noise, self.seed, self.size = noise, seed, size
        self._data = data
        self._file = None if mask in MASKS else read_mask(mask, self.shape)
        where = "random slices of a head" if data is None else "slices of your own"
        kind = {"cartesian": "columns", "equispaced": "equispaced columns", "poisson": "points", "radial": "lines"}
        part = f"a {acceleration:g}th" if self._file is None else f"{float(self._file.mean()):.1%}"
        self.summary = (
            f"Magnetic resonance images ({where}) from {part} of the k-space of {coils} coils: "
            f"{kind.get(mask, 'a mask of your own')}, maps {maps}."
        )

    @cached_property
    def slices(self) -> dict[str, list[Tensor]]:
        """Images by part; real ones without a phase."""
        if self._data is None:
            return {
                part: [
                    phantoms.head(self.size, torch.Generator().manual_seed(10_007 * (k + 1) + 97 * self.seed + n))
                    for n in range(count)
                ]
                for k, (part, count) in enumerate(COUNTS.items())
            }
        found = slices_by_part(self._data)
        shapes = {tuple(each.shape) for part in found.values() for each in part}
        if len(shapes) > 1:
            raise ValueError(
                f"slices of one size are needed; they have {', '.join(map(str, sorted(shapes)))} (height, width)"
            )
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        if self._data is None:
            return self.size, self.size
        height, width = self.slices["test"][0].shape
        return int(height), int(width)

    def draw_mask(self, height: int, width: int, acceleration: float, generator: torch.Generator) -> Tensor:
        """A mask (height, width), or (1, width) of columns, zero frequency at (0, 0)."""
        rate = min(1.0, 1 / acceleration)
        seed = int(torch.randint(2**31, (), generator=generator))
        if self._file is not None:
            if self._file.shape != (height, width):
                raise ValueError(
                    f"the mask of the file has {self._file.shape[0]} x {self._file.shape[1]} frequencies, and the "
                    f"images {height} x {width}"
                )
            return torch.fft.ifftshift(self._file)
        if self.mask_name == "poisson":
            return torch.fft.ifftshift(sampling.poisson_disc_mask(height, width, rate, seed=seed))
        if self.mask_name == "radial":
            if height != width:
                raise ValueError(f"a radial mask is square, and the slices have {height} x {width} pixels")
            return torch.fft.ifftshift(sampling.radial_mask(height, rate))
        centre = max(CALIBRATION * rate, LINES / width)
        if self.mask_name == "cartesian":
            columns = sampling.cartesian_mask(1, width, rate, centre=centre, seed=seed)
        else:
            columns = sampling.equispaced_mask(1, width, rate, centre=centre, offset=seed / 2**31)
        return torch.fft.ifftshift(columns, -1)

    def measure(
        self, images: Tensor, generator: torch.Generator, acceleration: float | None = None, spread: float = 1.0
    ) -> Samples:
        """The k-space of images (batch, height, width), each with its own mask, maps and, where it is real, phase.

        Args:
            images: magnitudes, or complex.
            generator: of all that is random.
            acceleration: the task's own by default.
            spread: each sample's acceleration is drawn between that and so many times as much.
        """
        height, width = images.shape[-2:]
        target = images if images.is_complex() else torch.stack([self._phased(each, generator) for each in images])
        least = self.acceleration if acceleration is None else acceleration
        check_acceleration(least)
        factors = spread ** torch.rand(len(images), generator=generator) if spread > 1 else torch.ones(len(images))
        mask = torch.stack([self.draw_mask(height, width, least * float(factor), generator) for factor in factors])
        maps = torch.stack([receive_coils(self.coils, height, width, generator) for _ in images])
        whole = fft(maps * target.unsqueeze(1))
        if self.noise:
            noise = torch.randn(*whole.shape, 2, generator=generator)
            whole = whole + self.noise * torch.view_as_complex(noise)
        samples = mask.unsqueeze(1) * whole
        if self.maps == "estimated":
            seen, maps = maps, estimate_maps(samples, mask)
            # What estimated maps leave open is the phase of the image.
            turn = torch.sgn((maps.conj() * seen).sum(1))
            target = target * torch.where(turn == 0, 1, turn)
        return Samples(CoilData(samples, mask, maps), target)

    def _phased(self, image: Tensor, generator: torch.Generator) -> Tensor:
        height, width = image.shape
        side = max(height, width)
        phase = PHASE * phantoms.smooth(side, side / 3, generator)[:height, :width]
        return torch.polar(image, phase)

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("validation", 1_000_003)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("test", 2_000_003)

    def _held(self, part: str, seed: int) -> list[Samples]:
        seeds = (seed + 7919 * self.seed + n for n in range(len(self.slices[part])))
        pairs = zip(self.slices[part], seeds, strict=True)
        return [self.measure(each.unsqueeze(0), torch.Generator().manual_seed(seed)) for each, seed in pairs]

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.measure(torch.stack(self.slices["test"][:2]), torch.Generator().manual_seed(3_000_003))

    def example(self) -> Any:
        """One slice."""
        return first(self.timing, 1).data

    @classmethod
    def small(cls) -> Coils:
        return cls(size=32, coils=2)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The mask, the acceleration, and whether maps are estimated."""
        mask = options["mask"] if options["mask"] in MASKS else "mask"
        return f"{mask}{options['acceleration']:g}{'' if options['maps'] == 'true' else '-estimated'}"

    def measurement(self) -> Measurement:
        return SampledMeasurement(CoilSampling(), Gaussian(self.noise) if self.noise else None)

    def zero_filled(self, data: CoilData) -> Tensor:
        """sum_c conj(S_c) . F^H y_c, with zeros for what was not measured."""
        return (data.maps.conj() * ifft(data.samples)).sum(1)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """CG-SENSE, Tikhonov's regularisation iterated, sparse wavelets, total variation, the zero-filled image, and a
        U-Net on that.
        """

        def wavelets(weight: float) -> FISTA:
            return FISTA(ProximalGradient(CoilSampling(), OrthonormalShrink(Wavelet(4)), weight))

        def variation(weight: float) -> ADMM:
            splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
            return ADMM(CoilSampling(), [splitting], inner=(1e-3, 10))

        return [
            Iterative(
                "CG-SENSE", lambda weight: ConjugateGradient(CoilSampling(), weight), (0.003, 0.01, 0.03, 0.1), 40
            ),
            Iterative(
                "iterated Tikhonov",
                lambda weight: DenoisedLeastSquares(CoilSampling(), None, weight),
                (0.1, 0.5, 2.0),
                8,
            ),
            Iterative("wavelets, FISTA", wavelets, (0.001, 0.002, 0.004, 0.008), 100, tuning=40),
            Iterative("total variation, ADMM", variation, (0.002, 0.004, 0.008), 60, tuning=20),
            Method("zero-filled", lambda _: self.zero_filled, linear=True),
            unet_on(self.zero_filled, size, levels=3, channels=2),
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """Magnitudes of the first test images side by side."""
        shown = [method._replace(estimates=[each.abs() for each in method.estimates]) for method in methods]
        return exhibits.pictures([], [batch.target.abs() for batch in self.test], shown, self._score)

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The magnitude of the first test image after each layer."""
        return exhibits.layers(
            "the first test picture", self.test[0].target.abs(), [each.abs() for each in estimates], self._score
        )

    def _score(self, estimate: Tensor, target: Tensor) -> str:
        return self.metric.text(self.metric.value(self.pieces(estimate, Samples(None, target))))

    def draw(
        self,
        batch: int,
        generator: torch.Generator,
        acceleration: float | None = None,
        spread: float = 1.0,
        crop: int = 0,
    ) -> Samples:
        """Random slices, flipped at random.

        Args:
            batch: their number.
            generator: of all that is random.
            acceleration: the task's own by default.
            spread: each sample's acceleration is drawn between that and so many times as much.
            crop: pixels along a side that are cut out at random where slices are larger; 0 takes all of them.
        """
        held = self.slices["train"]
        chosen = torch.randint(len(held), (batch,), generator=generator).tolist()
        flips = torch.randint(4, (batch,), generator=generator).tolist()
        turned = [held[i].flip([d for d in (0, 1) if flip >> d & 1]) for i, flip in zip(chosen, flips, strict=True)]
        if crop:
            turned = [_cut(each, int(crop), generator) for each in turned]
        return self.measure(torch.stack(turned), generator, acceleration, float(spread))

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The mean over images of |x' - x| / |x|, Euclidean norms (normalised root mean squared error)."""
        return relative_errors(estimate, target).mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return super().pieces(estimate.abs(), samples._replace(target=samples.target.abs()))

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Relative error of complex images and structural similarity of magnitudes, averaged over images."""
        return magnitude_errors(estimates, batches)

    def shifts(self) -> Sequence[Shift]:
        """Other accelerations, more noise, and maps that are estimated from fewer and fewer lines."""
        if self._file is not None:
            return ()
        images = torch.stack(self.slices["test"][:2])

        def like(seed: int, acceleration: float | None = None, **changes: Any) -> Samples:
            options = {"acceleration": self.acceleration, "mask": self.mask_name, "coils": self.coils}
            options |= {"maps": self.maps, "noise": self.noise, "seed": self.seed, "size": self.size} | changes
            return Coils(**options).measure(images, torch.Generator().manual_seed(seed), acceleration)

        rates = tuple(sorted({2.0, 4.0, self.acceleration, 6.0, 8.0, 10.0}))
        noises = tuple(sorted({0.0, 0.005, self.noise, 0.02, 0.04}))
        return [
            Shift("acceleration", rates, lambda value: like(4_000_003, value), self.acceleration, "Fewer frequencies."),
            Shift(
                "noise, standard deviation",
                noises,
                lambda value: like(5_000_011, noise=value),
                self.noise,
                "Of real and imaginary part, the image from 0 to 1.",
            ),
            Shift(
                "acceleration, maps estimated",
                rates,
                lambda value: like(4_000_003, value, maps="estimated"),
                self.acceleration if self.maps == "estimated" else None,
                "Maps are estimated from what is measured around the zero frequency.",
            ),
        ]

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        if self._file is not None:
            digest.update(self._file.contiguous().numpy().tobytes())
        for each in self.slices["train"]:
            digest.update(each.contiguous().numpy().tobytes())
        own = {
            "acceleration": self.acceleration,
            "mask": self.mask_name if self.mask_name in MASKS else "file",
            "coils": self.coils,
            "maps": self.maps,
            "noise": self.noise,
            "seed": self.seed,
            "material": "phantoms" if self._data is None else "slices",
            "slices": {part: len(held) for part, held in self.slices.items()},
        }
        note = attribution(self._data)
        source = {"attribution": note} if note else {}
        return {"name": self.name, **own, **source, "fingerprint": digest.hexdigest()[:16]}


def check_acceleration(acceleration: float) -> None:
    """Refuses an acceleration below 1.

    Raises:
        ValueError: it is.
    """
    if not acceleration >= 1:
        raise ValueError(f"acceleration is {acceleration}; one in so many frequencies is measured, so it is at least 1")


def _cut(image: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random square of an image, or what it has of one."""
    for dim in (0, 1):
        spare = max(0, image.shape[dim] - side)
        start = int(torch.randint(spare + 1, (), generator=generator))
        image = image.narrow(dim, start, min(side, image.shape[dim]))
    return image
