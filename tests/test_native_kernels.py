"""Kernels that are compiled when they are first used: without a compiler, with a broken cache, by several processes."""

import os
import subprocess
import sys

import pytest
import torch
from iterations import gaussian
from support_selection import needs_kernel, reference

from unrolling.core import kept, native
from unrolling.prox import support
from unrolling.prox.support import support_select


@pytest.fixture
def first_use(monkeypatch, tmp_path):
    """As if no kernel had been built yet: an empty cache, and a warning asked for if none can be built."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UNROLLING_VERBOSE", "1")
    monkeypatch.delenv("CXX", raising=False)
    support._kernels.cache_clear()
    yield tmp_path / "cache" / "unrolling"
    support._kernels.cache_clear()


@pytest.mark.parametrize(
    "obstacle", ["no compiler", "wrong compiler", "failing compiler", "slow compiler", "nowhere", "no source"]
)
def test_without_a_kernel_torch_operators_take_over(first_use, monkeypatch, recwarn, tmp_path, obstacle):
    if obstacle == "no compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif obstacle == "wrong compiler":
        monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    elif obstacle == "failing compiler":
        monkeypatch.setenv("CXX", f"{sys.executable} -c 'import sys; sys.exit(\"out of order\")'")
    elif obstacle == "slow compiler":
        monkeypatch.setattr(native, "_PATIENCE", 0.2)
        monkeypatch.setenv("CXX", "sh -c 'sleep 5; true'")
    elif obstacle == "nowhere":
        monkeypatch.setattr(kept, "_folders", lambda make: iter(()))
    else:
        monkeypatch.setattr(support, "__file__", str(tmp_path / "support.py"))
    z = gaussian(4, 9)
    for _ in range(3):
        assert torch.equal(support_select(z, 0.4, 3), reference(z, 0.4, 3))
    (warned,) = recwarn
    assert "support_select runs on torch operators" in str(warned.message)
    assert obstacle != "failing compiler" or "out of order" in str(warned.message)
    assert not list(first_use.glob("*"))


def test_nothing_is_said_unless_asked(first_use, monkeypatch, recwarn):
    monkeypatch.delenv("UNROLLING_VERBOSE")
    monkeypatch.setenv("CXX", "absent")
    support_select(gaussian(4, 9), 0.4, 3)
    assert not recwarn


@needs_kernel
@pytest.mark.nightly
def test_processes_that_compile_at_once_do_not_disturb_each_other(tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\necho >> "$0.log"\nsleep 1\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    program = (
        "import torch; from unrolling.prox import support as s; print(len(s._kernels()), "
        "s.support_select(torch.tensor([3., 2., 1.]), .5, 1).tolist())"
    )
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path), "CXX": str(compiler)}
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["2 [3.0, 1.5, 0.5]"] * 2
    assert len((tmp_path / "compiler.log").read_text()) == 2
    assert len(list((tmp_path / "unrolling").iterdir())) == 1
