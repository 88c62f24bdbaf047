"""Checks a TensorProgram's invariants: run after every pass in tests.

A failure names the op with the ops around it, so that the pass that broke it is easy to find.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.random_words import WINDOW
from lowering.sizes import Size, at_least
from lowering.tensor_ir import (
    Check, Foreign, Generic, If, Loop, Random, Region, Scan, Scatter, Sort, Tasks, TensorOp,
    TensorProgram, Value,
)
from llvm_backend.kernel import BINARY, COMPARE, UNARY
from runtime.dtypes import bf16, bool_, f16, i32, i64


class InvalidProgram(Exception):
    """An invariant does not hold; the message says which and where."""


def verify_program(program: TensorProgram, after: str = "") -> None:
    """Raises InvalidProgram unless every Value is defined once and before its uses, expressions are
    well typed, loads stay in bounds where bounds can be told, and shapes agree."""
    try:
        _region(program.body, set())
    except InvalidProgram as e:
        raise InvalidProgram(f"after {after}: {e}" if after else str(e)) from None


def _region(region: Region, outer: set[Value]) -> None:
    known = outer | set(region.params)
    for position, op in enumerate(region.ops):
        try:
            _op(op, known)
        except InvalidProgram as e:
            around = region.ops[max(0, position - 4): position + 5]
            lines = "\n".join(("> " if o is op else "  ") + describe(o) for o in around)
            raise InvalidProgram(f"{e}\n{lines}") from None
        for v in op.results:
            _require(v not in known, f"{v!r} is defined twice")
            _require(v.op is op, f"{v!r} does not know its op")
            known.add(v)
    for v in region.results:
        _require(v in known, f"the result {v!r} is not defined")


def describe(op: TensorOp) -> str:
    """One line about an op."""
    results = ", ".join(map(repr, op.results))
    if isinstance(op, Generic):
        text = f"for {list(op.domain)} ({op.parallel} parallel) {op.combiner or ''} {op.body!r}"
        text += f" then {op.post!r}" if op.post is not None else ""
        text += f" into {op.base!r}" if op.base is not None else ""
        return f"{results} = {text}" + (f" at {op.write!r}" if op.write is not None else "")
    return f"{results} = {type(op).__name__}({', '.join(map(repr, op.operands()))})"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidProgram(message)


def _op(op: TensorOp, known: set[Value]) -> None:
    for v in op.operands():
        _require(v in known, f"{v!r} is read before it is defined")
    if isinstance(op, Generic):
        _generic(op)
    elif isinstance(op, Scatter):
        algebra = IndexAlgebra(op.domain)
        _require(len(op.write) == op.base.ndim, "write has another rank than base")
        _expression(op.body, algebra, len(op.domain), None)
        _require(op.body.dtype is op.base.dtype, "body and base have different dtypes")
    elif isinstance(op, (Sort, Scan)):
        _require(0 <= op.dim < max(op.x.ndim, 1), f"dim {op.dim} of {op.x!r}")
    elif isinstance(op, Random):
        _require(op.state.shape == (WINDOW,) and op.state.dtype is i32, f"a state of {op.state!r}")
    elif isinstance(op, Foreign):
        _require(len(op.arguments) == len(op.function.parameters)
                 and len(op.results) == len(op.function.results), f"not as {op.function}")
    elif isinstance(op, (If, Check)):
        _require(op.condition.shape == () and op.condition.dtype is bool_, "condition is no bool")
    if isinstance(op, If):
        for r in op.regions():
            _region(r, known)
            _same_types(op.results, r.results)
    elif isinstance(op, Tasks):
        for r in op.regions():
            _region(r, known)
        _same_types(op.results, [v for r in op.regions() for v in r.results])
    elif isinstance(op, Loop):
        _require(op.body.params[:1] != [] and op.body.params[0].dtype is i64, "no loop counter")
        _same_types(op.body.params[1:], op.inits)
        skip = 1 if op.condition is not None else 0
        _same_types(op.body.params[1:], op.body.results[skip:])
        _region(op.body, known)


def _same_types(a: list[Value], b: list[Value]) -> None:
    """b's fit where a's are wanted, whose sizes may be of run time."""
    fits = len(a) == len(b) and all(
        v.dtype is w.dtype and v.ndim == w.ndim
        and all(n == m or isinstance(n, Size) for n, m in zip(v.shape, w.shape))
        for v, w in zip(a, b))
    _require(fits, f"{a} and {b} differ in type")


def _generic(op: Generic) -> None:
    algebra = IndexAlgebra(op.domain)
    empty = 0 in op.domain
    _expression(op.body, None if empty else algebra, len(op.domain), None)
    if op.post is not None:
        _require(op.combiner is not None, "post without a reduction")
        _expression(op.post, None if empty else algebra, op.parallel, op.acc_dtype)
    _require(op.out.dtype is op.result_dtype, f"result {op.out!r} of {op.result_dtype} values")
    if op.write is None:
        _require(op.base is None, "base without write")
        _require(op.out.shape == op.domain[: op.parallel], f"{op.out!r} is not the domain's shape")
        return
    _require(len(op.write) == op.out.ndim, "write has another rank than the result")
    if op.base is not None:
        _require(op.base.dtype is op.out.dtype and op.base.shape == op.out.shape,
                 f"{op.out!r} differs from its base {op.base!r}")
    for w, n in zip(op.write, op.out.shape):
        _within(w, n, None if empty else algebra, "a write")


def _expression(e: Expr, algebra: IndexAlgebra | None, dims: int, acc) -> None:
    for x in E.walk(e):
        if x.op == "index":
            _require(x.attr < dims, f"{x!r} in an expression over {dims} dims")
        elif x.op == "acc":
            _require(acc is x.dtype, f"acc of {x.dtype}, expected {acc}")
        elif x.op == "load":
            v = x.attr
            _require(len(x.args) == v.ndim and x.dtype is v.dtype, f"{x!r} of {v!r}")
            for i, n in zip(x.args, v.shape):
                _within(i, n, algebra, repr(x))
        elif x.op in BINARY or x.op in COMPARE:
            a, b = x.args
            _require(a.dtype is b.dtype, f"{x.op} of {a.dtype} and {b.dtype}: {x!r}")
            _require(x.dtype is (bool_ if x.op in COMPARE else a.dtype), f"dtype of {x!r}")
            _require(x.op in COMPARE or a.dtype not in (f16, bf16), f"{x.op} of {a.dtype}")
        elif x.op in UNARY:
            _require(x.dtype is x.args[0].dtype, f"dtype of {x!r}")
        elif x.op == "select":
            c, a, b = x.args
            _require(c.dtype is bool_ and a.dtype is b.dtype is x.dtype, f"types of {x!r}")
        else:
            _require(x.op in ("const", "cast", "size"), f"unknown node {x.op}")


def _within(i: Expr, n: int, algebra: IndexAlgebra | None, what: str) -> None:
    if algebra is None:
        return
    form = algebra.affine(i)
    if any(a.op != "index" for a in form[0]):  # bounds of divisions, or of data, are not exact
        return
    bounds = algebra.affine_bounds(form)
    if bounds is not None:
        least = n if type(n) is Size else max(n, 1)
        _require(not at_least(-1, bounds[0]) and not at_least(bounds[1], least) or n == 0,
                 f"index {i!r} of {what} runs from {bounds[0]} to {bounds[1]}, the dim has {n}")
