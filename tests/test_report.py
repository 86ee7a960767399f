"""The page, the Markdown and the terminal table of a comparison."""

import io
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import Curve, Interval, Parameter, Row, Seconds
from unrolling.report import chart, figures, images, parameters, text
from unrolling.report.page import render, write_page
from unrolling.report.table import markdown_table, print_table
from unrolling.tasks.base import NMSE, PSNR
from unrolling.tasks.exhibits import Panels

NASTY = 'ISTA <script>alert("1")</script> | & co'
NAN = float("nan")


class Page(HTMLParser):
    """What the tests ask of a page: elements with their attributes, and the text inside some of them."""

    VOID = ("meta", "link", "img", "input", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, inside: str) -> str:
        return "".join(text for path, text in self.texts if inside in path)

    @property
    def sections(self) -> list[str | None]:
        return [a["aria-labelledby"] for a in self.all("section")]


def row(name: str, role: str, mean: float, **changes) -> Row:
    return replace(
        Row(name, role, Interval(mean, mean - 0.2, mean + 0.2), 5, 1000, Seconds(2e-5, 256, 3e-4), "a note"), **changes
    )


def comparison(generator: np.random.Generator, *, side: int = 170) -> Comparison:
    iterations = list(range(1, 201))
    decay = [20 - 10 * math.exp(-i / 30) for i in iterations]
    normal = generator.normal
    return Comparison(
        "field/name",
        "NAME",
        "photographs",
        "What is recovered from what.",
        PSNR,
        [
            row("NAME, 5 layers", "network", 25.0),
            row(NASTY, "parent", 20.0, iterations=200, seconds=Seconds(2e-3, 256, 0.04)),
            row(
                "no numbers",
                "library",
                NAN,
                iterations=None,
                parameters=None,
                seconds=None,
                quality=Interval(NAN, NAN, NAN),
            ),
            row("linear", "classical", 19.0, iterations=None, seconds=Seconds(1e-6, 256, 2e-6)),
        ],
        {"torch": "2.13", "nested": {"seed": 0}, "nothing": None},
        command="unroll compare field/name --depth 5",
        headline="NAME is better by 5 dB.",
        curves=[
            Curve("network", "network", [1, 2, 3, 4, 5], [17.0, 18.0, 18.5, 19.0, 19.5], 4e-6),
            Curve(NASTY, "parent", iterations, decay, 1e-5),
            Curve("diverging", "classical", iterations, [10.0, *(-(2.0**i) for i in range(199))], None),
        ],
        parameters=[
            Parameter(
                "threshold",
                list(range(5)),
                [np.array(0.1 * 0.5**k) for k in range(5)],
                np.array(0.2),
                "theta",
                "positive, of lambda",
            ),
            Parameter("weights", list(range(5)), [normal(size=64) for _ in range(5)], np.zeros(64)),
            Parameter("matrix", list(range(5)), [np.eye(8) * (1 + k) for k in range(5)], np.eye(8)),
            Parameter("encoder", [None], [normal(size=(8, 4))], normal(size=(8, 4))),
        ],
        pictures=[
            Panels(f"photograph {k}", [(f"panel {p} <b>", generator.random((side, side))) for p in range(5)])
            for k in range(2)
        ],
        atoms=[("classical", normal(size=(30, 8, 8))), ("learned", normal(size=(30, 8, 8)))],
        codes=[
            ("sample 1: target", np.eye(50)[3]),
            ("sample 1: network", np.eye(50)[3] * 0.9),
            ("sample 2: target", np.zeros(50)),
        ],
        notes=["One & only."],
    )


@pytest.fixture
def full(rng: np.random.Generator) -> Comparison:
    return comparison(rng)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def bare() -> Comparison:
    return Comparison("field/name", "NAME", "task", "", NMSE, [], {})


def test_every_row_is_in_the_table_escaped(full):
    text = render(full)
    page = Page(text)
    for each in full.rows:
        assert each.name in page.text("th")
    assert "<script" not in text
    assert not page.all("script")
    assert "panel 4 <b>" in page.text("figcaption")


def test_nothing_is_fetched(full):
    page = Page(render(full))
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#"))
    assert "@import" not in page.text("style")
    assert "url(" not in page.text("style")


