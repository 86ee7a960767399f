"""
Dictionaries as data
====================

LISTA has its dictionary built in: for another one it is useless. In Ada-LISTA the dictionary is a part of the data, and
two small matrices and two numbers per layer are what all dictionaries share. Here the columns of one dictionary are
put into another order for every batch. Ada-LISTA, trained on 500 orders, works on those that it has never seen; LISTA,
trained for one order, works on no other. ISTA and FISTA take every dictionary as it comes, and end lower still after
hundreds of iterations.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, unroll
from unrolling.algorithms import FISTA, ThinISTA, VaryingISTA
from unrolling.losses import LogNMSE
from unrolling.tasks import Recovery, VaryingDictionary

size = {"m": 50, "n": 100, "probability": 0.05, "held_out": 400}
varying = VaryingDictionary(permute=1, dictionary_snr=float("inf"), **size)
bound = float(torch.linalg.matrix_norm(varying.dictionary, 2) ** 2)

# %%
# Data are pairs of measurements and the dictionary that they were made with.
y, dictionary = varying.test[0].data
print("measurements", tuple(y.shape), "dictionary", tuple(dictionary.shape))
ista = VaryingISTA(50, 0.1, bound)
adaptive = unroll(ista, 12, tied="mixing", untied=("step_size", "threshold"))
stage = Stage(500, rate=2e-3, rates={"threshold": 3e-2, "step_size": 3e-2}, batch=64, loss=LogNMSE())
fit(adaptive, varying, [stage], quiet=True, validations=1)

# %%
# LISTA for the dictionary in its first order.
one = Recovery(**size)
lista = unroll(ThinISTA(one.dictionary, 0.1), 12, untied=("encoder", "threshold"))
fit(lista, one, [Stage(300, rate=4e-3, rates={"threshold": 1e-2}, batch=64, loss=LogNMSE())], quiet=True, validations=1)


# %%
# Twenty orders of the columns that nobody was trained on. LISTA gets the measurements, and does not know the order.
@torch.no_grad()
def errors(layers, task, data=lambda samples: samples.data):
    found = [[task.pieces(e, s) for e in layers.estimates(data(s))] for s in task.test]
    return [task.metric.value(torch.cat(pieces)) for pieces in zip(*found, strict=True)]


curves = {
    "Ada-LISTA, unseen orders": errors(adaptive, varying),
    "LISTA, unseen orders": errors(lista, varying, lambda samples: samples.data.y),
    "LISTA, the order it knows": errors(lista, one),
    "FISTA, any order": errors(unroll(FISTA(VaryingISTA(50, 0.03, bound)), 12), varying),
    "ISTA, any order": errors(unroll(ista, 12), varying),
}
converged = errors(unroll(FISTA(VaryingISTA(50, 0.01, bound)), 400), varying)[-1]
for name, values in curves.items():
    print(f"{name:27}{values[-1]:6.1f} dB after 12 layers")
print(f"FISTA after 400 iterations {converged:.1f} dB")

# %%
_, axes = plt.subplots(figsize=(6, 4.6), layout="constrained")
for (name, values), style in zip(curves.items(), ("C0o-", "C3x-", "C3--", "C2:", "C1-."), strict=True):
    axes.plot(range(1, 13), values, style, label=name)
axes.axhline(converged, color="C2", linewidth=1, label="FISTA, 400 iterations")
axes.set(xlabel="layers or iterations", ylabel="NMSE in dB (lower is better)", ylim=(None, 5))
axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
plt.show()
