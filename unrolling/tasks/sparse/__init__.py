"""Sparse codes and sparse recovery."""
