r"""
Blind deblurring, and its kernel
================================

A camera that moved during the exposure blurs a photograph, :math:`y = k * x + n`, and the motion k is not known. DUBLID
(survey, box "DUBLID", equations (7)-(11)) unrolls ten steps of half-quadratic splitting, each of which improves image
and kernel in turn, with learned filters and thresholds. One sees the motion come out of the blurred photograph alone.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import BlindDeblurring, Blurred, HalfQuadraticSplitting, KnownBlur, differences
from unrolling.operators import FiniteDifferences, convolve_valid
from unrolling.prox import IsotropicShrink
from unrolling.tasks import aligned, linear_motion, photograph

# %%
# A motion over 15 pixels, and noise of 1 %. The photograph was not trained on.
wide = photograph("astronaut")[:286, 100:386].unsqueeze(0)
kernel = linear_motion(length=15, angle=2.2, size=31).unsqueeze(0)
blurred = convolve_valid(wide, kernel)
blurred = blurred + 0.01 * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
sharp = wide[:, 15:-15, 15:-15]

# %%
# The kernel after some of the layers, each at its own brightness: no motion at first, then its direction, then its
# length.
network = pretrained("imaging/dublid")
with torch.no_grad():
    kernels = [state.kernel for state in network.trajectory(blurred)]
    restored = network(blurred)
pictures = {f"layer {k}": kernels[k - 1][0, 7:38, 7:38] for k in (1, 5, 7, 8, 10)} | {"true": kernel[0]}
figure, axes = plt.subplots(2, 3, figsize=(6, 4.3), layout="constrained")
for axis, (name, picture) in zip(axes.flat, pictures.items(), strict=True):
    axis.imshow(picture.numpy())
    axis.set_title(name)
    axis.set_axis_off()

# %%
# Beside it the classical algorithm, blind total variation (its two settings the best of nine on another photograph, and
# those are the ones that change least); and total variation that is told the true motion, which no blind method is.
blind = BlindDeblurring(differences(), weight=0.0003, coupling=0.5, retrieval=10.0, rate=0.95, kernel_size=45)
classical = solve(blind, blurred, tolerance=1e-4, max_iterations=100)
told = HalfQuadraticSplitting(KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), 0.004, penalty=0.01)
framed = torch.nn.functional.pad(blurred.unsqueeze(1), (48,) * 4, mode="reflect").squeeze(1)
known = solve(told, Blurred(framed, kernel), tolerance=0.0, max_iterations=20).estimate[:, 48:-48, 48:-48]


# %%
# A blind method cannot know whether image or kernel was moved: scores are at the best shift within 12 pixels.
def psnr(picture):
    moved, inner = aligned(picture.clamp(0, 1), sharp, 12)
    return -10 * torch.log10((moved - inner).square().mean()).item()


results = {
    "blurred, and the true motion": (blurred, kernel),
    "blind total variation": (classical.estimate, classical.state.kernel[:, 7:38, 7:38]),
    "DUBLID": (restored, kernels[-1][:, 7:38, 7:38]),
    "total variation, told": (known, kernel),
}
figure, axes = plt.subplots(2, 2, figsize=(6, 6.6), layout="constrained")
for axis, (name, (picture, motion)) in zip(axes.flat, results.items(), strict=True):
    print(f"{name:30}{psnr(picture):.2f} dB")
    axis.imshow(picture[0, 30:200, 50:220].numpy(), vmin=0, vmax=1)
    axis.set_title(f"{name}\n{psnr(picture):.2f} dB")
    axis.set_axis_off()
    inset = axis.inset_axes((0.02, 0.68, 0.3, 0.3))
    inset.imshow(motion[0].numpy())
    inset.set(xticks=[], yticks=[])
plt.show()
# sphinx_gallery_thumbnail_number = 2
