"""Access to HDF5 files: what lies in the file itself, no larger than it can be, and ISMRMRD headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from unrolling._extras import extra
from unrolling.files.decoding import check_size

TEXT = 1 << 24  # bytes that a header may have


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, read only."""
    with extra("an HDF5 file"):
        import h5py
    with h5py.File(path, "r", locking=False) as file:
        yield file


def dataset(path: Path, group: Any, name: str, check: bool = True) -> Any:
    """A dataset that lies in the file itself.

    Raises:
        ValueError: there is none; a link, or values in another file; larger than it can be.
    """
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{path}: {name} is a link, which is not followed; copy what it points to into the file")
    found = group[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{path}: {name} is a group, and an array is needed")
    if found.is_virtual or found.external:
        raise ValueError(f"{path}: the values of {name} lie in other files, which are not read; copy them into it")
    if found.shape is None:
        raise ValueError(f"{path}: {name} is empty")
    if check:
        need = int(np.prod(found.shape, dtype=object)) * found.dtype.itemsize
        sides = " x ".join(map(str, found.shape))
        check_size(path, need, found.id.get_storage_size(), f"{sides} values of {name}")
    return found


def numbers(values: np.ndarray) -> np.ndarray:
    """Complex numbers that are stored as pairs, as numbers."""
    names = values.dtype.names
    if names is not None and len(names) == 2 and set(names) in ({"real", "imag"}, {"r", "i"}):
        return values[names[0]] + 1j * values[names[1]]
    return values


def text(path: Path, group: Any, name: str) -> str:
    """A text that is stored as a dataset.

    Raises:
        ValueError: no text, or too long a one.
    """
    held = dataset(path, group, name)
    if held.size != 1 or held.dtype.kind not in "OS" or held.dtype.itemsize > TEXT:
        raise ValueError(f"{path}: {name} is no text")
    content = np.asarray(held[()]).reshape(-1)[0]
    if not isinstance(content, (bytes, str)) or len(content) > TEXT:
        raise ValueError(f"{path}: {name} is no text of less than {TEXT >> 20} MiB")
    return content if isinstance(content, str) else content.decode("utf-8", "replace")


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
