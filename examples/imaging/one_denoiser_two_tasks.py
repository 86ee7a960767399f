r"""
One denoiser, two tasks
=======================

A primal-dual method needs the operator of a problem and the prox of an image. Meinhardt et al. 2017 let a denoiser
stand for the prox: then only the operator changes with the task. Here the denoiser is the one that ships for noise of
any level, told a level of 0.02; it sharpens a photograph whose motion is known, and finds the colours behind a sensor's
mosaic, neither of which it was trained for. Beside it the same method with the prox of total variation.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data as pictures

from unrolling import pretrained, solve
from unrolling.algorithms import Blurred, DenoisedPrimalDual, KnownBlur, LeastSquares, NoisyImage
from unrolling.operators import BayerInterpolation, BayerMosaic, FiniteDifferences
from unrolling.prox import AnalysisProx, DenoiserProx, OpponentProx
from unrolling.tasks import linear_motion, photograph

learned = DenoiserProx(pretrained("imaging/denoise"), told=NoisyImage)
variation = AnalysisProx(FiniteDifferences(), 8.0, iterations=10)


def psnr(picture, clean):
    return float(-10 * (picture.clamp(0, 1) - clean).square().mean().log10())


def run(term, prox, data, iterations, **options):
    step = DenoisedPrimalDual(term, prox, **options)
    with torch.no_grad():
        return solve(step, data, tolerance=0.0, max_iterations=iterations).estimate


# %%
# Motion of nine pixels, and noise of 1 %. The weights of total variation are the best of those tried.
sharp = photograph("camera")[None, 60:140, 160:240]
kernel = linear_motion(9.0, 0.5, 11).unsqueeze(0)
noise = 0.01 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0))
blurred = Blurred(KnownBlur().image(sharp, Blurred(sharp, kernel)) + noise, kernel)
smooth = [run(KnownBlur(), variation, blurred, 150, weight=w, primal_step=5.0) for w in (0.0006, 0.0012, 0.0024)]
deblurred = {
    "blurred": blurred.image,
    "total variation": max(smooth, key=lambda picture: psnr(picture, sharp)),
    "denoiser": run(KnownBlur(), learned, blurred, 30, weight=4e-4, fidelity=4.0),
}

# %%
# A sensor that sees one colour at each pixel, from bilinear interpolation on.
colours = torch.from_numpy(pictures.astronaut()[20:100, 180:260] / 255.0).float().movedim(-1, 0).unsqueeze(0)
mosaic, interpolated = BayerMosaic(), BayerInterpolation()
term, seen = LeastSquares(mosaic, initial=interpolated), mosaic(colours)
smooth = [run(term, OpponentProx(variation, chroma=4.0), seen, 60, weight=w) for w in (0.001, 0.003, 0.01)]
coloured = {
    "bilinear": interpolated(seen),
    "total variation": max(smooth, key=lambda picture: psnr(picture, colours)),
    "denoiser": run(term, OpponentProx(learned), seen, 12, weight=4e-4, fidelity=25.0),
}

figure, axes = plt.subplots(2, 3, figsize=(8, 5.6), layout="constrained")
for line, found, clean in zip(axes, (deblurred, coloured), (sharp, colours), strict=True):
    print(", ".join(f"{name} {psnr(picture, clean):.2f} dB" for name, picture in found.items()))
    for axis, (name, picture) in zip(line, found.items(), strict=True):
        shown = picture[0].clamp(0, 1)
        axis.imshow(shown if shown.ndim == 2 else shown.movedim(0, -1), vmin=0, vmax=1, cmap="gray")
        axis.set_title(f"{name}, {psnr(picture, clean):.1f} dB", fontsize=9)
        axis.set_axis_off()
plt.show()
