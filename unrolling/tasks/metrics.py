"""Metrics: what ranks estimates, as a ratio of sums in decibels or as the ratio itself."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A ratio of sums in decibels, averaged over groups: +10 log10(error / energy) for NMSE, -10 log10(error / peak
    energy) for PSNR.

    Sums before the logarithm are what the literature reports; keeping the pieces apart lets an interval be drawn by
    resampling them. Error rates are the ratio itself: pieces are wrong decisions and how many were made.
    """

    name: str
    unit: str
    better: str  # "lower" or "higher"
    decibels: bool = True  # False: the ratio as it is

    def value(self, pieces: Tensor) -> float:
        """The metric from (k, 3) rows of error, energy and group number; groups (such as photographs) count equally."""
        number = pieces[:, 2]
        if bool((number == number[0]).all()):
            sums = pieces[:, :2].detach().sum(0, keepdim=True)
        else:
            sums = torch.stack([pieces[number == group, :2].detach().sum(0) for group in number.unique()])
        return float(self.of_sums(sums))

    def of_sums(self, sums: Tensor) -> Tensor:
        """The metric from sums of error and energy by group, (..., groups, 2) -> (...)."""
        tiny = torch.finfo(torch.float64).tiny
        error, energy = sums.double().unbind(-1)
        if not self.decibels:
            return (error / energy.clamp_min(tiny)).mean(-1)
        decibels = 10 * torch.log10(error.clamp_min(tiny) / energy.clamp_min(tiny))
        return decibels.mean(-1) * (1 if self.better == "lower" else -1)

    def level(self, value: float) -> float:
        """A value in dB, in which differences between two can be compared; a ratio as 10 log10, one of zero as that of
        one in 10^30.
        """
        return value if self.decibels else 10 * log10(max(value, 1e-30))

    def text(self, value: float) -> str:
        """With its unit, for people: ``-21.43 dB``, ``2.5e-03 errors per bit``."""
        return f"{value:.2f} {self.unit}" if self.decibels else f"{value:.3g} {self.unit}"

    def at_least_as_good(self, value: float, other: float) -> bool:
        """Whether ``value`` is no worse than ``other``."""
        return value <= other if self.better == "lower" else value >= other


NMSE = Metric("NMSE", "dB", "lower")
PSNR = Metric("PSNR", "dB", "higher")
BER = Metric("BER", "errors per bit", "lower", decibels=False)
SER = Metric("SER", "errors per symbol", "lower", decibels=False)


def nmse_pieces(estimate: Tensor, target: Tensor) -> Tensor:
    """Per sample: squared error and energy of the target, one group."""
    error = (estimate - target).flatten(1).abs().square().sum(1)
    energy = target.flatten(1).abs().square().sum(1)
    return torch.stack([error, energy, torch.zeros_like(error)], dim=1)
