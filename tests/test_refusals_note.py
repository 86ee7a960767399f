"""What is added to an accident in an iteration of one's own: that the data may lack their batch dimension."""

from __future__ import annotations

import pytest
import torch

from unrolling import Iteration, unroll


class Doubling(Iteration):
    def __init__(self):
        super().__init__()
        self.step = torch.nn.Parameter(torch.tensor(1.0))

    def start(self, data):
        return torch.zeros(data.shape[0], data.shape[1])

    def forward(self, state, data):
        if data.shape[1] == 7:
            raise IndexError("a reason of one's own")
        return state + self.step * data

    def estimate(self, state, data):
        return state


def notes(data):
    with pytest.raises(IndexError) as caught:
        unroll(Doubling(), 2)(data)
    return getattr(caught.value, "__notes__", [])


def test_one_sample_without_its_batch_is_mentioned():
    assert notes(torch.ones(4)) == [
        "data has shape (4,), and the first dimension is the batch: one sample is data[None]"
    ]
    assert unroll(Doubling(), 2)(torch.ones(4)[None]).shape == (1, 4)


def test_an_error_over_a_batch_is_left_alone():
    assert notes(torch.ones(3, 7)) == []
