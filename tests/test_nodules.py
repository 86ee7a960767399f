"""Simulated nodules: the slices, what counts as found, the loss, the detectors."""

import math

import pytest
import torch

from unrolling.algorithms.images.blobs import Blobs, Detected
from unrolling.algorithms.splitting.primal_dual_operator import PDHG
from unrolling.networks.detector import PixelDetector
from unrolling.tasks.base import Samples, evaluate, first
from unrolling.tasks.medical.findings import KEPT, DetectionLoss, ImageAUC, Sensitivity, focal, hits, peaks
from unrolling.tasks.medical.nodules import ATTENUATION, Nodules, OnImage
from unrolling.tasks.medical.thorax import Thorax, heat, simulated_thorax


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def slices():
    return simulated_thorax(24, 64, seeded())


@pytest.fixture(scope="module")
def task():
    return Nodules.small()


def test_the_same_generator_gives_the_same_slices(slices):
    again, other = simulated_thorax(24, 64, seeded()), simulated_thorax(24, 64, seeded(1))
    assert torch.equal(slices.image, again.image)
    assert torch.equal(slices.nodules, again.nodules)
    assert not torch.equal(slices.image, other.image)


def test_about_half_of_the_slices_have_nodules_and_these_are_as_large_as_said(slices):
    nodules = simulated_thorax(300, 32, seeded(3)).nodules
    ill = (nodules[..., 2] > 0).any(1).float().mean()
    assert 0.35 < ill < 0.65
    radius = 4 * nodules[..., 2][nodules[..., 2] > 0]  # of 32 pixels, as at 128
    assert radius.min() >= 1.5
    assert radius.max() <= 3


def test_a_nodule_is_brighter_than_the_lung_around_it():
    slices = simulated_thorax(40, 128, seeded(7))
    inside, ring = [], []
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    for image, nodules in zip(*slices, strict=True):
        for row, column, radius in nodules.tolist():
            if radius:
                distance = torch.hypot(y - row, x - column)
                inside.append(float(image[distance < 1.0].mean()))
                ring.append(float(image[(distance > radius + 1.5) & (distance < radius + 3)].median()))
    assert len(inside) > 20
    assert all(a > b + 0.1 for a, b in zip(inside, ring, strict=True) if b < 0.25)
    assert sum(b < 0.25 for b in ring) > 0.6 * len(ring)  # the others touch vessels or the wall


def test_images_are_attenuations_between_none_and_that_of_bone(slices):
    assert slices.image.min() >= 0
    assert slices.image.max() <= 1
    assert (slices.image > 0.7).flatten(1).any(1).all()  # the spine


