"""The fuzzer finds what is planted for it, and what it once found is refused by name."""

import gc
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tools.fuzz import calls, files, folders, seeds
from tools.fuzz.mutations import mutated
from tools.fuzz.watch import Find, HangError, Peak, is_named, within
from unrolling import solve, unroll
from unrolling.algorithms import ADMM, BCJR, ISTA, Decoded, GriffinLim, LeastSquares, PeronaMalik
from unrolling.core.refusals import explained
from unrolling.files.decoding import Arrays
from unrolling.files.received import read_sequences
from unrolling.networks import dncnn_channels, hidden_width, unet_width
from unrolling.operators import (
    DCT,
    Adjoint,
    CircularConvolution,
    CircularFilterBank,
    FiniteDifferences,
    Identity,
    Matrix,
)
from unrolling.prox import TunedBernoulliGaussian, k_sparse, nonnegative, soft_threshold, support_select
from unrolling.tasks.images import Denoising
from unrolling.tasks.sparse import read_dictionary

Z, A = torch.ones(3, 8), torch.eye(5, 8) + 0.1
IMAGE = torch.ones(2, 8, 8)


# The short part


def test_damaged_files_of_every_format(tmp_path):
    peak = Peak()
    found = [files.check_file(1, number, tmp_path, peak, programs=False) for number in range(250)]
    assert [find for _, find, _ in found if find] == []
    assert {fate for fate, _, _ in found} == {"read", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 5], ids=lambda n: sorted(folders.SYSTEMS)[n])
def test_the_rest_of_a_folder_is_done(number, tmp_path):
    failed, finds, _ = folders.check_folder(1, number, tmp_path, Peak(), size=12)
    assert finds == []
    assert 0 < failed < 11


@pytest.mark.slow
@pytest.mark.nightly
def test_calls_of_what_is_public():
    peak = Peak()
    found = [calls.check_call(1, number, peak) for number in range(100)]
    assert [find for _, find, _ in found if find] == []
    assert {fate for fate, _, _ in found} == {"done", "refused"}


# What it would find


def test_what_a_reader_must_not_do_is_found(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    path.write_bytes(seeds.arrays()["sequences.npy"])

    def judged(read):
        _, find, _ = files.judge(path, "planted", read, Peak())
        return find and find.kind

    def refuses(path):
        raise ValueError(f"{path} is damaged")

    def forgets(path):
        raise ValueError("it is damaged")

    assert judged(refuses) is None
    assert judged(lambda path: np.ones(3)) is None
    assert judged(forgets) == "exception"
    assert judged(lambda path: {}["y"]) == "exception"
    assert judged(lambda path: (np.ones(3), np.array([np.nan]))) == "values"
    monkeypatch.setattr(files, "MEMORY", 20 << 20)
    gc.collect()  # what other tests left may be freed at any time, and would count against it
    assert judged(lambda path: (b"x" * (400 << 20))[:1]) == "memory"
    assert judged(lambda path: np.ones(5 << 20)) is None  # 40 MiB, which are what was decoded


def test_what_hangs_is_ended():
    began = time.monotonic()
    with pytest.raises(HangError, match="longer than 1 s"), within(1):
        time.sleep(20)
    assert time.monotonic() - began < 5


def test_a_run_over_a_folder_is_judged(tmp_path):
    whole, other = tmp_path / "a.png", tmp_path / "b.png"
    good = {"input": str(whole), "outputs": []}
    bad = {"input": str(other), "error": f"{other} is truncated"}
    assert folders.judged([good, bad], 1, [whole], "", 2) == []
    assert "exit status is 0" in folders.judged([good, bad], 0, [whole], "", 2)[0]
    assert "1 of 2 files" in folders.judged([good], 0, [whole], "", 2)[0]
    assert "traceback" in folders.judged([good, bad], 1, [whole], "Traceback (most ...", 2)[0]
    assert "was not done" in folders.judged([good, bad], 1, [other], "", 2)[0]
    assert "does not name" in folders.judged([good, {**bad, "error": "it is truncated"}], 1, [whole], "", 2)[0]
    assert "was not written" in folders.judged([{**good, "outputs": [str(other)]}, bad], 1, [whole], "", 2)[0]


def test_only_what_is_raised_on_purpose_is_named():
    def caught(function):
        with pytest.raises(Exception) as found:
            function()
        return is_named(found.value)

    assert caught(lambda: soft_threshold(Z, -1.0))
    assert caught(lambda: ISTA(A, 0.1, nonsense=3))
    assert not caught(lambda: Z + torch.ones(7))
    assert not caught(lambda: ISTA.advice(None))


def test_the_same_seed_gives_the_same_inputs():
    content = seeds.pictures()["rgb.png"]
    assert mutated(content, 5) == mutated(content, 5)
    assert len({mutated(content, seed) for seed in range(100)}) > 90
    assert files.draw(3, 17, programs=False) == files.draw(3, 17, programs=False)
    runs = [calls.judge("prox.soft_threshold", random.Random(2), Peak())[:2] for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.slow
@pytest.mark.nightly
def test_a_process_tells_what_it_did_and_a_find_ends_with_status_1(monkeypatch, capsys):
    from tools.fuzz import __main__ as command

    arguments = ["-m", "tools.fuzz.worker", "files", "1", "0", "6", "2"]
    said = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["begin"] for line in lines if "begin" in line] == [0, 2, 4]
    assert lines[-1] == {"end": True}
    tally = command.Tally()
    tally.fates["files"]["read"] = 3
    assert command.report(tally, 1, 2.0) == 0
    tally.add("files", 4, list(Find("values", "a of b", "NaN")))
    assert command.report(tally, 1, 2.0) == 1
    assert "python -m tools.fuzz --only files --seed 1 --from 4 --count 1" in capsys.readouterr().out


# What it found


def test_sequences_too_large_for_single_precision(tmp_path):
    """They became infinite after they had been found finite."""
    np.save(tmp_path / "y.npy", np.array([1.0, 1e39]))
    with pytest.raises(ValueError, match=r"y\.npy: y holds values that are too large for single precision"):
        read_sequences(Arrays(tmp_path / "y.npy"))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_dictionary_that_is_no_use_is_refused_by_its_file(value, tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 4), value))
    with pytest.raises(ValueError, match=r"a\.npy: .*(NaN|zero)"):
        read_dictionary(tmp_path / "a.npy")


