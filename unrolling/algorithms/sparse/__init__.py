"""Sparse coding: proximal, pursuit and hard-thresholding iterations."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.sparse.analytic import (
        analytic_weights,
        minimal_coherence_weights,
        mutual_coherence,
        projected_gradient_weights,
    )
    from unrolling.algorithms.sparse.augmented import AugmentedISTA, AugmentedProblem, AugmentedState
    from unrolling.algorithms.sparse.convolutional import ConvolutionalISTA, tight_frame
    from unrolling.algorithms.sparse.coordinate_descent import CoDState, CoordinateDescent
    from unrolling.algorithms.sparse.coupled import (
        CoupledISTA,
        SelectedState,
        Selection,
        SelectiveGramISTA,
        check_selection,
    )
    from unrolling.algorithms.sparse.dictionary import (
        as_operator,
        check_dictionary,
        check_step_size,
        check_weight,
        check_width,
        each_weight,
        lipschitz,
        scalar_parameter,
        step_advice,
    )
    from unrolling.algorithms.sparse.fista import FISTA, Continuation, FISTAState, nesterov
    from unrolling.algorithms.sparse.gated import GatedISTA
    from unrolling.algorithms.sparse.hyper import HyperLISTA, HyperProblem, HyperState
    from unrolling.algorithms.sparse.iht import IHT
    from unrolling.algorithms.sparse.ista import ISTA, GramISTA, ThinISTA, is_soft, penalty_of
    from unrolling.algorithms.sparse.lama import LAMA, LAMAState, Normalised, Normalising
    from unrolling.algorithms.sparse.learned_iht import GramHardISTA, GramIHT
    from unrolling.algorithms.sparse.strided import (
        Codes,
        NoisyImage,
        Shifted,
        Shifts,
        StridedISTA,
        check_noise,
        cosine_atoms,
    )
    from unrolling.algorithms.sparse.synthesis import Decoded, SynthesisISTA, SynthesisState
    from unrolling.algorithms.sparse.varying import Mixed, Mixing, Sensed, VaryingISTA

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".analytic": ("analytic_weights minimal_coherence_weights mutual_coherence projected_gradient_weights"),
        ".augmented": ("AugmentedISTA AugmentedProblem AugmentedState"),
        ".convolutional": ("ConvolutionalISTA tight_frame"),
        ".coordinate_descent": ("CoDState CoordinateDescent"),
        ".coupled": ("CoupledISTA SelectedState Selection SelectiveGramISTA check_selection"),
        ".dictionary": (
            "as_operator check_dictionary check_step_size check_weight check_width each_weight lipschitz "
            "scalar_parameter step_advice"
        ),
        ".fista": ("Continuation FISTA FISTAState nesterov"),
        ".gated": ("GatedISTA"),
        ".hyper": ("HyperLISTA HyperProblem HyperState"),
        ".iht": ("IHT"),
        ".ista": ("GramISTA ISTA ThinISTA is_soft penalty_of"),
        ".lama": ("LAMA LAMAState Normalised Normalising"),
        ".learned_iht": ("GramHardISTA GramIHT"),
        ".strided": ("Codes NoisyImage Shifted Shifts StridedISTA check_noise cosine_atoms"),
        ".synthesis": ("Decoded SynthesisISTA SynthesisState"),
        ".varying": ("Mixed Mixing Sensed VaryingISTA"),
    },
)
# fmt: off
__all__ = [
    "AugmentedISTA", "AugmentedProblem", "AugmentedState", "CoDState", "Codes", "Continuation",
    "ConvolutionalISTA", "CoordinateDescent", "CoupledISTA", "Decoded", "FISTA", "FISTAState", "GatedISTA",
    "GramHardISTA", "GramIHT", "GramISTA", "HyperLISTA", "HyperProblem", "HyperState", "IHT", "ISTA", "LAMA",
    "LAMAState", "Mixed", "Mixing", "NoisyImage", "Normalised", "Normalising", "SelectedState", "Selection",
    "SelectiveGramISTA", "Sensed", "Shifted", "Shifts", "StridedISTA", "SynthesisISTA", "SynthesisState",
    "ThinISTA", "VaryingISTA", "analytic_weights", "as_operator", "check_dictionary", "check_noise",
    "check_selection", "check_step_size", "check_weight", "check_width", "cosine_atoms", "each_weight",
    "is_soft", "lipschitz", "minimal_coherence_weights", "mutual_coherence", "nesterov", "penalty_of",
    "projected_gradient_weights", "scalar_parameter", "step_advice", "tight_frame",
]
# fmt: on
# End of what is written.
