"""
Your algorithm is a network
===========================

One step of ISTA (equations (2) to (4) of the survey) is written once, in ten lines, and run in two ways: until it
converges, as the classical algorithm, and sixteen times, as the network that Gregor and LeCun called LISTA.
Before training the two agree in every bit. Training then brings sixteen layers to where the algorithm is after
hundreds of iterations. It does not bring them to VAMP, which fits a prior to each signal and is not trained at all.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from unrolling import Iteration, Stage, fit, soft_threshold, solve, unroll
from unrolling.algorithms import VAMP
from unrolling.losses import LogNMSE
from unrolling.prox import TunedBernoulliGaussian
from unrolling.tasks import Recovery

# %%
# The algorithm: :math:`x \leftarrow S_\theta(x + W (y - A x))`. Its parameters hold their classical values,
# :math:`W = \mu A^T` and :math:`\theta = \mu\lambda` with :math:`\mu = 1/\|A\|^2`.


class ISTA(Iteration):
    def __init__(self, dictionary, weight):
        super().__init__()
        step = 1 / torch.linalg.matrix_norm(dictionary, 2) ** 2
        self.register_buffer("dictionary", dictionary)  # A (m, n), fixed
        self.encoder = nn.Parameter(step * dictionary.T)  # W (n, m)
        self.threshold = nn.Parameter(weight * step)

    def start(self, y):
        return y.new_zeros(y.shape[0], self.dictionary.shape[1])

    def forward(self, x, y):
        return soft_threshold(x + (y - x @ self.dictionary.T) @ self.encoder.T, self.threshold)


# %%
# The data: signals of 100 entries, a twentieth of them not zero, seen through 50 measurements with a little noise. The
# weight of the lasso is the best of 0.01, 0.03, 0.1 and 0.2 for them.
task = Recovery(m=50, n=100, probability=0.05, snr=20.0)
y, x = task.test[0]
ista = ISTA(task.dictionary, weight=0.03)

# %%
# Sixteen steps of the algorithm and sixteen layers of the network give the same numbers.
network = unroll(ista, depth=16, untied=("encoder", "threshold"))
steps = solve(ista, y, tolerance=0, max_iterations=16).estimate
print("before training, equal to the bit:", torch.equal(network(y), steps))

# %%
# Training draws new signals for every step. The test signals are not among them.
fit(network, task, [Stage(600, rate=4e-3, rates={"threshold": 1e-2}, batch=128, loss=LogNMSE())], quiet=True)

# %%
# What was gained. A network in which nothing is learned is its algorithm, so that ``estimates`` gives classical
# iterates as well as layers.


@torch.no_grad()
def errors(layers):
    return [task.metric.value(task.pieces(estimate, task.test[0])) for estimate in layers.estimates(y)]


trained, classical = errors(network), errors(unroll(ista, 1000))
vamp = errors(unroll(VAMP(task.dictionary, TunedBernoulliGaussian()), 16))
needed = next(k for k, error in enumerate(classical, 1) if error <= trained[-1])
print(f"16 iterations {classical[15]:.1f} dB, 16 trained layers {trained[-1]:.1f} dB: ISTA needs {needed} iterations")

_, axes = plt.subplots(layout="constrained")
axes.semilogx(range(1, 17), trained, "o-", label="network, 16 trained layers")
axes.semilogx(range(1, 1001), classical, label="ISTA, its algorithm")
axes.semilogx(range(1, 17), vamp, "--", label="VAMP, told nothing")
axes.set(xlabel="iterations or layers", ylabel="NMSE in dB (lower is better)")
axes.legend()
plt.show()
