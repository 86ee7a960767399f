"""Runs an exported network with onnxruntime alone, neither torch nor unrolling:

unroll export sparse_coding/lista --task recovery --format onnx --out lista.onnx
python examples/run_onnx.py lista.onnx                # on random numbers
python examples/run_onnx.py lista.onnx data=y.npy     # on your own; the estimate goes to estimate.npy
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
print(
    f"{card.get('title', card.get('iteration'))}, {card['learned_numbers']:,} learned numbers, ONNX opset "
    f"{card['opset']}"
)

files = dict(argument.split("=", 1) for argument in sys.argv[2:])
rng = np.random.default_rng(0)
inputs = {}
for port in card["inputs"]:
    if port["name"] in files:
        inputs[port["name"]] = np.load(files[port["name"]]).astype(port["dtype"])
    else:  # sizes that have a name are free
        shape = [max(3, card["sizes"][size]["smallest"]) if isinstance(size, str) else size for size in port["shape"]]
        inputs[port["name"]] = rng.standard_normal(shape).astype(port["dtype"])
    print(f"{port['name']}: {inputs[port['name']].shape}, {port['dtype']}, unit {port['unit']}")

(estimate,) = session.run(["estimate"], inputs)
print(f"estimate: {estimate.shape}, from {estimate.min():.4g} to {estimate.max():.4g}")
if files:
    np.save("estimate.npy", estimate)
