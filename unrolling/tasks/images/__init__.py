"""Photographs: restoration, enlargement, deblurring."""
