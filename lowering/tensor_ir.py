"""TensorOps: what a model computes, as loop nests over immutable tensor Values.

Almost everything is a `Generic`: one perfect loop nest whose body is a scalar expression. What is
no loop nest is a short list of named ops (Sort, Scan, Scatter, Random, Grow, Foreign), and around
them stand If, Loop, Tasks and Check. Ops stand in Regions in an order that computes every Value
before its use.

A dim is an int or a Size (lowering/sizes.py), known only at run time. An op over or onto such a dim
reads the Values that it depends on: `operands` and `Region.reads` list them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable

import numpy as np

from lowering.expr import Expr, walk
from lowering import sizes
from lowering.sizes import Size, Unsupported, is_dynamic, size_values
from lowering.texts import Text
from runtime.dtypes import DType, i64
from runtime.foreign import ForeignFunction
from runtime.named_dims import NamedDim

Dim = int | Size
Shape = tuple[Dim, ...]


class Value:
    """A tensor that is computed once. `wrapped`: a 0-d Value that stands for a Python number (it
    promotes like one). `origin`: where in the user's program it came from, for messages."""

    __slots__ = ("name", "shape", "dtype", "op", "wrapped", "origin")
    _count = 0

    def __init__(self, shape, dtype: DType, op: TensorOp | None = None, name: str = "",
                 wrapped: bool = False):
        Value._count += 1
        self.name = name or f"v{Value._count}"
        self.shape: Shape = tuple(shape)
        self.dtype = dtype
        self.op = op
        self.wrapped = wrapped
        self.origin: object = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> Dim:
        return sizes.numel(self.shape)

    def __repr__(self) -> str:
        return f"%{self.name}:{self.dtype}[{','.join(map(str, self.shape))}]"


class TensorOp:
    """Base. `results` are the Values it defines; `operands()` the Values it reads."""

    __slots__ = ("results",)
    results: list[Value]

    def operands(self) -> list[Value]:
        raise NotImplementedError

    def regions(self) -> list[Region]:
        return []

    @property
    def out(self) -> Value:
        return self.results[0]


class Constant(TensorOp):
    """A tensor known at compile time. `data` is an interpreter array (dtype.compute)."""

    __slots__ = ("data",)

    def __init__(self, data: np.ndarray, dtype: DType):
        self.data = data
        self.results = [Value(data.shape, dtype, self)]

    def operands(self) -> list[Value]:
        return []


class Generic(TensorOp):
    """out[i...] = post(combine over r... of body(i..., r...)).

    domain = parallel extents followed by reduced extents; index(k) in `body` counts domain[k].
    combiner  None when nothing is reduced (body is the result, post is None), else one of
              add mul min max and or       from its neutral element; an empty min or max is +-inf
                                           (integers: the dtype's extreme)
              argmin argmax                the body's value is compared; the result is the row-major
                                           position (i64) in the reduced dims of the first extreme,
                                           NaN counting as the extreme
    post      expression of acc(dtype) and of loads and indices over the parallel dims; None = acc.
    base, write  None: out has the shape domain[:parallel] and element i is written at i. Otherwise
              out starts as a copy of `base` and element i is written at the affine, injective
              position write(i): assignment to a slice, padding, concatenation. With `write` but no
              base, out has the given shape and every element of it is written: a reshape.
    """

    __slots__ = ("domain", "parallel", "body", "combiner", "post", "base", "write")

    def __init__(self, domain, parallel: int, body: Expr, combiner: str | None = None,
                 post: Expr | None = None, base: Value | None = None,
                 write: tuple[Expr, ...] | None = None, shape: Shape | None = None):
        self.domain: Shape = tuple(domain)
        self.parallel = parallel
        self.body, self.combiner, self.post = body, combiner, post
        self.base, self.write = base, write
        assert (combiner is None) == (parallel == len(self.domain)), "reduced dims need a combiner"
        shape = base.shape if base is not None else shape or self.domain[:parallel]
        self.results = [Value(shape, self.result_dtype, self)]

    @property
    def acc_dtype(self) -> DType:
        return i64 if self.combiner in ("argmin", "argmax") else self.body.dtype

    @property
    def result_dtype(self) -> DType:
        return self.post.dtype if self.post is not None else self.acc_dtype

    def expressions(self) -> list[Expr]:
        return [self.body, *([self.post] if self.post is not None else []), *(self.write or ())]

    def operands(self) -> list[Value]:
        found = read_by(self.expressions())
        if self.base is not None:
            found[self.base] = None
        found.update(dict.fromkeys(size_values((*self.domain, *self.out.shape))))
        return list(found)


def read_by(expressions: Iterable[Expr]) -> dict[Value, None]:
    """The Values that expressions load from, and those that their sizes are in."""
    found: dict[Value, None] = {}
    for e in expressions:
        for x in walk(e):
            if x.op == "load":
                found[x.attr] = None
            elif x.op == "size":
                found.update(dict.fromkeys(s.value for s in sizes.symbols(x.attr)))
    return found


