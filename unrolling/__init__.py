"""Algorithm unrolling: an iterative algorithm and the network unrolled from it are one object."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy
from unrolling._version import __version__ as __version__

if TYPE_CHECKING:
    from unrolling.core import (
        Backprop,
        Bounded,
        Checkpointed,
        Convergent,
        DivergenceError,
        Equilibrium,
        Implicit,
        Iteration,
        OneStep,
        Positive,
        Safeguarded,
        Simplex,
        Solution,
        Status,
        Truncated,
        UnitNorm,
        Unrolled,
        ZeroMean,
        anderson,
        constrain,
        deploy,
        gmres,
        solve,
        unroll,
    )
    from unrolling.export import export
    from unrolling.operators import LinearOperator, Matrix
    from unrolling.prox import hard_threshold, k_sparse, nonnegative, soft_threshold
    from unrolling.systems.catalogue import find, pretrained
    from unrolling.training.fit import fit
    from unrolling.training.stages import Stage


# Imported when they are first used, so that what needs none of them (the help of the command line) does not wait for
# torch. `export` is the package `unrolling.export`, which can be called: a function of that name would be replaced by
# the package as soon as anything imported it.
__getattr__, __dir__ = lazy(
    __name__,
    {
        ".core": (
            "Backprop Bounded Checkpointed Convergent DivergenceError Equilibrium Implicit Iteration OneStep "
            "Positive Safeguarded Simplex Solution Status Truncated UnitNorm Unrolled ZeroMean anderson constrain "
            "deploy gmres solve unroll"
        ),
        ".operators.linear": "LinearOperator Matrix",
        ".prox.thresholds": "hard_threshold k_sparse nonnegative soft_threshold",
        ".systems.catalogue": "find pretrained",
        ".training.fit": "fit",
        ".training.stages": "Stage",
    },
    packages="algorithms core estimators evaluation export files losses networks operators prox report systems tasks "
    "testing training",
)

__all__ = [
    "Backprop",
    "Bounded",
    "Checkpointed",
    "Convergent",
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
    "Stage",
    "Status",
    "Truncated",
    "UnitNorm",
    "Unrolled",
    "ZeroMean",
    "anderson",
    "constrain",
    "deploy",
    "export",
    "find",
    "fit",
    "gmres",
    "hard_threshold",
    "k_sparse",
    "nonnegative",
    "pretrained",
    "soft_threshold",
    "solve",
    "unroll",
]
