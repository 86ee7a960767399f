"""Random numbers of a batch that is put together from parts, for losses that draw some."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers for a batch, each part of which has a generator of its own: the same ones however the batch is
    divided among processes and micro-batches, and at any resumption.

    Args:
        generators: of the parts, which are of equal size, in order; on the CPU.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        if not generators:
            raise ValueError("Draws needs a generator at least")
        self.generators = tuple(generators)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of a tensor's shape, dtype and device; of complex ones both parts are."""
        if like.is_complex():
            return torch.view_as_complex(self.normal(torch.view_as_real(like)))
        return self._drawn(like.shape, lambda shape, g: torch.randn(shape, generator=g)).to(like)

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1) of a real tensor's shape, dtype and device."""
        return self._drawn(like.shape, lambda shape, g: torch.rand(shape, generator=g)).to(like)

    def signs(self, like: Tensor) -> Tensor:
        """-1 or 1, as likely, of a real tensor's shape, dtype and device."""
        return 2 * (self.uniform(like) > 0.5).to(like) - 1

    def integers(self, most: int, shape: Sequence[int]) -> Tensor:
        """Whole numbers from 0 to most - 1, (batch, ...), on the CPU."""
        return self._drawn(shape, lambda shape, g: torch.randint(most, shape, generator=g))

    def binomial(self, counts: Tensor, chance: float) -> Tensor:
        """How many of so many trials succeed, of a tensor's shape, dtype and device."""
        parts, done = self._parts(counts.shape), []
        for part, generator in zip(counts.detach().cpu().split(parts), self.generators, strict=False):
            done.append(torch.binomial(part, torch.full_like(part, chance), generator=generator))
        return torch.cat(done).to(counts)

    def poisson(self, means: Tensor) -> Tensor:
        """Poisson numbers of given means."""
        parts, done = self._parts(means.shape), []
        for part, generator in zip(means.detach().cpu().split(parts), self.generators, strict=False):
            done.append(torch.poisson(part, generator=generator))
        return torch.cat(done).to(means)

    def _drawn(self, shape: Sequence[int], draw: Callable[[tuple[int, ...], torch.Generator], Tensor]) -> Tensor:
        parts = self._parts(shape)
        pairs = zip(parts, self.generators, strict=False)
        return torch.cat([draw((part, *shape[1:]), generator) for part, generator in pairs])

    def _parts(self, shape: Sequence[int]) -> list[int]:
        """Sizes of the parts of a batch; what all samples share is drawn by the first generator."""
        size, count = shape[0], len(self.generators)
        if size == 1:
            return [1]
        if size % count:
            raise ValueError(f"{size} samples are not {count} parts of one size")
        return [size // count] * count
