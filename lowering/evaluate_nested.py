"""Nested tensors: batches of rows of unequal lengths, in the padded form that they were made of.

PyTorch's TransformerEncoder makes one of a batch and its padding mask, takes it through the layers
and pads the result with zeros. Here the padded tensor goes through, with the mask beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from lowering.abstract import AbstractNested, AbstractTensor
from lowering.evaluate_operators import Unsupported

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def concerns(kind: str, args: list) -> bool:
    """Whether a call takes or makes nested tensors."""
    return kind in _MAKERS or any(isinstance(x, AbstractNested) for x in args)


def compute(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    """The result of a call that `concerns`. Unsupported for operators not known here."""
    known = _MAKERS.get(kind) or _TAKERS.get(kind)
    if known is None:
        raise Unsupported(kind)
    return known(ev, *args, **kwargs)


def _operate(ev: Evaluator, name: str, *args: object) -> AbstractTensor:
    return ev.operate_with(f"aten::{name}", list(args), {})  # type: ignore[return-value]


def _left_aligned(ev: Evaluator, kept: AbstractTensor) -> AbstractTensor:
    """0-d: no position of the mask (b, t) is kept behind one that is not."""
    before = _operate(ev, "slice", kept, 1, 0, -1)
    behind = _operate(ev, "slice", kept, 1, 1)
    return _operate(ev, "all", _operate(ev, "logical_or", before,
                                        _operate(ev, "logical_not", behind)))


def _from_mask(ev: Evaluator, x: AbstractTensor, kept: AbstractTensor,
               mask_check: bool = True) -> AbstractNested:
    if x.ndim != 3 or kept.ndim != 2:
        raise RuntimeError("a nested tensor is made of a tensor (b, t, d) and a bool mask (b, t)")
    if mask_check:
        raise Unsupported("aten::_nested_tensor_from_mask")
    return AbstractNested(x, kept, _left_aligned(ev, kept))


def _is_aligned(ev: Evaluator, x: AbstractTensor, kept: AbstractTensor) -> bool:
    """PyTorch asks in order to go through its layers with a plain tensor where this is False, and
    then pads nothing. Both ways are one here: to_padded_tensor looks at the mask again."""
    return True


def _padded(ev: Evaluator, x: AbstractNested, padding: float,
            size: list | None = None) -> AbstractTensor:
    if size is None or [ev.memory.dim_of(n, False) for n in size] != list(x.padded.shape):
        raise Unsupported("aten::to_padded_tensor")
    written = _operate(ev, "logical_or", x.kept, _operate(ev, "logical_not", x.aligned))
    return _operate(ev, "where", _operate(ev, "unsqueeze", written, -1), x.padded, padding)


def _encoder_layer(ev: Evaluator, x: AbstractNested, *rest: object) -> AbstractNested:
    *weights, mask, _ = (*rest, *[None] * (19 - len(rest)))
    if mask is not None:
        raise Unsupported("aten::_transformer_encoder_layer_fwd")
    ignored = _operate(ev, "logical_not", x.kept)
    y = _operate(ev, "_transformer_encoder_layer_fwd", x.padded, *weights, ignored, 1)
    return AbstractNested(y, x.kept, x.aligned)


def _of_padded(kind: str) -> Callable:
    return lambda ev, x, *rest: ev.operate_with(kind, [x.padded, *rest], {})


_MAKERS: dict[str, Callable] = {
    "aten::_nested_tensor_from_mask": _from_mask,
    "aten::_nested_tensor_from_mask_left_aligned": _is_aligned,
}
_TAKERS: dict[str, Callable] = {
    "aten::to_padded_tensor": _padded,
    "aten::_transformer_encoder_layer_fwd": _encoder_layer,
    "prim::is_nested": lambda ev, x: True,
    **{kind: _of_padded(kind) for kind in (
        "aten::dim", "prim::dtype", "prim::device", "prim::layout", "prim::requires_grad",
        "prim::is_cuda", "prim::is_cpu", "aten::is_floating_point", "aten::__is__",
        "aten::__isnot__",
    )},
}
OPERATORS = frozenset({*_MAKERS, *_TAKERS})
