"""What an export refuses, before any work or at its end, and what a loaded network refuses."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from exported import FORMATS, QUICK, file, run
from families import by_day
from iterations import Detection, Shrinking, channel_data, gaussian, unit_dictionary
from tiny import moved, network, recovery
from torch import nn

from unrolling import Equilibrium, Iteration, unroll
from unrolling.algorithms import GramISTA
from unrolling.export import ExportError, export, load
from unrolling.export import exporter as exporter_module
from unrolling.operators import conjugate_gradients

# What is refused before any work


@pytest.fixture
def untouched(monkeypatch):
    """Nothing may be traced."""
    monkeypatch.setattr(exporter_module, "discover", lambda *arguments, **options: pytest.fail("the work began"))


def test_an_unknown_format_gets_the_list(untouched, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"no format 'tflite'; there are torch \(torch.export program\), onnx \(ONNX "
        r"model\), aoti",
    ):
        export(unroll(Shrinking(), 1), tmp_path / "a.onnx", gaussian(3, 9), format="tflite")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_what_to_install(missing, untouched, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=rf"format onnx needs the package {missing}: pip install 'unrolling\[export\]'"
    ):
        export(unroll(Shrinking(), 1), tmp_path / "network.onnx", gaussian(3, 9), format="onnx")


def test_aoti_without_a_compiler_says_so(untouched, tmp_path):
    from torch._inductor import config, cpp_builder

    cpp_builder.cpp_compiler_search.cache_clear()
    words = r"format aoti compiles a network with a C\+\+ compiler, and there is none: install g\+\+"
    try:
        with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(RuntimeError, match=words):
            export(unroll(Shrinking(), 1), file(tmp_path, "aoti"), gaussian(3, 9), format="aoti")
    finally:
        cpp_builder.cpp_compiler_search.cache_clear()


def test_a_path_that_cannot_be_written_is_found_before_the_work(untouched, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.pt2").mkdir()
    net, y = unroll(Shrinking(), 1), gaussian(3, 9)
    with pytest.raises(ValueError, match=r"cannot write .*network\.pt2"):
        export(net, tmp_path / "file" / "network.pt2", y)
    with pytest.raises(ValueError, match="it is a folder"):
        export(net, tmp_path / "folder.pt2", y)
    with pytest.raises(ValueError, match=r"a file of the format onnx has a name that ends in \.onnx; got network\.pt2"):
        export(net, tmp_path / "network.pt2", y, format="onnx")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found_before_the_work(untouched, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        export(unroll(Shrinking(), 1), tmp_path / "network.pt2", gaussian(3, 9))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_is_not_finite_is_refused_by_the_parameters_name(value, untouched, tmp_path):
    task = recovery()
    net = network(task, 3)
    with torch.no_grad():
        net.layers[1].inhibition[0, 0] = value
    with pytest.raises(ValueError, match=r"NaN or infinite in layers\.1\.inhibition: it must be trained again"):
        export(net, file(tmp_path, "torch"), task.timing.data)


def test_what_is_no_network_of_finite_depth_is_refused(untouched, tmp_path):
    ista, y = GramISTA(unit_dictionary(6, 9), 0.1), gaussian(3, 6)
    with pytest.raises(TypeError, match=r"GramISTA is an iteration, .* unroll\(GramISTA\(...\), depth\)"):
        export(ista, file(tmp_path, "torch"), y)
    with pytest.raises(TypeError, match="an Equilibrium runs until it has converged"):
        export(Equilibrium(ista), file(tmp_path, "torch"), y)
    with pytest.raises(TypeError, match=r"a network is an nn\.Module; got a function"):
        export(lambda y: y, file(tmp_path, "torch"), y)


class Two(nn.Module):
    """Returns two tensors."""

    def forward(self, y):
        return y, y


class Logarithm(nn.Module):
    """NaN for what is negative."""

    def forward(self, y):
        return torch.log(y)


def test_data_that_do_not_do_are_refused(untouched, tmp_path):
    net, path = unroll(Shrinking(), 1), file(tmp_path, "torch")
    with pytest.raises(ValueError, match=r"the example holds one sample; .* \(or export for one batch size, batch=1\)"):
        export(net, path, gaussian(1, 9))
    with pytest.raises(ValueError, match="batch is 4, and the example holds 3 samples"):
        export(net, path, gaussian(3, 9), batch=4)
    with pytest.raises(TypeError, match=r"data is torch\.int16; exported networks take float16, float32"):
        export(net, path, torch.ones(3, 9, dtype=torch.int16))
    with pytest.raises(ValueError, match="the data hold no tensor: got a float"):
        export(net, path, 3.0)
    with pytest.raises(TypeError, match="the network returns a tuple"):
        export(Two(), path, gaussian(3, 9))
    with pytest.raises(ValueError, match="the network's estimate of the example is not finite"):
        export(Logarithm(), path, gaussian(3, 9))
    with pytest.raises(ValueError, match=r"data must have shape \(batch, ..., 8\)"):
        export(network(recovery(), 1), path, torch.randn(3, 7))


# What is refused in the end, and leaves nothing behind


class FixedBatch(Iteration):
    """Takes the batch for a number."""

    def start(self, problem):
        return problem.new_zeros(int(problem.shape[0]), 4)

    def forward(self, state, problem):
        return state + problem[:, :4]


def test_a_network_that_fixes_the_batch_is_told_how_not_to(tmp_path):
    with pytest.raises(ExportError, match=r"y\.shape\[0\]|cannot be traced.*batch"):
        export(unroll(FixedBatch(), 1), file(tmp_path, "torch"), torch.randn(3, 6))
    assert list(tmp_path.iterdir()) == []
    export(unroll(FixedBatch(), 1), file(tmp_path, "torch"), torch.randn(3, 6), batch=3)


class Branching(Iteration):
    """Goes by the values of its data."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return 2 * state if bool(state.sum() > 0) else state