@pytest.mark.parametrize(("best", "network"), [("low", -50.0), ("high", 12.0), ("low", 40.0)])
def test_what_a_chart_is_about_lies_inside_it_and_is_labelled(best, network):
    """However far away the best method is: here 100 dB better than the network."""
    x = [1.0, 2.0, 3.0, 4.0]
    sign = 1 if best == "low" else -1
    end = network - sign * 100
    own = chart.Series("NET", x, [network + sign * k for k in (9, 5, 2, 0)], "network", every_point=True)
    other = chart.Series("AMP", x, [network + sign * 9, network, end + sign * 20, end])
    lost = chart.Series("lost", x, [network, network + sign * 300, network + sign * 900, network + sign * 5000])
    axes = chart.Axes("x", "y", str, str, y_span=60.0, y_best=best)
    drawing = chart.line_chart([other, own, lost], axes, chart.WIDE, "")
    places = [float(v) for v in re.findall(r'class="mark network circle" d="M[-0-9.]+ ([-0-9.]+)a', drawing)]
    assert len(places) == 4
    assert all(34 <= place <= chart.WIDE[1] - 44 for place in places)
    assert ">NET</tspan>" in drawing
    # And those that diverged do not flatten it.
    assert max(places) - min(places) > 10


def test_accessible(full):
    page = Page(render(full))
    assert page.all("html")[0]["lang"] == "en"
    assert "NAME" in page.text("title")
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    # 2 photographs x 5 panels x (whole + detail, beside it and among all), 2 dictionaries
    assert len(page.all("img")) == 32
    assert all(a["alt"].strip() for a in page.all("img"))
    assert all(a["role"] == "img" and a["aria-label"].strip() for a in page.all("svg"))
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 4
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))


def test_sections(full):
    assert Page(render(full)).sections == ["pictures", "methods", "curves", "learned", "codes", "notes", "again"]
    assert Page(render(bare())).sections == []


@pytest.mark.parametrize(
    ("absent", "section"),
    [
        ({"pictures": []}, "pictures"),
        ({"rows": []}, "methods"),
        ({"curves": []}, "curves"),
        ({"curves": [Curve("network", "network", [1, 2], [NAN, NAN], 1e-6)]}, "curves"),
        ({"parameters": [], "atoms": []}, "learned"),
        ({"codes": []}, "codes"),
        ({"notes": []}, "notes"),
        ({"command": "", "environment": {}}, "again"),
    ],
)
def test_a_section_without_data_is_absent(full, absent, section):
    before, after = Page(render(full)).sections, Page(render(replace(full, **absent))).sections
    assert after == [s for s in before if s != section]


def test_numbers_in_the_table(full):
    text = Page(render(full)).text("table")
    for expected in ("25.00", "[24.80, 25.20]", "20.0 µs", "300 µs", "40.0 ms", "100×", "0.050×", "1,000", "–"):
        assert expected in text
    assert "nan" not in text.lower()
    assert text.count("(best)") == 1
    assert text.index("25.00 (best)") < text.index(NASTY)


def test_words_say_where_the_parent_gets_there(full):
    figure = figures.error_by_iteration(full)
    # 20 - 10 exp(-i / 30) reaches 19.5 at i = 30 log 20 = 89.9
    assert f"{NASTY} takes 90 iterations" in figure.words
    assert "not reached by diverging (200 iterations)" in figure.words
    time = figures.error_by_time(full)
    assert "takes 20.0 µs" in time.words
    assert f"{NASTY} needs 900 µs (45×)" in time.words
    assert "linear" in "".join(time.drawings)
    assert "diverging" not in "".join(time.drawings)  # no time is known of it


def test_lower_is_better():
    rows = [row("network", "network", -20.0), row("other", "parent", -21.0)]
    curves = [
        Curve("network", "network", [1, 2], [-10.0, -20.0], 1e-6),
        Curve("other", "parent", [1, 2, 3], [-5.0, -19.9, -21.0], 1e-6),
    ]
    found = replace(bare(), rows=rows, curves=curves)
    assert "other takes 3 iterations" in figures.error_by_iteration(found).words
    text = Page(render(found)).text("table")
    assert "−21.00 (best)" in text
    assert "−20.00 (best)" not in text


def test_parameters(full):
    matrix, learned = parameters.parameter_rows(full.parameters)[2], parameters.parameter_rows(full.parameters)[0]
    keys = ("name", "symbol", "shape", "where", "classical", "learned", "change")
    assert [matrix[key] for key in keys] == [
        "matrix",
        "",
        "8 × 8",
        "one per layer",
        "0 [0, 1]",  # an eighth of the entries are 1
        "0 [0, 1.1]",  # and here the ones of the first layer up to the fives of the last
        "0 % to 400 %",
    ]
    assert [learned[key] for key in keys] == [
        "threshold",
        "θ",
        "number",
        "one per layer",
        "0.2",
        "0.00625 to 0.1",
        "50 % to 97 %",
    ]
    assert learned["meaning"] == "positive, of λ"
    # What all layers share has no chart over the layers.
    titles = [figure.title for figure in parameters.parameter_figures(full.parameters)]
    assert titles == ["threshold θ", "weights", "matrix"]
    assert parameters.spread_text(np.arange(11.0)) == "5 [1, 9]"
    assert parameters.spread_text(np.array([NAN])) == "–"


