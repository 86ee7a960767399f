"""
Tied, untied, fixed
===================

Each parameter of an iteration is learned once for all layers (tied), once for each layer (untied), or keeps its
classical value (fixed). That is the first decision about any unrolled network, and few learned numbers are what the
survey names as the strength of unrolling. Five choices are trained here in the same way, with as many signals as
one likes and with 100. Where data are plenty, a matrix in each layer is best. Where they are few, matrices have learned
them by heart and are worse than the untrained algorithm, while a step size and a threshold per layer, 16 numbers, lose
nothing.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, unroll
from unrolling.algorithms import ISTA, ThinISTA
from unrolling.losses import LogNMSE
from unrolling.tasks import Pairs, Recovery

task = Recovery(m=40, n=60, probability=0.05, snr=30.0)
few = task.draw(100, torch.Generator().manual_seed(0))
scarce = Pairs(list(zip(*few, strict=True)), list(zip(*task.validation[0], strict=True)))
y, x = task.test[0]

# %%
# ``ISTA`` has one threshold for all entries, ``ThinISTA`` frees the matrix of the gradient step (the encoder) and has a
# threshold for each entry. What is named in neither ``tied`` nor ``untied`` is fixed.
ista, thin = ISTA(task.dictionary, 0.1), ThinISTA(task.dictionary, 0.1)
choices = {
    "all fixed": (ista, {}),
    "step, threshold untied": (ista, {"untied": ("step_size", "threshold")}),
    "thresholds untied": (thin, {"untied": "threshold"}),
    "encoder tied": (thin, {"tied": "encoder", "untied": "threshold"}),
    "encoder untied": (thin, {"untied": ("encoder", "threshold")}),
}


def error(network):
    with torch.no_grad():
        return task.metric.value(task.pieces(network(y), task.test[0]))


# %%
# Eight layers each, trained in the same way.
stage = Stage(300, rate=5e-3, rates={"threshold": 1e-2}, batch=64, loss=LogNMSE())
rows = []
for name, (parent, choice) in choices.items():
    errors = []
    for data in (task, scarce):
        network = unroll(parent, depth=8, **choice)
        if choice:
            fit(network, data, [stage], quiet=True, validations=0)
        errors.append(error(network))
    count = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    rows.append((name, count, *errors))
    print(f"{name:22}{count:7,} learned  {errors[0]:6.1f} dB, from 100 signals {errors[1]:6.1f} dB")

# %%
names, counts, many, scarcely = zip(*rows, strict=True)
_, axes = plt.subplots(figsize=(6, 4.6), layout="constrained")
axes.plot(many, range(len(rows)), "o", markersize=10, label="signals without end")
axes.plot(scarcely, range(len(rows)), "s", markersize=9, mfc="none", label="100 signals")
axes.set_yticks(range(len(rows)), [f"{name}\n{count:,} learned" for name, count in zip(names, counts, strict=True)])
axes.set(xlabel="NMSE in dB after 8 layers (lower is better)", ylim=(len(rows) - 0.5, -0.6))
axes.legend(loc="upper left")
plt.show()
