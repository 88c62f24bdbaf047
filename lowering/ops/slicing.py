"""Views of a part: slices, selections, splits, diagonals, windows; copies with a part replaced."""

from __future__ import annotations

from lowering import expr as E
from lowering import views
from lowering.build import cast, check, compute, dim_of
from lowering.known import Unsupported, known
from lowering.ops.table import aten
from lowering.sizes import Number, Size, at_least, bounds, floordiv, maximum, minimum, symbols
from lowering.tensor_ir import Value
from lowering.views import View
from runtime.dtypes import i64

_LIST = "-> Tensor(a)[]"


@aten("slice.Tensor(Tensor(a) self, int dim=0, int? start=None, int? end=None, int step=1) "
      "-> Tensor(a)")
def slice(x, dim=0, start=None, end=None, step=1):
    """As Python's, for positive steps: bounds are clamped, negative ones count from the end."""
    if x.ndim == 0:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    dim = dim_of(dim, x.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    n = x.shape[dim]
    if any(isinstance(v, (Size, Value)) for v in (n, start, end)):
        return _slice_of_run_time(x, dim, start, end, step)
    first = _bound(0 if start is None else start, n)
    last = max(_bound(n if end is None else end, n), first)
    return views.narrow(x.shape, dim, first, (last - first + step - 1) // step, step)


def _slice_of_run_time(x: Value, dim: int, start, end, step: int) -> View:
    """A slice whose size the run decides: by its bounds, or as the dim has such a size."""
    n = x.shape[dim]
    if not isinstance(start, Value) and start in (None, 0) and step == 1 and (
            end is None or not isinstance(end, Value) and end == _TO_THE_END):
        return views.narrow(x.shape, dim, 0, n)
    if not isinstance(start, Value) and not isinstance(end, Value):
        first, last = (_held(i, n) for i in (start or 0, n if end is None else end))
        length = maximum(last - first, 0)
        return views.narrow(x.shape, dim, first, floordiv(length + step - 1, step), step)
    size = E.lift(n, i64)

    def bound(i) -> Value:
        at = E.load(i) if isinstance(i, Value) else E.lift(i, i64)
        at = E.select(at < 0, at + size, at)
        return compute((), lambda: E.minimum(E.maximum(at, 0), size))

    first = bound(0 if start is None else start)
    last = bound(_TO_THE_END if end is None else end)
    count = compute((), lambda: (E.maximum(E.load(last) - E.load(first), 0) + step - 1) // step)
    index = tuple(E.load(first) + E.index(k) * step if k == dim else E.index(k)
                  for k in range(x.ndim))
    shape = tuple(Size(count, 0, bounds(n)[1]) if k == dim else m for k, m in enumerate(x.shape))
    return View(tuple(x.shape), shape, index)


def _held(i: Number, n: Number) -> Number:
    """A bound of a slice within 0 and n; negative ones count from the end. Of a named dim, or a
    part of one, there is taken to be something: the last of it, x[-1:], is one."""
    if type(i) is int and i == _TO_THE_END:
        return n
    if type(i) is int and i == -1 and all(s.low > 0 for s in symbols(n)) and n - 1 >= 0:
        return n - 1
    return minimum(maximum(i if at_least(i, 0) else i + n, 0), n)


_TO_THE_END = (1 << 63) - 1  # what TorchScript writes for x[a:]


def _bound(i: int, n: int) -> int:
    return min(max(i + n if i < 0 else i, 0), n)


@aten("select.int(Tensor(a) self, int dim, int index) -> Tensor(a)")
def select(x, dim, index):
    """One position of a dim; the index may be known only at run time (then it must be in range)."""
    if x.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = dim_of(dim, x.ndim)
    n = x.shape[dim]
    if isinstance(index, Value):
        at = E.load(index)
        at = E.minimum(E.maximum(E.select(at < 0, at + n, at), 0),
                       E.lift(maximum(n - 1, 0), i64))
        chosen = views.select(x.shape, dim, 0)
        where = tuple(at if k == dim else e for k, e in enumerate(chosen.index))
        return View(chosen.base_shape, chosen.shape, where)
    if isinstance(n, Size):
        need = index + 1 if index >= 0 else -index
        check(compute((), lambda: E.lift(n, i64) >= need),
              f"select(): index {index} out of range for dimension {dim}")
        at = E.const(index) if index >= 0 else E.maximum(E.lift(n, i64) + index, 0)
        chosen = views.select(x.shape, dim, 0)
        return View(chosen.base_shape, chosen.shape,
                    tuple(at if k == dim else e for k, e in enumerate(chosen.index)))
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(x.shape)} "
                         f"at dimension {dim}")
    return views.select(x.shape, dim, index % n)


@aten("narrow(Tensor(a) self, int dim, int start, int length) -> Tensor(a)",
      "narrow.Tensor(Tensor(a) self, int dim, Tensor start, int length) -> Tensor(a)")
def narrow(x, dim, start, length):
    if x.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim = dim_of(dim, x.ndim)
    n = x.shape[dim]
    if isinstance(start, Value):
        return _narrow_at(x, dim, start, length)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n}], but got "
                         f"{start})")
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return views.narrow(x.shape, dim, start, length)


