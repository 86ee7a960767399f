"""What the page of a comparison shows of a task: pictures, sounds, codes, curves over time, and what theory says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor


class Shown(NamedTuple):
    """A method whose estimates may be shown."""

    name: str
    role: str  # "network", "parent", "classical", "generic", ...
    level: float  # its metric, the higher the better
    estimates: Sequence[Tensor]  # of the test batches


@dataclass
class Panels:
    """Images shown side by side, of one held-out photograph; grey, in [0, 1]."""

    name: str
    panels: list[tuple[str, np.ndarray]]  # (caption, (height, width))


@dataclass
class Sound:
    """One signal."""

    group: str  # signals of one group share a heading and a scale
    caption: str
    samples: np.ndarray  # (samples,), float
    rate: int  # Hz


@dataclass
class TimeSeries:
    """One quantity over time, drawn in one chart.

    Attributes:
        name: above the chart.
        quantity: with its unit.
        time: of the moments, (T,).
        time_label: with its unit.
        truth: (T,).
        measured: (T,), marks without a line, NaN where nothing was measured; None where it is not measured itself.
        estimates: (name, role, (T,)) of the methods.
    """

    name: str
    quantity: str
    time: np.ndarray
    time_label: str
    truth: np.ndarray
    measured: np.ndarray | None
    estimates: list[tuple[str, str, np.ndarray]]


@dataclass
class Claim:
    """One statement of the theory beside one measurement."""

    name: str
    claim: str
    source: str
    assumption: str
    holds: bool | None  # whether the assumption holds here; None where that is not known
    measured: str
    agrees: bool | None  # whether the measurement agrees with the claim; None where the claim says nothing here
    values: list[float]  # by layer, where there are such


@dataclass
class Exhibits:
    """What a task shows of the methods on its first test samples."""

    pictures: list[Panels] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    # ("sample 1: target", (n,)): of each sample the target first, then estimates
    codes: list[tuple[str, np.ndarray]] = field(default_factory=list)
    time_series: list[TimeSeries] = field(default_factory=list)


def codes(target: Tensor, methods: Sequence[Shown], most: int = 3) -> Exhibits:
    """The first samples of a batch of vectors: the target, the parent's estimate after as many iterations, and the
    network's.
    """
    chosen = [next((m for m in methods if m.role == role), None) for role in ("parent", "network")]
    shown = [("target", target), *((m.name, m.estimates[0]) for m in chosen if m is not None and len(m.estimates))]
    return Exhibits(
        codes=[
            (f"sample {sample + 1}: {name}", values[sample].cpu().numpy())
            for sample in range(min(most, len(target)))
            for name, values in shown
        ]
    )


def pictures(
    names: Sequence[str],
    targets: Sequence[Tensor],
    methods: Sequence[Shown],
    caption: Callable[[Tensor, Tensor], str],
    most: int = 2,
) -> Exhibits:
    """The first test pictures as the best method without training, the generic ones, the network before training and
    the network recover them.

    Args:
        names: of the pictures.
        targets: batches (batch, height, width), of which the first of each is shown.
        methods: of the comparison.
        caption: (estimate, target) -> how good it is.
        most: pictures.
    """
    usable = [m for m in methods if len(m.estimates) >= min(most, len(targets))]
    classical = [m for m in usable if m.role in ("parent", "classical", "library")]
    shown = [max(classical, key=lambda m: m.level)] if classical else []
    shown += [m for role in ("generic", "initial", "network") for m in usable if m.role == role]
    found = []
    for number, target in enumerate(targets[:most]):
        panels = [("original", target[0].cpu().numpy())]
        panels += [
            (f"{m.name}: {caption(m.estimates[number], target)}", m.estimates[number][0].clamp(0, 1).cpu().numpy())
            for m in shown
        ]
        found.append(Panels(names[number] if number < len(names) else f"photograph {number + 1}", panels))
    return Exhibits(pictures=found)


def layers(
    name: str, target: Tensor, estimates: Sequence[Tensor], caption: Callable[[Tensor, Tensor], str], side: int = 256
) -> list[Panels]:
    """A test picture, its upper left part, after each layer."""
    panels = [("original", target[0].cpu().numpy())]
    panels += [
        (f"layer {number}: {caption(estimate, target)}", estimate[0].clamp(0, 1).cpu().numpy())
        for number, estimate in enumerate(estimates, 1)
    ]
    return [Panels(name, [(text, panel[:side, :side]) for text, panel in panels])]


def sounds(
    mixtures: Tensor,
    target: Tensor,
    methods: Sequence[Shown],
    scored: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    sources: Sequence[str],
    rate: int,
    most: int = 2,
) -> Exhibits:
    """The first mixtures, the sources in them, and the estimates of the network, its parent and a generic network.

    Args:
        mixtures: (batch, samples).
        target: (batch, sources, samples).
        methods: of the comparison.
        scored: (estimate, target) -> the signals that scores are of, and the true ones.
        sources: their names.
        rate: in Hz.
        most: mixtures.
    """
    chosen = [next((m for m in methods if m.role == role), None) for role in ("network", "parent", "generic")]
    found: list[Sound] = []

    def add(group: str, captions: Sequence[str], signals: Any) -> None:
        found.extend(
            Sound(group, caption, each.detach().cpu().numpy(), rate)
            for caption, each in zip(captions, signals, strict=True)
        )

    for number in range(min(most, len(target))):
        group, true = f"mixture {number + 1}", target[number : number + 1]
        add(group, ["mixture"], mixtures[number : number + 1])
        _, signals = scored(true, true)
        names = sources[: len(signals)]
        add(group, [f"{name}, as it was" for name in names], signals)
        for method in chosen:
            if method is not None and len(method.estimates) and len(method.estimates[0]) > number:
                heard, _ = scored(method.estimates[0][number : number + 1], true)
                add(group, [f"{name}: {method.name}" for name in names], heard)
    return Exhibits(sounds=found)
