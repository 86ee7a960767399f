"""Magnetic resonance and compressive imaging."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.medical.compressive import Compressive
    from unrolling.tasks.medical.mri import MRI, read_mask, read_slices
    from unrolling.tasks.medical.phantoms import head, smooth, with_phase
    from unrolling.tasks.medical.sampling import cartesian_mask, check_rate, mask_kind, radial_mask

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".compressive": ("Compressive"),
        ".mri": ("MRI read_mask read_slices"),
        ".phantoms": ("head smooth with_phase"),
        ".sampling": ("cartesian_mask check_rate mask_kind radial_mask"),
    },
)
# fmt: off
__all__ = [
    "Compressive", "MRI", "cartesian_mask", "check_rate", "head", "mask_kind", "radial_mask", "read_mask",
    "read_slices", "smooth", "with_phase",
]
# fmt: on
# End of what is written.
