"""What weights files leave out because it can be made again."""

import pytest
import torch
from iterations import unit_dictionary
from stored import CARD, refused
from tiny import moved, network, recovery, same

from tools import convert_weights
from unrolling.training import files
from unrolling.training.fingerprints import fingerprint
from unrolling.training.fingerprints import same as fits
from unrolling.training.weights import load_weights, read_weights, remade, save_weights

# What is made again


def _large(**options):
    return recovery(**{"m": 40, "n": 60, **options})


def test_what_a_seed_draws_is_a_fingerprint_and_comes_back_to_the_bit(tmp_path):
    task = _large(seed=3)
    net = moved(network(task))
    made = remade(net, task)
    assert made == {"dictionary": "task"}
    card = {**CARD, "task": task.identity(), "seed": 3}
    save_weights(net, tmp_path / "w", card, task.fixed_tensors(), made)
    assert "fixed.dictionary" not in files.read(tmp_path / "w")[0]
    learned, fixed, _ = read_weights(tmp_path / "w")
    assert torch.equal(fixed["dictionary"], task.dictionary)
    twin = network(_large(fixed=fixed, seed=5))
    load_weights(twin, tmp_path / "w")
    assert same(twin.learned(), net.learned())
    # A file of format 1 has the tensor itself.
    tensors, record = files.read(tmp_path / "w")
    old = {key: value for key, value in record.items() if key != "fingerprints"}
    files.write(tmp_path / "old", {**tensors, "fixed.dictionary": task.dictionary}, {**old, "format": 1})
    assert same(read_weights(tmp_path / "old")[0], learned)
    load_weights(network(task), tmp_path / "old")
    refused(network(_large(seed=4)), tmp_path / "w", "was trained with another `dictionary`")


def test_a_dictionary_of_ones_own_is_kept_whole(tmp_path):
    task = _large(fixed={"dictionary": unit_dictionary(40, 60, dtype=torch.float32)})
    assert "dictionary" not in remade(network(task), task)
    save_weights(network(task), tmp_path / "w", {**CARD, "task": task.identity()}, task.fixed_tensors(), {})
    assert torch.equal(read_weights(tmp_path / "w")[1]["dictionary"], task.dictionary)


def test_a_task_that_draws_something_else_today_is_told(tmp_path, monkeypatch):
    task = _large()
    card = {**CARD, "task": task.identity(), "version": "0.0.9"}
    save_weights(network(task), tmp_path / "w", card, task.fixed_tensors(), remade(network(task), task))
    monkeypatch.setattr(type(task), "drawn", classmethod(lambda cls, identity: {"dictionary": -2 * task.dictionary}))
    with pytest.raises(ValueError, match=r"another `dictionary` than the task recovery draws from seed .*0.0.9"):
        read_weights(tmp_path / "w")


def test_what_training_did_not_move_is_the_parents(tmp_path):
    task = _large()
    net = network(task, tied=("encoder",), untied=("threshold",))
    with torch.no_grad():
        net.layers[1].threshold += 1
    save_weights(net, tmp_path / "w", {**CARD, "task": task.identity()}, task.fixed_tensors(), remade(net, task))
    learned, _, card = read_weights(tmp_path / "w")
    assert "encoder.matrix" not in learned
    assert card["fingerprints"]["encoder.matrix"]["by"] == "parent"
    twin = moved(network(task, tied=("encoder",), untied=("threshold",)))
    load_weights(twin, tmp_path / "w")
    assert same(twin.learned(), net.learned())
    other = network(
        recovery(m=40, n=60, fixed={"dictionary": task.dictionary}), tied=("encoder",), untied=("threshold",)
    )
    load_weights(other, tmp_path / "w")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_a_fingerprint_tells_another_tensor_from_another_rounding(dtype):
    tensor = torch.randn(20, 30, generator=torch.Generator().manual_seed(0), dtype=dtype)
    record = fingerprint(tensor)
    assert fits(tensor * (1 + 1e-6), record)
    assert fits(-tensor, record)  # singular vectors have no sign of their own
    assert not fits(tensor * (1 + 1e-3), record)
    assert not fits(tensor.T, record)
    assert not fits(torch.randn(20, 30, generator=torch.Generator().manual_seed(1), dtype=dtype), record)
    assert not fits(tensor.flatten().roll(1).reshape(20, 30), record)
    assert not fits(torch.full_like(tensor, float("nan")), record)
    assert fingerprint(tensor)["sha256"] != fingerprint(tensor * 2)["sha256"]


def test_fingerprints_of_scalars_and_of_nothing():
    for tensor in (torch.tensor(2.5), torch.zeros(0, 3), torch.zeros(4)):
        assert fits(tensor, fingerprint(tensor))


def test_a_tensor_that_several_files_share_lies_in_one_beside_them(tmp_path):
    task = _large(fixed={"dictionary": unit_dictionary(40, 60, dtype=torch.float32)})
    nets = {name: moved(network(task, depth), seed=depth) for name, depth in (("a", 2), ("b", 3), ("c", 3))}
    for name, net in nets.items():
        save_weights(net, tmp_path / f"{name}.safetensors", {**CARD, "task": task.identity()}, task.fixed_tensors(), {})
    convert_weights.share(tmp_path)
    (beside,) = tmp_path.glob("*.shared")
    for name, net in nets.items():
        path = tmp_path / f"{name}.safetensors"
        assert "fixed.dictionary" not in files.read(path)[0]
        assert torch.equal(read_weights(path)[1]["dictionary"], task.dictionary)
        twin = network(task, len(net))
        load_weights(twin, path)
        assert same(twin.learned(), net.learned())
    files.write(beside, {"dictionary": task.dictionary + 1}, {})
    with pytest.raises(ValueError, match=r"is damaged or was changed: it is not the `dictionary` of a\.safetensors"):
        read_weights(tmp_path / "a.safetensors")
    beside.unlink()
    with pytest.raises(ValueError, match=f"has its `dictionary` in {beside.name}, which must lie beside it"):
        read_weights(tmp_path / "a.safetensors")
