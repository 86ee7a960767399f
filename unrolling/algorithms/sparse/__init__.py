"""Sparse coding: proximal, pursuit and hard-thresholding iterations."""
