r"""
A denoiser that saw no clean picture
====================================

Nobody has the photograph without its noise. Stein's unbiased risk estimate does without it: for white noise of standard
deviation :math:`\sigma`, :math:`\frac1n\lVert f(y)-y\rVert^2-\sigma^2+\frac{2\sigma^2}{n}\operatorname{div}f(y)` is on
average the squared error of :math:`f(y)`, and a random probe tells the divergence. Here nonlinear diffusion is unrolled
(TNRD, Chen and Pock 2017) and trained twice from the same start on the same noisy crops: with the clean ones beside
them, and without.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, solve
from unrolling.algorithms import ADMM, LeastSquares, Splitting
from unrolling.operators import FiniteDifferences, Identity
from unrolling.prox import IsotropicShrink
from unrolling.systems import find
from unrolling.tasks import Denoising
from unrolling.training import SURE, Cosine

torch.manual_seed(0)
task, system = Denoising(sigma=25, crop=40), find("imaging/tnrd")
networks = {name: system.network(system.recipes["denoising"], task, 3) for name in ("with truth", "without")}

# %%
# A loss is a value of the stage. That without truth never looks at the target; what it asks for, the task tells it:
# that data are the picture with noise on it, and how strong the noise is.
measurement = task.measurement()
print("noise:", measurement.noise(task.timing.data))
for name, loss in {"with truth": None, "without": SURE()}.items():
    stage = Stage(150, rate=1e-2, batch=4, annealing=Cosine(0.1, 0.05), clip=1.0, loss=loss)
    fit(networks[name], task, [stage], quiet=True, validations=0)

# %%
# A part of a photograph that neither of them was trained on.
samples = task.test[1]
window = (slice(None), slice(60, 260), slice(130, 330))
data, clean = samples.data[window], samples.target[window]
estimates = {"noisy": data}
with torch.no_grad():
    for name, network in networks.items():
        estimates[name] = network(data)


def psnr(estimate):
    return task.metric.value(task.metric.pieces(estimate, samples._replace(data=data, target=clean)))


def variation(weight):
    splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
    return solve(ADMM(LeastSquares(Identity()), [splitting]), data, max_iterations=60, tolerance=1e-4).estimate


# %%
# Total variation has the best of three weights for this photograph, which takes the truth.
estimates["total variation"] = max((variation(weight) for weight in (0.05, 0.07, 0.09)), key=psnr)
print(", ".join(f"{name} {psnr(estimate):.2f} dB" for name, estimate in estimates.items()))

# %%
# The two networks are alike, and so are their pictures.
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, (name, estimate) in zip(axes, estimates.items(), strict=True):
    axis.imshow(estimate[0].clamp(0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}\n{psnr(estimate):.2f} dB")
    axis.set_axis_off()
plt.show()
