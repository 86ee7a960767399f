"""Estimators with scikit-learn's interface. Importing this package imports scikit-learn."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.estimators.sparse_encoder import SparseEncoder

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".sparse_encoder": ("SparseEncoder"),
    },
)
# fmt: off
__all__ = [
    "SparseEncoder",
]
# fmt: on
# End of what is written.
