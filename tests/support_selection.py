"""Selection of the support by a stable sort, which the library's own is held against."""

from contextlib import nullcontext
from unittest import mock

import pytest
import torch

from unrolling.prox import support

needs_kernel = pytest.mark.skipif(not support._kernels(), reason="the kernel needs a C++ compiler")
both_ways = pytest.mark.parametrize("way", [pytest.param("kernel", marks=needs_kernel), "torch"])


def by(way):
    return mock.patch.object(support, "_kernels", dict) if way == "torch" else nullcontext()


def selected(z, count):
    """Whether an entry is among the ``count`` first of its row in a stable sort by falling magnitude, NaN first."""
    order = z.abs().sort(dim=-1, descending=True, stable=True).indices
    rank = torch.empty_like(order).scatter_(-1, order, torch.arange(z.shape[-1]).expand_as(order))
    return rank < (count.unsqueeze(-1) if isinstance(count, torch.Tensor) else count)


def reference(z, threshold, count):
    passed = selected(z, count) & (z.abs() > threshold)
    return torch.where(passed, z, torch.sgn(z) * (z.abs() - threshold).clamp_min(0))
