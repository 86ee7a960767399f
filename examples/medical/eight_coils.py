r"""
A quarter of k-space, eight coils
=================================

Several receive coils see the same slice, each from its own side, so that less of its k-space has to be measured.
CG-SENSE solves the least-squares problem that this makes; MoDL (Aggarwal, Mani and Jacob 2019) solves it ten times, in
turn with a small network that was trained for what is left. Here 32 of 128 lines are measured, ten of them in the
middle, from which the coils' maps are estimated: nothing else is known.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import ADMM, CoilSampling, ConjugateGradient, Splitting
from unrolling.operators import CoilData, FiniteDifferences, estimate_maps, root_sum_of_squares
from unrolling.operators.fourier import fft, ifft
from unrolling.prox import IsotropicShrink
from unrolling.tasks.medical import cartesian_mask, head, receive_coils, with_phase

size = 128
generator = torch.Generator().manual_seed(20)
image = with_phase(head(size, generator), generator).unsqueeze(0)  # complex, as scanners give it
coils = receive_coils(8, size, size, generator).unsqueeze(0)
mask = torch.fft.ifftshift(cartesian_mask(size, size, 0.25, centre=0.08, seed=1)).unsqueeze(0)
noise = 0.01 * torch.view_as_complex(torch.randn(1, 8, size, size, 2, generator=generator))
samples = mask * (fft(coils * image.unsqueeze(1)) + noise)

# %%
# ESPIRiT finds the maps in the ten lines. Where there is tissue they are those that the coils have, up to the phase
# that they share.
data = CoilData(samples, mask, estimate_maps(samples, mask))
tissue = image.abs() > 0.1
likeness = (data.maps.conj() * coils).sum(1).abs()[tissue]
print(f"estimated against true maps: |<S', S>| = {likeness.mean():.4f}, at least {likeness.min():.4f}")


# %%
# What iterates is stopped where it is best for this image, which nobody can do who does not know the image. MoDL has
# the weights that it was shipped with, from 80 images of chests.
def psnr(estimate):
    return -10 * torch.log10((estimate.abs() - image.abs()).square().mean()).item()


def variation(weight):
    splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
    return ADMM(CoilSampling(), [splitting], inner=(1e-3, 10))


def best(make, weights, iterations):
    found = [solve(make(weight), data, max_iterations=iterations, tolerance=1e-4).estimate for weight in weights]
    return max(found, key=psnr)


with torch.no_grad():
    estimates = {
        "root of the sum of squares": root_sum_of_squares(ifft(samples)),
        "CG-SENSE": best(lambda weight: ConjugateGradient(CoilSampling(), weight), (0.003, 0.01, 0.03), 40),
        "total variation": best(variation, (0.002, 0.004), 40),
        "MoDL": pretrained("medical/modl")(data),
        "the image": image,
    }

# %%
# Errors below, five times brighter. The phantom is smooth between sharp edges, as total variation likes it.
figure, axes = plt.subplots(2, 5, figsize=(12, 5), layout="constrained")
for column, (title, estimate) in zip(axes.T, estimates.items(), strict=True):
    score = "" if estimate is image else f"\n{psnr(estimate):.1f} dB"
    print(f"{title:28}{score.strip():>8}")
    column[0].imshow(estimate[0].abs().numpy(), vmin=0, vmax=1)
    column[0].set_title(title + score)
    column[1].imshow((estimate.abs() - image.abs())[0].abs().numpy(), vmin=0, vmax=0.2)
for axis in axes.flat:
    axis.set_axis_off()
axes[1, -1].imshow(torch.fft.fftshift(mask[0]).numpy())
plt.show()
