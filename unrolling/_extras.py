"""Packages that come with an extra: where one is missing, the error says how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

EXTRAS = {
    "PIL": "data",
    "h5py": "scans",
    "ismrmrd": "scans",
    "nibabel": "scans",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pandapower": "power",
    "pydicom": "scans",
    "pywt": "data",
    "scipy": "data",
    "skimage": "data",
    "sklearn": "data",
    "soundfile": "audio",
    "tensorboard": "log",
    "tifffile": "data",
}
PACKAGES = {
    "PIL": "Pillow",
    "pywt": "PyWavelets",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}  # where the name to install is another than the one to import


@contextmanager
def extra(what: str, name: str = "") -> Iterator[None]:
    """Around the import of packages that come with an extra.

    Args:
        what: what needs them, for the error: "sound files".
        name: the extra, where it is another than the package's usual one.

    Raises:
        ImportError: one of them is missing; the message names it and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        if module not in EXTRAS:
            raise
        command = f"pip install 'unrolling[{name or EXTRAS[module]}]'"
        package = PACKAGES.get(module, module)
        raise ImportError(f"{what} needs the package {package}: {command}", name=error.name) from error


def peer(name: str) -> Any:
    """Another library that is used where it is installed, and comes with no extra.

    Raises:
        ImportError: it is missing; the message names it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"this adapter needs the package {name}: pip install {name}", name=name) from error
