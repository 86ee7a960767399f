"""The short-time Fourier transform: against torch's and by its definition, its adjoint, its inverse, its energy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling.operators.stft import STFT, RealOutputs, sqrt_hann, with_phase
from unrolling.testing import check_operator

# (size, hop) with the default window, whose squares cover everything for these.
SIZES = st.sampled_from([(2, 1), (4, 2), (6, 2), (8, 2), (8, 4), (12, 3)])


def transform(size, hop, **options):
    """In double precision, the window too."""
    return STFT(size, hop, **{"window": sqrt_hann(size, torch.float64), **options})


@given(SIZES, st.integers(1, 40), st.integers(1, 3), st.integers(0, 99))
def test_it_passes_every_check_of_an_operator(sizes, samples, batch, seed):
    check_operator(RealOutputs(transform(*sizes, length=samples)), batch=batch)


@given(SIZES, st.integers(1, 60), st.integers(0, 99))
def test_the_inverse_gives_the_signal_back(sizes, samples, seed):
    stft, x = transform(*sizes), gaussian(2, samples, seed=seed)
    assert (stft.inverse(stft(x), samples) - x).abs().max() < 1e-14 * max(1, x.abs().max()) * 10


def test_a_second_of_sound_comes_back_to_rounding():
    x = gaussian(1, 8000)
    stft = transform(256, 64, length=8000)
    assert (stft.inverse(stft(x)) - x).abs().max() < 5e-15


@given(SIZES, st.integers(1, 30), st.integers(0, 99))
def test_it_is_the_sum_of_its_definition(sizes, samples, seed):
    size, hop = sizes
    stft, x = transform(size, hop), gaussian(1, samples, seed=seed)
    found = stft(x)[0]
    window = torch.sin(math.pi * torch.arange(size, dtype=torch.float64) / size)
    for t in range(found.shape[1]):
        for f in range(size // 2 + 1):
            total = 0j
            for n in range(size):
                at = n + t * hop - (size - hop)
                if 0 <= at < samples:
                    total += float(window[n] * x[0, at]) * complex(
                        math.cos(2 * math.pi * f * n / size), -math.sin(2 * math.pi * f * n / size)
                    )
            assert abs(complex(found[f, t]) - total) < 1e-12
    # Every sample is in as many frames as hops fit in a frame: no frame before the first or after the last sees any of
    # it.
    assert (found.shape[1] - 1) * hop - (size - hop) <= samples - 1 < found.shape[1] * hop - (size - hop)


def test_with_padding_it_is_torchs():
    x, stft = gaussian(3, 1001), transform(256, 64)
    padded = torch.nn.functional.pad(x, (192, 256))
    theirs = torch.stft(padded, 256, 64, window=stft.window, center=False, return_complex=True)
    torch.testing.assert_close(stft(x), theirs[..., : stft.frames(1001)], rtol=0, atol=1e-13)


@pytest.mark.parametrize("hop", [2, 4, 8])
def test_the_square_root_of_hann_is_a_tight_frame(hop):
    """sum |X|^2 = N c |x|^2 with c = sum_k w[n + k hop]^2 = N / (2 hop)."""
    stft, x = transform(16, hop), gaussian(4, 77)
    torch.testing.assert_close(stft.energy(stft(x)), 16 * (16 / (2 * hop)) * x.square().sum(1))


def test_the_inverse_of_any_spectrum_is_the_nearest_signal():
    """Least squares: the spectrum less that of its inverse is orthogonal to all spectra of signals, two-sided."""
    stft = transform(8, 2, length=13)
    y = torch.complex(gaussian(1, 5, 10), gaussian(1, 5, 10, seed=1))
    y[:, [0, -1]] = y[:, [0, -1]].real + 0j  # as those of real signals are at the ends of the spectrum
    rest = y - stft(stft.inverse(y))
    for n in range(13):
        unit = torch.zeros(1, 13, dtype=torch.float64)
        unit[0, n] = 1
        product = (stft(unit).conj() * rest).real.sum(2)[0]
        assert abs(float(2 * product.sum() - product[0] - product[-1])) < 1e-12


def test_other_windows_are_inverted_as_well():
    x = gaussian(2, 50)
    for window in (torch.ones(8), torch.linspace(0.2, 1, 8)):
        stft = STFT(8, 4, window=window.double())
        assert (stft.inverse(stft(x), 50) - x).abs().max() < 1e-14


def test_moving_a_signal_by_a_hop_moves_its_frames():
    stft, x = transform(8, 2), gaussian(1, 30)
    later = torch.nn.functional.pad(x, (2, 0))
    torch.testing.assert_close(stft(later)[..., 1:], stft(x))
    assert float(stft(later)[..., 0].abs().max()) == 0


def test_the_phase_has_modulus_one_above_its_floor_and_a_finite_gradient_at_zero():
    s = torch.tensor([3 + 4j, 1e-3j, 0j], dtype=torch.complex128, requires_grad=True)
    phase = with_phase(torch.ones(3, dtype=torch.float64), s, 1e-2)
    torch.testing.assert_close(phase.detach(), torch.tensor([0.6 + 0.8j, 0.1j, 0j], dtype=torch.complex128))
    phase.real.sum().backward()
    assert torch.isfinite(torch.view_as_real(s.grad)).all()


def test_single_precision_stays_single():
    stft, x = STFT(16, 4), gaussian(2, 30).float()
    assert stft(x).dtype == torch.complex64
    assert stft.inverse(stft(x), 30).dtype == torch.float32
    assert sqrt_hann(8).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 7, "hop": 1}, "an even number of samples"),
        ({"size": 8, "hop": 3}, "must divide the frame's 8 samples"),
        ({"size": 8, "hop": 0}, "must divide"),
        ({"size": 8, "hop": 8}, "leave samples that no frame sees: use a shorter hop"),
        ({"size": 8, "hop": 4, "window": torch.ones(6)}, r"shape \(6,\); it must be \(8,\)"),
        ({"size": 8, "hop": 4, "length": 0}, "at least one sample"),
    ],
)
def test_what_cannot_be_inverted_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        STFT(**arguments)


def test_a_length_that_the_frames_do_not_have_is_refused():
    stft = transform(8, 2)
    with pytest.raises(ValueError, match="10 frames belong to signals of 13 to 14 samples, and 20 were asked for"):
        stft.inverse(stft(gaussian(1, 14)), 20)
