r"""
Bands and one sharp picture
===========================

A satellite's camera has few pixels for each band and many for the panchromatic picture over all of them. Pan-sharpening
puts the two together. Here a photograph stands in for the scene (Wald's protocol): its three bands are blurred as a
sensor would and reduced to a sixteenth of their pixels, and a mixture of them is the panchromatic picture.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import BandVariation, GuidedProjection, MultispectralFit, brovey, gram_schmidt_adaptive
from unrolling.operators import Imagery, ModulationTransfer
from unrolling.tasks import colours, ergas, photograph, spectral_angle

# %%
# The sensor lets a quarter of the Nyquist frequency of its pixels through. Small pixels lie in the middle of the 4 x 4
# that they cover. The photograph, of cells under a microscope, was not trained on.
scene = photograph("immunohistochemistry", colours)[:, 128:384, 128:384].unsqueeze(0)
sensor = ModulationTransfer(factor=4, gain=0.25)
mixture = torch.tensor([0.25, 0.5, 0.25]).reshape(1, 3, 1, 1)
data = Imagery(sensor(scene), (mixture * scene).sum(1, keepdim=True))

# %%
# Brovey and GSA need no iterations. The parent of the network is projected gradient descent: a step on
# :math:`\frac12 |Ax - y|^2`, then a step towards scenes that are likely, here those whose bands differ from the
# panchromatic picture by something of small total variation. The network has four such steps with a small network in
# the place of the second.
parent = GuidedProjection(MultispectralFit(sensor), BandVariation(0.01, guided=True))
with torch.no_grad():
    results = {
        "bicubic": sensor.enlarge(data.multispectral),
        "Brovey": brovey(data, sensor),
        "GSA": gram_schmidt_adaptive(data, sensor),
        "total variation": solve(parent, data, tolerance=0.0, max_iterations=60).estimate,
        "unrolled, 4 steps": pretrained("imaging/pansharpening")(data),
        "the scene": scene,
    }

# %%
# ERGAS is the relative error of the bands, SAM the angle between the true colours of a pixel and the ones found. Brovey
# multiplies a pixel's bands by one number, so that its angle is that of interpolation.
figure, axes = plt.subplots(2, 3, figsize=(7.5, 5.6), layout="constrained")
for axis, (name, found) in zip(axes.flat, results.items(), strict=True):
    error, angle = float(ergas(found, scene)), float(spectral_angle(found, scene))
    fit = float((sensor(found) - data.multispectral).square().mean().sqrt())
    print(f"{name:18} ERGAS {error:5.3f}   SAM {angle:5.3f} degrees   off the bands that were seen by {fit:.4f}")
    axis.imshow(found[0, :, 64:192, 64:192].clamp(0, 1).movedim(0, -1).numpy())
    axis.set_title(name if found is scene else f"{name}\nERGAS {error:.3f}, SAM {angle:.2f}°")
    axis.set_axis_off()
plt.show()
