"""Tensor programs as upstream MLIR: linalg.generic on tensors, scf around it.

    module {
      func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
        %0 = tensor.empty() : tensor<4xf32>
        %v1 = linalg.generic {indexing_maps = [...], iterator_types = ["parallel"]}
          ins(%x : tensor<4xf32>) outs(%0 : tensor<4xf32>) { ... } -> tensor<4xf32>

A Generic is one linalg.generic: loads whose indices are affine are its inputs, others are
tensor.extract in its body; what comes after a reduction (`post`) is a second, pointwise one.
Writing into a base is tensor.insert_slice where the positions are a slice, else loops of
tensor.insert; Scatter is such loops. Sort, Scan, Random and Foreign are calls of declared
functions, Check is cf.assert. Print-only: nothing here reads MLIR.
"""

from __future__ import annotations

import re
from typing import Callable, Sequence

from lowering import expr as E
from lowering.expr import Expr, loads
from lowering.print_linalg_scalar import (
    Lines, ScalarPrinter, as_type, extreme, literal, mlir_type, nested, scalar_of, shaped_type,
    tensor_type,
)
from lowering.print_linalg_slices import as_slice
from lowering.sizes import Size
from lowering.tensor_ir import (
    Check, Constant, Foreign, Generic, Grow, If, Loop, Random, Region, Scan, Scatter, Sort, Tasks,
    TensorOp, TensorProgram, Value,
)
from runtime.dtypes import DType, bool_, i64

# Constants of more elements are printed without their numbers.
SHOWN_ELEMENTS = 256


def print_tensor_program(program: TensorProgram) -> str:
    """The program as a module of one public function, accepted by mlir-opt 22."""
    lines = Lines()
    body = program.body
    names = [*program.input_names, *(d.name for d in program.dims),
             *(s.name for s in program.state)]
    params = ", ".join(f"{lines.name_of(p, name)}: {tensor_type(p)}"
                       for p, name in zip(body.params, names))
    types = ", ".join(map(tensor_type, body.results))
    lines.depth = 2
    _ops(lines, body)
    results = ", ".join(map(lines.name_of, body.results))
    lines.put(f"return {results} : {types}" if body.results else "return")
    name = re.sub(r"\W", "_", program.name)
    head = f"  func.func @{name}({params}) -> ({types}) {{"
    declared = [f"  {text}" for text in lines.declared.values()]
    return "\n".join(["module {", head, *lines.lines, "  }", *declared, "}", ""])


def print_tensor_programs(programs: Sequence[TensorProgram]) -> str:
    """Several methods, one module each, as mlir-opt --split-input-file takes them."""
    return "\n// -----\n\n".join(map(print_tensor_program, programs))


def _ops(lines: Lines, region: Region) -> None:
    for op in region.ops:
        _PRINTERS[type(op)](lines, op)


def _generic(lines: Lines, op: Generic) -> None:
    if op.base is None and op.combiner is None:
        _pointwise(lines, op.domain, op.body, lines.name_of(op.out), op.out.dtype)
        return
    shape = op.domain[:op.parallel]
    if op.combiner is None:
        body, given = op.body, {}
    else:
        body, given = _after_reduction(lines, op)
    if op.base is None and body.op == "acc":
        lines.names[op.out] = given[body][0]
    elif op.base is None:
        _pointwise(lines, shape, body, lines.name_of(op.out), op.out.dtype, given)
    else:
        _write(lines, op, shape, body, given)


def _write(lines: Lines, op: Generic, shape, body: Expr, given: dict) -> None:
    """The base with the values at write(i) replaced."""
    place = as_slice(op.write, shape, op.base.shape)
    if place is None:
        _insert_loop(lines, op, shape, op.base, op.write, lambda old: body, given)
        return
    part = lines.fresh()
    _pointwise(lines, shape, body, part, op.out.dtype, given)
    offsets, sizes, strides = (", ".join(map(str, v)) for v in place)
    part_type = shaped_type(shape, op.out.dtype)
    lines.put(f"{lines.name_of(op.out)} = tensor.insert_slice {part} into {lines.name_of(op.base)}"
              f"[{offsets}] [{sizes}] [{strides}] : {part_type} into {tensor_type(op.base)}")