class Determinant(Iteration):
    """Something that ONNX has and something that it has not."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return torch.linalg.eigvalsh(state @ state.mT).unsqueeze(-1) * problem


@pytest.mark.parametrize(
    ("form", "net", "example", "words"),
    [
        ("torch", Branching, torch.randn(3, 6), "the network cannot be traced"),
        (
            "onnx",
            Determinant,
            torch.randn(3, 4, 4),
            "ONNX has no aten._linalg_eigh, .* a buffer; .*conjugate_gradients.* torch and aoti",
        ),
    ],
)
def test_what_a_format_cannot_express_is_named(form, net, example, words, tmp_path):
    with pytest.raises(ExportError, match=words) as caught:
        export(unroll(net(), 1), file(tmp_path, form), example, format=form)
    assert str(caught.value).count("\n") == 0
    assert list(tmp_path.iterdir()) == []


class Steps(nn.Module):
    """(Y Y^T + I)^-1 Y 1 in a number of steps."""

    def forward(self, y):
        def product(v):
            return (y @ (y.mT @ v.unsqueeze(-1))).squeeze(-1) + v

        return conjugate_gradients(product, y.sum(-1), tolerance=0.0, max_iterations=6)


@pytest.mark.nightly
def test_what_is_told_in_the_place_of_a_factorisation_can_be_written(tmp_path):
    y = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    loaded = load(export(Steps(), file(tmp_path, "onnx"), y, format="onnx").path)
    exact = torch.linalg.solve(y @ y.mT + torch.eye(4), y.sum(-1))
    torch.testing.assert_close(loaded(y), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", by_day(1e-2, float("nan")))
@pytest.mark.parametrize("form", QUICK)
def test_a_file_that_gives_other_results_is_removed_and_the_old_one_stays(form, change, monkeypatch, tmp_path):
    task = recovery()
    net, path = moved(network(task, 2)), file(tmp_path, form)
    wrong = copy.deepcopy(net)
    with torch.no_grad():
        wrong.layers[1].inhibition += change
    path.write_bytes(b"old")
    original = exporter_module.frozen
    monkeypatch.setattr(exporter_module, "frozen", lambda given: original(wrong))
    with pytest.raises(ExportError, match=r"differs from the network.*; it was removed"):
        export(net, path, task.timing.data, format=form)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(monkeypatch, tmp_path):
    path = file(tmp_path, "torch")
    path.write_bytes(b"old")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(OSError, match="No space left"):
        export(unroll(Shrinking(), 1), path, gaussian(3, 9))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# Calling what was loaded


@pytest.mark.parametrize("form", FORMATS)
def test_inputs_outside_the_exported_range_are_refused(form, tmp_path):
    done = export(unroll(Detection(), 1), file(tmp_path, form), channel_data(3), format=form)
    loaded, good = load(done.path, done.format), channel_data(2)
    with pytest.raises(ValueError, match="batch is 0; the network was exported for sizes from 1"):
        loaded(channel_data(0))
    with pytest.raises(
        ValueError,
        match=r"matrix has shape \(2, 6, 4\); the network was exported for \(batch, y_1, "
        r"matrix_2\) with batch = 2, y_1 = 5",
    ):
        loaded(good._replace(matrix=torch.ones(2, 6, 4, dtype=torch.float64)))
    with pytest.raises(ValueError, match=r"scale has shape \(2, 4\); the network was exported for \(1, matrix_2\)"):
        loaded(good._replace(scale=torch.ones(2, 4, dtype=torch.float64)))
    with pytest.raises(TypeError, match="y is float32; the network was exported for float64"):
        loaded(good._replace(y=good.y.float()))
    with pytest.raises(ValueError, match="the network's inputs are y, matrix, scale; got y"):
        loaded(y=good.y)
    with pytest.raises(TypeError, match="not both"):
        loaded(good, y=good.y)


@pytest.mark.parametrize(
    ("form", "words"), [("torch", r"shape\[1\] to be equal to 8, but got 7"), ("onnx", "Got: 7 Expected: 8")]
)
def test_the_runtimes_themselves_refuse_another_width(form, words, tmp_path):
    task = recovery()
    done = export(network(task, 1), file(tmp_path, form), task.timing.data, format=form)
    with pytest.raises(Exception, match=words):
        run(done.path, form, data=np.zeros((3, 7), np.float32))


@pytest.mark.slow
@pytest.mark.nightly
def test_aoti_refuses_another_width_when_its_variable_is_set(tmp_path):
    """It reads the variable once per process."""
    path = export(unroll(Shrinking(), 1), file(tmp_path, "aoti"), gaussian(3, 9), format="aoti", free_sizes=False).path
    script = (
        "import sys, torch; run = torch._inductor.aoti_load_package(sys.argv[1]); print(run(data=torch.ones(2, "
        "int(sys.argv[2])).double()).shape)"
    )
    environment = {**os.environ, "AOTI_RUNTIME_CHECK_INPUTS": "1"}
    good, bad = (
        subprocess.run(
            [sys.executable, "-c", script, path, width], capture_output=True, text=True, check=False, env=environment
        )
        for width in ("9", "8")
    )
    assert (good.returncode, good.stdout.strip()) == (0, "torch.Size([2, 7])"), good.stderr
    assert bad.returncode != 0
    assert "expected: 9, but got: 8" in bad.stderr


@pytest.mark.parametrize(("name", "content"), [("a.onnx", b"hello"), ("a.pt2", b"hello"), ("a.onnx", b"")])
def test_a_file_that_is_no_network_is_said_to_be_none(name, content, tmp_path):
    if name.endswith("onnx"):
        pytest.importorskip("onnxruntime")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read as an ONNX model|is none of the formats torch, onnx, aoti"):
        load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"b\.pt2 does not exist"):
        load(tmp_path / "b.pt2")


def test_a_file_of_another_maker_has_no_card(tmp_path):
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), tmp_path / "a.pt2")
    with pytest.raises(ValueError, match=r"was not written by unrolling.*it has no card"):
        load(tmp_path / "a.pt2")


def test_a_truncated_file_is_refused(tmp_path):
    path = export(unroll(Shrinking(), 1), file(tmp_path, "torch"), gaussian(3, 9)).path
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        load(path)
