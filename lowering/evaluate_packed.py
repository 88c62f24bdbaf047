"""Packed sequences: sequences of several lengths in one tensor, time step by time step.

How many rows such a tensor has is known only at run time. What was packed is kept beside it,
padded: recurrent layers run over that and keep the states of the sequences that have ended; so does
the padding of what they give. The packed rows are computed where something else reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from lowering import build as B
from lowering import expr as E
from lowering import views
from lowering.abstract import AbstractTensor
from lowering.evaluate_operators import Unsupported, apply
from lowering.ops.recurrent import KINDS, over_sequences
from lowering.tensor_ir import Value
from runtime.dtypes import i64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


@dataclass(frozen=True, eq=False)
class Packed:
    """What a packed tensor was made of: (t, b, ...), and the lengths (b), longest first."""

    padded: Value
    lengths: Value
    version: int  # of the packed tensor's storage, when it was made


def _pack(ev: Evaluator, x: AbstractTensor, lengths: AbstractTensor,
          batch_first: bool) -> tuple[AbstractTensor, AbstractTensor]:
    if batch_first:
        x = apply(ev, "aten::transpose", [x, 0, 1], {})  # type: ignore[assignment]
    padded, n = ev.memory.read(x), ev.memory.read(lengths)
    if padded.ndim < 2 or n.shape != padded.shape[1:2]:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got "
                           f"{n.shape[0] if n.ndim else 1} (batch_size={padded.shape[1]})")
    steps, batch = padded.shape[:2]

    def in_order() -> Value:
        """Each length is at least 1 and no more than the one before."""
        return B.generic((batch,), 0, (E.load(n, [E.index(0)]) >= 1) & (
            E.load(n, [E.index(0)]) <= E.select(
                E.eq(E.index(0), 0), E.lift(steps, i64),
                E.load(n, [E.maximum(E.index(0) - 1, 0)]))), "and")

    ev.check(ev.memory.build(in_order),
             "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True, "
             "and each be at least 1 and no more than the steps there are")
    return _packed_rows(ev, padded, n)


def _packed_rows(ev: Evaluator, padded: Value, lengths: Value) -> tuple[AbstractTensor,
                                                                      AbstractTensor]:
    """The packed tensor, and how many sequences each of its steps has."""
    steps, batch = padded.shape[:2]
    memory = ev.memory
    inside = memory.tensor(memory.build(lambda: B.compute(
        (steps, batch), lambda t, b: E.cast(t, i64) < E.load(lengths, [b]))))
    counts = apply(ev, "aten::sum", [inside, [1]], {})
    running = apply(ev, "aten::gt", [counts, 0], {})
    rows = apply(ev, "aten::index", [memory.tensor(padded), [inside]], {})
    ev.packed[rows.storage] = Packed(padded, lengths, rows.storage.version)  # type: ignore
    return rows, apply(ev, "aten::index", [counts, [running]], {})  # type: ignore[return-value]


def _of(ev: Evaluator, data: AbstractTensor) -> Packed:
    found = ev.packed.get(data.storage)
    if found is None or found.version != data.storage.version or data.view is not None:
        raise Unsupported("packed sequences that were not packed in the program")
    return found


def _pad(ev: Evaluator, data: AbstractTensor, batch_sizes: AbstractTensor, batch_first: bool,
         padding_value: object = 0.0, total_length: int | Value = -1) -> tuple[AbstractTensor,
                                                                       AbstractTensor]:
    packed = _of(ev, data)
    x, n = packed.padded, packed.lengths
    steps = x.shape[0]
    longest = ev.memory.build(lambda: views.select(n.shape, 0, 0).get(n))
    if isinstance(total_length, Value):  # traces hold how many steps the packed sequences have
        wanted = total_length
        ev.check(ev.memory.build(lambda: B.pointwise(
            lambda a, b: (a >= b) & (a <= steps), wanted, longest)),
            "Expected total_length to be at least the length of the longest sequence")
        longest, total_length = wanted, -1
    if 0 < total_length < steps:
        raise Unsupported("padding to fewer steps than the sequences had")
    filled = ev.memory.tensor(ev.memory.build(lambda: B.compute(x.shape, lambda *i: E.select(
        E.cast(i[0], i64) < E.load(n, [i[1]]), E.load(x, i), E.const(padding_value, x.dtype)))))
    if total_length > steps:
        pad = [0, 0] * (x.ndim - 1) + [0, total_length - steps]
        filled = apply(ev, "aten::constant_pad_nd",  # type: ignore[assignment]
                       [filled, pad, padding_value], {})
    elif total_length < 0:
        end = ev.item(ev.memory.tensor(longest))
        filled = ev.operate_with("aten::slice", [filled, 0, 0, end, 1], {})  # type: ignore
    if batch_first:
        filled = apply(ev, "aten::transpose", [filled, 0, 1], {})  # type: ignore[assignment]
    return filled, ev.memory.tensor(n)


def _layer(name: str) -> Callable:
    def run(ev: Evaluator, data: AbstractTensor, batch_sizes: AbstractTensor, hx: object,
            params: list, has_biases: bool, layers: int, dropout: float, train: bool,
            bidirectional: bool) -> tuple:
        packed = _of(ev, data)
        batch = packed.padded.shape[1]
        states = [_state(ev, h, batch) for h in (hx if isinstance(hx, list) else [hx])]
        weights = [ev.memory.read(p) for p in params]
        out, final = ev.memory.build(lambda: over_sequences(
            name, packed.padded, states, weights, has_biases, layers, dropout, train,
            bidirectional, packed.lengths))
        rows, _ = _packed_rows(ev, out, packed.lengths)
        return (rows, *map(ev.memory.tensor, final))

    return run


def _state(ev: Evaluator, h: AbstractTensor, batch: int) -> Value:
    """An initial state of as many sequences as there are: the program may have counted them."""
    value = ev.memory.read(h)
    if value.ndim != 3 or value.shape[1] == batch or isinstance(value.shape[1], int):
        return value
    size = value.shape[1]
    ev.check(ev.memory.build(lambda: B.compute((), lambda: E.eq(
        E.lift(size, i64), E.lift(batch, i64)))), f"Expected hidden states of {batch} sequences")
    return ev.memory.build(lambda: B.reindex(
        value, (value.shape[0], batch, value.shape[2]), lambda *i: i))


TABLE: dict[str, Callable] = {
    "aten::_pack_padded_sequence": _pack,
    "aten::_pad_packed_sequence": _pad,
}
# Those of recurrent layers whose second argument is a tensor: how many sequences each step has.
LAYERS: dict[str, Callable] = {f"aten::{name}": _layer(name) for name in KINDS}
