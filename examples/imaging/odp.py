r"""
What a step on the data is worth
================================

Unrolled optimisation with deep priors (Diamond et al. 2017) lets a small network work on a picture, brings the result
back to the data in closed form, and does so again. Here three networks of three convolutions, trained for some seconds
to sharpen photographs whose blur is known: once with the steps on the data between them, once without. Both start from
the same regularised inverse.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from unrolling import Stage, fit, unroll
from unrolling.algorithms import DenoisedLeastSquares, KnownBlur
from unrolling.networks import DnCNN
from unrolling.tasks import KnownDeblurring

task = KnownDeblurring(size=13, crop=40)  # trembling hands, noise of 1 %
ALPHA = (0.05 / task.noise) ** 2  # the weight of the data: error of a network's picture over noise, squared


def network():
    """x - R(x), R = 0 before training."""
    torch.manual_seed(0)
    found = DnCNN(3, 12, normalise=False)
    nn.init.zeros_(found.residual[-1].weight)
    nn.init.zeros_(found.residual[-1].bias)
    return found


class WithoutData(nn.Module):
    """The networks in a row."""

    def __init__(self):
        super().__init__()
        self.step = DenoisedLeastSquares(KnownBlur(), None, 1 / ALPHA, start="regularised").requires_grad_(False)
        self.networks = nn.Sequential(network(), network(), network())

    def forward(self, data):
        return self.networks(self.step.start(self.step.prepare(data)))


# %%
# A step is :math:`z=D_k(x)`, then :math:`x=\arg\min\alpha_k\Vert Ax-y\Vert^2+\Vert x-z\Vert^2`. Before training the
# networks change nothing, and it is Tikhonov's regularisation iterated.
step = DenoisedLeastSquares(KnownBlur(), network(), 1 / ALPHA, start="regularised")
methods = {
    "without steps on the data": WithoutData(),
    "with": unroll(step, 3, untied=("weight", "denoiser")),
}
schedule = [Stage(150, rate=3e-3, rates={"weight": 2e-2}, batch=4, clip=1.0)]
fit(methods["without steps on the data"], task, [Stage(150, rate=3e-3, batch=4, clip=1.0)], validations=0, quiet=True)
fit(methods["with"], task, schedule, validations=0, quiet=True)
print(
    "alpha", [round(1 / float(layer.weight.detach()), 1) for layer in methods["with"].layers], "from", round(ALPHA, 1)
)

# %%
# A photograph that was not trained on.
held = task.test[1]
with torch.no_grad():
    found = {"blurred": held.data.image, "regularised inverse": step.start(step.prepare(held.data))}
    found |= {name: method.eval()(held.data) for name, method in methods.items()}
figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
for axis, (name, picture) in zip(axes, found.items(), strict=True):
    psnr = float(-10 * (picture.clamp(0, 1) - held.target).square().mean().log10())
    print(f"{name}: {psnr:.2f} dB")
    axis.imshow(picture[0, 80:240, 160:320].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}, {psnr:.1f} dB", fontsize=9)
    axis.set_axis_off()
plt.show()
