"""Sparse coding and sparse recovery."""
