"""Photographs: restoration, enlargement, deblurring."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.images.alignment import aligned, best_shift, shift_errors
    from unrolling.tasks.images.baselines import (
        deblockers,
        deblurrers,
        denoisers,
        dncnn_on,
        enlargers,
        srcnn_on,
        unet_on,
    )
    from unrolling.tasks.images.blind_deblocking import BlindDeblocking
    from unrolling.tasks.images.blind_denoising import BlindDenoising
    from unrolling.tasks.images.blocks import (
        block_decode,
        block_decoder,
        block_dictionary,
        free_mean,
        least_squares,
        orthonormal_rows,
        patch_frame,
    )
    from unrolling.tasks.images.blurs import disc, linear_motion, shake
    from unrolling.tasks.images.camera_blur import Blur, CameraBlur
    from unrolling.tasks.images.compressive_gaussian import CompressiveGaussian, variation_denoiser
    from unrolling.tasks.images.compressive_learned import CompressiveLearned
    from unrolling.tasks.images.compressive_rates import CompressiveRates, PaddedWavelet
    from unrolling.tasks.images.deblocking import Deblocking, coefficients_of, compress
    from unrolling.tasks.images.deblocking_qualities import DeblockingQualities
    from unrolling.tasks.images.deblurring import Deblurring, Sharp, kernel_error, kernel_loss
    from unrolling.tasks.images.demosaicking import Demosaicking
    from unrolling.tasks.images.denoising import Denoising
    from unrolling.tasks.images.enlarging import EnlargingFactors
    from unrolling.tasks.images.fusion_metrics import ERGAS, ergas, spectral_angle, universal_quality
    from unrolling.tasks.images.inpainting import Inpainting, pixel_mask, stroke_mask
    from unrolling.tasks.images.known_deblurring import KnownDeblurring, wiener_filter
    from unrolling.tasks.images.known_noise import ColourDenoisingLevels, DenoisingLevels, level_denoisers
    from unrolling.tasks.images.noise import Noise, NoiseLevels, Stabiliser, noise_levels, noise_of, stabiliser_of
    from unrolling.tasks.images.pansharpening import Pansharpening, as_other_sensors, mixed
    from unrolling.tasks.images.photographs import Photographs
    from unrolling.tasks.images.pictures import Pictures, similarity, timing_crops
    from unrolling.tasks.images.rain import Rain, rain_admm, read_pairs, video_luma
    from unrolling.tasks.images.scenes import is_scene, read_scene, scene_by_part
    from unrolling.tasks.images.sources import colours, drawn, few_drawn, folder, luma, photograph, read, split
    from unrolling.tasks.images.streaks import draw_streaks, streak
    from unrolling.tasks.images.super_resolution import SuperResolution

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".alignment": ("aligned best_shift shift_errors"),
        ".baselines": ("deblockers deblurrers denoisers dncnn_on enlargers srcnn_on unet_on"),
        ".blind_deblocking": ("BlindDeblocking"),
        ".blind_denoising": ("BlindDenoising"),
        ".blocks": ("block_decode block_decoder block_dictionary free_mean least_squares orthonormal_rows patch_frame"),
        ".blurs": ("disc linear_motion shake"),
        ".camera_blur": ("Blur CameraBlur"),
        ".compressive_gaussian": ("CompressiveGaussian variation_denoiser"),
        ".compressive_learned": ("CompressiveLearned"),
        ".compressive_rates": ("CompressiveRates PaddedWavelet"),
        ".deblocking": ("Deblocking coefficients_of compress"),
        ".deblocking_qualities": ("DeblockingQualities"),
        ".deblurring": ("Deblurring Sharp kernel_error kernel_loss"),
        ".demosaicking": ("Demosaicking"),
        ".denoising": ("Denoising"),
        ".enlarging": ("EnlargingFactors"),
        ".fusion_metrics": ("ERGAS ergas spectral_angle universal_quality"),
        ".inpainting": ("Inpainting pixel_mask stroke_mask"),
        ".known_deblurring": ("KnownDeblurring wiener_filter"),
        ".known_noise": ("ColourDenoisingLevels DenoisingLevels level_denoisers"),
        ".noise": ("Noise NoiseLevels Stabiliser noise_levels noise_of stabiliser_of"),
        ".pansharpening": ("Pansharpening as_other_sensors mixed"),
        ".photographs": ("Photographs"),
        ".pictures": ("Pictures similarity timing_crops"),
        ".rain": ("Rain rain_admm read_pairs video_luma"),
        ".scenes": ("is_scene read_scene scene_by_part"),
        ".sources": ("colours drawn few_drawn folder luma photograph read split"),
        ".streaks": ("draw_streaks streak"),
        ".super_resolution": ("SuperResolution"),
    },
)
# fmt: off
__all__ = [
    "BlindDeblocking", "BlindDenoising", "Blur", "CameraBlur", "ColourDenoisingLevels",
    "CompressiveGaussian", "CompressiveLearned", "CompressiveRates", "Deblocking", "DeblockingQualities",
    "Deblurring", "Demosaicking", "Denoising", "DenoisingLevels", "ERGAS", "EnlargingFactors", "Inpainting",
    "KnownDeblurring", "Noise", "NoiseLevels", "PaddedWavelet", "Pansharpening", "Photographs", "Pictures",
    "Rain", "Sharp", "Stabiliser", "SuperResolution", "aligned", "as_other_sensors", "best_shift",
    "block_decode", "block_decoder", "block_dictionary", "coefficients_of", "colours", "compress",
    "deblockers", "deblurrers", "denoisers", "disc", "dncnn_on", "draw_streaks", "drawn", "enlargers",
    "ergas", "few_drawn", "folder", "free_mean", "is_scene", "kernel_error", "kernel_loss", "least_squares",
    "level_denoisers", "linear_motion", "luma", "mixed", "noise_levels", "noise_of", "orthonormal_rows",
    "patch_frame", "photograph", "pixel_mask", "rain_admm", "read", "read_pairs", "read_scene",
    "scene_by_part", "shake", "shift_errors", "similarity", "spectral_angle", "split", "srcnn_on",
    "stabiliser_of", "streak", "stroke_mask", "timing_crops", "unet_on", "universal_quality",
    "variation_denoiser", "video_luma", "wiener_filter",
]
# fmt: on
# End of what is written.
