"""A system is data: which iteration it unrolls, what is learned, how it is trained, where it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from unrolling.core import GradientRule, Iteration, Unrolled, unroll
from unrolling.systems.conditions import Trained, range_from_card
from unrolling.systems.options import Option
from unrolling.systems.papers import Reference, cited
from unrolling.systems.paradigms import PARADIGMS
from unrolling.tasks.base import Task
from unrolling.tasks.baselines import Baseline, ThreeRuns
from unrolling.tasks.catalogue import find_task
from unrolling.training.stages import Schedule
from unrolling.training.weights import load_weights, read_weights

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Application:
    """How a file becomes data and an estimate becomes files, for ``unroll apply``.

    Attributes:
        reads: what the input file is, for people.
        writes: what each output file holds, in their order.
        read: (path, options) -> content: the file decoded, once; what the other functions are given.
        run: (network, task, content, outputs) -> what became of it, plain values by name; ``options`` that were given
            come as keyword arguments. Five names are understood: ``conditions``, a list of
            ``unrolling.systems.conditions.Condition``, what was found out about the input; ``unchanged``, the reason
            why the input was given back; ``more``, what other files hold that were written, by their paths; ``files``,
            by the path of an output the files that were written in its place; ``holds``, by the path of an output what
            it holds in the place of what ``writes`` says.
        suffixes: of the files that are taken from folders.
        default_suffixes: of the outputs where none are named, one for each.
        least: how many of the outputs must be named; the rest may be left out.
        further_suffixes: of what else it may write beside them.
        kept: suffixes that an output in another folder has in common with its input, and so its name; others get that
            of ``default_suffixes``.
        options: further options of the command, which ``read``, ``settings`` and ``run`` take.
        settings: (system, task's name, content, options) -> task options of the weights to take, where that depends on
            the content or on what was asked for.
        check: (output) -> None; refuses an output before any work.
        whole: (folder) -> whether it is one input, such as a DICOM series, and not a folder of inputs.
    """

    reads: str
    writes: tuple[str, ...]
    read: Callable[[Path, Mapping[str, Any]], Any]
    run: Callable[..., Mapping[str, Any]]
    suffixes: tuple[str, ...]
    default_suffixes: tuple[str, ...]
    least: int = 1
    further_suffixes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    settings: Callable[[System, str, Any, Mapping[str, Any]], Mapping[str, Any]] | None = None
    check: Callable[[Path], None] | None = None
    whole: Callable[[Path], bool] | None = None

    def __post_init__(self) -> None:
        if len(self.default_suffixes) != len(self.writes) or not 1 <= self.least <= len(self.writes):
            raise ValueError(
                f"each output has a default suffix, and at least one is written; got {self.writes}, "
                f"{self.default_suffixes}, least {self.least}"
            )


class Tying(NamedTuple):
    """Which parameters of an iteration are learned."""

    tied: tuple[str, ...] = ()  # one value for all layers
    untied: tuple[str, ...] = ()  # one value per layer


@dataclass(frozen=True)
class Recipe:
    """How a system works on one task.

    Attributes:
        parent: the iteration with its classical values, from the task.
        tying: what is learned; or from the task, where that depends on it.
        depth: layers by default.
        schedule: how a network of a given depth is trained.
        options: of the task, where the system takes others than the task's own defaults.
        build: the untrained network from the task and a depth, where it is not simply ``unroll(parent)``.
        range: what weights of the schedule are good for, by the names of conditions; or from the task, where that
            depends on it. It goes into their card, and speaks for cards that hold none.
    """

    parent: Callable[[Any], Iteration]
    tying: Tying | Callable[[Any], Tying]
    depth: int
    schedule: Callable[[int], Schedule]
    options: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[[Any, int], nn.Module] | None = None
    range: Mapping[str, Trained] | Callable[[Any], Mapping[str, Trained]] = field(default_factory=dict)

    def ranges(self, task: Any, card: Mapping[str, Any] | None = None) -> dict[str, Trained]:
        """What weights are good for, by their card, or by the recipe for a card that does not say it."""
        held = {**(self.range(task) if callable(self.range) else self.range)}
        return held | range_from_card((card or {}).get("range") or {})

    def tied(self, task: Any) -> Tying:
        """What is learned on a task."""
        return self.tying if isinstance(self.tying, Tying) else self.tying(task)


@dataclass(frozen=True)
class System:
    """A published network.

    Attributes:
        name: path in the catalogue, ``sparse_coding/lista``.
        title: as the field calls it.
        summary: one sentence.
        equations: the layer, in plain text.
        references: the network's paper first, then its parent's: keys of ``papers.bib``, or a ``Reference``.
        recipes: by the task's name; the first is the default.
        paradigm: which part of the algorithm is learned, a key of ``PARADIGMS``; empty where nobody has said.
        variants: systems that are this one with other parts, reachable by their own names.
        baselines: by task, from the system and the task, what it alone is compared with, besides what the task names.
        three_runs: by task, how its step is also run to a fixed point in a comparison, by ``solve`` and as
            ``Equilibrium``, where all of its layers are the same.
        apply: how the network is applied to files, by task, where it can be.
        applied_first: the task whose weights files are worked on with where no task is named, if it is not the first
            one and weights for it are shipped.
        not_exported: by task, the formats of ``unroll export`` that it has no form in, each with the reason.
        home: folder beside whose ``weights`` the system lies; the catalogue sets it.

    Raises:
        ValueError: a paper that the list does not have; an unknown paradigm.
    """

    name: str
    title: str
    summary: str
    equations: str
    references: Sequence[str | Reference]
    recipes: Mapping[str, Recipe]
    paradigm: str = field(default="", kw_only=True)
    variants: tuple[System, ...] = field(default=(), kw_only=True)
    baselines: Mapping[str, Callable[[System, Any], Sequence[Baseline]]] = field(default_factory=dict, kw_only=True)
    three_runs: Mapping[str, ThreeRuns] = field(default_factory=dict, kw_only=True)
    apply: Mapping[str, Application] = field(default_factory=dict, kw_only=True)
    applied_first: str = field(default="", kw_only=True)
    not_exported: Mapping[str, Mapping[str, str]] = field(default_factory=dict, kw_only=True)
    home: Path = field(default=Path(), kw_only=True, compare=False)

    def __post_init__(self) -> None:
        cited(self.references)
        if self.paradigm and self.paradigm not in PARADIGMS:
            raise ValueError(f"{self.name} has the paradigm {self.paradigm!r}; there are {', '.join(PARADIGMS)}")

    @property
    def papers(self) -> tuple[Reference, ...]:
        """The publications behind ``references``."""
        return cited(self.references)

    def recipe(self, task: str | None) -> tuple[str, Recipe]:
        """The recipe of a task by name; of the first one for None.

        Raises:
            ValueError: an unknown task.
        """
        name = next(iter(self.recipes)) if task is None else task
        if name not in self.recipes:
            raise ValueError(f"{self.name} has no task {name!r}; it has {', '.join(self.recipes)}")
        return name, self.recipes[name]

    def options(self, task: str) -> dict[str, Any]:
        """The options of a task with their defaults, for the command line."""
        return {**find_task(task).options, **self.recipes[task].options}

    def application(self, task: str) -> Application:
        """How the network is applied to files for a task.

        Raises:
            ValueError: it cannot be.
        """
        if task not in self.apply:
            raise ValueError(
                f"{self.name} cannot be applied to files for the task {task}"
                + (f"; it can for {', '.join(self.apply)} (--task)" if self.apply else "")
            )
        return self.apply[task]

    def applied(self, task: str | None, keys: Iterable[str] = ()) -> str:
        """The task that ``unroll apply`` takes: the one that is named; else ``applied_first``, where weights for it are
        shipped and it has all options that were given; else the first.

        Args:
            task: its name, or None.
            keys: of the options that were given, the task's and the application's.

        Raises:
            ValueError: an unknown task.
        """
        name, _ = self.recipe(task)
        first = self.applied_first
        if task is not None or not first or not self.weights_files(first):
            return name
        return first if {*keys} <= {*self.options(first), *(o.name for o in self.application(first).options)} else name

    def task(self, name: str, **options: Any) -> Task:
        """A task by name, its options those of the recipe unless given."""
        return find_task(name)(**{**self.recipes[name].options, **options})

    def network(
        self, recipe: Recipe, task: Task, depth: int | None = None, gradient: GradientRule | None = None
    ) -> Unrolled:
        """The untrained network, equal to its parent."""
        depth = recipe.depth if depth is None else depth
        if recipe.build is not None:
            return recipe.build(task, depth)  # pyright: ignore[reportReturnType]
        tying = recipe.tied(task)
        return unroll(recipe.parent(task), depth, tied=tying.tied, untied=tying.untied, gradient=gradient)

    def weights_files(self, task: str | None = None) -> list[Path]:
        """The weights that are shipped, of all tasks or of one."""
        stem = self.name.rsplit("/", 1)[-1] + ("" if task is None else f"-{task}")
        return sorted((self.home / "weights").glob(f"{stem}-*.safetensors"))

    def weights_path(self, task: str, depth: int, options: Mapping[str, Any]) -> Path:
        """Where weights for a task, a depth and options that differ from the defaults lie, if they are shipped."""
        tag = find_task(task).tag({**self.options(task), **options})
        return self.home / "weights" / f"{self.name.rsplit('/', 1)[-1]}-{task}{tag and '-' + tag}-{depth}.safetensors"

    def shipped(self, task: str, depth: int, options: Mapping[str, Any]) -> Path:
        """The shipped weights for a task, a depth and options that differ from the defaults: those that were trained
        for these, else those of the defaults where they serve for these too (``Task.serves``).

        Raises:
            ValueError: none are shipped for these; the message lists those that are.
        """
        path, usual = self.weights_path(task, depth, options), self.options(task)
        if not path.is_file() and find_task(task).serves(usual, {**usual, **options}):
            path = self.weights_path(task, depth, {})
        if not path.is_file():
            settings = "".join(f", {key} {value}" for key, value in options.items() if value != usual[key])
            raise ValueError(
                f"no weights are shipped for {self.name}, task {task}, {depth} layers{settings}; shipped "
                f"are {', '.join(file.stem for file in self.weights_files()) or 'none'}"
            )
        check_hash(path)
        return path

    def pretrained(self, task: str | None = None, depth: int | None = None, **options: Any) -> Unrolled:
        """The network with its shipped weights, ready to be applied to data.

        Args:
            task: the first one by default.
            depth: layers; the recipe's by default.
            options: of the task, where they differ from the defaults; weights are shipped for some settings only.

        Raises:
            ValueError: none are shipped for these; a file that is not the one that was shipped.
        """
        recipe, held, path = self._shipped_task(task, depth, options)
        card = read_weights(path)[2]
        network = self.network(recipe, held, card["depth"])
        load_weights(network, path, system=self.name)
        network.trained_for = recipe.ranges(held, card)  # pyright: ignore
        return network.eval()

    def trained_on(self, task: str | None = None, depth: int | None = None, **options: Any) -> Task:
        """The task that shipped weights were trained on, with the tensors that they hold (a dictionary, projections):
        ``trained_on().example()`` is data that ``pretrained()`` takes. Takes and raises what ``pretrained`` does.
        """
        return self._shipped_task(task, depth, options)[1]

    def _shipped_task(
        self, task: str | None, depth: int | None, options: Mapping[str, Any]
    ) -> tuple[Recipe, Task, Path]:
        name, recipe = self.recipe(task)
        known = self.options(name)
        if unknown := options.keys() - known.keys():
            raise ValueError(
                f"{self.name} on {name} has no option {sorted(unknown)[0]!r}; it has {', '.join(known) or 'none'}"
            )
        path = self.shipped(name, recipe.depth if depth is None else depth, options)
        _, fixed, card = read_weights(path)
        return recipe, self.task(name, seed=card.get("seed", 0), fixed=fixed, **options), path


def check_hash(path: Path) -> None:
    """Refuses a weights file that is not the one whose SHA-256 its folder's list records; a folder without a list is
    somebody's own.

    Raises:
        ValueError: another content, or a file that the list does not name.
    """
    sums = path.parent / SUMS
    if not sums.is_file():
        return
    known = {name: digest for digest, name in (line.split() for line in sums.read_text().splitlines() if line.strip())}
    if path.name not in known:
        raise ValueError(f"{path} is not among the weights that are shipped ({sums.name} does not name it)")
    if hashlib.sha256(path.read_bytes()).hexdigest() != known[path.name]:
        raise ValueError(
            f"{path} is damaged or was changed: its SHA-256 is not the one in {sums.name}; install unrolling again"
        )
