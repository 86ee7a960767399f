"""Linear operators with adjoints."""

from unrolling.operators.linear import LinearOperator, Matrix

__all__ = ["LinearOperator", "Matrix"]
