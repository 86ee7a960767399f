"""A system is data: which iteration it unrolls, what is learned, how it is trained and what it is compared with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from unrolling.core import GradientRule, Iteration, Unrolled, unroll
from unrolling.systems.options import Option
from unrolling.tasks.base import Task
from unrolling.training.stages import Schedule
from unrolling.training.weights import load_weights, read_weights


@dataclass(frozen=True)
class Reference:
    """A publication."""

    authors: str
    title: str
    venue: str
    year: int
    doi: str = ""

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}). {self.title}. {self.venue}." + (f" doi:{self.doi}" if self.doi else "")

    def bibtex(self) -> str:
        """A BibTeX entry; names that end in ``et al.`` keep it as ``others``."""
        people = self.authors.replace(" et al.", ", and others").split(", and ")
        names = [name for part in people for name in _names(part)]
        key = (
            re.sub(r"[^A-Za-z]", "", names[0].split(",")[0]).lower()
            + str(self.year)
            + re.sub(r"[^A-Za-z]", "", self.title.split()[0]).lower()
        )
        lines = [
            f"  author = {{{' and '.join(names)}}}",
            f"  title = {{{{{self.title}}}}}",
            f"  howpublished = {{{self.venue}}}",
            f"  year = {{{self.year}}}",
        ]
        if self.doi:
            lines.append(f"  doi = {{{self.doi}}}")
        return "@misc{" + key + ",\n" + ",\n".join(lines) + "\n}"


def _names(text: str) -> list[str]:
    """``Gregor, K. and LeCun, Y.``, ``Chen, X., Liu, J.`` -> one ``Surname, initials`` each."""
    found: list[str] = []
    for part in text.split(" and "):
        pieces = [piece.strip() for piece in part.split(",") if piece.strip()]
        for piece in pieces:
            if found and found[-1].count(",") == 0 and re.fullmatch(r"(?:[A-Z]\S*\.[- ]?)+", piece):
                found[-1] += f", {piece}"
            else:
                found.append(piece)
    return found


@dataclass(frozen=True)
class Classical:
    """A classical method in a comparison; its weight is chosen on validation data.

    Attributes:
        name: for the table.
        make: the iteration for a weight, or for a tuple of numbers that begins with one.
        weights: candidates, or the one weight that the task prescribes.
        iterations: the most it is run for; enough to converge.
        tuning: iterations on validation data for each weight; as many by default.
        setting: what ``weights`` are, for the table; empty where the method has nothing to choose.
    """

    name: str
    make: Callable[[Any], Iteration]
    weights: tuple[float | tuple[float, ...], ...]
    iterations: int
    tuning: int | None = None
    setting: str = "weight"


@dataclass(frozen=True)
class Peer:
    """A solver of scikit-learn in a comparison: arguments of ``scikit_learn``."""

    algorithm: str
    label: str
    options: Mapping[str, Any]
    limit: int


@dataclass(frozen=True)
class Direct:
    """A method of a comparison that does not go step by step.

    Attributes:
        name: for the table.
        run: data -> estimates.
        note: what a reader should know.
        limit: largest number of samples of a batch it is given, for methods that take long.
    """

    name: str
    run: Callable[[Any], Tensor]
    note: str = ""
    limit: int | None = None


@dataclass(frozen=True)
class Rival:
    """A generic network in a comparison, trained on the same task.

    Attributes:
        name: for the table.
        make: the untrained network, from data to estimates.
        steps: optimizer steps, chosen so that it trains at least as long as the system.
        batch: samples per step.
        rates: learning rates, of which one is chosen on validation data.
    """

    name: str
    make: Callable[[], nn.Module]
    steps: int
    batch: int
    rates: tuple[float, ...] = (1e-3,)


@dataclass(frozen=True)
class Application:
    """How a file becomes data and an estimate becomes files, for ``unroll apply``.

    Attributes:
        reads: what the input file is, for people.
        writes: what each output file holds, in their order.
        run: (network, task, input, outputs) -> what became of it, plain values by name; ``options`` that were
            given come as keyword arguments.
        least: how many of the outputs must be named; the rest may be left out.
        options: further options of the command, which ``run`` takes as keyword arguments.
        settings: (system, task's name, input, options) -> task options of the weights to take, where that depends on
            the file or on what was asked for.
        suffixes: of files that it works on one by one when it is given several, folders or patterns; empty where it
            takes one file only.
        default_suffix: of the output where none is named; empty where one must be.
        check: (output) -> None; refuses an output before any work.
    """

    reads: str
    writes: tuple[str, ...]
    run: Callable[..., Mapping[str, Any]]
    least: int = 1
    options: tuple[Option, ...] = ()
    settings: Callable[[System, str, Path, Mapping[str, Any]], Mapping[str, Any]] | None = None
    suffixes: tuple[str, ...] = ()
    default_suffix: str = ""
    check: Callable[[Path], None] | None = None


class Tying(NamedTuple):
    """Which parameters of an iteration are learned."""

    tied: tuple[str, ...] = ()  # one value for all layers
    untied: tuple[str, ...] = ()  # one value per layer


@dataclass(frozen=True)
class Recipe:
    """How a system works on one task.

    Attributes:
        task: makes the task from ``seed``, ``data`` (a path or None), ``fixed`` (the fixed tensors of a weights file or
            None) and further options.
        parent: the iteration with its classical values.
        depth: layers by default.
        tying: what is learned.
        schedule: how a network of a given depth is trained.
        classical: the parent among other classical methods, to compare with.
        direct: methods without iterations to compare with.
        rivals: generic networks of the field, from the task and the number of parameters that the system learns.
        parent_name: which of them is the parent.
        generic_steps: optimizer steps of the generic network, chosen so that it trains at least as long as this one.
        generic_batch: its samples per step.
        peers: solvers of other libraries.
        decode: codes to the task's rows, for peers that give codes.
        dictionary: of the peers, (m, n).
        atoms: the learned dictionary as pictures, of a network or of the parent.
        threads: of the processor when the products are so small that more of them get in each other's way; None for all
            cores.
        notes: what a reader of the comparison should know.
        vectors: whether a linear estimate and an MLP can take the task's data (``Task.rows``), so that they belong in
            the comparison.
        affine: of these, whether the linear estimate does; not where data multiply one another, as a signal and its
            channel do.
        data_references: where the task's data come from.
        apply: how the network is applied to a file, where it can be.
        not_exported: formats of ``unroll export`` that it has no form in, with the reason.
        options: the task's options with their defaults, for the command line.
        tag: options to the part of a weights file's name that tells settings apart.
    """

    task: Callable[..., Task]
    parent: Callable[[Any], Iteration]
    depth: int
    tying: Callable[[Any], Tying]
    schedule: Callable[[int], Schedule]
    classical: Callable[[Any], Sequence[Classical]]
    parent_name: str
    generic_steps: int
    generic_batch: int
    direct: Callable[[Any], Sequence[Direct]] = lambda task: ()
    peers: Callable[[Any], Sequence[Peer]] = lambda task: ()
    decode: Callable[[Any], Callable[[Tensor], Tensor]] = lambda task: lambda codes: codes
    dictionary: Callable[[Any], Tensor] | None = None
    atoms: Callable[[Any], Tensor] | None = None
    threads: int | None = None
    notes: tuple[str, ...] = ()
    rivals: Callable[[Any, int], Sequence[Rival]] = lambda task, parameters: ()
    vectors: bool = True
    affine: bool = True
    data_references: tuple[Reference, ...] = ()
    apply: Application | None = None
    not_exported: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tag: Callable[[Mapping[str, Any]], str] = lambda options: ""


@dataclass(frozen=True)
class System:
    """A published network.

    Attributes:
        name: path in the catalogue, ``sparse_coding/lista``.
        title: as the field calls it.
        summary: one sentence.
        equations: the layer, in plain text.
        references: the network's paper first, then its parent's.
        recipes: by task; the first is the default.
        home: folder of the module, beside which the weights lie.
    """

    name: str
    title: str
    summary: str
    equations: str
    references: tuple[Reference, ...]
    recipes: Mapping[str, Recipe]
    home: Path

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
        return dict(self.recipes[task].options)

    @property
    def applications(self) -> dict[str, Application]:
        """How the network is applied to files, by task."""
        return {name: recipe.apply for name, recipe in self.recipes.items() if recipe.apply is not None}

    def application(self, task: str) -> Application:
        """How the network is applied to files for a task.

        Raises:
            ValueError: it cannot be.
        """
        able = self.applications
        if task not in able:
            raise ValueError(
                f"{self.name} cannot be applied to files for the task {task}"
                + (f"; it can for {', '.join(able)} (--task)" if able else "")
            )
        return able[task]

    def network(
        self, recipe: Recipe, task: Task, depth: int | None = None, gradient: GradientRule | None = None
    ) -> Unrolled:
        """The untrained network, equal to its parent."""
        tying = recipe.tying(task)
        return unroll(
            recipe.parent(task),
            recipe.depth if depth is None else depth,
            tied=tying.tied,
            untied=tying.untied,
            gradient=gradient,
        )

    def weights_path(self, task: str, depth: int, options: Mapping[str, Any]) -> Path:
        """Where weights for a task, a depth and options that differ from the defaults lie, if they are shipped."""
        recipe = self.recipes[task]
        tag = recipe.tag({**recipe.options, **options})
        return self.home / "weights" / f"{self.name.rsplit('/', 1)[-1]}-{task}{tag and '-' + tag}-{depth}.safetensors"

    def shipped(self, task: str, depth: int, options: Mapping[str, Any]) -> Path:
        """The shipped weights for a task, a depth and options that differ from the defaults.

        Raises:
            ValueError: none are shipped for these; the message lists those that are.
        """
        path = self.weights_path(task, depth, options)
        if not path.is_file():
            changed = {key: value for key, value in options.items() if value != self.recipes[task].options[key]}
            files = sorted(file.stem for file in path.parent.glob(f"{self.name.rsplit('/', 1)[-1]}-*.safetensors"))
            settings = "".join(f", {key} {value}" for key, value in changed.items())
            raise ValueError(
                f"no weights are shipped for {self.name}, task {task}, {depth} layers{settings}; shipped "
                f"are {', '.join(files) or 'none'}"
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
        name, recipe = self.recipe(task)
        unknown = options.keys() - recipe.options.keys()
        if unknown:
            raise ValueError(
                f"{self.name} on {name} has no option {sorted(unknown)[0]!r}; it has "
                f"{', '.join(recipe.options) or 'none'}"
            )
        path = self.shipped(name, recipe.depth if depth is None else depth, options)
        _, fixed, card = read_weights(path)
        held = recipe.task(seed=card.get("seed", 0), data=None, fixed=fixed, **{**recipe.options, **options})
        network = self.network(recipe, held, card["depth"])
        load_weights(network, path, system=self.name)
        return network.eval()


SURVEY = Reference(
    "Monga, V., Li, Y. and Eldar, Y. C.",
    "Algorithm unrolling: Interpretable, efficient deep learning for signal and image processing",
    "IEEE Signal Processing Magazine 38(2)",
    2021,
    "10.1109/MSP.2020.3016905",
)
SUMS = "SHA256SUMS"


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
