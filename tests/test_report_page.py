"""The page of a comparison: large pictures, names that can be read, the network inside every chart, its formulas."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_report import Page, row
from test_report import full as full
from test_report import rng as rng

from unrolling.evaluation.records import Curve, Interval, ShiftCurve, ShiftReport, SizeCurve
from unrolling.report import chart, figures, parameters, study
from unrolling.report.page import render, table_rows
from unrolling.tasks.exhibits import Panels


def names_in(drawing):
    """Each name in a chart and the box of its lines, by the widths that charts are laid out with."""
    for anchor, body in re.findall(r'<text class="label[^"]*"(?: text-anchor="(\w+)")?>(.*?)</text>', drawing):
        lines = re.findall(r'<tspan x="([-\d.]+)" y="([-\d.]+)">(.*?)</tspan>', body)
        w = max(len(html.unescape(text)) for _, _, text in lines) * chart.CHARACTER
        x, first, last = float(lines[0][0]), float(lines[0][1]), float(lines[-1][1])
        left = x - w / 2 if anchor == "middle" else x
        yield (left, first - 11, left + w, last + 3)


@pytest.mark.parametrize("count", [2, 7, 12])
@pytest.mark.parametrize("size", [chart.WIDE, chart.NARROW])
def test_no_names_collide(rng, size, count):
    """Crowded curves that end at nearly the same place, and single marks among them."""
    series = [
        chart.Series(f"method {k} with a long name, at convergence", [1, 10, 100], [9 - k / 9, 5 + k / 50, 3 + k / 99])
        for k in range(count)
    ]
    series += [chart.Series(f"mark {k}", [5.0 + k], [4.0 + k / 20], line=False) for k in range(3)]
    series.append(chart.Series("NET", [1, 2, 5], [8.0, 6.0, 4.0], "network", every_point=True))
    drawing = chart.line_chart(series, chart.Axes("time", "dB", str, str, log=True), size, "")
    boxes = list(names_in(drawing))
    assert len(boxes) == len(series)
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', drawing)[1])
    for k, a in enumerate(boxes):
        assert min(a[0], a[1], size[0] + 3 - a[2], height - a[3]) >= 0
        assert all(a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3] for b in boxes[:k])


def test_the_network_lies_inside_every_chart_of_a_page(full):
    """However far the best row is ahead, and where a method of the shift diverged."""
    ahead = [Curve("AMP", "classical", [1, 2, 3], [20.0, 90.0, 190.0], 1e-6)]
    intervals = [Interval(19.0, 18.0, 20.0)] * 3
    shift = ShiftReport(
        "noise",
        "Noise.",
        [1.0, 2.0, 3.0],
        1.0,
        [
            ShiftCurve("network", "network", [19.0, 18.0, 5.0], 14.0, intervals),
            ShiftCurve("AMP", "classical", [190.0, 189.0, -1e9], 3.0),
        ],
        None,
        None,
    )
    size = [
        SizeCurve("network", "network", [10, None], [3.0, 19.0]),
        SizeCurve("MLP", "generic", [10, None], [2.0, 9.0]),
    ]
    found = replace(full, curves=[*full.curves, *ahead], shifts=[shift], sizes=size)
    charts = [
        figures.error_by_iteration(found),
        figures.error_by_time(found),
        *study.shift_figures(found),
        study.size_figure(found),
        *parameters.parameter_figures(found.parameters),
    ]
    for figure in charts:
        assert figure.drawings
        for drawing in figure.drawings:
            bottom = float(re.search(r'class="axis" d="M[\d.]+ ([\d.]+)H', drawing)[1])
            path = re.search(r'class="line network"[^>]* d="M([^"]*)"', drawing)[1]
            heights = [float(point.split()[1]) for point in path.split("L")]
            assert all(34 <= y <= bottom for y in heights), figure.title
    rows = table_rows(replace(found, rows=[*found.rows, row("AMP", "classical", 190.0)]))
    assert 0 < rows[0]["place"] < 100


def test_pictures_are_large_and_flicker_without_a_script(full):
    text = render(full)
    page = Page(text)
    for k in (1, 2):
        radios = [radio for radio in page.all("input") if radio["name"] == f"stage{k}"]
        assert len(radios) == 5
        assert ["checked" in radio for radio in radios] == [False] * 4 + [True]
    anchors = {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")}
    identifiers = {a["id"] for _, a in page.elements if "id" in a}
    assert anchors <= identifiers
    assert {f"picture2-{k}" for k in range(1, 6)} <= anchors
    # Each opens over the window, with the ones before and after it a click away.
    links = [a["href"] for a in page.all("a")]
    assert links.count("#picture1-3") == 4  # itself, its detail, and from both neighbours
    small = [Panels("small", [("one", np.zeros((8, 8))), ("other", np.ones((8, 8)))])]
    page = Page(render(replace(full, pictures=small)))
    assert not [radio for radio in page.all("input") if radio["name"].startswith("stage")]
    assert len([a for a in page.all("a") if a["href"] == "#picture1-2"]) == 3


def test_the_page_says_the_equations_in_letters_and_draws_the_network(full):
    from unrolling import unroll
    from unrolling.algorithms import ISTA

    drawing = unroll(ISTA(torch.eye(3), 0.1), 2, untied="threshold").draw()
    text = render(replace(full, equations="x = S_theta[t](x), mu < 1", drawing=drawing))
    page = Page(text)
    assert "x = S_θ[t](x), μ < 1" in page.text("pre")
    assert drawing in text
    assert 'class="drawn"' not in render(full)
    assert page.text("th").count("threshold") == 1
