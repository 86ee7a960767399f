"""Naive mean field on pairwise Markov random fields."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.graphs.belief_propagation import GraphInference, batch_of
from unrolling.algorithms.graphs.pairwise import Pairwise, gather_nodes, sum_at_nodes
from unrolling.core.arguments import check_range


class MeanField(GraphInference):
    """The nearest product of distributions, for one independent set of nodes after the other.

    log q_i(x_i) = a_i(x_i) + sum over neighbours j of the expectation of b_ij(x_i, x_j) under q_j, normalised;
    q_i <- (1 - d) q_i + d q_i of before

    which never raises F = -E[a + b] - sum of the entropies of q_i >= -log Z, as nodes of a set do not see each other.
    Without sets in the data all nodes move at once, and F may rise. Survey (19)-(20) has it on a full graph; unrolled
    with learned potentials, truncated mean field (Domke 2013, doi:10.1109/TPAMI.2013.31).

    Data: ``Pairwise``, or what ``potentials`` makes one of. State: q (batch, states, nodes). Estimates: log q.

    Parameters: ``damping`` d, not constrained, as a zero that is would never move.

    Args:
        potentials: data -> ``Pairwise``, a module; by default the data are one.
        damping: d at the start, in [0, 1).

    Raises:
        ValueError: a damping out of range.
    """

    damping: Tensor

    def __init__(self, potentials: nn.Module | None = None, *, damping: float = 0.0) -> None:
        super().__init__(potentials)
        check_range(damping, "damping", 0.0, 1.0)
        self.damping = nn.Parameter(torch.tensor(float(damping)))

    def start(self, problem: Pairwise) -> Tensor:
        """Every node by itself."""
        return torch.softmax(problem.nodes, 1).expand(batch_of(problem), -1, -1).contiguous()

    def forward(self, state: Tensor, problem: Pairwise) -> Tensor:
        if problem.sets is None:
            return torch.lerp(torch.softmax(self.fields(state, problem), 1), state, self.damping)
        for k in range(problem.sets.shape[1]):
            moved = torch.lerp(torch.softmax(self.fields(state, problem), 1), state, self.damping)
            state = torch.where(problem.sets[:, k : k + 1], moved, state)
        return state

    def fields(self, state: Tensor, problem: Pairwise) -> Tensor:
        """a_i + sum over j of E b_ij."""
        first, second = problem.edges.unbind(1)
        to_first = (problem.pairs * gather_nodes(state, second).unsqueeze(1)).sum(2)
        to_second = (problem.pairs * gather_nodes(state, first).unsqueeze(2)).sum(1)
        heard = torch.cat([to_second, to_first], dim=2)
        nodes = problem.nodes.expand(state.shape[0], -1, -1)
        return nodes + sum_at_nodes(heard, problem.edges.flip(1).flatten(1), nodes)

    def estimate(self, state: Tensor, problem: Pairwise) -> Float[Tensor, "batch states nodes"]:
        """Log marginals of the nodes."""
        return state.clamp_min(torch.finfo(state.dtype).tiny).log()

    def objective(self, state: Tensor, problem: Pairwise) -> Float[Tensor, " batch"]:
        """The free energy F, (batch,)."""
        first, second = (gather_nodes(state, end) for end in problem.edges.unbind(1))
        pairs = (problem.pairs * first.unsqueeze(2) * second.unsqueeze(1)).sum((1, 2, 3))
        return torch.special.xlogy(state, state).sum((1, 2)) - (state * problem.nodes).sum((1, 2)) - pairs
