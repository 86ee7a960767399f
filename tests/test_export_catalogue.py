"""Systems as files in every format, on a small version of their tasks, or with the reason why not: in `make test` one
for each family of operators, in the nightly run all.
"""

from functools import cache

import pytest
import torch
from exported import file
from families import in_turn, some
from test_systems import small
from tiny import moved
from torch import nn

from unrolling.core import tree
from unrolling.export import ExportError, export, formats, load
from unrolling.systems.catalogue import catalogue, find


def ruled_out(system):
    """The formats that a system's first recipe has no form in, with the reasons."""
    return system.not_exported.get(next(iter(system.recipes)), {})


# Fields with a system that may be an AOTInductor package; the image systems take minutes to compile.
FIELDS = sorted({name.split("/")[0] for name, system in catalogue().items() if "aoti" not in ruled_out(system)})
EVERY = [(name, recipe) for name, system in catalogue().items() for recipe in system.recipes]
BAR, BATCH = 1e-5, 4


@cache
def made(name, depth):
    """The network of a system's first recipe, which is what `unroll export` writes, its learned values moved a little;
    and data of a small task.
    """
    system = find(name)
    recipe, chosen = next(iter(system.recipes.items()))
    task = small(recipe)
    net = moved(system.network(chosen, task, depth), size=1e-3)
    data = task.draw(BATCH, torch.Generator().manual_seed(0)).data
    for _ in range(6):  # thresholds that are too large for so small a task would leave nothing to compare
        if bool((net(data) != 0).any()):
            return net, data, ruled_out(system)
        data = tree.apply(lambda t: 2 * t, data)
    pytest.fail(f"{name} estimates nothing but zeros")


def check(name, form, depth, tmp_path):
    """It exports and agrees; or the recipe says that it does not, and it does not."""
    net, data, reasons = made(name, depth)
    if form in reasons:
        assert len(reasons[form].split()) > 3
        if reasons[form].startswith("its shipped weights"):  # and not the network of one layer
            assert find(name).weights_files(next(iter(find(name).recipes)))
            return
        try:
            done = export(net, file(tmp_path, form), data, format=form, free_sizes=False)
        except ExportError:
            return
        assert done.max_relative_error >= BAR, "it does agree: take the entry out of the system"
        return
    done = export(net, file(tmp_path, form), data, format=form, free_sizes=False)
    # The exporter also compares samples a hundred times louder, which ONNX Runtime's sums round a little further off.
    assert done.max_relative_error < (10 * BAR if form == "onnx" else BAR)
    assert [next(iter(shapes.values()))[0] for shapes in done.compared] == [1, 2, 5]
    assert "batch" in done.sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", some(catalogue(), *in_turn(1)))
def test_every_system_is_a_torch_program(name, tmp_path):
    check(name, "torch", 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(catalogue(), *in_turn(0)))
def test_every_system_is_an_onnx_model(name, tmp_path):
    """One layer has every operator that two have."""
    check(name, "onnx", 1, tmp_path)


class Several(nn.Module):
    """Networks side by side."""

    def __init__(self, networks):
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def estimates(self, data):
        """One for each, (batch, numbers), complex ones as pairs of real ones."""
        found = (network(data[name]) for name, network in self.networks.items())
        return [(torch.view_as_real(e) if e.is_complex() else e).reshape(BATCH, -1) for e in found]

    def forward(self, data):
        return torch.cat(self.estimates(data), 1)


@pytest.mark.nightly
@pytest.mark.parametrize("field", FIELDS)
def test_every_system_of_a_field_is_an_aoti_package(field, tmp_path):
    """In one package, of a batch of four: most of the time a compiler takes is for the code around the networks."""
    names = [name for name in catalogue() if name.split("/")[0] == field]
    chosen = {name.replace("/", "_"): made(name, 1) for name in names}
    chosen = {name: parts for name, parts in chosen.items() if "aoti" not in parts[2]}
    together, data = (
        Several({name: net for name, (net, _, _) in chosen.items()}).eval(),
        {name: given for name, (_, given, _) in chosen.items()},
    )
    path = export(together, file(tmp_path, "aoti"), data, format="aoti", batch=BATCH, free_sizes=False).path
    with torch.no_grad():
        wanted = together.estimates(data)
    got = load(path, "aoti")(data).split([each.shape[1] for each in wanted], 1)
    for name, ours, theirs in zip(chosen, got, wanted, strict=True):
        assert float((ours - theirs).abs().max()) < BAR * float(theirs.abs().max()), name


@pytest.mark.parametrize(("name", "recipe"), EVERY)
def test_what_a_recipe_rules_out_is_a_format(name, recipe):
    assert set(find(name).not_exported.get(recipe, {})) <= set(formats)
