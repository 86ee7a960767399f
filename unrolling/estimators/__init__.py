"""Estimators with scikit-learn's interface. Importing this package imports scikit-learn."""

from unrolling.estimators.sparse_encoder import SparseEncoder

__all__ = ["SparseEncoder"]
