"""What is proved about unrolled sparse recovery, held against a network: claim, assumption, whether it holds here, what
is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms import AMP
from unrolling.algorithms.messages.state_evolution import (
    SparsePrior,
    measurement_noise,
    oracle_nmse,
    state_evolution,
    state_evolution_limit,
)
from unrolling.algorithms.sparse.analytic import analytic_weights, mutual_coherence
from unrolling.core import Unrolled
from unrolling.prox import soft_threshold
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.tasks.exhibits import Claim

CHEN = "Chen, Liu, Wang and Yin 2018, arXiv:1808.10038"
LIU = "Liu, Chen, Wang and Yin 2019, openreview:B1lnzn0ctQ"


def examine(network: Unrolled, task: Any, quality: Sequence[float]) -> list[Claim]:
    """All claims that have something to say about this network.

    Args:
        network: trained.
        task: ``Recovery`` of known signals.
        quality: NMSE in dB of each layer's estimate on the test set.
    """
    claims = [linear_convergence(task, quality), coherence(network, task)]
    claims += [
        found
        for found in (coupling(network), vanishing_thresholds(network), no_false_positives(task))
        if found is not None
    ]
    claims += limits(task, quality)
    evolution = predicted(network, task, quality)
    return claims if evolution is None else [*claims, evolution]


def linear_convergence(task: Any, quality: Sequence[float]) -> Claim:
    """Error falling by a constant factor per layer: a straight line in dB."""
    y = torch.tensor([q for q in quality if isfinite(q)], dtype=torch.float64)
    x = torch.arange(len(y), dtype=torch.float64)
    slope, fit = _line(x, y) if len(y) > 2 else (float("nan"), float("nan"))
    clean = task.snr == float("inf")
    bound = _most_nonzeros(mutual_coherence(task.dictionary, analytic_weights(task.dictionary)))
    rising = [k + 2 for k in range(len(quality) - 1) if quality[k + 1] > quality[k]]
    text = f"{slope:.2f} dB per layer, R^2 = {fit:.3f}"
    text += f"; the error rises at layer {', '.join(map(str, rising))}" if rising else "; it falls at every layer"
    return Claim(
        "linear convergence",
        "there are weights and thresholds with which the error falls at least geometrically with the layers",
        f"{CHEN}, Theorem 2; {LIU}, Theorem 1",
        f"no noise, and fewer than {bound:.1f} non-zeros",
        clean and task.density * task.dictionary.shape[1] < bound,
        text,
        slope < -1 and fit > 0.9 if clean else None,
        [float(q) for q in quality],
    )


def _most_nonzeros(coherence: float) -> float:
    """Fewer non-zeros than this are recovered for certain, (1 + 1 / mu) / 2; infinitely many where mu is zero."""
    return (1 + 1 / coherence) / 2 if coherence > 0 else float("inf")


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope and R^2 of the least-squares line."""
    centred, other = x - x.mean(), y - y.mean()
    slope = float((centred * other).sum() / centred.square().sum())
    residual = other - slope * centred
    return slope, float(1 - residual.square().sum() / other.square().sum().clamp_min(1e-30))


def coherence(network: Unrolled, task: Any) -> Claim:
    """Mutual coherence of A, and generalised coherence of the weights in use."""
    dictionary = task.dictionary
    own = mutual_coherence(dictionary)
    analytic = mutual_coherence(dictionary, analytic_weights(dictionary))
    values = [mutual_coherence(dictionary, weights) for weights in _encoders(network, dictionary)]
    bound = _most_nonzeros(own)
    text = f"of A {own:.3f}, of analytic weights {analytic:.3f}"
    if values:
        text += f", of the network's {min(values):.3f} to {max(values):.3f}"
    text += (
        f"; recovery is guaranteed for fewer than {bound:.1f} non-zeros, and the signals have "
        f"{task.density * dictionary.shape[1]:.0f} on average"
    )
    return Claim(
        "coherence",
        "weights of smaller generalised coherence allow more non-zeros and a faster rate",
        f"{LIU}, section 2",
        "fewer non-zeros than (1 + 1 / coherence) / 2",
        task.density * dictionary.shape[1] < bound,
        text,
        None,
        values,
    )


def _encoders(network: Unrolled, dictionary: Tensor) -> list[Tensor]:
    """W (n, m) of each layer that has one, of rows that meet their own atom."""
    found = []
    for layer in network.layers:
        encoder = getattr(layer, "encoder", None)
        matrix = getattr(encoder, "matrix", None)
        if isinstance(matrix, Tensor) and matrix.shape == dictionary.T.shape:
            weights = matrix.detach()
            if bool(((weights @ dictionary).diagonal().abs() > 1e-6).all()):
                found.append(weights)
    return found


def coupling(network: Unrolled) -> Claim | None:
    """How far W_t is from I - W_e A, layer by layer, where both are free."""
    pairs: list[tuple[Any, Any, Any]] = [
        (
            getattr(layer, "inhibition", None),
            getattr(getattr(layer, "encoder", None), "matrix", None),
            getattr(layer, "dictionary", None),
        )
        for layer in network.layers
    ]
    if not all(isinstance(t, Tensor) for triple in pairs for t in triple):
        return None
    gaps = []
    for inhibition, encoder, dictionary in pairs:
        coupled = torch.eye(len(inhibition), dtype=inhibition.dtype) - encoder.detach() @ dictionary
        gaps.append(float(torch.linalg.matrix_norm(inhibition.detach() - coupled, 2)))
    tied = "inhibition" in network.tied
    return Claim(
        "weight coupling",
        "for the error to vanish, W_t - (I - W_e A) must go to zero with the layers",
        f"{CHEN}, Theorem 1; survey, box on convergence of LISTA",
        "the weights differ from layer to layer",
        not tied,
        f"spectral norm {gaps[0]:.3g} in the first layer, {gaps[-1]:.3g} in the last",
        None if tied else gaps[-1] < gaps[0],
        gaps,
    )


