"""Files of graphs with a number at each node."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.graphs.edges import check_edges, independent_sets
from unrolling.files.decoding import Arrays

MOST_LABELS = 2


class LabelledGraph(NamedTuple):
    """A graph; labels are -1 where the file has none."""

    values: Tensor  # (nodes,) float32
    edges: Tensor  # (2, edges) int64
    labels: Tensor  # (nodes,) int64
    sets: Tensor  # (sets, nodes) bool: nodes without edges between them


def read_labelled_graph(path: str | Path, *, labelled: bool = True) -> LabelledGraph:
    """A graph from a ``.npz`` file: values (nodes,), edges (2, edges) and, where they are asked for, labels (nodes,), 0
    or 1, or -1 where nobody knows.

    Raises:
        ValueError: arrays that are missing, of the wrong shape or kind, or no finite numbers; an edge to a node that is
            not there, to itself, or given twice; labels out of range.
    """
    arrays = Arrays(Path(path))
    needed = ("values", "edges", *(("labels",) if labelled else ()))
    if missing := [name for name in needed if name not in arrays]:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; a graph is {', '.join(needed)}: {missing[0]} is missing"
        )
    values = np.asarray(arrays["values"])
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError(f"{path}: values are finite real numbers (nodes,); got {values.dtype} {values.shape}")
    edges = np.asarray(arrays["edges"])
    if edges.dtype.kind not in "iu":
        raise ValueError(f"{path}: edges are pairs of numbers of nodes, integers; got {edges.dtype}")
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise ValueError(f"{path}: edges have the shape (2, edges); got {edges.shape}")
    listed = torch.from_numpy(edges.astype(np.int64))
    try:
        check_edges(listed, len(values))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    labels = torch.full((len(values),), -1)
    if labelled:
        given = np.asarray(arrays["labels"])
        if given.shape != values.shape or given.dtype.kind not in "biu":
            raise ValueError(
                f"{path}: labels are integers, one for each of {len(values)} nodes; got {given.dtype} {given.shape}"
            )
        labels = torch.from_numpy(given.astype(np.int64))
        if bool(((labels < -1) | (labels >= MOST_LABELS)).any()):
            raise ValueError(
                f"{path}: labels are 0 or 1, or -1 where nobody knows; got {int(labels.min())} to {int(labels.max())}"
            )
    return LabelledGraph(
        torch.from_numpy(values.astype(np.float32)), listed, labels, independent_sets(listed, len(values))
    )


def read_labelled_graphs(folder: str | Path) -> list[LabelledGraph]:
    """All ``.npz`` files of a folder, in the order of their names.

    Raises:
        ValueError: fewer than three, or one that is no labelled graph.
    """
    paths = sorted(Path(folder).glob("*.npz"))
    if len(paths) < 3:
        raise ValueError(f"{folder} holds {len(paths)} .npz files; training, validation and test need one each")
    return [read_labelled_graph(path) for path in paths]
