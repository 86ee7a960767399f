"""Methods of a comparison: settings from validation data, the parent among them."""

import pytest
import torch
from tiny import recovery

from unrolling.algorithms import FISTA, GramISTA
from unrolling.evaluation.baselines import best, run_method
from unrolling.evaluation.contenders import training
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method, algorithm, parent_among
from unrolling.training.stages import Stage


@pytest.mark.parametrize(
    ("settings", "wanted"), [((0.5, 1.0, 2.0), 1.0), ((2.0, float("nan"), 3.0), 2.0), ((7.0,), 7.0)]
)
def test_the_setting_with_the_best_validation_metric_is_taken_and_no_number_is_the_worst(settings, wanted):
    task = recovery()
    ((data, target),) = ((batch.data, batch.target) for batch in task.validation)

    def make(factor):
        return lambda given: factor * target[: len(given)]

    assert best(task, settings, make) == wanted
    found = run_method(task, Method("scaled", make, settings, "times {setting:g}", limit=3))
    assert found.note.startswith(f"times {wanted:g}")
    assert ("chosen on validation data" in found.note) == (len(settings) > 1)
    assert torch.equal(found.run(data[:3]), wanted * target[:3])


def test_the_three_kinds_meet_one_protocol():
    kinds = (
        Iterative("a", lambda w: None, (0.1,), 10),
        Method("b", lambda w: None),
        Generic("c", torch.nn.Identity, rates=(1e-3,)),
    )
    assert all(isinstance(kind, Baseline) for kind in kinds)
    assert [kind.settings for kind in kinds] == [(0.1,), (None,), (1e-3,)]
    assert isinstance(kinds[2].make(1e-3), torch.nn.Identity)


def test_the_parent_is_the_first_method_of_its_algorithm_and_one_that_breaks_is_nobodys():
    dictionary = recovery().dictionary
    broken = Iterative("broken", lambda w: 1 / 0, (0.1,), 10)
    fista = Iterative("FISTA", lambda w: FISTA(GramISTA(dictionary, w)), (0.1,), 10)
    first, second = (Iterative(name, lambda w: GramISTA(dictionary, w), (0.1,), 10) for name in ("first", "second"))
    methods = [broken, Method("b", lambda w: None), fista, first, second]
    assert algorithm(GramISTA(dictionary, 0.1)) == "ISTA"
    assert parent_among(methods, GramISTA(dictionary, 0.3)) is first
    assert parent_among(methods, FISTA(GramISTA(dictionary, 0.3))) is fista
    assert parent_among(methods[:3], GramISTA(dictionary, 0.3)) is None


def test_generic_networks_train_as_long_as_the_schedule_and_a_least():
    schedule = [Stage(30, batch=16), Stage(70, batch=64)]
    assert training(schedule) == (100, 64)
    assert training(schedule, least=400) == (400, 64)
