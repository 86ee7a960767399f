"""Denoisers in the place of proxes: prox_{t g} removes white noise of variance t, and so does a network.

Venkatakrishnan, Bouman and Wohlberg 2013, doi:10.1109/GlobalSIP.2013.6737048.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_numbers, check_range
from unrolling.core.refusals import explain_call
from unrolling.prox.denoisers import Denoised, deviation_from
from unrolling.prox.divergence import average_derivative

Told = bool | Callable[[Tensor, Tensor], Any]


@explain_call
class DenoiserProx(nn.Module):
    """prox(z, t) = D(z, sigma), sigma = sqrt(t): a denoiser with its level of noise as a prox with its threshold.

    The prox of t g is the estimate of largest posterior probability of an image with the prior exp(-g) in white noise
    of variance t; plug-and-play methods put any denoiser of that variance in its place. Any iteration with a prox takes
    it: a threshold of t = step size x weight means noise of sqrt(t).

    Denoisers are called in one of three ways: told the level (``told``), as they are (``sigma``, the level that they
    were trained for, whatever the threshold), or scaled (``trained_at``): (sigma / s) D((s / sigma) z), s that level,
    which turns a denoiser of one level into one of all and keeps the Lipschitz constant of D(z) - z (Xu, Sun, Liu,
    Wohlberg and Kamilov 2020, arXiv:2002.11546).

    A denoiser that is told the level and was trained up to ``most`` is scaled beyond: c D(z / c, most), c = sigma /
    most.

    Of complex images, with ``parts``, the real and the imaginary part are denoised, each with noise of sigma. It has no
    known penalty, so that iterations with it have no ``objective``.

    Parameters: those of ``denoiser``.

    Args:
        denoiser: D, images (batch, ...) to the same; a module is learned where an iteration's is.
        sigma: its fixed level, in the units of the images; it is then told this one, if it is told any.
        told: whether D takes the level, (batch,), as a second argument; or a function of image and level that gives
            what it takes, such as ``NoisyImage`` for networks of imaging/denoise.
        trained_at: s, the one level that D was trained for.
        most: the highest level that D, which is told it, was trained for.
        parts: whether images may be complex.

    Raises:
        TypeError: when run, complex images without ``parts``.
        ValueError: nothing said of the level; a level that is not positive; both ``sigma`` and ``trained_at``; ``most``
            without ``told``; when run, a denoiser that changes the shape, no threshold where one is needed, or one that
            is not one number or one for each sample.
    """

    penalty = None  # of which nobody knows a formula

    def __init__(
        self,
        denoiser: Callable[..., Tensor],
        *,
        sigma: float | None = None,
        told: Told = False,
        trained_at: float | None = None,
        most: float | None = None,
        parts: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("sigma", sigma), ("trained_at", trained_at), ("most", most)):
            if value is not None:
                check_range(value, name, 0.0, float("inf"), above=True, below=True)
        if told is False and sigma is None and trained_at is None:
            raise ValueError(
                "a denoiser that is not told the noise has one level: give sigma= (it is used as it is), trained_at= "
                "(it is scaled to others), or told=True if it takes the level as a second argument"
            )
        if trained_at is not None and (sigma is not None or told is not False):
            raise ValueError("trained_at scales a denoiser of one level; it goes with neither sigma nor told")
        if most is not None and told is False:
            raise ValueError("most is the highest level that the denoiser is told; it goes with told")
        self.denoiser, self.sigma, self.told, self.trained_at = denoiser, sigma, told, trained_at
        self.most = most
        self.parts = bool(parts)

    def forward(self, z: Tensor, threshold: Tensor | float | None = None) -> Tensor:
        """The denoised images.

        Args:
            z: (batch, ...), real or complex.
            threshold: t >= 0, the variance of the noise: a number, or one for each sample, (batch,) or (batch, 1, ...).
                Not needed where ``sigma`` is fixed.
        """
        check_numbers(z, "z", "DenoiserProx")
        if z.is_complex():
            if not self.parts:
                raise TypeError(
                    f"z is {z.dtype}, and a denoiser takes real images (batch, ...): parts=True denoises real and "
                    "imaginary part"
                )
            real, imaginary = (self._denoised(part, threshold) for part in (z.real, z.imag))
            return torch.complex(real.contiguous(), imaginary.contiguous())
        return self._denoised(z, threshold)

    def level(self, z: Tensor, threshold: Tensor | float | None = None) -> Tensor:
        """sigma of each sample, (batch,)."""
        if self.sigma is not None:
            return z.real.new_full((z.shape[0],), self.sigma)
        if threshold is None:
            raise ValueError("threshold is None, and the denoiser has no fixed sigma: its level is sqrt(threshold)")
        variance = torch.as_tensor(threshold, dtype=z.real.dtype, device=z.device)
        if variance.numel() != 1 and variance.shape != (z.shape[0], *[1] * (variance.ndim - 1)):
            raise ValueError(
                f"threshold is one number, or one for each of {z.shape[0]} samples: a denoiser has one level for an "
                f"image; got {tuple(variance.shape)}"
            )
        # The root has no slope at zero.
        return variance.reshape(-1).clamp_min(torch.finfo(variance.dtype).tiny).sqrt().expand(z.shape[0])

    def _denoised(self, z: Tensor, threshold: Tensor | float | None) -> Tensor:
        if self.trained_at is not None:
            factor = self.level(z, threshold).reshape(-1, *[1] * (z.ndim - 1)) / self.trained_at
            found = factor * self.denoiser(z / factor)
        elif self.told is False:
            found = self.denoiser(z)
        else:
            found = self._told(z, self.level(z, threshold))
        if not isinstance(found, Tensor) or found.shape != z.shape:
            raise ValueError(
                f"the denoiser made {tuple(getattr(found, 'shape', ()))} of images {tuple(z.shape)}; it has to give "
                "images of the same shape"
            )
        return found

    def _told(self, z: Tensor, level: Tensor) -> Tensor:
        if self.most is not None:
            factor = (level / self.most).clamp_min(1)
            scale = factor.reshape(-1, *[1] * (z.ndim - 1))
            return scale * self._call(z / scale, level / factor)
        return self._call(z, level)

    def _call(self, z: Tensor, level: Tensor) -> Tensor:
        return self.denoiser(z, level) if self.told is True else self.denoiser(self.told(z, level))  # pyright: ignore

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}, told={self.told}, trained_at={self.trained_at}"


@explain_call
class Averaged(nn.Module):
    """(1 - theta) x + theta N(x): theta-averaged where N is non-expansive, and firmly non-expansive, as the proxes of
    convex functions are, for theta <= 1/2.

    Parameters: those of ``network``.

    Args:
        network: N, images to images; a chain with ``normalise_convolutions`` is non-expansive.
        weight: theta, in (0, 1].
    """

    def __init__(self, network: Callable[[Tensor], Tensor], weight: float = 0.5) -> None:
        super().__init__()
        check_range(weight, "weight", 0.0, 1.0, above=True)
        self.network, self.weight = network, float(weight)

    def forward(self, x: Tensor) -> Tensor:
        """The mean of an image and what the network makes of it."""
        return (1 - self.weight) * x + self.weight * self.network(x)


@explain_call
class GradientStep(nn.Module):
    """D(x) = x - grad g(x) with the potential g(x) = 0.5 |x - N(x)|^2, so that x - D(x) is a gradient:
    D(x) = N(x) + J_N(x)^T (x - N(x)).

    Hurault, Leclaire and Papadakis 2022, arXiv:2110.03220; Cohen, Blau, Freedman and Rivlin 2021, arXiv:2110.04143.
    ``PotentialDescent`` minimises g together with a data term. N should have a continuous derivative, as networks with
    ``Softplus`` or ``ELU`` have, for g to be smooth; rectifiers leave kinks.

    Parameters: those of ``network``.

    Args:
        network: N, images to images of the same shape.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network

    def potential(self, x: Tensor) -> Tensor:
        """g(x), (batch,)."""
        return 0.5 * (x - self.network(x)).square().flatten(1).sum(1)

    def gradient(self, x: Tensor) -> Tensor:
        """grad g(x)."""
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if recorded and x.requires_grad else x.detach().requires_grad_()
            value = self.potential(point).sum()
            (found,) = torch.autograd.grad(value, point, create_graph=recorded)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """x less the gradient of the potential."""
        check_numbers(x, "x", "GradientStep", real=True)
        return x - self.gradient(x)


