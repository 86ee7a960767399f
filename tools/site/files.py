"""Generated files: written only where their text changed, so that a second build reads again only those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def keep(folder: Path, texts: Mapping[str, str], *, suffix: str) -> None:
    """Make the files of a folder that end in ``suffix`` those of ``texts``: names relative to the folder, and text."""
    for path in sorted(folder.rglob(f"*{suffix}")):
        if path.relative_to(folder).as_posix() not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
