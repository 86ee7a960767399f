"""The generic network that an unrolled one is compared with."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call

LARGEST = 10**8  # parameters


@explain_call
class MLP(nn.Sequential):
    """Fully connected layers with ReLU between them (survey eq. 1), (batch, inputs) -> (batch, outputs).

    Args:
        inputs: width of the data.
        hidden: width of every hidden layer.
        outputs: width of the estimate.
        layers: number of hidden layers.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int = 2) -> None:
        for name, value in (("inputs", inputs), ("hidden", hidden), ("outputs", outputs), ("layers", layers)):
            check_count(value, name)
        widths = [inputs, *[hidden] * layers]
        parts: list[nn.Module] = []
        for before, after in pairwise(widths):
            parts += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*parts, nn.Linear(widths[-1], outputs))
        self.inputs = inputs

    def forward(self, input: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        check_input(self, input, "input", ..., self.inputs)
        return super().forward(input)


def hidden_width(parameters: int, inputs: int, outputs: int, layers: int = 2) -> int:
    """The width of the hidden layers that brings an ``MLP`` closest to a number of parameters, at least 1.

    Weights and biases: (inputs + 1) w + (layers - 1)(w + 1) w + (w + 1) outputs.
    """

    check_count(parameters, "parameters")
    for value, name in ((inputs, "inputs"), (outputs, "outputs"), (layers, "layers")):
        check_count(value, name)
    if parameters > LARGEST:
        raise ValueError(f"parameters is {parameters}; no network here has more than {LARGEST}")

    def count(width: int) -> int:
        return (inputs + 1) * width + (layers - 1) * (width + 1) * width + (width + 1) * outputs

    width = 1
    while count(width + 1) <= parameters:
        width += 1
    return width if parameters - count(width) <= count(width + 1) - parameters else width + 1
