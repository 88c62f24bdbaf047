"""Messages with values of run time in them, and how they reach the host program: as LLVM IR.

A message is written into the last part of the instance, as many bytes as the longest may have. Its
floats are written by the C library's snprintf, prints without a callback by puts and dprintf;
programs without such messages do not refer to these.
"""

from __future__ import annotations

from llvm_backend.foreign_code import foreign_room
from llvm_backend.heap_code import BLOCK_BYTES, heap_offset
from llvm_backend.program import HostCheck, HostTasks, Program, TextHole, all_statements

# Bytes that a hole takes at most, by its form; of elements each.
MOST_LETTERS = 1000  # bytes of a string; what is longer is cut
_ROOM = {"int": 21, "float": 26, "bool": 6, "fixed": 52, "exponent": 16, "str": MOST_LETTERS}
_ELEMENT_ROOM = {"i64": 22, "f64": 16, "bool": 8}
_LLVM = {"i64": "i64", "f64": "double", "bool": "i8"}

_WHOLE = """
@.true = private unnamed_addr constant [5 x i8] c"True\\00"
@.false = private unnamed_addr constant [6 x i8] c"False\\00"

define internal i64 @.text.int(ptr %to, i64 %x) #1 {
entry:
  %digits = alloca [20 x i8], align 1
  %negative = icmp slt i64 %x, 0
  %minus = sub i64 0, %x
  %size = select i1 %negative, i64 %minus, i64 %x
  br label %digit
digit:
  %v = phi i64 [ %size, %entry ], [ %rest, %digit ]
  %before = phi i64 [ 20, %entry ], [ %k, %digit ]
  %rest = udiv i64 %v, 10
  %tens = mul i64 %rest, 10
  %one = sub i64 %v, %tens
  %short = trunc i64 %one to i8
  %c = add i8 %short, 48
  %k = add i64 %before, -1
  %at = getelementptr i8, ptr %digits, i64 %k
  store i8 %c, ptr %at, align 1
  %more = icmp ne i64 %rest, 0
  br i1 %more, label %digit, label %copy
copy:
  store i8 45, ptr %to, align 1
  %sign = zext i1 %negative to i64
  %start = getelementptr i8, ptr %to, i64 %sign
  %n = sub i64 20, %k
  call void @llvm.memcpy.p0.p0.i64(ptr %start, ptr %at, i64 %n, i1 false)
  %length = add i64 %n, %sign
  ret i64 %length
}

define internal i64 @.text.bool(ptr %to, i8 %x) #1 {
  %holds = icmp ne i8 %x, 0
  %word = select i1 %holds, ptr @.true, ptr @.false
  %size = select i1 %holds, i64 4, i64 5
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %word, i64 %size, i1 false)
  ret i64 %size
}
"""