def test_two_photographs_with_five_panels_stay_under_three_megabytes(rng, tmp_path):
    # Noise is the worst case: PNG does not compress it.
    path = write_page(comparison(rng, side=512), tmp_path / "made" / "here")
    assert path == tmp_path / "made" / "here" / "index.html"
    assert path.stat().st_size < 3_000_000
    assert "reduced to" in path.read_text("utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_png_keeps_every_level(rng):
    from PIL import Image

    levels = images.grey(rng.random((20, 30)))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(images.png(levels)))), levels)
    assert images.grey(np.array([[-1.0, 0.5, 2.0, NAN]])).tolist() == [[0, 128, 255, 0]]


def test_busiest_window():
    image = np.zeros((60, 80))
    image[30:40, 50:60] = np.indices((10, 10)).sum(0) % 2
    top, left = images.busiest_window(image, 20)
    assert 20 < top <= 30
    assert 40 < left <= 50


def test_mosaic_holds_each_atom_between_separators(rng):
    atoms = rng.normal(size=(5, 4, 4))
    sheet = images.mosaic(atoms)
    assert sheet.shape == (9, 14)
    assert (sheet[4] == images.GAP).all()
    assert (sheet[:, [4, 9]] == images.GAP).all()
    for k, atom in enumerate(atoms):
        tile = sheet[k // 3 * 5 :, k % 3 * 5 :][:4, :4]
        assert tile.max() < images.GAP
        assert np.allclose((tile - 127.0) / 127, atom / np.abs(atom).max(), atol=0.5 / 127)


@pytest.mark.parametrize("log", [True, False])
def test_charts_take_any_finite_data(rng, log):
    for y in ([1.0], [0.0, 0.0], [1e-300, 1e300], [NAN, 3.0], [-1e-9, 1e-9], list(rng.normal(size=500))):
        axes = chart.Axes("x", "y", chart.tick_text, chart.tick_text, log=log)
        svg = chart.line_chart([chart.Series("a & b", list(range(1, len(y) + 1)), y)], axes, chart.WIDE, "what")
        assert "nan" not in svg
        assert "inf" not in svg
        Page(svg)
    assert chart.line_chart([chart.Series("none", [0.0, 1.0], [1.0, NAN])], axes, chart.SMALL, "what") == "" or not log


def test_ticks_are_round_and_inside():
    assert chart.linear_ticks(-36.2, -3.1, 6) == [-35.0, -30.0, -25.0, -20.0, -15.0, -10.0, -5.0]
    assert chart.log_ticks(0, 3, 20) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert chart.log_ticks(0, 3, 4) == [1, 10, 100, 1000]
    assert [chart.tick_text(v) for v in (0.0, -20.0, 0.25, 2000.0, 1e-5, 2.5e8)] == [
        "0",
        "−20",
        "0.25",
        "2,000",
        "10⁻⁵",
        "2.5·10⁸",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (NAN, "–"),
        (3.14159e-9, "3.14 ns"),
        (9.996e-7, "1.00 µs"),
        (1.2e-5, "12.0 µs"),
        (4.56e-1, "456 ms"),
        (12.34, "12.3 s"),
        (4321.0, "4,320 s"),
    ],
)
def test_seconds(seconds, words):
    assert text.seconds_text(seconds) == words


def test_markdown_has_a_line_per_row(full):
    lines = markdown_table(full).splitlines()
    assert len(lines) == 2 + len(full.rows)
    columns = lines[0].count("|")
    assert all(line.replace("\\|", "").count("|") == columns for line in lines)
    assert "**25.00**" in lines[2]
    assert "<script" not in lines[3]


def test_terminal(full):
    from rich.console import Console

    for width in (70, 80, 140):
        console = Console(width=width, file=io.StringIO())
        print_table(full, console)
        lines = console.file.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        assert any("NAME, 5" in line and "* 25.00" in line for line in lines)
        assert any("[24.80, 25.20]" in line for line in lines) == (width == 140)


def test_importing_the_report_is_light():
    code = (
        "import sys, unrolling.report.page, unrolling.report.table; print([m for m in ('matplotlib', 'jinja2', "
        "'rich', 'PIL') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
