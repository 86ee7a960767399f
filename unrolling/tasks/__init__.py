"""Tasks: a forward model with data, a loss and a metric."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.base import Shift, Task, estimates_of, evaluate, pieces_of
    from unrolling.tasks.communications import *
    from unrolling.tasks.images import *
    from unrolling.tasks.medical import *
    from unrolling.tasks.metrics import (
        ACCURACY,
        AMI,
        AUC,
        BER,
        NLL,
        NMSE,
        PSNR,
        SER,
        Mean,
        MeanIoU,
        MeanRatio,
        Metric,
        Ratio,
        labels,
        nmse_pieces,
        picture_pieces,
    )
    from unrolling.tasks.pairs import Pairs
    from unrolling.tasks.samples import Samples, concatenate, count, first, moved, select
    from unrolling.tasks.sparse import *
    from unrolling.tasks.speech import *

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".base": ("Shift Task estimates_of evaluate pieces_of"),
        ".communications.detection": (
            "Detection as_real check_snr exponential_correlation fixed_channel iid_channels kronecker_channels "
            "noise_variance read_channels toeplitz_channel"
        ),
        ".communications.sequence": ("SequenceDetection read_taps"),
        ".images.alignment": ("aligned best_shift shift_errors"),
        ".images.blurs": ("linear_motion shake"),
        ".images.deblocking": ("Deblocking coefficients_of compress"),
        ".images.deblurring": ("Deblurring Sharp kernel_error"),
        ".images.denoising": ("Denoising"),
        ".images.photographs": ("Photographs"),
        ".images.pictures": ("Pictures similarity timing_crops"),
        ".images.sources": ("attribution colours folder luma photograph read split"),
        ".images.super_resolution": ("SuperResolution"),
        ".medical.compressive": ("Compressive"),
        ".medical.mri": ("MRI read_mask read_slices"),
        ".medical.phantoms": ("head smooth with_phase"),
        ".medical.sampling": ("cartesian_mask check_rate radial_mask"),
        ".metrics": (
            "ACCURACY AMI AUC BER Mean MeanIoU MeanRatio Metric NLL NMSE PSNR Ratio SER labels nmse_pieces "
            "picture_pieces"
        ),
        ".pairs": ("Pairs"),
        ".samples": ("Samples concatenate count first moved select"),
        ".sparse.codes": ("Codes converged_codes learn_dictionary"),
        ".sparse.recovery": (
            "Recovery check_law coherent_dictionary conditioned_dictionary drawn_dictionary gaussian_dictionary "
            "measured read_dictionary"
        ),
        ".sparse.spikes": ("Spikes cosines morphologies read_signal running_median"),
        ".sparse.varying": ("VaryingDictionary"),
        ".speech.mixtures": ("Enhancement Mixtures Separation"),
        ".speech.recordings": (
            "Corpus find_folders generated read_noises read_speakers speaker_of split_speakers stretch unit_level"
        ),
        ".speech.speech_metrics": ("SI_SDR_IMPROVEMENT best_order improvement_pieces pesq sdr si_sdr stoi"),
        ".speech.voices": ("Voice draw_noise draw_voice speak"),
    },
)
# fmt: off
__all__ = [
    "ACCURACY", "AMI", "AUC", "BER", "Codes", "Compressive", "Corpus", "Deblocking", "Deblurring",
    "Denoising", "Detection", "Enhancement", "MRI", "Mean", "MeanIoU", "MeanRatio", "Metric", "Mixtures",
    "NLL", "NMSE", "PSNR", "Pairs", "Photographs", "Pictures", "Ratio", "Recovery", "SER",
    "SI_SDR_IMPROVEMENT", "Samples", "Separation", "SequenceDetection", "Sharp", "Shift", "Spikes",
    "SuperResolution", "Task", "VaryingDictionary", "Voice", "aligned", "as_real", "attribution",
    "best_order", "best_shift", "cartesian_mask", "check_law", "check_rate", "check_snr", "coefficients_of",
    "coherent_dictionary", "colours", "compress", "concatenate", "conditioned_dictionary", "converged_codes",
    "cosines", "count", "draw_noise", "draw_voice", "drawn_dictionary", "estimates_of", "evaluate",
    "exponential_correlation", "find_folders", "first", "fixed_channel", "folder", "gaussian_dictionary",
    "generated", "head", "iid_channels", "improvement_pieces", "kernel_error", "kronecker_channels",
    "labels", "learn_dictionary", "linear_motion", "luma", "measured", "morphologies", "moved",
    "nmse_pieces", "noise_variance", "pesq", "photograph", "picture_pieces", "pieces_of", "radial_mask",
    "read", "read_channels", "read_dictionary", "read_mask", "read_noises", "read_signal", "read_slices",
    "read_speakers", "read_taps", "running_median", "sdr", "select", "shake", "shift_errors", "si_sdr",
    "similarity", "smooth", "speak", "speaker_of", "split", "split_speakers", "stoi", "stretch",
    "timing_crops", "toeplitz_channel", "unit_level", "with_phase",
]
# fmt: on
# End of what is written.
