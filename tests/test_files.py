"""Files that are whole or not there."""

import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from unrolling.training import files

OLD = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True), "c": torch.tensor([1 + 2j])}


def test_a_file_gives_back_its_tensors_and_its_record_to_the_bit(tmp_path):
    record = {"text": "größer", "list": [1, 2.5, None], "nested": {"x": "y"}}
    double = torch.tensor([[1 + 2j, -0.5j]], dtype=torch.complex128)
    more = {
        "t": OLD["a"].T,
        "p": nn.Parameter(torch.ones(2, dtype=torch.float64) / 3),
        "double": double,
        "conj": double.conj(),
    }
    files.write(tmp_path / "f", {**OLD, **more}, record)
    tensors, found = files.read(tmp_path / "f")
    assert found == record
    assert tensors.keys() == OLD.keys() | more.keys()
    for name, tensor in {**OLD, **more}.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor.detach())


def test_tensors_that_share_memory_are_kept_under_each_of_their_names(tmp_path):
    base = torch.arange(6.0)
    files.write(tmp_path / "f", {"a": base, "b": base, "part": base[2:4]}, {})
    tensors, _ = files.read(tmp_path / "f")
    assert torch.equal(tensors["a"], base)
    assert torch.equal(tensors["b"], base)
    assert torch.equal(tensors["part"], base[2:4])


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(broken, tmp_path, monkeypatch):
    path = tmp_path / "f.safetensors"
    files.write(path, OLD, {"version": "old"})

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(OSError, match="No space left"):
            files.write(path, {"a": torch.zeros(2)}, {"version": "new"})
    assert [file.name for file in tmp_path.iterdir()] == ["f.safetensors"]
    tensors, record = files.read(path)
    assert record == {"version": "old"}
    assert torch.equal(tensors["a"], OLD["a"])
    files.write(path, {"a": torch.zeros(2)}, {"version": "new"})
    assert files.read(path)[1] == {"version": "new"}


def test_the_new_file_is_on_the_disk_before_it_gets_the_name(tmp_path, monkeypatch):
    order = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda descriptor: (order.append(("fsync", os.fstat(descriptor).st_size)), real_fsync(descriptor))[1],
    )
    monkeypatch.setattr(
        os,
        "replace",
        lambda old, new: (order.append(("replace", Path(old).parent == Path(new).parent)), real_replace(old, new))[1],
    )
    files.write_bytes(tmp_path / "f", b"12345")
    assert order[:2] == [("fsync", 5), ("replace", True)]
    assert [kind for kind, _ in order] == ["fsync", "replace", "fsync"]  # the folder last: only then is the name safe
    assert (tmp_path / "f").read_bytes() == b"12345"
