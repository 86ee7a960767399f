"""Access to HDF5 files: what lies in the file itself, no larger than it can be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from unrolling._extras import extra
from unrolling.files._apart import Apart
from unrolling.files.decoding import check_size


class File(Apart):
    """An HDF5 file that is read by a process of its own (``_apart_server``), as long as this object is there.

    Args:
        path: of the file.

    Attributes:
        holds: what lies in it by name, and in its groups: ``{"is": "array", "shape": ..., "kind": ...}``.
        attributes: the short ones of the file.

    Raises:
        ValueError: no HDF5 file, or one that is damaged.
    """

    def __init__(self, path: Path) -> None:
        with extra("an HDF5 file"):
            import h5py  # noqa: F401
        super().__init__(path, "hdf5")
        found = self.asked({"do": "describe"})[0]
        self.holds: dict[str, Any] = found["holds"]
        self.attributes: dict[str, str] = found["attributes"]

    def has(self, name: str) -> bool:
        """Whether an array of this name lies in the file itself."""
        return self._found(name).get("is") == "array"

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array that can be read.

        Raises:
            ValueError: none, a link, values in another file, or more of them than the file can hold.
        """
        found = self._found(name)
        if found.get("is") == "link":
            raise ValueError(f"{self.path}: {name} is a link, which is not followed; copy what it points to into it")
        if found.get("is") != "array":
            raise ValueError(f"{self.path}: {name} is no array")
        if found["elsewhere"]:
            raise ValueError(f"{self.path}: the values of {name} lie in other files, which are not read; copy them")
        if found["shape"] is None or 0 in found["shape"]:
            raise ValueError(f"{self.path}: {name} is empty")
        sides = " x ".join(map(str, found["shape"]))
        check_size(self.path, found["bytes"], found["held"], f"{sides} values of {name}")
        return tuple(found["shape"])

    def numbers(self, name: str, rows: Sequence[int] | None = None) -> np.ndarray:
        """An array, or some places along its first dimension; pairs of real and imaginary parts as complex numbers.

        Raises:
            ValueError: as for ``shape``; no numbers.
        """
        shape = self.shape(name)
        found = self._found(name)
        if found["kind"] not in "iufcb" and not self.is_complex(name):
            raise ValueError(f"{self.path}: {name} holds {found['type']}, and not numbers")
        each = found["bytes"] // shape[0] if shape else found["bytes"]
        need = found["bytes"] if rows is None else each * len(rows)
        (values,) = self.asked({"do": "read", "name": name, "rows": _plain(rows), "bytes": need})[1]
        names = values.dtype.names
        return values if names is None else values[names[0]] + 1j * values[names[1]]

    def is_complex(self, name: str) -> bool:
        """Whether an array holds complex numbers, also as pairs."""
        found = self._found(name)
        pairs = ({"real", "imag"}, {"r", "i"})
        return found.get("kind") == "c" or (found.get("names") is not None and set(found["names"]) in pairs)

    def field(self, name: str, field: str, rows: Sequence[int] | None = None) -> list[np.ndarray]:
        """A field of an array of records; of one with arrays of several lengths, the lengths and all numbers.

        Raises:
            ValueError: as for ``shape``; no such field.
        """
        self.shape(name)
        found = self._found(name)
        if field not in (found["names"] or ()):
            raise ValueError(f"{self.path}: {name} has no field {field}")
        request = {"do": "read", "name": name, "field": field, "rows": _plain(rows), "bytes": found["bytes"]}
        return self.asked(request)[1]

    def text(self, name: str) -> str:
        """A text.

        Raises:
            ValueError: as for ``shape``; no text, or too long a one.
        """
        self.shape(name)
        (content,) = self.asked({"do": "text", "name": name})[1]
        return content.tobytes().decode("utf-8", "replace")

    def _found(self, name: str) -> dict[str, Any]:
        first, _, rest = name.partition("/")
        found = self.holds.get(first, {})
        return found.get("holds", {}).get(rest, {}) if rest else found


def _plain(rows: Sequence[int] | None) -> list[int] | None:
    return None if rows is None else [int(row) for row in rows]


class Header:
    """What an ISMRMRD header says.

    Args:
        path: of the file.
        content: the XML.

    Raises:
        ValueError: no XML, or one that declares entities.
    """

    def __init__(self, path: Path, content: str) -> None:
        self.path = path
        if "<!" in re.sub(r"<!--.*?-->", "", content, flags=re.DOTALL):
            raise ValueError(f"{path}: its header declares a document type, which is not read")
        try:
            self.root = ElementTree.fromstring(content.encode())
        except (ElementTree.ParseError, RecursionError, ValueError) as error:
            raise ValueError(f"{path}: its header is no XML: {error}") from error
        for node in self.root.iter():
            node.tag = str(node.tag).rpartition("}")[2]

    def word(self, place: str) -> str:
        """The text at a place, ``encoding/trajectory``; empty where there is none."""
        return (self.root.findtext(place) or "").strip()

    def number(self, place: str) -> float | None:
        """A finite number at a place; None where there is none."""
        try:
            value = float(self.word(place))
        except ValueError:
            return None
        return value if np.isfinite(value) else None

    def sizes(self, space: str) -> tuple[int, int, int] | None:
        """Samples in x, y and z of the ``encodedSpace`` or the ``reconSpace``."""
        found = [self.number(f"encoding/{space}/matrixSize/{axis}") for axis in "xyz"]
        if any(each is None or not 1 <= each <= 1 << 16 for each in found):
            return None
        return tuple(int(each or 0) for each in found)  # pyright: ignore

    def field_of_view(self, space: str) -> tuple[float, float, float] | None:
        """mm in x, y and z."""
        found = [self.number(f"encoding/{space}/fieldOfView_mm/{axis}") for axis in "xyz"]
        if any(each is None or each <= 0 for each in found):
            return None
        return tuple(float(each or 0) for each in found)  # pyright: ignore


def geometry(header: Header, shape: tuple[int, int]) -> dict[str, Any]:
    """Spacing and size of the image of k-space (x, y) samples."""
    facts: dict[str, Any] = {}
    view, recon, again = header.field_of_view("encodedSpace"), header.sizes("reconSpace"), header.sizes("encodedSpace")
    if view is not None:
        thick = view[2] / (again[2] if again is not None else 1)
        facts["spacing"] = (thick, view[0] / shape[0], view[1] / shape[1])
    if recon is not None and (recon[0] < shape[0] or recon[1] < shape[1]):
        facts["image_size"] = (min(recon[0], shape[0]), min(recon[1], shape[1]))
    return facts
