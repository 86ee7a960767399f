"""Bars: what they say, where they say it, and that a terminal alone sees them."""

import io
import re
import sys
import threading
import time

import pytest
from tiny import network, recovery

from unrolling import _progress
from unrolling._progress import Bar, duration
from unrolling.training.fit import fit
from unrolling.training.stages import Stage


class Terminal(io.StringIO):
    """An error output that is one."""

    def isatty(self):
        return True

    def text(self):
        """Without what moves the cursor and sets colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def terminal(monkeypatch):
    """The error output, from now on (a fixture's would be gone when the test begins); bars are shown at once."""
    monkeypatch.setattr(_progress, "PATIENCE", 0.0)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    return found


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "0.012 s"),
        (0.999, "1.0 s"),
        (9.96, "10 s"),
        (12, "12 s"),
        (3, "3 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (120, "2 min 0 s"),
        (3599.4, "59 min 59 s"),
        (7790, "2 h 10 min"),
    ],
)
def test_a_time_is_said_in_the_unit_that_a_person_would_use(seconds, text):
    assert duration(seconds) == text


def test_time_left_is_that_of_the_steps_to_come_at_the_pace_of_this_run(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    bar = Bar("training", 100)
    assert bar.left() is None
    bar.begins(60)  # taken by a run that was interrupted
    now[0] = 10.0
    bar.update(70)
    assert bar.left() == pytest.approx(30)
    now[0] = 15.0
    assert bar.left() == pytest.approx(25)
    assert bar.time() == "25 s left"


def test_a_bar_of_unknown_length_says_how_long_it_has_taken(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    bar = Bar("tracing")
    now[0] = 70.0
    assert bar.time() == "1 min 10 s"


def test_bars_of_work_inside_other_work_stand_together_and_are_gone_afterwards(monkeypatch):
    error_output = terminal(monkeypatch)
    with Bar("comparing LISTA", 4) as outer, Bar("training MLP, as many parameters", 10) as inner:
        until(lambda: "training MLP, as many parameters" in error_output.text())
        assert "comparing LISTA" in error_output.text()
        inner.update(5, note="loss 0.5")
        outer.advance(name="measuring [red]all[/red]")
        until(lambda: "loss 0.5" in error_output.text() and "left" in error_output.text())
        until(lambda: "measuring [red]all[/red]" in error_output.text())  # names are no markup
    assert _progress.DISPLAY._drawn is None
    assert _progress.DISPLAY._bars == []
    assert error_output.getvalue().rstrip().endswith("\x1b[2K\x1b[?25h")  # erased, and the cursor is back
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_what_is_done_within_a_moment_shows_no_bar(monkeypatch):
    error_output = terminal(monkeypatch)
    monkeypatch.setattr(_progress, "PATIENCE", 10.0)
    with Bar("short", 3) as bar:
        bar.advance()
    assert error_output.getvalue() == ""


def test_quiet_shows_nothing_on_a_terminal(monkeypatch):
    error_output = terminal(monkeypatch)
    with Bar("silent", 3, quiet=True) as bar:
        time.sleep(0.1)
        bar.advance()
    assert error_output.getvalue() == ""


def test_an_error_leaves_no_bar_behind(monkeypatch):
    error_output = terminal(monkeypatch)

    def fail():
        with Bar("failing"):
            until(lambda: "failing" in error_output.text())
            raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        fail()
    assert _progress.DISPLAY._drawn is None


def test_lines_for_a_file_go_to_the_file_while_a_bar_is_on_the_terminal(monkeypatch):
    """`unroll apply SYSTEM folder > results.txt`."""
    error_output = terminal(monkeypatch)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    with Bar("photo.png", 3):
        until(lambda: "photo.png" in error_output.text())
        print("photo.png: done")
    assert file.getvalue() == "photo.png: done\n"


def test_a_training_says_what_it_trains_its_stage_loss_and_metric(monkeypatch):
    error_output = terminal(monkeypatch)
    task = recovery()

    class Slow(type(task)):
        def draw(self, *arguments, **options):
            time.sleep(0.01)
            return super().draw(*arguments, **options)

    task.__class__ = Slow
    fit(network(task), task, [Stage(40, batch=2), Stage(20, batch=2)], name="LISTA")
    assert re.search(r"training LISTA, stage 1 of 2 .*loss [\d.]+, NMSE -[\d.]+ dB.*\d s left", error_output.text())
