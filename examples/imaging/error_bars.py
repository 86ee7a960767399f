r"""
Where a denoiser is unsure
==========================

A network that removes noise gives a picture and no word on how far each pixel may be off. Half-widths that are
calibrated on other pictures hold for nine pixels of ten, whatever the network is; where the last layers do not agree
they are wider.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained
from unrolling.evaluation import Constant, calibrate, coverage
from unrolling.systems.catalogue import find
from unrolling.tasks import Samples, photograph

# %%
# Sixty pieces of photographs, noise of 25 of 255, tell how large half-widths must be.

network = pretrained("imaging/tnrd").eval()
task = find("imaging/tnrd").task("denoising")
generator = torch.Generator().manual_seed(3)
pieces = [task.draw(10, generator) for _ in range(6)]
promised = calibrate(network, pieces, 0.9)
constant = calibrate(network, pieces, 0.9, score=Constant(network))
print(promised)

# %%
# A photograph that none of them was cut from.

clean = photograph("astronaut")[20:180, 130:340].unsqueeze(0)
noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=generator)
band = promised(noisy)
print("spread over layers:", coverage(promised, [Samples(noisy, clean)]))
print("the same everywhere:", coverage(constant, [Samples(noisy, clean)]))
bound = float(promised.psnr_bound(noisy))
psnr = float(-10 * (band.estimate - clean).square().mean().log10())
print(f"PSNR {psnr:.2f} dB; with a probability of 90 % at least {bound:.2f} dB")

# %%
# Wide where there are edges and hair, narrow in what is smooth; what lies outside is spread over the picture.

panels = {
    "noisy": noisy[0],
    f"denoised, {psnr:.1f} dB": band.estimate[0],
    "half-width, 90 %": band.half_width[0],
    "outside": (~band.contains(clean))[0].float(),
}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.5), layout="constrained")
for axis, (name, picture) in zip(axes, panels.items(), strict=True):
    drawn = axis.imshow(picture, cmap="gray" if name != "half-width, 90 %" else "magma")
    axis.set_title(name, fontsize=9)
    axis.axis("off")
    if name == "half-width, 90 %":
        figure.colorbar(drawn, ax=axis)
plt.show()
