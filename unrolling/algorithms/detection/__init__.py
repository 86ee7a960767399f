"""Detection of symbols over multi-antenna channels and channels with memory."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.detection.bit_ratios import (
        best_factor,
        exact_llrs,
        gaussian_llrs,
        level_llrs,
        mutual_information,
    )
    from unrolling.algorithms.detection.breadth_first import Listed, k_best, list_llrs
    from unrolling.algorithms.detection.detnet import DetNetLayer, DetNetState
    from unrolling.algorithms.detection.linear_detection import lmmse, matched_filter, zero_forcing
    from unrolling.algorithms.detection.mimo import (
        Detector,
        MatchedFilter,
        MatchedFiltering,
        Modulation,
        Observation,
        Posterior,
        Received,
        adjoint,
        apply,
        at_unit_gain,
        check_levels,
        check_received,
        check_rising,
        check_symmetric,
        complex_symbols,
        decide,
        find_modulation,
        gram,
        gray_labels,
        level_posterior,
        mean_gain,
        noise_of,
        pam,
        posterior,
        real_form,
        wrong_bits,
    )
    from unrolling.algorithms.detection.mmnet import Channel, FreeMatrix, MMNetLayer, ScaledAdjoint, fixed_oamp
    from unrolling.algorithms.detection.received_noise import (
        AlphabetFit,
        NoiseEstimate,
        judge_alphabet,
        judge_noise,
        linear_estimate,
    )
    from unrolling.algorithms.detection.safeguarded import Safeguard, SafeguardedDetector, blocks, simulate_received
    from unrolling.algorithms.detection.semidefinite import Relaxed, semidefinite_relaxation
    from unrolling.algorithms.detection.soft_detection import SoftBits, linear_llrs, network_llrs, soft_bits
    from unrolling.algorithms.detection.sphere import Decisions, sphere_decode
    from unrolling.algorithms.detection.taps import (
        ChannelEstimate,
        TapsFit,
        fit_to_taps,
        fitted,
        least_squares_taps,
        viterbi_data,
    )
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
        ".bit_ratios": ("best_factor exact_llrs gaussian_llrs level_llrs mutual_information"),
        ".breadth_first": ("Listed k_best list_llrs"),
        ".detnet": ("DetNetLayer DetNetState"),
        ".linear_detection": ("lmmse matched_filter zero_forcing"),
        ".mimo": (
            "Detector MatchedFilter MatchedFiltering Modulation Observation Posterior Received adjoint apply "
            "at_unit_gain check_levels check_received check_rising check_symmetric complex_symbols decide "
            "find_modulation gram gray_labels level_posterior mean_gain noise_of pam posterior real_form wrong_bits"
        ),
        ".mmnet": ("Channel FreeMatrix MMNetLayer ScaledAdjoint fixed_oamp"),
        ".received_noise": ("AlphabetFit NoiseEstimate judge_alphabet judge_noise linear_estimate"),
        ".safeguarded": ("Safeguard SafeguardedDetector blocks simulate_received"),
        ".semidefinite": ("Relaxed semidefinite_relaxation"),
        ".soft_detection": ("SoftBits linear_llrs network_llrs soft_bits"),
        ".sphere": ("Decisions sphere_decode"),
        ".taps": ("ChannelEstimate TapsFit fit_to_taps fitted least_squares_taps viterbi_data"),
        ".trellis": ("GaussianLikelihood Observed Trellis check_observed check_trellis"),
        ".viterbi": ("BCJR Messages Viterbi viterbi_path"),
    },
)
# fmt: off
__all__ = [
    "AlphabetFit", "BCJR", "Channel", "ChannelEstimate", "Decisions", "DetNetLayer", "DetNetState",
    "Detector", "FreeMatrix", "GaussianLikelihood", "Listed", "MMNetLayer", "MatchedFilter",
    "MatchedFiltering", "Messages", "Modulation", "NoiseEstimate", "Observation", "Observed", "Posterior",
    "Received", "Relaxed", "Safeguard", "SafeguardedDetector", "ScaledAdjoint", "SoftBits", "TapsFit",
    "Trellis", "Viterbi", "adjoint", "apply", "at_unit_gain", "best_factor", "blocks", "check_levels",
    "check_observed", "check_received", "check_rising", "check_symmetric", "check_trellis",
    "complex_symbols", "decide", "exact_llrs", "find_modulation", "fit_to_taps", "fitted", "fixed_oamp",
    "gaussian_llrs", "gram", "gray_labels", "judge_alphabet", "judge_noise", "k_best", "least_squares_taps",
    "level_llrs", "level_posterior", "linear_estimate", "linear_llrs", "list_llrs", "lmmse",
    "matched_filter", "mean_gain", "mutual_information", "network_llrs", "noise_of", "pam", "posterior",
    "real_form", "semidefinite_relaxation", "simulate_received", "soft_bits", "sphere_decode",
    "viterbi_data", "viterbi_path", "wrong_bits", "zero_forcing",
]
# fmt: on
# End of what is written.
