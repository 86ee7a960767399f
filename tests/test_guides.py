"""The guides: their programs run, their tables name the systems that there are, their links lead somewhere, and no file
of the repository tells of the machine that it was written on.
"""

import re
import subprocess
from pathlib import Path

import pytest

from unrolling.systems.index import read_index

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]
SYSTEMS = read_index()
FIELDS = {
    "sparse_coding.md": {"sparse_coding"},
    "communications.md": {"communications"},
    "speech.md": {"speech"},
    "images.md": {"imaging", "medical"},
}


def rows(text, header):
    """The cells of a table whose first header cell begins so."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {header}"):
            next(lines)
            table = []
            for row in lines:
                if not row.startswith("|"):
                    return table
                table.append([cell.strip() for cell in row.strip("|").split("|")])
    raise AssertionError(f"no table of {header}")


@pytest.mark.parametrize("guide", GUIDES, ids=[guide.stem for guide in GUIDES])
def test_the_programs_of_a_guide_run(guide):
    names = {"__name__": guide.stem}
    blocks = re.findall(r"^```python\n(.*?)^```$", guide.read_text(), flags=re.MULTILINE | re.DOTALL)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{guide.name}, python block {number + 1}", "exec"), names)


@pytest.mark.parametrize("guide", FIELDS)
def test_the_table_of_a_guide_names_the_systems_of_its_field_and_no_other(guide):
    named = [
        name.rsplit("/", 1)[-1]
        for cells in rows((ROOT / "docs" / guide).read_text(), "system")
        for name in re.findall(r"`([^`]+)`", cells[0])
    ]
    there = [entry["name"].rsplit("/", 1) for entry in SYSTEMS]
    assert sorted(named) == sorted(name for field, name in there if field in FIELDS[guide])


def test_every_field_has_a_guide():
    assert {entry["name"].rsplit("/", 1)[0] for entry in SYSTEMS} == set().union(*FIELDS.values())


def test_the_table_of_the_readme_names_every_system_but_variants():
    """In the line of its field, by its title."""
    fields = {cells[0]: re.split(", |; ", cells[1]) for cells in rows((ROOT / "README.md").read_text(), "field")}
    named = {}
    for field, titles in fields.items():
        for title in titles:
            named[title.lower()] = field
    for entry in SYSTEMS:
        if entry["variant_of"] is None:
            title, field = entry["title"].split(",")[0].lower(), entry["name"].split("/")[0].replace("_", " ")
            assert field in named.get(title, ""), f"{entry['title']} is not in the line of {field}"


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
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
