"""The iteration of DUBLID as its authors released it: a cascade of small filters, proximal kernel steps."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.images.blind_deblurring import BlindState, Outcome, check_image, check_kernel_size, cut
from unrolling.algorithms.images.blind_steps import (
    crop_kernel,
    kernel_spectrum,
    maps,
    move_kernel,
    normalise_kernel,
    retrieve,
    sharpen,
)
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.refusals import explain
from unrolling.operators.half_spectrum import Size, irfft2, rfft2
from unrolling.operators.spectral import wrap
from unrolling.prox import soft_threshold

SHARPNESS = 100.0  # of the soft maximum of a kernel
KERNEL_SHARE = 0.01  # of that maximum is subtracted from it, times kernel_threshold
GRID = 64  # the grid of the Fourier transforms has sides that are multiples of this


class BlindProblem(NamedTuple):
    """What DUBLID needs of an image."""

    blurred: Tensor  # (batch, colours, height, width)
    features: tuple[Tensor, ...]  # after each filter of the cascade, (batch, channels, height, width)


@explain
class Cascade(nn.Module):
    """Filters in a row, without nonlinearities between them: the features of an image after each of them.

    The first filter has zero mean and is a convolution, since the image is recovered from its features; borders are
    mirrored.

    Parameters: ``first`` (channels, colours, 3, 3) and ``rest``, layers - 1 times (channels, channels, 3, 3).

    Args:
        channels: number of filters.
        layers: how many filters lie in a row.
        colours: 1 or 3.
        start: ``xavier``, drawn as the authors did; or ``derivatives``: the first filters are the eight zero-mean
            cosine patterns in turn, with both signs, and the others blur each channel by itself a little.
        seed: of what is drawn.

    Raises:
        ValueError: fewer than one channel or layer, or an unknown start.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        colours: int = 1,
        *,
        start: Literal["xavier", "derivatives"] = "xavier",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if channels < 1 or layers < 1 or colours < 1:
            raise ValueError(f"channels, layers and colours are at least 1; got {channels}, {layers} and {colours}")
        if start not in ("xavier", "derivatives"):
            raise ValueError(f"start is {start!r}; it is 'xavier' or 'derivatives'")
        generator = torch.Generator().manual_seed(seed)

        def drawn(inputs: int) -> Tensor:
            # Xavier's normal distribution: variance 2 / (inputs + outputs), counted with the area.
            return torch.randn(channels, inputs, 3, 3, generator=generator) * (2 / (9 * (inputs + channels))) ** 0.5

        self.first = nn.Parameter(drawn(colours) if start == "xavier" else _patterns(channels, colours))
        made = [drawn(channels) if start == "xavier" else _blurs(channels) for _ in range(layers - 1)]
        self.rest = nn.ParameterList(made)

    def taps(self) -> Float[Tensor, "channels colours 3 3"]:
        """The first filter, its mean subtracted for each colour."""
        return self.first - self.first.mean((-2, -1), keepdim=True)

    def forward(self, data: Tensor) -> BlindProblem:
        """The features of grey images (batch, height, width) or of (batch, colours, height, width)."""
        image = data.unsqueeze(1) if self.first.shape[1] == 1 else data
        features = [_filtered(image, self.taps().flip((-2, -1)))]
        for weight in self.rest:
            features.append(_filtered(features[-1], weight))
        return BlindProblem(image, tuple(features))


def _filtered(x: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), weight)


def _patterns(channels: int, colours: int) -> Tensor:
    from unrolling.operators.filters import zero_mean_atoms

    atoms = zero_mean_atoms(3)
    return (
        torch.stack([atoms[i % 8] * (-1) ** (i // 8) / colours for i in range(channels)])
        .unsqueeze(1)
        .repeat(1, colours, 1, 1)
    )


def _blurs(channels: int) -> Tensor:
    blur = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]])
    return torch.einsum("ij,hw->ijhw", torch.eye(channels), blur)


