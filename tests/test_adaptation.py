"""Adaptation to one scan: safeguarded, on chosen parameters, without truth, the network itself left alone."""

import math

import pytest
import torch
from image_problems import gaussian
from tiny import bits, same
from torch import nn

from unrolling import unroll
from unrolling.algorithms import ISTA, SampledFourier
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.operators.wavelets import Wavelet
from unrolling.prox.orthonormal import OrthonormalShrink
from unrolling.tasks import MRI, Denoising, Recovery
from unrolling.tasks.measurements import Gaussian, denoising_measurement
from unrolling.training.adaptation import adapt
from unrolling.training.batches import generator
from unrolling.training.losses import Energy
from unrolling.training.without_truth import SURE, Consistency, Splitting


class Shrink(nn.Module):
    """x = c y."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor, self.other = nn.Parameter(torch.tensor(factor)), nn.Parameter(torch.zeros(()))

    def forward(self, data):
        return self.factor * data + self.other


def test_adaptation_finds_the_best_factor_without_truth():
    """Of x = c y the squared error is least at |x|^2 / (|x|^2 + n sigma^2)."""
    sigma, x = 0.5, gaussian(1, 40, 40).float()
    y = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    found = adapt(Shrink(), y, SURE(), denoising_measurement(Gaussian(sigma)), learned=("factor",), rate=0.02)
    best = float((x.square().sum()) / (x.square().sum() + x.numel() * sigma**2))
    assert found.network.factor.item() == pytest.approx(best, abs=0.04)
    assert found.network.other.item() == 0
    assert ((found.network(y) - x).square().mean() < (y - x).square().mean()).item()
    assert found.criterion[0] > min(found.criterion)


def test_the_network_itself_stays_and_only_the_chosen_parameters_move():
    task = Recovery(m=8, n=16, snr=20.0, held_out=4)
    network = unroll(ISTA(task.dictionary, 0.1), 3, untied=("threshold", "step_size"))
    before, data = bits(network), task.draw(8, generator(0)).data
    found = adapt(network, data, SURE(), task.measurement(), learned=("threshold",), steps=10, rate=1e-2)
    assert same(before, bits(network))
    after = bits(found.network)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert all("threshold" in name for name in moved), moved
    assert all(p.requires_grad for p in found.network.parameters())
    again = adapt(network, data, SURE(), task.measurement(), learned=("threshold",), steps=10, rate=1e-2)
    assert same(after, bits(again.network))


def test_it_is_never_worse_by_its_criterion_and_ends_early():
    task = MRI(size=32, rate=0.5)
    shrink = OrthonormalShrink(Wavelet(2))
    network = unroll(ProximalGradient(SampledFourier(real=True), shrink, 0.01), 6, tied="threshold")
    data = task.test[0].data
    ruined = adapt(network, data, Splitting(), task.measurement(), steps=200, rate=10.0, every=1, patience=3)
    assert ruined.criterion[-1] > 1.2 * ruined.criterion[0]
    assert len(ruined.criterion) < 20
    again = adapt(ruined.network, data, Splitting(), task.measurement(), steps=1)
    assert again.criterion[0] == min(ruined.criterion) <= ruined.criterion[0]
    worse = adapt(again.network, data, Splitting(), task.measurement(), steps=5, rate=50.0, every=1, patience=1)
    assert worse.step == 0
    assert same(bits(worse.network), bits(again.network))
    seen = []
    better = adapt(
        network, [data, task.test[1].data], Splitting(), task.measurement(), steps=12, rate=3e-3, every=3,
        watch=lambda step, value: seen.append((step, value)),
    )  # fmt: skip
    assert min(better.criterion) <= better.criterion[0]
    assert [value for _, value in seen] == better.criterion
    assert seen[0][0] == 0


def test_a_network_whose_prior_wants_more_measurements_gets_better_on_another_mask():
    """A threshold that is far too large for the scan comes down: the true error falls with the criterion."""
    task = MRI(size=32, rate=0.5)
    shrink = OrthonormalShrink(Wavelet(2))
    network = unroll(ProximalGradient(SampledFourier(real=True), shrink, 0.3), 12, tied="threshold")
    samples = task.test[0]
    found = adapt(network, samples.data, Splitting(), task.measurement(), steps=40, rate=5e-2)
    assert found.step > 0
    with torch.no_grad():
        errors = [float((n(samples.data) - samples.target).square().mean()) for n in (network, found.network)]
    assert errors[1] < 0.8 * errors[0]


def test_what_cannot_be_adapted_is_refused_with_what_is_missing():
    task, y = Denoising.small(), torch.zeros(1, 8, 8)
    measurement = task.measurement()
    for arguments, options, words in (
        ((Shrink(), [], SURE(), measurement), {}, "no data to adapt to"),
        ((Shrink(), y, SURE(), measurement), {"learned": ("threshold",)}, "names 'threshold'"),
        ((Shrink(), y, Splitting(), measurement), {}, "cannot be split"),
        ((Shrink(), y, SURE()), {}, "does not say how its data come about"),
        ((Shrink(), y, Energy()), {}, "asks for a state"),
        ((Shrink(), y, SURE(), measurement), {"steps": 0}, "steps"),
        ((Shrink(), y, SURE(), measurement), {"held": 1.0}, "held"),
        ((Shrink(), torch.full((1, 8, 8), math.nan), Consistency(), measurement), {}, "criterion is nan"),
    ):
        with pytest.raises(ValueError, match=words):
            adapt(*arguments, **options)
