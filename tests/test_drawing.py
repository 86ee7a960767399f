"""Drawings of networks: what they say, and that it can be read."""

import re
import shutil
import xml.etree.ElementTree as ET

import pytest
import torch
from families import REPRESENTATIVES
from test_browser import browse
from torch import nn
from typer.testing import CliRunner

from unrolling import Equilibrium, Safeguarded, deploy, unroll
from unrolling.algorithms import ISTA, GramISTA, SynthesisISTA, VaryingISTA
from unrolling.cli.main import app
from unrolling.core import Drawing, draw
from unrolling.core.drawing.letters import BOLD, greek, width, wrap
from unrolling.core.quantities import quantity
from unrolling.operators import Matrix
from unrolling.systems.catalogue import catalogue, find
from unrolling.tasks.base import first
from unrolling.tasks.catalogue import find_task

SVG = "{http://www.w3.org/2000/svg}"
MATRIX = torch.randn(20, 40, generator=torch.Generator().manual_seed(0)) / 20**0.5
DATA = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=["representatives", pytest.param("all", marks=pytest.mark.nightly)])
def drawings(request):
    """Of systems on each of their tasks, by night of all: the network and its drawing."""
    found = {}
    for name, system in catalogue().items():
        if request.param != "all" and name not in REPRESENTATIVES:
            continue
        for task, recipe in system.recipes.items():
            small = find_task(task).small()
            network = system.network(recipe, small)
            found[f"{name}, {task}"] = network, network.draw(first(small.test[0], 2).data, system.title)
    return found


def groups(drawing):
    """Each group with its box (left, top, right, bottom) and its texts."""
    for group in ET.fromstring(drawing).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        x, y, w, h = (float(rect.get(key, 0)) for key in ("x", "y", "width", "height"))
        yield group, (x, y, x + w, y + h), group.findall(f"{SVG}text")


def extent(text):
    """The box of a line of type by the widths that the drawing was laid out with."""
    size, x, y = (float(text.get(key)) for key in ("font-size", "x", "y"))
    room = width("".join(text.itertext()), size, text.get("class") == "bold")
    left = x - room if text.get("text-anchor") == "end" else x
    return left, y - 0.78 * size, left + room, y + 0.24 * size


def check(drawing, learned):
    """All text lies in its box and no two lines overlap, no two blocks do, and learned numbers add up."""
    blocks, total = [], 0
    for group, box, texts in groups(drawing):
        extents = [extent(text) for text in texts]
        for text, (left, top, right, bottom) in zip(texts, extents, strict=True):
            inside = box[0] <= left and box[1] <= top and right <= box[2] and bottom <= box[3]
            assert inside, (box, "".join(text.itertext()))
        for k, a in enumerate(extents):
            for b in extents[:k]:
                assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)
        if "block" in group.get("class").split():
            blocks.append(box)
            total += int(group.get("data-learned"))
    for k, a in enumerate(blocks):
        for b in blocks[:k]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)
    assert total == learned


