"""Photographs: denoising, compression artefacts, super-resolution, blind deblurring."""
