"""States of moving systems, measured over time."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.tracking.trajectories import (
        Tracking,
        rotation,
        squared_errors,
        told_model,
        true_model,
        unit_of_mismatch,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".trajectories": ("Tracking rotation squared_errors told_model true_model unit_of_mismatch"),
    },
)
# fmt: off
__all__ = [
    "Tracking", "rotation", "squared_errors", "told_model", "true_model", "unit_of_mismatch",
]
# fmt: on
# End of what is written.
