"""Networks as files that run without this library: ``torch.export`` programs, ONNX models, AOTInductor packages."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.export.admitted import check_program
    from unrolling.export.agreement import Compared, answer, compare
    from unrolling.export.aoti_package import AotiPackage
    from unrolling.export.card import describe, to_json
    from unrolling.export.checks import check_network, untrained
    from unrolling.export.complex_rules import Pair, each, join, split
    from unrolling.export.exporter import Exported, check_path, export
    from unrolling.export.format import Format, listed, quiet
    from unrolling.export.formulas import check_condition, check_expression
    from unrolling.export.loading import Loaded, find_format, formats, load
    from unrolling.export.onnx_model import OnnxModel, check_model
    from unrolling.export.plan import Example, Plan, batches_of, smallest
    from unrolling.export.ports import KeywordForward, constants, keywords, named, pairs, to_pair
    from unrolling.export.precision import ReducedWeights, check_precision, summary
    from unrolling.export.real_pairs import RealPairs, is_complex
    from unrolling.export.states import (
        check_next,
        first_state,
        is_plain,
        last_state,
        leaves,
        like,
        numbers_of,
        run,
        select,
        starts,
        state_ports,
        with_numbers_as_tensors,
    )
    from unrolling.export.torch_program import TorchProgram
    from unrolling.export.trace import ExportError, SizesError, Traced, discover, first_line, settle

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".admitted": ("check_program"),
        ".agreement": ("Compared answer compare"),
        ".aoti_package": ("AotiPackage"),
        ".card": ("describe to_json"),
        ".checks": ("check_network untrained"),
        ".complex_rules": ("Pair each join split"),
        ".exporter": ("Exported check_path export"),
        ".format": ("Format listed quiet"),
        ".formulas": ("check_condition check_expression"),
        ".loading": ("Loaded find_format formats load"),
        ".onnx_model": ("OnnxModel check_model"),
        ".plan": ("Example Plan batches_of smallest"),
        ".ports": ("KeywordForward constants keywords named pairs to_pair"),
        ".precision": ("ReducedWeights check_precision summary"),
        ".real_pairs": ("RealPairs is_complex"),
        ".states": (
            "check_next first_state is_plain last_state leaves like numbers_of run select starts state_ports "
            "with_numbers_as_tensors"
        ),
        ".torch_program": ("TorchProgram"),
        ".trace": ("ExportError SizesError Traced discover first_line settle"),
    },
)
# fmt: off
__all__ = [
    "AotiPackage", "Compared", "Example", "ExportError", "Exported", "Format", "KeywordForward", "Loaded",
    "OnnxModel", "Pair", "Plan", "RealPairs", "ReducedWeights", "SizesError", "TorchProgram", "Traced",
    "answer", "batches_of", "check_condition", "check_expression", "check_model", "check_network",
    "check_next", "check_path", "check_precision", "check_program", "compare", "constants", "describe",
    "discover", "each", "export", "find_format", "first_line", "first_state", "formats", "is_complex",
    "is_plain", "join", "keywords", "last_state", "leaves", "like", "listed", "load", "named", "numbers_of",
    "pairs", "quiet", "run", "select", "settle", "smallest", "split", "starts", "state_ports", "summary",
    "to_json", "to_pair", "untrained", "with_numbers_as_tensors",
]
# fmt: on
# End of what is written.


class _Package(ModuleType):
    """This package, which can be called as its function is: ``unrolling.export(network, path, example)``.

    A package and a function cannot both be ``unrolling.export``: whichever is imported last would take the other's
    place. (Python's way to customise a module, "Customizing module attribute access" in its data model. A package of
    another name would give up ``from unrolling.export import load``.)
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``unrolling.export.export``."""
        from unrolling.export.exporter import export

        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _Package
