"""Losses that do not look at a target: the data, the operator that made them and the noise on them stand in for it.

Each asks the task for its ``measurement`` (``tasks.measurements``) and draws its random numbers from the generator of
the step (``draws``). One that shows the network something else than the data has ``show``. Means are over the numbers
that were measured, a complex one counting as two, first in a sample, then over samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.core import tree
from unrolling.core.arguments import check_range
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import Gaussian, Measurement, Poisson
from unrolling.tasks.transformations import Transformations
from unrolling.training.losses import Loss, asked

PAIRS = ((0, 1), (0, 2), (1, 3), (2, 3), (1, 0), (2, 0), (3, 1), (3, 2))  # neighbours of a block of 2 x 2 pixels


def _squares(x: Tensor) -> Tensor:
    """|x|^2 of each sample, (batch,)."""
    return tree.rows(torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).square().sum(1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Re <a, b> of each sample, (batch,)."""
    return tree.rows((a.conj() * b).real if a.is_complex() else a * b).sum(1)


def _numbers(measurement: Measurement, data: Any) -> Tensor:
    """How many real numbers were measured of each sample, (batch,) or (1,)."""
    y, where = measurement.measured(data), measurement.where(data)
    kind = 2 if y.is_complex() else 1
    if where is None:
        return torch.full((1,), float(kind * y.shape[1:].numel()), dtype=y.real.dtype, device=y.device)
    count = where.expand(where.shape[0], *y.shape[1:]).flatten(1).sum(1)
    return (kind * count).clamp_min(1)


def _misfit(measurement: Measurement, estimate: Tensor, data: Any, relative: bool) -> Tensor:
    y = measurement.measured(data)
    error = _squares(measurement.image(estimate, data) - y)
    if relative:
        size = _squares(y)
        return (error / torch.where(size == 0, 1, size)).sqrt().mean()
    return (error / _numbers(measurement, data)).mean()


@dataclass(frozen=True)
class Consistency:
    """|A x' - y|^2 / m: what an estimate explains of the data that it was made of. Alone it teaches nothing of what was
    not measured, and copies noise.

    Attributes:
        relative: |A x' - y| / |y| in its place.
    """

    relative: bool = False

    def __call__(self, estimate: Tensor, target: Any, data: Any, measurement: Measurement) -> Tensor:
        return _misfit(measurement, estimate, data, self.relative)


@dataclass(frozen=True)
class Splitting:
    """|A_2 x' - y_2|^2 / m_2, x' the estimate from y_1: each time other measurements are kept from the network, and it
    is asked for them.

    SSDU, Yaman et al. 2020, doi:10.1002/mrm.28378. It is the supervised loss in expectation, but for how much each
    measurement counts, where over all data every measurement is kept now and then.

    Attributes:
        part: of the measurements that the network sees; of k-space, the lowest frequencies besides.
        relative: |A_2 x' - y_2| / |y_2| in its place, so that every sample counts alike.
        weighted: rare measurements, such as high frequencies, count more in the loss, by how rare they are (Millard and
            Chiew 2023, doi:10.1109/TCI.2023.3299212).
    """

    part: float = 0.6
    relative: bool = False
    weighted: bool = False

    def __post_init__(self) -> None:
        check_range(self.part, "part", 0.0, 1.0, above=True, below=True)

    def check(self, measurement: Measurement) -> None:
        """Refuses measurements that cannot be taken apart.

        Raises:
            ValueError: these cannot.
        """
        if not measurement.splits:
            raise ValueError("its measurements cannot be split: the network knows their operator as a whole")

    def show(self, data: Any, measurement: Measurement, draws: Draws) -> tuple[Any, Any]:
        """What the network sees, and what is kept from it."""
        return measurement.split(data, self.part, draws, self.weighted)

    def __call__(self, estimate: Tensor, target: Any, measurement: Measurement, kept: Any) -> Tensor:
        return _misfit(measurement, estimate, kept, self.relative)


