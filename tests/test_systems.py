"""The catalogue, and every shipped recipe on a small version of its task."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from families import REPRESENTATIVES, answers, by_day, of_each, shape_of
from iterations import unit_dictionary
from tiny import moved

from unrolling import testing
from unrolling.algorithms import ThinISTA
from unrolling.core import Unrolled
from unrolling.evaluation.classical import steps_of
from unrolling.prox import SelectedDenoiser
from unrolling.systems import index
from unrolling.systems.catalogue import catalogue, find
from unrolling.systems.paradigms import PARADIGMS
from unrolling.tasks import catalogue as module
from unrolling.tasks.base import Samples, first
from unrolling.tasks.baselines import Baseline, Iterative, parent_among
from unrolling.tasks.catalogue import catalogue as find_tasks
from unrolling.tasks.catalogue import find_task
from unrolling.tasks.images.sources import few_drawn
from unrolling.tasks.sparse.codes import Codes
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.checks import check_schedule
from unrolling.training.losses import compute
from unrolling.training.weights import load_weights, read_weights

RECIPES = [(name, task) for name, system in catalogue().items() for task in system.recipes]
DEPTH = 4


@cache
def small(name):
    """A task small enough to test on; codes-130 has more atoms than pixels."""
    if name == "codes-130":
        dictionary = unit_dictionary(100, 130, dtype=torch.float32)
        return Codes(atoms=130, train_patches=600, held_out=20, data=few_drawn(), fixed={"dictionary": dictionary})
    return find_task(name).small()


TASKS = [
    (system, recipe, task)
    for system, recipe in RECIPES
    for task in ([recipe, "codes-130"] if recipe == "codes" else [recipe])
]

# The catalogue


def test_the_catalogue_holds_the_systems_under_their_paths():
    assert {"sparse_coding/lista", "sparse_coding/lcod"} <= set(catalogue())
    for name, system in catalogue().items():
        assert system.name == name
        assert (system.home / "__init__.py").is_file()
        assert system.home.name == name.split("/", 1)[0]


@pytest.mark.parametrize(
    "name",
    [
        "sparse_coding/lista",
        "sparse-coding/lista",
        "sparse-coding/LISTA",
        "/sparse_coding/lista/",
        "Sparse_Coding/Lista",
    ],
)
def test_a_name_may_be_written_with_either_dash(name):
    assert find(name).name == "sparse_coding/lista"


@pytest.mark.parametrize("name", ["sparse_coding/listta", "sparse_coding/Lists"])
def test_an_unknown_name_gets_the_nearest(name):
    with pytest.raises(
        ValueError, match=f"no system '{name}'; did you mean sparse_coding/lista. There are .*sparse_coding/lcod"
    ) as caught:
        find(name)
    assert "sparse_coding/lista" in str(caught.value)


@pytest.mark.parametrize("name", ["lista", "LISTA-CP", "tnrd", "ep-net"])
def test_the_last_part_of_a_name_is_enough_where_one_system_has_it(name):
    assert find(name).name.rsplit("/", 1)[-1] == name.lower().replace("-", "_")


def test_the_last_part_of_a_name_is_not_enough_where_two_systems_have_it(monkeypatch):
    lista = find("sparse_coding/lista")
    systems = {name: replace(lista, name=name) for name in ("a/lista", "b/lista")}
    monkeypatch.setattr("unrolling.systems.catalogue.catalogue", lambda: systems)
    with pytest.raises(ValueError, match="no system 'lista'"):
        find("lista")


def test_the_index_of_the_systems_is_up_to_date():
    assert index.stored_index() == index.build_index(), "run python -m unrolling.systems.index"


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(ValueError, match=r"no system 'xyz'; there are .*sparse_coding/lcod, .*sparse_coding/lista"):
        find("xyz")


def test_a_system_of_another_package_is_found_through_its_entry_point(monkeypatch):
    theirs = replace(find("sparse_coding/lista"), name="their_field/their-net")
    monkeypatch.setattr(
        module,
        "entry_points",
        lambda group: [SimpleNamespace(load=lambda: theirs)] if group == "unrolling.systems" else [],
    )
    catalogue.cache_clear()
    try:
        assert find("their-field/their_net") is theirs
        assert "sparse_coding/lista" in catalogue()
        assert list(catalogue()) == sorted(catalogue())
    finally:
        catalogue.cache_clear()


def test_a_broken_entry_point_is_reported_and_takes_nothing_down(monkeypatch):
    def fails():
        raise ImportError("no module named theirs")

    entries = [
        SimpleNamespace(name="a", value="a:b", load=fails),
        SimpleNamespace(name="c", value="c:d", load=lambda: 3),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: entries)
    catalogue.cache_clear()
    try:
        with pytest.warns(RuntimeWarning) as caught:
            assert {"sparse_coding/lcod", "sparse_coding/lista"} <= set(catalogue())
        assert [
            "cannot be loaded: ImportError: no module named theirs" in str(caught[0].message),
            "is a int, not a System" in str(caught[1].message),
        ] == [True, True]
    finally:
        catalogue.cache_clear()


def test_an_entry_point_can_neither_replace_a_system_nor_end_the_program(monkeypatch):
    def leaves():
        raise SystemExit(3)

    lista = find("sparse_coding/lista")
    theirs = replace(lista, title="LISTA of somebody else")
    entries = [
        SimpleNamespace(name="sparse_coding/lista", value="a:b", load=lambda: theirs),
        SimpleNamespace(name="c", value="c:d", load=leaves),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: entries)
    catalogue.cache_clear()
    try:
        with pytest.warns(RuntimeWarning) as caught:
            assert find("sparse_coding/lista") == lista
        assert "is named like the system sparse_coding/lista, which stays as it is" in str(caught[0].message)
        assert "cannot be loaded: SystemExit: 3" in str(caught[1].message)
    finally:
        catalogue.cache_clear()


def test_an_unknown_task_is_refused_with_the_list():
    with pytest.raises(
        ValueError, match="sparse_coding/lista has no task 'denoising'; it has photographs, codes, spikes, recovery"
    ):
        find("sparse_coding/lista").recipe("denoising")


def test_the_first_task_is_the_default():
    assert find("sparse_coding/lista").recipe(None)[0] == "photographs"


# Every recipe


@pytest.mark.parametrize(("system", "recipe", "task"), TASKS)
def test_the_untrained_network_is_its_parent_to_the_bit(system, recipe, task):
    found, data = find(system), small(task)
    parent = found.recipes[recipe].parent(data)
    net = found.network(found.recipes[recipe], data, DEPTH)
    y = data.test[0].data
    problem = parent.prepare(y)
    state = parent.start(problem)
    for layer in net.layers:
        for _ in range(int(getattr(layer, "passes", 1))):  # a layer may take its step twice
            state = parent(state, problem)
    assert torch.equal(net(y), parent.estimate(state, problem))
    assert answers(net(y), shape_of(data.test[0].target))


CHECKED = ("parent_equality", "prepare_once", "aliasing", "saving", "training", "batch_independence")
FIRST = {name: next(iter(system.recipes)) for name, system in catalogue().items() if name in REPRESENTATIVES}
NIGHT = {True: (), False: pytest.mark.nightly}
CASES = [pytest.param(*held, check, marks=NIGHT[FIRST.get(held[0]) == held[1]]) for held in TASKS for check in CHECKED]


@pytest.mark.parametrize(("system", "recipe", "task", "check"), CASES)
def test_the_parent_is_a_sound_iteration(system, recipe, task, check):
    data = small(task)
    getattr(testing, f"check_{check}")(
        find(system).recipes[recipe].parent(data), data.draw(3, torch.Generator().manual_seed(0)).data
    )


@pytest.mark.parametrize(("system", "recipe", "task"), of_each(TASKS))
def test_what_is_said_to_be_learned_gets_a_gradient_and_nothing_else(system, recipe, task):
    found, data = find(system), small(task)
    net = moved(found.network(found.recipes[recipe], data, DEPTH), size=1e-3)
    batch = data.draw(4, torch.Generator().manual_seed(0))
    seen = getattr(net, "supervised", net)(batch.data)  # the rain of a photograph too, as in training
    compute(data.loss, seen, batch.target, data=batch.data).backward()
    learned = dict(net.named_learned())
    tying = found.recipes[recipe].tied(data)
    for name in (*tying.tied, *tying.untied):
        assert any(full == name or full.startswith(name + ".") for full in learned), name
    if not all(stage.optimizer.needs_gradients for stage in found.recipes[recipe].schedule(DEPTH)):
        return  # trained by a search, whose numbers need not have a gradient
    if any(isinstance(part, SelectedDenoiser) or len(getattr(part, "sides", ())) > 1 for part in net.modules()):
        return  # of the denoisers for ranges of levels, or convolutions for factors, those of a batch have one
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
    assert sum(bool(p.grad.abs().sum() > 0) for p in net.parameters() if p.requires_grad) > 0.7 * len(
        net.named_learned()
    )


@pytest.mark.parametrize(("system", "recipe"), of_each(RECIPES))
@pytest.mark.parametrize("depth", by_day(3, 1, None))
def test_the_schedule_fits_the_network(depth, system, recipe):
    found = find(system)
    chosen = found.recipes[recipe]
    check_schedule(found.network(chosen, small(recipe), depth), chosen.schedule(depth or chosen.depth), small(recipe))


@pytest.mark.parametrize(("system", "recipe"), RECIPES)
def test_the_options_of_a_recipe_are_its_tasks_with_their_types(system, recipe):
    found, kind = find(system), find_task(recipe)
    for name, value in found.recipes[recipe].options.items():
        assert isinstance(value, type(kind.options[name])), name
    assert kind.tag(found.options(recipe)) == kind.tag(dict(reversed(found.options(recipe).items())))


@pytest.mark.parametrize(("system", "recipe"), of_each(RECIPES))
def test_a_parent_of_this_library_is_among_the_methods_of_its_task_or_system(system, recipe):
    """One of a system's own may be none of them: it then has a row of its own."""
    data = small(recipe)
    found = find(system)
    parent = found.recipes[recipe].parent(data)
    own = found.baselines[recipe](found, data) if recipe in found.baselines else []
    ours = any(base.__module__.startswith("unrolling.algorithms") for base in type(parent).__mro__)
    assert parent_among([*own, *data.baselines(1000)], parent) is not None or not ours


