"""Mistakes on the command line: each is one line, found before any work."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from command_line import LISTA, TINY, refused
from command_line import small as small
from command_line import untrained as untrained
from tiny import Small, system

from unrolling.systems import catalogue as catalogue_module
from unrolling.training import files
from unrolling.training.weights import save_weights


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["train", "sparse_coding/lissta", *TINY],
            ["no system 'sparse_coding/lissta'", "did you mean sparse_coding/lista?"],
        ),
        (["show", "lcod2"], ["no system 'lcod2'"]),
        (["train", LISTA, "--task", "denoising"], ["no task 'denoising'", "photographs, codes, spikes, recovery"]),
        (["train", LISTA, *TINY, "--set", "rank=3"], ["--set rank=3", "m=250"]),
        (["train", LISTA, *TINY, "--set", "m"], ["--set m", "m=250"]),
        (["train", LISTA, *TINY, "--set", "m=ten"], ["--set m=ten: m is a whole number"]),
        (["train", LISTA, *TINY, "--set", "m=2.5"], ["m is a whole number"]),
        (["train", LISTA, *TINY, "--set", "snr=loud"], ["snr is a number"]),
        (["train", LISTA, *TINY, "--set", "probability=2"], ["probability must lie in (0, 1]"]),
        (["train", LISTA, *TINY, "--depth", "0"], ["depth is 0"]),
        (["compare", LISTA, *TINY, "--depth", "-2"], ["depth is -2"]),
        (["train", LISTA, *TINY, "--steps", "0"], ["steps is 0"]),
        (["train", LISTA, *TINY, "--threads", "0"], ["--threads is 0"]),
        (["train", LISTA, *TINY, "--data", "/no/such/file.npy"], ["/no/such/file.npy"]),
        (["train", LISTA, "--task", "codes", "--data", "/no/such/folder"], ["/no/such/folder is not a folder"]),
        (["compare", LISTA, *TINY, "--pretrained", "--depth", "77"], ["no weights are shipped", "77 layers"]),
        (
            ["compare", LISTA, *TINY, "--pretrained", "--weights", "x"],
            ["--pretrained and --weights exclude each other"],
        ),
        (["compare", LISTA, *TINY, "--weights", "/no/such/weights"], ["/no/such/weights does not exist"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_and_no_work(arguments, words, unroll, untrained, tmp_path):
    place = [] if arguments[0] == "show" else ["--out", tmp_path / "out"]
    refused(unroll(*arguments, *place), *words)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--set", "m=-1"]),
        ["--device", "tpu9"],
        pytest.param(["--device", "cuda"], marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")),
    ],
)
def test_sizes_and_devices_that_are_not_there_are_one_line_too(arguments, unroll, small, tmp_path):
    refused(unroll("train", LISTA, *TINY, "--steps", 2, *arguments, "--out", tmp_path))


@pytest.mark.parametrize("how", ["--weights", "--pretrained"])
def test_a_depth_of_nought_is_refused_beside_weights_too(how, unroll, untrained, monkeypatch, tmp_path):
    shipping = replace(system(), home=tmp_path)
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: shipping})
    recipe = shipping.recipes["recovery"]
    task = shipping.task("recovery", m=20, n=40)
    depth = recipe.depth
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / f"lista-recovery-20x40-p0.1-snrinf-{depth}.safetensors"
    save_weights(shipping.network(recipe, task, depth), path, {"system": LISTA, "task": task.identity()})
    given = [how, path] if how == "--weights" else [how]
    refused(unroll("compare", LISTA, *TINY, "--depth", 0, *given, "--out", tmp_path / "out"), "depth is 0")


@pytest.mark.parametrize(
    "arguments", [["train", LISTA, "--nonsense"], ["train"], ["fly"], ["train", LISTA, "--depth", "three"]]
)
def test_what_the_command_line_does_not_know_is_status_2(arguments, unroll, untrained):
    status, _, errors = unroll(*arguments)
    assert status == 2
    assert "Traceback" not in errors


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(unroll, untrained, small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for command in ("train", "compare"):
        refused(unroll(command, LISTA, *TINY, "--out", tmp_path / "file"), "cannot write into", tmp_path / "file")
        refused(
            unroll(command, LISTA, *TINY, "--out", tmp_path / "file" / "sub"),
            "cannot write into",
            tmp_path / "file" / "sub",
        )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_the_work(unroll, untrained, small, tmp_path):
    tmp_path.chmod(0o500)
    refused(unroll("train", LISTA, *TINY, "--out", tmp_path / "out"), "cannot write into", "Permission denied")


@pytest.mark.parametrize("wrong", [["--depth", "0"], ["--steps", "0"], ["--out", "{file}"]])
def test_cheap_mistakes_are_found_before_the_task_is_built(wrong, unroll, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    built = []
    monkeypatch.setattr(Small, "task", lambda self, *arguments, **options: built.append(1))
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: system()})
    refused(
        unroll(
            "train", LISTA, *TINY, "--out", tmp_path / "out", *[word.format(file=tmp_path / "file") for word in wrong]
        )
    )
    assert not built


def _foreign(chosen, tmp_path, kind):
    recipe = chosen.recipes["recovery"]
    task = chosen.task("recovery", m=20, n=40)
    net, card, path = (
        chosen.network(recipe, task, 3),
        {"system": LISTA, "task": task.identity()},
        tmp_path / "w.safetensors",
    )
    save_weights(net, path, card)
    if kind == "system":
        save_weights(net, path, {**card, "system": "sparse_coding/lcod"})
    elif kind == "task":
        save_weights(net, path, {**card, "task": {"name": "codes"}})
    elif kind == "depth":
        save_weights(chosen.network(recipe, task, 4), path, card)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif kind == "text":
        path.write_text("hello")
    elif kind == "checkpoint":
        files.write(path, {"network.a": torch.ones(2)}, {"stage": 0, "step": 1, "run": {}})
    elif kind == "newer":
        save_weights(net, path, {**card, "format": 99})
    elif kind == "no task":
        save_weights(net, path, {"system": LISTA})
    elif kind == "no card":
        save_weights(net, path, {})
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("system", ["holds weights of sparse_coding/lcod for the task recovery, not of sparse_coding/lista"]),
        ("task", ["holds weights of sparse_coding/lista for the task codes", "for recovery"]),
        ("depth", ["depth is 4 there and 3 here"]),
        ("truncated", ["is not a safetensors file, or it is truncated"]),
        ("text", ["is not a safetensors file"]),
        ("checkpoint", ["is not a weights file"]),
        ("newer", ["has format 99", "update unrolling"]),
        pytest.param("no task", ["w.safetensors"]),
        pytest.param("no card", ["w.safetensors"]),
    ],
)
def test_a_foreign_weights_file_is_one_line_and_no_work(kind, words, unroll, untrained, small, tmp_path):
    refused(
        unroll("compare", LISTA, *TINY, "--weights", _foreign(small, tmp_path, kind), "--out", tmp_path / "out"), *words
    )


def test_a_full_disk_is_one_line(unroll, small, monkeypatch, tmp_path):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(unroll("train", LISTA, *TINY, "--steps", 2, "--out", tmp_path, "--json"), "No space left on device")


def test_an_interruption_says_that_the_same_command_goes_on(unroll, small, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("unrolling.training.fit.fit", interrupted)
    status, _, errors = unroll("train", LISTA, *TINY, "--steps", 2, "--out", tmp_path)
    assert status == 130
    assert "Traceback" not in errors


def test_the_process_ends_with_status_2_and_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "unrolling.cli.main", "show", "sparse_coding/lisst"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("unroll: no system 'sparse_coding/lisst'; did you mean sparse_coding/lista?")
    assert done.stderr.count("\n") == 1
