"""Complex tensors: pairs of real ones, in the layout of view_as_real.

TensorOps know real dtypes only. A complex tensor is a real tensor with a last dim of 2; what is
done to it is done to the real and imaginary parts. That serves rotary embeddings (polar,
view_as_complex, products, view_as_real), spectra, absolute values and angles; a compiled model
cannot take one. What it returns are the pairs, told apart by its structure text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable

import numpy as np

from lowering import build as B, evaluate_fourier
from lowering.abstract import AbstractComplex, AbstractTensor, is_number
from lowering.evaluate_operators import Unsupported, apply
from lowering.objects import StorageData, TensorData
from runtime.dtypes import f32, f64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

_CODES = {9: f32, 10: f64}  # PyTorch's complex64 and complex128
_STORAGES = {"ComplexFloat": f32, "ComplexDouble": f64}
Pair = tuple  # the real and the imaginary part; a part is a tensor or a number


def constant(ev: Evaluator, data: TensorData) -> AbstractComplex | None:
    """The complex tensor of a parameter, buffer or constant; None if it is no complex tensor."""
    dtype = _STORAGES.get(data.storage.dtype)  # type: ignore[arg-type]
    if dtype is None or data.problem is not None and "conj" in data.problem:
        return None
    flat = data.storage.array
    window = np.lib.stride_tricks.as_strided(
        flat[data.offset:], data.sizes, [s * flat.itemsize for s in data.strides], writeable=False
    )
    pairs = np.ascontiguousarray(window).view(dtype.storage).reshape(*data.sizes, 2)
    storage = StorageData(dtype, pairs.reshape(-1), data.storage.name)
    real = TensorData(storage, 0, pairs.shape, tuple(s // pairs.itemsize for s in pairs.strides))
    return AbstractComplex(ev.memory.constant(real))


def concerns(kind: str, args: list, kwargs: dict) -> bool:
    """Whether a call takes or makes complex tensors."""
    if kind in _MAKERS or kind in _CREATORS and kwargs.get("dtype") in _CODES:
        return True
    if kind == "aten::to" and args and isinstance(args[0], AbstractTensor):
        return any(type(x) is int and x in _CODES for x in (*args[1:], kwargs.get("dtype")))
    return any(
        isinstance(x, (AbstractComplex, complex))
        or ((kind in _PARTWISE or kind == "aten::einsum") and isinstance(x, list)
            and any(isinstance(v, AbstractComplex) for v in x))
        for x in args
    )


def compute(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    """The result of a call that `concerns`. Unsupported for operators not known here."""
    if kind in _MAKERS:
        return _MAKERS[kind](ev, *args, **kwargs)
    if kind in _CREATORS:
        return _create(ev, kind, args, kwargs)
    first = args[0]
    if kind in _QUERIES and isinstance(first, AbstractComplex):
        return _QUERIES[kind](ev, first, *args[1:], **kwargs)
    if kind == "aten::to":
        return _to(ev, first, *args[1:], **kwargs)
    if kind in _UNARY and isinstance(first, AbstractComplex):
        return _UNARY[kind](ev, *parts(ev, first))
    if kind in _BILINEAR:
        return _bilinear(ev, kind, parts(ev, first), parts(ev, args[1]))
    if kind in _BINARY:
        alpha = args[2] if len(args) > 2 else kwargs.get("alpha", 1)
        second = args[1] if alpha == 1 else ev.operate_with("aten::mul", [args[1], alpha], {})
        return _BINARY[kind](ev, parts(ev, first), parts(ev, second))
    if kind == "aten::einsum" and len(args[1]) == 2:
        return _bilinear_of(ev, lambda x, y: apply(ev, kind, [first, [x, y]], {}),
                            *(parts(ev, x) for x in args[1]))
    if kind == "aten::einsum" and len(args[1]) == 1:
        return _partwise(ev, kind, args, kwargs)
    if kind == "aten::pow" and type(args[1]) is int and args[1] in (1, 2, 3):
        return _power(ev, first, args[1])  # type: ignore[arg-type]
    if kind in _VIEWS and isinstance(first, AbstractComplex):
        return _view(ev, kind, first, args[1:], kwargs)
    if kind in _PARTWISE:
        return _partwise(ev, kind, args, kwargs)
    if kind.endswith("_") and isinstance(first, AbstractComplex):
        return _in_place(ev, kind, args, kwargs)
    raise Unsupported(kind)


def _view(ev: Evaluator, kind: str, x: AbstractComplex, args: list, kwargs: dict) -> object:
    """A view of the pairs, so that writes to it reach them: their last dim stays."""
    ndim = x.pairs.ndim - 1
    names = _VIEWS[kind]
    given = {**dict(zip(names, args)), **kwargs}
    for name, value in given.items():
        if name.startswith("dim"):  # counted from the end it would be another one of the pairs
            extra = 1 if kind == "aten::unsqueeze" else 0
            given[name] = [B.dim_of(d, ndim) for d in value] if isinstance(value, list) else (
                B.dim_of(value, ndim + extra))
        elif name == "size":
            given[name] = [*value, 2]
    if kind == "aten::permute":
        given["dims"] = [*given["dims"], ndim]
    if kind == "aten::flatten":
        given = {"dim0": 0, "dim1": max(ndim - 1, 0), **given}
    if kind == "aten::t":
        kind, given = "aten::permute", {"dims": [*range(ndim)][::-1] + [ndim]}
    result = ev.operate_with(kind, [x.pairs, *given.values()], {})
    if isinstance(result, (list, tuple)):
        return type(result)(map(AbstractComplex, result))
    return AbstractComplex(result)  # type: ignore[arg-type]


def _in_place(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    """x.name_(...): the result of x.name(...) is written into x's pairs."""
    target = args[0]
    result = args[1] if kind == "aten::copy_" else ev.operate_with(kind[:-1], args, kwargs)
    if not isinstance(result, AbstractComplex):
        result = join(ev, result, 0.0)
    apply(ev, "aten::copy_", [target.pairs, result.pairs], {})
    return target


