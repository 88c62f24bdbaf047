"""The functions of the C ABI that make an instance, ask it, and handle what it keeps: as LLVM IR.

They are compiled for the baseline CPU (attribute group #1), so that they can refuse a CPU instead
of faulting on it. Instance: head of aot.h (64 bytes), state, arena, table of the heap.
"""

from __future__ import annotations

from llvm_backend.artifact import weights_name
from llvm_backend.descriptor import Constants
from llvm_backend.generator_code import generator_functions, seed_from_options
from llvm_backend.heap_code import HEAD_BYTES, VERSION_AT, heap_begin
from llvm_backend.program import Program
from llvm_backend.versions import versions_of
from runtime import abi
from runtime.description import ModelDescription

EMPTY = "@.empty"  # the message of a call that went well

# .aligned: memory that may hold an instance; .usable: memory that init has made one.
_CHECKS = """
define internal i1 @.aligned(ptr %instance) #1 {{
  %address = ptrtoint ptr %instance to i64
  %low = and i64 %address, 63
  %straight = icmp eq i64 %low, 0
  %some = icmp ne ptr %instance, null
  %aligned = and i1 %straight, %some
  ret i1 %aligned
}}

define internal i1 @.usable(ptr %instance) #1 {{
  %aligned = call i1 @.aligned(ptr %instance)
  br i1 %aligned, label %mark, label %no
mark:
  %marked = load ptr, ptr %instance, align 64
  %made = icmp eq ptr %marked, @{name}_model
  ret i1 %made
no:
  ret i1 false
}}
"""

# A refused CPU leaves the mark @.refused, which message knows.
_INIT = """
define i32 @{name}_init(ptr %instance, ptr %options) #1 {{
  %aligned = call i1 @.aligned(ptr %instance)
  br i1 %aligned, label %cpu, label %refuse
refuse:
  ret i32 {invalid}
cpu:
  %messagep = getelementptr i8, ptr %instance, i64 8
  %mine = getelementptr i8, ptr %instance, i64 16
  call void @llvm.memset.p0.i64(ptr align 8 %mine, i8 0, i64 48, i1 false)
  %lacks = call ptr @.cpu()
  %good = icmp eq ptr %lacks, null
  br i1 %good, label %fill, label %lacking
lacking:
  store ptr @.refused, ptr %instance, align 64
  store ptr %lacks, ptr %messagep, align 8
  ret i32 {unsupported}
fill:
  store ptr @{name}_model, ptr %instance, align 64
  store ptr {empty}, ptr %messagep, align 8
  %default = icmp eq ptr %options, null
  br i1 %default, label %begin, label %copy
copy:
  call void @llvm.memcpy.p0.p0.i64(ptr align 8 %mine, ptr align 8 %options, i64 48, i1 false)
  %threads = load i64, ptr %mine, align 8
  %many = icmp sgt i64 %threads, 1
  %forp = getelementptr i8, ptr %instance, i64 24
  %for = load ptr, ptr %forp, align 8
  %used = select i1 %many, ptr %for, ptr null
  store ptr %used, ptr %forp, align 8
  br label %begin
begin:
{begin}
  ret i32 {ok}
}}

define ptr @{name}_message(ptr %instance) #1 {{
  %aligned = call i1 @.aligned(ptr %instance)
  br i1 %aligned, label %mark, label %null
null:
  ret ptr {null}
mark:
  %marked = load ptr, ptr %instance, align 64
  %made = icmp eq ptr %marked, @{name}_model
  %refused = icmp eq ptr %marked, @.refused
  %known = or i1 %made, %refused
  br i1 %known, label %tell, label %strange
strange:
  ret ptr {raw}
tell:
  %messagep = getelementptr i8, ptr %instance, i64 8
  %message = load ptr, ptr %messagep, align 8
  ret ptr %message
}}
"""