def vanishing_thresholds(network: Unrolled) -> Claim | None:
    """Thresholds that go to zero."""
    found: list[Any] = [getattr(layer, "threshold", None) for layer in network.layers]
    levels: list[Tensor] = [level for level in found if isinstance(level, Tensor)]
    if len(levels) != len(network) or "threshold" not in network.untied:
        return None
    values = [float(level.detach().mean()) for level in levels]
    ratio = values[-1] / values[0] if values[0] > 0 else float("nan")
    return Claim(
        "vanishing thresholds",
        "for the error to vanish, the thresholds must go to zero with the layers",
        f"{CHEN}, Theorem 1",
        "no noise",
        None,
        f"{values[0]:.3g} in the first layer, {values[-1]:.3g} in the last ({ratio:.3f} of it)",
        ratio < 0.1,
        values,
    )


def no_false_positives(task: Any, *, layers: int = 16, samples: int = 500) -> Claim:
    """Soft-thresholding with the thresholds of the theorem, on signals as sparse as it asks for."""
    dictionary = task.dictionary.double()
    weights = analytic_weights(dictionary)
    mu = mutual_coherence(dictionary, weights)
    n = dictionary.shape[1]
    sparsity = floor(min(n, _most_nonzeros(mu) - 1e-9))
    generator = torch.Generator().manual_seed(task.seed)
    support = torch.rand(samples, n, generator=generator).topk(sparsity, dim=1).indices
    x = torch.zeros(samples, n, dtype=torch.float64).scatter(
        1, support, torch.randn(samples, sparsity, generator=generator, dtype=torch.float64)
    )
    y = x @ dictionary.T
    estimate = torch.zeros_like(x)
    wrong, error = 0, []
    for _ in range(layers):
        level = mu * float((estimate - x).abs().sum(1).max())
        estimate = soft_threshold(estimate + (y - estimate @ dictionary.T) @ weights.T, level)
        wrong += int(((estimate != 0) & (x == 0)).sum())
        error.append(10 * log10(max(float((estimate - x).square().sum() / x.square().sum()), 1e-300)))
    return Claim(
        "no false positives",
        "with theta_t = mu sup |x_t - x|_1 no entry is ever active that is not in the signal, and the error falls "
        "geometrically",
        f"{LIU}, Theorem 1",
        f"at most {sparsity} non-zeros (mu = {mu:.3f}), no noise, and these thresholds: "
        "not those that a network learns",
        True,
        f"{wrong} false positives in {layers} layers of {samples} signals with {sparsity} non-zeros; error "
        f"{error[0]:.1f} dB to {error[-1]:.1f} dB",
        wrong == 0 and error[-1] < error[0],
        error,
    )


def limits(task: Any, quality: Sequence[float]) -> list[Claim]:
    """What no method can beat: the Bayes-optimal limit and the oracle that knows the support."""
    m, n = task.dictionary.shape
    if task.snr == float("inf") or not task.independent:
        return []
    prior = SparsePrior(task.probability)
    noise = measurement_noise(task.snr, prior, m / n)
    limit = state_evolution_limit(BernoulliGaussian(task.probability), prior, noise, m / n)
    samples = task.test[0]
    oracle = oracle_nmse(samples.data.double(), task.dictionary.double(), samples.target.double())
    best = min(quality)
    return [
        Claim(
            "Bayes-optimal limit",
            "no method has a smaller error on average, in the limit of large m and n",
            "state evolution of Bayes-optimal AMP: Donoho, Maleki and Montanari 2009, doi:10.1073/pnas.0909892106; "
            "Bayati and Montanari 2011",
            "A with independent Gaussian entries, signals and noise of the known distribution",
            None,
            f"limit {limit:.2f} dB, the network's best layer {best:.2f} dB ({best - limit:+.2f})",
            best > limit - 0.5,
            [],
        ),
        Claim(
            "oracle floor",
            "least squares on the true support has the smallest error of all unbiased methods",
            "classical",
            "the support is known, which it is not",
            False,
            f"oracle {oracle:.2f} dB, the network's best layer {best:.2f} dB",
            None,
            [],
        ),
    ]


def predicted(network: Unrolled, task: Any, quality: Sequence[float]) -> Claim | None:
    """State evolution beside the measured error of AMP-like networks whose encoder is A^T."""
    first: Any = network.layers[0]
    if not isinstance(first, AMP) or first.damping or not task.independent:
        return None
    m, n = task.dictionary.shape
    prior = SparsePrior(task.probability)
    noise = 0.0 if task.snr == float("inf") else measurement_noise(task.snr, prior, m / n)
    gaussian = bool(torch.equal(first.encoder.matrix.detach(), task.dictionary.T))
    path = list(state_evolution(first.denoiser, prior, noise, m / n, len(network)).nmse)
    gap = max(abs(a - b) for a, b in zip(path, quality, strict=True) if isfinite(a) and isfinite(b))
    return Claim(
        "state evolution",
        "the error of AMP after each iteration follows a scalar recursion",
        "Bayati and Montanari 2011, doi:10.1109/TIT.2010.2094817",
        "A with independent Gaussian entries, the encoder A^T, the same denoiser in every layer",
        gaussian and "denoiser" not in " ".join(network.untied),
        f"largest difference between prediction and measurement {gap:.2f} dB",
        gap < 1 if gaussian else None,
        path,
    )