# linalg.generic


def _extent(lines: Lines, n: int | Size) -> str:
    """A size as an i64."""
    if not isinstance(n, Size):
        return lines.let(f"arith.constant {n} : i64")
    return ScalarPrinter(lines, lambda k: "", {}).print(E.in_loads(n))


def _extent_index(lines: Lines, n: int | Size) -> str:
    if not isinstance(n, Size):
        return lines.index(n)
    return lines.let(f"arith.index_cast {_extent(lines, n)} : i64 to index")


def _empty(lines: Lines, shape, dtype: DType) -> str:
    sizes = ", ".join(_extent_index(lines, n) for n in shape if isinstance(n, Size))
    return lines.let(f"tensor.empty({sizes}) : {shaped_type(shape, dtype)}")


def affine(e: Expr) -> str | None:
    """The index expression as an affine one of dims d0, d1 ..., None if it is not."""
    if e.op == "const":
        return str(e.attr)
    if e.op == "index":
        return f"d{e.attr}"
    a = [affine(x) for x in e.args]
    if None in a:
        return None
    if e.op in ("add", "sub"):
        return f"({a[0]} {'+' if e.op == 'add' else '-'} {a[1]})"
    if e.op == "mul" and any(x.is_const for x in e.args):
        return f"({a[0]} * {a[1]})"
    if e.op in ("floordiv", "mod") and e.args[1].is_const and e.args[1].attr > 0:
        return f"({a[0]} {e.op} {a[1]})"
    return f"(-{a[0]})" if e.op == "neg" else None


class _Operands:
    """Inputs of a linalg.generic: the loads that its indexing maps can express."""

    def __init__(self, domain, given: dict[Expr, tuple[str, DType]]):
        self.domain = tuple(domain)
        self.maps: list[str] = []
        self.names: list[str] = []
        self.types: list[str] = []
        self.arguments: list[tuple[Expr | None, DType]] = []
        self.covered: set[int] = set()
        dims = ", ".join(f"d{k}" for k in range(len(self.domain)))
        self.dims = f"({dims})"
        for e, (name, dtype) in given.items():
            self.add(e, name, dtype, [f"d{k}" for k in range(len(self.domain))], self.domain)

    def add(self, e: Expr | None, name: str, dtype: DType, index: list[str], shape) -> None:
        self.maps.append(f"affine_map<{self.dims} -> ({', '.join(index)})>")
        self.names.append(name)
        self.types.append(shaped_type(shape, dtype))
        self.arguments.append((e, dtype))
        self.covered.update(int(d[1:]) for d in index if re.fullmatch(r"d\d+", d))

    def add_load(self, lines: Lines, e: Expr) -> None:
        """Takes a load as an input if every index is affine and, where it is a plain loop index,
        runs over the whole dim."""
        index = [affine(i) for i in e.args]
        if None in index or 0 in self.domain:
            return
        for text, i, n in zip(index, e.args, e.attr.shape):
            if i.op == "index" and self.domain[i.attr] != n:
                return
        self.add(e, lines.name_of(e.attr), e.dtype, index, e.attr.shape)

    def cover(self, lines: Lines) -> None:
        """linalg wants every loop's extent to be some operand's: an empty tensor gives the rest."""
        missing = [k for k in range(len(self.domain)) if k not in self.covered]
        if missing:
            shape = [self.domain[k] for k in missing]
            name = _empty(lines, shape, bool_)
            self.add(None, name, bool_, [f"d{k}" for k in missing], shape)