def _narrow_at(x: Value, dim: int, start: Value, length: int) -> View:
    """A start that is known at run time only, held within the bounds."""
    n = x.shape[dim]
    if start.ndim or not start.dtype.is_integer:
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    at = E.cast(E.load(start), i64)
    at = E.minimum(E.maximum(E.select(at < 0, at + n, at), 0), n - length)
    part = views.narrow(x.shape, dim, 0, length)
    where = tuple(e + at if k == dim else e for k, e in enumerate(part.index))
    return View(part.base_shape, part.shape, where)


# Splits


@aten(f"split.Tensor(Tensor(a -> *) self, int split_size, int dim=0) {_LIST}",
      "unsafe_split.Tensor(Tensor self, int split_size, int dim=0) -> Tensor[]")
def split(x, split_size, dim=0):
    """Parts of split_size, the last one smaller."""
    if x.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = dim_of(dim, x.ndim)
    n = x.shape[dim]
    if split_size < 0 or (split_size == 0 and n):
        raise RuntimeError("split expects split_size be non-negative, but got split_size="
                           f"{split_size}")
    if n == 0:
        return [views.narrow(x.shape, dim, 0, 0)]
    return _parts(x, dim, split_size, floordiv(n + split_size - 1, split_size))


def _parts(x: Value, dim: int, size: Number, count: Number) -> list[View]:
    """`count` parts of a dim, all but the last one of that size."""
    if isinstance(count, Size):
        raise Unsupported("how many parts a split has must be known at compile time, these are "
                          f"{count}")
    sizes = [size] * (count - 1) + [x.shape[dim] - (count - 1) * size]
    return [views.narrow(x.shape, dim, k * size, n) for k, n in enumerate(sizes)]


@aten(f"split.sizes(Tensor(a -> *) self, int[] split_size, int dim=0) {_LIST}",
      f"split(Tensor(a -> *) self, int[] split_sizes, int dim=0) {_LIST}",
      f"split_with_sizes(Tensor(a -> *) self, int[] split_sizes, int dim=0) {_LIST}",
      "unsafe_split_with_sizes(Tensor self, int[] split_sizes, int dim=0) -> Tensor[]")
def split_with_sizes(x, sizes, dim=0):
    dim = dim_of(dim, x.ndim)
    if sum(sizes) != x.shape[dim] or any(n < 0 for n in sizes):
        raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {x.shape[dim]} "
                           f"(input tensor's size at dimension {dim}), but got split_sizes="
                           f"{list(sizes)}")
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return [views.narrow(x.shape, dim, s, n) for s, n in zip(starts, sizes)]


@aten(f"chunk(Tensor(a -> *) self, int chunks, int dim=0) {_LIST}",
      "unsafe_chunk(Tensor self, int chunks, int dim=0) -> Tensor[]")
def chunk(x, chunks, dim=0):
    """At most `chunks` parts of equal size, the last one smaller."""
    if x.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = x.shape[dim_of(dim, x.ndim)]
    size = (n + chunks - 1) // chunks
    if isinstance(n, Size) and (chunks - 1) * size < n:  # as of a large one, and checked
        return _parts(x, dim_of(dim, x.ndim), size, chunks)
    if size == 0:
        return [views.narrow(x.shape, dim_of(dim, x.ndim), 0, 0)] * chunks
    return split.__wrapped__(x, size, dim)


@aten(f"tensor_split.sections(Tensor(a -> *) self, int sections, int dim=0) {_LIST}",
      f"tensor_split.indices(Tensor(a -> *) self, int[] indices, int dim=0) {_LIST}",
      "tensor_split.tensor_indices_or_sections(Tensor(a -> *) self, Tensor "
      f"tensor_indices_or_sections, int dim=0) {_LIST}")
