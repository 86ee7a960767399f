r"""
An hour ahead
=============

The voltages of the IEEE case of 14 buses, one hour from now. What is there already, persistence, is hard to beat when
load moves slowly; three recurrent layers (Zhang, Wang and Giannakis 2019) see the last ten hours and say what changes.
Untrained they are persistence.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained
from unrolling.tasks import GridForecast

# %%
# The last tenth of a generated year, and three forecasts of each of its hours.
task = GridForecast()
data, truth = task.test[0]
weights, offset = task.fitted(1e-6, task.past)
forecasts = {
    "persistence": data.past[:, -1],
    "ridge regression": data.past.flatten(1) @ weights.T + offset,
    "power/forecast": pretrained("power/forecast")(data).detach(),
}
for name, found in forecasts.items():
    print(f"{name:17}{float((found - truth).square().mean().sqrt()):.5f} p.u.")

# %%
# The angle of bus 14 over two days, and how far off each forecast is by the hour of the day.
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
days = slice(0, 48)


def angle(states):
    """Of bus 14, in degrees."""
    return torch.rad2deg(torch.atan2(states[:, 27], states[:, 13]))


left.plot(angle(truth)[days], "k", label="what came")
for name in ("persistence", "power/forecast"):
    left.plot(angle(forecasts[name])[days], label=name)
left.set(xlabel="hour", ylabel="angle of bus 14, degrees")
left.legend()
whole = len(truth) // 24 * 24
for name, found in forecasts.items():
    error = (found - truth).square().mean(1)[:whole].view(-1, 24).mean(0).sqrt()
    right.plot(error, label=name)
right.set(xlabel="hour of a day, from the first of the test", ylabel="RMSE, p.u.", ylim=(0, None))
right.legend()
plt.show()
