"""Which files a command works on, and where it writes."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolling.cli import prepare

SHOWN = 3  # names of files that were left out


@dataclass(frozen=True)
class Work:
    """One input.

    Attributes:
        source: to read.
        outputs: to write.
        refused: why it cannot be done, where that is known before.
    """

    source: Path
    outputs: list[Path]
    refused: ValueError | None = None


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        works: in order.
        several: whether one that fails leaves the others to be done.
        notes: sentences on what was left out.
    """

    works: list[Work]
    several: bool
    notes: list[str]


def plan(system: str, application: Any, files: Sequence[Path], output: Sequence[Path]) -> Plan:
    """Inputs with their outputs, all of which can be read and written as far as can be told now.

    Args:
        system: its name, for messages.
        application: of the system.
        files: names, folders and patterns.
        output: names for all outputs, or one folder; next to the inputs where there is none.

    Raises:
        ValueError: an input that does not exist, too few or too many outputs, one that cannot be written or that two
            inputs share.
    """
    sources, notes = _sources(application, files)
    several = len(sources) > 1 or any(path.is_dir() and path not in sources for path in files)
    pairs = _named(system, application, sources, output, several)
    written: dict[Path, Path] = {}
    works = []
    for source, outputs in pairs:
        refused: ValueError | None = None
        for path in outputs:
            whole = path.resolve()
            if whole == source.resolve():
                raise ValueError(f"{source} is the input; the output needs another name")
            if whole in written:
                raise ValueError(
                    f"{path} is named twice; each output needs a name of its own"
                    if written[whole] == source
                    else f"{written[whole]} and {source} would both be written to {path}; give them different names, "
                    "or do them one by one"
                )
            written[whole] = source
            try:
                if application.check is not None:
                    application.check(path)
            except ValueError as error:
                if not several:
                    raise
                refused = error
        works.append(Work(source, outputs, refused))
    return Plan(works, several, notes)


def _sources(application: Any, files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files that are meant, and sentences on what was left out."""
    found: list[Path] = []
    notes: list[str] = []
    for path in files:
        if path.is_dir() and application.whole is not None and application.whole(path):
            found.append(path)
        elif path.is_dir():
            inside, left = _inside(path, application)
            if not inside:
                raise ValueError("; ".join([f"{path} holds no file of the kinds {_kinds(application)}", *left]))
            found += inside
            notes += [f"{path}: {sentence}" for sentence in left]
        elif path.is_file():
            found.append(path)
        elif path.exists():
            raise ValueError(f"{path} is no ordinary file; the input is {application.reads}")
        elif glob.has_magic(str(path)):
            matching = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
            if not matching:
                raise ValueError(f"no file matches {path}")
            found += matching
        else:
            raise ValueError(f"{path} does not exist; the input is {application.reads}")
    found = list(dict.fromkeys(found))
    if len(found) == 1:
        return found, notes
    own = [path for path in found if _is_output(path, application)]
    if own and len(own) < len(found):
        found = [path for path in found if path not in own]
        notes.append(f"left out as outputs of this system: {_some(own)}")
    return found, notes


def _inside(folder: Path, application: Any) -> tuple[list[Path], list[str]]:
    """The files of a folder that an application takes, and sentences on the others. Hidden ones are not spoken of."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    taken = [path for path in entries if path.is_file() and path.suffix.lower() in application.suffixes]
    folders = [path for path in entries if path.is_dir()]
    rest = [path for path in entries if path not in taken and path not in folders]
    left = []
    if rest:
        left.append(f"left out for their suffixes: {_some(rest)}; name them to have them done")
    if folders:
        left.append(f"folders inside it are left out: {_some(folders)}")
    return taken, left


def _is_output(path: Path, application: Any) -> bool:
    """Whether a name is one that this system gives to the output for a file that lies beside it."""
    for ending in (*application.default_suffixes, *application.further_suffixes):
        if path.name.endswith(ending) and len(path.name) > len(ending):
            stem = path.name.removesuffix(ending)
            if any(path.with_name(stem + suffix).is_file() for suffix in _cases(application.suffixes)):
                return True
    return False


def _cases(suffixes: Iterable[str]) -> list[str]:
    return [each for suffix in suffixes for each in (suffix, suffix.upper())]


def _named(
    system: str, application: Any, sources: Sequence[Path], output: Sequence[Path], several: bool
) -> list[tuple[Path, list[Path]]]:
    """Each input with the names of its outputs."""
    most, least = len(application.writes), application.least
    endings = application.default_suffixes[:least]
    if not output:
        return [(source, [source.with_name(source.stem + ending) for ending in endings]) for source in sources]
    if len(output) == 1 and (several or output[0].is_dir()):
        folder = output[0]
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; the outputs of {len(sources)} inputs need a folder")
        prepare.writable(folder)
        return [(source, _in_folder(folder, source, application)) for source in sources]
    each, rest = divmod(len(output), len(sources))
    if rest or not least <= each <= most:
        wanted = str(most) if least == most else f"{least} to {most}"
        files = "files" if most > 1 else "file"
        held = ", ".join(dict.fromkeys(application.writes))
        inputs = "" if len(sources) == 1 else f" for each of {len(sources)} inputs"
        raise ValueError(
            f"{system} writes {wanted} {files} ({held}){inputs}, and {len(output)} are named: INPUT -o OUTPUT..."
            + ("" if len(sources) == 1 else ", or one folder for all")
        )
    return [(source, list(output[k * each : (k + 1) * each])) for k, source in enumerate(sources)]


def _in_folder(folder: Path, source: Path, application: Any) -> list[Path]:
    """The outputs of an input in a folder: of its own name where there is one of its own kind in another folder."""
    endings = application.default_suffixes[: application.least]
    if len(endings) > 1 or folder.resolve() == source.parent.resolve():
        return [folder / (source.stem + ending) for ending in endings]
    if source.suffix.lower() in application.kept:
        return [folder / source.name]
    return [folder / (source.stem + Path(endings[0]).suffix)]


def _kinds(application: Any) -> str:
    return ", ".join(application.suffixes)


def _some(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:SHOWN])
    return names if len(paths) <= SHOWN else f"{names} and {len(paths) - SHOWN} more"
