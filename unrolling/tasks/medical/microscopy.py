"""Where emitters are on a grid four times finer than the camera's, from a movie of them blinking."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolling._extras import extra
from unrolling.algorithms.images.sparcom import Fluctuations, accelerated_sparcom, temporal_variance
from unrolling.core.arguments import check_count, check_range
from unrolling.networks.encoder_decoder import EncoderDecoder, normalised
from unrolling.operators.resize import resize
from unrolling.tasks import exhibits
from unrolling.tasks.base import Samples, Shift, Task, first
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.medical.emitters import simulated_movies
from unrolling.tasks.medical.structures import JACCARD, fitted_psnr, precision, recall

FACTOR = 4
ITERATIONS = 100  # of SPARCOM
VARIANCE_WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.4)
CORRELATION_WEIGHTS = (0.1, 0.2, 0.4, 0.8, 1.6)
HELD = {"validation": 1_000_003, "test": 2_000_003, "timing": 3_000_003, "shifts": 4_000_003}
BATCH = 20  # movies of a held-out batch
SCALE = 30.0  # of estimates in the loss, which brings what a pixel holds to about 1


class Microscopy(Task):
    """y_t = A s_t + background + noise, frames t = 1 ... T of emitters s_t that blink independently of each other, A a
    Gaussian point spread function; data are movies (batch, frames, size, size), divided by the largest standard
    deviation over time of a pixel. Sought is the variance over time of the emitters of each fine pixel, (batch, 4 size,
    4 size), in the same unit squared.

    Emitters lie on smooth curves, as on labelled microtubules (``simulated_movies``).

    The metric is the Jaccard index of the pixels that hold 95 % of an image's light and those with emitters, within one
    fine pixel (``structures``); recall, precision and PSNR are further ones.

    Args:
        size: camera pixels along a side.
        frames: of a movie.
        psf: standard deviation of the point spread function, camera pixels.
        seed: of the held-out movies.
        held_out: movies of the test set; two fifths as many for validation.
        data: none: movies are simulated.
        fixed: tensors of a weights file; none is needed.

    Raises:
        ValueError: a size below 8, less than two frames, a point spread function wider than the field, data.
    """

    name = "microscopy"
    summary = "Emitters four times finer than the camera's pixels, from movies of them blinking."
    given = "a movie of blinking emitters under a microscope"
    sought = "an image of them with four times finer pixels"
    metric = JACCARD
    vectors = False
    threads = 1
    options: Mapping[str, Any] = {"size": 16, "frames": 350, "psf": 1.1}
    notes = (
        "Movies are simulated: emitters along smooth curves, which blink independently, a Gaussian point spread "
        "function, shot and read noise. The Jaccard index is that of the brightest pixels with 95 % of an image's "
        "light and of the pixels with emitters, within one fine pixel; the PSNR is that of the multiple of the image "
        "nearest to the truth.",
    )
    references = ("dardikmanyoffe2020learned",)
    units: Mapping[str, str] = {
        "data": "1, photons over the largest standard deviation over time of a pixel",
        "estimate": "1, variance over time in the data's unit squared",
    }

    def __init__(
        self,
        size: int = 16,
        frames: int = 350,
        psf: float = 1.1,
        seed: int = 0,
        data: Any = None,
        fixed: Mapping[str, Tensor] | None = None,
        held_out: int = 100,
    ) -> None:
        if data is not None:
            raise ValueError(f"the task microscopy simulates its movies and takes no data; got {data!r}")
        check_count(size, "size", 8)
        check_count(frames, "frames", 2)
        check_count(held_out, "held_out", 5)
        check_range(psf, "psf", 0.0, above=True)
        check_spread(psf, size, size)
        self.size, self.frames, self.psf, self.seed, self.held_out = size, frames, float(psf), seed, held_out

    def simulate(
        self, batch: int, generator: torch.Generator, *, psf: float | None = None, frames: int | None = None
    ) -> Samples:
        """Movies, of another point spread function or length where they are given."""
        found = simulated_movies(
            batch, self.size, self.frames if frames is None else frames, FACTOR, psf or self.psf, generator
        )
        return Samples(found.movie, found.variance)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        return self.simulate(batch, generator)

    def _held(self, part: str, count: int) -> list[Samples]:
        sizes = [min(BATCH, count - begin) for begin in range(0, count, BATCH)]
        return [
            self.simulate(size, torch.Generator().manual_seed(HELD[part] + 7919 * self.seed + n))
            for n, size in enumerate(sizes)
        ]

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("validation", max(2, 2 * self.held_out // 5))

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("test", self.held_out)

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("timing", 4)[0]

    def example(self) -> Any:
        """One movie."""
        return first(self.timing, 1).data

    @classmethod
    def small(cls) -> Microscopy:
        return cls(size=8, frames=20, held_out=6)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Size, frames and point spread function that are unlike the usual."""
        return "-".join(f"{key}{options[key]:g}" for key in cls.options if options[key] != cls.options[key])

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The mean of (c (y - x))^2 over pixels with emitters, and of c |x| over the others, as published, c = 30."""
        wrong = SCALE * (estimate - target)
        return torch.where(target > 0, wrong.square(), wrong.abs()).mean()

    def enlarged(self, data: Tensor) -> Tensor:
        """The variance over time, interpolated to the fine grid."""
        return resize(temporal_variance(data), FACTOR * data.shape[-2], FACTOR * data.shape[-1])

    def fluctuations(self, form: Any = "variance", psf: float | None = None) -> Fluctuations:
        """The data term of SPARCOM for these movies."""
        return Fluctuations((self.size, self.size), FACTOR, self.psf if psf is None else psf, form=form)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """SPARCOM on variances and on covariances, Richardson-Lucy, the interpolated variance, and a network of the
        shape of Deep-STORM's.
        """

        def lucy(setting: tuple[str, int]) -> Callable[[Tensor], Tensor]:
            return lambda data: richardson_lucy(data, self.psf, *setting)

        settings = tuple((image, count) for image in ("mean", "variance") for count in (10, 30, 100, 300))
        return [
            Iterative(
                "SPARCOM, variances",
                lambda w: accelerated_sparcom(self.fluctuations(), w),
                VARIANCE_WEIGHTS,
                ITERATIONS,
            ),
            Iterative(
                "SPARCOM, covariances",
                lambda w: accelerated_sparcom(self.fluctuations("correlation"), w),
                CORRELATION_WEIGHTS,
                ITERATIONS,
            ),
            Method("Richardson-Lucy", lucy, settings, "scikit-image; of the {setting}", kind="library"),
            Method("variance, interpolated", lambda _: self.enlarged, linear=True),
            Generic("encoder-decoder, as Deep-STORM", lambda: _OnVariance(self.enlarged), 5000, 8, (1e-3,)),
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The first movie of two batches."""
        return exhibits.pictures(
            ["a simulated field", "another one"],
            [_bright(batch.target) for batch in self.test],
            _shown(methods),
            _caption,
        )

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The first test movie after each layer."""
        shown = [_bright(each) for each in estimates]
        return exhibits.layers("a simulated field", _bright(self.test[0].target), shown, _caption)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Recall, precision and PSNR, of all movies."""
        pairs = [(e, Samples(None, b.target[: len(e)])) for e, b in zip(estimates, batches, strict=True)]
        measures = {"recall": recall, "precision": precision, "PSNR (dB)": fitted_psnr}
        return {name: float(torch.cat([each(*pair) for pair in pairs]).mean()) for name, each in measures.items()}

    def shifts(self) -> Sequence[Shift]:
        """Another point spread function, and shorter movies."""
        count = len(self.timing.target)

        def made(**other: Any) -> Samples:
            return self.simulate(count, torch.Generator().manual_seed(HELD["shifts"]), **other)

        widths = tuple(round(self.psf * factor, 3) for factor in (0.7, 0.85, 1.0, 1.15, 1.3))
        return [
            Shift(
                "standard deviation of the point spread function, pixels",
                widths,
                lambda psf: made(psf=psf),
                self.psf,
                "The network and the classical methods take it to be what it was in training.",
            ),
            Shift(
                "frames",
                (700.0, 350.0, 150.0, 50.0, 20.0),
                lambda frames: made(frames=int(frames)),
                float(self.frames),
                "The fewer frames, the less their variance tells.",
            ),
        ]

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.size, "frames": self.frames, "psf": self.psf, "seed": self.seed}


