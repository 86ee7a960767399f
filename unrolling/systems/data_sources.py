"""Where the data come from that shipped weights were trained on; the list is ``data_sources.toml``."""

from __future__ import annotations

import hashlib
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("data_sources.toml")
USUAL = "BSD-3-Clause"  # licence of weights, as of everything else


@dataclass(frozen=True)
class Source:
    """Data that weights were trained on.

    Attributes:
        name: in the list.
        title: what they are.
        address: where they are had.
        licence: under which they are.
        tasks: that always train on them.
        called: what the commands in cards call them (``--data``); empty where no command names them.
        attribution: whom to name.
        layout: what is to be given as ``--data``.
        files: SHA-256 of the files, by their place in a folder.
        arrays: SHA-256 of the images in a file, as float32.
        folders: SHA-256 of all files of a kind below a folder, by pattern: of the lines "digest  place", in order.
        weights: licence of weights that were trained on them.
    """

    name: str
    title: str
    address: str
    licence: str
    tasks: Sequence[str] = ()
    called: str = ""
    attribution: str = ""
    layout: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    weights: str = USUAL

    def __str__(self) -> str:
        lines = [self.title, f"  from      {self.address}", f"  licence   {self.licence}"]
        lines += [f"  by        {self.attribution}"] if self.attribution else []
        lines += [f"  --data    {self.layout}"] if self.layout else []
        lines += [f"  SHA-256   {digest}  {name}" for name, digest in self.files.items()]
        lines += [f"  SHA-256   {digest}  {name}, its images as float32" for name, digest in self.arrays.items()]
        lines += [f"  SHA-256   {digest}  of all {pattern}" for pattern, digest in self.folders.items()]
        lines += [f"  weights   {self.weights}"] if self.weights != USUAL else []
        return "\n".join(lines)

    def place(self, data: Path) -> Path:
        """What to give to the task: a folder, or the file where the data are one."""
        return data / next(iter(self.arrays)) if self.arrays and data.is_dir() else data

    @staticmethod
    def folder_digest(data: Path, pattern: str) -> str:
        """SHA-256 of the lines "digest  place" of all files that match."""
        content = hashlib.sha256()
        for path in sorted(data.glob(pattern)):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            content.update(f"{digest}  {path.relative_to(data).as_posix()}\n".encode())
        return content.hexdigest()

    def check(self, data: Path) -> None:
        """Refuses data that are not these.

        Raises:
            ValueError: a file is missing, or is another one.
        """
        from unrolling.tasks.medical.slices import read_slices

        if not data.exists():
            raise ValueError(f"{data} does not exist")
        for name, digest in self.files.items():
            path = data / name
            if not path.is_file():
                raise ValueError(f"{path} does not exist")
            if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise ValueError(f"{path} is another file: its SHA-256 is not the one that is listed")
        for pattern, digest in self.folders.items():
            if self.folder_digest(data, pattern) != digest:
                raise ValueError(
                    f"the files {pattern} of {data} are others, or more or fewer: their SHA-256 is not the one that is "
                    "listed"
                )
        for digest in self.arrays.values():
            path, content = self.place(data), hashlib.sha256()
            for image in read_slices(path):
                content.update(image.contiguous().numpy().tobytes())
            if content.hexdigest() != digest:
                raise ValueError(f"{path} holds other images: their SHA-256 is not the one that is listed")


@cache
def sources() -> tuple[Source, ...]:
    """The list."""
    return tuple(Source(**entry) for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["source"])


def named_data(card: Mapping[str, Any]) -> str | None:
    """What the command of a card gives as ``--data``."""
    words = shlex.split(card["command"])
    return words[words.index("--data") + 1] if "--data" in words else None


def sources_of(card: Mapping[str, Any]) -> tuple[Source, ...]:
    """What the weights with this card were trained on; data that were named come last.

    Raises:
        ValueError: data that the list does not have.
    """
    called, task = named_data(card), card["task"]["name"]
    named = [source for source in sources() if source.called and source.called == called]
    if called is not None and not named:
        raise ValueError(f"these weights were trained on data of somebody's own ({called}), which are not listed")
    return (*(source for source in sources() if task in source.tasks), *named)


def weights_licence(card: Mapping[str, Any]) -> str:
    """Of weights with this card: what their data ask for, or the usual one."""
    try:
        licences = {source.weights for source in sources_of(card)} - {USUAL}
    except ValueError:  # somebody's own data
        licences = set()
    return " AND ".join(sorted(licences)) or USUAL
