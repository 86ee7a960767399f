"""Nonlinear diffusion with reaction: the image follows the responses of some filters, and the data pull it back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import DataTerm, LeastSquares, Problem
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_numbers, check_range, check_tensor, kind_of
from unrolling.core.naming import class_name
from unrolling.core.refusals import explain
from unrolling.operators.dct import cut_blocks, dct2, idct2, join_blocks
from unrolling.operators.differences import FiniteDifferences
from unrolling.operators.linear import LinearOperator
from unrolling.operators.spectral import Identity
from unrolling.prox.box import clamp_coefficients


class Diffusion(Iteration):
    """u <- P(u - sum_i K_i^T phi_i(K_i u) - lambda A^T (A u - f)), P what the data allow.

    A gradient step on sum_i rho_i(K_i u) + (lambda / 2) |A u - f|^2, rho_i' = phi_i (a field of experts), and with
    learned filters and influence functions, one set per step, the trainable nonlinear reaction diffusion of Chen and
    Pock 2017, doi:10.1109/TPAMI.2016.2596743 (survey, section V-C). K^T is the exact adjoint, the border included.

    ``normalised`` gives the step of variational networks, u - (sum_i K_i^T phi_i(K_i u) / N + lambda A^T (A u - f)) /
    (1 + lambda), N the number of filters (Kobler, Klatzer, Hammernik and Pock 2017, doi:10.1007/978-3-319-66709-6_23).

    Parameters: ``weight`` lambda, positive; those of ``filters`` and ``influence``.

    Args:
        data_term: A and P.
        filters: K, (batch, height, width) -> (batch, channels, height, width).
        influence: phi, a module from responses to responses, one function per channel.
        weight: lambda >= 0.
        scale: the images are multiplied by this before the filters, and what comes back is divided by it: 255 where phi
            is made for responses of 8-bit images.
        normalised: see above.

    Raises:
        ValueError: a negative weight, a scale that is not positive.
    """

    algorithm = "PeronaMalik"

    weight: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        filters: LinearOperator,
        influence: nn.Module,
        weight: float,
        *,
        scale: float = 1.0,
        normalised: bool = False,
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight must be at least 0; got {weight}")
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        self.data_term = data_term
        self.prepare = data_term
        self.filters, self.influence, self.scale, self.normalised = filters, influence, scale, normalised
        at_data = isinstance(data_term, LeastSquares) and isinstance(data_term.operator, Identity)
        if at_data and data_term.initial is None and not normalised:
            self.unused_at_start = ("weight",)  # u = f
        like = next(
            (t for t in [*filters.parameters(), *influence.parameters(), *filters.buffers()] if t.is_floating_point()),
            torch.zeros(()),
        )
        self.weight = nn.Parameter(torch.tensor(weight, dtype=like.dtype))
        constrain(self, "weight", Positive())

    def atoms(self) -> Tensor:
        """The filters as pictures, (count, height, width)."""
        return self.filters.taps()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]

    def start(self, problem: Problem) -> Float[Tensor, "batch height width"]:
        """The data term's start: the noisy, the decompressed or the enlarged image."""
        return self.data_term.start(problem)

    def forward(
        self, state: Float[Tensor, "batch height width"], problem: Problem
    ) -> Float[Tensor, "batch height width"]:
        u = state
        force = self.filters.adjoint(self.influence(self.filters(u * self.scale))) * (1 / self.scale)
        reaction = self.weight * self.data_term.gradient(u, problem)
        if self.normalised:
            u = u - (force / self.filters.output_shape[0] + reaction) / (1 + self.weight)
        else:
            u = u - force - reaction
        return self.data_term.project(u, problem)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)
        check_numbers(self.data_term.measured(data), "data", class_name(self), real=True)

    def advice(self) -> str:
        return "make the influence functions, or the weight of the data, smaller"


class PeronaMalik(Diffusion):
    """u <- u - sum_d D_d^T phi(D_d u) - lambda A^T (A u - f), phi(z) = step_size z / (1 + (z / kappa)^2): the diffusion
    of Perona and Malik 1990.

    doi:10.1109/34.56205, with the edge-stopping function 1 / (1 + (|grad u| / kappa)^2) in each direction; without
    reaction (lambda = 0) it forgets the data and flattens every image in the end, so that the number of steps is its
    strength.

    Parameters: ``influence.contrast`` kappa, ``influence.step_size``, ``weight`` lambda, positive.

    Args:
        data_term: what f is; used at the start, and throughout where lambda > 0.
        contrast: kappa > 0, the difference of neighbours from which on an edge is kept.
        step_size: at most 1/4 for the maximum principle.
        weight: lambda >= 0.

    Raises:
        ValueError: a contrast that is not positive, a step size outside (0, 1/4], a negative weight.
    """

    def __init__(self, data_term: DataTerm, contrast: float, *, step_size: float = 0.2, weight: float = 0.0) -> None:
        check_range(step_size, "step_size", 0.0, 0.25, above=True)
        super().__init__(data_term, FiniteDifferences(), EdgeStopping(contrast, step_size), weight)

    def objective(self, state: Tensor, problem: Problem) -> Tensor:
        """(step_size kappa^2 / 2) sum log(1 + (D u / kappa)^2) + (lambda / 2) |A u - f|^2, (batch,)."""
        influence: Any = self.influence
        return influence.potential(self.filters(state)).flatten(1).sum(1) + self.weight * self.data_term.value(
            state, problem
        )


