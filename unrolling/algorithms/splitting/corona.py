"""CORONA: a step of robust principal component analysis with learned convolutions in the place of its products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d

from unrolling.algorithms.sparse.dictionary import check_weight
from unrolling.algorithms.splitting.robust_pca import Separated, Separation
from unrolling.core import Positive, constrain, scale
from unrolling.core.arguments import check_count
from unrolling.core.constraints import Bounded
from unrolling.core.deploy.registry import FusedLayers, register
from unrolling.prox.garrote import MeanGarrote
from unrolling.prox.low_rank import SingularValueThreshold

SHARES = {"low_rank": 0.4, "sparse": 1.8}  # the largest thresholds of the released form; it starts at half of them


class Levelled(NamedTuple):
    """A movie, and what thresholds and biases are multiplied by."""

    movie: Tensor  # (batch, height, width, frames), complex
    level: Tensor  # (batch, 1, 1, 1), its root mean square; 1 where nothing is normalised


class CORONA(Separation):
    """L <- T_t1{P1 * D + P5 * L + P3 * S},    S <- S_t2{P2 * D + P4 * L + P6 * S},    both from the old L and S.

    Survey (17), (18) and its box; Solomon et al. 2020, doi:10.1109/TMI.2019.2941271. Each P is a complex convolution of
    movies, zeros beyond the border, that two real ones with a bias each make up: P * x = (R x_re - I x_im + b_R - b_I)
    + i (R x_im + I x_re + b_R + b_I), R and I correlations. At the start P1 = P2 = mu delta, P5 = P6 = (1 - mu) delta,
    P3 = P4 = -mu delta and the biases are 0: a step of ``RobustPCA`` without operators.

    In the ``survey`` form T thresholds the singular values of the complex movie at t1 and S_t2 shrinks the row of each
    pixel by its norm. In the ``released`` form of the authors' program t1, at most 0.4, counts in units of the largest
    singular value of the real matrix (Re, Im), and the sparse part is shrunk entry by entry by ``MeanGarrote``, t2 at
    most 1.8; without biases a network of such steps is positively homogeneous.

    Parameters: ``low_rank_kernels`` (3, 2, kh, kw, kt), P1, P5 and P3, which meet D, L and S, each as real and
    imaginary part; ``sparse_kernels``, P2, P4 and P6; ``low_rank_biases`` and ``sparse_biases`` (3, 2);
    ``low_rank_threshold`` t1 and ``sparse_threshold`` t2, positive: 12 kh kw kt + 14 numbers.

    Args:
        low_rank_weight: lambda1 >= 0 of the parent; of no effect in the released form.
        sparse_weight: lambda2, likewise.
        size: (kh, kw, kt), odd.
        step_size: mu.
        form: ``survey`` or ``released``.
        normalise: whether thresholds and biases count in units of each movie's root mean square, so that the network
            is positively homogeneous.

    Raises:
        ValueError: even or no sizes, an unknown form, a step size that is not positive, a negative weight; of data:
            fewer than two frames.
        TypeError: of data: real movies.
    """

    algorithm = "RobustPCA"
    unused_at_start = ()
    low_rank_kernels: Tensor
    sparse_kernels: Tensor
    low_rank_biases: Tensor
    sparse_biases: Tensor
    low_rank_threshold: Tensor
    sparse_threshold: Tensor

    def __init__(
        self,
        low_rank_weight: float = 1.0,
        sparse_weight: float = 1.0,
        *,
        size: tuple[int, int, int] = (5, 5, 1),
        step_size: float = 0.5,
        form: Literal["survey", "released"] = "survey",
        normalise: bool = False,
    ) -> None:
        if form not in ("survey", "released"):
            raise ValueError(f"form is {form!r}; it is 'survey' or 'released'")
        released = form == "released"
        super().__init__(
            low_rank_prox=SingularValueThreshold(relative=True, real_pairs=True) if released else None,
            sparse_prox=MeanGarrote() if released else None,
        )
        if not step_size > 0:
            raise ValueError(f"step_size must be positive; got {step_size}")
        if len(size) != 3:
            raise ValueError(f"size is (kh, kw, kt); got {size}")
        for side in size:
            check_count(side, "size")
            if side % 2 == 0:
                raise ValueError(f"kernels have a middle, and odd sizes; got {size}")
        self.form, self.normalise, self.size = form, normalise, tuple(size)
        middle = torch.zeros(size)
        middle[size[0] // 2, size[1] // 2, size[2] // 2] = 1
        real, none = torch.tensor([1.0, 0.0]), torch.zeros(3, 2)
        for name, gains in (
            ("low_rank", (step_size, 1 - step_size, -step_size)),
            ("sparse", (step_size, -step_size, 1 - step_size)),
        ):
            kernels = torch.einsum("s,p,xyt->spxyt", torch.tensor(gains), real, middle)
            setattr(self, f"{name}_kernels", nn.Parameter(kernels))
            setattr(self, f"{name}_biases", nn.Parameter(none.clone()))
            weight = low_rank_weight if name == "low_rank" else sparse_weight
            level = SHARES[name] / 2 if released else check_weight(weight) * step_size
            setattr(self, f"{name}_threshold", nn.Parameter(torch.as_tensor(level, dtype=torch.get_default_dtype())))
            constrain(self, f"{name}_threshold", Bounded(0.0, SHARES[name]) if released else Positive())

    def prepare(self, data: Tensor) -> Levelled:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The movie with its level."""
        level = data.real.new_ones(data.shape[0], 1, 1, 1)
        if self.normalise:
            numbers = data[0].numel() if data.shape[0] else 1
            level = scale.norm(data.flatten(1), keepdim=True).reshape(-1, 1, 1, 1) / numbers**0.5
        return Levelled(data, level)

    def start(self, problem: Levelled) -> Separated:
        """L = S = 0."""
        return self.zeros(problem.movie)

    def forward(self, state: Separated, problem: Levelled) -> Separated:
        low_rank, sparse = self.convolved(problem, state)
        first, second = self.low_rank_threshold, self.sparse_threshold
        if self.normalise and self.form == "survey":
            first, second = first * problem.level.reshape(-1, 1, 1), second * problem.level
        return Separated(self.low_rank_prox(low_rank, first), self.sparse_prox(sparse, second))

    def convolved(self, problem: Levelled, state: Separated) -> tuple[Tensor, Tensor]:
        """P1 * D + P5 * L + P3 * S and P2 * D + P4 * L + P6 * S: one convolution of six real channels to four."""
        parts = torch.stack([part for x in (problem.movie, *state) for part in (x.real, x.imag)], 1)
        weight, bias = self.merged()
        if self.normalise:
            found = _same(parts, weight, None) + bias.reshape(-1, 1, 1, 1) * problem.level.unsqueeze(1)
        else:
            found = _same(parts, weight, bias)
        return torch.complex(found[:, 0], found[:, 1]), torch.complex(found[:, 2], found[:, 3])

    def merged(self) -> tuple[Tensor, Tensor]:
        """All six convolutions as a real one: (4, 6, kh, kw, kt), and its four biases."""
        rows, biases = [], []
        for kernels, bias in (
            (self.low_rank_kernels, self.low_rank_biases),
            (self.sparse_kernels, self.sparse_biases),
        ):
            real, imaginary = kernels.unbind(1)
            rows += [torch.stack([real, -imaginary], 1), torch.stack([imaginary, real], 1)]
            biases += [(bias[:, 0] - bias[:, 1]).sum(), bias.sum()]
        return torch.stack(rows).flatten(1, 2), torch.stack(biases)

    def check(self, data: Any) -> None:
        super().check(data)
        if isinstance(data, Tensor):
            if data.ndim != 4:
                raise ValueError(
                    f"data are movies (batch, height, width, frames); got shape {tuple(data.shape)}. One movie is a "
                    "batch of 1: data.unsqueeze(0)"
                )
            if not data.is_complex():
                raise TypeError(
                    f"data is {data.dtype}, and CORONA takes apart complex movies, as beamformers give them after "
                    "demodulation: of real echoes take the analytic signal (scipy.signal.hilbert along the depth)"
                )

    def advice(self) -> str:
        return "its kernels amplify; train with a smaller rate, or clip gradients"


def _same(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Correlation of (batch, inputs, height, width, frames) with zeros around; frame by frame where kernels have one
    frame, which takes a fifth of the time.
    """
    sides = [size // 2 for size in weight.shape[2:]]
    if weight.shape[-1] > 1:
        return conv3d(x, weight, bias, padding=sides)
    batch, _, height, width, frames = x.shape
    flat = x.permute(0, 4, 1, 2, 3).reshape(batch * frames, weight.shape[1], height, width)
    found = conv2d(flat, weight.squeeze(-1), bias, padding=sides[:2])
    return found.unflatten(0, (batch, frames)).permute(0, 2, 3, 4, 1)


def _movie_steps(layers: Sequence[CORONA]) -> FusedLayers | None:
    if any(layer.form != layers[0].form or layer.size[2] != 1 for layer in layers):
        return None
    from unrolling.algorithms.kernels.movie_steps import MovieSteps

    return MovieSteps(layers)


register(CORONA, _movie_steps)
