"""Tasks of segmentation, their metrics and files, and the systems on them."""

import numpy as np
import pytest
import torch
from PIL import Image

from unrolling import fit, unroll
from unrolling.algorithms import CRFPotentials, DenseCRF, ParsingNetwork, ScoredPicture
from unrolling.files.class_scores import read_class_scores
from unrolling.networks import FullyConvolutional, LocalHead
from unrolling.systems.catalogue import find
from unrolling.systems.vision._pictures import refined
from unrolling.tasks import (
    Refinement,
    Samples,
    Segmentation,
    border_band,
    coarse_scores,
    confusion,
    drawn_shapes,
    pixel_loss,
)
from unrolling.tasks.base import estimates_of, evaluate
from unrolling.tasks.exhibits import Shown
from unrolling.training import ScoringLoss, Stage, save_weights


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def folder(path, *, size=(24, 32), labels=None, void=11):
    """Two training pictures, one for validation and one for the test, three classes."""
    drawn = np.random.default_rng(0)
    for part, count in (("train", 2), ("val", 1), ("test", 1)):
        for kind in ("images", "labels"):
            (path / part / kind).mkdir(parents=True)
        for number in range(count):
            known = drawn.integers(0, 3, size).astype(np.uint8)
            known[0, :4], known[1, :3] = void, (0, 1, 2)
            if labels is not None and part == "test":
                known[3, 5] = labels
            Image.fromarray(drawn.integers(0, 256, (*size, 3)).astype(np.uint8)).save(
                path / part / "images" / f"{number}.png"
            )
            Image.fromarray(known).save(path / part / "labels" / f"{number}.png")
    return path


def test_the_band_and_the_metrics_on_a_picture_that_was_counted_by_hand():
    labels = torch.zeros(1, 8, 12, dtype=torch.long)
    labels[..., 6:] = 1
    labels[0, 0, 0] = 255
    band = border_band(labels, 2)
    # Two columns to either side of the border, and the pixels near the one that nobody knows, without itself.
    wanted = torch.zeros(8, 12, dtype=torch.bool)
    wanted[:, 4:8] = True
    wanted[:3, :3] = True
    wanted[0, 0] = False
    assert torch.equal(band[0], wanted)
    found = labels.clone()
    found[0, 0, 0], found[0, 3, 5] = 1, 1
    assert confusion(found, labels, 2).tolist() == [[46, 1], [0, 48]]
    task = Segmentation(16, held_out=2)
    scores = torch.nn.functional.one_hot(found, 4).movedim(-1, 1).float()
    more = task.more([scores], [Samples(torch.zeros(1, 3, 8, 12), labels)])
    assert more["pixel accuracy"] == 94 / 95
    near = border_band(labels, 3)
    zeros, ones = int((near & (labels == 0)).sum()), int((near & (labels == 1)).sum())
    iou = ((zeros - 1) / zeros + ones / (ones + 1)) / 2
    assert more["mIoU within 3 pixels of a border"] == pytest.approx(iou)


def test_the_loss_is_the_mean_over_what_is_known():
    estimate = torch.log_softmax(torch.randn(2, 3, 4, 5, generator=generator()), 1)
    labels = torch.randint(3, (2, 4, 5), generator=generator(1))
    labels[0, :2] = 255
    chosen = estimate.gather(1, labels.clamp_max(2).unsqueeze(1)).squeeze(1)
    assert float(pixel_loss(estimate, labels)) == pytest.approx(-float(chosen[labels != 255].mean()), rel=1e-6)
    labels[1, 2, 3] = 3
    with pytest.raises(ValueError, match=r"labels go from 0 to 2, or are 255 .*; got 3 at index \(1, 2, 3\)"):
        pixel_loss(estimate, labels)


def test_shapes_have_their_colours_and_all_classes():
    pictures, labels = drawn_shapes(40, 32, 0.0, generator())
    assert set(labels.unique().tolist()) == {0, 1, 2, 3}
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    assert torch.equal(drawn_shapes(3, 32, 0.1, generator(4))[0], drawn_shapes(3, 32, 0.1, generator(4))[0])
    scores = coarse_scores(labels, 4, 0.0, generator())
    assert scores.shape == (40, 4, 32, 32)
    assert float((scores.argmax(1) == labels).float().mean()) > 0.75


def test_a_field_is_righter_than_the_scores_and_training_makes_its_loss_smaller():
    task = Refinement(24, held_out=16)
    fixed = unroll(DenseCRF(task.potentials()), 3)
    learned = unroll(DenseCRF(task.potentials()), 3, untied=("spatial_weight", "bilateral_weight"))
    fit(learned, task, [Stage(8, rate=5e-2, batch=4)], validations=0, quiet=True)
    ways = (lambda data: torch.log_softmax(data.scores, 1), fixed, learned)
    found = [estimates_of(way, task.test) for way in ways]
    losses = [sum(float(pixel_loss(e, b.target)) for e, b in zip(f, task.test, strict=True)) for f in found]
    assert losses[2] < losses[1]
    accuracies = [task.more(f, task.test)["pixel accuracy"] for f in found]
    assert min(accuracies[1:]) > accuracies[0]


