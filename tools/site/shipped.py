"""The facts of shipped weights, from their cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from tools.site.comparisons import card_settings, file_digest, setting_values, stored_name
from tools.site.learned import data_table
from unrolling.report.text import bytes_text, count_text
from unrolling.systems.base import System
from unrolling.systems.conditions import Range, Trained
from unrolling.systems.data_sources import USUAL, sources_of
from unrolling.training.weights import read_weights


@dataclass(frozen=True)
class Weights:
    """A file that ships."""

    system: System
    task: str
    path: Path

    @cached_property
    def _read(self) -> tuple[Any, Any, dict[str, Any]]:
        return read_weights(self.path)

    @property
    def card(self) -> dict[str, Any]:
        return self._read[2]

    @property
    def numbers(self) -> int:
        """How many were learned."""
        return sum(tensor.numel() for tensor in self._read[0].values())

    @property
    def depth(self) -> int:
        return int(self.card["depth"])

    @property
    def settings(self) -> list[str]:
        """What of the task is not its default: ``snr=30``."""
        return card_settings(self.system, self.task, self.card)

    @property
    def values(self) -> dict[str, Any]:
        """The same as options of ``pretrained``."""
        return setting_values(self.system, self.task, self.settings)

    @property
    def usual(self) -> bool:
        """Whether they are those that ``pretrained`` takes when it is told no more than the task."""
        return self.depth == self.system.recipes[self.task].depth and not self.settings

    @property
    def digest(self) -> str:
        return file_digest(self.path)

    @property
    def comparison(self) -> str:
        """The name that its stored comparison has."""
        return stored_name(self.system.name, self.task, self.depth, self.settings)

    @property
    def words(self) -> str:
        """``recovery, 12 layers, snr=30``."""
        return ", ".join([self.task, f"{self.depth} layer{'s' * (self.depth != 1)}", *self.settings])

    def network(self) -> Any:
        return self.system.pretrained(self.task, self.depth, **self.values)

    def trained_on(self) -> Any:
        return self.system.trained_on(self.task, self.depth, **self.values)

    def good_for(self) -> dict[str, Trained]:
        """The range of conditions that they were trained for."""
        return self.system.recipes[self.task].ranges(self.trained_on(), self.card)


def weights_of(system: System) -> list[Weights]:
    """All that a system ships, task by task; those that ``pretrained`` takes by itself first."""
    found = [Weights(system, task, path) for task in system.recipes for path in system.weights_files(task)]
    return sorted(found, key=lambda each: (list(system.recipes).index(each.task), not each.usual))


def range_words(conditions: Mapping[str, Trained]) -> str:
    """``noise 2 to 75; streams 20``."""
    words = []
    for name, value in conditions.items():
        text = str(value) if isinstance(value, Range) else ", ".join(map(str, value))
        words.append(f"{name} {text}")
    return "; ".join(words)


def table(weights: list[Weights]) -> str:
    """A row for each file."""
    rows = []
    for each in weights:
        metric = each.card["metric"]
        places = ".3g" if metric["unit"] not in ("dB",) else ".2f"
        low, mean, high = (f"{metric[key]:{places}}".replace("-", "−") for key in ("low", "mean", "high"))
        cells = [
            f"{mean} {metric['unit']} {metric['name']} [{low}, {high}]",
            range_words(each.good_for()) or "not recorded",
            count_text(each.numbers),
            bytes_text(each.path.stat().st_size),
            f"{float(each.card['seconds']):,.0f} s",
        ]
        head = f'<th scope="row">{escape(each.words)}</th>'
        rows.append(f"<tr>{head}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    heads = ("weights", "on validation data", "trained for", "learned numbers", "file", "training")
    return data_table("Shipped weights", heads, rows)


def origin(weights: Weights) -> str:
    """How a file was made: Markdown."""
    card = weights.card
    where = card.get("environment", {})
    machine = ", ".join(
        filter(
            None, (str(where.get("processor", "")), _count(where.get("threads"), "thread"), f"torch {card['torch']}")
        )
    )
    lines = [f"`{weights.path.name}`: seed {card['seed']}, {int(card['steps']):,} steps, {machine}."]
    try:
        data = sources_of(card)
    except ValueError:
        data = ()
    named = [
        f"[{each.title}]({each.address}) ({each.licence})"
        if each.address.startswith(("http://", "https://"))
        else f"{each.title} ({each.licence})"
        for each in data
    ]
    lines += [f"Data: {'; '.join(named)}."] if named else []
    lines += [f"Licence of these weights: {card['licence']}."] if card.get("licence", USUAL) != USUAL else []
    text = " ".join(lines) + f"\n\n```bash\n{card['command']}\n```\n"
    if before := card.get("from"):
        text += f"\nIt starts from weights that were made before it:\n\n```bash\n{before['command']}\n```\n"
    return text


def _count(count: Any, noun: str) -> str:
    return "" if count is None else f"{count} {noun}{'s' * (count != 1)}"
