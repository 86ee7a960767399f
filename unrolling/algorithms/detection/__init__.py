"""Detection of symbols over multi-antenna channels and channels with memory."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.detection.detnet import DetNetLayer, DetNetState
    from unrolling.algorithms.detection.linear_detection import lmmse, matched_filter, zero_forcing
    from unrolling.algorithms.detection.mimo import (
        Detector,
        MatchedFilter,
        MatchedFiltering,
        Modulation,
        Posterior,
        Received,
        adjoint,
        apply,
        at_unit_gain,
        check_levels,
        check_received,
        complex_symbols,
        decide,
        find_modulation,
        gram,
        mean_gain,
        noise_of,
        pam,
        posterior,
        real_form,
        wrong_bits,
    )
    from unrolling.algorithms.detection.mmnet import Channel, FreeMatrix, MMNetLayer, ScaledAdjoint, fixed_oamp
    from unrolling.algorithms.detection.semidefinite import Relaxed, semidefinite_relaxation
    from unrolling.algorithms.detection.sphere import Decisions, sphere_decode
    from unrolling.algorithms.detection.trellis import (
        GaussianLikelihood,
        Observed,
        Trellis,
        check_observed,
        check_trellis,
    )
    from unrolling.algorithms.detection.viterbi import BCJR, Messages, Viterbi, viterbi_path

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".detnet": ("DetNetLayer DetNetState"),
        ".linear_detection": ("lmmse matched_filter zero_forcing"),
        ".mimo": (
            "Detector MatchedFilter MatchedFiltering Modulation Posterior Received adjoint apply at_unit_gain "
            "check_levels check_received complex_symbols decide find_modulation gram mean_gain noise_of pam posterior "
            "real_form wrong_bits"
        ),
        ".mmnet": ("Channel FreeMatrix MMNetLayer ScaledAdjoint fixed_oamp"),
        ".semidefinite": ("Relaxed semidefinite_relaxation"),
        ".sphere": ("Decisions sphere_decode"),
        ".trellis": ("GaussianLikelihood Observed Trellis check_observed check_trellis"),
        ".viterbi": ("BCJR Messages Viterbi viterbi_path"),
    },
)
# fmt: off
__all__ = [
    "BCJR", "Channel", "Decisions", "DetNetLayer", "DetNetState", "Detector", "FreeMatrix",
    "GaussianLikelihood", "MMNetLayer", "MatchedFilter", "MatchedFiltering", "Messages", "Modulation",
    "Observed", "Posterior", "Received", "Relaxed", "ScaledAdjoint", "Trellis", "Viterbi", "adjoint",
    "apply", "at_unit_gain", "check_levels", "check_observed", "check_received", "check_trellis",
    "complex_symbols", "decide", "find_modulation", "fixed_oamp", "gram", "lmmse", "matched_filter",
    "mean_gain", "noise_of", "pam", "posterior", "real_form", "semidefinite_relaxation", "sphere_decode",
    "viterbi_path", "wrong_bits", "zero_forcing",
]
# fmt: on
# End of what is written.
