"""The options of training on the command line, the plan, the schemes, and shipped weights made again."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from command_line import LISTA, TINY, refused
from command_line import small as small
from command_line import untrained as untrained
from tiny import same, system, write_pictures

from unrolling.systems import catalogue as catalogue_module
from unrolling.systems.base import SUMS
from unrolling.training.checkpoints import PATTERN
from unrolling.training.weights import read_weights


def test_schedules_lists_the_schemes_with_their_papers(unroll):
    status, output, _ = unroll("schedules")
    assert status == 0
    for entry in json.loads(unroll("schedules", "--json")[1]):
        assert entry["name"] in output
        assert entry["reference"] in output


def test_a_dry_run_prints_the_plan_and_writes_nothing(unroll, small, tmp_path):
    arguments = ("train", LISTA, *TINY, "--schedule", "greedy", "--steps", 30, "--dry-run", "--out", tmp_path / "out")
    status, output, errors = unroll(*arguments)
    assert status == 0, errors
    assert "LISTA on recovery: 3 layers, 2,520 learned numbers" in output
    assert "30 steps, about" in output
    found = json.loads(unroll(*arguments, "--json")[1])
    assert [(row["steps"], row["depth"], row["numbers"], row["trained"]) for row in found["stages"]] == [
        (10, k + 1, 40, f"threshold of layer {k}") for k in range(3)
    ]
    assert found["seconds"] > 0
    assert not (tmp_path / "out").exists()


def test_schedule_and_curriculum_are_in_the_card(unroll, small, tmp_path):
    status, output, errors = unroll(
        "train",
        LISTA,
        *TINY,
        "--schedule",
        "deep-supervision",
        "--curriculum",
        "snr=60:20",
        "--steps",
        12,
        "--out",
        tmp_path,
        "--json",
    )
    assert status == 0, errors
    (stage,) = json.loads(output)["schedule"]
    assert stage["supervision"] == {"name": "Power", "power": 2.0}
    assert stage["draw"] == {"snr": {"first": 60.0, "last": 20.0, "part": 1.0}}
    assert stage["steps"] == 12


def test_micro_batches_workers_and_precision_reach_the_training(unroll, small, tmp_path):
    for name, options in {"a": (), "b": ("--accumulate", 2, "--workers", 1), "c": ("--precision", "64-true")}.items():
        status, _, errors = unroll("train", LISTA, *TINY, "--steps", 6, *options, "--out", tmp_path / name)
        assert status == 0, errors
    one, two, three = (read_weights(tmp_path / name / "weights.safetensors")[0] for name in "abc")
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-5)
        assert three[key].dtype == torch.float64
    assert not list((tmp_path / "a").glob(PATTERN))


def test_the_best_weights_may_be_taken(unroll, small, tmp_path):
    status, output, _ = unroll(
        "train", LISTA, *TINY, "--steps", 20, "--best", "--validations", 5, "--out", tmp_path, "--json"
    )
    assert status == 0
    card = json.loads(output)
    metrics = [
        line["metric"]
        for line in map(json.loads, (tmp_path / "training.jsonl").read_text().splitlines())
        if "metric" in line
    ]
    assert card["weights_are"] == "best"
    assert len(metrics) == 5
    assert card["metric"]["mean"] == pytest.approx(min(metrics), abs=1e-4)


def test_training_goes_on_from_weights_and_the_card_says_from_which(unroll, small, tmp_path):
    first, second, start = tmp_path / "a", tmp_path / "b", tmp_path / "a" / "weights.safetensors"
    status, output, errors = unroll("train", LISTA, *TINY, "--steps", 30, "--out", first, "--json")
    assert status == 0, errors
    before = json.loads(output)
    status, output, errors = unroll("train", LISTA, *TINY, "--from", start, "--steps", 1, "--out", second, "--json")
    assert status == 0, errors
    after = json.loads(output)
    assert after["from"]["sha256"] == hashlib.sha256(start.read_bytes()).hexdigest()
    assert (after["from"]["command"], after["from"]["steps"]) == (before["command"], 30)
    assert unroll("train", LISTA, *TINY, "--steps", 1, "--out", tmp_path / "c")[0] == 0
    one, two, other = (read_weights(tmp_path / name / "weights.safetensors")[0] for name in "abc")
    near, far = (sum(float((held[key] - one[key]).norm()) for key in one) for held in (two, other))
    assert 0 < near < 0.5 * far  # a step from there, not from the parent


def test_weights_of_another_depth_are_no_start(unroll, small, tmp_path):
    assert unroll("train", LISTA, *TINY, "--steps", 1, "--out", tmp_path / "a")[0] == 0
    start = tmp_path / "a" / "weights.safetensors"
    refused(
        unroll("train", LISTA, *TINY[:-1], 4, "--from", start, "--out", tmp_path / "b"), "depth is 3 there and 4 here"
    )
    refused(
        unroll("train", LISTA, *TINY, "--from", tmp_path / "none.safetensors", "--out", tmp_path / "b"),
        "none.safetensors",
    )


def test_the_schedule_is_one_for_the_depth_of_the_weights(unroll, small, tmp_path):
    assert small.recipe(None)[1].depth != 5
    assert unroll("train", LISTA, *TINY[:-1], 5, "--steps", 1, "--out", tmp_path / "a")[0] == 0
    start = (
        "--from",
        tmp_path / "a" / "weights.safetensors",
        "--schedule",
        "greedy",
        "--dry-run",
        "--out",
        tmp_path / "b",
        "--json",
    )
    status, output, errors = unroll("train", LISTA, *TINY[:-2], *start)
    assert status == 0, errors
    assert [row["depth"] for row in json.loads(output)["stages"]] == [1, 2, 3, 4, 5]


def test_what_learned_nothing_is_said(unroll, small, tmp_path):
    status, output, _ = unroll(
        "train", "sparse_coding/lista", *TINY, "--steps", 5, "--schedule", "energy", "--out", tmp_path
    )
    assert status == 0
    card = read_weights(tmp_path / "weights.safetensors")[2]
    assert all(sentence in output for sentence in card["health"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--schedule", "slow"], ["no schedule 'slow'; there are end_to_end"]),
        (["--curriculum", "snr"], ["--curriculum snr: it reads KEY=FIRST:LAST"]),
        (["--curriculum", "snr=a:b"], ["it reads KEY=FIRST:LAST"]),
        (
            ["--curriculum", "loudness=1:2"],
            ["draws with 'loudness', which the task recovery does not take; it takes snr, probability"],
        ),
        (["--schedule", "lista-cpss", "--steps", "3"], ["steps"]),
        (["--accumulate", "0"], ["accumulate is 0"]),
        (["--accumulate", "7"], ["cannot be shared evenly among 1 processes with 7 micro-batches"]),
        (["--workers", "-1"], ["workers is -1"]),
        (["--precision", "7-true"], ["cannot be set up"]),
        (["--strategy", "hope"], ["cannot be set up"]),
        (["--keep", "0"], ["keep is 0"]),
        (["--best", "--validations", "0"], ["needs validations of at least 1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line(arguments, words, unroll, small, tmp_path):
    steps = () if "--steps" in arguments else ("--steps", 4)
    if arguments == ["--schedule", "lista-cpss", "--steps", "3"]:
        steps = ("--depth", 3)
    refused(unroll("train", LISTA, *TINY, *steps, *arguments, "--out", tmp_path), *words)


def test_a_missing_package_for_logs_is_named(unroll, small, tmp_path, monkeypatch):
    import lightning_fabric.loggers.tensorboard as module

    def missing(*arguments, **options):
        raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")

    monkeypatch.setattr(module, "TensorBoardLogger", missing)
    refused(
        unroll("train", LISTA, *TINY, "--steps", 2, "--tensorboard", "--out", tmp_path),
        "--tensorboard needs the package tensorboard",
        "unrolling[log]",
    )


# Shipped weights


@pytest.fixture
def shipping(unroll, monkeypatch, tmp_path):
    """A system that ships weights which were trained a moment ago."""
    chosen = replace(system(), home=tmp_path)
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: chosen})
    assert unroll("train", LISTA, *TINY, "--steps", 6, "--out", tmp_path / "a")[0] == 0
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "lista-recovery-20x40-p0.1-snrinf-3.safetensors"
    shutil.copy(tmp_path / "a" / "weights.safetensors", path)
    return chosen, path


def test_shipped_weights_are_made_again_by_one_command(shipping, unroll, tmp_path):
    _, path = shipping
    before = path.read_bytes()
    status, output, errors = unroll("reproduce", LISTA, *TINY, "--out", tmp_path / "again")
    assert status == 0, errors
    assert "(the same to the bit)" in output
    assert "--steps 6" in errors
    assert path.read_bytes() == before
    again, shipped = read_weights(tmp_path / "again" / "weights.safetensors"), read_weights(path)
    assert same(again[0], shipped[0])
    assert again[2]["metric"] == shipped[2]["metric"]


def test_pretrained_networks_come_with_their_weights_and_a_changed_file_is_refused(shipping):
    chosen, path = shipping
    net = chosen.pretrained("recovery", 3, m=20, n=40)
    assert same(net.learned(), read_weights(path)[0])
    assert not net.training
    with pytest.raises(ValueError, match="no option 'k'; it has m, n"):
        chosen.pretrained("recovery", 3, k=2)
    with pytest.raises(ValueError, match="no weights are shipped"):
        chosen.pretrained("recovery", 4, m=20, n=40)
    import hashlib

    sums = path.parent / SUMS
    sums.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    chosen.pretrained("recovery", 3, m=20, n=40)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(
        ValueError, match=f"{path.name} is damaged or was changed: its SHA-256 is not the one in {SUMS}"
    ):
        chosen.pretrained("recovery", 3, m=20, n=40)
    sums.write_text("")
    with pytest.raises(ValueError, match="is not among the weights that are shipped"):
        chosen.pretrained("recovery", 3, m=20, n=40)


def test_gradients_prints_every_rule(unroll, small):
    found = json.loads(unroll("gradients", LISTA, *TINY, "--batch", 4, "--json")[1])
    rules = [row["rule"] for row in found["rows"]]
    assert {"Backprop()", "Checkpointed()", "OneStep()"} <= set(rules)
    assert found["depth"] == 3
    output = unroll("gradients", LISTA, *TINY, "--batch", 4)[1]
    assert all(rule in output for rule in rules)


def test_pictures_that_are_only_tested_on_are_said_before_a_training(unroll, tmp_path):
    """Hours of training saw nine photographs where twenty-nine were meant."""
    (tmp_path / "pictures").mkdir()
    root = write_pictures(tmp_path / "pictures")
    command = ("train", "imaging/tnrd", "--dry-run", "--data")
    assert unroll(*command, root)[2] == ""
    status, _, errors = unroll(*command, root / "test")
    assert status == 0
    assert f"the pictures of {root / 'test'} are tested on, and those of the packages are trained on" in errors
