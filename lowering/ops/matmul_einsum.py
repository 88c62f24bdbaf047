"""einsum and the other products that name the dims they sum over."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import broadcast_shape, compute_dtype, dim_of, full, generic, pointwise, reindex
from lowering.ops.matmul import add_bias, contract, same_dtype
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import i64


@aten("einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor")
def einsum(equation, tensors, path=None):
    """Contracts pairs, left to right or along `path` (pairs of positions; a result goes to the
    end). Every pair is one product: labels that no later operand and not the result has are
    summed."""
    labels, out = _parse(equation.replace(" ", ""), tensors)
    _check_sizes(labels, tensors)
    operands = list(zip(tensors, labels))
    if len(operands) == 1:
        return _sum(operands[0][0], operands[0][1], out)
    steps = list(zip(path[::2], path[1::2])) if path else []
    for step in range(len(operands) - 1):
        i, j = steps[step] if step < len(steps) else (0, 1)
        (a, a_labels), (b, b_labels) = operands[i], operands[j]
        rest = [x for k, x in enumerate(operands) if k not in (i, j)]
        same_dtype(a, b, ("batch1", "batch2"))
        needed = {*out, *(x for _, others in rest for x in others)}
        a, a_labels = _sum_alone(a, a_labels, {*needed, *b_labels})
        b, b_labels = _sum_alone(b, b_labels, {*needed, *a_labels})
        kept = _merge(a_labels, b_labels, needed) if rest else out
        product = contract(a, a_labels, b, b_labels, kept)
        operands = [*rest, (product, kept)] if path else [(product, kept), *rest]
    return operands[0][0]


def _sum_alone(x: Value, labels, kept) -> tuple[Value, list]:
    """Sums labels that only x has before they would multiply the work of the product."""
    out = [a for a in dict.fromkeys(labels) if a in kept]
    if set(out) == set(labels):
        return x, labels
    return _sum(x, labels, out), out


def _sum(x: Value, labels, out) -> Value:
    """x with the labels `out`, the others summed; sums of integers are i64."""
    total = not set(labels) <= set(out) and not x.dtype.is_float
    return contract(x, labels, None, (), out, i64 if total else None)


def _merge(a, b, needed) -> list:
    """Labels of an intermediate product: batch, then a's own, then b's own."""
    both = [x for x in dict.fromkeys(a) if x in b and x in needed]
    left = [x for x in dict.fromkeys(a) if x not in b and x in needed]
    right = [x for x in dict.fromkeys(b) if x not in a and x in needed]
    return [*both, *left, *right]


def _parse(equation: str, tensors: list[Value]) -> tuple[list[list], list]:
    """Labels of each operand and of the result; the dims of '...' are ints, counted from the
    right."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not tensors:
        raise RuntimeError("einsum(): must provide at least one operand")
    if len(terms) < len(tensors):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation"
                           if len(terms) > len(tensors) else
                           "einsum(): more operands were provided than specified in the equation")
    if len(terms) > len(tensors):
        raise RuntimeError(
            "einsum(): fewer operands were provided than specified in the equation"
        )
    labels = [_term(t, x.ndim, n) for n, (t, x) in enumerate(zip(terms, tensors))]
    counts: dict = {}
    for term in labels:
        for x in term:
            counts[x] = counts.get(x, 0) + 1
    dots = sorted(x for x in counts if isinstance(x, int))
    if arrow:
        out: list = []
        head, has_dots, tail = right.partition("...")
        out = [*head, *(dots if has_dots else []), *tail]
    else:
        out = [*dots, *sorted(x for x, n in counts.items() if isinstance(x, str) and n == 1)]
    for x in out:
        if x not in counts:
            raise RuntimeError(f"einsum(): output subscript {x} does not appear in the equation "
                               "for any input operand")
        if out.count(x) > 1:
            raise RuntimeError(f"einsum(): output subscript {x} appears more than once in the "
                               "output")
    return labels, out


def _term(term: str, ndim: int, position: int) -> list:
    head, dots, tail = term.partition("...")
    for c in head + tail:
        if not (c.isascii() and c.isalpha()):
            raise RuntimeError(f"einsum(): invalid subscript given at index {term.index(c)} in the "
                               "equation string, subscripts must be in [a-zA-Z]")
    named = len(head) + len(tail)
    if named > ndim or (named < ndim and not dots):
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({named}) "
            + (f"does not match the number of dimensions ({ndim}) for operand {position} and no "
               "ellipsis was given" if not dots else
               f"is more than the number of dimensions ({ndim}) for operand {position}")
        )
    return [*head, *range(-(ndim - named), 0), *tail]


def _check_sizes(labels: list[list], tensors: list[Value]) -> None:
    sizes: dict = {}
    for n, (term, x) in enumerate(zip(labels, tensors)):
        own: dict = {}
        for label, size in zip(term, x.shape):
            if own.setdefault(label, size) != size:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {n} but the sizes don't "
                    f"match, {size} != {own[label]}"
                )
            if size != 1 and sizes.setdefault(label, size) != size:
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {n} which does not "
                    f"broadcast with previously seen size {sizes[label]}"
                )


