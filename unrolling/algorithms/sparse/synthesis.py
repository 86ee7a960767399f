"""ISTA for images that are seen through a measurement: the code, the image it stands for and the residual travel
together.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.sparse.ista import Prox
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.operators import LinearOperator
from unrolling.operators.linear import joined, learnable
from unrolling.prox import soft_threshold


class SynthesisState(NamedTuple):
    """The state of ``SynthesisISTA``."""

    code: Tensor  # (batch, ...): z
    image: Tensor  # (batch, ...): D z
    residual: Tensor  # (batch, ...): y - Phi D z


class SynthesisISTA(Iteration):
    """z <- S_theta(z + E H (y - Phi D z)) for min_z 0.5 |y - Phi D z|^2 + sum_i lambda_i |z_i|, E = mu D^H, H = Phi^H,
    theta = mu lambda.

    ISTA (survey (2)-(4)) on the dictionary Phi D. Estimate D z + Phi^H (y - Phi D z), which agrees with the
    measurements when Phi has orthonormal rows. By default z = 0 at the start; with ``initial`` it is the analysis of a
    linear estimate.

    Parameters, all with the values of ISTA at the start: ``dictionary`` D, ``encoder`` E (its adjoint is applied),
    ``back_projection`` H (likewise), ``threshold`` theta, positive; with ``initial``, also ``initial`` and
    ``analysis``, used once.

    Args:
        sensing: Phi, fixed.
        dictionary: D, from codes to images.
        weight: lambda >= 0, a number or a tensor that broadcasts to z, such as one per atom.
        step_size: mu; convergence needs mu < 2 / |Phi D|^2.
        initial: a linear estimate, from measurements to images; its code is D^H of it, so that D should be a tight
            frame, D D^H = I.
        prox: proximal operator of the penalty.
    """

    algorithm = "ISTA"

    def __init__(
        self,
        sensing: LinearOperator,
        dictionary: LinearOperator,
        weight: float | Tensor,
        *,
        step_size: float = 1.0,
        initial: LinearOperator | None = None,
        prox: Prox = soft_threshold,
    ) -> None:
        super().__init__()
        if not step_size > 0:
            raise ValueError(f"step_size must be positive; got {step_size}")
        if joined(sensing.input_shape, dictionary.output_shape) is None:
            raise ValueError(
                f"sensing takes {sensing.input_shape}, and the dictionary gives {dictionary.output_shape}: no fit"
            )
        self.sensing = sensing
        self.dictionary = learnable(dictionary)
        self.encoder = learnable(dictionary, scale=step_size)
        self.back_projection = learnable(sensing)
        like = next(iter(self.dictionary.parameters()))
        self.threshold = scalar_parameter(torch.as_tensor(check_weight(weight)) * step_size, like)
        constrain(self, "threshold", Positive())
        self.initial = None if initial is None else learnable(initial)
        self.analysis = None if initial is None else learnable(dictionary)
        self.prox = prox

    def start(self, problem: Float[Tensor, "batch ..."]) -> SynthesisState:
        """z = 0, or the analysis of the linear estimate."""
        if self.initial is None or self.analysis is None:
            image = torch.zeros_like(self.sensing.adjoint(problem))
            return SynthesisState(torch.zeros_like(self.encoder.adjoint(image)), image, problem)
        code = self.analysis.adjoint(self.initial(problem))
        return self._with_image(code, problem)

    def forward(self, state: SynthesisState, problem: Float[Tensor, "batch ..."], scale: float = 1.0) -> SynthesisState:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        threshold = self.threshold if scale == 1.0 else scale * self.threshold
        code = self.prox(state.code + self.encoder.adjoint(self.back_projection.adjoint(state.residual)), threshold)
        return self._with_image(code, problem)

    def _with_image(self, code: Tensor, problem: Tensor) -> SynthesisState:
        image = self.dictionary(code)
        return SynthesisState(code, image, problem - self.sensing(image))

    def estimate(self, state: SynthesisState, problem: Tensor) -> Float[Tensor, "batch ..."]:
        """D z + Phi^H (y - Phi D z)."""
        return state.image + self.sensing.adjoint(state.residual)

    def residual(self, new: SynthesisState, old: SynthesisState, problem: Tensor) -> Tensor:
        """Of the code: image and remainder follow from it."""
        return tree.relative_change(new.code, old.code)

    def atoms(self) -> Tensor:
        """The dictionary's atoms as pictures, (count, height, width)."""
        return self.dictionary.atoms()  # pyright: ignore[reportCallIssue]

    def check(self, data: Tensor) -> None:
        super().check(data)
        self.sensing.check_output(data, "data")


class Decoded(Iteration):
    """An algorithm whose answer is the image of its estimate under a decoder: codes become patches, blocks, signals.

    Parameters: those of ``inner`` and of ``decoder``.

    Args:
        inner: the algorithm.
        decoder: applied to its estimates.
    """

    def __init__(self, inner: Iteration, decoder: LinearOperator) -> None:
        super().__init__()
        self.inner = inner
        self.prepare = inner.prepare
        self.decoder = decoder
        self.algorithm = inner.algorithm or type(inner).__name__

    def start(self, problem: Tensor) -> object:
        """As ``inner``."""
        return self.inner.start(problem)

    def forward(self, state: object, problem: Tensor) -> object:
        """As ``inner``."""
        return self.inner(state, problem)

    def estimate(self, state: object, problem: Tensor) -> Tensor:
        """The decoder applied to the inner estimate."""
        return self.decoder(self.inner.estimate(state, problem))

    def residual(self, new: object, old: object, problem: Tensor) -> Tensor:
        """As ``inner``."""
        return self.inner.residual(new, old, problem)

    def fixed_point(self) -> Iteration:
        plain = self.inner.fixed_point()
        return self if plain is self.inner else plain

    def check(self, data: Tensor) -> None:
        self.inner.check(data)

    def advice(self) -> str:
        return self.inner.advice()
