"""
Ship it
=======

A network leaves the laboratory as a file. Here LISTA recovers a photograph from a quarter of its measurements in a
process that has neither PyTorch nor this library: the file is an ONNX model, and ONNX Runtime runs it. The picture may
have any size; what the file takes and gives, and under which licence, is written in it. An export is believed when it
has been run: the file is read back and compared with the network at odd sizes, on silence, impulses and loud data.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from unrolling import deploy, export, pretrained
from unrolling.tasks import Photographs

# %%
# Export. The example, two small pictures, stands for all: batch and sizes are free unless they are fixed.
place, task = Path(tempfile.mkdtemp()), Photographs()
picture = task.photographs["test"]["camera"][None, :256, 128:384]
y = task.sensing(picture)
network = pretrained("sparse_coding/lista")
example = torch.cat([y[:, :3, :4], y[:, 3:6, :4]])
done = export(network, place / "lista.onnx", example, format="onnx", card={"licence": "BSD-3-Clause"})
print(f"{done.bytes:,} bytes, largest relative error {done.max_relative_error:.1e}")

# %%
# The other side: a script that imports NumPy and ONNX Runtime, and says what it has not imported.
(place / "elsewhere.py").write_text("""
import sys, time, json
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("lista.onnx", providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
y = np.load("y.npy")
session.run(None, {"data": y})
begin = time.perf_counter()
estimate = session.run(None, {"data": y})[0]
seconds = time.perf_counter() - begin
np.save("estimate.npy", estimate)
foreign = [name for name in ("torch", "unrolling") if name in sys.modules]
print(json.dumps({"seconds": seconds, "imported": foreign, "inputs": card["inputs"]}))
""")
np.save(place / "y.npy", y.numpy())
told = subprocess.run([sys.executable, "elsewhere.py"], cwd=place, capture_output=True, text=True, check=True)
answer = json.loads(told.stdout)
print("it imported of torch and unrolling:", answer["imported"] or "neither")
print("it takes", answer["inputs"])

# %%
# The same picture, to rounding; and the times of one thread.
shipped = torch.from_numpy(np.load(place / "estimate.npy"))
times = {"ONNX Runtime": answer["seconds"]}
for name, form in (("PyTorch", network), ("PyTorch, deployed plain", deploy(network, "plain"))):
    with torch.no_grad():
        form(y)
        begin = time.perf_counter()
        estimate = form(y)
        times[name] = time.perf_counter() - begin
difference = (shipped - estimate).abs().max().item()
print(f"largest difference {difference:.1e};", ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in times.items()))

figure, axes = plt.subplots(1, 2, figsize=(6, 3.6), layout="constrained")
for axis, (name, found) in zip(
    axes, {"linear": task.linear_estimate()(y), "LISTA, ONNX Runtime": shipped}.items(), strict=True
):
    score = -10 * torch.log10((found.clamp(0, 1) - picture).square().mean())
    axis.imshow(found[0, 60:188, 30:158].numpy(), vmin=0, vmax=1, cmap="gray")
    axis.set_title(f"{name}\n{score:.2f} dB")
    axis.set_axis_off()
plt.show()
