"""What mixed precision leaves alone: data and targets."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from unrolling.tasks import Pairs
from unrolling.training.fit import fit
from unrolling.training.machine import Machine
from unrolling.training.stages import Stage


@pytest.mark.filterwarnings("ignore:.*no arithmetic in bfloat16")
def test_mixed_precision_rounds_neither_data_nor_targets():
    """Losses and operators see what was drawn; only what autocast makes of a network is in bfloat16."""
    seen = []

    def loss(estimate, target, data):
        seen.append((estimate.dtype, target, data))
        return (estimate - target).square().mean()

    pairs = [(torch.rand(4), torch.rand(4)) for _ in range(3)]
    machine = Machine(precision="bf16-mixed")
    fit(nn.Linear(4, 4), Pairs(pairs, pairs), [Stage(2, batch=1, loss=loss)], machine=machine, quiet=True)
    known_data, known_targets = (torch.stack(each) for each in zip(*pairs, strict=True))
    assert len(seen) >= 2
    for kind, target, data in seen:
        assert kind == torch.bfloat16  # the linear layer's
        assert target.dtype == data.dtype == torch.float32
        assert (known_data == data).all(1).any()
        assert (known_targets == target).all(1).any()


@pytest.mark.parametrize("has", [True, False])
def test_precision_follows_the_processor(monkeypatch, has):
    """``auto`` is bfloat16 only where the processor computes in it, and who asks for it elsewhere is told."""
    monkeypatch.setattr(Machine, "_has_bfloat16", lambda self: has)
    assert Machine(precision="auto").precision == ("bf16-mixed" if has else "32-true")
    with nullcontext() if has else pytest.warns(UserWarning, match="no arithmetic in bfloat16"):
        Machine(precision="bf16-mixed").check()
    Machine().check()


def test_the_processor_is_asked():
    """The answer is torch's own, whatever it is here."""
    assert Machine()._has_bfloat16() == torch.ops.mkldnn._is_mkldnn_bf16_supported()
