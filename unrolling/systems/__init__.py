"""Published networks: each a module that says what it unrolls, what is learned and how it is trained."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.systems.base import Application, Recipe, System, Tying, check_hash
    from unrolling.systems.catalogue import find, pretrained
    from unrolling.systems.conditions import (
        Condition,
        Range,
        listed,
        outside,
        range_from_card,
        range_to_card,
        summary,
        trained_for,
        with_ranges,
    )
    from unrolling.systems.data_sources import Source, named_data, sources, sources_of, weights_licence
    from unrolling.systems.exports import (
        Pair,
        example_of,
        fingerprint,
        held,
        pairs,
        real_samples,
        recorded,
        weights_path,
    )
    from unrolling.systems.index import build_index, foreign_systems, read_index, stored_index, system_names
    from unrolling.systems.options import Option, separate
    from unrolling.systems.papers import Reference, cited
    from unrolling.systems.paradigms import Paradigm, paradigm_named
    from unrolling.systems.survey_table import Claim, Published, TableRow

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".base": ("Application Recipe System Tying check_hash"),
        ".catalogue": ("find pretrained"),
        ".conditions": ("Condition Range listed outside range_from_card range_to_card summary trained_for with_ranges"),
        ".data_sources": ("Source named_data sources sources_of weights_licence"),
        ".exports": ("Pair example_of fingerprint held pairs real_samples recorded weights_path"),
        ".index": ("build_index foreign_systems read_index stored_index system_names"),
        ".options": ("Option separate"),
        ".papers": ("Reference cited"),
        ".paradigms": ("Paradigm paradigm_named"),
        ".survey_table": ("Claim Published TableRow"),
    },
)
# fmt: off
__all__ = [
    "Application", "Claim", "Condition", "Option", "Pair", "Paradigm", "Published", "Range", "Recipe",
    "Reference", "Source", "System", "TableRow", "Tying", "build_index", "check_hash", "cited", "example_of",
    "find", "fingerprint", "foreign_systems", "held", "listed", "named_data", "outside", "pairs",
    "paradigm_named", "pretrained", "range_from_card", "range_to_card", "read_index", "real_samples",
    "recorded", "separate", "sources", "sources_of", "stored_index", "summary", "system_names",
    "trained_for", "weights_licence", "weights_path", "with_ranges",
]
# fmt: on
# End of what is written.
