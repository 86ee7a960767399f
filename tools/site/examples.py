"""The directive ``examples-using``: the gallery's scripts that use a name, below its documentation; nothing where there
are none. A page is read again when the scripts that it shows are others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sphinx_gallery.directives import MiniGallery


class ExamplesUsing(MiniGallery):
    """A small gallery with a line above it."""

    def run(self) -> list[Any]:
        env = self.state.document.settings.env
        names = self.arguments[0].split()
        shown = _shown(env.app, names)
        held = getattr(env, "examples_using", {})
        held.setdefault(env.docname, {}).update({" ".join(names): shown})
        env.examples_using = held
        if not shown:
            return []
        super().run()
        rubric = self.state.parent.__class__.__name__ and ".. rubric:: Examples"
        self.state_machine.insert_input(["", rubric, ""], "examples-using")
        return []


def _shown(app: Any, names: list[str]) -> list[str]:
    """The scripts that use one of the names."""
    place = Path(app.srcdir, app.config.sphinx_gallery_conf["backreferences_dir"], "backreferences_all.json")
    if not place.exists():
        return []
    known = json.loads(place.read_text(encoding="utf-8"))
    return sorted({entry[0] for name in names for entry in known.get(name, ())})


def outdated(app: Any, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """The pages whose examples are others than when they were read."""
    held = getattr(env, "examples_using", {})
    return [
        page
        for page, entries in held.items()
        if page in env.found_docs and any(_shown(app, names.split()) != was for names, was in entries.items())
    ]


def merge(app: Any, env: Any, docnames: Any, other: Any) -> None:
    """What a process that read some of the pages found."""
    held = getattr(env, "examples_using", {})
    held.update({page: shown for page, shown in getattr(other, "examples_using", {}).items() if page in docnames})
    env.examples_using = held


def purge(app: Any, env: Any, docname: str) -> None:
    getattr(env, "examples_using", {}).pop(docname, None)


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("examples-using", ExamplesUsing)
    app.connect("env-get-outdated", outdated)
    app.connect("env-merge-info", merge)
    app.connect("env-purge-doc", purge)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
