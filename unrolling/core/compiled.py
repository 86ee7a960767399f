"""A network compiled by ``torch.compile``: one graph for every batch size, and what compiling cost."""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import tree


class Compiled:
    """The forward pass of a network as one compiled graph; made by ``Unrolled.compiled``, called like the network.

    It compiles when it is first called, and again when it has to: for a batch of one, for another size, such as a
    picture's, which is then free too, for another dtype or device, and when gradients are switched on. Training moves
    the learned values in place, so that the compiled network goes on with them. Forward hooks are not called.

    Attributes:
        graphs: how many graphs have been compiled so far.
        seconds: how long the calls took that compiled one; less when an earlier process has left its results in torch's
            cache on the disk. The backward pass of a graph may be compiled when it first runs, and is then not counted.

    Args:
        network: what to compile.
        backend: of ``torch.compile``.

    Raises:
        RuntimeError: (from torch) a backend that it does not have.
        NotImplementedError: (when called) complex data for Inductor, which has no code for complex operators: in torch
            2.13 it may search for ever, and its gradient of a real number times complex ones is wrong.
    """

    def __init__(self, network: nn.Module, backend: str = "inductor") -> None:
        self.backend, self.graphs, self.seconds = backend, 0, 0.0
        self._counter = _Counter(backend)
        forward = type(network).forward
        # torch allows few graphs per code object, and all networks of a class have one: this network gets a copy for
        # itself.
        own = types.FunctionType(
            forward.__code__.replace(), forward.__globals__, forward.__name__, forward.__defaults__, forward.__closure__
        )
        options: dict[str, Any] = {"fullgraph": True, "backend": self._counter}
        self._run = torch.compile(types.MethodType(own, network), **options)
        self._seen: set[Any] = set()  # kinds of data that it has been compiled for

    def __call__(self, data: Any) -> Tensor:
        """The network's estimate."""
        tensors = tree.tensors(data)
        kind = torch.is_grad_enabled(), *((t.dtype, t.shape[:1] == (1,), t.shape[1:]) for t in tensors)
        if kind in self._seen:
            return self._call(data)
        if self.backend == "inductor" and any(tensor.is_complex() for tensor in tensors):
            raise NotImplementedError(
                "torch's compiler has no code for complex numbers; run the network as it is, or its inference()"
            )
        with _free_batch(tensors):
            estimate = self._call(data)
        self._seen.add(kind)
        return estimate

    def _call(self, data: Any) -> Tensor:
        calls, begin = self._counter.calls, time.perf_counter()
        estimate = self._run(data)
        if self._counter.calls != calls:  # once or, where torch started again, more often: for one graph
            self.graphs += 1
            self.seconds += time.perf_counter() - begin
        return estimate

    def __repr__(self) -> str:
        return f"Compiled({self.backend}, {self.graphs} graphs in {self.seconds:.1f} s)"


class _Counter:
    """A backend that counts its calls. torch keeps it for ever, so that it must not hold the network."""

    def __init__(self, backend: str) -> None:
        from torch._dynamo import lookup_backend

        self._compile, self.calls = lookup_backend(backend), 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor], **options: Any) -> Any:
        self.calls += 1
        return self._compile(graph, inputs, **options)


@contextlib.contextmanager
def _free_batch(tensors: list[Tensor]) -> Iterator[None]:
    """While the batch of these tensors is marked as one that changes, for torch to make no constant of it."""
    from torch._dynamo import maybe_mark_dynamic

    before = [set(vars(tensor)) for tensor in tensors]
    for tensor in tensors:
        if tensor.ndim > 0 and tensor.shape[0] > 1:
            maybe_mark_dynamic(tensor, 0)
    try:
        yield
    finally:  # the marks are attributes of the tensors, which are not ours
        for tensor, names in zip(tensors, before, strict=True):
            for name in set(vars(tensor)) - names:
                delattr(tensor, name)