def tensor_split(x, sections, dim=0):
    """`sections` parts whose sizes differ by at most one, or parts between indices."""
    if x.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a "
                           "tensor "
                           "with 0 dims")
    dim = dim_of(dim, x.ndim)
    n = x.shape[dim]
    if isinstance(sections, Value):
        sections = known(sections, "tensor_split's indices or sections").tolist()
    if isinstance(sections, int):
        if sections <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {sections}")
        small, larger = n // sections, n % sections
        cuts = [k * small + minimum(k, larger) for k in range(sections + 1)]
    else:
        cuts = [0, *(_bound(i, n) for i in sections), n]
    return [views.narrow(x.shape, dim, a, maximum(b - a, 0)) for a, b in zip(cuts, cuts[1:])]


def _axis_split(name: str, x: Value, sections, dim: int, least: int) -> list[View]:
    if x.ndim < least:
        raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension"
                           f"{'s' * (least > 1)}, but got a tensor with {x.ndim} dimensions!")
    if isinstance(sections, int) and (sections <= 0 or x.shape[dim] % sections):
        raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the size "
                           f"of "
                           f"the dimension {x.shape[dim]} is not divisible by the split_size "
                           f"{sections}!")
    return tensor_split.__wrapped__(x, sections, dim)


@aten(f"hsplit.int(Tensor(a -> *) self, int sections) {_LIST}",
      f"hsplit.array(Tensor(a -> *) self, int[] indices) {_LIST}")
def hsplit(x, sections):
    return _axis_split("hsplit", x, sections, 0 if x.ndim == 1 else 1, 1)


@aten(f"vsplit.int(Tensor(a -> *) self, int sections) {_LIST}",
      f"vsplit.array(Tensor(a -> *) self, int[] indices) {_LIST}")
def vsplit(x, sections):
    return _axis_split("vsplit", x, sections, 0, 2)


@aten(f"dsplit.int(Tensor(a -> *) self, int sections) {_LIST}",
      f"dsplit.array(Tensor(a -> *) self, int[] indices) {_LIST}")
def dsplit(x, sections):
    return _axis_split("dsplit", x, sections, 2, 3)


@aten(f"unbind.int(Tensor(a -> *) self, int dim=0) {_LIST}")
def unbind(x, dim=0):
    if x.ndim == 0:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    dim = dim_of(dim, x.ndim)
    return [views.select(x.shape, dim, k) for k in range(x.shape[dim])]


# Diagonals and windows


@aten("diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)")
def diagonal(x, offset=0, dim1=0, dim2=1):
    dim1, dim2 = dim_of(dim1, x.ndim), dim_of(dim2, x.ndim)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return views.diagonal(x.shape, offset, dim1, dim2)


@aten("linalg_diagonal(Tensor(a) A, *, int offset=0, int dim1=-2, int dim2=-1) -> Tensor(a)")
def linalg_diagonal(x, *, offset=0, dim1=-2, dim2=-1):
    return diagonal.__wrapped__(x, offset, dim1, dim2)


@aten("unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)")
def unfold(x, dimension, size, step):
    dim = dim_of(dimension, x.ndim)
    if x.ndim == 0:
        if size > 1:
            raise RuntimeError("maximum size for tensor at dimension 0 is 1 but size is "
                               f"{size}")
        return View((), (size,), ())
    if size > x.shape[dim]:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {x.shape[dim]} but size "
                           f"is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return views.unfold(x.shape, dim, size, step)


# Copies with a part replaced, and copies of views


@aten("select_scatter(Tensor self, Tensor src, int dim, int index) -> Tensor")
def select_scatter(x, src, dim, index):
    return _put(x, src, select.__wrapped__(x, dim, index))


@aten("slice_scatter(Tensor self, Tensor src, int dim=0, int? start=None, int? end=None, "
      "int step=1) -> Tensor")
def slice_scatter(x, src, dim=0, start=None, end=None, step=1):
    return _put(x, src, slice.__wrapped__(x, dim, start, end, step))


@aten("diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor")
def diagonal_scatter(x, src, offset=0, dim1=0, dim2=1):
    return _put(x, src, diagonal.__wrapped__(x, offset, dim1, dim2))


def _put(x: Value, src: Value, view: View) -> Value:
    if tuple(src.shape) != tuple(view.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = "
                           f"{list(src.shape)}, slice size = {list(view.shape)}")
    return view.put(x, cast(src, x.dtype))


@aten("narrow_copy(Tensor self, int dim, int start, int length) -> Tensor")
def narrow_copy(x, dim, start, length):
    return narrow(x, dim, start, length)


