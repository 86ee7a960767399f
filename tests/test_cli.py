"""The command line: what it prints and writes, and how it refuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import Small, same, system, write_pictures

from unrolling.systems import catalogue as catalogue_module
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training import files
from unrolling.training.weights import read_weights, save_weights

LISTA = "sparse_coding/lista"
TINY = ("--task", "recovery", "--set", "m=20", "--set", "n=40", "--depth", "3")


@pytest.fixture
def small(monkeypatch):
    """LISTA with a recipe that compares in seconds."""
    chosen = system()
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: chosen})
    return chosen


@pytest.fixture
def untrained(monkeypatch):
    """No training may start, and no comparison."""
    for path in ("unrolling.training.fit.fit", "unrolling.evaluation.compare.compare"):
        monkeypatch.setattr(path, lambda *arguments, **options: pytest.fail("the work began"))


def refused(result, *words):
    """Status 2, one line on the error output, nothing else."""
    status, output, errors = result
    assert status == 2, errors
    assert output == ""
    assert errors.startswith("unroll: ")
    assert errors.count("\n") == 1
    for word in words:
        assert str(word) in errors


def logged(folder):
    """The steps whose loss the log holds."""
    return [
        line["step"] for line in map(json.loads, (folder / "training.jsonl").read_text().splitlines()) if "loss" in line
    ]


# list and show


def test_list_names_every_system_with_its_tasks(unroll):
    status, output, _ = unroll("list")
    assert status == 0
    found = json.loads(unroll("list", "--json")[1])
    assert {"sparse_coding/lista", "sparse_coding/lcod"} <= {s["name"] for s in found}
    for entry in found:
        assert entry["name"] in output
        assert entry["summary"] in output
        assert entry["tasks"]
        assert "(20" in entry["reference"]


def test_show_prints_equations_papers_and_parameters(unroll):
    status, output, _ = unroll("show", LISTA, *TINY)
    assert status == 0
    for text in (
        "x[t+1] = S_theta[t](W_e y + W_t x[t])",
        "doi:10.1137/080716542",
        "encoder.matrix",
        "all, shared",
        "each of 3",
        "40x20",
        "2,520 learned numbers",
    ):
        assert text in output, text


def test_show_as_json_has_the_classical_values(unroll):
    found = json.loads(unroll("show", "sparse-coding/LISTA", *TINY, "--json")[1])
    assert (found["name"], found["task"], found["depth"], found["learned_numbers"]) == (
        LISTA,
        "recovery",
        3,
        20 * 40 + 40 * 40 + 3 * 40,
    )
    rows = {(row["name"], row["layer"]): row for row in found["parameters"]}
    assert len(rows) == len(found["parameters"])
    shapes = {key: row["shape"] for key, row in rows.items()}
    assert shapes == {
        ("encoder.matrix", None): [40, 20],
        ("inhibition", None): [40, 40],
        **{("threshold", layer): [40] for layer in range(3)},
    }
    dictionary = Recovery(m=20, n=40).dictionary.double()
    step = 1 / torch.linalg.matrix_norm(dictionary, 2).item() ** 2
    assert rows["encoder.matrix", None]["norm"] == pytest.approx(step * 40**0.5, rel=1e-5)
    assert rows["threshold", 1]["mean"] == pytest.approx(0.1 * step, rel=1e-5)
    assert found["options"]["snr"] == "inf"


def test_without_a_command_the_help_is_shown(unroll):
    _, output, errors = unroll()
    assert all(command in output + errors for command in ("list", "show", "train", "compare"))


# train


def test_train_writes_weights_with_a_card_a_log_and_prints_the_card(unroll, small, tmp_path):
    status, output, _ = unroll("train", LISTA, *TINY, "--steps", 20, "--seed", 1, "--out", tmp_path, "--json")
    assert status == 0
    card = json.loads(output, parse_constant=pytest.fail)
    learned, fixed, saved = read_weights(tmp_path / "weights.safetensors")
    assert {key: saved[key] for key in card} == card
    assert (card["system"], card["seed"], card["task"]["m"], saved["depth"]) == (LISTA, 1, 20, 3)
    assert sum(stage["steps"] for stage in card["schedule"]) == 20
    assert card["metric"]["low"] <= card["metric"]["mean"] <= card["metric"]["high"]
    assert torch.equal(fixed["dictionary"], Recovery(m=20, n=40, seed=1).dictionary)
    assert learned["encoder.matrix"].shape == (40, 20)
    assert logged(tmp_path) == list(range(1, 21))


def test_training_again_gives_the_same_weights_and_starts_anew(unroll, small, tmp_path):
    for folder in ("a", "b"):
        status, output, _ = unroll("train", LISTA, *TINY, "--steps", 5, "--out", tmp_path / folder)
        assert status == 0
        assert "dB on the validation set; weights in" in output
    one, other = (read_weights(tmp_path / folder / "weights.safetensors")[0] for folder in "ab")
    assert same(one, other)
    # A finished run leaves no checkpoint, so that the folder may be used again, also for another run; its log is of the
    # last one.
    assert not (tmp_path / "a" / "checkpoint.safetensors").exists()
    assert unroll("train", LISTA, *TINY, "--steps", 6, "--out", tmp_path / "a")[0] == 0
    assert logged(tmp_path / "a") == [1, 2, 3, 4, 5, 6]


def test_a_run_that_could_not_write_its_weights_keeps_its_checkpoint_for_the_same_run_alone(
    unroll, small, tmp_path, monkeypatch
):
    def full(*arguments):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("unrolling.training.weights.save_weights", full)
        refused(unroll("train", LISTA, *TINY, "--steps", 5, "--out", tmp_path, "--json"), "No space left on device")
    refused(
        unroll("train", LISTA, *TINY, "--steps", 6, "--out", tmp_path), "is the checkpoint of another run", tmp_path
    )
    assert unroll("train", LISTA, *TINY, "--steps", 5, "--out", tmp_path)[0] == 0
    assert logged(tmp_path) == [1, 2, 3, 4, 5]


def test_a_dictionary_of_ones_own_is_used(unroll, small, tmp_path):
    matrix = np.random.default_rng(0).normal(size=(12, 18))
    np.save(tmp_path / "a.npy", matrix)
    assert (
        unroll(
            "train",
            LISTA,
            "--task",
            "recovery",
            "--depth",
            2,
            "--steps",
            3,
            "--data",
            tmp_path / "a.npy",
            "--out",
            tmp_path / "out",
        )[0]
        == 0
    )
    _, fixed, _ = read_weights(tmp_path / "out" / "weights.safetensors")
    np.testing.assert_allclose(fixed["dictionary"].numpy(), matrix / np.linalg.norm(matrix, axis=0), rtol=1e-5)


# compare


def test_compare_writes_page_weights_and_json_and_takes_weights_back(unroll, small, tmp_path):
    status, output, errors = unroll("compare", LISTA, *TINY, "--steps", 10, "--out", tmp_path / "a")
    assert status == 0, errors
    assert {"index.html", "weights.safetensors", "comparison.json"} <= {
        file.name for file in (tmp_path / "a").iterdir()
    }
    found = json.loads((tmp_path / "a" / "comparison.json").read_text(), parse_constant=pytest.fail)
    page = (tmp_path / "a" / "index.html").read_text()
    assert found["schema"] == 1
    assert {row["role"] for row in found["rows"]} == {"network", "initial", "parent", "classical", "library", "generic"}
    assert found["command"].startswith("unroll compare sparse_coding/lista --task recovery")
    assert all(row["name"] in page for row in found["rows"])
    assert 'src="http' not in page
    assert "LISTA, 3 layers" in output
    assert found["headline"] in output

    status, output, errors = unroll(
        "compare", LISTA, *TINY, "--weights", tmp_path / "a" / "weights.safetensors", "--out", tmp_path / "b", "--json"
    )
    assert status == 0, errors
    again = json.loads(output, parse_constant=pytest.fail)
    assert [row["quality"] for row in again["rows"]] == [row["quality"] for row in found["rows"]]
    assert again["rows"][0]["note"] == "weights from weights.safetensors"
    one, other = (read_weights(tmp_path / folder / "weights.safetensors") for folder in "ab")
    assert same(one[0], other[0])
    assert one[2] == other[2]
    assert not (tmp_path / "b" / "checkpoint.safetensors").exists()


def test_pretrained_takes_the_shipped_weights(unroll, monkeypatch, tmp_path):
    shipping = replace(system(), home=tmp_path)
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: shipping})
    assert unroll("train", LISTA, *TINY, "--steps", 5, "--out", tmp_path / "a")[0] == 0
    (tmp_path / "weights").mkdir()
    (tmp_path / "a" / "weights.safetensors").rename(
        tmp_path / "weights" / "lista-recovery-20x40-p0.1-snrinf-3.safetensors"
    )
    monkeypatch.setattr("unrolling.training.fit.fit", lambda *arguments, **options: pytest.fail("trained"))
    status, output, errors = unroll("compare", LISTA, *TINY, "--pretrained", "--out", tmp_path / "b", "--json")
    assert status == 0, errors
    assert json.loads(output)["rows"][0]["note"] == "shipped weights"
    refused(
        unroll("compare", LISTA, *TINY, "--pretrained", "--set", "probability=0.2", "--out", tmp_path / "c"),
        "no weights are shipped",
        "probability 0.2",
    )


@pytest.mark.parametrize("task", ["recovery", "photographs"])
def test_weights_of_lcod_are_taken_back_too(task, unroll, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    own = (
        TINY
        if task == "recovery"
        else ("--task", "photographs", "--depth", "3", "--data", write_pictures(tmp_path / "pictures"))
    )
    assert unroll("train", "sparse_coding/lcod", *own, "--steps", 3, "--out", tmp_path / "a")[0] == 0
    monkeypatch.setattr("unrolling.evaluation.compare.compare", lambda *arguments, **options: sys.exit(17))
    status, _, errors = unroll(
        "compare",
        "sparse_coding/lcod",
        *own,
        "--weights",
        tmp_path / "a" / "weights.safetensors",
        "--out",
        tmp_path / "b",
    )
    assert status == 17, errors


def test_weights_bring_the_options_that_they_were_trained_with(unroll, small, tmp_path, monkeypatch):
    assert unroll("train", LISTA, *TINY, "--set", "probability=0.3", "--steps", 3, "--out", tmp_path / "a")[0] == 0
    seen = []
    monkeypatch.setattr(
        "unrolling.evaluation.compare.compare",
        lambda system, name, recipe, task, *rest, **options: (seen.append(task.probability), sys.exit(0)),
    )
    status, _, errors = unroll(
        "compare",
        LISTA,
        "--task",
        "recovery",
        "--weights",
        tmp_path / "a" / "weights.safetensors",
        "--out",
        tmp_path / "b",
    )
    # Either the task of the card, or a refusal that says what differs.
    assert seen == [0.3] or (status == 2 and "probability" in errors)


# Mistakes, each found before any work


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
