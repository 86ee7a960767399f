"""Weights are as old as their algorithms: a network does what its card says, and all that it learned counts."""

from functools import cache

import pytest
import torch
from families import some
from tiny import moved, network, recovery

from tools.convert_weights import SYSTEMS, describe, rebuilt
from unrolling import unroll
from unrolling.algorithms import ExpectationPropagation, pam
from unrolling.cli.job import _idle
from unrolling.tasks import Detection
from unrolling.training import files
from unrolling.training.behaviour import behaviour, differences, unused_at_start, without_influence
from unrolling.training.weights import read_weights, save_weights

# What others were trained from is no network of today's catalogue
WEIGHTS = [path for path in sorted(SYSTEMS.glob("*/weights/*.safetensors")) if not path.stem.startswith("start_of_")]
# In the nightly run all: a run of these takes seconds in double precision.
HEAVY = [
    "admm_csnet",
    "cnn_pgd",
    "deblock",
    "denoise",
    "dense_pgd",
    "derain",
    "dublid",
    "fbpconvnet",
    "learned_pdhg",
    "learned_primal",
]
HEAVY += ["learned_primal_dual", "modl", "momentum_pgd", "plain_pgd", "rcdnet", "varnet"]
LIGHT = [path for path in WEIGHTS if path.stem.split("-")[0] not in HEAVY]
QUICK = list({path.stem.split("-")[0]: path for path in LIGHT}.values())  # one of each system
SMALL = [path for path in LIGHT if path.parts[-3] not in ("imaging", "medical", "vision")]
# Of these weights and inputs alone, and of no structure: DUBLID's first features all lie below their threshold, what
# HyperLISTA keeps of its support is all there is, and no entry is near the last threshold of ALISTA, a hard one.
PARTS = [f"convolutions.{k}.{part}" for k in range(3) for part in ("weight", "bias")]
PARTS += [f"activations.{k}.slope" for k in range(2)]
KNOWN = {
    # The rain of the first layer is nothing yet, that of the last one is an answer of its own, beside the picture.
    "derain": {
        f"layers.{k}.{name}" for k in (0, 4) for name in ("rain_weight", *(f"rain_prox.network.{p}" for p in PARTS))
    },
    "dublid": {
        f"layers.{k}.kernel_{p}" for k in (0, 1) for p in ("threshold", "threshold_slope", "step", "step_slope")
    },
    # The fixed pictures are enlarged by 2: the convolutions of 3 and 4 have nothing to do.
    "enlarge": {f"layers.{k}.prior.{part}.{n}.weight" for k in (0, 1) for part in ("first", "last") for n in (1, 2)},
    "hyperlista": {"support_scale"},
    "alista": {"layers.15.threshold"},
}


@cache
def held(path):
    """The network of a file and its fixed inputs."""
    net, task = rebuilt(path)
    return net, task.example()


@pytest.mark.parametrize("path", some(WEIGHTS, *QUICK), ids=lambda path: path.stem)
def test_shipped_weights_do_what_their_card_says(path):
    _, _, card = read_weights(path)
    if "behaviour" not in card:
        pytest.skip("`python -m tools.convert_weights` writes it into the card")
    assert differences(*held(path), card["behaviour"]) == []


@pytest.mark.parametrize("path", some(WEIGHTS, *SMALL), ids=lambda path: path.stem)
def test_all_that_is_learned_counts(path):
    """Or its algorithm says that the first step has no use for it."""
    net, data = held(path)
    idle, known = set(without_influence(net, data)), set(unused_at_start(net))
    assert idle - known <= KNOWN.get(path.stem.split("-")[0], set())
    assert known <= idle


def test_the_last_damping_of_ep_net_is_learned():
    net, _ = held(next(path for path in WEIGHTS if path.stem.startswith("ep_net")))
    damping = net.layers[4].damping
    assert abs(float(damping.detach()) - 0.5) > 0.1


class Stuck(ExpectationPropagation):
    """Answers with the mean at its start."""

    def forward(self, state, problem):
        return super().forward(state, problem)._replace(x=state.x)


def test_an_algorithm_that_changed_and_a_number_that_does_not_count_are_found():
    data = Detection(streams=4, antennas=6, held_out=20).test[0].data
    then = unroll(ExpectationPropagation(pam(2).float(), damping=0.5), 3, untied=("damping",))
    record = behaviour(then, data)
    assert differences(then, data, record) == []
    assert without_influence(then, data) == []
    now = unroll(Stuck(pam(2).float(), damping=0.5), 3, untied=("damping",))
    words = differences(now, data, record)
    assert any("the gradient in layers.2.damping had norm" in each for each in words)
    assert without_influence(now, data) == [f"layers.{k}.damping" for k in range(3)]
    other = unroll(ExpectationPropagation(pam(2).float(), damping=0.5), 3, tied=("damping",))
    assert "it learned layers.0.damping" in differences(other, data, record)[-1]


def test_a_network_whose_bounded_numbers_were_trained_behaves_as_the_one_that_is_loaded():
    data = Detection(streams=4, antennas=6, held_out=20).test[0].data
    trained, loaded = (
        unroll(ExpectationPropagation(pam(2).float(), damping=0.5), 3, untied=("damping",)) for _ in range(2)
    )
    with torch.no_grad():
        for layer in trained.layers:
            layer.parametrizations.damping.original.add_(0.6)
    loaded.load_learned(trained.learned())
    assert float(trained.layers[0].damping.detach()) > 0.9
    assert differences(loaded, data, behaviour(trained, data)) == []


def test_a_file_without_it_gets_it_and_nothing_else_changes(tmp_path):
    task = recovery()
    net = moved(network(task))
    card = {"system": "sparse_coding/lista", "task": task.identity(), "seed": 0}
    save_weights(net, tmp_path / "w.safetensors", card, task.fixed_tensors(), {})
    tensors, before = files.read(tmp_path / "w.safetensors")
    data = task.example()
    assert without_influence(net, data) == ["layers.0.inhibition"]
    files.write(tmp_path / "w.safetensors", tensors, {**before, "behaviour": behaviour(net, data)})
    assert not describe(tmp_path / "w.safetensors")
    again, after = files.read(tmp_path / "w.safetensors")
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert after["behaviour"]["gradients"]["layers.0.inhibition"] == 0


def test_what_the_first_step_has_no_use_for_is_told_apart():
    task = recovery()
    net = moved(network(task))
    assert unused_at_start(net) == ["layers.0.inhibition"] == without_influence(net, task.example())
    shared = moved(network(task, 3, ("encoder", "inhibition", "threshold"), ()))
    assert unused_at_start(shared) == [] == without_influence(shared, task.example())
    words = _idle(["layers.0.inhibition", "scale"], ["layers.0.inhibition"])
    assert words[0].startswith("the estimate does not depend on scale:")
    assert words[1].startswith("the first step does not use layers.0.inhibition,")
    assert _idle([], ["layers.0.inhibition"]) == []
