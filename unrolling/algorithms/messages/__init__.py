"""Message passing: AMP and its relatives."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.messages.amp import (
        AMP,
        AMPState,
        check_damping,
        check_real,
        clamp_variance,
        damp,
        denoise,
        deviation_of,
    )
    from unrolling.algorithms.messages.denoised_amp import DenoisedAMP, DenoisedState
    from unrolling.algorithms.messages.denoised_evolution import (
        EffectiveNoise,
        effective_noise,
        effective_noise_table,
        kurtosis,
    )
    from unrolling.algorithms.messages.expectation_propagation import EPState, ExpectationPropagation, Quadratic
    from unrolling.algorithms.messages.oamp import OAMP, Spectral, Spectrum, inside
    from unrolling.algorithms.messages.state_evolution import (
        Evolution,
        SparsePrior,
        mean_square_error,
        measurement_noise,
        oracle_least_squares,
        oracle_nmse,
        state_evolution_limit,
    )
    from unrolling.algorithms.messages.vamp import VAMP, VAMPState, fit_noise

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".amp": ("AMP AMPState check_damping check_real clamp_variance damp denoise deviation_of"),
        ".denoised_amp": ("DenoisedAMP DenoisedState"),
        ".denoised_evolution": ("EffectiveNoise effective_noise effective_noise_table kurtosis"),
        ".expectation_propagation": ("EPState ExpectationPropagation Quadratic"),
        ".oamp": ("OAMP Spectral Spectrum inside"),
        ".state_evolution": (
            "Evolution SparsePrior mean_square_error measurement_noise oracle_least_squares oracle_nmse "
            "state_evolution_limit"
        ),
        ".vamp": ("VAMP VAMPState fit_noise"),
    },
)
# fmt: off
__all__ = [
    "AMP", "AMPState", "DenoisedAMP", "DenoisedState", "EPState", "EffectiveNoise", "Evolution",
    "ExpectationPropagation", "OAMP", "Quadratic", "SparsePrior", "Spectral", "Spectrum", "VAMP",
    "VAMPState", "check_damping", "check_real", "clamp_variance", "damp", "denoise", "deviation_of",
    "effective_noise", "effective_noise_table", "fit_noise", "inside", "kurtosis", "mean_square_error",
    "measurement_noise", "oracle_least_squares", "oracle_nmse", "state_evolution_limit",
]
# fmt: on
# End of what is written.
