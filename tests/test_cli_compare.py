"""The options of ``unroll compare``, and the commands that read what it wrote."""

import json

import pytest
from command_line import LISTA, TINY, refused
from command_line import small as small
from command_line import untrained as untrained


@pytest.mark.nightly
def test_seeds_effort_and_markdown(unroll, small, tmp_path):
    status, output, errors = unroll(
        "compare", LISTA, *TINY, "--steps", 6, "--seeds", 3, "--quick", "--out", tmp_path, "--json"
    )
    assert status == 0, errors
    found = json.loads(output)
    assert len(found["rows"][0]["seeds"]) == 2
    assert len({found["rows"][0]["quality"]["mean"], *found["rows"][0]["seeds"]}) == 3
    assert found["shifts"] == []
    assert "MLP, as many multiply-adds" not in {row["name"] for row in found["rows"]}
    assert found["rows"][0]["training_seconds"] > 0
    assert (tmp_path / "seed-2" / "weights.safetensors").is_file()
    text = (tmp_path / "comparison.md").read_text()
    assert found["headline"] in text
    assert found["command"] in text


@pytest.mark.nightly
def test_comparisons_are_put_on_one_page(unroll, small, tmp_path):
    for name in "ab":
        assert unroll("compare", LISTA, *TINY, "--steps", 4, "--quick", "--out", tmp_path / name)[0] == 0
    status, output, errors = unroll("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "page")
    assert status == 0, errors
    page = (tmp_path / "page" / "index.html").read_text()
    assert str(tmp_path / "page" / "index.html") in output
    assert "2 comparisons" in page
    assert "<script" not in page
    refused(
        unroll("report", tmp_path / "a", tmp_path / "nothing", "--out", tmp_path / "page"),
        "nothing holds no comparison.json",
    )


def test_cite_prints_bibtex_of_the_system_its_parent_and_the_survey(unroll):
    status, output, _ = unroll("cite", LISTA)
    assert status == 0
    assert output.count("@inproceedings{") + output.count("@article{") >= 3
    for key in ("gregor2010learning", "beck2009fast", "monga2021algorithm"):
        assert f"{{{key}," in output
    assert output.count("{") == output.count("}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quick", "--thorough"], ["--quick and --thorough exclude each other"]),
        (["--seeds", "0"], ["--seeds is 0"]),
        (["--seeds", "2", "--weights", "x"], ["--seeds is 2", "where networks are trained"]),
        (["--limit", "0"], ["--limit is 0"]),
    ],
)
def test_a_mistake_is_one_line_and_no_work(arguments, words, unroll, untrained, tmp_path):
    refused(unroll("compare", LISTA, *TINY, *arguments, "--out", tmp_path / "out"), *words)
