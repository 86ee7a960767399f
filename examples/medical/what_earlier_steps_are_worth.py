r"""
What earlier steps are worth
============================

Proximal gradient descent forgets: :math:`x_{k+1} = R(x_k - \mu E^H (E x_k - y))`. FISTA takes its gradient at
:math:`u_k = (1 + \beta_k) x_k - \beta_k x_{k-1}`. A dense history (Hosseini et al. 2020) takes it at any combination
:math:`u_k = \sum_{j \le k} b_{kj} x_j`, and learns :math:`b`. Here R shrinks wavelets, the same in all four methods, so
that nothing but the memory differs: head phantoms, eight coils, a third of the lines of k-space, four steps.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, solve, unroll
from unrolling.algorithms import FISTA, CoilSampling, DenseProximalGradient, ProximalGradient
from unrolling.operators import Wavelet
from unrolling.prox import OrthonormalShrink
from unrolling.tasks import Coils

torch.manual_seed(0)
task, steps, weight = Coils(size=48, coils=8, acceleration=3.0, noise=0.0), 4, 0.001
samples = task.measure(torch.stack(task.slices["test"]), torch.Generator().manual_seed(0))
shrink = OrthonormalShrink(Wavelet(3))


def psnr(estimate):
    return task.metric.value(task.pieces(estimate, samples))


# %%
# The classical methods, after four steps, and FISTA where it ends.
plain = ProximalGradient(CoilSampling(), shrink, weight)
found = {}
for name, algorithm in {"proximal gradient": plain, "FISTA": FISTA(plain)}.items():
    found[name] = solve(algorithm, samples.data, max_iterations=steps, tolerance=0.0).estimate
found["FISTA, 300 steps"] = solve(FISTA(plain), samples.data, max_iterations=300, tolerance=1e-6).estimate

# %%
# The same with the ten numbers of b, and with the seven of a learned momentum; both begin at b = I, the plain method,
# and nothing but b is learned. Both enlarge the iterate at first, as a zero-filled image lacks energy, which needs no
# memory at all. The two further diagonals of a dense history are worth next to nothing here.
learned = {}
for history in ("momentum", "dense"):
    dense = DenseProximalGradient(CoilSampling(), shrink, steps, history=history, weight=weight)
    network = learned[history] = unroll(dense, steps, tied="combination")
    fit(network, task, [Stage(80, rate=3e-2, batch=2, clip=1.0)], quiet=True)
    with torch.no_grad():
        found[f"learned {history}"] = network(samples.data)
print(", ".join(f"{name} {psnr(estimate):.2f} dB" for name, estimate in found.items()))

# %%
# The errors of one head, above the rows of b.
figure, axes = plt.subplots(2, 3, figsize=(7, 5), layout="constrained")
for axis, name in zip(axes[0], ("FISTA", "learned momentum", "learned dense"), strict=True):
    axis.imshow((found[name].abs() - samples.target.abs())[0].abs(), vmin=0, vmax=0.2, cmap="magma")
    axis.set_title(f"{name}\n{psnr(found[name]):.2f} dB", fontsize=10)
    axis.set_axis_off()
rows = {"FISTA": torch.zeros(steps, steps), "momentum": torch.zeros(steps, steps), "dense": torch.zeros(steps, steps)}
t = 1.0
for k in range(steps):
    rows["FISTA"][k, k] = 1.0
    if k:
        after = (1 + (1 + 4 * t * t) ** 0.5) / 2
        rows["FISTA"][k, k - 1 : k + 1] = torch.tensor([-(t - 1) / after, 1 + (t - 1) / after])
        t = after
for history, network in learned.items():
    packed = network.layers[0].combination.detach()
    for k in range(steps):
        count = min(k + 1, steps if history == "dense" else 2)
        rows[history][k, k + 1 - count : k + 1], packed = packed[:count].flip(0), packed[count:]
for axis, (name, matrix) in zip(axes[1], rows.items(), strict=True):
    axis.imshow(matrix, vmin=-2, vmax=2, cmap="RdBu_r")
    axis.set(xlabel="iterate", ylabel="step" if name == "FISTA" else "", title=f"b, {name}")
plt.show()
