"""Weights as data: the learned and the fixed tensors of a network with a card that says where they come from.

Format 2: a large tensor that is made again, by the task from its seed or by the network's parent, is a fingerprint in
the card; a learned one too, where it still is the parent's to the bit. One that several files have in common, such as a
dictionary that networks of several depths were trained with, may lie in a file beside them. Format 1 holds all of them
as tensors, and is read as before. Format 3 may have tensors in eight bits (``training.eight_bits``); formats 2 and 3 in
half precision: the card's ``stored`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled, tree
from unrolling.files import records
from unrolling.tasks.base import Task
from unrolling.tasks.catalogue import catalogue
from unrolling.training import files
from unrolling.training.eight_bits import unpacked
from unrolling.training.fingerprints import TOLERANCE, fingerprint, same

FORMAT, PLAIN = 3, 2  # the newest that is read, and what is written where nothing is in eight bits
LARGE = 4096  # bytes; of a smaller tensor, the fingerprint would save nothing
DEEPEST, LARGEST = 10_000, 2**28  # layers, and numbers of a tensor that is made again, that a card may ask for


def save_weights(
    network: Unrolled,
    path: str | Path,
    card: dict[str, Any],
    fixed: Mapping[str, Tensor] | None = None,
    remade: Mapping[str, str] | None = None,
) -> None:
    """Write the learned tensors by the names of ``parameter_table`` and the fixed ones as ``fixed.<name>``, each once.

    Args:
        network: what to save.
        path: a ``.safetensors`` file.
        card: plain values: system, task, schedule, seed, metric. Format, depth, tying and versions are added.
        fixed: what else the task needs to be built again (``Task.fixed_tensors``).
        remade: names of fixed tensors of which a fingerprint is enough, with who makes them again (``remade``).
    """
    learned, fixed = network.learned(), {**(fixed or {}), **network.fixed_tensors()}
    again = dict(remade or {})
    if remade is not None:  # then the parent is, and its values with it
        classical = {row.key: row.classical for row in network.parameter_table()}
        again |= {
            key: "parent" for key in classical.keys() & learned.keys() if torch.equal(learned[key], classical[key])
        }
    tensors = {**learned, **{f"fixed.{name}": value for name, value in fixed.items()}}
    prints: dict[str, Any] = {}
    for name, by in sorted(again.items()):
        key = name if name in learned else f"fixed.{name}"
        if tensors[key].nbytes > LARGE:
            prints[key] = {"by": by, **fingerprint(tensors.pop(key))}
    record = {"format": PLAIN, **shape(network), "torch": str(torch.__version__), **card, "fingerprints": prints}
    files.write(path, tensors, {**record, "format": max(record["format"], PLAIN)})


def remade(network: Unrolled, task: Task, identity: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The fixed tensors that whoever reads a weights file makes again: ``task`` for those that the task draws from what
    its identity says, to the bit; ``parent`` for those of the network's parent that the task does not hold.

    Args:
        network: unrolled from the parent that a recipe makes for the task.
        task: what it is trained on.
        identity: of the card; the task's own by default.
    """
    held = task.fixed_tensors()
    drawn = type(task).drawn(task.identity() if identity is None else identity)
    own = {name: "task" for name, value in drawn.items() if torch.equal(value, held[name])}
    return own | dict.fromkeys(network.fixed_tensors().keys() - held.keys(), "parent")


def shape(network: Unrolled) -> dict[str, Any]:
    """What two networks must have in common to exchange weights."""
    return {
        "iteration": type(network.parent).__name__.removeprefix("Parametrized"),
        "depth": len(network),
        "tied": list(network.tied),
        "untied": list(network.untied),
    }


def _added(network: Unrolled, card: Mapping[str, Any]) -> set[str]:
    """The parameters of a network that its iteration says it was given later (``added``) and that weights with this
    card do not know: they keep their classical values.
    """
    return {*getattr(network.parent, "added", ())} - {*card.get("tied", ()), *card.get("untied", ())}


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """The learned tensors, the fixed tensors of the task and the card of a weights file. What the task draws is drawn
    anew; of what only the network's parent makes there is a fingerprint in the card.

    Raises:
        FileNotFoundError, ValueError: no such file, not safetensors, truncated, not a weights file, of a newer format,
            or of a task that draws something else today.
    """
    tensors, card = files.read(path)
    if not (isinstance(card, dict) and isinstance(card.get("format"), int)):
        raise ValueError(f"{path} is not a weights file (a training checkpoint, perhaps)")
    if card["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {card['format']}, and this version of unrolling reads up to {FORMAT}: update unrolling"
        )
    tensors = _restored(path, card, tensors)
    _verify(path, card, tensors)
    fixed = {name.removeprefix("fixed."): tensor for name, tensor in tensors.items() if name.startswith("fixed.")}
    learned = {name: tensor for name, tensor in tensors.items() if not name.startswith("fixed.")}
    return learned, {**fixed, **_shared(Path(path), card), **_drawn(path, card)}, card


