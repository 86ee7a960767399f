"""``unroll export``, and the examples that run its files without this library."""

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import LISTA
from command_line import small as small
from exported import QUICK, card_of, file, lista_in_numpy
from families import by_day
from iterations import Channel, Detection, channel_data
from tiny import moved, network, recovery

from unrolling import unroll
from unrolling.export import export, load, untrained
from unrolling.systems import catalogue as catalogue_module
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.weights import save_weights

EXAMPLES = Path(__file__).parents[1] / "examples"


TINY = ("--task", "recovery", "--set", "m=10", "--set", "n=20", "--depth", "2")


@pytest.fixture
def unrolled(unroll, monkeypatch, tmp_path):
    """Runs `unroll export` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: unroll("export", *arguments)


@pytest.fixture
def weights(small, tmp_path):
    """Of a network that has learned something."""
    recipe = small.recipes["recovery"]
    task = small.task("recovery", m=10, n=20)
    save_weights(
        moved(small.network(recipe, task, 2)),
        tmp_path / "w.safetensors",
        {"system": LISTA, "task": task.identity(), "licence": "CC0"},
        task.fixed_tensors(),
    )
    return tmp_path / "w.safetensors"


def refused(result, *words):
    """Status 2 and one line."""
    status, output, errors = result
    assert status == 2, errors
    assert output == ""
    assert errors.startswith("unroll: ")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors


def test_the_command_writes_a_file_with_the_weights_card(unrolled, weights, tmp_path):
    status, output, errors = unrolled(LISTA, *TINY, "--weights", weights, "--out", "sub/lista.pt2", "--json")
    assert status == 0, errors
    said = json.loads(output, parse_constant=pytest.fail)
    card = card_of(tmp_path / "sub" / "lista.pt2", "torch")
    assert said["card"] == card
    assert said["max_relative_error"] == 0
    assert (card["system"], card["title"], card["trained"], card["licence"], card["weights"]["depth"]) == (
        LISTA,
        "LISTA",
        True,
        "CC0",
        2,
    )
    assert (card["task"]["m"], card["inputs"][0]["unit"]) == (10, "1")
    assert [shapes["data"] for shapes in said["compared"]] == [[1, 10], [2, 10], [5, 10]]


def test_the_command_prints_what_goes_in_and_out(unrolled, weights, tmp_path):
    pytest.importorskip("onnxruntime")
    status, output, errors = unrolled(LISTA, *TINY, "--weights", weights, "--format", "onnx", "--batch", "8")
    assert status == 0, errors
    for words in (
        "sparse_coding-lista-recovery.onnx: ONNX model, opset 20",
        "(8, 10)",
        "(8, 20)",
        "float32",
        "largest error",
    ):
        assert words in output
    assert (tmp_path / "sparse_coding-lista-recovery.onnx").is_file()


def test_the_command_measures_what_fewer_bits_lose(unrolled, weights):
    status, output, errors = unrolled(LISTA, *TINY, "--weights", weights, "--precision", "int8", "--json")
    assert status == 0, errors
    card = json.loads(output)["card"]
    assert card["precision"]["weights"] == "int8"
    assert card["quality"]["metric"] == "NMSE"
    assert 0 < abs(card["quality"]["float32"] - card["quality"]["int8"]) < 1
    refused(unrolled(LISTA, *TINY, "--weights", weights, "--precision", "int4"), "no precision 'int4'", "bf16")


def test_an_untrained_network_is_exported_only_on_request(unrolled, small, tmp_path):
    recipe = small.recipes["recovery"]
    task = small.task("recovery", m=10, n=20)
    save_weights(
        small.network(recipe, task, 2),
        tmp_path / "w.safetensors",
        {"system": LISTA, "task": task.identity()},
        task.fixed_tensors(),
    )
    refused(unrolled(LISTA, *TINY, "--weights", "w.safetensors"), "still the classical one", "give --untrained")
    assert not list(tmp_path.glob("*.pt2"))
    assert unrolled(LISTA, *TINY, "--weights", "w.safetensors", "--untrained")[0] == 0
    assert unrolled(LISTA, *TINY, "--untrained", "--out", "b.pt2")[0] == 0
    y = small.task("recovery", m=10, n=20).timing.data
    assert card_of(tmp_path / "b.pt2", "torch")["trained"] is False
    torch.testing.assert_close(load(tmp_path / "b.pt2")(y), small.network(recipe, task, 2)(y).detach())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "tflite"), ("no format 'tflite'",)),
        (("--batch", "0"), ("--batch is 0; it is a number of samples, at least 1, or dynamic",)),
        (("--batch", "many"), ("--batch is many",)),
        (("--out", "w.safetensors/a.pt2"), ("cannot write",)),
        (("--out", "a.onnx"), ("ends in .pt2",)),
        ((), ("no weights are shipped", "--untrained")),
    ],
)
def test_mistakes_of_the_command_are_one_line_before_the_task_is_built(
    arguments, words, unrolled, weights, small, monkeypatch
):
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: small})
    monkeypatch.setattr(Recovery, "__init__", lambda *given, **options: pytest.fail("the task was built"))
    refused(unrolled(LISTA, *TINY, *arguments), *words)


def test_a_format_that_a_recipe_rules_out_is_refused_with_its_reason(unrolled, small, monkeypatch):
    changed = replace(small, not_exported={"recovery": {"torch": "it dreams"}})
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: changed})
    refused(unrolled(LISTA, *TINY, "--untrained"), "on recovery cannot be exported as torch: it dreams")


# The examples


@pytest.mark.parametrize("form", by_day("onnx", "torch"))
def test_the_examples_run_a_file_without_this_library(form, tmp_path):
    task = recovery()
    net, script = moved(network(task, 2)), EXAMPLES / ("run_onnx.py" if form == "onnx" else "run_exported.py")
    path = export(net, file(tmp_path, form), task.timing.data, format=form, card={"title": "LISTA"}).path
    y = task.draw(5, torch.Generator().manual_seed(1)).data.numpy()
    np.save(tmp_path / "y.npy", y)
    banned = ["unrolling"] + ["torch"] * (form == "onnx")
    code = (
        f"import sys, runpy; runpy.run_path({str(script)!r}); assert not set({banned}) & set(sys.modules), 'more "
        "than the runtime was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, path, "data=y.npy"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "LISTA" in done.stdout
    assert "data: (5, 8), float32" in done.stdout
    np.testing.assert_allclose(np.load(tmp_path / "estimate.npy"), lista_in_numpy(net, y), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", by_day(*QUICK))
def test_the_examples_draw_numbers_of_the_right_shapes(form, tmp_path, monkeypatch, capsys):
    path = export(unroll(Detection(), 1), file(tmp_path, form), channel_data(3), format=form).path
    monkeypatch.setattr(sys, "argv", ["example", str(path)])
    runpy.run_path(str(EXAMPLES / ("run_onnx.py" if form == "onnx" else "run_exported.py")))
    assert "matrix: (3, 3, 3), float64" in capsys.readouterr().out


def test_an_untrained_network_is_known_by_its_bits():
    net = network(recovery(), 2)
    assert untrained(net)
    with torch.no_grad():
        net.layers[1].inhibition[0, 0] += 1e-6
    assert not untrained(net)


def test_a_channel_keeps_its_fields():
    """The names that the examples and the cards rely on."""
    assert Channel._fields == ("y", "matrix", "scale")
