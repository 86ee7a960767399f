"""Magnetic resonance and compressive imaging."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.medical.augment import varied
    from unrolling.tasks.medical.bubbles import Echoes, contrast_movies
    from unrolling.tasks.medical.clutter import Clutter, converged, projection, svd_filter
    from unrolling.tasks.medical.coils import Coils, check_acceleration
    from unrolling.tasks.medical.compressive import Compressive
    from unrolling.tasks.medical.ct import ct_by_part, read_ct
    from unrolling.tasks.medical.ellipses import Ellipses, draw_ellipses, random_ellipses, random_head, shepp_logan
    from unrolling.tasks.medical.emitters import Emitters, Recorded, curve, draw_emitters, record, simulated_movies
    from unrolling.tasks.medical.findings import DetectionLoss, ImageAUC, Peaks, Sensitivity, focal, hits, peaks
    from unrolling.tasks.medical.microscopy import Microscopy, check_spread, richardson_lucy
    from unrolling.tasks.medical.mri import MRI, read_mask
    from unrolling.tasks.medical.nodules import Nodules, OnImage, circles, found_at, scoring_unet
    from unrolling.tasks.medical.phantoms import head, smooth, with_phase
    from unrolling.tasks.medical.receivers import receive_coils
    from unrolling.tasks.medical.regression import regressed_snr
    from unrolling.tasks.medical.sampling import (
        cartesian_mask,
        check_rate,
        drawn_mask,
        equispaced_mask,
        mask_kind,
        poisson_disc_mask,
        radial_mask,
        scattered_mask,
    )
    from unrolling.tasks.medical.slices import magnitude_errors, read_slices, relative_errors, slices_by_part
    from unrolling.tasks.medical.structures import JACCARD, fitted_psnr, jaccard, matches, precision, recall, support
    from unrolling.tasks.medical.thorax import Thorax, heat, simulated_thorax
    from unrolling.tasks.medical.tomography import Tomography

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".augment": ("varied"),
        ".bubbles": ("Echoes contrast_movies"),
        ".clutter": ("Clutter converged projection svd_filter"),
        ".coils": ("Coils check_acceleration"),
        ".compressive": ("Compressive"),
        ".ct": ("ct_by_part read_ct"),
        ".ellipses": ("Ellipses draw_ellipses random_ellipses random_head shepp_logan"),
        ".emitters": ("Emitters Recorded curve draw_emitters record simulated_movies"),
        ".findings": ("DetectionLoss ImageAUC Peaks Sensitivity focal hits peaks"),
        ".microscopy": ("Microscopy check_spread richardson_lucy"),
        ".mri": ("MRI read_mask"),
        ".nodules": ("Nodules OnImage circles found_at scoring_unet"),
        ".phantoms": ("head smooth with_phase"),
        ".receivers": ("receive_coils"),
        ".regression": ("regressed_snr"),
        ".sampling": (
            "cartesian_mask check_rate drawn_mask equispaced_mask mask_kind poisson_disc_mask radial_mask "
            "scattered_mask"
        ),
        ".slices": ("magnitude_errors read_slices relative_errors slices_by_part"),
        ".structures": ("JACCARD fitted_psnr jaccard matches precision recall support"),
        ".thorax": ("Thorax heat simulated_thorax"),
        ".tomography": ("Tomography"),
    },
)
# fmt: off
__all__ = [
    "Clutter", "Coils", "Compressive", "DetectionLoss", "Echoes", "Ellipses", "Emitters", "ImageAUC",
    "JACCARD", "MRI", "Microscopy", "Nodules", "OnImage", "Peaks", "Recorded", "Sensitivity", "Thorax",
    "Tomography", "cartesian_mask", "check_acceleration", "check_rate", "check_spread", "circles",
    "contrast_movies", "converged", "ct_by_part", "curve", "draw_ellipses", "draw_emitters", "drawn_mask",
    "equispaced_mask", "fitted_psnr", "focal", "found_at", "head", "heat", "hits", "jaccard",
    "magnitude_errors", "mask_kind", "matches", "peaks", "poisson_disc_mask", "precision", "projection",
    "radial_mask", "random_ellipses", "random_head", "read_ct", "read_mask", "read_slices", "recall",
    "receive_coils", "record", "regressed_snr", "relative_errors", "richardson_lucy", "scattered_mask",
    "scoring_unet", "shepp_logan", "simulated_movies", "simulated_thorax", "slices_by_part", "smooth",
    "support", "svd_filter", "varied", "with_phase",
]
# fmt: on
# End of what is written.
