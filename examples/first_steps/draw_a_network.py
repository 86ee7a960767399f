"""
Draw a network
==============

What does a network hold, what of it is learned, and do its layers share it? A drawing says so: each block with its
names, letters and sizes, what all layers share (blue), what each has for itself (orange), what is fixed (dashed). It is
an SVG of a few kilobytes, needs no other package and fits a telephone. The networks here are LISTA, one layer for each
step of (4) in the survey, ADMM-CSNet of its section III, and an unrolled network inside another one.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from unrolling import Equilibrium, pretrained, unroll
from unrolling.algorithms import GramISTA
from unrolling.core import draw
from unrolling.tasks import Recovery

# %%
# LISTA with one pair of matrices for all its layers and thresholds for each. Of sixteen layers the first two and the
# last are drawn. With data, the sizes of what flows are drawn too.
task = Recovery()
y, x = task.test[0]
ista = GramISTA(task.dictionary, weight=0.1)
lista = unroll(ista, 16, tied=("inhibition", "encoder"), untied="threshold")
lista.draw(y, title="LISTA")

# %%
# The same step run to its fixed point goes round.
Equilibrium(ista, learned="threshold").draw(y)

# %%
# ADMM-CSNet recovers pictures from a fifth of k-space: filters, their adjoints, piecewise linear shrinkage and two
# numbers for each filter, in each layer.
csnet = pretrained("medical/admm_csnet")
csnet.draw(title="ADMM-CSNet")


# %%
# Of a module of your own the parts are drawn, in the order in which they are called.
class Gained(nn.Module):
    def __init__(self):
        super().__init__()
        self.solver = unroll(ista, 4, untied="threshold")
        self.gain = nn.Sequential(nn.Linear(250, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, y):
        return self.solver(y * torch.exp(self.gain(y)))


draw(Gained(), y)

# %%
# Where the learned numbers lie: what all layers share, and what each has for itself. HyperLISTA learns three numbers.
networks = {"LISTA": lista, "ADMM-CSNet": csnet}
names = {"ALISTA": "sparse_coding/alista", "HyperLISTA": "sparse_coding/hyperlista", "TNRD": "imaging/tnrd"}
networks |= {name: pretrained(system) for name, system in names.items()}
counts = {}
for name, network in networks.items():
    located = network.located_learned()
    own = sum(p.numel() for _, layer, p in located if layer is not None)
    counts[name] = sum(p.numel() for _, _, p in located) - own, own
    print(f"{name}: {counts[name][0]:,} learned numbers shared by all layers, {own:,} of single layers")

_, axes = plt.subplots(layout="constrained")
place = torch.arange(len(counts)) * 1.0
axes.barh(place - 0.2, [shared for shared, _ in counts.values()], 0.38, label="shared by all layers")
axes.barh(place + 0.2, [own for _, own in counts.values()], 0.38, label="of single layers")
axes.set(xscale="log", xlabel="learned numbers", yticks=place, yticklabels=list(counts))
axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.14), ncols=2)
plt.show()
