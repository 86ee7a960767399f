"""
Deploy, and time it
===================

``deploy(network)`` is the same network as it is put to use: constraints are worked out once, step sizes are merged into
matrices, memory is used again, and nothing is recorded for a backward pass. Its answers are the network's to rounding.
What that is worth depends on the batch, so that it is measured here, beside a bare loop of the same mathematics. That
loop, and the network as it is, say what the library's own layers cost.
"""

import statistics
import time

import matplotlib.pyplot as plt
import torch

from unrolling import deploy, soft_threshold, unroll
from unrolling.algorithms import CoupledISTA
from unrolling.tasks import gaussian_dictionary

# %%
# LISTA-CP with sixteen layers, 250 measurements of signals with 500 entries, each layer with a matrix of its own. How
# good its answers are does not matter here, so that nothing is trained.
dictionary = gaussian_dictionary(250, 500, 0)
network = unroll(CoupledISTA(dictionary, 0.3), depth=16, untied=("encoder", "step_size", "threshold"))
values = [(layer.encoder.matrix, layer.step_size, layer.threshold) for layer in network.layers]


def bare(y):
    x = y.new_zeros(len(y), 500)
    for encoder, step_size, threshold in values:
        x = soft_threshold(x + step_size * ((y - x @ dictionary.T) @ encoder.T), threshold)
    return x


# %%
# ``"plain"`` works everywhere and at once. ``"compiled"`` needs a C++ compiler and 10 to 60 seconds, ``"captured"`` a
# GPU; ``deploy(network)`` alone starts plain, and compiles when there is enough work to earn it back.
forms = {"deployed plain": deploy(network, "plain"), "the network as it is": network, "a bare loop": bare}


def milliseconds(form, y, seconds=0.3):
    taken, end = [], time.process_time() + seconds
    while time.process_time() < end or len(taken) < 5:
        begin = time.process_time()
        form(y)
        taken.append(1000 * (time.process_time() - begin))
    return statistics.median(taken)


torch.set_num_threads(1)
batches, times = (1, 4, 16, 64, 256), {name: [] for name in forms}
with torch.no_grad():
    for batch in batches:
        y = torch.randn(batch, 250, generator=torch.Generator().manual_seed(batch))
        error = max((form(y) - bare(y)).abs().max() for form in forms.values()) / bare(y).abs().max()
        for name, form in forms.items():
            times[name].append(milliseconds(form, y) / batch)
        print(f"batch {batch:3}: largest relative difference {error:.0e};", end=" ")
        print(", ".join(f"{name} {each[-1]:.3f} ms" for name, each in times.items()), "a sample")

# %%
# Medians of the processor's time, on one thread. A sample alone costs the reading of all matrices; in a batch they are
# read once for all.
_, axis = plt.subplots(layout="constrained")
for (name, each), style in zip(times.items(), ("C0o-", "C1s-", "C6^:"), strict=True):
    axis.loglog(batches, each, style, label=name)
axis.set(xlabel="samples in a batch", ylabel="processor time a sample, ms", xticks=batches, xticklabels=batches)
axis.minorticks_off()
axis.legend()
plt.show()
