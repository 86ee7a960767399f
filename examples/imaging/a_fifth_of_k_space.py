r"""
A fifth of k-space
==================

A magnetic resonance scanner measures an image's Fourier transform, its k-space, line by line; a fifth of the lines
takes a fifth of the time. ADMM-CSNet (survey, box "ADMM-CSNet") is fourteen steps of ADMM whose filters, shrinkages
and penalties are learned; one file of weights serves 10 to 50 % of k-space. Its rival is ADMM with total variation, up
to 300 steps of it, with the best of four weights for each image.
"""

import matplotlib.pyplot as plt
import skimage
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import ADMM, SampledFourier, Splitting
from unrolling.operators import FiniteDifferences, KSpace
from unrolling.operators.fourier import fft, ifft
from unrolling.prox import IsotropicShrink
from unrolling.tasks import luma, radial_mask

size = 256
network = pretrained("medical/admm_csnet")  # trained on magnetic resonance images of chests and a brain
mask = torch.fft.ifftshift(radial_mask(size, rate=0.2)).unsqueeze(0)  # zero frequency at (0, 0)


# %%
# Two images unlike chests: the vessels of a retina, and the phantom of Shepp and Logan, which is constant between its
# edges. Of each, a fifth of the frequencies is kept, on lines through the middle.
def read(picture):
    small = skimage.transform.resize(luma(picture).numpy(), (size, size), anti_aliasing=True)
    return torch.from_numpy(small).float().unsqueeze(0)


images = {"retina": read(skimage.data.retina()), "phantom": read(skimage.data.shepp_logan_phantom())}
data = {name: KSpace(mask * fft(image), mask) for name, image in images.items()}


# %%
# Where total variation describes the image, nothing is left to learn, and it is better by far: the phantom is recovered
# exactly. Of the retina it makes steps; the network keeps more of the vessels.
def variation(weight):
    splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
    return ADMM(SampledFourier(real=True), [splitting])


def psnr(name, estimate):
    return -10 * torch.log10((estimate - images[name]).square().mean()).item()


def best_variation(name):
    found = [solve(variation(w), data[name], max_iterations=300, tolerance=1e-4) for w in (5e-4, 1e-3, 2e-3, 4e-3)]
    return max((solution.estimate for solution in found), key=lambda estimate: psnr(name, estimate))


def learned(name):
    with torch.no_grad():
        return network(data[name])


methods = {
    "zeros for the rest": lambda name: ifft(data[name].samples).real,
    "total variation": best_variation,
    "ADMM-CSNet": learned,
    "the image": lambda name: images[name],
}
shown = {"retina": (slice(60, 160), slice(60, 160)), "phantom": (slice(70, 190), slice(60, 180))}
figure, axes = plt.subplots(4, 2, figsize=(6, 12), layout="constrained")
for row, (title, method) in zip(axes, methods.items(), strict=True):
    for axis, name in zip(row, images, strict=True):
        estimate = method(name)
        detail, score = images[name][0][shown[name]], f"{psnr(name, estimate):.1f} dB"
        print(f"{name:8}{title:20}{score:>8}")
        axis.imshow(estimate[0][shown[name]].numpy(), vmin=detail.min(), vmax=detail.max())
        axis.set_title(f"{title}\n{score}" if title in list(methods)[:-1] else title)
        axis.set_axis_off()
inset = axes[0, 0].inset_axes((0.68, 0.68, 0.3, 0.3))
inset.imshow(torch.fft.fftshift(mask[0]).numpy())
inset.set(xticks=[], yticks=[])
plt.show()
