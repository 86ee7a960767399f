"""Tasks: a forward model with data, a loss and a metric."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.authors import attribution
    from unrolling.tasks.base import Shift, Task, estimates_of, evaluate, pieces_of
    from unrolling.tasks.baselines import (
        Baseline,
        Generic,
        Iterative,
        Method,
        ThreeRuns,
        algorithm,
        is_algorithm,
        parent_among,
    )
    from unrolling.tasks.catalogue import find_task, first_words, loaded, modules, unknown, warn
    from unrolling.tasks.communications import *
    from unrolling.tasks.draws import Draws
    from unrolling.tasks.exhibits import Claim, Exhibits, Panels, Shown, Sound, TimeSeries, layers, sounds
    from unrolling.tasks.graphs import *
    from unrolling.tasks.images import *
    from unrolling.tasks.measurements import (
        PICTURES,
        Direct,
        Gaussian,
        Measurement,
        Poisson,
        RowsMeasurement,
        RowsOfData,
        SampledMeasurement,
        denoising_measurement,
        image_measurement,
    )
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
    from unrolling.tasks.power import *
    from unrolling.tasks.samples import Samples, concatenate, count, first, moved, select
    from unrolling.tasks.sparse import *
    from unrolling.tasks.speech import *
    from unrolling.tasks.tracking import *
    from unrolling.tasks.transformations import (
        Flips,
        Permutations,
        Product,
        Rotations,
        Shifts,
        Transformations,
        Turns,
        rotate,
    )
    from unrolling.tasks.vision import *

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".authors": ("attribution"),
        ".base": ("Shift Task estimates_of evaluate pieces_of"),
        ".baselines": ("Baseline Generic Iterative Method ThreeRuns algorithm is_algorithm parent_among"),
        ".catalogue": ("find_task first_words loaded modules unknown warn"),
        ".communications.baselines": ("detectors sequence_detectors"),
        ".communications.channels": (
            "as_real exponential_correlation fixed_channel iid_channels kronecker_channels noise_variance "
            "read_channels toeplitz_channel"
        ),
        ".communications.codes": (
            "bch_generator bch_parity_check light_words overcomplete_parity_check parity_check progressive_edge_growth "
            "reduced_parity_check short_cycles"
        ),
        ".communications.decoding": ("Decoding FER"),
        ".communications.detection": ("Detection check_snr"),
        ".communications.published": ("Published2017 Published2019"),
        ".communications.sequence": ("SequenceDetection read_taps"),
        ".draws": ("Draws"),
        ".exhibits": ("Claim Exhibits Panels Shown Sound TimeSeries layers sounds"),
        ".graphs.labelling": ("Labelling MARGINAL_LOSS binary_pictures check_labels featured sample_of"),
        ".graphs.likelihoods": ("LongRun PseudoLikelihood"),
        ".images.alignment": ("aligned best_shift shift_errors"),
        ".images.baselines": ("deblockers deblurrers denoisers dncnn_on enlargers srcnn_on unet_on"),
        ".images.blind_deblocking": ("BlindDeblocking"),
        ".images.blind_denoising": ("BlindDenoising"),
        ".images.blocks": (
            "block_decode block_decoder block_dictionary free_mean least_squares orthonormal_rows patch_frame"
        ),
        ".images.blurs": ("disc linear_motion shake"),
        ".images.camera_blur": ("Blur CameraBlur"),
        ".images.compressive_gaussian": ("CompressiveGaussian variation_denoiser"),
        ".images.compressive_learned": ("CompressiveLearned"),
        ".images.compressive_rates": ("CompressiveRates PaddedWavelet"),
        ".images.deblocking": ("Deblocking coefficients_of compress"),
        ".images.deblocking_qualities": ("DeblockingQualities"),
        ".images.deblurring": ("Deblurring Sharp kernel_error kernel_loss"),
        ".images.demosaicking": ("Demosaicking"),
        ".images.denoising": ("Denoising"),
        ".images.enlarging": ("EnlargingFactors"),
        ".images.fusion_metrics": ("ERGAS ergas spectral_angle universal_quality"),
        ".images.inpainting": ("Inpainting pixel_mask stroke_mask"),
        ".images.known_deblurring": ("KnownDeblurring wiener_filter"),
        ".images.known_noise": ("ColourDenoisingLevels DenoisingLevels level_denoisers"),
        ".images.noise": ("Noise NoiseLevels Stabiliser noise_levels noise_of stabiliser_of"),
        ".images.pansharpening": ("Pansharpening as_other_sensors mixed"),
        ".images.photographs": ("Photographs"),
        ".images.pictures": ("Pictures similarity timing_crops"),
        ".images.rain": ("Rain rain_admm read_pairs video_luma"),
        ".images.scenes": ("is_scene read_scene scene_by_part"),
        ".images.sources": ("colours drawn few_drawn folder luma photograph read split"),
        ".images.streaks": ("draw_streaks streak"),
        ".images.super_resolution": ("SuperResolution"),
        ".measurements": (
            "Direct Gaussian Measurement PICTURES Poisson RowsMeasurement RowsOfData SampledMeasurement "
            "denoising_measurement image_measurement"
        ),
        ".medical.augment": ("varied"),
        ".medical.bubbles": ("Echoes contrast_movies"),
        ".medical.clutter": ("Clutter converged projection svd_filter"),
        ".medical.coils": ("Coils check_acceleration"),
        ".medical.compressive": ("Compressive"),
        ".medical.ct": ("ct_by_part read_ct"),
        ".medical.ellipses": ("Ellipses draw_ellipses random_ellipses random_head shepp_logan"),
        ".medical.emitters": ("Emitters Recorded curve draw_emitters record simulated_movies"),
        ".medical.findings": ("DetectionLoss ImageAUC Peaks Sensitivity focal hits peaks"),
        ".medical.microscopy": ("Microscopy check_spread richardson_lucy"),
        ".medical.mri": ("MRI read_mask"),
        ".medical.nodules": ("Nodules OnImage circles found_at scoring_unet"),
        ".medical.phantoms": ("head smooth with_phase"),
        ".medical.receivers": ("receive_coils"),
        ".medical.regression": ("regressed_snr"),
        ".medical.sampling": (
            "cartesian_mask check_rate drawn_mask equispaced_mask mask_kind poisson_disc_mask radial_mask "
            "scattered_mask"
        ),
        ".medical.slices": ("magnitude_errors read_slices relative_errors slices_by_part"),
        ".medical.structures": ("JACCARD fitted_psnr jaccard matches precision recall support"),
        ".medical.thorax": ("Thorax heat simulated_thorax"),
        ".medical.tomography": ("Tomography"),
        ".metrics": (
            "ACCURACY AMI AUC BER Mean MeanIoU MeanRatio Metric NLL NMSE PSNR Ratio SER labels nmse_pieces "
            "picture_pieces"
        ),
        ".pairs": ("Pairs"),
        ".power.cases": ("case14 grid_from_pandapower grid_of"),
        ".power.estimation": ("GridState RootMeanSquare squared_voltages"),
        ".power.forecasting": ("GridForecast"),
        ".power.profiles": ("generated_profiles loaded_voltages"),
        ".samples": ("Samples concatenate count first moved select"),
        ".sparse.baselines": ("components hard_thresholding lasso message_passing pursuit_counts scikit_learn spams"),
        ".sparse.codes": ("Codes converged_codes learn_dictionary"),
        ".sparse.dictionaries": (
            "coherent_dictionary conditioned_dictionary drawn_dictionary gaussian_dictionary read_dictionary"
        ),
        ".sparse.recovery": ("Recovery"),
        ".sparse.signals": ("SparseTask check_law measured"),
        ".sparse.spikes": ("Spikes cosines morphologies read_signal running_median"),
        ".sparse.theory": (
            "coherence coupling examine limits linear_convergence no_false_positives predicted vanishing_thresholds"
        ),
        ".sparse.varying": ("VaryingDictionary"),
        ".speech.enhancement": ("Enhancement"),
        ".speech.mixtures": ("Mixtures"),
        ".speech.noises": ("draw_noise"),
        ".speech.other_voices": ("coloured in_a_room moved_formants other_speaker"),
        ".speech.recordings": (
            "Corpus Lazily find_folders generated read_noises read_speakers speaker_of split_speakers stretch "
            "unit_level"
        ),
        ".speech.separation": ("Separation"),
        ".speech.speech_metrics": ("SI_SDR_IMPROVEMENT best_order improvement_pieces pesq sdr si_sdr stoi"),
        ".speech.voices": ("Voice draw_voice speak"),
        ".speech.wiener": ("DecisionDirected"),
        ".tracking.trajectories": ("Tracking rotation squared_errors told_model true_model unit_of_mismatch"),
        ".transformations": ("Flips Permutations Product Rotations Shifts Transformations Turns rotate"),
        ".vision.pixel_labels": ("border_band check_pixel_labels confusion further_scores pixel_loss"),
        ".vision.segmentation": ("Refinement Segmentation head_width width_of"),
        ".vision.shapes": ("coarse_scores drawn_shapes"),
    },
)
# fmt: off
__all__ = [
    "ACCURACY", "AMI", "AUC", "BER", "Baseline", "BlindDeblocking", "BlindDenoising", "Blur", "CameraBlur",
    "Claim", "Clutter", "Codes", "Coils", "ColourDenoisingLevels", "Compressive", "CompressiveGaussian",
    "CompressiveLearned", "CompressiveRates", "Corpus", "Deblocking", "DeblockingQualities", "Deblurring",
    "DecisionDirected", "Decoding", "Demosaicking", "Denoising", "DenoisingLevels", "Detection",
    "DetectionLoss", "Direct", "Draws", "ERGAS", "Echoes", "Ellipses", "Emitters", "Enhancement",
    "EnlargingFactors", "Exhibits", "FER", "Flips", "Gaussian", "Generic", "GridForecast", "GridState",
    "ImageAUC", "Inpainting", "Iterative", "JACCARD", "KnownDeblurring", "Labelling", "Lazily", "LongRun",
    "MARGINAL_LOSS", "MRI", "Mean", "MeanIoU", "MeanRatio", "Measurement", "Method", "Metric", "Microscopy",
    "Mixtures", "NLL", "NMSE", "Nodules", "Noise", "NoiseLevels", "OnImage", "PICTURES", "PSNR",
    "PaddedWavelet", "Pairs", "Panels", "Pansharpening", "Peaks", "Permutations", "Photographs", "Pictures",
    "Poisson", "Product", "PseudoLikelihood", "Published2017", "Published2019", "Rain", "Ratio", "Recorded",
    "Recovery", "Refinement", "RootMeanSquare", "Rotations", "RowsMeasurement", "RowsOfData", "SER",
    "SI_SDR_IMPROVEMENT", "SampledMeasurement", "Samples", "Segmentation", "Sensitivity", "Separation",
    "SequenceDetection", "Sharp", "Shift", "Shifts", "Shown", "Sound", "SparseTask", "Spikes", "Stabiliser",
    "SuperResolution", "Task", "Thorax", "ThreeRuns", "TimeSeries", "Tomography", "Tracking",
    "Transformations", "Turns", "VaryingDictionary", "Voice", "algorithm", "aligned", "as_other_sensors",
    "as_real", "attribution", "bch_generator", "bch_parity_check", "best_order", "best_shift",
    "binary_pictures", "block_decode", "block_decoder", "block_dictionary", "border_band", "cartesian_mask",
    "case14", "check_acceleration", "check_labels", "check_law", "check_pixel_labels", "check_rate",
    "check_snr", "check_spread", "circles", "coarse_scores", "coefficients_of", "coherence",
    "coherent_dictionary", "coloured", "colours", "components", "compress", "concatenate",
    "conditioned_dictionary", "confusion", "contrast_movies", "converged", "converged_codes", "cosines",
    "count", "coupling", "ct_by_part", "curve", "deblockers", "deblurrers", "denoisers",
    "denoising_measurement", "detectors", "disc", "dncnn_on", "draw_ellipses", "draw_emitters", "draw_noise",
    "draw_streaks", "draw_voice", "drawn", "drawn_dictionary", "drawn_mask", "drawn_shapes", "enlargers",
    "equispaced_mask", "ergas", "estimates_of", "evaluate", "examine", "exponential_correlation", "featured",
    "few_drawn", "find_folders", "find_task", "first", "first_words", "fitted_psnr", "fixed_channel",
    "focal", "folder", "found_at", "free_mean", "further_scores", "gaussian_dictionary", "generated",
    "generated_profiles", "grid_from_pandapower", "grid_of", "hard_thresholding", "head", "head_width",
    "heat", "hits", "iid_channels", "image_measurement", "improvement_pieces", "in_a_room", "is_algorithm",
    "is_scene", "jaccard", "kernel_error", "kernel_loss", "kronecker_channels", "labels", "lasso", "layers",
    "learn_dictionary", "least_squares", "level_denoisers", "light_words", "limits", "linear_convergence",
    "linear_motion", "loaded", "loaded_voltages", "luma", "magnitude_errors", "mask_kind", "matches",
    "measured", "message_passing", "mixed", "modules", "morphologies", "moved", "moved_formants",
    "nmse_pieces", "no_false_positives", "noise_levels", "noise_of", "noise_variance", "orthonormal_rows",
    "other_speaker", "overcomplete_parity_check", "parent_among", "parity_check", "patch_frame", "peaks",
    "pesq", "photograph", "picture_pieces", "pieces_of", "pixel_loss", "pixel_mask", "poisson_disc_mask",
    "precision", "predicted", "progressive_edge_growth", "projection", "pursuit_counts", "radial_mask",
    "rain_admm", "random_ellipses", "random_head", "read", "read_channels", "read_ct", "read_dictionary",
    "read_mask", "read_noises", "read_pairs", "read_scene", "read_signal", "read_slices", "read_speakers",
    "read_taps", "recall", "receive_coils", "record", "reduced_parity_check", "regressed_snr",
    "relative_errors", "richardson_lucy", "rotate", "rotation", "running_median", "sample_of",
    "scattered_mask", "scene_by_part", "scikit_learn", "scoring_unet", "sdr", "select", "sequence_detectors",
    "shake", "shepp_logan", "shift_errors", "short_cycles", "si_sdr", "similarity", "simulated_movies",
    "simulated_thorax", "slices_by_part", "smooth", "sounds", "spams", "speak", "speaker_of",
    "spectral_angle", "split", "split_speakers", "squared_errors", "squared_voltages", "srcnn_on",
    "stabiliser_of", "stoi", "streak", "stretch", "stroke_mask", "support", "svd_filter", "timing_crops",
    "toeplitz_channel", "told_model", "true_model", "unet_on", "unit_level", "unit_of_mismatch",
    "universal_quality", "unknown", "vanishing_thresholds", "variation_denoiser", "varied", "video_luma",
    "warn", "width_of", "wiener_filter", "with_phase",
]
# fmt: on
# End of what is written.
