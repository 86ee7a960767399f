"""What approximate message passing attains in the large-system limit, and what knowing the support would: the floors of
a sparse recovery problem.

For A with independent N(0, 1/m) entries and x_i ~ p N(0, s^2) + (1 - p) delta_0, the input of AMP's denoiser is x +
tau_t z in the limit of large m and n, and tau_t follows a scalar recursion. NMSE is 10 log10(E (x' - x)^2 / (p s^2)),
in dB.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

# Panels of |r| / tau, each with Gauss's nodes: even ones where denoisers bend, then growing ones, to so many deviations
# of the wider Gaussian.
_NODES = 8
_EVEN_END, _EVEN_PANELS = 24.0, 192
_TAIL_PANELS = 128
_DEVIATIONS = 12.0

_VANISHED = -200.0  # dB: taken for exact recovery
_LARGEST = 1e100  # variance: taken for divergence
_MOST = 10_000  # iterations before a limit is given up


class SparsePrior(NamedTuple):
    """x ~ p N(0, s^2) + (1 - p) delta_0."""

    probability: float  # p
    signal_variance: float = 1.0  # s^2


class Evolution(NamedTuple):
    """The state evolution of AMP; the first entry is the first iteration."""

    variance: tuple[float, ...]  # tau^2 with which the iteration denoises
    nmse: tuple[float, ...]  # of its estimate, dB


def measurement_noise(snr: float, prior: SparsePrior, undersampling: float) -> float:
    """sigma^2 = (p s^2 n / m) 10^(-SNR / 10), the noise variance of a measurement, A having columns of norm 1; 0 at an
    infinite SNR.

    Args:
        snr: E |A x|^2 / E |e|^2 in dB.
        prior: of x.
        undersampling: m / n.
    """
    _check(prior, undersampling)
    return _power(prior) / undersampling * 10 ** (-snr / 10)


def mean_square_error(denoiser: nn.Module, variance: float, prior: SparsePrior) -> float:
    """E (eta(x + tau z, tau^2) - x)^2 by Gauss-Legendre quadrature, to a relative error below 1e-4 also for denoisers
    with kinks.

    Given that x is not zero, r ~ N(0, s^2 + tau^2) and x ~ N(g r, g tau^2), g = s^2 / (s^2 + tau^2); given that it is,
    r ~ N(0, tau^2). What remains are two integrals over r: p (E (eta(r) - g r)^2 + g tau^2) + (1 - p) E eta(r)^2.

    Args:
        denoiser: eta, a module (r, tau^2) -> (estimate, derivative) that works entry by entry; not one that fits itself
            to all of r.
        variance: tau^2 > 0.
        prior: of x.

    Raises:
        ValueError: a variance that is not positive, a prior without 0 < p <= 1 and s^2 > 0.
    """
    _check(prior, 1.0)
    if not 0 < variance < math.inf:
        raise ValueError(f"variance must be positive and finite; got {variance}")
    return _error(_in_double(denoiser), variance, prior)


def state_evolution(
    denoiser: nn.Module, prior: SparsePrior, noise_variance: float, undersampling: float, iterations: int = 16
) -> Evolution:
    """tau_1^2 = sigma^2 + (n/m) p s^2, tau_{t+1}^2 = sigma^2 + (n/m) E (eta(x + tau_t z, tau_t^2) - x)^2.

    Donoho, Maleki and Montanari 2009, doi:10.1073/pnas.0909892106; proved by Bayati and Montanari 2011,
    doi:10.1109/TIT.2010.2094817.

    Args:
        denoiser: as for ``mean_square_error``; ``BernoulliGaussian(*prior)`` gives what no separable denoiser can beat.
        prior: of x.
        noise_variance: sigma^2 >= 0 of a measurement, such as ``measurement_noise`` gives.
        undersampling: m / n.
        iterations: how many.

    Raises:
        ValueError: a negative noise variance, an undersampling that is not positive, fewer than 1 iteration, a prior
            without 0 < p <= 1 and s^2 > 0.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1; got {iterations}")
    steps = list(islice(_recursion(denoiser, prior, noise_variance, undersampling), iterations))
    return Evolution(tuple(variance for variance, _ in steps), tuple(nmse for _, nmse in steps))


def state_evolution_limit(
    denoiser: nn.Module, prior: SparsePrior, noise_variance: float, undersampling: float
) -> float:
    """NMSE in dB at the fixed point of the state evolution. Arguments as there.

    Returns:
        minus infinity where it falls below -200 dB, as it may without noise; plus infinity where it grows beyond all
        bounds.

    Raises:
        ValueError: as ``state_evolution``.
        ArithmeticError: no fixed point within 10,000 iterations.
    """
    before = math.inf
    for _, nmse in islice(_recursion(denoiser, prior, noise_variance, undersampling), _MOST):
        if nmse < _VANISHED:
            return -math.inf
        if nmse == math.inf or abs(nmse - before) < 1e-9:
            return nmse
        before = nmse
    raise ArithmeticError(
        f"the state evolution has no fixed point within {_MOST} iterations; its last NMSE is {before:.4g} dB"
    )


