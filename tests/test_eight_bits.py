"""Weights in eight bits: how near they are, and files that do not hold what they should."""

import re

import pytest
import torch
from tiny import moved, network, recovery

from tools import halve_weights
from unrolling.training import files
from unrolling.training.eight_bits import STEPS, packed, unpacked
from unrolling.training.weights import FORMAT, load_weights, read_weights, remade, save_weights


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 2, 2), (1, 1), (0, 4)])
def test_every_value_is_within_half_a_step_of_its_channel(shape):
    tensor = values(*shape) * torch.logspace(-20, 20, shape[0]).view(-1, *[1] * (len(shape) - 1))
    whole, steps = packed(tensor)
    assert (whole.dtype, steps.shape) == (torch.int8, shape[:1])
    back = unpacked({"w": whole, "w" + STEPS: steps})["w"]
    wide = steps.view(-1, *[1] * (len(shape) - 1))
    assert bool(((back - tensor).abs() <= 0.5001 * wide).all())


def test_a_channel_of_zeros_stays_zero_and_numbers_that_fit_stay_to_the_bit():
    tensor = torch.stack([torch.zeros(6), torch.tensor([-127.0, 127.0, 3.0, 0.0, 1.0, -64.0]) / 64])
    whole, steps = packed(tensor)
    assert torch.equal(unpacked({"w": whole, "w" + STEPS: steps})["w"], tensor)


@pytest.mark.parametrize("tensor", [values(4), torch.tensor(1.0), torch.full((2, 2), float("nan"))])
def test_what_has_no_channels_or_is_no_number_is_refused(tensor):
    with pytest.raises(ValueError, match="eight bits"):
        packed(tensor)


def saved(folder):
    """Weights of a small network, and their task."""
    task = recovery(m=40, n=60)
    net = moved(network(task))
    path = folder / "w.safetensors"
    card = {"system": "sparse_coding/lista", "task": task.identity(), "seed": 0, "licence": "CC0"}
    save_weights(net, path, card, task.fixed_tensors(), remade(net, task))
    return net, task, path


def eighth(path):
    """The file in eight bits."""
    tensors, card = files.read(path)
    files.write(path, halve_weights.reduced(tensors, 8), {**card, "format": FORMAT, "stored": {"dtype": "int8"}})


def test_a_file_in_eight_bits_is_a_quarter_and_loads_as_single_precision(tmp_path):
    net, _, path = saved(tmp_path)
    before, size = net.learned(), path.stat().st_size
    eighth(path)
    assert path.stat().st_size < 0.35 * size
    load_weights(net, path)
    for name, value in net.learned().items():
        assert value.dtype == torch.float32
        if value.ndim > 1:
            steps = before[name].abs().amax(1, keepdim=True) / 127
            assert bool(((value - before[name]).abs() <= 0.5001 * steps).all()), name
        else:
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"else#steps": torch.ones(3)}, "the steps of else do not fit it"),
        ({"{}": torch.ones(3, dtype=torch.int8)}, "do not fit it"),
        ({"{}": torch.ones(60, 40)}, "do not fit it"),
        ({"{}#steps": torch.ones(3)}, "do not fit it"),
        ({"{}#steps": torch.ones(60, dtype=torch.float64)}, "are not what they can be"),
        ({"{}#steps": -1}, "are not what they can be"),
        ({"{}#steps": float("nan")}, "are not what they can be"),
    ],
)
def test_steps_that_do_not_fit_are_refused(change, message, tmp_path):
    _, _, path = saved(tmp_path)
    eighth(path)
    tensors, card = files.read(path)
    name = next(key for key in tensors if key.endswith(STEPS)).removesuffix(STEPS)
    for key, value in change.items():
        own = key.format(name)
        tensors[own] = value if isinstance(value, torch.Tensor) else torch.full_like(tensors[own], value)
    files.write(path, tensors, card)
    with pytest.raises(ValueError, match=re.escape(str(path)) + f" is damaged or was changed: .*({message})"):
        read_weights(path)
