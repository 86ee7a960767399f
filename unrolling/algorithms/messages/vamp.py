"""Vector approximate message passing: a linear estimator and a denoiser that exchange extrinsic messages."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.messages.amp import check_damping, check_real, clamp_variance, damp, denoise, deviation_of
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_numbers
from unrolling.core.scale import power_of_two
from unrolling.operators.linear import RowMatrix

# Of Fisher scoring for the noise; its start is at most some powers of ten too high, and it converges quadratically.
_TUNING_STEPS = 6

_ROUNDING = 4.0


class VAMPState(NamedTuple):
    """The state of VAMP."""

    x: Tensor  # (batch, n): the denoiser's estimate
    message: Tensor  # (batch, n): r_2, what the linear stage takes for x plus white Gaussian noise
    deviation: Tensor  # (batch, 1): of that noise, the root of v_2, whose square may leave the precision

    @property
    def variance(self) -> Tensor:
        """v_2 (batch, 1)."""
        return self.deviation.square()


class VAMP(Iteration):
    """Two estimates of x in turn, each passing to the other only what the other does not yet know.

    Linear stage, A = U S V^T, in its singular directions: d_i = s_i^2 v_2 / (s_i^2 v_2 + sigma^2), z = n / sum(d),
    r_1 = r_2 + z V (d / s) (U^T y - S V^T r_2), v_1 = (z - 1) v_2: the least mean square estimate of x ~ N(r_2, v_2 I)
    from y, made extrinsic. Denoiser: x = eta(r_1, v_1), a = <eta'>, r_2 = (x - a r_1) / (1 - a), v_2 = v_1 a / (1 - a).

    Rangan, Schniter and Fletcher 2019, doi:10.1109/TIT.2019.2916359, arXiv:1610.03082. Where AMP needs independent
    entries, VAMP works for any singular values, A being rotationally invariant from the right. Unrolled with
    ``noise_variance`` and ``denoiser`` untied it is LVAMP, Borgerding, Schniter and Rangan 2017, arXiv:1612.01183,
    section IV; its dense variants also untie ``left``, ``singular_values`` and ``right``.

    Told no noise variance, it fits one to each sample in each iteration by maximum likelihood (auto-tuning; Fletcher,
    Sahraee-Ardakan, Schniter and Rangan 2017, arXiv:1706.06054); with ``TunedBernoulliGaussian`` it is told nothing.

    Parameters: ``noise_variance`` sigma^2, positive (none if fitted), those of ``denoiser``, ``singular_values`` S
    (k,), positive, and the matrices ``left`` U^T (k, m) and ``right`` V^T (k, n); k is the rank of A.

    Args:
        dictionary: A (m, n), real.
        denoiser: eta, a module (r, variance) -> (estimate, average derivative); VAMP works on a copy in the
            dictionary's precision.
        noise_variance: sigma^2 > 0, of one entry of y - A x; a small one where there is no noise. None: fitted.
        damping: the fraction of the old message and of its variance that stays, in [0, 1). The fixed points do not
            depend on it; with some tens of unknowns and an ill-conditioned A a little of it, 0.2, keeps single samples
            from going astray.

    Raises:
        TypeError: a complex dictionary, or one that is not floating point.
        ValueError: a zero column, a noise variance that is not positive, a damping outside [0, 1).
    """

    noise_variance: Tensor | None

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        denoiser: nn.Module,
        noise_variance: float | None = None,
        *,
        damping: float = 0.0,
    ) -> None:
        super().__init__()
        dictionary = check_real(dictionary, "VAMP")
        if noise_variance is not None and not 0 < noise_variance < float("inf"):
            raise ValueError(
                f"noise_variance must be positive and finite, or None for one that is fitted; got {noise_variance}"
            )
        left, singular_values, right = _decompose(dictionary)
        self.left = self.prepare = RowMatrix(nn.Parameter(left))
        self.singular_values = nn.Parameter(singular_values)
        self.right = RowMatrix(nn.Parameter(right))
        constrain(self, "singular_values", Positive())
        if noise_variance is None:
            self.noise_variance = None
        else:
            self.noise_variance = scalar_parameter(noise_variance, dictionary)
            constrain(self, "noise_variance", Positive())
        self.denoiser = copy.deepcopy(denoiser).to(dictionary)
        self.damping = check_damping(damping)

    def start(self, problem: Float[Tensor, "batch ... k"]) -> VAMPState:
        """x = r_2 = 0, v_2 = |U^T y|^2 / |A|_F^2, the variance of x if there is little noise."""
        zero = problem.new_zeros(*problem.shape[:-1], self.right.matrix.shape[1])
        size = torch.linalg.vector_norm(self.singular_values) * problem.shape[-1] ** -0.5
        return VAMPState(zero, zero, deviation_of(problem) / size)

    def forward(self, state: VAMPState, problem: Float[Tensor, "batch ... k"]) -> VAMPState:
        """One step: the linear stage, then the denoiser; variances are in units of u^2, u a power of two near the root
        of v_2.
        """
        n = self.right.matrix.shape[1]
        unit = power_of_two(state.deviation)
        before = clamp_variance((state.deviation / unit).square())
        message, variance = self._linear(state.message, before, problem, unit)
        x, derivative = denoise(self.denoiser, message, unit * variance.sqrt())
        # An average derivative of 0 or 1 would stop the messages, or make them infinite; at least half an entry counts
        # as kept, and as lost.
        derivative = torch.clamp(derivative, 0.5 / n, 1 - 0.5 / n)
        extrinsic = (x - derivative * message) / (1 - derivative)
        following = damp(_floor(variance * (derivative / (1 - derivative)), extrinsic / unit), before, self.damping)
        return VAMPState(x, damp(extrinsic, state.message, self.damping), unit * following.sqrt())

    def _linear(self, message: Tensor, variance: Tensor, problem: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """r_1 and v_1, the latter in units of u^2."""
        k, n = self.right.matrix.shape
        s = self.singular_values
        innovation = problem - s * self.right(message)
        signal = s.square() * variance
        if self.noise_variance is None:
            noise = fit_noise(innovation / unit, signal)
        else:
            noise = self.noise_variance / unit / unit
        noise = _floor(noise, problem / unit)
        total = signal + noise
        known = (signal / total).sum(-1, keepdim=True)
        unknown = (n - k) + (noise / total).sum(-1, keepdim=True)  # n - known, without cancellation
        message = message + self.right.adjoint((n / known) * (s * variance / total) * innovation)
        return message, _floor(variance * (unknown / known), message / unit)

    def residual(self, new: VAMPState, old: VAMPState, problem: Tensor) -> Tensor:
        """Of the estimate and of the message; the variance only accompanies them."""
        return torch.maximum(tree.relative_change(new.x, old.x), tree.relative_change(new.message, old.message))

    def check(self, data: Tensor) -> None:
        super().check(data)
        m = self.left.matrix.shape[1]
        check_numbers(data, "data", "an algorithm with a real dictionary", real=not self.left.matrix.is_complex())
        if data.ndim < 2 or data.shape[-1] != m:
            raise ValueError(
                f"data must have shape (batch, ..., {m}), {m} being the rows of the dictionary; got {tuple(data.shape)}"
            )

    def advice(self) -> str:
        return "use a larger noise_variance, or damping"


def _decompose(dictionary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U^T, S and V^T of the singular value decomposition in double precision, rounded once; directions below the
    rounding of the dictionary are dropped.
    """
    left, values, right = torch.linalg.svd(dictionary.double(), full_matrices=False)
    kept = values > values[0] * max(dictionary.shape) * torch.finfo(dictionary.dtype).eps
    # A decomposition may flip signs from one machine to the next; learned factors must fit fixed ones.
    largest = left.gather(0, left.abs().argmax(0, keepdim=True)).sign()
    left, right = (left * largest).T[kept], (right * largest.T)[kept]
    return left.to(dictionary).contiguous(), values[kept].to(dictionary), right.to(dictionary).contiguous()


