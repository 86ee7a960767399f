"""Denoisers of other libraries, of one picture in NumPy: (height, width) or (height, width, colours), values from 0 to
1, told the standard deviation of the noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolling._extras import extra


def _axis(image: np.ndarray) -> dict[str, Any]:
    return {"channel_axis": -1 if image.ndim == 3 else None}


def variation(image: np.ndarray, weight: float) -> np.ndarray:
    """Total variation, to convergence: scikit-image stops earlier by default."""
    with extra("total variation"):
        from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(image, weight=weight, eps=1e-5, max_num_iter=200, **_axis(image))


def non_local_means(image: np.ndarray, sigma: float, factor: float) -> np.ndarray:
    """Patches of 5 x 5, distances up to 6, h a factor of sigma."""
    with extra("non-local means"):
        from skimage.restoration import denoise_nl_means

    options: dict[str, Any] = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, **_axis(image)}
    return denoise_nl_means(image, h=factor * sigma, sigma=sigma, **options)


def wavelets(image: np.ndarray, sigma: float, mode: str) -> np.ndarray:
    """BayesShrink, with soft or hard thresholds."""
    with extra("wavelet shrinkage"):
        from skimage.restoration import denoise_wavelet

    options: dict[str, Any] = {"convert2ycbcr": image.ndim == 3, "rescale_sigma": True, **_axis(image)}
    return denoise_wavelet(image, sigma=sigma, mode=mode, method="BayesShrink", **options)


def block_matching(image: np.ndarray, sigma: float) -> np.ndarray:
    """BM3D, for colours CBM3D."""
    import bm3d  # pyright: ignore[reportMissingImports]

    return np.asarray(bm3d.bm3d_rgb(image, sigma) if image.ndim == 3 else bm3d.bm3d(image, sigma))
