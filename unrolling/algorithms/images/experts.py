"""Fields of experts, local and non-local: gradient descent on random fields of patches, or of groups of patches."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, ZeroMean, constrain
from unrolling.core.arguments import check_count, check_numbers, check_range
from unrolling.core.naming import class_name
from unrolling.operators.borders import extend, fold
from unrolling.operators.filters import margins
from unrolling.operators.groups import Groups, gather_groups, match_patches, scatter_groups


class Cliques(NamedTuple):
    """What does not change from step to step."""

    data: Problem  # that of the data term
    groups: Groups | None  # None where every group is a single patch


class Grouping(nn.Module):
    """What iterations on fields of experts begin with: the problem of the data term and, for more than one match, the
    groups of similar patches in the image that the data term starts from.

    Args:
        data_term: of the data.
        matches: M, patches in a group.
        size: pixels along a side of the patches that are compared, odd.
        radius: of the search window.
    """

    def __init__(self, data_term: DataTerm, matches: int = 1, size: int = 7, radius: int = 8) -> None:
        super().__init__()
        check_count(matches, "matches")
        check_count(radius, "radius", 0)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size is {size}; patches have a pixel in their middle, so it is odd")
        self.data_term, self.matches, self.size, self.radius = data_term, matches, size, radius

    def forward(self, data: Any) -> Cliques:
        """The problem of the data term, and the groups."""
        problem = self.data_term(data)
        if self.matches == 1:
            return Cliques(problem, None)
        start = self.data_term.start(problem).detach()
        return Cliques(problem, match_patches(start, self.matches, size=self.size, radius=self.radius))


class FieldOfExperts(Iteration):
    """x <- P(x - eta grad E(x)),  E(x) = (lambda / 2) |A x - y|^2 + s^-2 sum_p sum_i alpha_i log(1 + (J_i^T s x_p)^2 /
    2), x_p the patch around pixel p: gradient descent on a field of experts.

    Roth and Black 2009, doi:10.1007/s11263-008-0197-6. With a fixed number of steps, learned end to end: Sun and Tappen
    2011, CVPR, pages 2745-2752 (survey, section IV-C), whose non-local field is ``NonLocalExperts``.

    The gradient is lambda A^T (A x - y) + s^-1 sum_i J_i alpha_i phi(J_i^T s x), phi(z) = z / (1 + z^2 / 2), the
    adjoint exact, the border included (patches are mirrored there). P is the projection onto what the data allow.

    Parameters: ``filters`` J, (count, 1, height, width), of mean zero; ``amplitude`` alpha, (count,), positive;
    ``step_size`` eta, positive; ``weight`` lambda, positive.

    Args:
        data_term: A, y and P.
        filters: J at the start, (count, height, width), each of mean zero, so that brightness has no energy.
        amplitude: alpha at the start, one for all or (count,), positive.
        weight: lambda > 0; for noise of standard deviation sigma (s sigma)^-2 makes E, times s^2, minus the logarithm
            of a posterior density.
        step_size: eta > 0; below 2 / ``lipschitz(problem)`` E never rises.
        scale: s > 0, what images are multiplied by before the filters: one over the response from which on an edge is
            kept.

    Raises:
        ValueError: shapes that do not fit, values that are not positive, filters that see brightness.
    """

    algorithm = "PeronaMalik"

    filters: Tensor
    amplitude: Tensor
    step_size: Tensor
    weight: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        filters: Float[Tensor, "count height width"],
        *,
        amplitude: float | Tensor = 1.0,
        weight: float = 1.0,
        step_size: float = 0.1,
        scale: float = 1.0,
    ) -> None:
        if filters.ndim != 3:
            raise ValueError(f"filters are (count, height, width); got shape {tuple(filters.shape)}")
        self._init(Grouping(data_term), filters.unsqueeze(1), amplitude, weight, step_size, scale)

    def _init(
        self,
        prepare: Grouping,
        filters: Tensor,
        amplitude: float | Tensor,
        weight: float,
        step_size: float,
        scale: float,
    ) -> None:
        super().__init__()
        if 0 in filters.shape:
            raise ValueError(f"there is no filter in a tensor of shape {tuple(filters.shape)}")
        for value, name in ((weight, "weight"), (step_size, "step_size"), (scale, "scale")):
            check_range(value, name, 0.0, above=True)
        self.prepare, self.data_term, self.scale = prepare, prepare.data_term, scale
        self.filters = filters if isinstance(filters, nn.Parameter) else nn.Parameter(filters.detach().clone())
        like = self.filters.detach()
        each = torch.as_tensor(amplitude, dtype=like.dtype).expand(like.shape[0]).clone()
        self.amplitude = nn.Parameter(each)
        self.step_size, self.weight = nn.Parameter(like.new_tensor(step_size)), nn.Parameter(like.new_tensor(weight))
        constrain(self, "filters", ZeroMean((1, 2, 3)))
        for name in ("amplitude", "step_size", "weight"):
            constrain(self, name, Positive())

    def atoms(self) -> Tensor:
        """The filters on the pixel's own patch as pictures, (count, height, width)."""
        return self.filters[:, 0]

    @property
    def reach(self) -> int:
        """Pixels that one step lets an output depend on, in each direction: half a filter there and half one back."""
        return 2 * max(side // 2 for side in self.filters.shape[-2:])

    def start(self, problem: Cliques) -> Float[Tensor, "batch height width"]:  # pyright: ignore
        """The data term's start: the noisy, or the filled image."""
        return self.data_term.start(problem.data)

    def responses(
        self, x: Float[Tensor, "batch height width"], problem: Cliques
    ) -> Float[Tensor, "batch pixels count"]:
        """J_i^T s x_p, for the pixels row by row."""
        count, matches, rows, columns = self.filters.shape
        wide = extend(x * self.scale, margins(self.filters), "symmetric")
        patches = nn.functional.unfold(wide.unsqueeze(1), (rows, columns))
        taps = self.filters.reshape(count, matches, -1).permute(2, 1, 0).flatten(1)
        table = torch.bmm(patches.mT, taps.expand(x.shape[0], -1, -1))
        if problem.groups is None:
            return table
        return gather_groups(table.unflatten(2, (matches, count)), problem.groups)

    def spread(
        self, z: Float[Tensor, "batch pixels count"], problem: Cliques, like: Tensor
    ) -> Float[Tensor, "batch height width"]:
        """The exact adjoint of ``responses``, less the scale.

        Args:
            z: a number for each filter and pixel.
            problem: that of the data.
            like: an image of the size.
        """
        count, matches, rows, columns = self.filters.shape
        height, width = like.shape[-2:]
        table = z if problem.groups is None else scatter_groups(z, problem.groups).flatten(2)
        taps = self.filters.reshape(count, matches, -1).permute(2, 1, 0).flatten(1)
        patches = torch.bmm(taps.expand(z.shape[0], -1, -1), table.mT)
        wide = nn.functional.fold(patches, (height + rows - 1, width + columns - 1), (rows, columns))
        return fold(wide.squeeze(1), margins(self.filters), "symmetric")

    def gradient(self, x: Float[Tensor, "batch height width"], problem: Cliques) -> Tensor:
        """grad E(x)."""
        z = self.responses(x, problem)
        force = self.spread(self.amplitude * z / (1 + 0.5 * z.square()), problem, x) * (1 / self.scale)
        return self.weight * self.data_term.gradient(x, problem.data) + force

    def forward(
        self, state: Float[Tensor, "batch height width"], problem: Cliques
    ) -> Float[Tensor, "batch height width"]:
        x = state - self.step_size * self.gradient(state, problem)
        return self.data_term.project(x, problem.data)

    def objective(self, state: Tensor, problem: Cliques) -> Tensor:
        """E(x), (batch,)."""
        z = self.responses(state, problem)
        prior = (self.amplitude * torch.log1p(0.5 * z.square())).flatten(1).sum(1) / self.scale**2
        return self.weight * self.data_term.value(state, problem.data) + prior

    def lipschitz(self, problem: Cliques) -> Float[Tensor, " batch"]:
        """A bound on that of grad E where |A| <= 1: lambda + |sum_i alpha_i J_i J_i^T| times the number of places that
        the busiest pixel has in groups.
        """
        count, _, rows, columns = self.filters.shape
        matrix = self.filters.reshape(count, -1)
        largest = torch.linalg.eigvalsh(matrix.mT @ (self.amplitude.unsqueeze(1) * matrix))[-1]
        x = self.data_term.start(problem.data)
        member = x.new_ones(x.shape[0], x.shape[1] * x.shape[2], 1)
        if problem.groups is not None:
            member = problem.groups.counts().to(x).unsqueeze(-1)
        patches = member.mT.expand(-1, rows * columns, -1)
        wide = nn.functional.fold(patches, (x.shape[1] + rows - 1, x.shape[2] + columns - 1), (rows, columns))
        places = fold(wide.squeeze(1), margins(self.filters), "symmetric")
        return self.weight + largest * places.amax((1, 2))

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)
        check_numbers(self.data_term.measured(data), "data", class_name(self), real=True)

    def advice(self) -> str:
        return "make the step size, or the amplitudes, smaller"


