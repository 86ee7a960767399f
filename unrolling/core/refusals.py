"""What torch and Python say of arguments that nothing works with, as errors that name the argument.

Nothing is looked at before: what is right costs nothing, and what fails is explained afterwards from the annotations.
"""

from __future__ import annotations

import functools
import inspect
import opcode
import sys
from collections.abc import Callable, Mapping
from ctypes import ArgumentError
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unrolling.core.naming import class_name

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])
HOME = str(Path(__file__).parent.parent)
LIBRARIES = ("torch", "numpy", "opt_einsum")
LONGEST = 120  # characters of a value in a message
# fmt: off
OBJECTS = {
    "BlockSensing", "Callable", "Circulant", "DataTerm", "Denoiser", "GramISTA", "ISTA", "Iteration",
    "LinearOperator", "PatchDictionary", "Prox", "ProximalGradient", "STFT", "SynthesisISTA", "Transform",
    "VaryingISTA", "nn.Module",
}
# fmt: on
# fmt: off
PLAIN = {
    "Tensor", "Float", "Complex", "Int", "Bool", "int", "float", "complex", "bool", "str", "Literal", "tuple",
    "list", "Sequence", "Iterable", "Shape", "None",
}
# fmt: on
# What torch and Python raise for arguments of another kind; of these types themselves, as subclasses steer torch: they
# end a recomputation, a trace, or say that a device is full.
ACCIDENTS = (
    RuntimeError,
    NotImplementedError,
    torch.linalg.LinAlgError,  # pyright: ignore[reportPrivateImportUsage]
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    KeyError,
    AssertionError,
    ZeroDivisionError,
    OverflowError,
    UnboundLocalError,
    ArgumentError,
)  # fmt: skip


def kind_of(value: Any) -> str:
    """What a value is, for messages: ``a list``, ``a NumPy array of float64``, ``torch.float32 of shape (3, 4)``."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return f"a NumPy array of {value.dtype}"
    return "None" if value is None else f"{'an' if kind.__name__[0] in 'aeiou' else 'a'} {kind.__name__}"


def explained(function: Function, owner: str = "", *, objects: bool = False, kept: bool = False) -> Function:
    """A function whose arguments are named where it fails for them.

    Args:
        function: to be called.
        kept: whether it is a constructor that has to keep whatever asks for a gradient (``check_kept``).
        objects: whether what is no whole number, and numbers and words in the place of operators, networks and
            functions, is refused at once, which would otherwise be found out long after.
        owner: what its arguments are of, for messages; its name by default, the class's for methods of classes.

    Raises:
        TypeError, ValueError: from the function, in place of what torch and Python raise; the first for arguments of
            another kind than their annotation says.
    """
    if getattr(function, "explains", False):
        return function
    wanted = _objects(function) if objects else {}

    @functools.wraps(function)
    def explaining(*given: Any, **named: Any) -> Any:
        try:
            if wanted:
                _check_objects(function, owner, wanted, given, named)
            found = function(*given, **named)
            # Once, when all of the constructors have run.
            if kept and type(given[0]).__init__ is explaining:
                check_kept(given[0], inspect.signature(function).bind(*given, **named).arguments)
            return found
        except Exception as error:
            if is_told(error):
                _mention_batch(function, given, named, error)
                raise
            raise refusal(function, owner, given, named, error) from error

    explaining.explains = True  # pyright: ignore[reportAttributeAccessIssue]
    return explaining  # pyright: ignore[reportReturnType]


def explain(cls: Class, *methods: str, kept: bool = False) -> Class:
    """A class whose ``__init__``, and further methods, name the argument that they fail for; classes of other packages
    are left alone.

    Args:
        cls: the class.
        methods: besides ``__init__``.
        kept: whether its objects have to keep whatever asks for a gradient (``check_kept``).
    """
    if cls.__module__.partition(".")[0] == "unrolling":
        for name in ("__init__", *methods):
            if name in vars(cls):
                first = name == "__init__"
                own = explained(vars(cls)[name], cls.__name__, objects=first, kept=kept and first)
                setattr(cls, name, own)
    return cls


def check_kept(module: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Refuses a tensor that asks for a gradient, such as an ``nn.Parameter``, where a module has made numbers of its
    own from its values: whoever trains the tensor given would train nothing.

    Args:
        module: just made.
        arguments: of its constructor, by name; lists and tuples are looked into, modules are kept as they are.

    Raises:
        TypeError: by the argument's name.
    """
    held: set[int] | None = None
    for name, value in arguments.items():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, Tensor) and part.requires_grad:
                held = set(map(id, module.parameters())) if held is None else held
                if id(part) not in held:
                    raise TypeError(
                        f"{name} asks for a gradient, and {class_name(module)} takes its values alone: what it learns "
                        f"is its own. Give {name}.detach()"
                    )


def explain_call(cls: Class) -> Class:
    """``explain`` with what an object does when it is called."""
    return explain(cls, "forward", "__call__")


