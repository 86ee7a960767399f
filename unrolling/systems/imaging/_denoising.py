"""How the systems for denoising are applied to pictures: to noise as it is found there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application, System
from unrolling.systems.conditions import Condition
from unrolling.systems.imaging._files import facts, reach, read, shipped_values
from unrolling.systems.options import Option
from unrolling.tasks.images.noise import (
    EVEN,
    FAINT,
    Noise,
    NoiseKind,
    Stabiliser,
    noise_levels,
    noise_of,
    stabiliser_of,
)

# Orthonormal, so that noise of the same strength in red, green and blue is that in all three.
OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.5**0.5, 0.0, -(1.5**0.5)], [0.5**0.5, -(2**0.5), 0.5**0.5]]) / 3**0.5
SIGMA = Option("sigma", float, "standard deviation of the noise", "of 255", "estimated")
TILE, ALIGN = (
    512,
    4,
)  # pixels of the pieces that pictures are worked on in; the grids of dictionaries begin at multiples
LEAST = 8  # pixels along a side that the network is given
APART, SLACK = 1.6, 2.0  # ratio and difference from which on a given level and the estimated one do not agree


class Found(NamedTuple):
    """The noise in the planes of a picture: grey, or its opponent colours."""

    kinds: tuple[NoiseKind, ...]
    levels: tuple[float, ...]  # of 255, white noise of which is nearest to what is there
    stabilisers: tuple[Stabiliser | None, ...]  # of grey, or of red, green and blue
    dark: float  # level in the dark where it depends on brightness, else 0
    bright: float
    parts: tuple[float, ...] = (1.0, 1.0, 1.0)  # of the change that is made

    @property
    def level(self) -> float:
        """The root of the mean square over the planes."""
        return (sum(level**2 for level in self.levels) / len(self.levels)) ** 0.5

    @property
    def kind(self) -> NoiseKind:
        """The worst of the planes."""
        return max(self.kinds, key=("none", "white", "smoothed").index)


def opponent(planes: Tensor) -> Tensor:
    """Of colours three orthonormal ones, brightness first; grey as it is."""
    return torch.einsum("ij,jhw->ihw", OPPONENT, planes) if planes.shape[0] == 3 else planes


def from_opponent(planes: Tensor) -> Tensor:
    """The inverse of ``opponent``."""
    return torch.einsum("ji,jhw->ihw", OPPONENT, planes) if planes.shape[0] == 3 else planes


def find_noise(planes: Tensor) -> Found | None:
    """The noise in a picture (1 or 3, height, width) in [0, 1]; None where it is too small to tell."""
    found = _noises(planes)
    if found is None:
        return None
    stabilisers: tuple[Stabiliser | None, ...] = (None,) * len(planes)
    dark = bright = 0.0
    # What brightness does to noise that was smoothed is lost among textures, and textures depend on it too.
    if found[0].kind != "smoothed":
        stable = [stabiliser_of(plane) for plane in planes]
        held = [each for each in stable if each is not None]
        if held:
            tried = tuple(None if each is None else each[0] for each in stable)
            equal = _noises(_stabilised(planes, tried))
            if equal is not None and equal[0].kind == "white" and equal[0].level >= FAINT and equal[0].clear >= EVEN:
                found, stabilisers = equal, tried
                dark, bright = (sum(ends) / len(held) for ends in zip(*(each[1:] for each in held), strict=True))
    kinds, levels, parts = (tuple(getattr(each, name) for each in found) for name in ("kind", "level", "part"))
    return Found(kinds, levels, stabilisers, dark, bright, parts)


def _noises(planes: Tensor) -> list[Noise] | None:
    # The sum of three colours, over the root of three, has that times the contrast of their mean.
    contrast = 3**0.5 if len(planes) == 3 else 1.0
    found = [each for plane in opponent(planes) if (each := noise_of(plane, contrast)) is not None]
    return found if len(found) == len(planes) else None


def _stabilised(planes: Tensor, stabilisers: Sequence[Stabiliser | None]) -> Tensor:
    if not any(stabilisers):
        return planes
    return torch.stack(
        [plane if each is None else each(plane) for plane, each in zip(planes, stabilisers, strict=True)]
    )


def _returned(planes: Tensor, stabilisers: Sequence[Stabiliser | None]) -> Tensor:
    if not any(stabilisers):
        return planes
    return torch.stack(
        [plane if each is None else each.inverse(plane) for plane, each in zip(planes, stabilisers, strict=True)]
    )


Denoiser = Callable[[Tensor, Tensor], Tensor]  # of (count, height, width) in [0, 1] and (count,) levels of 255


def _as_grey(network: Denoiser, numbers: Sequence[int], colour: bool) -> Denoiser:
    """A denoiser of opponent colours, by their numbers, that are brought to the range of grey pictures: brightness to
    the mean of the colours, the others around the middle grey.
    """
    if not colour:
        return network
    first = torch.tensor([float(k == 0) for k in numbers])
    scale = torch.where(first > 0, 3**-0.5, 1.0)
    middle = torch.where(first > 0, 0.0, 0.5).reshape(-1, 1, 1)

    def run(planes: Tensor, levels: Tensor) -> Tensor:
        each = scale.reshape(-1, 1, 1)
        return (network(planes * each + middle, levels * scale) - middle) / each

    return run


def denoise(network: Denoiser, margin: int, planes: Tensor, found: Found, tile: int = TILE) -> Tensor:
    """A picture without the noise that was found in it.

    White noise goes at its level. Of noise that was smoothed, what is coarse goes first, at half the size; what is
    left at its middle level after that.

    Args:
        network: for white noise of given levels.
        margin: pixels that its results depend on, in each direction.
        planes: (1 or 3, height, width).
        found: noise in them.
        tile: side of the pieces that are worked on at a time, besides the margin.
    """
    count = planes.shape[0]
    colour = count == 3
    smoothed = [k for k, kind in enumerate(found.kinds) if kind == "smoothed"]
    active = [k for k, kind in enumerate(found.kinds) if kind != "none"]
    levels = torch.tensor(found.levels)
    parts = torch.tensor([found.parts[k] for k in active]).reshape(-1, 1, 1)
    corrections: list[Tensor] = []
    if smoothed:
        changed = opponent(_stabilised(planes, found.stabilisers))
        for k in smoothed:
            corrections.append(_coarse(_as_grey(network, [k], colour), margin, changed[k], tile))
            rest = noise_levels(changed[k] + corrections[-1])
            levels[k] = levels[k] if rest is None else rest.middle

    of_active = _as_grey(network, active, colour)

    def run(piece: Tensor) -> Tensor:
        # Colours are changed tile by tile: of a large picture nothing is held twice.
        values = opponent(_stabilised(piece[:count], found.stabilisers))
        coarse = values.clone()
        if smoothed:
            coarse[smoothed] += piece[count:]
        result = values.clone()
        result[active] = torch.lerp(values[active], of_active(coarse[active], levels[active]), parts)
        return _returned(from_opponent(result), found.stabilisers)

    stack = torch.cat([planes, torch.stack(corrections)]) if corrections else planes
    height, width = planes.shape[-2:]
    # Filters see a mirrored border, which needs some pixels.
    wide = functional.pad(stack, (0, max(0, LEAST - width), 0, max(0, LEAST - height)), mode="replicate")
    return pixels.in_tiles(run, wide, margin=margin, tile=tile, align=ALIGN)[:, :height, :width]


def _coarse(network: Denoiser, margin: int, plane: Tensor, tile: int) -> Tensor:
    """What is to be added to a plane (height, width) to take the noise out of its picture of half the size."""
    height, width = plane.shape
    padded = functional.pad(plane[None, None], (0, width % 2, 0, height % 2), mode="replicate")
    small = functional.avg_pool2d(padded, 2)[0]
    levels = noise_levels(small[0])
    if levels is None or levels.high <= 0:
        return torch.zeros_like(plane)
    level = torch.tensor([levels.high])
    clean = pixels.in_tiles(lambda piece: network(piece, level), small, margin=margin, tile=tile, align=ALIGN)
    added = functional.interpolate((clean - small)[None], padded.shape[-2:], mode="bicubic", align_corners=False)
    return added[0, 0, :height, :width]


def _checked(sigma: float) -> float:
    if not 0 < sigma < 255:
        raise ValueError(f"--sigma is {sigma:g}; the noise has a standard deviation between 0 and 255")
    return sigma


class Content(NamedTuple):
    """A picture and its noise."""

    picture: pixels.Picture
    found: Found | None


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    if options.get("sigma") is not None:
        _checked(options["sigma"])
    picture = read(path, options)
    return Content(picture, find_noise(picture.pixels))


def _nearest_sigma(system: System, task: str, content: Content, options: Mapping[str, Any]) -> Mapping[str, Any]:
    sigma = options.get("sigma")
    if sigma is None:
        sigma = 1.0 if content.found is None else max(1.0, content.found.level)
    return {"sigma": min(shipped_values(system, task, "sigma"), key=lambda value: abs(log(value) - log(sigma)))}


class Way(NamedTuple):
    """How the networks of a system take noise of different strengths."""

    clean: Callable[[Unrolled, Any], Denoiser]  # of a network and its task
    margin: Callable[[Unrolled], int]  # pixels that its results depend on, in each direction
    effect: str  # of noise of another level than that of the weights
    trained: Callable[[Any], Any]  # for what, of a task
    tile: int = TILE


def _scaled(network: Unrolled, task: Any) -> Denoiser:
    """For weights of one strength: the picture is scaled to the strength of its noise."""

    def clean(planes: Tensor, levels: Tensor) -> Tensor:
        ratio = (task.sigma / levels).reshape(-1, 1, 1)
        return network(planes * ratio) / ratio

    return clean


def _told(network: Unrolled, task: Any) -> Denoiser:
    """For networks that are told the level; stronger noise than they know is scaled to theirs."""

    def clean(planes: Tensor, levels: Tensor) -> Tensor:
        ratio = (task.most / levels).clamp_max(1.0)
        each = ratio.reshape(-1, 1, 1)
        # One after the other: codes at all positions are large.
        pairs = zip((planes * each).split(1), (levels * ratio / 255).split(1), strict=True)
        return torch.cat([network(NoisyImage(*pair)) for pair in pairs]) / each

    return clean


SCALED = Way(_scaled, reach, "the picture is scaled to the noise of the weights", lambda task: task.sigma)


def told_levels(margin: int, tile: int) -> Way:
    """Of networks on the tasks of noise levels."""
    effect = "above it the picture is scaled to the strongest noise of the weights"
    return Way(_told, lambda network: margin, effect, lambda task: [0.0, task.most], tile)


def _denoise(
    network: Unrolled, task: Any, content: Content, outputs: Sequence[Path], sigma: float | None = None, *, way: Way
) -> Mapping[str, Any]:
    picture, found = content
    told: dict[str, Any] = {**facts(picture), "trained_for": way.trained(task)}
    if sigma is not None:
        told |= _given(sigma, found, outputs[0], way.effect)
        count = picture.pixels.shape[0]
        found = Found(("white",) * count, (sigma,) * count, (None,) * count, 0.0, 0.0)
    elif found is None:
        told["unchanged"] = (
            f"{told['height']} x {told['width']} pixels are too few to tell the noise; say how strong it is, --sigma"
        )
    else:
        told |= _estimated(found, way.effect)
    if "unchanged" in told or found is None:
        pixels.write(outputs[0], picture)
    else:
        clean = denoise(way.clean(network, task), way.margin(network), picture.pixels, found, way.tile)
        pixels.write(outputs[0], picture.replaced(clean))
    return told


def _given(sigma: float, found: Found | None, output: Path, effect: str) -> dict[str, Any]:
    """What is told where the level was given."""
    conditions = [Condition("noise", sigma, "given", "of 255", effect=effect)]
    if found is not None:
        level = found.level if found.kind != "none" else 0.0
        conditions.append(Condition("by the picture itself", round(found.level, 2), "estimated"))
        if max(level, sigma) > APART * min(level, sigma) and abs(level - sigma) > SLACK:
            less = "detail goes with it" if level < sigma else "some of it stays"
            at_most = "at most " if found.kind == "none" else ""
            warnings.warn(
                f"{output.name}: noise of {sigma:g} of 255 was given (--sigma), and {at_most}{found.level:.2g} is "
                f"estimated: {less}; without --sigma the estimate counts",
                stacklevel=2,
            )
    return {"conditions": conditions, "sigma": sigma, "sigma_is": "given"}


def _estimated(found: Found, effect: str) -> dict[str, Any]:
    """What is told where the level was estimated."""
    level = round(found.level, 2)
    told: dict[str, Any] = {"sigma": level, "sigma_is": "estimated", "noise": found.kind}
    if found.kind == "none":
        told["unchanged"] = "no noise was found that could be told from texture"
        told["conditions"] = [Condition("noise at most", level, "estimated", "of 255")]
        return told
    told["conditions"] = [Condition("noise", level, "estimated", "of 255", effect=effect)]
    told["conditions"].append(
        Condition(
            "its kind",
            found.kind,
            "estimated",
            trained=("white",),
            effect="it was smoothed by the camera or by JPEG; the coarse part is taken away at half the size, and less "
            "of it than of white noise",
        )
    )
    if found.dark:
        told["dark"], told["bright"] = round(found.dark, 2), round(found.bright, 2)
        told["conditions"] += [
            Condition("in the dark", told["dark"], "estimated"),
            Condition("in the bright", told["bright"], "estimated", "made equal before and undone after"),
        ]
    return told


def denoising(way: Way = SCALED) -> Application:
    """Of pictures, grey and colour, with noise of a given or an estimated strength."""
    return Application(
        pixels.READS,
        ("the picture without noise",),
        _read,
        partial(_denoise, way=way),
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-denoised.png",),
        kept=pixels.WRITTEN,
        options=(SIGMA,),
        settings=_nearest_sigma if way is SCALED else None,
        check=pixels.check_output,
    )
