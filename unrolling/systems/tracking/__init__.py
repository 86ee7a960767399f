"""Tracking: states of moving systems from measurements over time."""
