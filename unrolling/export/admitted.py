"""What a file of ``torch.export`` may hold before torch sees it.

Such a file can run any code where it is loaded: torch evaluates its formulas, looks up the functions that it names, and
unpickles what it calls a constant. Files of this library hold arithmetic, torch's own operators and plain tensors; all
else is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import torch

from unrolling.export.formulas import HIGHEST, check_condition, check_expression

MODEL, CARD = "model", "extra/card.json"
FILES = {
    f"models/{MODEL}.json",
    f"data/weights/{MODEL}_weights_config.json",
    f"data/constants/{MODEL}_constants_config.json",
    f"data/sample_inputs/{MODEL}.pt",
    CARD,
    *("archive_format", "archive_version", ".data/version", "byteorder", "version", ".data/serialization_id"),
}
TENSORS = re.compile(r"data/(weights/weight|constants/tensor)_\d{1,9}")
JSON_MOST = 200_000_000  # bytes of the program
WORD = re.compile(r"[A-Za-z0-9_.:+\-]{0,1000}")  # names, dtypes, devices, versions
EQUATION = re.compile(r"[A-Za-z.]{1,60}(,[A-Za-z.]{1,60}){0,20}->[A-Za-z.]{0,60}")  # of einsum: bij,bj->bi
OPERATORS = re.compile(r"torch\.ops\.(aten|prims)\.[A-Za-z0-9_]+\.[A-Za-z0-9_]+")
NO_OPERATORS = re.compile(r"from_file|save|load")  # those of aten that open files
ARITHMETIC = frozenset(
    f"_operator.{name}"
    for name in (
        *("add", "sub", "mul", "neg", "pos", "floordiv", "truediv", "mod", "getitem"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
    )
) | {f"torch.{name}" for name in ("sym_max", "sym_min", "sym_int", "sym_float", "sym_not", "sym_sum", "sym_ite")}
POWER = "_operator.pow"  # of a size, to a low number that stands there
# Kinds of arguments of operators, and their parts.
KINDS = frozenset(
    f"as_{name}"
    for name in (
        *("tensor", "tensors", "int", "ints", "float", "floats", "bool", "bools", "string", "strings", "complex"),
        *("none", "expr", "name", "sym_int", "sym_ints", "sym_float", "sym_floats", "sym_bool", "sym_bools"),
        *("scalar_type", "memory_format", "layout", "device", "optional_tensor", "optional_tensors"),
    )
)
EMPTY = ("metadata", "is_hop_single_tensor_return", "treespec_namedtuple_fields")


def check_program(content: bytes) -> None:
    """Looks at an archive as torch reads it.

    Raises:
        ValueError: something in it that no file of this library holds; the message says what.
    """
    _check_names(content)
    reader = torch._C.PyTorchFileReader(io.BytesIO(content))
    names = reader.get_all_records()
    if sum(map(reader.get_record_size, names)) > len(content):
        raise ValueError("its parts are larger than the file")
    if CARD not in names:
        raise ValueError("it has no card")
    for name in names:
        if name not in FILES and not TENSORS.fullmatch(name):
            raise ValueError(f"it holds {name[:100]!r}")
    if reader.get_record_size(f"data/sample_inputs/{MODEL}.pt"):
        raise ValueError("it holds an example, which would be unpickled")
    if reader.get_record_size(f"models/{MODEL}.json") > JSON_MOST:
        raise ValueError("its program is too large")
    for kind in ("weights", "constants"):
        config = json.loads(reader.get_record(f"data/{kind}/{MODEL}_{kind}_config.json"))["config"]
        for name, payload in config.items():
            _check_payload(name, payload, {n: reader.get_record_size(n) for n in names}, f"data/{kind}/")
    _check(json.loads(reader.get_record(f"models/{MODEL}.json")), "")


def _check_names(content: bytes) -> None:
    """Of all that the archive holds, also of what torch would not list."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [PurePosixPath(info.filename).parts for info in archive.infolist()]
        if len(set(archive.namelist())) != len(archive.namelist()):
            raise ValueError("it holds two parts of one name")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is compressed, which torch's files are not")
    if len({part[:1] for part in parts}) != 1 or any(
        len(part) < 2 or ".." in part or "\\" in "".join(part) for part in parts
    ):
        raise ValueError("its parts lie in several folders, or outside")


