"""Denoisers of which each serves a range of noise levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from unrolling.core.refusals import explain_call

EDGES = tuple(level / 255 for level in (10, 20, 40, 60, 80, 100, 150, 300))


@explain_call
class SelectedDenoiser(nn.Module):
    """D_k(r, sigma) for edge_{k-1} < sigma <= edge_k: the denoiser that was trained for the level, of each image.

    Metzler, Mousavi and Baraniuk 2017, arXiv:1704.06625 (nine networks, from 0 to 500 of 255).

    It takes the level itself: ``DenoiserProx(SelectedDenoiser(...), told=True)`` makes a prox of it.

    Parameters: those of ``denoisers``.

    Args:
        denoisers: D_k, modules (images, sigma (batch,)) -> images, from the lowest levels to the highest.
        edges: between them, ascending, in the units of the images; by default 10, 20, 40, 60, 80, 100, 150 and 300 of
            255. Beyond the last edge the last one serves.

    Raises:
        ValueError: edges that are not positive and ascending, another number of denoisers than one more than edges.
    """

    def __init__(self, denoisers: Iterable[nn.Module], edges: Sequence[float] = EDGES) -> None:
        super().__init__()
        self.denoisers, self.edges = nn.ModuleList(denoisers), tuple(float(edge) for edge in edges)
        if not all(low < high for low, high in zip((0.0, *self.edges), self.edges, strict=False)):
            raise ValueError(f"edges are positive and ascending; got {self.edges}")
        if len(self.denoisers) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.edges)} edges lie between {len(self.edges) + 1} denoisers; got {len(self.denoisers)}"
            )

    def forward(self, r: Tensor, sigma: Tensor) -> Tensor:
        """The denoised images.

        Args:
            r: (batch, ...).
            sigma: (batch,).
        """
        which = torch.bucketize(sigma, torch.tensor(self.edges, dtype=sigma.dtype, device=sigma.device))
        found = torch.zeros_like(r)
        for number, denoiser in enumerate(self.denoisers):
            if torch.compiler.is_compiling():  # which images are whose is not known: all run, one of them is taken
                own = (which == number).reshape(-1, *[1] * (r.ndim - 1))
                found = torch.where(own, denoiser(r, sigma), found)
            elif len(chosen := (which == number).nonzero().squeeze(1)) or torch.is_grad_enabled():
                # of no image, too, where gradients are recorded: that of what was not needed is zero, not missing
                found = found.index_copy(0, chosen, denoiser(r[chosen], sigma[chosen]))
        return found
