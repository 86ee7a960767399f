"""
Read what was learned
=====================

Every learned number of an unrolled network has a name in its algorithm and a classical value to be held against. In
ALISTA these are sixteen step sizes and sixteen thresholds. Short steps and long ones take turns, which no classical
choice of one step size does; and the thresholds fall together with the error, as they must if it is to vanish (Chen,
Liu, Wang and Yin 2018; the survey's section on the convergence of LISTA). That is what is meant where unrolled
networks are called interpretable.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, unroll
from unrolling.tasks import Recovery

network = pretrained("sparse_coding/alista")

# %%
# ``parameter_table`` gives each number with its layer and the value in the parent.
for row in network.parameter_table()[:4]:
    print(f"{row.key:22} {row.value.item():.3f}, classical {row.classical.item():.3f}")

learned = {name: [row for row in network.parameter_table() if row.name == name] for name in network.untied}

# %%
# The thresholds beside the errors that they are for: the size of what is wrong in a layer's input, measured on signals
# that the network has not seen.
task = Recovery(held_out=500)
y, x = task.test[0]


@torch.no_grad()
def errors(layers):
    return [float((estimate - x).square().mean().sqrt()) for estimate in layers.estimates(y)]


trained, classical = errors(network), errors(unroll(network.parent, len(network)))
print(f"error after {len(network)} layers {trained[-1]:.1e}, with classical values {classical[-1]:.1e}")

# %%
# A straight line on a logarithmic scale is linear convergence. With its classical values the algorithm stops early: one
# threshold that is right at first is too large later on.
layers = range(1, len(network) + 1)
figure, axes = plt.subplots(3, 1, figsize=(6, 7.5), sharex=True, layout="constrained")
for axis, (name, rows) in zip(axes, learned.items(), strict=False):
    axis.plot(layers, [row.value.item() for row in rows], "o-", label="learned")
    axis.plot(layers, [row.classical.item() for row in rows], "--", label="classical")
    axis.set_ylabel(name.replace("_", " "))
axes[1].set_yscale("log")
axes[2].semilogy(layers, trained, "o-", label="with learned values")
axes[2].semilogy(layers, classical, "--", label="with classical values")
axes[2].set(xlabel="layer", ylabel="error (RMS)")
for axis in axes:
    axis.legend()
plt.show()
