"""What a plan's derivative is, built once and run as a plan itself.

The rules are those of the TensorOp forms. A Generic hands its result's gradient through its write
position, its `post`, its combiner and its body to the tensors that it loads: a gradient is summed
over the loop indices that a load does not depend on, and put where the load read. Loops are
unrolled first; what the forward pass computed is computed again.
"""

from __future__ import annotations

from typing import Sequence

from aot import dispatch
from aot.autograd_expr import derivative, one, times
from aot.autograd_named import sort_gradient, scan_gradients, scatter_gradients
from aot.autograd_unroll import flatten
from aot.dtypes import of_row
from aot.tensor_core import Tensor
from aot.tensor_plan import Out, Plan
from lowering import build as B
from lowering import expr as E
from lowering.expr import Expr
from lowering.passes.rewriting import remove_dead
from lowering.tensor_ir import Generic, If, Region, Scan, Scatter, Sort, Value
from runtime.dtypes import i64

# Operators whose equal extremes share the gradient evenly; for all others the first one gets it.
_EVEN = frozenset(("aten::amax", "aten::amin", "aten::max", "aten::min", "aten::aminmax",
                   "aten::linalg_vector_norm", "aten::norm", "aten::linalg_norm"))
_INCLUSIVE = frozenset(("aten::clamp", "aten::clamp_min", "aten::clamp_max", "aten::clip"))