def _linalg(lines: Lines, domain, parallel: int, body: Expr, result: str,
            outs: list[tuple[str, DType]], given: dict[Expr, tuple[str, DType]],
            finish: Callable[[ScalarPrinter, str, list[str]], list[str]]) -> None:
    """One linalg.generic. outs: initial tensors over the parallel dims; `finish` gets the printer,
    the body's name and the block arguments of the outs, and gives what is yielded."""
    operands = _Operands(domain, given)
    for e in loads(body):
        operands.add_load(lines, e)
    operands.covered.update(range(parallel))
    operands.cover(lines)
    out_map = f"affine_map<{operands.dims} -> ({', '.join(f'd{k}' for k in range(parallel))})>"
    out_types = [shaped_type(domain[:parallel], dtype) for _, dtype in outs]
    kinds = ", ".join('"parallel"' if k < parallel else '"reduction"' for k in range(len(domain)))
    maps = ", ".join(operands.maps + [out_map] * len(outs))
    count = f":{len(outs)}" if len(outs) > 1 else ""
    names, types = ", ".join(operands.names), ", ".join(operands.types)
    ins = f" ins({names} : {types})" if operands.names else ""
    lines.put(f"{result}{count} = linalg.generic {{indexing_maps = [{maps}], iterator_types = "
              f"[{kinds}]}}{ins} outs({', '.join(n for n, _ in outs)} : {', '.join(out_types)}) {{")
    arguments, known = [], {}
    for e, dtype in operands.arguments:
        name = lines.fresh()
        arguments.append(f"{name}: {mlir_type(dtype)}")
        if e is not None:
            known[e] = name
    states = [lines.fresh() for _ in outs]
    arguments += [f"{n}: {mlir_type(d)}" for n, (_, d) in zip(states, outs)]
    lines.put(f"^bb0({', '.join(arguments)}):")
    lines.depth += 1
    scalar = ScalarPrinter(lines, lambda k: _loop_index(lines, k), known)
    yielded = finish(scalar, scalar.print(body), states)
    lines.put(f"linalg.yield {', '.join(yielded)} : {', '.join(mlir_type(d) for _, d in outs)}")
    lines.depth -= 1
    lines.put(f"}} -> {out_types[0] if len(outs) == 1 else '(' + ', '.join(out_types) + ')'}")


def _loop_index(lines: Lines, k: int) -> str:
    return lines.let(f"arith.index_cast {lines.let(f'linalg.index {k} : index')} : index to i64")


def _pointwise(lines: Lines, domain, body: Expr, result: str, dtype: DType,
               given: dict[Expr, tuple[str, DType]] | None = None) -> None:
    init = _empty(lines, domain, dtype)
    _linalg(lines, domain, len(domain), body, result, [(init, dtype)], given or {},
            lambda scalar, value, states: [value])


def _filled(lines: Lines, shape, dtype: DType, number) -> str:
    text = literal(number, dtype)
    c = lines.let(f"arith.constant {text}" + ("" if dtype is bool_ else f" : {mlir_type(dtype)}"))
    t = shaped_type(shape, dtype)
    empty = _empty(lines, shape, dtype)
    return lines.let(f"linalg.fill ins({c} : {mlir_type(dtype)}) outs({empty} : {t}) -> {t}")


def _neutral(combiner: str, dtype: DType):
    if combiner in ("min", "max"):
        return extreme(dtype, combiner == "max")
    if combiner == "and":
        return True if dtype is bool_ else -1
    return 1 if combiner == "mul" else 0


def _after_reduction(lines: Lines, op: Generic) -> tuple[Expr, dict[Expr, tuple[str, DType]]]:
    """Prints the reduction; the expression of what follows it, and the name of its accumulator."""
    shape, dtype = op.domain[:op.parallel], op.body.dtype
    if op.combiner in ("argmin", "argmax"):
        reduced = _position(lines, op)
    else:
        reduced = lines.fresh()
        init = _filled(lines, shape, dtype, _neutral(op.combiner, dtype))

        def combine(scalar, value, states):
            a, b = Expr("acc", (), dtype, "state"), Expr("acc", (), dtype, "value")
            scalar.done.update({a: states[0], b: value})
            return [scalar.print(Expr(op.combiner, (a, b), dtype))]

        _linalg(lines, op.domain, op.parallel, op.body, reduced, [(init, dtype)], {}, combine)
    acc = Expr("acc", (), op.acc_dtype)
    return (op.post if op.post is not None else acc), {acc: (reduced, op.acc_dtype)}