def _refuse_dynamic(what: str, x: Value) -> None:
    if is_dynamic(x.shape):
        raise Unsupported(f"{what} a tensor whose size is known only at run time")


class Sort(TensorOp):
    """results = values, indices (i64): x sorted along `dim`; stable; NaN is the greatest."""

    __slots__ = ("x", "dim", "descending")

    def __init__(self, x: Value, dim: int, descending: bool):
        self.x, self.dim, self.descending = x, dim, descending
        self.results = [Value(x.shape, x.dtype, self), Value(x.shape, i64, self)]

    def operands(self) -> list[Value]:
        return [self.x, *size_values(self.x.shape)]


class Scan(TensorOp):
    """Inclusive running combination along `dim`: add mul min max (results: values) or, with
    indices=True for min and max, also the i64 position of the last extreme (NaN sticks)."""

    __slots__ = ("x", "dim", "combiner", "indices")

    def __init__(self, x: Value, dim: int, combiner: str, indices: bool = False):
        if indices:
            _refuse_dynamic("the positions of running extremes of", x)
        self.x, self.dim, self.combiner, self.indices = x, dim, combiner, indices
        self.results = [Value(x.shape, x.dtype, self)]
        if indices:
            self.results.append(Value(x.shape, i64, self))

    def operands(self) -> list[Value]:
        return [self.x, *size_values(self.x.shape)]


class Scatter(TensorOp):
    """out = copy of base; then for every point of domain, in row-major order:
    out[write(i)] = mode == 'set' ? body(i) : combine(out[write(i)], body(i)).

    write may load; positions out of bounds are not written. mode: set add mul min max."""

    __slots__ = ("base", "domain", "write", "body", "mode")

    def __init__(self, base: Value, domain, write: tuple[Expr, ...], body: Expr, mode: str):
        self.base, self.domain = base, tuple(domain)
        self.write, self.body, self.mode = tuple(write), body, mode
        self.results = [Value(base.shape, base.dtype, self)]

    def expressions(self) -> list[Expr]:
        return [*self.write, self.body]

    def operands(self) -> list[Value]:
        found = {self.base: None, **read_by(self.expressions())}
        found.update(dict.fromkeys(size_values((*self.domain, *self.base.shape))))
        return list(found)


class Random(TensorOp):
    """The `count` words of a Mersenne twister (mt19937) that follow the 624 of `state`, before
    tempering: x[k] = x[k-227] ^ f(x[k-624], x[k-623]). All i32, one dim."""

    __slots__ = ("state", "count")

    def __init__(self, state: Value, count: Dim):
        self.state, self.count = state, count
        self.results = [Value((count,), state.dtype, self)]

    def operands(self) -> list[Value]:
        return [self.state, *size_values((self.count,))]


class Grow(TensorOp):
    """base with more rows: out has `rows` of them, those after base's own hold anything."""

    __slots__ = ("base",)

    def __init__(self, base: Value, rows: Dim):
        self.base = base
        self.results = [Value((rows, *base.shape[1:]), base.dtype, self)]

    def operands(self) -> list[Value]:
        return list(dict.fromkeys([*with_sizes([self.base]), *size_values(self.out.shape)]))


class Foreign(TensorOp):
    """A call of a C function, which fills the results, row-major, of the given types.

    arguments: as its parameters, Values, numbers, texts, None, and lists of Values or numbers;
    tensors are handed over row-major. It may fail, and is otherwise taken to compute only."""

    __slots__ = ("function", "arguments")

    def __init__(self, function: ForeignFunction, arguments: Iterable,
                 results: Iterable[tuple[Shape, DType]]):
        self.function, self.arguments = function, list(arguments)
        self.results = [Value(shape, dtype, self) for shape, dtype in results]

    def operands(self) -> list[Value]:
        given = [v for x in self.arguments for v in (x if isinstance(x, list) else [x])
                 if isinstance(v, Value)]
        found = dict.fromkeys(with_sizes(given))
        found.update(dict.fromkeys(n for v in self.results for n in size_values(v.shape)))
        return list(found)


class If(TensorOp):
    """results[k] = condition ? then.results[k] : otherwise.results[k]; condition is 0-d bool.

    Sizes that are not the same in both branches, and known outside, are results too: the shapes of
    other results hold them (build.branch)."""

    __slots__ = ("condition", "then", "otherwise")

    def __init__(self, condition: Value, then: Region, otherwise: Region):
        self.condition, self.then, self.otherwise = condition, then, otherwise
        self.results = [Value(v.shape, v.dtype, self) for v in then.results]

    def operands(self) -> list[Value]:
        return [self.condition]

    def regions(self) -> list[Region]:
        return [self.then, self.otherwise]


