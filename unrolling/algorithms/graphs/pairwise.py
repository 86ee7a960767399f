"""Pairwise Markov random fields: the model, its exact marginals where these can be had, free energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from unrolling.algorithms.graphs.edges import check_edges, independent_sets

MOST_CONFIGURATIONS = 1 << 22  # that are enumerated


class Pairwise(NamedTuple):
    """log p(x) = sum over nodes of a_i(x_i) + sum over edges of b_ij(x_i, x_j) - log Z.

    ``pairwise_model`` makes one and checks it. Tensors with a leading size of 1 are shared by all samples.
    """

    nodes: Tensor  # a (batch, states, nodes) real: log potentials
    pairs: Tensor  # b (batch, states, states, edges) real: first the state of the edge's first node
    edges: Tensor  # (1, 2, edges) or (batch, 2, edges) int64
    sets: Tensor | None = None  # (1, sets, nodes) or (batch, sets, nodes) bool: of nodes without edges between them


def pairwise_model(nodes: Tensor, pairs: Tensor, edges: Tensor) -> Pairwise:
    """A model from log potentials and a list of edges, checked; its independent sets are found.

    Args:
        nodes: (states, nodes) or (batch, states, nodes).
        pairs: (states, states, edges), (batch, states, states, edges), or (states, states) for all edges.
        edges: (2, edges) integers.

    Raises:
        TypeError: edges that are no integers.
        ValueError: shapes that do not belong together, an edge to a node that is not there, to itself, or twice;
            potentials that are not finite (what is forbidden has a large negative one: -100, say).
    """
    nodes = nodes.unsqueeze(0) if nodes.ndim == 2 else nodes
    if edges.ndim != 2:
        raise ValueError(f"edges have the shape (2, edges); got {tuple(edges.shape)}")
    if nodes.ndim != 3:
        raise ValueError(f"potentials of nodes have the shape (batch, states, nodes); got {tuple(nodes.shape)}")
    _, states, count = nodes.shape
    check_edges(edges, count)
    if pairs.ndim == 2:
        pairs = pairs.unsqueeze(2).expand(-1, -1, edges.shape[1])
    pairs = pairs.unsqueeze(0) if pairs.ndim == 3 else pairs
    if pairs.shape[1:] != (states, states, edges.shape[1]) or pairs.shape[0] not in (1, nodes.shape[0]):
        raise ValueError(
            f"potentials of edges have the shape (batch or 1, {states}, {states}, {edges.shape[1]}) for {states} "
            f"states "
            f"and {edges.shape[1]} edges; got {tuple(pairs.shape)}"
        )
    for name, value in (("nodes", nodes), ("edges", pairs)):
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"potentials of {name} must be finite; write -100, say, for what is forbidden")
    return Pairwise(nodes, pairs, edges.unsqueeze(0), independent_sets(edges, count).unsqueeze(0))


def disjoint_union(models: Sequence[Pairwise]) -> Pairwise:
    """Models of single samples and of any sizes as one graph of as many components: one sample.

    Marginals of the union, split along nodes by ``[model.nodes.shape[2] for model in models]``, are theirs.

    Raises:
        ValueError: none, several samples in one, or different numbers of states.
    """
    if not models or any(model.nodes.shape[0] != 1 or model.edges.shape[0] != 1 for model in models):
        raise ValueError("a disjoint union is made of at least one model, each of one sample")
    if len({model.nodes.shape[1] for model in models}) > 1:
        raise ValueError(f"numbers of states differ: {[model.nodes.shape[1] for model in models]}")
    starts = torch.tensor([0] + [model.nodes.shape[2] for model in models]).cumsum(0)[:-1]
    edges = torch.cat([model.edges + int(first) for model, first in zip(models, starts, strict=True)], dim=2)
    found = [model.sets for model in models]
    sets = None
    if all(each is not None for each in found):
        most = max(each.shape[1] for each in found if each is not None)
        sets = torch.cat([pad(each, (0, 0, 0, most - each.shape[1])) for each in found if each is not None], dim=2)
    return Pairwise(
        torch.cat([model.nodes for model in models], dim=2),
        torch.cat([model.pairs for model in models], dim=3),
        edges,
        sets,
    )


def stacked(models: Sequence[Pairwise]) -> Pairwise:
    """Models of single samples and of any sizes as one batch, filled up with nodes without edges and with edges that
    say
    nothing: potentials of zero from node 0 to itself, whose messages are uniform.

    Raises:
        ValueError: none, several samples in one, or different numbers of states.
    """
    disjoint_union(models)  # the same is refused
    nodes = max(model.nodes.shape[2] for model in models)
    edges = max(model.edges.shape[2] for model in models)

    def filled(tensors: Sequence[Tensor], size: int) -> Tensor:
        return torch.cat([pad(tensor, (0, size - tensor.shape[-1])) for tensor in tensors])

    found, sets = [model.sets for model in models], None
    if all(each is not None for each in found):
        most = max(each.shape[1] for each in found if each is not None)
        sets = filled([pad(each, (0, 0, 0, most - each.shape[1])) for each in found if each is not None], nodes)
    return Pairwise(
        filled([model.nodes for model in models], nodes),
        filled([model.pairs for model in models], edges),
        filled([model.edges for model in models], edges),
        sets,
    )


def gather_nodes(values: Tensor, places: Tensor) -> Tensor:
    """(batch, states, nodes) at places (1 or batch, count) -> (batch, states, count)."""
    if places.shape[0] == 1:
        return values.index_select(2, places[0])
    return values.gather(2, places.unsqueeze(1).expand(-1, values.shape[1], -1))


def sum_at_nodes(values: Tensor, places: Tensor, like: Tensor) -> Tensor:
    """Sums of (batch, states, count) at places (1 or batch, count), in the shape of ``like`` (batch, states, nodes)."""
    index = places.unsqueeze(1).expand(values.shape[0], values.shape[1], -1)
    return torch.zeros_like(like).scatter_add(2, index, values)


def score(model: Pairwise, labels: Int[Tensor, "batch nodes"]) -> Float[Tensor, " batch"]:
    """log p(x) + log Z of labels."""
    batch = max(model.nodes.shape[0], labels.shape[0])
    labels = labels.expand(batch, -1)
    alone = model.nodes.expand(batch, -1, -1).gather(1, labels.unsqueeze(1)).sum((1, 2))
    first, second = (gather_nodes(labels.unsqueeze(1), end).squeeze(1) for end in model.edges.unbind(1))
    states = model.nodes.shape[1]
    flat = model.pairs.flatten(1, 2).expand(batch, -1, -1)
    return alone + flat.gather(1, (first * states + second).unsqueeze(1)).sum((1, 2))


def enumerate_marginals(model: Pairwise) -> tuple[Tensor, Tensor, Tensor]:
    """Exact marginals by enumeration: of nodes (batch, states, nodes), of edges (batch, states, states, edges), and
    log Z (batch,).

    Raises:
        ValueError: too many configurations (2^22).
    """
    batch, states, nodes = model.nodes.shape
    if states**nodes > MOST_CONFIGURATIONS:
        raise ValueError(f"{nodes} nodes of {states} states have too many configurations to enumerate")
    grid = torch.arange(states**nodes)
    labels = torch.stack([(grid // states**k) % states for k in range(nodes)], dim=1)
    alone, joint, logs = [], [], []
    for k in range(batch):
        one = Pairwise(*(t if t.shape[0] == 1 else t[k : k + 1] for t in model[:3]))
        weights = score(one, labels)
        logs.append(torch.logsumexp(weights, 0))
        chance = torch.exp(weights - logs[-1])
        marked = torch.nn.functional.one_hot(labels, states).to(chance)
        alone.append(torch.einsum("c,cns->sn", chance, marked))
        first, second = one.edges[0]
        joint.append(torch.einsum("c,ces,cet->ste", chance, marked[:, first], marked[:, second]))
    return torch.stack(alone), torch.stack(joint), torch.stack(logs)


def forward_backward(model: Pairwise) -> tuple[Tensor, Tensor]:
    """Exact log marginals (batch, states, nodes) and log Z (batch,) of a chain, whose edges are ``chain_edges``, by two
    passes (Baum, Petrie, Soules and Weiss 1970).

    Raises:
        ValueError: not a chain from node 0 on, in order.
    """
    nodes = model.nodes.shape[2]
    wanted = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    if model.edges.shape[0] != 1 or not torch.equal(model.edges[0].cpu(), wanted):
        raise ValueError("the model is no chain 0 - 1 - 2 - ...")
    forward, backward = [model.nodes[..., 0]], [torch.zeros_like(model.nodes[..., 0])]
    for k in range(1, nodes):
        step = torch.logsumexp(forward[-1].unsqueeze(2) + model.pairs[..., k - 1], dim=1)
        forward.append(step + model.nodes[..., k])
    for k in reversed(range(1, nodes)):
        ahead = (backward[-1] + model.nodes[..., k]).unsqueeze(1)
        backward.append(torch.logsumexp(ahead + model.pairs[..., k - 1], dim=2))
    joint = torch.stack(forward, 2) + torch.stack(backward[::-1], 2)
    return torch.log_softmax(joint, 1), torch.logsumexp(forward[-1], 1)


def bethe_free_energy(
    model: Pairwise, alone: Tensor, joint: Tensor, edge_weight: Tensor | float = 1.0
) -> Float[Tensor, " batch"]:
    """F = -E[a + b] - sum over nodes of H(q_i) + sum over edges of rho_ij I(q_ij), of pseudo-marginals; -F approximates
    log Z: exactly on a tree, from above with rho of spanning trees (Wainwright, Jaakkola and Willsky 2005,
    doi:10.1109/TIT.2005.850091).

    Args:
        model: the potentials.
        alone: q_i (batch, states, nodes).
        joint: q_ij (batch, states, states, edges), with the marginals q_i.
        edge_weight: rho, () or (edges,); 1 is Bethe's.
    """
    energy = (alone * model.nodes).sum((1, 2)) + (joint * model.pairs).sum((1, 2, 3))
    first, second = (gather_nodes(alone, end) for end in model.edges.unbind(1))
    entropy = -torch.special.xlogy(alone, alone).sum((1, 2))
    information = (
        torch.special.xlogy(joint, joint).sum((1, 2))
        - torch.special.xlogy(first, first).sum(1)
        - torch.special.xlogy(second, second).sum(1)
    )
    return -energy - entropy + (edge_weight * information).sum(1)
