"""How data come about, y = A x + noise: what losses without truth ask of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import DataTerm
from unrolling.core.arguments import check_range
from unrolling.tasks.draws import Draws
from unrolling.tasks.transformations import Flips, Product, Shifts, Transformations, Turns

CENTRE = 2  # frequencies to either side of zero that a network always sees
NEAR = 4  # entries to either side whose mask tells how much is missing there
LEAST, RAREST = 1e-3, 0.05  # shares of missing and of measured entries below which neither counts less, or more


@dataclass(frozen=True)
class Gaussian:
    """White noise; of complex measurements, on real and imaginary part.

    Attributes:
        sigma: standard deviation, one for all samples or (batch,).
    """

    sigma: float | Tensor

    def deviation(self, y: Tensor) -> Tensor:
        """The standard deviation, in a shape that y is multiplied by."""
        sigma = torch.as_tensor(self.sigma, device=y.device, dtype=y.real.dtype)
        return sigma.reshape(-1, *(1,) * (y.ndim - 1)) if sigma.ndim else sigma

    def sample(self, clean: Tensor, draws: Draws) -> Tensor:
        """Noisy measurements."""
        return clean + self.deviation(clean) * draws.normal(clean)


@dataclass(frozen=True)
class Poisson:
    """Counts times a gain: y = gain z, z Poisson of mean A x / gain.

    Attributes:
        gain: what a count is worth, above 0.
    """

    gain: float

    def __post_init__(self) -> None:
        check_range(self.gain, "gain", 0.0, above=True)

    def deviation(self, y: Tensor) -> Tensor:
        """The standard deviation at the mean of each sample of y, in a shape that y is multiplied by."""
        mean = y.clamp_min(0).flatten(1).mean(1)
        return (self.gain * mean).sqrt().reshape(-1, *(1,) * (y.ndim - 1))

    def sample(self, clean: Tensor, draws: Draws) -> Tensor:
        """Noisy measurements; negative means count as zero, and no gradient goes through the counts."""
        return self.gain * draws.poisson(clean.clamp_min(0) / self.gain)


Noise = Gaussian | Poisson


class Measurement:
    """y = A x + noise for data that are y, or have it in their first field.

    Attributes:
        term: A of the data and its adjoint.
        invertible: whether A is the identity, so that a network sees all that there is to see, and noise alone is what
            it must not copy.
        transformations: what the signals are as likely after as before; None where nothing is known.
        splits: whether ``split`` divides measurements.

    Args:
        term: as above.
        noise: of some data, or what tells it from them; None where there is none, or nobody knows it.
        invertible, transformations: as above.
    """

    splits = False

    def __init__(
        self,
        term: DataTerm,
        noise: Noise | Callable[[Any], Noise] | None = None,
        *,
        invertible: bool = False,
        transformations: Transformations | None = None,
    ) -> None:
        self.term, self._noise, self.invertible = term, noise, invertible
        self.transformations = transformations

    @property
    def noisy(self) -> bool:
        """Whether noise of a known strength is on the measurements."""
        return self._noise is not None

    def noise(self, data: Any) -> Noise | None:
        """Of the measurements of some data."""
        return self._noise(data) if callable(self._noise) else self._noise

    def image(self, x: Tensor, data: Any) -> Tensor:
        """A x, of the shape of the measurements and zero where nothing is measured."""
        return self._term(data).image(x, data)

    def adjoint(self, y: Tensor, data: Any) -> Tensor:
        """A^H y."""
        return self._term(data).adjoint(y, data)

    def measured(self, data: Any) -> Tensor:
        """y (batch, ...)."""
        return data if isinstance(data, Tensor) else data[0]

    def replaced(self, data: Any, y: Tensor) -> Any:
        """The same data with other measurements; what was not measured stays so."""
        return y if isinstance(data, Tensor) else data._replace(**{data._fields[0]: y})

    def where(self, data: Any) -> Tensor | None:
        """1 where something was measured, 0 elsewhere, in a shape that y is multiplied by; None: everywhere."""
        return None

    def sample(self, x: Tensor, data: Any, draws: Draws) -> Any:
        """Data as they would be of the signal x: A x with noise where that is known."""
        clean, noise, where = self.image(x, data), self.noise(data), self.where(data)
        y = clean if noise is None else noise.sample(clean, draws)
        return self.replaced(data, y if where is None else where * y)

    def split(self, data: Any, part: float, draws: Draws, weighted: bool = False) -> tuple[Any, Any]:
        """Two data of the same signal that have no measurement in common, at random: about ``part`` of the
        measurements, and the others.

        Args:
            data: to be divided.
            part: above.
            draws: of what goes where.
            weighted: where measurements are denser in some places than in others, the second's are multiplied by the
                root of how rare they are, so that all places count alike.

        Raises:
            TypeError: the measurements of this task cannot be taken apart.
        """
        raise TypeError("these measurements cannot be split: the network knows its operator as a whole")

    def _term(self, data: Any) -> DataTerm:
        y = self.measured(data)
        buffers = list(self.term.buffers())
        if buffers and (buffers[0].device != y.device or buffers[0].real.dtype != y.real.dtype):
            self.term.to(y.device, y.real.dtype)
        return self.term


PICTURES = Product((Turns(), Flips(), Shifts()))


class SampledMeasurement(Measurement):
    """Of data with a mask, the second field: ``KSpace``, ``CoilData``, pictures with missing pixels.

    Args:
        term, noise: as for ``Measurement``.
        fourier: whether the mask is of frequencies, the lowest of which every network sees.
        paired: whether the signal is real, so that a frequency tells what its opposite holds: both are split alike.
    """

    splits = True

    def __init__(self, term: DataTerm, noise: Any = None, *, fourier: bool = True, paired: bool = False) -> None:
        super().__init__(term, noise, transformations=PICTURES)
        self.fourier, self.paired = fourier, paired

    def where(self, data: Any) -> Tensor:
        mask, y = data[1], self.measured(data)
        return _over((mask != 0).to(mask), y)

    def split(self, data: Any, part: float, draws: Draws, weighted: bool = False) -> tuple[Any, Any]:
        """As of ``Measurement``; a measurement is kept from the first as often as its like are missing in the mask
        around it, so that the first is to the whole what the whole is to all that there is.
        """
        check_range(part, "part", 0.0, 1.0, above=True, below=True)
        y, mask = self.measured(data), data[1].expand(self.measured(data).shape[0], *data[1].shape[1:])
        values, share = draws.uniform(torch.zeros_like(mask)), _share_around(mask)
        chance = _missing(share, mask, 1 - part)
        if self.paired:
            values = (values + _opposite(values)) % 1  # one number for both of a pair, still uniform
            chance = torch.maximum(chance, _opposite(chance))
        seen = values >= chance
        if self.fourier:
            seen = seen | _lowest(mask)
        kept = self._under(data, y, mask * ~seen)
        if weighted:
            weight = (share.mean((-2, -1), keepdim=True) / share.clamp_min(RAREST)).sqrt()
            first, second = data._fields[:2]
            kept = kept._replace(**{first: _over(weight, y) * kept[0], second: weight * kept[1]})
        return self._under(data, y, mask * seen), kept

    def _under(self, data: Any, y: Tensor, mask: Tensor) -> Any:
        known = _over((mask != 0).to(mask), y)
        first, second = data._fields[:2]
        return data._replace(**{first: known * y, second: mask})


def _opposite(x: Tensor) -> Tensor:
    """x(-k), zero frequency at (0, 0)."""
    return x.flip((-2, -1)).roll((1, 1), (-2, -1))


def _over(mask: Tensor, y: Tensor) -> Tensor:
    """A mask (batch, height, width) in a shape that y (batch, ..., height, width) is multiplied by."""
    return mask.reshape(mask.shape[0], *(1,) * (y.ndim - mask.ndim), *mask.shape[1:])


def _share_around(mask: Tensor) -> Tensor:
    """How much was measured in the neighbourhood of each place of a mask (batch, height, width)."""
    known, reach = (mask != 0).to(mask), [min(NEAR, (side - 1) // 2) for side in mask.shape[-2:]]
    wide = torch.nn.functional.pad(known, (reach[1], reach[1], reach[0], reach[0]), mode="circular")
    return torch.nn.functional.avg_pool2d(wide, [2 * r + 1 for r in reach], stride=1)


def _missing(share: Tensor, mask: Tensor, part: float) -> Tensor:
    """In proportion to what is missing around each place, the mean over what was measured being ``part``; the same
    everywhere where nothing is missing.
    """
    known = (mask != 0).to(mask)
    missing = (1 - share).clamp_min(LEAST)
    mean = (missing * known).sum((-2, -1), keepdim=True) / known.sum((-2, -1), keepdim=True).clamp_min(1)
    return (part * missing / mean).clamp_max(1)


def _lowest(mask: Tensor) -> Tensor:
    """Which frequencies of a mask (batch, height, width), or of whole lines, lie around zero, at (0, 0)."""
    near = [
        torch.fft.fftfreq(side, 1 / side, device=mask.device).abs() <= CENTRE * (side > 2 * CENTRE + 1)
        for side in mask.shape[-2:]
    ]
    return near[0].unsqueeze(1) & near[1]


class RowsMeasurement(Measurement):
    """Of data that are ``BlockSamples``: some rows of the matrix are one measurement, the others another."""

    splits = True

    def split(self, data: Any, part: float, draws: Draws, weighted: bool = False) -> tuple[Any, Any]:
        check_range(part, "part", 0.0, 1.0, above=True, below=True)
        rows = data.matrix.shape[1]
        if rows < 2:
            raise ValueError("one measurement of each block cannot be split; it takes two at least")
        count = min(max(1, round(part * rows)), rows - 1)
        # One order for all samples where they share a matrix, which stays shared.
        order = draws.uniform(torch.zeros(data.matrix.shape[0], rows)).argsort(1).to(data.matrix.device)

        def taken(index: Tensor) -> Any:
            matrix = data.matrix.gather(1, index.unsqueeze(-1).expand(-1, -1, data.matrix.shape[-1]))
            batch, height, width, _ = data.samples.shape
            each = index.reshape(index.shape[0], 1, 1, -1).expand(batch, height, width, -1)
            return data._replace(samples=data.samples.gather(-1, each), matrix=matrix)

        return taken(order[:, :count].sort(1).values), taken(order[:, count:].sort(1).values)


class Direct(DataTerm):
    """y = x, of any shape: denoising."""

    def image(self, x: Tensor, data: Any) -> Tensor:
        return x

    def adjoint(self, y: Tensor, data: Any) -> Tensor:
        return y


class RowsOfData(DataTerm):
    """y = A x for data (y, A, ...), A (batch or 1, m, n) belonging to each sample."""

    def image(self, x: Tensor, data: Any) -> Tensor:
        return torch.einsum("...mn,...n->...m", data[1], x)

    def adjoint(self, y: Tensor, data: Any) -> Tensor:
        return torch.einsum("...mn,...m->...n", data[1].conj(), y)


def image_measurement(term: DataTerm, noise: Noise | Callable[[Any], Noise] | None = None) -> Measurement:
    """Of pictures, which are as likely turned, mirrored and shifted."""
    return Measurement(term, noise, transformations=PICTURES)


def denoising_measurement(noise: Noise | Callable[[Any], Noise]) -> Measurement:
    """Of pictures with noise on them."""
    return Measurement(Direct(), noise, invertible=True, transformations=PICTURES)
