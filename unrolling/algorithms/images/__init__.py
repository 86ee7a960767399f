"""Diffusion and blind deblurring of images."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.images.blind_deblurring import (
        BlindDeblurring,
        BlindState,
        Outcome,
        check_image,
        check_kernel_size,
        cut,
        differences,
    )
    from unrolling.algorithms.images.blind_steps import (
        correlations,
        crop_kernel,
        fit_kernel,
        kernel_spectrum,
        move_kernel,
        normalise_kernel,
        retrieve,
        sharpen,
    )
    from unrolling.algorithms.images.blobs import Blobs, Detected
    from unrolling.algorithms.images.diffusion import Compressed, Diffusion, EdgeStopping, PeronaMalik, QuantisedBlocks
    from unrolling.algorithms.images.dublid import DUBLID, BlindProblem, Cascade
    from unrolling.algorithms.images.post_processing import PostProcessing
    from unrolling.algorithms.images.sirt import SIRT

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".blind_deblurring": ("BlindDeblurring BlindState Outcome check_image check_kernel_size cut differences"),
        ".blind_steps": (
            "correlations crop_kernel fit_kernel kernel_spectrum move_kernel normalise_kernel retrieve sharpen"
        ),
        ".blobs": ("Blobs Detected"),
        ".diffusion": ("Compressed Diffusion EdgeStopping PeronaMalik QuantisedBlocks"),
        ".dublid": ("BlindProblem Cascade DUBLID"),
        ".post_processing": ("PostProcessing"),
        ".sirt": ("SIRT"),
    },
)
# fmt: off
__all__ = [
    "BlindDeblurring", "BlindProblem", "BlindState", "Blobs", "Cascade", "Compressed", "DUBLID", "Detected",
    "Diffusion", "EdgeStopping", "Outcome", "PeronaMalik", "PostProcessing", "QuantisedBlocks", "SIRT",
    "check_image", "check_kernel_size", "correlations", "crop_kernel", "cut", "differences", "fit_kernel",
    "kernel_spectrum", "move_kernel", "normalise_kernel", "retrieve", "sharpen",
]
# fmt: on
# End of what is written.
