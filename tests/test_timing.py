"""Times: all methods in turn, medians, and what is done once counted once."""

import json
import time

import pytest
import torch
from tiny import recovery

from unrolling import Iteration
from unrolling.evaluation.classical import run_classical
from unrolling.evaluation.measure import Contender, environment, time_all
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Iterative


class Clock:
    """Time that only the methods under test let pass."""

    def __init__(self, monkeypatch):
        self.now, self.calls = 100.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def method(self, name, seconds, **options):
        """Takes ``seconds`` of the number of samples and of the earlier calls with as many."""
        earlier = {}

        def run(data):
            size = len(data)
            earlier[size] = earlier.get(size, 0) + 1
            self.calls.append((name, size))
            self.now += seconds(size, earlier[size])
            return data

        return Contender(name, "library", run, **options)


def test_all_methods_take_turns_in_every_round(monkeypatch):
    clock = Clock(monkeypatch)
    methods = [clock.method(name, lambda size, call: 1e-3 * size) for name in "abc"]
    time_all(methods, Samples(torch.zeros(10, 2), torch.zeros(10, 2)), rounds=4)
    turns = [name for i, (name, _) in enumerate(clock.calls) if i == 0 or clock.calls[i - 1][0] != name]
    assert turns == list("abc") * (len(turns) // 3)
    assert len(turns) // 3 in (4, 5)  # a warm-up may come first
    assert [clock.calls.count((name, 10)) for name in "abc"] == [clock.calls.count(("a", 10))] * 3
    assert clock.calls.count(("a", 10)) >= 4


def test_times_are_medians_per_sample(monkeypatch):
    clock = Clock(monkeypatch)
    # One call in five is interrupted for a second.
    hiccups = clock.method("a", lambda size, call: 0.002 + 0.001 * size + (call % 5 == 3))
    slow = clock.method("b", lambda size, call: 0.5 * size)
    times = time_all([hiccups, slow], Samples(torch.zeros(8, 2), torch.zeros(8, 2)), rounds=9, budget=1e9)
    assert [t.batch_size for t in times] == [8, 8]
    assert (times[0].batch, times[0].single) == pytest.approx((0.010 / 8, 0.003))
    assert (times[1].batch, times[1].single) == pytest.approx((0.5, 0.5))


def test_a_method_that_takes_few_samples_is_timed_on_those_and_a_part_stands_for_a_long_run(monkeypatch):
    clock = Clock(monkeypatch)
    few = clock.method("a", lambda size, call: 0.01 * size, limit=3)
    once = clock.method("once", lambda size, call: 1.0 * size)
    part = clock.method("part", lambda size, call: 0.01 * size)
    whole = lambda data: pytest.fail("the whole run was timed")  # noqa: E731
    long = Contender("b", "classical", whole, prepare=once.run, part=part.run, scale=7.0)
    times = time_all([few, long], Samples(torch.zeros(8, 2), torch.zeros(8, 2)), rounds=3)
    assert max(size for name, size in clock.calls if name == "a") == 3
    assert times[0].batch_size == 3
    assert (times[0].batch, times[1].batch, times[1].single) == pytest.approx((0.01, 1.07, 1.07))


def test_a_method_of_many_seconds_runs_once_and_alone(monkeypatch):
    clock = Clock(monkeypatch)
    long, short = clock.method("a", lambda size, call: 4.0 * size), clock.method("b", lambda size, call: 0.01 * size)
    times = time_all([long, short], Samples(torch.zeros(8, 2), torch.zeros(8, 2)), rounds=3)
    assert [call for call in clock.calls if call[0] == "a"] == [("a", 1)]
    assert clock.calls.count(("b", 8)) == 3
    assert [t.batch_size for t in times] == [1, 8]
    assert (times[0].batch, times[0].single, times[1].batch) == pytest.approx((4.0, 4.0, 0.01))


def test_no_round_starts_after_the_budget_but_one_is_always_made(monkeypatch):
    clock = Clock(monkeypatch)
    method = clock.method("a", lambda size, call: 100.0)
    times = time_all([method], Samples(torch.zeros(8, 2), torch.zeros(8, 2)), rounds=50, budget=1.0)
    assert clock.calls.count(("a", 8)) <= 2
    assert times[0].single == pytest.approx(100)


def test_the_environment_names_versions_and_no_person(monkeypatch):
    found = environment(3)
    assert found["torch"] == str(torch.__version__)
    assert (found["seed"], found["threads"]) == (3, torch.get_num_threads())
    import getpass
    import socket

    assert socket.gethostname() not in json.dumps(found)
    assert getpass.getuser() not in json.dumps(found).split()


class Factored(Iteration):
    """A method whose preparation takes a second and whose steps take a millisecond each."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def prepare(self, data):
        self.clock.now += 1.0
        return data

    def start(self, problem):
        return torch.zeros(len(problem), 16)

    def forward(self, state, problem):
        self.clock.now += 1e-3
        return state + 1

    def estimate(self, state, problem):
        return state


def test_a_factorisation_is_counted_once_in_a_run_of_a_thousand_iterations(monkeypatch):
    clock, task = Clock(monkeypatch), recovery()
    method = Iterative("factored", lambda _: Factored(clock), (0.0,), 1000)
    rows, _ = run_classical(method, task, -1e9, -1e9, None)
    assert rows[-1].iterations == 1000
    found = time_all(rows, Samples(torch.zeros(4, 8)), rounds=3, budget=1e9)[-1]
    assert found.single == pytest.approx(1.0 + 1.0)
    assert found.batch == pytest.approx(2.0 / 4)
