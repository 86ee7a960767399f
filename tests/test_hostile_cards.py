"""Cards of weights that ask for more than there is: refused before the memory is taken for it."""

import json

import pytest
import torch
from tiny import network, recovery

from unrolling.systems.catalogue import catalogue
from unrolling.training import files
from unrolling.training.weights import read_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    """A weights file and its card."""
    task, path = recovery(), tmp_path / "w.safetensors"
    save_weights(network(task), path, {"system": "a/b", "task": task.identity()}, task.fixed_tensors(), {})
    return path, *files.read(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 1_000_000_000}, "its depth is 1000000000, where a whole number from 1 to 10000"),
        ({"depth": 9_999}, "its card says 9999 layers"),
        ({"depth": 0}, "depth"),
        ({"depth": "3"}, "depth"),
        ({"depth": True}, "depth"),
        ({"tied": "encoder"}, "tied"),
        ({"task": []}, "task"),
        ({"task": {"name": "recovery", "m": 100_000, "n": 100_000}}, "a task of the sizes"),
        ({"task": {"name": "recovery", "m": 10**12}}, "a task of the sizes"),
        ({"task": {"name": "enhancement", "rate": 8000, "seconds": 1e9}}, "a task of the sizes"),
        ({"task": {"name": "recovery", "m": float("nan")}}, "a task of the sizes"),
        ({"fingerprints": {"fixed.dictionary": {"by": "task"}}}, "fingerprints"),
        ({"fingerprints": 3}, "fingerprints"),
    ],
    ids=str,
)
def test_what_a_card_cannot_say_is_refused_in_words(change, words, saved):
    path, tensors, card = saved
    files.write(path, tensors, {**card, **change})
    with pytest.raises(ValueError, match=words) as caught:
        read_weights(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", ".."])
def test_what_lies_beside_a_file_lies_beside_it(name, saved):
    path, tensors, card = saved
    made = {"by": "file", "file": name, "shape": [8, 16], "sha256": "0", "norm": 1.0, "magnitudes": []}
    files.write(path, tensors, {**card, "fingerprints": {"fixed.other": made}})
    with pytest.raises(ValueError, match=r"damaged or was changed|must lie beside it"):
        read_weights(path)


def test_one_byte_of_weights_is_found_out(saved):
    path, *_ = saved
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 4]) + content[-1:])
    with pytest.raises(ValueError, match="its checksum is not that of its bytes"):
        read_weights(path)


def test_a_shared_file_without_the_tensor_is_refused(saved):
    path, tensors, card = saved
    files.write(path.with_name("other"), {"x": torch.ones(2)}, {})
    made = {"by": "file", "file": "other", "shape": [8, 16], "sha256": "0", "norm": 1.0, "magnitudes": []}
    files.write(path, tensors, {**card, "fingerprints": {"fixed.other": made}})
    with pytest.raises(ValueError, match="other holds no `other`"):
        read_weights(path)


def test_all_shipped_cards_are_as_expected():
    for path in {path for system in catalogue().values() for path in (system.home / "weights").glob("*.safetensors")}:
        json.dumps(read_weights(path)[2])
