"""What a step of training does, and what it leaves alone."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from iterations import Lasso
from tiny import bits, moved, network, recovery, same
from torch import nn

from unrolling import Positive, UnitNorm, unroll
from unrolling.algorithms import CoordinateDescent, GramISTA, ThinISTA
from unrolling.core import Checkpointed
from unrolling.networks.joint import Joint
from unrolling.networks.mlp import MLP
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.fit import fit
from unrolling.training.losses import MSE, Energy, LogNMSE, WeightedSum
from unrolling.training.machine import Machine
from unrolling.training.optimizers import LBFGS, SGD, Adam, Muon
from unrolling.training.schedules import joint_fine_tuning
from unrolling.training.stages import Constant, Patience, Power, Ramp, Stage


class Recording(Recovery):
    """Keeps the batches that it gave, whole ones: it is not drawn in parts."""

    grains = 1

    def draw(self, batch, generator, **values):
        samples = super().draw(batch, generator, **values)
        self.given = [*getattr(self, "given", []), samples]
        self.values = [*getattr(self, "values", []), values]
        return samples


# A step


def test_the_first_step_of_adam_moves_each_parameter_by_its_own_rate():
    task = recovery()
    net = network(task, depth=1)
    before = {name: p.detach().clone() for name, p in net.named_learned()}
    fit(net, task, [Stage(1, rate=1e-3, rates={"threshold": 5e-2}, batch=64)], quiet=True)
    steps = {name: (p - before[name]).abs().max().item() for name, p in net.named_learned()}
    assert steps["encoder.matrix"] == pytest.approx(1e-3, rel=1e-3)
    assert steps["threshold"] == pytest.approx(5e-2, rel=1e-3)


@pytest.mark.parametrize(
    "optimizer",
    [Adam(weight_decay=0.1), Adam(), SGD(weight_decay=0.1), Muon(weight_decay=0.1), Muon(kernels=True), LBFGS(3)],
    ids=str,
)
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_training_one_layer_leaves_all_others_to_the_bit(optimizer, layer):
    task = recovery()
    net = moved(network(task, tied=("inhibition",), untied=("encoder", "threshold")), size=0.01)
    fit(net, task, [Stage(2, batch=4)], quiet=True)  # so that there have been gradients everywhere
    before = bits(net)
    fit(net, task, [Stage(4, batch=4, layers=(layer,), optimizer=optimizer, supervision=Power(1.0))], quiet=True)
    after = bits(net)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(f"layers.{layer}.") and "inhibition" not in name for name in changed)


def test_the_loss_of_a_stage_for_two_layers_is_that_of_a_network_of_two_layers():
    task = recovery()
    whole, part = network(task, depth=3), network(task, depth=2)
    long, short = (
        fit(whole, task, [Stage(5, batch=4, depth=2)], quiet=True),
        fit(part, task, [Stage(5, batch=4)], quiet=True),
    )
    assert long.losses == short.losses
    trained = part.state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in whole.state_dict().items() if name in trained)


def test_deep_supervision_is_the_weighted_sum_of_the_layers_losses():
    task = recovery(Recording)
    net, twin = moved(network(task), size=0.01), moved(network(task), size=0.01)
    history = fit(net, task, [Stage(1, batch=7, supervision=Power(2.0))], quiet=True)
    batch = task.given[-1]
    losses = [task.loss(state, batch.target).item() for state in twin.trajectory(batch.data)]
    assert history.losses == pytest.approx([(1 * losses[0] + 4 * losses[1] + 9 * losses[2]) / 14], rel=1e-6)
    assert len({round(loss, 4) for loss in losses}) == 3


def test_a_layer_inherits_from_the_one_before_it_once():
    task = recovery()
    net = moved(network(task, tied=("inhibition",), untied=("encoder", "threshold")), size=0.3)
    first = {row.key: row.value.detach().clone() for row in net.parameter_table()}
    fit(net, task, [Stage(1, rate=1e-30, batch=4, depth=2, layers=(1,), inherit={"threshold": 0.5})], quiet=True)
    found = {row.key: row.value.detach() for row in net.parameter_table()}
    torch.testing.assert_close(found["layers.1.threshold"], 0.5 * first["layers.0.threshold"])
    assert torch.equal(found["layers.1.encoder.matrix"], first["layers.0.encoder.matrix"])
    assert torch.equal(found["layers.2.threshold"], first["layers.2.threshold"])


def test_projected_parameters_stay_in_their_set_and_move():
    task = recovery()
    lasso = Lasso(task.dictionary, 0.5)
    with torch.no_grad():
        lasso.encoder.div_(lasso.encoder.norm(dim=0))
    net = unroll(lasso, 3, tied="encoder", untied="threshold")
    before = net.learned()
    stage = Stage(30, rate=0.05, rates={"threshold": 0.5}, batch=8, annealing=Constant())
    fit(net, task, [replace(stage, project={"encoder": UnitNorm(0), "threshold": Positive()})], quiet=True)
    after = net.learned()
    torch.testing.assert_close(after["encoder"].norm(dim=0), torch.ones(8))
    assert not torch.equal(after["encoder"], before["encoder"])
    thresholds = torch.stack([after[f"layers.{k}.threshold"] for k in range(3)])
    assert float(thresholds.min()) >= 0
    free = unroll(lasso, 3, tied="encoder", untied="threshold")
    fit(free, task, [stage], quiet=True)
    assert min(float(free.learned()[f"layers.{k}.threshold"].min()) for k in range(3)) < 0


# Energy: no targets


class Blind(Recovery):
    """Its targets are no numbers."""

    def draw(self, batch, generator, **values):
        samples = super().draw(batch, generator, **values)
        return samples._replace(target=torch.full_like(samples.target, float("nan")))


@pytest.mark.parametrize("kind", [ThinISTA, GramISTA, CoordinateDescent])
@pytest.mark.parametrize("supervision", [None, Power(1.0)])
def test_energy_training_lowers_the_parents_objective_without_targets(kind, supervision):
    good = recovery()
    parent = kind(good.dictionary, 0.1)
    net = unroll(parent, 3, untied=("encoder", "threshold"))
    y = good.test[0].data
    problem = parent.prepare(y)

    def energy():
        with torch.no_grad():
            return parent.objective(net.run(y), problem).mean().item()

    before = energy()
    blind = Recovery.__new__(Blind)
    blind.__dict__ = dict(good.__dict__)
    stage = (
        Stage(80, rate=5e-3, batch=64, loss=Energy())
        if supervision is None
        else Stage(80, rate=5e-3, batch=64, loss=Energy(), supervision=supervision)
    )
    classical = {name: value.clone() for name, value in parent.state_dict().items()}
    history = fit(net, blind, [stage], validations=0, quiet=True)
    assert history.losses[-1] < history.losses[0] - 0.005
    if supervision is None:
        assert energy() < before - 0.005
    assert same(classical, parent.state_dict())
    assert all(p.grad is None for p in parent.parameters())


def test_the_objectives_without_the_data_differ_from_the_lassos_by_a_constant():
    task = recovery()
    y = task.test[0].data[:4]
    thin, gram, descent = (kind(task.dictionary, 0.1) for kind in (ThinISTA, GramISTA, CoordinateDescent))
    state = descent.start(descent.prepare(y))
    for _ in range(3):
        state = descent(state, descent.prepare(y))
    x = descent.estimate(state, descent.prepare(y))
    lasso = 0.5 * (y - x @ task.dictionary.T).square().sum(1) + 0.1 * x.abs().sum(1)
    torch.testing.assert_close(thin.objective(x, y), lasso)
    for kind, point in ((gram, x), (descent, state)):
        torch.testing.assert_close(
            kind.objective(point, kind.prepare(y)), lasso - 0.5 * y.square().sum(1), rtol=1e-4, atol=1e-5
        )


# Optimizers, curricula, stop rules


@pytest.mark.parametrize(
    ("optimizer", "rate", "steps"),
    [
        (Adam(), 1e-2, 60),
        (SGD(nesterov=True), 5.0, 120),
        (LBFGS(iterations=8), 1.0, 12),
        (Muon(), 1e-2, 60),
        (Muon(kernels=True), 1e-2, 60),
    ],
    ids=str,
)
def test_training_lowers_the_error(optimizer, rate, steps):
    task = recovery(held_out=200)
    net = network(task)
    y, x = task.test[0]
    before = task.loss(net(y), x).item()
    history = fit(net, task, [Stage(steps, rate=rate, batch=256, optimizer=optimizer, repeat=4)], quiet=True)
    assert task.loss(net(y), x).item() < 0.9 * before
    assert history.steps == steps


def test_a_curriculum_reaches_the_draws():
    task = recovery(Recording, snr=20.0)
    fit(
        network(task),
        task,
        [Stage(5, batch=4, draw={"snr": Ramp(60, 20), "probability": 0.3})],
        validations=0,
        quiet=True,
    )
    assert [values["snr"] for values in task.values[-5:]] == pytest.approx([60, 50, 40, 30, 20])
    assert {values["probability"] for values in task.values[-5:]} == {0.3}


def test_a_batch_is_kept_for_as_many_steps_as_asked():
    task = recovery(Recording)
    fit(network(task), task, [Stage(7, batch=4, repeat=3)], validations=0, quiet=True)
    batches = [samples.data for samples in task.given[-7:]]
    assert [torch.equal(a, b) for a, b in pairwise(batches)] == [True, True, False, True, True, False]


def test_patience_ends_a_stage_that_gains_nothing():
    task = recovery()
    net = network(task)
    schedule = [
        Stage(500, rate=1e-12, batch=2, annealing=Constant(), stop=Patience(20, every=5, gain=0.01)),
        Stage(3, batch=2),
    ]
    history = fit(net, task, schedule, validations=0, quiet=True)
    assert history.steps == 25 + 3
    assert [step for stage, step, _ in history.validations if stage == 0] == [5, 10, 15, 20, 25]
    patient = fit(
        network(task), task, [Stage(60, rate=1e-2, batch=32, stop=Patience(40, every=5))], validations=0, quiet=True
    )
    assert patient.steps == 60


@pytest.mark.parametrize("folder", [False, True])
def test_the_best_weights_on_the_validation_set_can_be_chosen(folder, tmp_path):
    task = recovery(held_out=200)

    def train(choose):
        net = network(task)
        # Rates that ruin a good beginning.
        schedule = [Stage(40, rate=1e-2, batch=32), Stage(10, rate=1.0, batch=2, annealing=Constant())]
        history = fit(net, task, schedule, tmp_path / choose if folder else None, choose=choose, quiet=True)
        return net, history

    last, history = train("last")
    best, _ = train("best")
    scores = [task.metric.value(task.pieces(net(task.validation[0].data), task.validation[0])) for net in (last, best)]
    assert scores[1] == pytest.approx(history.best)
    assert history.best == min(value for _, _, value in history.validations)
    assert scores[0] > scores[1] + 1
    with pytest.raises(ValueError, match="choose is 'first'"):
        train("first")


def test_a_plain_module_trains_too():
    task = recovery()
    torch.manual_seed(0)
    net = MLP(8, 20, 16)
    history = fit(net, task, [Stage(200, rate=1e-2, batch=32)], quiet=True)
    assert history.steps == 200
    assert history.losses[-1] < 0.9 * history.losses[0]


def test_networks_in_a_row_are_trained_alone_and_then_together():
    """Wu et al. 2018: reconstruction, then detection on top of it, then both."""
    task = recovery()
    torch.manual_seed(0)
    joint = Joint(recover=network(task, depth=2), detect=MLP(16, 8, 16))
    loss = WeightedSum(
        (("recover", 1.0, MSE()), ("detect", 0.5, lambda estimate, target: MSE()(estimate, (target != 0).float())))
    )
    schedule = joint_fine_tuning(("recover", "detect"), Stage(40, rate=1e-2, batch=16, loss=loss))
    first, second, third = (bits(joint), None, None)
    fit(joint, task, schedule[:1], validations=0, quiet=True)
    second = bits(joint)
    fit(joint, task, schedule[1:2], validations=0, quiet=True)
    third = bits(joint)

    def moved_parts(one, other):
        return {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}

    assert moved_parts(first, second) == {"recover"}
    assert moved_parts(second, third) == {"detect"}
    fit(joint, task, schedule[2:], validations=0, quiet=True)
    assert moved_parts(third, bits(joint)) == {"recover", "detect"}
    assert (schedule[2].steps, schedule[2].rate) == (20, 1e-3)
    with pytest.raises(ValueError, match="two networks or more"):
        Joint(only=MLP(1, 1, 1))


def test_checkpointed_gradients_train_to_the_same_bits():
    task = recovery()
    plain = network(task, depth=6)
    sparing = unroll(plain.parent, 6, untied=plain.untied, gradient=Checkpointed(2))
    for net in (plain, sparing):
        fit(net, task, [Stage(10, batch=8, loss=LogNMSE())], quiet=True)
    assert same(bits(plain), bits(sparing))


@pytest.mark.filterwarnings("ignore:.*no arithmetic in bfloat16")
@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(precision):
    task = recovery(held_out=200)
    net = network(task)
    before = NMSE_of(net, task)
    fit(net, task, [Stage(60, rate=1e-2, batch=64)], machine=Machine(precision=precision), quiet=True)
    assert all(p.dtype == (torch.float64 if precision == "64-true" else torch.float32) for _, p in net.named_learned())
    assert NMSE_of(net.float(), task) < before - 0.3


def NMSE_of(net, task):  # noqa: N802
    with torch.no_grad():
        return task.metric.value(task.pieces(net(task.test[0].data), task.test[0]))


# Random networks and the caller's generator


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 16)

    def forward(self, y):
        return torch.dropout(self.linear(y), 0.5, self.training)


def test_networks_that_draw_numbers_depend_on_the_seed_and_leave_the_callers_generator_alone(tmp_path):
    task = recovery()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(7)
        net = Dropped()
        torch.manual_seed(123 + len(found))
        state = torch.get_rng_state()
        fit(net, task, [Stage(5, batch=4)], seed=seed, quiet=True)
        assert torch.equal(torch.get_rng_state(), state)
        found.append(bits(net))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


# Health


def test_a_layer_that_learned_nothing_is_named():
    task = recovery()
    history = fit(network(task), task, [Stage(30, batch=8, layers=(0, 2))], quiet=True)
    assert history.health.idle_layers == [1]
    assert "layers that learned nothing: 1" in history.health.sentences()[0]
    # The first layer's recurrent matrix multiplies zero.
    assert any("layers.0.inhibition" in sentence for sentence in history.health.sentences())
    assert (
        fit(network(task, untied=("encoder", "threshold")), task, [Stage(30, batch=8)], quiet=True).health.sentences()
        == []
    )


def test_a_device_that_is_not_there_is_refused():
    task = recovery()
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="there is no CUDA device here"):
            fit(network(task), task, [Stage(1)], machine=Machine("cuda"), quiet=True)
    with pytest.raises(ValueError, match="cannot be set up"):
        fit(network(task), task, [Stage(1)], machine=Machine("tpu9"), quiet=True)
    with pytest.raises(ValueError, match="cannot be set up"):
        fit(network(task), task, [Stage(1)], machine=Machine(precision="3-true"), quiet=True)
    for wrong in ({"accumulate": 0}, {"workers": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Machine(**wrong)
