"""What an option of a task means, out of the docstring of the class that takes it."""

from __future__ import annotations

import inspect
import re

ENTRY = re.compile(r"^    ([\w, ]+): (.*)$")


def meanings(task: type) -> dict[str, str]:
    """Names of arguments -> what ``Args:`` says of them, of the class and of those that it is made from.

    Args:
        task: a class whose docstring has the sections that this package's docstrings have.
    """
    found: dict[str, str] = {}
    for part in reversed(task.__mro__):
        found |= _arguments(inspect.cleandoc(part.__doc__ or ""))
    return found


def _arguments(text: str) -> dict[str, str]:
    _, _, rest = text.partition("\nArgs:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break  # the next section
        if entry := ENTRY.match(line):
            names = [name.strip() for name in entry[1].split(",")]
            found |= dict.fromkeys(names, entry[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return {name: words.strip().rstrip(".").replace("``", "") for name, words in found.items()}
