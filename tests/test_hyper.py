"""HyperLISTA: loops written by hand, its symmetry in scale, and what three numbers reach; the search that finds
them.
"""

from itertools import pairwise

import pytest
import torch
from iterations import gaussian, unit_dictionary
from sparse_signals import nmse, path, sparse
from tiny import bits, recovery, same
from torch import nn

from unrolling import Positive, constrain, soft_threshold, testing, unroll
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.hyper import HyperLISTA
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.fit import fit
from unrolling.training.losses import LogNMSE
from unrolling.training.optimizers import NelderMead
from unrolling.training.stages import Constant, Stage

A = unit_dictionary(12, 30)
Y = sparse(7, 30, 0.1, seed=3) @ A.T + 0.01 * gaussian(7, 12, seed=5)
NAMES = ("threshold_scale", "momentum_scale", "support_scale")


def loop(dictionary, y, scales, depth):
    """x after each step, with the pseudo-inverse itself and a selection by sorting."""
    c1, c2, c3 = scales
    weights, inverse, n = analytic_weights(dictionary), torch.linalg.pinv(dictionary), dictionary.shape[1]
    x = before = torch.zeros(y.shape[0], n, dtype=y.dtype)
    states = []
    for _ in range(depth):
        error = ((x @ dictionary.T - y) @ inverse.T).abs().sum(1, keepdim=True)
        share = (c3 * torch.log((y @ inverse.T).abs().sum(1, keepdim=True) / error)).clamp(0, 1)
        z = x + (y - x @ dictionary.T) @ weights.T + c2 * (x != 0).double().sum(1, keepdim=True) * (x - before)
        rank = z.abs().argsort(1, descending=True).argsort(1)
        selected = (rank < (n * share).floor()) & (z.abs() > c1 * error)
        x, before = torch.where(selected, z, soft_threshold(z, c1 * error)), x
        states.append(x)
    return states


@pytest.mark.parametrize("scales", [(0.02, 0.0, 0.0), (0.02, 0.01, 0.0), (0.02, 0.0, 0.2), (0.03, 0.02, 0.15)])
def test_it_is_the_loop_written_by_hand(scales):
    states = unroll(HyperLISTA(A, *scales), 9).trajectory(Y)
    for state, x in zip(states, loop(A, Y, scales, 9), strict=True):
        torch.testing.assert_close(state.x, x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [12, 5])
def test_the_pseudo_inverse_is_the_analytic_weights_row_by_row(rank):
    dictionary = A if rank == 12 else gaussian(12, rank, seed=1) @ gaussian(rank, 30, seed=2)
    iteration = HyperLISTA(dictionary)
    inverse = torch.linalg.pinv(dictionary)
    torch.testing.assert_close(iteration.leverage.unsqueeze(1) * iteration.encoder, inverse, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(iteration.leverage, (inverse @ dictionary).diagonal(), rtol=1e-8, atol=1e-10)
    assert float(iteration.leverage.sum()) == pytest.approx(rank)


@pytest.mark.parametrize("scale", [1e-4, 0.3, 50.0])
def test_a_scaled_measurement_has_the_scaled_estimate(scale):
    iteration = HyperLISTA(A, 0.03, 0.02, 0.15)
    torch.testing.assert_close(
        unroll(iteration, 8)(scale * Y), scale * unroll(iteration, 8)(Y), rtol=1e-8, atol=1e-10 * scale
    )


def test_a_measurement_of_nothing_has_an_estimate_of_nothing():
    y = torch.cat([Y[:1], torch.zeros(1, 12, dtype=torch.float64)])
    states = list(unroll(HyperLISTA(A), 5).trajectory(y))
    assert all(bool(torch.isfinite(state.x).all()) and float(state.x[1].abs().max()) == 0 for state in states)


def test_it_conforms():
    """Its map jumps where the support grows, so that finite differences and states of two computations are compared
    without selection.
    """
    testing.check_iteration(HyperLISTA(A, 0.03, 0.02, 0.0), Y, skip=("solve", "compile", "export"))
    testing.check_iteration(
        HyperLISTA(A, 0.03, 0.02, 0.15), Y, skip=("solve", "gradients", "second_derivative", "compile", "export")
    )


def test_it_is_traced_and_exported_with_a_batch_of_any_size():
    testing.check_compile(HyperLISTA(A, 0.03, 0.02, 0.15), Y, backend="aot_eager")
    testing.check_export(HyperLISTA(A, 0.03, 0.02, 0.15), Y)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"momentum_scale must be finite and at least 0; got -1\.0"):
        HyperLISTA(A, momentum_scale=-1.0)
    with pytest.raises(ValueError, match=r"data must have shape \(batch, ..., 12\)"):
        unroll(HyperLISTA(A), 2)(torch.zeros(3, 11, dtype=torch.float64))
    with pytest.raises(TypeError, match="HyperLISTA here is for real dictionaries"):
        HyperLISTA(A.to(torch.complex128))


# The search


class Bowl(nn.Module):
    """|log p - log target|^2 over positive numbers p, and how often it was asked."""

    def __init__(self, target, start):
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        constrain(self, "numbers", Positive())
        self.target, self.asked = torch.tensor(target, dtype=torch.float64), []

    def forward(self):
        assert not torch.is_grad_enabled()
        self.asked.append(self.numbers.detach().clone())
        return (self.numbers.log() - self.target.log()).square().sum()


