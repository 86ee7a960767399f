"""Back-propagation through multiplicative updates with the positive and the negative part of every gradient kept
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolling.algorithms.sound.nmf import FLOOR, NMFActivations, level_of, scaled_sparsity, update_activations
from unrolling.algorithms.sound.nmf_separation import NMFSeparation
from unrolling.core import Iteration
from unrolling.core.execution import transformed
from unrolling.core.gradients import GradientRule
from unrolling.core.scale import divide


class Split(NamedTuple):
    """A gradient as the difference of two non-negative parts; many pairs have the same difference."""

    positive: Tensor
    negative: Tensor


def split_step(
    magnitude: Float[Tensor, "batch frames bins"],
    dictionary: Float[Tensor, "bins rank"],
    activations: Float[Tensor, "batch frames rank"],
    beta: float,
    sparsity: Tensor | float,
    gradient: Split,
) -> tuple[Split, Split]:
    """The split gradients of a loss in H and in W before the step (24), from that in H after it, 1 <= beta <= 2.

    With L = W H, N = W^T (M L^(beta - 2)) and D = W^T L^(beta - 1) + mu the step is H N / D. What reaches the loss
    through the leading H and through the W^T of N has a positive derivative; what reaches it through D, and through L
    in N, a negative one.
    """
    magnitude, model, sparsity, unit = _at_level_one(magnitude, dictionary, activations, beta, sparsity)
    attraction, level = magnitude * model ** (beta - 2), model ** (beta - 1)
    numerator, denominator = attraction @ dictionary, level @ dictionary + sparsity
    ratio = divide(numerator, denominator)

    def parts(upstream: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What a non-negative upstream gradient becomes: (in H, in W) with a plus, and with a minus."""
        through_numerator = divide(upstream * activations, denominator)
        through_denominator = through_numerator * ratio
        inner = (2 - beta) * magnitude * model ** (beta - 3) * (through_numerator @ dictionary.mT)
        inner = (inner + (beta - 1) * model ** (beta - 2) * (through_denominator @ dictionary.mT)) / unit
        plus = upstream * ratio, _outer(attraction, through_numerator)
        minus = inner @ dictionary, _outer(level, through_denominator) + _outer(inner, activations)
        return plus, minus

    plus_of_positive, minus_of_positive = parts(gradient.positive)
    plus_of_negative, minus_of_negative = parts(gradient.negative)
    found = [
        Split(p + m, q + n)
        for p, m, q, n in zip(plus_of_positive, minus_of_negative, plus_of_negative, minus_of_positive, strict=True)
    ]
    return found[0], found[1]


class SplitGradient(GradientRule):
    """Back-propagation that keeps positive and negative parts apart, as Deep NMF is trained in the original (Hershey,
    Le Roux and Weninger 2014, arXiv:1409.2574): besides the ordinary gradient each dictionary is left a
    ``split_gradient`` for the optimizer ``training.multiplicative.Multiplicative``.

    For ``NMFActivations`` and ``NMFSeparation`` with ``constrained=False``, 1 <= beta <= 2, on one process.
    """

    def run(self, layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
        for layer in layers:
            if (
                not isinstance(layer, NMFActivations | NMFSeparation)
                or not 1 <= layer.beta <= 2
                or "dictionary" not in layer._parameters
            ):
                raise TypeError(
                    "SplitGradient differentiates NMFActivations and NMFSeparation with constrained=False and 1 <= "
                    f"beta <= 2; got {type(layer).__name__}"
                )
        magnitudes = [problem if isinstance(problem, Tensor) else problem.magnitude for problem in problems]
        if transformed():  # whose gradient is the ordinary one: no optimizer is there to take the parts
            for layer, problem in zip(layers, problems, strict=True):
                state = layer(state, problem)
            return state
        start = state
        tensors = [tensor for layer in layers for tensor in (layer.dictionary, layer.sparsity)]
        activations = _Run.apply(layers, magnitudes, start, *tensors)
        return activations if isinstance(state, Tensor) else state._replace(activations=activations)

    def __repr__(self) -> str:
        return "SplitGradient()"


class _Run(torch.autograd.Function):
    """All layers at once; the backward pass goes through them with split gradients."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[Any], magnitudes: list[Tensor], start: Tensor, *tensors: Tensor) -> Tensor:
        states = [start]
        for layer, magnitude in zip(layers, magnitudes, strict=True):
            states.append(update_activations(magnitude, layer.dictionary, states[-1], layer.beta, layer.sparsity))
        ctx.layers, ctx.magnitudes, ctx.states = layers, magnitudes, states
        return states[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        upstream = Split(gradient.clamp_min(0), (-gradient).clamp_min(0))
        found: list[Tensor | None] = []
        for layer, magnitude, before, after in zip(
            ctx.layers[::-1], ctx.magnitudes[::-1], ctx.states[-2::-1], ctx.states[:0:-1], strict=True
        ):
            dictionary, sparsity = layer.dictionary.detach(), layer.sparsity.detach()
            # d/d mu of H N / D is -H N / D^2.
            _, model, scaled, unit = _at_level_one(magnitude, dictionary, before, layer.beta, sparsity)
            denominator = (model ** (layer.beta - 1) @ dictionary + scaled) * unit ** (layer.beta - 1)
            in_sparsity = -divide((upstream.positive - upstream.negative) * after, denominator).sum()
            upstream, own = split_step(magnitude, dictionary, before, layer.beta, sparsity, upstream)
            if layer.dictionary.requires_grad:
                held = getattr(layer.dictionary, "split_gradient", None)
                layer.dictionary.split_gradient = (
                    own if held is None else Split(held.positive + own.positive, held.negative + own.negative)
                )
            found = [own.positive - own.negative, in_sparsity, *found]
        return None, None, upstream.positive - upstream.negative, *found


def _at_level_one(
    magnitude: Tensor, dictionary: Tensor, activations: Tensor, beta: float, sparsity: Tensor | float
) -> tuple[Tensor, Tensor, Tensor | float, Tensor]:
    """M / u, max(W H / u, floor), mu u^(1 - beta) and u, the level of each sample's M."""
    unit = level_of(magnitude)
    model = (activations @ dictionary.mT / unit).clamp_min(FLOOR)
    return magnitude / unit, model, scaled_sparsity(sparsity, unit, beta), unit


def _outer(
    left: Float[Tensor, "batch frames bins"], right: Float[Tensor, "batch frames rank"]
) -> Float[Tensor, "bins rank"]:
    return left.flatten(0, 1).mT @ right.flatten(0, 1)
