"""What operators meant in archives of older versions.

An archive's `version` tells which meaning its operators have. Those whose meaning changed are read
as nodes that compute the old one:

    div, div_        before 4: integers divide towards zero; floats as today
    full             before 5: without a dtype the result is float whatever the fill value
    linspace         before 8: without steps there are 100
    logspace         before 9: without steps there are 100
    gelu             before 10: no `approximate`; what it was then is the default today
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from lowering import types
from lowering.graph import Value
from lowering.graph_builder import Builder
from lowering.types import Bool, Tensor, TensorType

_OLD_STEPS = 100


@dataclass(frozen=True)
class Upgrader:
    """`build` returns the value of an operator in an archive older than `version`; None if the
    operator means with these arguments what it means today."""

    version: int
    build: Callable[[Builder, list[Value], dict[str, Value]], Value | None]


def _divide(kind: str) -> Callable[[Builder, list[Value], dict[str, Value]], Value | None]:
    def build(builder: Builder, args: list[Value], keywords: dict[str, Value]) -> Value | None:
        """x / y  ~>  x / y if either is floating point else div(x, y, rounding_mode="trunc")."""
        if keywords or len(args) != 2 or not isinstance(args[0].type, TensorType):
            return None
        x, y = args
        if y.type in (types.Float, types.Complex):
            return None
        floating = builder.op("aten::is_floating_point", [x], Bool)
        if isinstance(y.type, TensorType):
            branch = builder.node("prim::If", [floating], [Bool])
            yes, no = builder.add_block(branch), builder.add_block(branch)
            builder.set_outputs(yes, [builder.constant(True)])
            other = builder.at_end(no).op("aten::is_floating_point", [y], Bool)
            builder.set_outputs(no, [other])
            floating = branch.output
        branch = builder.node("prim::If", [floating], [Tensor])
        true_block, trunc_block = builder.add_block(branch), builder.add_block(branch)
        quotient = builder.at_end(true_block).op(kind, [x, y], Tensor)
        builder.set_outputs(true_block, [quotient])
        mode = builder.constant("trunc")
        truncated = builder.at_end(trunc_block).op(
            kind, [x, y, mode], Tensor, kwarg_names=("rounding_mode",)
        )
        builder.set_outputs(trunc_block, [truncated])
        return branch.output

    return build


def _full(builder: Builder, args: list[Value], keywords: dict[str, Value]) -> Value | None:
    """full([2], 3)  ~>  full([2], float(3))."""
    dtype = keywords.get("dtype")
    if dtype is not None and dtype.type != types.NoneT:
        return None
    if len(args) != 2 or args[1].type in (types.Float, types.Complex):
        return None
    value = builder.op("aten::Float", [args[1]], types.Float)
    inputs = [args[0], value, *keywords.values()]
    return builder.op("aten::full", inputs, Tensor, kwarg_names=tuple(keywords))


def _steps(kind: str) -> Callable[[Builder, list[Value], dict[str, Value]], Value | None]:
    def build(builder: Builder, args: list[Value], keywords: dict[str, Value]) -> Value | None:
        """linspace(a, b)  ~>  linspace(a, b, 100)."""
        keywords = dict(keywords)
        steps = args[2] if len(args) > 2 else keywords.pop("steps", None)
        if steps is not None and steps.type == types.Int:
            return None
        hundred = builder.constant(_OLD_STEPS)
        if steps is not None and steps.type != types.NoneT:
            hundred = _or_hundred(builder, steps, hundred)
        inputs = [*args[:2], hundred, *args[3:], *keywords.values()]
        return builder.op(kind, inputs, Tensor, kwarg_names=tuple(keywords))

    return build


def _or_hundred(builder: Builder, steps: Value, hundred: Value) -> Value:
    """An optional number of steps, or 100 where it is None."""
    missing = builder.op("aten::__is__", [steps, builder.constant(None)], Bool)
    branch = builder.node("prim::If", [missing], [types.Int])
    builder.set_outputs(builder.add_block(branch), [hundred])
    given = builder.add_block(branch)
    number = builder.at_end(given).op("prim::unchecked_cast", [steps], types.Int)
    builder.set_outputs(given, [number])
    return branch.output


UPGRADERS = {
    "aten::div": Upgrader(4, _divide("aten::div")),
    "aten::div_": Upgrader(4, _divide("aten::div_")),
    "aten::full": Upgrader(5, _full),
    "aten::linspace": Upgrader(8, _steps("aten::linspace")),
    "aten::logspace": Upgrader(9, _steps("aten::logspace")),
}
