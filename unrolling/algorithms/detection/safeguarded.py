"""A detector that is never worse than the linear one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.detection.mimo import Received, apply, check_received, decide, noise_of
from unrolling.algorithms.detection.received_noise import NoiseEstimate, judge_noise, linear_estimate
from unrolling.core.refusals import explain_call

BLOCK = 4096  # vectors at a time
GROUPS, LARGE = 4, 400  # vectors are tried in so many groups, where there are that many


class Safeguard(NamedTuple):
    """What a safeguarded detector found."""

    x: Tensor  # (batch, K): estimates
    linear: Tensor  # (batch,) bool: whose estimate is LMMSE's
    distrusted: Tensor  # (batch,) bool: of these, whose channel and noise are ones where the network errs more
    noise: NoiseEstimate  # what was told, and what the vectors show

    @property
    def rate(self) -> float:
        """The fraction of vectors whose estimate is LMMSE's."""
        return float(self.linear.double().mean())


@explain_call
class SafeguardedDetector(nn.Module):
    """The decision of a network or of LMMSE, whichever leaves less of y, per vector: the smaller of |y - H x|^2, which
    in white Gaussian noise is the likelier one.

    Two wrong vectors are not told apart by it, and where the noise or the channel lets many wrong vectors come near y,
    the nearer one can have more wrong symbols. A receiver that knows its channels can try: symbols are drawn and sent
    over the channels that were given, in the noise that was told or is shown (``judge_noise``), and where the network
    with the rule above makes more errors than LMMSE, LMMSE's decisions are taken. Vectors are tried in four groups,
    from the best to the worst mean square error of LMMSE.

    In coloured noise of covariance C = L L^T give it L^-1 y and L^-1 H, which have white noise of variance one.

    Args:
        network: Received -> estimates (batch, K); one that needs no noise variance may be given none.
        levels: (M,) of a real dimension, rising.
        trials: vectors that are drawn for each group; 0 leaves the trial out.
        seed: of these.

    Raises:
        ValueError: fewer trials than none.
    """

    levels: Tensor

    def __init__(
        self, network: Callable[[Received], Tensor], levels: Tensor, *, trials: int = 500, seed: int = 0
    ) -> None:
        super().__init__()
        if trials < 0:
            raise ValueError(f"trials is a number of vectors, 0 for none; got {trials}")
        self.network, self.trials, self.seed = network, trials, seed
        self.register_buffer("levels", levels)

    @torch.no_grad()
    def forward(self, data: Received) -> Tensor:
        """Estimates (batch, K)."""
        return self.detect(data).x

    @torch.no_grad()
    def detect(self, data: Received) -> Safeguard:
        """Estimates, and whose they are.

        Raises:
            TypeError, ValueError: as for ``check_received``, and what the network raises.
        """
        check_received(data)
        noise = judge_noise(data)
        data = Received(data.y, data.channel, noise.variance)
        x, linear, error = self._nearer(data)
        distrusted = torch.zeros_like(linear)
        if self.trials:
            for group in self._groups(error, len(linear)):
                distrusted[group] = self._worse(data, group)
        if bool(distrusted.any()):
            x = torch.where(distrusted.unsqueeze(1), linear_estimate(data, noise.variance)[0].to(x), x)
        return Safeguard(x, linear | distrusted, distrusted, noise)

    def _nearer(self, data: Received) -> tuple[Tensor, Tensor, Tensor]:
        """Estimates, which of them are LMMSE's, and the mean variance of its error, (batch,) or (1,)."""
        assert data.noise_variance is not None
        linear, error = linear_estimate(data, data.noise_variance)
        found = self.network(data)
        kept = self._left(data, found) <= self._left(data, linear)  # NaN is not kept
        return torch.where(kept.unsqueeze(1), found, linear.to(found)), ~kept, error.mean(1)

    def _left(self, data: Received, x: Tensor) -> Tensor:
        """|y - H x|^2 of the symbols nearest to x, (batch,); NaN where x is."""
        symbols = self.levels.double()[decide(x.nan_to_num(), self.levels)]
        left = (data.y.double() - apply(data.channel.double(), symbols)).square().sum(1)
        return left.masked_fill(~x.isfinite().all(1), float("nan"))

    def _groups(self, error: Tensor, count: int) -> list[Tensor]:
        """Indices of vectors that are alike in how hard they are."""
        if len(error) == 1 or count < LARGE:
            return [torch.arange(count)]
        return list(torch.argsort(error).chunk(GROUPS))

    def _worse(self, data: Received, group: Tensor) -> bool:
        """Whether the network makes more errors than LMMSE over the channels of a group."""
        assert data.noise_variance is not None
        generator = torch.Generator().manual_seed(self.seed)
        pick = group[torch.arange(self.trials) % len(group)]
        trial, sent = simulate_received(data, pick, self.levels, generator)
        linear = linear_estimate(trial, noise_of(trial))[0]
        wrong = [(decide(x, self.levels) != sent).sum() for x in (self._nearer(trial)[0], linear)]
        return bool(wrong[0] > wrong[1])


def simulate_received(
    data: Received, pick: Tensor, levels: Tensor, generator: torch.Generator
) -> tuple[Received, Tensor]:
    """Symbols sent over channels of a file, in their noise: what would be received, and the indices of their levels.

    Args:
        data: with its noise variance.
        pick: which vectors' channels, (count,); one that all share is taken as it is.
        levels: (M,) of a real dimension.
        generator: of symbols and noise.
    """
    pick, noise = pick.to(data.y.device), noise_of(data)
    channel = data.channel if data.channel.shape[0] == 1 else data.channel[pick]
    variance = noise if noise.shape[0] == 1 else noise[pick]
    sent = torch.randint(len(levels), (len(pick), channel.shape[2]), generator=generator).to(data.y.device)
    white = torch.randn(len(pick), channel.shape[1], generator=generator, dtype=torch.float64)
    y = apply(channel, levels.to(channel)[sent]) + variance.sqrt() * white.to(channel)
    return Received(y, channel, variance), sent


def blocks(data: Received, size: int | None = None) -> Iterator[Received]:
    """So many vectors at a time (``BLOCK``), with what belongs to them; one block without any where there are none."""
    size = size or BLOCK
    for first in range(0, max(len(data.y), 1), size):
        parts: Any = (t[first : first + size] if t is not None and t.shape[0] > 1 else t for t in data)
        yield Received(*parts)
