"""Whose data they are."""

from __future__ import annotations

from pathlib import Path


def attribution(data: object) -> str:
    """What ``ATTRIBUTION.txt`` in a folder of data, or beside a file of them, says of their authors and licences; empty
    where there is none.
    """
    if not isinstance(data, str | Path):
        return ""
    root = Path(data)
    note = (root if root.is_dir() else root.parent) / "ATTRIBUTION.txt"
    return note.read_text(encoding="utf-8").strip() if note.is_file() else ""
