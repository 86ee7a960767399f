"""The record of which systems hold as files: ``python -m tools.export_catalogue`` makes it."""

import pytest

from tools import export_catalogue
from unrolling.systems import exports
from unrolling.systems.catalogue import find
from unrolling.systems.index import build_index

PAIRS = list(exports.pairs())
QUICK = {("sparse_coding/ada_lista", "torch")}


def remeasured(pair):
    """A pair for a test that exports it again: in `make test` the quick ones."""
    return pytest.param(pair, marks=() if (pair.system, pair.form) in QUICK else pytest.mark.nightly, id="-".join(pair))


@pytest.mark.parametrize("pair", map(remeasured, PAIRS))
def test_what_the_record_says_is_so(pair):
    row = export_catalogue.measure(pair, 600)
    assert row["holds"] == exports.recorded()[pair]["holds"], row.get("reason")


def test_what_was_recorded_is_of_the_weights_as_they_are():
    stale = [pair for pair, row in exports.recorded().items() if row["of"] != exports.fingerprint(pair)]
    assert stale == [], "run `python -m tools.export_catalogue`"


def test_every_pair_of_network_and_format_holds_or_is_ruled_out_with_a_reason():
    silent = []
    for pair, row in exports.recorded().items():
        reason = find(pair.system).not_exported.get(pair.task, {}).get(pair.form, "")
        if row["holds"] == bool(reason) or (reason and len(reason.split()) < 4):
            silent.append((*pair, row.get("reason")))
    assert silent == []


@pytest.mark.nightly
def test_every_pair_was_recorded():
    assert [pair for pair in PAIRS if pair not in exports.recorded()] == []


def test_what_holds_is_near_and_was_soon_written():
    for pair, row in exports.recorded().items():
        if row["holds"]:
            assert row["error"] <= 1e-4 or row["own_rounding"] > row["error"] / 10, pair
            assert row["seconds"] < 240, pair  # of the processor, beside other work; conjugate gradients are traced


def test_the_index_tells_which_formats_hold():
    for entry in build_index():
        for task, forms in entry["exported"].items():
            assert entry["held"][task] == exports.held(find(entry["name"]), task)
            assert set(entry["held"][task]) <= set(forms)