@aten("tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor")
def tensordot(a, b, dims_a, dims_b):
    if len(dims_a) != len(dims_b):
        raise RuntimeError("both dimension lists should have same length")
    dims_a = [dim_of(d, a.ndim) for d in dims_a]
    dims_b = [dim_of(d, b.ndim) for d in dims_b]
    for p, q in zip(dims_a, dims_b):
        if a.shape[p] != b.shape[q] and 1 not in (a.shape[p], b.shape[q]):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[p]} in dim {p} "
                f"and second has size {b.shape[q]} in dim {q}"
            )
    same_dtype(a, b)
    dtype = a.dtype
    a_labels = [("k", dims_a.index(d)) if d in dims_a else ("a", d) for d in range(a.ndim)]
    b_labels = [("k", dims_b.index(d)) if d in dims_b else ("b", d) for d in range(b.ndim)]
    kept = [x for x in (*a_labels, *b_labels) if x[0] != "k"]
    summed = [("k", n) for n, (p, q) in enumerate(zip(dims_a, dims_b))
              if a.shape[p] != b.shape[q]]
    # A size of 1 against n: the n are summed first, as PyTorch does.
    a, a_labels = _sum_alone(a, a_labels, {*kept, *b_labels} - set(summed))
    b, b_labels = _sum_alone(b, b_labels, {*kept, *a_labels} - set(summed))
    return contract(a, a_labels, b, b_labels, kept, dtype)


@aten("bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor")
def bilinear(x, y, weight, bias=None):
    """out[..., o] = sum over i and j of x[..., i] * weight[o, i, j] * y[..., j] + bias[o]."""
    if x.ndim != y.ndim or x.shape[:-1] != y.shape[:-1]:
        dim = next((k for k, (p, q) in enumerate(zip(x.shape, y.shape)) if p != q), 0)
        raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {dim}: got "
                           f"{x.shape[dim]} and {y.shape[dim]}")
    if x.shape[-1] != weight.shape[1] or y.shape[-1] != weight.shape[2]:
        raise RuntimeError(
            "bilinear(): input1 size does not match weight size: got "
            f"{x.shape[-1]} but expected {weight.shape[1]}"
        )
    lead = list(range(x.ndim - 1))
    working = compute_dtype(x.dtype)
    half = contract(x, [*lead, "i"], weight, "oij", [*lead, "o", "j"], working)
    return add_bias(contract(half, [*lead, "o", "j"], y, [*lead, "j"], [*lead, "o"]), bias, x.dtype)


@aten("cdist(Tensor x1, Tensor x2, float p=2., int? compute_mode=None) -> Tensor",
      "_cdist_forward(Tensor x1, Tensor x2, float p, int? compute_mode) -> Tensor")
def cdist(x, y, p=2.0, compute_mode=None):
    """Distances of all pairs of rows: (..., P, M), (..., R, M) -> (..., P, R), p-norm of x - y."""
    for v, name in ((x, "X1"), (y, "X2")):
        if v.ndim < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {name} got: {v.ndim}D"
            )
        if not v.dtype.is_float:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {v.dtype}")
    if x.shape[-1] != y.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x.shape[-1]} "
                           f"X2: {y.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    n = len(batch)
    shape = (*batch, x.shape[-2], y.shape[-2])
    if x.shape[-1] == 0:
        return full(shape, 0, x.dtype)
    working = compute_dtype(x.dtype)

    def element(v: Value, row: int) -> E.Expr:
        skip = n - (v.ndim - 2)
        at = [E.const(0) if s == 1 else E.index(k + skip) for k, s in enumerate(v.shape[:-2])]
        return E.cast(E.load(v, [*at, E.index(row), E.index(n + 2)]), working)

    combiner, body, post = _norm(element(x, n) - element(y, n + 1), float(p))
    return generic((*shape, x.shape[-1]), n + 2, body, combiner, E.cast(post, x.dtype))


def _norm(d: E.Expr, p: float) -> tuple[str, E.Expr, E.Expr]:
    """(combiner, body, post) of the p-norm of the elements d."""
    total = E.acc(d.dtype)
    if p == 0:
        return "add", E.select(E.ne(d, 0), E.const(1, d.dtype), E.const(0, d.dtype)), total
    if p == 1:
        return "add", E.unary("abs", d), total
    if p == 2:
        return "add", d * d, E.unary("sqrt", total)
    if p == float("inf"):
        return "max", E.unary("abs", d), total
    return "add", E.binary("pow", E.unary("abs", d), p), E.binary("pow", total, 1 / p)


@aten("kron(Tensor self, Tensor other) -> Tensor")
def kron(a, b):
    """out[i * n + j] = a[i] * b[j] in every dim; the shorter shape gets leading ones."""
    ndim = max(a.ndim, b.ndim)
    p = (1,) * (ndim - a.ndim) + a.shape
    q = (1,) * (ndim - b.ndim) + b.shape
    shape = tuple(s * t for s, t in zip(p, q))
    big = reindex(a, shape, lambda *i: [x // t for x, t in zip(i, q)][ndim - a.ndim:])
    small = reindex(b, shape, lambda *i: [x % t for x, t in zip(i, q)][ndim - b.ndim:])
    return pointwise(lambda x, y: x * y, big, small)
