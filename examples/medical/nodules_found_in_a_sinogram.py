r"""
Nodules, found in a sinogram
============================

What an image is good for decides how it should be reconstructed. Here it is to show nodules in the lungs, from thirty
projections of a simulated thorax: five steps of Learned Primal-Dual, :math:`h \leftarrow h + \Gamma_i([h, A f, y])`,
:math:`f \leftarrow f + \Lambda_i([f, A^T h])`, end in an image, a small network gives each of its pixels a score, and
both were trained together (Wu et al. 2018; survey, Table I). Slices and nodules are simulated, and nothing is said
about patients.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import Blobs
from unrolling.tasks import Nodules
from unrolling.tasks.medical import circles, found_at

# %%
# Fifty slices that nobody trained on, half of them with one to three nodules, and their sinograms with 3 % of noise.
task, network = Nodules(held_out=50), pretrained("medical/nodules")
samples = task.test[0]
nodules = samples.target.nodules
print(f"{int((nodules[..., 2] > 0).sum())} simulated nodules in {len(nodules)} slices")

# %%
# The rival without learning reconstructs by total variation and looks for spots that are brighter than what surrounds
# them on all sides, and are themselves in the dark. A vessel that is cut across looks like a nodule, and so does noise.
with torch.no_grad():
    ours = network(samples.data)
variation = solve(task.total_variation(0.06), samples.data, max_iterations=60, tolerance=0.0).estimate
spots = Blobs(1.3, brightest=0.3)
theirs = torch.stack([variation, spots(variation)], 1)
filtered = task.fbp(samples.data)
methods = {
    "filtered back-projection, spots": torch.stack([filtered, spots(filtered)], 1),
    "total variation, spots": theirs,
    "trained together": ours,
}

# %%
# All are asked for as many findings as let one false one per slice pass.
figure, axes = plt.subplots(3, 4, figsize=(8, 6.4), layout="constrained")
shown = torch.nonzero((nodules[..., 2] > 0).sum(1) > 1).flatten()[:3].tolist()
for row, number in zip(axes, shown, strict=True):
    pictures = {"the slice, its nodules": (samples.target.image[number], nodules[number])}
    for name, estimate in methods.items():
        pieces = task.pieces(estimate, samples)
        threshold = float(task.metric.threshold(pieces))
        pictures[name] = (estimate[number, 0], found_at(estimate[number, 1], threshold))
    for axis, (name, (image, marks)) in zip(row, pictures.items(), strict=True):
        ring = circles(marks, (128, 128)).float()
        axis.imshow(image.clamp(0, 0.8), cmap="gray", vmin=0, vmax=0.8)
        axis.imshow(torch.ones(128, 128), cmap="autumn", vmin=0, vmax=1.2, alpha=ring)
        axis.set_axis_off()
        if number == shown[0]:
            axis.set_title(name, fontsize=8)
for name, estimate in methods.items():
    found = task.metric.value(task.pieces(estimate, samples))
    more = task.more([estimate], [samples])
    print(f"{name:32s} {found:.0%} found at one false positive per slice, {more['PSNR in dB']:.1f} dB")
plt.show()
