"""
Three numbers that beat two million
===================================

Sparse signals of 500 entries, a tenth of them not zero, are recovered from 250 measurements by sixteen layers. LISTA
learns all of its matrices, 383,000 numbers. ALISTA computes its matrix and learns 32 numbers. HyperLISTA learns three,
from which each signal's own residual makes thresholds, momentum and support. Knowledge of the problem has taken the
place of learned numbers, a way that began with the theory of LISTA's convergence (the survey's section IV). Where the
dictionary looks random, as here, methods that learn nothing go further: AMP, which is told how signals are drawn, VAMP,
which finds it out from each signal, and orthogonal matching pursuit (OMP), one non-zero after the other.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.decomposition import sparse_encode

from unrolling import pretrained, solve
from unrolling.algorithms import AMP, VAMP
from unrolling.prox import BernoulliGaussian, TunedBernoulliGaussian
from unrolling.tasks import Recovery

task = Recovery(held_out=1000)
y, x = task.test[0]


def error(estimate, truth=x):
    return float(10 * torch.log10((estimate - truth).square().sum() / truth.square().sum()))


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
atoms, few = task.dictionary.T.double().numpy(), y[:100].double().numpy()  # it takes 15 ms a signal
pursuit = torch.from_numpy(sparse_encode(few, atoms, algorithm="omp", n_nonzero_coefs=70))
rivals["OMP, 70 non-zeros"] = error(pursuit, x[:100])
for title, value in rivals.items():
    print(f"{title:21}{value:8.1f} dB")

# %%
_, axes = plt.subplots(layout="constrained")
for title, (count, value) in found.items():
    axes.semilogx(count, value, "o", color="C0", markersize=9)
    axes.annotate(title, (count, value), (0, 9), textcoords="offset points", ha="center")
for title, (count, ends) in stored.items():
    axes.plot((count, count), ends, color="C0", linewidth=6)
    axes.annotate(title, (count, ends[1]), (0, 7), textcoords="offset points", ha="center")
for (title, value), style in zip(rivals.items(), ("--", ":", "-"), strict=True):
    axes.axhline(value, color="C1", linestyle=style, label=title, linewidth=1.8)
axes.set(xlabel="learned numbers", ylabel="NMSE in dB (lower is better)", xlim=(0.4, 3e7), ylim=(-160, 5))
axes.legend(loc="upper left", bbox_to_anchor=(0, 0.97))
plt.show()
