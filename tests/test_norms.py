"""The spectral norm of an operator: certain, whatever its singular values and its scale."""

import pytest
import torch

from unrolling.operators import STFT, CircularConvolution, LinearOperator, Matrix
from unrolling.testing import check_operator

TYPES = (torch.float64, torch.float32, torch.complex64, torch.complex128)
SPECTRA = {
    "random": None,
    "a millionth apart": lambda k: 1 - 1e-6 * torch.arange(k),
    "repeated": lambda k: torch.cat([torch.ones(k // 2 + 1), torch.linspace(0, 0.9, k)])[:k],
    "one above many": lambda k: torch.cat([torch.tensor([1 + 1e-5]), 1 - 1e-3 * torch.rand(k)])[:k],
    "falling": lambda k: 0.99 ** torch.arange(k),
}


@pytest.mark.parametrize("first", [0, *(pytest.param(k, marks=pytest.mark.nightly) for k in range(20, 100, 20))])
@pytest.mark.parametrize("kind", SPECTRA)
def test_the_norm_of_500_operators_is_right_to_a_millionth(kind, first):
    torch.manual_seed(1 + first)
    for number in range(first, first + 20):
        m, n = (int(size) for size in torch.randint(1, 120, (2,)))
        A = torch.randn(m, n, dtype=TYPES[number % 4])
        if SPECTRA[kind] is not None:
            U, S, V = torch.linalg.svd(A, full_matrices=False)
            A = (U * SPECTRA[kind](len(S)).to(S)) @ V
        A = A * (1e-25 if number % 7 == 0 else 1e25 if number % 7 == 1 else 1.0)
        exact = float(torch.linalg.svdvals(A.to(torch.promote_types(A.dtype, torch.float64)))[0])
        assert Matrix(A).norm() == pytest.approx(exact, rel=1e-6), (kind, number, m, n, A.dtype)


def test_the_norm_of_images_is_found_where_power_iteration_takes_thousands_of_products():
    # A kernel of ones has its norm, one, at frequency zero; the next frequencies are a thousandth below it.
    operator = CircularConvolution(torch.ones(5, 5) / 25)
    assert operator.norm(shape=(64, 64), max_iterations=1000) == pytest.approx(1, rel=1e-6)


class HalfSpectrum(LinearOperator):
    """The orthonormal Fourier transform of n real numbers, one half of it."""

    def __init__(self, n):
        super().__init__((n,), (n // 2 + 1,))
        self.n = n

    def forward(self, x):
        return torch.fft.rfft(x, norm="ortho")

    def adjoint(self, y):
        return torch.fft.ifft(torch.nn.functional.pad(y, (0, self.n - y.shape[-1])), norm="ortho").real


class Mistaken(HalfSpectrum):
    def adjoint(self, y):  # the inverse, which is another map
        return torch.fft.irfft(y, n=self.n, norm="ortho")


@pytest.mark.parametrize(
    ("operator", "dtype"),
    [
        (HalfSpectrum(9), torch.float32),
        (HalfSpectrum(8), torch.float64),
        (HalfSpectrum(8).H, torch.complex128),
        (STFT(16, 4, length=40), torch.float32),
        (STFT(16, 4, length=40).H, torch.complex64),
    ],
    ids=["9", "8", "back", "stft", "stft back"],
)
def test_operators_between_real_and_complex_vectors_are_checked(operator, dtype):
    check_operator(operator, dtype=dtype)


def test_an_inverse_taken_for_the_adjoint_of_a_half_spectrum_is_found():
    with pytest.raises(AssertionError, match="`adjoint` is not the adjoint"):
        check_operator(Mistaken(9))


def test_the_norms_of_an_operator_between_real_and_complex_vectors_and_of_its_adjoint_agree():
    assert STFT(64, 16, length=400).norm() == pytest.approx(STFT(64, 16, length=400).H.norm(), rel=1e-6)
