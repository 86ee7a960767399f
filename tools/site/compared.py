"""A stored comparison as a part of a page: every method from the best to the worst, the network among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from tools.site.learned import data_table
from unrolling.report.table import ROLE_WORDS
from unrolling.report.text import ABSENT, count_text, quality_text, seconds_text
from unrolling.tasks.metrics import Metric


def section(found: Mapping[str, Any]) -> str:
    """Headline, table, notes, command and machine: Markdown with a table in HTML."""
    where = found["environment"]
    threads = f"{where['threads']} thread{'s' * (where['threads'] != 1)}"
    quick = "\nWithout `--quick` it takes more samples, and more time.\n" if "--quick" in found["command"] else ""
    busy = " The machine had other work: times compare roughly." if found.get("busy") else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in found["notes"])
    return (
        f"{markdown(found['summary'])}\n\n{markdown(found['headline'])}\n\n"
        f"```{{raw}} html\n{table(found)}\n"
        + (f"<details><summary>What to know of these numbers</summary><ul>{notes}</ul></details>\n" if notes else "")
        + f"```\n\nMeasured on {found['date']} ({where['processor']}, {threads}, torch {where['torch']}) by\n\n"
        f"```bash\n{found['command']}\n```\n{quick}{busy}"
    )


def table(found: Mapping[str, Any]) -> str:
    """The rows, the best first; times are per sample in a batch."""
    metric = Metric(**found["metric"])
    network = next((row for row in found["rows"] if row["role"] == "network"), None)
    rows = sorted(found["rows"], key=lambda row: metric.rank(standing(row, network)))
    body = []
    for row in rows:
        quality, seconds = row["quality"], row["seconds"]
        interval = [quality_text(quality[key], metric) for key in ("low", "high")]
        shown = quality_text(quality["mean"], metric)
        shown += f"<small>{interval[0]} to {interval[1]}</small>" if ABSENT not in interval else ""
        cells = [
            shown,
            escape(_difference(row, metric)),
            count_text(row["iterations"]),
            count_text(row["parameters"]),
            seconds_text(seconds and seconds["batch"]),
        ]
        role = ROLE_WORDS.get(row["role"], row["role"])
        words = escape("; ".join(filter(None, (role, row["note"]))))
        head = f'<th scope="row">{escape(row["name"])}<small>{words}</small></th>'
        kind = ' class="network"' if row["role"] == "network" else ""
        body.append(f"<tr{kind}>{head}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = (
        "method",
        f"{metric.name}{f', {metric.unit}' if metric.unit else ''}",
        "beside the network",
        "iterations",
        "learned",
        "time per sample",
    )
    which = ", ".join([found["task"], f"{found['depth']} layers", *found["settings"]])
    return data_table(f"{found['title']} on {which}, beside other methods", heads, body)


def standing(row: Mapping[str, Any], network: Mapping[str, Any] | None) -> float:
    """The metric that a row is ordered by: of one on a part of the samples the network's and their difference there."""
    mean, paired = row["quality"]["mean"], row["paired"]
    if network is not None and row["samples"] is not None and paired and paired["difference"] is not None:
        return network["quality"]["mean"] + paired["difference"]
    return math.nan if mean is None else mean


def _difference(row: Mapping[str, Any], metric: Metric) -> str:
    """``0.37 better [0.17, 0.58]``, from the same samples; ``not told apart`` where the interval holds zero."""
    paired = row["paired"]
    if paired is None or None in (paired["difference"], paired["low"], paired["high"]):
        return "" if row["role"] == "network" else ABSENT
    if paired["low"] <= 0 <= paired["high"]:
        return "not told apart"
    better = (paired["difference"] < 0) == (metric.better == "lower")
    ends = sorted(abs(paired[key]) for key in ("low", "high"))
    size, low, high = (quality_text(value, metric) for value in (abs(paired["difference"]), *ends))
    return f"{size} {'better' if better else 'worse'} [{low}, {high}]"


def markdown(words: str) -> str:
    """Plain text in Markdown."""
    for sign in "\\`*_[]<>|$":
        words = words.replace(sign, "\\" + sign)
    return words
