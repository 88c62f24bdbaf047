"""Constants as the serialized language spells them: `-1`, `5.`, `-inf`, `CONSTANTS.c0`."""

from __future__ import annotations

import ast

from lowering.objects import DeviceValue

_NAMED = {"inf": float("inf"), "nan": float("nan"), "infj": complex(0, float("inf")),
          "nanj": complex(0, float("nan"))}


class NotLiteral(Exception):
    """The expression is no constant."""


def literal_value(node: ast.expr, constants: tuple) -> object:
    """The value of a constant expression; lists, tuples and dicts of constants too.

    `constants` is what `CONSTANTS.cN` indexes. NotLiteral if it is none.
    """
    if isinstance(node, ast.Constant):
        if node.value is None or isinstance(node.value, (bool, int, float, str, complex)):
            return node.value
        raise NotLiteral
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal_value(node.operand, constants)
        if isinstance(value, (int, float, complex)) and not isinstance(value, bool):
            return -value
        raise NotLiteral
    if isinstance(node, ast.Name) and node.id in _NAMED:
        return _NAMED[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return _complex(node, constants)
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [literal_value(e, constants) for e in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [literal_value(k, constants) for k in node.keys]
        values = [literal_value(v, constants) for v in node.values]
        try:
            return dict(zip(keys, values))
        except TypeError:
            raise NotLiteral from None
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.device":
        return _device(node)
    return stored_constant(node, constants)


def _device(node: ast.Call) -> DeviceValue:
    """`torch.device("cpu")`, as defaults of parameters have it."""
    if node.keywords or len(node.args) != 1 or not isinstance(node.args[0], ast.Constant) or (
            not isinstance(node.args[0].value, str)):
        raise NotLiteral
    try:
        return DeviceValue.parse(node.args[0].value)
    except ValueError:
        raise NotLiteral from None


def stored_constant(node: ast.expr, constants: tuple) -> object:
    """The value of `CONSTANTS.cN`; NotLiteral if the expression is not one or N is too big."""
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "CONSTANTS"
        and node.attr.startswith("c")
        and node.attr[1:].isdecimal()
        and len(node.attr) < 12
    ):
        index = int(node.attr[1:])
        if index < len(constants):
            return constants[index]
    raise NotLiteral


def _complex(node: ast.BinOp, constants: tuple) -> complex:
    """`a+bj`; the parts are set as they stand, so that infinities do not become NaN."""
    real, imaginary = literal_value(node.left, constants), literal_value(node.right, constants)
    if not isinstance(imaginary, complex) or not isinstance(real, (int, float)):
        raise NotLiteral
    sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
    return complex(real, sign * imaginary.imag)
