"""Sparse recovery: what is drawn has the law that the task states."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_tasks import generator
from tiny import recovery

from unrolling.tasks.sparse.dictionaries import read_dictionary


@pytest.mark.parametrize("snr", [0.0, 10.0, 30.0])
def test_the_noise_has_the_power_that_the_ratio_says_for_each_sample(snr):
    task = recovery(m=300, n=400, snr=snr)
    y, x = task.draw(200, generator())
    clean = x @ task.dictionary.T
    ratios = 20 * torch.log10(clean.std(dim=1) / (y - clean).std(dim=1))
    assert ratios.mean().item() == pytest.approx(snr, abs=0.1)
    # Samples differ in energy by several dB; each has the ratio for itself: what is left is the spread of a variance of
    # 300 numbers.
    assert clean.std(dim=1).log10().mul(20).std().item() > 0.5
    assert ratios.std().item() < 0.5


def test_without_noise_the_measurements_are_exact():
    task = recovery()
    y, x = task.draw(50, generator())
    assert torch.equal(y, x @ task.dictionary.T)


@pytest.mark.parametrize("probability", [0.05, 0.3, 1.0])
def test_the_share_of_non_zeros_is_the_probability_and_they_are_standard_normal(probability):
    x = recovery(n=200, probability=probability).draw(500, generator()).target
    share = (x != 0).double().mean().item()
    assert abs(share - probability) <= 4 * (probability * (1 - probability) / x.numel()) ** 0.5
    present = x[x != 0]
    assert abs(present.mean().item()) < 4 / len(present) ** 0.5
    assert present.square().mean().item() == pytest.approx(1, abs=6 / len(present) ** 0.5)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 10))
def test_columns_have_norm_one(m, n, seed):
    task = recovery(m=m, n=n, seed=seed, held_out=1)
    assert task.dictionary.shape == (m, n)
    torch.testing.assert_close(torch.linalg.vector_norm(task.dictionary, dim=0), torch.ones(n))


def test_the_same_seed_gives_the_same_data_and_another_other_data():
    one, same, other = recovery(seed=1), recovery(seed=1), recovery(seed=2)
    for part in ("validation", "test"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(one, part)[0], getattr(same, part)[0], strict=True))
        assert not torch.equal(getattr(one, part)[0].target, getattr(other, part)[0].target)
    assert torch.equal(one.draw(5, generator(3)).data, same.draw(5, generator(3)).data)
    assert one.identity() == same.identity()
    assert one.identity()["fingerprint"] != other.identity()["fingerprint"]
    assert not torch.equal(one.validation[0].target, one.test[0].target)


def test_another_dictionary_from_a_file_is_normalised_and_sets_the_sizes(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(5, 7)) * np.arange(1, 8)
    np.save(tmp_path / "a.npy", matrix)
    task = recovery(data=tmp_path / "a.npy")
    np.testing.assert_allclose(task.dictionary.numpy(), matrix / np.linalg.norm(matrix, axis=0), rtol=1e-6)
    assert (task.identity()["m"], task.identity()["n"]) == (5, 7)
    assert torch.equal(recovery(fixed={"dictionary": task.dictionary}).dictionary, task.dictionary)


def _array(columns=3, **bad):
    matrix = np.random.default_rng(0).normal(size=(4, columns))
    for where, value in bad.items():
        matrix[:, int(where[1:])] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (_array(c1=0), "column 1 of the dictionary is zero"),
        (_array(c2=np.nan), "NaN or infinite"),
        (_array(c0=np.inf), "NaN or infinite"),
        (1e300 * _array(), "NaN or infinite"),
        (_array()[0], r"a dictionary is a matrix \(m, n\) with one atom per column; got shape \(3,\)"),
        (np.array([["a", "b"]]), "is not a .npy file of real numbers"),
        (np.array([[{}, 1]], dtype=object), "is not a .npy file of real numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_an_array_that_is_no_dictionary_is_refused(matrix, message, tmp_path):
    np.save(tmp_path / "a.npy", matrix)
    with pytest.raises(ValueError, match=message):
        recovery(data=tmp_path / "a.npy")


@pytest.mark.filterwarnings("ignore")
def test_a_complex_dictionary_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", _array() + 1j)
    with pytest.raises(ValueError, match=r"is not a .npy file of real numbers"):
        read_dictionary(tmp_path / "a.npy")


@pytest.mark.parametrize("content", [pytest.param(b""), b"hello", b"\x93NUMPY\x01\x00v\x00"])
def test_a_file_that_is_no_array_is_refused_by_name(content, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'a.npy'} is not a .npy file")):
        read_dictionary(tmp_path / "a.npy")


def test_a_missing_dictionary_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "no.npy"))):
        read_dictionary(tmp_path / "no.npy")


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.5, float("nan")])
def test_a_probability_outside_its_range_is_refused(probability):
    with pytest.raises(ValueError, match="probability must lie in"):
        recovery(probability=probability)


@pytest.mark.parametrize("values", [{"m": -1}, {"m": 0}, {"n": 0}, {"snr": float("nan")}])
def test_sizes_and_ratios_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} must"):
        recovery(**values)
