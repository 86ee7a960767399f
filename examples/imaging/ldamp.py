r"""
Noise that stays white
======================

Message passing on images: every step of D-AMP adds :math:`A^Tz` to the picture so far and lets a denoiser take away
the noise that is then in it. One term of the residual, Onsager's, keeps that noise white and Gaussian, so that its
level is known and a denoiser of white noise is the right one; with a network for a denoiser this is Learned D-AMP
(Metzler, Mousavi and Baraniuk 2017). Here it is a network that ships with the library, trained for nothing but noise.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, unroll
from unrolling.algorithms import (
    DenoisedAMP,
    MatrixMeasurements,
    MatrixSamples,
    NoisyImage,
    effective_noise,
    effective_noise_table,
    gaussian_matrix,
)
from unrolling.operators import Wavelet
from unrolling.prox import DenoiserProx, OrthonormalDenoiser
from unrolling.tasks import photograph

# %%
# A quarter of the measurements: each is a mixture of all pixels with random weights.
clean = torch.nn.functional.avg_pool2d(photograph("camera").unsqueeze(0), 4)[:, 12:76, 30:94]
matrix = gaussian_matrix(1024, 4096, torch.Generator().manual_seed(0))
data = MatrixSamples(clean.flatten(1) @ matrix[0].T, matrix)
term = MatrixMeasurements((64, 64))

# %%
# The network of imaging/denoise was trained for noise up to 75 of 255; stronger noise is scaled down to that.
denoiser = DenoiserProx(pretrained("imaging/denoise"), told=NoisyImage, most=75 / 255)
methods = {
    "with Onsager's term": DenoisedAMP(term, denoiser),
    "without it": DenoisedAMP(term, denoiser, onsager=False),
    "wavelets, with it": DenoisedAMP(term, OrthonormalDenoiser(Wavelet(), 2.0)),
}
found, noise = {}, {}
with torch.no_grad():
    for name, step in methods.items():
        found[name] = unroll(step, 8)(data)
        noise[name] = effective_noise(step, data, clean, 8)
        print(f"--- {name}\n{effective_noise_table(noise[name])}")

# %%
# What state evolution predicts, what the algorithm estimates, and what it is: equal with the term. Without it the
# denoiser is told too little, and what it leaves comes back in the next step.


def psnr(picture):
    return float(-10 * (picture.clamp(0, 1) - clean).square().mean().log10())


figure, axes = plt.subplots(1, 5, figsize=(12, 2.7), layout="constrained")
for axis, (name, picture) in zip(axes, {"photograph": clean, **found}.items(), strict=False):
    axis.imshow(picture[0], vmin=0, vmax=1, cmap="gray")
    axis.set_title(name if picture is clean else f"{name}, {psnr(picture):.1f} dB", fontsize=9)
    axis.set_axis_off()
for name, colour in (("with Onsager's term", "C0"), ("without it", "C1")):
    layers = [row.layer for row in noise[name]]
    axes[4].semilogy(layers, [row.true for row in noise[name]], color=colour, label=name)
    axes[4].semilogy(layers, [row.estimated for row in noise[name]], "o", color=colour, markersize=4)
axes[4].set_xlabel("layer (dots: estimated level)", fontsize=8)
axes[4].legend(title="noise of the input", fontsize=7, title_fontsize=8)
plt.show()