def test_a_sinogram_of_a_disc_of_water_is_its_thickness_times_its_attenuation():
    task = Nodules(views=6, noise=0.0, size=64, held_out=5)
    y, x = torch.meshgrid(torch.arange(64.0) - 31.5, torch.arange(64.0) - 31.5, indexing="ij")
    disc = 0.5 * (torch.hypot(y, x) < 20).float().unsqueeze(0)
    found = task.radon(disc)[0]
    thickness = 40 * 5.6  # mm
    assert float(found[:, found.shape[1] // 2].mean()) == pytest.approx(0.02 * thickness, rel=0.03)
    assert ATTENUATION * 0.5 == 0.02


def test_noise_is_as_large_as_said():
    clean, noisy = (Nodules(views=20, noise=level, size=32, held_out=50).test[0] for level in (0.0, 0.1))
    level = (noisy.data - clean.data).std() / clean.data.abs().mean()
    assert float(level) == pytest.approx(0.1, rel=0.05)


def test_more_views_show_the_same_slices():
    few, many = (Nodules(views=views, size=32, held_out=5).test[0].target for views in (6, 9))
    assert torch.equal(few.image, many.image)
    assert torch.equal(few.nodules, many.nodules)


def test_peaks_are_the_largest_around_them_in_order():
    scores = torch.zeros(1, 20, 30)
    scores[0, 4, 5], scores[0, 4, 7], scores[0, 15, 22] = 2.0, 1.5, 3.0  # the second lies too near to the first
    found = peaks(scores, 3)
    assert found.row[0, :2].tolist() == [15, 4]
    assert found.column[0, :2].tolist() == [22, 5]
    assert found.score[0].tolist() == [3.0, 2.0, 0.0]


def images(scores, nodules):
    held = torch.zeros(len(scores), 3, 3)
    for number, rows in enumerate(nodules):
        for k, row in enumerate(rows):
            held[number, k] = torch.tensor(row)
    zero = torch.zeros_like(scores)
    return torch.stack([zero, scores], 1), Samples(None, Thorax(zero, held))


def test_sensitivity_by_hand():
    scores = torch.full((3, 30, 30), -20.0) - torch.rand(3, 30, 30, generator=seeded())
    nodules = [[(5.0, 5.0, 2.0), (20.0, 20.0, 2.0)], [(10.0, 10.0, 1.5)], []]
    scores[0, 6, 7] = 5.0  # within the radius and 1.5 pixels
    scores[0, 5, 27], scores[1, 25, 3], scores[2, 3, 3], scores[2, 20, 9] = 4.0, 3.0, 2.0, 1.0
    scores[0, 20, 20] = 1.5
    scores[1, 10, 14] = 6.0  # 4 pixels away from a nodule of 1.5: no hit
    estimate, samples = images(scores, nodules)
    # False: 6, 4, 3, 2, 1 in three images; more than the fourth of them, 2, is found: one of three nodules.
    for rate, found in ((1.0, 1), (4 / 3, 2), (0.0, 0), (1 / 3, 1)):
        metric = Sensitivity(rate=rate)
        assert metric.value(metric.pieces(estimate, samples)) == pytest.approx(found / 3), rate


def test_a_second_peak_on_a_nodule_counts_for_nothing():
    scores = torch.full((1, 40, 40), -5.0)
    scores[0, 20, 16], scores[0, 20, 24] = 2.0, 1.0
    estimate, samples = images(scores, [[(20.0, 20.0, 4.0)]])
    row = hits(estimate[:, 1], samples.target.nodules)[0]
    assert row[0] == 1
    assert row[1 : 1 + KEPT].max() == -5
    assert row[1 + KEPT] == 2


def test_a_map_without_information_finds_nothing_and_nan_is_the_worst():
    estimate, samples = images(torch.zeros(4, 30, 30), [[(5.0, 5.0, 2.0)], [], [(9.0, 9.0, 2.0)], []])
    for metric, chance in ((Sensitivity(), 0.0), (ImageAUC(), 0.5)):
        assert metric.value(metric.pieces(estimate, samples)) == chance
        spoilt = estimate.clone()
        spoilt[1, 1, 0, 0] = float("nan")
        assert math.isnan(metric.value(metric.pieces(spoilt, samples)))


def test_the_area_is_that_of_scikit_learn_with_ties():
    from sklearn.metrics import roc_auc_score

    generator = seeded(4)
    scores = (
        torch.randint(6, (40, 9, 9), generator=generator).float() * torch.rand(40, 1, 1, generator=generator).round()
    )
    ill = torch.rand(40, generator=generator) < 0.4
    estimate, samples = images(scores, [[(4.0, 4.0, 2.0)] if each else [] for each in ill.tolist()])
    metric = ImageAUC()
    expected = roc_auc_score(ill.numpy(), scores.amax((1, 2)).numpy())
    pieces = metric.pieces(estimate, samples)
    assert metric.value(pieces) == pytest.approx(expected, abs=1e-12)
    assert metric.values(torch.stack([pieces, pieces.flip(0)])).tolist() == pytest.approx([expected] * 2)


def test_heat_is_one_on_the_middle_of_each_nodule_alone():
    nodules = torch.tensor([[[5.2, 7.4, 2.0], [15.0, 3.0, 3.0], [0.0, 0.0, 0.0]]])
    found = heat(nodules, (20, 20))[0]
    assert (found == 1).nonzero().tolist() == [[5, 7], [15, 3]]
    assert float(found[15, 5]) == pytest.approx(math.exp(-4 / (2 * 4)))  # s = radius / 1.5
    assert heat(torch.zeros(1, 3, 3), (4, 4)).abs().max() == 0


def test_the_focal_loss_by_hand():
    logits, nodules = torch.tensor([[[0.3, -1.0, 0.5]]]), torch.tensor([[[0.0, 0.0, 1.0]]])
    p, t = torch.sigmoid(logits[0, 0]), torch.tensor([1.0, math.exp(-0.5), math.exp(-2.0)])
    expected = -((1 - p[0]) ** 2 * p[0].log()) - ((1 - t) ** 4 * p**2 * (1 - p).log())[1:].sum()
    assert float(focal(logits, nodules)) == pytest.approx(float(expected), rel=1e-5)


def test_weights_of_the_loss_leave_a_part_out():
    estimate = torch.randn(2, 2, 16, 16, generator=seeded(), requires_grad=True)
    target = Thorax(torch.rand(2, 16, 16, generator=seeded(1)), torch.tensor([[[5.0, 5.0, 2.0]], [[0.0, 0.0, 0.0]]]))
    for weights, alive in (((1, 0), [True, False]), ((0, 1), [False, True])):
        (gradient,) = torch.autograd.grad(DetectionLoss(*weights)(estimate, target), estimate)
        assert [bool(gradient[:, k].any()) for k in range(2)] == alive
    estimate = estimate.detach()
    both = DetectionLoss(0.5, 2)(estimate, target)
    assert float(both) == pytest.approx(
        float(0.5 * DetectionLoss(1, 0)(estimate, target) + 2 * DetectionLoss(0, 1)(estimate, target)), rel=1e-6
    )
    with pytest.raises(ValueError, match="at least 0, and one is above"):
        DetectionLoss(0, 0)
    with pytest.raises(ValueError, match="at least 0"):
        DetectionLoss(-1, 1)


def test_a_detector_moves_with_the_image_and_sees_19_pixels():
    torch.manual_seed(0)
    detector = PixelDetector(4).double()
    image = torch.rand(2, 50, 50, dtype=torch.float64, generator=seeded())
    found, moved = detector(image), detector(image.roll((3, 5), (1, 2)))
    assert torch.allclose(moved[:, 20:40, 20:40], found.roll((3, 5), (1, 2))[:, 20:40, 20:40], atol=1e-12)
    assert torch.allclose(detector(image[1:])[0], found[1], atol=1e-12)
    touched = image.clone().requires_grad_()
    (slope,) = torch.autograd.grad(detector(touched)[0, 25, 25], touched)
    rows = slope[0].abs().sum(1).nonzero().flatten()
    assert int(rows[0]) >= 25 - 9
    assert int(rows[-1]) <= 25 + 9
    nothing = torch.sigmoid(detector(torch.zeros(1, 8, 8, dtype=torch.float64))).detach()
    assert float(nothing.max()) == pytest.approx(0.01)


def test_spots_stand_out_and_lines_and_edges_do_not():
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    spot = (torch.hypot(y - 30, x - 30) < 2.5).float()
    line = ((y - x).abs() < 3).float()
    edge = (x < 30).float()
    blobs = Blobs(1.2)
    found = [float(blobs(image.unsqueeze(0))[0, 20:40, 20:40].max()) for image in (spot, line, edge)]
    assert found[0] > 0.5
    assert found[1] < 0.05
    assert found[2] < 0.05
    image = torch.rand(1, 30, 40, generator=seeded())
    for dim in (1, 2):  # eight directions are symmetric
        assert torch.allclose(blobs(image.flip(dim)), blobs(image).flip(dim), atol=1e-6)


def test_detection_is_a_reading_of_the_reconstruction(task):
    image = PDHG(task.radon, initial=task.back)
    both = Detected(image, Blobs(1.0))
    data = first(task.test[0], 2).data
    state, alone = both.start(data), image.start(data)
    for _ in range(3):
        state, alone = both(state, data), image(alone, data)
    found = both.estimate(state, data)
    assert torch.equal(found[:, 0], image.estimate(alone, data))
    assert torch.equal(found[:, 1], Blobs(1.0)(found[:, 0]))
    assert both.algorithm == "PDHG"


def test_rows_of_the_task_are_measured_the_same_in_batches_and_alone(task):
    run = OnImage(task.fbp, Blobs(1.0))
    whole = evaluate(run, task, task.test)
    alone = torch.cat([evaluate(run, task, [first(batch, 1)]) for batch in task.test])
    assert torch.allclose(whole[: len(alone)].clamp_min(-1e9), alone.clamp_min(-1e9), atol=1e-5)
    more = task.more([run(batch.data) for batch in task.test], task.test)
    assert set(more) == {"AUC", "PSNR in dB"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"views": 0}, "views"),
        ({"size": 16}, "size"),
        ({"noise": -0.1}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"held_out": 2}, "held_out"),
        ({"data": "scans"}, "takes no data"),
    ],
)
def test_bad_options_are_named(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Nodules(**wrong)