@pytest.mark.parametrize("task", [*find_tasks(), "codes-130"])
def test_the_baselines_solve_their_task(task):
    data = small(task)
    shape = shape_of(data.test[0].target)
    names = [method.name for method in data.baselines(1000)]
    assert len(set(names)) == len(names)
    for method in data.baselines(1000):
        assert isinstance(method, Baseline)
        for setting in {method.settings[0], method.settings[-1]}:
            made = method.make(setting)
            if isinstance(method, Iterative):
                made = steps_of(made, 3)
            batch = data.test[0] if not getattr(method, "limit", None) else first(data.test[0], method.limit)
            with torch.no_grad():
                estimate = made(batch.data)
            assert answers(estimate, (len(estimate), *shape[1:])), method.name
        if getattr(method, "kind", "") == "library" and data.metric.unit == "dB":
            error = data.metric.value(data.pieces(estimate, batch))
            assert (error < 0) if data.metric.better == "lower" else (error > 5), method.name


@pytest.mark.parametrize(("system", "recipe"), of_each(RECIPES))
def test_atoms_are_square_pictures(system, recipe):
    found, data = find(system), small(recipe)
    net = found.network(found.recipes[recipe], data, 2)
    for layer in (net.parent, net.layers[-1]):
        atoms = data.atoms(layer)
        if atoms is not None:
            assert atoms.ndim == 3
            assert atoms.shape[1] == atoms.shape[2]
            assert not atoms.requires_grad


