"""
Convolutional sparse coding
===========================

A convolutional dictionary has the same small atoms at every place of a picture, so that one code stands for the whole
picture and not for its blocks. The picture is measured by a quarter as many random projections as it has pixels.
Four iterations of ISTA with cosine patterns as atoms are unrolled; atoms and encoder are learned, the same ones in
all layers, from a few crops of other photographs. What they become is shown beside what they were. The
LISTA that comes with the library, trained longer and with matrices in each layer, is better still.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, pretrained, unroll
from unrolling.algorithms import SynthesisISTA, tight_frame
from unrolling.operators import dct_atoms
from unrolling.tasks import Photographs, free_mean
from unrolling.training import Cosine

task = Photographs()
picture = task.photographs["test"]["camera"][None, :256, 128:384]
y = task.sensing(picture)

# %%
# The dictionary: 64 cosine patterns of 8 x 8 pixels at every second pixel, a tight frame. The code of the best linear
# estimate is the start.
frame = tight_frame(dct_atoms(8), 2)
ista = SynthesisISTA(task.sensing, frame, free_mean(0.01, 8), initial=task.linear_estimate())
network = unroll(ista, depth=4, tied=("dictionary", "encoder"), untied="threshold")
stage = Stage(150, rate=5e-3, rates={"threshold": 1e-1}, batch=2, clip=0.05, annealing=Cosine(0.1, 1e-2))
fit(network, task, [stage], quiet=True, validations=0)

# %%
# PSNR on a photograph that was not trained on.
methods = {
    "linear estimate": task.linear_estimate(),
    "before training": unroll(ista, 4),
    "learned atoms": network,
    "LISTA, shipped": pretrained("sparse_coding/lista"),
}
with torch.no_grad():
    images = {name: method(y) for name, method in methods.items()}
quality = {name: float(-10 * torch.log10((image - picture).square().mean())) for name, image in images.items()}
for name, value in quality.items():
    print(f"{name:16}{value:6.2f} dB")


# %%
# Atoms above, each on its own scale; a detail of the pictures below.
def sheet(atoms, side=8, border=1):
    scaled = atoms / atoms.abs().amax((1, 2), keepdim=True)
    tiles = torch.nn.functional.pad(scaled, (border,) * 4, value=1.0)
    return tiles.unflatten(0, (side, side)).transpose(1, 2).flatten(2).flatten(0, 1).numpy()


panels = {
    "atoms before": sheet(ista.atoms().detach()),
    "atoms learned": sheet(network.layers[0].atoms().detach()),
    **{f"{name}, {quality[name]:.1f} dB": images[name][0, 66:162, 46:142].numpy() for name in images},
}
_, axes = plt.subplots(3, 2, figsize=(6, 9.3), layout="constrained")
for axis, (title, image) in zip(axes.flat, panels.items(), strict=True):
    axis.imshow(image, cmap="gray", vmin=-1 if title.startswith("atoms") else 0, vmax=1)
    axis.set_title(title)
    axis.axis("off")
plt.show()
