"""Tasks on pictures whose answer is a class for each pixel."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.vision.pixel_labels import (
        border_band,
        check_pixel_labels,
        confusion,
        further_scores,
        pixel_loss,
    )
    from unrolling.tasks.vision.segmentation import Refinement, Segmentation, head_width, width_of
    from unrolling.tasks.vision.shapes import coarse_scores, drawn_shapes

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".pixel_labels": ("border_band check_pixel_labels confusion further_scores pixel_loss"),
        ".segmentation": ("Refinement Segmentation head_width width_of"),
        ".shapes": ("coarse_scores drawn_shapes"),
    },
)
# fmt: off
__all__ = [
    "Refinement", "Segmentation", "border_band", "check_pixel_labels", "coarse_scores", "confusion",
    "drawn_shapes", "further_scores", "head_width", "pixel_loss", "width_of",
]
# fmt: on
# End of what is written.
