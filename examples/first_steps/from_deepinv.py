"""
From deepinv
============

deepinv has operators ("physics") of many kinds, and so has whoever wrote a forward model down: both become operators
here, by ``from_deepinv`` or by a class with ``forward`` and ``adjoint``. On them an unfolded network is the same
mathematics in either library: proximal gradient descent (the survey's equation (2)), of which a step size in each layer
and a small denoiser in the place of the proximal map are learned. Half of a photograph's pixels are missing here. Total
variation, which needs no training, is the rival, and no weak one.

In deepinv the network is ``dinv.optim.PGD(data_fidelity=L2(), prior=PnP(denoiser), max_iter=6, unfold=True,
trainable_params=["stepsize"])``, called as ``model(y, physics)``.
"""

import math
from importlib.util import find_spec

import matplotlib.pyplot as plt
import torch
from torch import nn

from unrolling import LinearOperator, Stage, fit, solve, unroll
from unrolling.algorithms import ADMM, ISTA, LeastSquares, Splitting
from unrolling.operators import FiniteDifferences, from_deepinv
from unrolling.prox import IsotropicShrink
from unrolling.tasks import PSNR, Pairs, photograph
from unrolling.testing import check_adjoint

torch.manual_seed(0)
mask = (torch.rand(1, 64, 64) < 0.5).float()


# %%
# The forward model in two lines; or a physics of deepinv, where that is installed.
class Inpainting(LinearOperator):
    forward = adjoint = lambda self, x: mask * x


operator = Inpainting((1, 64, 64), (1, 64, 64))
if find_spec("deepinv"):
    import deepinv

    operator = from_deepinv(deepinv.physics.Inpainting(img_size=(1, 64, 64), mask=mask), (1, 64, 64))
check_adjoint(operator)  # <A x, y> = <x, A^T y>


# %%
# A prior is a proximal map here, a function of an image and a threshold. The untrained network is gradient descent.
class Denoiser(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
        nn.init.zeros_(self[2].weight)

    def forward(self, image, threshold):
        return image + super().forward(image)


network = unroll(ISTA(operator, 0.0, prox=Denoiser(), step_size=1.0), depth=6, untied=("step_size", "prox"))
crops = torch.cat([photograph(p).unfold(0, 64, 64).unfold(1, 64, 64).flatten(0, 1) for p in ("china", "coins")])
pairs = list(zip(operator(crops[:, None]), crops[:, None], strict=True))
fit(network, Pairs(pairs[10:], pairs[:10], metric=PSNR), [Stage(250, rate=5e-3, batch=4, clip=0.1)], quiet=True)

# %%
# A photograph that it has not seen.
picture = photograph("camera")[None, 106:170, 198:262]
variation = Splitting(FiniteDifferences(), IsotropicShrink(), weight=0.002, penalty=0.05)
tv = ADMM(LeastSquares(Inpainting((64, 64), (64, 64))), [variation])
images = {
    "original": picture,
    "half of the pixels": mask * picture,
    "total variation": solve(tv, mask * picture, tolerance=1e-4, max_iterations=500).estimate,
    "6 learned layers": network((mask * picture)[None])[0].detach(),
}
_, axes = plt.subplots(2, 2, figsize=(6, 6.4), layout="constrained")
for axis, (name, image) in zip(axes.flat, images.items(), strict=True):
    error = float((image - picture).square().mean())
    axis.imshow(image[0].numpy(), vmin=0, vmax=1, cmap="gray")
    axis.set(title=name + (f": {-10 * math.log10(error):.1f} dB" if error else ""), xticks=(), yticks=())
    print(axis.get_title())
plt.show()
