"""Classical iterative algorithms, each written as one step."""

from unrolling.algorithms.coordinate_descent import CoDState, CoordinateDescent
from unrolling.algorithms.fista import FISTA, Continuation, FISTAState
from unrolling.algorithms.iht import IHT
from unrolling.algorithms.ista import ISTA, GramISTA, ThinISTA
from unrolling.algorithms.synthesis import Decoded, SynthesisISTA, SynthesisState

__all__ = [
    "FISTA",
    "IHT",
    "ISTA",
    "CoDState",
    "Continuation",
    "CoordinateDescent",
    "Decoded",
    "FISTAState",
    "GramISTA",
    "SynthesisISTA",
    "SynthesisState",
    "ThinISTA",
]
