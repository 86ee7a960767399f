r"""
Three modules of blind deblurring
=================================

Before a network can learn to deblur, one has to say what of deblurring is learned. Alternating minimisation (survey,
section III-A) has three modules: features of the blurred image y and of the estimate x, a kernel from the features, an
image from the kernel. Schuler, Hirsch, Harmeling and Schölkopf learn the first; the other two are quotients of spectra.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import unroll
from unrolling.algorithms import AlternatingDeblurring, ThresholdedGradients
from unrolling.operators import convolve_valid
from unrolling.tasks import aligned, kernel_error, photograph, shake

# %%
# A trembling hand: both coordinates of its path are Gaussian processes. Noise of 1 %.
wide = photograph("camera")[90:346, 130:386].unsqueeze(0)
kernel = shake(17, torch.Generator().manual_seed(4)).unsqueeze(0)
blurred = convolve_valid(wide, kernel)
blurred = blurred + 0.01 * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
sharp = wide[:, 8:-8, 8:-8]

# %%
# The first module with the classical features of Cho and Lee: gradients of y as they are; gradients of x, made steep
# by a shock filter, where they are large. A kernel is what takes the right picture to the left one.
iteration = AlternatingDeblurring(ThresholdedGradients(1.5, shocks=8), kernel_ridge=1.0, variation=0.008)
problem = iteration.prepare(blurred)
features = iteration.features(problem.blurred, problem.blurred)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
for axis, (name, picture) in zip(axes, {"of y": features.blurred, "of x": features.sharp}.items(), strict=True):
    axis.imshow(picture.detach()[0, 1, 60:200, 40:180].numpy(), cmap="gray", vmin=-4, vmax=4)
    axis.set_title(f"gradients to the right {name}")
    axis.set_axis_off()

# %%
# The other two modules, stage by stage: the error is the squared distance of k' from k at the best shift, over that of
# k from zero.
network = unroll(iteration, 3)
true = {"true": torch.nn.functional.pad(kernel, (4, 4, 4, 4))}
with torch.no_grad():
    states = list(network.trajectory(blurred))
    found = {f"stage {n}": state.kernel for n, state in enumerate(states, 1)} | true
figure, axes = plt.subplots(1, 4, figsize=(7, 2.2), layout="constrained")
for axis, (name, motion) in zip(axes, found.items(), strict=True):
    error = float(kernel_error(motion, kernel) / kernel.square().sum())
    print(f"{name:10}error of the kernel {error:.2f}")
    axis.imshow(motion[0].numpy())
    axis.set_title(f"{name}\n{error:.2f}")
    axis.set_axis_off()

# %%
# The image is not that of the stages but what total variation finds for a kernel: for the estimated one and, as a line
# that no blind method crosses, for the true one.
with torch.no_grad():
    images = {
        "blurred": blurred,
        "alternating minimisation": iteration.estimate(states[-1], problem),
        "total variation, told": iteration.estimate(states[-1]._replace(kernel=true["true"]), problem),
    }
figure, axes = plt.subplots(1, 3, figsize=(8, 3.2), layout="constrained")
for axis, (name, picture) in zip(axes, images.items(), strict=True):
    moved, inner = aligned(picture.clamp(0, 1), sharp, 12)
    quality = -10 * torch.log10((moved - inner).square().mean()).item()
    print(f"{name:26}{quality:.2f} dB")
    axis.imshow(picture[0, 30:170, 50:190].numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}\n{quality:.2f} dB")
    axis.set_axis_off()
plt.show()
# sphinx_gallery_thumbnail_number = 2
