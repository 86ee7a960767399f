"""The recipes of docs/write, followed to the letter: an algorithm, a task and a system, a file each, written into a
package of their own and run; nothing else is touched.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolling import solve
from unrolling.systems import catalogue as systems
from unrolling.tasks import catalogue as tasks
from unrolling.testing import check_iteration

PAGES = [Path(__file__).parents[1] / "docs" / "write" / f"{name}.md" for name in ("iteration", "task", "system")]
NAME = "signals/learned_landweber"


def files():
    """The files that the pages describe, by name."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", text, flags=re.S))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with these files, which its entry points name."""
    home = tmp_path / "site"
    (home / "mine-1.0.dist-info").mkdir(parents=True)
    (home / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    for name, text in files().items():
        folder = home / "mine-1.0.dist-info" if name == "entry_points.txt" else home
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(home))
    for module in (systems, tasks):
        module.catalogue.cache_clear()
    yield home
    for module in (systems, tasks):
        module.catalogue.cache_clear()
    for name in ("landweber", "steps", "learned_landweber"):
        sys.modules.pop(name, None)


def test_the_pages_describe_one_file_each():
    assert set(files()) == {"landweber.py", "steps.py", "learned_landweber.py", "entry_points.txt"}


def test_the_algorithm_is_a_sound_iteration_with_the_limit_of_the_pseudo_inverse(package):
    from landweber import Landweber

    matrix = torch.randn(4, 6, dtype=torch.float64)
    y = torch.randn(3, 4, dtype=torch.float64)
    check_iteration(Landweber(matrix), y, skip=("compile", "export"))
    solution = solve(Landweber(matrix), y, tolerance=1e-12, max_iterations=100_000)
    torch.testing.assert_close(solution.estimate, y @ torch.linalg.pinv(matrix).T, rtol=1e-6, atol=1e-8)


def test_the_system_is_found_and_equals_its_parent_before_training(package):
    system = systems.find(NAME)
    name, recipe = system.recipe(None)
    task = tasks.find_task(name).small()
    network, parent = system.network(recipe, task, 5), recipe.parent(task)
    y = task.test[0].data
    state = parent.start(y)
    for _ in range(5):
        state = parent(state, y)
    assert torch.equal(network(y), state)


def test_the_command_line_trains_and_compares_it(package, unroll, tmp_path):
    common = (NAME, "--set", "n=16", "--threads", 1)
    status, out, err = unroll("train", *common, "--steps", 60, "--out", tmp_path / "run", "--json")
    assert status == 0, err
    trained = json.loads(out)["metric"]["mean"]
    weights = tmp_path / "run" / "weights.safetensors"
    status, _, err = unroll(
        "compare",
        *common,
        "--weights",
        weights,
        "--steps",
        60,
        "--quick",
        "--limit",
        20,
        "--out",
        tmp_path / "page",
        "--json",
    )
    assert status == 0, err
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000
    rows = json.loads((tmp_path / "page" / "comparison.json").read_text())["rows"]
    quality = {row["name"]: row["quality"]["mean"] for row in rows}
    before = next(value for name, value in quality.items() if "before training" in name)
    after = quality[rows[0]["name"]]
    assert after < before  # NMSE in dB
    assert np.isclose(after, trained, atol=2.0)
    assert any(row["role"] == "parent" and row["name"].startswith("Landweber") for row in rows)
    status, out, _ = unroll("list")
    assert status == 0
    assert "learned_landweber" in out
    status, out, _ = unroll("cite", NAME)
    assert "@article{" in out
    assert "Landweber" in out
