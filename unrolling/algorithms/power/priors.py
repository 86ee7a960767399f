"""What is known of the state of a power grid before any reading: a normal distribution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class StatePrior(NamedTuple):
    """A normal distribution of v."""

    mean: Tensor  # (1, 2 N)
    covariance: Tensor  # (2 N, 2 N)


def check_prior(prior: StatePrior, size: int) -> None:
    """Refuses a prior of other states.

    Raises:
        ValueError: its sizes.
    """
    if prior.covariance.shape != (size, size) or prior.mean.numel() != size:
        raise ValueError(
            f"a prior has a mean and a covariance of {size} numbers; got {tuple(prior.mean.shape)} and "
            f"{tuple(prior.covariance.shape)}"
        )


@torch.no_grad()
def precision_of_prior(prior: StatePrior, slack: int, least: float = 1e-9) -> Float[Tensor, "f f"]:
    """P^-1 of what is free, all but the imaginary part at the slack; variances below ``least`` count as it."""
    size = prior.covariance.shape[0]
    free = [n for n in range(size) if n != size // 2 + slack]
    covariance = prior.covariance.double()[free][:, free]
    values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.T))
    return (vectors / values.clamp_min(least)) @ vectors.T


def whole_precision(prior: StatePrior, slack: int) -> Float[Tensor, "n n"]:
    """The same in double precision for all of v, zero in what is not free."""
    size = prior.covariance.shape[0]
    free = torch.tensor([n for n in range(size) if n != size // 2 + slack], device=prior.covariance.device)
    whole = prior.covariance.new_zeros(size, size, dtype=torch.float64)
    whole[free[:, None], free] = precision_of_prior(prior, slack)
    return whole
