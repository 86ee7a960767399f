"""The schemes of the literature, and networks that begin where another one ended."""

import pytest
import torch
from families import by_day
from hypothesis import given
from hypothesis import strategies as st
from tiny import ALL, moved, network, recovery, same

from unrolling import unroll
from unrolling.core import Truncated
from unrolling.evaluation.gradient_modes import compare_gradients, saved_bytes
from unrolling.training.checks import check_schedule
from unrolling.training.fit import fit
from unrolling.training.initialise import assign, deepen, retie
from unrolling.training.learnables import groups, trained_by
from unrolling.training.losses import Energy, LogNMSE
from unrolling.training.schedules import SCHEMES, by_name, find_scheme, joint_fine_tuning, with_curriculum
from unrolling.training.stages import Constant, Logarithmic, Patience, Power, Ramp, Stage

LIKE = Stage(240, rate=1e-2, rates={"threshold": 1e-1}, batch=8, clip=1.0)


# Schemes


@given(st.sampled_from(sorted(SCHEMES)), st.integers(1, 6), st.integers(1, 500))
def test_every_scheme_has_the_steps_asked_for_and_fits_every_network(name, depth, steps):
    schedule = SCHEMES[name].make(depth, Stage(steps, rates={"threshold": 1e-1}))
    least = len(schedule)
    assert sum(stage.steps for stage in schedule) == max(steps, least)
    task = recovery(held_out=2)
    for tied, untied in ((("encoder",), ("threshold",)), ((), ALL)):
        check_schedule(network(task, depth, tied, untied), schedule, task)
    assert (schedule[-1].depth or depth) == depth
    assert SCHEMES[name].reference


@pytest.mark.parametrize("name", by_day(*sorted(SCHEMES), count=3))
def test_every_scheme_lowers_the_error(name):
    task = recovery(held_out=400, probability=0.1)
    net = network(task)
    before = score(net, task)
    energy = energy_of(net, task)
    fit(net, task, by_name(name, 3, [LIKE]), validations=0, quiet=True)
    if name == "energy":  # which is not about the error
        assert energy_of(net, task) < energy - 0.003
    else:
        assert score(net, task) < before - 0.3


def score(net, task):
    with torch.no_grad():
        return task.metric.value(task.pieces(net(task.test[0].data), task.test[0]))


def energy_of(net, task):
    with torch.no_grad():
        return net.parent.objective(net.run(task.test[0].data), net.parent.prepare(task.test[0].data)).mean().item()


def test_the_greedy_scheme_trains_one_layer_at_a_time_from_the_one_before():
    schedule = SCHEMES["greedy"].make(3, LIKE)
    assert [(stage.depth, stage.layers, stage.inherit, stage.steps) for stage in schedule] == [
        (1, (0,), {}, 80),
        (2, (1,), {}, 80),
        (3, (2,), {}, 80),
    ]


def test_the_schedule_of_lista_cpss_is_the_published_one():
    """Three stages a layer at 1, 0.2 and 0.02 of the rate, earlier layers at a further 0.3 for each layer, 4,000 steps
    of patience.
    """
    net = network(recovery(), 3, (), ALL)
    schedule = SCHEMES["lista_cpss"].make(3, Stage(900, rate=5e-4, batch=64))
    assert [stage.depth for stage in schedule] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [stage.layers for stage in schedule] == [(0,), None, None, (1,), None, None, (2,), None, None]
    assert all(stage.stop == Patience(4000, 200) and isinstance(stage.annealing, Constant) for stage in schedule)
    assert [stage.rate for stage in schedule[:3]] == pytest.approx([5e-4, 1e-4, 1e-5])
    chosen = trained_by(schedule[-1], net)
    rate = {id(tensor): group["lr"] for group in groups(schedule[-1], chosen) for tensor in group["params"]}
    assert [rate[id(net.layers[k].inhibition)] for k in range(3)] == pytest.approx([1e-5 * 0.09, 1e-5 * 0.3, 1e-5])


def test_schemes_of_one_stage_say_what_is_special():
    assert SCHEMES["deep_supervision"].make(4, LIKE)[0].supervision == Power(2.0)
    assert SCHEMES["detnet"].make(4, LIKE)[0].supervision == Logarithmic()
    assert SCHEMES["energy"].make(4, LIKE)[0].loss == Energy()
    assert SCHEMES["log_nmse"].make(4, LIKE)[0].loss == LogNMSE()


def test_a_scheme_by_name_takes_over_rates_batch_and_all_steps():
    schedule = by_name(
        "Deep-Supervision", 4, [Stage(100, depth=2), Stage(200, rate=3.0, rates={"threshold": 5.0}, batch=7)]
    )
    assert schedule == [Stage(300, rate=3.0, rates={"threshold": 5.0}, batch=7, supervision=Power(2.0))]
    with pytest.raises(ValueError, match="no schedule 'slow'; there are end_to_end, greedy"):
        find_scheme("slow")


def test_a_curriculum_is_added_to_every_stage():
    schedule = with_curriculum([Stage(1), Stage(2, draw={"snr": 3.0})], probability=0.3, snr=Ramp(60, 20))
    assert [stage.draw for stage in schedule] == [{"probability": 0.3, "snr": Ramp(60, 20)}] * 2


def test_joint_fine_tuning_is_each_alone_then_all_at_a_tenth():
    schedule = joint_fine_tuning(("a", "b"), Stage(100, rate=1.0))
    assert [(stage.steps, stage.parameters, stage.rate) for stage in schedule] == [
        (25, ("a",), 1.0),
        (25, ("b",), 1.0),
        (50, None, 0.1),
    ]


# Initialisation


Y = recovery().test[0].data


