"""Approximate message passing on images with any denoiser: D-AMP, learned D-AMP, and both without the Onsager term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.messages.amp import denoise, deviation_of
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, tree
from unrolling.core.arguments import check_range
from unrolling.prox.denoisers import Denoised
from unrolling.prox.divergence import SignProbes, average_derivative


class DenoisedState(NamedTuple):
    """The state of D-AMP."""

    x: Tensor  # (batch, height, width)
    residual: Tensor  # z, of the shape of the measurements


class DenoisedAMP(Iteration):
    """r = x + A^H z, tau = |z| / sqrt(m), x+ = D(r, tau), z+ = y - A x+ + (1/m) div D(r, tau) z; x = 0, z = y at the
    start.

    D-AMP, Metzler, Maleki and Baraniuk 2016, doi:10.1109/TIT.2016.2556683. Unrolled with a network for D it is Learned
    D-AMP, without the last term (``onsager=False``) D-IT and LDIT, Metzler, Mousavi and Baraniuk 2017,
    arXiv:1704.06625. With it r is the image plus white Gaussian noise of deviation tau, for A with independent entries
    of variance 1/m and large images (``effective_noise`` measures how nearly), which is what D is for; without it the
    errors of all steps are in r. Other matrices with columns of norm one on average, such as ``ModulatedTransform``,
    behave much alike, without the theory.

    The divergence is exact where D gives it: a denoiser of message passing, (r, tau^2) -> ``Denoised``, such as
    ``SoftDenoiser`` or ``OrthonormalDenoiser``. Of any other it is estimated by a second run of D on r + e h, h random
    signs from a seed, so that the step is a function (``average_derivative``); no gradient goes through the estimate,
    which made training diverge. D sees r with gradient.

    Parameters: those of ``denoiser``; untied, tied, or in a ``SelectedDenoiser`` by the level.

    Args:
        data_term: A, real images to measurements all of which count: ``MatrixMeasurements``, ``ModulatedTransform``,
            ``LeastSquares``. Of m complex ones 2 m count.
        denoiser: D, called with r and tau^2, (batch, 1, 1): a ``DenoiserProx`` of a network that is told the level, a
            prox, or a denoiser of message passing.
        onsager: whether the last term is there.
        inflation: what the level that D is told is multiplied by; 2 is what the authors' code does without the term.
        probes: h that are averaged over.
        seed: of h.

    Raises:
        ValueError: an inflation that is not positive, fewer than one probe; when run, data that the term refuses, a
            denoiser that changes the shape.
    """

    def __init__(
        self,
        data_term: DataTerm,
        denoiser: Callable[..., Any],
        *,
        onsager: bool = True,
        inflation: float = 1.0,
        probes: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_range(inflation, "inflation", 0.0, float("inf"), above=True, below=True)
        self.data_term = data_term
        self.prepare = data_term
        self.denoiser = denoiser
        self.onsager, self.inflation = bool(onsager), float(inflation)
        self.probes = SignProbes(probes, seed)

    def start(self, problem: Problem) -> DenoisedState:
        """x = 0, z = y."""
        return DenoisedState(torch.zeros_like(problem.back), self.data_term.measured(problem.data))

    def seen(self, state: DenoisedState, problem: Problem) -> Tensor:
        """r = x + A^H z, what the next step denoises."""
        return state.x + self.data_term.adjoint(state.residual, problem.data)

    def level(self, state: DenoisedState, problem: Problem) -> Tensor:
        """tau = |z| / sqrt(m), (batch,)."""
        measured = self.data_term.measured(problem.data)
        return deviation_of(_real_rows(state.residual), _real_rows(measured)).squeeze(1)

    def forward(self, state: DenoisedState, problem: Problem) -> DenoisedState:
        """One step."""
        r, measured = self.seen(state, problem), self.data_term.measured(problem.data)
        told = self.inflation * self.level(state, problem)
        x, derivative = self.denoised(r, told)
        residual = measured - self.data_term.image(x, problem.data)
        if derivative is not None:
            m = _real_rows(measured).shape[1]
            factor = derivative * (r.shape[1:].numel() / m)
            residual = residual + factor.reshape(-1, *[1] * (residual.ndim - 1)) * state.residual
        return DenoisedState(x, residual)

    def denoised(self, r: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor | None]:
        """D(r, tau) and the mean over its entries of their derivatives, (batch,); none without the Onsager term.

        Args:
            r: (batch, height, width).
            deviation: tau (batch,).
        """
        tau = deviation.reshape(-1, *[1] * (r.ndim - 1))
        found: Any = denoise(self.denoiser, r, tau)  # pyright: ignore[reportArgumentType]
        x = found.estimate if isinstance(found, Denoised) else found
        if not isinstance(x, Tensor) or x.shape != r.shape:
            raise ValueError(
                f"the denoiser made {tuple(getattr(x, 'shape', ()))} of images {tuple(r.shape)}; it has to give images "
                "of the same shape"
            )
        if not self.onsager:
            return x, None
        if isinstance(found, Denoised):
            return x, found.derivative.flatten(1).mean(1)
        run, given = self.denoiser, tau.detach()
        slope = average_derivative(lambda v: denoise(run, v, given), r, x, self.probes(r), deviation)  # pyright: ignore
        return x, slope

    def residual(self, new: DenoisedState, old: DenoisedState, problem: Problem) -> Tensor:
        """Of x, which z only accompanies."""
        return tree.relative_change(new.x, old.x)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return (
            "D-AMP is for matrices with independent entries of variance 1/m, or that mix pixels as thoroughly, and for "
            "denoisers that remove white noise of the level that they are told"
        )


def _real_rows(y: Tensor) -> Tensor:
    """(batch, m), real: of complex numbers both parts."""
    return tree.rows(torch.view_as_real(y) if y.is_complex() else y)
