"""Belief propagation on pairwise Markov random fields, and its tree-reweighted form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.graphs.edges import check_places, spanning_tree_probabilities
from unrolling.algorithms.graphs.pairwise import Pairwise, gather_nodes, sum_at_nodes
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_range


class GraphInference(Iteration):
    """What iterations on a graph have in common: data that are checked, potentials that may be learned.

    Args:
        potentials: data -> ``Pairwise``; by default the data are one.
    """

    def __init__(self, potentials: nn.Module | None = None) -> None:
        super().__init__()
        if potentials is not None:
            self.prepare = potentials

    def check(self, data: Pairwise) -> None:
        """Refuses edges to nodes that are not there. On a device, where a look would wait for it, and in a compiled
        network the list has to be right.
        """
        if not hasattr(data, "edges"):
            raise TypeError("data are a model with edges: unrolling.algorithms.pairwise_model makes one")
        edges, nodes = data.edges, data[0].shape[-1]
        if edges.ndim != 3 or edges.shape[1] != 2:
            raise ValueError(f"edges have the shape (1, 2, edges) or (batch, 2, edges); got {tuple(edges.shape)}")
        if edges.is_floating_point():
            raise TypeError(f"edges are pairs of numbers of nodes, integers; got {edges.dtype}")
        compiling = torch.compiler.is_compiling()  # pyright: ignore[reportPrivateImportUsage]
        if edges.device.type == "cpu" and not compiling:
            check_places(edges, nodes)


def batch_of(problem: Pairwise) -> int:
    """How many samples a model has: the leading size that is not 1, where there is one."""
    sizes = [tensor.shape[0] for tensor in (problem.nodes, problem.pairs, problem.edges)]
    return next((size for size in sizes if size != 1), 1)


class BeliefPropagation(GraphInference):
    """Sum-product message passing, all messages at once, in the log domain.

    m_ij(x_j) = log sum over x_i of exp(b_ij(x_i, x_j) / rho_ij + a_i(x_i) + sum over neighbours k of i of rho_ki
    m_ki(x_i) - m_ji(x_i)), less its mean over x_j;   m_ij <- (1 - d) m_ij + d m_ij of the sweep before
    log q_i(x_i) = a_i(x_i) + sum over k of rho_ki m_ki(x_i), normalised

    With rho = 1 belief propagation (Pearl 1988; exact on a tree after as many sweeps as its longest path has edges,
    component by component). With rho the probabilities of edges in spanning trees (``spanning_tree_probabilities``) it
    is tree-reweighted (Wainwright, Jaakkola and Willsky 2005, doi:10.1109/TIT.2005.850091). Unrolled with learned
    potentials it is truncated message passing (Stoyanov, Ropson and Eisner 2011; Domke 2011,
    doi:10.1109/CVPR.2011.5995320; Domke 2013, doi:10.1109/TPAMI.2013.31; survey [76], [77]).

    Data: ``Pairwise``, or what ``potentials`` makes one of. State: m (batch, states, 2 edges), from the first node of
    each edge to the second, then back. Estimates: log q (batch, states, nodes).

    Parameters: ``damping`` d, not constrained, as a zero that is would never move; ``edge_weight`` rho, positive, () or
    (edges,).

    Args:
        potentials: data -> ``Pairwise``, a module; by default the data are one.
        damping: d at the start, in [0, 1].
        edge_weight: rho at the start, a number, or one for each edge of the one graph that it is for.

    Raises:
        ValueError: a damping out of range, edge weights that are not positive and finite.
    """

    damping: Tensor
    edge_weight: Tensor

    def __init__(
        self, potentials: nn.Module | None = None, *, damping: float = 0.0, edge_weight: float | Tensor = 1.0
    ) -> None:
        super().__init__(potentials)
        check_range(damping, "damping", 0.0, 1.0)
        weight = torch.as_tensor(
            edge_weight, dtype=None if isinstance(edge_weight, Tensor) else torch.get_default_dtype()
        )
        if not bool(((weight > 0) & weight.isfinite()).all()) or weight.ndim > 1:
            raise ValueError("edge_weight is positive and finite, a number or one for each edge")
        self.damping = nn.Parameter(torch.tensor(float(damping), dtype=weight.dtype))
        self.edge_weight = nn.Parameter(weight.detach().clone())
        constrain(self, "edge_weight", Positive())

    def start(self, problem: Pairwise) -> Tensor:
        """Messages that say nothing."""
        return problem.nodes.new_zeros(batch_of(problem), problem.nodes.shape[1], 2 * problem.edges.shape[2])

    def forward(self, state: Tensor, problem: Pairwise) -> Tensor:
        here, there = self._cavities(state, problem)
        pairs = problem.pairs / self.edge_weight
        onward = torch.logsumexp(here.unsqueeze(2) + pairs, dim=1)
        back = torch.logsumexp(there.unsqueeze(1) + pairs, dim=2)
        sent = torch.cat([onward, back], dim=2)
        return torch.lerp(sent - sent.mean(1, keepdim=True), state, self.damping)

    def _weighted(self, state: Tensor) -> Tensor:
        weight = self.edge_weight
        return (torch.cat([weight, weight]) if weight.ndim else weight) * state

    def beliefs(self, state: Tensor, problem: Pairwise) -> Tensor:
        """log q up to a number for each node, (batch, states, nodes)."""
        target = problem.edges.flip(1).flatten(1)  # the second nodes, then the first
        nodes = problem.nodes.expand(state.shape[0], -1, -1)
        return nodes + sum_at_nodes(self._weighted(state), target, nodes)

    def _cavities(self, state: Tensor, problem: Pairwise) -> tuple[Tensor, Tensor]:
        """What each edge's first and second node believe without what the edge itself told them."""
        beliefs = self.beliefs(state, problem)
        first, second = problem.edges.unbind(1)
        onward, back = state.chunk(2, dim=2)
        return gather_nodes(beliefs, first) - back, gather_nodes(beliefs, second) - onward

    def estimate(self, state: Tensor, problem: Pairwise) -> Float[Tensor, "batch states nodes"]:
        """Log marginals of the nodes."""
        return torch.log_softmax(self.beliefs(state, problem), 1)

    def edge_marginals(self, state: Tensor, problem: Pairwise) -> Float[Tensor, "batch states states edges"]:
        """log q_ij, whose marginals are those of the nodes at a fixed point."""
        here, there = self._cavities(state, problem)
        joint = problem.pairs / self.edge_weight + here.unsqueeze(2) + there.unsqueeze(1)
        return torch.log_softmax(joint.flatten(1, 2), 1).unflatten(1, joint.shape[1:3])

    def advice(self) -> str:
        return "raise its damping"


class TreeReweighted(BeliefPropagation):
    """Belief propagation with rho of the uniform distribution over spanning trees of a graph.

    Takes ``edges`` (2, edges) and ``nodes`` in the place of an edge weight; the rest is ``BeliefPropagation``'s.
    """

    def __init__(self, edges: Tensor, nodes: int, potentials: nn.Module | None = None, *, damping: float = 0.0) -> None:
        weight = spanning_tree_probabilities(edges, nodes).to(torch.get_default_dtype())
        super().__init__(potentials, damping=damping, edge_weight=weight)
