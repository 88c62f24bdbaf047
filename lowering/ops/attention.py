"""Attention: softmax(q k^T * scale + mask) v, as two contractions around a softmax.

The weights stay unnormalized: the second contraction divides its sums by the rows' totals. A row
whose keys are all masked gives zeros. Scores are kept in the dtype they are accumulated in.
"""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from lowering import expr as E
from lowering import views
from lowering.build import broadcast_shape, compute, compute_dtype, reduce, stretch_to
from lowering.expr import Expr
from lowering.ops.matmul import contract
from lowering.ops.message_names import c_name
from lowering.ops.dropout import drop
from lowering.ops.table import aten
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import bool_


def _usual_scale(q: Value) -> float | Expr:
    """1 / sqrt(e)"""
    e = q.shape[-1]
    if not isinstance(e, Size):
        return 1 / math.sqrt(e)
    return 1 / E.unary("sqrt", E.const(e, compute_dtype(q.dtype)))


def attend(q: Value, k: Value, v: Value, scale: float | Expr, mask: Value | None = None,
           causal: bool = False, dropout: float = 0.0) -> Value:
    """q (b..., l, e), k (b..., s, e), v (b..., s, f) -> (b..., l, f); batch dims broadcast, and so
    does mask with (b..., l, s): bool (True takes part) or added to the scores. causal: query i
    sees keys 0 ... i. dropout: which part of the weights is left out, at random."""
    e, total = weights(q, k, scale, mask, causal)
    e = drop(e, dropout, True)
    return weighted(e, total, v, mask is not None)


def weights(q: Value, k: Value, scale: float | Expr, mask: Value | None,
            causal: bool) -> tuple[Value, Value]:
    """exp(score - the row's greatest) of shape (b..., l, s), and the rows' sums (b..., l)."""
    n = max(q.ndim, k.ndim) - 2
    batch = list(range(n))
    q_labels = [*batch[n - q.ndim + 2:], "l", "e"]
    k_labels = [*batch[n - k.ndim + 2:], "s", "e"]
    scores = contract(q, q_labels, k, k_labels, [*batch, "l", "s"], compute_dtype(q.dtype),
                      lambda acc, _: acc * scale)
    if mask is not None or causal:
        scores = _masked(scores, mask, causal)
    lowest = float(np.finfo(scores.dtype.compute).min)
    top = reduce("max", scores, -1, False, None,
                 None if mask is None else lambda m: E.maximum(m, lowest))
    e = compute(scores.shape, lambda *i: E.unary(
        "exp", E.load(scores, i) - E.load(top, i[:-1])))
    return e, reduce("add", e, -1, False)


def _masked(scores: Value, mask: Value | None, causal: bool) -> Value:
    out = E.const(-float("inf"), scores.dtype)

    def body(*i: Expr) -> Expr:
        s = E.load(scores, i)
        if mask is not None:
            at = [E.const(0) if n == 1 else p for n, p in zip(mask.shape, i[len(i) - mask.ndim:])]
            m = E.load(mask, at)
            s = E.select(m, s, out) if m.dtype is bool_ else s + E.cast(m, s.dtype)
        return E.select(i[-1] <= i[-2], s, out) if causal else s

    return compute(scores.shape, body)


def weighted(e: Value, total: Value, v: Value, may_be_empty: bool,
             order: Sequence | None = None) -> Value:
    """sum over s of e[..., l, s] * v[..., s, f] / total[..., l], in v's dtype; dims as in `order`,
    default 0, 1, ... "l", "f". A total is at least 1 (the greatest score counts exp(0)) unless the
    whole row is masked."""
    n = e.ndim - 2
    batch = list(range(n))

    def divided(acc: Expr, at: dict) -> Expr:
        by = E.load(total, [at[b] for b in batch] + [at["l"]])
        return acc / (E.maximum(by, 1) if may_be_empty else by)

    return contract(e, [*batch, "l", "s"], v, [*batch[n - v.ndim + 2:], "s", "f"],
                    order or [*batch, "l", "f"], v.dtype, divided)


@aten("scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? "
      "attn_mask=None, float dropout_p=0., bool is_causal=False, *, float? scale=None, bool "
      "enable_gqa=False) -> Tensor")