class Loop(TensorOp):
    """TorchScript's loop: for (n = 0; n < trip && condition; n++) body.

    body.params = counter (0-d i64), carried...; body.results = next condition (0-d bool) when
    `condition` is not None, next carried...; results = final carried. trip: int or 0-d i64 Value.
    Sizes that change from turn to turn are carried: shapes of other parameters and results hold
    them.
    """

    __slots__ = ("trip", "condition", "inits", "body")

    def __init__(self, trip: int | Value, condition: Value | None, inits: list[Value],
                 body: Region):
        self.trip, self.condition, self.inits, self.body = trip, condition, inits, body
        self.results = [Value(v.shape, v.dtype, self) for v in inits]

    def operands(self) -> list[Value]:
        extra = [v for v in (self.trip, self.condition) if isinstance(v, Value)]
        return extra + list(self.inits)

    def regions(self) -> list[Region]:
        return [self.body]


class Tasks(TensorOp):
    """Regions that may run side by side; results = those of all, one after the other."""

    __slots__ = ("tasks",)

    def __init__(self, tasks: list[Region], results: list[Value] | None = None):
        self.tasks = tasks
        if results is None:
            results = [Value(v.shape, v.dtype) for r in tasks for v in r.results]
        self.results = results
        for v in results:
            v.op = self

    def operands(self) -> list[Value]:
        return []

    def regions(self) -> list[Region]:
        return self.tasks


class Check(TensorOp):
    """Fails the run with `message` unless the 0-d bool condition holds. Of the kinds 'print' and
    'warn', tells the message and goes on. Stays in program order. `where`: a line of source."""

    __slots__ = ("condition", "message", "kind", "where")

    def __init__(self, condition: Value, message: str | Text, kind: str = "raise",
                 where: str = ""):
        self.condition, self.kind, self.where = condition, kind, where
        self.message = Text(message)
        self.results = []

    @property
    def told(self) -> Text:
        """The message with the line of source."""
        return self.message + (f"\n{self.where}" if self.where else "")

    def operands(self) -> list[Value]:
        return [self.condition, *self.message.values]


def defined(region: Region) -> list[Value]:
    """The Values that exist inside the region only."""
    return [*region.params, *(v for op in region.ops for v in op.results)]


def with_sizes(values: list[Value]) -> list[Value]:
    """The Values and those that their sizes are in: what must be known to hand them on."""
    return [u for v in values for u in (v, *size_values(v.shape))]


@dataclass(eq=False)
class Region:
    """Ops in order, with parameters and results. A region may read Values of regions around it."""

    params: list[Value] = field(default_factory=list)
    ops: list[TensorOp] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)

    def reads(self) -> list[Value]:
        """Values that the region uses and does not define, in order of first use."""
        defined: set[Value] = set(self.params)
        found: dict[Value, None] = {}
        for op in self.ops:
            inner = [v for r in op.regions() for v in r.reads()]
            for v in [*op.operands(), *inner]:
                if v not in defined:
                    found[v] = None
            defined.update(op.results)
        for v in with_sizes(self.results):
            if v not in defined:
                found[v] = None
        return list(found)


@dataclass(eq=False)
class State:
    """A tensor that a program keeps from call to call; its methods share it by identity. `initial`
    is an interface array, contiguous."""

    name: str
    dtype: DType
    initial: np.ndarray
    meaning: str = ""  # of its number, for one that counts the forms of other state
    generator: str = ""  # which part of the random generator's state it is: 'words', 'normal'


@dataclass(eq=False)
class TensorProgram:
    """One method as TensorOps. `body.params` are the inputs, `body.results` the outputs; names and
    Python structures (grammar in runtime/include/aot.h) tell how they make up the arguments. After
    the inputs come the named dims, 0-d i64, which are read off the inputs' shapes; then, as many as
    `state`: what it holds when a call begins, and after the outputs, when it ends."""

    name: str
    body: Region
    input_names: list[str]
    input_structure: str
    output_structure: str
    state: list[State] = field(default_factory=list)
    dims: list[NamedDim] = field(default_factory=list)
    input_numbers: dict[int, int | float | bool] = field(default_factory=dict)  # the only ones
    written: list[int] = field(default_factory=list)  # inputs; the last outputs are what is left
    strings: list[str] = field(default_factory=list)  # what numbers of strings mean, in all methods
    changes: bool = False  # the module: what it holds does not tell what the next call gives

    @property
    def outputs(self) -> list[Value]:
        """The results that a caller gets."""
        return self.body.results[:len(self.body.results) - len(self.state)]

    @property
    def inputs(self) -> list[Value]:
        """The parameters that a caller gives."""
        return self.body.params[:len(self.input_names)]

    @property
    def sizes(self) -> list[Value]:
        """The parameters that hold the named dims."""
        return self.body.params[len(self.input_names):][:len(self.dims)]