def numbers(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def words(drawing):
    return " ".join(" ".join(text.itertext()) for text in ET.fromstring(drawing).iter(f"{SVG}text"))


@pytest.mark.slow
def test_systems_have_drawings_that_can_be_read(drawings):
    for name, (network, drawing) in drawings.items():
        check(drawing, numbers(network))
        root = ET.fromstring(drawing)
        assert root.get("role") == "img", name
        assert root.find(f"{SVG}title").text == find(name.split(",")[0]).title
        assert f"{numbers(network):,} learned number" in root.find(f"{SVG}desc").text
        assert float(root.get("width")) <= 400  # units: at 390 pixels type of 12 units has eleven
        shown = words(drawing)
        for quantity_name in network.untied[:7]:  # more are gathered
            assert quantity_name in shown.replace(" ", "") or len(network.untied) > 7
        assert f"Layer {len(network)}" in shown


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium here")
def test_a_browser_finds_all_text_in_its_box(drawings, tmp_path):
    """Measured by the browser with the fonts that are here."""
    probe = """<script>
    let bad = 0, seen = 0;
    for (const g of document.querySelectorAll('svg g.block, svg g.frame')) {
      const box = g.querySelector('rect').getBBox();
      for (const t of g.querySelectorAll('text')) {
        const b = t.getBBox(); seen += 1;
        if (b.x < box.x || b.x + b.width > box.x + box.width || b.y + b.height > box.y + box.height + 1) bad += 1;
      }
    }
    document.title = 'bad ' + bad + ' of ' + (seen > 500);
    </script>"""
    page = tmp_path / "all.html"
    shown = "".join(drawing for _, drawing in drawings.values())
    page.write_text(f"<!doctype html><meta charset='utf-8'><title></title>{shown}{probe}")
    assert "<title>bad 0 of true</title>" in browse(page, tmp_path, "--dump-dom").stdout


def test_lista_says_what_is_shared_and_what_each_layer_has():
    network = unroll(GramISTA(MATRIX, 0.1), 16, tied=["inhibition", "encoder"], untied="threshold")
    drawing = network.draw(DATA)
    check(drawing, 40 * 40 + 40 * 20 + 16 * 40)
    shown = words(drawing)
    for line in ("Shared by all layers 2,400 learned", "inhibition W t 40 × 40", "encoder.matrix W e 40 × 20"):
        assert line in re.sub(r"\s+", " ", shown)
    assert "Data batch × 20" in shown
    assert "Estimate batch × 40" in shown
    assert "13 layers 520 numbers" in shown
    assert "Layer 3" not in shown
    assert "Fixed in all layers 800 numbers dictionary 20 × 40" in shown
    assert drawing.count('class="to-shared"') == 4  # into the three layers that are drawn, and down to them


def test_without_data_it_leaves_the_sizes_of_what_flows_out():
    network = unroll(ISTA(MATRIX, 0.1), 3, untied="threshold")
    assert "batch" not in network.draw()
    check(network.draw(), 3)
    assert "Layer 2" in network.draw()  # so few are all drawn


def test_a_fixed_point_goes_round():
    network = Equilibrium(ISTA(MATRIX, 0.1), learned="threshold", tolerance=1e-5, max_iterations=50)
    drawing = network.draw(DATA)
    check(drawing, 1)
    assert "less than 1e-05, at most 50 times" in ET.fromstring(drawing).find(f"{SVG}desc").text


def test_the_other_forms_say_what_they_are():
    network = unroll(ISTA(MATRIX, 0.1), 8, tied="step_size", untied="threshold")
    guarded = Safeguarded(network).draw(DATA)
    check(guarded, 9)
    assert "The parent's step, ISTA" in words(guarded)
    assert guarded.count('class="to-fixed"') == 4
    for how in ("plain", "auto"):
        deployed = deploy(network, how).draw(DATA)
        check(deployed, 9)
        assert "ISTA, unrolled, deployed" in deployed
    check(draw(network.parent, DATA), 2)
    with pytest.raises(TypeError, match="a network is drawn"):
        draw(DATA)


class Both(nn.Module):
    """A front end, an unrolled network, a head that is tied to the front end's first map."""

    def __init__(self):
        super().__init__()
        self.solver = unroll(ISTA(MATRIX, 0.1), 5, untied="threshold")
        self.front = nn.Sequential(nn.Linear(20, 20), nn.ReLU())
        self.head = nn.Linear(40, 3)
        self.again = self.front[0]
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, y):
        return self.head(self.solver(self.front(y * self.scale)))


def test_another_module_is_drawn_part_by_part_in_the_order_of_its_calls():
    network = Both()
    for drawing in (draw(network), draw(network, DATA)):
        check(drawing, numbers(network))
    shown = words(draw(network, DATA))
    spoken = ET.fromstring(draw(network, DATA)).find(f"{SVG}desc").text
    places = [spoken.index(part) for part in ("Data", "front: Sequential", "solver: ISTA", "head: Linear", "Output")]
    assert places == sorted(places)
    assert "State at the start batch × 40" in shown  # of what the solver is given
    assert "Shares 2 arrays with a part above" in shown
    assert "in the order in which they are defined" in words(draw(network))


