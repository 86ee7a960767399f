r"""
Patches that look alike
=======================

A field of experts sees one patch of a photograph at a time, the non-local field of Sun and Tappen (2011) five: the
patch and the four around it that look most like it. Ten gradient steps on the energy are the network; the local field
is the case of one patch, and where both begin.
"""

import matplotlib.pyplot as plt
import torch
from skimage.restoration import denoise_nl_means

from unrolling import Stage, fit
from unrolling.operators import match_patches
from unrolling.systems import find
from unrolling.tasks import Denoising, photograph
from unrolling.training import Cosine

# %%
# A photograph that is not trained on, with noise of 25 grey levels, and the patches most like one of them, found in
# the noise.
clean = photograph("astronaut")[40:168, 180:308].unsqueeze(0)
noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
pixel = (96, 40)
matches = match_patches(noisy, 5).index[0, pixel[0] * clean.shape[2] + pixel[1]]
places = [divmod(int(match), clean.shape[2]) for match in matches]
print("most alike:", places)

# %%
# Both fields are trained alike: 80 steps with two crops of 40 x 40 pixels, seconds. Filters, amplitudes and step sizes
# move; at the start the filters are cosine patterns on the pixel's own patch and zero on the others.
task = Denoising(crop=40)
networks = {}
for name in ("imaging/local_mrf", "imaging/nlr_mrf"):
    system = find(name)
    networks[name] = system.network(system.recipes["denoising"], task)
    start = networks[name](noisy).detach()
    stage = Stage(80, rate=1e-2, batch=2, annealing=Cosine(0.05, 0.02), clip=1.0)
    fit(networks[name], task, [stage], validations=0, quiet=True)


# %%
# The classical rival looks for similar patches too: non-local means of scikit-image.
def psnr(picture):
    return float(-10 * (picture.clamp(0, 1) - clean).square().mean().log10())


means = denoise_nl_means(noisy[0].numpy(), patch_size=5, patch_distance=6, h=0.6 * 25 / 255, sigma=25 / 255)
pictures = {
    "noisy": noisy,
    "non-local means": torch.from_numpy(means).unsqueeze(0),
    "before training": start,
    "one patch": networks["imaging/local_mrf"](noisy).detach(),
    "five patches": networks["imaging/nlr_mrf"](noisy).detach(),
}
figure, axes = plt.subplots(1, 5, figsize=(12, 2.9), layout="constrained")
for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
    print(f"{name:16}{psnr(picture):6.2f} dB")
    axis.imshow(picture[0].clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}\n{psnr(picture):.2f} dB")
    axis.set_axis_off()
for row, column in places:
    axes[0].add_patch(plt.Rectangle((column - 3.5, row - 3.5), 7, 7, fill=False, edgecolor="tab:orange"))
plt.show()
