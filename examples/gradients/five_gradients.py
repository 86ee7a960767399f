"""
Five gradients
==============

Training a network of many layers by back-propagation keeps every layer's values in memory. How the gradient is taken
is a value of its own here, on which the result of the forward pass does not depend: checkpoints compute layers again
and stay exact; the truncated and the one-step gradient leave most layers out; the implicit gradient differentiates
the fixed point instead of the way to it. The price is measured for 100 layers of ISTA: memory, time, and how far the
gradient is from the exact one.
"""

import matplotlib.pyplot as plt

from unrolling import Backprop, Checkpointed, Implicit, OneStep, Truncated, unroll
from unrolling.algorithms import ISTA
from unrolling.evaluation import compare_gradients
from unrolling.tasks import Recovery

# %%
# One network, of which step size and threshold are learned and the same in all layers, and a batch of data.
task = Recovery(m=100, n=100, snr=30.0, held_out=50)
y, x = task.test[0]
network = unroll(ISTA(task.dictionary, weight=0.2), depth=100, tied=("step_size", "threshold"))

# %%
# Five ways to differentiate the same loss. ``unroll(..., gradient=OneStep())`` trains with one of them.
rules = [Backprop(), Checkpointed(), Truncated(10), OneStep(), Implicit(tolerance=1e-3)]
rows = compare_gradients(network, y, lambda estimate: (estimate - x).square().mean(), rules)
for row in rows:
    print(f"{row.rule:32} memory {row.memory:6.1%}  time {row.time:5.2f}  deviation {row.relative_error:.1e}")

# %%
# The implicit gradient is that of the fixed point, which 100 layers have reached here; where they have not, it deviates
# by as much as they are away from it. Its time is that of a linear system, which grows as steps contract less.
names = [row.rule.split("(")[0] for row in rows]
names[2] = "Truncated(10)"
figure, axes = plt.subplots(3, 1, figsize=(6, 7.5), layout="constrained")
panels = {
    "memory, % of back-propagation": [100 * row.memory for row in rows],
    "time of a training step, % of back-propagation": [100 * row.time for row in rows],
    "deviation from the exact gradient, %": [100 * row.relative_error for row in rows],
}
for axis, (title, values) in zip(axes, panels.items(), strict=True):
    bars = axis.barh(names, values, color=["C0", "C0", "C1", "C1", "C2"])
    axis.bar_label(bars, [f"{value:.3g}" for value in values], padding=4)
    axis.set_title(title, loc="left")
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.grid(axis="y", visible=False)
plt.show()
