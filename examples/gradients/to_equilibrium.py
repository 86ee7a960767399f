"""
To equilibrium
==============

One iteration becomes a network in two ways: ten equal layers, trained for what they give after ten; and its fixed
point, infinitely many layers, trained by implicit differentiation with the memory of a single step. Both start as ISTA
and learn the same numbers, a matrix and a threshold for each coefficient. Each is the better one where it was
trained. What is learned at the fixed point does not depend on how the fixed point is reached, and any number of
further iterations stays there.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Equilibrium, Implicit, Stage, fit, unroll
from unrolling.algorithms import ThinISTA
from unrolling.losses import LogNMSE
from unrolling.tasks import Recovery

task = Recovery(m=60, n=80, probability=0.05, snr=20.0, held_out=300)
y, x = task.test[0]
ista = ThinISTA(task.dictionary, weight=0.1)

# %%
# Both are trained on the same 100 batches.
learned = ("encoder", "threshold")
network = unroll(ista, depth=10, tied=learned)
equilibrium = Equilibrium(ista, learned=learned, gradient=Implicit(tolerance=1e-2), tolerance=1e-4)
for model in (network, equilibrium):
    fit(model, task, [Stage(100, rate=2e-3, batch=32, loss=LogNMSE())], quiet=True, validations=1)


# %%
# Errors along 200 iterations. Where nothing is untied all layers are the same, and more of them may be run than there
# were in training.
@torch.no_grad()
def errors(layers):
    return [task.metric.value(task.pieces(e, task.test[0])) for e in layers.estimates(y, layers=range(200))]


found = {
    "ISTA": errors(unroll(ista, 10)),
    "trained for 10 layers": errors(network),
    "trained at the fixed point": errors(unroll(equilibrium.layer, 10)),
}
for name, values in found.items():
    print(f"{name:28}{values[9]:6.1f} dB after 10 iterations, {values[-1]:6.1f} dB after 200")

_, axes = plt.subplots(layout="constrained")
for (name, values), colour, style in zip(found.items(), ("C1", "C3", "C0"), ("--", "-.", "-"), strict=True):
    axes.semilogx(range(1, 201), values, style, label=name, color=colour)
axes.axvline(10, color="grey", linewidth=1)
axes.set(xlabel="iterations", ylabel="NMSE in dB (lower is better)")
axes.set_xticks([1, 2, 5, 10, 20, 50, 100, 200], ["1", "2", "5", "10", "20", "50", "100", "200"])
axes.minorticks_off()
axes.legend()
plt.show()
