"""Which checkpoints are kept, and which are refused."""

import pytest
import torch
from interrupted import SCHEDULE, Interrupted, KilledError, newest, uninterrupted
from tiny import ALL, bits, network, recovery, same

from unrolling.training import files
from unrolling.training.checkpoints import BEST, FORMAT, PATTERN
from unrolling.training.fit import fit
from unrolling.training.stages import Stage

# Which are kept, and which are refused


def test_the_newest_few_and_the_best_are_kept(tmp_path):
    task = recovery(Interrupted)
    fit(network(task), task, SCHEDULE, tmp_path, seed=3, keep=3, checkpoint_seconds=0, quiet=True)
    assert [path.name for path in sorted(tmp_path.glob(PATTERN))] == [
        f"checkpoint-{stage:03d}-{step:09d}.safetensors" for stage, step in ((1, 7), (1, 8), (2, 0))
    ]
    tensors, record = files.read(tmp_path / BEST)
    net = network(task)
    net.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()}, strict=False)
    with torch.no_grad():
        estimate = (
            net(task.validation[0].data)
            if record["stage"] == 1
            else net.run(task.validation[0].data, layers=slice(0, 2))
        )
    assert task.metric.value(task.pieces(estimate, task.validation[0])) == record["metric"]
    with pytest.raises(ValueError, match="keep is 0"):
        fit(net, task, SCHEDULE, tmp_path, keep=0, quiet=True)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path):
    task = recovery(Interrupted)
    task.left = 7
    with pytest.raises(KilledError):
        fit(network(task), task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    path = newest(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    task.left = 10**9
    net = network(task)
    with pytest.warns(
        RuntimeWarning,
        match=f"{path.name} is not a safetensors file, or it is truncated.*going on from checkpoint-000-000000006",
    ):
        fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted())


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_by_name(tmp_path):
    task = recovery()
    fit(network(task), task, [Stage(2, batch=2)], tmp_path, keep=1, quiet=True)
    path = newest(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        ValueError, match=f"{path.name} is not a safetensors file, or it is truncated.*delete it to begin anew"
    ):
        fit(network(task), task, [Stage(2, batch=2)], tmp_path, keep=1, quiet=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"schedule": [Stage(4, batch=3)]}, "schedule"),
        ({"task": {"seed": 5}}, "task"),
        ({"task": {"probability": 0.3}}, "task"),
        ({"depth": 4}, "network"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(change, named, tmp_path):
    task = recovery()
    schedule = [Stage(3, batch=3)]
    fit(network(task), task, schedule, tmp_path, quiet=True)
    content = newest(tmp_path).read_bytes()
    other = recovery(**change.get("task", {}))
    net = network(other, change.get("depth", 3))
    before = bits(net)
    with pytest.raises(ValueError, match=rf"is the checkpoint of another run \({named} differ\)"):
        fit(net, other, change.get("schedule", schedule), tmp_path, seed=change.get("seed", 0), quiet=True)
    assert same(bits(net), before)
    assert newest(tmp_path).read_bytes() == content


@pytest.mark.parametrize(
    "change", [{"depth": 5}, {"tied": ("encoder",), "untied": ()}, {"tied": ("encoder", "threshold"), "untied": ()}]
)
def test_a_checkpoint_of_a_network_with_as_many_numbers_but_another_shape_is_refused(change, tmp_path):
    """Tied networks of all depths have the same number of parameters, and so have networks that learn more or fewer of
    them.
    """
    task = recovery()
    fit(network(task, tied=ALL, untied=()), task, [Stage(3, batch=3)], tmp_path, quiet=True)
    with pytest.raises(ValueError, match="is the checkpoint of another run"):
        fit(network(task, **{"tied": ALL, "untied": (), **change}), task, [Stage(3, batch=3)], tmp_path, quiet=True)


def test_weights_are_no_checkpoint_and_a_newer_version_is_named(tmp_path):
    task = recovery()
    files.write(
        tmp_path / "checkpoint-000-000000001.safetensors", {"threshold": torch.ones(3)}, {"format": 1, "depth": 3}
    )
    with pytest.raises(ValueError, match="is the checkpoint of another run"):
        fit(network(task), task, [Stage(2)], tmp_path, quiet=True)
    files.write(tmp_path / "checkpoint-000-000000001.safetensors", {}, {"checkpoint": FORMAT + 1, "version": "9.9"})
    with pytest.raises(
        ValueError,
        match=r"was written by a newer version of unrolling \(9.9, format "
        rf"{FORMAT + 1}.*update unrolling",
    ):
        fit(network(task), task, [Stage(2)], tmp_path, quiet=True)