@torch.no_grad()
def oracle_least_squares(
    y: Float[Tensor, "batch m"],
    dictionary: Float[Tensor, "m n"],
    support: Bool[Tensor, "batch n"] | Bool[Tensor, "1 n"],
) -> Float[Tensor, "batch n"]:
    """x' = argmin |y - A x|^2 over x that vanish off the support, in double precision: what telling the support would
    give, and the floor of a noisy table.

    Args:
        y: (batch, m).
        dictionary: A (m, n).
        support: where the true x is not zero; more entries than m give the solution of least norm.

    Raises:
        ValueError: shapes that do not fit.
    """
    m, n = dictionary.shape
    if y.ndim != 2 or y.shape[1] != m:
        raise ValueError(f"y must have shape (batch, {m}), the dictionary being {m, n}; got {tuple(y.shape)}")
    if support.ndim != 2 or support.shape[1] != n or support.shape[0] not in (1, y.shape[0]):
        raise ValueError(f"support must have shape ({y.shape[0]}, {n}); got {tuple(support.shape)}")
    if support.dtype is not torch.bool:
        raise TypeError(f"support is {support.dtype}; it is Boolean: x != 0")
    wide = dictionary.double().cpu()  # where the solver copes with any rank
    estimate = torch.zeros(y.shape[0], n, dtype=torch.float64)
    for sample, (measured, where) in enumerate(
        zip(y.double().cpu(), support.bool().cpu().expand(y.shape[0], n), strict=True)
    ):
        estimate[sample, where] = torch.linalg.lstsq(
            wide[:, where], measured.unsqueeze(1), driver="gelsd"
        ).solution.squeeze(1)
    return estimate.to(y)


def oracle_nmse(y: Float[Tensor, "batch m"], dictionary: Float[Tensor, "m n"], x: Float[Tensor, "batch n"]) -> float:
    """NMSE in dB over the batch of ``oracle_least_squares`` on the support of the true x.

    Args:
        y: (batch, m).
        dictionary: A (m, n).
        x: (batch, n), the truth.

    Raises:
        ValueError: shapes that do not fit.
    """
    error = (oracle_least_squares(y, dictionary, x != 0).double() - x.double()).square().sum()
    return 10 * math.log10(float(error / x.double().square().sum())) if float(error) > 0 else -math.inf


def _recursion(
    denoiser: nn.Module, prior: SparsePrior, noise_variance: float, undersampling: float
) -> Iterator[tuple[float, float]]:
    """tau_t^2 and the NMSE in dB of each iteration."""
    _check(prior, undersampling)
    if not 0 <= noise_variance < math.inf:
        raise ValueError(f"noise_variance must be at least 0 and finite; got {noise_variance}")
    denoiser, error = _in_double(denoiser), _power(prior)
    while True:
        variance = noise_variance + error / undersampling
        if variance > _LARGEST:
            error = math.inf
        else:
            error = _error(denoiser, variance, prior) if variance > 0 else 0.0
        yield variance, 10 * math.log10(error / _power(prior)) if error > 0 else -math.inf


@torch.no_grad()
def _error(denoiser: nn.Module, variance: float, prior: SparsePrior) -> float:
    p, signal = prior
    deviation, total = math.sqrt(variance), signal + variance
    gain = signal / total
    u, weight = _nodes(_DEVIATIONS * math.sqrt(total / variance))
    r = deviation * u
    estimate = denoiser(r.unsqueeze(0), torch.tensor([[variance]], dtype=torch.float64))[0].squeeze(0)
    present = _gaussian(r, total) * (estimate - gain * r).square()
    absent = _gaussian(r, variance) * estimate.square()
    return float((weight * deviation * (p * present + (1 - p) * absent)).sum()) + p * gain * variance


def _gaussian(r: Tensor, variance: float) -> Tensor:
    return torch.exp(-0.5 * r.square() / variance) / math.sqrt(2 * math.pi * variance)


def _nodes(end: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [-end, end], symmetric, end >= 12."""
    even = torch.linspace(0, min(_EVEN_END, end), _EVEN_PANELS + 1, dtype=torch.float64)
    tail = (
        torch.logspace(math.log10(_EVEN_END), math.log10(end), _TAIL_PANELS + 1, dtype=torch.float64)
        if end > _EVEN_END
        else even[-1:]
    )
    edges = torch.cat([even, tail[1:]])
    # Gauss-Legendre nodes are the eigenvalues of the Jacobi matrix of Legendre's polynomials (Golub and Welsch 1969,
    # doi:10.1090/S0025-5718-69-99647-1).
    k = torch.arange(1, _NODES, dtype=torch.float64)
    off = k / torch.sqrt(4 * k.square() - 1)
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    half = 0.5 * edges.diff().unsqueeze(1)
    u = (edges[:-1].unsqueeze(1) + half * (1 + nodes)).flatten()
    weight = (half * 2 * vectors[0].square()).flatten()
    return torch.cat([-u.flip(0), u]), torch.cat([weight.flip(0), weight])


def _in_double(denoiser: nn.Module) -> nn.Module:
    return copy.deepcopy(denoiser).to("cpu", torch.float64)


def _power(prior: SparsePrior) -> float:
    return prior.probability * prior.signal_variance


def _check(prior: SparsePrior, undersampling: float) -> None:
    if not 0 < prior.probability <= 1:
        raise ValueError(f"the prior's probability must lie in (0, 1]; got {prior.probability}")
    if not 0 < prior.signal_variance < math.inf:
        raise ValueError(f"the prior's signal_variance must be positive and finite; got {prior.signal_variance}")
    if not 0 < undersampling < math.inf:
        raise ValueError(f"undersampling m/n must be positive and finite; got {undersampling}")
