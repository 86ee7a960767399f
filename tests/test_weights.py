"""Weights files: exact, self-describing, and refused by name when they do not belong."""

import re

import pytest
import torch
from iterations import unit_dictionary
from stored import CARD, refused
from tiny import ALL, bits, moved, network, recovery, same
from torch import nn

from unrolling import Iteration, Matrix, Positive, UnitNorm, constrain, soft_threshold, unroll
from unrolling.algorithms import GramISTA, ThinISTA
from unrolling.training import files
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fit import fit
from unrolling.training.stages import Stage
from unrolling.training.weights import FORMAT, PLAIN, _close, load_weights, read_weights, save_weights


class Constrained(Iteration):
    """Unit columns and positive numbers, learned; a fixed sub-module and a fixed buffer."""

    def __init__(self, dictionary, scale=1.0):
        super().__init__()
        self.dictionary = nn.Parameter(dictionary.clone())
        self.encoder = Matrix(0.3 * dictionary.T.contiguous())
        self.threshold = nn.Parameter(torch.full(dictionary.shape[1:], 0.02, dtype=dictionary.dtype))
        self.register_buffer("scale", torch.tensor(scale, dtype=dictionary.dtype))
        constrain(self, "dictionary", UnitNorm())
        constrain(self, "threshold", Positive())

    def start(self, problem):
        return problem.new_zeros(problem.shape[0], self.dictionary.shape[1])

    def forward(self, state, problem):
        return soft_threshold(state + self.scale * self.encoder(problem - state @ self.dictionary.T), self.threshold)


TYINGS = [
    ((), ALL),
    (ALL, ()),
    (("encoder", "inhibition"), ("threshold",)),
    (("threshold",), ()),
    ((), ("inhibition",)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("tied", "untied"), TYINGS)
def test_saved_and_loaded_weights_are_the_same_to_the_bit(tied, untied, dtype, tmp_path):
    dictionary = unit_dictionary(6, 10, dtype=dtype)
    net = moved(unroll(GramISTA(dictionary, 0.1), 4, tied=tied, untied=untied))
    save_weights(net, tmp_path / "w.safetensors", CARD)
    twin = unroll(GramISTA(dictionary, 0.1), 4, tied=tied, untied=untied)
    y = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)
    assert not torch.equal(twin(y), net(y))
    load_weights(twin, tmp_path / "w.safetensors", system="field/name")
    assert same(twin.learned(), net.learned())
    assert torch.equal(twin(y), net(y))


@pytest.mark.parametrize(("tied", "untied"), [(("dictionary",), ("threshold",)), ((), ("dictionary", "threshold"))])
def test_constrained_parameters_keep_their_values_to_the_bit_and_their_constraints(tied, untied, tmp_path):
    dictionary = unit_dictionary(6, 10, dtype=torch.float32)
    net = moved(unroll(Constrained(dictionary), 3, tied=tied, untied=untied), size=0.4)
    save_weights(net, tmp_path / "w.safetensors", CARD)
    twin = unroll(Constrained(dictionary), 3, tied=tied, untied=untied)
    load_weights(twin, tmp_path / "w.safetensors")
    assert same(twin.learned(), net.learned())
    y = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(twin(y), net(y))
    moved(twin, seed=1, size=2.0)
    for row in twin.parameter_table():
        if row.name == "threshold":
            assert bool((row.value > 0).all())
        else:
            torch.testing.assert_close(torch.linalg.vector_norm(row.value, dim=0), torch.ones(10))


def test_loading_twice_and_training_on_starts_from_the_loaded_values(tmp_path):
    task = recovery()
    net = moved(network(task))
    save_weights(net, tmp_path / "w", CARD)
    first, second = network(task), moved(network(task), seed=5)
    for twin in (first, second):
        load_weights(twin, tmp_path / "w")
        fit(twin, task, [Stage(3, batch=4)], quiet=True)
    assert same(first.learned(), second.learned())


def test_the_card_keeps_what_it_was_given_and_says_what_fits(tmp_path):
    task = recovery()
    save_weights(network(task, tied=("encoder",), untied=("threshold",)), tmp_path / "w", CARD)
    card = load_weights(network(task, tied=("encoder",), untied=("threshold",)), tmp_path / "w")
    assert card == read_weights(tmp_path / "w")[2]
    assert {key: card[key] for key in CARD} == CARD
    assert card["format"] == PLAIN
    assert (card["iteration"], card["depth"], card["tied"], card["untied"]) == (
        "GramISTA",
        3,
        ["encoder.matrix"],
        ["threshold"],
    )
    assert card["torch"] == str(torch.__version__)


def test_learned_and_fixed_tensors_can_be_read_without_a_network(tmp_path):
    task = recovery()
    net = moved(network(task, tied=("encoder",), untied=("threshold",)))
    save_weights(net, tmp_path / "w", CARD)
    learned, fixed, _ = read_weights(tmp_path / "w")
    assert same(learned, net.learned())
    assert set(learned) == {"encoder.matrix", "layers.0.threshold", "layers.1.threshold", "layers.2.threshold"}
    assert set(fixed) == {"dictionary", "inhibition"}
    assert torch.equal(fixed["dictionary"], task.dictionary)


@pytest.mark.parametrize(("tied", "untied"), TYINGS)
def test_each_tensor_is_stored_once(tied, untied, tmp_path):
    task = recovery(m=20, n=40)
    net = network(task, depth=6, tied=tied, untied=untied)
    save_weights(net, tmp_path / "w", CARD)
    sizes = {"encoder": 20 * 40, "inhibition": 40 * 40, "threshold": 40}
    numbers = 20 * 40 + sum(sizes[name] * (6 if name in untied else 1) for name in ALL)  # the dictionary is fixed
    assert 4 * numbers < (tmp_path / "w").stat().st_size < 4 * numbers + 4000


