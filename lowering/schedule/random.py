"""Kernels of Random: the recurrence of the Mersenne twister, a vector of words at a time.

A word needs words at least 227 before it, so lanes never need each other. The words that it needs
are first all of the state's, later all of the result's: one loop each.
"""

from __future__ import annotations

from llvm_backend.kernel import Kernel, KernelBuilder, KValue
from llvm_backend.target import Target
from lowering import expr as E
from lowering.random_words import WINDOW
from lowering.schedule.codegen import Coder, origin
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.tensor_ir import Random, Value
from runtime.dtypes import i32

_BACK = 227  # how far back the nearest word is that a word needs
_MATRIX = 0x9908B0DF - 2**32


def schedule_random(op: Random, storages: dict[Value, Storage], target: Target,
                    name: str) -> tuple[Kernel, list[MemoryBuffer]]:
    """The kernel of a Random."""
    coder = Coder(name, (op.count,), storages)
    lanes, count = max(1, target.lanes(4)), coder.size(op.count)
    begin = 0
    for end in (_BACK, WINDOW - 1, WINDOW, None):
        if isinstance(count, int):
            stop = count if end is None else min(end, count)
            whole = max(begin, stop - (stop - begin) % lanes)
        else:
            stop, whole = _ends(coder.b, begin, end, count, lanes)
        for low, high, width in ((begin, whole, lanes), (whole, stop, 1)):
            if not isinstance(low, int) or not isinstance(high, int) or low < high:
                with coder.b.loop(low, high, width) as f:
                    _words(op, storages, coder, f.counter, begin, width)
        begin = end or begin
    return coder.kernel, coder.memory


def _ends(b: KernelBuilder, begin: int, end: int | None, count: KValue,
          lanes: int) -> tuple[KValue, KValue]:
    """Where the loop from `begin` ends, and where its whole vectors do: not before it begins."""
    stop = count if end is None else b.binary("min", count, b.const(end))
    stop = b.binary("max", stop, b.const(begin))
    rest = b.binary("irem", b.binary("sub", stop, b.const(begin)), b.const(lanes))
    return stop, b.binary("sub", stop, rest)


def _words(op: Random, storages: dict[Value, Storage], coder: Coder, counter: KValue, begin: int,
           lanes: int) -> None:
    """Words counter, counter + 1 ...; `begin` tells which loop it is."""
    b = coder.b
    p = origin(1).at(0, counter).over(0, lanes)

    def word(ahead: int) -> KValue:
        """The word `ahead` after the oldest one that the state of this point holds."""
        in_state = begin + ahead < WINDOW
        where = storages[op.state if in_state else op.out]
        at = E.index(0) + (ahead if in_state else ahead - WINDOW)
        return b.broadcast(coder.load(where.buffer, where.address([at]), p), lanes)

    oldest, following, near = word(0), word(1), word(WINDOW - _BACK)
    joined = b.binary("or", b.binary("and", oldest, _const(b, -2**31, lanes)),
                      b.binary("and", following, _const(b, 2**31 - 1, lanes)))
    half = b.binary("and", b.binary("shr", joined, _const(b, 1, lanes)),
                    _const(b, 2**31 - 1, lanes))
    odd = b.binary("and", following, _const(b, 1, lanes))
    twist = b.binary("and", b.unary("neg", odd), _const(b, _MATRIX, lanes))
    x = b.binary("xor", b.binary("xor", near, half), twist)
    out = storages[op.out]
    coder.store(out.buffer, out.address([E.index(0)]), x, p)


def _const(b: KernelBuilder, value: int, lanes: int) -> KValue:
    return b.const(value, i32, lanes)
