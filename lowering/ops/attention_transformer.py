"""Whole multi-head attention and transformer encoder layers, as traces of torch.nn's modules hold
them (their "fast path" without gradients)."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering import views
from lowering.build import compute, pointwise, reduce
from lowering.expr import Expr
from lowering.ops.attention import normalized, weighted, weights
from lowering.ops.matmul import linear
from lowering.ops.normalization import layer_norm
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import bool_


def _heads(qkv: Value, part: int, heads: int) -> Value:
    """q, k or v (part 0, 1, 2) of a joint projection: (b, t, 3 * d) -> (b, heads, t, d / heads)."""
    b, t, joint = qkv.shape
    d = joint // 3
    size = d // heads
    return compute((b, heads, t, size), lambda n, h, p, e: E.load(
        qkv, (n, p, h * size + e + part * d)))


def _mask(mask: Value | None, mask_type: int | None, b: int, heads: int, t: int) -> Value | None:
    """The mask as scaled_dot_product_attention takes it: True where a key takes part. Types: 0 is
    (t, t); 1 is (b, t), of keys; 2 is (b, heads, t, t)."""
    if mask is None:
        return None
    if mask_type is None:
        raise RuntimeError("Mask Type should be defined")
    wanted = {0: (t, t), 1: (b, t), 2: (b, heads, t, t)}.get(mask_type)
    if wanted is None:
        raise RuntimeError("Mask Type should be 0 (src_mask), 1 (src_key_padding_mask), or 2 "
                           "(default_mask)")
    if mask.shape != wanted:
        should = {0: "mask shape should be (L, L)", 1: "mask shape should be (B, L)",
                  2: "mask shape should match input shape"}[mask_type]
        raise RuntimeError(f"For mask_type == {mask_type} {should}")
    kept = pointwise(lambda m: E.eq(m, 0) if m.dtype is not bool_ else ~m, mask)
    if mask_type == 1:
        return compute((b, 1, 1, t), lambda n, _h, _q, k: E.load(kept, (n, k)))
    return kept


@aten("_native_multi_head_attention(Tensor query, Tensor key, Tensor value, int embed_dim, int "
      "num_head, Tensor qkv_weight, Tensor qkv_bias, Tensor proj_weight, Tensor proj_bias, "
      "Tensor? mask=None, bool need_weights=True, bool average_attn_weights=True, int? "
      "mask_type=None) -> (Tensor, Tensor)")
def native_multi_head_attention(q, k, v, embed_dim, heads, qkv_weight, qkv_bias, proj_weight,
                                proj_bias, mask=None, need_weights=True, average_attn_weights=True,
                                mask_type=None):
    """Shapes: query, key, value (b, t, d), qkv_weight (3 * d, d), proj_weight (d, d). Results:
    (b, t, d), and the weights (b, t, t), or by head (b, heads, t, t), or None if not needed."""
    if q.ndim != 3:
        raise RuntimeError(f"expected 3-D `query`, got {q.ndim}-D tensor")
    if q.shape[2] != embed_dim:
        raise RuntimeError(f"passed-in embed_dim {embed_dim} didn't match last dim of query "
                           f"{q.shape[2]}")
    if not q.shape == k.shape == v.shape:
        raise RuntimeError("expected `query`/`key`/`value` shapes to match")
    if embed_dim % heads:
        raise RuntimeError("`embed_dim` must divide evenly by `num_heads`")
    b, t, _ = q.shape
    parts = _projected(q, k, v, qkv_weight, qkv_bias, heads)
    kept = _mask(mask, mask_type, b, heads, t)
    e, total = weights(parts[0], parts[1], 1 / math.sqrt(embed_dim // heads), kept, False)
    y = weighted(e, total, parts[2], kept is not None, [0, "l", 1, "f"])
    out = linear(views.reshape(y.shape, (b, t, embed_dim)).get(y), proj_weight, proj_bias)
    if not need_weights:
        return out, None
    p = normalized(e, total, q)
    if average_attn_weights:
        p = reduce("add", p, 1, False, None, lambda s: s / float(heads))
    return out, p


def _projected(q: Value, k: Value, v: Value, weight: Value, bias: Value,
               heads: int) -> list[Value]:
    """q, k, v by head. Self-attention projects once."""
    if q is k and k is v:
        joint = linear(q, weight, bias)
        return [_heads(joint, part, heads) for part in range(3)]
    return [_heads(linear(x, weight, bias), part, heads) for part, x in enumerate((q, k, v))]


@aten("_transform_bias_rescale_qkv(Tensor qkv, Tensor qkv_bias, int num_heads) -> (Tensor, "
      "Tensor, Tensor)")
def transform_bias_rescale_qkv(qkv, qkv_bias, num_heads):
    """(b, t, 3 * d) plus the bias, as q / sqrt(d / heads), k and v of (b, heads, t, d / heads)."""
    if qkv.shape[2] % (3 * num_heads):
        raise RuntimeError("the joint projection's size must be a multiple of 3 * num_heads")
    joint = pointwise(lambda a, c: a + c, qkv, qkv_bias)
    q, k, v = (_heads(joint, part, num_heads) for part in range(3))
    size = qkv.shape[2] // 3 // num_heads
    return pointwise(lambda a: a / math.sqrt(size), q), k, v


@aten("_transformer_encoder_layer_fwd(Tensor src, int embed_dim, int num_heads, Tensor "
      "qkv_weight, Tensor qkv_bias, Tensor proj_weight, Tensor proj_bias, bool use_gelu, bool "
      "norm_first, float eps, Tensor norm_weight_1, Tensor norm_bias_1, Tensor norm_weight_2, "
      "Tensor norm_bias_2, Tensor ffn_weight_1, Tensor ffn_bias_1, Tensor ffn_weight_2, Tensor "
      "ffn_bias_2, Tensor? mask=None, int? mask_type=None) -> Tensor")
def transformer_encoder_layer(x, embed_dim, heads, qkv_weight, qkv_bias, proj_weight, proj_bias,
                              use_gelu, norm_first, eps, norm_weight_1, norm_bias_1, norm_weight_2,
                              norm_bias_2, ffn_weight_1, ffn_bias_1, ffn_weight_2, ffn_bias_2,
                              mask=None, mask_type=None):
    """Attention and a two-layer perceptron, each with a residual and a layer norm before
    (norm_first) or after it. Shape: (b, t, embed_dim)."""
    def attention(y: Value) -> Value:
        return native_multi_head_attention(y, y, y, embed_dim, heads, qkv_weight, qkv_bias,
                                           proj_weight, proj_bias, mask, False, True, mask_type)[0]

    def perceptron(y: Value) -> Value:
        hidden = linear(y, ffn_weight_1, ffn_bias_1)
        return linear(pointwise(_gelu if use_gelu else _relu, hidden), ffn_weight_2, ffn_bias_2)

    def norm(y: Value, weight: Value, bias: Value) -> Value:
        return layer_norm(y, [embed_dim], weight, bias, eps)

    def plus(a: Value, b: Value) -> Value:
        return pointwise(lambda p, q: p + q, a, b)

    if norm_first:
        x = plus(x, attention(norm(x, norm_weight_1, norm_bias_1)))
        return plus(x, perceptron(norm(x, norm_weight_2, norm_bias_2)))
    x = norm(plus(x, attention(x)), norm_weight_1, norm_bias_1)
    return norm(plus(x, perceptron(x)), norm_weight_2, norm_bias_2)


def _gelu(a: Expr) -> Expr:
    """x * the normal distribution's integral up to x."""
    return a * (E.unary("erf", a * (1 / math.sqrt(2))) + 1) * 0.5


def _relu(a: Expr) -> Expr:
    return E.maximum(a, 0)