class DUBLID(Iteration):
    """Deep unrolling for blind deblurring, the authors' form: features f^l from a cascade (the deepest first), k by
    proximal steps.

    Step l = 0 ... L-1, pointwise in frequency where there are hats, with f^l y the output of the first L - l filters of
    the cascade:

        g_i = (zeta_i conj(k) f_i y + z_i) / (zeta_i |k|^2 + 1),    z_i <- S_{b_i}(g_i),
        k' = (tau sum_i conj(z_i) f_i y + k) / (tau sum_i |z_i|^2 + 1),    k <- N_1 [ k' - 0.01 a max(k') ]_+ on its
        support,

    max smooth: log sum exp(100 k') / 100. It starts at k = 1 in the middle and z = S_{b_0}(f^0 y). The estimate solves
    survey (11) with f the first filter and g^L shrunk once more, by b_{L+1}. Steps after the L-th go on with the first
    filter. Li, Tofighi, Geng, Monga and Eldar 2020, doi:10.1109/TCI.2020.2964202; the differences from the survey's
    (10) are those of the authors' program. Images are the valid part of a larger blurred scene: features are surrounded
    by zeros.

    Parameters: ``cascade``; of each step ``threshold`` b (channels,), ``coupling`` zeta (channels,), ``kernel_step``
    tau, positive, and ``kernel_threshold`` a; used once, ``initial_threshold`` b_0, ``final_threshold`` b_{L+1} and
    ``retrieval`` eta (channels,), positive. With 16 channels and 10 layers, grey, untied, 21,268 numbers.

    Args:
        channels: number of features.
        layers: L, the length of the cascade; the depth of the network.
        colours: 1 for grey images (batch, height, width), 3 for (batch, 3, height, width).
        kernel_size: of k, odd.
        threshold: of all shrinkages at the start.
        coupling: zeta at the start; and eta.
        start: of the cascade.
        seed: of the cascade.

    Raises:
        ValueError: an even kernel size, values that are not positive, and what ``Cascade`` refuses.
    """

    algorithm = "BlindDeblurring"
    kind_of_cascade: type[Cascade] = Cascade

    threshold: Tensor
    coupling: Tensor
    kernel_step: Tensor
    initial_threshold: Tensor
    final_threshold: Tensor
    retrieval: Tensor

    def __init__(
        self,
        channels: int = 16,
        layers: int = 10,
        *,
        colours: int = 1,
        kernel_size: int = 45,
        threshold: float = 0.02,
        coupling: float = 10.0,
        start: Literal["xavier", "derivatives"] = "xavier",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_kernel_size(kernel_size)
        if not (threshold > 0 and coupling > 0):
            raise ValueError(f"threshold and coupling must be positive; got {threshold} and {coupling}")
        self.cascade = self.kind_of_cascade(channels, layers, colours, start=start, seed=seed)
        self.prepare = self.cascade
        for name, value in (("threshold", threshold), ("coupling", coupling)):
            setattr(self, name, nn.Parameter(torch.full((channels,), value)))
        self.kernel_step, self.kernel_threshold = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))
        for name, value in (("initial_threshold", threshold), ("final_threshold", threshold), ("retrieval", coupling)):
            setattr(self, name, nn.Parameter(torch.full((channels,), value)))
        for name in ("threshold", "coupling", "kernel_step", "initial_threshold", "final_threshold", "retrieval"):
            constrain(self, name, Positive())
        self.layers, self.colours, self.kernel_size = layers, colours, kernel_size

    def start(self, problem: BlindProblem) -> BlindState:
        """k a single 1 in the middle, z the shrunk deepest features."""
        size = self._grid(problem.blurred)
        kernel = normalise_kernel(
            problem.blurred.new_zeros(problem.blurred.shape[0], self.kernel_size, self.kernel_size)
        )
        deepest = self._embed(problem.features[-1], size)
        sparse = rfft2(soft_threshold(deepest, maps(self.at("initial_threshold", problem))))
        return BlindState(kernel, rfft2(deepest), sparse, 0)

    def forward(self, state: BlindState, problem: BlindProblem) -> BlindState:
        size = self._grid(problem.blurred)
        features = rfft2(self._embed(problem.features[max(self.layers - 1 - state.steps, 0)], size))
        kernel = kernel_spectrum(state.kernel, size)
        sharp = sharpen(features, state.sparse, kernel, self.at("coupling", problem))
        sparse = rfft2(soft_threshold(irfft2(sharp, size), maps(self.at("threshold", problem))))
        moved = move_kernel(features, sparse, kernel, self.at("kernel_step", problem))
        found, whole = crop_kernel(moved, size, (self.kernel_size, self.kernel_size))
        top = torch.logsumexp(SHARPNESS * whole.flatten(1), 1) / SHARPNESS
        lowered = found - (KERNEL_SHARE * self.at("kernel_threshold", problem)) * top.reshape(-1, 1, 1)
        return BlindState(normalise_kernel(lowered), sharp, sparse, state.steps + 1)

    def at(self, name: str, problem: BlindProblem) -> Tensor:
        """A parameter as it is for a problem; here the same for all."""
        return getattr(self, name)

    def estimate(self, state: BlindState, problem: BlindProblem) -> Tensor:
        """x of (11), (batch, height, width) or (batch, colours, height, width)."""
        return self.supervised(state, problem).image

    def supervised(self, state: BlindState, problem: BlindProblem) -> Outcome:
        """Image and kernel, for losses on both."""
        size = self._grid(problem.blurred)
        sharp = rfft2(soft_threshold(irfft2(state.sharp, size), maps(self.at("final_threshold", problem))))
        filters = rfft2(wrap(self.cascade.taps(), *size))
        image = rfft2(self._embed(problem.blurred, size))
        found = retrieve(image, sharp, kernel_spectrum(state.kernel, size), filters, self.at("retrieval", problem))
        return Outcome(cut(irfft2(found, size), problem.blurred, self.kernel_size - 1), state.kernel)

    def residual(self, new: BlindState, old: BlindState, problem: BlindProblem) -> Tensor:
        """Of k, g and z; infinite while the features still change."""
        change = super().residual(new, old, problem)
        return change if new.steps >= self.layers else torch.full_like(change, torch.inf)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_image(data, self.colours, self.kernel_size)

    def _grid(self, blurred: Tensor) -> Size:
        height, width = (-(-(side + 2 * (self.kernel_size - 1)) // GRID) * GRID for side in blurred.shape[-2:])
        return height, width

    def _embed(self, images: Tensor, size: Size) -> Tensor:
        margin = self.kernel_size - 1
        return nn.functional.pad(
            images, (margin, size[1] - margin - images.shape[-1], margin, size[0] - margin - images.shape[-2])
        )
