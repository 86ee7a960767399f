r"""
JPEG, undone as far as the file allows
======================================

A JPEG file stores the cosine coefficients of 8 x 8 blocks, rounded: it says of each between which two values it was.
The diffusion network TNRD (survey, section V-C), trained for this, projects onto these boxes in each of its four steps
in the place of a data term. The photograph that comes out is one that could have given this very file.
"""

import matplotlib.pyplot as plt
import torch
from skimage.restoration import denoise_tv_chambolle

from unrolling import pretrained, solve
from unrolling.algorithms import PeronaMalik, QuantisedBlocks
from unrolling.tasks import compress, photograph

network = pretrained("imaging/tnrd_jpeg")  # its weights are for files of quality 10
clean = (photograph("astronaut")[:256, 100:356].unsqueeze(0) * 255).round() / 255


def psnr(picture):
    return -10 * torch.log10((picture.clamp(0, 1) - clean).square().mean()).item()


# %%
# Three ways to look at one file: smoothing without asking what it says (total variation, scikit-image), diffusion
# between projections onto the boxes (Perona and Malik), and the network. The settings of the two classical methods are
# the best of a few on another photograph, coffee.
def variation(file):
    return torch.from_numpy(denoise_tv_chambolle(file.image[0].numpy(), weight=0.02)).unsqueeze(0)


def diffusion(file):
    return solve(PeronaMalik(QuantisedBlocks(), contrast=0.01), file, tolerance=1e-4, max_iterations=60).estimate


def learned(file):
    with torch.no_grad():
        return network(file)


methods = {
    "as decoded": lambda file: file.image,
    "diffusion + boxes": diffusion,
    "total variation": variation,
    "TNRD, 4 steps": learned,
}

# %%
# The boxes shrink as the quality rises, and bound what can go wrong: total variation, which does not heed them, loses
# several decibels of a good file. Where JPEG changed less than the network was trained to undo, it too does harm.
# (``unroll apply imaging/tnrd_jpeg`` therefore reads the quality in the file; above 80 it changes nothing.)
qualities = (5, 10, 20, 40, 60, 80, 90)
scores = {name: [psnr(method(compress(clean, q))) for q in qualities] for name, method in methods.items()}
for name, score in scores.items():
    print(f"{name:18}", "  ".join(f"{q}: {s:.2f} dB" for q, s in zip(qualities, score, strict=True)))
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for name, style in (("TNRD, 4 steps", "C0o-"), ("total variation", "C1^-"), ("diffusion + boxes", "C2s-")):
    gain = [score - decoded for score, decoded in zip(scores[name], scores["as decoded"], strict=True)]
    axis.plot(qualities, gain, style, label=name)
axis.axhline(0, color="0.5", linewidth=1, label="as decoded")
axis.set(xlabel="quality of the JPEG file", ylabel="PSNR above the decoded picture, dB")
axis.legend()
plt.show()

# %%
# A detail of the file of quality 10.
file = compress(clean, 10)
figure, axes = plt.subplots(2, 2, figsize=(6, 6.5), layout="constrained")
for axis, (name, method) in zip(axes.flat, methods.items(), strict=True):
    picture = method(file)
    axis.imshow(picture[0, 30:150, 60:180].numpy(), vmin=0, vmax=1)
    axis.set_title(f"{name}\n{psnr(picture):.2f} dB")
    axis.set_axis_off()
plt.show()
# sphinx_gallery_thumbnail_number = 2
