"""Small networks on a GPU, where launching an operator takes longer than the operator: the launches recorded once, and
replayed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.batch import in_pieces
from unrolling.core.deploy.plain import Plain
from unrolling.core.drawing import Drawn


class _Recording(NamedTuple):
    """The launches for one kind of data, and the memory that they read and write."""

    graph: Any
    inputs: list[Tensor]
    result: Any
    run: Plain  # whose memory the launches use


class Captured(Drawn):
    """The forward pass of a network as CUDA graphs; ``deploy(network, "captured")``.

    A graph is recorded when data of a new kind (shapes, dtypes, device, the plain numbers of a state) first arrive, and
    replayed for all others of that kind: the processor then launches one thing in the place of hundreds. It pays where
    a layer is small; large products hide their launches anyway. Data that are not on a GPU run as with ``Plain``, with
    the same result. Values are those of the moment it was made: train on, and make another.

    Attributes:
        graphs: how many graphs are kept.

    Args:
        network: any module; it is not changed.
        most: graphs that are kept at once; each has a copy of the network's memory, and the one that was made first is
            given up for another.

    Raises:
        ValueError: most < 1.
        RuntimeError: (when called, from torch) a layer that looks at values, which the processor would have to wait
            for.
    """

    def __init__(self, network: nn.Module, most: int = 4) -> None:
        if most < 1:
            raise ValueError(f"most is {most}; at least one graph is kept")
        self.most = most
        self._plain = Plain(network)
        self._recorded: dict[Any, _Recording] = {}

    @property
    def graphs(self) -> int:
        return len(self._recorded)

    @torch.no_grad()
    def __call__(self, data: Any, state: Any = None, *, return_state: bool = False, chunk: int | None = None) -> Any:
        """The estimate, or (estimate, state after the last layer); arguments as for ``Unrolled``."""
        if chunk is not None:
            return in_pieces(
                lambda part, begin: self(part, begin, return_state=return_state),
                self._plain.network,
                data,
                state,
                chunk,
            )
        tensors = tree.tensors((data, state))
        if not tensors or not all(tensor.is_cuda and tensor.numel() for tensor in tensors):
            return self._plain(data, state, return_state=return_state)
        numbers = repr(tree.apply(lambda tensor: (tensor.shape, tensor.dtype, tensor.device), (data, state)))
        kind = return_state, numbers
        if kind not in self._recorded:
            while len(self._recorded) >= self.most:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[kind] = self._record(data, state, return_state)
        recording = self._recorded[kind]
        for own, tensor in zip(recording.inputs, tensors, strict=True):
            own.copy_(tensor)
        recording.graph.replay()
        return tree.apply(torch.clone, recording.result)

    def _record(self, data: Any, state: Any, return_state: bool) -> _Recording:
        # Memory that is used again belongs to one graph alone, and layers give it up when the shape changes.
        run, inputs = Plain(self._plain.network), tree.apply(torch.clone, (data, state))
        # Libraries make their workspaces, and memory its blocks, before anything is recorded.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run(*inputs, return_state=return_state)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = run(*inputs, return_state=return_state)
        return _Recording(graph, tree.tensors(inputs), result, run)

    def __reduce__(self) -> tuple[Any, ...]:
        return Captured, (self._plain.network, self.most)

    def __repr__(self) -> str:
        return f"Captured({self.graphs} graphs)"