# What is kept from call to call, as a whole. Saved bytes: a head, abi.SAVED_HEAD, and the state.
_STATE = """
@.saved = private constant {{ i64, i64, i64 }} {{ i64 {magic}, i64 {version}, i64 {fingerprint} }}

define internal void @.begin(ptr %instance) #1 {{
  %state = getelementptr i8, ptr %instance, i64 {head}
  call void @llvm.memset.p0.i64(ptr align 64 %state, i8 0, i64 {bytes}, i1 false)
{fill}
  ret void
}}

define i32 @{name}_reset(ptr %instance) #1 {{
  %usable = call i1 @.usable(ptr %instance)
  br i1 %usable, label %go, label %refuse
refuse:
  ret i32 {invalid}
go:
  %messagep = getelementptr i8, ptr %instance, i64 8
  store ptr {empty}, ptr %messagep, align 8
  call void @.begin(ptr %instance)
  ret i32 {ok}
}}

define i32 @{name}_copy_state(ptr %to, ptr %from) #1 {{
  %first = call i1 @.usable(ptr %to)
  %second = call i1 @.usable(ptr %from)
  %usable = and i1 %first, %second
  br i1 %usable, label %go, label %refuse
refuse:
  ret i32 {invalid}
go:
  %messagep = getelementptr i8, ptr %to, i64 8
  store ptr {empty}, ptr %messagep, align 8
  %target = getelementptr i8, ptr %to, i64 {head}
  %source = getelementptr i8, ptr %from, i64 {head}
  %size = add i64 0, {bytes}
  call void @llvm.memmove.p0.p0.i64(ptr align 64 %target, ptr align 64 %source, i64 %size, i1 false)
  ret i32 {ok}
}}

define i32 @{name}_save_state(ptr %instance, ptr %saved) #1 {{
  %usable = call i1 @.usable(ptr %instance)
  %some = icmp ne ptr %saved, null
  %both = and i1 %usable, %some
  br i1 %both, label %go, label %refuse
refuse:
  ret i32 {invalid}
go:
  %state = getelementptr i8, ptr %instance, i64 {head}
  %rest = getelementptr i8, ptr %saved, i64 24
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %saved, ptr align 8 @.saved, i64 24, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %rest, ptr align 64 %state, i64 {bytes}, i1 false)
  ret i32 {ok}
}}

define i32 @{name}_restore_state(ptr %instance, ptr %saved, i64 %size) #1 {{
  %usable = call i1 @.usable(ptr %instance)
  br i1 %usable, label %there, label %refuse
refuse:
  ret i32 {invalid}
there:
  %messagep = getelementptr i8, ptr %instance, i64 8
  store ptr {empty}, ptr %messagep, align 8
  %fits = icmp eq i64 %size, {size}
  %some = icmp ne ptr %saved, null
  %whole = and i1 %fits, %some
  br i1 %whole, label %marked, label %short
short:
  store ptr {wrong_size}, ptr %messagep, align 8
  ret i32 {invalid}
marked:
  %magic = load i64, ptr %saved, align 1
  %versionp = getelementptr i8, ptr %saved, i64 8
  %version = load i64, ptr %versionp, align 1
  %ours = icmp eq i64 %magic, {magic}
  %current = icmp eq i64 %version, {version}
  %known = and i1 %ours, %current
  br i1 %known, label %kind, label %strange
strange:
  store ptr {no_state}, ptr %messagep, align 8
  ret i32 {invalid}
kind:
  %printp = getelementptr i8, ptr %saved, i64 16
  %print = load i64, ptr %printp, align 1
  %same = icmp eq i64 %print, {fingerprint}
  br i1 %same, label %go, label %other
other:
  store ptr {other_model}, ptr %messagep, align 8
  ret i32 {invalid}
go:
  %state = getelementptr i8, ptr %instance, i64 {head}
  %rest = getelementptr i8, ptr %saved, i64 24
  call void @llvm.memcpy.p0.p0.i64(ptr align 64 %state, ptr align 1 %rest, i64 {bytes}, i1 false)
  ret i32 {ok}
}}
"""


def instance_functions(program: Program, d: ModelDescription, c: Constants) -> str:
    """NAME_init and NAME_message; where there is state, the functions for it."""
    c.lines += [f"{EMPTY} = private unnamed_addr constant [1 x i8] zeroinitializer",
                "@.refused = private constant i64 0"]
    begin = ["  call void @.begin(ptr %instance)"] if program.state_bytes else []
    if versions_of(program):
        begin += ["  %number = call i64 @.version()",
                  f"  %versionp = getelementptr i8, ptr %instance, i64 {VERSION_AT}",
                  "  store i64 %number, ptr %versionp, align 8"]
    words = {
        "name": d.name, "empty": EMPTY, "ok": abi.OK, "invalid": abi.INVALID_ARGUMENT,
        "unsupported": abi.UNSUPPORTED_CPU, "begin": "\n".join(begin + heap_begin(program)),
        "null": c.string("the instance is NULL or not aligned to 64 bytes"),
        "raw": c.string(f"the instance has not been initialised: call {d.name}_init first"),
    }
    text = _CHECKS + _INIT
    if program.state_bytes:
        text += _STATE
        words |= {
            "head": HEAD_BYTES, "bytes": program.state_bytes, "size": d.state_size,
            "magic": abi.SAVED_MAGIC, "version": abi.SAVED_VERSION,
            "fingerprint": program.state_fingerprint,
            "fill": _initial(program) + seed_from_options(program),
            "wrong_size": c.string(f"the saved state of '{d.name}' has {d.state_size} bytes; "
                                   "another size or NULL was given"),
            "no_state": c.string("the bytes are no saved state, or of another version of the "
                                 "format"),
            "other_model": c.string(f"the saved state is not of '{d.name}' as it was compiled: "
                                    "what is kept between calls differs"),
        }
    return text.format(**words) + generator_functions(program, EMPTY)


def _initial(program: Program) -> str:
    """Copies what the state begins as, where that is not zero, out of the constants."""
    lines = []
    for k, (at, source, size) in enumerate(program.state):
        lines += [f"  %to{k} = getelementptr i8, ptr %state, i64 {at}",
                  f"  %from{k} = getelementptr i8, ptr @{weights_name(program.name)}, i64 {source}",
                  f"  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %to{k}, "
                  f"ptr align 1 %from{k}, i64 {size}, i1 false)"]
    return "\n".join(lines)


assert HEAD_BYTES == 64, "init and message spell out the head's layout"
