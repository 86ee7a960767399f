"""Pages of the site: their programs run, their tables name the systems that there are, their links lead somewhere. And
no file of the repository tells of the machine that it was written on.
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from tools import system_tables
from unrolling.cli.main import app
from unrolling.systems import find
from unrolling.systems.index import read_index

ROOT = Path(__file__).parents[1]


def written_pages() -> list[Path]:
    """The pages of the site that people wrote: what its build makes is ignored by git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "docs/*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # not a checkout
        return sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / name for name in sorted(set(listed.stdout.split())) if (ROOT / name).exists()]


GUIDES = written_pages()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]
IDS = [str(page.relative_to(ROOT).with_suffix("")) for page in PAGES]


# Their programs compare and train for half a minute and more.
LONG = ("docs/guides/comparing", "docs/learn/3_gradients", "docs/write/richardson_lucy")


@pytest.mark.parametrize(
    "guide",
    [
        pytest.param(page, id=name, marks=pytest.mark.nightly if name in LONG else ())
        for page, name in zip(GUIDES, IDS[2:], strict=True)
    ],
)
def test_the_programs_of_a_page_run(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": guide.stem}
    blocks = re.findall(r"^```python\n(.*?)^```$", guide.read_text(), flags=re.MULTILINE | re.DOTALL)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{guide.name}, python block {number + 1}", "exec"), names)


@pytest.mark.parametrize("page", ["README.md", *system_tables.GUIDES])
def test_the_table_of_systems_in_a_page_is_that_of_the_catalogue(page):
    assert (ROOT / page).read_text() == system_tables.written(page), "run make written"


def test_the_tables_name_every_system_once_and_variants_after_what_they_vary():
    entries = read_index()
    tables = [system_tables.field_table(entries, fields) for fields in system_tables.GUIDES.values()]
    named = [name for table in tables for name in re.findall(r"^\| `([^`]+)`", table, flags=re.MULTILINE)]
    assert sorted(named) == sorted(entry["name"] for entry in entries)
    for entry in entries:
        if entry["variant_of"] is not None:
            between = named[named.index(entry["variant_of"]) + 1 : named.index(entry["name"])]
            assert all(other["variant_of"] == entry["variant_of"] for other in entries if other["name"] in between)


def test_what_a_guide_says_of_learned_numbers_it_says_of_systems_that_there_are():
    text = (ROOT / "docs/guides/sparse_coding.md").read_text().split("## What is learned")[1].split("##")[0]
    named = {
        name for cell in re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE) for name in re.findall(r"`(.*?)`", cell)
    }
    assert named
    for name in named:
        assert find(f"sparse_coding/{name}").name == f"sparse_coding/{name}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_what_a_page_points_to_is_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}, (
                target
            )


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_the_commands_of_a_page_are_understood(page):
    """Parsed with all options, not run."""
    text = page.read_text()
    commands = typer.main.get_command(app).commands
    for kind, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if kind:
            continue
        for line in re.findall(r"^unroll ([a-z].*)$", block, flags=re.MULTILINE):
            name, *words = shlex.split(line, comments=True)
            given = commands[name].make_context(name, words).params
            if given.get("system"):
                system = find(given["system"])
                task, _ = system.recipe(given.get("task"))
                keys = {setting.split("=")[0] for setting in given.get("settings") or ()}
                assert keys <= system.options(task).keys(), line


def test_programs_that_are_spoken_of_are_there():
    """In pages, docstrings and comments."""
    sources = [path for folder in ("unrolling", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")]
    for path in [*PAGES, ROOT / "CHANGELOG.md", ROOT / "Makefile", *sources]:
        for module in re.findall(r"python -m ((?:benchmarks|tools|unrolling)(?:\.[a-z]\w*)+)", path.read_text()):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), f"{path.name}: {module}"


def test_no_file_holds_a_path_of_the_machine_it_was_written_on():
    """Weights and their cards neither: they hold the commands that made them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    own = re.compile(rb"""["'\s=(:]/(?:home|Users|root|tmp|mnt|work)/\w""")
    found = {}
    for name in listed.stdout.split():
        content = (ROOT / name).read_bytes()
        if name.endswith(".safetensors"):  # its header is the card
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        if match := own.search(content):
            found[name] = match.group()
    assert not found