def test_the_network_is_trained_alone_by_its_own_scores():
    task = Segmentation.small()
    network = find("vision/crf_rnn").network(find("vision/crf_rnn").recipe("segmentation")[1], task)
    samples = task.draw(2, generator())
    layer = network.layers[0]
    alone = torch.log_softmax(layer.potentials.network(samples.data), 1)
    loss = ScoringLoss()(None, samples.target, samples.data, network)
    assert torch.equal(loss, pixel_loss(alone, samples.target))
    with pytest.raises(ValueError, match="DenseCRF has none"):
        ScoringLoss()(None, samples.target, samples.data, unroll(DenseCRF(), 1))
    before = layer.compatibility.detach().clone()
    alone = Stage(3, rate=1e-3, batch=2, parameters=("potentials",), loss=ScoringLoss())
    fit(network, task, [alone], validations=0, quiet=True)
    assert torch.equal(layer.compatibility, before)


@pytest.mark.parametrize("name", ["vision/crf_rnn", "vision/dpn"])
def test_before_training_a_system_is_mean_field_on_the_scores_of_its_network(name):
    system = find(name)
    recipe = system.recipe("segmentation")[1]
    task = Segmentation(20, held_out=2)
    network = system.network(recipe, task).eval()
    data = task.test[0].data
    layer = network.layers[0]
    potentials = CRFPotentials(radius=5, spatial_width=2.0, position_width=4.0, colour_width=8.0)
    kind = (
        DenseCRF(potentials, spatial_weight=0.0, bilateral_weight=4.0)
        if name.endswith("rnn")
        else ParsingNetwork(4, potentials, weight=4.0)
    )
    given = ScoredPicture(layer.potentials.network(data), data)
    torch.testing.assert_close(network(data), unroll(kind, len(network))(given), atol=1e-5, rtol=0)


def test_networks_that_score():
    network = FullyConvolutional(11)
    assert sum(p.numel() for p in network.parameters()) == 411_140
    picture = torch.rand(2, 3, 19, 21, generator=generator())
    assert network(picture).shape == (2, 11, 19, 21)
    assert torch.allclose(network(picture[1:]), network(picture)[1:], atol=1e-5)
    head = LocalHead(3, 4)
    scores = torch.randn(2, 3, 8, 9, generator=generator())
    assert torch.equal(head(scores, torch.rand(2, 3, 8, 9)), scores)


def test_pictures_of_a_folder(tmp_path):
    task = Segmentation(void=11, data=folder(tmp_path / "a"))
    assert task.classes == 3
    assert task.metric.classes == 3
    assert int((task.test[0].target == 255).sum()) == 4
    drawn = task.draw(6, generator())
    assert drawn.data.shape == (6, 3, 24, 32)
    both = {tuple(t.flatten().tolist()) for t in drawn.target}
    assert len(both) > 2  # of two pictures, so that some are mirrored
    refinement = Refinement(void=11, data=tmp_path / "a")
    assert refinement.test[0].data.scores.shape == (1, 3, 24, 32)
    assert refinement.identity()["fingerprint"] == task.identity()["fingerprint"]
    with pytest.raises(ValueError, match=r"the labels of 0 go from 0 to 10, or are 255"):
        Segmentation(void=255, data=folder(tmp_path / "b", void=10, labels=17))
    with pytest.raises(ValueError, match="has no pictures; a folder has train, val and test"):
        Segmentation(data=tmp_path)
    Image.fromarray(np.zeros((24, 31), np.uint8)).save(tmp_path / "a" / "val" / "labels" / "0.png")
    with pytest.raises(ValueError, match=r"has 24 x 31 pixels and .* has 24 x 32: each pixel has a label"):
        Segmentation(void=11, data=tmp_path / "a")
    (tmp_path / "a" / "val" / "labels" / "0.png").unlink()
    with pytest.raises(FileNotFoundError, match="it is the labels of a picture"):
        Segmentation(void=11, data=tmp_path / "a")


def test_arguments_of_the_tasks():
    for options, words in (
        ({"size": 8}, "at least 16 pixels"),
        ({"noise": -1.0}, "standard deviation"),
        ({"void": 300}, "label of 8 bits"),
    ):
        with pytest.raises(ValueError, match=words):
            Segmentation(**options)
    with pytest.raises(ValueError, match="score_noise is a standard deviation"):
        Refinement(score_noise=float("nan"))


