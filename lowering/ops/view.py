"""Views that keep every element: shapes, orders of dims, broadcasts. See also slicing.py."""

from __future__ import annotations

import math
from dataclasses import replace

from lowering import expr as E
from lowering import views
from lowering.build import broadcast_shape, check, compute, dim_of, reindex, stretch_to
from lowering.index_algebra import IndexAlgebra, delinearize
from lowering.ops.table import aten, each
from lowering.sizes import Size, at_least, is_dynamic, symbols
from lowering.tensor_ir import Shape
from lowering.views import View
from runtime.dtypes import i64

_SELF = "(Tensor(a) self) -> Tensor(a)"


def _as_it_is(x) -> View:
    return views.permute(x.shape, range(x.ndim))


@aten(*each("detach alias lift_fresh real conj resolve_conj resolve_neg positive", _SELF),
      "cpu(Tensor(a) self) -> Tensor(b|a)",
      "contiguous(Tensor(a) self, *, MemoryFormat memory_format=0) -> Tensor(a)")
def alias(x, *, memory_format=0):
    """The tensor itself. (`contiguous` of a tensor that is not is a copy: the caller, who knows the
    strides, decides.)"""
    return _as_it_is(x)


@aten("data(Tensor self) -> Tensor", "lift(Tensor self) -> Tensor")
def data(x):
    return _as_it_is(x)


# Shape


@aten("view(Tensor(a) self, int[] size) -> Tensor(a)",
      "reshape(Tensor(a) self, int[] shape) -> Tensor(a)",
      "_unsafe_view(Tensor self, int[] size) -> Tensor")
def reshape(x, shape):
    """Row-major order of the elements is kept; one size may be -1."""
    shape = list(shape)
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if any(n < -1 for n in shape):
        raise RuntimeError(f"invalid shape dimension {min(shape)}")
    if -1 in shape and 0 in shape and x.numel == 0:
        raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {shape} because the "
                           "unspecified dimension size -1 can be any value and is ambiguous")
    given = _as_wanted(x.shape, shape)
    view = views.reshape(given, shape)
    return view if given is x.shape else replace(view, base_shape=x.shape, inverse=None)


def _as_wanted(given: Shape, shape: list) -> Shape:
    """Where data decide one size of the given shape, and all that is wanted is known, only one
    number fits: the shape with that; the program checks it."""
    known = [n for n in given if not isinstance(n, Size)]
    if len(known) != len(given) - 1 or -1 in shape or is_dynamic(shape):
        return given
    size, = (n for n in given if isinstance(n, Size))
    rest = math.prod(known)
    wanted, left = divmod(math.prod(shape), rest) if rest else (0, 1)
    if left or any(s.value is None or s.value.op is None for s in symbols(size)):
        return given  # it cannot fit, or callers decide
    check(compute((), lambda: E.eq(E.lift(size, i64), E.lift(wanted, i64))),
          f"shape '{shape}' is invalid for the input's size: one of its dims is not {wanted}")
    return tuple(wanted if n is size else n for n in given)


@aten("_reshape_alias(Tensor(a) self, int[] size, int[] stride) -> Tensor(a)")
def _reshape_alias(x, size, stride):
    return reshape.__wrapped__(x, size)


@aten(*each("view_as reshape_as", "(Tensor(a) self, Tensor other) -> Tensor(a)"))
def view_as(x, other):
    return views.reshape(x.shape, other.shape)


