"""Calls of operators that are C functions, as LLVM IR: what they are given, and what they say.

Tensors are handed over as aot_tensor, in memory of the call; numbers by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvm_backend.ir_text import literal
from llvm_backend.program import HostForeign, Program, Slot, TensorArgument, all_statements
from runtime import abi
from runtime.dtypes import bool_, f64, i64
from runtime.foreign import MOST_MESSAGE, ForeignFunction

_TENSOR_BYTES = 48
_NUMBERS = {"int": i64, "float": f64, "bool": bool_}
_LLVM = {"int": "i64", "float": "double", "bool": "i8"}

# .foreign.failed(text, said at the beginning, its bytes, status, message or null, where, its bytes)
_FAILED = f"""
define internal void @.foreign.failed(ptr %to, ptr %head, i64 %heads, i32 %status,
                                      ptr %message, ptr %where, i64 %wheres) #1 {{
entry:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %head, i64 %heads, i1 false)
  %numberp = getelementptr i8, ptr %to, i64 %heads
  %number = sext i32 %status to i64
  %digits = call i64 @.text.int(ptr %numberp, i64 %number)
  %after = getelementptr i8, ptr %numberp, i64 %digits
  %none = icmp eq ptr %message, null
  br i1 %none, label %line, label %said
said:
  store i16 8250, ptr %after, align 1
  %start = getelementptr i8, ptr %after, i64 2
  br label %look
look:
  %k = phi i64 [ 0, %said ], [ %next, %copy ]
  %from = getelementptr i8, ptr %message, i64 %k
  %c = load i8, ptr %from, align 1
  %at = getelementptr i8, ptr %start, i64 %k
  %end = icmp eq i8 %c, 0
  %most = icmp eq i64 %k, {MOST_MESSAGE}
  %stop = or i1 %end, %most
  br i1 %stop, label %line, label %copy
copy:
  store i8 %c, ptr %at, align 1
  %next = add i64 %k, 1
  br label %look
