"""Whether two methods differ on the same samples."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolling.evaluation.records import Paired
from unrolling.tasks.base import Metric

RESAMPLES = 1000


def paired(metric: Metric, theirs: Tensor, ours: Tensor, seed: int = 0) -> Paired | None:
    """The difference of a metric between two methods that were given the same units.

    The interval resamples units within their group, both methods' together. The test swaps the two methods' values in
    random units: exact when the methods are exchangeable (Pitman 1937), whatever the distribution of errors.

    Args:
        metric: of both.
        theirs: (k, 3) pieces of one method.
        ours: those of the other.
        seed: of the resampling.

    Returns:
        None where the units are not the same.
    """
    if theirs.shape != ours.shape or not torch.equal(theirs[:, 2], ours[:, 2]):
        return None
    theirs, ours = theirs.detach().double().cpu(), ours.detach().double().cpu()
    observed = metric.value(theirs) - metric.value(ours)
    generator = torch.Generator().manual_seed(seed)
    resampled: list[list[Tensor]] = [[], []]
    swapped: list[list[Tensor]] = [[], []]
    for group in theirs[:, 2].unique():
        pair = [method[method[:, 2] == group, :2] for method in (theirs, ours)]
        weights = resampling_weights(len(pair[0]), generator)
        swaps = torch.randint(2, (RESAMPLES, len(pair[0])), generator=generator).double()
        for k in (0, 1):
            resampled[k].append(weights @ pair[k])
            swapped[k].append(swaps @ pair[k] + (1 - swaps) @ pair[1 - k])
    difference = _difference(metric, resampled)
    low, high = torch.quantile(difference, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    as_large = int((_difference(metric, swapped).abs() >= abs(observed) - 1e-12).sum())
    return Paired(observed, low, high, (1 + as_large) / (1 + RESAMPLES))


def _difference(metric: Metric, sums: list[list[Tensor]]) -> Tensor:
    first, second = (metric.of_sums(torch.stack(groups, dim=1)) for groups in sums)
    return first - second


def resampling_weights(count: int, generator: torch.Generator) -> Tensor:
    """How often each of ``count`` units is drawn in each of the resamples, (resamples, count): a bootstrap as one
    matrix product.
    """
    index = torch.randint(count, (RESAMPLES, count), generator=generator)
    return torch.zeros(RESAMPLES, count, dtype=torch.float64).scatter_add_(
        1, index, torch.ones(1, 1, dtype=torch.float64).expand_as(index)
    )
