"""``unroll train --without-truth``."""

import json

from unrolling.training.weights import read_weights


def test_a_loss_without_truth_is_in_the_card_and_in_the_folder(unroll, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("medical/admm_csnet", "--set", "size=16", "--set", "mask=radial", "--depth", 1, "--steps", 3)
    status, _, errors = unroll("train", *arguments, "--without-truth", "split", "--validations", 1, "-q")
    assert status == 0, errors
    (folder,) = (tmp_path / "runs").iterdir()
    assert "without-truth-split" in folder.name
    card = read_weights(folder / "weights.safetensors")[2]
    assert card["without_truth"] == "split"
    assert {stage["loss"] for stage in card["schedule"]} == {"Splitting(part=0.6, relative=True)"}
    # the same folder is not that of the supervised run
    status, _, errors = unroll("train", *arguments, "--out", folder, "-q")
    assert status == 2
    assert "finished weights of another run" in errors
    assert "without_truth" in errors


def test_what_a_task_does_not_support_is_refused_before_any_work(unroll, tmp_path):
    out = tmp_path / "out"
    for arguments, words in (
        (("medical/admm_csnet", "--set", "size=16", "--without-truth", "sure"), "no noise of a known strength"),
        (("imaging/tnrd", "--without-truth", "split"), "supports sure, recorrupted, neighbours"),
        (("sparse_coding/lista", "--without-truth", "stein"), "there is no loss without truth 'stein'"),
        (("imaging/dublid", "--without-truth", "equivariant"), "does not say how its data come about"),
    ):
        status, _, errors = unroll("train", *arguments, "--out", out, "-q")
        assert status == 2, arguments
        assert words in errors, errors
        assert not list(out.glob("*"))


def test_the_plan_names_the_loss(unroll, tmp_path):
    status, output, errors = unroll(
        "train", "imaging/tnrd", "--steps", 8, "--without-truth", "sure", "--dry-run", "--json", "-q"
    )
    assert status == 0, errors
    assert {row["loss"] for row in json.loads(output)["stages"]} == {"SURE(step=0.1, weight=1.0)"}
