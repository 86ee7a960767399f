"""Stages: rates, supervision, which tensors are trained, and what is refused before any work."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import Lasso
from tiny import bits, network, recovery, same
from torch import nn

from unrolling import Positive, UnitNorm, unroll
from unrolling.networks.mlp import MLP
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.checks import check_schedule
from unrolling.training.fit import fit
from unrolling.training.learnables import groups, trained_by
from unrolling.training.losses import Energy
from unrolling.training.optimizers import LBFGS, Adam
from unrolling.training.stages import (
    Constant,
    Cosine,
    Exponential,
    Last,
    Logarithmic,
    Patience,
    Power,
    Ramp,
    Stage,
    Weighted,
    scaled,
)

SCHEDULE = [Stage(9), Stage(8)]


# Rates


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0, 0.9))
def test_the_rate_rises_evenly_then_falls_to_the_final_fraction(steps, warmup, final):
    rule = Cosine(warmup, final)
    factors = [rule.factor(step, steps) for step in range(steps + 1)]
    rise = max(1, round(warmup * steps)) if warmup > 0 else 0
    assert factors[:rise] == pytest.approx([(step + 1) / rise for step in range(rise)])
    assert all(
        before >= after
        for before, after in zip(factors[max(rise - 1, 0) :], factors[max(rise - 1, 0) + 1 :], strict=False)
    )
    assert factors[max(rise - 1, 0)] == pytest.approx(1)
    if rise < steps:
        assert factors[steps] == pytest.approx(final, abs=1e-12)


def test_half_way_down_the_cosine_is_the_mean_and_the_exponential_the_geometric_mean():
    assert Cosine(final=0.2).factor(50, 100) == pytest.approx(0.6)
    assert Cosine(1 / 11, 0.2).factor(60, 110) == pytest.approx(0.6)
    assert Exponential(final=0.01).factor(50, 100) == pytest.approx(0.1)
    assert Constant().factor(50, 100) == 1


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(2, 200), st.floats(0.05, 1))
def test_a_ramp_goes_from_its_first_to_its_last_value_and_stays(first, last, steps, part):
    ramp = Ramp(first, last, part)
    values = [ramp.value(step, steps) for step in range(steps)]
    assert values[0] == pytest.approx(first)
    if round(part * steps) >= 2:
        assert values[-1] == pytest.approx(last)
    assert all(min(first, last) - 1e-9 <= value <= max(first, last) + 1e-9 for value in values)


# Supervision


@given(st.integers(1, 30), st.floats(0, 8))
def test_power_weights_sum_to_one_and_follow_the_power_of_the_depth(depth, power):
    weights = Power(power).weights(depth)
    assert sum(weights) == pytest.approx(1)
    assert [w / weights[-1] for w in weights] == pytest.approx([((k + 1) / depth) ** power for k in range(depth)])


def test_logarithmic_weights_are_those_of_detnet():
    """Samuel, Diskin and Wiesel (14): layer k, from 1, counts as log k."""
    weights = Logarithmic().weights(5)
    assert [w / weights[-1] for w in weights] == pytest.approx([log(k) / log(5) for k in range(1, 6)])
    assert Logarithmic().weights(1) == [1.0]


def test_last_and_own_weights():
    assert Last().weights(3) == [0, 0, 1]
    assert Weighted((1, 0, 3)).weights(3) == [0.25, 0, 0.75]
    with pytest.raises(ValueError, match="3 weights of layers for 4 layers"):
        Weighted((1, 0, 3)).weights(4)


# Schedules


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 3000))
def test_a_scaled_schedule_keeps_its_stages_and_has_the_steps_asked_for(lengths, extra):
    schedule = [Stage(length, rate=0.1 * (k + 1)) for k, length in enumerate(lengths)]
    steps = len(lengths) + extra
    short = scaled(schedule, steps)
    assert [stage.rate for stage in short] == [stage.rate for stage in schedule]
    assert all(stage.steps >= 1 for stage in short)
    assert sum(stage.steps for stage in short) == steps
    if steps == sum(lengths):
        assert short == schedule


def test_fewer_steps_than_stages_are_refused():
    with pytest.raises(ValueError, match="steps is 1; this schedule has 2 stages"):
        scaled(SCHEDULE, 1)


def test_a_description_holds_what_differs_from_the_defaults_and_tells_stages_apart():
    plain = Stage(5).describe()
    assert plain == {"steps": 5, "rate": 1e-3, "batch": 128}
    variants = [
        Stage(5, depth=2),
        Stage(5, layers=(0,)),
        Stage(5, parameters=("threshold",)),
        Stage(5, loss=Energy()),
        Stage(5, supervision=Power(1.0)),
        Stage(5, supervision=Power(2.0)),
        Stage(5, optimizer=LBFGS()),
        Stage(5, annealing=Cosine(0.1)),
        Stage(5, layer_decay=0.3),
        Stage(5, project={"encoder": UnitNorm(0)}),
        Stage(5, project={"encoder": UnitNorm(1)}),
        Stage(5, draw={"snr": Ramp(40, 20)}),
        Stage(5, repeat=2),
        Stage(5, inherit={}),
        Stage(5, stop=Patience(10)),
    ]
    found = [stage.describe() for stage in variants]
    assert all(description != plain for description in found)
    assert all(one != other for k, one in enumerate(found) for other in found[:k])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stage(0), "at least one step.*steps 0"),
        (lambda: Stage(5, batch=0), "at least one step.*batch 0"),
        (lambda: Stage(5, repeat=0), "repeat 0"),
        (lambda: Stage(5, rate=0.0), "learning rates must be positive.*rate 0.0"),
        (lambda: Stage(5, rate=float("nan")), "learning rates must be positive"),
        (lambda: Stage(5, rate=float("inf")), "learning rates must be finite"),
        (lambda: Stage(5, rates={"threshold": -1e-3}), "learning rates must be positive.*threshold"),
        (lambda: Stage(5, clip=0.0), "clip must be positive"),
        (lambda: Stage(5, depth=0), "depth is 0"),
        (lambda: Stage(5, layer_decay=0.0), "layer_decay"),
        (lambda: Stage(5, layer_decay=1.5), "layer_decay"),
        (lambda: Stage(5, stop=Patience(0)), "Patience counts in steps"),
        (lambda: Cosine(-0.1), "warmup"),
        (lambda: Cosine(1.5), "warmup"),
        (lambda: Cosine(final=-0.5), "final"),
        (lambda: Cosine(final=float("nan")), "final"),
        (lambda: Exponential(final=0.0), "final"),
        (lambda: Power(-1.0), "power"),
        (lambda: Weighted((0.0, 0.0)), "not all 0"),
        (lambda: Ramp(1.0, float("inf")), "finite ends"),
        (lambda: Ramp(1.0, 2.0, 0.0), "part in"),
    ],
)
def test_values_that_would_train_backwards_or_not_at_all_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Which tensors a stage trains


def keys(stage, net):
    return {item.key for item in trained_by(stage, net)}


def test_by_default_everything_in_the_layers_that_are_run_is_trained():
    net = network(recovery(), tied=("encoder",), untied=("inhibition", "threshold"))
    assert keys(Stage(1), net) == {
        "encoder.matrix",
        *(f"layers.{k}.{name}" for k in range(3) for name in ("inhibition", "threshold")),
    }
    assert keys(Stage(1, depth=1), net) == {"encoder.matrix", "layers.0.inhibition", "layers.0.threshold"}


def test_layers_mean_what_they_own_and_names_mean_parameters_keys_and_sub_modules():
    net = network(recovery(), tied=("encoder",), untied=("inhibition", "threshold"))
    assert keys(Stage(1, layers=(1,)), net) == {"layers.1.inhibition", "layers.1.threshold"}
    assert keys(Stage(1, layers=(0, 2), parameters=("threshold",)), net) == {"layers.0.threshold", "layers.2.threshold"}
    assert keys(Stage(1, parameters=("layers.2.threshold", "encoder")), net) == {"layers.2.threshold", "encoder.matrix"}
    assert keys(Stage(1, layers=(1,), parameters=("encoder", "threshold")), net) == {
        "encoder.matrix",
        "layers.1.threshold",
    }


def test_rates_by_name_and_earlier_layers_slower():
    net = network(recovery(), tied=("encoder",), untied=("inhibition", "threshold"))
    stage = Stage(1, rate=1.0, rates={"threshold": 10.0}, layer_decay=0.5)
    chosen = trained_by(stage, net)
    rate = {id(tensor): group["lr"] for group in groups(stage, chosen) for tensor in group["params"]}
    found = {item.key: rate[id(item.tensor)] for item in chosen}
    assert found == {
        "encoder.matrix": 1.0,
        "layers.0.inhibition": 0.25,
        "layers.1.inhibition": 0.5,
        "layers.2.inhibition": 1.0,
        "layers.0.threshold": 2.5,
        "layers.1.threshold": 5.0,
        "layers.2.threshold": 10.0,
    }


# What does not fit is refused before any work


class Untouched(Recovery):
    """Its training data must not be asked for."""

    ready = False

    def draw(self, batch, generator, *, snr=None):
        assert not self.ready, "a batch was drawn"
        return super().draw(batch, generator)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "no stage"),
        ([Stage(2), Stage(2, depth=4)], "stage 1 runs 4 layers, and the network has 3"),
        ([Stage(2, layers=(3,))], "stage 0 trains layer 3, and it runs layers 0 to 2"),
        ([Stage(2, depth=2, layers=(2,))], "stage 0 trains layer 2, and it runs layers 0 to 1"),
        ([Stage(2, layers=())], "stage 0 trains nothing"),
        (
            [Stage(2, rates={"treshold": 0.1})],
            "stage 0 names 'treshold', which is not learned; learned are inhibition, encoder.matrix, threshold",
        ),
        (
            [Stage(2), Stage(2, parameters=("dictionary",))],
            "stage 1 names 'dictionary', which is fixed in this network: name it in unroll's",
        ),
        ([Stage(2, parameters=("layers.7.threshold",))], "names 'layers.7.threshold', which is not learned"),
        ([Stage(2, optimizer=LBFGS(), rates={"threshold": 0.1})], "LBFGS has one learning rate"),
        (
            [Stage(2, draw={"loudness": 3.0})],
            "draws with 'loudness', which the task recovery does not take; it takes snr",
        ),
        ([Stage(2, supervision=Weighted((1.0, 2.0)))], "2 weights of layers for 3 layers"),
        ([Stage(2, project={"threshold": Positive()})], "projects 'threshold', which the iteration constrains already"),
        ([Stage(2, project={"encoder": nn.ReLU()})], "ReLU.*has no `project`"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused_before_any_work(schedule, message, tmp_path):
    task = recovery(Untouched)
    task.ready = True
    net = network(task)
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        fit(net, task, schedule, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    assert same(bits(net), before)


def test_a_stage_of_layers_on_a_fully_tied_network_trains_nothing():
    net = network(recovery(), tied=("encoder", "inhibition", "threshold"), untied=())
    with pytest.raises(ValueError, match=r"trains nothing: no untied parameter is learned in layers 1; learned are"):
        check_schedule(net, [Stage(1, layers=(1,))], recovery())


def test_inheritance_needs_an_untied_parameter_and_layers_need_an_unrolled_network():
    net = network(recovery(), tied=("encoder",), untied=("threshold",))
    with pytest.raises(ValueError, match=r"inherit 'encoder', which is not untied; untied are threshold"):
        check_schedule(net, [Stage(1, inherit={"encoder": 1.0})], recovery())
    for stage in (Stage(1, depth=1), Stage(1, layers=(0,)), Stage(1, inherit={})):
        with pytest.raises(ValueError, match="speaks of layers, and MLP is not an unrolled network"):
            check_schedule(MLP(8, 4, 16), [stage], recovery())
    with pytest.raises(ValueError, match="supervises layers, and MLP has none"):
        check_schedule(MLP(8, 4, 16), [Stage(1, supervision=Power(1.0))], recovery())


def test_an_energy_that_the_parent_does_not_have_is_refused():
    task = recovery()
    for net, name in ((unroll(Lasso(task.dictionary, 0.1), 2, tied="encoder"), "Lasso"), (MLP(8, 4, 16), "MLP")):
        with pytest.raises(ValueError, match=f"trains on the energy, and {name} has no `objective`"):
            check_schedule(net, [Stage(1, loss=Energy())], task)


def test_a_frozen_parameter_is_named_as_not_learned():
    net = network(recovery())
    for layer in net.layers:
        layer.inhibition.requires_grad_(False)
    with pytest.raises(ValueError, match="names 'inhibition', which is"):
        check_schedule(net, [Stage(1, parameters=("inhibition",))], recovery())


def test_fit_gives_back_what_took_gradients_before():
    net = network(recovery())
    fit(net, recovery(), [Stage(2, layers=(1,), batch=4)], quiet=True)
    assert all(p.requires_grad and p.grad is None for p in net.parameters() if p is not net.layers[0].dictionary)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_adam_takes_the_same_steps_whichever_kernel_torch_has_for_the_parameters(dtype):
    def parameters():
        generator = torch.Generator().manual_seed(0)
        return [nn.Parameter(torch.randn(shape, dtype=dtype, generator=generator)) for shape in ((), (3,), (4, 5))]

    ours, theirs = parameters(), parameters()
    optimizers = [*Adam().make([{"params": ours, "lr": 0.1}]), torch.optim.Adam(theirs, lr=0.1, foreach=False)]
    assert optimizers[0].defaults["fused"] == (True if dtype.is_floating_point else None)
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad, q.grad = p.detach().square(), q.detach().square()
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
