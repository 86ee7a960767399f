"""Labels of the nodes of a graph from a noisy number at each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, nll_loss, pad

from unrolling.algorithms.graphs.belief_propagation import BeliefPropagation
from unrolling.algorithms.graphs.edges import chain_edges, grid_edges, independent_sets, random_tree_edges
from unrolling.algorithms.graphs.mean_field import MeanField
from unrolling.algorithms.graphs.potentials import Featured, LinearPotentials
from unrolling.files.labelled_graphs import LabelledGraph, read_labelled_graphs
from unrolling.networks.graph_convolutions import GraphConvolutions, width_of
from unrolling.tasks.base import Samples, Shift, Task
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.metrics import Mean

SHAPES = ("grid", "chain", "tree")
SIZES = {"grid": ((16, 16), (12, 20), (20, 14)), "chain": ((200,), (120,), (260,)), "tree": ((200,), (120,), (260,))}
IGNORED = -1  # the label of a node that nobody knows
STAY = 0.9  # chance that a node of a chain or tree has the label of the one before it


def _surprise(estimate: Tensor, samples: Samples) -> Tensor:
    """Of each graph: the mean over its nodes of -log of the chance that its label was given."""
    target = check_labels(samples.target, estimate.shape[1])
    each = nll_loss(estimate.double(), target, ignore_index=IGNORED, reduction="none")
    return each.sum(1) / (target != IGNORED).sum(1).clamp_min(1)


MARGINAL_LOSS = Mean("marginal loss", "nats per node", "lower", "graph", places=4, each=_surprise)


class Labelling(Task):
    """y_i = x_i + sigma n_i, x_i in {0, 1}, n_i ~ N(0, 1) at the nodes of a graph: find the chance that x_i is 1.

    On a ``grid`` x is a binary picture: smoothed noise above its median, which no pairwise model draws. On a ``chain``
    and a random ``tree`` each label is that of the node before it with a chance of 0.9. Graphs have three sizes; the
    graphs of a batch have one. Features of a node are 1 and y_i, those of an edge 1 and |y_i - y_j|. Estimates are log
    marginals (batch, 2, nodes), targets labels (batch, nodes), -1 where nobody knows.

    Args:
        shape: ``grid``, ``chain`` or ``tree``.
        noise: sigma.
        seed: of the held-out graphs.
        held_out: number of validation and of test graphs, a third of each size.
        data: a folder of ``.npz`` files of your own, each a graph: values (nodes,), edges (2, edges), labels (nodes,).
            The last third is for the test, the one before it for validation. Batches are disjoint unions of graphs.
        fixed: tensors of a weights file; none is needed.

    Raises:
        ValueError: an unknown shape, a noise that is not positive, files that are no labelled graphs.
    """

    name = "labelling"
    given = "a noisy number at each node of a graph, a picture for one"
    sought = "the label of each node, with its chance"
    metric = MARGINAL_LOSS
    vectors = False
    grains = 1
    options: Mapping[str, Any] = {"shape": "grid", "noise": 0.8}
    notes = ("The marginal loss is -log of the chance that a method gives to the true label, the mean over nodes.",)
    references = ("domke2013learning",)

    def __init__(
        self,
        shape: str = "grid",
        noise: float = 0.8,
        seed: int = 0,
        held_out: int = 300,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if shape not in SHAPES:
            raise ValueError(f"no shape {shape!r}; there are {', '.join(SHAPES)}, or graphs of your own with data")
        if not (isfinite(noise) and noise > 0):
            raise ValueError(f"noise is a standard deviation, positive and finite; got {noise}")
        self.shape, self.noise, self.seed = shape, noise, seed
        generator = torch.Generator().manual_seed(11_000_003 + seed)
        self.own: list[LabelledGraph] = []
        if data is None:
            self.graphs = [self._graph(size, generator) for size in SIZES[shape]]
            self.validation, self.test = (
                [self._noisy(k, max(1, held_out // 3), generator) for k in range(3)] for _ in range(2)
            )
            self.summary = f"Label the nodes of {shape}s of several sizes from numbers with noise of {noise:g}."
        else:
            graphs = read_labelled_graphs(data)
            third = max(1, len(graphs) // 3)
            self.own = graphs[: -2 * third] or graphs[:1]
            self.validation, self.test = (
                [sample_of(graph) for graph in part] for part in (graphs[-2 * third : -third], graphs[-third:])
            )
            self.shape = "given"
            self.summary = f"Label the nodes of {len(graphs)} graphs from numbers with noise."
        self.timing = self.test[0]

    @classmethod
    def small(cls) -> Labelling:
        return cls(held_out=6)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        return "" if options["shape"] == SHAPES[0] else options["shape"]

    def potentials(self, coupling: float = 1.0) -> LinearPotentials:
        """Of labels in Gaussian noise, with neighbours alike by so much: log N(y; x, sigma^2) up to what x does not
        change, and c on the diagonal.
        """
        alone = torch.tensor([[0.0, 0.0], [-0.5, 1.0]]) / self.noise**2
        together = torch.stack([coupling * torch.eye(2), torch.zeros(2, 2)])
        return LinearPotentials(alone, together)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Inference run to its end with the strength of the coupling chosen, no coupling, and a generic network."""
        couplings = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
        return [
            Iterative(
                "belief propagation",
                lambda c: BeliefPropagation(self.potentials(c), damping=0.3),
                couplings,
                40,
                setting="coupling",
            ),
            Iterative("mean field", lambda c: MeanField(self.potentials(c)), couplings, 40, setting="coupling"),
            Method("each node by itself", lambda _: _alone(self.potentials(0.0))),
            Generic("graph convolutions, 5 layers", lambda: GraphConvolutions(2, 2, width_of(size, 5), 5)),
        ]

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Graphs of one size; of graphs of your own the disjoint union of so many, which is one sample."""
        if self.own:
            chosen = torch.randint(len(self.own), (batch,), generator=generator).tolist()
            return sample_of(*(self.own[k] for k in chosen))
        return self._noisy(int(torch.randint(len(self.graphs), (), generator=generator)), batch, generator)

    def _graph(self, size: tuple[int, ...], generator: torch.Generator) -> tuple[tuple[int, ...], Tensor, Tensor]:
        """Size, edges (1, 2, edges), independent sets (1, sets, nodes)."""
        if self.shape == "grid":
            edges = grid_edges(size[0], size[1])
        else:
            edges = chain_edges(size[0]) if self.shape == "chain" else random_tree_edges(size[0], generator)
        nodes = torch.Size(size).numel()
        return size, edges.unsqueeze(0), independent_sets(edges, nodes).unsqueeze(0)

    def _noisy(self, which: int, batch: int, generator: torch.Generator) -> Samples:
        size, edges, sets = self.graphs[which]
        if self.shape == "grid":
            labels = binary_pictures(batch, size[0], size[1], generator).flatten(1)
        else:
            labels = _markov(edges[0], batch, generator)
        values = labels + self.noise * torch.randn(labels.shape, generator=generator)
        return Samples(featured(values, edges, sets), labels)

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The univariate marginal loss (Domke 2013): the mean of -log q_i(x_i)."""
        return nll_loss(estimate, target, ignore_index=IGNORED)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """The share of wrong labels."""
        wrong = [
            (estimate.argmax(1) != batch.target[: len(estimate)])[batch.target[: len(estimate)] != IGNORED]
            for estimate, batch in zip(estimates, batches, strict=True)
        ]
        return {"wrong labels, share": float(torch.cat(wrong).float().mean())}

    def shifts(self) -> Sequence[Shift]:
        """More and less noise."""
        if self.own:
            return ()

        def drawn(noise: float) -> Samples:
            other = Labelling(self.shape, noise, self.seed + 1, 60)
            return other.test[0]

        return (Shift("noise", (0.4, 0.6, 0.8, 1.0, 1.2), drawn, self.noise, "Standard deviation of the noise."),)

    def identity(self) -> dict[str, Any]:
        own = {"name": self.name, "shape": self.shape, "noise": self.noise, "seed": self.seed}
        if self.own:
            content = b"".join(part.numpy().tobytes() for graph in self.own for part in graph[:3])
            own["fingerprint"] = hashlib.sha256(content).hexdigest()[:16]
        return own


