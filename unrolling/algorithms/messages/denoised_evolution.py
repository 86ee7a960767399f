"""State evolution of D-AMP, predicted and measured: what its denoisers see beside the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.messages.denoised_amp import DenoisedAMP
from unrolling.core import Unrolled, tree, unroll
from unrolling.core.arguments import check_count, check_range


class EffectiveNoise(NamedTuple):
    """Of the input r of a layer's denoiser; deviations are root mean squares over the samples."""

    layer: int  # from 1
    predicted: float  # deviation by state evolution
    estimated: float  # tau = |z| / sqrt(m), what the algorithm takes it for
    true: float  # root mean square of r - x
    kurtosis: float  # of r - x, 3 for Gaussian noise; the mean over samples
    psnr: float  # of the layer's estimate, peak 1; the mean over samples


@torch.no_grad()
def effective_noise(
    network: Unrolled[DenoisedAMP] | DenoisedAMP,
    data: Any,
    truth: Tensor,
    depth: int | None = None,
    *,
    noise: float = 0.0,
    seed: int = 0,
) -> list[EffectiveNoise]:
    """What each layer's denoiser is given beside the true image: as state evolution predicts it, as the algorithm
    estimates it, and as it is.

    State evolution is s_1^2 = w^2 + |x|^2 / m, s_{t+1}^2 = w^2 + |D_t(x + s_t h, s_t) - x|^2 / m with white Gaussian h
    for each image x (Metzler, Maleki and Baraniuk 2016, doi:10.1109/TIT.2016.2556683, section III): that of the same
    denoisers for white noise, which the Onsager term makes of the noise that there is.

    Args:
        network: unrolled D-AMP or D-IT, trained or not; or the iteration.
        data: of a batch of images.
        truth: x (batch, height, width).
        depth: layers; those of the network by default, needed for an iteration.
        noise: w, the standard deviation of the noise on the measurements.
        seed: of h.

    Raises:
        TypeError: a network of something else.
        ValueError: a negative noise, a depth below 1, none for an iteration.
    """
    check_range(noise, "noise", 0.0, float("inf"), below=True)
    if not isinstance(network, Unrolled):
        if depth is None:
            raise ValueError("an iteration has no depth of its own: say how many steps, depth=")
        network = unroll(network, depth)
    if not isinstance(network.parent, DenoisedAMP):
        raise TypeError(f"the noise of DenoisedAMP is measured; the network unrolls {type(network.parent).__name__}")
    if depth is not None:
        check_count(depth, "depth")
    layers = slice(0, len(network) if depth is None else depth)
    generator = torch.Generator().manual_seed(seed)
    first = network.layers[0]
    state = first.start(first.prepare(data))
    m = first.data_term.measured(data)
    count = m.shape[1:].numel() * (2 if m.is_complex() else 1)
    variance = noise**2 + tree.rows(truth).square().sum(1) / count
    rows = []
    for number, (layer, problem, after) in enumerate(network.walk(data, layers=layers), 1):
        seen, tau = layer.seen(state, problem) - truth, layer.level(state, problem)
        errors = tree.rows(after.x - truth).square().mean(1)
        rows.append(
            EffectiveNoise(
                number,
                _root(variance),
                _root(tau.square()),
                _root(tree.rows(seen).square().mean(1)),
                float(kurtosis(seen).mean()),
                float((-10 * errors.clamp_min(torch.finfo(errors.dtype).tiny).log10()).mean()),
            )
        )
        white = torch.randn(truth.shape, generator=generator, dtype=truth.dtype).to(truth.device)
        deviation = variance.sqrt()
        spread = truth + deviation.reshape(-1, *[1] * (truth.ndim - 1)) * white
        found, _ = layer.denoised(spread, layer.inflation * deviation)
        variance = noise**2 + tree.rows(found - truth).square().sum(1) / count
        state = after
    return rows


def kurtosis(x: Tensor) -> Tensor:
    """E (x - mean)^4 / (E (x - mean)^2)^2 over the entries of each sample, (batch,)."""
    centred = tree.rows(x) - tree.rows(x).mean(1, keepdim=True)
    square = centred.square().mean(1)
    return centred.square().square().mean(1) / torch.where(square == 0, 1, square).square()


def effective_noise_table(rows: Sequence[EffectiveNoise]) -> str:
    """As a table to print."""
    head = "layer  predicted  estimated  true sigma  estimated/true  kurtosis   PSNR"
    lines = [
        f"{row.layer:5d}  {row.predicted:9.4f}  {row.estimated:9.4f}  {row.true:10.4f}  "
        f"{row.estimated / row.true if row.true else float('nan'):14.3f}  {row.kurtosis:8.2f}  {row.psnr:5.2f}"
        for row in rows
    ]
    return "\n".join([head, *lines])


def _root(squares: Tensor) -> float:
    return float(squares.mean().sqrt())