def fit_noise(innovation: Tensor, signal: Tensor) -> Tensor:
    """sigma^2 of each sample by maximum likelihood, innovations e_i ~ N(0, a_i + sigma^2) with known a_i: Fisher
    scoring from mean(e^2).

    A step is sigma^2 <- sum w_i (e_i^2 - a_i) / sum w_i, w_i = (a_i + sigma^2)^-2.

    Args:
        innovation: e (batch, ..., k).
        signal: a (batch, ..., k).
    """
    square, level = innovation.square(), signal.mean(-1, keepdim=True)
    noise = square.mean(-1, keepdim=True)
    for _ in range(_TUNING_STEPS):
        total = signal + noise
        weight = ((level + noise) / total).square()  # the numerator only keeps the powers from overflowing
        noise = (weight * (square - signal)).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
        # Where the likelihood wants less than nothing, little is left; what is below this fraction of the signal makes
        # no difference.
        noise = clamp_variance(torch.maximum(noise, 1e-6 * level))
    return noise


def _floor(variance: Tensor, message: Tensor) -> Tensor:
    """At least the variance that rounding alone gives a message; believed to be more precise than that, messages drift
    away once they have converged.
    """
    return clamp_variance(
        torch.maximum(
            variance, _ROUNDING * torch.finfo(message.dtype).eps ** 2 * message.square().mean(-1, keepdim=True)
        )
    )
