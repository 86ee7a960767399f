"""Conformance checks for other people's iterations, operators and proxes: plain functions that raise ``AssertionError``
with what is wrong.

They need no test framework: ``check_iteration(MyIteration(...), data)`` inside a test, or at a prompt.
"""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.testing.compare import close, leaves, rounding, same_bits
    from unrolling.testing.deploy import check_deployed
    from unrolling.testing.iterations import (
        CHECKS,
        check_aliasing,
        check_batch_independence,
        check_compile,
        check_export,
        check_gradients,
        check_iteration,
        check_parent_equality,
        check_prepare_once,
        check_purity,
        check_saving,
        check_solve,
        check_training,
        groups,
    )
    from unrolling.testing.operators import (
        check_adjoint,
        check_algebra,
        check_linearity,
        check_norm,
        check_normal_equations,
        check_operator,
        dense,
    )
    from unrolling.testing.proxes import (
        check_firmly_nonexpansive,
        check_minimiser,
        check_moreau,
        check_prox,
        check_thresholds,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".compare": ("close leaves rounding same_bits"),
        ".deploy": ("check_deployed"),
        ".iterations": (
            "CHECKS check_aliasing check_batch_independence check_compile check_export check_gradients check_iteration "
            "check_parent_equality check_prepare_once check_purity check_saving check_solve check_training groups"
        ),
        ".operators": (
            "check_adjoint check_algebra check_linearity check_norm check_normal_equations check_operator dense"
        ),
        ".proxes": ("check_firmly_nonexpansive check_minimiser check_moreau check_prox check_thresholds"),
    },
)
# fmt: off
__all__ = [
    "CHECKS", "check_adjoint", "check_algebra", "check_aliasing", "check_batch_independence",
    "check_compile", "check_deployed", "check_export", "check_firmly_nonexpansive", "check_gradients",
    "check_iteration", "check_linearity", "check_minimiser", "check_moreau", "check_norm",
    "check_normal_equations", "check_operator", "check_parent_equality", "check_prepare_once", "check_prox",
    "check_purity", "check_saving", "check_solve", "check_thresholds", "check_training", "close", "dense",
    "groups", "leaves", "rounding", "same_bits",
]
# fmt: on
# End of what is written.