FOUND = {
    "an array as a threshold": (lambda: soft_threshold(Z, np.ones(8)), TypeError, "threshold is a NumPy array"),
    "a list": (lambda: soft_threshold([1.0], 0.1), TypeError, "z is a list; soft_threshold takes Tensor"),
    "a shape": (lambda: nonnegative(Z, torch.ones(3)), ValueError, r"threshold torch.float32 of shape \(3,\)"),
    "True": (lambda: nonnegative(Z, True), TypeError, "threshold is True"),
    "a count": (lambda: k_sparse(Z, ()), TypeError, "k is a tuple"),
    "None": (lambda: support_select(Z, None, 2), TypeError, "threshold is None"),
    "an operator": (lambda: Adjoint(1e30), TypeError, r"operator is 1e\+30; Adjoint takes LinearOperator"),
    "filters": (lambda: CircularFilterBank([]), TypeError, "filters is a list"),
    "a step": (lambda: DCT().solve_normal(IMAGE, "x"), TypeError, "rho is a str; it is a number"),
    "a y of another size": (
        lambda: DCT().gradient_step(IMAGE, IMAGE[..., :-1], 0.1),
        ValueError,
        r"DCT does not work with x .*\(2, 8, 8\), y .*\(2, 8, 7\)",
    ),
    "a step that is a list": (lambda: Matrix(A).gradient_step(Z, Z[:, :5], []), TypeError, "step_size is a list"),
    "a tolerance": (lambda: FiniteDifferences().norm(tolerance=None, shape=(8, 8)), TypeError, "tolerance is None"),
    "a prox": (lambda: ISTA(A, 0.1, prox=3), TypeError, "prox is 3; ISTA takes Prox"),
    "a dictionary": (lambda: ISTA("x", 0.1), TypeError, "dictionary is 'x'"),
    "a transform": (lambda: GriffinLim(1e-30), TypeError, "stft is 1e-30; GriffinLim takes STFT"),
    "a decoder": (lambda: Decoded(ISTA(A, 0.1), 1e30), TypeError, "decoder is 1e"),
    "a data term": (lambda: ADMM(1j, []), TypeError, "data_term is 1j; ADMM takes DataTerm"),
    "a memory": (lambda: BCJR(torch.nn.Identity(), 2, 1 << 40), ValueError, "at most 4,096 can be searched"),
    "a seed": (lambda: Denoising(seed=1e-30), TypeError, "seed is 1e-30; it is a whole number"),
    "True as a seed": (lambda: Denoising(seed=True), TypeError, "seed is True; it is a whole number"),
    "a weight": (
        lambda: solve(PeronaMalik(LeastSquares(Identity()), 0.1, weight=torch.ones(3)), IMAGE),
        TypeError,
        "weight is torch.float32 of shape .* takes float",
    ),
    "sizes that are tensors": (
        lambda: CircularConvolution(torch.ones(3, 3), torch.ones(2, 3)),
        TypeError,
        "shape has torch.float32 of shape",
    ),
    "steps without end": (lambda: TunedBernoulliGaussian(steps=1 << 40), ValueError, "it must be at most 10,000"),
    "a budget of channels": (lambda: dncnn_channels(1 << 40, 5), ValueError, "parameters is 1099511627776"),
    "a budget of one kind": (lambda: hidden_width(float("inf"), 3, 3), TypeError, "parameters is inf"),
    "a budget of a U-net": (lambda: unet_width(1 << 40), ValueError, "parameters is 1099511627776"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused_by_name(name):
    call, kind, words = FOUND[name]
    with pytest.raises(kind, match=words) as caught:
        call()
    assert is_named(caught.value)


# How it is told


def test_only_accidents_are_explained():
    class OwnError(RuntimeError):
        pass

    def fails(x, error):
        if isinstance(error, Exception):
            raise error
        return x @ error

    told = explained(fails)
    for error in (OwnError("mine"), ValueError("mine"), MemoryError(), KeyError("a")):
        with pytest.raises(type(error)) as caught:
            told(Z, error)
        assert caught.value is error  # the caller's own code
    network = unroll(ISTA(A, 0.1), 2)
    assert torch.equal(network(torch.ones(3, 5)), network(torch.ones(3, 5)))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        soft_threshold(Z)
