"""Equality of kernels: two with equal fingerprints are one function, whatever their names."""

from __future__ import annotations

from llvm_backend.kernel import Buffer, For, If, Instr, Kernel, KValue, Stmt


def fingerprint(kernel: Kernel) -> tuple:
    """All that emission looks at, with values and buffers numbered in order of appearance."""
    buffers = {b: n for n, b in enumerate(kernel.buffers)}
    out: list = [(b.dtype, b.size, b.writable, b.align) for b in kernel.buffers]
    _walk(kernel.body, {}, buffers, out)
    return tuple(out)


def _walk(statements: list[Stmt], numbers: dict[KValue, int], buffers: dict[Buffer, int],
          out: list) -> None:
    for s in statements:
        if isinstance(s, Instr):
            out.append(s.op)
            for a in s.args:
                out.append(numbers[a])
            for name, value in s.attrs.items():
                out.append(name)
                # repr: 0.0 and -0.0 are equal, 1 and True too
                out.append(buffers[value] if isinstance(value, Buffer) else repr(value))
            if s.result is not None:
                numbers[s.result] = len(numbers)
                out.append(s.result.type)
        elif isinstance(s, For):
            out += ("for", numbers[s.lo], numbers[s.hi], s.step, s.kind, s.unroll)
            out += (numbers[v] for v in s.inits)
            for v in (s.counter, *s.carried):
                numbers[v] = len(numbers)
            _walk(s.body, numbers, buffers, out)
            out.append("yield")
            out += (numbers[v] for v in s.yields)
            for v in s.results:
                numbers[v] = len(numbers)
        elif isinstance(s, If):
            out += ("if", numbers[s.condition])
            _walk(s.then, numbers, buffers, out)
            out.append("else")
            _walk(s.otherwise, numbers, buffers, out)
            out.append("end")
