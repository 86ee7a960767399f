"""What survives a kill, a full disk, a bad step and a Ctrl-C."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from interrupted import SCHEDULE, STEPS, Interrupted, KilledError, newest, uninterrupted
from tiny import bits, network, recovery, same
from torch import nn

from unrolling.files.whole import PREFIX
from unrolling.training import files
from unrolling.training.checkpoints import BEST, PATTERN
from unrolling.training.fit import LOG, fit
from unrolling.training.optimizers import LBFGS, SGD, Adam, Muon
from unrolling.training.stages import Patience, Stage

# The same seed, the same network; killed or not


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_others():
    task = recovery(Interrupted)
    again, other = network(task), network(task)
    fit(again, task, SCHEDULE, seed=3, quiet=True)
    fit(other, task, SCHEDULE, seed=4, quiet=True)
    assert same(bits(again), uninterrupted())
    assert not same(bits(other), uninterrupted())


@pytest.mark.parametrize("kills", [[0], [1], [8], [9], [10], [16], [4, 5], [3, 9, 2]])
def test_a_killed_run_resumes_to_the_bit(kills, tmp_path):
    for left in kills:
        task = recovery(Interrupted)
        task.left = left
        with pytest.raises(KilledError):
            fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    task = recovery(Interrupted)
    task.left = STEPS - sum(kills)  # what is left to do, and nothing twice
    net = network(task)
    history = fit(net, task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    assert same(bits(net), uninterrupted())
    assert task.left == 0
    assert history.steps == STEPS


@pytest.mark.parametrize(
    "optimizer", [Adam(weight_decay=0.01), SGD(), LBFGS(iterations=3), Muon(), Muon(kernels=True)], ids=str
)
def test_every_optimizer_resumes_to_the_bit(optimizer, tmp_path):
    task = recovery(Interrupted)
    schedule = [Stage(8, rate=1e-2, batch=8, optimizer=optimizer, repeat=2)]
    whole = network(task)
    fit(whole, task, schedule, quiet=True)
    for left in (1, 3):
        task.left = left
        with pytest.raises(KilledError):
            fit(network(task), task, schedule, tmp_path, checkpoint_seconds=0, quiet=True)
    task.left = 10**9
    net = network(task)
    fit(net, task, schedule, tmp_path, quiet=True)
    assert same(bits(net), bits(whole))


def test_tied_parameters_and_early_stops_resume_to_the_bit(tmp_path):
    schedule = [Stage(60, rate=1e-9, batch=4, stop=Patience(12, every=4, gain=0.01)), Stage(5, batch=4)]
    task = recovery(Interrupted)
    whole = network(task, tied=("encoder",), untied=("threshold",))
    history = fit(whole, task, schedule, quiet=True)
    assert history.steps == 16 + 5
    for left in (7, 6):
        task = recovery(Interrupted)
        task.left = left
        with pytest.raises(KilledError):
            fit(
                network(task, tied=("encoder",), untied=("threshold",)),
                task,
                schedule,
                tmp_path,
                checkpoint_seconds=0,
                quiet=True,
            )
    task = recovery(Interrupted)
    net = network(task, tied=("encoder",), untied=("threshold",))
    again = fit(net, task, schedule, tmp_path, quiet=True)
    assert same(bits(net), bits(whole))
    assert (again.steps, again.validations) == (history.steps, history.validations)


class Noisy(nn.Module):
    """Draws numbers as it runs."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 16)
        nn.init.constant_(self.linear.weight, 0.1)
        nn.init.zeros_(self.linear.bias)

    def forward(self, y):
        return torch.dropout(self.linear(y), 0.5, self.training)


def test_networks_that_draw_numbers_resume_to_the_bit(tmp_path):
    task = recovery(Interrupted)
    schedule = [Stage(9, batch=4)]
    whole = Noisy()
    fit(whole, task, schedule, quiet=True)
    task.left = 5
    with pytest.raises(KilledError):
        fit(Noisy(), task, schedule, tmp_path, checkpoint_seconds=0, quiet=True)
    task.left = 4
    net = Noisy()
    torch.manual_seed(99)
    fit(net, task, schedule, tmp_path, checkpoint_seconds=0, quiet=True)
    assert same(bits(net), bits(whole))


def test_a_finished_run_is_taken_from_its_checkpoint(tmp_path):
    task = recovery(Interrupted)
    first = fit(network(task), task, SCHEDULE, tmp_path, seed=3, quiet=True)
    task.left = 0
    net = network(task)
    again = fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted())
    assert (again.losses, again.validations, again.best) == (first.losses, first.validations, first.best)
    assert again.health == first.health


