r"""
A denoiser that converges
=========================

Plug-and-play methods put a denoiser in the place of a prox, and whether they converge is then a question about the
denoiser: Ryu et al. 2019 ask for a small Lipschitz constant of :math:`D(x)-x`. Here a small network is trained for a
few seconds twice, as it is, and with real spectral normalisation, each convolution divided by its norm as an operator
on images. Both sharpen a photograph with a known blur; only for one is convergence known beforehand.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import solve
from unrolling.algorithms import ChambollePock, DouglasRachford, LeastSquares, plug_and_play_conditions
from unrolling.networks import DnCNN, LipschitzDnCNN
from unrolling.operators import CircularConvolution, FiniteDifferences
from unrolling.prox import DenoiserProx, IsotropicShrink
from unrolling.tasks import photograph

# %%
# Training: crops of one photograph with noise of 5 of 255.
torch.manual_seed(0)
camera, sigma = photograph("camera"), 5 / 255


def trained(network, steps=1200):
    optimizer = torch.optim.Adam(network.train().parameters(), 2e-3)
    for _ in range(steps):
        i, j = torch.randint(200, 470, (2,)).tolist()
        clean = camera[None, i : i + 40, j : j + 40]
        optimizer.zero_grad()
        (network(clean + sigma * torch.randn_like(clean)) - clean).square().mean().backward()
        optimizer.step()
    return network.eval()


plain, normalised = DnCNN(4, 16, normalise=False), LipschitzDnCNN(4, 16, epsilon=0.5)
networks = {"as it is": trained(plain), "normalised": trained(normalised)}

# %%
# The problem: a weak blur whose transfer function has no zeros, so that the data term is strongly convex.
kernel = torch.tensor([[0.02, 0.08, 0.02], [0.08, 0.6, 0.08], [0.02, 0.08, 0.02]])
clean = camera[None, 60:156, 160:256]
blur = CircularConvolution(kernel)
noise = 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
data, term = blur(clean) + noise, LeastSquares(blur)
for name, network in networks.items():
    print(f"--- {name}\n{plug_and_play_conditions(term, data, network, clean)}")

# %%
# Douglas and Rachford's splitting with each of them, and total variation beside it, its weight the best of three. So
# short a training leaves the constrained network behind; the other one's epsilon is above one, and nothing is promised.
found, changes = {}, {}
for name, network in networks.items():
    changes[name] = []
    step = DouglasRachford(term, DenoiserProx(network, sigma=sigma), 0.0, step_size=4.0)
    with torch.no_grad():
        found[name] = solve(step, data, tolerance=0.0, max_iterations=60, callback=changes[name].append).estimate


def psnr(picture):
    return float(-10 * (picture.clamp(0, 1) - clean).square().mean().log10())


gradient, weights = FiniteDifferences("circular"), (0.0003, 0.0006, 0.0012)
methods = [ChambollePock(term, gradient, IsotropicShrink(), w, primal_step=4.0) for w in weights]
variations = [solve(method, data, tolerance=0.0, max_iterations=150).estimate for method in methods]
pictures = {"blurred": data, "total variation": max(variations, key=psnr), **found}
print(", ".join(f"{name} {psnr(picture):.2f} dB" for name, picture in pictures.items()))

figure, axes = plt.subplots(1, 5, figsize=(12, 2.7), layout="constrained")
for axis, (name, picture) in zip(axes, pictures.items(), strict=False):
    axis.imshow(picture[0].detach(), vmin=0, vmax=1, cmap="gray")
    axis.set_title(f"{name}, {psnr(picture):.1f} dB", fontsize=9)
    axis.set_axis_off()
for name, steps in changes.items():
    axes[4].semilogy([now.residual.item() for now in steps], label=name)
axes[4].legend(title="change of a step", fontsize=8)
plt.show()