def parts(ev: Evaluator, x: object) -> Pair:
    """The real and the imaginary part; an imaginary part that is zero is None."""
    if isinstance(x, AbstractComplex):
        return (apply(ev, "aten::select", [x.pairs, -1, 0], {}),
                apply(ev, "aten::select", [x.pairs, -1, 1], {}))
    if isinstance(x, complex):
        return x.real, x.imag
    return x, None


def join(ev: Evaluator, real: object, imaginary: object) -> AbstractComplex:
    """The complex tensor of two real tensors (or one and a number)."""
    if not isinstance(real, AbstractTensor) or not isinstance(imaginary, AbstractTensor):
        like = real if isinstance(real, AbstractTensor) else imaginary
        assert isinstance(like, AbstractTensor)
        real, imaginary = (
            x if isinstance(x, AbstractTensor)
            else apply(ev, "aten::full_like", [like, x or 0.0], {})
            for x in (real, imaginary)
        )
    both = apply(ev, "aten::broadcast_tensors", [[real, imaginary]], {})
    return AbstractComplex(apply(ev, "aten::stack", [list(both), -1], {}))  # type: ignore


def _sum(ev: Evaluator, name: str, a: object, b: object) -> object:
    """a + b or a - b, where None is zero."""
    if b is None:
        return a
    if a is None:
        return b if name == "aten::add" else _op(ev, "aten::neg", b)
    return _op(ev, name, a, b)


def _op(ev: Evaluator, name: str, *args: object) -> object:
    """An operator on real tensors and numbers."""
    if all(is_number(x) for x in args):
        a, b = (*args, 0)[:2]
        return {"aten::add": a + b, "aten::sub": a - b, "aten::mul": a * b,  # type: ignore
                "aten::neg": -a, "aten::div": a / b if b else math.nan}[name]  # type: ignore
    if not isinstance(args[0], AbstractTensor):  # the number second, as the overloads have it
        if name in ("aten::add", "aten::mul"):
            args = args[::-1]
        elif name == "aten::sub":
            return apply(ev, "aten::rsub", [args[1], args[0]], {})
        elif name == "aten::div":
            return _op(ev, "aten::mul", apply(ev, "aten::reciprocal", [args[1]], {}), args[0])
    return apply(ev, name, list(args), {})


def _linear(name: str) -> Callable:
    def compute_sum(ev: Evaluator, a: Pair, b: Pair) -> AbstractComplex:
        return join(ev, _op(ev, name, a[0], b[0]), _sum(ev, name, a[1], b[1]))

    return compute_sum


def _bilinear(ev: Evaluator, kind: str, a: Pair, b: Pair) -> AbstractComplex:
    return _bilinear_of(ev, lambda x, y: _op(ev, kind, x, y), a, b)


def _power(ev: Evaluator, x: AbstractComplex, n: int) -> AbstractComplex:
    out = x
    for _ in range(n - 1):
        out = _bilinear(ev, "aten::mul", parts(ev, out), parts(ev, x))
    return out


