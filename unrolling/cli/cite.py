"""``unroll cite``."""

from __future__ import annotations

from unrolling.cli.options import SystemName


def cite(system: SystemName) -> None:
    """BibTeX of a system, of the algorithm it is unrolled from, of its data, and of the survey."""
    from unrolling.systems.catalogue import find
    from unrolling.systems.papers import SURVEY, cited
    from unrolling.tasks.catalogue import find_task

    found = find(system)
    data = [paper for name in found.recipes for paper in find_task(name).references]
    papers = cited([*found.references, *data, SURVEY])
    print("\n\n".join(dict.fromkeys(paper.bibtex() for paper in papers)))