def search(bowl, rate=1.5, **settings):
    torch.manual_seed(0)
    (optimizer,) = NelderMead(**settings).make([{"params": list(bowl.parameters()), "lr": rate}])
    with torch.no_grad():
        return float(optimizer.step(bowl))


def test_it_finds_the_bottom_of_a_bowl_in_three_numbers():
    bowl = Bowl([3e-3, 2.0, 0.7], [1e-3, 1.0, 1.0])
    loss = search(bowl, draws=10, evaluations=300, tolerance=1e-12)
    assert loss < 1e-9
    torch.testing.assert_close(bowl.numbers.detach(), bowl.target, rtol=1e-4, atol=0)


def test_draws_are_log_uniform_within_the_rate_of_the_present_values():
    bowl = Bowl([1.0, 1.0], [1e-3, 10.0])
    search(bowl, rate=0.8, draws=2000, evaluations=1)
    drawn = torch.stack(bowl.asked[1:2001]).log() - torch.tensor([1e-3, 10.0], dtype=torch.float64).log()
    assert float(drawn.abs().max()) <= 0.8
    torch.testing.assert_close(drawn.mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.var(0), torch.full((2,), 0.8**2 / 3, dtype=torch.float64), rtol=0.06, atol=0)


def test_what_it_ends_with_is_the_best_of_all_it_has_tried_and_no_worse_than_the_start():
    for seed in range(5):
        target = (0.5 * gaussian(3, seed=seed)).exp().tolist()
        bowl = Bowl(target, target if seed == 0 else [1.0, 1.0, 1.0])
        loss = search(bowl, draws=seed, evaluations=12)
        losses = [float((p.log() - bowl.target.log()).square().sum()) for p in bowl.asked]
        assert loss == pytest.approx(min(losses), abs=1e-15)
        assert float((bowl.numbers.detach().log() - bowl.target.log()).square().sum()) == pytest.approx(loss, abs=1e-15)
        assert len(losses) <= 1 + seed + 12 + 3  # scipy finishes the step that it is in


def test_points_where_the_loss_is_no_number_are_avoided():
    class Cliff(Bowl):
        def forward(self):
            loss = super().forward()
            return loss / 0 * 0 if float(self.numbers[0].detach()) > 1.2 else loss

    cliff = Cliff([1.0, 2.0], [0.5, 1.0])
    assert search(cliff, draws=20, evaluations=200, tolerance=1e-10) < 1e-6


def hyper(task):
    return unroll(HyperLISTA(task.dictionary, 0.02, 0.01, 0.1), 6, tied=NAMES)


SEARCH = Stage(2, rate=1.0, batch=32, optimizer=NelderMead(8, 20), loss=LogNMSE(), annealing=Constant())


def test_fit_searches_without_a_backward_pass_and_the_same_way_again():
    task = recovery()
    found = []
    for _ in range(2):
        net = hyper(task)
        history = fit(net, task, [SEARCH], seed=3, quiet=True)
        assert all(p.grad is None for p in net.parameters())
        found.append(bits(net))
    assert same(*found)
    assert history.steps == 2
    assert not same(found[0], bits(hyper(task)))


def test_a_resumed_search_ends_as_an_uninterrupted_one(tmp_path):
    task = recovery()
    whole, parts = hyper(task), hyper(task)
    fit(whole, task, [SEARCH, SEARCH], seed=1, quiet=True)

    class StoppedError(Exception):
        pass

    original, calls = task.draw, []

    def draw(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3 * task.grains:
            raise StoppedError
        return original(*args, **kwargs)

    task.draw = draw
    with pytest.raises(StoppedError):
        fit(parts, task, [SEARCH, SEARCH], tmp_path, seed=1, quiet=True)
    del task.draw
    parts = hyper(task)
    fit(parts, task, [SEARCH, SEARCH], tmp_path, seed=1, quiet=True)
    assert same(bits(whole), bits(parts))


def test_the_search_is_recorded_by_its_values_and_refuses_what_it_cannot_do():
    assert SEARCH.describe()["optimizer"] == {
        "name": "NelderMead",
        "draws": 8,
        "evaluations": 20,
        "simplex": 0.15,
        "tolerance": 1e-3,
    }
    with pytest.raises(ValueError, match="at most 20 numbers, and this stage trains 30"):
        NelderMead().make([{"params": [nn.Parameter(torch.zeros(30))], "lr": 1.0}])
    with pytest.raises(ValueError, match="draws of at least 0 and evaluations of at least 1; got -1 and 60"):
        NelderMead(draws=-1)
    with pytest.raises(ValueError, match="a simplex above 0"):
        NelderMead(simplex=0.0)


@pytest.mark.slow
def test_three_numbers_recover_unseen_signals_without_noise_and_ever_better_with_depth():
    task = Recovery(m=100, n=200, probability=0.06, held_out=200)
    net = unroll(HyperLISTA(task.dictionary), 16, tied=NAMES)
    fit(
        net,
        task,
        [Stage(1, rate=1.7, batch=100, optimizer=NelderMead(), loss=LogNMSE(), annealing=Constant())],
        quiet=True,
    )
    y, x = task.test[0]
    with torch.no_grad():
        values = [nmse(state.x, x) for state in net.trajectory(y)]
    assert all(after < before for before, after in pairwise(values))
    assert values[-1] < -50
    assert values[-1] < path(HyperLISTA(task.dictionary), y, x, 16)[-1] - 3
