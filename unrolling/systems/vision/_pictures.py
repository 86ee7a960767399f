"""How random fields are applied to pictures: with a network of their own, or with scores that somebody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.vision.dense_crf import CRFPotentials, CRFProblem
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.files.class_scores import check_class_output, read_class_scores, write_chances, write_pixel_labels
from unrolling.files.gate import checked
from unrolling.systems.base import Application
from unrolling.systems.options import Option

TILE = 256
WRITES = ("the class of each pixel, counted from 0", "the chances of the classes")
ENDINGS = ("-classes.png", "-chances.npy")
UNARY = Option(
    "unary",
    Path,
    "a .npy file of scores (classes, height, width) of the picture's pixels, logits or chances; a folder, where it is "
    "called NAME.npy for a picture NAME",
)


class Content(NamedTuple):
    """A picture, and scores of its pixels where they are given."""

    picture: Tensor  # (3, height, width)
    scores: Tensor | None  # (classes, height, width)


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    return Content(pixels.read(path).pixels.expand(3, -1, -1), None)


def _read_scored(path: Path, options: Mapping[str, Any]) -> Content:
    given = options.get("unary")
    if given is None:
        raise ValueError(f"{path}: name the scores of its pixels with --unary FILE, .npy (classes, height, width)")
    place = Path(given) / f"{path.stem}.npy" if Path(given).is_dir() else Path(given)
    picture, scores = _read(path, options).picture, read_class_scores(place)
    if scores.shape[-2:] != picture.shape[-2:]:
        raise ValueError(
            f"{place} has scores of {scores.shape[-2]} x {scores.shape[-1]} pixels, and {path} has "
            f"{picture.shape[-2]} x {picture.shape[-1]}: each pixel has scores (classes, height, width)"
        )
    return Content(picture, scores)


@torch.no_grad()
def refined(network: Unrolled, scores: Tensor, picture: Tensor) -> Tensor:
    """Chances (classes, height, width) of a picture of any size, tile by tile: a step sees its window, and the scale of
    its kernel one window more.

    Args:
        network: a random field with the back end ``window``; if it has a network in front, that is left out.
        scores: (classes, height, width).
        picture: (3, height, width).
    """
    first: Any = network.layers[0]
    potentials: CRFPotentials = first.potentials
    margin = (len(network) + 1) * max(potentials.radius, getattr(first, "reach", 0))
    channels = picture.shape[0]

    def run(piece: Tensor) -> Tensor:
        part = piece[:channels].unsqueeze(0)
        kernels = potentials.spatial.prepare(part), potentials.bilateral.prepare(part)
        problem = CRFProblem(piece[channels:].unsqueeze(0), *kernels)
        state = first.start(problem)
        for layer in network.layers:
            state = layer(state, problem)
        return state[0].exp()

    return pixels.in_tiles(run, torch.cat([picture, scores]), margin=margin, tile=TILE)


def _write(chances: Tensor, outputs: Sequence[Path]) -> Mapping[str, Any]:
    chances = checked(chances, "the chances")
    found = chances.argmax(0)
    write_pixel_labels(outputs[0], found)
    if len(outputs) > 1:
        write_chances(outputs[1], chances)
    classes, height, width = chances.shape
    return {"height": height, "width": width, "classes": classes, "classes found": len(found.unique())}


def _refine(
    network: Unrolled, task: Any, content: Content, outputs: Sequence[Path], unary: Path | None = None
) -> Mapping[str, Any]:
    assert content.scores is not None
    return _write(refined(network, content.scores, content.picture), outputs)


@torch.no_grad()
def _segment(network: Unrolled, task: Any, content: Content, outputs: Sequence[Path]) -> Mapping[str, Any]:
    layer: Any = network.layers[0]
    scores = layer.potentials.network(content.picture.unsqueeze(0))[0]
    return _write(refined(network, scores, content.picture), outputs)


def refining() -> Application:
    """Of a picture with somebody's scores."""
    return Application(
        pixels.READS + ", and scores of its pixels, --unary",
        WRITES,
        _read_scored,
        _refine,
        suffixes=pixels.SUFFIXES,
        default_suffixes=ENDINGS,
        options=(UNARY,),
        check=check_class_output,
    )


def segmenting() -> Application:
    """Of a picture like those that the network was trained with."""
    return Application(
        pixels.READS,
        WRITES,
        _read,
        _segment,
        suffixes=pixels.SUFFIXES,
        default_suffixes=ENDINGS,
        check=check_class_output,
    )
