"""Schedules, the training loop, what survives a kill, and files that are whole or not there."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import ALL, bits, moved, network, recovery, same
from torch import nn

from unrolling.networks.mlp import MLP
from unrolling.tasks.recovery import Recovery
from unrolling.training import files
from unrolling.training.fit import CHECKPOINT, LOG, check_schedule, fit
from unrolling.training.stages import Stage, scaled

SCHEDULE = [
    Stage(9, rate=1e-2, rates={"threshold": 3e-2}, batch=6, layers=2, warmup=0.3, clip=1.0),
    Stage(8, rate=5e-3, batch=5, supervise=1.0, final=0.1),
]
STEPS = 17


# Schedules


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0, 0.9))
def test_the_rate_rises_evenly_then_falls_to_the_final_fraction(steps, warmup, final):
    stage = Stage(steps, warmup=warmup, final=final)
    factors = [stage.factor(step) for step in range(steps + 1)]
    rise = max(1, round(warmup * steps)) if warmup > 0 else 0
    assert factors[:rise] == pytest.approx([(step + 1) / rise for step in range(rise)])
    assert all(before >= after for before, after in zip(factors[max(rise - 1, 0) :], factors[max(rise - 1, 0) + 1 :], strict=False))
    assert factors[max(rise - 1, 0)] == pytest.approx(1)
    if rise < steps:
        assert factors[steps] == pytest.approx(final, abs=1e-12)


def test_half_way_down_the_cosine_the_factor_is_the_mean_of_one_and_the_final_fraction():
    assert Stage(100, final=0.2).factor(50) == pytest.approx(0.6)
    assert Stage(110, final=0.2, warmup=1 / 11).factor(60) == pytest.approx(0.6)


@given(st.integers(1, 30), st.floats(0, 8))
def test_layer_weights_sum_to_one_and_follow_the_power_of_the_depth(depth, power):
    weights = Stage(1, supervise=power).layer_weights(depth)
    assert sum(weights) == pytest.approx(1)
    assert [w / weights[-1] for w in weights] == pytest.approx([((k + 1) / depth) ** power for k in range(depth)])


@given(st.integers(1, 30))
def test_without_supervision_the_last_layer_alone_counts(depth):
    assert Stage(1).layer_weights(depth) == [0] * (depth - 1) + [1]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 3000))
def test_a_scaled_schedule_keeps_its_stages_and_their_shares(lengths, extra):
    schedule = [Stage(length, rate=0.1 * (k + 1)) for k, length in enumerate(lengths)]
    steps = len(lengths) + extra
    short = scaled(schedule, steps)
    assert [stage.rate for stage in short] == [stage.rate for stage in schedule]
    assert all(stage.steps >= 1 for stage in short)
    if steps == sum(lengths):
        assert short == schedule


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 3000))
def test_a_scaled_schedule_has_the_steps_that_were_asked_for(lengths, extra):
    steps = len(lengths) + extra
    assert sum(stage.steps for stage in scaled([Stage(length) for length in lengths], steps)) == steps


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "at least one step.*steps 0"),
        ({"steps": 5, "batch": 0}, "at least one step.*batch 0"),
        ({"steps": 5, "rate": 0.0}, "learning rates must be positive.*rate 0.0"),
        ({"steps": 5, "rate": float("nan")}, "learning rates must be positive"),
        ({"steps": 5, "rates": {"threshold": -1e-3}}, "learning rates must be positive.*threshold"),
    ],
)
def test_bad_values_of_a_stage_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Stage(**values)


@pytest.mark.parametrize("values", [{"warmup": -0.1}, {"warmup": 1.5}, {"final": -0.5}, {"final": float("nan")}, {"clip": 0.0}, {"rate": float("inf")}])
def test_values_that_would_train_backwards_or_not_at_all_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Stage(5, **values)


def test_fewer_steps_than_stages_are_refused():
    with pytest.raises(ValueError, match="steps is 1; this schedule has 2 stages"):
        scaled(SCHEDULE, 1)


# A schedule that does not fit is refused before any work


class Untouched(Recovery):
    """Its training data must not be asked for."""

    ready = False

    def draw(self, batch, generator):
        assert not self.ready, "a batch was drawn"
        return super().draw(batch, generator)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "no stage"),
        ([Stage(2), Stage(2, layers=4)], "stage 1 trains 4 layers, and the network has 3"),
        ([Stage(2, layers=0)], "stage 0 trains 0 layers"),
        (
            [Stage(2, rates={"treshold": 0.1})],
            "stage 0 has a learning rate for 'treshold', which is not learned; learned are encoder.matrix, inhibition, threshold",
        ),
        ([Stage(2), Stage(2, rates={"dictionary": 0.1})], "stage 1 has a learning rate for 'dictionary'"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused_before_any_work(schedule, message, tmp_path):
    task = recovery(Untouched)
    task.ready = True
    net = network(task)
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        fit(net, task, schedule, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    assert same(bits(net), before)


def test_a_learning_rate_may_be_given_for_a_sub_module():
    check_schedule(network(recovery()), [Stage(1, rates={"encoder": 0.1})])


# What a step does


class Recording(Recovery):
    """Keeps the batches that it gave."""

    def draw(self, batch, generator):
        samples = super().draw(batch, generator)
        self.given = [*getattr(self, "given", []), samples]
        return samples


def test_the_first_step_of_adam_moves_each_parameter_by_its_own_rate():
    task = recovery()
    net = network(task, depth=1)
    before = {name: p.detach().clone() for name, p in net.named_learned()}
    fit(net, task, [Stage(1, rate=1e-3, rates={"threshold": 5e-2}, batch=64)], quiet=True)
    steps = {name: (p - before[name]).abs().max().item() for name, p in net.named_learned()}
    assert steps["encoder.matrix"] == pytest.approx(1e-3, rel=1e-3)
    assert steps["threshold"] == pytest.approx(5e-2, rel=1e-3)


def test_a_stage_for_some_layers_leaves_the_others_to_the_bit():
    task = recovery()
    net = moved(network(task), size=0.01)
    before = bits(net)
    fit(net, task, [Stage(3, batch=4, layers=1), Stage(3, batch=4, layers=2, supervise=1.0)], quiet=True)
    after = bits(net)
    learned = [name for name in before if not torch.equal(before[name], after[name])]
    assert {name.split(".")[1] for name in learned} == {"0", "1"}
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("layers.2."))


def test_the_loss_of_a_stage_for_two_layers_is_that_of_a_network_of_two_layers():
    task = recovery()
    whole, part = network(task, depth=3), network(task, depth=2)
    long, short = fit(whole, task, [Stage(5, batch=4, layers=2)], quiet=True), fit(part, task, [Stage(5, batch=4)], quiet=True)
    assert long.losses == short.losses
    trained = part.state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in whole.state_dict().items() if name in trained)


def test_deep_supervision_is_the_weighted_sum_of_the_layers_losses():
    task = recovery(Recording)
    net = moved(network(task), size=0.01)
    twin = moved(network(task), size=0.01)
    history = fit(net, task, [Stage(1, batch=7, supervise=2.0)], quiet=True)
    batch = task.given[-1]
    losses = [task.loss(state, batch.target).item() for state in twin.trajectory(batch.data)]
    assert history.losses == pytest.approx([(1 * losses[0] + 4 * losses[1] + 9 * losses[2]) / 14], rel=1e-6)
    assert len({round(loss, 4) for loss in losses}) == 3


def test_training_lowers_the_error():
    task = recovery(held_out=200)
    net = network(task)
    y, x = task.test[0]
    before = task.loss(net(y), x).item()
    fit(net, task, [Stage(60, rate=1e-2, batch=64)], quiet=True)
    assert task.loss(net(y), x).item() < 0.9 * before


def test_a_plain_module_trains_too():
    task = recovery()
    torch.manual_seed(0)
    net = MLP(8, 20, 16)
    history = fit(net, task, [Stage(200, rate=1e-2, batch=32)], quiet=True)
    assert history.steps == 200
    assert history.losses[-1] < 0.9 * history.losses[0]


# The same seed, the same network; killed or not


class KilledError(Exception):
    """What stops a run in these tests."""


class Interrupted(Recovery):
    """Stops the run when its training data are asked for the (k + 1)-th time."""

    left = 10**9

    def draw(self, batch, generator):
        if self.left == 0:
            raise KilledError
        self.left -= 1
        return super().draw(batch, generator)


@pytest.fixture(scope="module")
def uninterrupted():
    task = recovery()
    net = network(task)
    fit(net, task, SCHEDULE, seed=3, quiet=True)
    return bits(net)


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_others(uninterrupted):
    task = recovery()
    again, other = network(task), network(task)
    fit(again, task, SCHEDULE, seed=3, quiet=True)
    fit(other, task, SCHEDULE, seed=4, quiet=True)
    assert same(bits(again), uninterrupted)
    assert not same(bits(other), uninterrupted)


@pytest.mark.parametrize("kills", [[0], [1], [8], [9], [10], [16], [4, 5], [3, 9, 2]])
def test_a_killed_run_resumes_to_the_bit(kills, uninterrupted, tmp_path):
    for left in kills:
        task = recovery(Interrupted)
        task.left = left
        with pytest.raises(KilledError):
            fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    task = recovery(Interrupted)
    task.left = STEPS - sum(kills)  # what is left to do, and nothing twice
    net = network(task)
    history = fit(net, task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    assert same(bits(net), uninterrupted)
    assert task.left == 0
    assert history.steps == STEPS


def test_tied_parameters_resume_to_the_bit(tmp_path):
    task = recovery(Interrupted)
    schedule = [Stage(7, rate=1e-2, batch=4)]
    whole = network(task, tied=("encoder",), untied=("threshold",))
    fit(whole, task, schedule, quiet=True)
    task.left = 4
    with pytest.raises(KilledError):
        fit(network(task, tied=("encoder",), untied=("threshold",)), task, schedule, tmp_path, checkpoint_seconds=0, quiet=True)
    task.left = 3
    net = network(task, tied=("encoder",), untied=("threshold",))
    fit(net, task, schedule, tmp_path, quiet=True)
    assert same(bits(net), bits(whole))


def test_a_finished_run_is_taken_from_its_checkpoint(uninterrupted, tmp_path):
    task = recovery(Interrupted)
    fit(network(task), task, SCHEDULE, tmp_path, seed=3, quiet=True)
    task.left = 0
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted)


def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(uninterrupted, tmp_path):
    """SIGKILL, in the middle of the sixth write: nothing of the process gets to clean up."""
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
torch.set_num_threads(1)
from test_training import SCHEDULE, fit, network, recovery
write, count = os.fsync, 0
def fsync(descriptor):
    global count
    count += 1
    if count == 6:
        os.ftruncate(descriptor, 1000)
        os.kill(os.getpid(), signal.SIGKILL)
    write(descriptor)
os.fsync = fsync
task = recovery()
fit(network(task), task, SCHEDULE, {str(tmp_path)!r}, seed=3, checkpoint_seconds=0, quiet=True)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    _, record = files.read(tmp_path / CHECKPOINT)
    assert (record["stage"], record["step"]) == (0, 5)
    task = recovery()
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted)


def test_a_disk_that_fills_during_a_checkpoint_costs_the_steps_since_the_last_one(uninterrupted, tmp_path, monkeypatch):
    real, count = os.fsync, 0

    def full(descriptor):
        nonlocal count
        count += 1
        if count == 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    task = recovery()
    with pytest.raises(OSError, match="No space left"):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG}
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted)


# A checkpoint of another run


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"schedule": [Stage(4, batch=3)]}, {"task": {"seed": 5}}, {"task": {"probability": 0.3}}, {"depth": 4}],
    ids=["seed", "schedule", "dictionary", "probability", "depth"],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(change, tmp_path):
    task = recovery()
    schedule = [Stage(3, batch=3)]
    fit(network(task), task, schedule, tmp_path, quiet=True)
    content = (tmp_path / CHECKPOINT).read_bytes()
    other = recovery(**change.get("task", {}))
    net = network(other, change.get("depth", 3))
    before = bits(net)
    with pytest.raises(ValueError, match="is the checkpoint of another run"):
        fit(net, other, change.get("schedule", schedule), tmp_path, seed=change.get("seed", 0), quiet=True)
    assert same(bits(net), before)
    assert (tmp_path / CHECKPOINT).read_bytes() == content


@pytest.mark.parametrize("change", [{"depth": 5}, {"tied": ("encoder",), "untied": ()}, {"tied": ("encoder", "threshold"), "untied": ()}])
def test_a_checkpoint_of_a_network_with_as_many_numbers_but_another_shape_is_refused(change, tmp_path):
    """Tied networks of all depths have the same number of parameters, and so have networks that learn more or fewer of them."""
    task = recovery()
    fit(network(task, tied=ALL, untied=()), task, [Stage(3, batch=3)], tmp_path, quiet=True)
    with pytest.raises(ValueError, match="is the checkpoint of another run"):
        fit(network(task, **{"tied": ALL, "untied": (), **change}), task, [Stage(3, batch=3)], tmp_path, quiet=True)


def test_weights_are_no_checkpoint(tmp_path):
    files.write(tmp_path / CHECKPOINT, {"threshold": torch.ones(3)}, {"format": 1, "depth": 3})
    task = recovery()
    with pytest.raises(ValueError, match="is the checkpoint of another run"):
        fit(network(task), task, [Stage(2)], tmp_path, quiet=True)


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path):
    task = recovery()
    fit(network(task), task, [Stage(2, batch=2)], tmp_path, quiet=True)
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{CHECKPOINT} is not a safetensors file, or it is truncated"):
        fit(network(task), task, [Stage(2, batch=2)], tmp_path, quiet=True)


# A loss that is no number


class Poisoned(Recovery):
    """After some good steps its loss is no finite number."""

    good = 10**9
    poison = float("nan")

    def draw(self, batch, generator):
        self.good -= 1
        return super().draw(batch, generator)

    def loss(self, estimate, target):
        return super().loss(estimate, target) * (1.0 if self.good >= 0 else self.poison)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("good", [0, 5, 9, 12])
def test_a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_is_good(poison, good, uninterrupted, tmp_path):
    task = recovery(Poisoned)
    task.good, task.poison = good, poison
    with pytest.raises(ArithmeticError, match=r"the loss became (nan|inf) around step \d+ of 17; lower the learning rate"):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    if good:
        tensors, record = files.read(tmp_path / CHECKPOINT)
        assert record["stage"] * 9 + record["step"] == good
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    task = recovery()
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted)


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * float("nan")


class Steep(Poisoned):
    """After some good steps its loss is finite and its gradient is not, as that of a square root at zero."""

    def loss(self, estimate, target):
        loss = Recovery.loss(self, estimate, target)
        return loss if self.good >= 0 else NoGradient.apply(loss)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_no_number_does_not_get_into_the_checkpoint(clip, tmp_path):
    task = recovery(Steep)
    task.good = 5
    with pytest.raises(ArithmeticError):
        fit(network(task), task, [Stage(12, batch=4, clip=clip)], tmp_path, checkpoint_seconds=0, quiet=True)
    tensors, record = files.read(tmp_path / CHECKPOINT)
    assert record["step"] == 5
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_a_network_ruined_by_the_last_step_is_neither_returned_nor_saved(tmp_path):
    task = recovery(Steep)
    for folder in (None, tmp_path):
        task.good = 7
        with pytest.raises(ArithmeticError):
            fit(network(task), task, [Stage(8, batch=4)], folder, checkpoint_seconds=1000, quiet=True)
    assert not (tmp_path / CHECKPOINT).exists()


# The log and what a person sees


def test_the_log_has_one_json_line_for_about_every_hundredth_of_the_run(tmp_path):
    task = recovery()
    history = fit(network(task), task, [Stage(150, batch=2), Stage(150, batch=2)], tmp_path, quiet=True)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(3, 301, 3))
    assert [line["stage"] for line in lines] == [0] * 50 + [1] * 50
    assert [line["loss"] for line in lines] == history.losses
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_the_log_stays_json_when_the_loss_is_no_number(tmp_path):
    task = recovery(Poisoned)
    task.good = 3
    with pytest.raises(ArithmeticError):
        fit(network(task), task, [Stage(5, batch=2)], tmp_path, quiet=True)
    for line in (tmp_path / LOG).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_quiet_says_nothing_and_otherwise_lines_with_loss_and_time_left_go_to_the_error_output(capsys):
    task = recovery()
    fit(network(task), task, [Stage(20, batch=2)], quiet=True)
    assert capsys.readouterr() == ("", "")
    fit(network(task), task, [Stage(20, batch=2)])
    output, errors = capsys.readouterr()
    assert output == ""
    assert [line.split("  ")[:2] for line in errors.splitlines()] == [["stage 1/1", "step 10/20"], ["stage 1/1", "step 20/20"]]
    assert all("loss 0." in line and line.endswith("s left") for line in errors.splitlines())


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = recovery()
    fit(network(task), task, [Stage(2, batch=2)], checkpoint_seconds=0, quiet=True)
    assert list(tmp_path.iterdir()) == []


# Files


OLD = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True), "c": torch.tensor([1 + 2j])}


def test_a_file_gives_back_its_tensors_and_its_record_to_the_bit(tmp_path):
    record = {"text": "größer", "list": [1, 2.5, None], "nested": {"x": "y"}}
    files.write(tmp_path / "f", {**OLD, "t": OLD["a"].T, "p": nn.Parameter(torch.ones(2, dtype=torch.float64) / 3)}, record)
    tensors, found = files.read(tmp_path / "f")
    assert found == record
    assert all(torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype for name, tensor in OLD.items())
    assert torch.equal(tensors["t"], OLD["a"].T)
    assert torch.equal(tensors["p"], torch.ones(2, dtype=torch.float64) / 3)


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
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append(("fsync", os.fstat(descriptor).st_size)), real_fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append(("replace", Path(old).parent == Path(new).parent)), real_replace(old, new))[1])
    files.write_bytes(tmp_path / "f", b"12345")
    assert order[:2] == [("fsync", 5), ("replace", True)]
    assert (tmp_path / "f").read_bytes() == b"12345"
