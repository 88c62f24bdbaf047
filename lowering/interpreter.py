"""Runs a tensor program with numpy: the oracle that compiled code is compared with.

Arrays are in the interpreter's form (DType.compute: a bf16 array holds float32 values). Values are
immutable, so results may be windows on other arrays. Float sums and products accumulate in float64.
"""

from __future__ import annotations

import copy
import importlib
import itertools

import numpy as np

from lowering import interpreter_scalar as scalar
from lowering.interpreter_contract import contract
from lowering.interpreter_expr import Array, Block, Env, IndexForms
from lowering.tensor_ir import (
    Check, Constant, Foreign, Generic, Grow, If, Loop, Random, Region, Scan, Scatter, Sort,
    Tasks, TensorOp, TensorProgram, Value, with_sizes,
)  # fmt: skip
from lowering import expr as E
from lowering.random_words import draw, untemper
from lowering.sizes import Symbol, evaluate, evaluate_symbol, is_dynamic, size_values
from lowering.texts import tell
from runtime.dtypes import bf16, round_bf16, to_compute, to_storage
from runtime.errors import InputError, RuntimeFailure

# Elements of a block that is evaluated at once: bounds the memory of temporaries.
BLOCK_ELEMENTS = 1 << 21


def run_program(program: TensorProgram, inputs: list[Array]) -> list[Array]:
    """The program's results for inputs in the order of its parameters, state at the end of both.

    Inputs and results are arrays in the interpreter's form. InputError where an input does not fit
    its parameter, RuntimeFailure where a Check fails or an index is out of bounds.
    """
    params = [*program.inputs, *program.body.params[len(program.inputs) + len(program.dims):]]
    if len(inputs) != len(params):
        raise InputError(f"{program.name} takes {len(params)} inputs, found {len(inputs)}")
    given = []
    names = [*program.input_names, *(s.name for s in program.state)]
    sizes = _named_dims(program, inputs)
    for name, p, x in zip(names, params, inputs):
        x = np.asarray(x)
        expected = tuple(evaluate(n, lambda s: sizes.get(s.value, -1)) for n in p.shape)
        if x.shape != expected or x.dtype != p.dtype.compute:
            raise InputError(
                f"argument '{name}': expected {p.dtype.compute}{list(p.shape)}, "
                f"found {x.dtype}{list(x.shape)}"
            )
        given.append(x)
    given[len(program.inputs):len(program.inputs)] = [
        np.array(n, np.int64) for n in sizes.values()]
    return [np.array(y) for y in run_region(program.body, given, {})]


def _named_dims(program: TensorProgram, inputs: list[Array]) -> dict[Value, int]:
    """The numbers that the named dims have in a call, from the first input that has each."""
    found: dict[Value, int] = {}
    for value, dim in zip(program.sizes, program.dims):
        n = next(np.asarray(x).shape[d] for p, x in zip(program.inputs, inputs)
                 for d, size in enumerate(p.shape)
                 if size_values([size]) == [value] and np.asarray(x).ndim == p.ndim)
        if not dim.allows(n):
            raise InputError(f"{program.name}: {dim.rule}, found {n}")
        found[value] = n
    return found


def run_region(region: Region, params: list[Array], env: Env) -> list[Array]:
    """The region's results. `env` holds the Values of regions around it, and is not changed."""
    local = dict(env)
    local.update(zip(region.params, params))
    dying = _last_uses(region)
    with np.errstate(all="ignore"):
        for op, dead in zip(region.ops, dying):
            for value, array in zip(op.results, run_op(op, local)):
                local[value] = array
            for value in dead:
                local.pop(value, None)
    return [local[v] for v in region.results]


def _last_uses(region: Region) -> list[list]:
    """For each op, the Values of this region that nothing reads after it."""
    defined = {v for op in region.ops for v in op.results}
    alive = set(with_sizes(region.results))
    dying: list[list] = []
    for op in reversed(region.ops):
        reads = [*op.operands(), *(v for r in op.regions() for v in r.reads())]
        dead = [v for v in (*dict.fromkeys(reads), *op.results) if v not in alive and v in defined]
        alive.update(reads)
        dying.append(dead)
    return dying[::-1]


