"""``unroll apply``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling.cli import prepare
from unrolling.cli.apply_options import given
from unrolling.cli.options import Compile, Depth, Json, Settings, SystemName, TaskName, Threads, patience


def apply(
    context: typer.Context,
    system: SystemName,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="the file to work on; of pictures also several, folders and patterns"),
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUTPUT...",
            help="where to write; several names after one -o, or one -o for each; a folder for several inputs",
        ),
    ] = None,
    task: TaskName = None,
    depth: Depth = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="use the weights of this file instead of the shipped ones")
    ] = None,
    compiling: Compile = "auto",
    settings: Settings = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Apply a trained system to files of yours: ``unroll apply imaging/tnrd photo.jpg -o clean.png --sigma 25``.
    Systems have options of their own, which ``unroll apply SYSTEM --help`` lists.
    """
    from unrolling.systems.catalogue import find
    from unrolling.systems.options import separate

    found = find(system)
    name, _ = found.recipe(task)
    application = found.application(name)
    options, settings = separate(settings or [], application.options, found.options(name))
    options |= given(context)
    networks = _Networks(found, name, task, depth, weights, settings, threads, options, patience(compiling))
    pairs, several = _pairs(found.name, application, files, output or [])
    if several:
        _each(networks, pairs, as_json)
        return
    source, outputs = pairs[0]
    facts, said = networks.run(source, outputs)
    if as_json:
        prepare.print_json(
            {
                "system": found.name,
                "task": name,
                "input": str(source),
                "outputs": list(map(str, outputs)),
                **facts,
                "warnings": said,
            }
        )
        return
    for sentence in said:
        print(f"unroll: {sentence}", file=sys.stderr)
    for path, what in zip(outputs, application.writes, strict=False):
        print(f"{path}: {what}")
    for path, what in facts.get("more", {}).items():
        print(f"{path}: {what}")
    if "compiled" in facts:
        print(facts["compiled"], file=sys.stderr)


