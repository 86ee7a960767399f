"""Simulated contrast ultrasound: movies of tissue that moves a little and of microbubbles that flow through vessels.

Complex frames, as beamformers give them after demodulation. Every scatterer leaves a Gaussian spot whose phase turns
with its depth, by 4 pi for each wavelength, so that tissue which moves by a twentieth of a wavelength is no longer what
it was. Sizes and amplitudes are those of the simulations of Solomon et al. 2020, doi:10.1109/TMI.2019.2941271, as
released (pixel, spread, amplitudes of tissue, bubbles and noise, 10 ms a frame); the motions and vessels are ours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

PIXEL = 0.12  # mm
SPREAD = (0.14, 0.32)  # mm, standard deviation of a scatterer's spot along depth and width
WAVELENGTH = 0.31  # mm, of 5 MHz
FRAME = 0.01  # s
DENSITY = 20.0  # scatterers of tissue in a mm^2: five under a spot
MARGIN = 2.5  # spreads beyond the frame from where scatterers still reach into it
MOTION = (0.005, 0.06)  # mm, amplitude of the tissue's motion along the depth
STRAIN = 0.01  # of its deformation
FADING = 0.03  # standard deviation of what a scatterer's amplitude gains in a frame, as tissue moves through the plane
SPEED = (10.0, 40.0)  # mm/s, in the middle of a vessel; 24 in the mean of the released simulations
BLUNT = 0.7  # by which part bubbles at the wall are slower: those that hardly move are tissue to every method
RADIUS = (0.05, 0.3)  # mm, of a vessel
VESSELS = 3  # at most
BUBBLES = 130.0  # at most, in a cm^2


class Echoes(NamedTuple):
    """Movies (batch, height, width, frames), complex: what is seen is the sum of the two and noise."""

    tissue: Tensor
    blood: Tensor


def contrast_movies(
    batch: int,
    height: int,
    width: int,
    frames: int,
    generator: torch.Generator,
    *,
    bubble: float = 3.0,
    motion: float = 1.0,
) -> Echoes:
    """Random movies: tissue of root mean square 1, bubbles of amplitude about ``bubble``.

    Args:
        batch: how many.
        height: pixels along the depth, of 0.12 mm.
        width: pixels across.
        frames: of 10 ms.
        generator: of random numbers; the same state gives the same movies.
        bubble: amplitude in the middle of a bubble's spot, whose logarithm varies by 0.3.
        motion: factor of the tissue's motion and deformation.
    """
    sides = (height * PIXEL, width * PIXEL)
    time = torch.arange(frames) * FRAME
    return Echoes(
        _tissue(batch, sides, (height, width), time, motion, generator),
        _blood(batch, sides, (height, width), time, bubble, generator),
    )


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _tissue(
    batch: int,
    sides: tuple[float, float],
    pixels: tuple[int, int],
    time: Tensor,
    motion: float,
    generator: torch.Generator,
) -> Tensor:
    margins = [MARGIN * s for s in SPREAD]
    area = (sides[0] + 2 * margins[0]) * (sides[1] + 2 * margins[1])
    count = max(1, round(DENSITY * area))
    depth = _uniform(generator, -margins[0], sides[0] + margins[0], batch, 1, count)
    across = _uniform(generator, -margins[1], sides[1] + margins[1], batch, 1, count)
    # Breathing and pulse: a slow and a quick sine with phases of their own, along depth and width.
    low, high = (math.log(m) for m in MOTION)
    size = motion * _uniform(generator, low, high, batch, 1, 1).exp()
    moved = []
    for _ in range(2):
        slow, quick = (
            torch.sin(
                2 * math.pi * (_uniform(generator, *band, batch, 1) * time + _uniform(generator, 0.0, 1.0, batch, 1))
            ).unsqueeze(2)
            for band in ((0.2, 1.0), (1.0, 3.0))
        )
        moved.append(size * (slow + 0.3 * quick))
    strain = motion * STRAIN * _uniform(generator, -1.0, 1.0, batch, 2, 1).unsqueeze(3)
    relative = moved[0] / size.clamp_min(1e-9)
    centre = (depth - sides[0] / 2, across - sides[1] / 2)
    z = depth + moved[0] + relative * (strain[:, 0] * centre[0] + strain[:, 1] * centre[1])
    x = across + moved[1]
    # Tissue is brighter here than there, and its scatterers come into the plane and leave it.
    waves = _uniform(generator, 0.5, 1.5, batch, 2, 1).unsqueeze(3)
    turn = _uniform(generator, 0.0, 2 * math.pi, batch, 1, 1)
    bright = (0.7 * torch.sin(waves[:, 0] * depth + waves[:, 1] * across + turn)).exp()
    amplitude = torch.randn(batch, 1, count, 2, generator=generator)
    drift = torch.randn(batch, len(time), count, 2, generator=generator).cumsum(1)
    echo = bright * torch.view_as_complex(amplitude + FADING * motion * drift)
    tissue = _rendered(z, x, echo, pixels)
    level = tissue.abs().square().mean((1, 2, 3), keepdim=True).sqrt()
    return tissue / level


def _blood(
    batch: int,
    sides: tuple[float, float],
    pixels: tuple[int, int],
    time: Tensor,
    bubble: float,
    generator: torch.Generator,
) -> Tensor:
    most = max(1, round(BUBBLES * sides[0] * sides[1] / 100))
    # Each vessel is a parabola through the frame: from side to side, or from top to bottom.
    ends = _uniform(generator, 0.0, 1.0, batch, VESSELS, 3, 2)
    over = torch.rand(batch, VESSELS, generator=generator) < 0.5
    ends[..., 0, 0], ends[..., 2, 0] = -0.1, 1.1
    ends = torch.where(over[..., None, None], ends.flip(-1), ends) * torch.tensor(sides)
    radius = _uniform(generator, *RADIUS, batch, VESSELS)
    low, high = (math.log(v) for v in SPEED)
    speed = _uniform(generator, low, high, batch, VESSELS).exp()
    speed = torch.where(torch.rand(batch, VESSELS, generator=generator) < 0.5, speed, -speed)
    # Where each bubble is: its vessel, how far along it and how far from its middle; it comes back where it left.
    vessels = 1 + (torch.rand(batch, 1, generator=generator) * VESSELS).long().clamp_max(VESSELS - 1)
    own = (torch.rand(batch, most, generator=generator) * vessels).long()
    active = torch.arange(most) < 1 + (torch.rand(batch, 1, generator=generator) * most).long()
    path = ends.gather(1, own[..., None, None].expand(-1, -1, 3, 2))
    aside = _uniform(generator, -1.0, 1.0, batch, most)
    length = torch.linalg.vector_norm(path[..., 2, :] - path[..., 0, :], dim=-1)
    pace = speed.gather(1, own) * (1 - BLUNT * aside.square()) / length
    along = (_uniform(generator, 0.0, 1.0, batch, most)[..., None] + pace[..., None] * time).remainder(1.0)
    first, middle, last = (path[..., i, :].unsqueeze(2) for i in range(3))
    u = along.unsqueeze(-1)
    place = (1 - u).square() * first + 2 * u * (1 - u) * middle + u.square() * last
    tangent = 2 * (1 - u) * (middle - first) + 2 * u * (last - middle)
    normal = torch.stack([-tangent[..., 1], tangent[..., 0]], -1)
    normal = normal / torch.linalg.vector_norm(normal, dim=-1, keepdim=True).clamp_min(1e-6)
    place = place + (aside * radius.gather(1, own))[..., None, None] * normal
    size = bubble * (0.3 * torch.randn(batch, most, 1, generator=generator)).exp()
    size = size * _uniform(generator, 0.9, 1.1, batch, most, len(time)) * active.unsqueeze(-1)
    phase = _uniform(generator, 0.0, 2 * math.pi, batch, most, 1).expand_as(size)
    z, x = place[..., 0].transpose(1, 2), place[..., 1].transpose(1, 2)
    return _rendered(z, x, torch.polar(size, phase).transpose(1, 2), pixels)


def _rendered(z: Tensor, x: Tensor, echo: Tensor, pixels: tuple[int, int]) -> Tensor:
    """Scatterers at depths z and widths x (batch, frames, count) as movies (batch, height, width, frames)."""
    spots = []
    for place, count, spread in zip((z, x), pixels, SPREAD, strict=True):
        grid = (torch.arange(count) + 0.5) * PIXEL
        spots.append((-0.5 * ((grid - place.unsqueeze(-1)) / spread).square()).exp())
    turned = echo * torch.polar(torch.ones_like(z), -4 * math.pi / WAVELENGTH * z)
    parts = [(part.unsqueeze(-1) * spots[0]).transpose(2, 3) @ spots[1] for part in (turned.real, turned.imag)]
    return torch.complex(*parts).permute(0, 2, 3, 1).contiguous()
