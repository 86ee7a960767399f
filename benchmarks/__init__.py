"""Measurements behind the published numbers; `make bench` runs them all."""
