"""Iterative shrinkage and thresholding, in its two algebraically equal forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.kernels.product_form import ProductForm, ProductStep
from unrolling.algorithms.kernels.residual_form import ResidualForm, ResidualStep
from unrolling.algorithms.sparse.dictionary import (
    as_operator,
    check_dictionary,
    check_step_size,
    check_weight,
    check_width,
    each_weight,
    scalar_parameter,
    step_advice,
)
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.deploy import FusedLayers, register
from unrolling.operators.linear import LinearOperator, Matrix, RowMatrix
from unrolling.prox import soft_threshold

Prox = Callable[[Tensor, Tensor], Tensor]


def penalty_of(prox: Prox, x: Tensor, weight: Tensor | float) -> Float[Tensor, " batch"]:
    """What a prox is the prox of, (batch,): its own ``penalty`` where it has one (``BlockSoftThreshold``), sum_i
    weight_i |x_i| otherwise.
    """
    own = getattr(prox, "penalty", None)
    return tree.rows(weight * x.abs()).sum(1) if own is None else own(x, weight)


class ISTA(Iteration):
    """x <- S_theta(x + mu A^H (y - A x)) for min_x 0.5 |y - A x|^2 + lambda |x|_1, mu = 1/L, theta = lambda mu.

    Beck and Teboulle 2009, doi:10.1137/080716542; survey (2)-(4). (Survey (3) thresholds at lambda; the proximal step
    needs lambda / mu in its notation, which is theta here.)

    Parameters: ``step_size`` mu and ``threshold`` theta, both positive.

    Args:
        dictionary: A, a matrix (m, n) or a linear operator.
        weight: lambda >= 0, a number or a tensor that broadcasts to x (such as one per coefficient).
        step_size: mu; by default 1/L with L = |A|^2. Convergence needs mu < 2/L.
        prox: proximal operator of the penalty; ``soft_threshold`` for |.|_1, ``nonnegative`` for the non-negative
            lasso.

    Raises:
        ValueError: a zero column, a negative weight, a step size that is not positive.
    """

    def __init__(
        self,
        dictionary: Tensor | LinearOperator,
        weight: float | Tensor,
        *,
        step_size: float | None = None,
        prox: Prox = soft_threshold,
    ) -> None:
        super().__init__()
        self.dictionary = as_operator(dictionary)
        step_size = check_step_size(step_size, self.dictionary)
        like = next(iter([*self.dictionary.parameters(), *self.dictionary.buffers()]), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        checked, shape = check_weight(weight), self.dictionary.input_shape
        if checked.ndim > len(shape) + 1 or any(
            size not in (1, want) and want is not None
            for size, want in zip(checked.shape[::-1], shape[::-1], strict=False)
        ):
            raise ValueError(f"weight broadcasts to x, {shape} for a sample; got shape {tuple(checked.shape)}")
        self.threshold = scalar_parameter(checked * self.step_size.detach(), like)
        constrain(self, "step_size", Positive())
        constrain(self, "threshold", Positive())
        self.prox = prox

    def start(self, problem: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """x = 0."""
        return problem.new_zeros(problem.shape[0], *self._operator().input_shape)

    def forward(
        self, state: Float[Tensor, "batch ..."], problem: Float[Tensor, "batch ..."], scale: float = 1.0
    ) -> Float[Tensor, "batch ..."]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        threshold = self.threshold if scale == 1.0 else scale * self.threshold
        return self.prox(self._operator().step(state, problem, self.step_size), threshold)

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |y - A x|^2 + sum_i lambda_i |x_i|, or the penalty of another prox, (batch,)."""
        residual = (problem - self.dictionary(state)).flatten(1)
        return 0.5 * residual.abs().square().sum(1) + penalty_of(self.prox, state, self.threshold / self.step_size)

    def check(self, data: Tensor) -> None:
        super().check(data)
        self._operator().check_output(data, "data")

    def advice(self) -> str:
        return step_advice(float(self.step_size), self.dictionary)

    def _operator(self) -> Any:
        # ``dictionary`` read without Module.__getattr__, which takes half as long as a small product.
        return self._modules["dictionary"]


class _MatrixISTA(Iteration):
    """What the forms of ISTA with free matrices have in common: a fixed dictionary, the encoder mu A^H and a threshold
    per coefficient.
    """

    algorithm = "ISTA"

    dictionary: Tensor

    def __init__(
        self, dictionary: Tensor, weight: float | Tensor, *, step_size: float | None = None, prox: Prox = soft_threshold
    ) -> None:
        super().__init__()
        self.register_buffer("dictionary", check_dictionary(dictionary.detach()))
        self.step_size = check_step_size(step_size, dictionary)
        self.encoder = RowMatrix(nn.Parameter((self.step_size * self.dictionary.mH).contiguous()))
        self.threshold = scalar_parameter(each_weight(weight, dictionary.shape[1]) * self.step_size, dictionary)
        constrain(self, "threshold", Positive())
        self.prox = prox

    def _scaled_threshold(self, scale: float) -> Tensor:
        return self.threshold if scale == 1.0 else scale * self.threshold

    def _penalty(self, state: Tensor) -> Tensor:
        return penalty_of(self.prox, state, self.threshold / self.step_size)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return step_advice(self.step_size, self.dictionary)


