"""Lists of edges: what they are checked for, and what follows from them alone."""

from __future__ import annotations

import torch
from torch import Tensor


def check_edges(edges: Tensor, nodes: int, name: str = "edges") -> Tensor:
    """A list of edges (2, edges) or (batch, 2, edges) of a graph without loops and double edges.

    Raises:
        TypeError: no integers.
        ValueError: another shape, an edge to a node that is not there, from a node to itself, or given twice.
    """
    if edges.is_floating_point() or edges.is_complex() or edges.dtype is torch.bool:
        raise TypeError(f"{name} are pairs of numbers of nodes, integers; got {edges.dtype}")
    if edges.ndim not in (2, 3) or edges.shape[-2] != 2:
        raise ValueError(f"{name} have the shape (2, edges) or (batch, 2, edges); got {tuple(edges.shape)}")
    for graph in edges.unsqueeze(0) if edges.ndim == 2 else edges:
        check_places(graph, nodes, name)
        loops = (graph[0] == graph[1]).nonzero().flatten()
        if len(loops):
            first = int(loops[0])
            raise ValueError(f"edge {first} of {name} goes from node {int(graph[0, first])} to itself")
        ordered = graph.sort(0).values
        different, counts = ordered.unique(dim=1, return_counts=True)
        if bool((counts > 1).any()):
            pair = different[:, int(counts.argmax())].tolist()
            raise ValueError(
                f"{name} hold the edge between {pair[0]} and {pair[1]} {int(counts.max())} times; add up its potentials"
            )
    return edges


def check_places(edges: Tensor, nodes: int, name: str = "edges") -> None:
    """Refuses an edge (2, edges) or (batch, 2, edges) to a node that is not there.

    Raises:
        ValueError: there is one.
    """
    bad = ((edges < 0) | (edges >= nodes)).any(-2)
    if bool(bad.any()):
        where = tuple(int(k) for k in bad.nonzero()[0])
        ends = edges[(*where[:-1], slice(None), where[-1])].tolist()
        raise ValueError(
            f"edge {where[-1]} of {name} joins the nodes {ends[0]} and {ends[1]}, and there are {nodes}, numbered "
            f"from 0 "
            f"to {nodes - 1}"
        )


def components(edges: Tensor, nodes: int) -> Tensor:
    """The connected component of each node, (nodes,) int64, numbered by their first nodes.

    Args:
        edges: (2, edges).
        nodes: how many.
    """
    label = torch.arange(nodes)
    source, target = edges
    while True:  # labels of neighbours, then of these labels' own nodes: few rounds
        least = label.scatter_reduce(0, target, label[source], "amin").scatter_reduce(0, source, label[target], "amin")
        least = least[least]
        if torch.equal(least, label):
            return label.unique(return_inverse=True)[1]
        label = least


def is_forest(edges: Tensor, nodes: int) -> bool:
    """Whether a graph (2, edges) has no cycle, so that belief propagation is exact on it."""
    return edges.shape[1] == nodes - int(components(edges, nodes).max()) - 1 if nodes else True


def spanning_tree_probabilities(edges: Tensor, nodes: int) -> Tensor:
    """How often each edge is in a spanning tree, all trees being equally likely; of each component by itself.

    It is the resistance between the edge's ends where every edge is a resistor of one (Kirchhoff 1847). These are edge
    weights that tree-reweighted belief propagation has its bound for; 1 on a tree, and they add up to the nodes less
    the components.

    Args:
        edges: (2, edges).
        nodes: how many.

    Returns:
        (edges,) in double precision.
    """
    check_edges(edges, nodes)
    source, target = edges
    laplacian = torch.zeros(nodes, nodes, dtype=torch.float64)
    one = torch.ones(edges.shape[1], dtype=torch.float64)
    laplacian.index_put_((source, target), -one, accumulate=True)
    laplacian.index_put_((target, source), -one, accumulate=True)
    laplacian -= torch.diag(laplacian.sum(1))
    # A number added to all of a component's entries makes it regular and changes no difference within it.
    label = components(edges, nodes)
    same = (label[:, None] == label).double()
    inverse = torch.linalg.inv(laplacian + same / same.sum(1, keepdim=True))
    return inverse[source, source] + inverse[target, target] - 2 * inverse[source, target]


def independent_sets(edges: Tensor, nodes: int) -> Tensor:
    """Sets of nodes without an edge within them, (sets, nodes) bool: a greedy colouring in the order of the nodes.

    A grid has two, a tree at most three or four in a poor order; a node without edges is in the first.

    Args:
        edges: (2, edges).
        nodes: how many.
    """
    neighbours: list[list[int]] = [[] for _ in range(nodes)]
    for a, b in edges.T.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    colour = [-1] * nodes
    for node in range(nodes):
        taken = {colour[other] for other in neighbours[node]}
        colour[node] = next(k for k in range(nodes) if k not in taken)
    found = torch.tensor(colour)
    return found == torch.arange(int(found.max()) + 1).unsqueeze(1)


def grid_edges(height: int, width: int) -> Tensor:
    """The edges of a grid of pixels, numbered row by row, (2, edges) int64: those to the right, then those down."""
    number = torch.arange(height * width).reshape(height, width)
    right = torch.stack([number[:, :-1].flatten(), number[:, 1:].flatten()])
    down = torch.stack([number[:-1].flatten(), number[1:].flatten()])
    return torch.cat([right, down], dim=1)


def chain_edges(nodes: int) -> Tensor:
    """The edges of a chain, (2, nodes - 1) int64."""
    return torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])


def random_tree_edges(nodes: int, generator: torch.Generator) -> Tensor:
    """The edges of a tree in which each node hangs on a random one before it, (2, nodes - 1) int64."""
    parents = [int(torch.randint(node, (), generator=generator)) for node in range(1, nodes)]
    return torch.stack([torch.tensor(parents, dtype=torch.int64), torch.arange(1, nodes)])
