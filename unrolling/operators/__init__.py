"""Linear operators with adjoints."""

from unrolling.operators.linear import LinearOperator, Matrix
from unrolling.operators.patches import BlockSensing, PatchDictionary, dct_atoms

__all__ = ["BlockSensing", "LinearOperator", "Matrix", "PatchDictionary", "dct_atoms"]
