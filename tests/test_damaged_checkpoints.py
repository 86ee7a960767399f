"""A checkpoint or a weights file of which a single byte is not what was written, and everything else that happens to
files: the older one is taken, and said, or the run is refused in words.
"""

import json
import struct

import pytest
import torch
from interrupted import SCHEDULE, Interrupted, KilledError, newest, uninterrupted
from safetensors.torch import load, save
from tiny import bits, network, recovery, same

from unrolling.training import files
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fit import fit


def header(content):
    """Where the tensors begin."""
    return 8 + struct.unpack("<Q", content[:8])[0]


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def half(content):
    """As safetensors writes it, in half precision."""
    metadata = json.loads(content[8 : header(content)])["__metadata__"]
    tensors = {name: t.half() if t.dtype == torch.float32 else t for name, t in load(content).items()}
    return save(tensors, metadata)


def without_checksum(content):
    metadata = json.loads(content[8 : header(content)])["__metadata__"]
    return save(load(content), {"record": metadata["record"]})


DAMAGES = {
    "cut off": lambda content: content[:-100],
    "empty": lambda content: b"",
    "a byte of the length": lambda content: flipped(content, 1),
    "a byte of the header": lambda content: flipped(content, header(content) // 2),
    "a byte of the padding or the last brace": lambda content: flipped(content, header(content) - 1),
    "a byte of a tensor": lambda content: flipped(content, len(content) - 3),
    "a byte of the record": lambda content: flipped(content, content.index(b'\\"step\\"') + 12),
    "another dtype": half,
    "without its checksum": without_checksum,
    "another format": lambda content: b"PK\x03\x04" + content[4:],
    "garbage": lambda content: (
        torch.randint(256, (500,), generator=torch.Generator().manual_seed(0)).byte().numpy().tobytes()
    ),
    "a deep nest": lambda content: struct.pack("<Q", 200_000) + b"[" * 200_000,
}


def interrupted(tmp_path):
    task = recovery(Interrupted)
    task.left = 7
    with pytest.raises(KilledError):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    return newest(tmp_path)


def resumed(tmp_path):
    task = recovery(Interrupted)
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    return bits(net)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_older_checkpoint_is_taken_and_said(damage, tmp_path):
    path = interrupted(tmp_path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.warns(RuntimeWarning, match=f"{path.name}.*going on from checkpoint-000-000000006"):
        assert same(resumed(tmp_path), uninterrupted())
    assert path.with_name(f"{path.name}.damaged").exists()


def test_a_checkpoint_under_the_name_of_another_is_found_out(tmp_path):
    path = interrupted(tmp_path)
    older = sorted(tmp_path.glob(PATTERN))[0]
    path.write_bytes(older.read_bytes())
    with pytest.warns(RuntimeWarning, match="is the checkpoint of another moment.*going on"):
        assert same(resumed(tmp_path), uninterrupted())


def test_a_folder_of_the_name_of_a_checkpoint_does_not_stand_in_the_way(tmp_path):
    path = interrupted(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.warns(RuntimeWarning, match=f"{path.name}.*going on"):
        assert same(resumed(tmp_path), uninterrupted())


def test_when_all_are_damaged_the_run_is_refused_and_nothing_is_touched(tmp_path):
    interrupted(tmp_path)
    paths = sorted(tmp_path.glob(PATTERN))
    for path in paths:
        path.write_bytes(flipped(path.read_bytes(), len(path.read_bytes()) - 3))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"its checksum is not that of its bytes.*delete it to begin anew"):
        resumed(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_damaged_checkpoints_do_not_push_out_whole_ones(tmp_path):
    """With ``keep=2`` and the two newest damaged, the next one that is written is older than both by name."""
    task = recovery(Interrupted)
    task.left = 8
    with pytest.raises(KilledError):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, keep=4, checkpoint_seconds=0, quiet=True)
    for path in sorted(tmp_path.glob(PATTERN))[-2:]:
        path.write_bytes(b"")
    task.left = 1
    with pytest.warns(RuntimeWarning, match="going on"), pytest.raises(KilledError):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    assert newest(tmp_path).name == "checkpoint-000-000000007.safetensors"
    assert same(resumed(tmp_path), uninterrupted())


def test_every_byte_of_a_file_counts(tmp_path):
    path = tmp_path / "f"
    files.write(path, {"a": torch.randn(3), "b": torch.ones(1, dtype=torch.complex128)}, {"text": "ü", "list": [1, 2]})
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(flipped(content, place))
        with pytest.raises(ValueError, match=r"damaged or was changed|not a safetensors file|no record"):
            files.read(path)


def test_the_same_content_is_the_same_file(tmp_path):
    for name in "ab":
        files.write(tmp_path / name, {"a": torch.ones(3)}, {"x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
