"""Blood and tissue from movies of contrast ultrasound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.robust_pca import RobustPCA, Separated
from unrolling.core import solve
from unrolling.core.arguments import check_count, check_range
from unrolling.networks.volume_resnet import ComplexVolumeResNet
from unrolling.prox.low_rank import rank_projection
from unrolling.prox.thresholds import soft_threshold
from unrolling.tasks import exhibits
from unrolling.tasks.base import NMSE, Samples, Shift, Task, first
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.medical.bubbles import contrast_movies

HELD, TESTED, GROUP = 16, 32, 8  # movies to validate and to test on, and of a batch
TARGETS = ("truth", "converged")
WEIGHTS = (8.0, 1.0)  # lambda1 and lambda2 of the targets that are converged
ITERATIONS, STOPS = 300, (25, 45)  # of ISTA and FISTA
LEVELS = tuple((low, low * ratio) for low in (3.0, 6.0) for ratio in (0.1, 0.117, 0.14))
ENTRIES = tuple((4.0, 4.0 * ratio) for ratio in (0.02, 0.025, 0.03))  # of |S|_1
RANGE_DB = 40.0  # of pictures in decibels


class Clutter(Task):
    """D = L + S + noise: tissue L that hardly moves, of low rank, and bubbles S in vessels, sparse; recover S.

    Movies (batch, size, size, frames) are simulated (``contrast_movies``), new ones with every batch; a loss is told L
    and S. Scores are those of S.

    Args:
        size: of the frames, pixels along a side, 0.12 mm each.
        frames: of a movie, 10 ms each.
        noise: root mean square of complex white noise; tissue has 1.
        bubble: amplitude in the middle of a bubble's spot.
        targets: ``truth``, or ``converged``: L and S then are what robust principal component analysis converges to
            on each movie, with weights 8 and 1, as the survey has it for movies without truth.
        seed: of the held-out movies.
        data: not taken.
        fixed: tensors of a weights file; none is needed.
        held: how many movies are held out to validate on and to test on.

    Raises:
        ValueError: fewer than two frames, a negative noise or amplitude, unknown targets.
    """

    name = "clutter"
    given = "a movie of contrast ultrasound"
    sought = "the blood without the tissue"
    metric = NMSE
    vectors = False
    options: Mapping[str, Any] = {"size": 32, "frames": 20, "noise": 0.1, "bubble": 3.0, "targets": "truth"}
    notes = (
        "Movies are simulated: scatterers of tissue that move by up to 0.06 mm, bubbles in up to three vessels, a "
        "Gaussian point spread function, white noise. Nothing here was measured on a patient.",
    )
    references = ("solomon2020deep",)
    units: Mapping[str, str] = {"data": "1, tissue has a root mean square of 1", "estimate": "1, likewise"}

    def __init__(
        self,
        size: int = 32,
        frames: int = 20,
        noise: float = 0.1,
        bubble: float = 3.0,
        targets: str = "truth",
        seed: int = 0,
        data: Any = None,
        fixed: Mapping[str, Tensor] | None = None,
        *,
        held: tuple[int, int] = (HELD, TESTED),
    ) -> None:
        check_count(size, "size", 4)
        check_count(frames, "frames", 2)
        check_range(noise, "noise", 0.0, math.inf, below=True)
        check_range(bubble, "bubble", 0.0, math.inf, below=True)
        if targets not in TARGETS:
            raise ValueError(f"targets is {targets!r}; it is one of {', '.join(TARGETS)}")
        if data is not None:
            raise ValueError(f"movies of {self.name} are simulated; it takes no data, and got {data!r}")
        self.size, self.frames, self.noise, self.bubble, self.targets = size, frames, noise, bubble, targets
        self.seed, self.held = seed, held
        what = "bubbles" if targets == "truth" else "what robust principal component analysis makes of bubbles"
        self.summary = (
            f"Simulated contrast ultrasound, {size} x {size} pixels, {frames} frames, noise {noise:g}: {what} behind "
            "tissue."
        )

    def movies(self, batch: int, generator: torch.Generator, **other: float) -> tuple[Tensor, Separated]:
        """D, and the L and S behind it.

        Args:
            batch: how many.
            generator: of random numbers.
            other: ``noise``, ``bubble`` or ``motion`` in the place of the usual ones.
        """
        noise = other.pop("noise", self.noise)
        tissue, blood = contrast_movies(
            batch, self.size, self.size, self.frames, generator, **{"bubble": self.bubble, **other}
        )
        white = torch.view_as_complex(torch.randn(*tissue.shape, 2, generator=generator)) * (noise / 2**0.5)
        return tissue + blood + white, Separated(tissue, blood)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        movie, parts = self.movies(batch, generator)
        return Samples(movie, self._targets(movie, parts))

    def _targets(self, movie: Tensor, parts: Separated) -> Separated:
        return parts if self.targets == "truth" else converged(movie)

    def _scored(self, batch: int, seed: int, **other: float) -> Samples:
        """Held-out movies, whose target is S alone."""
        movie, parts = self.movies(batch, torch.Generator().manual_seed(seed + 7919 * self.seed), **other)
        return Samples(movie, self._targets(movie, parts).sparse)

    def _held(self, count: int, seed: int) -> list[Samples]:
        sizes = [min(GROUP, count - begin) for begin in range(0, count, GROUP)]
        return [self._scored(size, seed + 101 * number) for number, size in enumerate(sizes)]

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held(self.held[0], 1_000_003)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held(self.held[1], 2_000_003)

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._scored(4, 5_000_011)

    def example(self) -> Any:
        """One movie."""
        return first(self.timing, 1).data

    @classmethod
    def small(cls) -> Clutter:
        return cls(size=8, frames=5, held=(3, 3))

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """What is unlike the usual."""
        usual = cls.options
        words = [
            f"{key}{options[key]:g}" for key in ("size", "frames", "noise", "bubble") if options[key] != usual[key]
        ]
        return "-".join(words + (["converged"] if options["targets"] == "converged" else []))

    @classmethod
    def serves(cls, trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Movies of any size and number of frames; other noise and amplitudes, as a test of what weights are good
        for.
        """
        return trained["targets"] == wanted["targets"]

    def loss(self, estimate: Any, target: Any) -> Tensor:
        """0.5 mean |S' - S|^2 + 0.5 mean |L' - L|^2 of estimates with both parts; of others the mean of |S' - S|^2."""
        true = target.sparse if isinstance(target, Separated) else target
        if not (isinstance(estimate, Separated) and isinstance(target, Separated)):
            found = estimate.sparse if isinstance(estimate, Separated) else estimate
            return _mean_square(found - true)
        return 0.5 * (_mean_square(estimate.sparse - true) + _mean_square(estimate.low_rank - target.low_rank))

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Robust principal component analysis to convergence, and by FISTA stopped where it is best; the filter of the
        largest singular values; a residual network of the published size.
        """

        def stopped(setting: tuple[float, float, int], **prox: Any) -> Callable[[Tensor], Tensor]:
            low, sparse, count = setting
            method = FISTA(RobustPCA(low, sparse, **prox))
            return lambda data: solve(method, data, tolerance=0.0, max_iterations=count).estimate

        def without(rank: int) -> Callable[[Tensor], Tensor]:
            return lambda data: svd_filter(data, rank)

        return [
            Iterative(
                "robust PCA, ISTA", lambda w: RobustPCA(*w), LEVELS, ITERATIONS, tuning=60, setting="two weights"
            ),
            Method(
                "robust PCA, FISTA, stopped early",
                stopped,
                tuple((*level, stop) for level in LEVELS for stop in STOPS),
                "weights and iterations {setting}",
            ),
            Method(
                "entrywise robust PCA, |S|_1, FISTA, stopped early",
                partial(stopped, sparse_prox=soft_threshold),
                tuple((*level, stop) for level in ENTRIES for stop in STOPS),
                "weights and iterations {setting}",
            ),
            Method(
                "SVD clutter filter",
                without,
                tuple(range(1, min(9, self.frames))),
                "without the {setting} largest singular values",
            ),
            Generic("residual CNN, 3-D", ComplexVolumeResNet, rates=(3e-3,)),
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The maximum over time of the blood in the first test movies, in decibels."""
        batch = self.test[0]
        count = min(2, len(batch.target))
        scored = [
            m._replace(estimates=[projection(m.estimates[0][n : n + 1]) for n in range(count)])
            for m in methods
            if len(m.estimates) and len(m.estimates[0]) >= count
        ]
        targets = [projection(batch.target[n : n + 1]) for n in range(count)]
        names = [f"movie {n + 1}: maximum of the blood over time, {RANGE_DB:g} dB" for n in range(count)]
        return exhibits.pictures(names, targets, scored, lambda estimate, target: "")

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The maximum over time of the first test movie's blood after each layer."""
        target = projection(self.test[0].target[:1])
        return exhibits.layers(
            "the first test movie", target, [projection(e[:1]) for e in estimates], lambda estimate, true: ""
        )

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """The mean squared error of S, and how much of a movie's tissue is left, in dB: the energy of estimates where
        there is no blood, beside that of the movie there.
        """
        pairs = [(e, first(b, len(e))) for e, b in zip(estimates, batches, strict=True)]
        error = torch.cat([(e - b.target).abs().square().flatten() for e, b in pairs]).mean()
        left = torch.zeros(2, dtype=torch.float64)
        for estimate, batch in pairs:
            empty = batch.target.abs() < 0.01 * self.bubble
            left += torch.stack([x[empty].abs().double().square().sum() for x in (estimate, batch.data)])
        return {"MSE": float(error), "tissue left (dB)": float(10 * torch.log10(left[0] / left[1]))}

    def shifts(self) -> Sequence[Shift]:
        """Other noise, fainter bubbles, tissue that moves more."""
        values = {"noise": (0.05, 0.1, 0.2, 0.4), "bubble": (3.0, 1.5, 0.75), "motion": (0.5, 1.0, 2.0, 4.0)}
        own = {"noise": self.noise, "bubble": self.bubble, "motion": 1.0}
        names = {
            "noise": ("noise, root mean square", "Tissue has a root mean square of 1."),
            "bubble": ("amplitude of a bubble", "Tissue has a root mean square of 1."),
            "motion": ("motion of the tissue, factor", "Amplitudes of 0.005 to 0.06 mm, times this."),
        }

        def make(key: str) -> Callable[[float], Samples]:
            return lambda value: self._scored(GROUP, 6_000_011, **{key: value})

        return [Shift(names[key][0], values[key], make(key), own[key], names[key][1]) for key in values]

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "size": self.size,
            "frames": self.frames,
            "noise": self.noise,
            "bubble": self.bubble,
            "targets": self.targets,
            "seed": self.seed,
        }


