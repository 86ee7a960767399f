"""What detectors of MIMO channels have in common: data with a channel per sample, symbol alphabets, and the posterior
mean of a symbol in Gaussian noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import Iteration, scale
from unrolling.core.arguments import check_tensor
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explain_call, explained


class Received(NamedTuple):
    """One use of a real channel per sample, y = H x + n; complex channels become real ones once, by ``real_form``."""

    y: Tensor  # (batch, N)
    channel: Tensor  # H (batch, N, K), or (1, N, K) shared by all samples
    # (batch, 1) or (1, 1): sigma^2 of each real entry of n; None where the receiver does not know it
    noise_variance: Tensor | None = None


@dataclass(frozen=True)
class Modulation:
    """A symbol alphabet, seen from one real dimension.

    Attributes:
        name: as the field calls it.
        order: M, levels per real dimension.
        complex: whether a symbol has two such dimensions.
    """

    name: str
    order: int
    complex: bool

    def levels(self) -> Float[Tensor, " M"]:
        """The M equally spaced levels, rising, of mean square one, in double precision."""
        return pam(self.order)

    @property
    def bits(self) -> int:
        """Per real dimension."""
        return self.order.bit_length() - 1


MODULATIONS = {
    "bpsk": Modulation("bpsk", 2, False),
    "qpsk": Modulation("qpsk", 2, True),
    "16qam": Modulation("16qam", 4, True),
    "64qam": Modulation("64qam", 8, True),
}


def find_modulation(name: str) -> Modulation:
    """The modulation of a name; case and dashes do not matter (``16-QAM``).

    Raises:
        ValueError: no such modulation; the message lists them.
    """
    key = name.lower().replace("-", "").replace("_", "")
    if key not in MODULATIONS:
        raise ValueError(f"no modulation {name!r}; there are {', '.join(MODULATIONS)}")
    return MODULATIONS[key]


def pam(order: int) -> Float[Tensor, " M"]:
    """The levels of pulse-amplitude modulation, (2 i - (M - 1)) / sqrt((M^2 - 1) / 3), i = 0 to M - 1: of mean square
    one, in double precision.

    Raises:
        ValueError: an order that is not a power of two, or is below 2.
    """
    if order < 2 or order & (order - 1):
        raise ValueError(f"order is {order}; it is the number of levels, a power of two: 2, 4, 8")
    index = torch.arange(order, dtype=torch.float64)
    return (2 * index - (order - 1)) / ((order**2 - 1) / 3) ** 0.5


@explained
def decide(x: Tensor, levels: Tensor) -> Tensor:
    """The index of the level nearest to each entry of x, int64, shaped like x; -1 for NaN, which is near none.

    Args:
        x: soft symbols, any shape.
        levels: (M,), rising.

    Raises:
        TypeError, ValueError: as for ``check_rising``.
    """
    check_rising(levels)
    middles = (levels[1:] + levels[:-1]).to(x) / 2
    index = (x > middles).long() if len(middles) == 1 else torch.bucketize(x.contiguous(), middles)
    return torch.where(x.isnan(), -1, index)


def gray_labels(order: int) -> Tensor:
    """(M, bits) int64: the bits of each level, the first of them the most significant, neighbours different in one (the
    reflected code of Gray, US patent 2632058).

    Raises:
        ValueError: an order that is not a power of two, or is below 2 or above 4,096.
    """
    if order < 2 or order & (order - 1):
        raise ValueError(f"order is {order}; it is the number of levels, a power of two: 2, 4, 8")
    if order > 4096:
        raise ValueError(f"order is {order}; there are labels for at most 4,096 levels")
    index = torch.arange(order)
    label = index ^ (index >> 1)
    return (label.unsqueeze(1) >> torch.arange(order.bit_length() - 2, -1, -1)) & 1


def wrong_bits(order: int) -> Tensor:
    """(M, M) int64: in how many bits the labels of two levels differ (``gray_labels``)."""
    labels = gray_labels(order)
    return (labels.unsqueeze(1) != labels).sum(2)


class Observation(NamedTuple):
    """A symbol in Gaussian noise, z = s + tau w, which is what an iteration makes of the rest."""

    z: Tensor  # (batch, K)
    variance: Tensor  # tau^2 > 0 (batch, K) or (batch, 1)


class Posterior(NamedTuple):
    """Of a symbol."""

    mean: Tensor  # like z
    variance: Tensor  # like z


@explained
def posterior(z: Tensor, variance: Tensor, levels: Tensor) -> Posterior:
    """Mean and variance of s given z = s + tau w, w ~ N(0, 1), s uniform on the levels: sum_s s p(s | z), p(s | z) =
    softmax_s(-(z - s)^2 / (2 tau^2)).

    For two levels -a and a the mean is a tanh(a z / tau^2).

    Args:
        z: any shape.
        variance: tau^2 > 0, broadcasts to z.
        levels: (M,), rising and symmetric about zero.

    Raises:
        TypeError, ValueError: levels that are not.
    """
    check_symmetric(levels)
    return level_posterior(z, variance, levels)


@explained
def level_posterior(z: Tensor, variance: Tensor, levels: Tensor) -> Posterior:
    """``posterior`` for levels that were checked already, when a detector was made of them."""
    levels = levels.to(z)
    if len(levels) == 2:
        top = levels[1]
        mean = top * torch.tanh(top * z / variance)
        return Posterior(mean, top.square() - mean.square())
    # Less z^2 / 2 tau^2, which all exponents share and which would overflow where tau is small; a maximum is subtracted
    # by softmax itself.
    weight = torch.softmax((levels * (z.unsqueeze(-1) - levels / 2)) / variance.unsqueeze(-1), dim=-1)
    mean = (weight * levels).sum(-1)
    return Posterior(mean, (weight * (levels - mean.unsqueeze(-1)).square()).sum(-1))


def apply(matrix: Tensor, x: Tensor) -> Tensor:
    """A x of each sample: A (batch, m, n) or (1, m, n), x (batch, n)."""
    if matrix.shape[0] == 1:
        return x @ matrix[0].mT  # one product of matrices, which is faster than a batch of small ones
    return torch.matmul(matrix, x.unsqueeze(-1)).squeeze(-1)


def adjoint(matrix: Tensor, y: Tensor) -> Tensor:
    """A^T y of each sample: A (batch, m, n) or (1, m, n), y (batch, m). For a symmetric A it is A y too, in half of the
    time that ``apply`` takes.
    """
    if matrix.shape[0] == 1:
        return y @ matrix[0]
    return torch.matmul(y.unsqueeze(1), matrix).squeeze(1)


def at_unit_gain(data: Received) -> Received:
    """The same symbols from y / g, H / g and sigma^2 / g^2, g a power of two near the largest entry of each H: no
    product of channels then leaves the precision, and nothing else changes.
    """
    gain = scale.unit(data.channel, (1, 2))
    level = gain.squeeze(-1)
    noise = None if data.noise_variance is None else data.noise_variance / level / level
    return Received(data.y / level, data.channel / gain, noise)


def gram(channel: Tensor) -> Tensor:
    """H^T H, (batch, K, K) or (1, K, K)."""
    return channel.mT @ channel


class MatchedFilter(NamedTuple):
    """What a detector that follows the gradient of |y - H x|^2 needs of its data."""

    matched: Tensor  # H^T y / g (batch, K)
    gram: Tensor  # H^T H / g (batch, K, K) or (1, K, K), its diagonal of mean one


@explain_call
class MatchedFiltering(nn.Module):
    """Received -> MatchedFilter, g = tr(H^T H) / K: neither the gain of a channel nor the number of antennas changes
    the scale of what follows.
    """

    def forward(self, data: Received) -> MatchedFilter:
        data = at_unit_gain(data)
        products = gram(data.channel)
        gain = mean_gain(products)
        return MatchedFilter(adjoint(data.channel, data.y) / gain.squeeze(-1), products / gain)


def mean_gain(products: Tensor) -> Tensor:
    """g = tr(H^T H) / K of H^T H (batch, K, K), as (batch, 1, 1): the mean energy of a stream at the receiver; a
    channel of zeros has the smallest number.
    """
    gain = products.diagonal(dim1=-2, dim2=-1).mean(-1)
    return gain.clamp_min(torch.finfo(gain.dtype).tiny).unsqueeze(-1).unsqueeze(-1)


class Detector(Iteration):
    """An iteration on ``Received``: what all of them check.

    Args:
        levels: (M,) of a real dimension, rising and symmetric about zero, of mean square one.
        needs_noise: whether the noise variance must be known.
    """

    levels: Tensor

    def __init__(self, levels: Tensor, *, needs_noise: bool) -> None:
        super().__init__()
        self.register_buffer("levels", check_levels(levels))
        self.needs_noise = needs_noise

    def check(self, data: Received) -> None:
        super().check(data)
        check_received(data, needs_noise=self.needs_noise)

    def observed(self, state: Any, problem: Any) -> Observation | None:
        """What a step from here takes each symbol to be seen as; None where it does not work with such a model."""
        return None

    def level_logs(self, state: Any, problem: Any) -> Tensor:
        """log p(level) of each symbol as a step from here sees it, up to a constant, (batch, K, M).

        Raises:
            TypeError: a detector whose steps have no such model.
        """
        seen = self.observed(state, problem)
        if seen is None:
            raise TypeError(f"{type(self).__name__} gives estimates, and no probabilities of levels")
        return -(seen.z.unsqueeze(-1) - self.levels.to(seen.z)).square() / (2 * seen.variance.unsqueeze(-1))


def check_rising(levels: Tensor) -> None:
    """Refuses levels that are no alphabet; under a compiler their values are not looked at.

    Raises:
        TypeError: no tensor of real numbers.
        ValueError: none, or not one after the other, finite and each above the one before.
    """
    check_tensor(levels, "levels", "a detector")
    if levels.is_complex() or levels.dtype is torch.bool:
        raise TypeError(f"levels are {levels.dtype}; those of a real dimension are real numbers")
    if levels.ndim != 1 or len(levels) < 1:
        raise ValueError(f"levels is a vector of at least one; got shape {tuple(levels.shape)}")
    if is_plain() and not bool((levels.diff() > 0).all() & torch.isfinite(levels).all()):
        raise ValueError(f"levels must rise; got {levels.tolist()}")


def check_symmetric(levels: Tensor) -> None:
    """Refuses levels that do not rise, or are not symmetric about zero; at least two.

    Raises:
        TypeError, ValueError: by name.
    """
    check_rising(levels)
    if len(levels) < 2:
        raise ValueError(f"levels is a vector of at least two; got shape {tuple(levels.shape)}")
    if is_plain() and not torch.allclose(levels, -levels.flip(0), atol=1e-5):
        raise ValueError(f"levels must rise and be symmetric about zero; got {levels.tolist()}")


def check_levels(levels: Tensor) -> Tensor:
    """A usable alphabet.

    Raises:
        ValueError: fewer than two levels, not rising, not symmetric about zero, or a mean square that is not one.
    """
    check_tensor(levels, "levels", "a detector")
    if levels.ndim != 1 or len(levels) < 2:
        raise ValueError(f"levels is a vector of at least two; got shape {tuple(levels.shape)}")
    if not bool((levels.diff() > 0).all()) or not torch.allclose(levels, -levels.flip(0), atol=1e-5):
        raise ValueError(f"levels must rise and be symmetric about zero; got {levels.tolist()}")
    power = float(levels.square().mean())
    if not abs(power - 1) < 1e-4:
        raise ValueError(
            f"levels must have mean square one; theirs is {power:.4g}: divide by {power**0.5:.4g}, and "
            "multiply the channel by it"
        )
    return levels.detach().clone()


def check_received(data: Received, *, needs_noise: bool = False) -> None:
    """Refuses data of the wrong kind, from shapes and dtypes alone.

    Raises:
        TypeError: not a ``Received``; complex tensors; different dtypes.
        ValueError: shapes that do not belong together; no noise variance where one is needed.
    """
    if not isinstance(data, Received):
        raise TypeError(f"a detector takes a Received(y, channel, noise_variance); got a {type(data).__name__}")
    y, channel, noise = data
    for name, value in zip(Received._fields, data, strict=True):
        if value is not None or name != "noise_variance":
            check_tensor(value, name, "a detector")
    if not y.is_floating_point() and not y.is_complex():
        raise TypeError(f"y is {y.dtype}; a detector works on floating-point tensors: use y.float()")
    if y.is_complex() or channel.is_complex():
        raise TypeError(
            "y and channel are real here; real_form(y, channel, noise_variance) makes real ones of complex ones"
        )
    if y.dtype != channel.dtype or (noise is not None and noise.dtype != y.dtype):
        raise TypeError(
            f"y, channel and noise_variance have one dtype; got {y.dtype}, "
            f"{channel.dtype}{'' if noise is None else f', {noise.dtype}'}"
        )
    if y.ndim != 2 or channel.ndim != 3 or channel.shape[1] != y.shape[1] or channel.shape[0] not in (1, y.shape[0]):
        raise ValueError(
            "y is (batch, N) and channel (batch, N, K), or (1, N, K) for all samples; got "
            f"{tuple(y.shape)} and {tuple(channel.shape)}"
        )
    if noise is None:
        if needs_noise:
            raise ValueError(
                "this detector needs to know the noise: give Received a noise_variance (batch, 1), that "
                "of each real entry of the noise"
            )
    elif noise.ndim != 2 or noise.shape[1] != 1 or noise.shape[0] not in (1, y.shape[0]):
        raise ValueError(f"noise_variance is (batch, 1), or (1, 1) for all samples; got {tuple(noise.shape)}")


def noise_of(data: Received) -> Tensor:
    """sigma^2 (batch, 1) or (1, 1).

    Raises:
        ValueError: it is not known.
    """
    if data.noise_variance is None:
        check_received(data, needs_noise=True)
    assert data.noise_variance is not None
    return data.noise_variance


def real_form(y: Tensor, channel: Tensor, noise_variance: Tensor | None = None) -> Received:
    """y = H s + n with complex symbols s of mean energy one, as a real channel of symbols x of mean square one: s =
    (x_1 + i x_2) / sqrt(2), x = [x_1; x_2].

    y' = [Re y; Im y], H' = [[Re H, -Im H], [Im H, Re H]] / sqrt(2), and half of the noise variance in each real
    dimension.

    Args:
        y: (batch, N), complex.
        channel: (batch, N, K) or (1, N, K), complex.
        noise_variance: E |n_i|^2, (batch, 1) or (1, 1), real.

    Raises:
        TypeError: tensors that are not complex.
    """
    if not (y.is_complex() and channel.is_complex()):
        raise TypeError(
            f"real_form takes complex y and channel; got {y.dtype} and {channel.dtype}. Real ones are a "
            "Received as they are"
        )
    upper, lower = torch.cat([channel.real, -channel.imag], dim=2), torch.cat([channel.imag, channel.real], dim=2)
    half = None if noise_variance is None else noise_variance / 2
    return Received(torch.cat([y.real, y.imag], dim=1), torch.cat([upper, lower], dim=1) / 2**0.5, half)


def complex_symbols(x: Tensor) -> Tensor:
    """s = (x_1 + i x_2) / sqrt(2) (batch, K) of x = [x_1; x_2] (batch, 2 K): the way back from ``real_form``."""
    first, second = x.chunk(2, dim=-1)
    return torch.complex(first, second) / 2**0.5
