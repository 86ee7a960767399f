"""Scores: how uncertain a network seems to be about each entry of its estimate, before anything is promised."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.core.arguments import check_count

FLOOR = 1.0  # of a sample's root mean square score: no entry is certain
FEATURES = 3  # of an entry, that a learned score sees
HIDDEN, SMALLEST = 16, 1e-6

Score = Callable[[Any], tuple[Tensor, Tensor]]  # data -> (estimate, positive score of each of its entries)


class Constant(nn.Module):
    """The same half-width everywhere: s = 1.

    Args:
        network: data -> estimate (batch, ...).
    """

    def __init__(self, network: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.network = network

    def forward(self, data: Any) -> tuple[Tensor, Tensor]:
        estimate = self.network(data)
        return estimate, torch.ones_like(estimate.abs())


class LayerSpread(nn.Module):
    """How far the last layers are from agreeing: s = root mean square of |x_k - x_K| over the layers k before the last
    one, K, and its root mean
    square over the sample.

    Args:
        network: unrolled, of two layers at least.
        last: how many layers before the last one are looked at, all where there are fewer.

    Raises:
        ValueError: a network without layers, or of one.
    """

    def __init__(self, network: Unrolled, last: int = 3) -> None:
        super().__init__()
        check_count(last, "last")
        if not isinstance(network, Unrolled) or len(network) < 2:
            raise ValueError(
                "the spread over layers needs an unrolled network of two layers at least; NoiseSpread asks for none"
            )
        self.network, self.last = network, last

    def forward(self, data: Any) -> tuple[Tensor, Tensor]:
        *before, final = deque(self.network.estimates(data), self.last + 1)
        return final, _floored(_deviation(before, final))


class NoiseSpread(nn.Module):
    """The standard deviation of estimates from data to which a little noise is added.

    The same noise for every sample, drawn anew from the seed at every call: what a sample gets depends on no other.

    Args:
        network: data -> estimate (batch, ...).
        size: standard deviation, relative to the root mean square of each tensor of the data, per sample.
        draws: how many estimates.
        seed: of the noise.
        named: of the tensors of the data that are disturbed, ``("image",)``; by default all that have several numbers
            for each sample.

    Raises:
        ValueError: a size that is not positive, fewer than two draws.
    """

    def __init__(
        self,
        network: Callable[[Any], Tensor],
        size: float = 0.02,
        draws: int = 8,
        seed: int = 0,
        named: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not size > 0:
            raise ValueError(f"size is {size}; the noise has a positive standard deviation")
        check_count(draws, "draws", 2)
        self.network, self.size, self.draws, self.seed = network, size, draws, seed
        self.named = None if named is None else tuple(named)

    def forward(self, data: Any) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        paths = [path.split(".")[-1] for path, _ in tree.named_tensors(data, "data")]
        size = tree.batch_size(data, "data")

        def disturbed() -> Any:
            names = iter(paths)

            def one(tensor: Tensor) -> Tensor:
                name = next(names)
                number = not (tensor.is_floating_point() or tensor.is_complex())
                if number or tensor.ndim < 2 or tensor.shape[0] != size:
                    return tensor
                if self.named is not None and name not in self.named:
                    return tensor
                noise = torch.randn(tensor.shape[1:], dtype=tensor.dtype, generator=generator).to(tensor.device)
                power = tensor.abs().square().flatten(1).mean(1).sqrt().reshape(-1, *(1,) * (tensor.ndim - 1))
                return tensor + self.size * power * noise

            return tree.apply(one, data)

        estimate = self.network(data)
        return estimate, _floored(_deviation([self.network(disturbed()) for _ in range(self.draws)], estimate))


class DropoutSpread(nn.Module):
    """The standard deviation of estimates with the network's dropout at work (Gal and Ghahramani 2016,
    arXiv:1506.02142); the estimate itself is without.

    Args:
        network: with dropout modules.
        draws: how many estimates.
        seed: of what is dropped.

    Raises:
        ValueError: no dropout in the network, fewer than two draws.
    """

    def __init__(self, network: nn.Module, draws: int = 8, seed: int = 0) -> None:
        super().__init__()
        check_count(draws, "draws", 2)
        kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
        self._dropouts = [module for module in network.modules() if isinstance(module, kinds)]
        if not self._dropouts:
            raise ValueError("the network has no dropout; LayerSpread and NoiseSpread need none")
        self.network, self.draws, self.seed = network, draws, seed

    def forward(self, data: Any) -> tuple[Tensor, Tensor]:
        before = [module.training for module in self._dropouts]
        try:
            for module in self._dropouts:
                module.train(False)
            estimate = self.network(data)
            for module in self._dropouts:
                module.train(True)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                several = [self.network(data) for _ in range(self.draws)]
        finally:
            for module, was in zip(self._dropouts, before, strict=True):
                module.train(was)
        return estimate, _floored(_deviation(several, estimate))


def usual_score(network: Any) -> nn.Module:
    """The spread over the last layers of an unrolled network, a constant for any other."""
    return LayerSpread(network) if isinstance(network, Unrolled) and len(network) > 1 else Constant(network)


class LearnedHalfWidth(nn.Module):
    """s = exp h(estimate, its distance from the local mean, the score of another kind), h a small network for each
    entry alone; learned by ``learn_half_width``.

    Args:
        score: of another kind, whose network and estimate are taken.
        hidden: units.
        spatial: whether neighbours along the last two dimensions are seen too, 5 x 5 of them.
    """

    def __init__(self, score: nn.Module, hidden: int = HIDDEN, spatial: bool = False) -> None:
        super().__init__()
        check_count(hidden, "hidden")
        self.score, self.spatial = score, spatial
        taps = 5 if spatial else 1
        self.net = nn.Sequential(
            nn.Conv2d(FEATURES, hidden, taps, padding=taps // 2), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU()
        )
        self.last = nn.Conv2d(hidden, 1, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, data: Any) -> tuple[Tensor, Tensor]:
        estimate, score = self.score(data)
        estimate, score = estimate.detach(), score.detach()
        seen = torch.view_as_real(estimate).norm(dim=-1) if estimate.is_complex() else estimate
        size = seen.shape
        rows = (
            seen.reshape(-1, 1, *size[-2:]) if self.spatial and seen.ndim > 2 else seen.reshape(len(seen), 1, 1, -1)
        ).float()
        other = score.reshape(rows.shape).float()
        mean = (
            nn.functional.avg_pool2d(rows, (1, 3), 1, (0, 1), count_include_pad=False) if rows.shape[-1] > 1 else rows
        )
        features = torch.cat((rows, rows - mean, (other + SMALLEST).log()), 1)
        # The other score as it is at the start.
        size_of = (other + SMALLEST) * self.last(self.net(features)).clamp(-8, 8).exp()
        return estimate, size_of.reshape(size).to(score.dtype)


def learn_half_width(
    score: LearnedHalfWidth,
    draw: Callable[[torch.Generator], tuple[Any, Tensor]],
    steps: int = 300,
    *,
    rate: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Fits the half-width to the absolute error by the likelihood of a Laplace distribution, log s + |x - x^| / s;
    neither the network nor the other score learns.

    Args:
        score: learned in place.
        draw: generator -> (data, target): training data of the network.
        steps: of Adam, annealed to zero.
        rate: learning rate.
        seed: of the draws.

    Returns:
        The loss of each step.

    Raises:
        ValueError: a loss that is not finite.
    """
    check_count(steps, "steps")
    generator = torch.Generator().manual_seed(seed)
    learned = [*score.net.parameters(), *score.last.parameters()]
    adam = torch.optim.Adam(learned, lr=rate)
    annealed = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    losses = []
    for number in range(steps):
        data, target = draw(generator)
        estimate, width = score(data)
        loss = (width.log() + (estimate - target).abs() / width).mean()
        if not bool(loss.isfinite()):
            raise ValueError(f"the loss of the half-width is {float(loss)} after {number} steps")
        adam.zero_grad()
        loss.backward()
        adam.step()
        annealed.step()
        losses.append(float(loss.detach()))
    return losses


def _deviation(estimates: Sequence[Tensor], middle: Tensor) -> Tensor:
    return torch.stack([(estimate - middle).abs().square() for estimate in estimates]).mean(0).sqrt()


def _floored(score: Tensor) -> Tensor:
    """The sample's root mean square added, so that where all agree nothing is infinitely certain."""
    usual = score.square().flatten(1).mean(1).sqrt().reshape(-1, *(1,) * (score.ndim - 1))
    return score + FLOOR * usual + torch.finfo(score.dtype).tiny
