"""A network compiled by ``torch.compile``: one graph for every batch size, and what compiling cost."""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.batch import in_pieces
from unrolling.core.deploy.frozen import frozen
from unrolling.core.deploy.plain import options_of
from unrolling.core.drawing import Drawn


class Compiled(Drawn):
    """The forward pass of a network as one compiled graph; ``deploy(network, "compiled")``.

    It compiles when it is first called, and again when it has to: for a batch of one, for another size, such as a
    picture's, which is then free too, for another dtype or device, with a state, and when gradients are switched on. An
    empty batch runs as it is. Forward hooks are not called.

    Attributes:
        network: what is compiled.
        graphs: how many graphs have been compiled so far.
        seconds: how long the calls took that compiled one; less when an earlier process has left its results in torch's
            cache on the disk. The backward pass of a graph may be compiled when it first runs, and is then not counted.

    Args:
        network: what to compile.
        backend: of ``torch.compile``.
        live: compile the network itself, for training: it goes on with values that are learned or loaded later, and
            gradients are recorded. Otherwise a frozen copy, without gradients.

    Raises:
        RuntimeError: (from torch) a backend that it does not have; (when called) a layer that cannot be compiled
            without breaking the graph.
        NotImplementedError: (when called) complex data for Inductor, which has no code for complex operators: in torch
            2.13 it may search for ever, and its gradient of a real number times complex ones is wrong.
    """

    def __init__(self, network: nn.Module, backend: str = "inductor", *, live: bool = False) -> None:
        self.network = network if live else frozen(network)
        self.backend, self.live, self.graphs, self.seconds = backend, live, 0, 0.0
        self._counter = _Counter(backend)
        forward = type(network).forward
        # torch allows few graphs per code object, and all networks of a class have one: this network gets a copy for
        # itself.
        own = types.FunctionType(
            forward.__code__.replace(), forward.__globals__, forward.__name__, forward.__defaults__, forward.__closure__
        )
        own.__kwdefaults__ = forward.__kwdefaults__
        options: dict[str, Any] = {"fullgraph": True, "backend": self._counter}
        self._run = torch.compile(types.MethodType(own, self.network), **options)
        self._seen: set[Any] = set()  # kinds of data that it has been compiled for

    def __call__(self, data: Any, state: Any = None, *, return_state: bool = False, chunk: int | None = None) -> Any:
        """The estimate, or (estimate, state after the last layer); arguments as for ``Unrolled``."""
        if chunk is not None:
            return in_pieces(
                lambda part, begin: self(part, begin, return_state=return_state), self.network, data, state, chunk
            )
        options = options_of(self.network, state, return_state)
        with torch.set_grad_enabled(self.live and torch.is_grad_enabled()):
            tensors = tree.tensors((data, state))
            if any(tensor.numel() == 0 for tensor in tensors):
                return self.network(data, **options)
            try:
                return self._compiled(data, options, tensors)
            except Exception:
                self.network(data, **options)  # where the data are at fault, the network says so itself
                raise

    def _compiled(self, data: Any, options: dict[str, Any], tensors: list[Tensor]) -> Any:
        shapes = ((t.dtype, t.shape[:1] == (1,), t.shape[1:]) for t in tensors)
        kind = torch.is_grad_enabled(), *options, *shapes
        if kind in self._seen:
            return self._call(data, options)
        if self.backend == "inductor" and any(tensor.is_complex() for tensor in tensors):
            raise NotImplementedError(
                "torch's compiler has no code for complex numbers; run the network as it is, or "
                'deploy(network, "plain")'
            )
        if not self.network.training:  # where a second run would move running statistics
            with torch.no_grad():
                self.network(data, **options)  # data that it refuses are refused at once, not after a minute
        with _free_batch(tensors):
            result = self._call(data, options)
        self._seen.add(kind)
        return result

    def _call(self, data: Any, options: dict[str, Any]) -> Any:
        calls, begin = self._counter.calls, time.perf_counter()
        result = self._run(data, **options)
        if self._counter.calls != calls:  # once or, where torch started again, more often: for one graph
            self.graphs += 1
            self.seconds += time.perf_counter() - begin
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Compiled, live=self.live), (self.network, self.backend)

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