# .number: a floating-point number as `format` says, with a point where the locale has a comma.
_FLOATS = """
declare i32 @snprintf(ptr, i64, ptr, ...)
@.g17 = private unnamed_addr constant [6 x i8] c"%.17g\\00"
@.g6 = private unnamed_addr constant [5 x i8] c"%.6g\\00"
@.f = private unnamed_addr constant [3 x i8] c"%f\\00"
@.e = private unnamed_addr constant [3 x i8] c"%e\\00"
@.nan = private unnamed_addr constant [4 x i8] c"nan\\00"

define internal i64 @.number(ptr %to, double %x, ptr %format) #1 {
entry:
  %odd = fcmp uno double %x, 0.0
  br i1 %odd, label %nan, label %print
nan:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr @.nan, i64 3, i1 false)
  ret i64 3
print:
  %n = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %to, i64 52, ptr %format, double %x)
  %size = zext i32 %n to i64
  br label %head
head:
  %i = phi i64 [ 0, %print ], [ %next, %check ]
  %more = icmp ult i64 %i, %size
  br i1 %more, label %look, label %done
look:
  %at = getelementptr i8, ptr %to, i64 %i
  %c = load i8, ptr %at, align 1
  %comma = icmp eq i8 %c, 44
  br i1 %comma, label %fix, label %check
fix:
  store i8 46, ptr %at, align 1
  br label %check
check:
  %next = add i64 %i, 1
  br label %head
done:
  ret i64 %size
}

define internal i64 @.text.float(ptr %to, double %x) #1 {
entry:
  %above = fcmp oge double %x, 0xC3E0000000000000
  %below = fcmp olt double %x, 0x43E0000000000000
  %in = and i1 %above, %below
  br i1 %in, label %try, label %general
try:
  %i = fptosi double %x to i64
  %back = sitofp i64 %i to double
  %whole = fcmp oeq double %back, %x
  br i1 %whole, label %integer, label %general
integer:
  %n = call i64 @.text.int(ptr %to, i64 %i)
  %end = getelementptr i8, ptr %to, i64 %n
  store i8 46, ptr %end, align 1
  %length = add i64 %n, 1
  ret i64 %length
general:
  %size = call i64 @.number(ptr %to, double %x, ptr @.g17)
  ret i64 %size
}

define internal i64 @.text.fixed(ptr %to, double %x) #1 {
  %short = fptrunc double %x to float
  %long = fpext float %short to double
  %size = call i64 @.number(ptr %to, double %long, ptr @.f)
  ret i64 %size
}

define internal i64 @.text.exponent(ptr %to, double %x) #1 {
  %short = fptrunc double %x to float
  %long = fpext float %short to double
  %size = call i64 @.number(ptr %to, double %long, ptr @.e)
  ret i64 %size
}

define internal i64 @.text.element(ptr %to, double %x) #1 {
  %size = call i64 @.number(ptr %to, double %x, ptr @.g6)
  ret i64 %size
}
"""

_ELEMENTS = """
define internal i64 @.text.elements.{dtype}(ptr %to, ptr %data, i64 %count) #1 {{
entry:
  store i8 91, ptr %to, align 1
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %write ]
  %at = phi i64 [ 1, %entry ], [ %after, %write ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %first = icmp eq i64 %i, 0
  br i1 %first, label %write, label %comma
comma:
  %c = getelementptr i8, ptr %to, i64 %at
  store i16 8236, ptr %c, align 1
  %behind = add i64 %at, 2
  br label %write
write:
  %start = phi i64 [ %at, %body ], [ %behind, %comma ]
  %p = getelementptr {type}, ptr %data, i64 %i
  %x = load {type}, ptr %p, align 1
  %t = getelementptr i8, ptr %to, i64 %start
  %n = call i64 @.text.{one}(ptr %t, {type} %x)
  %after = add i64 %start, %n
  %next = add i64 %i, 1
  br label %head
done:
  %e = getelementptr i8, ptr %to, i64 %at
  store i8 93, ptr %e, align 1
  %size = add i64 %at, 1
  ret i64 %size
}}
"""

# .text.str(where to, instance, number of a string), see string_code.py. The texts of this call are
# where the instance says.
_STRING = f"""
define internal i64 @.text.str(ptr %to, ptr %instance, i64 %number) #1 {{{{
entry:
  %givenp = getelementptr i8, ptr %instance, i64 {{offset}}
  %given = load ptr, ptr %givenp, align 8
  %text = call ptr @.string.text(i64 %number, ptr %given)
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %next, %copy ]
  %from = getelementptr i8, ptr %text, i64 %k
  %c = load i8, ptr %from, align 1
  %end = icmp eq i8 %c, 0
  %most = icmp eq i64 %k, {MOST_LETTERS}
  %stop = or i1 %end, %most
  br i1 %stop, label %done, label %copy
copy:
  %at = getelementptr i8, ptr %to, i64 %k
  store i8 %c, ptr %at, align 1
  %next = add i64 %k, 1
  br label %look
done:
  ret i64 %k
}}}}
"""

