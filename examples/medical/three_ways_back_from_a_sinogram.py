r"""
Three ways back from a sinogram
===============================

Computed tomography measures line integrals: a sinogram of 30 views holds a third of the numbers of a slice of 128 x 128
pixels. Filtered back-projection inverts the transform for views without end; SIRT and total variation fit a slice to
the views that there are. All three use one operator, whose adjoint is its exact transpose.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import solve
from unrolling.algorithms import PDHG, SIRT, diagonal_steps
from unrolling.operators import FilteredBackProjection, FiniteDifferences, ParallelBeam, Radon, with_gaussian_noise
from unrolling.prox import Box, IsotropicShrink
from unrolling.tasks.medical import random_head, shepp_logan

geometry = ParallelBeam.even(views=30, size=128)  # 183 bins of a pixel's width, 180 degrees; FanBeam has a source
radon = Radon(geometry)


def measured(slices, seed):
    return with_gaussian_noise(radon(slices), 0.05, torch.Generator().manual_seed(seed))  # 5 % of the mean of |A x|


phantom = shepp_logan(128).unsqueeze(0)
sinogram = measured(phantom, 0)
x, y = torch.randn(1, 128, 128), torch.randn(1, *geometry.shape)
print(f"<A x, y> = {(radon(x) * y).sum():.4f}, <x, A^T y> = {(x * radon.adjoint(y)).sum():.4f}")
print(f"{radon.memory / 1e6:.0f} MB for the matrix and its transpose")


# %%
# Each method has one setting: the window of the filter, the number of iterations (more bring noise back), the weight of
# total variation. It is chosen on other slices, random heads, never on the phantom.
def back_projection(window, data):
    return FilteredBackProjection(geometry, window)(data)


def sirt(count, data):
    return solve(SIRT(radon), data, max_iterations=count, tolerance=0.0).estimate


def variation(weight, data):
    D = FiniteDifferences()
    parent = PDHG(radon, D, IsotropicShrink(), weight, image_prox=Box(0.0), **diagonal_steps(radon, D, balance=10.0))
    return solve(parent, data, max_iterations=200, tolerance=1e-4).estimate


def psnr(estimate, target):
    return -10 * float((estimate - target).square().mean((1, 2)).log10().mean())


heads = torch.stack([random_head(128, torch.Generator().manual_seed(seed)) for seed in range(4)])
seen = measured(heads, 1)
methods = {
    "filtered back-projection": (back_projection, ("ramp", "shepp-logan", "hann")),
    "SIRT": (sirt, (40, 80, 160)),
    "total variation": (variation, (1.2, 2.5, 5.0)),
}
found = {}
with torch.no_grad():
    for name, (method, settings) in methods.items():
        best = max(settings, key=lambda setting, run=method: psnr(run(setting, seen), heads))
        estimate = method(best, sinogram)
        found[f"{name} ({best})\n{psnr(estimate, phantom):.1f} dB"] = estimate[0]
        print(f"{name:26s}{best!s:12s}{psnr(estimate, phantom):5.1f} dB")

# %%
# The streaks of filtered back-projection are what the missing views would cancel. Total variation knows that slices are
# flat between edges, and finds both; what it cannot find are the three small ellipses at the bottom.
figure, axes = plt.subplots(1, 5, figsize=(15, 3.4), layout="constrained")
axes[0].imshow(sinogram[0].numpy(), aspect="auto")
axes[0].set(title="the sinogram", xlabel="bin", ylabel="view")
for axis, (title, image) in zip(axes[1:], {**found, "the phantom": phantom[0]}.items(), strict=True):
    axis.imshow(image.numpy(), vmin=0, vmax=0.5, cmap="gray")
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
