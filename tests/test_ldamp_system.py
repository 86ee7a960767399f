"""Learned D-AMP as a system: how it is trained, its task, what it refuses."""

import pytest
import torch
from measured_images import TERM, measured, noise
from torch import nn

from unrolling import unroll
from unrolling.algorithms import (
    DenoisedAMP,
    MatrixMeasurements,
    MatrixSamples,
    ModulatedSamples,
    ModulatedTransform,
    measure_modulated,
)
from unrolling.prox import (
    DenoiserProx,
)
from unrolling.systems.catalogue import find
from unrolling.tasks.catalogue import find_task
from unrolling.training.denoiser import POWER, TYPICAL, DenoiserLoss


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, r, sigma):
        return self.gain * r + sigma.reshape(-1, 1, 1)


def test_layer_by_layer_trains_one_layer_at_a_time_and_denoisers_without_the_network(tmp_path):
    from unrolling.training.fit import fit
    from unrolling.training.stages import scaled

    task = find_task("compressive_gaussian").small()
    for name in ("imaging/ldamp", "imaging/ldit", "imaging/ldamp_selected"):
        system = find(name)
        recipe = system.recipes["compressive_gaussian"]
        network = system.network(recipe, task, 2)
        before = {k: v.clone() for k, v in network.learned().items()}
        schedule = scaled(recipe.schedule(2), 4)
        if name == "imaging/ldamp_selected":
            assert len(schedule) == 1
        else:
            assert [stage.layers for stage in schedule] == [(0,), (1,)]
        fit(network, task, schedule, tmp_path / name.replace("/", "-"), quiet=True, validations=0)
        changed = [k for k, v in network.learned().items() if not torch.equal(v, before[k])]
        assert changed
        assert all(parameter.isfinite().all() for parameter in network.parameters())


# Task


def test_the_task_measures_patches_with_a_matrix_of_its_own_for_each_batch():
    task = find_task("compressive_gaussian").small()
    held = task.test[0]
    assert held.target.shape[1:] == (16, 16)
    assert held.data.matrix.shape == (1, 64, 256)
    torch.testing.assert_close(held.data.samples, held.target.flatten(1) @ held.data.matrix[0].T)
    picture = task.photographs["test"]["test.png"]
    assert torch.equal(held.target[1], picture[:16, 16:32])
    one, two = (task.draw(3, torch.Generator().manual_seed(k)).data.matrix for k in (0, 1))
    assert one.shape == two.shape
    assert not torch.equal(one, two)
    assert float(one.square().sum(1).mean()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(task.validation[0].data.matrix, held.data.matrix)
    best = task.linear(held.data)
    blind = task.term().adjoint(held.data.samples, held.data)
    assert (best - held.target).square().mean() < 0.2 * (blind - held.target).square().mean()
    noisy = find_task("compressive_gaussian")(noise=0.1, crop=16, data=task._data)
    assert float((noisy.test[0].data.samples - held.data.samples).std()) == pytest.approx(0.1, rel=0.05)
    assert type(task).tag({"ratio": 0.2, "noise": 0.0}) == "ratio0.2"
    for wrong, words in (
        ({"ratio": 0.0}, "ratio"),
        ({"ratio": 1.5}, "ratio"),
        ({"noise": -1.0}, "noise"),
        ({"crop": 4}, "crop"),
    ):
        with pytest.raises(ValueError, match=words):
            find_task("compressive_gaussian")(**wrong)


# What is refused


def test_what_does_not_fit_is_refused_by_name():
    x = torch.rand(2, 4, 4)
    data = measured(x, 8)
    step = DenoisedAMP(MatrixMeasurements((4, 4)), DenoiserProx(nn.Identity(), sigma=1.0))
    modulated = measure_modulated(x, 0.5)
    dct = DenoisedAMP(ModulatedTransform(), step.denoiser)
    wrong = [
        (lambda: unroll(step, 1)(data.samples), TypeError, "data are MatrixSamples"),
        (
            lambda: unroll(step, 1)(MatrixSamples(data.samples, data.matrix[..., :9])),
            ValueError,
            r"\(batch or 1, m, 16\)",
        ),
        (lambda: unroll(dct, 1)(data), TypeError, "data are ModulatedSamples"),
        (lambda: unroll(dct, 1)(modulated._replace(kept=modulated.kept[:, :3])), ValueError, "kept"),
        (lambda: unroll(dct, 1)(modulated._replace(kept=modulated.kept.float())), TypeError, "int64"),
        (
            lambda: unroll(DenoisedAMP(ModulatedTransform(fourier=True), step.denoiser), 1)(modulated),
            TypeError,
            "samples are complex",
        ),
        (lambda: measure_modulated(x, 0.0), ValueError, "the number of coefficients"),
        (lambda: measure_modulated(x, 1.5), ValueError, "the number of coefficients"),
        (lambda: MatrixMeasurements((0, 4)), ValueError, "height"),
        (lambda: DenoisedAMP(TERM, step.denoiser, inflation=0.0), ValueError, "inflation"),
        (lambda: DenoisedAMP(TERM, step.denoiser, probes=0), ValueError, "probes"),
        (
            lambda: unroll(DenoisedAMP(MatrixMeasurements((4, 4)), lambda r, t: r[:, :2]), 1)(data),
            ValueError,
            "images of the same shape",
        ),
    ]
    for run, kind, words in wrong:
        with pytest.raises(kind, match=words):
            run()
    assert isinstance(modulated, ModulatedSamples)


def test_a_denoiser_is_trained_at_all_levels_each_counting_alike():
    task = find_task("compressive_gaussian").small()
    network = unroll(DenoisedAMP(task.term(), DenoiserProx(Scaled(), told=True)), 2, tied="denoiser")
    clean = noise(4, 6, 6, dtype=torch.float32)
    loss = DenoiserLoss(levels=(0.1, 0.2))
    torch.manual_seed(0)
    s = 0.1 * 2 ** torch.rand(4, 1, 1)
    e = s * torch.randn(4, 6, 6)
    torch.manual_seed(0)
    value = loss(None, clean, network)
    wanted = 100 * ((0.5 * (clean + e) + s - clean).square() * (TYPICAL / s) ** POWER).mean()
    torch.testing.assert_close(value, wanted)
    assert not loss.takes_estimate
    assert DenoiserLoss().takes_estimate
    for wrong, words in (({"sigma": 0.1, "levels": (0.1, 0.2)}, "one of the two"), ({"levels": (0.2, 0.1)}, "highest")):
        with pytest.raises(ValueError, match=words):
            DenoiserLoss(**wrong)
