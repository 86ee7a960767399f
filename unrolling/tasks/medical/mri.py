"""Magnetic resonance images from part of their k-space."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import SampledFourier
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.core.arguments import check_count
from unrolling.files.decoding import Arrays
from unrolling.operators import FiniteDifferences
from unrolling.operators.fourier import KSpace, fft, ifft
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks import exhibits
from unrolling.tasks.authors import attribution
from unrolling.tasks.base import PSNR, Samples, Shift, Task, first
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.measurements import Gaussian, Measurement, SampledMeasurement
from unrolling.tasks.medical import phantoms, sampling
from unrolling.tasks.medical.augment import varied
from unrolling.tasks.medical.slices import magnitude_errors, relative_errors, slices_by_part

PARTS = {"train": 60, "validation": 8, "test": 8}  # phantoms
SIZE = 128  # of these
MASKS = ("radial", "cartesian", "any")
FLOOR = 1e-6  # under the logarithm of a relative error
TURNS = 5  # rates that held-out images take turns at
LOWER, UPPER = 0.6, 1.1  # how far training goes beyond the lowest and the largest rate


class MRI(Task):
    """y = m . F x, F the unitary Fourier transform, m a mask that all images share, or one for each; data are
    ``KSpace``.

    Images are random slices of a head (``phantoms``) unless ``data`` names some. The PSNR has a peak of 1 and counts
    magnitudes.

    Args:
        mask: ``radial`` (pseudo-radial lines), ``cartesian`` (columns), ``any`` (each image has its own: in training at
            random, also of points, from a little below ``lowest`` to a little above ``rate``; held-out images take
            turns at five rates from ``lowest`` to ``rate``, on pseudo-radial lines and on columns), or the path of a
            ``.npy`` file with a mask, zero frequency in its middle.
        rate: part of k-space that is measured, for all but files; of ``any`` the largest.
        lowest: of ``any``, the smallest.
        real: 1 for images that are known to be real; 0 puts a smooth random phase on images that are real, and keeps
            complex ones.
        noise: standard deviation of the noise on real and imaginary part of each measured frequency.
        varied: 1 trains on variations of the images (``augment.varied``), and a tenth of the time on phantoms; 0 on
            mirrored images.
        seed: of phantoms, phases, noise and the columns of a Cartesian mask.
        data: a file of slices (see ``read_slices``), divided 80 / 10 / 10 in its order; or a folder with sub-folders
            train, validation and test of such files.
        fixed: tensors of a weights file; a ``mask`` among them is used, and phantoms have its size.
        size: of phantoms.

    Raises:
        ValueError: an unknown mask or one of another size, a rate outside (0, 1], negative noise, slices that cannot be
            read or are of unlike sizes.
    """

    name = "mri"
    given = "a part of the k-space of a magnetic resonance image"
    sought = "the image"
    metric = PSNR
    vectors = False
    threads = 1
    options: Mapping[str, Any] = {
        "mask": "radial", "rate": 0.2, "lowest": 0.1, "real": 1, "noise": 0.0, "varied": 0, "size": SIZE,
    }  # fmt: skip
    notes = ("Errors count magnitudes with a peak of 1; every image counts equally.",)
    units: Mapping[str, str] = {
        "data.samples": "1, unitary transform of an image from 0 to 1",
        "data.mask": "1",
        "estimate": "1, from 0 to 1",
    }

    def __init__(
        self,
        mask: str = "radial",
        rate: float = 0.2,
        real: int = 1,
        noise: float = 0.0,
        seed: int = 0,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        size: int = SIZE,
        lowest: float = 0.1,
        varied: int = 0,
    ) -> None:
        if not noise >= 0:
            raise ValueError(f"noise is {noise}; a standard deviation is at least 0")
        sampling.check_rate(rate)
        sampling.check_rate(lowest)
        if mask == "any" and lowest > rate:
            raise ValueError(f"the lowest rate is {lowest}; it is at most the rate, {rate}")
        check_count(size, "size", 8)
        self.mask_name, self.sampled, self.real = mask, rate, bool(real)
        self.lowest, self.varied = lowest, bool(varied)
        self.noise, self.seed, self.size = noise, seed, size
        self._data = data
        given = None if fixed is None or mask == "any" else fixed.get("mask")
        if data is not None:
            self.size = int(self.slices["test"][0].shape[-1])
            if given is not None:
                _check_mask(given, self.slices["test"][0])
        elif given is not None:
            self.size = int(given.shape[-1])  # heads are drawn as large as the mask needs them
        self.mask = self._mask(mask, rate) if given is None else given
        where = "random slices of a head" if data is None else "slices of your own"
        kind = {"radial": "pseudo-radial lines", "cartesian": "columns"}.get(mask, "a mask of your own")
        part = f"{float(self.mask.mean()):.1%}"
        if mask == "any":
            part, kind = f"{lowest:.0%} to {rate:.0%}", "pseudo-radial lines and columns, a mask for each"
        self.summary = (
            f"Magnetic resonance images ({where}) from {part} of their k-space: {kind}, "
            f"{'real' if real else 'complex'} images."
        )

    @cached_property
    def slices(self) -> dict[str, list[Tensor]]:
        """Images by part."""
        if self._data is None:
            found = {
                part: [
                    phantoms.head(self.size, torch.Generator().manual_seed(10_007 * (k + 1) + 97 * self.seed + n))
                    for n in range(count)
                ]
                for k, (part, count) in enumerate(PARTS.items())
            }
        else:
            found = slices_by_part(self._data)
        shapes = {tuple(each.shape) for part in found.values() for each in part}
        if len(shapes) > 1:
            raise ValueError(
                "slices of one size are needed, since they share a mask; they have "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        if self.real:
            return {part: [each.abs() if each.is_complex() else each for each in held] for part, held in found.items()}
        generator = torch.Generator().manual_seed(5_000_003 + self.seed)
        return {
            part: [each if each.is_complex() else phantoms.with_phase(each, generator) for each in held]
            for part, held in found.items()
        }

    def _mask(self, mask: str, rate: float, shape: tuple[int, int] | None = None) -> Tensor:
        whole = (self.size, self.size) if self._data is None else tuple(self.slices["test"][0].shape)
        height, width = whole if shape is None else shape
        if mask == "any":
            mask = "radial" if height == width else "cartesian"
        if mask == "cartesian":
            centred = sampling.cartesian_mask(height, width, rate, seed=self.seed)
        elif mask == "radial":
            if height != width:
                raise ValueError(
                    f"a radial mask is square, and the slices have {height} x {width} pixels; take mask=cartesian"
                )
            centred = sampling.radial_mask(height, rate)
        else:
            centred = read_mask(mask, (height, width))
        return torch.fft.ifftshift(centred, (-2, -1)).unsqueeze(0).contiguous()

    def measure(self, target: Tensor, generator: torch.Generator, mask: Tensor | None = None) -> Samples:
        """The k-space of images (batch, height, width) under the mask."""
        mask = self.mask if mask is None else mask
        samples = mask * fft(target)
        if self.noise:
            samples = samples + mask * self.noise * torch.view_as_complex(
                torch.randn(*samples.shape, 2, generator=generator)
            )
        return Samples(KSpace(samples, mask), target)

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("validation", 1_000_003)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("test", 2_000_003)

    def _held(self, part: str, seed: int) -> list[Samples]:
        return [
            self.measure(
                each.unsqueeze(0), torch.Generator().manual_seed(seed + 7919 * self.seed + n), self._held_mask(n)
            )
            for n, each in enumerate(self.slices[part])
        ]

    def _held_mask(self, number: int) -> Tensor:
        """That of a held-out image."""
        if self.mask_name != "any":
            return self.mask
        rate = self.lowest + (self.sampled - self.lowest) * (number % TURNS) / (TURNS - 1)
        return self._mask(
            "radial" if number % 2 == 0 and self.mask.shape[-1] == self.mask.shape[-2] else "cartesian", rate
        )

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        masks = torch.cat([self._held_mask(n) for n in (1, 2)]) if self.mask_name == "any" else self.mask
        return self.measure(torch.stack(self.slices["test"][:2]), torch.Generator().manual_seed(3_000_003), masks)

    def example(self) -> Any:
        """One slice."""
        return first(self.timing, 1).data

    @classmethod
    def small(cls) -> MRI:
        return cls(size=32)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The mask, how much of k-space it takes, and whether images are complex; for any mask only that."""
        mask = "" if options["mask"] == "any" else f"{options['mask']}{100 * options['rate']:g}"
        return "-".join(word for word in (mask, "" if options["real"] else "complex") if word)

    @classmethod
    def serves(cls, trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Those of any mask serve for each: a network knows the mask from its data."""
        return trained["mask"] == "any" and bool(trained["real"]) == bool(wanted["real"])

    def measurement(self) -> Measurement:
        return SampledMeasurement(
            SampledFourier(real=self.real), Gaussian(self.noise) if self.noise else None, paired=self.real
        )

    def zero_filled(self, data: KSpace) -> Tensor:
        """The image with zeros for what was not measured."""
        image = ifft(data.samples)
        return image.real if self.real else image

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The zero-filled image, total variation, and a U-Net on the zero-filled image."""
        weights = (0.0005, 0.001, 0.002, 0.004)

        def variation(weight: float) -> ADMM:
            splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
            return ADMM(SampledFourier(real=self.real), [splitting])

        def accelerated(weight: float) -> FISTA:
            prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=10)
            return FISTA(ProximalGradient(SampledFourier(real=self.real), prox, weight))

        return [
            Iterative("total variation, ADMM", variation, weights, 300, tuning=100),
            Iterative("total variation, FISTA", accelerated, weights, 100, tuning=50),
            Method("zero-filled", lambda _: self.zero_filled, linear=True),
            unet_on(self.zero_filled, size, levels=3, channels=1 if self.real else 2),
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The first test images side by side, where they are real."""
        if not self.real:
            return Exhibits()
        return exhibits.pictures([], [batch.target for batch in self.test], methods, self._score)

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The first test image after each layer, where it is real."""
        name = "the first test picture"
        return exhibits.layers(name, self.test[0].target, estimates, self._score) if self.real else ()

    def _score(self, estimate: Tensor, target: Tensor) -> str:
        return self.metric.text(self.metric.value(self.pieces(estimate, Samples(None, target))))

    def draw(self, batch: int, generator: torch.Generator, part: float = 1.0) -> Samples:
        """Random training images; ``part`` of their height and width, where they are varied."""
        held = self.slices["train"]
        if self.varied:
            return self._drawn([self._variation(part, generator) for _ in range(batch)], generator)
        chosen = torch.randint(len(held), (batch,), generator=generator).tolist()
        flips = torch.randint(4, (batch,), generator=generator).tolist()
        turned = [held[i].flip([d for d in (0, 1) if flip >> d & 1]) for i, flip in zip(chosen, flips, strict=True)]
        return self._drawn(turned, generator)

    def _variation(self, part: float, generator: torch.Generator) -> Tensor:
        held = self.slices["train"]
        size = max(8, round(part * min(held[0].shape)))
        chosen = int(torch.randint(len(held) + max(1, len(held) // 9), (), generator=generator))
        if chosen < len(held):
            return varied(held[chosen], generator, size)
        height, width = held[0].shape
        phantom = phantoms.head(max(height, width), generator)[:height, :width]
        return varied(phantom if self.real else phantoms.with_phase(phantom, generator), generator, size)

    def _drawn(self, chosen: list[Tensor], generator: torch.Generator) -> Samples:
        target = torch.stack(chosen)
        height, width = target.shape[-2:]
        if self.mask_name != "any":
            whole = (height, width) == self.mask.shape[-2:]
            mask = self.mask if whole else self._mask(self.mask_name, self.sampled, (height, width))
            return self.measure(target, generator, mask)
        rates = (LOWER * self.lowest, min(1.0, UPPER * self.sampled))
        masks = [sampling.drawn_mask(height, width, rates, generator) for _ in chosen]
        return self.measure(target, generator, torch.fft.ifftshift(torch.stack(masks), (-2, -1)))

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The mean over images of |x' - x| / |x|, Euclidean norms (normalised root mean squared error); with ``any``
        mask that of its logarithm, so that every rate counts alike in decibels.
        """
        ratio = relative_errors(estimate, target)
        return (ratio + FLOOR).log().mean() if self.mask_name == "any" else ratio.mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return super().pieces(estimate.abs(), samples._replace(target=samples.target.abs()))

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Relative error and structural similarity of magnitudes, averaged over images."""
        return magnitude_errors(estimates, batches)

    def shifts(self) -> Sequence[Shift]:
        """Other rates of a mask of the same kind."""
        if self.mask_name not in MASKS:
            return ()
        target = self.timing.target

        def made(rate: float) -> Samples:
            return self.measure(target, torch.Generator().manual_seed(4_000_003), self._mask(self.mask_name, rate))

        rates = tuple(sorted({0.1, 0.15, self.sampled, 0.3, 0.4}, reverse=True))
        note = "The network was trained for " + ("all of them." if self.mask_name == "any" else "one mask.")
        return [Shift("part of k-space that is measured", rates, made, self.sampled, note)]

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {} if self.mask_name == "any" else {"mask": self.mask}

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.mask.contiguous().numpy().tobytes())
        for each in self.slices["train"]:
            digest.update(each.contiguous().numpy().tobytes())
        material = "phantoms" if self._data is None else "slices"
        mask = self.mask_name if self.mask_name in MASKS else "file"
        counts = {part: len(held) for part, held in self.slices.items()}
        own = {
            "mask": mask,
            "rate": self.sampled,
            **({"lowest": self.lowest} if self.mask_name == "any" else {}),
            **({"varied": 1, "size": self.size} if self.varied else {}),
            "real": int(self.real),
            "noise": self.noise,
            "seed": self.seed,
            "material": material,
            "slices": counts,
        }
        note = attribution(self._data)
        return {
            "name": self.name,
            **own,
            **({"attribution": note} if note else {}),
            "fingerprint": digest.hexdigest()[:16],
        }


def read_mask(path: str | Path, shape: tuple[int, int] | None = None) -> Tensor:
    """A mask (height, width) of zeros and ones from a ``.npy`` file, zero frequency where the file has it; of whole
    lines (1, width) or (height, 1) will do, and is repeated where a shape is asked for.

    Raises:
        ValueError: no such file, not a mask, or one of another shape than asked for.
    """
    path = Path(path)
    try:
        values = Arrays(Path(path)).only
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} is not a .npy file with a mask (a mask is 'radial', 'cartesian' or such a file): {error}"
        ) from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "biuf":
        raise ValueError(f"{path} is no mask (height, width) of zeros and ones")
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"{path} is no mask: it holds other values than 0 and 1")
    if not values.any():
        raise ValueError(f"{path} is zero everywhere: nothing is measured")
    if shape is not None and any(side not in (1, size) for side, size in zip(values.shape, shape, strict=True)):
        raise ValueError(
            f"the mask {path} has {values.shape[0]} x {values.shape[1]} frequencies, and the data "
            f"{shape[0]} x {shape[1]}; they must agree"
        )
    mask = torch.from_numpy(values.astype(np.float32))
    return mask if shape is None else mask.expand(*shape).contiguous()


def _check_mask(mask: Tensor, image: Tensor) -> None:
    (height, width), (rows, columns) = mask.shape[-2:], image.shape[-2:]
    if (height, width) != (rows, columns):
        raise ValueError(f"the mask of the weights has {height} x {width} pixels, and the slices {rows} x {columns}")
