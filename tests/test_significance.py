"""Paired differences, costs, deadlines: measurements that a reader must be able to believe."""

import time
from dataclasses import fields

import pytest
import torch
from tiny import recovery

from unrolling import unroll
from unrolling.algorithms import CoordinateDescent, GramISTA
from unrolling.evaluation.cost import cost_of
from unrolling.evaluation.deadline import TookTooLongError, deadline
from unrolling.evaluation.records import LEVEL
from unrolling.evaluation.significance import PERMUTATIONS, holm, paired, paired_rows
from unrolling.networks.mlp import MLP
from unrolling.tasks.base import NMSE, PSNR
from unrolling.tasks.metrics import Mean


def pieces(error):
    return torch.stack([error, torch.ones_like(error)], dim=1)


def exponential(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(count, dtype=torch.float64).exponential_(generator=generator)


def test_methods_of_the_same_error_are_not_told_apart():
    """Both errors come from one distribution: a test at one per cent is wrong about once in a hundred."""
    called = 0
    for seed in range(100):
        common = exponential(60, seed)
        one, other = (common * (0.5 + exponential(60, 1000 * k + seed)) for k in (1, 2))
        called += paired(NMSE, pieces(one), pieces(other), seed).significant
    assert called <= 5


def test_a_method_beside_itself_differs_by_nothing():
    own = pieces(exponential(50, 0))
    found = paired(NMSE, own, own)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.significant


@pytest.mark.parametrize(("metric", "sign"), [(NMSE, 1), (PSNR, -1)])
def test_a_small_difference_is_found_because_the_samples_are_the_same(metric, sign):
    """Errors that vary a thousandfold between samples and differ by a tenth between methods."""
    common = exponential(200, 3) ** 3
    worse = 1.1 * common * (1 + 0.02 * exponential(200, 4))
    found = paired(metric, pieces(worse), pieces(common))
    assert found.significant
    assert sign * found.difference > 0
    assert found.low <= found.difference <= found.high
    assert sign * found.low > 0
    assert sign * found.high > 0
    back = paired(metric, pieces(common), pieces(worse))
    assert back.difference == pytest.approx(-found.difference)
    assert back.p == found.p


def test_the_interval_of_a_difference_covers_it():
    covered = 0
    for seed in range(60):
        common = exponential(150, seed)
        theirs = 2 * common * (0.5 + exponential(150, 500 + seed))
        ours = common * (0.5 + exponential(150, 900 + seed))
        found = paired(NMSE, pieces(theirs), pieces(ours), seed)
        covered += found.low <= 10 * torch.log10(torch.tensor(2.0)) <= found.high
    assert covered >= 51


def test_other_samples_cannot_be_paired():
    assert paired(NMSE, pieces(exponential(5, 0)), pieces(exponential(6, 0))) is None
    assert LEVEL == 0.01


def test_p_has_as_many_digits_as_there_are_permutations_and_ties_count_against():
    common = exponential(200, 3)
    certain = paired(NMSE, pieces(2 * common), pieces(common))
    assert certain.p == 1 / (1 + PERMUTATIONS) == 1e-4
    # One unit differs: half of all swaps give the same difference, the others the opposite one.
    one = common.clone()
    one[7] *= 1.5
    assert paired(NMSE, pieces(one), pieces(common)).p == 1
    # Three of three agree: 2 of 8 swaps are as large.
    few = paired(NMSE, pieces(2 * common[:3]), pieces(common[:3]))
    assert few.p == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_differences_of_any_size_are_tested_alike(size):
    """An absolute tolerance would take all differences of small rates for ties."""
    metric = Mean("rate", "", "lower", each=lambda estimate, samples: estimate)
    common = size * exponential(60, 5)
    found = paired(metric, (1.2 * common).unsqueeze(1), common.unsqueeze(1))
    assert found.p == 1e-4


def test_sums_and_values_give_one_interval_and_one_p():
    """A metric whose values are its own has no sums: the same units are drawn and swapped, one by one."""

    class Own(type(PSNR)):
        def values(self, pieces):
            return super().values(pieces)

    theirs, ours = pieces(exponential(40, 1)), pieces(exponential(40, 2))
    own = Own(**{f.name: getattr(PSNR, f.name) for f in fields(PSNR)})
    assert own.shares(theirs) is None
    assert PSNR.shares(theirs) is not None
    quick, slow = paired(PSNR, theirs, ours, 3), paired(own, theirs, ours, 3)
    assert quick.p == slow.p
    for name in ("difference", "low", "high"):
        assert getattr(quick, name) == pytest.approx(getattr(slow, name), rel=1e-9)


def test_rows_together_are_as_each_alone():
    ours, several = pieces(exponential(50, 0)), [pieces(exponential(50, seed)) for seed in (1, 2, 3)]
    assert paired_rows(NMSE, several, ours, 4) == [paired(NMSE, each, ours, 4) for each in several]


def test_holm_by_hand_and_the_chance_of_any_false_call():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    called = corrected = 0
    for seed in range(40):
        common = exponential(40, seed)
        ours = pieces(common * (0.5 + exponential(40, 99 * seed + 7)))
        several = [pieces(common * (0.5 + exponential(40, 1000 * k + seed))) for k in range(1, 16)]
        ps = [found.p for found in paired_rows(NMSE, several, ours, seed)]
        called += min(ps) < 0.05
        corrected += min(holm(ps)) < 0.05
    assert corrected <= 6 < called


# Cost


def test_transforms_are_counted_and_nothing_is_cheaper_for_not_being_seen():
    x = torch.randn(3, 64, dtype=torch.complex64)
    assert cost_of(torch.fft.fft, x).multiply_adds == 3 * 64 * 5 * 6 // 2
    assert cost_of(torch.fft.rfft, x.real).multiply_adds == 3 * 64 * 5 * 6 // 4
    assert cost_of(lambda y: torch.fft.irfft(y, 64), torch.fft.rfft(x.real)).multiply_adds == 3 * 64 * 5 * 6 // 4
    assert cost_of(lambda y: y * y, x).multiply_adds is None


def test_a_difference_with_a_nan_is_not_significant_and_its_bounds_are_nan():
    ruined = exponential(30, 0)
    ruined[3] = float("nan")
    found = paired(NMSE, pieces(ruined), pieces(exponential(30, 1)))
    assert found.difference != found.difference
    assert found.low != found.low
    assert not found.significant


def test_multiply_adds_are_those_of_the_matrix_products():
    task = recovery()
    y = task.test[0].data[:1]
    m, n = task.dictionary.shape
    gram = unroll(GramISTA(task.dictionary, 0.1), 5, untied=("threshold",))
    found = cost_of(gram, y, gram)
    assert found.multiply_adds == m * n + 5 * n * n
    assert found.stored_bytes == 5 * n * 4
    descent = unroll(CoordinateDescent(task.dictionary, 0.1), 5)
    # In each step a column of the Gram matrix, and numbers at the coordinate, are looked up.
    assert m * n + 5 * n <= cost_of(descent, y).multiply_adds <= m * n + 5 * (n + 4)
    mlp = MLP(m, 11, n, layers=2)
    assert cost_of(mlp, y, mlp).multiply_adds == m * 11 + 11 * 11 + 11 * n


def test_memory_is_the_most_that_is_held_at_once():
    x = torch.randn(1000)

    def chain(x):
        for _ in range(10):
            x = x * 2  # the one before is freed
        return x

    def hoard(x):
        kept = [x * k for k in range(10)]
        return kept[0]

    assert cost_of(chain, x).peak_bytes == 2 * 4000
    assert cost_of(hoard, x).peak_bytes == 10 * 4000
    assert cost_of(lambda x: x.view(10, 100), x).peak_bytes == 0


# Deadlines


def test_what_takes_too_long_is_stopped_and_what_does_not_is_not():
    begin = time.monotonic()
    with pytest.raises(TookTooLongError, match=r"stopped after 0.1 s"), deadline(0.1):
        time.sleep(30)
    assert time.monotonic() - begin < 5
    with deadline(5):
        pass
    with deadline(None):
        pass
    time.sleep(0.15)  # no alarm is left behind
