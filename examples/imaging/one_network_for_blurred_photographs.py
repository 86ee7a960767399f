r"""
One network for blurred photographs
===================================

A camera moves while it exposes, trembles, or is out of focus; its files have noise and 8 bits. Weights for one kind of
blur at one level of noise fail at another. Here the noise enters the network: every threshold, penalty and step of
DUBLID goes with a power of its standard deviation, :math:`p_l(\sigma) = p_l (\sigma / 0.01)^{s_l}`, the powers learned;
and a picture in which it finds no blur is left alone: :math:`\hat x = y + c\,(x - y)`.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import BlindDeblurring, NoisyImage, differences
from unrolling.operators import convolve_valid
from unrolling.tasks import aligned, disc, linear_motion, photograph, shake

# %%
# Four ways to take a photograph that was not trained on: each with its kernel and noise.
wide = photograph("astronaut")[:286, 100:386].unsqueeze(0)
sharp = wide[:, 15:-15, 15:-15]
ways = {
    "straight, 3 % noise": (linear_motion(15, 2.2, 31), 0.03),
    "trembling, 1 %": (shake(31, torch.Generator().manual_seed(7)), 0.01),
    "out of focus, 1 %": (disc(3.0, 31), 0.01),
    "sharp, none": (disc(0.0, 31), 0.0),
}


# %%
# A blind method cannot know whether image or kernel was moved: scores are at the best shift within 12 pixels. Beside
# the network the classical algorithm, blind total variation, with settings from other photographs.
def psnr(picture):
    moved, inner = aligned(picture.clamp(0, 1), sharp, 12)
    return min(99.0, -10 * torch.log10((moved - inner).square().mean()).item())


network = pretrained("imaging/dublid", "camera_blur")

# %%
# What the level is good for: the same picture, told that it has another noise than it has.
kernel, _ = ways["straight, 3 % noise"]
y = convolve_valid(wide, kernel.unsqueeze(0)) + 0.03 * torch.randn(
    sharp.shape, generator=torch.Generator().manual_seed(0)
)
with torch.no_grad():
    for sigma in (0.003, 0.01, 0.03, 0.05):
        print(f"told {sigma:.1%}: {psnr(network(NoisyImage(y, torch.tensor([sigma])))):.2f} dB")

# %%
# And the four ways, with the kernel that was and the one that was found.
variation = BlindDeblurring(differences(), weight=0.0003, coupling=0.5, retrieval=10.0, rate=0.95, kernel_size=45)
figure, axes = plt.subplots(4, 3, figsize=(6, 8.6), layout="constrained")
print(f"{'':22}{'blurred':>9}{'blind TV':>10}{'DUBLID':>9}  dB")
for row, (name, (kernel, sigma)) in zip(axes, ways.items(), strict=True):
    noise = sigma * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0))
    y = (255 * (convolve_valid(wide, kernel.unsqueeze(0)) + noise).clamp(0, 1)).round() / 255
    told = NoisyImage(y, torch.tensor([max(sigma, 0.0011)]))  # rounding to 8 bits is noise too
    with torch.no_grad():
        restored, state = network(told, return_state=True)
    classical = solve(variation, y, tolerance=1e-4, max_iterations=60).estimate
    scores = [psnr(picture) for picture in (y, classical, restored)]
    print(f"{name:22}{scores[0]:9.2f}{scores[1]:10.2f}{scores[2]:9.2f}")
    found = state.kernel[0, 7:38, 7:38]
    for axis, picture, score, inset in zip(row, (y, classical, restored), scores, (kernel, None, found), strict=True):
        axis.imshow(picture[0, 30:200, 50:220].numpy(), vmin=0, vmax=1)
        axis.set_title(f"{score:.2f} dB", fontsize=9)
        axis.set(xticks=[], yticks=[])
        if inset is not None:
            corner = axis.inset_axes((0.02, 0.66, 0.32, 0.32))
            corner.imshow(inset.numpy())
            corner.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, fontsize=9)
for axis, name in zip(axes[0], ("blurred", "blind total variation", "DUBLID"), strict=True):
    axis.set_title(f"{name}\n{axis.get_title()}", fontsize=9)
plt.show()
