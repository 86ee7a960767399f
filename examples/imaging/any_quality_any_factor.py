r"""
Any quality, any factor
=======================

Of a JPEG file it is known between which two values every cosine coefficient was; of an enlarged picture, what it is
when it is made small again. ``imaging/deblock`` and ``imaging/enlarge`` take turns between such a step and a learned
proximal operator on two scales, :math:`x\leftarrow H(x+R(x,y,l))`, twice. One file of weights serves every quality, one
every factor.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained
from unrolling.algorithms import SmallImage
from unrolling.operators import BicubicReduction
from unrolling.tasks import compress, photograph

clean = (photograph("camera")[60:204, 150:294].unsqueeze(0) * 255).round() / 255


def psnr(picture):
    return -10 * torch.log10((picture.clamp(0, 1) - clean)[:, 4:-4, 4:-4].square().mean()).item()


# %%
# A photograph that was not trained on, as JPEG of three qualities: the network is told the quantisation of the file.
network, rows = pretrained("imaging/deblock"), []
for quality in (10, 30, 60):
    file = compress(clean, quality)
    with torch.no_grad():
        rows.append((f"quality {quality}", file.image, network(file)))
    print(f"{rows[-1][0]}: {psnr(file.image):.2f} dB, restored {psnr(rows[-1][2]):.2f} dB")

# %%
# The same photograph from a quarter, a ninth and a sixteenth of its pixels, beside bicubic interpolation.
network = pretrained("imaging/enlarge")
for factor in (2, 3, 4):
    reduction = BicubicReduction(factor)
    small = (reduction(clean).clamp(0, 1) * 255).round() / 255
    with torch.no_grad():
        rows.append((f"{factor} times", reduction.enlarge(small), network(SmallImage(small, factor))))
    print(f"{rows[-1][0]}: bicubic {psnr(rows[-1][1]):.2f} dB, learned {psnr(rows[-1][2]):.2f} dB")
    # what was enlarged is still the small picture when it is reduced
    print(f"    reduced again it is off by {255 * float((reduction(rows[-1][2]) - small).abs().mean()):.2f} of 255")

# %%
figure, axes = plt.subplots(2, 6, figsize=(10, 3.8), layout="constrained")
for column, (name, before, after) in zip(axes.T, rows, strict=True):
    for axis, picture in zip(column, (before, after), strict=True):
        axis.imshow(picture[0, 30:110, 30:110].numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{name}, {psnr(picture):.1f} dB", fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
axes[0, 0].set_ylabel("given")
axes[1, 0].set_ylabel("restored")
plt.show()