def test_what_a_page_shows():
    task = Segmentation(16, held_out=4)
    estimates = [torch.log_softmax(torch.randn(4, 4, 16, 16, generator=generator()), 1)]
    pictures = task.exhibits([Shown("ours", "network", 0.0, estimates)]).pictures
    assert [p.name for p in pictures[:2]] == ["test picture 1", "test picture 2"]
    assert [caption for caption, _ in pictures[0].panels] == ["picture", "true", "ours"]
    table = pictures[2].panels[0][1]
    assert table.shape == (128, 128)
    np.testing.assert_allclose(table[::32, ::32].sum(1), 1, atol=1e-6)


def test_a_large_picture_in_tiles_is_that_picture(monkeypatch):
    monkeypatch.setattr("unrolling.systems.vision._pictures.TILE", 16)
    picture, scores = torch.rand(3, 50, 61, generator=generator()), torch.randn(3, 50, 61, generator=generator(1))
    options = {"radius": 2, "colour_width": 60.0}
    for step, depth in ((DenseCRF(CRFPotentials(**options)), 3), (ParsingNetwork(3, CRFPotentials(**options)), 1)):
        network = unroll(step, depth)
        whole = network(ScoredPicture(scores.unsqueeze(0), picture.unsqueeze(0)))[0].exp()
        torch.testing.assert_close(refined(network, scores, picture), whole, atol=1e-5, rtol=0)


@pytest.fixture
def weights(tmp_path):
    """Untrained ones, which need no minutes."""
    task = Refinement()
    system = find("vision/crf_rnn")
    network = system.network(system.recipe("refinement")[1], task)
    path = tmp_path / "mine.safetensors"
    save_weights(network, path, {"task": task.identity(), "seed": 0, "system": system.name})
    return path, network


def test_anybodys_scores_are_refined(tmp_path, unroll, weights):
    path, network = weights
    drawn = np.random.default_rng(0)
    Image.fromarray(drawn.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(tmp_path / "photo.png")
    scores = drawn.standard_normal((7, 20, 30)).astype(np.float32)  # of seven classes, not of four
    np.save(tmp_path / "scores.npy", scores)
    command = ("apply", "vision/crf_rnn", tmp_path / "photo.png", "--task", "refinement", "--weights", path)
    outputs = ("-o", tmp_path / "c.png", tmp_path / "q.npy", "--overwrite")
    status, _, errors = unroll(*command, "--unary", tmp_path / "scores.npy", *outputs)
    assert status == 0, errors
    picture = torch.from_numpy(np.array(Image.open(tmp_path / "photo.png"))).movedim(-1, 0).unsqueeze(0) / 255
    wanted = network(ScoredPicture(torch.from_numpy(scores).unsqueeze(0), picture))[0].exp().detach()
    np.testing.assert_allclose(np.load(tmp_path / "q.npy"), wanted, atol=1e-5)
    assert np.array_equal(np.array(Image.open(tmp_path / "c.png")), wanted.argmax(0))
    np.save(tmp_path / "short.npy", scores[:, :19])
    for name, words in (
        ("short.npy", "scores of 19 x 30 pixels"),
        ("missing.npy", "does not exist"),
        ("photo.png", "scores are a .npy file"),
    ):
        status, _, errors = unroll(*command, "--unary", tmp_path / name, *outputs)
        assert status != 0
        assert words in str(errors)
    status, _, errors = unroll(*command, *outputs)
    assert status != 0
    assert "name the scores of its pixels with --unary FILE" in str(errors)


def test_scores_in_files(tmp_path):
    chances = torch.softmax(torch.randn(3, 4, 5, generator=generator()), 0)
    np.save(tmp_path / "chances.npy", chances.numpy())
    with pytest.warns(UserWarning, match="their logarithms are taken"):
        found = read_class_scores(tmp_path / "chances.npy")
    torch.testing.assert_close(found, chances.log())
    spoilt = chances.numpy().copy()
    spoilt[0, 0, 0] = np.inf
    for values, words in (
        (spoilt, "1 scores that are NaN or infinite"),
        (chances[0].numpy(), r"\(classes, height, width\)"),
        (chances[:1].numpy(), "at least two"),
    ):
        np.save(tmp_path / "bad.npy", values)
        with pytest.raises(ValueError, match=words):
            read_class_scores(tmp_path / "bad.npy")


def test_a_task_is_scored_by_its_metric():
    task = Segmentation(16, held_out=3)
    perfect = evaluate(
        lambda _: torch.nn.functional.one_hot(task.test[0].target, 4).movedim(-1, 1).float(), task, task.test[:1]
    )
    assert task.metric.value(perfect) == 1.0