def _position(lines: Lines, op: Generic) -> str:
    """argmin or argmax: the best value and its position are carried together."""
    shape, dtype = op.domain[:op.parallel], op.body.dtype
    best = _filled(lines, shape, dtype, extreme(dtype, op.combiner == "argmax"))
    first = _filled(lines, shape, i64, 0)

    def better(scalar, value, states):
        let, t = lines.let, mlir_type(dtype)
        a, b = Expr("acc", (), dtype, "value"), Expr("acc", (), dtype, "best")
        scalar.done.update({a: value, b: states[0]})
        take = scalar.print(Expr("gt" if op.combiner == "argmax" else "lt", (a, b), bool_))
        if dtype.is_float:
            new = let(f"arith.cmpf uno, {value}, {value} : {t}")
            old = let(f"arith.cmpf ord, {states[0]}, {states[0]} : {t}")
            worse = let(f"arith.andi {new}, {old} : i1")
            take = let(f"arith.ori {take}, {worse} : i1")
        at = None
        for k in range(op.parallel, len(op.domain)):
            i = _loop_index(lines, k)
            if at is not None:
                n = let(f"arith.constant {op.domain[k]} : i64")
                i = let(f"arith.addi {let(f'arith.muli {at}, {n} : i64')}, {i} : i64")
            at = i
        return [let(f"arith.select {take}, {value}, {states[0]} : {t}"),
                let(f"arith.select {take}, {at}, {states[1]} : i64")]

    pair = f"%r{lines.count}"
    lines.count += 1
    _linalg(lines, op.domain, op.parallel, op.body, pair, [(best, dtype), (first, i64)], {},
            better)
    return f"{pair}#1"


# Loops of tensor.insert


def _insert_loop(lines: Lines, op: TensorOp, domain, base: Value, write, value, given) -> None:
    """out = base; for i in domain: out[write(i)] = value(i), where write(i) is within bounds."""
    t, out = tensor_type(base), lines.name_of(op.results[0])
    zero, one = lines.index(0), lines.index(1)
    counters, states, ends = [], [], []
    current = lines.name_of(base)
    for k, n in enumerate(domain):
        counters.append(lines.fresh())
        states.append(lines.fresh())
        end = _extent_index(lines, n)
        ends.append(out if k == 0 else lines.fresh())
        lines.put(f"{ends[k]} = scf.for {counters[k]} = {zero} to {end} step {one} "
                  f"iter_args({states[k]} = {current}) -> ({t}) {{")
        lines.depth += 1
        current = states[k]
    at_index = {k: c for k, c in enumerate(counters)}
    known = {}
    for e, (name, dtype) in given.items():
        known[e] = lines.let(f"tensor.extract {name}[{', '.join(counters)}] : "
                             f"{shaped_type(domain, dtype)}")
    scalar = ScalarPrinter(
        lines, lambda k: lines.let(f"arith.index_cast {at_index[k]} : index to i64"), known)
    positions = [scalar.print(w) for w in write]
    inside = None
    for p, n in zip(positions, base.shape):
        for test in (f"sge, {p}, {lines.let('arith.constant 0 : i64')}",
                     f"slt, {p}, {_extent(lines, n)}"):
            ok = lines.let(f"arith.cmpi {test} : i64")
            inside = ok if inside is None else lines.let(f"arith.andi {inside}, {ok} : i1")
    at = ", ".join(lines.let(f"arith.index_cast {p} : i64 to index") for p in positions)
    if inside is None:
        inside = lines.let("arith.constant true")
    result = lines.fresh() if counters else out
    lines.put(f"{result} = scf.if {inside} -> ({t}) {{")
    lines.depth += 1
    old = Expr("acc", (), base.dtype, "old")
    scalar.done[old] = lines.let(f"tensor.extract {current}[{at}] : {t}")
    new = scalar.print(value(old))
    lines.put(f"scf.yield {lines.let(f'tensor.insert {new} into {current}[{at}] : {t}')} : {t}")
    lines.depth -= 1
    lines.put("} else {")
    lines.put(f"  scf.yield {current} : {t}")
    lines.put("}")
    for k in reversed(range(len(counters))):
        lines.put(f"scf.yield {result if k == len(counters) - 1 else ends[k + 1]} : {t}")
        lines.depth -= 1
        lines.put("}")


