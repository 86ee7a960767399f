"""What shipped weights hold: pictures and a table of every learned quantity beside its classical value, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tools.site.equations import symbol_html
from unrolling.evaluation.illustrate import atoms, parameters
from unrolling.evaluation.records import Parameter
from unrolling.prox import LinearSpline, RadialBasis
from unrolling.report.chart import SMALL, Axes, Series, line_chart, tick_text
from unrolling.report.codes import magnitudes
from unrolling.report.figures import Figure
from unrolling.report.parameters import parameter_figures, parameter_rows
from unrolling.report.pictures import Image, atom_images
from unrolling.report.text import ABSENT

MOST = 12  # rows of a table that is not folded
CHARTS = 9  # charts of a page
FUNCTIONS = 4  # of a chart
WHERE = {"shared by all layers": "all layers", "one per layer": "each layer"}
HEADS = ("quantity", "symbol", "size", "where", "classical", "learned", "change")


def figures_html(network: Any, task: Any) -> str:
    """Charts of what differs from layer to layer, and atoms and kernels as pictures; empty where there are none."""
    shown = parameters(network)
    charts = [_chart(figure) for figure in [*functions(network), *parameter_figures(shown)][:CHARTS]]
    groups = [atoms(task, network), *kernels(shown)] if task is not None else []
    sheets = [sheet for group in groups if group for sheet in atom_images(group)]
    parts = []
    if sheets:
        parts.append(f'<div class="learned-atoms">\n{chr(10).join(map(_sheet, sheets))}\n</div>')
    if charts:
        parts.append(f'<div class="learned-charts">\n{chr(10).join(charts)}\n</div>')
    return "\n".join(parts)


def functions(network: Any) -> list[Figure]:
    """The first of the learned functions of one variable that the last layer has, beside the parent's."""
    parent, figures = dict(network.parent.named_modules()), []
    for name, module in network.layers[-1].named_modules():
        if not isinstance(module, LinearSpline | RadialBasis):
            continue
        channels = next(module.parameters()).shape[0]
        x = torch.linspace(module.first, module.last, 121)
        grid = x.expand(1, channels, -1)
        with torch.no_grad():
            learned, count = module(grid)[0], min(channels, FUNCTIONS)
            series = [
                Series("learned", x.tolist(), learned[k].tolist(), "network", marker="", label=k == 0)
                for k in range(count)
            ]
            if type(other := parent.get(name)) is type(module):
                y = other(grid)[0, 0].tolist()
                series.append(Series("classical", x.tolist(), y, "parent", "5 4", marker=""))
        words = f"The first {count} of {channels} learned functions of the last layer; dashed: the classical one."
        figure = Figure(name, words)
        drawing = line_chart(series, Axes("input", "output", tick_text, tick_text), SMALL, f"{name}. {words}")
        figure.drawings = [drawing] if drawing else []
        figures += [figure] if drawing else []
    return figures


def kernels(shown: Sequence[Parameter]) -> list[list[tuple[str, NDArray]]]:
    """Filters that are parameters themselves, (count, 1, height, width), classical and of the last layer."""
    found = []
    for parameter in shown:
        value = magnitudes(parameter.learned[-1])
        if value.ndim == 4 and value.shape[1] == 1 and 3 <= min(value.shape[2:]) <= max(value.shape[2:]) <= 32:
            classical = np.broadcast_to(magnitudes(parameter.classical), value.shape)
            found.append(
                [(f"{parameter.name}, classical", classical[:, 0]), (f"{parameter.name}, learned", value[:, 0])]
            )
    return found


def _chart(figure: Figure) -> str:
    return (
        f"<figure><figcaption><b>{escape(figure.title)}</b></figcaption>{''.join(figure.drawings)}"
        f"<p>{escape(figure.words)}</p></figure>"
    )


def _sheet(image: Image) -> str:
    """The class keeps the theme from putting a white ground behind it in the dark."""
    size = f'width="{image.width}" height="{image.height}"'
    return (
        f"<figure><figcaption>{escape(image.caption)}</figcaption>"
        f'<img class="dark-light" src="{image.uri}" alt="{escape(image.alt)}" {size}></figure>'
    )


def table_html(network: Any, trained: bool, of: str) -> str:
    """Every learned quantity: symbol, size, where it is, classical and learned value, change; the last two of trained
    networks only. ``of`` tells it from other tables of the page.
    """
    body = []
    for row in parameter_rows(parameters(network)):
        head = f'<th scope="row"><code>{escape(row["name"])}</code></th>'
        cells = [symbol_html(row["symbol"]) or ABSENT, escape(row["shape"]), escape(WHERE[row["where"]])]
        cells += [escape(row[key]) for key in ("classical", *(("learned", "change") if trained else ()))]
        body.append(f"<tr>{head}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    table = data_table(f"Learned quantities, {of}", HEADS if trained else HEADS[:-2], body)
    if len(body) <= MOST:
        return table
    return f"<details><summary>All {len(body)} learned quantities</summary>\n{table}\n</details>"


def data_table(label: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """Rows that are HTML as a table that scrolls by itself where the screen is narrow."""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    return (
        f'<div class="table-scroll" tabindex="0" role="region" aria-label="{escape(label)}">\n<table class="table">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>\n</div>"
    )
