"""``unroll train --without-truth`` and ``unroll apply --adapt``."""

import json

import numpy as np
from test_cli_images import CSNET
from test_cli_images import apply as apply
from test_cli_images import held as held
from test_cli_kspace import measured

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
    assert {stage["loss"] for stage in card["schedule"]} == {
        "1 Splitting(part=0.8, relative=True, weighted=True) + 3 Consistency(relative=True)"
    }
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


def test_an_input_may_be_adapted_to(apply, tmp_path, monkeypatch):
    from unrolling.training import adaptation

    _, samples, mask = measured(24)
    np.save(tmp_path / "k.npy", samples.numpy())
    np.save(tmp_path / "mask.npy", mask.numpy())
    run = adaptation.adapt
    monkeypatch.setattr(adaptation, "adapt", lambda *given, **more: run(*given, **more, steps=4, every=2))
    words = (CSNET, tmp_path / "k.npy", "--mask", tmp_path / "mask.npy")
    assert apply(*words, "-o", tmp_path / "plain.npy")[0] == 0
    status, _, errors = apply(*words, "-o", tmp_path / "adapted.npy", "--adapt", "split")
    assert status == 0, errors
    one, other = (np.load(tmp_path / f"{name}.npy") for name in ("plain", "adapted"))
    if "found nothing better" in errors:
        np.testing.assert_allclose(one, other, atol=1e-5)
    else:
        assert "the network was adapted: what it missed of kept measurements fell from" in errors
        assert np.abs(one - other).max() > 0
    status, _, errors = apply(*words, "-o", tmp_path / "no.npy", "--adapt", "sure")
    assert status == 2
    assert "supports split, equivariant" in errors
    assert not (tmp_path / "no.npy").exists()
    status, _, errors = apply(*words, "-o", tmp_path / "no.npy", "--adapt", "split", "--interval", 0.9)
    assert status == 2
    assert "--adapt makes another one of it" in errors