@explain
class EdgeStopping(nn.Module):
    """phi(z) = step_size z / (1 + (z / kappa)^2).

    Parameters: ``contrast`` kappa and ``step_size``, positive.

    Args:
        contrast: kappa > 0.
        step_size: > 0.

    Raises:
        ValueError: a value that is not positive.
    """

    contrast: Tensor
    step_size: Tensor

    def __init__(self, contrast: float, step_size: float) -> None:
        super().__init__()
        if not (contrast > 0 and step_size > 0):
            raise ValueError(f"contrast and step_size must be positive; got {contrast} and {step_size}")
        self.contrast, self.step_size = nn.Parameter(torch.tensor(contrast)), nn.Parameter(torch.tensor(step_size))
        constrain(self, "contrast", Positive())
        constrain(self, "step_size", Positive())

    def forward(self, z: Tensor) -> Tensor:
        """phi(z)."""
        return self.step_size * z / (1 + (z / self.contrast).square())

    def potential(self, z: Tensor) -> Tensor:
        """rho(z), rho' = phi: (step_size kappa^2 / 2) log(1 + (z / kappa)^2)."""
        return 0.5 * self.step_size * self.contrast.square() * torch.log1p((z / self.contrast).square())


class Compressed(NamedTuple):
    """A decoded JPEG image with what its file says of it; all on the scale of the image."""

    image: Tensor  # (batch, height, width), as decoded
    # (batch, height, width): the stored DCT coefficients of each 8 x 8 block in its place, dequantised
    coefficients: Tensor
    steps: Tensor  # (batch or 1, 8, 8): the quantisation table
    known: Tensor  # (batch or 1, height, width): 1 where a block is whole, so that its coefficients are known, else 0


@explain
class QuantisedBlocks(DataTerm):
    """What a JPEG file says of the image: every DCT coefficient of a block lies within half a quantisation step of the
    stored one; data are ``Compressed``.

    There is no gradient: the projection onto the box does all (Chen and Pock 2017, section 5). It starts at the decoded
    image. The image's sides are multiples of 8; of blocks that were not whole (``known`` is 0) nothing is said.

    Args:
        offset: what the encoder subtracts before the transform: 128 / 255 for images from 0 to 1.
    """

    def __init__(self, offset: float = 128 / 255) -> None:
        super().__init__()
        check_range(offset, "offset")
        self.offset = offset

    def forward(self, data: Compressed) -> Problem:
        """The decoded image."""
        return Problem(data.image, None, data)

    def gradient(self, x: Tensor, problem: Problem) -> Tensor:
        """Zero."""
        return torch.zeros_like(x)

    def project(self, x: Tensor, problem: Problem) -> Tensor:
        """Each coefficient clamped to [q - 1/2, q + 1/2] Q."""
        _, centre, steps, known = problem.data
        blocks = dct2(cut_blocks(x - self.offset, 8))
        half = 0.5 * steps.reshape(steps.shape[0], 1, 1, 8, 8)
        inside = join_blocks(idct2(clamp_coefficients(blocks, cut_blocks(centre, 8), half))) + self.offset
        return torch.where(known > 0, inside, x)

    def value(self, x: Tensor, problem: Problem) -> Tensor:
        """Zero, (batch,)."""
        return x.new_zeros(x.shape[0])

    def check(self, data: Compressed) -> None:
        if not isinstance(data, Compressed):
            raise TypeError(f"data are Compressed{Compressed._fields}; got {kind_of(data)}")
        for name, value in zip(Compressed._fields[:3], data, strict=False):
            check_numbers(value, name, "deblocking", real=True)
        check_tensor(data.known, "known", "deblocking")
        if data.known.is_complex():
            raise TypeError(f"known is {data.known.dtype}; it holds zeros and ones")
        image, centre, steps, known = data
        if image.ndim != 3 or image.shape != centre.shape or image.shape[1] % 8 or image.shape[2] % 8:
            raise ValueError(
                "image and coefficients are (batch, height, width), sides multiples of 8; got "
                f"{tuple(image.shape)} and {tuple(centre.shape)}"
            )
        if steps.shape[1:] != (8, 8) or known.shape[1:] != image.shape[1:]:
            raise ValueError(
                "steps are (batch or 1, 8, 8) and known (batch or 1, height, width); got "
                f"{tuple(steps.shape)} and {tuple(known.shape)}"
            )
