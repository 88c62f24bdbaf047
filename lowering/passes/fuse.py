"""Fuses loop nests: producers into the nests that read them, consumers into the nests they read.

    a = exp(x); b = a + y          ~>  b = exp(x) + y
    v = x.permute(..); b = f(v)    ~>  b = f(x at permuted indices)
    s = sum(x * w); b = relu(s)    ~>  b = relu applied as the sum is written     (`post`)
    b = base with relu(s) inserted ~>  the sum is written straight into base

A producer disappears only if every reader takes it in: what has to be in memory anyway is read from
there. Products (sums of a * b) read plain memory, since their factors are read many times.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra, contiguous_strides, delinearize, linearize
from lowering.passes.rewriting import remove_dead, users
from lowering.schedule.product import factors
from lowering.sizes import nominal, numel
from lowering.tensor_ir import Generic, Region, TensorOp, Value

_MAX_NODES = 160  # a fused body stays this small
_COST = {op: 12 for op in (
    "exp exp2 log log2 log10 log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh "
    "erf erfc erfinv lgamma digamma pow atan2 fmod").split()}
_COST |= {"div": 3, "sqrt": 3, "rsqrt": 3, "idiv": 8, "irem": 8, "floordiv": 8, "mod": 8}
_CHEAP = 6


def fuse(region: Region) -> None:
    """Rewrites in place, inner regions included."""
    for op in region.ops:
        if isinstance(op, Generic) and op.write == E.identity(op.parallel) and (
                op.domain[: op.parallel] == op.out.shape):
            op.base = op.write = None  # all of the base is overwritten
    _inline_producers(region)
    remove_dead(region)
    _take_consumers(region)
    remove_dead(region)
    for op in region.ops:
        for r in op.regions():
            fuse(r)


def is_pointwise(op: TensorOp | None) -> bool:
    """Every element is a function of elements of operands, and all are written in order."""
    return isinstance(op, Generic) and op.combiner is None and op.write is None


def is_product(op: TensorOp | None) -> bool:
    return isinstance(op, Generic) and op.combiner == "add" and factors(op.body) is not None


def _is_copy(op: Generic) -> bool:
    return op.body.op == "load"


# Producers into readers


def _inline_producers(region: Region) -> None:
    readers = users(region)
    here = {id(op) for op in region.ops}
    for op in region.ops:
        if not isinstance(op, Generic):
            continue
        for _ in range(64):
            if not _inline_once(op, readers, here):
                break


def _inline_once(op: Generic, readers: dict[Value, list], here: set[int]) -> bool:
    """Takes every producer that may be taken into op; True if there was one."""
    taken: dict[Value, Generic] = {}
    for v in dict.fromkeys(x.attr for e in (op.body, op.post) if e is not None
                           for x in E.walk(e) if x.op == "load"):
        p = v.op
        if is_pointwise(p) and id(p) in here and _may_inline(p, op, readers, here):
            taken[v] = p
    if not taken:
        return False
    algebra = IndexAlgebra(op.domain)

    def leaf(x: Expr) -> Expr | None:
        if x.op == "load" and x.attr in taken:
            return E.substitute(taken[x.attr].body, x.args)
        return None

    memo: dict[Expr, Expr] = {}
    body = algebra.simplify(E.rewrite(op.body, leaf, memo))
    post = algebra.simplify(E.rewrite(op.post, leaf, memo)) if op.post is not None else None
    if is_product(op) and not _affine_factors(body, algebra):
        return False
    size = sum(1 for e in (body, post) if e is not None for _ in E.walk(e))
    if size > _MAX_NODES and any(not _is_copy(p) for p in taken.values()):
        return False
    for v in taken:
        readers[v] = [r for r in readers[v] if r is not op]
        for u in v.op.operands():
            if op not in readers.setdefault(u, []):
                readers[u].append(op)
            if not readers[v]:
                readers[u] = [r for r in readers[u] if r is not v.op]
    op.body, op.post = body, post
    return True


def _affine_factors(body: Expr, algebra: IndexAlgebra) -> bool:
    pair = factors(body)
    return pair is not None and all(
        all(a.op == "index" for a in algebra.affine(i)[0]) for x in pair for i in x.args)


def _may_inline(p: Generic, op: Generic, readers: dict[Value, list], here: set[int]) -> bool:
    if not E.loads(p.body):
        return not (is_product(op) and _reads_in_body(op, p.out))
    if _is_copy(p):
        return not (is_product(op) and _reads_in_body(op, p.out) and not _affine_copy(p))
    if is_product(op) and _reads_in_body(op, p.out):
        return False
    if any(not _can_take(r, p) for r in readers[p.out]):
        return False
    if _ends_a_product(p, readers, here):
        return False
    cost = sum(_COST.get(x.op, 1) for x in E.walk(p.body)
               if x.op not in ("load", "index", "const", "size"))
    n_loads = len(E.loads(p.body))
    points = sum(_times_read(r, p.out) for r in readers[p.out])
    if points <= 1:
        return True
    return points <= 4 and (cost + 2 * n_loads) <= _CHEAP


def _ends_a_product(p: Generic, readers: dict[Value, list], here: set[int]) -> bool:
    """Whether p will be applied as a product is written, at no cost. Its readers are left with
    plain memory: views of that are free, where views of a computation would make it several."""
    for v in p.operands():
        if id(v.op) not in here or readers[v] != [p]:
            continue
        reads = {x for x in E.walk(p.body) if x.op == "load" and x.attr is v}
        if len(reads) != 1 or not (
                is_product(v.op) and v.op.write is None
                or is_pointwise(v.op) and _ends_a_product(v.op, readers, here)):
            continue
        if _as_permutation(*reads, p) is not None or _as_reshape(*reads, v.op, p) is not None:
            return True
    return False


def _affine_copy(p: Generic) -> bool:
    algebra = IndexAlgebra(p.domain)
    return all(a.op == "index" for i in p.body.args for a in algebra.affine(i)[0])


def _can_take(reader: TensorOp | None, p: Generic) -> bool:
    if not isinstance(reader, Generic) or reader.base is p.out:
        return False
    if any(x.op == "load" and x.attr is p.out for w in reader.write or () for x in E.walk(w)):
        return False
    return not (is_product(reader) and _reads_in_body(reader, p.out))


def _reads_in_body(op: Generic, v: Value) -> bool:
    return any(x.op == "load" and x.attr is v for x in E.walk(op.body))


def _times_read(op: Generic, v: Value) -> float:
    """How often op reads each element of v, on average; in `post` only parallel dims count."""
    total = 0.0
    for e, dims in ((op.body, op.domain), (op.post, op.domain[: op.parallel])):
        if e is None:
            continue
        count = sum(1 for x in E.walk(e) if x.op == "load" and x.attr is v)
        total += count * nominal(numel(dims)) / max(nominal(v.numel), 1)
    return total


# Consumers into the sums they read


def _take_consumers(region: Region) -> None:
    readers = {v: len(ops) for v, ops in users(region).items()}
    before: dict[Value, int] = {}
    ops: list[TensorOp | None] = list(region.ops)
    for position, op in enumerate(region.ops):
        merged = _merged_with_operand(op, before, readers)
        if merged is not None:
            p, op = merged
            ops[before[p.out]] = None
            ops[position] = op
            for v in op.operands():
                readers[v] = max(readers.get(v, 1), 1)
        for v in op.results:
            before[v] = position
    region.ops = [op for op in ops if op is not None]


def _merged_with_operand(op: TensorOp, before: dict[Value, int],
                         readers: dict[Value, int]) -> tuple[Generic, Generic] | None:
    """The operand's reduction that op can be written into, and the op that does both."""
    if not isinstance(op, Generic) or op.combiner is not None:
        return None
    for v in op.operands():
        p = v.op
        if not isinstance(p, Generic) or p.combiner is None or p.write is not None:
            continue
        if v not in before or readers[v] != 1 or op.base is v:
            continue
        merged = _merge(p, op)
        if merged is not None:
            merged.results = op.results
            op.out.op = merged
            return p, merged
    return None