line:
  %here = phi ptr [ %after, %entry ], [ %at, %look ]
  call void @llvm.memcpy.p0.p0.i64(ptr %here, ptr %where, i64 %wheres, i1 false)
  %last = getelementptr i8, ptr %here, i64 %wheres
  store i8 0, ptr %last, align 1
  ret void
}}
"""


def foreign_functions(program: Program) -> list[ForeignFunction]:
    """The C functions that a program calls, each once, by symbol."""
    found = {s.function.symbol: s.function for s in _calls(program)}
    return [found[symbol] for symbol in sorted(found)]


def _calls(program: Program) -> list[HostForeign]:
    return [s for m in program.methods for s in all_statements(m.body)
            if isinstance(s, HostForeign)]


def foreign_room(program: Program) -> int:
    """Bytes of the longest message of a function that failed."""
    return max((len(_head(s).encode()) + len(s.where.encode()) + MOST_MESSAGE + 26
                for s in _calls(program)), default=0)


def _head(s: HostForeign) -> str:
    return f"{s.function.operator} gave status "


def foreign_code(program: Program) -> str:
    """Declarations of the functions, and what tells that one failed."""
    functions = foreign_functions(program)
    if not functions:
        return ""
    lines = [f"declare i32 @{f.symbol}({', '.join(_types(f))}) #1" for f in functions]
    return "\n".join(["", *lines, _FAILED])


def _types(f: ForeignFunction) -> list[str]:
    found: list[str] = []
    for kind, _ in f.parameters:
        if kind in _NUMBERS:
            found.append("i1 zeroext" if kind == "bool" else _LLVM[kind])
        else:
            found += ["ptr", "i64"] if kind.endswith("[]") else ["ptr"]
    return [*found, *("ptr" for _ in f.results), "ptr"]


class ForeignCall:
    """Writes one call. fresh(instruction) -> its value; line(text); place(bytes) -> an address that
    lives as long as the method runs; pointer(slot) and string(text) -> addresses."""

    def __init__(self, fresh: Callable[[str], str], line: Callable[[str], None],
                 place: Callable[[int], str], pointer: Callable[[Slot], str],
                 string: Callable[[str], str]):
        self.fresh, self.line, self.place = fresh, line, place
        self.pointer, self.string = pointer, string

    def write(self, s: HostForeign) -> tuple[str, str]:
        """The status, and the address of the pointer to a message."""
        words: list[str] = []
        for (kind, _), x in zip(s.function.parameters, s.arguments):
            words += self._words(kind, x)
        for x in s.results:
            words.append(f"ptr {self._address(x)}")
        message = self.place(8)
        self.line(f"  store ptr null, ptr {message}, align 8")
        arguments = ", ".join([*words, f"ptr {message}"])
        return self.fresh(f"call i32 @{s.function.symbol}({arguments})"), message

    def failed(self, s: HostForeign, status: str, message: str, text: str) -> None:
        """Writes what is said of a status to the address `text`."""
        said = self.fresh(f"load ptr, ptr {message}, align 8")
        head, where = _head(s), s.where
        self.line(f"  call void @.foreign.failed(ptr {text}, ptr {self.string(head)}, "
                  f"i64 {len(head.encode())}, i32 {status}, ptr {said}, "
                  f"ptr {self.string(where)}, i64 {len(where.encode())})")

    def _words(self, kind: str, x: object) -> list[str]:
        if kind == "str":
            return [f"ptr {self.string(str(x))}"]
        if kind.endswith("[]"):
            assert isinstance(x, list)
            return [f"ptr {self._list(kind[:-2], x)}", f"i64 {len(x)}"]
        if x is None:
            return ["ptr null"]
        if kind in _NUMBERS:
            return [self._number(kind, x)]
        if isinstance(x, TensorArgument):
            return [f"ptr {self._address(x)}"]
        return [f"ptr {self._list(kind[:-1], [x])}"]  # a number that might be None

    def _address(self, x: TensorArgument | Slot) -> str:
        if isinstance(x, Slot):
            return self.pointer(x)
        at = self.place(_TENSOR_BYTES)
        self._tensor(x, at)
        return at

    def _value(self, kind: str, x: object) -> str:
        """A number as it lies in memory."""
        if isinstance(x, Slot):
            return self.fresh(f"load {_LLVM[kind]}, ptr {self.pointer(x)}, align 1")
        return str(int(x)) if kind == "bool" else literal(x, _NUMBERS[kind])

    def _number(self, kind: str, x: object) -> str:
        if kind != "bool":
            return f"{_LLVM[kind]} {self._value(kind, x)}"
        if isinstance(x, Slot):
            return f"i1 zeroext {self.fresh(f'icmp ne i8 {self._value(kind, x)}, 0')}"
        return f"i1 zeroext {'true' if x else 'false'}"

    def _list(self, kind: str, xs: Sequence[object]) -> str:
        size = _TENSOR_BYTES if kind == "Tensor" else _NUMBERS[kind].bytes
        start = self.place(max(size * len(xs), 8))
        for k, x in enumerate(xs):
            at = self.fresh(f"getelementptr i8, ptr {start}, i64 {size * k}")
            if isinstance(x, TensorArgument):
                self._tensor(x, at)
            else:
                self.line(f"  store {_LLVM[kind]} {self._value(kind, x)}, ptr {at}, align 1")
        return start

    def _tensor(self, x: TensorArgument, at: str) -> None:
        """An aot_tensor, row-major."""
        ndim = len(x.dims)
        sizes = self.place(max(16 * ndim, 8))
        dims = [str(n) if isinstance(n, int) else
                self.fresh(f"load i64, ptr {self.pointer(n)}, align 8") for n in x.dims]
        stride = "1"
        for k in reversed(range(ndim)):
            for number, place in ((dims[k], k), (stride, ndim + k)):
                to = self.fresh(f"getelementptr i64, ptr {sizes}, i64 {place}")
                self.line(f"  store i64 {number}, ptr {to}, align 8")
            stride = self.fresh(f"mul i64 {stride}, {dims[k]}")
        strides = self.fresh(f"getelementptr i64, ptr {sizes}, i64 {ndim}")
        dtype = x.slot.dtype
        fields = [(0, f"ptr {self.pointer(x.slot)}"), (8, f"i32 {abi.CPU_DEVICE}"), (12, "i32 0"),
                  (16, f"i32 {ndim}"), (20, f"i8 {dtype.dlpack}"), (21, f"i8 {dtype.bits}"),
                  (22, "i16 1"), (24, f"ptr {sizes}"), (32, f"ptr {strides}"), (40, "i64 0")]
        for offset, value in fields:
            to = self.fresh(f"getelementptr i8, ptr {at}, i64 {offset}")
            self.line(f"  store {value}, ptr {to}, align 1")
