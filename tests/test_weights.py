"""Weights files: exact, self-describing, and refused by name when they do not belong."""

import re

import pytest
import torch
from iterations import unit_dictionary
from tiny import ALL, bits, moved, network, recovery, same
from torch import nn

from tools import convert_weights
from unrolling import Iteration, Matrix, Positive, UnitNorm, constrain, soft_threshold, unroll
from unrolling.algorithms import GramISTA, ThinISTA
from unrolling.training import files
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fingerprints import fingerprint
from unrolling.training.fingerprints import same as fits
from unrolling.training.fit import fit
from unrolling.training.stages import Stage
from unrolling.training.weights import FORMAT, load_weights, read_weights, remade, save_weights

CARD = {
    "system": "field/name",
    "task": {"name": "recovery", "snr": "inf"},
    "seed": 7,
    "metric": {"name": "NMSE", "mean": -12.5},
    "schedule": [{"steps": 3}],
}


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
    assert card["format"] == FORMAT
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


def _refused(net, path, message, **options):
    before = bits(net)
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(net, path, **options)
    assert same(bits(net), before)
    assert path.name in str(caught.value)


def test_weights_of_another_system_are_refused(tmp_path):
    task = recovery()
    _refused(
        network(task),
        _saved(tmp_path, network(task)),
        "holds weights of field/name, not of field/other",
        system="field/other",
    )


@pytest.mark.parametrize("saved", [1, 2, 5])
def test_weights_of_another_depth_are_refused(saved, tmp_path):
    task = recovery()
    _refused(network(task), _saved(tmp_path, network(task, saved)), f"depth is {saved} there and 3 here")
    _refused(
        network(task, tied=ALL, untied=()),
        _saved(tmp_path, network(task, saved, ALL, ())),
        f"depth is {saved} there and 3 here",
    )


def test_weights_with_other_tying_are_refused(tmp_path):
    task = recovery()
    path = _saved(tmp_path, network(task, tied=("threshold",), untied=("encoder",)))
    _refused(
        network(task, tied=("encoder",), untied=("threshold",)),
        path,
        r"tied is \['threshold'\] there and "
        r"\['encoder.matrix'\] here; untied is",
    )


def test_weights_of_another_iteration_are_refused(tmp_path):
    task = recovery()
    net = unroll(ThinISTA(task.dictionary, 0.1), 3, untied=("encoder", "threshold"))
    path = _saved(tmp_path, unroll(GramISTA(task.dictionary, 0.1), 3, untied=("encoder", "threshold")))
    _refused(net, path, "iteration is GramISTA there and ThinISTA here")


@pytest.mark.parametrize("other", [{"seed": 1}, {"n": 12}, {"m": 9}])
def test_weights_for_another_dictionary_are_refused(other, tmp_path):
    _refused(
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


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.3, 0.9, -1])
def test_a_truncated_file_is_refused(kept, tmp_path):
    task = recovery()
    path = _saved(tmp_path, network(task))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    _refused(network(task), path, "is not a safetensors file, or it is truncated")


def test_files_that_are_not_safetensors_are_refused(tmp_path):
    task = recovery()
    net = network(task)
    torch.save(net.state_dict(), tmp_path / "pickle.pt")
    (tmp_path / "text").write_text("weights\n" * 100)
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 20)
    for name in ("pickle.pt", "text", "noise"):
        _refused(net, tmp_path / name, "is not a safetensors file")


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "a")
    save_file({"weight": torch.ones(2)}, tmp_path / "b", {"record": "not json {"})
    for name in ("a", "b"):
        _refused(network(recovery()), tmp_path / name, "was not written by unrolling: it has no record")


def test_a_checkpoint_is_refused_as_weights(tmp_path):
    task = recovery()
    net = network(task)
    fit(net, task, [Stage(2, batch=2)], tmp_path, quiet=True)
    _refused(net, max(tmp_path.glob(PATTERN)), "is not a weights file .a training checkpoint, perhaps")


def test_a_newer_format_is_refused(tmp_path):
    task = recovery()
    path = _saved(tmp_path, network(task), {**CARD, "format": FORMAT + 1})
    _refused(
        network(task),
        path,
        f"has format {FORMAT + 1}, and this version of unrolling reads up to {FORMAT}: update unrolling",
    )


@pytest.mark.parametrize("record", [[1, 2], "text", {"format": "1b"}])
def test_a_record_that_is_no_card_is_refused(record, tmp_path):
    files.write(tmp_path / "w", {"threshold": torch.ones(2)}, record)
    _refused(network(recovery()), tmp_path / "w", "weights file")


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


def test_weights_that_are_no_numbers_are_refused(tmp_path):
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
    _refused(network(_large(seed=4)), tmp_path / "w", "was trained with another `dictionary`")


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