# LISTA by its numbers


@pytest.mark.parametrize(("m", "n", "depth"), [(10, 20, 1), (7, 9, 5), (12, 30, 16)])
def test_lista_with_shared_matrices_learns_mn_plus_nn_plus_tn_numbers(m, n, depth):
    lista = find("sparse_coding/lista")
    net = lista.network(lista.recipes["recovery"], Recovery(m=m, n=n, held_out=2), depth)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == m * n + n * n + depth * n


@pytest.mark.parametrize(("task", "atoms"), [("codes-130", 130), ("codes", 100)])
def test_lista_for_codes_learns_everything_layer_by_layer(task, atoms):
    """W_e and thresholds; in the form that is not coupled, W_t too."""
    lista = find("sparse_coding/lista")
    net = lista.network(lista.recipes["codes"], small(task), 3)
    coupled = isinstance(net.parent, ThinISTA)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 3 * (
        atoms * 100 + atoms + (0 if coupled else atoms * atoms)
    )


def test_more_layers_of_the_recovery_parent_come_nearer_to_the_target():
    lista, data = find("sparse_coding/lista"), small("recovery")
    y, x = data.test[0]
    errors = [
        data.metric.value(
            data.pieces(lista.network(lista.recipes["recovery"], data, depth)(y).detach(), Samples(None, x))
        )
        for depth in (1, 10, 100)
    ]
    assert errors[0] > errors[1] > errors[2]


