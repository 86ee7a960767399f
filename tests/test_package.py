"""What `import unrolling` brings in, and the README's examples."""

import ast
import importlib
import re
import subprocess
import sys
import tokenize
import tomllib
import zlib
from io import StringIO
from pathlib import Path

import pytest
import torch

import unrolling
from tools import public_names
from unrolling import _extras, losses

HEAVY = (
    "lightning_fabric",
    "torchmetrics",
    "safetensors",
    "typer",
    "rich",
    "matplotlib",
    "jinja2",
    "skimage",
    "sklearn",
    "scipy",
)
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def imported(statement, before="torch"):
    """Names of all modules in a fresh interpreter after a statement, but for those that ``before`` brings."""
    code = f"import sys, {before}; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_brings_in_nothing_and_its_engine_nothing_heavier_than_torch():
    own = {name for name in imported("import unrolling", "typing") if name.split(".")[0] in ("unrolling", "torch")}
    assert own == {"unrolling", "unrolling._lazy", "unrolling._version"}
    found = imported("import unrolling; unrolling.unroll")
    assert "unrolling.core.unroll" in found
    assert not {name.split(".")[0] for name in found} & set(HEAVY)
    assert {name.split(".")[1] for name in found if name.startswith("unrolling.")} == {"core", "_lazy", "_version"}


def test_a_package_gives_a_name_without_importing_what_its_other_modules_need():
    found = imported("from unrolling.algorithms import ISTA")
    assert "unrolling.algorithms.sparse.ista" in found
    assert not any(name.startswith(("unrolling.algorithms.detection", "unrolling.algorithms.sound")) for name in found)


def test_the_catalogue_brings_in_no_library_for_measuring_drawing_or_images():
    """`unroll list` should not wait for what it does not use."""
    found = imported("from unrolling.systems.catalogue import catalogue; catalogue()")
    assert not {name.split(".")[0] for name in found} & set(HEAVY)
    assert "torch._dynamo" not in found  # the compiler takes about as long to import as the rest


def test_all_public_names_are_there_and_documented():
    for name in unrolling.__all__:
        assert getattr(unrolling, name).__doc__, name
    assert list(unrolling.__all__) == sorted(set(unrolling.__all__))
    assert set(unrolling.__all__) <= set(dir(unrolling))
    with pytest.raises(AttributeError, match="module 'unrolling' has no attribute 'unrol'"):
        unrolling.unrol  # noqa: B018


PACKAGES = public_names.packages()


@pytest.mark.parametrize("package", PACKAGES, ids=[str(path.relative_to(ROOT)) for path in PACKAGES])
def test_a_package_gives_all_public_names_of_its_modules(package):
    names = public_names.public(package)
    message = "run python -m tools.public_names"
    assert public_names.table(package) == names, message
    dotted = ".".join(package.relative_to(ROOT).parts)
    module = importlib.import_module(dotted)
    for source, held in names.items():
        origin = importlib.import_module(f"{dotted}.{source}")
        assert all(getattr(module, name) is getattr(origin, name) for name in held), source
    everything = {name for held in names.values() for name in held}
    assert set(module.__all__) == everything, message
    assert everything <= set(dir(module))
    # What is not imported now has the same names for a type checker.
    assert typed(package) == everything, message


