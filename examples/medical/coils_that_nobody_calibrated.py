r"""
Coils that nobody calibrated
============================

Eight coils see a slice, each through a sensitivity map that nobody knows, and a quarter of the lines of k-space is
measured. Classical methods estimate the maps first, from the lines in the middle (ESPIRiT), and then solve for the
image. The end-to-end variational network (Sriram et al. 2020; here a small one) takes the lines alone: a U-Net finds
the maps, and four steps of descent on k-space the image.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import FISTA, CoilSampling, ConjugateGradient, ProximalGradient
from unrolling.operators import KSpace, Wavelet, estimate_maps, root_sum_of_squares
from unrolling.prox import OrthonormalShrink
from unrolling.tasks import Coils

# %%
# A slice of a simulated head; the network was trained on chests.
task = Coils(acceleration=4)
data, target = task.test[0]
network = pretrained("medical/varnet")
with torch.no_grad():
    image = network(KSpace(data.samples, data.mask))  # no maps

# %%
# The rivals have weights that are best on other heads of this kind.
mapped = data._replace(maps=estimate_maps(data.samples, data.mask))
wavelets = FISTA(ProximalGradient(CoilSampling(), OrthonormalShrink(Wavelet(4)), 0.002))
found = {
    "root of sum of squares": root_sum_of_squares(torch.fft.ifft2(data.samples, norm="ortho")),
    "CG-SENSE": solve(ConjugateGradient(CoilSampling(), 0.01), mapped, max_iterations=40, tolerance=0.0).estimate.abs(),
    "wavelets, FISTA": solve(wavelets, mapped, max_iterations=100, tolerance=0.0).estimate.abs(),
    "VarNet, small": image,
}

# %%
# Images above, five times their errors below.
figure, axes = plt.subplots(2, 4, figsize=(9, 5), layout="constrained")
for column, (name, estimate) in zip(axes.T, found.items(), strict=True):
    error = estimate - target.abs()
    column[0].imshow(estimate[0], vmin=0, vmax=1, cmap="gray")
    column[0].set_title(f"{name}\n{-10 * torch.log10(error.square().mean()):.2f} dB", fontsize=10)
    column[1].imshow(5 * error[0].abs(), vmin=0, vmax=1, cmap="magma")
    for axis in column:
        axis.set_axis_off()
    print(f"{name}: {-10 * torch.log10(error.square().mean()):.2f} dB")
plt.show()
