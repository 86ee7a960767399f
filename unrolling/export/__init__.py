"""Networks as files that run without this library: ``torch.export`` programs, ONNX models, AOTInductor packages."""

from unrolling.export.checks import untrained
from unrolling.export.exporter import Exported, check_path, export
from unrolling.export.format import Format
from unrolling.export.load import Loaded, find, formats, load
from unrolling.export.precision import ReducedWeights
from unrolling.export.trace import ExportError

__all__ = [
    "ExportError",
    "Exported",
    "Format",
    "Loaded",
    "ReducedWeights",
    "check_path",
    "export",
    "find",
    "formats",
    "load",
    "untrained",
]
