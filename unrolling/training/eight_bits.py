"""Tensors of weights files in eight bits: whole numbers from -127 to 127 with a step for each output channel.

w[c, ...] = q[c, ...] s[c], s[c] = max |w[c, ...]| / 127, so that |w - q s| <= s[c] / 2. The numbers q lie in a file
under the tensor's own name, as int8, and the steps s under that name and ``STEPS``, in float32. Networks calculate
in single precision as before.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

STEPS = "#steps"  # behind the name of a tensor: no name of a parameter holds this sign
LARGEST = 127


def packed(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The whole numbers q of a real tensor (channels, ...), in int8, and the steps s (channels,), in float32.

    Raises:
        ValueError: a tensor without channels, or values that are not finite.
    """
    if tensor.ndim < 2:
        raise ValueError(f"eight bits need a tensor with channels and more, not one of shape {tuple(tensor.shape)}")
    if not bool(tensor.isfinite().all()):
        raise ValueError("there are no eight bits for values that are NaN or infinite")
    steps = (tensor.flatten(1).abs().amax(1) / LARGEST).float()
    wide = steps.view(-1, *[1] * (tensor.ndim - 1))
    whole = torch.where(wide > 0, tensor / wide, 0.0).round()
    return whole.clamp(-LARGEST, LARGEST).to(torch.int8), steps


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, those in eight bits as float32; the others as they are.

    Raises:
        ValueError: steps that belong to no tensor, do not fit theirs, or are negative or no numbers.
    """
    found = {name: tensor for name, tensor in tensors.items() if not name.endswith(STEPS)}
    for key in tensors.keys() - found.keys():
        name, steps = key.removesuffix(STEPS), tensors[key]
        whole = found.get(name)
        if whole is None or whole.dtype != torch.int8 or whole.ndim < 2 or steps.shape != whole.shape[:1]:
            raise ValueError(f"the steps of {name} do not fit it")
        if steps.dtype != torch.float32 or not bool((steps >= 0).all() & steps.isfinite().all()):
            raise ValueError(f"the steps of {name} are not what they can be")
        found[name] = whole.float() * steps.view(-1, *[1] * (whole.ndim - 1))
    return found
