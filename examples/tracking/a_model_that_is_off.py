r"""
A filter whose model is off
===========================

A Kalman filter is the best there is while its model is right. Here the matrix :math:`F` that it is told is turned by 10
degrees, and its process noise is told a hundred times too small: it follows its model away from what is measured.
KalmanNet (Revach et al. 2022) keeps the filter, a layer for each moment, and lets a small recurrent network correct the
gain; before training it is the filter to the bit.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, solve, unroll
from unrolling.algorithms import GainNetwork, KalmanFilter, KalmanNet, LinearModel, Recording, track
from unrolling.tasks import Tracking
from unrolling.tasks.base import evaluate

# %%
# What moves: a place and its rate, both measured with noise of variance 1. ``told`` is what filters know of it.
task = Tracking("linear", mismatch=10.0, unknown=-20.0, length=20)
truth, told = task.truth, task.told
assert isinstance(told, LinearModel)
print("true F", truth.transition.tolist(), " told", told.transition.tolist())

# %%
# The network is the filter until it is trained; then it sees new trajectories at every step.
data = task.test[0].data
network = unroll(KalmanNet(KalmanFilter(told), GainNetwork(2, 2)), 20, tied="network")
assert torch.equal(network(data), solve(KalmanFilter(told), data).estimate)
fit(network, task, [Stage(150, rate=1e-2, batch=32, clip=1.0)], quiet=True)

# %%
# Beside it: the filter with the true model, and the filter whose process noise is tuned for the wrong one.
scores = {
    "the measurements": lambda data: data.values,
    "Kalman filter, as told": lambda data: solve(KalmanFilter(told), data).estimate,
    "Kalman filter, tuned": lambda data: solve(KalmanFilter(told, 1e4), data).estimate,
    "KalmanNet": network,
    "Kalman filter, true model": lambda data: solve(KalmanFilter(truth), data).estimate,
}
for name, run in scores.items():
    print(f"{name:27}{task.metric.text(task.metric.value(evaluate(run, task, task.test)))}")

# %%
# One trajectory three times as long as in training; a stream goes on from the state that it ended in.
x, y = truth.simulate(1, 60, torch.Generator().manual_seed(3))
found, state = track(network, Recording(y[:, :40]))
rest, _ = track(network, Recording(y[:, 40:]), state)
found = torch.cat([found, rest], 1).detach()
_, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.plot(y[0, :, 1], ".", color="0.6", label="measured")
axis.plot(x[0, :, 1], "k", lw=1, label="true")
axis.plot(track(KalmanFilter(told), Recording(y))[0].detach()[0, :, 1], "C3--", label="Kalman filter, as told")
axis.plot(found[0, :, 1], "C0", label="KalmanNet")
axis.set(xlabel="moment", ylabel="rate")
axis.legend()
plt.show()
