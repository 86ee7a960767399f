"""The scripts of the gallery: short, from public names alone, each in a section and with a picture at its end. The
site's build checks that they run.
"""

import ast
import importlib
import re
from pathlib import Path

import pytest

from tools.site.limits import CPU, TooLong, watch

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*/*.py"))
OTHERS = {
    "numpy",
    "scipy",
    "skimage",
    "sklearn",
    "torch",
    "matplotlib",
    "onnxruntime",
    "pywt",
    "PIL",
    "deepinv",
    "pydicom",
    "nibabel",
}
STANDARD = {
    "base64",
    "importlib",
    "io",
    "itertools",
    "json",
    "math",
    "os",
    "pathlib",
    "runpy",
    "signal",
    "statistics",
    "subprocess",
    "sys",
    "tempfile",
    "time",
    "typing",
    "warnings",
    "wave",
}
LENGTH = 80


def sections() -> set[str]:
    conf = (ROOT / "docs/conf.py").read_text()
    for node in ast.parse(conf).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SECTIONS":
            return set(ast.literal_eval(node.value))
    raise AssertionError("docs/conf.py names no sections")


def test_every_folder_of_examples_is_a_section_with_a_heading():
    assert {path.parent.name for path in SCRIPTS} <= sections()
    for section in sections():
        title, line = (EXAMPLES / section / "GALLERY_HEADER.rst").read_text().splitlines()[:2]
        assert set(line) == {"-"}
        assert len(line) == len(title)


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_an_example_is_short_and_ends_in_a_picture(script):
    text = script.read_text()
    assert len(text.splitlines()) <= LENGTH
    tree = ast.parse(text)
    heading = ast.get_docstring(tree, clean=False).strip().splitlines()
    assert set(heading[1]) == {"="}
    assert len(heading[1]) >= len(heading[0])
    assert len(heading) > 3, "two sentences on what one sees"
    last = re.split(r"^# %%.*$", text, flags=re.MULTILINE)[-1]
    assert re.search(r"\bplt\.|\.imshow\(|\.plot\(|\bax\w*\.|\.draw\(|_repr_svg_|\.svg", last), "no picture at the end"


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_an_example_imports_what_is_public(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= OTHERS | STANDARD | {"unrolling"}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in OTHERS | STANDARD | {"unrolling"}, node.module
            if node.module.startswith("unrolling"):
                assert not any(part.startswith("_") for part in node.module.split("."))
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert not alias.name.startswith("_")
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_an_example_that_takes_too_long_fails_the_build(monkeypatch):
    seconds = iter([0.0, CPU + 1])
    monkeypatch.setattr("tools.site.limits.time.process_time", lambda: next(seconds))
    monkeypatch.setattr("tools.site.limits.signal.alarm", lambda seconds: None)
    watch({}, "slow.py", "before")
    with pytest.raises(TooLong, match=r"slow\.py took 31 s of a processor; at most 30"):
        watch({}, "slow.py", "after")
