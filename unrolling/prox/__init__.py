"""Proximal operators and learned shrinkages: functions ``prox(z, threshold)``, or modules when they have parameters."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.prox.analysis import AnalysisProx, Transform
    from unrolling.prox.bernoulli_gaussian import BernoulliGaussian, TunedBernoulliGaussian
    from unrolling.prox.box import Box, clamp_coefficients
    from unrolling.prox.denoisers import (
        Denoised,
        ExponentialDenoiser,
        PiecewiseLinear,
        SoftDenoiser,
        Spline,
        check_variance,
        deviation_from,
        parameter,
    )
    from unrolling.prox.directional import DirectionalTV
    from unrolling.prox.divergence import SignProbes, average_derivative
    from unrolling.prox.garrote import MeanGarrote
    from unrolling.prox.groups import BlockSoftThreshold
    from unrolling.prox.hard import surrogate_hard_threshold
    from unrolling.prox.influence import LinearSpline, RadialBasis, fit_radial_basis
    from unrolling.prox.isotropic import IsotropicShrink, Ridge
    from unrolling.prox.low_rank import SingularValueThreshold, nuclear_norm, rank_projection, singular_value_threshold
    from unrolling.prox.opponent import OpponentProx
    from unrolling.prox.orthonormal import OrthonormalDenoiser, OrthonormalShrink, Unitary
    from unrolling.prox.percentile import PercentileGate, SoftPositive, percentiles, ranks_of_percentiles
    from unrolling.prox.plug_and_play import Averaged, DenoiserProx, GradientStep, MonteCarloDenoiser
    from unrolling.prox.selected import SelectedDenoiser
    from unrolling.prox.support import support_select
    from unrolling.prox.tables import piecewise_polynomial
    from unrolling.prox.thresholds import check_threshold, hard_threshold, k_sparse, nonnegative, soft_threshold

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".analysis": ("AnalysisProx Transform"),
        ".bernoulli_gaussian": ("BernoulliGaussian TunedBernoulliGaussian"),
        ".box": ("Box clamp_coefficients"),
        ".denoisers": (
            "Denoised ExponentialDenoiser PiecewiseLinear SoftDenoiser Spline check_variance deviation_from parameter"
        ),
        ".directional": ("DirectionalTV"),
        ".divergence": ("SignProbes average_derivative"),
        ".garrote": ("MeanGarrote"),
        ".groups": ("BlockSoftThreshold"),
        ".hard": ("surrogate_hard_threshold"),
        ".influence": ("LinearSpline RadialBasis fit_radial_basis"),
        ".isotropic": ("IsotropicShrink Ridge"),
        ".low_rank": ("SingularValueThreshold nuclear_norm rank_projection singular_value_threshold"),
        ".opponent": ("OpponentProx"),
        ".orthonormal": ("OrthonormalDenoiser OrthonormalShrink Unitary"),
        ".percentile": ("PercentileGate SoftPositive percentiles ranks_of_percentiles"),
        ".plug_and_play": ("Averaged DenoiserProx GradientStep MonteCarloDenoiser"),
        ".selected": ("SelectedDenoiser"),
        ".support": ("support_select"),
        ".tables": ("piecewise_polynomial"),
        ".thresholds": ("check_threshold hard_threshold k_sparse nonnegative soft_threshold"),
    },
)
# fmt: off
__all__ = [
    "AnalysisProx", "Averaged", "BernoulliGaussian", "BlockSoftThreshold", "Box", "Denoised", "DenoiserProx",
    "DirectionalTV", "ExponentialDenoiser", "GradientStep", "IsotropicShrink", "LinearSpline", "MeanGarrote",
    "MonteCarloDenoiser", "OpponentProx", "OrthonormalDenoiser", "OrthonormalShrink", "PercentileGate",
    "PiecewiseLinear", "RadialBasis", "Ridge", "SelectedDenoiser", "SignProbes", "SingularValueThreshold",
    "SoftDenoiser", "SoftPositive", "Spline", "Transform", "TunedBernoulliGaussian", "Unitary",
    "average_derivative", "check_threshold", "check_variance", "clamp_coefficients", "deviation_from",
    "fit_radial_basis", "hard_threshold", "k_sparse", "nonnegative", "nuclear_norm", "parameter",
    "percentiles", "piecewise_polynomial", "rank_projection", "ranks_of_percentiles",
    "singular_value_threshold", "soft_threshold", "support_select", "surrogate_hard_threshold",
]
# fmt: on
# End of what is written.
