"""How the network in front of a random field is trained: by itself, on the scores that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.vision.dense_crf import CRFPotentials
from unrolling.core import Unrolled
from unrolling.core.naming import class_name
from unrolling.tasks.vision.pixel_labels import pixel_loss


@dataclass(frozen=True)
class ScoringLoss:
    """Cross-entropy of the scores that the first ``CRFPotentials`` of a network finds in the data; what follows it
    plays no part and is not run.
    """

    takes_estimate = False

    def __call__(self, estimate: Any, target: Tensor, data: Any, network: nn.Module) -> Tensor:
        layer = network.layers[0] if isinstance(network, Unrolled) else network
        found = next((part for part in layer.modules() if isinstance(part, CRFPotentials)), None)
        if found is None or found.network is None:
            raise ValueError(f"ScoringLoss trains the network of CRFPotentials; {class_name(layer)} has none")
        return pixel_loss(torch.log_softmax(found.network(data), 1), target)
