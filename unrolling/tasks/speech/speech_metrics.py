"""How near an estimated signal is to the true one: SI-SDR, SDR, and by request STOI and PESQ."""

from __future__ import annotations

from itertools import permutations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core import scale
from unrolling.tasks.metrics import Mean

LIMIT = 1e-12  # of an energy, relative to the estimate's: SI-SDR and SDR lie within 120 dB of zero


def si_sdr(
    estimate: Float[Tensor, "... samples"], target: Float[Tensor, "... samples"], zero_mean: bool = False
) -> Float[Tensor, "..."]:
    """10 log10(|a x|^2 / |a x - x'|^2) in dB, a = <x', x> / |x|^2: scale-invariant signal-to-distortion ratio (Le Roux
    et al. 2019, arXiv:1811.02508).

    Means are left in, as in the paper's formula, unless ``zero_mean`` subtracts them first. An estimate of zeros, and a
    target of zeros, have -120 dB; an estimate without error has 120 dB.
    """
    if zero_mean:
        estimate, target = estimate - estimate.mean(-1, keepdim=True), target - target.mean(-1, keepdim=True)
    estimate, target = estimate / scale.unit(estimate), target / scale.unit(target)
    factor = scale.divide((estimate * target).sum(-1, keepdim=True), target.square().sum(-1, keepdim=True))
    signal, energy = factor * target, estimate.square().sum(-1)
    above, below = signal.square().sum(-1), (signal - estimate).square().sum(-1)
    return _decibels(above, torch.where(energy == 0, 1, below), energy)


def sdr(estimate: Float[Tensor, "... samples"], target: Float[Tensor, "... samples"]) -> Float[Tensor, "..."]:
    """10 log10(|x|^2 / |x - x'|^2) in dB: the plain ratio, in which a wrong scale counts (SNR in the same paper). Not
    BSS Eval's, which allows a filter.
    """
    unit = torch.maximum(scale.unit(target), scale.unit(estimate))
    unit = torch.where((target == 0).all(-1, keepdim=True), scale.unit(estimate), unit)
    unit = torch.where((estimate == 0).all(-1, keepdim=True), scale.unit(target), unit)
    target, estimate = target / unit, estimate / unit
    above, below = target.square().sum(-1), (target - estimate).square().sum(-1)
    return _decibels(above, below, torch.maximum(above, below))


def _decibels(above: Tensor, below: Tensor, energy: Tensor) -> Tensor:
    """10 log10(above / below), both at least ``LIMIT`` of an energy."""
    least = LIMIT * torch.where(energy == 0, 1, energy)
    return 10 * torch.log10(torch.maximum(above, least) / torch.maximum(below, least))


def best_order(
    estimate: Float[Tensor, "batch sources samples"], target: Float[Tensor, "batch sources samples"]
) -> Tensor:
    """The estimates in the order of the highest mean SI-SDR."""
    sources = range(target.shape[1])
    pairs = torch.stack(
        [torch.stack([si_sdr(estimate[:, i], target[:, j]) for j in sources], dim=1) for i in sources], dim=1
    )
    orders = list(permutations(sources))
    scores = torch.stack(
        [sum((pairs[:, order[j], j] for j in sources), torch.zeros_like(pairs[:, 0, 0])) for order in orders], dim=1
    )
    chosen = torch.tensor(orders, device=estimate.device)[scores.argmax(1)]
    return estimate.gather(1, chosen.unsqueeze(2).expand_as(estimate))


# Decibels averaged over utterances, as speech is scored.
SI_SDR_IMPROVEMENT = Mean("SI-SDR improvement", "dB", "higher", "utterance")


def improvement_pieces(estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
    """Per utterance the gain in SI-SDR over the mixture in dB, averaged over the sources (batch, sources, samples);
    (batch, 1).
    """
    estimate, target, mixture = estimate.double(), target.double(), mixture.double()
    return (si_sdr(estimate, target) - si_sdr(mixture.unsqueeze(1).expand_as(target), target)).mean(1, keepdim=True)


def stoi(
    estimate: Float[Tensor, "batch samples"], target: Float[Tensor, "batch samples"], rate: int
) -> Float[Tensor, " batch"]:
    """Short-time objective intelligibility, 0 to 1 (Taal et al. 2011, doi:10.1109/TASL.2011.2114881), by the package
    pystoi.

    Raises:
        ImportError: the package is missing.
    """
    try:
        from pystoi import stoi as measure
    except ImportError as error:
        raise ImportError("STOI needs the package pystoi: pip install pystoi") from error
    return torch.tensor(
        [float(measure(x.numpy(), e.numpy(), rate)) for e, x in zip(estimate.double(), target.double(), strict=True)],
        dtype=torch.float64,
    )


def pesq(
    estimate: Float[Tensor, "batch samples"], target: Float[Tensor, "batch samples"], rate: int
) -> Float[Tensor, " batch"]:
    """Perceptual evaluation of speech quality, narrow band at 8 kHz and wide band at 16 kHz (ITU-T P.862, P.862.2), by
    the package pesq; NaN without speech.

    Raises:
        ImportError: the package is missing.
        ValueError: another sampling rate.
    """
    if rate not in (8000, 16000):
        raise ValueError(f"PESQ is defined at 8 and 16 kHz; the rate is {rate} Hz")
    try:
        from pesq import PesqError
        from pesq import pesq as measure
    except ImportError as error:
        raise ImportError("PESQ needs the package pesq: pip install pesq") from error
    found = []
    for e, x in zip(estimate.double(), target.double(), strict=True):
        value = measure(rate, x.numpy(), e.numpy(), "nb" if rate == 8000 else "wb", on_error=PesqError.RETURN_VALUES)
        found.append(float(value) if value > 0 else float("nan"))
    return torch.tensor(found, dtype=torch.float64)
