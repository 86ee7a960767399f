"""Classical iterative algorithms, each written as one step."""

from unrolling.algorithms.messages.amp import AMP, AMPState
from unrolling.algorithms.messages.vamp import VAMP, VAMPState
from unrolling.algorithms.sparse.coordinate_descent import CoDState, CoordinateDescent
from unrolling.algorithms.sparse.coupled import CoupledISTA, SelectedState, Selection, SelectiveGramISTA
from unrolling.algorithms.sparse.fista import FISTA, Continuation, FISTAState
from unrolling.algorithms.sparse.iht import IHT
from unrolling.algorithms.sparse.ista import ISTA, GramISTA, ThinISTA
from unrolling.algorithms.sparse.synthesis import Decoded, SynthesisISTA, SynthesisState

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