def _merge(p: Generic, op: Generic) -> Generic | None:
    """p's reduction with op applied as its results are written; None if op does not read p's result
    element by element. The dims are op's, or p's if op reads p's result in another shape."""
    reads = {x for x in E.walk(op.body) if x.op == "load" and x.attr is p.out}
    if len(reads) != 1:
        return None
    read, = reads
    reduced = p.domain[p.parallel:]
    place = _as_permutation(read, op)
    if place is not None:
        indices = (*place, *(E.index(len(op.domain) + k) for k in range(len(reduced))))
        algebra = IndexAlgebra((*op.domain, *reduced))
        result = E.substitute(p.post, indices) if p.post is not None else E.acc(p.acc_dtype)
        post = E.rewrite(op.body, lambda x: result if x == read else None)
        return Generic(algebra.extents, len(op.domain),
                       algebra.simplify(E.substitute(p.body, indices)), p.combiner,
                       algebra.simplify(post), op.base, op.write, op.out.shape)
    place = _as_reshape(read, p, op)
    if place is None:
        return None
    algebra = IndexAlgebra(p.domain)
    result = p.post if p.post is not None else E.acc(p.acc_dtype)
    # p's own loads are in p's dims already: only what op adds is rewritten.
    marker = E.acc(result.dtype)
    post = E.substitute(E.rewrite(op.body, lambda x: marker if x == read else None), place)
    post = E.rewrite(post, lambda x: result if x == marker else None)
    write = op.write if op.write is not None else E.identity(op.parallel)
    write = tuple(algebra.simplify(E.substitute(w, place)) for w in write)
    if any(a.op != "index" for w in write for a in algebra.affine(w)[0]):
        return None
    return Generic(p.domain, p.parallel, p.body, p.combiner, algebra.simplify(post), op.base,
                   write, op.out.shape)


def _as_permutation(read: Expr, op: Generic) -> tuple[Expr, ...] | None:
    """Where op reads an operand's element for element, in any order of dims: its indices."""
    covered: set[int] = set()
    for i, n in zip(read.args, read.attr.shape):
        if i.op == "index" and i.attr not in covered and op.domain[i.attr] == n:
            covered.add(i.attr)
        elif not (i.is_const and n == 1):
            return None
    if any(n != 1 for k, n in enumerate(op.domain) if k not in covered):
        return None
    return read.args


def _as_reshape(read: Expr, p: Generic, op: Generic) -> tuple[Expr, ...] | None:
    """Where op reads p's result in row-major order under another shape: op's indices in p's
    dims."""
    if p.write is not None or 0 in op.domain:
        return None
    algebra = IndexAlgebra(op.domain)
    flat = linearize(read.args, contiguous_strides(p.out.shape))
    own = linearize(E.identity(len(op.domain)), contiguous_strides(op.domain))
    if algebra.simplify(flat) != algebra.simplify(own) or p.out.numel != _product(op.domain):
        return None
    back = linearize(E.identity(p.parallel), contiguous_strides(p.out.shape))
    inner = IndexAlgebra(p.domain)
    return tuple(inner.simplify(e) for e in delinearize(back, op.domain))


def _product(sizes: tuple[int, ...]) -> int:
    n = 1
    for s in sizes:
        n *= s
    return n