# .tell(instance, kind, text): to the callback of the options, or else to standard output or error.
_TELL = """
declare i32 @puts(ptr)
declare i32 @dprintf(i32, ptr, ...)
@.line = private unnamed_addr constant [4 x i8] c"%s\\0A\\00"

define internal void @.tell(ptr %instance, i32 %kind, ptr %text) #1 {
entry:
  %reportp = getelementptr i8, ptr %instance, i64 48
  %report = load ptr, ptr %reportp, align 8
  %none = icmp eq ptr %report, null
  br i1 %none, label %self, label %host
host:
  %contextp = getelementptr i8, ptr %instance, i64 56
  %context = load ptr, ptr %contextp, align 8
  call void %report(ptr %context, i32 %kind, ptr %text)
  ret void
self:
  %print = icmp eq i32 %kind, 0
  br i1 %print, label %out, label %err
out:
  %o = call i32 @puts(ptr %text)
  ret void
err:
  %e = call i32 (i32, ptr, ...) @dprintf(i32 2, ptr @.line, ptr %text)
  ret void
}
"""


def _checks(program: Program) -> list[HostCheck]:
    return [s for m in program.methods for s in all_statements(m.body) if isinstance(s, HostCheck)]


def _room(message: tuple[str | TextHole, ...]) -> int:
    """Bytes that a message takes at most; 0 for one that is a constant."""
    if all(isinstance(p, str) for p in message):
        return 0
    total = 1
    for p in message:
        if isinstance(p, str):
            total += len(p.encode())
        elif p.form == "elements":
            total += 2 + p.slot.size * _ELEMENT_ROOM[p.slot.dtype.name]
        else:
            total += _ROOM[p.form]
    # snprintf is told of more room for a floating-point number than most take.
    return total + _ROOM["fixed"]


def text_bytes(program: Program) -> int:
    """Bytes at the end of an instance for messages with values in them: of tasks that run at the
    same time, each has room."""
    tasks = [len(s.bodies) for m in program.methods for s in all_statements(m.body)
             if isinstance(s, HostTasks)]
    return text_room(program) * max(tasks, default=1)


def text_room(program: Program) -> int:
    """Bytes of the longest message with values in it."""
    return max([_room(s.message) for s in _checks(program)] + [foreign_room(program)])


def _holes(program: Program) -> list[TextHole]:
    return [p for s in _checks(program) for p in s.message if isinstance(p, TextHole)]


def tells_strings(program: Program) -> bool:
    """Whether a message has a string of run time in it: the texts of a call are then noted."""
    return any(hole.form == "str" for hole in _holes(program))


def strings_offset(program: Program) -> int:
    """Where in the instance the address of the call's strings is."""
    return heap_offset(program) + BLOCK_BYTES * program.heap_blocks


def text_offset(program: Program, task: int = 0) -> int:
    """Where in the instance messages are written; by which of several tasks."""
    return strings_offset(program) + 8 * tells_strings(program) + task * text_room(program)


def text_functions(program: Program) -> str:
    """What the program's messages call."""
    checks, holes = _checks(program), _holes(program)
    text = _WHOLE if holes or foreign_room(program) else ""
    if any(h.slot.dtype.name == "f64" for h in holes):
        text += _FLOATS
    for dtype in dict.fromkeys(h.slot.dtype.name for h in holes if h.form == "elements"):
        one = {"i64": "int", "f64": "element", "bool": "bool"}[dtype]
        text += _ELEMENTS.format(dtype=dtype, type=_LLVM[dtype], one=one)
    if tells_strings(program):
        text += _STRING.format(offset=strings_offset(program))
    return text + (_TELL if any(s.kind != "raise" for s in checks) else "")


def fill(hole: TextHole, to: str, data: str, load: str) -> str:
    """The call that writes a hole's text to the address `to`; its value is the number of bytes.
    data: the slot's address; load: its element, where it is a number."""
    if hole.form == "elements":
        return (f"call i64 @.text.elements.{hole.slot.dtype.name}(ptr {to}, ptr {data}, "
                f"i64 {hole.slot.size})")
    if hole.form == "str":
        return f"call i64 @.text.str(ptr {to}, ptr %instance, i64 {load})"
    return f"call i64 @.text.{hole.form}(ptr {to}, {_LLVM[hole.slot.dtype.name]} {load})"


def element_type(hole: TextHole) -> str:
    """The LLVM type of a number's slot in memory."""
    return _LLVM[hole.slot.dtype.name]
