r"""
A photograph without the rain
=============================

Streaks fall nearly in one direction. ADMM (survey, Table I) takes a photograph apart: total variation *across* the
streaks is small where the background is smooth, total variation *along* them where all that is bright is long. RCDNet
looks for the rain as a few kernels times maps that say where streaks are, with learned proxes.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import RainADMM
from unrolling.tasks import Rain

# %%
# A test photograph of the task with streaks drawn over it; weights are trained on others.
rain = Rain()
samples = rain.test[1]
data, clean = samples.data[..., 40:200, 40:240], samples.target[..., 40:200, 40:240]

# %%
# ADMM for 60 steps, its weights the best on the task's validation pictures, and the networks. ``supervised`` gives
# what a network sees besides the photograph: the rain, which is never negative.
parent = RainADMM(background_weight=0.01, rain_weight=0.01)
classical = solve(parent, data, tolerance=0.0, max_iterations=60).state
with torch.no_grad():
    found = {name: pretrained(f"imaging/{name}").supervised(data) for name in ("derain", "rcdnet")}


# %%
# PSNR of luma from 16 to 235, in which rain removal is scored, and what was taken away, five times as bright.
def score(picture):
    return rain.metric.value(rain.pieces(picture, samples._replace(data=data, target=clean)))


results = {
    "the photograph": (data, data - clean),
    "ADMM, 60 steps": (classical.background, classical.rain),
    "unrolled ADMM": (found["derain"].background, found["derain"].rain),
    "RCDNet": (found["rcdnet"].background, found["rcdnet"].rain),
}
figure, axes = plt.subplots(2, 4, figsize=(11, 5), layout="constrained")
for column, (name, (picture, streaks)) in zip(axes.T, results.items(), strict=True):
    print(f"{name:16}{score(picture):6.2f} dB")
    column[0].imshow(picture[0].movedim(0, -1).clamp(0, 1).numpy())
    column[0].set_title(f"{name}\n{score(picture):.2f} dB")
    column[1].imshow((5 * streaks[0]).movedim(0, -1).clamp(0, 1).numpy())
    column[1].set_title("the rain in it" if name == "the photograph" else "what it takes for rain")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
