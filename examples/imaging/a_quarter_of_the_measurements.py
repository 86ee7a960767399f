"""
A quarter of the measurements
=============================

A camera that measures random mixtures of the pixels of each block, fewer than there are pixels. One network recovers
photographs at any rate from 1 to 50 %, with any matrix: it is plug-and-play ADMM with the shipped denoiser, trained
through its ten steps. The same denoiser as it is, in thirty steps of ADMM, is what it is compared with.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import ADMM, BlockProjections, BlockSamples, NoisyImage, RatedSplitting, measure_blocks
from unrolling.operators import Identity, projections
from unrolling.prox import DenoiserProx
from unrolling.tasks import photograph

# %%
# The data
# --------
# Every block of 33 x 33 pixels is multiplied by the same matrix, whose rows are orthonormal. The matrix is data: the
# networks were trained with others.

scene = photograph("camera")[66:198, 165:330].unsqueeze(0)


def measured(rate: float) -> BlockSamples:
    matrix = projections(m=round(rate * 33**2), pixels=33**2, seed=7).unsqueeze(0)
    return BlockSamples(measure_blocks(scene, matrix), matrix)


# %%
# Three ways back
# ---------------
# The best linear estimate for smooth pictures; the denoiser of ``imaging/denoise`` in the place of ADMM's prox, told
# noise of 3 % of white in every step; and the network, which learned what to tell it, and how long steps are.

term = BlockProjections()
prox = DenoiserProx(pretrained("imaging/denoise"), told=NoisyImage, most=75 / 255)
plug_and_play = ADMM(term, [RatedSplitting(Identity(), prox, 0.1 * 0.03**2, penalty=0.1)], start="data")
network = pretrained("imaging/compressive")

methods = {
    "linear": lambda data: term.start(term(data)),
    "plug-and-play": lambda data: solve(plug_and_play, data, tolerance=0, max_iterations=30).estimate,
    "network": network,
}
rates = (0.04, 0.1, 0.25)
with torch.no_grad():
    found = {name: [method(measured(rate)).clamp(0, 1) for rate in rates] for name, method in methods.items()}


def psnr(picture: torch.Tensor) -> float:
    return float(-10 * (picture - scene).square().mean().log10())


for name, pictures in found.items():
    print(f"{name:14s}", *(f"{rate:4.0%} {psnr(p):5.2f} dB" for rate, p in zip(rates, pictures, strict=True)))

# %%
# The pictures
# ------------

figure, axes = plt.subplots(len(rates), 4, figsize=(9, 6), layout="constrained")
for row, rate in zip(range(len(rates)), rates, strict=True):
    shown = {"photograph": scene} | {name: pictures[row] for name, pictures in found.items()}
    for axis, (name, picture) in zip(axes[row], shown.items(), strict=True):
        axis.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(name if name == "photograph" else f"{name}, {rate:.0%}: {psnr(picture):.1f} dB", fontsize=9)
        axis.axis("off")
plt.show()