@dataclass(frozen=True)
class Equivariance:
    """|f(A T x' + e) - T x'|^2 / n, T a random element of a group that signals are as likely after as before: what A
    does not see of a signal it sees of a transformed one.

    Equivariant imaging, Chen, Tachella and Davies 2021, arXiv:2103.14756; with noise 2022, arXiv:2111.12855. To be
    added to ``Consistency``, or with noise to ``SURE``. A must not be equivariant itself.

    Attributes:
        group: of the task by default.
        noise: whether noise is drawn, where the task knows it.
        detach: leave the gradient through T x' out.
        relative: |f(A T x' + e) - T x'| / |T x'| in its place.
    """

    group: Transformations | None = None
    noise: bool = True
    detach: bool = False
    relative: bool = False

    def check(self, measurement: Measurement) -> None:
        """Refuses what equivariance teaches nothing of.

        Raises:
            ValueError: A is the identity; no group is known.
        """
        if measurement.invertible:
            raise ValueError("its data are the signal with noise: nothing is unseen that equivariance could tell")
        if self.group is None and measurement.transformations is None:
            raise ValueError(
                "it names no transformations that signals are as likely after as before; give Equivariance(group=...)"
            )

    def __call__(
        self,
        estimate: Tensor,
        target: Any,
        data: Any,
        run: Callable[[Any], Tensor],
        measurement: Measurement,
        draws: Draws,
    ) -> Tensor:
        group = self.group or measurement.transformations
        assert group is not None
        x = group.draw(estimate, draws)(estimate)
        x = x.detach() if self.detach else x
        clean = measurement.replaced(data, measurement.image(x, data))
        found = run(measurement.sample(x, data, draws) if self.noise else clean)
        error, size = _squares(found - x), _squares(x)
        if self.relative:
            return (error / torch.where(size == 0, 1, size)).sqrt().mean()
        return (error / (x.shape[1:].numel() * (2 if x.is_complex() else 1))).mean()


@dataclass(frozen=True)
class SURE:
    """|A x' - y|^2 / m - sigma^2 + 2 sigma^2 / m div_y A f(y), Stein's unbiased estimate of |A (x' - x)|^2 / m, for
    Gaussian noise (Stein 1981, doi:10.1214/aos/1176345632); for Poisson noise of gain g, |A x' - y|^2 / m - g / m sum y
    + 2 g / m sum_i y_i d(A f)_i / dy_i, unbiased where f is linear over a count (Le Montagner, Angelini and Olivo-Marin
    2014, doi:10.1109/TIP.2014.2300821).

    The divergence is b^T (A f(y + t b) - A f(y)) / t, b standard normal, or +-1 for Poisson noise (Ramani, Blu and
    Unser 2008, doi:10.1109/TIP.2008.2001404): the network runs twice.

    Attributes:
        step: t in standard deviations of the noise.
        weight: of the divergence; 1 is unbiased.
    """

    step: float = 0.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range(self.step, "step", 0.0, above=True)

    def check(self, measurement: Measurement) -> None:
        """Refuses data whose noise is not known.

        Raises:
            ValueError: there is none, or nobody says how strong it is.
        """
        if not measurement.noisy:
            raise ValueError("its data have no noise of a known strength")

    def __call__(
        self,
        estimate: Tensor,
        target: Any,
        data: Any,
        run: Callable[[Any], Tensor],
        measurement: Measurement,
        draws: Draws,
    ) -> Tensor:
        y, noise, where = measurement.measured(data), measurement.noise(data), measurement.where(data)
        assert noise is not None
        deviation = noise.deviation(y)
        step = self.step * torch.where(deviation == 0, 1, deviation)
        count = _numbers(measurement, data)
        probe = draws.normal(y) if isinstance(noise, Gaussian) else draws.signs(y)
        probe = probe if where is None else where * probe
        image = measurement.image(estimate, data)
        moved = measurement.image(run(measurement.replaced(data, y + step * probe)), data)
        if isinstance(noise, Gaussian):
            expected = _flat(deviation.square())
            slope = _product(probe / step, moved - image) * expected
        else:
            expected = noise.gain * tree.rows(y).sum(1) / count
            slope = noise.gain * _product(probe * y / step, moved - image)
        return ((_squares(image - y) + 2 * self.weight * slope) / count - expected).mean()


def _flat(deviation: Tensor) -> Tensor:
    return deviation.flatten(1)[:, 0] if deviation.ndim else deviation


@dataclass(frozen=True)
class Recorrupted:
    """|A x' - y_2|^2 / m, x' the estimate from y_1, y_1 and y_2 two independent noisy data made of y = (1 - a) y_1 + a
    y_2.

    Gaussian noise: y_1 = y + sqrt(a / (1 - a)) e, e of the noise's strength (Pang, Zheng, Quan and Ji 2021,
    doi:10.1109/CVPR46437.2021.00208). Poisson noise of gain g: y_1 = (y - g w) / (1 - a), w binomial of y / g trials
    with chance a (Monroy, Bacca and Tachella 2025, arXiv:2412.04648). In expectation the supervised loss on A x, plus a
    constant, of a network whose data have 1 / (1 - a) times the variance of noise.

    Attributes:
        part: a.
    """

    part: float = 0.15

    def __post_init__(self) -> None:
        check_range(self.part, "part", 0.0, 1.0, above=True, below=True)

    def check(self, measurement: Measurement) -> None:
        """As of ``SURE``."""
        SURE().check(measurement)

    def show(self, data: Any, measurement: Measurement, draws: Draws) -> tuple[Any, Any]:
        """Data with y_1, and with y_2."""
        y, noise, where = measurement.measured(data), measurement.noise(data), measurement.where(data)
        a = self.part
        if isinstance(noise, Poisson):
            counts = (y / noise.gain).round().clamp_min(0)
            first = (y - noise.gain * draws.binomial(counts, a)) / (1 - a)
        else:
            assert noise is not None
            more = noise.deviation(y) * draws.normal(y)
            first = y + (a / (1 - a)) ** 0.5 * (more if where is None else where * more)
        second = (y - (1 - a) * first) / a
        return measurement.replaced(data, first), measurement.replaced(data, second)

    def __call__(self, estimate: Tensor, target: Any, measurement: Measurement, kept: Any) -> Tensor:
        return _misfit(measurement, estimate, kept, relative=False)