class GramISTA(_MatrixISTA):
    """x <- S_theta(W_e y + W_t x), W_e = mu A^H, W_t = I - mu A^H A: survey (3), the form that Gregor and LeCun
    unrolled (doi:10.5555/3104322.3104374).

    W_e y is computed once, and a step is one product with an (n, n) matrix: cheaper than ``ISTA`` when n < 2 m.

    Parameters: ``encoder`` W_e (n, m), ``inhibition`` W_t (n, n), ``threshold`` theta (n,), positive, one per
    coefficient. The first step starts at x = 0 and does not use W_t: one of its own in the first layer of a network
    is counted, as published, and learns nothing.

    Args:
        dictionary: A (m, n).
        weight: lambda >= 0, a number or (n,).
        step_size: mu; by default 1/L with L = |A|^2. Convergence needs mu < 2/L.
        prox: proximal operator of the penalty.

    Raises:
        ValueError: a zero column, a negative weight, a step size that is not positive.
    """

    unused_at_start = ("inhibition",)

    def __init__(
        self, dictionary: Tensor, weight: float | Tensor, *, step_size: float | None = None, prox: Prox = soft_threshold
    ) -> None:
        super().__init__(dictionary, weight, step_size=step_size, prox=prox)
        # `prepare` is the encoder, so that W_e y is computed once for all layers unless the encoder is untied.
        self.prepare = self.encoder
        identity = torch.eye(dictionary.shape[1], dtype=dictionary.dtype, device=dictionary.device)
        self.inhibition = nn.Parameter(identity - self.encoder.matrix.detach() @ self.dictionary)

    def start(self, problem: Float[Tensor, "batch ... n"]) -> Float[Tensor, "batch ... n"]:
        """x = 0."""
        return torch.zeros_like(problem)

    def forward(
        self, state: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... n"], scale: float = 1.0
    ) -> Float[Tensor, "batch ... n"]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        return self.prox(self.mix(state, problem), self._scaled_threshold(scale))

    def mix(
        self, x: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... n"]
    ) -> Float[Tensor, "batch ... n"]:
        """W_e y + W_t x."""
        # fused where torch can
        return x @ self.inhibition.T + problem if x.ndim > 2 else torch.addmm(problem, x, self.inhibition.T)

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |A x|^2 - Re <A^H y, x> + sum_i lambda_i |x_i|, (batch,): the lasso less 0.5 |y|^2, which no x changes
        and the problem W_e y does not hold.
        """
        image = tree.rows(state @ self.dictionary.T)
        correlation = (
            tree.rows((problem.conj() * state).real if problem.is_complex() else problem * state).sum(1)
            / self.step_size
        )
        return 0.5 * image.abs().square().sum(1) - correlation + self._penalty(state)


class ThinISTA(_MatrixISTA):
    """x <- S_theta(x + W (y - A x)), W = mu A^H: ISTA with the matrix of its gradient step freed.

    In the form of ``GramISTA`` its weights are coupled, W_t = I - W_e A (Chen, Liu, Wang and Yin 2018,
    arXiv:1808.10038; survey, section IV-E). Two products with (m, n) matrices a step: cheaper than ``GramISTA`` when n
    > 2 m.

    Parameters: ``encoder`` W (n, m), ``threshold`` theta (n,), positive, one per coefficient. A is fixed.

    Args:
        dictionary: A (m, n).
        weight: lambda >= 0, a number or (n,).
        step_size: mu; by default 1/L with L = |A|^2. Convergence needs mu < 2/L.
        prox: proximal operator of the penalty.

    Raises:
        ValueError: a zero column, a negative weight, a step size that is not positive.
    """

    def start(self, problem: Float[Tensor, "batch ... m"]) -> Float[Tensor, "batch ... n"]:
        """x = 0."""
        return problem.new_zeros(*problem.shape[:-1], self.dictionary.shape[1])

    def forward(
        self, state: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... m"], scale: float = 1.0
    ) -> Float[Tensor, "batch ... n"]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        return self.prox(state + self.encoder(problem - state @ self.dictionary.T), self._scaled_threshold(scale))

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |y - A x|^2 + sum_i lambda_i |x_i|, (batch,)."""
        return 0.5 * tree.rows(problem - state @ self.dictionary.T).abs().square().sum(1) + self._penalty(state)


def is_soft(layer: Any, *matrices: Any) -> bool:
    """Whether a layer is soft-thresholding with one threshold for all samples, and real matrices that are nothing else:
    what ``ResidualForm`` and ``ProductForm`` are made for.
    """
    plain = all(type(matrix) in (Matrix, RowMatrix) and not matrix.matrix.is_complex() for matrix in matrices)
    same = {layer.threshold.dtype, *(matrix.matrix.dtype for matrix in matrices)} if plain else set()
    return layer.prox is soft_threshold and layer.threshold.ndim <= 1 and len(same) == 1


def _ista_layers(layers: Sequence[ISTA]) -> FusedLayers | None:
    """W = A^T, s = mu: the step size is a part of a product."""
    if not all(is_soft(layer, layer.dictionary) for layer in layers):
        return None
    operators: list[Any] = [layer.dictionary for layer in layers]
    matrices: list[Tensor] = [operator.matrix for operator in operators]
    if any(matrix is not matrices[0] for matrix in matrices):
        return None
    steps = [ResidualStep(matrices[0].T, layer.threshold, float(layer.step_size)) for layer in layers]
    return ResidualForm(matrices[0], steps)


def _thin_layers(layers: Sequence[ThinISTA]) -> FusedLayers | None:
    if not all(is_soft(layer, layer.encoder) for layer in layers):
        return None
    return ResidualForm(layers[0].dictionary, [ResidualStep(layer.encoder.matrix, layer.threshold) for layer in layers])


def _gram_layers(layers: Sequence[GramISTA]) -> FusedLayers | None:
    if not all(is_soft(layer, layer.encoder) and layer.prepare is layer.encoder for layer in layers):
        return None
    return ProductForm([ProductStep(layer.encoder.matrix, layer.inhibition, layer.threshold) for layer in layers])


register(ISTA, _ista_layers)
register(ThinISTA, _thin_layers)
register(GramISTA, _gram_layers)
