"""Potentials that are learned: linear in features of nodes and of edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.graphs.pairwise import Pairwise
from unrolling.core.arguments import check_numbers


class Featured(NamedTuple):
    """A graph with numbers at nodes and edges. Tensors with a leading size of 1 are shared by all samples."""

    nodes: Tensor  # (batch, features, nodes) real
    pairs: Tensor  # (batch, edge features, edges) real
    edges: Tensor  # (1, 2, edges) or (batch, 2, edges) int64
    sets: Tensor | None = None  # (1 or batch, sets, nodes) bool, as in ``Pairwise``


class LinearPotentials(nn.Module):
    """a_i = A f_i,   b_ij = sum over g of g_ij,g (B_g + B_g^T) / 2: the same A and B for all nodes and edges.

    An edge has no direction: which of its nodes is named first makes no difference. A feature that is always one is a
    bias. Features of zeros have potentials of zeros. Numbers learned: states x features + states^2 x edge features.

    Args:
        alone: A (states, features) at the start.
        coupling: B (edge features, states, states) at the start.

    Raises:
        ValueError: shapes that do not belong together.
    """

    def __init__(
        self, alone: Float[Tensor, "states features"], coupling: Float[Tensor, "edge_features states states"]
    ) -> None:
        super().__init__()
        if alone.ndim != 2 or coupling.ndim != 3 or coupling.shape[1:] != (alone.shape[0],) * 2:
            raise ValueError(
                "alone is (states, features) and coupling (edge features, states, states); got "
                f"{tuple(alone.shape)} and {tuple(coupling.shape)}"
            )
        self.alone, self.coupling = nn.Parameter(alone.detach().clone()), nn.Parameter(coupling.detach().clone())

    def forward(self, data: Featured) -> Pairwise:
        for name, own, value in (("nodes", self.alone.shape[1], data.nodes), ("pairs", len(self.coupling), data.pairs)):
            check_numbers(value, name, type(self).__name__, real=True)
            if value.ndim != 3 or value.shape[1] != own:
                raise ValueError(
                    f"features of {name} have the shape (batch, {own}, {name}) here; got {tuple(value.shape)}"
                )
        coupling = (self.coupling + self.coupling.mT) / 2
        return Pairwise(
            torch.einsum("sf,bfn->bsn", self.alone, data.nodes),
            torch.einsum("gst,bge->bste", coupling, data.pairs),
            data.edges,
            data.sets,
        )
