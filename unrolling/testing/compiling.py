"""Conformance checks of networks that are compiled or exported."""

from __future__ import annotations

from typing import Any

import torch

from unrolling.core import Iteration, tree, unroll
from unrolling.core.naming import parameter_names
from unrolling.testing._common import first, size
from unrolling.testing.compare import close, rounding


def check_compile(iteration: Iteration, data: Any, *, depth: int = 2, backend: str = "inductor") -> None:
    """``torch.compile(fullgraph=True)`` gives the same estimate and gradients up to rounding; slow."""
    names = parameter_names(iteration)
    net = unroll(iteration, depth, untied=names)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    parameters = [p for p in net.parameters() if p.requires_grad]
    wanted, got = net(data), compiled(data)
    close(got, wanted, "the compiled estimate", tolerance=rounding(wanted))
    if parameters:
        both = [
            torch.autograd.grad(output.abs().square().sum(), parameters, allow_unused=True) for output in (got, wanted)
        ]
        for compiled_gradient, gradient in zip(*both, strict=True):
            assert (compiled_gradient is None) == (gradient is None), (
                "compiling changes which parameters receive a gradient"
            )
            if gradient is not None:
                close(compiled_gradient, gradient, "a gradient of the compiled network", tolerance=rounding(wanted))


def check_export(iteration: Iteration, data: Any, *, depth: int = 2) -> None:
    """``torch.export`` with a dynamic batch gives the same estimates at other batch sizes, up to rounding."""
    net = unroll(iteration, depth, untied=parameter_names(iteration))
    if not iteration.batched:
        wanted = net(data)
        got = torch.export.export(net, (data,)).module()(data)
        close(got, wanted, "the exported network's estimate", tolerance=rounding(wanted))
        return
    batch = size(iteration, data)
    assert batch >= 3, (
        f"check_export needs a batch of at least 3, as export takes smaller ones for constants; got {batch}"
    )
    dimension = torch.export.Dim("batch", min=2)
    shapes = tree.apply(lambda t: {0: dimension} if t.ndim > 0 and t.shape[0] == batch else {}, data)
    program = torch.export.export(net, (data,), dynamic_shapes=(shapes,)).module()
    twice = tree.apply(lambda t: torch.cat([t, t]) if t.ndim > 0 and t.shape[0] == batch else t, data)
    for samples in (data, first(iteration, data, 2), twice):
        wanted = net(samples)
        close(
            program(samples),
            wanted,
            f"the exported network's estimate at a batch of {size(iteration, samples)}",
            tolerance=rounding(wanted),
        )
