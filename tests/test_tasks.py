"""Data, targets and metrics of the tasks, measured; and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import picture, recovery, write_pictures
from torchmetrics.functional.image import peak_signal_noise_ratio

from unrolling.tasks import images
from unrolling.tasks.base import NMSE, PSNR, nmse_pieces
from unrolling.tasks.codes import RIDGE, Codes
from unrolling.tasks.photographs import Photographs
from unrolling.tasks.recovery import read_dictionary


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Metrics


def test_nmse_is_the_ratio_of_the_sums_in_decibels():
    target, estimate = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[3.0, 3.0], [0.5, 1.0]])
    pieces = nmse_pieces(estimate, target)
    assert pieces.tolist() == [[1.0, 25.0, 0.0], [0.25, 1.0, 0.0]]
    assert NMSE.value(pieces) == pytest.approx(10 * np.log10(1.25 / 26))


def test_nmse_of_complex_estimates_counts_magnitudes():
    target = torch.tensor([[3 + 4j, 0], [0, 2j]])
    assert NMSE.value(nmse_pieces(target * (1 + 0.1j), target)) == pytest.approx(-20)


def test_perfect_and_silent_estimates_give_numbers():
    target = torch.randn(4, 5, generator=generator())
    assert NMSE.value(nmse_pieces(target, target)) < -300
    assert NMSE.value(nmse_pieces(torch.zeros(4, 5), target)) == 0


def test_groups_count_equally_whatever_their_size():
    pieces = torch.tensor([[1.0, 10.0, 0.0], [1.0, 10.0, 0.0], [1.0, 1000.0, 1.0]])
    assert NMSE.value(pieces) == pytest.approx((-10 - 30) / 2)
    assert PSNR.value(pieces) == pytest.approx((10 + 30) / 2)


def test_better_is_lower_for_errors_and_higher_for_ratios():
    assert NMSE.at_least_as_good(-20, -10)
    assert not NMSE.at_least_as_good(-10, -20)
    assert PSNR.at_least_as_good(30, 20)
    assert PSNR.at_least_as_good(30, 30)


# Recovery


@pytest.mark.parametrize("snr", [0.0, 10.0, 30.0])
def test_the_noise_has_the_power_that_the_ratio_says_for_each_sample(snr):
    task = recovery(m=300, n=400, snr=snr)
    y, x = task.draw(200, generator())
    clean = x @ task.dictionary.T
    ratios = 20 * torch.log10(clean.std(dim=1) / (y - clean).std(dim=1))
    assert ratios.mean().item() == pytest.approx(snr, abs=0.1)
    # Samples differ in energy by several dB; each has the ratio for itself: what is left is the spread of a variance of 300 numbers.
    assert clean.std(dim=1).log10().mul(20).std().item() > 0.5
    assert ratios.std().item() < 0.5


def test_without_noise_the_measurements_are_exact():
    task = recovery()
    y, x = task.draw(50, generator())
    assert torch.equal(y, x @ task.dictionary.T)


@pytest.mark.parametrize("probability", [0.05, 0.3, 1.0])
def test_the_share_of_non_zeros_is_the_probability_and_they_are_standard_normal(probability):
    x = recovery(n=200, probability=probability).draw(500, generator()).target
    share = (x != 0).double().mean().item()
    assert abs(share - probability) <= 4 * (probability * (1 - probability) / x.numel()) ** 0.5
    present = x[x != 0]
    assert abs(present.mean().item()) < 4 / len(present) ** 0.5
    assert present.square().mean().item() == pytest.approx(1, abs=6 / len(present) ** 0.5)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 10))
def test_columns_have_norm_one(m, n, seed):
    task = recovery(m=m, n=n, seed=seed, held_out=1)
    assert task.dictionary.shape == (m, n)
    torch.testing.assert_close(torch.linalg.vector_norm(task.dictionary, dim=0), torch.ones(n))


def test_the_same_seed_gives_the_same_data_and_another_other_data():
    one, same, other = recovery(seed=1), recovery(seed=1), recovery(seed=2)
    for part in ("validation", "test"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(one, part)[0], getattr(same, part)[0], strict=True))
        assert not torch.equal(getattr(one, part)[0].target, getattr(other, part)[0].target)
    assert torch.equal(one.draw(5, generator(3)).data, same.draw(5, generator(3)).data)
    assert one.identity() == same.identity()
    assert one.identity()["fingerprint"] != other.identity()["fingerprint"]
    assert not torch.equal(one.validation[0].target, one.test[0].target)


def test_another_dictionary_from_a_file_is_normalised_and_sets_the_sizes(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(5, 7)) * np.arange(1, 8)
    np.save(tmp_path / "a.npy", matrix)
    task = recovery(data=tmp_path / "a.npy")
    np.testing.assert_allclose(task.dictionary.numpy(), matrix / np.linalg.norm(matrix, axis=0), rtol=1e-6)
    assert (task.identity()["m"], task.identity()["n"]) == (5, 7)
    assert torch.equal(recovery(fixed={"dictionary": task.dictionary}).dictionary, task.dictionary)


def _array(columns=3, **bad):
    matrix = np.random.default_rng(0).normal(size=(4, columns))
    for where, value in bad.items():
        matrix[:, int(where[1:])] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (_array(c1=0), "column 1 of the dictionary is zero"),
        (_array(c2=np.nan), "NaN or infinite"),
        (_array(c0=np.inf), "NaN or infinite"),
        (1e300 * _array(), "NaN or infinite"),
        (_array()[0], r"a dictionary is a matrix \(m, n\) with one atom per column; got shape \(3,\)"),
        (np.array([["a", "b"]]), "is not a .npy file of real numbers"),
        (np.array([[{}, 1]], dtype=object), "is not a .npy file of real numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_an_array_that_is_no_dictionary_is_refused(matrix, message, tmp_path):
    np.save(tmp_path / "a.npy", matrix)
    with pytest.raises(ValueError, match=message):
        recovery(data=tmp_path / "a.npy")


@pytest.mark.filterwarnings("ignore")
def test_a_complex_dictionary_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", _array() + 1j)
    with pytest.raises(ValueError, match=r"is not a .npy file of real numbers"):
        read_dictionary(tmp_path / "a.npy")


@pytest.mark.parametrize("content", [pytest.param(b""), b"hello", b"\x93NUMPY\x01\x00v\x00"])
def test_a_file_that_is_no_array_is_refused_by_name(content, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'a.npy'} is not a .npy file")):
        read_dictionary(tmp_path / "a.npy")


def test_a_missing_dictionary_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "no.npy"))):
        read_dictionary(tmp_path / "no.npy")


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.5, float("nan")])
def test_a_probability_outside_its_range_is_refused(probability):
    with pytest.raises(ValueError, match="probability must lie in"):
        recovery(probability=probability)


@pytest.mark.parametrize("values", [{"m": -1}, {"m": 0}, {"n": 0}, {"snr": float("nan")}])
def test_sizes_and_ratios_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} must"):
        recovery(**values)


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
    singly = [peak_signal_noise_ratio(e.clamp(0, 1), x, data_range=1.0).item() for e, (_, x) in zip(noisy, photographs.test, strict=True)]
    pieces = [photographs.pieces(e, x, k) for k, (e, (_, x)) in enumerate(zip(noisy, photographs.test, strict=True))]
    assert [PSNR.value(p) for p in pieces] == pytest.approx(singly, abs=1e-4)
    assert PSNR.value(torch.cat(pieces)) == pytest.approx(sum(singly) / 2, abs=1e-4)
    assert abs(singly[0] - singly[1]) > 0.01


def test_the_pieces_of_a_photograph_are_its_tiles(photographs):
    _, x = photographs.test[0]  # 64 x 96: a tile and half of one
    pieces = photographs.pieces(torch.zeros_like(x), x)
    assert pieces[:, 1].tolist() == [64 * 64, 64 * 32]
    assert pieces[0, 0].item() == pytest.approx(x[0, :, :64].square().sum().item(), rel=1e-5)


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
            bool((p.unfold(0, 64, 1).unfold(1, 64, 1) == t).flatten(2).all(-1).any()) for p in photographs.photographs["train"].values() for t in turned
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
    small = {name: torch.nn.functional.adaptive_avg_pool2d(value[None, None], 8).flatten() for name, value in values.items()}
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
    values = {"255": grey, "nan": np.where(grey > 250, np.nan, grey / 255) if grey.max() > 250 else np.full_like(grey, np.nan), "negative": grey / 255 - 0.5}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([picture(24, 40, seed) for seed in range(5)]) if kind == "pages" else values[kind].astype(np.float32))
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
    _copy(pictures, tmp_path)
    Image.fromarray(picture(15, 40)).save(tmp_path / "test" / "small.png")
    with pytest.raises(ValueError, match=r"small.png has 15 x 40 pixels, less than one block of 16 x 16"):
        Photographs(data=tmp_path)


def test_training_photographs_smaller_than_a_crop_are_refused_by_name_or_work(pictures, tmp_path):
    _copy(pictures, tmp_path)
    Image.fromarray(picture(48, 48)).save(tmp_path / "train" / "small.png")
    try:
        task = Photographs(data=tmp_path)
    except ValueError as error:
        assert "small.png" in str(error)  # noqa: PT017
    else:
        task.draw(40, generator())


def _copy(pictures, folder):
    for file in pictures.rglob("*.png"):
        (folder / file.relative_to(pictures)).parent.mkdir(exist_ok=True)
        (folder / file.relative_to(pictures)).write_bytes(file.read_bytes())


# Codes


@pytest.fixture(scope="module")
def codes(pictures):
    dictionary = torch.randn(100, 120, generator=generator(5))
    dictionary /= torch.linalg.vector_norm(dictionary, dim=0)
    return Codes(atoms=120, train_patches=2000, held_out=50, data=pictures, fixed={"dictionary": dictionary})


@pytest.mark.parametrize("part", ["validation", "test", "train"])
def test_codes_satisfy_the_optimality_conditions_of_the_lasso(codes, part):
    """|A^T (y - A x)| <= alpha, with equality and the sign of x where x is not zero."""
    y, x = codes.draw(50, generator()) if part == "train" else getattr(codes, part)[0]
    tolerance = 3e-3 if part == "train" else 2e-5
    correlation = (y - x @ codes.dictionary.T) @ codes.dictionary
    assert correlation.abs().max().item() <= codes.alpha + tolerance
    active = x.abs() > 1e-3
    assert 1 < active.sum(1).double().mean() < 100
    assert (correlation - codes.alpha * x.sign())[active].abs().max().item() <= tolerance


def test_patches_have_no_mean_and_norm_one_before_whitening(codes):
    raw = codes._raw("train", 500, 0)
    assert raw.shape == (500, 100)
    assert raw.mean(1).abs().max().item() < 1e-6
    torch.testing.assert_close(torch.linalg.vector_norm(raw, dim=1), torch.ones(500))
    torch.testing.assert_close(torch.linalg.vector_norm(codes.test[0].data, dim=1), torch.ones(50))


def test_whitening_evens_out_the_spectrum_as_far_as_its_ridge_allows(codes):
    """Eigenvalue v of the covariance becomes v / (v + 0.1 mean)."""
    raw = codes._raw("train", 2000, 0).double()
    before = torch.linalg.eigvalsh(raw.T @ raw / len(raw))
    white = raw @ codes.whitening.double()
    after = torch.linalg.eigvalsh(white.T @ white / len(white))
    torch.testing.assert_close(after, before / (before + RIDGE * before.mean()), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(codes.whitening, codes.whitening.T, atol=1e-4, rtol=0)
    assert after[-1] / after[50] < 2 < 5 < before[-1] / before[50]


def test_without_whitening_patches_stay_as_they_are(codes, pictures):
    plain = Codes(atoms=120, train_patches=500, held_out=20, whiten=0, data=pictures, fixed={"dictionary": codes.dictionary})
    assert torch.equal(plain.test[0].data, plain._raw("test", 20, 2))
    assert plain.test[0].data.mean(1).abs().max().item() < 1e-6


def test_patches_are_pieces_of_their_photographs(codes):
    """Up to mean and scale, and of the right part."""
    raw = codes._raw("validation", 20, 1)
    windows = codes.photographs["validation"]["validation0.png"].unfold(0, 10, 1).unfold(1, 10, 1).reshape(-1, 100)
    windows = windows - windows.mean(1, keepdim=True)
    windows = windows / torch.linalg.vector_norm(windows, dim=1, keepdim=True).clamp_min(1e-9)
    assert (raw @ windows.T).amax(1).min().item() > 0.9999


def test_the_same_seed_gives_the_same_patches(codes, pictures):
    again = Codes(atoms=120, train_patches=2000, held_out=50, data=pictures, fixed={"dictionary": codes.dictionary})
    other = Codes(atoms=120, train_patches=2000, held_out=50, seed=1, data=pictures, fixed={"dictionary": codes.dictionary})
    assert torch.equal(again.test[0].target, codes.test[0].target)
    assert again.identity() == codes.identity()
    assert not torch.equal(other.test[0].data, codes.test[0].data)


def test_the_loss_of_codes_is_relative_to_their_energy(codes):
    _, x = codes.test[0]
    assert codes.loss(torch.zeros_like(x), x).item() == pytest.approx(1)
    assert codes.loss(0.9 * x, x).item() == pytest.approx(0.01)


@pytest.mark.slow
def test_the_learned_dictionary_codes_patches_with_fewer_coefficients_than_a_random_one(codes, pictures):
    learned = Codes(atoms=100, train_patches=1500, held_out=50, data=pictures)
    torch.testing.assert_close(torch.linalg.vector_norm(learned.dictionary, dim=0), torch.ones(100))
    random = Codes(atoms=100, train_patches=1500, held_out=50, data=pictures, fixed={"dictionary": codes.dictionary[:, :100]})
    y = learned.test[0].data
    assert torch.equal(y, random.test[0].data)

    def objective(task):
        x = task.test[0].target
        return (0.5 * (y - x @ task.dictionary.T).square().sum(1) + task.alpha * x.abs().sum(1)).mean().item()

    assert objective(learned) < 0.9 * objective(random)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha": 0.0}, "alpha must be positive; got 0.0"),
        ({"atoms": 99}, "atoms is 99; a dictionary of 10 x 10 patches has at least 100"),
        ({"atoms": 130}, r"the dictionary given is \(100, 120\), and 130 atoms were asked for"),
    ],
)
def test_bad_options_of_the_codes_are_refused(values, message, codes, pictures):
    with pytest.raises(ValueError, match=message):
        Codes(**{"atoms": 120, "train_patches": 100, "held_out": 5, "data": pictures, "fixed": {"dictionary": codes.dictionary}, **values})


@pytest.mark.parametrize("values", [picture(9, 30), np.full((40, 40), 100, np.uint8)], ids=["small", "flat"])
def test_a_picture_that_gives_no_patch_is_refused_by_name(values, codes, pictures, tmp_path):
    _copy(pictures, tmp_path)
    for file in (tmp_path / "test").iterdir():
        file.unlink()
    Image.fromarray(values).save(tmp_path / "test" / "useless.png")
    with pytest.raises(ValueError, match=r"useless.png"):
        Codes(atoms=120, train_patches=100, held_out=5, data=tmp_path, fixed={"dictionary": codes.dictionary})


def test_a_task_without_training_data_says_so():
    from unrolling.tasks.base import Task

    with pytest.raises(TypeError, match="Task has no training data"):
        Task().draw(1, generator())