def run_op(op: TensorOp, env: Env) -> list[Array]:
    """The arrays of one op's results."""
    if isinstance(op, (Generic, Scatter)):
        op = _with_numbers(op, env)
    if isinstance(op, Generic):
        return [_generic(op, env)]
    if isinstance(op, Constant):
        return [op.data]
    if isinstance(op, Sort):
        return list(_sort(env[op.x], op.dim, op.descending))
    if isinstance(op, Scan):
        return _scan(op, env[op.x])
    if isinstance(op, Scatter):
        return [_scatter(op, env)]
    if isinstance(op, Random):
        count = evaluate(op.count, lambda s: int(env[s.value]))
        return [untemper(draw(env[op.state], count)).view(np.int32)]
    if isinstance(op, Grow):
        rows = evaluate(op.out.shape[0], lambda s: int(env[s.value]))
        base = env[op.base]
        return [np.concatenate([base, np.zeros((rows - len(base), *base.shape[1:]), base.dtype)])]
    if isinstance(op, Foreign):
        return _foreign(op, env)
    if isinstance(op, If):
        return run_region(op.then if env[op.condition] else op.otherwise, [], env)
    if isinstance(op, Tasks):
        return [array for r in op.tasks for array in run_region(r, [], env)]
    if isinstance(op, Loop):
        return _loop(op, env)
    if isinstance(op, Check):
        if not env[op.condition]:
            tell(op.kind, op.told.filled(env.__getitem__))
        return []
    raise NotImplementedError(f"the interpreter has no {type(op).__name__}")


def _with_numbers(op: Generic | Scatter, env: Env) -> Generic | Scatter:
    """The op with the sizes of this run."""
    fields = ("body", "post") if isinstance(op, Generic) else ("body",)
    expressions = [e for e in (*(getattr(op, f) for f in fields), *(op.write or ()))
                   if e is not None]
    if not is_dynamic((*op.domain, *op.out.shape)) and not any(map(E.sizes, expressions)):
        return op

    def number(s: Symbol) -> int:
        return int(env[s.value])

    def leaf(x: E.Expr) -> E.Expr | None:
        return E.const(evaluate_symbol(x.attr, number)) if x.op == "size" else None

    memo: dict = {}
    op = copy.copy(op)
    op.domain = tuple(evaluate(n, number) for n in op.domain)
    op.results = [Value([evaluate(n, number) for n in op.out.shape], op.out.dtype)]
    for f in fields:
        if getattr(op, f) is not None:
            setattr(op, f, E.rewrite(getattr(op, f), leaf, memo))
    if op.write is not None:
        op.write = tuple(E.rewrite(w, leaf, memo) for w in op.write)
    return op


def _generic(op: Generic, env: Env) -> Array:
    forms = IndexForms(op.domain)
    if op.combiner is None:
        out = _pointwise(op, forms, env)
    else:
        acc = _reduce(op, forms, env)
        if op.post is None:
            out = acc
        else:
            out = Block(forms, (0,) * op.parallel, op.domain[: op.parallel], env, acc).full(op.post)
    if op.write is None:
        return out
    return _write(op, forms, out, env)


def _write(op: Generic, forms: IndexForms, out: Array, env: Env) -> Array:
    """A copy of base (or, where every element is written, anything) with `out` at op.write."""
    if op.base is None:
        result = np.empty(op.out.shape, op.out.dtype.compute)
    else:
        result = np.array(env[op.base])
    domain = op.domain[: op.parallel]
    if 0 in domain:
        return result
    block = Block(forms, (0,) * op.parallel, domain, env)
    affine = [block.local_form(w) for w in op.write]
    if None in affine:
        result[tuple(block.full(w) for w in op.write)] = out
    elif not affine:
        result[()] = out.reshape(())
    else:
        block.window(result, affine, op.write, writeable=True)[...] = out
    return result


