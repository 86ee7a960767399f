"""Published networks: each a module that says what it unrolls, what is learned and how it is trained."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.systems.base import (
        SURVEY,
        Application,
        Classical,
        Direct,
        Peer,
        Recipe,
        Reference,
        Rival,
        System,
        Tying,
        check_hash,
    )
    from unrolling.systems.catalogue import find, pretrained
    from unrolling.systems.index import build_index, foreign_systems, read_index, system_names
    from unrolling.systems.options import Option, separate

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".base": ("Application Classical Direct Peer Recipe Reference Rival SURVEY System Tying check_hash"),
        ".catalogue": ("find pretrained"),
        ".index": ("build_index foreign_systems read_index system_names"),
        ".options": ("Option separate"),
    },
)
# fmt: off
__all__ = [
    "Application", "Classical", "Direct", "Option", "Peer", "Recipe", "Reference", "Rival", "SURVEY",
    "System", "Tying", "build_index", "check_hash", "find", "foreign_systems", "pretrained", "read_index",
    "separate", "system_names",
]
# fmt: on
# End of what is written.
