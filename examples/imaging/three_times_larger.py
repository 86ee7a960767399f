r"""
Three times larger
==================

A ninth of the pixels is left of a photograph. TNRD for super-resolution (survey, section V-C) starts from the bicubic
enlargement and goes five steps of diffusion, each drawn back to the small picture: the enlarged one, made smaller
again, should give what was there. Beside it interpolation, and total variation with the same data term.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import FISTA, LeastSquares, ProximalGradient
from unrolling.operators import BicubicReduction, FiniteDifferences
from unrolling.prox import AnalysisProx
from unrolling.tasks import photograph

# %%
# The small picture is rounded to 8 bits. The photograph was not trained on.
clean = photograph("astronaut")[:255, 100:355].unsqueeze(0)
reduction = BicubicReduction(3)
small = (reduction(clean).clamp(0, 1) * 255).round() / 255

# %%
# Total variation by FISTA, its weight the best of three on another photograph, and the network.
step = 0.95 / reduction.norm(1e-3, shape=(72, 72)) ** 2
prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=10)
parent = FISTA(ProximalGradient(LeastSquares(reduction), prox, 0.001, step_size=step))
variation = solve(parent, small, tolerance=1e-4, max_iterations=100).estimate
with torch.no_grad():
    learned = pretrained("imaging/tnrd_sr")(small)


# %%
# Scores leave a border of three pixels out. Printed beside each: how near the picture, made smaller again, comes to the
# one that was given: the network nearly as near as the photograph itself, which differs by the rounding; interpolation
# does not look back. Neither invents what is lost: the hair stays smooth.
def psnr(picture, target, border=3):
    inner = slice(border, -border)
    difference = picture.clamp(0, 1)[:, inner, inner] - target[:, inner, inner]
    return -10 * torch.log10(difference.square().mean()).item()


results = {
    "bicubic": reduction.enlarge(small),
    "total variation": variation,
    "TNRD, 5 steps": learned,
    "the photograph": clean,
}
figure, axes = plt.subplots(2, 2, figsize=(6, 6.6), layout="constrained")
for axis, (name, picture) in zip(axes.flat, results.items(), strict=True):
    score, again = psnr(picture, clean), psnr(reduction(picture), small, 1)
    print(f"{name:16}{score:6.2f} dB; made smaller again {again:.2f} dB")
    axis.imshow(picture[0, 40:140, 75:175].numpy(), vmin=0, vmax=1)
    axis.set_title(name if picture is clean else f"{name}\n{score:.2f} dB")
    axis.set_axis_off()
inset = axes[1, 1].inset_axes((0.65, 0.65, 1 / 3, 1 / 3))
inset.imshow(small[0, 13:47, 25:59].numpy(), vmin=0, vmax=1)
inset.set(xticks=[], yticks=[])
plt.show()