def test_a_notebook_shows_it_and_its_repr_is_short():
    drawing = unroll(ISTA(MATRIX, 0.1), 3, untied="threshold").draw()
    assert isinstance(drawing, Drawing)
    assert drawing._repr_svg_() == str(drawing)
    assert repr(drawing).startswith("<Drawing of ISTA, unrolled: 3 layers, 3 learned numbers. 400 x ")
    assert len(repr(drawing)) < 100


def test_drawings_on_one_page_have_names_of_their_own_and_a_style_that_keeps_to_them():
    one, other = (unroll(ISTA(MATRIX, 0.1), depth, untied="threshold").draw() for depth in (2, 3))
    names = [set(re.findall(r'id="([^"]+)"', drawing)) for drawing in (one, other)]
    assert not names[0] & names[1]
    style = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", ET.fromstring(one).find(f"{SVG}style").text)
    for selector in re.findall(r"([^{}]+)\{[^{}]*\}", style):
        assert all(".unrolling-drawing" in part for part in selector.split(","))


@pytest.mark.parametrize(("look", "bold"), [("normal", False), ("bold", True)])
def test_text_takes_no_more_room_than_the_table_says(look, bold):
    manager = pytest.importorskip("matplotlib.font_manager")
    from PIL import ImageFont

    path = manager.findfont(manager.FontProperties(family="DejaVu Sans", weight=look))
    font = ImageFont.truetype(path, 1000)
    for text in ("splittings.0.transform.filters.coefficients", "State at the start", "batch × 128 × 128 complex"):
        assert font.getlength(text) <= width(text, 1000, bold) <= 1.2 * font.getlength(text)
    assert BOLD > 1
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,_-×θλμ"
    if not bold:
        assert all(font.getlength(letter) <= width(letter, 1000) + 1 for letter in letters)


def test_lines_fit_their_room_whatever_the_words():
    long = "splittings.0.transform.filters.coefficients and " + "x" * 90
    lines = wrap(long, 12, 100)
    assert all(width(line, 12) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == long.replace(" ", "")
    assert greek("theta[t] = mu lambda, thetas, W_theta") == "θ[t] = μ λ, thetas, W_θ"


def test_quantities_have_the_symbols_of_their_formulas():
    lista = GramISTA(MATRIX, 0.1)
    assert quantity(lista, "threshold") == ("theta", "positive, one per coefficient")
    assert quantity(lista, "encoder.matrix").symbol == "W_e"
    detnet = find("communications/detnet")
    network = detnet.network(detnet.recipes["detection"], find_task("detection").small(), 2)
    assert quantity(network.parent, "update.bias").symbol == "b_2"
    assert quantity(nn.Linear(2, 2), "weight") == ("", "")
    assert quantity(find("ep_net").recipe(None)[1].parent(find_task("detection").small()), "damping") == (
        "d",
        "between 0 and 1",
    )
    ada = VaryingISTA(8, 0.1, 2.0)
    assert quantity(ada, "mixing.inner").symbol == "W_1"
    photographs = SynthesisISTA(Matrix(MATRIX), Matrix(torch.eye(40)), 0.1)
    letters = [quantity(photographs, name).symbol for name in ("dictionary.matrix", "encoder.matrix", "threshold")]
    assert letters == ["D", "E", "theta"]


def test_the_command_writes_it_and_overwrites_nothing(tmp_path):
    path = tmp_path / "ep.svg"
    run = CliRunner().invoke(app, ["show", "ep_net", "--picture", str(path)])
    assert run.exit_code == 0, run.output
    assert "The drawing:" in run.output
    content = path.read_text(encoding="utf-8")
    check(content, 5)
    again = CliRunner().invoke(app, ["show", "ep_net", "--depth", "3", "--picture", str(path)])
    assert again.exit_code != 0
    assert path.read_text(encoding="utf-8") == content
    other = CliRunner().invoke(app, ["show", "ep_net", "--depth", "3", "--picture", str(path), "--overwrite"])
    assert other.exit_code == 0
    check(path.read_text(encoding="utf-8"), 3)
    assert CliRunner().invoke(app, ["show", "ep_net", "--picture", str(tmp_path / "ep.png")]).exit_code != 0
