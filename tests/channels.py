"""Channels and symbols that the tests of detectors use."""

import torch
from iterations import gaussian

from unrolling.algorithms.detection.mimo import Received, pam

BPSK = pam(2)


def received(batch=6, n=7, k=4, *, order=2, snr=8.0, seed=0, shared=False, dtype=torch.float64):
    """Data with targets: independent entries, noise at a SNR in dB."""
    channel = gaussian(1 if shared else batch, n, k, seed=seed) / n**0.5
    levels = pam(order)
    x = levels[torch.randint(order, (batch, k), generator=torch.Generator().manual_seed(seed + 1))]
    variance = channel.square().sum((1, 2)).unsqueeze(1) / k / 10 ** (snr / 10)
    y = torch.einsum("bnk,bk->bn", channel.expand(batch, -1, -1), x) + variance.sqrt() * gaussian(
        batch, n, seed=seed + 2
    )
    return Received(y.to(dtype), channel.to(dtype), variance.to(dtype)), x.to(dtype)


def cast(data, dtype):
    return Received(*(t if t is None else t.to(dtype) for t in data))


def select(data, index):
    """Samples of data, channels of their own expanded first."""
    batch = data.y.shape[0]
    return Received(*(t.expand(batch, *t.shape[1:])[index] for t in data))
