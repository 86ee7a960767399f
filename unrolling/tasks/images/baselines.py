"""What the tasks on pictures are compared with."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolling.algorithms.images.blind_deblurring import BlindDeblurring, differences
from unrolling.algorithms.images.diffusion import PeronaMalik, QuantisedBlocks
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.networks.dncnn import DnCNN, dncnn_channels
from unrolling.networks.srcnn import SRCNN, srcnn_channels
from unrolling.networks.unet import UNet, unet_width
from unrolling.operators import BicubicReduction, FiniteDifferences, Identity
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.images._library import block_matching, non_local_means

Image = Callable[[Any], Tensor]  # data -> pictures


def denoisers(sigma: float) -> list[Baseline]:
    """Diffusion, total variation, non-local means, and BM3D where the package is installed.

    Args:
        sigma: standard deviation of the noise, in levels of 8 bits.
    """
    level = sigma / 25
    settings = tuple(
        (round(contrast * level, 4), weight) for contrast in (0.03, 0.05, 0.08) for weight in (0.02, 0.06, 0.15)
    )
    methods: list[Baseline] = [
        Iterative(
            "Perona-Malik with reaction",
            lambda s: PeronaMalik(LeastSquares(Identity()), s[0], weight=s[1]),
            settings,
            200,
            tuning=60,
            setting="contrast",
        ),
        Iterative(
            "total variation, Chambolle-Pock",
            lambda w: ChambollePock(
                LeastSquares(Identity()), FiniteDifferences(), IsotropicShrink(), w, primal_step=0.35
            ),
            tuple(round(w * level, 4) for w in (0.05, 0.065, 0.08)),
            200,
            tuning=60,
        ),
        Method(
            "non-local means",
            lambda factor: lambda data: _each(lambda image: non_local_means(image, sigma / 255, factor), data),
            (0.5, 0.6, 0.7),
            "scikit-image; patches of 5, distances up to 6, h {setting:g} sigma",
            kind="library",
        ),
    ]
    if find_spec("bm3d") is not None:
        methods.append(
            Method(
                "BM3D",
                lambda factor: lambda data: _each(lambda image: block_matching(image, factor * sigma / 255), data),
                note="package bm3d, for non-commercial use",
                settings=(1.0,),
                limit=1,
                kind="library",
            )
        )
    return methods


def _each(run: Callable[[np.ndarray], np.ndarray], data: Tensor) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(run(image), dtype=np.float32) for image in data.numpy()]))


def deblockers() -> list[Baseline]:
    """The decoded image, and diffusion between projections onto what the file says."""
    return [
        Iterative(
            "Perona-Malik with projection",
            lambda c: PeronaMalik(QuantisedBlocks(), c),
            (0.01, 0.02, 0.04, 0.08),
            60,
            tuning=30,
            setting="contrast",
        ),
        Method("the decoded image", lambda _: lambda data: data.image, linear=True),
    ]


def enlargers(operator: BicubicReduction, factor: int) -> list[Baseline]:
    """Bicubic interpolation, diffusion and total variation with the reduction as data term."""
    step = 0.95 / operator.norm(1e-3, shape=(24 * factor, 24 * factor)) ** 2
    settings = tuple((contrast, round(weight * step, 4)) for contrast in (0.01, 0.03) for weight in (0.3, 1.0))

    def variation(weight: float) -> FISTA:
        prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=10)
        return FISTA(ProximalGradient(LeastSquares(operator), prox, weight, step_size=step))

    return [
        Iterative(
            "Perona-Malik with reaction",
            lambda s: PeronaMalik(LeastSquares(operator), s[0], weight=s[1]),
            settings,
            200,
            tuning=60,
            setting="contrast",
        ),
        Iterative("total variation, FISTA", variation, (0.0003, 0.001, 0.003), 100, tuning=40),
        Method("bicubic interpolation", lambda _: operator.enlarge, linear=True),
    ]


def deblurrers(
    colour: bool,
    kernel_size: int = 45,
    *,
    make: type[BlindDeblurring] = BlindDeblurring,
    image: Image = lambda data: data,
) -> list[Baseline]:
    """The blurred image, and total variation with an unknown kernel, survey (7): two differences, zeta falling by a
    twentieth in each step; the smaller its weight and coupling, the less it changes the image.

    Args:
        colour: whether images have three colours.
        kernel_size: of the kernel that is sought.
        make: the iteration, where data are more than an image.
        image: of the data.
    """

    def variation(setting: tuple[float, float]) -> BlindDeblurring:
        weight, coupling = setting
        filters = differences() if not colour else differences().repeat(1, 3, 1, 1) / 3
        return make(filters, weight=weight, coupling=coupling, retrieval=10.0, rate=0.95, kernel_size=kernel_size)

    settings = tuple((weight, coupling) for weight in (0.0003, 0.001, 0.003) for coupling in (0.5, 2.0, 10.0))
    return [
        Iterative("total variation, half-quadratic", variation, settings, 300, tuning=60),
        Method("the blurred image", lambda _: image, linear=True),
    ]


class _On(nn.Module):
    """A network of images on data that an image can be made of; complex images as two channels."""

    def __init__(self, image: Image, network: nn.Module) -> None:
        super().__init__()
        self.image, self.network = image, network

    def forward(self, data: Any) -> Tensor:
        image = self.image(data)
        if not image.is_complex():
            return self.network(image)
        channels = self.network(torch.view_as_real(image).movedim(-1, 1).contiguous())
        return torch.view_as_complex(channels.movedim(1, -1).contiguous())


def dncnn_on(image: Image, size: int) -> Generic:
    """A DnCNN of five layers with as many parameters, on the image that the network starts from."""
    channels = dncnn_channels(size, 5)
    return Generic(
        f"DnCNN, 5 layers of {channels} channels", lambda: _On(image, DnCNN(5, channels, normalise=False)), batch=8
    )


def srcnn_on(image: Image, size: int) -> Generic:
    """An SRCNN (9-1-5) with as many parameters, on the bicubic enlargement."""
    channels = srcnn_channels(size)
    return Generic(f"SRCNN 9-1-5, {channels} channels", lambda: _On(image, SRCNN(channels, channels)), batch=4)


def unet_on(image: Image, size: int, *, levels: int = 2, channels: int = 1) -> Generic:
    """A U-Net with as many parameters, on an image of so many channels."""
    width = unet_width(size, levels, channels)
    return Generic(f"U-Net, width {width}", lambda: _On(image, UNet(width, levels, channels)))
