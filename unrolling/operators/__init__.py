"""Linear operators with adjoints."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.operators.adapters import from_pylops, from_scipy, from_sigpy, to_pylops, to_scipy, to_sigpy
    from unrolling.operators.attenuation import (
        from_counts,
        from_hounsfield,
        photon_counts,
        to_hounsfield,
        with_gaussian_noise,
    )
    from unrolling.operators.bayer import BayerInterpolation, BayerMosaic, bayer_mask
    from unrolling.operators.blocks import CodedDiffraction, Isometry, PerBlockSensing, ScrambledHadamard, hadamard
    from unrolling.operators.borders import check_boundary, extend, fold, join
    from unrolling.operators.coil_maps import (
        calibration_region,
        estimate_maps,
        noise_covariance,
        prewhiten,
        root_sum_of_squares,
    )
    from unrolling.operators.convolution import CircularConvolution, ValidConvolution, convolve_valid
    from unrolling.operators.dct import DCT, cut_blocks, dct2, dct_matrix, idct, idct2, join_blocks
    from unrolling.operators.deepinv_adapters import from_deepinv, to_deepinv
    from unrolling.operators.differences import DirectionalDifferences, FiniteDifferences
    from unrolling.operators.filters import (
        BasisFilters,
        CircularFilterBank,
        FilterBank,
        correlate,
        correlate_adjoint,
        margins,
        zero_mean_atoms,
    )
    from unrolling.operators.fourier import (
        CentredFourier,
        CoilData,
        KSpace,
        MaskedFourier,
        MultiCoilFourier,
        check_mask,
        check_origins,
        from_corner,
        normalise_maps,
        to_corner,
    )
    from unrolling.operators.functions import from_functions
    from unrolling.operators.geometry import FanBeam, ParallelBeam, Rays, bin_positions
    from unrolling.operators.groups import Groups, gather_groups, groups_of, match_patches, scatter_groups
    from unrolling.operators.half_spectrum import needs_gradient
    from unrolling.operators.layers import (
        LayerConvolution,
        convolution_norm,
        convolved,
        correlated,
        symbol_bound,
        weight_norm,
    )
    from unrolling.operators.linear import (
        Adjoint,
        Composition,
        LinearOperator,
        Matrix,
        RowMatrix,
        Scaled,
        Sum,
        joined,
        learnable,
    )
    from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer, gaussian_taps, ratio_of
    from unrolling.operators.normal_equations import conjugate_gradients, solve_positive, solve_regularised
    from unrolling.operators.norms import spectral_norm
    from unrolling.operators.patches import BlockSensing, PatchDictionary, dct_atoms, projections
    from unrolling.operators.point_spread import PointSpread, spread_matrix
    from unrolling.operators.radial import (
        Radial,
        RadialConvolution,
        gaussian_profile,
        radial_profile,
        radial_size,
        radii,
        radius_index,
    )
    from unrolling.operators.radon import FilteredBackProjection, Radon, angle_weights
    from unrolling.operators.resize import BicubicReduction, Decimation, bicubic_matrix, check_multiple, cubic
    from unrolling.operators.sparse import Rows, SparseMatrix
    from unrolling.operators.spectral import (
        Circulant,
        Identity,
        check_kernel,
        convolve,
        divide,
        fast_size,
        has_spectrum,
        per_image,
        transfer,
        wrap,
    )
    from unrolling.operators.stft import STFT, RealOutputs, masked, sqrt_hann, with_phase
    from unrolling.operators.strided import StridedDictionary, from_cells, to_cells
    from unrolling.operators.transforms import fft2, ifft2, irfft, rfft
    from unrolling.operators.volumes import VolumeConvolution, correlate_volumes
    from unrolling.operators.wavelets import Wavelet

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".adapters": ("from_pylops from_scipy from_sigpy to_pylops to_scipy to_sigpy"),
        ".attenuation": ("from_counts from_hounsfield photon_counts to_hounsfield with_gaussian_noise"),
        ".bayer": ("BayerInterpolation BayerMosaic bayer_mask"),
        ".blocks": ("CodedDiffraction Isometry PerBlockSensing ScrambledHadamard hadamard"),
        ".borders": ("check_boundary extend fold join"),
        ".coil_maps": ("calibration_region estimate_maps noise_covariance prewhiten root_sum_of_squares"),
        ".convolution": ("CircularConvolution ValidConvolution convolve_valid"),
        ".dct": ("DCT cut_blocks dct2 dct_matrix idct idct2 join_blocks"),
        ".deepinv_adapters": ("from_deepinv to_deepinv"),
        ".differences": ("DirectionalDifferences FiniteDifferences"),
        ".filters": ("BasisFilters CircularFilterBank FilterBank correlate correlate_adjoint margins zero_mean_atoms"),
        ".fourier": (
            "CentredFourier CoilData KSpace MaskedFourier MultiCoilFourier check_mask check_origins from_corner "
            "normalise_maps to_corner"
        ),
        ".functions": ("from_functions"),
        ".geometry": ("FanBeam ParallelBeam Rays bin_positions"),
        ".groups": ("Groups gather_groups groups_of match_patches scatter_groups"),
        ".half_spectrum": ("needs_gradient"),
        ".layers": ("LayerConvolution convolution_norm convolved correlated symbol_bound weight_norm"),
        ".linear": ("Adjoint Composition LinearOperator Matrix RowMatrix Scaled Sum joined learnable"),
        ".modulation_transfer": ("Imagery ModulationTransfer gaussian_taps ratio_of"),
        ".normal_equations": ("conjugate_gradients solve_positive solve_regularised"),
        ".norms": ("spectral_norm"),
        ".patches": ("BlockSensing PatchDictionary dct_atoms projections"),
        ".point_spread": ("PointSpread spread_matrix"),
        ".radial": ("Radial RadialConvolution gaussian_profile radial_profile radial_size radii radius_index"),
        ".radon": ("FilteredBackProjection Radon angle_weights"),
        ".resize": ("BicubicReduction Decimation bicubic_matrix check_multiple cubic"),
        ".sparse": ("Rows SparseMatrix"),
        ".spectral": ("Circulant Identity check_kernel convolve divide fast_size has_spectrum per_image transfer wrap"),
        ".stft": ("RealOutputs STFT masked sqrt_hann with_phase"),
        ".strided": ("StridedDictionary from_cells to_cells"),
        ".transforms": ("fft2 ifft2 irfft rfft"),
        ".volumes": ("VolumeConvolution correlate_volumes"),
        ".wavelets": ("Wavelet"),
    },
)
# fmt: off
__all__ = [
    "Adjoint", "BasisFilters", "BayerInterpolation", "BayerMosaic", "BicubicReduction", "BlockSensing",
    "CentredFourier", "Circulant", "CircularConvolution", "CircularFilterBank", "CodedDiffraction",
    "CoilData", "Composition", "DCT", "Decimation", "DirectionalDifferences", "FanBeam", "FilterBank",
    "FilteredBackProjection", "FiniteDifferences", "Groups", "Identity", "Imagery", "Isometry", "KSpace",
    "LayerConvolution", "LinearOperator", "MaskedFourier", "Matrix", "ModulationTransfer",
    "MultiCoilFourier", "ParallelBeam", "PatchDictionary", "PerBlockSensing", "PointSpread", "Radial",
    "RadialConvolution", "Radon", "Rays", "RealOutputs", "RowMatrix", "Rows", "STFT", "Scaled",
    "ScrambledHadamard", "SparseMatrix", "StridedDictionary", "Sum", "ValidConvolution", "VolumeConvolution",
    "Wavelet", "angle_weights", "bayer_mask", "bicubic_matrix", "bin_positions", "calibration_region",
    "check_boundary", "check_kernel", "check_mask", "check_multiple", "check_origins", "conjugate_gradients",
    "convolution_norm", "convolve", "convolve_valid", "convolved", "correlate", "correlate_adjoint",
    "correlate_volumes", "correlated", "cubic", "cut_blocks", "dct2", "dct_atoms", "dct_matrix", "divide",
    "estimate_maps", "extend", "fast_size", "fft2", "fold", "from_cells", "from_corner", "from_counts",
    "from_deepinv", "from_functions", "from_hounsfield", "from_pylops", "from_scipy", "from_sigpy",
    "gather_groups", "gaussian_profile", "gaussian_taps", "groups_of", "hadamard", "has_spectrum", "idct",
    "idct2", "ifft2", "irfft", "join", "join_blocks", "joined", "learnable", "margins", "masked",
    "match_patches", "needs_gradient", "noise_covariance", "normalise_maps", "per_image", "photon_counts",
    "prewhiten", "projections", "radial_profile", "radial_size", "radii", "radius_index", "ratio_of", "rfft",
    "root_sum_of_squares", "scatter_groups", "solve_positive", "solve_regularised", "spectral_norm",
    "spread_matrix", "sqrt_hann", "symbol_bound", "to_cells", "to_corner", "to_deepinv", "to_hounsfield",
    "to_pylops", "to_scipy", "to_sigpy", "transfer", "weight_norm", "with_gaussian_noise", "with_phase",
    "wrap", "zero_mean_atoms",
]
# fmt: on
# End of what is written.
