"""What a drawing of a network says, before it has places: blocks, what they hold, and how they follow one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.drawing.letters import greek
from unrolling.core.learned import evaluating
from unrolling.core.naming import class_name, owner_of, parameter_names, value_of
from unrolling.core.quantities import quantity

MOST_ROWS = 7  # of a block: longer lists are gathered by the sub-modules that hold them


class Line(NamedTuple):
    """A line of a block: what it is, and at its right end how large."""

    left: str
    right: str = ""
    symbol: str = ""


@dataclass
class Block:
    """A box.

    Attributes:
        kind: ``data`` (what flows), ``own`` (a step with learned numbers of its own), ``step`` (one without),
            ``shared`` (learned, one for all layers), ``fixed`` (not learned), ``gap`` (layers left out).
        title: its first line.
        right: at the right end of the first line.
        lines: what it holds.
        words: below that.
        learned: how many learned numbers stand in it.
        taps: what goes into it besides what comes from above: ``problem``, ``shared``, ``fixed``.
        repeated: whether an arrow leads from its end back to its start.
    """

    kind: str
    title: str
    right: str = ""
    lines: list[Line] = field(default_factory=list)
    words: str = ""
    learned: int = 0
    taps: tuple[str, ...] = ()
    repeated: bool = False


@dataclass
class Chain:
    """Blocks that follow one another, and before them what all their steps use.

    Attributes:
        title: what it is.
        words: about it.
        before: blocks of kind ``shared`` and ``fixed``, and frames.
        flow: blocks, or chains inside this one, each drawn in a frame.
        joined: whether each leads to the next; otherwise their order is that of their definition.
    """

    title: str
    words: str
    before: list[Block] = field(default_factory=list)
    flow: list[Block | Chain] = field(default_factory=list)
    joined: bool = True

    @property
    def learned(self) -> int:
        """How many learned numbers its blocks hold."""
        return sum(part.learned for part in (*self.before, *self.flow))


@singledispatch
def describe(network: Any, data: Any = None) -> Chain:
    """What a drawing says; of a module that nobody has described, its sub-modules.

    Args:
        network: any module, or a deployed form of one.
        data: what it is called with, for the sizes of what flows and the order of the sub-modules.

    Raises:
        TypeError: no network.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"a network is drawn, a torch.nn.Module or what deploy gives; got {type(network).__name__}")
    children = list(network.named_children())
    given, sizes = _calls(network, data) if data is not None else ({}, {})
    if given:
        children.sort(key=lambda child: list(given).index(child[0]) if child[0] in given else len(given))
    seen: set[int] = set()
    chain = Chain(class_name(network), "", joined=bool(given) or isinstance(network, nn.Sequential))
    own = _module_block("Parameters of its own", [("", p) for p in network.parameters(recurse=False)], seen)
    own.lines = rows((n, p) for n, p in network.named_parameters(recurse=False))
    if own.lines:
        chain.before.append(own)
    for name, child in children:
        if describe.dispatch(type(child)) is not describe.dispatch(object):
            inner = describe(child, given.get(name))
            inner.title = f"{name}: {inner.title}"
            chain.flow.append(inner)
            seen |= {id(p) for p in child.parameters()}
            continue
        block = _module_block(f"{name}: {class_name(child)}", child.named_parameters(), seen)
        if sizes.get(name):
            block.lines.append(Line("gives", sizes[name]))
        chain.flow.append(block)
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    chain.words = f"{counted(learned, 'learned number')}."
    if len(chain.flow) > 1 and not chain.joined:
        chain.words += " Its parts, in the order in which they are defined."
    if data is not None and chain.joined:
        chain.flow.insert(0, flowing("Data", tensor_lines(data, True)))
        if sizes.get(""):
            chain.flow.append(Block("data", "Output", sizes[""]))
    return chain


def _module_block(title: str, parameters: Iterable[tuple[str, Tensor]], seen: set[int]) -> Block:
    """A sub-module as one block; tensors that stand in an earlier one are not counted again."""
    named = list(parameters)
    new = [(name, p) for name, p in named if id(p) not in seen]
    seen |= {id(p) for _, p in named}
    learned = sum(p.numel() for _, p in new if p.requires_grad)
    fixed = sum(p.numel() for _, p in new if not p.requires_grad)
    block = Block("own" if learned else "step", title, short_count(learned) if learned else "", learned=learned)
    block.lines = rows(new)
    if fixed:
        block.words = f"{counted(fixed, 'number')} of them fixed." if learned else f"{counted(fixed, 'number')}, fixed."
    if len(new) < len(named):
        block.words = f"{block.words} Shares {counted(len(named) - len(new), 'array')} with a part above.".strip()
    return block


