"""The log of a run, and what a person sees of it."""

import json

import pytest
from test_fit import Recording
from tiny import network, recovery

from unrolling.training.fit import LOG, fit
from unrolling.training.stages import Stage


def lines_of(folder):
    return [json.loads(line, parse_constant=pytest.fail) for line in (folder / LOG).read_text().splitlines()]


def test_the_log_has_one_json_line_for_about_every_hundredth_of_the_run(tmp_path):
    task = recovery()
    history = fit(network(task), task, [Stage(150, batch=2), Stage(150, batch=2)], tmp_path, quiet=True)
    losses = [line for line in lines_of(tmp_path) if "loss" in line]
    assert [line["step"] for line in losses] == list(range(3, 301, 3))
    assert [line["stage"] for line in losses] == [0] * 50 + [1] * 50
    assert [line["loss"] for line in losses] == history.losses
    seconds = [line["seconds"] for line in losses]
    assert seconds == sorted(seconds)
    metrics = [line for line in lines_of(tmp_path) if "metric" in line]
    assert [line["step"] for line in metrics] == list(range(30, 301, 30))
    assert [line["metric"] for line in metrics] == [value for _, _, value in history.validations]


def test_the_log_holds_gradient_norms_and_activations_by_layer(tmp_path):
    task = recovery(Recording)
    net, twin = network(task), network(task)
    fit(net, task, [Stage(1, batch=6)], tmp_path, quiet=True)
    line = next(line for line in lines_of(tmp_path) if "gradients" in line)
    batch = task.given[-1]
    task.loss(twin(batch.data), batch.target).backward()
    for number, layer in enumerate(twin.layers):
        norm = sum(p.grad.square().sum() for p in layer.parameters() if p.grad is not None).sqrt().item()
        assert line["gradients"][f"layer {number}"] == pytest.approx(norm, rel=1e-5)
    states = list(twin.trajectory(batch.data))
    assert [row["zeros"] for row in line["activations"]] == pytest.approx(
        [(s == 0).double().mean().item() for s in states]
    )
    assert [row["rms"] for row in line["activations"]] == pytest.approx(
        [s.square().mean().sqrt().item() for s in states], rel=1e-5
    )


def test_nothing_is_said_where_the_error_output_is_no_terminal(capsys):
    task = recovery()
    fit(network(task), task, [Stage(20, batch=2)], quiet=True)
    fit(network(task), task, [Stage(20, batch=2)])
    assert capsys.readouterr() == ("", "")


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = recovery()
    fit(network(task), task, [Stage(2, batch=2)], checkpoint_seconds=0, quiet=True)
    assert list(tmp_path.iterdir()) == []


class Logger:
    """What Fabric asks of a logger."""

    def __init__(self):
        self.found = []

    def log_metrics(self, metrics, step=None):
        self.found.append((step, dict(metrics)))


def test_loggers_of_fabric_are_told_what_the_log_is_told():
    task, logger = recovery(), Logger()
    history = fit(network(task), task, [Stage(4, batch=2)], validations=2, loggers=[logger], quiet=True)
    assert [m["loss"] for _, m in logger.found if "loss" in m] == history.losses
    assert [m["NMSE"] for _, m in logger.found if "NMSE" in m] == [value for _, _, value in history.validations]
