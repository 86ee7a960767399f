"""What is published: metadata, the recipe for conda, workflows, and the check that tries the wheel."""

import io
import re
import sys
import tarfile
import tomllib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import unrolling
from tools import package_check
from unrolling.report import images

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def loaded(name):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / name).read_text())


def test_the_recipe_for_conda_requires_what_the_package_requires():
    recipe = loaded("packaging/conda/recipe.yaml")
    run = {line.replace(" ", "").replace("pytorch", "torch") for line in recipe["requirements"]["run"]}
    own = {f"python{PROJECT['project']['requires-python']}", *PROJECT["project"]["dependencies"]}
    assert run == own
    assert recipe["context"]["version"] == unrolling.__version__
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == "unroll = {}".format(PROJECT["project"]["scripts"]["unroll"])


def test_the_citation_has_the_version():
    assert loaded("CITATION.cff")["version"] == unrolling.__version__


def test_every_python_that_is_promised_is_tried():
    jobs = loaded(".github/workflows/ci.yml")["jobs"]
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    assert jobs["package"]["strategy"]["matrix"]["python"] == promised
    assert promised[0] == PROJECT["project"]["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_jobs_have_no_more_rights_than_they_need_and_end(name):
    workflow = loaded(f".github/workflows/{name}")
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    writing = {name for name, job in workflow["jobs"].items() if "write" in job.get("permissions", {}).values()}
    assert writing <= {"build", "publish", "page", "deploy"}


def test_the_lowest_versions_are_those_of_the_ranges():
    assert package_check.lowest(["torch>=2.6", "numpy>=1.26", "plain"]) == ["torch==2.6", "numpy==1.26"]
    given = package_check.requirements("data,audio,scans,export")
    assert len(package_check.lowest(given)) == len(given)


def test_a_picture_is_written_as_png(tmp_path):
    image = pytest.importorskip("PIL.Image")
    package_check.png(tmp_path / "picture.png", side=32)
    picture = image.open(tmp_path / "picture.png")
    assert picture.size == (32, 32)
    assert picture.getpixel((16, 16)) == 200
    assert picture.getpixel((3, 0)) == 46


def wheel(path, names, required=("torch>=2.6",), size=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name in names:
            file.writestr(name, "")
        lines = [f"Requires-Dist: {each}" for each in required]
        file.writestr("unrolling-1.dist-info/METADATA", "\n".join(["Name: unrolling", *lines]))
        file.writestr("unrolling/weights", bytes(size))
    return path


def test_a_wheel_that_is_large_untyped_or_wants_too_much_is_refused(tmp_path):
    whole = ["unrolling/__init__.py", "unrolling/py.typed"]
    assert "1 requirements" in package_check.check_wheel(wheel(tmp_path / "a.whl", whole))
    extra = "matplotlib; extra == 'docs'"
    package_check.check_wheel(wheel(tmp_path / "b.whl", whole, ["torch>=2.6", extra]))
    for name, made in {
        "more than": {"names": whole, "size": package_check.LARGEST + 1},
        "py.typed": {"names": whole[:1]},
        "tests": {"names": [*whole, "tests/test_a.py"]},
        "matplotlib": {"names": whole, "required": ["matplotlib"]},
        "nvidia": {"names": whole, "required": ["nvidia-cublas-cu12"]},
    }.items():
        with pytest.raises(AssertionError, match=name):
            package_check.check_wheel(wheel(tmp_path / "bad.whl", **made))


def test_a_source_distribution_without_tests_is_refused(tmp_path):
    path = tmp_path / "unrolling-1.tar.gz"
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(AssertionError, match=r"lacks|tests"):
        package_check.check_source(path)


def test_one_line_names_the_extra():
    line = "unroll: a picture needs the package Pillow: pip install 'unrolling[data]'"
    assert package_check.HINT.match(line)
    assert not package_check.HINT.match("unroll: No module named 'sklearn'")
    assert not package_check.HINT.match("Traceback (most recent call last):\n" + line)


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "unrolling/py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    assert zlib.crc32((ROOT / "unrolling/py.typed").read_bytes()) == 0  # the marker is empty


def test_a_page_needs_no_package_of_an_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    levels = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    contents, scale = images.png_within([levels, levels], limit=2000)
    assert scale < 1
    assert sum(map(len, contents)) <= 2000
    assert all(content.startswith(b"\x89PNG") for content in contents)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (64, 64), (33, 70)])
def test_a_png_holds_the_levels_to_the_bit_whatever_filter_a_row_takes(shape):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(shape[0]) * 3, np.arange(shape[1]) * 5) % 256
    for levels in (ramp, rng.integers(0, 256, shape), np.where(rng.random(shape) < 0.5, 0, 255), np.zeros(shape)):
        content = images.png(levels.astype(np.uint8))
        assert np.array_equal(np.asarray(image.open(io.BytesIO(content))), levels)


def page(*captions):
    """The pictures of one photograph as a page holds them."""
    tiny = images.data_uri(images.png(np.zeros((4, 4), np.uint8)))
    return "".join(
        f'<img src="{tiny}" alt="astronaut: {text}">'
        f'<img class="detail" src="{tiny}" alt="astronaut: {text}, enlarged detail">'
        for text in captions
    )


def test_the_readmes_picture_shows_the_row_that_the_headline_names():
    pytest.importorskip("PIL")
    from tools import readme_picture

    captions = ["original", "FISTA: 25.3 dB", "ISTA, as many iterations: 28.2 dB", "NET before training: 28.3 dB"]
    found = readme_picture.panels(page(*captions, "NET, 5 layers: 30.3 dB") + page("other").replace("astro", "cosmo"))
    names = [caption for caption, *_ in found]
    assert names == [*captions, "NET, 5 layers: 30.3 dB"]
    headline = "NET reaches 30.3 dB. The strongest classical row is ISTA, as many iterations."
    assert readme_picture.chosen(names, headline) == [0, 2, 3, 4]
    assert readme_picture.draw(found).size[0] == 5 * readme_picture.SIDE + 4 * readme_picture.GAP
    with pytest.raises(ValueError, match="the strongest row without training is not among them"):
        readme_picture.chosen(names, "NET reaches 30.3 dB.")


def test_help_shows_no_raw_markup(unroll):
    for words in ([], ["apply"], ["train"], ["reproduce"], ["schedules"]):
        status, output, _ = unroll(*words, "--help")
        assert status == 0
        assert "``" not in output, words