def _calls(network: nn.Module, data: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What the children are given, in the order of their first calls, and the sizes of what they give; of the whole by
    the name ''.
    """
    given: dict[str, Any] = {}
    sizes: dict[str, str] = {}

    def watch(name: str) -> Any:
        def note(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            given.setdefault(name, arguments[0] if len(arguments) == 1 else None)
            sizes.setdefault(name, _first_size(output))

        return note

    hooks = [child.register_forward_hook(watch(name)) for name, child in network.named_children()]
    try:
        with torch.no_grad(), evaluating(network):
            sizes[""] = _first_size(network(data))
    finally:
        for hook in hooks:
            hook.remove()
    return given, sizes


def _first_size(output: Any) -> str:
    """Of the first tensor of an output."""
    found = tree.tensors(output)
    return sized(found[0], found[0].shape[0] if found[0].ndim else None) if found else ""


def free_numbers(module: nn.Module, name: str) -> int:
    """How many numbers an optimizer moves for a parameter: of a constrained one, those of its free tensors."""
    owner, leaf = owner_of(module, name)
    lists = owner._modules.get("parametrizations")
    if isinstance(lists, nn.ModuleDict) and leaf in lists:
        return sum(p.numel() for p in lists[leaf].parameters())
    return value_of(module, name).numel()


def named_rows(module: nn.Module, names: Sequence[str]) -> list[Line]:
    """Parameters by their names, with their symbols and sizes."""
    with torch.no_grad(), evaluating(module):
        return rows(((name, value_of(module, name)) for name in names), module)


def rows(named: Iterable[tuple[str, Tensor]], module: nn.Module | None = None) -> list[Line]:
    """A line for each tensor, or, of many, for each sub-module that holds some."""
    listed = list(named)
    if len(listed) <= MOST_ROWS:
        found = []
        for name, value in listed:
            symbol = greek(quantity(module, name).symbol) if module is not None else ""
            found.append(Line(name, shape(value), symbol))
        return found
    groups: dict[str, list[Tensor]] = {}
    for depth in range(max(name.count(".") for name, _ in listed) + 1, 0, -1):
        groups = {}
        for name, value in listed:
            groups.setdefault(".".join(name.split(".")[:depth]), []).append(value)
        if len(groups) <= MOST_ROWS:
            break
    lines = [
        Line(name, shape(held[0]))
        if len(held) == 1
        else Line(name, f"{sum(value.numel() for value in held):,} in {len(held)} arrays")
        for name, held in groups.items()
    ]
    if len(lines) > MOST_ROWS:
        rest = [value for held in list(groups.values())[MOST_ROWS - 1 :] for value in held]
        lines = [
            *lines[: MOST_ROWS - 1],
            Line("and more", f"{sum(value.numel() for value in rest):,} in {len(rest)} arrays"),
        ]
    return lines


def flowing(title: str, lines: list[Line], kind: str = "data") -> Block:
    """A block of what flows; a tensor without a name of its own stands in the first line."""
    alone = len(lines) == 1 and not lines[0].left
    return Block(kind, title, lines[0].right if alone else "", [] if alone else lines)


def tensor_lines(value: Any, batched: bool) -> list[Line]:
    """The tensors of data, a problem or a state with their sizes; those of a list together where they are alike."""
    named = [(path.removeprefix("?").removeprefix("."), tensor) for path, tensor in tree.named_tensors(value, "?")]
    sizes = [tensor.shape[0] for _, tensor in named if tensor.ndim]
    batch = max((size for size in sizes if size != 1), default=1) if batched and sizes else None
    alike: dict[tuple[str, str], list[str]] = {}
    for path, tensor in named:
        alike.setdefault((path.partition("[")[0], sized(tensor, batch)), []).append(path)
    lines = [
        Line(paths[0] if len(paths) == 1 else f"{base or 'arrays'}, {len(paths)} of them", size)
        for (base, size), paths in alike.items()
    ]
    return lines[:MOST_ROWS] + ([Line(f"and {len(lines) - MOST_ROWS} more")] if len(lines) > MOST_ROWS else [])


def sized(tensor: Tensor, batch: int | None) -> str:
    """``batch × 250``; of numbers that are not real, their kind."""
    sides = [str(size) for size in tensor.shape]
    if sides and batch is not None and tensor.shape[0] == batch:
        sides[0] = "batch"
    kind = "" if tensor.is_floating_point() else " complex" if tensor.is_complex() else " integers"
    return (" × ".join(sides) or "number") + (" yes or no" if tensor.dtype is torch.bool else kind)


def shape(tensor: Tensor) -> str:
    """``250 × 500``; ``number``."""
    kind = " complex" if tensor.is_complex() else ""
    return ((" × ".join(map(str, tensor.shape)) or "number") if tensor.numel() != 1 else "number") + kind


def counted(number: int, what: str) -> str:
    """``1 layer``, ``16 layers``, ``no layers``."""
    return f"{number:,} {what}" if number == 1 else f"{number or 'no':,} {what}s" if number else f"no {what}s"


def short_count(number: int) -> str:
    """``1 number``, ``640 numbers``."""
    return counted(number, "number")


def fixed_block(module: nn.Module, learned: Iterable[str], title: str) -> Block | None:
    """What a step uses that is not learned: its other parameters and its buffers."""
    held = set(learned)
    with torch.no_grad(), evaluating(module):
        values = [(name, value_of(module, name)) for name in parameter_names(module) if name not in held]
    values += [(name, buffer) for name, buffer in module.named_buffers() if "parametrizations." not in name]
    if not values:
        return None
    numbers = sum(value.numel() for _, value in values)
    return Block("fixed", title, short_count(numbers), rows(values, module))
