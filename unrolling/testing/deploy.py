"""A conformance check for deployed networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Iteration, Unrolled, tree, unroll
from unrolling.core.batch import Batch
from unrolling.core.deploy import deploy
from unrolling.core.naming import parameter_names
from unrolling.testing.compare import close, leaves, rounding, same_bits

SMALL = 1000  # numbers in a sample of which a hundred are tried


def check_deployed(iteration: Iteration, data: Any, *, depth: int = 4, how: str = "plain", factor: float = 1e4) -> None:
    """A deployed network equals the network to rounding, in its estimate and its last state, or raises the same kind of
    error: tied and untied, for the whole batch, one sample and none, for data that are not contiguous, have one more
    dimension or another dtype, with a state to start from, and in pieces. It records no gradient, changes neither data
    nor state, and data that the network refuses leave it as it was.

    Args:
        iteration: the parent.
        data: at least two samples, unless the iteration has no batch.
        depth: layers of the networks.
        how: the form, as for ``deploy``.
        factor: how many unit roundoffs of the largest magnitude are rounding.
    """
    names = tuple(parameter_names(iteration))
    for untied in {(), names}:
        net = unroll(iteration, depth, tied=() if untied else names, untied=untied).eval()
        deployed = deploy(net, how)
        where = f"deployed as {how!r} with untied={list(untied)}"
        for what, part in _variants(iteration, data).items():
            _agree(net, deployed, part, None, f"{what}, {where}", factor)
        with torch.no_grad():
            state = net.run(data, layers=slice(0, max(1, depth // 2)))
        kept = tree.apply(torch.clone, (data, state))
        _agree(net, deployed, data, state, f"from a state, {where}", factor)
        if iteration.batched and Batch(data, iteration).size > 2:
            with torch.no_grad():
                pieces, whole = deployed(data, chunk=2), net(data)
            close(pieces, whole, f"the estimate in pieces, {where}", tolerance=rounding(whole, factor))
        same_bits((data, state), kept, f"data and state after use, {where}")
        _agree(net, deployed, data, None, f"after all that, {where}", factor)


def _variants(iteration: Iteration, data: Any) -> dict[str, Any]:
    """Data of all kinds, by what they are; the network itself says which of them it takes."""
    variants = {
        "the data": data,
        "data that are not contiguous": tree.apply(_scattered, data),
        "data in double precision": tree.apply(lambda t: t.double() if t.is_floating_point() else t, data),
        "data in half precision": tree.apply(lambda t: t.bfloat16() if t.is_floating_point() else t, data),
        "complex data": tree.apply(lambda t: torch.complex(t, t) if t.is_floating_point() else t, data),
    }
    if iteration.batched:
        batch = Batch(data, iteration)
        size = batch.size
        variants |= {
            "one sample": batch.select(data, torch.arange(1)),
            "no sample": batch.select(data, torch.arange(0)),
            "samples of one dimension more": tree.apply(
                lambda t: torch.stack([t, -t if tree.is_number(t) else t], 1) if batch.per_sample(t) else t, data
            ),
            "a width less one": tree.apply(lambda t: t[..., :-1] if t.ndim > 1 and t.shape[-1] > 1 else t, data),
            "a sample that is no number": tree.apply(lambda t: _spoiled(t) if batch.per_sample(t) else t, data),
        }
        if sum(tensor.numel() for tensor in tree.tensors(data)) <= SMALL * size:
            variants["many samples"] = batch.select(data, torch.arange(100) % size)
    return variants


def _agree(net: Unrolled, deployed: Callable[..., Any], data: Any, state: Any, what: str, factor: float) -> None:
    with torch.no_grad():
        wanted, error = _outcome(lambda: net(data, state, return_state=True))
    found, own = _outcome(lambda: deployed(data, state, return_state=True))
    assert type(own) is type(error), (
        f"{what}: deployed it {_words(own)}, and the network {_words(error)}; both must do the same"
    )
    if error is not None:
        return
    estimate = deployed(data, state)
    assert not any(t.requires_grad for t in tree.tensors((found, estimate))), f"{what}: a gradient is recorded"
    assert type(found[1]) is type(wanted[1]), (
        f"{what}: the state is a {type(found[1]).__name__}, expected {type(wanted[1]).__name__}"
    )
    numbers = [[leaf for leaf in leaves(tree_) if not isinstance(leaf, Tensor)] for tree_ in (found, wanted)]
    assert numbers[0] == numbers[1], f"{what}: plain numbers of the state are {numbers[0]}, expected {numbers[1]}"
    for name, got, want in (
        ("estimate", estimate, wanted[0]),
        ("estimate beside the state", found[0], wanted[0]),
        ("state", found[1], wanted[1]),
    ):
        for a, b in zip(tree.tensors(got), tree.tensors(want), strict=True):
            assert a.dtype is b.dtype, f"{what}: the {name} has dtype {a.dtype}, expected {b.dtype}"
            assert torch.equal(a.isnan(), b.isnan()), f"{what}: the {name} has NaN where the network's has none, or not"
            if tree.is_number(b):
                known, right = (torch.nan_to_num(t, 0.0, 0.0, 0.0) for t in (a, b))
                close(known, right, f"the {name} of {what},", tolerance=rounding(b, factor))
            else:
                assert torch.equal(a, b), f"{what}: the {name} differs"


def _outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return call(), None
    except Exception as error:  # whatever the network says is what the deployed one has to say
        return None, error


def _words(error: Exception | None) -> str:
    return "runs" if error is None else f"raises {type(error).__name__} ({error})"


def _scattered(tensor: Tensor) -> Tensor:
    if tensor.ndim == 0:
        return tensor
    return torch.stack([tensor, tensor], -1)[..., 0]


def _spoiled(tensor: Tensor) -> Tensor:
    if not tree.is_number(tensor) or tensor.numel() == 0:
        return tensor
    spoiled = tensor.clone()
    spoiled[-1] = torch.nan
    return spoiled