def featured(values: Tensor, edges: Tensor, sets: Tensor | None = None) -> Featured:
    """The features of a graph: 1 and y_i of a node, 1 and |y_i - y_j| of an edge.

    Args:
        values: y (batch, nodes).
        edges: (1, 2, edges).
        sets: (1, sets, nodes) independent ones, or None.
    """
    first, second = edges[0]
    apart = (values[:, first] - values[:, second]).abs()
    return Featured(
        torch.stack([torch.ones_like(values), values], 1), torch.stack([torch.ones_like(apart), apart], 1), edges, sets
    )


def sample_of(*graphs: LabelledGraph) -> Samples:
    """Graphs of any sizes as one sample: their disjoint union."""
    starts = torch.tensor([0, *(len(graph.values) for graph in graphs)]).cumsum(0)[:-1]
    edges = torch.cat([graph.edges + int(first) for graph, first in zip(graphs, starts, strict=True)], dim=1)
    values = torch.cat([graph.values for graph in graphs])
    most = max(len(graph.sets) for graph in graphs)
    sets = torch.cat([pad(graph.sets, (0, 0, 0, most - len(graph.sets))) for graph in graphs], dim=1)
    labels = torch.cat([graph.labels for graph in graphs])
    return Samples(featured(values.unsqueeze(0), edges.unsqueeze(0), sets.unsqueeze(0)), labels.unsqueeze(0))


def check_labels(labels: Tensor, states: int) -> Tensor:
    """Labels 0 to states - 1, or -1 where nobody knows.

    Raises:
        ValueError: others.
    """
    bad = (labels < IGNORED) | (labels >= states)
    if bool(bad.any()):
        where = tuple(int(k) for k in bad.nonzero()[0])
        raise ValueError(
            f"labels go from 0 to {states - 1}, or are {IGNORED} where nobody knows; got {int(labels[where])} at index "
            f"{where}"
        )
    return labels


def binary_pictures(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Noise smoothed twice over 5 x 5 pixels, above its median, (batch, height, width) int64."""
    noise = torch.randn(batch, 1, height + 8, width + 8, generator=generator)
    smooth = avg_pool2d(avg_pool2d(noise, 5, 1), 5, 1).squeeze(1)
    return (smooth > smooth.flatten(1).median(1).values.view(-1, 1, 1)).long()


def _markov(edges: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Labels along a tree whose edges lead to the nodes in their order, (batch, nodes) int64."""
    nodes = edges.shape[1] + 1
    change = (torch.rand(batch, nodes, generator=generator) > STAY).long()
    labels = torch.randint(2, (batch, nodes), generator=generator)
    for before, node in edges.T.tolist():
        labels[:, node] = labels[:, before] ^ change[:, node]
    return labels


def _alone(potentials: LinearPotentials) -> Any:
    return lambda data: torch.log_softmax(potentials(data).nodes, 1).detach()