@aten("flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)")
def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        dim_of(start_dim, 0), dim_of(end_dim, 0)
        return views.reshape((), (1,))
    start, end = dim_of(start_dim, x.ndim), dim_of(end_dim, x.ndim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    joined = math.prod(x.shape[start:end + 1])
    return views.reshape(x.shape, (*x.shape[:start], joined, *x.shape[end + 1:]))


@aten("unflatten.int(Tensor(a) self, int dim, int[] sizes) -> Tensor(a)")
def unflatten(x, dim, sizes):
    dim, sizes = dim_of(dim, x.ndim), list(sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if -1 in sizes:
        rest = -math.prod(sizes)
        if rest <= 0 or x.shape[dim] % rest:
            raise RuntimeError(f"unflatten: Provided sizes {sizes} don't multiply up to the size "
                               f"of "
                               f"dim {dim} ({x.shape[dim]}) in the input tensor")
        sizes[sizes.index(-1)] = x.shape[dim] // rest
    if math.prod(sizes) != x.shape[dim]:
        raise RuntimeError(f"unflatten: Provided sizes {sizes} don't multiply up to the size of "
                           f"dim {dim} ({x.shape[dim]}) in the input tensor")
    return views.reshape(x.shape, (*x.shape[:dim], *sizes, *x.shape[dim + 1:]))


@aten("ravel(Tensor(a) self) -> Tensor(a)")
def ravel(x):
    return views.reshape(x.shape, (x.numel,))


@aten("squeeze(Tensor(a) self) -> Tensor(a)")
def squeeze(x):
    _check_not_one(x.shape)
    return views.reshape(x.shape, [n for n in x.shape if n != 1])


@aten("squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)",
      "squeeze.dims(Tensor(a) self, int[] dim) -> Tensor(a)")
def squeeze_dims(x, dim):
    """Drops those of the dims whose size is 1."""
    dims = [dim_of(d, x.ndim) for d in ([dim] if isinstance(dim, int) else dim)]
    _check_not_one([x.shape[d] for d in dims if x.ndim])  # a 0-d tensor takes dim 0 too
    return views.reshape(x.shape, [n for k, n in enumerate(x.shape) if n != 1 or k not in dims])


def _check_not_one(sizes) -> None:
    """Sizes of run time are dims that stay: how many dims a result has is known."""
    for n in sizes:
        if isinstance(n, Size) and not at_least(n, 2):
            check(compute((), lambda n=n: E.binary("ne", E.lift(n, i64), E.const(1))),
                  f"squeeze: the program was compiled for sizes where {n} is not 1")


@aten("unsqueeze(Tensor(a) self, int dim) -> Tensor(a)")
def unsqueeze(x, dim):
    dim = dim_of(dim, x.ndim + 1)
    return views.reshape(x.shape, (*x.shape[:dim], 1, *x.shape[dim:]))


@aten(*each("atleast_1d", "(Tensor self) -> Tensor"))
def atleast_1d(x):
    return _as_it_is(x) if x.ndim else views.reshape((), (1,))


@aten("atleast_2d(Tensor self) -> Tensor")
def atleast_2d(x):
    return _as_it_is(x) if x.ndim > 1 else views.reshape(x.shape, (1, x.numel))


@aten("atleast_3d(Tensor self) -> Tensor")
def atleast_3d(x):
    """A vector becomes [1, n, 1], a matrix [m, n, 1]."""
    shape = [(1, 1, 1), (1, *x.shape, 1), (*x.shape, 1)]
    return _as_it_is(x) if x.ndim > 2 else views.reshape(x.shape, shape[x.ndim])


@aten("atleast_1d.Sequence(Tensor[] tensors) -> Tensor[]")
def atleast_1d_all(tensors):
    return [atleast_1d(x) for x in tensors]


@aten("atleast_2d.Sequence(Tensor[] tensors) -> Tensor[]")
def atleast_2d_all(tensors):
    return [atleast_2d(x) for x in tensors]


@aten("atleast_3d.Sequence(Tensor[] tensors) -> Tensor[]")
def atleast_3d_all(tensors):
    return [atleast_3d(x) for x in tensors]


# Order of dims


@aten("permute(Tensor(a) self, int[] dims) -> Tensor(a)")
def permute(x, dims):
    if len(dims) != x.ndim:
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not "
                           f"match the length of the desired ordering of dimensions i.e. "
                           f"input.dim() = {x.ndim} is not equal to len(dims) = {len(dims)}")
    order = [dim_of(d, x.ndim) for d in dims]
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return views.permute(x.shape, order)


@aten("transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
      "swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
      "swapdims(Tensor(a) self, int dim0, int dim1) -> Tensor(a)")
def transpose(x, dim0, dim1):
    a, b = dim_of(dim0, x.ndim), dim_of(dim1, x.ndim)
    order = list(range(x.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return views.permute(x.shape, order)


@aten("t(Tensor(a) self) -> Tensor(a)")
def t(x):
    if x.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D")
    return views.permute(x.shape, range(x.ndim)[::-1])


@aten(*each("numpy_T numpy_T.a", _SELF))
def reverse_dims(x):
    return views.permute(x.shape, range(x.ndim)[::-1])


@aten(*each("mT mT.a mH mH.a adjoint matrix_H matrix_H.a", _SELF))
def matrix_transpose(x):
    if x.ndim == 0:
        return _as_it_is(x)
    if x.ndim < 2:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got "
                           f"{x.ndim}-D tensor.")
    n = x.ndim
    return views.permute(x.shape, (*range(n - 2), n - 1, n - 2))


@aten(*each("movedim.int moveaxis.int",
            "(Tensor(a) self, int source, int destination) -> Tensor(a)"),
      *each("movedim.intlist moveaxis.intlist",
            "(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)"))
def movedim(x, source, destination):
    source, destination = (
        [dim_of(d, x.ndim) for d in ([ds] if isinstance(ds, int) else ds)]
        for ds in (source, destination))
    if len(source) != len(destination):
        raise RuntimeError(f"movedim: Invalid source or destination dims: source ({source} dims) "
                           f"should contain the same number of dims as destination ({destination} "
                           "dims)")
    if len(set(source)) != len(source) or len(set(destination)) != len(destination):
        raise RuntimeError("movedim: repeated dim in `source` or `destination`")
    if x.ndim == 0:
        return _as_it_is(x)
    rest = iter(k for k in range(x.ndim) if k not in source)
    at = dict(zip(destination, source))
    return views.permute(x.shape, [at[k] if k in at else next(rest) for k in range(x.ndim)])


# Broadcasts


@aten("expand(Tensor(a) self, int[] size, *, bool implicit=False) -> Tensor(a)",
      "broadcast_to(Tensor(a) self, int[] size) -> Tensor(a)")
def expand(x, size, *, implicit=False):
    """-1 keeps a size."""
    if len(size) < x.ndim:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(size)}) must be greater or equal to the "
            f"number of dimensions in the tensor ({x.ndim})")
    if any(n < 0 for n in list(size)[:len(size) - x.ndim]):
        raise RuntimeError("The expanded size of the tensor (-1) isn't allowed in a leading, "
                           "non-existing dimension 0")
    kept = [n if m == -1 else m for n, m in zip(x.shape, list(size)[len(size) - x.ndim:])]
    if is_dynamic((*x.shape, *size)):
        stretch_to(x.shape, kept)
    return views.expand(x.shape, size)


