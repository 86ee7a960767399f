"""Magnetic resonance and compressive imaging."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.medical.coils import Coils, check_acceleration
    from unrolling.tasks.medical.compressive import Compressive
    from unrolling.tasks.medical.mri import MRI, read_mask
    from unrolling.tasks.medical.phantoms import head, smooth, with_phase
    from unrolling.tasks.medical.receivers import receive_coils
    from unrolling.tasks.medical.sampling import (
        cartesian_mask,
        check_rate,
        equispaced_mask,
        mask_kind,
        poisson_disc_mask,
        radial_mask,
    )
    from unrolling.tasks.medical.slices import magnitude_errors, read_slices, slices_by_part

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".coils": ("Coils check_acceleration"),
        ".compressive": ("Compressive"),
        ".mri": ("MRI read_mask"),
        ".phantoms": ("head smooth with_phase"),
        ".receivers": ("receive_coils"),
        ".sampling": ("cartesian_mask check_rate equispaced_mask mask_kind poisson_disc_mask radial_mask"),
        ".slices": ("magnitude_errors read_slices slices_by_part"),
    },
)
# fmt: off
__all__ = [
    "Coils", "Compressive", "MRI", "cartesian_mask", "check_acceleration", "check_rate", "equispaced_mask",
    "head", "magnitude_errors", "mask_kind", "poisson_disc_mask", "radial_mask", "read_mask", "read_slices",
    "receive_coils", "slices_by_part", "smooth", "with_phase",
]
# fmt: on
# End of what is written.
