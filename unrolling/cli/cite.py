"""``unroll cite``."""

from __future__ import annotations

from unrolling.cli.options import SystemName


def cite(system: SystemName) -> None:
    """BibTeX of a system, of the algorithm it is unrolled from, of its data, and of the survey."""
    from unrolling.systems.base import SURVEY
    from unrolling.systems.catalogue import find

    found = find(system)
    references = [*found.references, *(r for recipe in found.recipes.values() for r in recipe.data_references), SURVEY]
    print("\n\n".join(dict.fromkeys(reference.bibtex() for reference in references)))