def _scatter(lines: Lines, op: Scatter) -> None:
    def value(old: Expr) -> Expr:
        return op.body if op.mode == "set" else Expr(op.mode, (old, op.body), op.base.dtype)

    _insert_loop(lines, op, op.domain, op.base, op.write, value, {})


# The other ops


def _constant(lines: Lines, op: Constant) -> None:
    v = op.out
    data = op.data
    if v.numel == 0:
        text = "dense<>"
    elif v.numel > 1 and (data == data.flat[0]).all():
        text = f"dense<{literal(data.flat[0], v.dtype)}>"
    elif v.numel <= SHOWN_ELEMENTS:
        text = f"dense<{nested(data, v.dtype)}>"
    else:
        text = "dense_resource<__elided__>"
    lines.put(f"{lines.name_of(v)} = arith.constant {text} : {tensor_type(v)}")


def _named(kind: str, lines: Lines, op: TensorOp, xs: list[Value], detail: str) -> None:
    types = [tensor_type(v) for v in op.results]
    shape = "_".join(map(_type_name, xs))
    result = types[0] if len(types) == 1 else f"({', '.join(types)})"
    call = lines.call(f"{kind}_{detail}_{shape}", list(map(lines.name_of, xs)),
                      list(map(tensor_type, xs)), result)
    if len(types) == 1:
        lines.put(f"{lines.name_of(op.out)} = {call}")
        return
    pair = lines.name_of(op.out)
    lines.put(f"{pair}:{len(types)} = {call}")
    for k, v in enumerate(op.results):
        lines.names[v] = f"{pair}#{k}"


def _type_name(x: Value) -> str:
    return "x".join([str(n) if isinstance(n, int) else "any" for n in x.shape] + [str(x.dtype)])


def _sort(lines: Lines, op: Sort) -> None:
    direction = "descending" if op.descending else "ascending"
    _named("sort", lines, op, [op.x], f"{direction}_dim{op.dim}")


def _scan(lines: Lines, op: Scan) -> None:
    _named("scan", lines, op, [op.x], f"{op.combiner}{'_indices' * op.indices}_dim{op.dim}")


def _random(lines: Lines, op: Random) -> None:
    _named("random", lines, op, [op.state], f"words_{op.count}")


def _foreign(lines: Lines, op: Foreign) -> None:
    told = [str(x) for x in op.arguments if not isinstance(x, (Value, list))]
    detail = "_".join([op.function.symbol, *told, *map(_type_name, op.results)])
    _named("foreign", lines, op, op.operands(), re.sub(r"\W", "_", detail))


def _bind_results(lines: Lines, results: list[Value]) -> str:
    """The left side of an op with these results; names them."""
    if len(results) == 1:
        return f"{lines.name_of(results[0])} = "
    group = lines.fresh()
    group = f"%r{group[1:]}"
    for k, v in enumerate(results):
        lines.names[v] = f"{group}#{k}"
    return f"{group}:{len(results)} = " if results else ""


def _yield(lines: Lines, values: list[Value], results: list[Value]) -> None:
    names = ", ".join(as_type(lines, v, w) for v, w in zip(values, results))
    types = ", ".join(map(tensor_type, results))
    lines.put(f"scf.yield {names} : {types}" if values else "scf.yield")


