"""Pages of systems: made from the catalogue alone, with programs that run and commands that are understood."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer

from tools import system_tables
from tools.site import compared, comparisons, equations, learned, shipped, snippets, systems, which
from unrolling.cli.main import app
from unrolling.report import read_comparison
from unrolling.systems.catalogue import catalogue, find
from unrolling.systems.index import read_index

ROOT = Path(__file__).parents[1]
STORED = comparisons.stored()


@pytest.mark.parametrize(
    ("plain", "html"),
    [
        ("x[t+1] = S_theta[t](W_e y)", "x<sup>(t+1)</sup> = S<sub>θ<sup>(t)</sup></sub>(W<sub>e</sub> y)"),
        ("K_i[t]^T u[t]", "K<sub>i</sub><sup>(t)</sup><sup>T</sup> u<sup>(t)</sup>"),
        ("F^-1[(z + 1)] - 0.5 |y|^2", "F<sup>−1</sup>[(z + 1)] − 0.5 |y|<sup>2</sup>"),
        ("sum_i c_ij, W1 and theta_1", "Σ<sub>i</sub> c<sub>ij</sub>, W<sub>1</sub> and θ<sub>1</sub>"),
        ("E[s | z] and sparse_coding/lista, x < 1", "E[s | z] and sparse_coding/lista, x &lt; 1"),
        ("a sample's own x'", "a sample’s own x′"),
    ],
)
def test_a_formula_is_spelled_with_letters_and_indices(plain, html):
    assert equations.line_html(plain) == html


@pytest.mark.parametrize("name", catalogue())
def test_equations_lose_no_word(name):
    """What is left without tags has the words of the plain text in their order."""
    text = catalogue()[name].equations
    shown = re.sub(r"<[^>]*>", "", equations.html(text))
    words = [word for word in re.findall(r"\b[a-z]{4,}\b", text) if word not in equations.WORDS]
    place = 0
    for word in words:
        place = shown.index(word, place)


@pytest.fixture
def two(monkeypatch, tmp_path):
    """A catalogue of a system that ships weights and one of somebody else's, and a folder for the pages."""
    mine = replace(find("sparse_coding/tilista"), name="signals/mine", title="Mine", variants=(), home=tmp_path / "no")
    held = {"communications/ep_net": find("communications/ep_net"), "signals/mine": mine}
    monkeypatch.setattr(systems, "catalogue", lambda: held)
    (tmp_path / "systems").mkdir()
    (tmp_path / "systems" / "index.md").write_text("# Systems\n")
    return tmp_path


def test_a_system_brings_its_page_and_its_place_in_the_map(two):
    systems.write(two)
    folder = two / "systems"
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    assert made == {"index.md", "communications.md", "communications/ep_net.md", "signals.md", "signals/mine.md"}
    page = (folder / "signals/mine.md").read_text()
    assert page.startswith("# Mine\n")
    assert "W is learned and the same in all layers" in page
    for part in ("_which_table.txt", "_which_map.txt", "_all.txt"):
        assert "Mine" in (folder / part).read_text()
    entry = {"name": "signals/mine", "title": "Mine", "variant_of": None}
    assert "| signals | Mine |" in system_tables.overview([*read_index(), entry])
    assert '<a href="../systems/signals/mine.html"' in (folder / "_which_map.txt").read_text()
    assert "signals/mine" in (folder / "signals.md").read_text()


def test_what_has_not_changed_is_not_made_again(two, monkeypatch):
    same = systems.digest(two)
    monkeypatch.setattr(systems, "digest", lambda _: same)
    systems.write(two)
    monkeypatch.setattr(systems, "pages", lambda *_: pytest.fail("made again"))
    systems.write(two)


@pytest.mark.parametrize("name", ["communications/ep_net", "sparse_coding/hyperlista", "sparse_coding/tilista"])
def test_the_program_of_a_page_runs_as_it_is_copied(name):
    page = systems.page(find(name), catalogue(), STORED)
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(program, name, "exec"), names)
    assert isinstance(names["estimate"], torch.Tensor)
    assert str(tuple(next(iter(torch.utils._pytree.tree_leaves(names["task"].example()))).shape)) in program


@pytest.mark.parametrize("name", catalogue())
def test_the_commands_of_a_page_are_understood(name):
    system, commands = catalogue()[name], typer.main.get_command(app).commands
    weights = shipped.weights_of(system)
    lines = [snippets.train_command(system, task) for task in system.recipes]
    lines += [snippets.apply_command(system, task, system.apply[task]) for task in system.apply]
    lines += [snippets.compare_command(system, each.task, True, each.depth, each.settings) for each in weights]
    lines += [snippets.export_command(system, task, form, False) for task in system.recipes for form in snippets.FORMS]
    for line in lines:
        _, command, *words = shlex.split(line)
        given = commands[command].make_context(command, words).params
        assert find(given["system"]) == system
        assert given.get("task") in (None, *system.recipes)
    for each in weights:
        assert system.weights_path(each.task, each.depth, each.values) == each.path


def test_every_problem_says_what_is_given_and_what_is_sought():
    named = {name for problem in which.problems(catalogue()) for name in problem.systems}
    assert named == set(catalogue())
    for problem in which.problems(catalogue()):
        assert problem.sought
        assert not problem.given.startswith("data of the task")


@pytest.mark.parametrize("name", STORED)
def test_a_stored_comparison_is_of_weights_that_ship(name):
    held = STORED[name]
    system = find(held["system"])
    values = comparisons.setting_values(system, held["task"], held["settings"])
    path = system.shipped(held["task"], held["depth"], values)
    assert comparisons.file_digest(path) == held["weights"], "these weights are younger: run make comparisons"
    assert name == comparisons.stored_name(system.name, held["task"], held["depth"], held["settings"])
    assert read_comparison(comparisons.FOLDER / f"{name}.json").headline == held["headline"]


def test_what_is_kept_of_a_comparison_holds_no_folder_and_no_path(tmp_path):
    content = json.loads((comparisons.FOLDER / f"{next(iter(STORED))}.json").read_text())
    folder = "/".join(("", "home", "me", "photos"))
    given = {**content, "command": f"{content['command']} --out {folder}"}
    assert comparisons.kept(given, "2026-11-28", content["weights"])["command"] == content["command"]
    given["notes"] = [f"from {folder}"]
    with pytest.raises(ValueError, match="a path of this machine"):
        comparisons.kept(given, "2026-11-28", "")


def test_learned_functions_of_one_variable_are_drawn_beside_the_classical_one():
    (figure,) = learned.functions(find("imaging/tnrd").pretrained())
    assert figure.words.startswith("The first 4 of 24 learned functions")
    assert [figure.drawings[0].count(f'class="line {role}"') for role in ("network", "parent")] == [
        4 + 1,
        1 + 1,
    ]  # keys
    assert learned.functions(find("communications/ep_net").pretrained()) == []


def test_a_row_on_a_part_of_the_samples_stands_where_its_difference_puts_it():
    network = {"quality": {"mean": -30.0}, "paired": None, "samples": None}
    row = {"quality": {"mean": -35.0}, "paired": {"difference": 2.0}, "samples": 5}
    assert compared.standing(row, network) == -28.0
    assert compared.standing({**row, "samples": None}, network) == -35.0
    assert compared.standing(network, network) == -30.0
