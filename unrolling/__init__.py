"""Algorithm unrolling: an iterative algorithm and the network unrolled from it are one object."""

from unrolling.core import (
    Backprop,
    Bounded,
    Checkpointed,
    DivergenceError,
    Equilibrium,
    Implicit,
    Iteration,
    OneStep,
    Positive,
    Safeguarded,
    Simplex,
    Solution,
    Truncated,
    UnitNorm,
    Unrolled,
    ZeroMean,
    anderson,
    constrain,
    gmres,
    solve,
    unroll,
)
from unrolling.operators import LinearOperator, Matrix
from unrolling.prox import hard_threshold, k_sparse, nonnegative, soft_threshold

__version__ = "0.1.0"

__all__ = [
    "Backprop",
    "Bounded",
    "Checkpointed",
    "DivergenceError",
    "Equilibrium",
    "Implicit",
    "Iteration",
    "LinearOperator",
    "Matrix",
    "OneStep",
    "Positive",
    "Safeguarded",
    "Simplex",
    "Solution",
    "Truncated",
    "UnitNorm",
    "Unrolled",
    "ZeroMean",
    "anderson",
    "constrain",
    "gmres",
    "hard_threshold",
    "k_sparse",
    "nonnegative",
    "soft_threshold",
    "solve",
    "unroll",
]
