"""The command line: what it prints and writes, and how it refuses."""

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import LISTA, TINY, refused
from command_line import small as small
from tiny import same, system, write_pictures

from unrolling.systems import catalogue as catalogue_module
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.weights import read_weights


def logged(folder):
    """The steps whose loss the log holds."""
    return [
        line["step"] for line in map(json.loads, (folder / "training.jsonl").read_text().splitlines()) if "loss" in line
    ]


def test_large_tensors_lie_in_huge_pages_unless_told_otherwise(unroll, monkeypatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    unroll("list")
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    unroll("list")
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


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
    assert not list((tmp_path / "a").glob("checkpoint*"))
    assert unroll("train", LISTA, *TINY, "--steps", 6, "--overwrite", "--out", tmp_path / "a")[0] == 0
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
