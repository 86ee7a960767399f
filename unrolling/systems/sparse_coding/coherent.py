"""What the networks for coherent dictionaries share: the problem, the paper, the classical methods."""

from __future__ import annotations

from typing import Any

from unrolling.algorithms import IHT
from unrolling.systems.base import Classical, Recipe, Reference
from unrolling.systems.sparse_coding import baselines
from unrolling.tasks.sparse.recovery import Recovery

XIN = Reference(
    "Xin, B., Wang, Y., Gao, W., Wipf, D. and Wang, B.",
    "Maximal sparsity with deep networks?",
    "NeurIPS, arXiv:1605.01636",
    2016,
)
BLUMENSATH = Reference(
    "Blumensath, T. and Davies, M. E.",
    "Iterative hard thresholding for compressed sensing",
    "Applied and Computational Harmonic Analysis 27(3)",
    2009,
    "10.1016/j.acha.2009.04.002",
)
OPTIONS = {"m": 50, "n": 100, "probability": 0.05, "coherence": 0.9}
NOTES = (
    "Any two columns of a block of five have the inner product 0.9. The lasso and pursuit take one for the other; a "
    "network may learn, from the data, how to tell them apart (Xin et al. 2016).",
)


def expected_support(task: Recovery) -> int:
    """The mean number of non-zeros."""
    return max(1, round(task.probability * task.dictionary.shape[1]))


def iht(task: Recovery) -> list[Classical]:
    """IHT; how many entries it keeps is chosen on validation data."""
    k, n = expected_support(task), task.dictionary.shape[1]
    counts = tuple(sorted({float(min(n, max(1, round(k * factor)))) for factor in (0.6, 1.0, 1.4, 2.0)}))
    return [Classical("IHT", lambda count: IHT(task.dictionary, int(count)), counts, 1000, setting="non-zeros")]


def recipe(**own: Any) -> Recipe:
    """Sparse recovery with blocks of coherent columns."""
    return baselines.recovery_recipe(
        options=OPTIONS,
        more=iht,
        depth=16,
        parent_name="IHT",
        generic_steps=8000,
        generic_batch=128,
        threads=1,
        notes=NOTES,
        **own,
    )
