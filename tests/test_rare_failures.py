"""Single samples beside the mean: what is counted, and the signals with half as many non-zeros again as the mean, which
networks trained on means failed to recover.
"""

import json
import math

import pytest
import torch
from tiny import recovery, system

from unrolling import pretrained
from unrolling.evaluation.compare import compare
from unrolling.evaluation.measure import spread
from unrolling.report.table import markdown, spread_heads, spread_rows
from unrolling.tasks.base import NMSE, PSNR
from unrolling.tasks.metrics import AUC
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.tasks.sparse.signals import measured
from unrolling.training.fit import fit
from unrolling.training.stages import Stage

# What is counted


def decibels(*values):
    """Pieces of units of energy 1 whose NMSE is as given."""
    return torch.tensor([[10 ** (value / 10), 1.0] for value in values], dtype=torch.float64)


def test_the_median_the_worst_and_those_beyond_the_limit_are_of_single_units():
    found = spread(NMSE, decibels(*[-60.0] * 98, -50.0, -20.0, -70.0), limit=-40.0)
    assert found is not None
    assert (found.median, found.worst) == pytest.approx((-60.0, -20.0))
    assert found.percentile == pytest.approx(-50.0)
    assert (found.failures, found.count) == (1, 101)
    # One signal of 101 decides the mean.
    assert found.mean == pytest.approx(-40.0, abs=0.1)


def test_of_a_metric_that_is_better_when_higher_the_least_is_the_worst():
    found = spread(PSNR, decibels(-30.0, -20.0, -25.0, -28.0), limit=24.0)
    assert found is not None
    assert (found.worst, found.failures) == (pytest.approx(20.0), 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_estimate_that_is_not_finite_is_the_worst_and_a_failure(bad):
    pieces = decibels(-60.0, -60.0, -60.0)
    pieces[1, 0] = bad
    found = spread(NMSE, pieces, limit=-40.0)
    assert found is not None
    assert found.failures == 1
    assert math.isinf(found.worst)
    assert found.median == pytest.approx(-60.0)


def test_units_without_a_value_of_their_own_have_no_spread():
    assert spread(AUC(), torch.rand(8, 2, dtype=torch.float64).round()) is None


def test_a_signal_of_nothing_is_not_counted():
    found = spread(NMSE, torch.cat([decibels(-50.0, -60.0, -60.0), torch.zeros(2, 2, dtype=torch.float64)]), -40.0)
    assert found is not None
    assert (found.count, found.failures, found.worst) == (3, 0, pytest.approx(-50.0))


@pytest.mark.parametrize(("snr", "limit"), [(float("inf"), -40.0), (60.0, -40.0), (30.0, -20.0)])
def test_a_failure_is_further_from_the_noise_than_10_db(snr, limit):
    assert recovery(snr=snr).failure == limit


# In a comparison


@pytest.fixture(scope="module")
def comparison():
    chosen = system()
    recipe, task = chosen.recipes["recovery"], chosen.task("recovery", m=20, n=40)
    net = chosen.network(recipe, task, 4)
    fit(net, task, [Stage(60, rate=1e-2, batch=64)], quiet=True)
    return compare(chosen, "recovery", recipe, task, net, quiet=True, generic=(30, 32), effort="quick")


@pytest.mark.nightly
def test_a_comparison_has_them_beside_every_mean_on_20000_signals_where_that_is_cheap(comparison):
    network = comparison.rows[0].spread
    assert 19_000 < network.count <= 20_000  # of so few entries some signals have none, and no error of their own
    assert network.mean == pytest.approx(comparison.rows[0].quality.mean, abs=1.0)
    assert network.median < network.percentile < network.worst
    kept = json.loads(json.dumps(comparison.to_json()))["rows"]
    for row, own in zip(kept, comparison.rows, strict=True):
        if own.quality.mean == own.quality.mean:
            assert row["spread"]["failures"] == own.spread.failures
            assert row["spread"]["worst"] >= row["spread"]["median"]


def test_the_table_has_a_row_for_each(comparison):
    rows = spread_rows(comparison)
    assert [row[0] for row in rows] == [row.name for row in comparison.rows if row.spread is not None]
    assert {len(row) for row in rows} == {len(spread_heads(comparison))}
    assert spread_heads(comparison)[5] == "worse than −40.00"
    text = markdown(comparison)
    assert all(f"| {' | '.join(row)} |" in text for row in rows)


# Dense signals


def test_denser_draws_have_up_to_so_many_times_the_density_and_none_below():
    task = recovery(m=50, n=1000, probability=0.1)
    x = task.draw(4000, torch.Generator().manual_seed(0), denser=1.5).target
    share = (x != 0).double().mean(1)
    assert float(share.mean()) == pytest.approx(0.125, abs=1e-3)
    # Uniform on [0.1, 0.15], and the scatter of 1,000 entries.
    assert float(share.var()) == pytest.approx(0.05**2 / 12 + 0.125 * 0.875 / 1000, rel=0.1)
    usual = task.draw(8, torch.Generator().manual_seed(1))
    noisy = recovery(snr=30.0)
    assert torch.equal(*(noisy.draw(8, torch.Generator().manual_seed(1), denser=d).target for d in (1.0, 1.5)))
    assert torch.equal(usual.target, task.draw(8, torch.Generator().manual_seed(1), denser=1.0).target)


@pytest.fixture(scope="module")
def dense():
    """1,000 signals with 75 non-zeros: of 20,000 some five have as many. AMP and the lasso recover them."""
    task, generator = Recovery(held_out=1), torch.Generator().manual_seed(11)
    places = torch.rand(1000, 500, generator=generator).topk(75, dim=1).indices
    x = torch.zeros(1000, 500).scatter(1, places, torch.randn(1000, 75, generator=generator))
    return measured(x, task.dictionary, float("inf"), generator), x


@pytest.mark.parametrize("name", ["alista", "hyperlista", "lamp", "lvamp"])
def test_what_ships_recovers_the_densest_of_20000_signals(name, dense):
    y, x = dense
    with torch.no_grad():
        estimate = pretrained(f"sparse_coding/{name}", "recovery")(y)
    error = 10 * torch.log10((estimate - x).square().sum(1) / x.square().sum(1))
    assert float((error > -40).double().mean()) <= 0.02
