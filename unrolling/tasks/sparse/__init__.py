"""Sparse codes and sparse recovery."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.sparse.codes import Codes, converged_codes, learn_dictionary
    from unrolling.tasks.sparse.recovery import (
        Recovery,
        check_law,
        coherent_dictionary,
        conditioned_dictionary,
        drawn_dictionary,
        gaussian_dictionary,
        measured,
        read_dictionary,
    )
    from unrolling.tasks.sparse.spikes import Spikes, cosines, morphologies, read_signal, running_median
    from unrolling.tasks.sparse.varying import VaryingDictionary

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".codes": ("Codes converged_codes learn_dictionary"),
        ".recovery": (
            "Recovery check_law coherent_dictionary conditioned_dictionary drawn_dictionary gaussian_dictionary "
            "measured read_dictionary"
        ),
        ".spikes": ("Spikes cosines morphologies read_signal running_median"),
        ".varying": ("VaryingDictionary"),
    },
)
# fmt: off
__all__ = [
    "Codes", "Recovery", "Spikes", "VaryingDictionary", "check_law", "coherent_dictionary",
    "conditioned_dictionary", "converged_codes", "cosines", "drawn_dictionary", "gaussian_dictionary",
    "learn_dictionary", "measured", "morphologies", "read_dictionary", "read_signal", "running_median",
]
# fmt: on
# End of what is written.
