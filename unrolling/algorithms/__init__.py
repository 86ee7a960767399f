"""Classical iterative algorithms, each written as one step."""

from unrolling.algorithms.amp import AMP, AMPState
from unrolling.algorithms.coordinate_descent import CoDState, CoordinateDescent
from unrolling.algorithms.coupled import CoupledISTA, SelectedState, Selection, SelectiveGramISTA
from unrolling.algorithms.fista import FISTA, Continuation, FISTAState
from unrolling.algorithms.iht import IHT
from unrolling.algorithms.ista import ISTA, GramISTA, ThinISTA
from unrolling.algorithms.synthesis import Decoded, SynthesisISTA, SynthesisState
from unrolling.algorithms.vamp import VAMP, VAMPState

__all__ = [
    "AMP",
    "FISTA",
    "IHT",
    "ISTA",
    "VAMP",
    "AMPState",
    "CoDState",
    "Continuation",
    "CoordinateDescent",
    "CoupledISTA",
    "Decoded",
    "FISTAState",
    "GramISTA",
    "SelectedState",
    "Selection",
    "SelectiveGramISTA",
    "SynthesisISTA",
    "SynthesisState",
    "ThinISTA",
    "VAMPState",
]