def _bilinear_of(ev: Evaluator, real_product: Callable, a: Pair, b: Pair) -> AbstractComplex:
    """(p + iq)(r + is) = (pr - qs) + i(ps + qr), for any product."""
    def product(x: object, y: object) -> object:
        return None if x is None or y is None else real_product(x, y)

    (p, q), (r, s) = a, b
    return join(ev, _sum(ev, "aten::sub", product(p, r), product(q, s)),
                _sum(ev, "aten::add", product(p, s), product(q, r)))


def _divide(ev: Evaluator, a: Pair, b: Pair) -> AbstractComplex:
    if b[1] is None:
        return join(ev, _op(ev, "aten::div", a[0], b[0]), _op(ev, "aten::div", a[1], b[0]))
    norm = _op(ev, "aten::add", _op(ev, "aten::mul", b[0], b[0]), _op(ev, "aten::mul", b[1], b[1]))
    top = _bilinear(ev, "aten::mul", a, (b[0], _op(ev, "aten::neg", b[1])))
    re, im = parts(ev, top)
    return join(ev, _op(ev, "aten::div", re, norm), _op(ev, "aten::div", im, norm))


def _partwise(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    """A linear operator, or one that only moves elements: applied to each part."""
    halves = []
    for k in (0, 1):
        def pick(x: object, k: int = k) -> object:
            if isinstance(x, AbstractComplex):
                return parts(ev, x)[k]
            return [pick(v) for v in x] if isinstance(x, list) else x

        halves.append(ev.operate_with(kind, [pick(x) for x in args], kwargs))
    if isinstance(halves[0], (list, tuple)):
        return type(halves[0])(join(ev, a, b) for a, b in zip(*halves))
    return join(ev, *halves)


def _to(ev: Evaluator, x: object, *args: object, **kwargs: object) -> object:
    codes = [a for a in (*args, kwargs.get("dtype")) if type(a) is int]
    dtype = _CODES.get(codes[0]) if codes else None  # type: ignore[arg-type]
    if codes and dtype is None:
        raise ValueError("casting a complex tensor to a real one discards the imaginary part: "
                         "take .real")
    if isinstance(x, AbstractTensor):
        real = apply(ev, "aten::to", [x, dtype.torch_code], {}) if dtype else x
        return join(ev, real, apply(ev, "aten::zeros_like", [real], {}))
    assert isinstance(x, AbstractComplex)
    if dtype in (None, x.pairs.dtype):
        return x
    return AbstractComplex(ev.operate_with("aten::to", [x.pairs, dtype.torch_code], {}))


def _length(ev: Evaluator, re: object, im: object) -> object:
    return apply(ev, "aten::hypot", [re, im], {})


def _angle(ev: Evaluator, re: object, im: object) -> object:
    return apply(ev, "aten::atan2", [im, re], {})


def _exp(ev: Evaluator, re: object, im: object) -> AbstractComplex:
    return _polar(ev, apply(ev, "aten::exp", [re], {}), im)


def _polar(ev: Evaluator, size: object, angle: object) -> AbstractComplex:
    return join(ev, _op(ev, "aten::mul", size, apply(ev, "aten::cos", [angle], {})),
                _op(ev, "aten::mul", size, apply(ev, "aten::sin", [angle], {})))


def _view_as_complex(ev: Evaluator, x: AbstractTensor) -> AbstractComplex:
    if x.ndim == 0 or x.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    return AbstractComplex(x)


def _create(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    """A tensor of equal numbers, of a size that is given or another tensor's."""
    name, (first, *rest) = kind.removeprefix("aten::"), args
    given = first.pairs if isinstance(first, AbstractComplex) else first
    if name.endswith("_like"):
        size = list(given.shape[:-1] if given is not first else given.shape)
    else:
        size = rest.pop(0) if name.startswith("new_") else first
    code = kwargs.get("dtype")
    if code is None and isinstance(given, AbstractTensor):
        code = 9 if given.dtype is f32 else 10
    fill = 1 if "ones" in name else rest[0] if "full" in name else 0
    if code not in _CODES:
        return apply(ev, "aten::full", [size, fill], {"dtype": code})
    real = {"dtype": _CODES[code].torch_code}  # type: ignore[index]
    pair = parts(ev, fill) if isinstance(fill, complex) else (fill, 0)
    return join(ev, *(apply(ev, "aten::full", [size, x], real) for x in pair))


def _size(ev: Evaluator, x: AbstractComplex, dim: int | None = None) -> object:
    shape = list(x.pairs.shape[:-1])
    return shape if dim is None else shape[dim]


def _itself(ev: Evaluator, x: AbstractComplex, *_: object, **__: object) -> AbstractComplex:
    return x


_MAKERS: dict[str, Callable] = {
    **evaluate_fourier.TABLE,
    "aten::complex": join,
    "aten::polar": _polar,
    "aten::view_as_complex": _view_as_complex,
}
_QUERIES: dict[str, Callable] = {
    "aten::size": _size,
    "aten::dim": lambda ev, x: x.pairs.ndim - 1,
    "aten::numel": lambda ev, x: x.pairs.numel // 2,
    "aten::len": lambda ev, x: x.pairs.shape[0],
    "aten::is_complex": lambda ev, x: True,
    "aten::is_floating_point": lambda ev, x: False,
    "prim::dtype": lambda ev, x: 9 if x.pairs.dtype is f32 else 10,
    "prim::device": lambda ev, x: ev.device,
    "aten::view_as_real": lambda ev, x: x.pairs,
    "aten::real": lambda ev, x: parts(ev, x)[0],
    "aten::imag": lambda ev, x: parts(ev, x)[1],
    "aten::detach": _itself,
    "aten::contiguous": _itself,
    "aten::resolve_conj": _itself,
}
_CREATORS = frozenset(f"aten::{n}" for n in "zeros ones empty full new_zeros new_ones new_empty "
                      "new_full zeros_like ones_like empty_like full_like".split())
_UNARY: dict[str, Callable] = {
    "aten::sqrt": lambda ev, re, im: _polar(
        ev, apply(ev, "aten::sqrt", [_length(ev, re, im)], {}),
        _op(ev, "aten::mul", _angle(ev, re, im), 0.5)),
    "aten::log": lambda ev, re, im: join(
        ev, apply(ev, "aten::log", [_length(ev, re, im)], {}), _angle(ev, re, im)),
    "aten::square": lambda ev, re, im: _bilinear(ev, "aten::mul", (re, im), (re, im)),
    "aten::reciprocal": lambda ev, re, im: _divide(
        ev, (apply(ev, "aten::ones_like", [re], {}), None), (re, im)),
    "aten::abs": lambda ev, re, im: _length(ev, re, im),
    "aten::angle": lambda ev, re, im: _angle(ev, re, im),
    "aten::neg": lambda ev, re, im: join(ev, _op(ev, "aten::neg", re), _op(ev, "aten::neg", im)),
    "aten::exp": _exp,
    **dict.fromkeys(
        ("aten::conj", "aten::_conj", "aten::conj_physical"),
        lambda ev, re, im: join(ev, re, _op(ev, "aten::neg", im)),
    ),
}
_BINARY: dict[str, Callable] = {
    "aten::add": _linear("aten::add"),
    "aten::sub": _linear("aten::sub"),
    "aten::rsub": lambda ev, a, b: _linear("aten::sub")(ev, b, a),
    "aten::div": _divide,
}
_BILINEAR = frozenset(f"aten::{n}" for n in "mul matmul mm bmm outer".split())
# Views by the names of their arguments after the tensor.
_VIEWS: dict[str, list[str]] = {f"aten::{row[0]}": row[1:] for row in (
    ["view", "size"], ["reshape", "size"], ["expand", "size", "implicit"],
    ["flatten", "dim0", "dim1"], ["transpose", "dim0", "dim1"], ["swapaxes", "dim0", "dim1"],
    ["permute", "dims"], ["t"], ["unsqueeze", "dim"], ["squeeze", "dim"],
    ["select", "dim", "index"], ["slice", "dim", "start", "end", "step"],
    ["narrow", "dim", "start", "length"], ["unbind", "dim"], ["split", "size_", "dim"],
    ["split_with_sizes", "sizes", "dim"], ["chunk", "chunks", "dim"],
    ["movedim", "dims", "dims_"],
)}
_PARTWISE = frozenset(
    f"aten::{n}"
    for n in "unflatten view_as reshape_as expand_as index index_select gather cat stack repeat "
    "repeat_interleave flip roll clone sum mean cumsum diagonal tril triu masked_fill unfold tile "
    "pad constant_pad_nd where".split()
)
OPERATORS = frozenset((
    "aten::einsum", *_MAKERS, *_QUERIES, *_UNARY, *_BINARY, *_BILINEAR, *_PARTWISE, *_VIEWS,
))