def _blocks(domain: tuple[int, ...], limit: int, dims: range):
    """Splits a domain into (lo, extents) blocks of at most `limit` points, cutting `dims` only."""
    extents = list(domain)

    def points() -> int:
        n = 1
        for e in extents:
            n *= e
        return n

    while points() > limit:
        k = max(dims, key=lambda d: extents[d], default=None)
        if k is None or extents[k] == 1:
            break
        extents[k] = -(-extents[k] // 2)
    grid = [range(0, n, e) if n else range(1) for n, e in zip(domain, extents)]
    for lo in itertools.product(*grid):
        yield lo, tuple(min(e, n - a) for a, e, n in zip(lo, extents, domain))


def _at(lo: tuple[int, ...], extents: tuple[int, ...], parallel: int) -> tuple[slice, ...]:
    return tuple(slice(a, a + e) for a, e in zip(lo[:parallel], extents[:parallel]))


def _pointwise(op: Generic, forms: IndexForms, env: Env) -> Array:
    blocks = list(_blocks(op.domain, BLOCK_ELEMENTS, range(op.parallel)))
    if len(blocks) == 1 or op.body.op == "load":
        return Block(forms, (0,) * op.parallel, op.domain, env).full(op.body)
    out = np.empty(op.domain, op.body.dtype.compute)
    for lo, extents in blocks:
        out[_at(lo, extents, op.parallel)] = Block(forms, lo, extents, env).full(op.body)
    return out


def _reduce(op: Generic, forms: IndexForms, env: Env) -> Array:
    """The accumulator, in acc_dtype, of shape domain[:parallel]."""
    shape, axes = op.domain[: op.parallel], tuple(range(op.parallel, len(op.domain)))
    if op.combiner in ("argmin", "argmax"):
        return _arg_reduce(op, forms, env)
    dtype = op.body.dtype
    if 0 in op.domain:
        return np.full(shape, scalar.neutral(op.combiner, dtype), dtype.compute)
    if op.combiner == "add":
        product = contract(op, forms, env)
        if product is not None:
            return product
    ufunc, working = scalar.REDUCE[op.combiner], scalar.accumulator(dtype, op.combiner)
    out = np.full(shape, scalar.neutral(op.combiner, dtype), working)
    for lo, extents in _blocks(op.domain, BLOCK_ELEMENTS, range(len(op.domain))):
        part = ufunc.reduce(Block(forms, lo, extents, env).full(op.body), axis=axes, dtype=working)
        at = _at(lo, extents, op.parallel)
        out[at] = ufunc(out[at], part)
    return scalar.narrow(out, dtype)


def _arg_reduce(op: Generic, forms: IndexForms, env: Env) -> Array:
    shape = op.domain[: op.parallel]
    out = np.zeros(shape, np.int64)
    if 0 in op.domain:
        return out
    pick = np.argmax if op.combiner == "argmax" else np.argmin  # a NaN counts as the extreme
    for lo, extents in _blocks(op.domain, BLOCK_ELEMENTS, range(op.parallel)):
        x = Block(forms, lo, extents, env).full(op.body)
        out[_at(lo, extents, op.parallel)] = pick(x.reshape(*extents[: op.parallel], -1), axis=-1)
    return out


def _sort(x: Array, dim: int, descending: bool) -> tuple[Array, Array]:
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    if not descending:
        order = np.argsort(x, axis=dim, kind="stable")
    else:  # sorted backwards and mirrored, equal elements keep their order
        mirrored = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
        order = x.shape[dim] - 1 - np.flip(mirrored, dim)
    return np.take_along_axis(x, order, axis=dim), order.astype(np.int64)


def _scan(op: Scan, x: Array) -> list[Array]:
    if x.ndim == 0:
        return [x, np.zeros((), np.int64)][: len(op.results)]
    ufunc = scalar.REDUCE[op.combiner]
    working = scalar.accumulator(op.x.dtype, op.combiner)
    values = scalar.narrow(ufunc.accumulate(x, axis=op.dim, dtype=working), op.x.dtype)
    if not op.indices:
        return [values]
    shape = [-1 if d == op.dim else 1 for d in range(x.ndim)]
    position = np.arange(x.shape[op.dim], dtype=np.int64).reshape(shape)
    taken = np.where((x == values) | (x != x), position, 0)
    return [values, np.maximum.accumulate(taken, axis=op.dim)]


def _scatter(op: Scatter, env: Env) -> Array:
    out = np.array(env[op.base])
    if 0 in op.domain:
        return out
    block = Block(IndexForms(op.domain), (0,) * len(op.domain), op.domain, env)
    at = [block.full(w).ravel() for w in op.write]
    values = block.full(op.body).ravel()
    inside = np.ones(values.shape, np.bool_)
    for indices, n in zip(at, out.shape):
        inside &= (indices >= 0) & (indices < n)
    index = tuple(indices[inside] for indices in at)
    values = values[inside]
    if not at:  # a 0-d base: every point writes the one element
        out, index = out.reshape(1), (np.zeros(values.shape, np.int64),)
    if op.mode == "set":
        out[index] = values  # numpy keeps the last of equal positions
    else:
        scalar.REDUCE[op.mode].at(out, index, values)
    if op.base.dtype is bf16:
        out = round_bf16(out)
    return out.reshape(op.out.shape)


def _loop(op: Loop, env: Env) -> list[Array]:
    trip = op.trip if isinstance(op.trip, int) else int(env[op.trip])
    running = True if op.condition is None else bool(env[op.condition])
    carried = [env[v] for v in op.inits]
    n = 0
    while n < trip and running:
        results = run_region(op.body, [np.array(n, np.int64), *carried], env)
        if op.condition is not None:
            running = bool(results[0])
            results = results[1:]
        carried = results
        n += 1
    return carried


def _foreign(op: Foreign, env: Env) -> list[Array]:
    def given(kind: str, x: object) -> object:
        if isinstance(x, list):
            return [given(kind.removesuffix("[]"), v) for v in x]
        if not isinstance(x, Value):
            return x
        if not kind.startswith("Tensor"):
            return env[x].item()
        return np.array(to_storage(env[x], x.dtype), order="C"), x.dtype

    made = [(np.zeros([evaluate(n, lambda s: int(env[s.value])) for n in v.shape],
                      v.dtype.storage), v.dtype) for v in op.results]
    arguments = [given(kind, x) for (kind, _), x in zip(op.function.parameters, op.arguments)]
    importlib.import_module("runtime.foreign_call").call(op.function, arguments, made)
    return [to_compute(array, dtype) for array, dtype in made]
