"""What sparse codes and sparse recovery are compared with, from the dictionary and what is known of the signals."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms import AMP, FISTA, IHT, VAMP, CoordinateDescent, Decoded, GramISTA
from unrolling.algorithms.messages.state_evolution import SparsePrior, measurement_noise
from unrolling.algorithms.sparse.ista import Prox
from unrolling.core import Iteration
from unrolling.operators import Matrix
from unrolling.prox import soft_threshold
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian, TunedBernoulliGaussian
from unrolling.tasks.base import Task
from unrolling.tasks.baselines import Baseline, Iterative, Method

# Weight continuation starts where all but the strongest coefficients are zero.
FIRST_WEIGHT, RATE = 0.4, 0.9
LEAST_NOISE = 1e-10  # the noise variance that a method is told where there is none
WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)


def lasso(
    dictionary: Tensor,
    weights: tuple[float, ...] = WEIGHTS,
    *,
    slow: int = 3000,
    fast: int = 1000,
    prox: Prox = soft_threshold,
) -> list[Baseline]:
    """The lasso, or what it becomes with another prox, by the algorithms for it.

    Args:
        dictionary: A (m, n).
        weights: candidates; where there is one, prescribed by the task, the path to it is tuned instead.
        slow: iterations of ISTA and coordinate descent.
        fast: of FISTA.
        prox: of the penalty.
    """

    def ista(weight: float) -> GramISTA:
        return GramISTA(dictionary, weight, prox=prox)

    def continued(setting: tuple[float, float, float]) -> Iteration:
        weight, ratio, rate = setting
        return FISTA(ista(weight), continuation=(ratio, rate))

    if len(weights) == 1:
        paths = [(2.0, 0.7), (2.0, 0.8), (4.0, 0.7), (4.0, 0.8), (4.0, 0.85), (4.0, 0.9), (8.0, 0.8), (8.0, 0.9)]
        continuations = tuple((weights[0], *path) for path in paths)
    else:
        continuations = tuple((w, max(FIRST_WEIGHT / w, 1.0), RATE) for w in weights)
    methods: list[Baseline] = [
        Iterative("ISTA", ista, weights, slow),
        Iterative("FISTA", lambda w: FISTA(ista(w)), weights, fast),
        Iterative("FISTA with continuation", continued, continuations, fast),
    ]
    if prox is soft_threshold:
        methods.append(Iterative("coordinate descent", lambda w: CoordinateDescent(dictionary, w), weights, slow))
    return methods


def hard_thresholding(dictionary: Tensor, expected: float) -> Iterative:
    """IHT; how many entries it keeps is chosen around the mean number of non-zeros."""
    n = dictionary.shape[1]
    counts = tuple(sorted({min(n, max(1, round(expected * factor))) for factor in (0.6, 1.0, 1.4, 2.0)}))
    return Iterative("IHT", lambda count: IHT(dictionary, count), counts, 1000, setting="non-zeros")


def message_passing(dictionary: Tensor, told: tuple[float, float] | None) -> list[Baseline]:
    """VAMP that is told nothing; where all entries are independent and of one distribution also AMP and VAMP that are
    told the prior, and VAMP the noise level too.

    Args:
        dictionary: A (m, n).
        told: the probability of a non-zero and the SNR in dB; None where that would be false of the signals.
    """
    fitted = TunedBernoulliGaussian()
    methods: list[Baseline] = [
        Iterative(
            "VAMP, told nothing",
            lambda damping: VAMP(dictionary, fitted, damping=damping),
            (0.0, 0.2),
            200,
            setting="damping",
        )
    ]
    if told is None:
        return methods
    prior = SparsePrior(told[0])
    shrinkage, (m, n) = BernoulliGaussian(*prior), dictionary.shape
    noise = max(measurement_noise(told[1], prior, m / n), LEAST_NOISE)
    return [
        Iterative(
            "AMP, told the prior",
            lambda damping: AMP(dictionary, shrinkage, damping=damping),
            (0.0, 0.5, 0.8),
            200,
            setting="damping",
        ),
        *methods,
        Iterative(
            "VAMP, told prior and noise",
            lambda damping: VAMP(dictionary, shrinkage, noise, damping=damping),
            (0.0, 0.2),
            200,
            setting="damping",
        ),
    ]


def scikit_learn(
    task: Task,
    dictionary: Tensor,
    algorithm: str,
    label: str,
    setting: str,
    settings: tuple[Any, ...],
    *,
    limit: int,
    decode: Callable[[Tensor], Tensor] = lambda codes: codes,
    **options: Any,
) -> Method:
    """A solver of scikit-learn's ``sparse_encode``, in double precision on one core.

    Args:
        task: how data become rows.
        dictionary: A (m, n) with one atom per column.
        algorithm: ``lasso_cd``, ``lasso_lars`` or ``omp``.
        label: for the table.
        setting: the argument that is chosen: ``alpha`` or ``n_nonzero_coefs``.
        settings: its candidates.
        limit: largest number of samples to run it on.
        decode: (rows, n) codes to (rows, k) estimates.
        options: further arguments, as scikit-learn has them.
    """
    atoms = dictionary.T.double().contiguous().numpy()

    def make(value: Any) -> Callable[[Any], Tensor]:
        def run(data: Any) -> Tensor:
            with extra("comparing with scikit-learn"):
                from sklearn.decomposition import sparse_encode
                from sklearn.exceptions import ConvergenceWarning

            rows = task.rows(data).double().numpy()
            with warnings.catch_warnings():
                # its accuracy is measured; a pursuit that ends early has found all it can
                for category in (ConvergenceWarning, RuntimeWarning):
                    warnings.simplefilter("ignore", category)
                codes = sparse_encode(rows, atoms, algorithm=algorithm, n_jobs=1, **{setting: value}, **options)
            return task.assemble(decode(torch.from_numpy(codes).float()), data)

        return run

    note = f"{setting} {{setting:g}}; double precision, one core"
    return Method(f"scikit-learn {label}", make, settings, note, limit, "library")


def spams(
    task: Task, dictionary: Tensor, weights: tuple[float, ...], counts: tuple[int, ...], *, limit: int
) -> list[Baseline]:
    """The lasso by homotopy and orthogonal matching pursuit of SPAMS, in double precision; none where it is not
    installed.

    Args:
        task: how data become rows.
        dictionary: A (m, n) with one atom per column.
        weights: candidates of the lasso.
        counts: candidates of the most non-zeros of the pursuit, which ends before where nothing remains.
        limit: largest number of samples to run it on.
    """
    found = find_spec("spams")
    if found is None or found.origin is None:  # a folder of that name is no package
        return []

    def encoder(name: str, options: Callable[[Any], dict[str, Any]]) -> Callable[[Any], Callable[[Any], Tensor]]:
        def make(value: Any) -> Callable[[Any], Tensor]:
            def run(data: Any) -> Tensor:
                package = importlib.import_module("spams")
                atoms = np.asfortranarray(dictionary.double().numpy())
                rows = np.asfortranarray(task.rows(data).double().numpy().T)
                codes = getattr(package, name)(rows, D=atoms, numThreads=torch.get_num_threads(), **options(value))
                return task.assemble(torch.from_numpy(codes.toarray().T.copy()).float(), data)

            return run

        return make

    lasso, pursuit = (
        encoder("lasso", lambda w: {"lambda1": w, "mode": 2}),
        encoder("omp", lambda k: {"L": k, "eps": 1e-12}),
    )
    words = f"{{setting:g}}; double precision, threads: {torch.get_num_threads()}"
    return [
        Method("SPAMS lasso, homotopy", lasso, weights, f"weight {words}", limit, "library"),
        Method("SPAMS orthogonal matching pursuit", pursuit, counts, f"non-zeros {words}", limit, "library"),
    ]


def pursuit_counts(expected: float, n: int) -> tuple[int, ...]:
    """Numbers of non-zeros for a pursuit, around and above the mean number, none twice."""
    return tuple(sorted({max(1, min(n, math.ceil(expected * factor))) for factor in (1.0, 1.4, 2.0)}))


def components(dictionary: Tensor, weights: tuple[float, float] = (0.1, 0.3)) -> Decoded:
    """The lasso over smooth atoms and single samples, each kind with its weight; the estimate is the part of the single
    samples.

    Args:
        dictionary: [C, I], (window, 2 window), the first column of C constant.
        weights: of the smooth atoms and of the single samples.
    """
    window = dictionary.shape[0]
    weight = torch.cat([torch.full((window,), value) for value in weights])
    weight[0] = 0.0  # the mean is free
    part = torch.cat([torch.zeros(window, window), torch.eye(window)], dim=1)
    return Decoded(GramISTA(dictionary, weight), Matrix(part))