def check_spread(deviation: float, height: int, width: int) -> None:
    """Refuses a point spread function that is larger than the frame: its full width at half of its height, 2.355
    standard deviations.

    Raises:
        ValueError: it is.
    """
    full = 2.3548 * deviation
    if full > min(height, width):
        raise ValueError(
            f"the point spread function is {full:.1f} pixels wide (a standard deviation of {deviation:g}), more than "
            f"the frame, which has {height} x {width}; nothing in it can be resolved"
        )


def richardson_lucy(movie: Tensor, deviation: float, image: str = "mean", iterations: int = 30) -> Tensor:
    """Deconvolution of the interpolated mean of a movie, less its smallest value, or of its interpolated variance with
    the square of the point spread function, by scikit-image (Richardson 1972, doi:10.1364/JOSA.62.000055).

    Args:
        movie: (batch, frames, height, width).
        deviation: standard deviation of the point spread function, camera pixels.
        image: ``mean`` or ``variance``.
        iterations: how many.
    """
    with extra("Richardson-Lucy deconvolution"):
        from skimage.restoration import richardson_lucy as deconvolved
    mean = movie.mean(1)
    low = mean - mean.amin((-2, -1), keepdim=True) if image == "mean" else temporal_variance(movie)
    width = FACTOR * deviation / (1.0 if image == "mean" else math.sqrt(2.0))
    reach = int(4 * width)
    grid = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / width**2)
    fine = resize(low, FACTOR * low.shape[-2], FACTOR * low.shape[-1]).clamp_min(0).numpy()
    found = [deconvolved(each, kernel / kernel.sum(), num_iter=iterations, clip=False) for each in fine]
    return torch.from_numpy(np.stack(found).astype(np.float32))


class _OnVariance(nn.Module):
    """An encoder-decoder on the interpolated variance, normalised as Deep-STORM normalises its frames."""

    def __init__(self, image: Callable[[Tensor], Tensor], width: int = 16) -> None:
        super().__init__()
        self.image, self.network = image, EncoderDecoder(width)

    def forward(self, data: Tensor) -> Tensor:
        image, spread = normalised(self.image(data))
        return self.network(image) * spread


def _bright(image: Tensor) -> Tensor:
    """Images with their 99.5th percentile of lit pixels at 1, so that structures of few bright pixels are seen."""
    flat = image.clamp_min(0).flatten(1)
    top = flat.topk(max(1, flat.shape[1] // 100), dim=1).values[:, -1].view(-1, 1, 1)
    return (image.clamp_min(0) / torch.where(top > 0, top, 1)).clamp(0, 1)


def _shown(methods: Sequence[Shown]) -> list[Shown]:
    return [each._replace(estimates=[_bright(found) for found in each.estimates]) for each in methods]


def _caption(estimate: Tensor, target: Tensor) -> str:
    return JACCARD.text(JACCARD.value(JACCARD.pieces(estimate, Samples(None, target))))
