r"""
How sure is a bit?
==================

A decoder behind a detector does not want decisions: it wants to know how sure each bit is, a log-likelihood ratio
:math:`\log p(b = 0) / p(b = 1)`. A detector that decides well may still be wrong about that. Here the truth is known:
three streams of 16-QAM over three antennas have 4,096 vectors of symbols, and the posterior is a sum over them.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import unroll
from unrolling.algorithms import (
    ExpectationPropagation,
    exact_llrs,
    gray_labels,
    linear_llrs,
    list_llrs,
    mutual_information,
    network_llrs,
    soft_bits,
)
from unrolling.algorithms.detection import decide
from unrolling.tasks import Detection

task = Detection(streams=3, antennas=3, modulation="16qam", held_out=10)
network = unroll(ExpectationPropagation(task.levels), depth=10)

# %%
# Expectation propagation sees each symbol in Gaussian noise, and its ratios are those of the last layer. Where other
# streams are wrong it is as sure as where they are right. ``soft_bits`` draws bits of its own over the same channels,
# scales ratios by what these tell, and takes a list of likely vectors where that tells more.
methods = {
    "true posterior": lambda data: exact_llrs(data, task.levels),
    "expectation propagation": lambda data: network_llrs(network, data),
    "LMMSE": lambda data: linear_llrs(data, task.levels),
    "list of 64": lambda data: list_llrs(data, task.levels, 64),
    "soft_bits": lambda data: soft_bits(network, data, trials=200).llrs,
}
snrs, told, claims = (8.0, 12.0, 16.0, 20.0, 24.0), {name: [] for name in methods}, {}
for snr in snrs:
    data, x = task.at(snr, 300, torch.Generator().manual_seed(0))
    bits = gray_labels(len(task.levels))[decide(x, task.levels)]
    for name, method in methods.items():
        with torch.no_grad():
            llrs = method(data)
        told[name].append(mutual_information(llrs, bits))
        if snr == 16.0:
            claims[name] = llrs.double().flatten(), bits.flatten()
for name, values in told.items():
    print(f"{name:25}", "  ".join(f"{value:.3f}" for value in values), "bits in a bit")

# %%
# On the right: of bits whose ratio says "wrong once in a hundred", how many are? Expectation propagation is far too
# sure of itself at high SNR; a decoder that believes it is led astray.
_, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
edges = torch.tensor([0.0, 0.5, 1, 2, 3, 4, 6, 9], dtype=torch.float64)
for (name, values), style in zip(told.items(), ("k", "C1s-", "C7:", "C2--", "C0o-"), strict=True):
    left.plot(snrs, values, style, label=name)
    llrs, bits = claims[name]
    wrong, bins = (llrs < 0).long() != bits, torch.bucketize(llrs.abs(), edges) - 1
    groups = [bins == k for k in range(len(edges)) if int((bins == k).sum()) >= 50]
    says = [float(torch.sigmoid(-llrs[own].abs()).mean()) for own in groups]
    right.loglog(says, [max(float(wrong[own].double().mean()), 1e-3) for own in groups], style)
left.set(xlabel="signal-to-noise ratio, dB", ylabel="bits told by a soft bit")
right.plot([1e-3, 0.5], [1e-3, 0.5], "0.8")
right.set(xlabel="said to be wrong, 16 dB", ylabel="wrong")
left.legend()
plt.show()
