"""What the theme and the gallery leave out: names of what opens a branch of the navigation, alternative texts of the
gallery's small pictures, and anchors for sources whose names are documented on pages of two packages.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx import addnodes

BRANCH = re.compile(r"<a [^>]*>(?P<text>(?:(?!</a>).)*)</a>\s*<details[^>]*>\s*<summary>", re.DOTALL)


def named_branches(html: str) -> str:
    """Navigation in which what opens a branch is called after it."""

    def changed(found: re.Match[str]) -> str:
        title = re.sub(r"<[^>]*>", "", found.group("text")).strip()
        return found.group().replace("<summary>", f'<summary aria-label="Pages below {title}">')

    return BRANCH.sub(changed, html)


def context(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """What templates call for the navigation."""
    made: Callable[..., Any] | None = context.get("generate_toctree_html")
    if made is not None:
        context["generate_toctree_html"] = lambda *args, **options: named_branches(str(made(*args, **options)))


def read(app: Any, doctree: nodes.document) -> None:
    """Complete a page that was read."""
    for element in list(doctree.findall(nodes.raw)):
        if "sg-tag-list" in element.astext():  # one per section, all with the same id, and nothing in them
            element.parent.remove(element)
    for image in doctree.findall(nodes.image):
        if "/thumb/" in image["uri"] and not image.get("alt"):
            image["alt"] = "The picture of this example"
    for content in doctree.findall(addnodes.desc_content):
        for name in content.findall(nodes.field_name):
            if name.astext() == "Parameters":  # which are what a network learns
                name.clear()
                name += nodes.Text("Arguments")
    held = {anchor for element in doctree.findall(addnodes.desc_signature) for anchor in element["ids"]}
    for signature in doctree.findall(addnodes.desc_signature):
        for anchor in _anchors(signature):
            if anchor not in held:  # overloads have one anchor
                held.add(anchor)
                signature["ids"].append(anchor)


def _anchors(signature: addnodes.desc_signature) -> list[str]:
    """Further anchors: sources lead back to names by one package, even where another one documents them."""
    module, name = signature.get("module"), signature.get("fullname")
    if not module or not name or not module.startswith("unrolling"):
        return []
    value = getattr(importlib.import_module(module), name.split(".")[0], None)
    defined = getattr(value, "__module__", "") or ""
    package = ".".join(defined.split(".")[:2])
    return [f"{other}.{name}" for other in {"unrolling", package} - {module} if other.startswith("unrolling")]


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", context, priority=900)
    app.connect("doctree-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
