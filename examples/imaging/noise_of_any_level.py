r"""
Noise of any level
==================

A picture is taken to be a sum of small atoms, few of them, that lie at every fourth pixel. ISTA finds the code (survey,
section II); unrolled, with a learned dictionary and thresholds that follow the level of the noise, twelve steps of it
make a denoiser that serves every level with one file of weights (Simon and Elad 2019). The answer is the mean over all
16 positions of the grid. Beside it non-local means, and the same steps before training, when the atoms are cosines.
"""

import matplotlib.pyplot as plt
import torch
from skimage.restoration import denoise_nl_means

from unrolling import pretrained, solve
from unrolling.algorithms import NoisyImage
from unrolling.tasks import photograph

# %%
# A photograph that was not trained on, at three levels of 255. The network is told the level.
clean = photograph("camera")[60:220, 150:310].unsqueeze(0)
levels = (10.0, 25.0, 60.0)
noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
network = pretrained("imaging/denoise")


def psnr(picture):
    return -10 * torch.log10((picture.clamp(0, 1) - clean).square().mean()).item()


# %%
# Each level by each method. Non-local means are told the level, too; their strength was chosen on other photographs.
rows = []
for level in levels:
    data = NoisyImage(clean + level / 255 * noise, torch.tensor([level / 255]))
    with torch.no_grad():
        learned = network(data)
        before = solve(network.parent, data, tolerance=0.0, max_iterations=len(network)).estimate
    options = {"patch_size": 5, "patch_distance": 6, "h": 0.6 * level / 255, "sigma": level / 255}
    local = torch.from_numpy(denoise_nl_means(data.image[0].numpy(), **options)).unsqueeze(0)
    rows.append({"noisy": data.image, "cosines": before, "non-local means": local, "learned": learned})
    print(f"noise {level:2.0f}: " + ", ".join(f"{name} {psnr(picture):.2f} dB" for name, picture in rows[-1].items()))

# %%
# The cosines were weighted for a noise of 25 and leave some of it; learned atoms keep edges. What is finer than the
# noise is lost to all of them: at 60 the hair is a surface.
figure, axes = plt.subplots(3, 4, figsize=(8, 6.6), layout="constrained")
for line, level, row in zip(axes, levels, rows, strict=True):
    for axis, (name, picture) in zip(line, row.items(), strict=True):
        axis.imshow(picture[0].detach().numpy(), vmin=0, vmax=1)
        axis.set_title(f"{name}, {psnr(picture):.1f} dB", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    line[0].set_ylabel(f"noise {level:g}")
plt.show()

# %%
# Some of the learned atoms: edges of all directions, and waves. The strongest thirty in this picture.
atoms = network.layers[-1].atoms()
order = network.run(NoisyImage(clean, torch.tensor([10 / 255]))).code.detach().abs().mean((0, 1, 3, 4)).argsort()
figure, axes = plt.subplots(3, 10, figsize=(8, 2.6), layout="constrained")
for axis, number in zip(axes.flat, order.flip(0).tolist(), strict=False):
    axis.imshow(atoms[number].numpy())
    axis.set_axis_off()
plt.show()
