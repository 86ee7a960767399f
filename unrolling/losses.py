"""Losses, where users look for them: those of ``unrolling.training.losses``."""

# Written by `python -m tools.public_names`.
# ruff: noqa: I001, RUF022
from unrolling.training.losses import (
    Energy,
    LogNMSE,
    MSE,
    NegativeSISDR,
    PermutationInvariant,
    RelativeMSE,
    SampleLoss,
    ShiftInvariantMSE,
    WeightedSum,
    asked,
    compute,
    describe,
    trajectory,
)

# fmt: off
__all__ = [
    "Energy", "LogNMSE", "MSE", "NegativeSISDR", "PermutationInvariant", "RelativeMSE", "SampleLoss",
    "ShiftInvariantMSE", "WeightedSum", "asked", "compute", "describe", "trajectory",
]
# fmt: on
