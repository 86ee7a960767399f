"""The networks that are measured, near their classical values, and the data that they are for; how good their estimates
are does not matter here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolling import Unrolled, unroll
from unrolling.algorithms import CoupledISTA, GramISTA
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary

M, N, DEPTH = 250, 500, 16
WEIGHT = 0.3  # codes have 46 % of their entries after the first layer and 12 % after the last


def lista_cp(depth: int = DEPTH, m: int = M, n: int = N) -> Unrolled:
    """A matrix (n, m), a step size and a threshold per layer; every layer's matrix differs, as after training."""
    net = unroll(CoupledISTA(gaussian_dictionary(m, n, 0), WEIGHT), depth, untied=("encoder", "step_size", "threshold"))
    return _moved(net)


def lista(depth: int = DEPTH, m: int = M, n: int = N) -> Unrolled:
    """Tied matrices, thresholds per layer and unit."""
    return _moved(
        unroll(
            GramISTA(gaussian_dictionary(m, n, 0), WEIGHT), depth, tied=("encoder", "inhibition"), untied="threshold"
        )
    )


@torch.no_grad()
def _moved(network: Unrolled) -> Unrolled:
    generator = torch.Generator().manual_seed(0)
    for _, parameter in network.named_learned():
        parameter.mul_(1 + 1e-3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def measurements(batch: int, m: int = M) -> Tensor:
    """Of signals a tenth of whose 2 m entries are not zero, (batch, m)."""
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, 2 * m, generator=generator) * (torch.rand(batch, 2 * m, generator=generator) < 0.1)
    return x @ gaussian_dictionary(m, 2 * m, 0).T