@pytest.mark.parametrize(("tied", "untied"), [(("encoder",), ("inhibition", "threshold")), ((), ALL), (ALL, ())])
def test_a_deeper_network_begins_as_the_shallower_one(tied, untied):
    net = moved(network(recovery(), 3, tied, untied))
    before = net.learned()
    for new in ("last", "classical"):
        deeper = deepen(net, 5, new=new)
        assert torch.equal(deeper.run(Y, layers=slice(0, 3)), net.run(Y))
        source = net.learned() if new == "last" else network(recovery(), 3, tied, untied).learned()
        for key, value in deeper.learned().items():
            if key.startswith("layers.4."):
                assert torch.equal(value, source[key.replace("layers.4.", "layers.2.")])
    assert same(net.learned(), before)
    assert deepen(net, 3).learned().keys() == before.keys()
    for depth, new, message in ((2, "last", "depth is 2; the network has 3 layers"), (5, "zero", "new is 'zero'")):
        with pytest.raises(ValueError, match=message):
            deepen(net, depth, new=new)


def test_tied_to_untied_and_back_is_the_same_function_to_the_bit():
    net = moved(network(recovery(), 4, ("encoder", "threshold"), ("inhibition",)))
    free = retie(net, untied=ALL)
    assert free.untied == ("inhibition", "encoder.matrix", "threshold")
    assert torch.equal(free(Y), net(Y))
    back = retie(free, tied=("encoder", "threshold"), untied="inhibition")
    assert torch.equal(back(Y), net(Y))
    assert same(back.learned(), net.learned())
    fit(free, recovery(), [Stage(2, batch=4)], quiet=True)
    assert torch.equal(net(Y), back(Y))  # nothing is aliased


def test_what_cannot_be_tied_or_fixed_without_changing_the_function_is_refused():
    net = moved(network(recovery(), 3, ("encoder",), ("threshold",)))
    with pytest.raises(ValueError, match="threshold of layer 1 differs from that of layer 0"):
        retie(net, tied=("encoder", "threshold"))
    with pytest.raises(
        ValueError,
        match=r"encoder.matrix of layer 0 differs from its classical value, which a fixed "
        r"parameter keeps",
    ):
        retie(net, untied="threshold")
    fresh = network(recovery(), 3, ("encoder",), ("threshold",))
    assert torch.equal(retie(fresh, tied="threshold")(Y), fresh(Y))


def test_values_known_beforehand_are_assigned_by_name_or_key():
    net = network(recovery(), 3, ("encoder",), ("inhibition", "threshold"))
    known = torch.full((16,), 0.3)
    assign(net, {"threshold": known, "layers.1.threshold": 2 * known, "encoder.matrix": torch.ones(16, 8)})
    found = net.learned()
    assert [float(found[f"layers.{k}.threshold"][0]) for k in range(3)] == pytest.approx([0.3, 0.6, 0.3])
    assert bool((found["encoder.matrix"] == 1).all())
    before = net.learned()
    with pytest.raises(ValueError, match=r"'dictionary' is not learned; learned are encoder.matrix"):
        assign(net, {"threshold": known, "dictionary": known})
    with pytest.raises(ValueError, match="at least 0"):
        assign(net, {"encoder.matrix": torch.zeros(16, 8), "threshold": -known})
    assert same(net.learned(), before)


# The gradient-modes tool


@pytest.mark.nightly
def test_the_table_of_gradient_rules_is_about_the_gradient():
    task = recovery()
    net = unroll(network(task).parent, 12, tied=ALL, gradient=Truncated(3))
    samples = task.test[0]
    rows = {
        row.rule: row for row in compare_gradients(net, samples.data, lambda x: task.loss(x, samples.target), repeats=1)
    }
    assert list(rows)[:2] == ["Backprop()", "Checkpointed()"]
    assert {"Truncated(3)", "Truncated(6)", "OneStep()"} <= set(rows)
    assert (rows["Checkpointed()"].relative_error, rows["Checkpointed()"].cosine) == (0.0, pytest.approx(1.0))
    assert (
        rows["OneStep()"].relative_error > rows["Truncated(3)"].relative_error > rows["Truncated(6)"].relative_error > 0
    )
    assert rows["OneStep()"].memory < rows["Truncated(3)"].memory < rows["Truncated(6)"].memory < 1
    assert repr(net.gradient) == "Truncated(3)"
    assert all(p.grad is None for p in net.parameters())
    # An independent look at one of the rows.
    exact = unroll(net.parent, 12, tied=ALL)
    biased = unroll(net.parent, 12, tied=ALL, gradient=Truncated(3))
    one, other = (
        torch.cat(
            [
                g.flatten()
                for g in torch.autograd.grad(
                    task.loss(n(samples.data), samples.target), [p for p in n.parameters() if p.requires_grad]
                )
            ]
        )
        for n in (exact, biased)
    )
    assert rows["Truncated(3)"].relative_error == pytest.approx(float((other - one).norm() / one.norm()), rel=1e-4)
    assert rows["Backprop()"].bytes == saved_bytes(exact, samples.data)


def test_a_rule_that_does_not_apply_says_why_and_a_loss_without_gradient_is_refused():
    task = recovery()
    net = network(task, 4)
    rows = compare_gradients(net, task.test[0].data, lambda x: x.square().mean(), repeats=1)
    (row,) = [row for row in rows if row.rule.startswith("Implicit")]
    assert row.relative_error is None
    assert "all layers must be the same" in row.note
    assert len(row.cells()) == 8
    with pytest.raises(ValueError, match="exact gradient has norm 0"):
        compare_gradients(net, task.test[0].data, lambda x: 0 * x.sum(), repeats=1)
