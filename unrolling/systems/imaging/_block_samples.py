"""How networks of compressive imaging are applied to files: samples of blocks, and the matrix that made them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.splitting.block_projections import BLOCK, BlockSamples, orthonormalised
from unrolling.core import Unrolled
from unrolling.files import pictures
from unrolling.files.block_samples import READS, SUFFIXES, Measured, read_block_samples
from unrolling.files.pictures import Picture, in_tiles
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.systems.options import Option

REACH = 6  # pixels that the six convolutions of a layer look away, in each direction
MARGIN = 48  # that the two steps of the denoiser do
TILE = 256  # pixels along a side that the convolutions work on at a time
ORTHONORMAL = 1e-3  # by which products of rows may be off 1 and 0
BRIGHTEST = 2.0  # of the linear estimate, white being 1: beyond, the samples are of pixels on another scale
OPTIONS = (
    Option("white", float, "the value of a white pixel in what was measured: 255 for levels of 8 bits", "", "1"),
)
NO_ONNX = (
    "the linear estimate that it starts at factors a matrix (Cholesky), for which the format has no operation; torch "
    "does"
)
RATES = "python -m benchmarks.compressive prints what was measured from 1 to 50 %"


Run = Callable[[Unrolled, BlockSamples], Tensor]


def application(run: Run) -> Application:
    """Of samples in files of arrays.

    Args:
        run: (network, samples) -> pictures, within the memory of pieces.
    """
    return Application(
        READS,
        ("the picture, grey",),
        _read,
        partial(_run, run),
        suffixes=SUFFIXES,
        default_suffixes=("-picture.png",),
        options=OPTIONS,
        check=pictures.check_output,
    )


def _read(path: Path, options: Mapping[str, Any]) -> tuple[Path, Measured]:
    white = options.get("white")
    if white is not None and not 0 < white < float("inf"):
        raise ValueError(f"--white {white:g}: white pixels have a value above 0")
    return path, read_block_samples(path, BLOCK)


@torch.no_grad()
def reconstructed(network: Unrolled, data: BlockSamples, tile: int = TILE) -> Tensor:
    """The pictures of a network, (batch, height, width), its convolutions piece by piece: what the whole would give, up
    to rounding, at the memory of a piece.

    Args:
        network: of ``imaging/ista_net``.
        data: the samples.
        tile: pixels along a side of a piece, besides its margins.
    """
    layer: Any = network.layers[0]
    problem = layer.prepare(data)
    state = layer.start(problem)
    for layer in network.layers:
        moved, threshold, gain = layer.descend(state, problem)

        def run(piece: Tensor, layer: Any = layer, threshold: Tensor = threshold, gain: Tensor = gain) -> Tensor:
            return layer.prox(piece, threshold, gain)

        state = in_tiles(run, moved, margin=REACH, tile=tile)
    return state


class _Pieces(nn.Module):
    """A prox of pictures piece by piece."""

    def __init__(self, prox: nn.Module, tile: int) -> None:
        super().__init__()
        self.prox, self.tile = prox, tile

    def forward(self, z: Tensor, threshold: Tensor) -> Tensor:
        def run(piece: Tensor) -> Tensor:
            return self.prox(piece, threshold)

        return in_tiles(run, z, margin=MARGIN, tile=self.tile, align=4)


@torch.no_grad()
def recovered(network: Unrolled, data: BlockSamples, tile: int = TILE) -> Tensor:
    """As ``reconstructed``, for the networks of ``imaging/compressive``: their denoiser works piece by piece."""
    own: Any = copy.deepcopy(network)
    for layer in own.layers:
        layer.splittings[0].prox = _Pieces(layer.splittings[0].prox, tile)
    return own(data)


def _run(
    run: Run,
    network: Unrolled,
    task: Any,
    content: tuple[Path, Measured],
    outputs: Sequence[Path],
    white: float = 1.0,
) -> Mapping[str, Any]:
    path, measured = content
    data = BlockSamples(measured.samples / white, measured.matrix)
    m, pixels = data.matrix.shape[1:]
    gram = data.matrix @ data.matrix.mT
    off = float((gram - torch.eye(m, dtype=gram.dtype)).abs().amax())
    if off > ORTHONORMAL:
        try:
            data = orthonormalised(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    data = BlockSamples(data.samples.float(), data.matrix.float())
    first: Any = network.layers[0]
    with torch.no_grad():
        brightest = float(first.data_term.start(first.data_term(data)).abs().amax())
    if not brightest <= BRIGHTEST:
        raise ValueError(
            f"{path}: the pixels that were measured go up to about {brightest:.3g}, and white is {white:g}: say with "
            "--white what a white pixel has, 255 for levels of 8 bits"
        )
    height, width = measured.size
    image = run(network, data)[:, :height, :width]
    pictures.write(outputs[0], Picture(image.clamp(0, 1)))
    rows = "orthonormal" if off <= ORTHONORMAL else "not orthonormal"
    return {
        "height": height,
        "width": width,
        "samples_per_block": m,
        "matrix": "as it is" if off <= ORTHONORMAL else "rows made orthonormal, the samples with them",
        "conditions": [
            Condition("measured", round(100 * m / pixels, 2), "read", "%", effect=RATES),
            Condition(
                "rows of the matrix",
                rows,
                "estimated",
                trained=("orthonormal",),
                effect="they were made so, and the samples with them; noise in them may have grown",
            ),
        ],
    }
