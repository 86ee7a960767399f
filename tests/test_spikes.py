"""Artificial spikes in a real electrocardiogram."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolling.tasks.sparse import spikes as module
from unrolling.tasks.sparse.baselines import components
from unrolling.tasks.sparse.spikes import PARTS, WINDOW, Spikes, cosines, read_signal, running_median
from unrolling.training.batches import generator

TASK = Spikes(held_out=200)


def test_the_signal_is_the_packages_and_each_part_holds_a_heart_beat():
    import pywt.data

    signal = read_signal(None)
    raw = pywt.data.ecg()
    np.testing.assert_allclose(signal.numpy() * raw.std() + raw.mean(), raw, atol=1e-3)
    for first, last in PARTS.values():
        assert float(signal[round(first * len(signal)) : round(last * len(signal))].max()) > 5


def windows(part):
    first, last = (round(share * len(TASK.signal)) for share in PARTS[part])
    return TASK.signal[first:last].unfold(0, WINDOW, 1)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_data_are_windows_of_their_own_part_with_spikes_and_a_little_noise(part):
    samples = TASK.draw(200, generator(0)) if part == "train" else getattr(TASK, part)[0]
    clean = samples.data - samples.target
    distance = torch.cdist(clean, windows(part)).min(1).values
    assert float(distance.max()) < 0.02 * WINDOW**0.5 * 1.6
    others = torch.cat([windows(other) for other in PARTS if other != part])
    assert float(torch.cdist(clean, others).min(1).values.median()) > 3 * float(distance.median())
    size = samples.target[samples.target != 0].abs()
    assert 0.5 <= float(size.min()) <= float(size.max()) <= 3
    assert float((samples.target != 0).float().mean()) == pytest.approx(0.04, abs=0.01)


def test_the_cosines_are_an_orthonormal_basis_whose_first_is_constant():
    basis = cosines().double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(WINDOW, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(basis[:, 0], torch.full((WINDOW,), WINDOW**-0.5, dtype=torch.float64))


@given(st.integers(0, 50), st.sampled_from([3, 5, 7]))
def test_the_running_median_is_numpys(seed, width):
    data = torch.randn(2, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    half = width // 2
    padded = np.pad(data.numpy(), ((0, 0), (half, half)), mode="reflect")
    medians = np.stack([np.median(padded[:, k : k + width], axis=1) for k in range(30)], axis=1)
    np.testing.assert_allclose(running_median(data, width).numpy(), data.numpy() - medians)


def test_the_estimate_is_the_part_of_the_single_samples():
    parent = components(TASK.dictionary)
    code = torch.randn(3, 2 * WINDOW)
    assert torch.equal(parent.estimate(code, None), code[:, WINDOW:])
    weight = (parent.inner.threshold / parent.inner.step_size).detach()
    assert float(weight[0]) == 0
    torch.testing.assert_close(weight[1:WINDOW], torch.full((WINDOW - 1,), 0.1))
    torch.testing.assert_close(weight[WINDOW:], torch.full((WINDOW,), 0.3))


def test_f1_counts_what_is_found_missed_and_invented():
    target = torch.tensor([[1.0, -1.0, 0.0, 0.0]])
    batch = [TASK.test[0]._replace(target=target)]
    assert TASK.more([target], batch)["F1"] == 1
    assert TASK.more([torch.tensor([[1.0, 0.0, 0.5, 0.1]])], batch)["F1"] == 0.5
    assert TASK.more([torch.zeros(1, 4)], batch)["F1"] == 0


def test_a_signal_of_ones_own(tmp_path):
    values = np.sin(np.arange(500) / 5) * 3 + 7
    np.save(tmp_path / "s.npy", values)
    task = Spikes(data=tmp_path / "s.npy", held_out=5)
    assert float(task.signal.mean()) == pytest.approx(0, abs=1e-6)
    assert float(task.signal.std(correction=0)) == pytest.approx(1, rel=1e-5)
    assert task.identity()["samples"] == 500


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4)), r"is not a .npy file with a real signal"),
        (np.ones(10, dtype=complex), r"is not a .npy file with a real signal"),
        (np.arange(100.0), "a signal of 100 samples is too short"),
        (np.full(1000, np.nan), "NaN or infinite"),
        (np.ones(1000), "the signal is constant"),
    ],
)
def test_signals_that_are_none_are_refused(values, message, tmp_path):
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(ValueError, match=message):
        Spikes(data=tmp_path / "s.npy")


def test_a_density_that_is_none_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(ValueError, match="density must lie in"):
        Spikes(density=1.5)
    monkeypatch.setitem(__import__("sys").modules, "pywt.data", None)
    with pytest.raises(ImportError, match=r"needs the package PyWavelets: pip install 'unrolling\[data\]'"):
        module.read_signal(None)
