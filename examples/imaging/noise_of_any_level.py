r"""
Noise of any level
==================

Two networks, each with one file of weights for every level. ``imaging/cscnet`` takes a picture to be a sum of small
atoms, few of them: twelve steps of ISTA (survey, section II) with a learned dictionary find the code (Simon and Elad
2019). ``imaging/denoise`` is half-quadratic splitting with two learned proximal operators on two scales. Beside them
non-local means, which are told the level too.
"""

import matplotlib.pyplot as plt
import torch
from skimage.restoration import denoise_nl_means

from unrolling import pretrained
from unrolling.algorithms import NoisyImage
from unrolling.tasks import photograph

# %%
# A photograph that was not trained on, at three levels of 255. The network is told the level.
clean = photograph("camera")[60:220, 150:310].unsqueeze(0)
levels = (10.0, 25.0, 60.0)
noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
network, coding = pretrained("imaging/denoise"), pretrained("imaging/cscnet")


def psnr(picture):
    return -10 * torch.log10((picture.clamp(0, 1) - clean).square().mean()).item()


# %%
# Each level by each method. Non-local means are told the level, too; their strength was chosen on other photographs.
rows = []
for level in levels:
    data = NoisyImage(clean + level / 255 * noise, torch.tensor([level / 255]))
    with torch.no_grad():
        learned, coded = network(data), coding(data)
    options = {"patch_size": 5, "patch_distance": 6, "h": 0.6 * level / 255, "sigma": level / 255}
    local = torch.from_numpy(denoise_nl_means(data.image[0].numpy(), **options)).unsqueeze(0)
    rows.append({"noisy": data.image, "non-local means": local, "dictionary": coded, "two scales": learned})
    print(f"noise {level:2.0f}: " + ", ".join(f"{name} {psnr(picture):.2f} dB" for name, picture in rows[-1].items()))

# %%
# What is finer than the noise is lost to all of them: at 60 the hair is a surface. A network that sees more of the
# picture at once keeps longer edges.
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
# Some of the atoms of the dictionary: edges of all directions, and waves. The strongest thirty in this picture.
atoms = coding.layers[-1].atoms()
order = coding.run(NoisyImage(clean, torch.tensor([10 / 255]))).code.detach().abs().mean((0, 1, 3, 4)).argsort()
figure, axes = plt.subplots(3, 10, figsize=(8, 2.6), layout="constrained")
for axis, number in zip(axes.flat, order.flip(0).tolist(), strict=False):
    axis.imshow(atoms[number].numpy())
    axis.set_axis_off()
plt.show()
