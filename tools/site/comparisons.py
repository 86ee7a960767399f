"""Comparisons that the pages of systems show, in ``docs/comparisons/``: ``python -m tools.site.comparisons DIR...``
takes them from what ``unroll compare SYSTEM --pretrained`` wrote, a file for each weights file.

What is kept is a part of ``comparison.json``, which ``unrolling.report.read_comparison`` reads as well, with the date,
the depth and the settings, and the beginning of the SHA-256 of the weights. ``make comparisons`` does both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unrolling.systems.base import System
from unrolling.tasks.catalogue import find_task

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "comparisons"
TEXTS = ("schema", "system", "task", "title", "summary", "metric", "headline", "notes")
ROW = ("name", "role", "quality", "iterations", "parameters", "training_seconds", "samples", "linear", "note")
SECONDS = ("batch", "batch_size", "single")
PAIRED = ("difference", "low", "high", "p", "adjusted")
PLACES = re.compile(r"""(^|["'\s=(:])/(?:home|Users|root|tmp|mnt|work|private|var)/""")


def stored_name(system: str, task: str, depth: int, settings: Iterable[str] = ()) -> str:
    """``sparse_coding-lista-codes-7-atoms100``: the file of a comparison, without its suffix."""
    return "-".join((*system.split("/"), task, str(depth), *(each.replace("=", "") for each in settings)))


def file_digest(path: Path) -> str:
    """The beginning of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def setting_values(system: System, task: str, settings: Iterable[str]) -> dict[str, Any]:
    """``atoms=100`` as options of a task, of the kinds that its defaults have."""
    usual = system.options(task)
    pairs = (each.split("=", 1) for each in settings)
    return {key: type(usual[key])(value) for key, value in pairs}


def card_settings(system: System, task: str, card: Mapping[str, Any]) -> list[str]:
    """What of a weights card differs from the task's defaults, as ``atoms=100``, and changes more than training."""
    own, found, passed = card.get("task", {}), [], find_task(task).of_training
    for key, usual in system.options(task).items():
        if key in own and key not in passed and str(own[key]) != str(usual):
            found.append(f"{key}={own[key]:g}" if isinstance(own[key], float) else f"{key}={own[key]}")
    return found


def kept(content: Mapping[str, Any], date: str, digest: str) -> dict[str, Any]:
    """The part of a comparison that is kept.

    Args:
        content: of a ``comparison.json``.
        date: when it was measured, ``2026-11-28``.
        digest: of the weights file.

    Raises:
        ValueError: it holds a path of the machine that it was measured on.
    """
    words, settings, depth = shlex.split(content["command"]), [], None
    command = []
    values = iter(words)
    for word in values:
        if word == "--out":
            next(values)
            continue
        command.append(word)
        if word in ("--set", "--depth"):
            value = next(values)
            command.append(value)
            settings, depth = ([*settings, value], depth) if word == "--set" else (settings, int(value))
    rows = []
    for row in content["rows"]:
        seconds, paired = row.get("seconds"), row.get("paired")
        rows.append(
            {key: _short(row.get(key)) for key in ROW}
            | {"seconds": seconds and {key: _short(seconds[key]) for key in SECONDS}}
            | {"paired": paired and {key: _short(paired.get(key)) for key in PAIRED}}
        )
    found = {
        **{key: content[key] for key in TEXTS},
        "depth": depth,
        "settings": settings,
        "weights": digest,
        "date": date,
        "command": shlex.join(command),
        "environment": content["environment"],
        "rows": rows,
    }
    if place := PLACES.search(json.dumps(found)):
        raise ValueError(f"a path of this machine is in it: {place.group().strip()}...")
    return found


def _short(value: Any) -> Any:
    """Numbers with six digits."""
    if isinstance(value, Mapping):
        return {key: _short(each) for key, each in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def text(found: Mapping[str, Any]) -> str:
    """As it is kept: a line for each row."""
    head = json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1, ensure_ascii=False)
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in found["rows"])
    return head.removesuffix("\n}") + ',\n "rows": [\n' + rows + "\n ]\n}\n"


def stored(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """What is kept, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def _found(given: Iterable[Path]) -> Iterator[Path]:
    for path in given:
        yield from sorted(path.rglob("*.json")) if path.is_dir() else [path]


def main() -> int:
    from unrolling.systems.catalogue import find

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders with comparison.json, or files")
    parser.add_argument("--into", type=Path, default=FOLDER, help="docs/comparisons by default")
    parser.add_argument("--busy", action="store_true", help="the machine had other work, which the pages then say")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in _found(options.folders):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            system, date = find(content["system"]), time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
            found = kept(content, date, "")
            depth = found["depth"] or system.recipes[found["task"]].depth
            values = setting_values(system, found["task"], found["settings"])
            found |= {"depth": depth, "weights": file_digest(system.shipped(found["task"], depth, values))}
        except (KeyError, TypeError, ValueError) as error:
            print(f"{path}: not kept: {error}", file=sys.stderr)
            failed = 1
            continue
        own = options.into / (stored_name(system.name, found["task"], depth, found["settings"]) + ".json")
        before = json.loads(own.read_text(encoding="utf-8")) if own.exists() else {}
        if options.busy or (before.get("busy") and before["rows"] == found["rows"]):
            found["busy"] = True
        if before != found:
            own.write_text(text(found), encoding="utf-8")
            print(own.name)
    return failed


if __name__ == "__main__":
    sys.exit(main())