class _Networks:
    """The networks that files are worked on with, each built once."""

    def __init__(
        self,
        system: Any,
        name: str,
        task: str | None,
        depth: int | None,
        weights: Path | None,
        settings: list[str],
        threads: int | None,
        options: dict[str, Any],
        after: float,
    ) -> None:
        self.system, self.name, self.task = system, name, task
        self.application = system.application(name)
        self.depth, self.weights, self.settings, self.threads, self.options = depth, weights, settings, threads, options
        self.after = after  # seconds of plain work after which a network is compiled
        self.built: dict[tuple[str, ...], Any] = {}

    def run(self, source: Path, outputs: list[Path]) -> tuple[dict[str, Any], list[str]]:
        """What became of a file, and what is to be said about it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            job = self._job(source)
            adaptive = job.network.forward
            before = adaptive.seconds
            facts = dict(self.application.run(job.network, job.task, source, outputs, **self.options))
            if adaptive.seconds > before:
                facts["compiled"] = (
                    f"the network was compiled, which took {adaptive.seconds - before:.0f} s; later "
                    "files need not wait for it"
                )
            elif adaptive.failure and before == 0:
                facts["compiled"] = f"the network could not be compiled and went on as it is: {adaptive.failure}"
        return facts, [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]

    def _job(self, source: Path) -> Any:
        from unrolling.core import deploy
        from unrolling.training.weights import load_weights

        chosen = list(self.settings)
        if self.application.settings is not None and self.weights is None:
            wanted = self.application.settings(self.system, self.name, source, self.options)
            chosen = [f"{key}={value}" for key, value in wanted.items()] + chosen
        key = tuple(chosen)
        if key not in self.built:
            shipped = self.weights is None
            job = prepare.prepare(
                self.system.name,
                self.task,
                None,
                self.depth,
                0,
                chosen,
                self.threads,
                None,
                "",
                pretrained=shipped,
                weights=self.weights,
                write=False,
            )
            assert job.weights is not None
            load_weights(job.network, job.weights, system=self.system.name)
            job.network.eval()
            # What an application calls is the forward pass for inference.
            job.network.forward = deploy(job.network, after=self.after)
            self.built[key] = job
        return self.built[key]


def _pairs(
    system: str, application: Any, files: list[Path], output: list[Path]
) -> tuple[list[tuple[Path, list[Path]]], bool]:
    """Inputs with their outputs, all of which can be read and written as far as can be told now; and whether these are
    several.

    Raises:
        ValueError: too few or too many outputs, an input that does not exist, an output that cannot be written.
    """
    most, least = len(application.writes), application.least
    if application.suffixes:
        return _many(application, files, output)
    # What follows the one value that -o takes arrives among the arguments.
    source, outputs = files[0], [*output, *files[1:]]
    if not least <= len(outputs) <= most:
        wanted = str(most) if least == most else f"{least} to {most}"
        held = ", ".join(application.writes)
        raise ValueError(
            f"{system} writes {wanted} file{'s' if most > 1 else ''} ({held}), and {len(outputs)} are "
            "named: INPUT -o OUTPUT..."
        )
    if not source.is_file():
        raise ValueError(f"{source} does not exist; the input is {application.reads}")
    return [(source, outputs)], False


def _many(application: Any, files: list[Path], output: list[Path]) -> tuple[list[tuple[Path, list[Path]]], bool]:
    from unrolling.files.pictures import files_of

    if len(output) > 1:
        raise ValueError(
            f"there is one output, a file or for several inputs a folder; got {', '.join(map(str, output))}"
        )
    missing = [path for path in files if not path.exists() and not any(sign in str(path) for sign in "*?[")]
    if missing:
        raise ValueError(f"{missing[0]} does not exist; the input is {application.reads}")
    inputs = files_of(files, application.suffixes)
    several = len(inputs) > 1 or any(path.is_dir() for path in files)
    if not output:
        if not application.default_suffix:
            raise ValueError("no output is named; say where to write, -o OUTPUT")
        pairs = [(source, [source.with_name(source.stem + application.default_suffix)]) for source in inputs]
    elif several or output[0].is_dir():
        folder = output[0]
        if folder.is_file():
            raise ValueError(f"{folder} is a file; the outputs of {len(inputs)} inputs need a folder")
        prepare.writable(folder)
        ending = Path(application.default_suffix).suffix
        pairs = [
            (
                source,
                [
                    folder
                    / (
                        source.name
                        if source.suffix.lower() in application.suffixes and not _other(source, ending)
                        else source.stem + ending
                    )
                ],
            )
            for source in inputs
        ]
    else:
        pairs = [(inputs[0], [output[0]])]
    written: dict[Path, Path] = {}
    for source, (path,) in pairs:
        if path.resolve() == source.resolve():
            raise ValueError(f"{source} is the input; the output needs another name")
        if path.resolve() in written:
            raise ValueError(
                f"{written[path.resolve()]} and {source} would both be written to {path}; give them "
                "different names, or do them one by one"
            )
        written[path.resolve()] = source
        if application.check is not None:
            application.check(path)
    return pairs, several


def _other(source: Path, ending: str) -> bool:
    """Whether the output is of another kind than the input: numbers that become a picture."""
    return source.suffix.lower() in (".npy", ".npz") and ending not in (".npy", ".npz")


def _each(networks: _Networks, pairs: list[tuple[Path, list[Path]]], as_json: bool) -> None:
    """All files; one that fails is reported, and the others are done.

    Raises:
        typer.Exit: of status 1, where one failed.
    """
    from rich.console import Console
    from rich.progress import Progress

    results: list[dict[str, Any]] = []
    failed = 0
    console = Console(stderr=True)
    with Progress(console=console, disable=as_json or not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("", total=len(pairs))
        for source, outputs in pairs:
            progress.update(bar, description=source.name)
            try:
                facts, said = networks.run(source, outputs)
            except (ValueError, TypeError, OSError, ArithmeticError, RuntimeError) as error:
                failed += 1
                results.append({"input": str(source), "error": str(error)})
                print(
                    f"unroll: {error}" if str(source) in str(error) else f"unroll: {source}: {error}", file=sys.stderr
                )
            else:
                results.append({"input": str(source), "outputs": list(map(str, outputs)), **facts, "warnings": said})
                for sentence in said:
                    print(f"unroll: {sentence}", file=sys.stderr)
                if not as_json:
                    print(outputs[0])
            progress.advance(bar)
    if as_json:
        prepare.print_json({"system": networks.system.name, "task": networks.name, "files": results})
    if failed:
        print(f"unroll: {failed} of {len(pairs)} files failed", file=sys.stderr)
        raise typer.Exit(1)
