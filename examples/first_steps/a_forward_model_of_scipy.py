r"""
A forward model of SciPy
========================

Whoever has an inverse problem mostly has its forward model too: a sparse matrix, a ``LinearOperator``, two functions.
``from_scipy`` and ``from_functions`` make operators of them that networks are trained through, and ``to_scipy`` lends
ours to SciPy. Here sound goes straight from one borehole to another, and its travel times tell how slow the ground
between them is. No ray runs up or down: least squares with a smooth solution is the rival; gradient steps with a small
network as their prox know what layers with a fault look like.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator, cg

from unrolling import Stage, fit, unroll
from unrolling.algorithms import ISTA
from unrolling.operators import FiniteDifferences, from_scipy, to_scipy
from unrolling.tasks import PSNR, Pairs
from unrolling.testing import check_adjoint

# %%
# The forward model as a program for tomography has it: the length of each ray in each cell, mostly zero.
N, NOISE, rng = 24, 0.02, np.random.default_rng(0)
rays, along = np.meshgrid(np.arange(N * N), (np.arange(16 * N) + 0.5) / (16 * N), indexing="ij")
depth = (1 - along) * (rays // N + 0.5) + along * (rays % N + 0.5)
cells = np.floor(depth).astype(int) * N + np.floor(along * N).astype(int)
length = np.hypot(1, (rays // N - rays % N) / N) / (16 * N)
times = sparse.csr_array((length.ravel(), (rays.ravel(), cells.ravel())), shape=(N * N, N * N))
operator = from_scipy(times, input_shape=(N, N))
check_adjoint(operator)  # <A x, y> = <x, A^T y>, and the gradient of A x is A^T


# %%
# Layers with a fault.
def ground(count):
    pictures = np.empty((count, N, N), dtype=np.float32)
    for picture in pictures:
        layers = np.repeat(rng.uniform(0, 1, N), rng.integers(3, 8, N))
        fault, throw, slope = rng.integers(4, N - 4), rng.integers(2, 9), rng.uniform(-0.3, 0.3)
        row, column = np.mgrid[:N, :N]
        picture[:] = layers[row + throw * (column > fault + slope * (row - N / 2)) + rng.integers(0, 20)]
    return torch.from_numpy(pictures)


x = ground(601)
y = operator(x) + NOISE * torch.from_numpy(rng.normal(size=(601, N * N))).float()


# %%
# The network: gradient steps whose lengths are learned, and their prox. Gradients go through SciPy's matrix.
class Denoiser(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 1, 3, padding=1))
        torch.nn.init.zeros_(self[2].weight)

    def forward(self, image, threshold):
        return image + super().forward(image.unsqueeze(1)).squeeze(1)


torch.manual_seed(0)
step = 1.5 / operator.norm() ** 2
network = unroll(ISTA(operator, 0.0, prox=Denoiser(), step_size=step), depth=6, untied=("step_size", "prox"))
task = Pairs(list(zip(y[41:], x[41:], strict=True)), list(zip(y[1:41], x[1:41], strict=True)), metric=PSNR)
fit(network, task, [Stage(220, rate=5e-3, batch=16, clip=0.1)], quiet=True)

# %%
# The rival: (A^T A + w D^T D) x = A^T y by SciPy's conjugate gradients, D the differences of this library.
A, D = aslinearoperator(times), to_scipy(FiniteDifferences(), shape=(N, N), dtype=torch.float64)
smooth = [cg(A.T @ A + w * (D.T @ D), A.T @ y[0].double().numpy())[0] for w in (0.0003, 0.001, 0.003, 0.01)]
best = min(smooth, key=lambda found: np.square(found - x[0].numpy().ravel()).sum()).reshape(N, N)
images = {"ground": x[0], "smooth, best of four": torch.tensor(best), "learned": network(y[:1])[0].detach()}
_, axes = plt.subplots(1, 3, figsize=(8, 3.2), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    axis.imshow(image.numpy(), vmin=0, vmax=1)
    decibels = float(-10 * (image - x[0]).square().mean().log10())
    axis.set(title=name + (f": {decibels:.1f} dB" if decibels < 99 else ""), xticks=(), yticks=())
plt.show()
