"""
Coherent columns
================

Most theory of sparse recovery asks for columns that are nearly orthogonal. Here they come in blocks of five, any two of
which have the inner product 0.9. Pursuit takes one for its neighbour and never returns, although it is told how many
entries to find; iterative hard thresholding (the survey's equation (32)) stops at the wrong ones. LIHT, the same
iteration with learned matrices and thresholds, tells more of them apart in ten layers. The lasso of a small
weight is the one that finds them all when there is no noise, but takes hundreds of iterations.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp

from unrolling import Stage, fit, unroll
from unrolling.algorithms import FISTA, GramHardISTA, GramISTA
from unrolling.losses import LogNMSE
from unrolling.tasks import Recovery
from unrolling.training import Power, Ramp

task = Recovery(m=50, n=100, probability=0.05, coherence=0.9, held_out=200)
y, x = task.test[0]
gram = (task.dictionary.T @ task.dictionary)[:6, :6]
print("inner products of the first six columns\n", gram.round(decimals=2).numpy())

# %%
# A hard threshold has no gradient to its level. It is given that of a ramp, which narrows while training goes on.
hard = GramHardISTA(task.dictionary, 0.1)
network = unroll(hard, 10, untied=("encoder", "inhibition", "threshold"))
stage = Stage(
    500,
    rate=2e-3,
    rates={"threshold": 1e-2},
    batch=128,
    loss=LogNMSE(),
    supervision=Power(2.0),
    settings={"surrogate_width": Ramp(1.0, 0.5)},
)
fit(network, task, [stage], quiet=True, validations=1)


# %%
# The error after each layer, or iteration; and that of orthogonal matching pursuit.
def error(estimate):
    return task.metric.value(task.pieces(estimate, task.test[0]))


with torch.no_grad():
    curves = {
        "LIHT, learned": [error(e) for e in network.estimates(y)],
        "hard thresholding": [error(e) for e in unroll(hard, 1000).estimates(y)],
        "FISTA for the lasso": [error(e) for e in unroll(FISTA(GramISTA(task.dictionary, 0.001)), 1000).estimates(y)],
    }
atoms, counts = task.dictionary.double().numpy(), (x != 0).sum(1).clamp_min(1)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # it may find all before
    found = [orthogonal_mp(atoms, b, n_nonzero_coefs=int(k)) for b, k in zip(y.double().numpy(), counts, strict=True)]
pursuit = error(torch.from_numpy(np.stack(found)).float())
for name, values in curves.items():
    print(f"{name:20}{values[9]:6.1f} dB after 10 iterations, {values[-1]:6.1f} dB after {len(values)}")
print(f"pursuit, count told {pursuit:6.1f} dB")

# %%
_, axes = plt.subplots(layout="constrained")
for (name, values), style in zip(curves.items(), ("C0o-", "C1--", "C2-"), strict=True):
    axes.semilogx(range(1, len(values) + 1), values, style, label=name)
axes.axhline(pursuit, color="black", linestyle=":", label="pursuit, count told")
axes.set(xlabel="layers or iterations", ylabel="NMSE in dB (lower is better)")
axes.legend()
plt.show()
