"""How a network is copied, pickled and walked through, whose layers share parts and are built around a parent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

from torch import nn

from unrolling.core.constraints import allow_pickling
from unrolling.core.sharing import detached_memo


class Copied(nn.Module):
    """A module with a parent that is none of its sub-modules."""

    parent: nn.Module

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """As ``nn.Module`` does, but a layer, or a part, that stands in several places is named once in any case.

        ``torch.func.functional_call`` would put a tensor into each of its places, and back into each what it had found
        there: into all but the first the tensor that was to go.
        """
        seen: set[int] = set()
        for name, module in super().named_modules(memo, prefix, remove_duplicate):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = memo[id(self)] = type(self).__new__(type(self))
        memo.update(detached_memo(self) | detached_memo(self.parent))
        made.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        allow_pickling(self)  # also parts whose parametrizations come from torch
        allow_pickling(self.parent)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        # What is compiled, or put in the place of `forward`, belongs to this network: neither a copy nor a file takes
        # it along.
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_compiled", "_constrained", "_guard", "forward")
        }
