"""Magnetic resonance and compressive imaging."""
