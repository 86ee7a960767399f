"""Digital silence: sounds and spectrograms of zeros, in part or whole, give finite values and finite gradients."""

import pytest
import torch

from unrolling import unroll
from unrolling.algorithms import (
    MISI,
    NMF,
    EqualShares,
    GriffinLim,
    NMFActivations,
    NMFSeparation,
    RelaxedMISI,
    SplitGradient,
)
from unrolling.operators import STFT, with_phase

BETAS = (-2.0, -1.0, 0.0, 0.5, 0.9, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def spectrograms():
    """One of zeros, one with a silent frame and a silent bin, one without."""
    magnitudes = torch.rand(3, 9, 6, generator=torch.Generator().manual_seed(0))
    magnitudes[0] = 0
    magnitudes[1, :, 2] = 0
    magnitudes[1, 4] = 0
    return magnitudes


def finite(network, data, objective=True):
    """Values, and gradients to parameters and data."""
    data = data.clone().requires_grad_()
    value = network(data)
    assert bool(value.isfinite().all())
    loss = value.square().sum()
    if objective:
        parent = network.layers[0]
        merit = parent.objective(network.run(data), parent.prepare(data))
        assert bool(merit.isfinite().all())
        loss = loss + merit.sum()
    loss.backward()
    gradients = [data.grad, *(p.grad for p in network.parameters() if p.requires_grad)]
    assert all(g is None or bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("sparsity", [0.0, 0.1])
def test_factorisations_with_every_beta(beta, sparsity):
    dictionary = torch.rand(9, 4, generator=torch.Generator().manual_seed(1))
    activations = NMFActivations(dictionary, beta=beta, sparsity=sparsity)
    finite(unroll(activations, 4, untied=("dictionary",)), spectrograms())
    finite(unroll(NMF(9, 4, beta=beta, sparsity=sparsity), 4), spectrograms())


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_split_gradients(beta):
    dictionary = torch.rand(9, 4, generator=torch.Generator().manual_seed(1))
    parent = NMFActivations(dictionary, beta=beta, sparsity=0.1, constrained=False)
    network = unroll(parent, 3, tied=("dictionary", "sparsity"), gradient=SplitGradient())
    network(spectrograms()).sum().backward()
    assert bool(network.layers[0].dictionary.split_gradient.positive.isfinite().all())
    assert bool(network.layers[0].dictionary.split_gradient.negative.isfinite().all())


def sounds():
    """One of zeros, one with a gap longer than a frame, one without."""
    signal = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    signal[0] = 0
    signal[1, 40:140] = 0
    return signal


@pytest.mark.parametrize("beta", BETAS)
def test_separation(beta):
    stft = STFT(16, 8)
    dictionaries = [torch.rand(9, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    parent = NMFSeparation(stft, dictionaries, beta=beta, sparsity=0.1)
    finite(unroll(parent, 3, untied=("dictionary", "reconstruction")), sounds(), objective=False)


@pytest.mark.parametrize("kind", [MISI, RelaxedMISI])
def test_phase_retrieval_of_sources(kind):
    stft = STFT(16, 4)
    finite(unroll(kind(stft, magnitudes=EqualShares(stft, 2)), 3), sounds(), objective=False)


def test_griffin_lim():
    stft = STFT(16, 4)
    magnitudes = stft(sounds()).abs()
    finite(unroll(GriffinLim(stft, length=200), 3), magnitudes)


def test_the_phase_of_zero_is_zero_with_a_gradient():
    spectrum = torch.zeros(2, 3, dtype=torch.complex64, requires_grad=True)
    magnitude = torch.ones(2, 3, requires_grad=True)
    found = with_phase(magnitude, spectrum, 1e-6)
    assert bool((found == 0).all())
    torch.view_as_real(found).square().sum().backward()
    assert bool(magnitude.grad.isfinite().all())
    assert bool(torch.view_as_real(spectrum.grad).isfinite().all())