class NonLocalExperts(FieldOfExperts):
    """``FieldOfExperts`` whose x_p is the patch around pixel p stacked with those most similar to it: a non-local range
    Markov random field (NLR-MRF).

    Sun and Tappen 2011, CVPR, pages 2745-2752. Which patches are similar is found once, on the image that the
    iteration starts from (``operators.match_patches``), and is no function that is differentiated. With one match it is
    ``FieldOfExperts``, to the bit.

    Parameters: ``filters`` J, (count, matches, height, width), each of mean zero over its group; the others as for
    ``FieldOfExperts``.

    Args:
        data_term: A, y and P.
        filters: J at the start, (count, matches, height, width), the pixel's own patch first.
        amplitude: alpha, as for ``FieldOfExperts``.
        weight: lambda.
        step_size: eta.
        scale: s.
        size: pixels along a side of the patches that are compared, odd.
        radius: of the search window.

    Raises:
        ValueError: shapes that do not fit, values that are not positive, an even size.
    """

    def __init__(
        self,
        data_term: DataTerm,
        filters: Float[Tensor, "count matches height width"],
        *,
        amplitude: float | Tensor = 1.0,
        weight: float = 1.0,
        step_size: float = 0.1,
        scale: float = 1.0,
        size: int = 7,
        radius: int = 8,
    ) -> None:
        if filters.ndim != 4:
            raise ValueError(f"filters are (count, matches, height, width); got shape {tuple(filters.shape)}")
        grouping = Grouping(data_term, filters.shape[1], size, radius)
        # As of the local field their values are taken: a parameter would not stay the one that was given.
        self._init(grouping, filters[:], amplitude, weight, step_size, scale)
        self.radius = radius

    @property
    def matches(self) -> int:
        """How many patches a group has, M."""
        return self.filters.shape[1]

    @property
    def reach(self) -> int:
        """As for ``FieldOfExperts``, and across the search window there and back; without the matching itself."""
        return super().reach + 2 * self.radius