def scaled_dot_product_attention(q, k, v, mask=None, dropout_p=0.0, is_causal=False, scale=None,
                                 enable_gqa=False):
    """Shapes: query (..., l, e), key (..., s, e), value (..., s, f) -> (..., l, f). enable_gqa: the
    heads (third dim from the end) of query are a multiple of those of key and value."""
    _check(q, k, v, mask)
    factor = float(scale) if scale is not None else _usual_scale(q)
    if enable_gqa and q.ndim >= 3 and (q.shape[-3] != k.shape[-3] or q.shape[-3] != v.shape[-3]):
        return _grouped(q, k, v, factor, mask, is_causal, dropout_p)
    try:
        batch = broadcast_shape(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        scores = (*batch, q.shape[-2], k.shape[-2])
        masked = scores if mask is None or stretch_to(mask.shape, scores) else broadcast_shape(
            scores, mask.shape)
    except ValueError as error:
        raise RuntimeError(f"attention of query {list(q.shape)}, key {list(k.shape)}, value "
                           f"{list(v.shape)}: {error}") from None
    if masked != scores:
        raise RuntimeError(f"output with shape {list(scores)} doesn't match the broadcast shape "
                           f"{list(masked)}")
    return attend(_with_batch(q, batch), k, v, factor, mask, is_causal, dropout_p)


def _with_batch(q: Value, batch: tuple[int, ...]) -> Value:
    """q with all batch dims, which count the rows of the scores."""
    if q.shape[:-2] == batch:
        return q
    return views.expand(q.shape, (*batch, *q.shape[-2:])).get(q)


def _grouped(q: Value, k: Value, v: Value, scale: float, mask: Value | None,
             causal: bool, dropout: float) -> Value:
    """Each head of key and value serves a group of consecutive query heads."""
    heads, shared = q.shape[-3], k.shape[-3]
    if heads % max(shared, 1) or k.shape[-3] != v.shape[-3]:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in "
                           "query")
    lead, size = q.shape[:-3], heads // shared
    q = _split_heads(q, shared, size)
    k, v = (views.reshape(x.shape, (*x.shape[:-2], 1, *x.shape[-2:])).get(x) for x in (k, v))
    if mask is not None and mask.ndim >= 3:
        mask = _split_heads(mask, 1, 1) if mask.shape[-3] == 1 else _split_heads(mask, shared, size)
    y = attend(q, k, v, scale, mask, causal, dropout)
    return views.reshape(y.shape, (*lead, heads, *y.shape[-2:])).get(y)


def _split_heads(x: Value, outer: int, inner: int) -> Value:
    return views.reshape(x.shape, (*x.shape[:-3], outer, inner, *x.shape[-2:])).get(x)


def _check(q: Value, k: Value, v: Value, mask: Value | None) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{q.ndim} key.dim: {k.ndim} and value.dim: {v.ndim} instead."
        )
    if q.dtype is not k.dtype or q.dtype is not v.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{c_name(q.dtype)} key.dtype: {c_name(k.dtype)} and value.dtype: {c_name(v.dtype)} "
            "instead."
        )
    if not q.dtype.is_float:
        raise RuntimeError("attention needs floating point query, key and value, but got "
                           + q.dtype.torch_name)
    if q.shape[-1] != k.shape[-1]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{math.prod(k.shape[:-2])}, {q.shape[-1]}] but got: "
            f"[{math.prod(k.shape[:-2])}, {k.shape[-1]}]."
        )
    if k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{math.prod(v.shape[:-2])}, {k.shape[-2]}] but got: "
            f"[{math.prod(v.shape[:-2])}, {v.shape[-2]}]."
        )
    if mask is not None and mask.dtype is not bool_ and mask.dtype is not q.dtype:
        if mask.dtype.name != "f32":
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                f"attn_mask.dtype: {c_name(mask.dtype)} and  query.dtype: {c_name(q.dtype)} "
                "instead."
            )


def normalized(e: Value, total: Value, like: Value) -> Value:
    """The attention weights themselves, in the dtype of the query."""
    return compute(e.shape, lambda *i: E.cast(
        E.load(e, i) / E.maximum(E.load(total, i[:-1]), 1), like.dtype))
