"""Soft bits of the detectors of sionna (version 2, which runs on torch), for the tables of ``benchmarks.soft_bits``.

``pip install --no-deps sionna`` is enough (``make peers``); with ``--target DIR`` and ``PYTHONPATH=DIR`` nothing else
in the environment changes. Where it is not installed there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import Received, noise_of

EP_ITERATIONS, PIC_ITERATIONS, PATHS = 10, 3, 64


def sionna_sources(levels: Tensor) -> dict[str, Callable[[Received], Tensor]]:
    """Expectation propagation, K-best with its list, and LMMSE with parallel interference cancellation, all for square
    QAM of these levels in a real dimension; nothing where sionna is not installed.

    Each gives log p(0) / p(1) of our labels, (batch, 2 K, bits of a dimension). Its labels of 16-QAM are ours with each
    bit turned round, and so are its ratios, log p(1) / p(0): the numbers are the same. It has the bits of the real and
    of the imaginary part in turn.
    """
    if find_spec("sionna") is None:
        return {}
    from sionna.phy.mimo import EPDetector, KBestDetector, MMSEPICDetector  # pyright: ignore[reportMissingImports]

    bits = 2 * (len(levels).bit_length() - 1)
    ep = EPDetector("bit", bits, l=EP_ITERATIONS)
    pic = MMSEPICDetector("bit", "app", PIC_ITERATIONS, "qam", bits)

    def k_best(y: Tensor, channel: Tensor, noise: Tensor) -> Tensor:
        return KBestDetector("bit", channel.shape[2], PATHS, "qam", bits)(y, channel, noise)

    def with_cancellation(y: Tensor, channel: Tensor, noise: Tensor) -> Tensor:
        return pic(y, channel, noise, y.real.new_zeros(len(y), channel.shape[2], bits))

    runs = {
        f"sionna EP, {EP_ITERATIONS} iterations": ep,
        f"sionna K-best, {PATHS} paths": k_best,
        f"sionna MMSE-PIC, {PIC_ITERATIONS} iterations": with_cancellation,
    }
    return {name: lambda data, run=run: _ours(run(*complex_form(data))) for name, run in runs.items()}


def complex_form(data: Received) -> tuple[Tensor, Tensor, Tensor]:
    """y (batch, N), channel (batch, N, K) and noise covariances (batch, N, N), complex, for symbols of energy one, from
    the real form that our detectors take.
    """
    real, imaginary = data.channel.chunk(2, dim=2)[0].chunk(2, dim=1)
    channel = 2**0.5 * torch.complex(real, imaginary)
    y = torch.complex(*data.y.chunk(2, dim=1))
    eye = torch.eye(y.shape[1], dtype=y.dtype)
    return y, channel, 2 * noise_of(data).to(y.real).reshape(-1, 1, 1) * eye.expand(len(y), -1, -1)


def _ours(llrs: Tensor) -> Tensor:
    return torch.cat([llrs[..., 0::2], llrs[..., 1::2]], dim=1)
