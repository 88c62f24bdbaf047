"""Elements written to positions given by index tensors: scatter, index_add and their kind."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import (
    cast, compute, compute_dtype, dim_of, full, pointwise, read, reindex, scatter,
)
from lowering.index_algebra import delinearize
from lowering.ops.indexing import put as put_at
from lowering.ops.positions import needs_integers, position
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, u8

_MODES = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max",
          "amin": "min", "mean": "add"}


def _vector(x: Value) -> Value:
    """A 0-d tensor as one of one element."""
    return reindex(x, (1,), lambda i: []) if x.ndim == 0 else x


class _Target:
    """Where scatter's element i goes: dim of i replaced by index[i]."""

    def __init__(self, name: str, x: Value, dim: int, index: Value, src: Value | None = None):
        self.given = x
        self.dim = dim_of(dim, x.ndim)
        needs_integers(name, index)
        if index.numel and max(x.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError("Index tensor must have the same number of dimensions as self "
                               "tensor")
        if src is not None and index.numel and max(src.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        self.base, self.index = _vector(x), _vector(index)
        self.domain = self.index.shape
        for k, n in enumerate(self.domain if index.numel else ()):
            if n > (self.base.shape[k] if k != self.dim else n):
                raise RuntimeError(f"Expected index {list(index.shape)} to be no larger than self "
                                   f"{list(x.shape)} apart from dimension {self.dim}")
            if src is not None and n > _vector(src).shape[k]:
                raise RuntimeError(f"Expected index {list(index.shape)} to be no larger than src "
                                   f"{list(src.shape)} in all dimensions")
        self.at = position(self.index, self.base.shape[self.dim], self.dim, wrap=False, hold=False)

    def place(self, *i):
        return [self.at(*i) if k == self.dim else e for k, e in enumerate(i)]

    def shaped(self, out: Value) -> Value:
        """The result in the target's own shape."""
        return reindex(out, (), lambda: [0]) if self.given.ndim == 0 else out


def _element(src, i, dtype):
    """src (a tensor or a number) at i."""
    if isinstance(src, Value) and src.ndim:
        return E.cast(E.load(src, i), dtype)
    return E.cast(E.load(src), dtype) if isinstance(src, Value) else E.const(src, dtype)


def _same_dtype(name: str, x: Value, src: Value) -> None:
    if x.dtype is not src.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")


def _combine(base: Value, domain, place, body, mode: str) -> Value:
    """Scatter with a combiner, in the dtype that is computed in; bool through u8."""
    if mode == "set":
        return scatter(base, domain, place, lambda *i: body(*i, base.dtype), "set")
    wide = u8 if base.dtype is bool_ else compute_dtype(base.dtype)
    if base.dtype is bool_:
        mode = {"add": "max", "mul": "min"}.get(mode, mode)
    out = scatter(cast(base, wide), domain, place, lambda *i: body(*i, wide), mode)
    return cast(out, base.dtype)


@aten("scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
      "scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor")
def scatter_src(x, dim, index, src, *, reduce=None):
    """out[index[i, j], j] = src[i, j] for dim 0; reduce adds or multiplies instead."""
    _same_dtype("scatter", x, src)
    return _scatter("scatter", x, dim, index, src, reduce)


@aten("scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
      "scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) "
      "-> Tensor")
def scatter_value(x, dim, index, value, *, reduce=None):
    return _scatter("scatter", x, dim, index, value, reduce)


@aten("scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor")
def scatter_add(x, dim, index, src):
    _same_dtype("scatter", x, src)
    return _scatter("scatter_add", x, dim, index, src, "add")


def _scatter(name: str, x: Value, dim: int, index: Value, src, reduce: str | None) -> Value:
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    tensor = isinstance(src, Value) and not src.wrapped
    target = _Target(name, x, dim, index, src if tensor else None)
    src = _vector(src) if tensor else src
    out = _combine(target.base, target.domain, target.place,
                   lambda *i: _element(src, i[:-1], i[-1]), _MODES[reduce] if reduce else "set")
    return target.shaped(out)


_NEUTRAL = {"add": 0, "mul": 1}


def _neutral(mode: str, dtype):
    if mode in _NEUTRAL:
        return E.const(_NEUTRAL[mode], dtype)
    low = mode == "max"
    if dtype.is_float:
        return E.const(float("-inf") if low else float("inf"), dtype)
    if dtype is bool_:
        return E.const(not low, dtype)
    bits = dtype.bits - (dtype.kind == "i")
    least = -(2 ** bits) if dtype.kind == "i" else 0
    return E.const(least if low else 2 ** bits - 1, dtype)


def _reduced(target: _Target, domain, place, src: Value, reduce: str, include_self: bool) -> Value:
    """Scatter with `reduce`; without self, reached positions start from the neutral element."""
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin, got "
                           f"{reduce}")
    mode, base = _MODES[reduce], target.base
    if not include_self:
        base = scatter(base, domain, place, lambda *i: _neutral(mode, base.dtype))
    wide = cast(base, compute_dtype(base.dtype))
    out = _combine(wide, domain, place, lambda *i: _element(src, i[:-1], i[-1]), mode)
    if reduce == "mean":
        start = full(base.shape, 1 if include_self else 0, wide.dtype)
        count = scatter(start, domain, place, lambda *i: E.const(1, wide.dtype), "add")
        out = pointwise(lambda s, n: _quotient(s, E.maximum(n, 1)), out, count)
    return target.shaped(cast(out, base.dtype))


def _quotient(s, n):
    return s / n if s.dtype.is_float else E.binary("floordiv", s, n)


@aten("scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, "
      "bool include_self=True) -> Tensor")
def scatter_reduce(x, dim, index, src, reduce, *, include_self=True):
    _same_dtype("scatter", x, src)
    target = _Target("scatter_reduce", x, dim, index, src)
    return _reduced(target, target.domain, target.place, _vector(src), reduce, include_self)


# Whole slices: index_add and its kind


class _Slices(_Target):
    """Where element i of `source` goes: dim of i replaced by index[i[dim]]."""

    def __init__(self, name: str, x: Value, dim: int, index: Value, source: Value | None):
        self.given = x
        self.dim = dim_of(dim, x.ndim)
        needs_integers(name, index)
        if index.ndim > 1:
            raise IndexError(f"{name}(): Index should have dimension 1 or 0 (got {index.ndim})")
        self.base, self.index = _vector(x), _vector(index)
        shape = [self.index.numel if k == self.dim else n for k, n in enumerate(self.base.shape)]
        if source is not None and list(_vector(source).shape) != shape:
            raise IndexError(f"{name}(): Number of indices ({self.index.numel}) should be equal to "
                             f"source.size(dim), and the slices of self {list(x.shape)} and source "
                             f"{list(source.shape)} must have the same shape")
        self.domain = tuple(shape)
        self.at = position(self.index, self.base.shape[self.dim], self.dim, wrap=False, hold=False)

    def place(self, *i):
        return [self.at(e) if k == self.dim else e for k, e in enumerate(i)]


@aten("index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor")
def index_add(x, dim, index, source, *, alpha=1):
    """out[index[k]] += alpha * source[k] along dim."""
    if x.dtype is not source.dtype:
        raise RuntimeError("index_add_(): self and source must have the same scalar type")
    target, source = _Slices("index_add", x, dim, index, source), _vector(source)

    def body(*i):
        value, factor = _element(source, i[:-1], i[-1]), read(alpha, (), i[-1])
        return value & factor if i[-1] is bool_ else value * factor

    return target.shaped(_combine(target.base, target.domain, target.place, body, "add"))


@aten("index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor")
def index_copy(x, dim, index, source):
    if x.dtype is not source.dtype:
        raise RuntimeError("index_copy_(): self and source expected to have the same dtype, but "
                           "got "
                           f"(self) {x.dtype.torch_name} and (source) {source.dtype.torch_name}")
    target, source = _Slices("index_copy", x, dim, index, source), _vector(source)
    return target.shaped(scatter(target.base, target.domain, target.place,
                                 lambda *i: E.load(source, i)))


@aten("index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
      "index_fill.int_Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor")
def index_fill(x, dim, index, value):
    if isinstance(value, Value) and value.ndim:
        raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor "
                           f"with {value.ndim} dimension(s).")
    dim = dim_of(dim, x.ndim)
    n = (x.shape or (1,))[dim]
    wrapped = compute(index.shape, lambda *i: E.select(
        E.load(index, i) < 0, E.load(index, i) + n, E.load(index, i)))
    target = _Slices("index_fill", x, dim, wrapped, None)
    return target.shaped(scatter(target.base, target.domain, target.place,
                                 lambda *i: _element(value, (), x.dtype)))


@aten("index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, "
      "bool include_self=True) -> Tensor")
def index_reduce(x, dim, index, source, reduce, *, include_self=True):
    target = _Slices("index_reduce", x, dim, index, source)
    return _reduced(target, target.domain, target.place, _vector(source), reduce, include_self)


@aten("put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor")
def put(x, index, source, accumulate=False):
    """Positions count in the flattened tensor."""
    needs_integers("put_", index)
    if x.dtype is not source.dtype:
        raise RuntimeError("put_(): self and source expected to have the same dtype, but got "
                           f"self.dtype = {x.dtype.torch_name} and source.dtype = "
                           f"{source.dtype.torch_name}")
    if index.numel != source.numel:
        raise RuntimeError("put_(): Expected source and index to have the same number of elements, "
                           f"but got source.numel() = {source.numel}, index.numel() = "
                           f"{index.numel}")
    at = position(index, x.numel, 0)
    return put_at(x, (index.numel,),
                  lambda n: delinearize(at(*delinearize(n, index.shape)), x.shape),
                  lambda n: E.load(source, delinearize(n, source.shape)), accumulate)
