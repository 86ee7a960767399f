"""The short-time Fourier transform of real signals, with its adjoint and its exact inverse."""

from __future__ import annotations

from math import pi
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.core.arguments import check_count, check_numbers, check_range, keep
from unrolling.core.execution import transformed
from unrolling.core.scale import power_of_two
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator


def sqrt_hann(size: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, " size"]:
    """sin(pi n / N), the square root of the periodic Hann window: its squares, shifted by N/2, N/4, ..., add up to a
    constant.
    """
    check_count(size, "size")
    return torch.sin(pi * torch.arange(size, dtype=torch.float64) / size).to(dtype)


class STFT(LinearOperator):
    """X[f, t] = sum_n w[n] x[n + t hop - (N - hop)] exp(-2 pi i f n / N), f = 0 ... N/2: (batch, samples) real ->
    (batch, N/2 + 1, frames) complex.

    The signal is zero outside, and frames lie wherever they see any of it, frames = ceil(samples / hop) + N / hop - 1,
    so that every sample is seen by as many frames. ``inverse`` is the least-squares one of Griffin and Lim 1984
    (doi:10.1109/TASSP.1984.1164317), x[n] = sum_t w y_t / sum_t w^2, and inverse(STFT x) = x exactly, for every window
    whose squares cover the signal.

    Spectra are complex and signals real: the operator is linear over the real numbers, and its ``adjoint`` is that of
    the inner product Re <X, Y>, one-sided as the spectrum is. With two-sided weights (``energy``), sum |X|^2 = N c
    |x|^2 where the squares of the shifted windows add up to c everywhere.

    Args:
        size: N, samples in a frame; even.
        hop: samples between two frames; divides N.
        window: (N,); the square root of the periodic Hann window by default.
        length: samples of the signals; needed for adjoint and inverse of signals that are not a multiple of the hop,
            unless they are told.

    Raises:
        ValueError: an odd size, a hop that does not divide it, a window of another length or whose shifted squares
            leave gaps.
    """

    window: Tensor

    def __init__(self, size: int, hop: int, *, window: Tensor | None = None, length: int | None = None) -> None:
        if size < 2 or size % 2:
            raise ValueError(f"size is {size}; a frame has an even number of samples, at least 2")
        if hop < 1 or size % hop:
            raise ValueError(f"hop is {hop}; it must divide the frame's {size} samples")
        if length is not None and length < 1:
            raise ValueError(f"length is {length}; a signal has at least one sample")
        window = sqrt_hann(size) if window is None else window
        if window.shape != (size,):
            raise ValueError(
                f"the window has shape {tuple(window.shape)}; it must be ({size},), one value per sample of a frame"
            )
        self.size, self.hop, self.length, self.overlap = size, hop, length, size // hop
        super().__init__((length,), (size // 2 + 1, None if length is None else self.frames(length)))
        keep(self, "window", window)
        coverage = self._coverage()
        if not bool((coverage > 1e-8 * coverage.max()).all()):
            raise ValueError(
                f"the squares of this window, shifted by {hop}, leave samples that no frame sees: use a shorter hop"
            )

    def check_input(self, x: Tensor, name: str = "x") -> None:
        check_numbers(x, name, "STFT", real=True)
        super().check_input(x, name)

    def _coverage(self) -> Float[Tensor, " hop"]:
        """sum_t w[n - t hop]^2, which repeats from hop to hop up to the signal's ends, since all frames that see a
        sample are there.
        """
        return self.window.square().reshape(self.overlap, self.hop).sum(0)

    @property
    def bins(self) -> int:
        """Frequencies of the one-sided spectrum, N/2 + 1."""
        return self.size // 2 + 1

    def frames(self, samples: int) -> int:
        """Frames of a signal."""
        return -(-samples // self.hop) + self.overlap - 1

    def samples(self, frames: int) -> int:
        """Samples of the longest signal with so many frames."""
        return self.hop * (frames - self.overlap + 1)

    def forward(self, x: Float[Tensor, "batch samples"]) -> Complex[Tensor, "batch bins frames"]:
        """The spectra of all frames."""
        return transforms.rfft(self._cut(x) * self.window).mT

    def adjoint(
        self, y: Complex[Tensor, "batch bins frames"], length: int | None = None
    ) -> Float[Tensor, "batch samples"]:
        """sum_t w Re(F^H y_t), each frame in its place."""
        # irfft counts every frequency but the first and the last twice, and divides by N.
        weights = torch.full((self.bins, 1), self.size / 2, dtype=self.window.dtype, device=self.window.device)
        weights[0], weights[-1] = self.size, self.size
        return self._add(transforms.irfft((y * weights).mT, n=self.size) * self.window, length)

    def inverse(
        self, y: Complex[Tensor, "batch bins frames"], length: int | None = None
    ) -> Float[Tensor, "batch samples"]:
        """The signal whose spectra are nearest to y, two-sided, in the least-squares sense.

        Args:
            y: spectra of any origin.
            length: samples; by default ``self.length``, else those of the longest signal with so many frames.
        """
        frames = transforms.irfft(y.mT, n=self.size).unflatten(2, (self.overlap, self.hop))
        window = self.window.reshape(self.overlap, self.hop) / self._coverage()
        return self._add((frames * window).flatten(2), length)

    def energy(self, y: Complex[Tensor, "batch bins frames"]) -> Float[Tensor, " batch"]:
        """sum |y|^2 over all frames and both sides of the spectrum, (batch,)."""
        square = y.abs().square().sum(2)
        return 2 * square.sum(1) - square[:, 0] - square[:, -1]

    def _cut(self, x: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames, N)."""
        frames = self.frames(x.shape[1])
        before = self.size - self.hop
        padded = torch.nn.functional.pad(x, (before, (frames - 1) * self.hop + self.size - before - x.shape[1]))
        return (_cut if transformed() else _Cut.apply)(padded, self.overlap, self.hop)  # pyright: ignore

    def _add(self, frames: Tensor, length: int | None) -> Tensor:
        """(batch, frames, N) -> (batch, samples), overlapping parts added: the adjoint of ``_cut``."""
        count = frames.shape[1]
        length = self.length if length is None else length
        longest = self.samples(count)
        length = longest if length is None else length
        if not longest - self.hop < length <= longest:
            raise ValueError(
                f"{count} frames belong to signals of {longest - self.hop + 1} to {longest} samples, and "
                f"{length} were asked for"
            )
        before = self.size - self.hop
        add = _add if transformed() else _Add.apply
        return add(frames, self.overlap, self.hop)[:, before : before + length]  # pyright: ignore

    def extra_repr(self) -> str:
        return f"size={self.size}, hop={self.hop}, length={self.length}"


class _Cut(torch.autograd.Function):
    """(batch, (frames + overlap - 1) hop) -> (batch, frames, overlap hop): a frame is a run of whole hops."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, overlap: int, hop: int) -> Tensor:
        ctx.overlap, ctx.hop = overlap, hop
        return _cut(signal, overlap, hop)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        # The adjoint is the other map; automatic differentiation of the slices would fill a whole tensor for each of
        # them.
        return _Add.apply(grad, ctx.overlap, ctx.hop), None, None  # pyright: ignore[reportReturnType]


class _Add(torch.autograd.Function):
    """The adjoint of ``_Cut``: frames added where they overlap."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, overlap: int, hop: int) -> Tensor:
        ctx.overlap, ctx.hop = overlap, hop
        return _add(frames, overlap, hop)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        return _Cut.apply(grad, ctx.overlap, ctx.hop), None, None  # pyright: ignore[reportReturnType]


def _cut(signal: Tensor, overlap: int, hop: int) -> Tensor:
    cells = signal.unflatten(1, (-1, hop))
    frames = cells.shape[1] - overlap + 1
    return torch.cat([cells[:, k : k + frames] for k in range(overlap)], dim=2)


def _add(frames: Tensor, overlap: int, hop: int) -> Tensor:
    parts = frames.unflatten(2, (overlap, hop))
    total = frames.new_zeros(frames.shape[0], frames.shape[1] + overlap - 1, hop)
    for k in range(overlap):
        total[:, k : k + frames.shape[1]] += parts[:, :, k]
    return total.flatten(1)


class RealOutputs(LinearOperator):
    """An operator with complex outputs as one with real ones: (..., 2), real and imaginary parts; linear algebra over
    the real numbers applies to it.

    Args:
        operator: from real or complex inputs to complex outputs, with the adjoint of Re <., .>.
    """

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.input_shape, (*operator.output_shape, 2))
        self.operator = operator

    def forward(self, x: Tensor) -> Float[Tensor, "batch ... 2"]:
        return torch.view_as_real(self.operator(x).resolve_conj())

    def adjoint(self, y: Float[Tensor, "batch ... 2"]) -> Tensor:
        return self.operator.adjoint(torch.view_as_complex(y.contiguous()))


def with_phase(magnitude: Tensor, spectrum: Tensor, floor: Tensor | float) -> Tensor:
    """A S / max(|S|, floor): magnitudes A with the phase of S, 0 where S is; no angle is taken, whose derivative is
    1/|S|.

    Args:
        magnitude: A, real.
        spectrum: S, complex, of the shape of A or one that broadcasts to it.
        floor: smallest modulus that is divided by; positive, relative to the level of the signal.
    """
    check_range(floor, "floor", 0.0, above=True)
    # Pairs of real numbers: complex products would turn A into a complex tensor first, and the derivative of abs at 0
    # is not there.
    # In units of the floor, as far as a power of two comes near it, so that no square leaves the precision.
    floor = torch.as_tensor(floor, dtype=spectrum.real.dtype, device=spectrum.device)
    unit = power_of_two(floor)
    real, imaginary = (torch.view_as_real(spectrum.resolve_conj()) / unit.unsqueeze(-1)).unbind(-1)
    floor = floor / unit
    scale = magnitude * torch.rsqrt(torch.maximum(real * real + imaginary * imaginary, floor * floor))
    return torch.complex(scale * real, scale * imaginary)


def masked(mask: Tensor, spectrum: Tensor) -> Tensor:
    """m S of a real mask and a complex spectrum, which broadcast."""
    real, imaginary = torch.view_as_real(spectrum.resolve_conj()).unbind(-1)
    return torch.complex(mask * real, mask * imaginary)
