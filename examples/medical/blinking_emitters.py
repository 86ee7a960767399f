r"""
Blinking emitters
=================

Under a microscope, fluorescent molecules closer than the width of its point spread function run into each other. When
they blink independently of each other, the *variance over time* of a pixel is the sum of theirs, seen through the
square of the point spread function. SPARCOM looks for few variances on a finer grid which explain what was recorded;
Learned SPARCOM (Dardikman-Yoffe and Eldar 2020; survey, Table I) unrolls ten of its steps, with kernels that depend on
the distance alone: 1,166 numbers.

The movie is simulated: molecules along curves, as on labelled microtubules, 350 frames.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, solve
from unrolling.algorithms import Fluctuations, accelerated_sparcom, temporal_variance
from unrolling.tasks.base import Samples
from unrolling.tasks.medical import JACCARD, richardson_lucy, simulated_movies

network = pretrained("medical/sparcom")
field = simulated_movies(4, size=16, frames=350, factor=4, deviation=1.1, generator=torch.Generator().manual_seed(4))
movie, truth = field.movie, field.variance

# %%
# The rivals: Richardson and Lucy's deconvolution of the variance; SPARCOM after 100 iterations of FISTA, on the
# variances of pixels and on the covariances of all pairs of them, with weights chosen on other movies.
with torch.no_grad():
    found = {
        "Richardson-Lucy": richardson_lucy(movie, 1.1, "variance", 300),
        "SPARCOM,\nvariances": solve(
            accelerated_sparcom(Fluctuations((16, 16)), 0.2), movie, tolerance=0.0, max_iterations=100
        ).estimate,
        "SPARCOM,\ncovariances": solve(
            accelerated_sparcom(Fluctuations((16, 16), form="correlation"), 0.4),
            movie,
            tolerance=0.0,
            max_iterations=100,
        ).estimate,
        "Learned SPARCOM": network(movie),
    }

# %%
# The Jaccard index of an image: of the pixels that hold 95 % of its light and those with molecules, within one pixel.
shown = {"mean over time": movie.mean(1), "variance over time": temporal_variance(movie), **found, "molecules": truth}
figure, axes = plt.subplots(2, len(shown), figsize=(13, 4.6), layout="constrained")
for column, (name, images) in enumerate(shown.items()):
    title = name
    if name in found:
        score = JACCARD.value(JACCARD.pieces(images, Samples(None, truth)))
        title = f"{name}\nJaccard index {score:.3f}"
        print(f"{' '.join(name.split()):26}{score:.3f}")
    for row in (0, 1):
        image = images[row].clamp_min(0)
        axes[row, column].imshow(image, cmap="inferno", vmin=float(image.min()), vmax=float(image.quantile(0.99)))
        axes[row, column].set_axis_off()
    axes[0, column].set_title(title, fontsize=9)
plt.show()
