"""How pan-sharpening is applied to files: bands, and the panchromatic image of the same scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms.images.pan_sharpening import statistics_of
from unrolling.core import Unrolled
from unrolling.core.arguments import check_range
from unrolling.files import rasters
from unrolling.files._places import corner
from unrolling.files.pictures import in_tiles
from unrolling.files.rasters import Raster
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer
from unrolling.systems.base import Application, System
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.options import Option
from unrolling.tasks.images.pansharpening import Pansharpening

PAN = Option("pan", Path, "the panchromatic image of the same scene; a folder, where it has the name of the input")
GAIN = Option("gain", float, "transfer of the sensor's bands at their Nyquist frequency, 0 to 1", default="0.25")
TILE = 960  # pixels along a side of what is sharpened at a time, margins included
APART = 0.5  # pixels of the panchromatic image that the corners of the two may be apart
RELATED = Range(0.5, 1)  # correlation of a band with the panchromatic image, the largest of all bands
MEASURED = "python -m benchmarks.pansharpening --shifts prints what was measured"
RATIOS = (
    "at a ratio of 2 Brovey and GSA were better, and colours were further off than those of bicubic interpolation; "
    "python -m benchmarks.pansharpening --part ratios measures it"
)
TRAINED = {"ratio": (4,), "transfer": (0.25,), "correlation": RELATED}


class Content(NamedTuple):
    """A scene in two files."""

    bands: Raster
    pan: Raster
    ratio: int


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    if "gain" in options:
        check_range(options["gain"], "gain", 0.0, 1.0, above=True, below=True)
    given = options.get("pan")
    if given is None:
        raise ValueError(f"{path} has the bands; name the panchromatic image of the scene with --pan FILE")
    pan_path = Path(given) / path.name if Path(given).is_dir() else Path(given)
    bands, pan = rasters.read_raster(path), rasters.read_raster(pan_path)
    if pan.values.shape[0] != 1:
        swapped = "; are the two files in the other order?" if bands.values.shape[0] == 1 else ""
        raise ValueError(f"{pan_path} has {pan.values.shape[0]} bands, and a panchromatic image has one{swapped}")
    (height, width), (rows, columns) = bands.values.shape[-2:], pan.values.shape[-2:]
    ratio = rows // height
    if ratio < 1 or (rows, columns) != (ratio * height, ratio * width):
        raise ValueError(
            f"{pan_path} has {rows} x {columns} pixels, which is no whole multiple of the {height} x {width} of "
            f"{path}, the same in both directions: cut both to the same piece of ground"
            + ("; are the two files in the other order?" if rows < height else "")
        )
    if ratio < 2:
        raise ValueError(f"{pan_path} has as many pixels as {path}; there is nothing to sharpen")
    _check_corners(bands, pan, ratio)
    return Content(bands, pan, ratio)


def _check_corners(bands: Raster, pan: Raster, ratio: int) -> None:
    """Refuses images that say of themselves that they lie elsewhere."""
    own, other = corner(bands.tags), corner(pan.tags)
    if own is None or other is None:
        return
    away = max(abs(own[0] - other[0]) / other[2], abs(own[1] - other[1]) / other[3])
    if away > APART:
        raise ValueError(
            f"{pan.path} begins {away:.3g} of its pixels away from where {bands.path} does, by what the files say of "
            "their place: cut both to the same piece of ground"
        )
    if max(abs(own[2] / other[2] - ratio), abs(own[3] / other[3] - ratio)) > 0.01 * ratio:
        raise ValueError(
            f"pixels of {bands.path} are {own[2] / other[2]:.4g} times as wide as those of {pan.path} by what the "
            f"files say of their place, and there are {ratio} times as many along a side: they show different pieces "
            "of ground"
        )


def _settings(system: System, task: str, content: Content, options: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"factor": content.ratio, **({"gain": options["gain"]} if "gain" in options else {})}


def filled(values: Tensor, valid: Tensor) -> Tensor:
    """Bands whose pixels without data are those of the nearest pixel with data."""
    if bool(valid.all()):
        return values
    with extra("an image with pixels that hold no data"):
        from scipy.ndimage import distance_transform_edt

    places: Any = distance_transform_edt(~valid.numpy(), return_distances=False, return_indices=True)
    rows, columns = (torch.from_numpy(np.ascontiguousarray(each)).long() for each in places)
    return values[:, rows, columns]


@torch.no_grad()
def sharpened(network: Unrolled, data: Imagery, valid: Tensor, tile: int = TILE) -> Tensor:
    """The bands of a scene (1, bands, h, w) as a network makes them, piece by piece: what the whole would give, up to
    rounding, at the memory of a piece.

    Args:
        network: of ``imaging/pansharpening``.
        data: the scene.
        valid: (h, w), the pixels of the bands that statistics are taken of.
        tile: pixels along a side of a piece, margins included.
    """
    term: Any = network.layers[0].data_term
    operator: ModulationTransfer = term.operator
    factor, bands = operator.factor, data.multispectral.shape[1]
    found = statistics_of(data.multispectral, term.pan_operator(data.panchromatic), valid[None, None])
    # The sensor's blur there and back and three convolutions in each layer; at the start two interpolations and a blur.
    reach = len(network) * (operator.taps + 3) + operator.taps + 4 * factor
    margin = -(-reach // factor)

    def run(piece: Tensor) -> Tensor:
        small, large = piece[:bands], torch.nn.functional.pixel_shuffle(piece[bands:], factor)
        state: Any = None
        layer: Any = None
        problem: Any = None
        for layer, problem, state in network.walk(Imagery(small[None], large[None])):  # noqa: B007
            pass
        return layer.estimate(state, problem)[0]

    stack = torch.cat([data.multispectral[0], torch.nn.functional.pixel_unshuffle(data.panchromatic, factor)[0]])
    try:
        term.statistics = found
        return in_tiles(run, stack, margin=margin, tile=max(tile // factor - 2 * margin, 16), scale=factor)
    finally:
        term.statistics = None


def _sharpen(
    network: Unrolled,
    task: Pansharpening,
    content: Content,
    outputs: Sequence[Path],
    pan: Path | None = None,
    gain: float | None = None,
) -> Mapping[str, Any]:
    bands, panchromatic, ratio = content
    for name, wanted, held in (("factor", ratio, task.factor), ("gain", gain, task.gain)):
        if wanted is not None and wanted != held:  # with weights of one's own
            raise ValueError(f"{name} is {wanted:g}, and the network was built for {held:g}: --set {name}={wanted:g}")
    (height, width), count = panchromatic.values.shape[-2:], bands.values.shape[0]
    small = bands.valid & torch.nn.functional.max_pool2d((~panchromatic.valid)[None, None].float(), ratio).eq(0)[0, 0]
    if not bool(small.any()):
        raise ValueError(f"{bands.path} and {panchromatic.path} have no pixel where both hold data")
    y, p = filled(bands.values, bands.valid), filled(panchromatic.values, panchromatic.valid)
    # numbers of the order of one: the squares of others may leave single precision
    unit, pan_unit = (float(each.abs().max()) or 1.0 for each in (y, p))
    data = Imagery((y / unit).unsqueeze(0), (p / pan_unit).unsqueeze(0))
    result = sharpened(network, data, small) * unit
    valid = bands.valid.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1) & panchromatic.valid
    rasters.write_raster(outputs[0], bands.enlarged(result, valid))
    told: dict[str, Any] = {
        "bands": count,
        "height": height,
        "width": width,
        "ratio": ratio,
        "dtype": str(bands.dtype),
        "without_data": round(1 - float(valid.float().mean()), 4),
    }
    correlation = _correlation(data, small, ModulationTransfer(ratio))
    told["conditions"] = [
        Condition("ratio", ratio, "read", effect=RATIOS),
        *([] if gain is None else [Condition("transfer", gain, "given", effect=MEASURED)]),
        Condition(
            "correlation",
            round(correlation, 2),
            "estimated",
            "with the panchromatic image",
            effect="the two files may not show the same scene, or not the same piece of it",
        ),
    ]
    return told


def _correlation(data: Imagery, valid: Tensor, operator: ModulationTransfer) -> float:
    """The largest correlation, but for its sign, of a band with the panchromatic image, at the resolution of the
    bands.
    """
    found = statistics_of(data.multispectral, operator(data.panchromatic), valid[None, None])
    return float((found.slope * found.pan_deviation / found.deviation).abs().max().clamp_max(1))


def application() -> Application:
    """Of the bands of a scene, beside which its panchromatic image is named."""
    return Application(
        rasters.READS + ", beside which --pan names the panchromatic image",
        ("the bands with the pixels of the panchromatic image",),
        _read,
        _sharpen,
        suffixes=rasters.SUFFIXES,
        default_suffixes=("-sharp.tif",),
        kept=rasters.SUFFIXES,
        options=(PAN, GAIN),
        settings=_settings,
        check=rasters.check_raster_output,
    )
