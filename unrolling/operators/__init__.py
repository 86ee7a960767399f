"""Linear operators with adjoints."""

from unrolling.operators.blocks import CodedDiffraction, PerBlockSensing, ScrambledHadamard
from unrolling.operators.convolution import CircularConvolution, ValidConvolution
from unrolling.operators.dct import DCT
from unrolling.operators.differences import FiniteDifferences
from unrolling.operators.filters import CircularFilterBank, FilterBank
from unrolling.operators.fourier import KSpace, MaskedFourier, MultiCoilFourier
from unrolling.operators.linear import LinearOperator, Matrix
from unrolling.operators.patches import BlockSensing, PatchDictionary, dct_atoms
from unrolling.operators.resize import BicubicReduction, Decimation
from unrolling.operators.spectral import Circulant, Identity

__all__ = [
    "DCT",
    "BicubicReduction",
    "BlockSensing",
    "Circulant",
    "CircularConvolution",
    "CircularFilterBank",
    "CodedDiffraction",
    "Decimation",
    "FilterBank",
    "FiniteDifferences",
    "Identity",
    "KSpace",
    "LinearOperator",
    "MaskedFourier",
    "Matrix",
    "MultiCoilFourier",
    "PatchDictionary",
    "PerBlockSensing",
    "ScrambledHadamard",
    "ValidConvolution",
    "dct_atoms",
]
