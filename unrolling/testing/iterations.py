"""All conformance checks of an iteration, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from unrolling.core import Iteration
from unrolling.testing._common import explain, name_of
from unrolling.testing.compiling import check_compile, check_export
from unrolling.testing.deploy import check_deployed
from unrolling.testing.learning import (
    check_aliasing,
    check_gradients,
    check_saving,
    check_second_derivative,
    check_statistics,
    check_training,
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

CHECKS: dict[str, Callable[..., None]] = {
    "parent": check_parent_equality,
    "prepare": check_prepare_once,
    "solve": check_solve,
    "purity": check_purity,
    "residual": check_residual,
    "objective": check_objective,
    "fixed_point": check_fixed_point,
    "stream": check_stream,
    "gradients": check_gradients,
    "second_derivative": check_second_derivative,
    "batch": check_batch_independence,
    "empty_batch": check_empty_batch,
    "saving": check_saving,
    "training": check_training,
    "statistics": check_statistics,
    "aliasing": check_aliasing,
    "deployed": check_deployed,
    "compile": check_compile,
    "export": check_export,
}


def check_iteration(
    iteration: Iteration, data: Any, *, depth: int = 4, skip: Iterable[str] = (), tolerance: float = 1e-3
) -> None:
    """Everything that this library asks of an iteration. The groups of tied and untied parameters are chosen by
    ``groups``.

    Args:
        iteration: in the dtype of ``data``; it is not changed.
        data: (batch, ...) tensor or NamedTuple, a batch of at least 3; small, as gradients are checked by finite
            differences.
        depth: number of layers.
        skip: names of ``CHECKS`` to leave out: ``gradients`` and ``second_derivative`` where the map is
            discontinuous at the data, ``solve`` where the state changes its shape.
        tolerance: of the check of ``solve``, which the iteration has to reach within 500 steps.

    Raises:
        AssertionError: what is wrong, headed by the name of the check.
        ValueError: an unknown name in ``skip``.
    """
    left_out = {skip} if isinstance(skip, str) else set(skip)
    if left_out - CHECKS.keys():
        raise ValueError(
            f"skip names {', '.join(sorted(left_out - CHECKS.keys()))}; the checks are {', '.join(CHECKS)}"
        )
    for name, check in CHECKS.items():
        if name in left_out:
            continue
        options: dict[str, Any] = {"tolerance": tolerance} if name in ("solve", "fixed_point") else {}
        if name not in (
            "gradients",
            "compile",
            "export",
            "second_derivative",
        ):  # slow ones stay at their own small depth
            options["depth"] = depth
        explain(
            lambda check=check, options=options: check(iteration, data, **options),
            f"{name_of(iteration)}, {name}",
        )