@dataclass(frozen=True)
class Neighbours:
    """|f(s_1 y) - s_2 y|^2 / n + w |f(s_1 y) - s_2 y - (s_1 f(y) - s_2 f(y))|^2 / n: of each 2 x 2 pixels two
    neighbours, drawn at random, make two images of half the size, and f(y) has no gradient.

    Neighbor2Neighbor, Huang, Li, Jia, Lu and Liu 2021, arXiv:2101.02824. For images with noise of zero
    mean that is independent from pixel to pixel, of any kind and strength.

    Attributes:
        weight: w.
    """

    weight: float = 2.0

    def check(self, measurement: Measurement) -> None:
        """Refuses what is no noisy image.

        Raises:
            ValueError: the data are no image of the signal.
        """
        if not (measurement.invertible and measurement.noisy):
            raise ValueError("its data are no noisy images, of which neighbouring pixels could tell on each other")

    def show(self, data: Any, measurement: Measurement, draws: Draws) -> tuple[Any, tuple[Tensor, Tensor]]:
        """One image of half the size; which pixels make the two."""
        y = measurement.measured(data)
        height, width = y.shape[-2:]
        if min(height, width) < 4:
            raise ValueError(f"images of half the size need 4 x 4 pixels at least; got {height} x {width}")
        which = draws.integers(len(PAIRS), (y.shape[0], height // 2, width // 2))
        first, second = (torch.tensor(PAIRS)[which][..., k].to(y.device) for k in (0, 1))
        return measurement.replaced(data, pixels_of_blocks(y, first)), (first, second)

    def __call__(
        self,
        estimate: Tensor,
        target: Any,
        data: Any,
        run: Callable[[Any], Tensor],
        measurement: Measurement,
        kept: tuple[Tensor, Tensor],
    ) -> Tensor:
        first, second = kept
        with torch.no_grad():
            whole = run(data)
            change = pixels_of_blocks(whole, first) - pixels_of_blocks(whole, second)
        error = estimate - pixels_of_blocks(measurement.measured(data), second)
        return (_squares(error) + self.weight * _squares(error - change)).mean() / error.shape[1:].numel()


def pixels_of_blocks(x: Tensor, which: Tensor) -> Tensor:
    """One pixel of each 2 x 2 of images (batch, ..., height, width), an odd last row or column left out.

    Args:
        x: the images.
        which: (batch, height / 2, width / 2): 0 and 1 in the upper row, 2 and 3 in the lower one.
    """
    rows, columns = which.shape[-2:]
    blocks = x[..., : 2 * rows, : 2 * columns].unflatten(-1, (columns, 2)).unflatten(-3, (rows, 2))
    flat = blocks.transpose(-3, -2).flatten(-2)  # (batch, ..., rows, columns, 4)
    index = which.reshape(which.shape[0], *(1,) * (x.ndim - 3), rows, columns, 1).expand(*flat.shape[:-1], 1)
    return flat.gather(-1, index).squeeze(-1)


class Sum:
    """sum_i w_i loss_i of one estimate.

    Args:
        terms: (weight, loss); at most one of them with ``show``.

    Raises:
        ValueError: no term, or two that show the network different data.
    """

    def __init__(self, *terms: tuple[float, Loss]) -> None:
        showing = [loss for _, loss in terms if hasattr(loss, "show")]
        if not terms or len(showing) > 1:
            raise ValueError(
                "Sum needs a term" if not terms else f"{showing[0]} and {showing[1]} show the network different data"
            )
        self.terms = terms
        self.asks = tuple(dict.fromkeys(name for _, loss in terms for name in asked(loss)))
        if showing:
            self.show = showing[0].show  # pyright: ignore[reportFunctionMemberAccess]

    def check(self, measurement: Measurement) -> None:
        """What each term refuses."""
        for _, loss in self.terms:
            if hasattr(loss, "check"):
                loss.check(measurement)  # pyright: ignore[reportFunctionMemberAccess]

    def __call__(self, estimate: Any, target: Any, **more: Any) -> Tensor:
        values = [
            weight * loss(estimate, target, **{name: more[name] for name in asked(loss)}) for weight, loss in self.terms
        ]
        return torch.stack(values).sum()

    def __repr__(self) -> str:
        return " + ".join(f"{weight:g} {loss!r}" for weight, loss in self.terms)