def test_the_log_of_a_resumed_run_has_each_step_once(tmp_path):
    whole, task = tmp_path / "whole", recovery(Interrupted)
    fit(network(task), task, SCHEDULE, whole, seed=3, quiet=True)
    for left in (5, 7):
        task.left = left
        with pytest.raises(KilledError):
            # One checkpoint in the middle: the steps after it are logged, lost and taken again.
            fit(
                network(task),
                task,
                SCHEDULE,
                tmp_path / "part",
                seed=3,
                checkpoint_seconds=1e-3 if left == 5 else 1000,
                quiet=True,
            )
    task.left = 10**9
    fit(network(task), task, SCHEDULE, tmp_path / "part", seed=3, quiet=True)

    def lines(folder):
        return [
            {k: v for k, v in json.loads(line).items() if k != "seconds"}
            for line in (folder / LOG).read_text().splitlines()
        ]

    assert lines(tmp_path / "part") == lines(whole)


SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_checkpoints import SCHEDULE, Interrupted, fit, network, recovery
{before}
task = recovery(Interrupted)
fit(network(task), task, {schedule}, {folder!r}, seed=3, checkpoint_seconds=0, quiet=True)
"""


def script(folder, before="", schedule="SCHEDULE"):
    return [
        sys.executable,
        "-c",
        SCRIPT.format(tests=str(Path(__file__).parent), folder=str(folder), before=before, schedule=schedule),
    ]


def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(tmp_path):
    """SIGKILL, in the middle of a write: nothing of the process gets to clean up."""
    before = """
write, count = os.fsync, 0
def fsync(descriptor):
    global count
    count += not os.path.isdir(f"/proc/self/fd/{descriptor}")
    if count == 9:
        os.ftruncate(descriptor, 1000)
        os.kill(os.getpid(), signal.SIGKILL)
    write(descriptor)
os.fsync = fsync
"""
    assert subprocess.run(script(tmp_path, before), check=False).returncode == -signal.SIGKILL
    assert any(path.name.startswith(PREFIX) for path in tmp_path.iterdir())
    _, record = files.read(newest(tmp_path))
    assert record["stage"] == 0
    assert 0 < record["step"] < 9
    task = recovery(Interrupted)
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted())
    assert not any(path.name.startswith(PREFIX) for path in tmp_path.iterdir())


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_no_bit(tmp_path):
    task = recovery(Interrupted)
    schedule = [Stage(300, rate=1e-2, batch=6, depth=2), Stage(300, batch=6)]
    whole = network(task)
    fit(whole, task, schedule, seed=3, quiet=True)
    moments = random.Random(5)
    killed = 0
    for _ in range(4):
        process = subprocess.Popen(script(tmp_path, before=LONG, schedule="LONG"))
        while not list(tmp_path.glob(PATTERN)):
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.4))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed
    net = network(task)
    fit(net, task, schedule, tmp_path, seed=3, quiet=True)
    assert same(bits(net), bits(whole))


LONG = (
    "from unrolling.training.stages import Stage; LONG = [Stage(300, rate=1e-2, batch=6, depth=2), Stage(300, batch=6)]"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_between_two_steps_and_resumes(number, tmp_path):
    class Pressed(Interrupted):
        def draw(self, batch, generator):
            if self.left == 4:
                os.kill(os.getpid(), number)
            return super().draw(batch, generator)

    task = recovery(Pressed)
    task.left = 9
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=1000, quiet=True)
    assert signal.getsignal(number) is handler
    _, record = files.read(newest(tmp_path))
    assert (record["stage"], record["step"]) == (0, 6)  # the step that had begun was finished
    task = recovery(Interrupted)
    task.left = STEPS - 6
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted())


# A disk that fills


def test_a_disk_that_fills_during_a_checkpoint_costs_the_steps_since_the_last_one(tmp_path, monkeypatch):
    real, count = os.fsync, 0

    def full(descriptor):
        nonlocal count
        count += not os.path.isdir(f"/proc/self/fd/{descriptor}")
        if count == 14:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    task = recovery(Interrupted)
    with pytest.raises(OSError, match="No space left"):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    assert all(path.match(PATTERN) or path.name in (LOG, BEST) for path in tmp_path.iterdir())
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted())
