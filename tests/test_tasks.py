"""Data, targets and metrics of the tasks, measured; and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import picture, write_pictures
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchmetrics.functional.image import peak_signal_noise_ratio

from unrolling.tasks.base import NMSE, PSNR, Samples
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.photographs import Photographs
from unrolling.tasks.metrics import ACCURACY, AMI, AUC, NLL, SER, MeanIoU


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Metrics


def test_nmse_is_the_ratio_of_the_sums_in_decibels():
    target, estimate = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[3.0, 3.0], [0.5, 1.0]])
    pieces = NMSE.pieces(estimate, Samples(None, target))
    assert pieces.tolist() == [[1.0, 25.0], [0.25, 1.0]]
    assert NMSE.value(pieces) == pytest.approx(10 * np.log10(1.25 / 26))


def test_nmse_of_complex_estimates_counts_magnitudes():
    target = torch.tensor([[3 + 4j, 0], [0, 2j]])
    assert NMSE.value(NMSE.pieces(target * (1 + 0.1j), Samples(None, target))) == pytest.approx(-20)


def test_perfect_and_silent_estimates_give_numbers():
    target = torch.randn(4, 5, generator=generator())
    assert NMSE.value(NMSE.pieces(target, Samples(None, target))) < -300
    assert NMSE.value(NMSE.pieces(torch.zeros(4, 5), Samples(None, target))) == 0


def test_pictures_count_equally_whatever_their_size():
    pieces = torch.tensor([[2.0, 20.0], [1.0, 1000.0]])
    assert PSNR.value(pieces) == pytest.approx((10 + 30) / 2)
    assert NMSE.value(pieces) == pytest.approx(10 * np.log10(3 / 1020))


def test_better_is_lower_for_errors_and_higher_for_ratios():
    assert NMSE.at_least_as_good(-20, -10)
    assert not NMSE.at_least_as_good(-10, -20)
    assert PSNR.at_least_as_good(30, 20)
    assert PSNR.at_least_as_good(30, 30)


@pytest.mark.parametrize("metric", [NMSE, PSNR, ACCURACY, NLL, MeanIoU(), AUC()])
def test_nan_is_the_worst_value_of_every_metric(metric):
    nan = float("nan")
    assert min([nan, 1.0, 2.0], key=metric.rank) == (1.0 if metric.better == "lower" else 2.0)
    assert not metric.at_least_as_good(nan, 1.0)
    assert metric.at_least_as_good(1.0, nan)
    assert metric.gain(nan, 1.0) < 0 < metric.gain(1.0, nan)
    width = 4 if isinstance(metric, MeanIoU) else 1 if metric is NLL else 2
    pieces = torch.ones(5, width)
    pieces[2] = nan
    assert np.isnan(metric.value(pieces))


def scores(count=6, classes=3, size=20, seed=0):
    """Scores of classes, and labels that they are right about more often than not."""
    labels = torch.randint(classes, (count, size), generator=generator(seed))
    given = torch.randn(count, classes, size, generator=generator(seed + 1))
    return given + 2 * torch.nn.functional.one_hot(labels, classes).mT, labels


def test_mean_iou_is_torchmetrics_jaccard_index_and_leaves_out_what_does_not_occur():
    given, labels = scores()
    found = MeanIoU(classes=3)
    expected = multiclass_jaccard_index(given.argmax(1).flatten(), labels.flatten(), 3)
    assert found.value(found.pieces(given, Samples(None, labels))) == pytest.approx(float(expected), abs=1e-6)
    more = MeanIoU(classes=5)
    assert more.value(more.pieces(given.argmax(1), Samples(None, labels))) == pytest.approx(float(expected), abs=1e-6)
    ignored = torch.where(torch.arange(20) < 10, labels, -1)
    half = found.value(found.pieces(given[..., :10], Samples(None, labels[:, :10])))
    assert found.value(found.pieces(given, Samples(None, ignored))) == pytest.approx(half)


def test_accuracy_error_rate_and_surprise_of_scores():
    given, labels = scores()
    right = float((given.argmax(1) == labels).double().mean())
    samples = Samples(None, labels)
    assert ACCURACY.value(ACCURACY.pieces(given, samples)) == pytest.approx(right)
    assert SER.value(SER.pieces(given.argmax(1), samples)) == pytest.approx(1 - right)
    chosen = given.softmax(1).gather(1, labels.unsqueeze(1)).log()
    assert NLL.value(NLL.pieces(given, samples)) == pytest.approx(-float(chosen.mean()), rel=1e-5)
    given[1, 0, 3] = float("nan")
    assert np.isnan(ACCURACY.value(ACCURACY.pieces(given, samples)))


def test_the_area_is_the_chance_that_a_positive_scores_above_a_negative():
    score = torch.randn(50, generator=generator()).mul(4).round() / 4  # with ties
    label = (score + torch.randn(50, generator=generator(1)) > 0.3).long()
    above, below = score[label == 1].unsqueeze(1), score[label == 0]
    chance = float((above > below).double().mean() + 0.5 * (above == below).double().mean())
    pieces = AUC().pieces(score.unsqueeze(1), Samples(None, label.unsqueeze(1)))
    assert AUC().value(pieces) == pytest.approx(chance, abs=1e-6)
    assert AUC().values(torch.stack([pieces.double(), pieces.double()])).tolist() == pytest.approx([chance] * 2)


def test_adjusted_mutual_information_is_one_of_the_same_groups_under_other_names_and_nought_of_chance():
    labels = torch.arange(60).remainder(3).repeat(40, 1)
    assert AMI.value(AMI.pieces((labels + 1) % 3, Samples(None, labels))) == pytest.approx(1)
    guess = torch.randint(3, labels.shape, generator=generator())
    assert AMI.value(AMI.pieces(guess, Samples(None, labels))) == pytest.approx(0, abs=0.02)


# Photographs from a folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def photographs(pictures):
    return Photographs(ratio=0.25, data=pictures)


def test_the_rows_of_the_measurement_are_orthonormal(photographs):
    matrix = photographs.sensing.matrix
    assert matrix.shape == (64, 256)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(64), atol=1e-5, rtol=0)


def test_measurements_are_those_of_each_block(photographs):
    y, x = photographs.test[0]
    assert x.shape == (1, 64, 96)
    assert y.shape == (1, 4, 6, 64)
    block = x[0, 16:32, 48:64].reshape(256)
    torch.testing.assert_close(y[0, 1, 3], photographs.sensing.matrix @ block)


def test_rows_of_targets_are_blocks_and_assemble_puts_them_back(photographs):
    for y, x in photographs.test:
        rows = photographs.target_rows(x)
        assert torch.equal(photographs.assemble(rows, y), x)
        assert torch.equal(photographs.target_rows(photographs.assemble(rows, y)), rows)
        torch.testing.assert_close(photographs.rows(y), rows @ photographs.sensing.matrix.T)


def test_psnr_is_that_of_torchmetrics_photograph_by_photograph(photographs):
    noisy = [x + 0.2 * torch.randn(x.shape, generator=generator(k)) for k, (_, x) in enumerate(photographs.test)]
    singly = [
        peak_signal_noise_ratio(e.clamp(0, 1), x, data_range=1.0).item()
        for e, (_, x) in zip(noisy, photographs.test, strict=True)
    ]
    pieces = [photographs.pieces(e, batch) for e, batch in zip(noisy, photographs.test, strict=True)]
    assert [PSNR.value(p) for p in pieces] == pytest.approx(singly, abs=1e-4)
    assert PSNR.value(torch.cat(pieces)) == pytest.approx(sum(singly) / 2, abs=1e-4)
    assert abs(singly[0] - singly[1]) > 0.01


def test_a_photograph_is_one_piece_whatever_its_size(photographs):
    _, x = photographs.test[0]  # 64 x 96
    pieces = photographs.pieces(torch.zeros_like(x), photographs.test[0])
    assert pieces[:, 1].tolist() == [64 * 96]
    assert pieces[0, 0].item() == pytest.approx(x.square().sum().item(), rel=1e-5)


def test_no_linear_map_has_a_smaller_squared_error_on_the_training_blocks(photographs):
    """The residual of the linear estimate is orthogonal to the measurements."""
    gain, matrix = photographs.linear_gain().double(), photographs.sensing.matrix.double()
    blocks, weights = [], []
    for x in photographs.photographs["train"].values():
        corners = [(i, j) for i in range(0, x.shape[0] - 15, 4) for j in range(0, x.shape[1] - 15, 4)]
        blocks += [x[i : i + 16, j : j + 16].reshape(256).double() for i, j in corners]
        weights += [len(corners) ** -0.5] * len(corners)
    b, w = torch.stack(blocks), torch.tensor(weights, dtype=torch.float64).unsqueeze(1)
    y = b @ matrix.T
    residual = b - y @ gain.T
    assert torch.linalg.norm((w * residual).T @ y) < 1e-4 * torch.linalg.norm((w * b).T @ y)
    error = (w * residual.square()).sum()
    for seed in range(5):
        change = 1e-2 * torch.randn(gain.shape, generator=generator(seed), dtype=torch.float64)
        assert (w * (b - y @ (gain + change).T).square()).sum() > error


def test_training_crops_are_pieces_of_the_training_photographs(photographs):
    y, x = photographs.draw(8, generator())
    assert torch.equal(y, photographs.sensing(x))
    for crop in x:
        turned = [torch.rot90(c, k) for c in (crop, crop.T) for k in range(4)]
        found = any(
            bool((p.unfold(0, 64, 1).unfold(1, 64, 1) == t).flatten(2).all(-1).any())
            for p in photographs.photographs["train"].values()
            for t in turned
        )
        assert found
    assert torch.equal(photographs.draw(8, generator()).target, x)
    assert not torch.equal(photographs.draw(8, generator(1)).target, x)


@pytest.mark.parametrize("ratio", [0.0, 1.5, -1.0])
def test_a_ratio_of_measurements_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=f"ratio is {ratio}"):
        Photographs(ratio=ratio)


def test_another_seed_measures_otherwise_and_a_given_matrix_is_used(photographs, pictures):
    other = Photographs(seed=1, data=pictures)
    assert not torch.equal(other.sensing.matrix, photographs.sensing.matrix)
    again = Photographs(seed=1, data=pictures, fixed={"sensing.matrix": photographs.sensing.matrix})
    assert torch.equal(again.sensing.matrix, photographs.sensing.matrix)
    assert other.identity()["fingerprint"] != photographs.identity()["fingerprint"]


def test_the_photographs_of_the_packages_are_disjoint_by_part_and_readable():
    parts = [images.TRAINING, images.VALIDATION, images.TEST]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names))
    values = {name: images.photograph(name) for name in names}
    for name, value in values.items():
        assert value.ndim == 2, name
        assert 0 <= value.min() < value.max() <= 1, name
    # Nor is one a copy of another under a different name.
    small = {
        name: torch.nn.functional.adaptive_avg_pool2d(value[None, None], 8).flatten() for name, value in values.items()
    }
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert torch.corrcoef(torch.stack([small[one], small[other]]))[0, 1] < 0.98, (one, other)


def test_an_unknown_photograph_is_refused():
    with pytest.raises(ValueError, match="no photograph 'lena'; there are china"):
        images.photograph("lena")


def test_a_folder_replaces_the_parts_that_it_has(pictures):
    found = images.split(pictures / "test", training=("coins",))
    assert list(found["train"]) == ["coins"]
    assert list(found["validation"]) == list(images.VALIDATION)
    assert list(found["test"]) == ["test0.png", "test1.png"]
    assert {part: len(p) for part, p in images.split(pictures).items()} == {"train": 2, "validation": 1, "test": 2}


def test_pictures_of_all_kinds_are_read_as_luma(tmp_path):
    grey = picture(24, 40)
    colour = np.stack([grey, 255 - grey, grey // 2], axis=2)
    luma = (0.2125 * colour[..., 0] + 0.7154 * colour[..., 1] + 0.0721 * colour[..., 2]) / 255
    expected = {
        "grey.png": grey / 255,
        "grey.tif": grey / 255,
        "grey.bmp": grey / 255,
        "deep.png": grey / 255,
        "deep.tiff": grey / 255,
        "colour.PNG": luma,
        "alpha.png": luma,
        "grey_alpha.png": grey / 255,
        "black_and_white.png": (grey > 127) * 1.0,
        "sub/colour.jpg": luma,
    }
    (tmp_path / "sub").mkdir()
    for name in ("grey.png", "grey.tif", "grey.bmp"):
        Image.fromarray(grey).save(tmp_path / name)
    for name in ("deep.png", "deep.tiff"):
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / name)
    Image.fromarray(colour).save(tmp_path / "colour.PNG")
    Image.fromarray(np.dstack([colour, grey])).save(tmp_path / "alpha.png")
    Image.fromarray(np.dstack([grey, 255 - grey]), "LA").save(tmp_path / "grey_alpha.png")
    Image.fromarray(grey > 127).save(tmp_path / "black_and_white.png")
    Image.fromarray(colour).save(tmp_path / "sub/colour.jpg", quality=100, subsampling=0)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = images.folder(tmp_path)
    assert set(found) == set(expected)
    assert list(found) == sorted(found, key=Path)
    for name, value in expected.items():
        tolerance = 0.02 if name.endswith("jpg") else 1e-6
        np.testing.assert_allclose(found[name].numpy(), value, atol=tolerance, err_msg=name)


def test_an_unreadable_picture_is_refused_by_name(tmp_path):
    Image.fromarray(picture(24, 24)).save(tmp_path / "good.png")
    content = (tmp_path / "good.png").read_bytes()
    for name, bad in {"text.png": b"hello", "empty.jpg": b"", "short.png": content[:60]}.items():
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / name} cannot be read as a picture")):
            images.folder(tmp_path)
        (tmp_path / name).unlink()
    assert list(images.folder(tmp_path)) == ["good.png"]


@pytest.mark.parametrize("kind", ["255", "nan", "negative", "pages"])
def test_a_picture_that_would_be_misread_is_refused_by_name(kind, tmp_path):
    import tifffile

    grey = picture(24, 40).astype(np.float32)
    values = {
        "255": grey,
        "nan": np.where(grey > 250, np.nan, grey / 255) if grey.max() > 250 else np.full_like(grey, np.nan),
        "negative": grey / 255 - 0.5,
    }
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.stack([picture(24, 40, seed) for seed in range(5)]) if kind == "pages" else values[kind].astype(np.float32),
    )
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "a.tif"))):
        images.folder(tmp_path)


def test_no_folder_and_a_folder_without_pictures_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'no'} is not a folder")):
        images.split(tmp_path / "no")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} holds no picture")):
        images.split(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'train'} holds no picture")):
        images.split(tmp_path)


def test_a_picture_smaller_than_a_block_is_refused_by_name(pictures, tmp_path):
    copied(pictures, tmp_path)
    Image.fromarray(picture(15, 40)).save(tmp_path / "test" / "small.png")
    with pytest.raises(ValueError, match=r"small.png has 0 x 32 pixels, less than 16 x 16"):
        Photographs(data=tmp_path)


def test_training_photographs_smaller_than_a_crop_are_refused_by_name_or_work(pictures, tmp_path):
    copied(pictures, tmp_path)
    Image.fromarray(picture(48, 48)).save(tmp_path / "train" / "small.png")
    try:
        task = Photographs(data=tmp_path)
    except ValueError as error:
        assert "small.png" in str(error)  # noqa: PT017
    else:
        task.draw(40, generator())


def copied(pictures, folder):
    for file in pictures.rglob("*.png"):
        (folder / file.relative_to(pictures)).parent.mkdir(exist_ok=True)
        (folder / file.relative_to(pictures)).write_bytes(file.read_bytes())


def test_a_task_without_training_data_says_so():
    from unrolling.tasks.base import Task

    with pytest.raises(TypeError, match="Task has no training data"):
        Task().draw(1, generator())
