r"""
Thirty views
============

A dose of X-rays is spent on views. Of a slice of 128 x 128 pixels, 30 views with 5 % noise are 5,490 numbers for
16,384 unknown ones. Learned Primal-Dual (Adler and Oktem 2018; survey, Table I) is ten steps of the primal-dual hybrid
gradient method whose proxes are small networks; the projections between them are those of the scanner. Its rival is
the same method with total variation, run until it stands still, its weight chosen on other slices.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import PDHG, diagonal_steps
from unrolling.operators import FilteredBackProjection, FiniteDifferences, ParallelBeam, Radon, with_gaussian_noise
from unrolling.prox import Box, IsotropicShrink
from unrolling.tasks.medical import random_ellipses, shepp_logan

network = pretrained("medical/learned_primal_dual")  # trained on random ellipses
geometry = ParallelBeam.even(views=30, size=128)
radon, generator = Radon(geometry), torch.Generator().manual_seed(7)

# %%
# The phantom of Shepp and Logan, and ellipses that the network has not seen.
slices = torch.stack([shepp_logan(128), random_ellipses(128, generator)])
sinograms = with_gaussian_noise(radon(slices), 0.05, generator)

# %%
# Filtered back-projection turns noise and missing views into streaks. Total variation takes both away, and small
# ellipses with them; the network has learned which of them are likely.
differences = FiniteDifferences()
variation = PDHG(
    radon,
    differences,
    IsotropicShrink(),
    weight=1.7,
    image_prox=Box(),
    **diagonal_steps(radon, differences, balance=10.0),
)
with torch.no_grad():
    found = {
        "filtered back-projection": FilteredBackProjection(geometry, "hann")(sinograms),
        "total variation": solve(variation, sinograms, tolerance=1e-4, max_iterations=500).estimate,
        "Learned Primal-Dual": network(sinograms),
    }
    steps = [estimate[0] for estimate in network.estimates(sinograms)]


def psnr(estimate, target):
    return -10 * torch.log10((estimate - target).square().mean()).item()


figure, axes = plt.subplots(3, 4, figsize=(10, 7.6), layout="constrained")
for row, target, name in zip((0, 1), slices, ("phantom", "ellipses"), strict=True):
    for axis, (title, estimates) in zip(axes[row], (*found.items(), ("the slice", slices)), strict=True):
        score = psnr(estimates[row], target)
        axis.imshow(estimates[row].numpy(), vmin=0, vmax=float(target.max()))
        axis.set_title(title if title == "the slice" else f"{title}\n{score:.1f} dB", fontsize=9)
        if title != "the slice":
            print(f"{name:10}{title:26}{score:5.1f} dB")

# %%
# What the network holds after some of its steps; trained was the last alone.
for axis, number in zip(axes[2], (1, 3, 6, 10), strict=True):
    axis.imshow(steps[number - 1].numpy(), vmin=0, vmax=1)
    axis.set_title(f"after step {number}\n{psnr(steps[number - 1], slices[0]):.1f} dB", fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
