"""Every shipped recipe conforms, on the small version of its task; what takes long and most recipes, by night."""

from functools import cache

import pytest
import torch
from families import some_recipes

from unrolling.systems.catalogue import catalogue, find
from unrolling.tasks.base import first
from unrolling.tasks.catalogue import find_task
from unrolling.testing import CHECKS, check_iteration

RECIPES = [(name, task) for name, system in catalogue().items() for task in system.recipes]
QUICK = {"purity", "residual", "objective", "stream", "empty_batch", "statistics"}
# Finite differences and compilers are for small iterations of each family, in their own tests.
NIGHTLY = {"parent", "prepare", "batch", "saving", "training", "aliasing", "deployed"}


@cache
def parent_and_data(name, task_name):
    """The classical iteration of a recipe and a few samples of its small task."""
    recipe, task = find(name).recipes[task_name], find_task(task_name).small()
    return recipe.parent(task), first(task.timing, 3).data


@pytest.mark.parametrize(
    "checks", [pytest.param(QUICK, id="quick"), pytest.param(NIGHTLY, id="all", marks=pytest.mark.nightly)]
)
@pytest.mark.parametrize(("name", "task"), some_recipes())
def test_every_recipe_conforms(name, task, checks):
    torch.manual_seed(0)
    parent, data = parent_and_data(name, task)
    check_iteration(parent, data, depth=2, skip=CHECKS.keys() - checks)
