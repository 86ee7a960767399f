"""Steps in C++, for networks that are only run."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.kernels.grid_steps import GridSteps
    from unrolling.algorithms.kernels.movie_steps import MovieSteps, shrink_entries
    from unrolling.algorithms.kernels.packed_steps import Products, pack, rows_of, run_packed_steps
    from unrolling.algorithms.kernels.product_form import ProductForm, ProductStep
    from unrolling.algorithms.kernels.radial_steps import RadialSteps, Shrink
    from unrolling.algorithms.kernels.residual_form import ResidualForm, ResidualStep
    from unrolling.algorithms.kernels.shrinkage import Scratch, Shrinkage, own_copy, suits
    from unrolling.algorithms.kernels.thin_step import ThinStep, check_steps, run_thin_steps

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".grid_steps": ("GridSteps"),
        ".movie_steps": ("MovieSteps shrink_entries"),
        ".packed_steps": ("Products pack rows_of run_packed_steps"),
        ".product_form": ("ProductForm ProductStep"),
        ".radial_steps": ("RadialSteps Shrink"),
        ".residual_form": ("ResidualForm ResidualStep"),
        ".shrinkage": ("Scratch Shrinkage own_copy suits"),
        ".thin_step": ("ThinStep check_steps run_thin_steps"),
    },
)
# fmt: off
__all__ = [
    "GridSteps", "MovieSteps", "ProductForm", "ProductStep", "Products", "RadialSteps", "ResidualForm",
    "ResidualStep", "Scratch", "Shrink", "Shrinkage", "ThinStep", "check_steps", "own_copy", "pack",
    "rows_of", "run_packed_steps", "run_thin_steps", "shrink_entries", "suits",
]
# fmt: on
# End of what is written.