def apply(plan: Plan, saved: Sequence, wanted: Sequence[bool],
          grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of the plan's inputs that are wanted; None for the others, and where zero."""
    given = tuple(g is not None for g in grads)
    if not any(given):
        return [None] * len(wanted)
    key = (tuple(wanted), given)
    if key not in plan.derivatives:
        plan.derivatives[key] = _derive(plan, wanted, given)
    derived, found, reads = plan.derivatives[key]
    if not found:
        return [None] * len(wanted)
    inputs = [saved[k].get() for k in reads]
    tensors = inputs + [_as(g, v) for g, v in zip(
        (g for g in grads if g is not None), derived.params[len(reads):])]
    results = dispatch.run_plan(derived, tensors)
    out: list[Tensor | None] = [None] * len(wanted)
    for k, result in zip(found, results):  # type: ignore[call-overload]
        out[k] = result
    return out


def _as(grad: Tensor, value: Value) -> Tensor:
    """A gradient in the dtype and shape of what it is the gradient of."""
    if grad.row is not value.dtype:
        grad = grad.to(of_row(value.dtype))
    if grad._data.sizes != value.shape:
        grad = grad.expand(list(value.shape))
    return grad


def _derive(plan: Plan, wanted: Sequence[bool],
            given: Sequence[bool]) -> tuple[Plan, list[int], list[int]]:
    """The derived plan, the inputs whose gradients are its results, and the inputs it reads."""
    region = Region(list(plan.params))
    with B.collect(region):
        results = flatten(plan.region, region)
        incoming = [Value(r.shape, r.dtype) for r, g in zip(results, given) if g]
        tape = _Tape(plan.name, {p for p, w in zip(plan.params, wanted) if w}, list(region.ops))
        places = [r for r, g in zip(results, given) if g]
        for result, grad in zip(places, incoming):
            tape.add(result, grad)
        tape.run()
        found = [k for k, p in enumerate(plan.params) if wanted[k] and p in tape.grads]
        outs = [tape.grads[plan.params[k]] for k in found]
    # a gradient that is passed on as it came is copied: tensors do not share what they hold
    with B.collect(region):
        outs = [B.reindex(v, v.shape, lambda *i: i) if v in incoming else v for v in outs]
    region.results = outs
    region.params = [*plan.params, *incoming]
    remove_dead(region)
    used = _reads(region)
    reads = [k for k, p in enumerate(plan.params) if p in used]
    region.params = [*(plan.params[k] for k in reads), *incoming]
    name = f"{plan.name}_backward" if plan.name else plan.name
    return Plan(name, plan.overload, region, [Out(k) for k in range(len(outs))]), found, reads


def _reads(region: Region) -> set[Value]:
    used = set(region.results)
    for op in region.ops:
        used.update(op.operands())
        for inner in op.regions():
            used.update(inner.reads())
    return used


class _Tape:
    """The gradients of Values, found from the last op to the first."""

    def __init__(self, name: str, wanted: set[Value], ops: list) -> None:
        self.even = name.removesuffix("_backward") in _EVEN
        plain = name.removesuffix("_backward")
        self.ties = ("inclusive" if plain in _INCLUSIVE else "relu" if plain == "aten::relu"
                     else "strict")
        self.ops = ops
        self.grads: dict[Value, Value] = {}
        self.needed = set(wanted)  # what depends on a wanted input
        for op in ops:
            reads = [*op.operands(), *(v for r in op.regions() for v in r.reads())]
            if any(v in self.needed for v in reads):
                self.needed.update(v for v in op.results if v.dtype.is_float)

    def add(self, value: Value, grad: Value) -> None:
        """One more contribution to a Value's gradient."""
        if value not in self.needed:
            return
        known = self.grads.get(value)
        if known is not None:
            grad = B.pointwise(lambda a, b: a + b, known, grad, dtype=value.dtype)
        self.grads[value] = grad

    def run(self) -> None:
        for op in reversed(self.ops):
            grads = [self.grads.get(v) for v in op.results]
            if all(g is None for g in grads) or not any(v in self.needed for v in op.results):
                continue
            if isinstance(op, Generic):
                self._generic(op, grads[0])
            elif isinstance(op, Sort):
                self.add(op.x, sort_gradient(op, grads[0]))
            elif isinstance(op, Scan):
                self.add(op.x, scan_gradients(op, grads[0]))
            elif isinstance(op, Scatter):
                for value, grad in scatter_gradients(op, grads[0]):
                    self.add(value, grad)
                self._scatter_body(op, grads[0])
            elif isinstance(op, If):
                self._if(op, grads)
            else:
                raise NotImplementedError(f"no derivative of {type(op).__name__}")

    def _generic(self, op: Generic, grad: Value) -> None:
        shape = op.domain[:op.parallel]
        write = op.write
        if write is not None:
            if op.base is not None and op.base in self.needed:
                zero = E.const(0.0, grad.dtype)
                self.add(op.base, B.generic(shape, len(shape), zero, None, None, grad, write))
            inner = B.generic(shape, len(shape), E.load(grad, write))
        else:
            inner = grad
        outer = E.identity(op.parallel)
        g: Expr = E.load(inner, outer)
        post = op.post
        if op.combiner is None:
            self._body(op, op.body, g, op.domain)
            return
        if op.combiner in ("argmin", "argmax", "and", "or"):
            return
        combined = None
        if post is not None:
            combined = B.generic(op.domain, op.parallel, op.body, op.combiner)
            acc = E.load(combined, outer)
            whole = E.rewrite(post, lambda x: acc if x.op == "acc" else None)
            self._body(op, whole, g, shape)  # loads beside the accumulator
            if not op.body.dtype.is_float:
                return
            slope = times(_as_dtype(g, whole.dtype), derivative(whole, acc, self.ties))
            if slope is None:
                return
            g = E.load(B.compute(shape, lambda *_: E.cast(slope, op.body.dtype)), outer)
        if op.combiner == "add":
            self._body(op, op.body, g, op.domain)
            return
        if combined is None:
            combined = B.generic(op.domain, op.parallel, op.body, op.combiner)
        if op.combiner == "mul":
            self._body(op, op.body, g, op.domain, self._others(op, combined))
            return
        self._body(op, op.body, g, op.domain, self._winners(op, combined))

    def _others(self, op: Generic, total: Value) -> Expr:
        """The product of all other factors, for each."""
        dtype = op.body.dtype
        zero, unit = E.const(0.0, dtype), E.const(1.0, dtype)
        outer = E.identity(op.parallel)
        is_zero = E.eq(op.body, zero)
        count = B.generic(op.domain, op.parallel, E.cast(is_zero, i64), "add")
        rest = B.generic(op.domain, op.parallel, E.select(is_zero, unit, op.body), "mul")
        zeros = E.load(count, outer)
        alone = is_zero & E.eq(zeros, 1)
        return E.select(E.eq(zeros, 0), E.load(rest, outer) / op.body,
                        E.select(alone, E.load(rest, outer), zero))

    def _winners(self, op: Generic, best: Value) -> Expr:
        """1 for the extreme, or its share where equals share."""
        dtype = op.body.dtype
        outer = E.identity(op.parallel)
        if self.even:
            wins = E.eq(op.body, E.load(best, outer)) | (
                E.isnan(op.body) & E.isnan(E.load(best, outer)))
            count = B.generic(op.domain, op.parallel, E.cast(wins, dtype), "add")
            return E.select(wins, one(dtype) / E.load(count, outer), E.const(0.0, dtype))
        first = B.generic(op.domain, op.parallel, op.body, f"arg{op.combiner}")
        here: Expr = E.const(0)
        for k in range(op.parallel, len(op.domain)):
            here = here * op.domain[k] + E.index(k)
        wins = E.eq(here, E.load(first, outer))
        return E.select(wins, one(dtype), E.const(0.0, dtype))

    def _body(self, op: object, body: Expr, grad: Expr, domain: Sequence[int],
              factor: Expr | None = None) -> None:
        """Hands grad * factor * d body / d load to every tensor that the body loads."""
        if not body.dtype.is_float:
            return
        for load in E.loads(body):
            value = load.attr
            if value not in self.needed or not value.dtype.is_float:  # type: ignore[union-attr]
                continue
            slope = derivative(body, load, self.ties)
            if slope is None:
                continue
            flow = times(_as_dtype(grad, body.dtype), slope)
            if factor is not None:
                flow = times(flow, factor)
            assert flow is not None
            self._put(value, load.args, flow, tuple(domain))  # type: ignore[arg-type]

    def _put(self, value: Value, at: tuple[Expr, ...], flow: Expr, domain: tuple[int, ...]) -> None:
        """Sums `flow` over the domain into the value's gradient at the positions `at`."""
        flow = _widened(flow)
        used = sorted({x.attr for e in at for x in E.walk(e) if x.op == "index"})
        direct = _projection(value, at, domain)
        if direct is not None:
            summed = _sum_over(flow, domain, direct)
            out = B.compute(value.shape, lambda *i: E.cast(E.load(summed, [
                i[d] for d, k in enumerate(direct) if k is not None]), value.dtype))
            self.add(value, out)
            return
        summed = _sum_over(flow, domain, used)
        small = {k: n for n, k in enumerate(used)}
        moved = [E.rewrite(e, lambda x: E.index(small[x.attr]) if x.op == "index" else None)
                 for e in at]
        base = B.full(value.shape, 0, summed.dtype)
        out = B.scatter(base, [domain[k] for k in used], lambda *_: moved,
                        lambda *i: E.load(summed, i), "add")
        self.add(value, B.cast(out, value.dtype))

    def _scatter_body(self, op: Scatter, grad: Value) -> None:
        if op.mode not in ("set", "add") or 0 in grad.shape:
            return
        inside: Expr = E.const(True, B.bool_)
        clamped = []
        for e, n in zip(op.write, grad.shape):
            inside = inside & (e >= 0) & (e < n)
            clamped.append(E.minimum(E.maximum(e, 0), n - 1))
        flow = E.select(inside, E.load(grad, clamped), E.const(0.0, grad.dtype))
        value = B.generic(op.domain, len(op.domain), flow)
        self._body(op, op.body, E.load(value, E.identity(len(op.domain))), op.domain)

    def _if(self, op: If, grads: Sequence[Value | None]) -> None:
        """The chosen branch's gradient for everything that either branch reads."""
        values = [v for v in dict.fromkeys([*op.then.reads(), *op.otherwise.reads()])
                  if v in self.needed and v.dtype.is_float]

        def branch(region: Region):
            def build() -> list[Value]:
                local = Region()
                with B.collect(local):
                    results = flatten(region, local)
                tape = _Tape("", set(values), list(local.ops))
                for o in local.ops:
                    B.append(o)
                tape.even, tape.ties = self.even, self.ties
                for r, g in zip(results, grads):
                    if g is not None:
                        tape.add(r, g)
                tape.run()
                return [tape.grads[v] if v in tape.grads else B.full(v.shape, 0, v.dtype)
                        for v in values]

            return build

        if values:
            results = B.cond(op.condition, branch(op.then), branch(op.otherwise))
            for v, g in zip(values, results):
                self.add(v, g)


def _as_dtype(e: Expr, dtype) -> Expr:
    return E.cast(e, dtype)


def _widened(e: Expr) -> Expr:
    """Sums are computed in f32 at least."""
    return E.cast(e, B.compute_dtype(e.dtype))


def _projection(value: Value, at: tuple[Expr, ...],
                domain: tuple[int, ...]) -> list[int | None] | None:
    """For each dim of the value, the loop index that alone runs over it (None for a dim of size 1
    read at 0); None altogether if positions are anything else."""
    out: list[int | None] = []
    for e, n in zip(at, value.shape):
        if e.is_const and n == 1:
            out.append(None)
        elif e.op == "index" and domain[e.attr] == n and e.attr not in out:  # type: ignore
            out.append(e.attr)  # type: ignore[arg-type]
        else:
            return None
    return out


def _sum_over(flow: Expr, domain: tuple[int, ...], kept: Sequence[int | None]) -> Value:
    """flow as a tensor over the kept loop indices, in their order, summed over all others."""
    order = [k for k in kept if k is not None]
    rest = [k for k in range(len(domain)) if k not in order]
    place = {k: n for n, k in enumerate([*order, *rest])}
    moved = E.rewrite(flow, lambda x: E.index(place[x.attr]) if x.op == "index" else None)
    shape = tuple(domain[k] for k in [*order, *rest])
    if not rest:
        return B.generic(shape, len(shape), moved)
    return B.generic(shape, len(order), moved, "add")


