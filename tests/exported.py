"""Exported networks run by their runtimes alone, and LISTA in numpy to compare them with."""

import json

import numpy as np
import pytest
import torch

from unrolling.export import formats

FORMATS = ["torch", "onnx", pytest.param("aoti", marks=pytest.mark.nightly)]  # a compiler takes ten seconds
QUICK = ["torch", "onnx"]


def file(tmp_path, form, name="network"):
    """Where to write; skips the test where the packages of ONNX are missing."""
    for package in formats[form].packages:
        pytest.importorskip(package)
    return tmp_path / f"{name}{formats[form].suffix}"


def run(path, form, **inputs):
    """The runtime alone: nothing of unrolling takes part."""
    if form == "onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["estimate"], inputs)[0]
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    module = torch.export.load(path).module() if form == "torch" else torch._inductor.aoti_load_package(str(path))
    return module(**tensors).numpy(force=True)


def card_of(path, form):
    """The card as the runtime alone gives it."""
    if form == "onnx":
        import onnxruntime

        return json.loads(
            onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["card"], parse_constant=pytest.fail
        )
    if form == "aoti":
        return json.loads(
            torch._inductor.aoti_load_package(str(path)).get_metadata()["card"], parse_constant=pytest.fail
        )
    files = {"card.json": ""}
    torch.export.load(path, extra_files=files)
    return json.loads(files["card.json"], parse_constant=pytest.fail)


def shrink(z, t):
    return np.sign(z) * np.maximum(np.abs(z) - t, 0)


def lista_in_numpy(net, y):
    """x[t+1] = S_theta[t](W_e[t] y + W_t[t] x[t])."""
    x = np.zeros((len(y), net.layers[0].inhibition.shape[0]), y.dtype)
    for layer in net.layers:
        encoder, inhibition, threshold = (
            value.detach().numpy() for value in (layer.encoder.matrix, layer.inhibition, layer.threshold)
        )
        x = shrink(y @ encoder.T + x @ inhibition.T, threshold)
    return x
