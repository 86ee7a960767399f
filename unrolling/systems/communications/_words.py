"""How decoders are applied to files of log-likelihood ratios."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.graphs.binary_matrices import syndrome
from unrolling.algorithms.graphs.decoding import ParityBeliefPropagation
from unrolling.algorithms.graphs.parity_checks import ParityChecks
from unrolling.core import Unrolled, unroll
from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.parity_check import read_parity_check
from unrolling.files.received import check_output, numbers, write_symbols
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.options import Option
from unrolling.tasks.communications.decoding import Decoding

BLOCK = 4096  # words at a time
OPTIONS = (
    Option(
        "parity_check", Path, "the code of the words: an .alist file, or a .npy file of zeros and ones (checks, bits)"
    ),
    Option("plain", bool, "the network's decisions also where belief propagation alone finds a word of the code"),
)


class Content(NamedTuple):
    """What a file holds, and the code that was named beside it."""

    path: Path
    llr: Tensor  # (batch, n)
    single: bool
    matrix: Tensor | None  # (m, n) bool


def decoding() -> Application:
    """Of log-likelihood ratios."""
    return Application(
        "a .npy file of log-likelihood ratios log p(y | 0) / p(y | 1) of the bits of words, (batch, n) or (n,)",
        ("the bits", "the log-likelihood ratios after decoding"),
        _read,
        _decode,
        suffixes=(".npy", ".npz"),
        default_suffixes=("-bits.npy", "-ratios.npy"),
        options=OPTIONS,
        check=check_output,
    )


def ranges(task: Decoding) -> dict[str, Any]:
    """What weights trained on a task are good for."""
    return {
        "bits": (task.matrix.shape[1],),
        "checks": (task.matrix.shape[0],),
        "SNR": Range(task.low, task.high),
    }


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    llr = numbers(path, "the ratios", Arrays(path).only, "real")
    if llr.ndim not in (1, 2) or 0 in llr.shape:
        raise ValueError(f"{path} has the shape {tuple(llr.shape)}; log-likelihood ratios have (batch, n) or (n,)")
    file = options.get("parity_check")
    return Content(
        path,
        llr if llr.ndim == 2 else llr.unsqueeze(0),
        llr.ndim == 1,
        None if file is None else read_parity_check(file),
    )


def _decode(
    network: Unrolled,
    task: Decoding,
    content: Content,
    outputs: Sequence[Path],
    *,
    plain: bool = False,
    parity_check: Path | None = None,
) -> Mapping[str, Any]:
    path, matrix = content.path, task.matrix if content.matrix is None else content.matrix
    other = content.matrix is not None and not (
        content.matrix.shape == task.matrix.shape and torch.equal(content.matrix, task.matrix)
    )
    if other:
        network = _for_code(network, matrix, parity_check)
    bits = matrix.shape[1]
    if content.llr.shape[1] != bits:
        named = "" if parity_check is None else f" of {parity_check}"
        raise ValueError(
            f"{path} holds words of {content.llr.shape[1]} bits, and the code{named} has {bits}; --parity-check names "
            "the matrix of another one"
        )
    graph = ParityChecks(matrix)
    if graph.rank < len(matrix):
        warnings.warn(
            f"{path}: {len(matrix) - graph.rank} of the {len(matrix)} rows of the parity-check matrix depend on the "
            f"others; they are used all the same, and words have {bits - graph.rank} free bits",
            stacklevel=2,
        )
    classical = unroll(ParityBeliefPropagation(matrix), len(network.layers), tied="scale")
    found, replaced = [], 0
    with torch.no_grad():
        for part in content.llr.float().clamp(-1e30, 1e30).split(BLOCK):
            estimate = checked(network(part), "the ratios after decoding")
            if not plain:
                bare = classical(part)
                better = syndrome(estimate < 0, matrix).any(1) & ~syndrome(bare < 0, matrix).any(1)
                replaced += int(better.sum())
                estimate = torch.where(better.unsqueeze(1), bare, estimate)
            found.append(estimate)
    estimate = torch.cat(found)
    decided = estimate < 0
    words = int((~syndrome(decided, matrix).any(1)).sum())
    for out, values in zip(outputs, (decided.to(torch.float32), estimate), strict=False):
        write_symbols(out, values[0] if content.single else values)
    conditions = [
        Condition("bits", bits, "read"),
        Condition("checks", len(matrix), "read"),
        Condition("SNR", _snr(content.llr, (bits - graph.rank) / bits), "estimated", "dB"),
    ]
    if not plain:
        conditions.append(Condition("decided by belief propagation", f"{replaced} of {len(estimate)}", "read"))
    return {
        "words": len(estimate),
        "bits": bits,
        "free_bits": bits - graph.rank,
        "words_of_the_code": words,
        "decided_by_belief_propagation": replaced,
        "conditions": conditions,
    }


def _for_code(network: Unrolled, matrix: Tensor, path: Path | None) -> Unrolled:
    """The same scales, one for an iteration, on the graph of another code.

    Raises:
        ValueError: the network has one for each edge of its own code.
    """
    layers: Any = network.layers
    if any(layer.scale.ndim for layer in layers):
        raise ValueError(
            f"{path} is another code than that of these weights, which have a number for each of its edges; "
            "communications/weighted_bp has one for each iteration, which any code can take, and "
            f"unroll train communications/weighted_bp_edges --data {path} learns others"
        )
    made = unroll(ParityBeliefPropagation(matrix), len(layers), tied=network.tied, untied=network.untied)
    made.load_learned(network.learned())
    return made.eval()


def _snr(llr: Tensor, rate: float) -> float:
    """E_b / N_0 in dB under which ratios are that large: of mean m and variance 2 m, up to signs."""
    square = float(llr.double().clamp(-1e6, 1e6).square().mean())
    mean = np.sqrt(1 + square) - 1
    return round(10 * log10(max(float(mean), 1e-12) / (4 * max(rate, 1e-6))), 1)
