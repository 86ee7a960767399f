"""Conformance checks for other people's iterations, operators and proxes: plain functions that raise ``AssertionError``
with what is wrong.

They need no test framework: ``check_iteration(MyIteration(...), data)`` inside a test, or at a prompt.
"""

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

__all__ = [
    "CHECKS",
    "check_adjoint",
    "check_algebra",
    "check_aliasing",
    "check_batch_independence",
    "check_compile",
    "check_export",
    "check_firmly_nonexpansive",
    "check_gradients",
    "check_iteration",
    "check_linearity",
    "check_minimiser",
    "check_moreau",
    "check_norm",
    "check_normal_equations",
    "check_operator",
    "check_parent_equality",
    "check_prepare_once",
    "check_prox",
    "check_purity",
    "check_saving",
    "check_solve",
    "check_thresholds",
    "check_training",
    "dense",
    "groups",
]