def _restored(path: str | Path, card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in single precision that a file has in fewer bits."""
    if not card.get("stored"):
        return dict(tensors)
    try:
        found = unpacked(tensors)
    except ValueError as error:
        raise ValueError(f"{path} is damaged or was changed: {error}") from error
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in found.items()}


_SIZE = records.whole(0, LARGEST)
_PRINT = records.record(
    {
        "by": records.one_of("task", "parent", "file"),
        "shape": records.listed(_SIZE, 16),
        "sha256": records.text(64),
        "norm": records.number,
        "magnitudes": records.listed(records.number, 64),
    },
    {"file": records.text(200)},
)
_CARD = {
    "depth": records.whole(1, DEEPEST),
    "iteration": records.text(200),
    "tied": records.listed(records.text(200), 1000),
    "untied": records.listed(records.text(200), 1000),
    "task": records.mapping().or_text().or_none(),
    "fingerprints": records.mapping(_PRINT).or_none(),
}


def _verify(path: str | Path, card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError where the card is not what ``save_weights`` writes, asks for layers that the file does not have
    or for a task too large to be drawn.
    """
    records.verify(path, card, {}, _CARD, "the card")
    prints = card.get("fingerprints") or {}
    layers = {name.split(".")[1] for name in (*tensors, *prints) if name.startswith("layers.")}
    if layers and card.get("depth") is not None and str(card["depth"] - 1) not in layers:
        raise ValueError(f"{path} is damaged or was changed: its card says {card['depth']} layers, its tensors do not")
    largest = sorted(_sizes(card.get("task") or {}))[-2:]
    if not all(size < LARGEST for size in largest) or (len(largest) == 2 and largest[0] * largest[1] > LARGEST):
        raise ValueError(f"{path} is damaged or was changed: its card says a task of the sizes {largest}")


def _sizes(value: Any, name: str = "") -> Iterator[float]:
    """The numbers of an identity that sizes may be."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _sizes(item, key)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _sizes(item, name)
    elif isinstance(value, int | float) and name != "seed":
        yield abs(value)


def _shared(path: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that lie in a file beside this one."""
    found: dict[str, Tensor] = {}
    for name, made in _prints(card, "file").items():
        if not made.get("file") or Path(made["file"]).name != made["file"]:
            raise ValueError(f"{path} is damaged or was changed: it has its `{name}` in {made.get('file')!r}")
        beside = path.with_name(made["file"])
        if not beside.is_file():
            raise ValueError(f"{path} has its `{name}` in {beside.name}, which must lie beside it")
        held = files.read(beside)[0]
        if name not in held:
            raise ValueError(f"{beside} holds no `{name}`, which {path.name} has there")
        found[name] = held[name]
        if fingerprint(found[name])["sha256"] != made["sha256"]:
            raise ValueError(f"{beside} is damaged or was changed: it is not the `{name}` of {path.name}")
    return found


def _drawn(path: str | Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that the card's task draws; none where there is no such task here."""
    identity = card.get("task") or {}
    prints = _prints(card, "task")
    kind = catalogue().get(identity.get("name", "")) if prints else None
    drawn = {} if kind is None else kind.drawn(identity)
    for name in prints.keys() & drawn.keys():
        if not same(drawn[name], prints[name]):
            raise ValueError(
                f"{path} was trained with another `{name}` than the task {identity['name']} draws from seed "
                f"{identity.get('seed')} today; use the version of unrolling that made it ({card.get('version')})"
            )
    return {name: drawn[name] for name in prints.keys() & drawn.keys()}


def _prints(card: Mapping[str, Any], *by: str) -> dict[str, Any]:
    """The fingerprints of a card of what is made again by these, by the tensors' own names."""
    found = card.get("fingerprints") or {}
    return {name.removeprefix("fixed."): each for name, each in found.items() if each["by"] in by}


def load_weights(network: Unrolled, path: str | Path, *, system: str | None = None) -> dict[str, Any]:
    """Put the weights of a file into a network of the same shape; returns the card. Nothing changes unless all of it
    fits.

    Args:
        network: built like the one that was saved, around the same fixed tensors.
        path: what ``save_weights`` wrote; it may lack what the network's iteration was given later (``added``).
        system: the system that the weights must be of.

    Raises:
        FileNotFoundError, ValueError: as for ``read_weights``; another system, iteration, depth or tying; other fixed
            tensors.
    """
    learned, fixed, card = read_weights(path)
    if system is not None and card.get("system") != system:
        raise ValueError(f"{path} holds weights of {card.get('system')}, not of {system}")
    mine, later = shape(network), _added(network, card)
    mine |= {key: [name for name in mine[key] if name not in later] for key in ("tied", "untied")}
    # What was given more parameters as a class of its own takes the weights of the class that it extends.
    if later and card.get("iteration") in {cls.__name__ for cls in type(network.parent).__mro__}:
        mine["iteration"] = card["iteration"]
    different = [
        f"{key} is {card.get(key)} there and {value} here" for key, value in mine.items() if card.get(key) != value
    ]
    if different:
        raise ValueError(f"{path} does not fit this network: {'; '.join(different)}")
    prints = _prints(card, "task", "parent")
    classical = {row.key: row.classical for row in network.parameter_table() if row.key in prints}
    for name, value in {**network.fixed_tensors(), **classical}.items():
        fits = (
            fixed[name].shape == value.shape and _close(fixed[name].to(value), value)
            if name in fixed
            else name in prints and same(value, prints[name])
        )
        if not fits:
            raise ValueError(
                f"{path} was trained with another `{name}` than this network's: build the network around "
                "the one in the file (`read_weights`)"
            )
    begun = {row.key: row.classical for row in network.parameter_table() if row.name in later}
    learned = {**begun, **classical, **learned}
    bad = [name for name, value in learned.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ValueError(f"{path} holds values that are NaN or infinite in {', '.join(bad)}")
    network.load_learned(learned)
    return card


def _close(given: Tensor, own: Tensor) -> bool:
    """Equal up to rounding on another machine, of which the largest entry tells the size; to the bit where they are
    indices or flags.
    """
    if not tree.is_number(own):
        return torch.equal(given, own)
    largest = float(own.abs().max()) if own.numel() else 0.0
    return torch.allclose(given, own, rtol=TOLERANCE, atol=TOLERANCE * largest)
