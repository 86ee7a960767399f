"""Conformance checks for other people's iterations, operators and proxes: plain functions that raise ``AssertionError``
with what is wrong.

They need no test framework: ``check_iteration(MyIteration(...), data)`` inside a test, or at a prompt.
"""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.testing.compare import close, leaves, rounding, same_bits
    from unrolling.testing.compiling import check_compile, check_export
    from unrolling.testing.deploy import check_deployed
    from unrolling.testing.iterations import CHECKS, check_iteration
    from unrolling.testing.learning import (
        check_aliasing,
        check_gradients,
        check_saving,
        check_second_derivative,
        check_statistics,
        check_training,
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
    from unrolling.testing.parameters import groups
    from unrolling.testing.proxes import (
        check_firmly_nonexpansive,
        check_minimiser,
        check_moreau,
        check_prox,
        check_thresholds,
    )
    from unrolling.testing.runs import (
        check_empty_batch,
        check_fixed_point,
        check_objective,
        check_residual,
        check_stream,
    )
    from unrolling.testing.steps import (
        check_batch_independence,
        check_parent_equality,
        check_prepare_once,
        check_purity,
        check_solve,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".compare": ("close leaves rounding same_bits"),
        ".compiling": ("check_compile check_export"),
        ".deploy": ("check_deployed"),
        ".iterations": ("CHECKS check_iteration"),
        ".learning": (
            "check_aliasing check_gradients check_saving check_second_derivative check_statistics check_training"
        ),
        ".operators": (
            "check_adjoint check_algebra check_linearity check_norm check_normal_equations check_operator dense"
        ),
        ".parameters": ("groups"),
        ".proxes": ("check_firmly_nonexpansive check_minimiser check_moreau check_prox check_thresholds"),
        ".runs": ("check_empty_batch check_fixed_point check_objective check_residual check_stream"),
        ".steps": ("check_batch_independence check_parent_equality check_prepare_once check_purity check_solve"),
    },
)
# fmt: off
__all__ = [
    "CHECKS", "check_adjoint", "check_algebra", "check_aliasing", "check_batch_independence",
    "check_compile", "check_deployed", "check_empty_batch", "check_export", "check_firmly_nonexpansive",
    "check_fixed_point", "check_gradients", "check_iteration", "check_linearity", "check_minimiser",
    "check_moreau", "check_norm", "check_normal_equations", "check_objective", "check_operator",
    "check_parent_equality", "check_prepare_once", "check_prox", "check_purity", "check_residual",
    "check_saving", "check_second_derivative", "check_solve", "check_statistics", "check_stream",
    "check_thresholds", "check_training", "close", "dense", "groups", "leaves", "rounding", "same_bits",
]
# fmt: on
# End of what is written.
