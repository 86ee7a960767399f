"""Diffusion and blind deblurring of images."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.images.alternating_deblurring import (
        AlternatingDeblurring,
        AlternatingProblem,
        AlternatingState,
    )
    from unrolling.algorithms.images.blind_deblurring import (
        BlindDeblurring,
        BlindState,
        Outcome,
        check_image,
        check_kernel_size,
        cut,
        differences,
    )
    from unrolling.algorithms.images.blind_steps import (
        correlations,
        crop_kernel,
        deconvolve,
        fit_kernel,
        kernel_spectrum,
        maps,
        move_kernel,
        normalise_kernel,
        retrieve,
        sharpen,
    )
    from unrolling.algorithms.images.blobs import Blobs, Detected
    from unrolling.algorithms.images.component_substitution import brovey, gram_schmidt_adaptive, mtf_glp
    from unrolling.algorithms.images.coupled_dictionary import coupled_dictionaries, patch_pairs, pursued
    from unrolling.algorithms.images.coupled_patches import (
        ContrastProblem,
        CoupledSparseCoding,
        EnlargingCascade,
        NormalisedSparseCoding,
        PatchProblem,
        mean_filter,
        patch_features,
        patch_filters,
        stages_for,
    )
    from unrolling.algorithms.images.deraining import (
        LearnedProx,
        Parts,
        RainADMM,
        RainState,
        across_streaks,
        along_streaks,
        check_colours,
    )
    from unrolling.algorithms.images.diffusion import Compressed, Diffusion, EdgeStopping, PeronaMalik, QuantisedBlocks
    from unrolling.algorithms.images.dublid import DUBLID, BlindProblem, Cascade
    from unrolling.algorithms.images.dublid_levels import DUBLIDLevels, LevelCascade, LevelProblem, blended, variance
    from unrolling.algorithms.images.experts import Cliques, FieldOfExperts, Grouping, NonLocalExperts
    from unrolling.algorithms.images.halting import Halting, HaltingRestoration
    from unrolling.algorithms.images.inpainting import KnownPixels, Masked, check_known, fill_missing
    from unrolling.algorithms.images.multiscale_restoration import (
        Disturbed,
        MultiscaleDeblocking,
        MultiscaleDenoising,
        MultiscaleEnlarging,
        MultiscaleRestoration,
        SmallImage,
        rounding_level,
    )
    from unrolling.algorithms.images.pan_sharpening import (
        BandVariation,
        Fusion,
        GuidedProjection,
        LearnedProjection,
        MultispectralFit,
        Projector,
        Statistics,
        solved,
        statistics_of,
    )
    from unrolling.algorithms.images.post_processing import PostProcessing
    from unrolling.algorithms.images.rain_kernels import KernelState, LearnedMaps, RainKernels, streak_kernels
    from unrolling.algorithms.images.sharp_features import (
        Features,
        LearnedFeatures,
        ThresholdedGradients,
        central_differences,
        convolved,
        derivatives_of_gaussians,
    )
    from unrolling.algorithms.images.sirt import SIRT
    from unrolling.algorithms.images.sparcom import (
        EnlargedVariance,
        Fluctuations,
        Sparcom,
        SparcomLayers,
        accelerated_sparcom,
        check_movie,
        temporal_variance,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".alternating_deblurring": ("AlternatingDeblurring AlternatingProblem AlternatingState"),
        ".blind_deblurring": ("BlindDeblurring BlindState Outcome check_image check_kernel_size cut differences"),
        ".blind_steps": (
            "correlations crop_kernel deconvolve fit_kernel kernel_spectrum maps move_kernel normalise_kernel retrieve "
            "sharpen"
        ),
        ".blobs": ("Blobs Detected"),
        ".component_substitution": ("brovey gram_schmidt_adaptive mtf_glp"),
        ".coupled_dictionary": ("coupled_dictionaries patch_pairs pursued"),
        ".coupled_patches": (
            "ContrastProblem CoupledSparseCoding EnlargingCascade NormalisedSparseCoding PatchProblem mean_filter "
            "patch_features patch_filters stages_for"
        ),
        ".deraining": ("LearnedProx Parts RainADMM RainState across_streaks along_streaks check_colours"),
        ".diffusion": ("Compressed Diffusion EdgeStopping PeronaMalik QuantisedBlocks"),
        ".dublid": ("BlindProblem Cascade DUBLID"),
        ".dublid_levels": ("DUBLIDLevels LevelCascade LevelProblem blended variance"),
        ".experts": ("Cliques FieldOfExperts Grouping NonLocalExperts"),
        ".halting": ("Halting HaltingRestoration"),
        ".inpainting": ("KnownPixels Masked check_known fill_missing"),
        ".multiscale_restoration": (
            "Disturbed MultiscaleDeblocking MultiscaleDenoising MultiscaleEnlarging MultiscaleRestoration SmallImage "
            "rounding_level"
        ),
        ".pan_sharpening": (
            "BandVariation Fusion GuidedProjection LearnedProjection MultispectralFit Projector Statistics solved "
            "statistics_of"
        ),
        ".post_processing": ("PostProcessing"),
        ".rain_kernels": ("KernelState LearnedMaps RainKernels streak_kernels"),
        ".sharp_features": (
            "Features LearnedFeatures ThresholdedGradients central_differences convolved derivatives_of_gaussians"
        ),
        ".sirt": ("SIRT"),
        ".sparcom": (
            "EnlargedVariance Fluctuations Sparcom SparcomLayers accelerated_sparcom check_movie temporal_variance"
        ),
    },
)
# fmt: off
__all__ = [
    "AlternatingDeblurring", "AlternatingProblem", "AlternatingState", "BandVariation", "BlindDeblurring",
    "BlindProblem", "BlindState", "Blobs", "Cascade", "Cliques", "Compressed", "ContrastProblem",
    "CoupledSparseCoding", "DUBLID", "DUBLIDLevels", "Detected", "Diffusion", "Disturbed", "EdgeStopping",
    "EnlargedVariance", "EnlargingCascade", "Features", "FieldOfExperts", "Fluctuations", "Fusion",
    "Grouping", "GuidedProjection", "Halting", "HaltingRestoration", "KernelState", "KnownPixels",
    "LearnedFeatures", "LearnedMaps", "LearnedProjection", "LearnedProx", "LevelCascade", "LevelProblem",
    "Masked", "MultiscaleDeblocking", "MultiscaleDenoising", "MultiscaleEnlarging", "MultiscaleRestoration",
    "MultispectralFit", "NonLocalExperts", "NormalisedSparseCoding", "Outcome", "Parts", "PatchProblem",
    "PeronaMalik", "PostProcessing", "Projector", "QuantisedBlocks", "RainADMM", "RainKernels", "RainState",
    "SIRT", "SmallImage", "Sparcom", "SparcomLayers", "Statistics", "ThresholdedGradients",
    "accelerated_sparcom", "across_streaks", "along_streaks", "blended", "brovey", "central_differences",
    "check_colours", "check_image", "check_kernel_size", "check_known", "check_movie", "convolved",
    "correlations", "coupled_dictionaries", "crop_kernel", "cut", "deconvolve", "derivatives_of_gaussians",
    "differences", "fill_missing", "fit_kernel", "gram_schmidt_adaptive", "kernel_spectrum", "maps",
    "mean_filter", "move_kernel", "mtf_glp", "normalise_kernel", "patch_features", "patch_filters",
    "patch_pairs", "pursued", "retrieve", "rounding_level", "sharpen", "solved", "stages_for",
    "statistics_of", "streak_kernels", "temporal_variance", "variance",
]
# fmt: on
# End of what is written.
