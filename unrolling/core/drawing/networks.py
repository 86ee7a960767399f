"""What a drawing says of each kind of network: unrolled, run to its fixed point, safeguarded, deployed, not yet
unrolled.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import nn

from unrolling.core.deploy import Adaptive, Captured, Compiled, Plain
from unrolling.core.drawing.blocks import (
    Block,
    Chain,
    Line,
    counted,
    describe,
    fixed_block,
    flowing,
    free_numbers,
    named_rows,
    short_count,
    tensor_lines,
)
from unrolling.core.equilibrium import Equilibrium
from unrolling.core.iteration import Iteration
from unrolling.core.learned import evaluating
from unrolling.core.naming import class_name, parameter_names
from unrolling.core.safeguard import Safeguarded
from unrolling.core.unroll import Unrolled

MOST_LAYERS = 4  # of more, the first two and the last are drawn


class Sizes(NamedTuple):
    """The lines of what flows; empty where no data are given."""

    data: list[Line]
    problem: list[Line]
    state: list[Line]
    estimate: list[Line]


@describe.register
def _unrolled(network: Unrolled, data: Any = None) -> Chain:
    layers, parent, depth = list(network.layers), network.parent, len(network)
    first = layers[0]
    tied = sum(free_numbers(first, name) for name in network.tied)
    owns = [sum(free_numbers(layer, name) for name in network.untied) for layer in layers]
    words = f"{counted(depth, 'layer')}, {counted(tied + sum(owns), 'learned number')}."
    chain = Chain(f"{class_name(parent)}, unrolled", words)
    if network.tied:
        title = "Shared by all layers" if depth > 1 else "Learned"
        shared = Block("shared", title, f"{tied:,} learned", named_rows(first, network.tied), learned=tied)
        chain.before.append(shared)
    fixed = fixed_block(first, (*network.tied, *network.untied), "Fixed in all layers")
    chain.before += [fixed] if fixed else []
    taps = ("problem", "shared") if network.tied else ("problem",)
    for number in _drawn(depth):
        if number is None:
            left_out = sum(owns[2:-1])
            gap = Block("gap", counted(depth - 3, "layer"), learned=left_out)
            gap.right = short_count(left_out) if left_out else ""
            chain.flow.append(gap)
            continue
        own = owns[number]
        block = Block("own" if own else "step", f"Layer {number + 1}", learned=own, taps=taps)
        block.right = f"{own:,} of its own" if own else ""
        if own and number == 0:
            block.lines = named_rows(first, network.untied)
        elif own:
            of_other = own != owns[0]
            block.words = f"The same quantities, {'some of another size' if of_other else 'with values of its own'}."
        chain.flow.append(block)
    return _framed(chain, first, network._prepared_once, _sizes(first, data))


@describe.register
def _equilibrium(network: Equilibrium, data: Any = None) -> Chain:
    step = network.layer
    names = network.learned_names
    numbers = sum(free_numbers(step, name) for name in names)
    words = f"One step, repeated to its fixed point; {counted(numbers, 'learned number')}."
    chain = Chain(f"{class_name(step)}, equilibrium", words)
    fixed = fixed_block(step, names, "Fixed")
    chain.before += [fixed] if fixed else []
    block = Block("own" if numbers else "step", "Step", learned=numbers, taps=("problem",), repeated=True)
    block.right, block.lines = short_count(numbers) if numbers else "", named_rows(step, names)
    block.words = (
        f"Repeated until it changes by less than {network.tolerance:g}, at most {network.max_iterations:,} times. "
        f"Gradient: {type(network.gradient).__name__}."
    )
    chain.flow.append(block)
    return _framed(chain, step, True, _sizes(step, data))


@describe.register
def _safeguarded(network: Safeguarded, data: Any = None) -> Chain:
    chain = describe(network.network, data)
    parent = class_name(network.network.parent)
    chain.title = chain.title.replace(", unrolled", ", safeguarded")
    merit = "its objective" if network.merit is None else "the merit"
    chain.before.append(
        Block(
            "fixed",
            f"The parent's step, {parent}",
            words=f"A layer's step is taken where {merit} gets no worse than by this one, sample by sample; "
            "elsewhere this one is.",
        )
    )
    for block in chain.flow:
        if isinstance(block, Block) and "problem" in block.taps:
            block.taps = (*block.taps, "fixed")
    return chain


@describe.register
def _iteration(network: Iteration, data: Any = None) -> Chain:
    names = parameter_names(network)
    numbers = sum(p.numel() for p in network.parameters() if p.requires_grad)
    chain = Chain(class_name(network), "An iteration: run by solve, or unrolled into a network.")
    fixed = fixed_block(network, names, "Fixed")
    chain.before += [fixed] if fixed else []
    block = Block("own" if numbers else "step", "Step", learned=numbers, taps=("problem",), repeated=True)
    block.right, block.lines = short_count(numbers) if numbers else "", named_rows(network, names)
    block.words = "What it can learn." if numbers else ""
    chain.flow.append(block)
    return _framed(chain, network, True, _sizes(network, data))


@describe.register(Plain)
@describe.register(Captured)
@describe.register(Compiled)
@describe.register(Adaptive)
def _deployed(form: Plain | Captured | Compiled | Adaptive, data: Any = None) -> Chain:
    network: Any = form._plain.network if isinstance(form, (Adaptive, Captured)) else form.network
    chain = describe(network, data)
    chain.title += ", deployed"
    chain.words += f" Runs as {type(form).__name__}, with the values of the moment it was made."
    return chain


def _drawn(depth: int) -> list[int | None]:
    """The layers that are drawn; None for those left out."""
    return [*range(depth)] if depth <= MOST_LAYERS else [0, 1, None, depth - 1]


def _framed(chain: Chain, step: Iteration, once: bool, sizes: Sizes) -> Chain:
    """The steps between data and estimate."""
    prepares = isinstance(step._modules.get("prepare"), nn.Module) and not isinstance(
        step._modules["prepare"], nn.Identity
    )
    prepares = prepares or inspect.isfunction(inspect.getattr_static(type(step), "prepare", None))
    head = [flowing("Data", sizes.data)]
    if prepares:
        head.append(flowing("Prepare", sizes.problem, "step"))
        once_words = "Once, before the first step; each step gets it."
        head[1].words = once_words if once else "By each layer, with what it has learned."
    else:
        head[0].words = "Each step gets them."
    head[-1].taps = ("source",)
    start, end = flowing("State at the start", sizes.state), flowing("Estimate", sizes.estimate)
    chain.flow = [*head, start, *chain.flow, end]
    return chain


def _sizes(step: Iteration, data: Any) -> Sizes:
    """Of what flows, from one step on the data."""
    if data is None:
        return Sizes([], [], [], [])
    with torch.no_grad(), evaluating(step):
        problem = step.prepare(data)
        state = step.start(problem)
        estimate = step.estimate(step(state, problem), problem)
    return Sizes(*(tensor_lines(value, step.batched) for value in (data, problem, state, estimate)))
