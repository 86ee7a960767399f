r"""
Blood behind tissue
===================

A movie of contrast ultrasound (simulated): microbubbles flow through small vessels, behind tissue that echoes too and
hardly moves. Robust principal component analysis takes the movie apart, into tissue of low rank and blood that is
sparse; a filter takes the largest singular values for tissue. Its first steps are what CORONA unrolls: here each of
five layers learns its convolutions and thresholds from a few dozen movies.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, solve
from unrolling.algorithms import FISTA, RobustPCA
from unrolling.systems.catalogue import find
from unrolling.tasks.medical import Clutter, projection, svd_filter

torch.manual_seed(0)
task = Clutter(size=20, frames=12, held=(4, 4))
movie, blood = task.test[0]
print(
    f"{movie.shape[0]} movies of {movie.shape[1]} x {movie.shape[2]} pixels and {movie.shape[3]} frames, {movie.dtype}"
)


def error(estimate, target):
    """In parts of the blood's energy."""
    return float((estimate - target).abs().square().sum() / target.abs().square().sum())


# %%
# The two classical ways, their settings chosen on other movies: how many singular values are tissue, and the weights of
# robust principal component analysis.
other, truth = task.validation[0]
rank = min(range(1, 5), key=lambda r: error(svd_filter(other, r), truth))
weights = [(low, sparse) for low in (4.0, 8.0) for sparse in (0.5, 1.0)]


def robust(data, setting):
    """Twenty-five accelerated steps, after which it hardly improves."""
    return solve(FISTA(RobustPCA(*setting)), data, tolerance=0.0, max_iterations=25).estimate


setting = min(weights, key=lambda w: error(robust(other, w), truth))
found = {f"without {rank} singular value(s)": svd_filter(movie, rank), "robust PCA": robust(movie, setting)}

# %%
# Five layers of CORONA, before training five steps of the same analysis.
system = find("medical/corona")
network = system.network(system.recipes["clutter"], task, 5)
fit(network, task, [Stage(240, rate=6e-3, batch=2, repeat=2, clip=1.0)], quiet=True)
with torch.no_grad():
    found["CORONA, five layers"] = network(movie)
for name, estimate in found.items():
    print(f"{name:30} error {error(estimate, blood):.3f} of the blood's energy")

# %%
# The maximum over time, in decibels: where blood flowed.
figure, axes = plt.subplots(2, 5, figsize=(11, 4.6), layout="constrained")
shown = {"the movie": movie, **found, "the blood in it": blood}
for row, number in zip(axes, (0, 1), strict=True):
    for axis, (name, each) in zip(row, shown.items(), strict=True):
        axis.imshow(projection(each[number : number + 1])[0], vmin=0, vmax=1, cmap="inferno")
        axis.set_axis_off()
        axis.set_title(name, fontsize=8)
plt.show()
