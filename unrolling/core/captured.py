"""Small networks on a GPU, where launching an operator takes longer than the operator: the launches recorded once, and
replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import tree
from unrolling.core.inference import Inference

if TYPE_CHECKING:
    from unrolling.core.unroll import Unrolled


class _Recording(NamedTuple):
    """The launches for one kind of data, and the memory that they read and write."""

    graph: Any
    inputs: list[Tensor]
    estimate: Tensor
    run: Inference  # whose memory the launches use


class Captured:
    """The forward pass of a network as CUDA graphs; made by ``Unrolled.captured``, called like the network.

    A graph is recorded when data of a new kind (shapes, dtypes, device) first arrive, and replayed for all others of
    that kind: the processor then launches one thing in the place of hundreds. It pays where a layer is small; large
    products hide their launches anyway. Data that are not on a GPU run as with ``Unrolled.inference``, with the same
    result. Values are those of the moment it was made: train on, and make another.

    Attributes:
        graphs: how many graphs are held.

    Args:
        network: it is not changed.
        most: graphs that are held at once; each has a copy of the network's memory, and the one that was made first is
            given up for another.

    Raises:
        ValueError: most < 1.
        RuntimeError: (when called, from torch) a layer that looks at values, which the processor would have to wait
            for.
    """

    def __init__(self, network: Unrolled, most: int = 4) -> None:
        if most < 1:
            raise ValueError(f"most is {most}; at least one graph is held")
        self.most = most
        self._inference = Inference(network)
        self._recorded: dict[Any, _Recording] = {}

    @property
    def graphs(self) -> int:
        return len(self._recorded)

    @torch.inference_mode()
    def __call__(self, data: Any) -> Tensor:
        """The estimate."""
        tensors = tree.tensors(data)
        if not tensors or not all(tensor.is_cuda for tensor in tensors):
            return self._inference(data)
        kind = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
        if kind not in self._recorded:
            while len(self._recorded) >= self.most:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[kind] = self._record(data)
        recording = self._recorded[kind]
        for held, tensor in zip(recording.inputs, tensors, strict=True):
            held.copy_(tensor)
        recording.graph.replay()
        return recording.estimate.clone()

    def _record(self, data: Any) -> _Recording:
        # Memory that is used again belongs to one graph alone, and an `Inference` gives it up when the shape changes.
        run, held = Inference(self._inference.network), tree.apply(torch.clone, data)
        # Libraries make their workspaces, and memory its blocks, before anything is recorded.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run(held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            estimate = run(held)
        return _Recording(graph, tree.tensors(held), estimate, run)

    def __repr__(self) -> str:
        return f"Captured({self.graphs} graphs)"
