"""Strings of run time at the entries of a model, as LLVM IR: texts become numbers and come back.

A string's number is its place in the program's strings. Those that a caller gives and the program
does not have follow: each has the number of the first of the call's strings that is equal to it.
"""

from __future__ import annotations

from llvm_backend.descriptor import Constants
from llvm_backend.program import Program
from llvm_backend.text_code import strings_offset, tells_strings
from runtime.description import ModelDescription

# .string.number(the call's strings, which one); .string.text(its number, the call's strings);
# .string.begin(instance, the call's strings) notes them for messages.
_FUNCTIONS = """
define internal i1 @.string.same(ptr %a, ptr %b) #1 {{
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %following, %on ]
  %ap = getelementptr i8, ptr %a, i64 %k
  %bp = getelementptr i8, ptr %b, i64 %k
  %x = load i8, ptr %ap, align 1
  %y = load i8, ptr %bp, align 1
  %same = icmp eq i8 %x, %y
  br i1 %same, label %equal, label %differ
equal:
  %end = icmp eq i8 %x, 0
  br i1 %end, label %whole, label %on
on:
  %following = add i64 %k, 1
  br label %loop
whole:
  ret i1 true
differ:
  ret i1 false
}}

define internal ptr @.string.text(i64 %number, ptr %given) #1 {{
  %known = icmp ult i64 %number, {count}
  %rest = sub i64 %number, {count}
  %ours = getelementptr ptr, ptr {table}, i64 %number
  %theirs = getelementptr ptr, ptr %given, i64 %rest
  %at = select i1 %known, ptr %ours, ptr %theirs
  %text = load ptr, ptr %at, align 8
  ret ptr %text
}}

define internal i64 @.string.number(ptr %given, i64 %which) #1 {{
entry:
  %textp = getelementptr ptr, ptr %given, i64 %which
  %text = load ptr, ptr %textp, align 8
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %following, %on ]
  %other = call ptr @.string.text(i64 %k, ptr %given)
  %same = call i1 @.string.same(ptr %text, ptr %other)
  br i1 %same, label %done, label %on
on:
  %following = add i64 %k, 1
  br label %loop
done:
  ret i64 %k
}}
"""


def string_functions(program: Program, d: ModelDescription, c: Constants) -> str:
    """The functions; nothing for a model without strings of run time."""
    told = tells_strings(program)
    if not told and not any(v.kind == "str" for m in d.methods for v in (*m.inputs, *m.outputs)):
        return ""
    table = c.strings("@.strings", program.strings)
    note = ["  store ptr %given, ptr %at, align 8"] if told else []
    begin = ["", "define internal void @.string.begin(ptr %instance, ptr %given) #1 {",
             f"  %at = getelementptr i8, ptr %instance, i64 {strings_offset(program)}", *note,
             "  ret void", "}", ""]
    return _FUNCTIONS.format(count=len(program.strings), table=table) + "\n".join(begin)
