"""A generic network on graphs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count


class GraphConvolutions(nn.Module):
    """h_i <- max(W h_i + V mean over neighbours j of h_j + c, 0), layer after layer; the last is linear. Scores of
    classes as log probabilities.

    Graph convolutions in their plain form (Kipf and Welling 2017, arXiv:1609.02907, with a matrix of its own for the
    node itself). Features of edges are not used.

    Data: a graph with ``nodes`` (batch, features, nodes) and ``edges`` (1, 2, edges).

    Args:
        features: of a node.
        classes: scores.
        width: features in between.
        layers: at least 1.
        seed: of the weights, uniform as torch's linear layers have them.
    """

    def __init__(self, features: int, classes: int, width: int, layers: int, seed: int = 0) -> None:
        super().__init__()
        for value, name in ((features, "features"), (classes, "classes"), (width, "width"), (layers, "layers")):
            check_count(value, name)
        sizes = [features, *[width] * (layers - 1), classes]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.own = nn.ModuleList(nn.Conv1d(a, b, 1) for a, b in pairwise(sizes))
            self.around = nn.ModuleList(nn.Conv1d(a, b, 1, bias=False) for a, b in pairwise(sizes))

    def forward(self, data: Any) -> Float[Tensor, "batch classes nodes"]:
        h, (first, second) = data.nodes, data.edges[0]
        ends, others = torch.cat([first, second]), torch.cat([second, first])
        degree = torch.zeros_like(h[0, 0]).index_add(0, ends, torch.ones_like(h[0, 0, :1]).expand(len(ends)))
        last = len(self.own) - 1
        for k, (own, around) in enumerate(zip(self.own, self.around, strict=True)):
            heard = torch.zeros_like(h).scatter_add(2, ends.expand(*h.shape[:2], -1), h.index_select(2, others))
            h = own(h) + around(heard / degree.clamp_min(1))
            h = h if k == last else torch.relu(h)
        return torch.log_softmax(h, 1)


def width_of(size: int, layers: int, features: int = 2, classes: int = 2) -> int:
    """The least width, at least 16, with which the network learns no fewer numbers than ``size``."""
    width = 16
    while 2 * (features * width + (layers - 2) * width**2 + width * classes) + (layers - 1) * width + classes < size:
        width += 1
    return width
