"""Links that lead out of ``docs/`` to a file of the repository: on the site they lead to its page on the web."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

SOURCE = "https://github.com/unrolling/unrolling/blob/main/"
LINK = re.compile(r"\]\((\.\./[^)\s]+)\)")


def outward(text: str, page: str) -> str:
    """The text of ``docs/<page>`` with its links to files outside of ``docs/`` as addresses."""

    def changed(found: re.Match[str]) -> str:
        path, mark, anchor = found.group(1).partition("#")
        parts = list(PurePosixPath(page).parent.parts)
        for part in PurePosixPath(path).parts:
            if part != "..":
                parts.append(part)
            elif parts and parts[-1] != "..":
                parts.pop()
            else:
                parts.append("..")
        if parts[:1] != [".."]:
            return found.group()
        return f"]({SOURCE}{'/'.join(parts[1:])}{mark}{anchor})"

    return LINK.sub(changed, text)


def read(app: Any, docname: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".md":
        source[0] = outward(source[0], f"{docname}.md")


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
