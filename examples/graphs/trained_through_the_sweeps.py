r"""
Trained through the sweeps
==========================

A grid of pixels in two states, seen through noise, is a graph: neighbours tend to be alike. Belief propagation answers
with the chance of each pixel. The textbook fits the potentials by their likelihood first, which needs inference run
long, and then runs inference. Truncated message passing (survey, section IV-D) trains them through the five sweeps that
will be used, with the loss that will be looked at.
"""

import matplotlib.pyplot as plt

from unrolling import Stage, fit, unroll
from unrolling.algorithms import BeliefPropagation
from unrolling.tasks import Labelling, LongRun, evaluate

# %%
# Pictures of three sizes are three graphs; a batch has one of them. Twelve numbers are learned, alike for all pixels.
task = Labelling(noise=0.8, held_out=60)


def network():
    return unroll(BeliefPropagation(task.potentials(0.75)), depth=5, tied=("prepare",))


ways = {"through five sweeps": None, "by the likelihood": LongRun(sweeps=30)}
trained = {name: network() for name in ways}
for name, loss in ways.items():
    fit(trained[name], task, [Stage(80, rate=4e-2, batch=8, loss=loss)], validations=0, quiet=True)

# %%
# Used alike, with five sweeps:
for name, net in {"untrained": network(), **trained}.items():
    loss = task.metric.value(evaluate(net, task, task.test))
    wrong = task.more([net(batch.data) for batch in task.test], task.test)["wrong labels, share"]
    print(f"{name:22} marginal loss {loss:.4f} nats per pixel, {100 * wrong:.1f} % wrong")

# %%
# A chain or a tree of any size goes through the same network: it was trained on no particular graph. There, with enough
# sweeps, belief propagation is exact.
data, labels = task.test[1]
_, axes = plt.subplots(2, 2, figsize=(7, 5), layout="constrained")
pictures = {"truth": labels[0].float(), "with noise": data.nodes[0, 1]}
pictures |= {f"chances, {name}": net(data)[0, 1].exp().detach() for name, net in trained.items()}
for axis, (name, picture) in zip(axes.flat, pictures.items(), strict=True):
    axis.imshow(picture.reshape(12, 20), cmap="gray")
    axis.set_title(name)
    axis.set_axis_off()
plt.show()
