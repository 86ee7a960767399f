"""How Learned SPARCOM is applied to TIFF stacks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._progress import Bar
from unrolling.files import pictures
from unrolling.files.gate import checked
from unrolling.files.pictures import Picture
from unrolling.files.stacks import READS, SUFFIXES, Moments, moments, read_stack, spread_of, write_image
from unrolling.files.whole import check_place, write_bytes, writing
from unrolling.operators.resize import bicubic_matrix, resize
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.systems.medical._parts import starts, taper
from unrolling.systems.options import Option
from unrolling.tasks.medical.microscopy import FACTOR, Microscopy, check_spread

WRITTEN = (".tif", ".tiff", ".npy", ".png")
WRITES = "as TIFF (single precision), .npy or .png (16 bits, its brightest pixels white)"
TILE = 16  # camera pixels along a side
LEAST = 5  # camera pixels along a side of a frame
WHITE = 0.995  # quantile of the lit pixels that a picture shows as white
EFFECT = "python -m benchmarks.microscopy --part psf prints what was measured at other widths"
FEW = "python -m benchmarks.microscopy --part frames prints what was measured with fewer"
OPTIONS = (
    Option("psf", float, "standard deviation of the point spread function", "camera pixels", "that of the weights"),
    Option("window", int, "frames within which fluctuation is looked for, against bleaching", "", "all"),
    Option(
        "tile", int, "side of the parts that are worked on by themselves; 0 for the whole", "camera pixels", str(TILE)
    ),
)


def application() -> Application:
    """Of TIFF stacks."""
    return Application(
        f"a stack: {READS}",
        ("the image of super-resolution, four times finer",),
        _read,
        _run,
        suffixes=SUFFIXES,
        default_suffixes=("-super.tif",),
        options=OPTIONS,
        check=_check_output,
    )


def _read(path: Path, options: Mapping[str, Any]) -> Moments:
    stack = read_stack(path)
    if min(stack.height, stack.width) < LEAST:
        raise ValueError(
            f"{path} has frames of {stack.height} x {stack.width} pixels; {LEAST} along a side are the least"
        )
    if options.get("psf") is not None:
        _check_psf(path, options["psf"], stack.height, stack.width)
    window = options.get("window")
    if window is not None and window < 2:
        raise ValueError(f"--window {window}: fluctuation is seen from two frames on")
    found = moments(stack, window=window)
    peak = found.variance.max()
    if not peak > 0:
        raise ValueError(f"{path}: no pixel changes over its {stack.frames} frames; nothing blinks in them")
    if not 1e-30 < peak < 1e30:
        raise ValueError(
            f"{path}: the variance of its pixels goes up to {peak:.3g}, out of the range of single precision"
        )
    return found


def _check_psf(path: Path, psf: float, height: int, width: int) -> None:
    if not psf > 0:
        raise ValueError(f"--psf {psf}: a standard deviation in camera pixels is above 0")
    try:
        check_spread(psf, height, width)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_output(path: Path) -> None:
    if path.suffix.lower() not in WRITTEN:
        raise ValueError(f"{path}: images are written {WRITES}; {path.suffix or 'no suffix'} is none of them")
    check_place(path)


def _run(network: Any, task: Microscopy, content: Moments, outputs: Sequence[Path], **given: Any) -> Mapping[str, Any]:
    stack = content.stack
    variance = torch.from_numpy(content.variance)
    peak = float(variance.max())
    psf = given.get("psf")
    image = peak * super_resolved(network, (variance / peak).float(), task.psf, psf, given.get("tile", TILE)).double()
    image = checked(image.float(), "the image", (FACTOR * stack.height, FACTOR * stack.width))
    for path in outputs:
        _write(path, image, stack.resolution)
    estimated = spread_of(content)
    conditions = [Condition("frames", stack.frames, "read", effect=FEW)]
    if psf is not None:
        # the stack was brought to the width of the weights
        conditions.append(Condition("psf", psf, "given", "pixels", trained=(psf,)))
    elif estimated is not None:
        effect = f"--psf {estimated:.2f} brings the stack to theirs; {EFFECT}"
        conditions.append(Condition("psf", round(estimated, 2), "estimated", "pixels", effect=effect))
    return {
        "height": int(image.shape[0]),
        "width": int(image.shape[1]),
        "frames": stack.frames,
        "brightest": float(image.max()),
        "conditions": conditions,
    }


@torch.no_grad()
def super_resolved(
    network: Any, variance: Tensor, trained: float, psf: float | None = None, tile: int = TILE
) -> Tensor:
    """The image of variances (height, width), (4 height, 4 width), by a trained network.

    The prox takes percentiles of what it is given, so that the size of that matters: a large image is worked on in
    parts of the size of ``tile``, each half over the next, which are joined with weights that fall to their borders.

    Args:
        network: of ``Sparcom`` steps.
        variance: of each pixel.
        trained: standard deviation of the point spread function that the network was trained for, camera pixels.
        psf: that of the stack, whose image is interpolated so that it becomes the network's; by default it is that.
        tile: camera pixels along a side; 0 for the whole image at once.

    Raises:
        ValueError: a tile below 8 pixels.
    """
    if tile and tile < 8:
        raise ValueError(f"--tile {tile}: a part has at least 8 camera pixels along a side; 0 stands for the whole")
    height, width = variance.shape
    own = variance
    if psf is not None and psf != trained:
        ratio = trained / psf
        own = resize(variance, max(LEAST, round(height * ratio)), max(LEAST, round(width * ratio))).clamp_min(0)
    rows, columns = own.shape
    side = tile or max(rows, columns)
    total, weights = torch.zeros(FACTOR * rows, FACTOR * columns), torch.zeros(FACTOR * rows, FACTOR * columns)
    places = [(top, left) for top in starts(rows, side) for left in starts(columns, side)]
    with Bar.inside("parts", len(places)) as bar:
        for top, left in places:
            part = own[top : top + side, left : left + side]
            found = _part(network, part)
            window = taper(found.shape[0]).unsqueeze(1) * taper(found.shape[1])
            place = (
                slice(FACTOR * top, FACTOR * top + found.shape[0]),
                slice(FACTOR * left, FACTOR * left + found.shape[1]),
            )
            total[place] += window * found
            weights[place] += window
            bar.advance()
    image = total / weights
    if own.shape != variance.shape:
        image = _moved(image, FACTOR * height, FACTOR * width)
    return image.clamp_min(0)


def _moved(image: Tensor, height: int, width: int) -> Tensor:
    """An image on another grid with the same light: to larger pixels, in which each one's light goes where its middle
    lies, as interpolation would widen lines; to smaller ones by interpolation.
    """
    for dim, size in ((0, height), (1, width)):
        count = image.shape[dim]
        if size < count:
            index = ((torch.arange(count) + 0.5) * size / count).long()
            shape = [size if d == dim else side for d, side in enumerate(image.shape)]
            image = torch.zeros(shape).index_add(dim, index, image)
        elif size > count:
            matrix = bicubic_matrix(count, size).float() * (count / size)
            image = matrix @ image if dim == 0 else image @ matrix.T
    return image


def _part(network: Any, variance: Tensor) -> Tensor:
    """The estimate of an image of variances, scaled as movies are in training: the largest is 1."""
    peak = variance.max()
    if not peak > 0:
        return torch.zeros(FACTOR * variance.shape[0], FACTOR * variance.shape[1])
    problem = network.layers[0].prepare.of_variance(variance.unsqueeze(0) / peak)
    state = network.layers[0].start(problem)
    for layer in network.layers:
        state = layer(state, problem)
    return peak * network.layers[-1].estimate(state, problem)[0]


def _write(path: Path, image: Tensor, resolution: tuple[float, float, int] | None) -> None:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        content = io.BytesIO()
        np.save(content, image.numpy())
        write_bytes(path, content.getvalue())
    elif suffix == ".png":
        lit = image[image > 0].sort().values
        top = float(lit[int(WHITE * (len(lit) - 1))]) if len(lit) else 1.0
        pictures.write(path, Picture((image / top).clamp(0, 1).unsqueeze(0), depth=16))
    else:
        finer = None if resolution is None else (FACTOR * resolution[0], FACTOR * resolution[1], resolution[2])
        with writing(path) as (temporary,):
            write_image(temporary, image.numpy(), finer)