@explain_call
class MonteCarloDenoiser(nn.Module):
    """An image denoiser for message passing: D(r, tau) with its average derivative (1 / n) div D(r), estimated as
    (1 / (e n)) h^T (D(r + e h) - D(r)), h standard normal, e = max(max |r|, tau) / 1000.

    Ramani, Blu and Unser 2008, doi:10.1109/TIP.2008.2001404; in AMP Metzler, Maleki and Baraniuk 2016 (D-AMP),
    doi:10.1109/TIT.2016.2556683. h is drawn once from a seed, and the same for all calls, so that the forward pass is a
    function. The gradient takes the derivative for a constant.

    Parameters: those of ``prox``.

    Args:
        prox: D, a ``DenoiserProx`` or any prox(z, threshold) of images; it is called with the variance tau^2.
        shape: (height, width), or (channels, height, width), of the images that vectors of n entries are.
        probes: h that are averaged over.
        seed: of the probes.

    Raises:
        ValueError: fewer than one probe; when run, vectors of another length.
    """

    probe: Tensor

    def __init__(self, prox: Callable[..., Tensor], shape: tuple[int, ...], *, probes: int = 1, seed: int = 0) -> None:
        super().__init__()
        check_count(probes, "probes")
        check_count(seed, "seed", 0)
        self.prox, self.shape = prox, tuple(shape)
        drawn = torch.randn(probes, *self.shape, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("probe", drawn)

    def forward(self, r: Tensor, variance: Tensor | None = None, *, deviation: Tensor | None = None) -> Denoised:
        """r (batch, ..., n), variance tau^2 or deviation tau (batch, ..., 1)."""
        tau = deviation_from(r, variance, deviation)
        if r.shape[-1] != self.probe[0].numel():
            raise ValueError(f"r has {r.shape[-1]} entries, and images of {self.shape} have {self.probe[0].numel()}")
        images, t = r.reshape(-1, *self.shape), tau.square().reshape(-1)
        found = self.prox(images, t)
        derivative = average_derivative(
            lambda moved: self.prox(moved, t.detach()), images, found, self.probe, t.detach().sqrt()
        )
        return Denoised(found.reshape(r.shape), derivative.reshape(tau.shape))
