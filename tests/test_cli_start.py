"""What the command line answers without waiting for torch: help, version, the list of systems, shell completion."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import unrolling
from unrolling.systems import index

HEAVY = {"torch", "numpy", "sklearn", "skimage", "scipy", "lightning_fabric", "safetensors"}


def started(*words, **environment):
    """What a fresh process prints for a command, and the modules it has imported by then."""
    code = (
        "import atexit, sys; sys.argv[:] = ['unroll', *sys.argv[1:]]\n"
        "atexit.register(lambda: print('MODULES', *sys.modules, file=sys.stderr))\n"
        "from unrolling.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120", **environment},
    )
    *errors, modules = done.stderr.splitlines()
    return done.returncode, done.stdout, errors, {name.split(".")[0] for name in modules.split()}


def completed(line, **environment):
    words = line.split(" ")
    status, output, errors, modules = started(
        _UNROLL_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), **environment
    )
    assert (status, errors) == (0, [])
    assert not modules & HEAVY
    return output.split()


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("list",), ("list", "--json"), ("train", "--help")])
def test_help_version_and_list_do_not_import_torch(words):
    status, output, errors, modules = started(*words)
    assert (status, errors) == (0, [])
    assert output
    assert not modules & HEAVY


def test_the_version_is_printed():
    assert started("--version")[1] == f"unrolling {unrolling.__version__}\n"


def test_list_says_what_each_system_comes_with_and_takes_a_field():
    entries = json.loads(started("list", "--json")[1])
    assert entries == index.read_index()
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["imaging/tnrd"]["weights"] == {"denoising": ["tnrd-denoising-sigma25-5"]}
    assert "denoising" in by_name["imaging/tnrd"]["applied"]
    assert not any(by_name["sparse_coding/gated_lista"]["weights"].values())
    output = started("list", "imaging")[1]
    assert "imaging/tnrd\n" in output
    assert "speech" not in output
    assert "weights; applied to files; exported as torch, onnx" in output
    status, _, errors, _ = started("list", "astrology")
    assert status == 2
    assert errors == [
        "unroll: no field 'astrology'; there are communications, graphs, imaging, medical, power, "
        "sparse_coding, speech, tracking, vision"
    ]


def test_a_shell_completes_names_of_systems_and_of_their_tasks():
    assert completed("unroll show sparse_coding/lista_c") == ["sparse_coding/lista_cp", "sparse_coding/lista_cpss"]
    assert completed("unroll show tnrd_s") == ["tnrd_sr"]
    assert completed("unroll train lista --task rec") == ["recovery"]
    assert sorted(completed("unroll rep")) == ["report", "reproduce"]


def test_systems_of_other_packages_are_listed_by_name_and_never_imported(monkeypatch, unroll):
    def fails():
        pytest.fail("a package was imported")

    entries = [
        SimpleNamespace(name="their_field/net", value="theirs:NET", load=fails),
        SimpleNamespace(name="sparse_coding/lista", value="evil:LISTA", load=fails),
    ]
    monkeypatch.setattr(index, "entry_points", lambda group: entries)
    with pytest.warns(RuntimeWarning, match=r"sparse_coding/lista \(evil:LISTA\) is named like the system"):
        status, output, _ = unroll("list")
    assert status == 0
    assert "their_field/net\n    of another package: theirs:NET" in output
    assert "evil" not in output


def test_list_takes_a_paradigm():
    by_name = {entry["name"]: entry["paradigm"] for entry in index.read_index()}
    found = json.loads(started("list", "--paradigm", "hyperparameters", "--json")[1])
    assert {entry["name"] for entry in found} == {name for name, kind in by_name.items() if kind == "hyperparameters"}
    assert "sparse_coding/alista" in {entry["name"] for entry in found}
    output = started("list", "medical", "--paradigm", "DNN inductive bias")[1]
    assert "medical/modl\n" in output
    assert "    DNN inductive bias; " in output
    assert "medical/admm_csnet" not in output
    status, _, errors, _ = started("list", "--paradigm", "magic")
    assert status == 2
    assert errors == ["unroll: no paradigm 'magic'; there are hyperparameters, objective, correction, inductive-bias"]
    status, _, errors, _ = started("list", "speech", "--paradigm", "hyperparameters")
    assert status == 2
    assert errors == [
        "unroll: no system of speech has the paradigm hyperparameters; there are objective, inductive-bias"
    ]
