"""What a file format has to say for itself."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from unrolling.export.trace import Traced

Run = Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]  # inputs by name -> outputs in order


class Format:
    """A file format for networks.

    Attributes:
        name: as in ``--format``.
        title: for people.
        suffix: of its files.
        packages: that it needs beside torch, for writing and for reading back.
        has_complex: whether complex numbers stay; otherwise they become pairs of real ones.
        has_guards: whether a file itself refuses sizes that its program was not traced for.
        opset: of ONNX.
    """

    name: str
    title: str
    suffix: str
    packages: tuple[str, ...] = ()
    has_complex: bool = False
    has_guards: bool = False
    opset: int | None = None

    def check(self) -> None:
        """Finds out before the work whether this machine can write the format.

        Raises:
            ImportError: a package is missing; the message says what to install.
        """
        missing = [package for package in self.packages if not _installed(package)]
        if missing:
            raise ImportError(
                f"format {self.name} needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}: "
                "pip install 'unrolling[export]'"
            )

    def write(self, traced: Traced, path: Path, card: str) -> None:
        """The program and its card (JSON) as a file."""
        raise NotImplementedError

    def open(self, path: Path) -> tuple[Run, str | None]:
        """The network in a file, as a function of named tensors, and its card; None when it has none.

        Raises:
            ValueError: a file that is none of this format, or damaged.
        """
        raise NotImplementedError


def listed(answer: Tensor | Iterable[Tensor]) -> tuple[Tensor, ...]:
    """What a program returns, one tensor or several, as a tuple."""
    return (answer,) if isinstance(answer, Tensor) else tuple(answer)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a specification
        return False


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Without gradients, warnings, and what some loggers have to say: torch's exporters remark on much that a user
    cannot change.
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, loggers)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
