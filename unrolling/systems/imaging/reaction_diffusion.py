"""What the reaction-diffusion networks have in common: their parent, how they are trained, what they are compared
with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolling.algorithms.images.diffusion import Compressed, Diffusion, PeronaMalik, QuantisedBlocks
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.data_terms import DataTerm, Linear
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.networks.dncnn import DnCNN, dncnn_channels
from unrolling.operators import BicubicReduction, FilterBank, FiniteDifferences, Identity
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.influence import RadialBasis, fit_radial_basis
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.systems.base import Classical, Direct, Reference, Rival, Tying
from unrolling.tasks.base import Samples
from unrolling.training.stages import Cosine, Schedule, Stage

CENTRES, LAST = 63, 310.0  # of the radial basis, on the scale of 8 bits
# of the parent's influence function, chosen on validation photographs for five steps; STEP is divided by the filters'
# area
CONTRAST, STEP = 20.0, 1.25
CHEN = Reference(
    "Chen, Y. and Pock, T.",
    "Trainable nonlinear reaction diffusion: A flexible framework for fast and effective image restoration",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence 39(6)",
    2017,
    "10.1109/TPAMI.2016.2596743",
)
PERONA = Reference(
    "Perona, P. and Malik, J.",
    "Scale-space and edge detection using anisotropic diffusion",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence 12(7)",
    1990,
    "10.1109/34.56205",
)


def parent(
    data_term: DataTerm, size: int, weight: float, *, step: float = STEP, contrast: float = CONTRAST
) -> Diffusion:
    """Descent on a field of experts: the zero-mean cosine patterns of size x size pixels, phi(z) = (step / size^2) z /
    (1 + (z / contrast)^2).
    """
    points = torch.linspace(-LAST, LAST, 1241, dtype=torch.float64)
    values = step / size**2 * points / (1 + (points / contrast).square())
    weights = fit_radial_basis(values, points, CENTRES, -LAST, LAST).float()
    filters = FilterBank(BasisFilters(zero_mean_atoms(size)), "symmetric")
    return Diffusion(data_term, filters, RadialBasis(weights.repeat(size**2 - 1, 1), -LAST, LAST), weight, scale=255.0)


def tying(task: Any) -> Tying:
    """Everything for itself in every layer."""
    return Tying(untied=("filters", "influence", "weight"))


def tying_without_reaction(task: Any) -> Tying:
    """Where the data enter by a projection there is no weight."""
    return Tying(untied=("filters", "influence"))


def schedule(steps: int, batch: int = 8) -> Callable[[int], Schedule]:
    """A fifth of the steps layer after layer, then all together."""

    def made(depth: int) -> Schedule:
        each = max(1, steps // (5 * depth))
        options: dict[str, Any] = {"batch": batch, "clip": 1.0}
        grown = [
            Stage(each, rate=5e-3, depth=k + 1, layers=(k,), inherit={}, annealing=Cosine(0.05, 0.3), **options)
            for k in range(depth)
        ]
        return [*grown, Stage(max(1, steps - each * depth), rate=4e-3, annealing=Cosine(0.02, 1e-2), **options)]

    return made


def denoisers(task: Any) -> list[Classical]:
    """Diffusion and total variation, their weights from validation photographs."""
    level = task.sigma / 25
    settings = tuple(
        (round(contrast * level, 4), weight) for contrast in (0.03, 0.05, 0.08) for weight in (0.02, 0.06, 0.15)
    )
    return [
        Classical(
            "Perona-Malik with reaction",
            lambda s: PeronaMalik(Linear(Identity()), s[0], weight=s[1]),
            settings,
            200,
            tuning=60,
            setting="contrast",
        ),
        Classical(
            "total variation, Chambolle-Pock",
            lambda w: ChambollePock(Linear(Identity()), FiniteDifferences(), IsotropicShrink(), w, primal_step=0.35),
            tuple(round(w * level, 4) for w in (0.05, 0.065, 0.08)),
            200,
            tuning=60,
        ),
    ]


def directs(task: Any) -> list[Direct]:
    """Non-local means, tuned on validation photographs; BM3D where the package is installed."""
    return [
        Direct(
            "non-local means",
            _Tuned(task, _non_local_means, (0.5, 0.6, 0.7)),
            "scikit-image; patches of 5, distances up to 6",
        ),
        *_bm3d(task),
    ]


def _bm3d(task: Any) -> list[Direct]:
    from importlib.util import find_spec

    if find_spec("bm3d") is None:
        return []
    return [
        Direct(
            "BM3D",
            lambda data: _each(lambda image: _run_bm3d(image, task.sigma / 255), data),
            "package bm3d, for non-commercial use",
            limit=1,
        )
    ]


def _run_bm3d(image: np.ndarray, sigma: float) -> np.ndarray:
    from bm3d import bm3d  # pyright: ignore[reportMissingImports]

    return np.asarray(bm3d(image, sigma))


def _non_local_means(data: Tensor, task: Any, setting: float) -> Tensor:
    from skimage.restoration import denoise_nl_means

    sigma = task.sigma / 255
    options: dict[str, Any] = {
        "patch_size": 5,
        "patch_distance": 6,
        "h": setting * sigma,
        "sigma": sigma,
        "fast_mode": True,
    }
    return _each(lambda image: denoise_nl_means(image, **options), data)


def _each(run: Callable[[np.ndarray], np.ndarray], data: Tensor) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(run(image), dtype=np.float32) for image in data.numpy()]))


class _Tuned:
    """A method whose setting is chosen on validation data when it is first used."""

    def __init__(self, task: Any, run: Callable[[Any, Any, float], Tensor], settings: Sequence[float]) -> None:
        self.task, self.method, self.settings = task, run, tuple(settings)
        self.chosen: float | None = None

    def __call__(self, data: Any) -> Tensor:
        if self.chosen is None:
            self.chosen = max(self.settings, key=self._score)
        return self.method(data, self.task, self.chosen)

    def _score(self, setting: float) -> float:
        batches: list[Samples] = self.task.validation
        rows = [self.task.pieces(self.method(b.data, self.task, setting), b) for b in batches]
        return self.task.metric.value(torch.cat(rows))


def rivals(prepare: Callable[[Any], Tensor], steps: int) -> Callable[[Any, int], Sequence[Rival]]:
    """A DnCNN of five layers with as many parameters, on the image that the network starts from."""

    def made(task: Any, parameters: int) -> Sequence[Rival]:
        channels = dncnn_channels(parameters, 5)
        name = f"DnCNN, 5 layers of {channels} channels"
        return [Rival(name, lambda: _From(prepare, DnCNN(5, channels, normalise=False)), steps, 8, (1e-3, 3e-3))]

    return made


class _From(nn.Module):
    """A network of images on data that an image can be made of."""

    def __init__(self, prepare: Callable[[Any], Tensor], network: nn.Module) -> None:
        super().__init__()
        self.first, self.network = prepare, network

    def forward(self, data: Any) -> Tensor:
        return self.network(self.first(data))


def deblockers(task: Any) -> list[Classical]:
    """Diffusion between projections onto what the file says."""
    contrasts = (0.01, 0.02, 0.04, 0.08)
    return [
        Classical(
            "Perona-Malik with projection",
            lambda c: PeronaMalik(QuantisedBlocks(), c),
            contrasts,
            60,
            tuning=30,
            setting="contrast",
        )
    ]


def decoded(data: Compressed) -> Tensor:
    """The image as decoded."""
    return data.image


def enlargers(task: Any) -> list[Classical]:
    """Diffusion and total variation with the reduction as data term."""
    operator: BicubicReduction = task.operator
    step = 0.95 / operator.norm(1e-3, shape=(24 * task.factor, 24 * task.factor)) ** 2
    settings = tuple((contrast, round(weight * step, 4)) for contrast in (0.01, 0.03) for weight in (0.3, 1.0))

    def variation(weight: float) -> FISTA:
        return FISTA(
            ProximalGradient(
                Linear(operator), AnalysisProx(FiniteDifferences(), 8.0, iterations=10), weight, step_size=step
            )
        )

    return [
        Classical(
            "Perona-Malik with reaction",
            lambda s: PeronaMalik(Linear(operator), s[0], weight=s[1]),
            settings,
            200,
            tuning=60,
            setting="contrast",
        ),
        Classical("total variation, FISTA", variation, (0.0003, 0.001, 0.003), 100, tuning=40),
    ]


def enlarged(task: Any) -> Callable[[Tensor], Tensor]:
    """Bicubic interpolation."""
    return lambda data: task.operator.enlarge(data)
