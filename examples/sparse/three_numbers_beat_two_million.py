"""
Three numbers that beat two million
===================================

Sparse signals of 500 entries, a tenth of them not zero, are recovered from 250 measurements by sixteen layers. LISTA
learns all of its matrices, 383,000 numbers. ALISTA computes its matrix and learns 32 numbers. HyperLISTA learns three,
from which each signal's own residual makes thresholds, momentum and support. Knowledge of the problem has taken the
place of learned numbers, a way that began with the theory of LISTA's convergence (the survey's section IV). Where the
dictionary looks random, as here, message passing goes further and learns nothing: AMP is told how signals are drawn,
VAMP finds it out from each signal.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import AMP, VAMP
from unrolling.prox import BernoulliGaussian, TunedBernoulliGaussian
from unrolling.tasks import Recovery

task = Recovery(held_out=1000)
y, x = task.test[0]


def error(estimate):
    return float(10 * torch.log10((estimate - x).square().sum() / x.square().sum()))


# %%
# Networks with the weights that come with the library, on signals that they have not seen.
found = {}
for title, name in {"LISTA": "lista", "LAMP": "lamp", "ALISTA": "alista", "HyperLISTA": "hyperlista"}.items():
    network = pretrained(f"sparse_coding/{name}", task="recovery")
    count = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    with torch.no_grad():
        found[title] = count, error(network(y))
    print(f"{title:12}{count:9,} numbers {found[title][1]:7.1f} dB")

# %%
# LISTA-CPSS learns a matrix for each layer besides: 2,000,032 numbers. Its weights are too large to come along;
# ``python -m benchmarks.rare_failures`` trains it for ten dictionaries, between whose errors the bar is drawn.
stored = {"LISTA-CPSS": (2_000_032, (-80.3, -71.8))}

# %%
# What learns nothing.
rivals = {
    "AMP, told the prior": AMP(task.dictionary, BernoulliGaussian(0.1, 1.0)),
    "VAMP, told nothing": VAMP(task.dictionary, TunedBernoulliGaussian()),
}
for title, iteration in rivals.items():
    rivals[title] = error(solve(iteration, y, tolerance=0, max_iterations=40).estimate)
    print(f"{title}: {rivals[title]:.1f} dB after 40 iterations")

# %%
_, axes = plt.subplots(layout="constrained")
for title, (count, value) in found.items():
    axes.semilogx(count, value, "o", color="C0", markersize=9)
    axes.annotate(title, (count, value), (0, 9), textcoords="offset points", ha="center")
for title, (count, ends) in stored.items():
    axes.plot((count, count), ends, color="C0", linewidth=6)
    axes.annotate(title, (count, ends[1]), (0, 7), textcoords="offset points", ha="center")
for (title, value), style in zip(rivals.items(), ("--", ":"), strict=True):
    axes.axhline(value, color="C1", linestyle=style, label=f"{title}, 40 iterations")
axes.set(xlabel="learned numbers", ylabel="NMSE in dB (lower is better)", xlim=(0.4, 3e7), ylim=(-160, 5))
axes.legend(loc="upper left", bbox_to_anchor=(0, 0.97))
plt.show()