# Shipped weights


WEIGHTS = sorted(path for system in catalogue().values() for path in system.weights_files())


def recipe_options(card):
    """Those of the task's options that the card records."""
    options = find(card["system"]).options(card["task"]["name"])
    return {key: type(default)(card["task"][key]) for key, default in options.items() if key in card["task"]}


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_shipped_weights_load_into_the_network_that_their_card_describes(path):
    learned, fixed, card = read_weights(path)
    system = find(card["system"])
    recipe = system.recipes[card["task"]["name"]]
    task = system.task(card["task"]["name"], fixed=fixed, **recipe_options(card))
    net = system.network(recipe, task, card["depth"])
    load_weights(net, path, system=system.name)
    assert isinstance(net, Unrolled)
    now, classical = net.learned(), {row.key: row.classical for row in net.parameter_table()}
    unmoved = {name for name, made in card["fingerprints"].items() if made["by"] == "parent" and name in now}
    assert now.keys() == learned.keys() | unmoved
    assert all(torch.equal(value, learned.get(name, classical.get(name))) for name, value in now.items())
    assert any(not torch.equal(row.value, row.classical.expand_as(row.value)) for row in net.parameter_table())
    for name in ("schedule", "seed", "metric", "environment", "command", "licence"):
        assert card[name] or name == "seed", name
    assert card["metric"]["low"] <= card["metric"]["mean"] <= card["metric"]["high"]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_shipped_weights_are_found_by_the_options_in_their_card(path):
    _, _, card = read_weights(path)
    system = find(card["system"])
    options = recipe_options(card)
    if "measurements" in card["task"]:
        options["ratio"] = card["task"]["measurements"] / 256
    assert system.shipped(card["task"]["name"], card["depth"], options) == path


def test_weights_that_are_not_shipped_are_refused_with_those_that_are(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "lista-codes-400-3.safetensors").touch()
    lista = replace(find("sparse_coding/lista"), home=tmp_path)
    assert lista.shipped("codes", 3, {}) == tmp_path / "weights" / "lista-codes-400-3.safetensors"
    with pytest.raises(
        ValueError,
        match="no weights are shipped for sparse_coding/lista, task codes, 4 layers; shipped are lista-codes-400-3",
    ):
        lista.shipped("codes", 4, {})
    with pytest.raises(ValueError, match="3 layers, atoms 100; shipped are lista-codes-400-3"):
        lista.shipped("codes", 3, {"atoms": 100})
    with pytest.raises(ValueError, match=r"3 layers, alpha 0\.1; shipped"):
        lista.shipped("codes", 3, {"alpha": 0.1, "atoms": 400})


def test_a_depth_of_none_is_the_recipes_and_a_depth_of_nought_is_refused():
    lista, data = find("sparse_coding/lista"), small("recovery")
    assert len(lista.network(lista.recipes["recovery"], data)) == lista.recipes["recovery"].depth
    with pytest.raises(ValueError, match="depth is 0"):
        lista.network(lista.recipes["recovery"], data, 0)


def test_every_system_says_what_of_its_algorithm_is_learned():
    assert all(system.paradigm in PARADIGMS for system in catalogue().values())
    assert {entry["name"]: entry["paradigm"] for entry in index.read_index()} == {
        name: system.paradigm for name, system in catalogue().items()
    }
    with pytest.raises(ValueError, match="sparse_coding/lista has the paradigm 'magic'; there are hyperparameters, "):
        replace(find("sparse_coding/lista"), paradigm="magic")


@pytest.mark.parametrize("name", [n for n, s in catalogue().items() if s.paradigm == "hyperparameters"])
def test_learned_hyperparameters_are_no_matrices(name):
    task_name, recipe = find(name).recipe(None)
    tying = recipe.tied(small(task_name))
    assert not {"encoder", "dictionary", "matrix", "inhibition"} & {*tying.tied, *tying.untied}