def converged(movie: Tensor) -> Separated:
    """What robust principal component analysis makes of movies: FISTA until nothing changes by more than 10^-4."""
    return solve(FISTA(RobustPCA(*WEIGHTS)), movie, tolerance=1e-4, max_iterations=500).state.x


def svd_filter(movie: Tensor, rank: int) -> Tensor:
    """Movies (batch, height, width, frames) without their largest singular values, which are taken for tissue.

    Demene et al. 2015, doi:10.1109/TMI.2015.2428634.

    Args:
        movie: real or complex.
        rank: how many are taken away.
    """
    return movie - rank_projection(movie.flatten(1, -2), rank).reshape(movie.shape)


def projection(movie: Tensor, decibels: float = RANGE_DB) -> Tensor:
    """The maximum over time of |movie|, (batch, height, width), from 0 at ``decibels`` below each movie's largest value
    to 1 there: 1 + 20 log10(peak over time / largest) / decibels, no less than 0.
    """
    peak = movie.abs().amax(-1)
    largest = peak.amax((-2, -1), keepdim=True)
    share = peak / torch.where(largest == 0, 1, largest)
    return (1 + 20 * torch.log10(share.clamp_min(1e-30)) / decibels).clamp_min(0)


def _mean_square(z: Tensor) -> Tensor:
    return (z.real.square() + z.imag.square()).mean() if z.is_complex() else z.square().mean()
