"""Non-negative factorisation of spectrograms and phase retrieval of sources."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.sound.misi import MISI, EqualShares, GriffinLim, Magnitudes, MISIState, floor_of
    from unrolling.algorithms.sound.nmf import (
        NMF,
        NMFActivations,
        NMFState,
        PositiveUnitNorm,
        beta_divergence,
        check_nonnegative,
        divergence_of,
        equal_activations,
        exponent,
        learn_dictionary,
        level_of,
        scaled_sparsity,
        set_sparsity,
        unit_columns,
        update_activations,
        update_dictionary,
    )
    from unrolling.algorithms.sound.nmf_enhancement import NMFEnhancement
    from unrolling.algorithms.sound.nmf_separation import Mixture, NMFSeparation, stack_frames
    from unrolling.algorithms.sound.nmf_split import Split, SplitGradient, split_step
    from unrolling.algorithms.sound.relaxed_misi import RelaxedMISI

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".misi": ("EqualShares GriffinLim MISI MISIState Magnitudes floor_of"),
        ".nmf": (
            "NMF NMFActivations NMFState PositiveUnitNorm beta_divergence check_nonnegative divergence_of "
            "equal_activations exponent learn_dictionary level_of scaled_sparsity set_sparsity unit_columns "
            "update_activations update_dictionary"
        ),
        ".nmf_enhancement": ("NMFEnhancement"),
        ".nmf_separation": ("Mixture NMFSeparation stack_frames"),
        ".nmf_split": ("Split SplitGradient split_step"),
        ".relaxed_misi": ("RelaxedMISI"),
    },
)
# fmt: off
__all__ = [
    "EqualShares", "GriffinLim", "MISI", "MISIState", "Magnitudes", "Mixture", "NMF", "NMFActivations",
    "NMFEnhancement", "NMFSeparation", "NMFState", "PositiveUnitNorm", "RelaxedMISI", "Split",
    "SplitGradient", "beta_divergence", "check_nonnegative", "divergence_of", "equal_activations",
    "exponent", "floor_of", "learn_dictionary", "level_of", "scaled_sparsity", "set_sparsity", "split_step",
    "stack_frames", "unit_columns", "update_activations", "update_dictionary",
]
# fmt: on
# End of what is written.