# Files that do not belong


def _saved(tmp_path, net, card=CARD):
    save_weights(net, tmp_path / "w", card)
    return tmp_path / "w"


def test_weights_of_another_system_arerefused(tmp_path):
    task = recovery()
    refused(
        network(task),
        _saved(tmp_path, network(task)),
        "holds weights of field/name, not of field/other",
        system="field/other",
    )


@pytest.mark.parametrize("saved", [1, 2, 5])
def test_weights_of_another_depth_arerefused(saved, tmp_path):
    task = recovery()
    refused(network(task), _saved(tmp_path, network(task, saved)), f"depth is {saved} there and 3 here")
    refused(
        network(task, tied=ALL, untied=()),
        _saved(tmp_path, network(task, saved, ALL, ())),
        f"depth is {saved} there and 3 here",
    )


def test_weights_with_other_tying_arerefused(tmp_path):
    task = recovery()
    path = _saved(tmp_path, network(task, tied=("threshold",), untied=("encoder",)))
    refused(
        network(task, tied=("encoder",), untied=("threshold",)),
        path,
        r"tied is \['threshold'\] there and "
        r"\['encoder.matrix'\] here; untied is",
    )


def test_weights_of_another_iteration_arerefused(tmp_path):
    task = recovery()
    net = unroll(ThinISTA(task.dictionary, 0.1), 3, untied=("encoder", "threshold"))
    path = _saved(tmp_path, unroll(GramISTA(task.dictionary, 0.1), 3, untied=("encoder", "threshold")))
    refused(net, path, "iteration is GramISTA there and ThinISTA here")


@pytest.mark.parametrize("other", [{"seed": 1}, {"n": 12}, {"m": 9}])
def test_weights_for_another_dictionary_arerefused(other, tmp_path):
    refused(
        network(recovery()),
        _saved(tmp_path, network(recovery(**other))),
        "was trained with another `dictionary` than this network's",
    )


def test_a_dictionary_that_another_machine_rounded_differently_is_taken(tmp_path):
    task = recovery()
    path = _saved(tmp_path, moved(network(task)))
    near = GramISTA(task.dictionary * (1 + 1e-6), 0.1)
    net = unroll(near, 3, untied=ALL)
    load_weights(net, path)
    assert same(net.learned(), read_weights(path)[0])


def test_indices_and_flags_are_the_same_or_others():
    """An edge of a large graph that leads to the next node is another, however large the numbers are."""
    edges = torch.tensor([3, 90_000])
    assert _close(edges, edges.clone())
    assert not _close(edges + 1, edges)
    assert not _close(torch.tensor([True, False]), torch.tensor([True, True]))


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.3, 0.9, -1])
def test_a_truncated_file_isrefused(kept, tmp_path):
    task = recovery()
    path = _saved(tmp_path, network(task))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    refused(network(task), path, "is not a safetensors file, or it is truncated")


def test_files_that_are_not_safetensors_arerefused(tmp_path):
    task = recovery()
    net = network(task)
    torch.save(net.state_dict(), tmp_path / "pickle.pt")
    (tmp_path / "text").write_text("weights\n" * 100)
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 20)
    for name in ("pickle.pt", "text", "noise"):
        refused(net, tmp_path / name, "is not a safetensors file")


def test_a_safetensors_file_of_another_program_isrefused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "a")
    save_file({"weight": torch.ones(2)}, tmp_path / "b", {"record": "not json {"})
    for name in ("a", "b"):
        refused(network(recovery()), tmp_path / name, "was not written by unrolling: it has no record")


def test_a_checkpoint_is_refused_as_weights(tmp_path):
    task = recovery()
    net = network(task)
    fit(net, task, [Stage(2, batch=2)], tmp_path, quiet=True)
    refused(net, max(tmp_path.glob(PATTERN)), "is not a weights file .a training checkpoint, perhaps")


def test_a_newer_format_isrefused(tmp_path):
    task = recovery()
    path = _saved(tmp_path, network(task), {**CARD, "format": FORMAT + 1})
    refused(
        network(task),
        path,
        f"has format {FORMAT + 1}, and this version of unrolling reads up to {FORMAT}: update unrolling",
    )


@pytest.mark.parametrize("record", [[1, 2], "text", {"format": "1b"}])
def test_a_record_that_is_no_card_isrefused(record, tmp_path):
    files.write(tmp_path / "w", {"threshold": torch.ones(2)}, record)
    refused(network(recovery()), tmp_path / "w", "weights file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layers.1.threshold": torch.ones(15)},
            r"layers.1.threshold has shape \(15,\), and this network needs \(16,\)",
        ),
        ({"layers.1.threshold": -torch.ones(16)}, "Positive needs values that are at least 0"),
        ({"layers.3.threshold": torch.ones(16)}, "brings layers.3.threshold that this one"),
        ({"layers.1.threshold": None}, "it lacks layers.1.threshold"),
    ],
)
def test_a_file_whose_tensors_do_not_fit_its_card_changes_nothing(change, message, tmp_path):
    task = recovery()
    path = _saved(tmp_path, moved(network(task)))
    tensors, card = files.read(path)
    files.write(path, {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}, card)
    net = network(task)
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        load_weights(net, path)
    assert same(bits(net), before)


def test_weights_that_are_no_numbers_arerefused(tmp_path):
    task = recovery()
    net = network(task)
    with torch.no_grad():
        net.layers[1].encoder.matrix[2, 3] = float("nan")
    path = _saved(tmp_path, net)
    with pytest.raises(ValueError, match=re.escape("layers.1.encoder.matrix")):
        load_weights(network(task), path)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
            load_weights(network(recovery()), path)
