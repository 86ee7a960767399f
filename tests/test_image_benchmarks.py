"""Benchmarks of images at a tiny size, and that guides repeat published figures as they were published."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from benchmarks import image_enlarging, jpeg, large_pictures
from benchmarks.image_methods import line
from benchmarks.published import SOURCES, TABLES, label
from tools import published_tables
from unrolling.operators import BicubicReduction
from unrolling.systems.catalogue import find
from unrolling.training.weights import save_weights

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
LABELS = {label(row) for table in TABLES.values() for row in table.rows}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two tiny pictures for each set, in colour where the published ones are."""
    root = tmp_path_factory.mktemp("data")
    picture = Image.fromarray(skimage.data.astronaut()[60:108, 200:248])
    for name in ("one", "two"):
        for folder in ("classic5", "live1", "photos_cc", "set5/HR", *(f"set5/LR_x{s}" for s in (2, 3, 4))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            side = 48 // int(folder[-1]) if "LR" in folder else 48
            made = picture.resize((side, side), Image.Resampling.BICUBIC)
            (made.convert("L") if folder == "classic5" else made).save(root / folder / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of weights before training, of one step."""
    made = {}
    for name, task_name in (("imaging/deblock", "deblocking_qualities"), ("imaging/enlarge", "enlarging")):
        system = find(name)
        task = type(system.task(task_name)).small()
        network = system.network(system.recipes[task_name], task, 1).eval()
        made[name] = tmp_path_factory.mktemp("weights") / f"{task_name}.safetensors"
        save_weights(network, made[name], {"system": name, "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return made


def found(rows, method):
    """By set: the row of a method, or of one whose name begins like that, before its published one."""
    return {row["set"]: row for row in reversed(rows) if row["method"].startswith(method)}


def test_jpeg_of_the_published_qualities_stands_beside_published_figures(data, weights):
    rows = jpeg.of_sets(data, weights["imaging/deblock"])
    ours, files = found(rows, "imaging/deblock"), found(rows, "the file")
    assert set(ours) == {f"{name}, quality {q}" for name in ("classic5", "live1") for q in (10, 20, 30, 40)}
    assert all(abs(ours[key]["psnr"] - files[key]["psnr"]) < 3 for key in ours)
    assert found(rows, "DnCNN-3")["classic5, quality 30"]["psnr"] == 32.91
    assert not found(jpeg.of_sets(data, weights["imaging/deblock"], every=2), "DnCNN-3")


def test_without_weights_a_row_says_so(data):
    shipped = find("imaging/deblock")
    rows = [row for row in jpeg.of_sets(data, None, every=2) if row["method"].startswith("imaging/deblock")]
    there = shipped.weights_path("deblocking_qualities", shipped.recipes["deblocking_qualities"].depth, {}).is_file()
    assert {"psnr" in row for row in rows} == {there}
    assert there or "no weights" in line(rows[0])


def test_files_of_high_quality_go_through_apply(data, weights, monkeypatch):
    monkeypatch.setattr(jpeg, "PACKAGES", ())
    monkeypatch.setattr(jpeg, "HIGH", (80, 98))
    rows = jpeg.of_files(data, weights["imaging/deblock"], every=2)
    for row in found(rows, "imaging/deblock").values():
        assert row["images"] == 1
        assert row["worst"] == pytest.approx(row["gain"])
        assert row["below"] == (row["gain"] < -1e-3)
        assert row["method"].endswith("one.png")
    # The weights of quality 10 give back what is above 80.
    assert found(rows, "imaging/tnrd_jpeg")["classic5, quality 98"]["gain"] == 0


def test_what_a_file_gains_is_counted_in_levels(tmp_path):
    picture = np.full((8, 8, 3), 100, dtype=np.uint8)
    Image.fromarray(picture + 1).save(tmp_path / "a.png")
    assert jpeg._levels(tmp_path / "a.png", picture) == pytest.approx(20 * np.log10(255))


def test_enlarging_has_every_factor(data, weights):
    rows = image_enlarging.of_sets(data, weights["imaging/enlarge"])
    assert set(found(rows, "imaging/enlarge")) == {"set5 x2", "set5 x3", "set5 x4"} == set(found(rows, "imaging/scn"))
    assert set(found(rows, "imaging/tnrd_sr")) == {"set5 x3"}
    assert found(rows, "VDSR")["set5 x4"]["psnr"] == 31.35
    # A border as wide as the factor does not count.
    (small, large), other = image_enlarging.pairs_of(data / "set5", 3)
    enlarged = BicubicReduction(3).enlarge(small).clamp(0, 1)
    assert enlarged.shape == other[1].shape
    expected = -10 * (enlarged - large)[:, 3:-3, 3:-3].square().mean().log10()
    assert found(rows, "bicubic")["set5 x3"]["psnr"] == pytest.approx(float(expected), abs=1e-4)


def test_sets_that_are_not_there_are_left_out_with_a_word(tmp_path, capsys):
    assert image_enlarging.of_sets(tmp_path, None) == []
    assert "set5 is not there: left out" in capsys.readouterr().err


def test_large_pictures_have_their_pixels_and_their_noise():
    for colour in (False, True):
        picture = large_pictures.noisy(0.5, colour)
        assert picture.dtype == np.uint8
        assert picture.ndim == 2 + colour
        assert picture.shape[0] * picture.shape[1] == pytest.approx(0.5e6, rel=0.01)
        assert picture.shape[1] / picture.shape[0] == pytest.approx(4 / 3, rel=0.01)
    assert large_pictures.noisy(0.05, False).shape == (194, 258)


def test_memory_and_time_are_those_of_the_process():
    text, seconds, gigabytes = large_pictures.measured(
        [sys.executable, "-c", "kept = bytearray(b'x') * 200_000_000; print(len(kept))"]
    )
    assert int(text) == 200_000_000
    assert 0 < seconds < 60
    assert 0.2 < gigabytes < 0.4
    with pytest.raises(SystemExit, match="failed with 3"):
        large_pictures.measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_published_tables_are_whole():
    for table in TABLES.values():
        for row in table.rows:
            assert len(row.values) == len(table.columns)
            assert all(value is None or 10 < value < 50 for value in row.values)
        assert len({row.method for row in table.rows}) == len(table.rows)
        assert {"classical", "well known", "compact"} <= {row.role for row in table.rows}
    assert {row.source for table in TABLES.values() for row in table.rows} == set(SOURCES)


def test_the_page_of_published_figures_is_theirs():
    assert (ROOT / published_tables.PAGE).read_text(encoding="utf-8") == published_tables.written(), "run make written"


def published_in(guide):
    """Of every table that names a set in its first cell: the set, its columns, and the published rows by label."""
    for block in re.findall(r"(?:^\|.*\n)+", guide.read_text(encoding="utf-8"), flags=re.MULTILINE):
        head, *body = [[cell.strip() for cell in row.split("|")[1:-1]] for row in block.splitlines()]
        if not (body and body[0][0].startswith("---")):
            continue  # bars in a sentence
        rows = {cells[0]: cells[1:] for cells in body if ", published" in cells[0]}
        name = next((key for key, table in TABLES.items() if head[0].startswith(f"{table.title}:")), None)
        if name is not None or rows:
            yield name, head[1:], rows


@pytest.mark.parametrize("guide", GUIDES, ids=[guide.stem for guide in GUIDES])
def test_guides_repeat_published_figures(guide):
    for name, columns, rows in published_in(guide):
        assert name is not None, f"the first cell names no set: {list(rows)}"
        table = TABLES[name]
        by_label = {label(row): row for row in table.rows}
        roles = set()
        for key, cells in rows.items():
            assert key in by_label, key
            expected = dict(zip(table.columns, by_label[key].values, strict=True))
            values = [expected[column] for column in columns]
            assert cells == ["" if value is None else f"{value:.2f}" for value in values], key
            roles.add(by_label[key].role)
        assert {row.role for row in table.rows} - {""} <= roles, f"{name}: a row of each kind"


def test_published_figures_are_read_from_guides():
    assert sum(len(rows) for guide in GUIDES for _, _, rows in published_in(guide)) > 25
