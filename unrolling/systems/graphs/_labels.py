"""How inference on a graph is applied to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from unrolling.algorithms.graphs.edges import components
from unrolling.core import Unrolled
from unrolling.files.gate import checked
from unrolling.files.labelled_graphs import LabelledGraph, read_labelled_graph
from unrolling.files.received import check_output, write_symbols
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.tasks.graphs.labelling import Labelling, sample_of


def labelling() -> Application:
    """Of graphs with a number at each node."""
    return Application(
        "a .npz file with values (nodes,) and edges (2, edges), integers that count nodes from 0",
        ("the chance that a node's label is 1", "the labels"),
        _read,
        _label,
        suffixes=(".npz",),
        default_suffixes=("-chances.npy", "-labels.npy"),
        check=check_output,
    )


def _read(path: Path, options: Mapping[str, Any]) -> tuple[Path, LabelledGraph]:
    return path, read_labelled_graph(path, labelled=False)


def _label(
    network: Unrolled, task: Labelling, content: tuple[Path, LabelledGraph], outputs: Sequence[Path]
) -> Mapping[str, Any]:
    _, graph = content
    with torch.no_grad():
        chances = checked(network(sample_of(graph).data)[0, 1].exp(), "the chances")
    for out, values in zip(outputs, (chances, (chances > 0.5).float()), strict=False):
        write_symbols(out, values)
    parts = int(components(graph.edges, len(graph.values)).max()) + 1
    return {
        "nodes": len(graph.values),
        "edges": graph.edges.shape[1],
        "components": parts,
        "conditions": [Condition("connected components", parts, "read")],
    }
