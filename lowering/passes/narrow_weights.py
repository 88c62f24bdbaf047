"""Weights of products in fewer bits, where the user asks for it (--precision).

    bf16            sum of a * w          ~>   sum of a * f32(w rounded to bf16)
    int8-weights    post(sum of a * w)    ~>   post(scale * sum of a * f32(q)),  w about scale * q

Sums stay in f32. int8 has a scale for each output channel: the largest magnitude of all weights
that are added up for it is 127 steps. It multiplies the sum, not the weights: for each weight that
it loads a product does no more than a cast.
"""

from __future__ import annotations

import numpy as np

from lowering import expr as E
from lowering.expr import Expr
from lowering.passes.rewriting import all_regions, remove_dead
from lowering.schedule.product import factors
from lowering.tensor_ir import Constant, Generic, Region, TensorOp, Value
from llvm_backend.target import Target
from runtime.dtypes import bf16, f32, i8, round_bf16

_FEWEST = 256  # weights of a product that are worth it
_FEWEST_A_SCALE = 4


def narrow_weights(region: Region, target: Target) -> None:
    """Rewrites in place, inner regions included, as target.precision says."""
    if target.precision == "f32":
        return
    narrow = {"bf16": _as_bf16, "int8-weights": _as_int8}[target.precision]
    made: dict[tuple[TensorOp, object], list[Constant]] = {}  # what several products read, once
    for r in all_regions(region):
        for op in r.ops:
            weights = _weights(op)
            if weights is not None:
                assert isinstance(op, Generic)
                narrow(op, weights, made)
    beside: dict[TensorOp, list[Constant]] = {}
    for (constant, _), ops in made.items():
        beside.setdefault(constant, []).extend(ops)
    for r in all_regions(region):
        r.ops = [x for op in r.ops for x in (op, *beside.get(op, ()))]
    remove_dead(region)


def _weights(op: TensorOp) -> Expr | None:
    """The load of the constant factor, if op is a product with one worth narrowing."""
    if not isinstance(op, Generic) or op.combiner != "add" or op.body.dtype is not f32:
        return None
    pair = factors(op.body)
    if pair is None:
        return None
    constant = [x for x in pair if isinstance(x.attr.op, Constant)]
    if len(constant) != 1 or constant[0].dtype is not f32 or constant[0].attr.numel < _FEWEST:
        return None
    return constant[0] if np.isfinite(constant[0].attr.op.data).all() else None


def _as_bf16(op: Generic, weights: Expr, made: dict) -> None:
    constant = weights.attr.op
    if (constant, ()) not in made:
        made[constant, ()] = [Constant(round_bf16(constant.data), bf16)]
    (narrow,) = made[constant, ()]
    _replace(op, weights, narrow.out)


def _as_int8(op: Generic, weights: Expr, made: dict) -> None:
    constant = weights.attr.op
    channels = tuple(k for k, i in enumerate(weights.args) if all(
        x.attr < op.parallel for x in E.walk(i) if x.op == "index"))
    others = tuple(k for k in range(constant.data.ndim) if k not in channels)
    if constant.data.size < _FEWEST_A_SCALE * np.prod([constant.data.shape[k] for k in channels]):
        return
    if (constant, channels) not in made:
        largest = np.abs(constant.data).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        steps = np.rint(constant.data / scale).astype(np.int8)
        made[constant, channels] = [Constant(steps, i8), Constant(scale.squeeze(others), f32)]
    narrow, scales = made[constant, channels]
    _replace(op, weights, narrow.out)
    total = E.acc(f32) * E.load(scales.out, [weights.args[k] for k in channels])
    op.post = total if op.post is None else E.rewrite(
        op.post, lambda x: total if x.op == "acc" else None, {})


def _replace(op: Generic, weights: Expr, by: Value) -> None:
    load = E.cast(E.load(by, weights.args), f32)
    op.body = E.rewrite(op.body, lambda x: load if x == weights else None, {})
