"""Inference on pictures: fully connected random fields by mean field, and what networks learn in their place."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.vision.dense_crf import (
        CRFPotentials,
        CRFProblem,
        DenseCRF,
        PixelMeanField,
        ScoredPicture,
        check_picture,
        check_unit_range,
        weighted,
    )
    from unrolling.algorithms.vision.gaussian_filters import (
        ExactFilter,
        ExactKernel,
        GridFilter,
        GridKernel,
        SpatialFilter,
        SpatialKernel,
        WindowFilter,
        WindowKernel,
        window_offsets,
    )
    from unrolling.algorithms.vision.parsing_network import ParsingNetwork

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".dense_crf": (
            "CRFPotentials CRFProblem DenseCRF PixelMeanField ScoredPicture check_picture check_unit_range weighted"
        ),
        ".gaussian_filters": (
            "ExactFilter ExactKernel GridFilter GridKernel SpatialFilter SpatialKernel WindowFilter WindowKernel "
            "window_offsets"
        ),
        ".parsing_network": ("ParsingNetwork"),
    },
)
# fmt: off
__all__ = [
    "CRFPotentials", "CRFProblem", "DenseCRF", "ExactFilter", "ExactKernel", "GridFilter", "GridKernel",
    "ParsingNetwork", "PixelMeanField", "ScoredPicture", "SpatialFilter", "SpatialKernel", "WindowFilter",
    "WindowKernel", "check_picture", "check_unit_range", "weighted", "window_offsets",
]
# fmt: on
# End of what is written.
