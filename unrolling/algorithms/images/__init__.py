"""Diffusion and blind deblurring of images."""
