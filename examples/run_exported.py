"""Runs an exported network with torch.export.load alone, without unrolling:

unroll export sparse_coding/lista --task recovery --format torch --out lista.pt2
python examples/run_exported.py lista.pt2                # on random numbers
python examples/run_exported.py lista.pt2 data=y.npy     # on your own; the estimate goes to estimate.npy
"""

import json
import sys

import numpy as np
import torch

extra = {"card.json": ""}
network = torch.export.load(sys.argv[1], extra_files=extra).module()
card = json.loads(extra["card.json"])
print(
    f"{card.get('title', card.get('iteration'))}, {card['learned_numbers']:,} learned numbers, torch "
    f"{card['versions']['torch']}"
)

files = dict(argument.split("=", 1) for argument in sys.argv[2:])
inputs = {}
for port in card["inputs"]:
    dtype = getattr(torch, port["dtype"])
    if port["name"] in files:
        inputs[port["name"]] = torch.from_numpy(np.load(files[port["name"]])).to(dtype)
    else:  # sizes that have a name are free
        shape = [max(3, card["sizes"][size]["smallest"]) if isinstance(size, str) else size for size in port["shape"]]
        inputs[port["name"]] = torch.randn(shape).to(dtype)
    print(f"{port['name']}: {tuple(inputs[port['name']].shape)}, {port['dtype']}, unit {port['unit']}")

estimate = network(**inputs)
print(f"estimate: {tuple(estimate.shape)}, norm {estimate.norm():.4g}")
if files:
    np.save("estimate.npy", estimate.numpy())