@aten("expand_as(Tensor(a) self, Tensor other) -> Tensor(a)")
def expand_as(x, other):
    return expand.__wrapped__(x, other.shape)


@aten("broadcast_tensors(Tensor[] tensors) -> Tensor[]")
def broadcast_tensors(tensors):
    shape = broadcast_shape(*(x.shape for x in tensors))
    return [expand(x, shape) for x in tensors]


@aten("meshgrid(Tensor[] tensors) -> Tensor[]",
      "meshgrid.indexing(Tensor[] tensors, *, str indexing) -> Tensor[]")
def meshgrid(tensors, *, indexing="ij"):
    """Grids of coordinates; 'xy' swaps the first two dims."""
    if indexing not in ("ij", "xy"):
        raise RuntimeError("torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but "
                           "received: "
                           f"{indexing}")
    if any(x.ndim > 1 for x in tensors):
        raise RuntimeError("torch.meshgrid: Expected 0D or 1D tensor in the tensor list")
    if len({x.dtype for x in tensors}) > 1:
        raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    shape = [1] * len(order)
    for x, k in zip(tensors, order):
        shape[k] = x.numel
    return [reindex(x, shape, lambda *i, k=k, x=x: [i[k]] if x.ndim else [])
            for x, k in zip(tensors, order)]


# By strides


@aten("as_strided(Tensor(a) self, int[] size, int[] stride, int? storage_offset=None) -> Tensor(a)")
def as_strided(x, size, stride, storage_offset=None):
    """Element i is the storage's element offset + sum of i * stride; the storage is taken to be x
    in row-major order."""
    size, stride, offset = list(size), list(stride), storage_offset or 0
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError("as_strided: Negative strides are not supported at the moment, got "
                           f"strides: {stride}")
    reach = offset + sum(s * (n - 1) for s, n in zip(stride, size))
    if 0 not in size and reach >= x.numel:
        raise RuntimeError(f"setStorage: sizes {size}, strides {stride}, storage offset {offset} "
                           f"are out of bounds for storage of size {x.numel}")
    flat = E.const(offset)
    for k, s in enumerate(stride):
        flat = flat + E.index(k) * s
    algebra = IndexAlgebra(tuple(size))
    index = tuple(algebra.simplify(e) for e in delinearize(flat, x.shape))
    return View(x.shape, tuple(size), index, None, _distinct(size, stride))


def _distinct(size, stride) -> bool:
    """No two index tuples reach one element: each stride steps over all smaller dims together."""
    reach = 0
    for s, n in sorted((s, n) for s, n in zip(stride, size) if n > 1):
        if s <= reach:
            return False
        reach += s * (n - 1)
    return True