def _objects(function: Callable[..., Any]) -> dict[str, str]:
    """The arguments that are whole numbers, operators, networks or functions alone, with their annotations."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kinds = {part.strip().partition("[")[0] for part in str(parameter.annotation).split(" | ")} - {"None"}
        if kinds and (kinds <= OBJECTS or kinds == {"int"}):
            found[name] = str(parameter.annotation)
    return found


def _check_objects(
    function: Callable[..., Any], owner: str, wanted: dict[str, str], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    bound = inspect.signature(function).bind(*given, **named).arguments
    for name, kind in wanted.items():
        if name not in bound:
            continue
        value = bound[name]
        if kind.startswith("int"):
            _check_whole(value, name, kind)
            continue
        if isinstance(value, (nn.Module, type)) or (callable(value) and not hasattr(value, "shape")):
            continue
        if value is None and "None" in kind:
            continue
        raise TypeError(f"{name} is {_short(value)}; {owner} takes {_kind(kind)}")


def _check_whole(value: Any, name: str, kind: str) -> None:
    # True and False count, but not where they are seeds, which torch refuses.
    if (value is None and "None" in kind) or (hasattr(value, "__index__") and not hasattr(value, "shape")):
        if not (isinstance(value, bool) and name == "seed"):
            return
    elif getattr(value, "shape", None) == () and type(value).__module__ == "numpy":
        return
    raise TypeError(f"{name} is {_short(value)}; it is a whole number")


def is_told(error: Exception) -> bool:
    """Whether an error says what it has to: raised on purpose in this library, or anywhere in the caller's own code."""
    if type(error) not in ACCIDENTS or "allocate memory" in str(error) or "not enough memory" in str(error):
        return True
    trace = _last(error)
    if trace.tb_frame.f_code.co_filename.startswith(HOME):
        return is_raised(error)
    module = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
    return module not in LIBRARIES and module not in sys.stdlib_module_names


def _mention_batch(
    function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any], error: Exception
) -> None:
    """Adds to an accident in the caller's own iteration that the data may lack their batch dimension.

    It is no more than a note: a tensor of one dimension may be a batch of numbers, and the error the caller's own.
    """
    if type(error) not in ACCIDENTS or getattr(error, "__notes__", None):
        return
    if _last(error).tb_frame.f_code.co_filename.startswith(HOME):
        return
    data = inspect.signature(function).bind(*given, **named).arguments.get("data")
    if isinstance(data, Tensor) and data.ndim <= 1:
        shape = tuple(data.shape)
        error.add_note(f"data has shape {shape}, and the first dimension is the batch: one sample is data[None]")


def is_raised(error: BaseException) -> bool:
    """Whether an error comes from a ``raise`` in this library and not from what was called or worked out, or from a
    call that the signature does not allow.
    """
    trace = _last(error)
    code = trace.tb_frame.f_code
    if not code.co_filename.startswith(HOME):
        return False
    return opcode.opname[code.co_code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE") or code.co_name == "explaining"


def _last(error: BaseException) -> TracebackType:
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def refusal(
    function: Callable[..., Any], owner: str, given: tuple[Any, ...], named: dict[str, Any], error: Exception
) -> Exception:
    """The error that names the argument."""
    signature = inspect.signature(function)
    bound = signature.bind(*given, **named).arguments
    arguments = {name: value for name, value in bound.items() if name != "self"}
    owner = owner or (type(bound["self"]).__name__ if "self" in bound else function.__name__)
    for name, value in arguments.items():
        parameter = signature.parameters[name]
        wanted = str(parameter.annotation)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not _fits(value, wanted):
            return TypeError(f"{name} is {_short(value)}; {owner} takes {_kind(wanted)}")
    held = ", ".join(f"{name} {_short(value)}" for name, value in arguments.items()) or "nothing"
    text = " ".join(str(error).split())[: 2 * LONGEST]
    kind = TypeError if isinstance(error, (TypeError, AttributeError)) or "dtype" in text else ValueError
    return kind(f"{owner} does not work with {held}: {text or type(error).__name__}")


def _fits(value: Any, wanted: str) -> bool:
    """Whether a value is of a kind that an annotation names; of kinds that are not known here it is."""
    if value is None:
        return "None" in wanted or "Any" in wanted
    if not _is_plain(wanted):
        return True
    if isinstance(value, Tensor):
        return "Tensor" in wanted
    if isinstance(value, nn.Module) or callable(value):
        return any(part.strip().partition("[")[0] in OBJECTS for part in wanted.split(" | "))
    if isinstance(value, bool):
        return "bool" in wanted
    if isinstance(value, int):
        return any(kind in wanted for kind in ("int", "float", "complex"))
    if isinstance(value, float):
        return "float" in wanted or "complex" in wanted
    if isinstance(value, complex):
        return "complex" in wanted
    if isinstance(value, str):
        return "str" in wanted or "Literal" in wanted
    if isinstance(value, (list, tuple)):
        return any(kind in wanted for kind in ("tuple", "list", "Sequence", "Shape", "Iterable"))
    return False


def _is_plain(wanted: str) -> bool:
    """Whether an annotation names nothing but tensors, numbers, words, operators, functions and None."""
    return all(part.strip().partition("[")[0] in PLAIN | OBJECTS for part in wanted.split(" | "))


def _kind(wanted: str) -> str:
    return wanted.replace("'", "").replace('"', "") if "[" in wanted or "|" in wanted else wanted


def _short(value: Any) -> str:
    if isinstance(value, (bool, int, float, complex, str)):
        return repr(value)[:LONGEST]
    return kind_of(value)
