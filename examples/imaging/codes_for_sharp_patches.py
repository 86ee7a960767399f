r"""
Codes that mean sharp patches
=============================

A picture of twice the size, from a sparse code of every patch: SCN (survey, Fig. 5). Features of a blurred patch have a
code under one dictionary; under another the same code is the sharp patch. ISTA finds the codes, slowly: the network is
two steps of it, trained here for some seconds from the values of ISTA.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, solve
from unrolling.algorithms import pursued
from unrolling.operators import BicubicReduction
from unrolling.systems import find
from unrolling.tasks import photograph
from unrolling.training import Cosine

# %%
# The small picture is rounded to 8 bits. The photograph was not trained on.
clean = photograph("astronaut")[:160, 140:300].unsqueeze(0)
reduction = BicubicReduction(2)
small = (reduction(clean).clamp(0, 1) * 255).round() / 255

# %%
# The parent with its dictionaries, learned from other photographs: two iterations of ISTA, as many as it takes, and
# orthogonal matching pursuit. All three take the same dictionaries.
system = find("imaging/scn")
task = system.task("super_resolution", crop=48)
network = system.network(system.recipes["super_resolution"], task)
parent = network.parent
with torch.no_grad():
    few, before = (solve(parent, small, tolerance=0, max_iterations=2).estimate, network(small))
    converged = solve(parent, small, tolerance=0, max_iterations=40).estimate
    pursuit = pursued(parent, small, 3)
print("before training the network is two iterations of ISTA:", torch.equal(few, before))

# %%
# Eighty steps of four crops: patches of other photographs teach all matrices at once.
rates = {"features": 3e-4, "decoder": 1e-4, "mean": 3e-5, "overlap": 1e-4, "contrast": 1e-4}
fit(network, task, [Stage(80, rate=1e-3, rates=rates, batch=4, annealing=Cosine(0.02, 0.01), clip=1.0)], quiet=True)
with torch.no_grad():
    learned = network(small)


# %%
# Scores leave a border of four pixels out.
def psnr(picture):
    return -10 * torch.log10((picture.clamp(0, 1) - clean)[:, 4:-4, 4:-4].square().mean()).item()


results = {
    "bicubic": reduction.enlarge(small),
    "ISTA, 2 iterations": few,
    "ISTA, 40 iterations": converged,
    "matching pursuit": pursuit,
    "SCN, 80 training steps": learned,
    "the photograph": clean,
}
figure, axes = plt.subplots(2, 3, figsize=(8, 5.8), layout="constrained")
for axis, (name, picture) in zip(axes.flat, results.items(), strict=True):
    axis.imshow(picture[0, 30:110, 50:130].numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(name if picture is clean else f"{name}\n{psnr(picture):.2f} dB")
    axis.set_axis_off()
    print(f"{name:24}" + ("" if picture is clean else f"{psnr(picture):.2f} dB"))
plt.show()
