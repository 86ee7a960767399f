"""Formats: what is read and written, nothing learned."""
