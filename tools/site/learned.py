"""What shipped weights hold: pictures and a table of every learned quantity beside its classical value, as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.site.equations import symbol_html
from unrolling.evaluation.illustrate import atoms, parameters
from unrolling.evaluation.records import Parameter
from unrolling.report.codes import magnitudes
from unrolling.report.figures import Figure
from unrolling.report.parameters import parameter_figures, parameter_rows
from unrolling.report.pictures import Image, atom_images
from unrolling.report.text import ABSENT, value_text

MOST = 12  # rows of a table that is not folded
CHARTS = 9  # charts of a page
WHERE = {"shared by all layers": "all layers", "one per layer": "each layer"}
HEADS = ("quantity", "symbol", "size", "where", "classical", "learned", "change")
SYMBOL = re.compile(r"``([a-z_][\w.]*)`` ((?:[A-Za-z]|[a-z]{2,7}|[A-Z][a-z]{1,5})(?:_\w|\^2)?)(?=[ ,.;(])")
LETTERS = re.compile(
    r"(?:[A-Za-z]|alpha|beta|gamma|delta|eta|theta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|zeta|Theta)"
)


def symbols(network: Any, equations: str) -> dict[str, str]:
    """What the equations call the learned quantities, by their names in the parameter table, as far as the docstrings
    of the iterations name them and the equations have the symbol: ``threshold`` is theta.
    """
    found: dict[str, str] = {}
    layer = network.layers[-1]
    modules = dict(layer.named_modules())
    for name in dict.fromkeys(row.name for row in network.parameter_table()):
        parts = name.split(".")
        for cut in range(len(parts)):
            owner = modules.get(".".join(parts[:cut]))
            known = {} if owner is None else _named(type(owner))
            for stop in range(len(parts), cut, -1):
                if (symbol := known.get(".".join(parts[cut:stop]))) is not None:
                    found.setdefault(name, symbol)
    return {name: symbol for name, symbol in found.items() if _stands_in(symbol, equations)}


def _stands_in(symbol: str, equations: str) -> bool:
    spelled = re.escape(symbol).replace("_", "_?")
    return re.search(rf"(?<![A-Za-z^]){spelled}(?![A-Za-z])", equations) is not None


def _named(kind: type) -> dict[str, str]:
    """The symbols that the docstring of a class gives its parameters, or else those of its bases."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        text = re.sub(r"\s+", " ", (each.__dict__.get("__doc__") or "").partition("Parameters:")[2])
        found |= {name: symbol for name, symbol in SYMBOL.findall(text) if LETTERS.fullmatch(symbol.split("_")[0])}
    return found


def figures_html(network: Any, task: Any) -> str:
    """Charts of what differs from layer to layer, and atoms and kernels as pictures; empty where there are none."""
    shown = parameters(network)
    charts = [_chart(figure) for figure in parameter_figures(shown)[:CHARTS]]
    groups = [atoms(task, network), *kernels(shown)] if task is not None else []
    sheets = [sheet for group in groups if group for sheet in atom_images(group)]
    parts = []
    if sheets:
        parts.append(f'<div class="learned-atoms">\n{chr(10).join(map(_sheet, sheets))}\n</div>')
    if charts:
        parts.append(f'<div class="learned-charts">\n{chr(10).join(charts)}\n</div>')
    return "\n".join(parts)


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


def table_html(network: Any, equations: str, trained: bool) -> str:
    """Every learned quantity: symbol, size, where it is, classical and learned value (of arrays the median), change;
    the last two of trained networks only.
    """
    shown, known = [p for p in parameters(network) if p.learned], symbols(network, equations)
    body = []
    for parameter, row in zip(shown, parameter_rows(shown), strict=True):
        name, size, where = row["name"], row["shape"], row["where"]
        classical, learned, change = row["classical"], row["learned"], row["change"]
        if size != "number":
            values = [float(np.median(magnitudes(v))) for v in parameter.learned]
            classical = value_text(float(np.median(magnitudes(parameter.classical))))
            low, high = value_text(min(values)), value_text(max(values))
            learned = low if low == high else f"{low} to {high}"
        cells = [symbol_html(known[name]) if name in known else ABSENT, *map(escape, (size, WHERE[where], classical))]
        cells += map(escape, (learned, change)) if trained else ()
        head = f'<th scope="row"><code>{escape(name)}</code></th>'
        body.append(f"<tr>{head}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    table = data_table("Learned quantities", HEADS if trained else HEADS[:-2], body)
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
