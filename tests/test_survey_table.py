"""Table II of the survey: its own numbers, and ours in its form."""

import json
from dataclasses import replace

import pytest
from command_line import refused

from tools.site import comparisons as kept
from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import Interval, Row, Seconds
from unrolling.report import survey_table
from unrolling.systems.survey_table import CLAIMS, CORONA, DUBLID, TABLE_2
from unrolling.tasks.metrics import PSNR


def row(name, role, quality, seconds, iterations=None, parameters=0):
    timed = Seconds(seconds / 2, 4, seconds)
    return Row(name, role, Interval(quality, quality - 1, quality + 1), iterations, parameters, timed)


def made(system=CORONA, task="clutter", **changes):
    """A comparison in which FISTA takes 60 times as long as the network, and the deep network has five times its
    parameters.
    """
    rows = [
        row("CORONA, 10 layers", "network", 30.0, 0.01, 10, 1796),
        row("robust PCA, ISTA, as many iterations", "parent", 12.0, 0.012, 10),
        row("robust PCA, FISTA, stopped early", "classical", 25.0, 0.6),
        row("SVD clutter filter", "classical", 26.0, 0.001),
        row("residual CNN, 3-D", "generic", 29.0, 0.02, None, 8980),
    ]
    command = f"unroll compare {system} --task {task} --pretrained"
    environment = {"processor": "a processor", "cores": 2, "threads": 1}
    return replace(Comparison(system, "CORONA", task, "", PSNR, rows, environment, command=command), **changes)


def test_the_row_of_a_system_has_its_network_the_best_algorithm_and_the_best_deep_network():
    entry = next(e for e in survey_table.entries([made()])["rows"] if e["system"] == CORONA)
    measured = {kind: entry[kind]["measured"] for kind in survey_table.KINDS}
    assert [m["name"] for m in measured.values()] == [
        "CORONA, 10 layers",
        "robust PCA, FISTA, stopped early",
        "residual CNN, 3-D",
    ]
    assert [m["seconds"] for m in measured.values()] == [0.01, 0.6, 0.02]
    assert [m["parameters"] for m in measured.values()] == [1796, None, 8980]
    assert entry["computer"] == "a processor, 1 of 2 cores"
    assert entry["iterative algorithm"]["published"]["seconds"] == 15.33


def test_a_claim_stands_beside_the_ratio_of_the_same_rows():
    claims = {claim["claim"]: claim for claim in survey_table.entries([made()])["claims"]}
    (fista,) = claims["CORONA against Fast-ISTA"]["measured"]
    assert fista["ratio"] == pytest.approx(60)
    assert fista["quality"] == ["30.00 dB", "25.00 dB"]
    (resnet,) = claims["CORONA against ResNet"]["measured"]
    assert resnet["ratio"] == pytest.approx(5)
    text = survey_table.markdown_survey_table([made()])
    assert "60× alone, 60× in a batch (10 layers, 30.00 dB, against robust PCA, FISTA, stopped early, 25.00 dB)" in text
    assert "| 3.0× | 60× alone" in text  # of the survey's own table


def test_what_is_not_stored_is_said_and_other_settings_do_not_stand_for_it():
    other = made(command=f"unroll compare {CORONA} --task clutter --set noise=0.2 --pretrained")
    for given in ([], [other], [made(DUBLID, "denoising")]):
        text = survey_table.markdown_survey_table(given)
        assert text.count("| no comparison of it is stored |") >= len(TABLE_2) + 2
        assert "not measured" in text


def test_the_ratios_of_the_surveys_own_table_are_those_of_its_entries():
    published = {row.system: row for row in TABLE_2}
    for claim in CLAIMS:
        if claim.table is None:
            continue
        row = published[claim.system]
        entries = (row.iterative, row.deep)
        times = [entry.seconds / row.network.seconds for entry in entries]
        sizes = [entry.parameters / row.network.parameters for entry in entries if entry.parameters]
        assert any(claim.table == pytest.approx(each) for each in (times if claim.of == "time" else sizes))


def test_methods_of_the_claims_are_rows_of_the_stored_comparisons():
    stored = survey_table.stored_comparisons([kept.FOLDER])
    have = {(comparison.system, comparison.task) for comparison in stored}
    for claim in survey_table.entries(stored)["claims"]:
        known = next(each for each in CLAIMS if each.words == claim["claim"])
        if known.rivals and (known.system, known.task) in have:
            assert claim["measured"], claim["claim"]
            assert all(each["ratio"] > 0 for each in claim["measured"])


def test_the_command_prints_both_tables_and_writes_them(unroll, tmp_path):
    made().save(tmp_path / "corona")
    status, output, errors = unroll("report", tmp_path / "corona", "--table-2", "--out", tmp_path / "page")
    assert status == 0, errors
    assert "robust PCA, FISTA, stopped early" in output
    assert "**CORONA, clutter**, here" in output
    page = (tmp_path / "page" / "table-2.html").read_text()
    assert "robust PCA, FISTA, stopped early" in page
    assert "Ratios that the text states" in page
    assert "<script" not in page
    found = json.loads(unroll("report", tmp_path / "corona", "--table-2", "--json")[1])
    assert found == json.loads(json.dumps(survey_table.entries([made()])))
    refused(unroll("report", tmp_path / "corona", "--table-2", "--out", tmp_path / "page"), "table-2.html")


def test_without_a_folder_it_takes_what_the_repository_keeps(unroll):
    found = json.loads(unroll("report", "--table-2", "--json")[1])
    assert {row["system"] for row in found["rows"] if row["computer"]} >= {"medical/admm_csnet", DUBLID}


def test_places_without_comparisons_are_refused(unroll, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text("{}")
    refused(unroll("report", tmp_path / "empty", "--table-2"), "empty holds no comparison")
    refused(unroll("report", tmp_path / "other.json", "--table-2"), "other.json is not a comparison")
    refused(unroll("report"), "no comparison is named")
    refused(unroll("report", tmp_path, "--json"), "--json is of --table-2")
