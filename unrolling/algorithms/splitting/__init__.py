"""Operator splitting: ADMM, half-quadratic splitting, primal-dual and proximal gradient methods."""
