"""Folders of runs: told apart by what was said, never trained twice by accident, finished weights never lost, and one
run at a time in each.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command_line import LISTA, TINY, refused
from command_line import small as small
from command_line import untrained as untrained
from interrupted import SCHEDULE, Interrupted, KilledError
from tiny import bits, network, recovery, same

from unrolling.cli import runs
from unrolling.files.lock import NAME, InUseError, locked
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fit import fit
from unrolling.training.weights import read_weights

RUN = ("train", LISTA, *TINY, "--steps", 4)


def weights(folder):
    return read_weights(folder / "weights.safetensors")[0]


@pytest.mark.parametrize(
    "more",
    [
        ("--depth", 2),
        ("--seed", 1),
        ("--steps", 6),
        ("--set", "probability=0.2"),
        ("--schedule", "greedy"),
        ("--curriculum", "snr=60:20"),
        ("--best",),
        ("--precision", "64-true"),
        ("--from", "start.safetensors"),
    ],
    ids=str,
)
def test_runs_that_differ_have_folders_that_differ(more, unroll, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unroll(*RUN)[0] == 0
    (first,) = Path("runs").iterdir()
    before = (first / "weights.safetensors").read_bytes()
    Path("start.safetensors").write_bytes(before)
    status, _, errors = unroll(*RUN, *more)
    assert status == 0, errors
    (other,) = set(Path("runs").iterdir()) - {first}
    assert not same(weights(first), weights(other)) or "--best" in more
    assert (first / "weights.safetensors").read_bytes() == before
    for word in more[1:]:
        assert str(word).split(".saf")[0].replace(":", "-").replace("=", "")[:4] in other.name.replace("=", "")


def test_a_default_that_is_said_is_the_same_run(unroll, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unroll(*RUN)[0] == 0
    assert unroll(*RUN, "--seed", 0, "--set", "probability=0.1")[0] == 0
    assert len(list(Path("runs").iterdir())) == 1


def test_two_files_of_one_name_are_two_runs():
    a, b = (runs.parts_of({}, {}, files={"data": Path(folder) / "x.npy"}) for folder in ("/a", "/b"))
    assert a != b
    assert len(runs.folder_name("field/system", "task", ["x" * 400])) < 200
    assert runs.folder_name("a/b", "t", ["x" * 400]) != runs.folder_name("a/b", "t", ["x" * 401])


def test_a_finished_run_says_so_and_does_nothing(unroll, small, tmp_path, monkeypatch):
    status, printed, _ = unroll(*RUN, "--out", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("unrolling.training.fit.fit", lambda *arguments, **options: pytest.fail("trained"))
    status, output, errors = unroll(*RUN, "--out", tmp_path)
    assert status == 0
    assert "this run is finished" in errors
    assert "--again" in errors
    assert output == printed
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_again_trains_anew_and_keeps_the_weights_that_were_there(unroll, small, tmp_path):
    assert unroll(*RUN, "--out", tmp_path)[0] == 0
    before = (tmp_path / "weights.safetensors").read_bytes()
    for number in (1, 2):
        status, _, errors = unroll(*RUN, "--again", "--out", tmp_path)
        assert status == 0, errors
        assert f"weights-{number}.safetensors" in errors
    assert (tmp_path / "weights-1.safetensors").read_bytes() == before
    assert same(weights(tmp_path), read_weights(tmp_path / "weights-2.safetensors")[0])
    assert unroll(*RUN, "--overwrite", "--out", tmp_path)[0] == 0
    assert len(list(tmp_path.glob("weights*"))) == 3


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--seed", 1), "seed"),
        (("--steps", 5), "schedule"),
        (("--depth", 2), "depth"),
        (("--set", "probability=0.2"), "task"),
    ],
    ids=str,
)
def test_finished_weights_of_another_run_are_kept(more, named, unroll, small, tmp_path):
    assert unroll(*RUN, "--out", tmp_path)[0] == 0
    before = (tmp_path / "weights.safetensors").read_bytes()
    for flags in ((), ("--again",)):
        status, _, errors = unroll(*RUN, *more, *flags, "--out", tmp_path)
        assert status == 2
        assert "holds finished weights of another run" in errors
        assert named in errors
        assert "--overwrite" in errors
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    assert unroll(*RUN, *more, "--overwrite", "--out", tmp_path)[0] == 0
    assert (tmp_path / "weights.safetensors").read_bytes() != before


def test_what_is_no_weights_file_is_kept_too(unroll, small, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"something of mine")
    refused(unroll(*RUN, "--out", tmp_path), "weights.safetensors", "--overwrite")
    assert (tmp_path / "weights.safetensors").read_bytes() == b"something of mine"


def test_compare_keeps_pages_and_finished_weights(unroll, small, tmp_path):
    for name in ("index.html", "comparison.json", "comparison.md"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        refused(unroll("compare", *RUN[1:], "--out", folder), name, "stays as it is")
        assert (folder / name).read_text() == "mine"
    run = tmp_path / "run"
    assert unroll(*RUN, "--out", run)[0] == 0
    before = (run / "weights.safetensors").read_bytes()
    refused(unroll("compare", *RUN[1:], "--seed", 1, "--out", run), "finished weights of another run")
    assert (run / "weights.safetensors").read_bytes() == before


# The lock


def test_a_folder_that_is_held_is_refused_by_process_and_host(tmp_path):
    import socket

    program = (
        "import sys\nfrom unrolling.files.lock import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    task = recovery()
    with pytest.raises(InUseError, match=f"in use by process {other.pid} on {socket.gethostname()}"):
        fit(network(task), task, SCHEDULE, tmp_path, quiet=True)
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locked(tmp_path), locked(tmp_path):  # death has released it; within itself it is held again
        assert (tmp_path / NAME).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "compare"])
def test_the_second_command_in_a_folder_is_one_line(command, unroll, untrained, small, tmp_path):

    def second():
        with locked(tmp_path):
            ready.set()
            over.wait(60)

    ready, over = threading.Event(), threading.Event()
    holder = threading.Thread(target=second)
    holder.start()
    ready.wait(60)
    found = unroll(command, *RUN[1:], "--out", tmp_path)
    over.set()
    holder.join()
    refused(found, "in use by process", os.getpid())


def test_a_child_that_outlives_its_parent_does_not_hold_the_lock(tmp_path):
    program = (
        "import os, signal, sys, time\nfrom unrolling.files.lock import locked\n"
        "with locked(sys.argv[1]):\n    child = os.fork()\n    if child == 0:\n"
        "        os.close(1)\n        time.sleep(30)\n"  # or else whoever reads the output waits for it
        "    else:\n        print(child, flush=True)\n        os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True, check=False)
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    import errno
    import fcntl

    def without(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.warns(RuntimeWarning, match="without locks.*no second run"), locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="cannot write into"), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_the_lock_is_gone_after_a_failure_too(tmp_path):
    task = recovery(Interrupted)
    task.left = 3
    with pytest.raises(KilledError):
        fit(network(task), task, SCHEDULE, tmp_path, quiet=True)
    assert not (tmp_path / NAME).exists()
    task.left = 10**9
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, quiet=True)
    assert bits(net)
    assert list(tmp_path.glob(PATTERN))
