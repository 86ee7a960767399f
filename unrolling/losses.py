"""Losses, where users look for them: those of ``unrolling.training.losses``."""

# Written by `python -m tools.public_names`.
# ruff: noqa: I001, RUF022
from unrolling.training.losses import (
    Energy,
    Joined,
    LogNMSE,
    MSE,
    NMSE,
    NegativeSISDR,
    PermutationInvariant,
    SampleLoss,
    ShiftInvariantMSE,
    describe,
    trajectory,
)

# fmt: off
__all__ = [
    "Energy", "Joined", "LogNMSE", "MSE", "NMSE", "NegativeSISDR", "PermutationInvariant", "SampleLoss",
    "ShiftInvariantMSE", "describe", "trajectory",
]
# fmt: on