def _if(lines: Lines, op: If) -> None:
    condition = scalar_of(lines, op.condition)
    types = ", ".join(map(tensor_type, op.results))
    arrow = f" -> ({types})" if op.results else ""
    lines.put(f"{_bind_results(lines, op.results)}scf.if {condition}{arrow} {{")
    for region, last in ((op.then, "} else {"), (op.otherwise, "}")):
        lines.depth += 1
        _ops(lines, region)
        _yield(lines, region.results, op.results)
        lines.depth -= 1
        lines.put(last)


def _loop(lines: Lines, op: Loop) -> None:
    """scf.while over the counter, the condition (true where there is none) and the carried."""
    types = [tensor_type(v) for v in op.results]
    zero = lines.let("arith.constant 0 : i64")
    trip = (scalar_of(lines, op.trip) if isinstance(op.trip, Value)
            else lines.let(f"arith.constant {op.trip} : i64"))
    go = (lines.let("arith.constant true") if op.condition is None
          else scalar_of(lines, op.condition))
    inits = [zero, go, *(as_type(lines, v, w) for v, w in zip(op.inits, op.results))]
    before = [lines.fresh() for _ in inits]
    all_types = ", ".join(["i64", "i1", *types])
    group = f"%r{lines.fresh()[1:]}"
    for k, v in enumerate(op.results):
        lines.names[v] = f"{group}#{k + 2}"
    pairs = ", ".join(f"{b} = {i}" for b, i in zip(before, inits))
    lines.put(f"{group}:{len(inits)} = scf.while ({pairs}) : ({all_types}) -> ({all_types}) {{")
    lines.depth += 1
    within = lines.let(f"arith.cmpi slt, {before[0]}, {trip} : i64")
    both = lines.let(f"arith.andi {within}, {before[1]} : i1")
    lines.put(f"scf.condition({both}) {', '.join(before)} : {all_types}")
    lines.depth -= 1
    lines.put("} do {")
    counter, params = op.body.params[0], op.body.params[1:]
    n, flag = lines.fresh(), lines.fresh()
    heads = [f"{n}: i64", f"{flag}: i1", *(f"{lines.name_of(p)}: {tensor_type(p)}" for p in params)]
    lines.put(f"^bb0({', '.join(heads)}):")
    lines.depth += 1
    lines.put(f"{lines.name_of(counter)} = tensor.from_elements {n} : tensor<i64>")
    _ops(lines, op.body)
    results = list(op.body.results)
    again = lines.let("arith.constant true") if op.condition is None else scalar_of(
        lines, results.pop(0))
    following = lines.let(f"arith.addi {n}, {lines.let('arith.constant 1 : i64')} : i64")
    carried = [as_type(lines, v, w) for v, w in zip(results, op.results)]
    lines.put(f"scf.yield {', '.join([following, again, *carried])} : {all_types}")
    lines.depth -= 1
    lines.put("}")


def _check(lines: Lines, op: Check) -> None:
    text = str(op.told)
    if op.kind != "raise":
        lines.put(f"// {op.kind}: {' '.join(text.splitlines())}")
        return
    message = text.replace("\\", "\\\\").replace('"', '\\22').replace("\n", "\\0A")
    lines.put(f'cf.assert {scalar_of(lines, op.condition)}, "{message}"')


def _tasks(lines: Lines, op: Tasks) -> None:
    """One after the other: there is no such op upstream."""
    for r in op.tasks:
        _ops(lines, r)
    for v, w in zip(op.results, [v for r in op.tasks for v in r.results]):
        lines.names[v] = as_type(lines, w, v)


_PRINTERS = {
    Generic: _generic, Scatter: _scatter, Constant: _constant, Sort: _sort, Scan: _scan,
    Random: _random, Foreign: _foreign,
    Grow: lambda lines, op: _named("grow", lines, op, op.operands(), "rows"),
    If: _if, Loop: _loop, Check: _check, Tasks: _tasks,
}
