"""The order of a section's examples: those that others build on first, then by name."""

from __future__ import annotations

FIRST = (
    "your_algorithm_is_a_network.py",
    "lista_on_photographs.py",
    "from_a_for_loop.py",
    "draw_a_network.py",
    "read_what_was_learned.py",
    "five_gradients.py",
    "three_numbers_beat_two_million.py",
)


class Order:
    """The key by which sphinx-gallery sorts the files of a folder."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> tuple[int, str]:
        return (FIRST.index(filename) if filename in FIRST else len(FIRST), filename)

    def __repr__(self) -> str:
        return "Order()"
