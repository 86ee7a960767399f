r"""
A network in the place of a projection
======================================

A U-Net can correct the filtered back-projection once (FBPConvNet, Jin et al. 2017). It then never sees the projections
again. CNN-PGD (Gupta et al. 2018) trains a network to be a projection onto slices, and puts it between gradient steps
on the data, relaxed so that every step is at most c times as long as the one before: it converges for any network, of
random weights too. Both are trained here for some seconds, at 5 % noise, and then given four times as much.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, algorithms, fit, solve, unroll
from unrolling.algorithms import GradientProjection, LeastSquares, PostProcessing, RelaxedProjection
from unrolling.networks import BatchNormUNet, UNet
from unrolling.operators import FiniteDifferences
from unrolling.prox import Box, IsotropicShrink
from unrolling.tasks import Tomography
from unrolling.training import projection_schedule

torch.manual_seed(0)
task = Tomography(size=64, views=30)
random, projector = UNet(8, 2), UNet(8, 2)
torch.nn.init.normal_(random.last.weight)
for layer in projector.modules():  # with torch's own values it would learn more slowly
    if isinstance(layer, torch.nn.Conv2d) and layer is not projector.last:
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def relaxed(network):
    step_size = 1.9 / task.radon.norm(1e-3) ** 2
    step = GradientProjection(LeastSquares(task.radon, initial=task.fbp), network, step_size=step_size)
    return RelaxedProjection(step, contraction=0.5)


direct = unroll(PostProcessing(task.fbp, BatchNormUNet(8, 3)), 1, tied="network")
projected = unroll(relaxed(projector), 8, tied="step.projector")
stage = Stage(200, rate=3e-3, batch=2, clip=1.0)
for network, schedule in ((direct, [stage]), (projected, projection_schedule(stage))):
    fit(network, task, schedule, quiet=True, validations=0)


# %%
# Total variation has its weight from validation slices with as much noise; nothing else is told how much there is.
def variation(weight):
    steps = algorithms.diagonal_steps(task.radon, FiniteDifferences(), balance=1.0)
    method = algorithms.PDHG(task.radon, FiniteDifferences(), IsotropicShrink(), weight, image_prox=Box(), **steps)
    return lambda y: solve(method, y, max_iterations=150, tolerance=0.0).estimate


def psnr(estimate, x):
    return float((-10 * torch.log10((estimate - x).square().mean((1, 2)))).mean())


figure, axes = plt.subplots(2, 6, figsize=(13, 5), layout="constrained")
for row, noise in zip(axes, (0.05, 0.2), strict=True):
    slices = (task.validation[0].target, task.test[1].target[:8])
    held, test = (task.measure(x, torch.Generator().manual_seed(n), noise=noise) for n, x in enumerate(slices))
    best = max((1.0, 3.0, 10.0), key=lambda weight: psnr(variation(weight)(held.data), held.target))
    methods = {"FBP": task.fbp, "U-Net on it": direct, "relaxed projections": projected, "total variation": None}
    for axis, (name, method) in zip(row[1:], methods.items(), strict=False):
        estimate = (method or variation(best))(test.data).detach()
        score = f"{psnr(estimate, test.target):.1f} dB"
        print(f"{noise:.0%} noise, {name}: {score}")
        axis.imshow(estimate[0], vmin=0, vmax=1)
        axis.set_title(f"{name}, {noise:.0%} noise\n{score}", fontsize=9)
    row[0].imshow(test.target[0], vmin=0, vmax=1)
for axis in axes[:, :5].flat:
    axis.set_axis_off()
# On the right the lengths of steps, with the trained network and with one of random weights.
for axis, start in zip(axes[:, 5], (relaxed(projector), relaxed(random)), strict=True):
    for name, iteration in {"plain": start.step, "relaxed": start}.items():
        x = [each.detach() for each in unroll(iteration, 25).estimates(test.data[:1])]
        axis.semilogy([float((b - a).norm()) for a, b in pairwise(x)], label=name)
    axis.legend(title="|x[k+1] - x[k]|")
plt.show()
