"""The divergence of a denoiser by Monte Carlo, with probes that a seed fixes for images of every size."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from unrolling.core import tree
from unrolling.core.arguments import check_count

PRIME = 2**31 - 1
STEP = 1e-3  # of the difference, relative to the largest entry
DEGREE = 4  # any four values of a polynomial with so many coefficients are independent


@torch.no_grad()
def average_derivative(
    denoise: Callable[[Tensor], Tensor], r: Tensor, found: Tensor, probes: Iterable[Tensor], deviation: Tensor
) -> Tensor:
    """(1 / n) div D(r), (batch,), as the mean over probes of (1 / (e n)) h^T (D(r + e h) - D(r)), e = max(max |r|, tau)
    / 1000. No gradient goes through it.

    Ramani, Blu and Unser 2008, doi:10.1109/TIP.2008.2001404.

    Args:
        denoise: D, real (batch, ...) to the same; for given noise.
        r: (batch, ...), n entries in a sample.
        found: D(r).
        probes: h, at least one, each of the shape of a sample, entries with mean zero and variance one.
        deviation: tau (batch,), the scale of samples that are zero.
    """
    r, found = r.detach(), found.detach()
    size = tree.rows(r).abs().amax(1) if r.numel() else r.new_zeros(r.shape[0])
    size = torch.maximum(size, deviation)
    step = (STEP * torch.where(size == 0, 1, size)).reshape(-1, *[1] * (r.ndim - 1))
    terms = [tree.rows(probe * (denoise(r + step * probe) - found) / step).mean(1) for probe in probes]
    return torch.stack(terms).mean(0)


class SignProbes:
    """Probes of -1 and 1 that any four entries of are independent: so many of them, of any size, from a seed.

    Entry i is the parity of a polynomial of degree three in i modulo 2^31 - 1 with random coefficients (Wegman and
    Carter 1981, doi:10.1016/0022-0000(81)90033-7), so that the mean over probes of h^T J h and its variance are those
    of independent signs: tr J, and 2 |J|_F^2 less the part of the diagonal, J symmetric (Hutchinson 1990,
    doi:10.1080/03610919008812866). Nothing has to be kept for a size, and no state of a generator changes.

    Args:
        count: how many.
        seed: of the coefficients.

    Raises:
        ValueError: fewer than one, a negative seed.
    """

    def __init__(self, count: int = 1, seed: int = 0) -> None:
        check_count(count, "probes")
        check_count(seed, "seed", 0)
        draw = random.Random(seed)
        self.coefficients = tuple(tuple(draw.randrange(1, PRIME) for _ in range(DEGREE)) for _ in range(count))

    def __call__(self, like: Tensor) -> list[Tensor]:
        """The probes of a sample of ``like`` (batch, ...), each (1, ...)."""
        places = torch.arange(like.shape[1:].numel(), device=like.device)
        found = []
        for coefficients in self.coefficients:
            value = torch.full_like(places, coefficients[0])
            for coefficient in coefficients[1:]:
                value = (value * places + coefficient) % PRIME
            found.append((2 * (value % 2) - 1).to(like.dtype).reshape(1, *like.shape[1:]))
        return found