def _check_payload(name: str, payload: Mapping[str, Any], sizes: Mapping[str, int], folder: str) -> None:
    """A tensor: its bytes are there and nothing is unpickled."""
    path = folder + str(payload["path_name"])
    if not WORD.fullmatch(name) or not TENSORS.fullmatch(path) or path not in sizes:
        raise ValueError(f"it holds {name[:100]!r}, which is no plain tensor")
    if payload["use_pickle"]:
        raise ValueError(f"its {name[:100]!r} would be unpickled")
    meta = payload["tensor_meta"]
    lengths = [_number(size) for size in meta["sizes"]]
    strides = [_number(stride) for stride in meta["strides"]]
    count = 1
    for length in lengths:
        count *= length
    reach = sum((length - 1) * stride for length, stride in zip(lengths, strides, strict=True) if length) + 1
    reach += _number(meta["storage_offset"])
    if min([*lengths, *strides, reach, 0]) < 0 or (count and reach > sizes[path]):
        raise ValueError(f"its {name[:100]!r} has more numbers than the file")


def _number(size: Mapping[str, Any]) -> int:
    number = size["as_int"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError("a tensor without a size")
    return number


def _check(value: Any, key: str) -> None:
    """A part of the program, by the name that it has there."""
    if isinstance(value, dict):
        if key in EMPTY and value:
            raise ValueError(f"its {key} is not empty")
        if value.get("target") == POWER:
            _check_power(value["inputs"])
        for name, item in value.items():
            if not WORD.fullmatch(name) or (name.startswith("as_") and name not in KINDS):
                raise ValueError(f"it holds {name[:60]!r}")
            _check(item, name)
    elif isinstance(value, list):
        for item in value:
            _check(item, key)
    elif key == "expr_str":
        check_expression(value)
    elif isinstance(value, str):
        _check_text(value, key)


def _check_text(value: str, key: str) -> None:
    if key == "guards_code":
        check_condition(value)
    elif key in ("in_spec", "out_spec"):
        _check_structure(json.loads(value)[1]) if value else None
    elif key == "target":
        known = OPERATORS.fullmatch(value) and not NO_OPERATORS.search(value)
        if not known and value not in ARITHMETIC and value != POWER:
            raise ValueError(f"it calls {value[:60]!r}")
    elif not WORD.fullmatch(value) and not (key == "as_string" and EQUATION.fullmatch(value)):
        raise ValueError(f"its {key} is {value[:60]!r}")


def _check_power(inputs: Any) -> None:
    """9**9**9 would never be worked out."""
    kind, exponent = next(iter(inputs[1]["arg"].items())) if len(inputs) == 2 else ("", None)
    if kind not in ("as_int", "as_float") or not isinstance(exponent, int | float) or not abs(exponent) <= HIGHEST:
        raise ValueError("it works out a power that may be large")


def _check_structure(spec: Mapping[str, Any]) -> None:
    """Of inputs and outputs: tuples, lists, and dictionaries by name."""
    if spec["type"] not in (None, "builtins.tuple", "builtins.list", "builtins.dict"):
        raise ValueError(f"its inputs or outputs are {str(spec['type'])[:60]!r}")
    names = json.loads(spec["context"]) if spec["context"] else None
    if names is not None and not (
        isinstance(names, list) and all(isinstance(n, str) and WORD.fullmatch(n) for n in names)
    ):
        raise ValueError("its inputs have names that are none")
    for child in spec["children_spec"]:
        _check_structure(child)