def typed(package):
    """The names that a package's `if TYPE_CHECKING` block imports."""
    found = set()
    for node in ast.walk(ast.parse((package / "__init__.py").read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                whole = [alias.name for alias in line.names] == ["*"]
                found |= (
                    set(importlib.import_module(line.module).__all__) if whole else {alias.name for alias in line.names}
                )
    return found


def test_losses_are_had_where_users_look_for_them():
    names = set(public_names.defined(ROOT / "unrolling/training/losses.py"))
    assert set(losses.__all__) == names, "run python -m tools.public_names"
    for name in names:
        assert getattr(losses, name) is getattr(importlib.import_module("unrolling.training.losses"), name)


@pytest.mark.parametrize("first", ["import unrolling.export.loading", "pass"])
def test_export_is_a_package_and_a_function_whatever_was_imported_first(first):
    code = (
        f"{first}\nimport unrolling\nfrom unrolling import export\nfrom unrolling.export import ExportError, load\n"
        "import unrolling.export as package\n"
        "assert export is unrolling.export is package and callable(load) and export.load is load\n"
        "try:\n    export(None, 'x.pt2', None)\nexcept Exception as error:\n    print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("ExportError", "TypeError")


@pytest.mark.parametrize(
    ("package", "statement", "extra"),
    [
        ("sklearn", "from unrolling.estimators import SparseEncoder", "data"),
        ("sklearn", "from unrolling.tasks import Codes; Codes(train_patches=50, held_out=5)", "data"),
        ("skimage", "from unrolling.tasks.images.sources import luma; import numpy; luma(numpy.zeros((4, 4)))", "data"),
        ("pywt", "from unrolling.tasks import Spikes; Spikes()", "data"),
        (
            "scipy",
            "from unrolling.algorithms import minimal_coherence_weights as w; import torch; w(torch.eye(2))",
            "data",
        ),
        ("PIL", "from unrolling.files.pictures import pillow; pillow()", "data"),
        ("soundfile", "from unrolling.files.sound import soundfile; soundfile()", "audio"),
        ("onnx", "from unrolling.export import find_format; find_format('onnx').check()", "export"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_it_comes_with(package, statement, extra, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package or "sparse_encoder" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(vars(importlib.import_module("unrolling.estimators")), "SparseEncoder", raising=False)
    with pytest.raises(ImportError, match=rf"pip install 'unrolling\[{extra}\]'"):
        exec(statement, {})


def test_what_is_installed_has_at_most_twelve_megabytes_compressed():
    files = [path for path in (ROOT / "unrolling").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 11_900_000  # the rest is what a wheel adds
    assert [path.name for path in files if path.stat().st_size > 1_000_000] == []


def test_every_package_of_an_extra_is_known_by_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = {re.split("[<>=]", name)[0].lower() for name in project["dependencies"]}
    optional = {
        re.split("[<>=]", name)[0].lower(): extra
        for extra, names in project["optional-dependencies"].items()
        for name in names
    }
    known = {_extras.PACKAGES.get(module, module).lower(): extra for module, extra in _extras.EXTRAS.items()}
    assert known.keys() - {"onnx_ir"} == optional.keys()  # onnxscript brings onnx_ir
    assert not own & optional.keys()


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"__name__": "readme"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"README.md, python block {number + 1}", "exec"), names)
    classes = [
        c
        for c in names.values()
        if isinstance(c, type) and issubclass(c, unrolling.Iteration) and c.__module__ == "readme"
    ]
    assert classes
    # The classical run and the network of the example are what the text says they are.
    ista, lista, y = names["ista"], names["lista"], names["y"]
    state = ista.start(y)
    for _ in range(len(lista)):
        state = ista(state, y)
    assert torch.equal(lista(y), state)


def test_a_whole_algorithm_has_at_most_twelve_lines_of_code():
    classes = [
        (block, node)
        for block in BLOCKS
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ClassDef) and "Iteration" in map(ast.unparse, node.bases)
    ]
    assert classes
    for block, node in classes:
        lines = "\n".join(block.splitlines()[node.lineno - 1 : node.end_lineno]) + "\n"
        skipped = (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        )
        code = {
            line
            for token in tokenize.generate_tokens(StringIO(lines).readline)
            if token.type not in skipped
            for line in range(token.start[0], token.end[0] + 1)
        }
        assert len(code) <= 12, f"{node.name} has {len(code)} lines"


def test_rooms_have_at_most_400_lines_and_lines_120_columns():
    top = Path(__file__).parents[1]
    files = [file for part in ("unrolling", "tests", "benchmarks", "tools") for file in (top / part).rglob("*.py")]
    assert len(files) > 400
    texts = {str(file.relative_to(top)): file.read_text(encoding="utf-8").splitlines() for file in files}
    assert [name for name, lines in texts.items() if len(lines) > 400] == []
    package = {name: lines for name, lines in texts.items() if name.startswith("unrolling")}
    assert [name for name, lines in package.items() if any(len(line) > 120 for line in lines)] == []
