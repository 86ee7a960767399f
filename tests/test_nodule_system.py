"""medical/nodules: its loss, its stages, and how it is applied to files."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolling.algorithms.splitting.primal_dual_operator import PDHG
from unrolling.operators import LinearOperator
from unrolling.systems.catalogue import find
from unrolling.systems.medical._findings import findings, noise_of
from unrolling.systems.medical.nodules import SYSTEM
from unrolling.tasks.base import first
from unrolling.tasks.medical.findings import DetectionLoss
from unrolling.tasks.medical.nodules import Nodules
from unrolling.training.fit import fit


@pytest.fixture(scope="module")
def task():
    return Nodules.small()


def network(task, depth=2):
    return SYSTEM.network(SYSTEM.recipe(None)[1], task, depth)


def gradients(net, loss):
    net.zero_grad()
    loss.backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def test_it_is_in_the_catalogue():
    assert find("medical/nodules").title == SYSTEM.title


def test_before_training_the_images_are_those_of_the_primal_dual_method(task):
    net, data = network(task, 5), first(task.test[0], 2).data
    norm = task.radon.norm()

    class Unit(LinearOperator):
        def __init__(self):
            super().__init__(task.radon.input_shape, task.radon.output_shape)

        def forward(self, x):
            return task.radon(x) / norm

        def adjoint(self, y):
            return task.radon.adjoint(y) / norm

    method = PDHG(Unit(), primal_step=0.99, dual_step=1.0)
    problem = data / norm
    state = method.start(problem)
    for _ in range(5):
        state = method(state, problem)
    with torch.no_grad():
        assert torch.allclose(net(data)[:, 0], state.x, atol=1e-5)


def test_with_weights_1_and_0_the_gradients_are_those_of_a_reconstruction_alone(task):
    net, samples = network(task), task.draw(2, torch.Generator().manual_seed(0))
    ours = gradients(net, DetectionLoss(1, 0)(net(samples.data), samples.target))
    layer, state = None, None
    for layer, problem, state in net.walk(samples.data):
        image = layer.reconstruction.estimate(state, problem)
    alone = gradients(net, 100 * (image - samples.target.image).square().mean())
    assert all(value is None or not value.any() for name, value in ours.items() if "detector" in name)
    for name, value in alone.items():
        if "reconstruction" in name and value is not None:
            assert torch.equal(ours[name], value), name
    assert ours["layers.0.reconstruction.dual.convolutions.0.weight"].abs().sum() > 0


def test_with_weights_0_and_1_nodules_move_the_first_network_of_the_reconstruction(task):
    net, samples = network(task, 5), task.draw(2, torch.Generator().manual_seed(0))
    assert (samples.target.nodules[..., 2] > 0).any()
    found = gradients(net, DetectionLoss(0, 1)(net(samples.data), samples.target))
    for part in ("dual", "primal"):
        assert found[f"layers.0.reconstruction.{part}.convolutions.0.weight"].abs().sum() > 0, part


def shortened(task, steps=2):
    return [replace(stage, steps=steps, batch=2) for stage in SYSTEM.recipe(None)[1].schedule(2)]


def test_a_stage_leaves_what_it_does_not_train_bit_for_bit_as_it_was(task):
    net, schedule = network(task), shortened(task)
    for stage, moved, kept in (
        (schedule[0], "reconstruction", "detector"),
        (schedule[1], "detector", "reconstruction"),
    ):
        before = net.learned()
        fit(net, task, [stage], validations=0, quiet=True)
        after = net.learned()
        assert all(torch.equal(after[key], before[key]) for key in before if kept in key)
        assert any(not torch.equal(after[key], before[key]) for key in before if moved in key)


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_weights(task, tmp_path, monkeypatch):
    schedule, whole, parts = shortened(task), network(task), network(task)
    fit(whole, task, schedule, tmp_path / "whole", validations=0, quiet=True)
    drawn, calls = task.draw, []

    def stops(batch, generator):
        calls.append(batch)
        if len(calls) in (2, 4, 6):  # in the middle of each stage
            raise KeyboardInterrupt
        return drawn(batch, generator)

    monkeypatch.setattr(task, "draw", stops)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            fit(parts, task, schedule, tmp_path / "parts", validations=0, quiet=True, checkpoint_seconds=0)
        parts = network(task)  # what a new process has
    fit(parts, task, schedule, tmp_path / "parts", validations=0, quiet=True)
    ours, theirs = parts.learned(), whole.learned()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_batch_gives_what_its_slices_give_alone(task):
    net, data = network(task), task.test[0].data[:3]
    with torch.no_grad():
        whole = net(data)
        for k in range(3):
            assert torch.allclose(net(data[k : k + 1])[0], whole[k], atol=1e-5)


def test_findings_are_in_millimetres_from_the_middle():
    scores = torch.full((32, 32), -9.0)
    scores[4, 20], scores[25, 3] = 2.0, 1.0
    found = findings(scores, 0.5, 2.0)
    assert [(each.row, each.column) for each in found] == [(4, 20), (25, 3)]
    assert (found[0].x_mm, found[0].y_mm) == (9.0, 23.0)  # right of the middle, and above it
    assert (found[1].x_mm, found[1].y_mm) == (-25.0, -19.0)
    assert found[0].probability == pytest.approx(float(torch.sigmoid(torch.tensor(2.0))), abs=1e-4)
    assert findings(scores, 0.9, 2.0) == []


def test_the_noise_is_measured_where_rays_pass_the_body():
    for noise in (0.01, 0.05):
        task = Nodules(noise=noise, held_out=5)
        sinogram = task.test[0].data[0]
        assert noise_of(sinogram, task) == pytest.approx(noise, rel=0.1)


APPLICATION = SYSTEM.application("nodules")


def applied(task, tmp_path, values, outputs=("out.png",), **options):
    np.save(tmp_path / "sino.npy", values)
    content = APPLICATION.read(tmp_path / "sino.npy", options)
    return APPLICATION.run(network(task).eval(), task, content, [tmp_path / name for name in outputs], **options)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
@pytest.mark.parametrize("listed", [".csv", ".json"])
def test_a_sinogram_becomes_a_picture_and_a_list(task, tmp_path, suffix, listed):
    outputs = [f"out{suffix}", f"out{listed}"]
    facts = applied(task, tmp_path, task.test[0].data[0].numpy(), outputs, threshold=0.0099)
    assert facts["findings"]
    picture, text = tmp_path / outputs[0], (tmp_path / outputs[1]).read_text()
    if suffix == ".npy":
        image = np.load(picture)
        assert image.shape == (task.size, task.size)
        assert image.dtype == np.float32
    else:
        assert picture.read_bytes()[:4] == b"\x89PNG"
    rows = json.loads(text) if listed == ".json" else list(csv.DictReader(text.splitlines()))
    assert [float(row["x_mm"]) for row in rows] == [each["x_mm"] for each in facts["findings"]]
    assert {condition.name for condition in facts["conditions"]} == {"views", "noise", "largest integral"}


def test_counts_are_what_passes_and_other_slices_may_be_asked_for(task, tmp_path):
    y = task.test[0].data[:2].double()
    counts = (1e9 * torch.exp(-y)).round().numpy()
    first_of, second = (
        applied(task, tmp_path, counts, ["out.npy"], units="counts", photons=1e9, slice=number)
        | {"image": np.load(tmp_path / "out.npy")}
        for number in (0, 1)
    )
    applied(task, tmp_path, y[1].numpy().astype("f4"), ["out.npy"])
    assert np.allclose(second["image"], np.load(tmp_path / "out.npy"), atol=1e-5)
    assert not np.allclose(first_of["image"], second["image"], atol=1e-3)


def test_another_number_of_views_is_taken_and_named(task, tmp_path):
    other = Nodules(views=18, size=32, held_out=5).test[0].data[0].numpy()
    facts = applied(task, tmp_path, other)
    assert next(c for c in facts["conditions"] if c.name == "views").value == 18


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((12, 47), "c8"), {}, "real"),
        (np.zeros((2, 3, 12, 47), "f4"), {}, "array of shape"),
        (np.full((12, 47), np.nan, "f4"), {}, "NaN or infinite"),
        (np.zeros((12, 47), "f4"), {}, "positive"),
        (-np.ones((12, 47), "f4"), {}, "positive"),
        (np.full((12, 47), 5000.0, "f4"), {}, "--units counts"),
        (np.full((12, 47), 50.0, "f4"), {"units": "counts"}, "--photons"),
        (np.ones((12, 40), "f4"), {}, "12 views of 40 bins, and the weights are for 12 views .* of 47 bins"),
        (np.ones((12, 47), "f4"), {"slice": 1}, "no slice 1"),
        (np.ones((12, 47), "f4"), {"threshold": 1.0}, "above 0 and below 1"),
        (np.ones((12, 47), "f4"), {"threshold": float("nan")}, "above 0 and below 1"),
        (np.ones((12, 47), "f4"), {"units": "dB"}, "integrals or counts"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(task, tmp_path, values, options, message):
    with pytest.raises(ValueError, match=message):
        applied(task, tmp_path, values, **options)
    assert not (tmp_path / "out.png").exists()


def test_outputs_of_other_kinds_are_refused(tmp_path):
    APPLICATION.check(tmp_path / "out.json")
    with pytest.raises(ValueError, match=r"out\.docx"):
        APPLICATION.check(tmp_path / "out.docx")


def test_in_mixed_precision_projections_keep_all_their_digits(task):
    data = task.test[0].data[:2]
    image = task.test[0].target.image[:2]
    whole = task.radon(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(task.radon(image), whole, atol=1e-5)
        found = network(task)(data)
    assert bool(found.isfinite().all())
