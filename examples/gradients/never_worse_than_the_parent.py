"""
Never worse than the parent
===========================

A network is trained for data like those that it has seen, and nothing bounds what it does with others. Its parent is
proved to converge on all of them. ``Safeguarded`` runs both: where a layer's step leaves the objective above that of
the parent's own iterate, the parent's iterate is taken. So the objective is never above the parent's after as many
steps, whatever the input. Here a network learned to minimise the lasso and is given weaker signals than it was trained
on. The price is the parent's time besides the network's.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Safeguarded, Stage, fit, solve, unroll
from unrolling.algorithms import FISTA, ThinISTA
from unrolling.losses import Energy
from unrolling.tasks import Recovery

# %%
# Sixteen layers of ISTA, trained without any truth: ``Energy`` is the objective of the parent.
task = Recovery(m=30, n=60, snr=30.0, held_out=500)
parent = ThinISTA(task.dictionary, weight=0.1)
network = unroll(parent, depth=16, untied=("encoder", "threshold"))
fit(network, task, [Stage(400, rate=1e-2, batch=64, loss=Energy())], quiet=True)
guarded = Safeguarded(network)
methods = {
    "ISTA, the parent": unroll(parent, 16),
    "network": network,
    "network, safeguarded": guarded,
    "FISTA": unroll(FISTA(parent), 16),
}

# %%
# Signals of less and of more amplitude than those of the training.
factors = [0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0]
y, gaps, worse = task.test[0].data, {name: [] for name in methods}, {name: [] for name in methods}
for factor in factors:
    data = factor * y
    with torch.no_grad():
        least = parent.objective(solve(FISTA(parent), data, tolerance=1e-6).estimate, data)
        reached = {name: parent.objective(method(data), data) for name, method in methods.items()}
    for name, objective in reached.items():
        gaps[name].append(float((objective - least).sum() / least.sum()))
        worse[name].append(100 * float((objective > reached["ISTA, the parent"] * (1 + 1e-6)).float().mean()))
at = factors.index(0.1)
print(
    f"at 0.1 the network is worse than ISTA for {worse['network'][at]:.0f} % of the signals, safeguarded for", end=" "
)
print(f"{worse['network, safeguarded'][at]:.0f} %, where {guarded.run(0.1 * y).rate:.0%} of the steps are its own")

# %%
# FISTA, which is proved to converge as well, is the better algorithm for weak signals.
figure, axes = plt.subplots(2, 1, figsize=(6, 7), sharex=True, layout="constrained")
styles = {"ISTA, the parent": "C1s--", "network": "C3o-", "network, safeguarded": "C0o-", "FISTA": "C2^:"}
for name, style in styles.items():
    axes[0].loglog(factors, gaps[name], style, label=name)
    if name.startswith("network"):
        axes[1].semilogx(factors, worse[name], style, label=name)
axes[0].set_ylabel("objective above its minimum,\nrelative")
axes[1].set(xlabel="amplitude of the signals; trained at 1", ylabel="worse than ISTA, % of signals")
axes[1].set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
axes[1].minorticks_off()
for axis in axes:
    axis.legend()
plt.show()
