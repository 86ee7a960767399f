"""Formulas of sizes in a file of ``torch.export``: torch evaluates them as Python, so that only arithmetic may pass."""

from __future__ import annotations

import ast
import re

LONGEST, DEEPEST = 20_000, 200  # characters, levels of nesting
LARGEST, HIGHEST = 2**64, 8  # a number, an exponent: 9**9**9 would never be worked out
SYMBOL = re.compile(r"[a-z]{1,3}\d{1,6}")
NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?(e[+-]?\d{1,2})?")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,500}")
# Of SymPy, and of torch's additions to it.
FUNCTIONS = frozenset(
    (
        *("Add", "Mul", "Pow", "Integer", "Rational", "Float", "Symbol", "Max", "Min", "Abs", "Where", "Identity"),
        *("FloorDiv", "Mod", "PythonMod", "ModularIndexing", "CleanDiv", "CeilDiv", "PowByNatural", "FloatPow"),
        *(
            "CeilToInt",
            "FloorToInt",
            "TruncToInt",
            "TruncToFloat",
            "RoundToInt",
            "IntTrueDiv",
            "FloatTrueDiv",
            "ToFloat",
        ),
        *("Equality", "Unequality", "StrictLessThan", "StrictGreaterThan", "LessThan", "GreaterThan"),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "IsNonOverlappingAndDenseIndicator"),
    )
)
POWERS = frozenset({"Pow", "PowByNatural", "FloatPow"})
ASSUMPTIONS = frozenset({"positive", "integer", "nonnegative", "real", "nonzero", "negative", "finite", "commutative"})
WORDS = frozenset({"true", "false", "True", "False"})
# Of the conditions that torch checks before a program runs.
BUILTINS = frozenset({"max", "min", "abs", "int", "float", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "Eq", "Ne"})
MATHEMATICS = frozenset({"floor", "ceil", "trunc"})
OF_TENSORS = frozenset({"size", "stride", "storage_offset", "dim"})
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Div)
PLAIN = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.USub, ast.UAdd, ast.Not, ast.Compare, ast.cmpop, *ARITHMETIC)


def check_expression(text: object) -> None:
    """A size: SymPy's functions of whole numbers and symbols, such as ``Mul(Integer(2), Symbol('s0', integer=True))``.

    Raises:
        ValueError: anything else.
    """
    for node in _nodes(text):
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if name in FUNCTIONS:
                if name == "Symbol":
                    _check_symbol(arguments, keywords)
                elif keywords and not (name == "Float" and _is_double(keywords)):
                    raise _refused(node)
                if name in POWERS and not (len(arguments) == 2 and _is_low(arguments[1])):
                    raise _refused(node)
            case ast.Name(id=name):
                if name not in FUNCTIONS and name not in WORDS and not SYMBOL.fullmatch(name):
                    raise _refused(node)
            case ast.Constant(value=str(value)) if NUMBER.fullmatch(value) and abs(float(value)) <= LARGEST:
                pass  # SymPy's Float('-0.5')
            case ast.Constant(value=str(value)):
                if not SYMBOL.fullmatch(value):
                    raise _refused(node)
            case _:
                _check_plain(node)


def check_condition(text: object) -> None:
    """A condition of the sizes of the inputs, such as ``L['data'].size()[0] != 2``.

    Raises:
        ValueError: anything else.
    """
    for node in _nodes(text):
        match node:
            case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))) if NAME.fullmatch(name):
                pass
            case ast.Subscript(value=ast.Call(), slice=ast.Constant(value=int())):
                pass
            case ast.Call(func=ast.Attribute(value=ast.Subscript(), attr=name), args=[], keywords=[]):
                if name not in OF_TENSORS:
                    raise _refused(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="math"), attr=name), keywords=[]):
                if name not in MATHEMATICS:
                    raise _refused(node)
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                if name not in BUILTINS:
                    raise _refused(node)
            case ast.Attribute(value=ast.Subscript()) | ast.Attribute(value=ast.Name(id="math")):
                if node.attr not in OF_TENSORS | MATHEMATICS:
                    raise _refused(node)
            case ast.Name(id=name):
                if name not in BUILTINS and name not in ("L", "math"):
                    raise _refused(node)
            case ast.Constant(value=str(name)):
                if not NAME.fullmatch(name):
                    raise _refused(node)
            case _:
                _check_plain(node)


def _check_plain(node: ast.AST) -> None:
    """Numbers and arithmetic."""
    match node:
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int() | float() as value) if abs(value) <= LARGEST:
            return
        case ast.BinOp(op=ast.Pow()):
            if _is_low(node.right):
                return
        case ast.BinOp(op=operator) if isinstance(operator, ARITHMETIC):
            return
        case ast.Pow() | ast.Load() | ast.Expression() | ast.keyword():
            return
        case _ if isinstance(node, PLAIN):
            return
    raise _refused(node)


def _check_symbol(arguments: list[ast.expr], keywords: list[ast.keyword]) -> None:
    named = len(arguments) == 1 and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str)
    assumed = all(
        keyword.arg in ASSUMPTIONS and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        for keyword in keywords
    )
    if not (named and assumed):
        raise ValueError("a symbol that is none")


def _is_low(exponent: ast.expr) -> bool:
    """Whether it is a small number."""
    match exponent:
        case ast.Constant(value=int() | float() as value):
            return abs(value) <= HIGHEST
        case ast.Constant(value=str(value)):
            return NUMBER.fullmatch(value) is not None and abs(float(value)) <= HIGHEST
        case ast.Call(func=ast.Name(id="Integer" | "Float"), args=[inner]):
            return _is_low(inner)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _is_low(inner)
    return False


def _is_double(keywords: list[ast.keyword]) -> bool:
    """Whether all they say is the precision of a double; SymPy would take millions of bits too."""
    return all(
        each.arg == "precision" and isinstance(each.value, ast.Constant) and each.value.value == 53 for each in keywords
    )


def _nodes(text: object) -> list[ast.AST]:
    if not isinstance(text, str) or len(text) > LONGEST or not text.isascii() or not text.isprintable() or "#" in text:
        raise ValueError(f"a formula that is none: {str(text)[:60]!r}")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"a formula that is none: {text[:60]!r}") from error
    found: list[ast.AST] = []
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        if not level:
            return found
        found += level
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    raise ValueError(f"a formula that is nested too deep: {text[:60]!r}")


def _refused(node: ast.AST) -> ValueError:
    return ValueError(f"a formula with {ast.unparse(node)[:60]!r}, which is no arithmetic of sizes")
