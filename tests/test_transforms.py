"""Fourier transforms, and every operator made of them, take an empty batch."""

import pytest
import torch
from iterations import gaussian

from unrolling.operators import transforms
from unrolling.operators.blocks import ScrambledHadamard
from unrolling.operators.convolution import CircularConvolution
from unrolling.operators.dct import DCT
from unrolling.operators.fourier import MaskedFourier, MultiCoilFourier
from unrolling.operators.half_spectrum import irfft2, rfft2
from unrolling.operators.stft import STFT

MASK = torch.ones(6, 8, dtype=torch.float64)
MAPS = torch.complex(gaussian(3, 6, 8), gaussian(3, 6, 8, seed=1))
COMPLEX = torch.complex128

OPERATORS = {
    "masked Fourier": (lambda: MaskedFourier(MASK), (6, 8), COMPLEX),
    "coils": (lambda: MultiCoilFourier(MASK, MAPS), (6, 8), COMPLEX),
    "convolution": (lambda: CircularConvolution(gaussian(3, 3)), (6, 8), torch.float64),
    "complex convolution": (lambda: CircularConvolution(gaussian(3, 3)), (6, 8), COMPLEX),
    "STFT": (lambda: STFT(8, 4, length=21).double(), (21,), torch.float64),
    "DCT": (lambda: DCT(), (6, 8), torch.float64),
    "Hadamard": (lambda: ScrambledHadamard(8, 8, 20).double(), (8, 8), torch.float64),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_empty_batch_through_an_operator_there_and_back(name):
    make, shape, dtype = OPERATORS[name]
    operator = make()
    x = torch.zeros(0, *shape, dtype=dtype, requires_grad=True)
    y = operator(x)
    wanted = operator(torch.zeros(1, *shape, dtype=dtype))
    assert y.shape == (0, *wanted.shape[1:])
    assert y.dtype == wanted.dtype
    back = operator.adjoint(y)
    assert back.shape == x.shape
    again = operator.inverse(y) if name == "STFT" else operator.solve_normal(x, 0.5)
    assert again.shape == x.shape
    back.abs().sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "fft2", "ifft2", "rfft2"])
def test_transforms_are_those_of_torch(name):
    for x in (gaussian(2, 5, 6), gaussian(0, 5, 6)):
        got = getattr(transforms, name)(x)
        reference = getattr(torch.fft, name)(gaussian(1, 5, 6))
        assert got.shape == (len(x), *reference.shape[1:])
        assert got.dtype == reference.dtype
    assert torch.equal(getattr(transforms, name)(gaussian(2, 5, 6)), getattr(torch.fft, name)(gaussian(2, 5, 6)))


@pytest.mark.parametrize("size", [(5, 6), (6, 7)])
def test_half_spectra_of_nothing_and_their_gradients(size):
    x = torch.zeros(0, 3, *size, dtype=torch.float64, requires_grad=True)
    back = irfft2(rfft2(x), size)
    assert back.shape == x.shape
    assert back.dtype == x.dtype
    assert torch.autograd.grad(back.sum(), x)[0].shape == x.shape


def test_a_parameter_gets_a_gradient_of_zero_from_an_empty_batch():
    kernel = torch.nn.Parameter(gaussian(3, 3))
    operator = CircularConvolution(kernel)
    operator(torch.zeros(0, 6, 8, dtype=torch.float64)).sum().backward()
    gradients = [p.grad for p in operator.parameters()]
    assert all(g is not None and not bool(g.any()) for g in gradients)
