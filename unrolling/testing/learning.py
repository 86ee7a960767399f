"""Conformance checks of learning: gradients, saving and loading, what layers share and what they own."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Iteration, tree, unroll
from unrolling.core.naming import parameter_names
from unrolling.core.sharing import written_buffers
from unrolling.testing._common import double, double_net, explain, first, move
from unrolling.testing.compare import close, rounding, same_bits
from unrolling.testing.parameters import groups

ENTRIES = 32  # a run of the network for each, twice


def check_gradients(iteration: Iteration, data: Any, *, depth: int = 2, samples: int = 2) -> None:
    """Gradients of a small network in float64, in every parameter (tied, and untied) and in the data, agree with finite
    differences: entry by entry, or, where there are more than ``ENTRIES``, in a random direction of each.
    """
    data = tree.apply(double, first(iteration, data, samples))
    names = parameter_names(iteration)
    for tied, untied in ((names, ()), ((), names)) if names else (((), ()),):
        net = double_net(unroll(iteration, depth, tied=tied, untied=untied))
        leaves = tree.apply(lambda t: t.clone().requires_grad_(tree.is_number(t)), data)
        inputs = [
            *(t for t in tree.tensors(leaves) if t.requires_grad),
            *(p for p in net.parameters() if p.requires_grad),
        ]
        # gradcheck moves its inputs in place, and the network reads the same tensors.
        explain(
            lambda net=net, leaves=leaves, inputs=inputs: torch.autograd.gradcheck(
                lambda *_: net(leaves),
                inputs,
                eps=1e-6,
                atol=1e-6,
                rtol=1e-4,
                fast_mode=sum(t.numel() for t in inputs) > ENTRIES,
            ),
            f"the gradient with tied={list(tied)}, untied={list(untied)}",
        )


def check_saving(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """A network whose parameters have moved survives deepcopy, ``state_dict`` and safetensors to the bit."""
    from safetensors.torch import load, save

    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        move(net)
        wanted = net(data)
        same_bits(copy.deepcopy(net)(data), wanted, "the estimate of a deep copy")
        fresh = unroll(iteration, depth, tied=tied, untied=untied)
        fresh.load_state_dict(net.state_dict())
        same_bits(fresh(data), wanted, "the estimate after load_state_dict")
        learned = net.learned()
        fresh = unroll(iteration, depth, tied=tied, untied=untied)
        fresh.load_learned(_complex(load(save(_real(learned))), learned))
        same_bits(fresh.learned(), learned, "the learned values after safetensors and load_learned")
        same_bits(fresh(data), wanted, "the estimate after safetensors and load_learned")


def check_training(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """Of a network that is trained some parameter gets a gradient; its parent, and what is fixed, stay as they were."""
    before = {name: value.detach().clone() for name, value in iteration.state_dict().items()}
    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        fixed = {name: value.clone() for name, value in net.fixed_tensors().items()}
        parameters = [p for p in net.parameters() if p.requires_grad]
        loss = net(data).abs().square().mean()
        gradients = [None] * len(parameters)
        if loss.requires_grad:
            loss.backward()
            gradients = [p.grad for p in parameters]
            with torch.no_grad():
                for p in parameters:
                    if p.grad is not None:
                        # A step that shows, however small the gradient is beside the parameter.
                        p -= 0.01 * p.grad / p.grad.abs().max().clamp_min(torch.finfo(p.dtype).tiny)
        same_bits(dict(iteration.state_dict()), before, "the parent after training its network")
        same_bits(net.fixed_tensors(), fixed, "what the network keeps fixed, after training,")
        assert all(p.grad is None for p in iteration.parameters()), (
            "training the network left gradients in its parent; they share a learned tensor"
        )
        learns = not parameters or any(g is not None and bool(g.any()) for g in gradients)
        assert learns, (
            f"no parameter of the network with tied={list(tied)}, untied={list(untied)} receives a "
            "gradient; is a step detached?"
        )
        lost = [g for g in gradients if g is not None and not bool(torch.isfinite(g).all())]
        assert not lost, f"a gradient of the network with tied={list(tied)}, untied={list(untied)} is NaN or infinite"


def check_aliasing(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """No two layers share an untied tensor, all share a tied one, and none shares a learned tensor with the parent."""
    theirs = {t.untyped_storage().data_ptr() for t in [*iteration.parameters(), *iteration.buffers()]}
    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        learned = [p for p in net.parameters() if p.requires_grad]
        wanted = _learned_tensors(unroll(iteration, 1, tied=tied)) + depth * _learned_tensors(
            unroll(iteration, 1, untied=untied)
        )
        assert len(learned) == wanted, (
            f"a network with tied={list(tied)}, untied={list(untied)} has {len(learned)} "
            f"learned tensors, expected {wanted}"
        )
        storages = {p.untyped_storage().data_ptr() for p in learned}
        assert len(storages) == len(learned), (
            f"two learned tensors share memory in a network with tied={list(tied)}, untied={list(untied)}"
        )
        assert not storages & theirs, (
            f"a network with tied={list(tied)}, untied={list(untied)} shares the memory of "
            "a learned tensor with its parent"
        )


def check_statistics(iteration: Iteration, data: Any, *, depth: int = 3) -> None:
    """Buffers that forward writes in training belong to the layer that owns their module, go along with what is saved,
    and leave the parent as it was; a buffer that is written and not known to be is refused.
    """
    before = {name: value.detach().clone() for name, value in iteration.state_dict().items()}
    for tied, untied in groups(iteration):
        how = f"of a network with tied={list(tied)}, untied={list(untied)}"
        net = unroll(iteration, depth, tied=tied, untied=untied).train()
        try:
            for _ in range(2):
                net(data)
        except RuntimeError as error:
            raise AssertionError(str(error)) from error
        same_bits(dict(iteration.state_dict()), before, f"the parent {how} in training")
        layers = [dict(written_buffers(layer)) for layer in net.layers]
        theirs = {t.untyped_storage().data_ptr() for _, t in written_buffers(iteration)}
        mine = {t.untyped_storage().data_ptr() for layer in layers for t in layer.values()}
        assert not theirs & mine, f"a buffer {how} that forward writes shares memory with the parent's"
        if not mine:
            continue
        net.eval()
        fresh = unroll(iteration, depth, tied=tied, untied=untied).eval()
        fresh.load_learned(net.learned())
        wanted = net(data)
        close(fresh(data), wanted, f"the estimate {how} after its statistics were loaded", tolerance=rounding(wanted))


def check_second_derivative(iteration: Iteration, data: Any, *, depth: int = 2, samples: int = 2) -> None:
    """Second derivatives of a small network in float64, in every parameter and in the data, agree with finite
    differences of first ones, or are refused with an error.
    """
    data = tree.apply(double, first(iteration, data, samples))
    names = parameter_names(iteration)
    net = double_net(unroll(iteration, depth, untied=names))
    leaves = tree.apply(lambda t: t.clone().requires_grad_(tree.is_number(t)), data)
    inputs = [*(t for t in tree.tensors(leaves) if t.requires_grad), *(p for p in net.parameters() if p.requires_grad)]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(2, *t.shape, generator=generator, dtype=torch.float64).to(t.dtype) for t in inputs]

    def slope(graph: bool) -> Tensor:
        """The derivative of the loss along the first of two directions."""
        estimate = net(leaves)
        loss = (estimate.abs().square() + estimate.real).sum()
        gradients = torch.autograd.grad(loss, inputs, create_graph=graph, allow_unused=True)
        return sum(
            ((g * w[0].conj()).real.sum() for g, w in zip(gradients, weights, strict=True) if g is not None),
            torch.zeros((), dtype=torch.float64),
        )

    try:
        first_order = slope(graph=True)
        second = torch.autograd.grad(first_order, inputs, allow_unused=True)
    except RuntimeError:
        return  # refused
    along = sum(
        (float((g * w[1].conj()).real.sum()) for g, w in zip(second, weights, strict=True) if g is not None), 0.0
    )
    values, step = [], 1e-6
    for sign in (1, -2, 1):
        with torch.no_grad():
            for t, w in zip(inputs, weights, strict=True):
                t += sign * step * w[1]
        values.append(float(slope(graph=False)))
    wanted = (values[0] - values[1]) / (2 * step)
    size = max(abs(wanted), abs(values[0]), abs(along))
    assert abs(along - wanted) <= 1e-3 * size, (
        f"the second derivative is {along:.6g} and finite differences of the first give {wanted:.6g}; where it is not "
        "known, refuse it (once_differentiable)"
    )


def _real(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Complex tensors as pairs of real ones, as safetensors does not know complex128."""
    return {name: torch.view_as_real(value) if value.is_complex() else value for name, value in values.items()}


def _complex(values: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.view_as_complex(value) if like[name].is_complex() else value for name, value in values.items()}


def _learned_tensors(net: nn.Module) -> int:
    return sum(p.requires_grad for p in net.parameters())
