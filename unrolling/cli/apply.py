"""``unroll apply``."""

from __future__ import annotations

import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling._progress import Bar, duration
from unrolling.cli import errors, prepare
from unrolling.cli.apply_options import given, task_of
from unrolling.cli.inputs import Plan, Work, plan
from unrolling.cli.options import (
    Compile,
    Depth,
    Json,
    Overwrite,
    Quiet,
    Settings,
    SystemName,
    TaskName,
    Threads,
    patience,
)
from unrolling.systems.conditions import Condition, listed, outside, summary, with_ranges


def apply(
    context: typer.Context,
    system: SystemName,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="the file to work on; also several, folders and patterns"),
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
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            metavar="LEVEL",
            help="also write half-widths that hold for so large a part of the entries, 0.9, as OUTPUT-halfwidth.npy",
        ),
    ] = None,
    compiling: Compile = "auto",
    adapting: Annotated[
        str | None,
        typer.Option(
            "--adapt",
            metavar="LOSS",
            help="fit the network to each input first, by a loss without truth that the task supports (see `unroll "
            "train --without-truth`); takes a minute or more",
        ),
    ] = None,
    settings: Settings = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Apply a trained system to files of yours: ``unroll apply imaging/tnrd photo.jpg -o clean.png --sigma 25``.
    Systems have options of their own, which ``unroll apply SYSTEM --help`` lists.
    """
    from unrolling.files.whole import keeping_others
    from unrolling.systems.catalogue import find
    from unrolling.systems.options import separate

    found = find(system)
    task = task_of(context) if task is None else task
    typed = given(context)
    # Weights of one's own are of the first task where none is named.
    keys = (*typed, *(pair.partition("=")[0].replace("-", "_") for pair in settings or []))
    name = found.recipe(task)[0] if weights is not None else found.applied(task, keys)
    application = found.application(name)
    options, settings = separate(settings or [], application.options, found.options(name))
    options |= typed
    if other := options.keys() - {option.name for option in application.options}:
        raise ValueError(f"--{sorted(other)[0].replace('_', '-')} is no option of {found.name} for the task {name}")
    if interval is not None:
        from unrolling.cli import half_widths

        half_widths.check_level(interval, application)
    if interval is not None and adapting is not None:
        raise ValueError("--interval holds for the network as it was calibrated, and --adapt makes another one of it")
    more = (options, patience(compiling), interval, adapting)
    networks = _Networks(found, name, name, depth, weights, settings, threads, *more)
    with keeping_others(not overwrite):
        what = plan(found.name, application, files, output or [])
        for note in what.notes:
            print(f"unroll: {note}", file=sys.stderr)
        if what.several:
            _each(networks, what, quiet, as_json)
            return
        (work,) = what.works
        with Bar(work.source.name, quiet=quiet or as_json):
            result = networks.run(work)
    if as_json:
        prepare.print_json({"system": found.name, "task": name, **result.to_json()})
    else:
        result.tell(application)


@dataclass(frozen=True)
class _Result:
    """What became of a file."""

    work: Work
    facts: dict[str, Any]
    conditions: list[Condition]
    said: list[str]
    elapsed: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        facts = dict(self.facts)
        files = facts.pop("files", {})
        return {
            "input": str(self.work.source),
            "outputs": [name for path in self.work.outputs for name in files.get(str(path), [str(path)])],
            **facts,
            "conditions": listed(self.conditions),
            "warnings": self.said,
            "elapsed": round(self.elapsed, 3),
        }

    def warn(self) -> None:
        """What does not fit, on the error output."""
        for sentence in self.said:
            print(f"unroll: {sentence}", file=sys.stderr)
        for condition in self.conditions:
            if sentence := outside(condition):
                print(f"unroll: {self.work.source}: {sentence}", file=sys.stderr)

    def tell(self, application: Any) -> None:
        """A line for each file that was written."""
        self.warn()
        about = "; ".join(part for part in (summary(self.conditions), duration(self.elapsed)) if part)
        unchanged = self.facts.get("unchanged")
        for number, (path, what) in enumerate(zip(self.work.outputs, application.writes, strict=False)):
            if unchanged:
                what = "the input as it is" + ("" if unchanged is True else f": {unchanged}")
            what = self.facts.get("holds", {}).get(str(path), what)
            files = self.facts.get("files", {}).get(str(path), [])
            where = f"{files[0]} to {Path(files[-1]).name}" if files else path
            print(f"{where}: {what}" + ("" if number else f" ({about})"))
        for path, what in self.facts.get("more", {}).items():
            print(f"{path}: {what}")
        for key in ("adapted", "compiled"):
            if key in self.facts:
                print(self.facts[key], file=sys.stderr)


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
        interval: float | None = None,
        adapting: str | None = None,
    ) -> None:
        self.system, self.name, self.task = system, name, task
        self.application = system.application(name)
        self.depth, self.weights, self.settings, self.threads, self.options = depth, weights, settings, threads, options
        self.adapting = adapting  # the loss to adapt to each input by
        self.after = after  # seconds of plain work after which a network is compiled
        self.interval = interval
        self.built: dict[tuple[str, ...], Any] = {}
        self.promises: dict[int, Any] = {}  # by the network they are of

    def run(self, work: Work) -> _Result:
        """Work on a file, which is decoded once."""
        begin = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            content = self.application.read(work.source, self.options)
            if self.interval is not None:
                from unrolling.cli.half_widths import check_content

                check_content(content)
            job = self._job(content)
            adaptive = job.network.forward
            before, calls = adaptive.seconds, len(getattr(adaptive, "done", ()))
            facts = dict(self.application.run(job.network, job.task, content, work.outputs, **self.options))
            if facts.get("unchanged"):
                _give_back(work)
            if self.interval is not None and facts.get("unchanged"):
                warnings.warn("the input was given back as it is: it has no half-widths", stacklevel=2)
            elif self.interval is not None:
                facts["more"] = {**facts.get("more", {}), **self._half_widths(job, content, work)}
            if self.adapting is not None:
                facts["adapted"] = adaptive.sentence(calls)
            if adaptive.seconds > before:
                facts["compiled"] = (
                    f"the network was compiled, which took {adaptive.seconds - before:.0f} s; later "
                    "files need not wait for it"
                )
            elif adaptive.failure and before == 0:
                facts["compiled"] = f"the network could not be compiled and went on as it is: {adaptive.failure}"
        said = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        conditions = with_ranges(facts.pop("conditions", []), job.network)
        return _Result(work, facts, conditions, list(dict.fromkeys(said)), time.perf_counter() - begin)

    def _half_widths(self, job: Any, content: Any, work: Work) -> dict[str, str]:
        from unrolling.cli import half_widths

        assert self.interval is not None
        if id(job) not in self.promises:
            self.promises[id(job)] = half_widths.calibrated(job, self.interval)
        promise = self.promises[id(job)]
        return half_widths.write_half_widths(job, self.application, content, work.outputs, self.options, promise)

    def _job(self, content: Any) -> Any:
        from unrolling.core import deploy
        from unrolling.training.weights import load_weights

        chosen = list(self.settings)
        if self.application.settings is not None and self.weights is None:
            wanted = self.application.settings(self.system, self.name, content, self.options)
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
            card = load_weights(job.network, job.weights, system=self.system.name)
            job.network.eval()
            job.network.trained_for = job.recipe.ranges(job.task, card)
            # What an application calls is the forward pass for inference.
            if self.adapting is None:
                job.network.forward = deploy(job.network, after=self.after)
            else:
                from unrolling.cli.adapting import AdaptingForward

                job.network.forward = AdaptingForward(job.network, job.task, self.adapting)
            self.built[key] = job
        return self.built[key]


def _give_back(work: Work) -> None:
    """The input itself, to the byte, where its format is that of the output: writing again what was decoded could lose
    something.
    """
    from unrolling.files.whole import write_bytes

    source, (output, *_) = work.source, work.outputs
    if source.suffix.lower() == output.suffix.lower():
        write_bytes(output, source.read_bytes())


def _each(networks: _Networks, what: Plan, quiet: bool, as_json: bool) -> None:
    """All files; one that fails is reported, and the others are done.

    Raises:
        typer.Exit: of status 1, where one failed.
    """
    results: list[dict[str, Any]] = []
    failed = 0
    with Bar("", len(what.works), quiet=quiet or as_json) as bar:
        for work in what.works:
            bar.update(name=work.source.name, note=f"{len(results)} of {len(what.works)} done")
            result: _Result | None = None
            text = ""
            try:
                if work.refused is not None:
                    raise work.refused
                result = networks.run(work)
            except errors.ERRORS as error:
                text = errors.about(work.source, error)
            except Exception as error:  # a mistake of ours or of the system's: seen in full, and the others go on
                text = errors.about(work.source, error)
                traceback.print_exc()
            if result is None:
                failed += 1
                results.append({"input": str(work.source), "error": text})
                print(f"unroll: {text}", file=sys.stderr)
            else:
                results.append(result.to_json())
                if as_json:
                    result.warn()
                else:
                    result.tell(networks.application)
            bar.advance()
    if as_json:
        known = {"system": networks.system.name, "task": networks.name}
        prepare.print_json({**known, "files": results, "notes": what.notes})
    if failed:
        print(f"unroll: {failed} of {len(what.works)} files failed", file=sys.stderr)
        raise typer.Exit(1)
