r"""
Scores that find the borders of a picture
=========================================

Networks that say what each pixel belongs to give coarse scores, at every eighth pixel here. A fully connected random
field lets pixels that are near and of like colour agree; mean field is its inference (Kraehenbuehl and Koltun 2011),
and CRF-RNN runs a few of its steps as layers, with weights that are learned (Zheng et al. 2015). Scores may be
anybody's, of any number of classes.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, solve, unroll
from unrolling.algorithms import CRFPotentials, DenseCRF, ExactFilter, GridFilter, WindowFilter
from unrolling.tasks import Refinement

# %%
# Pictures of discs, squares and triangles, with simulated scores of four classes.
task = Refinement(48, held_out=32)
data, labels = task.test[0]
print(data.scores.shape, data.picture.shape, labels.shape)

# %%
# The two weights of the field, of position and of position with colour, have a value for each of five steps. Before
# training the network is five steps of the algorithm, to the bit.
field = DenseCRF(task.potentials())
network = unroll(field, 5, untied=("spatial_weight", "bilateral_weight"))
assert torch.equal(network(data), solve(field, data, tolerance=0, max_iterations=5).estimate)
ways = {"scores": torch.log_softmax(data.scores, 1), "mean field, fixed weights": network(data).detach()}
fit(network, task, [Stage(30, rate=1e-1, batch=4)], validations=0, quiet=True)
ways["trained through five steps"] = network(data).detach()
for row in network.parameter_table():
    print(row.key, f"{float(row.value.detach()):.2f}")
for name, found in ways.items():
    print(f"{name:28}", {what: round(value, 3) for what, value in task.more([found], task.test[:1]).items()})

# %%
# Three back ends have one operator: a matrix of all pairs of pixels, a window around each, and a grid in space and
# colour, which is approximate and takes wide kernels.
exact, window, grid = ExactFilter(4.0, 0.2), WindowFilter(4.0, 0.2, radius=12), GridFilter(4.0, 0.2)
chances = ways["scores"].exp()
wanted = exact.apply(exact.prepare(data.picture), chances)
for way in (window, grid):
    off = way.apply(way.prepare(data.picture), chances) - wanted
    print(type(way).__name__, f"is off by {float(off.norm() / wanted.norm()):.1e}")
print(CRFPotentials(back_end="grid", position_width=20.0).bilateral.sizes(data.picture), "cells of a grid")

# %%
_, axes = plt.subplots(1, 5, figsize=(12, 2.8), layout="constrained")
shown = {"picture": data.picture[0].movedim(0, -1), "true": labels[0]}
shown |= {name: found[0].argmax(0) for name, found in ways.items()}
for axis, (name, values) in zip(axes, shown.items(), strict=True):
    axis.imshow(values, vmin=0, vmax=3 if values.ndim == 2 else None, cmap="viridis")
    axis.set_title(name, fontsize=10)
    axis.axis("off")
plt.show()
