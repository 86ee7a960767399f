"""Descent on k-space of several coils, whose sensitivity maps a network may find: what the end-to-end variational
network unrolls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Iteration, Positive, constrain, scale
from unrolling.core.arguments import check_range, check_tensor, kind_of
from unrolling.core.refusals import explain
from unrolling.operators.fourier import CoilData, KSpace, fft, ifft, normalise_maps

Images = Callable[[Tensor], Tensor]  # complex images (batch, height, width) to such


class CoilProblem(NamedTuple):
    """What does not change from step to step."""

    samples: Tensor  # k0 (batch, coils, height, width)
    mask: Tensor  # M (batch or 1, 1, height or 1, width or 1)
    maps: Tensor  # S (batch, coils, height, width), or (1, coils, height, width) as they were given


def calibration_mask(mask: Tensor) -> Tensor:
    """The frequencies of all rectangles around frequency zero that are measured completely, of the mask's shape: the
    auto-calibration lines of a scan of lines. The whole mask where frequency zero is not measured.

    Args:
        mask: (..., height, width), zero frequency at (0, 0); 0 where nothing was measured. Of whole lines one number
            will do for a side.
    """
    measured = (mask > 0).to(mask.dtype)
    even = measured
    for side in (-2, -1):
        even = even * even.flip(side).roll(1, side)  # k and -k
    for side in (-2, -1):
        size = even.shape[side]
        number = torch.arange(size, device=mask.device)
        folded = torch.minimum(number, size - number)  # |k|
        even = even.narrow(side, 0, size // 2 + 1)
        missing = (even == 0).to(mask.dtype).cumsum(side)  # between it and frequency zero
        even = (missing == 0).to(mask.dtype).index_select(side, folded)
    return torch.where(even[..., :1, :1] > 0, even, measured)


@explain
class CoilPreparation(nn.Module):
    """The problem of ``CoilData``, or of ``KSpace`` with a dimension of coils: the maps that come with them, or those
    that a network finds.

    S_c = V(F^H A k0_c) / sqrt(sum_c |V(F^H A k0_c)|^2), A the auto-calibration lines (``calibration_mask``): Sriram
    et al. 2020, arXiv:2004.06688. With V the identity that is the coils' own image in low resolution, of phase and all.

    Parameters: those of ``sensitivity``.

    Args:
        sensitivity: V, which sees one coil at a time; None takes the data's own maps.
    """

    def __init__(self, sensitivity: Images | None = None) -> None:
        super().__init__()
        self.sensitivity = sensitivity

    def forward(self, data: CoilData | KSpace) -> CoilProblem:
        mask = data.mask.unsqueeze(1)
        if self.sensitivity is None:
            return CoilProblem(data.samples, mask, data.maps)  # pyright: ignore[reportAttributeAccessIssue]
        images = ifft(calibration_mask(mask) * data.samples)
        found = self.sensitivity(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return CoilProblem(data.samples, mask, normalise_maps(found))


class KSpaceDescent(Iteration):
    """k+ = k - eta M (k - k0) - F E U(R F^H k),    k[0] = k0, the measured k-space, on all coils.

    E x = (S_c x)_c and R its adjoint: descent on the data's error and on a penalty whose gradient U gives, on the image
    that the coils see together. With a network for U in each step, and another for the maps S, this is the end-to-end
    variational network of Sriram et al. 2020, arXiv:2004.06688, (4) to (7). With U = 0 nothing is changed, so that the
    untrained network gives the zero-filled image.

    Parameters: ``step_size`` eta, positive; those of ``regulariser`` and of ``prepare.sensitivity``.

    Args:
        regulariser: U, complex images (batch, height, width) to such.
        sensitivity: the network that finds maps, see ``CoilPreparation``; None takes those of ``CoilData``.
        step_size: eta.
        output: ``rss``, the root of the sum over coils of |F^H k|^2, as published; or ``maps``, R F^H k, a complex
            image, of which the magnitude where a network finds the maps, since the phase is then the network's own.

    Raises:
        ValueError: an unknown output, a step size that is not positive.
    """

    algorithm = "FISTA"
    unused_at_start = ("step_size",)  # k0 agrees with itself
    step_size: Tensor

    def __init__(
        self,
        regulariser: Images,
        sensitivity: Images | None = None,
        *,
        step_size: float = 1.0,
        output: Literal["rss", "maps"] = "rss",
    ) -> None:
        super().__init__()
        if output not in ("rss", "maps"):
            raise ValueError(f"output is {output!r}; it is 'rss' or 'maps'")
        check_range(step_size, "step_size", 0.0, above=True)
        self.regulariser = regulariser
        self.prepare = CoilPreparation(sensitivity)
        self.step_size = scalar_parameter(step_size, torch.zeros(()))
        constrain(self, "step_size", Positive())
        self.output, self.brings_maps = output, sensitivity is not None

    def start(self, problem: CoilProblem) -> Tensor:
        """k0."""
        return problem.samples

    def forward(self, state: Tensor, problem: CoilProblem) -> Tensor:
        image = (problem.maps.conj() * ifft(state)).sum(1)
        change = fft(problem.maps * self.regulariser(image).unsqueeze(1))
        return state - self.step_size * problem.mask * (state - problem.samples) - change

    def estimate(self, state: Tensor, problem: CoilProblem) -> Tensor:
        """The image (batch, height, width)."""
        images = ifft(state)
        if self.output == "rss":
            return scale.norm(images, 1)
        image = (problem.maps.conj() * images).sum(1)
        return image.abs() if self.brings_maps else image

    def check(self, data: Any) -> None:
        if not isinstance(data, CoilData | KSpace):
            raise TypeError(f"data are CoilData(samples, mask, maps) or KSpace(samples, mask); got {kind_of(data)}")
        for name, value in zip(data._fields, data, strict=True):
            check_tensor(value, name, "KSpaceDescent")
        samples, mask = data.samples, data.mask
        if not samples.is_complex() or samples.ndim != 4:
            raise ValueError(
                f"samples are complex, (batch, coils, height, width); got {samples.dtype} {tuple(samples.shape)}"
            )
        sizes = (samples.shape[0], *samples.shape[-2:])
        if (
            mask.is_complex()
            or mask.ndim != 3
            or any(side not in (1, size) for side, size in zip(mask.shape, sizes, strict=True))
        ):
            raise ValueError(
                f"the mask is real, (batch or 1, height, width), of the samples' size {sizes}; got {mask.dtype} "
                f"{tuple(mask.shape)}"
            )
        if self.brings_maps:
            return
        if not isinstance(data, CoilData):
            raise TypeError(
                "without a network for the maps they come with the data: give CoilData(samples, mask, maps)"
            )
        if (
            not data.maps.is_complex()
            or data.maps.shape[1:] != samples.shape[1:]
            or data.maps.shape[0] not in (1, samples.shape[0])
        ):
            raise ValueError(
                f"maps are complex, (batch or 1, coils, height, width), as samples {tuple(samples.shape)}; got "
                f"{data.maps.dtype} {tuple(data.maps.shape)}"
            )
