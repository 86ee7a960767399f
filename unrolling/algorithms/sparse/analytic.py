"""Weights of small coherence with a dictionary, computed instead of learned: ALISTA's."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms.sparse.dictionary import check_dictionary
from unrolling.core.arguments import check_count, check_range


def analytic_weights(dictionary: Float[Tensor, "m n"]) -> Float[Tensor, "n m"]:
    """W (n, m) that minimises |W A|_F^2 subject to w_i a_i = 1, in closed form: w_i = (A A^T)^+ a_i / (a_i^T (A A^T)^+
    a_i).

    Liu, Chen, Wang and Yin 2019 (openreview:B1lnzn0ctQ) pose the problem and solve it by projected gradient descent.
    The rows separate, each a least-norm problem with one linear constraint. For orthogonal Q, Q A has the weights W
    Q^T. Computed in double precision, given in the dictionary's.

    Args:
        dictionary: A, without zero columns; A A^T may be singular.

    Raises:
        ValueError: a zero column.
    """
    a = check_dictionary(dictionary.detach()).double()
    towards = torch.linalg.pinv(a @ a.T, hermitian=True) @ a
    return (towards / (a * towards).sum(0)).T.to(dictionary).contiguous()


def projected_gradient_weights(
    dictionary: Float[Tensor, "m n"], *, step_size: float = 0.1, iterations: int = 1000
) -> Float[Tensor, "n m"]:
    """The same weights as the paper finds them: gradient steps on |W A|_F^2, each followed by the projection onto w_i
    a_i = 1. For study.

    Args:
        dictionary: A (m, n).
        step_size: relative to 1 / |A A^T|.
        iterations: how many steps.
    """
    check_range(step_size, "step_size", 0.0, above=True)
    check_count(iterations, "iterations", 0)
    a = check_dictionary(dictionary.detach()).double()
    gram = a @ a.T
    rate = step_size / float(torch.linalg.matrix_norm(gram, 2))
    energy = a.square().sum(0)
    w = a / energy
    for _ in range(iterations):
        w = w - rate * (gram @ w)
        w = w + a * ((1 - (a * w).sum(0)) / energy)
    return w.T.to(dictionary).contiguous()


def minimal_coherence_weights(
    dictionary: Float[Tensor, "m n"], columns: Iterable[int] | None = None
) -> Float[Tensor, "k m"]:
    """Rows w_i that minimise max_j!=i |w_i a_j| subject to w_i a_i = 1, each by a linear program: the generalised
    mutual coherence itself. For study.

    A program takes about a second for m = 250, n = 500; scipy solves it.

    Args:
        dictionary: A (m, n).
        columns: which i; all by default.

    Raises:
        ImportError: scipy is missing.
        ArithmeticError: a program without a solution.
    """
    chosen = range(dictionary.shape[1]) if columns is None else list(columns)
    if any(not 0 <= column < dictionary.shape[1] for column in chosen):
        raise ValueError(f"columns names {list(chosen)}, and the dictionary has {dictionary.shape[1]}, counted from 0")
    import numpy as np

    with extra("the linear program of these weights"):
        from scipy.optimize import linprog

    a = check_dictionary(dictionary.detach()).double().numpy()
    m, n = a.shape
    rows = []
    for i in chosen:
        others = np.delete(a, i, axis=1).T
        ones = np.ones((n - 1, 1))
        bound = np.block([[others, -ones], [-others, -ones]])  # |w a_j| <= t
        cost = np.append(np.zeros(m), 1.0)
        equal = np.append(a[:, i], 0.0)[None]
        found = linprog(
            cost,
            A_ub=bound,
            b_ub=np.zeros(2 * (n - 1)),
            A_eq=equal,
            b_eq=[1.0],
            bounds=[(None, None)] * m + [(0, None)],
            method="highs",
        )
        if not found.success:
            raise ArithmeticError(f"the linear program of column {i} was not solved: {found.message}")
        rows.append(torch.from_numpy(found.x[:m]))
    return torch.stack(rows).to(dictionary)


def mutual_coherence(dictionary: Float[Tensor, "m n"], weights: Float[Tensor, "n m"] | None = None) -> float:
    """max_i!=j |w_i a_j|, w_i a_i = 1: the generalised mutual coherence of weights with a dictionary, by default of its
    own unit columns.

    Args:
        dictionary: A (m, n).
        weights: W (n, m); rows are scaled to w_i a_i = 1. By default A^T, and the columns of A are scaled to norm 1.
    """
    a = check_dictionary(dictionary.detach()).double()
    if weights is None:
        a = a / torch.linalg.vector_norm(a, dim=0)
        products = a.T @ a
    else:
        if weights.shape != a.T.shape:
            raise ValueError(f"weights are {tuple(a.T.shape)}, one row per atom; got shape {tuple(weights.shape)}")
        products = weights.detach().double() @ a
        products = products / products.diagonal().unsqueeze(1)
    return float((products - torch.diag(products.diagonal())).abs().max())
