"""
LISTA on photographs
====================

A photograph is measured block by block, with a quarter as many random projections as there are pixels, and recovered
by five layers of LISTA (the survey's box "Learned ISTA") whose weights come with the library. The picture was never
trained on. Beside it are the best linear estimate, the classical algorithm run until it converges, and the network
before training: five iterations of that algorithm, started at the linear estimate. The command ``make`` does the same
with training, more methods and more pictures.
"""

import time

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve, unroll
from unrolling.algorithms import FISTA, SynthesisISTA
from unrolling.tasks import Photographs, free_mean, patch_frame

task = Photographs()  # blocks of 16 x 16 pixels, 64 measurements each
picture = task.photographs["test"]["camera"][None, :256, 128:384]
y = task.sensing(picture)
print("pixels", tuple(picture.shape[1:]), "measurements", tuple(y.shape[1:]))

# %%
# The methods. FISTA works on the overlapping patches of the network; its weight, 0.01, is the best one on validation
# photographs.
network = pretrained("sparse_coding/lista")
lasso = FISTA(SynthesisISTA(task.sensing, patch_frame(), free_mean(0.01, 8)), continuation=(40, 0.9))
methods = {
    "linear": task.linear_estimate(),
    "FISTA": lambda y: solve(lasso, y, tolerance=0, max_iterations=200).estimate,
    "before training": unroll(network.parent, len(network)),
    "LISTA": network,
}

# %%
# What each makes of the measurements, and the time it takes.
found, quality = {"original": picture}, {}
for name, method in methods.items():
    with torch.no_grad():
        begin = time.perf_counter()
        found[name] = method(y)
        seconds = time.perf_counter() - begin
    quality[name] = float(-10 * torch.log10((found[name] - picture).square().mean()))
    print(f"{name:15} {quality[name]:.2f} dB, {1000 * seconds:.0f} ms")

# %%
# The whole picture, and a detail of 96 x 96 pixels from each estimate.
figure, axes = plt.subplots(3, 2, figsize=(6, 9.3), layout="constrained")
axes = axes.flatten()
axes[0].imshow(picture[0].numpy(), vmin=0, vmax=1, cmap="gray")
axes[0].add_patch(plt.Rectangle((46, 66), 96, 96, fill=False, color="C1", linewidth=2))
axes[0].set_title("original")
for axis, (name, image) in zip(axes[1:], found.items(), strict=True):
    axis.imshow(image[0, 66:162, 46:142].numpy(), vmin=0, vmax=1, cmap="gray")
    axis.set_title("detail of the original" if name == "original" else f"{name}, {quality[name]:.1f} dB")
for axis in axes:
    axis.axis("off")
plt.show()
