"""The functions of the C ABI around a method's body: init, message, generic run, typed entry.

They are compiled for the baseline CPU (attribute group #1), so that they can refuse a CPU instead
of faulting on it. Instance: head of aot.h (64 bytes), state, arena.
"""

from __future__ import annotations

from llvm_backend.descriptor import HEAD_BYTES, Constants, infos_name, weights_symbol
from llvm_backend.heap_code import heap_begin
from llvm_backend.program import Program
from llvm_backend.target import Target
from runtime import abi
from runtime.description import MethodDescription, ModelDescription, ValueInfo, entry_symbols

REASONS = ("is NULL", "has data NULL", "is not in CPU memory", "has another dtype",
           "has another number of dims", "has another shape", "is not contiguous",
           "is not aligned to its element size")

# The same for an output whose size the run decides: it gets data, sizes and strides.
_CHECK_MADE = """
define internal i32 @.check.made(ptr %t, ptr %info, i64 %size) #1 {
entry:
  %null = icmp eq ptr %t, null
  br i1 %null, label %r1, label %device
device:
  %devp = getelementptr i8, ptr %t, i64 8
  %dev = load i32, ptr %devp, align 4
  %cpu = icmp eq i32 %dev, 1
  br i1 %cpu, label %dtype, label %r3
dtype:
  %dtp = getelementptr i8, ptr %t, i64 20
  %dt = load i32, ptr %dtp, align 4
  %wantp = getelementptr i8, ptr %info, i64 20
  %want = load i32, ptr %wantp, align 4
  %samedt = icmp eq i32 %dt, %want
  br i1 %samedt, label %ndim, label %r4
ndim:
  %ndp = getelementptr i8, ptr %t, i64 16
  %nd = load i32, ptr %ndp, align 4
  %wndp = getelementptr i8, ptr %info, i64 16
  %wnd = load i32, ptr %wndp, align 4
  %samend = icmp eq i32 %nd, %wnd
  br i1 %samend, label %shapes, label %r5
shapes:
  %shp = getelementptr i8, ptr %t, i64 24
  %sh = load ptr, ptr %shp, align 8
  %noshape = icmp eq ptr %sh, null
  br i1 %noshape, label %r6, label %ok
ok:
  ret i32 0
r1:
  ret i32 1
r3:
  ret i32 3
r4:
  ret i32 4
r5:
  ret i32 5
r6:
  ret i32 6
}
"""

# check(tensor, info, bytes of an element): 0, or 1 + the index of a reason in REASONS.
_CHECK = """
define internal i32 @.check(ptr %t, ptr %info, i64 %size) #1 {
entry:
  %null = icmp eq ptr %t, null
  br i1 %null, label %r1, label %device
device:
  %devp = getelementptr i8, ptr %t, i64 8
  %dev = load i32, ptr %devp, align 4
  %cpu = icmp eq i32 %dev, 1
  br i1 %cpu, label %dtype, label %r3
dtype:
  %dtp = getelementptr i8, ptr %t, i64 20
  %dt = load i32, ptr %dtp, align 4
  %wantp = getelementptr i8, ptr %info, i64 20
  %want = load i32, ptr %wantp, align 4
  %samedt = icmp eq i32 %dt, %want
  br i1 %samedt, label %ndim, label %r4
ndim:
  %ndp = getelementptr i8, ptr %t, i64 16
  %nd = load i32, ptr %ndp, align 4
  %wndp = getelementptr i8, ptr %info, i64 16
  %wnd = load i32, ptr %wndp, align 4
  %samend = icmp eq i32 %nd, %wnd
  br i1 %samend, label %shapes, label %r5
shapes:
  %n = zext i32 %nd to i64
  %shp = getelementptr i8, ptr %t, i64 24
  %sh = load ptr, ptr %shp, align 8
  %wshp = getelementptr i8, ptr %info, i64 8
  %wsh = load ptr, ptr %wshp, align 8
  %stp = getelementptr i8, ptr %t, i64 32
  %st = load ptr, ptr %stp, align 8
  %nost = icmp eq ptr %st, null
  %scalar = icmp eq i64 %n, 0
  br i1 %scalar, label %data, label %shapeptr
shapeptr:
  %noshape = icmp eq ptr %sh, null
  br i1 %noshape, label %r6, label %dim
dim:
  %i = phi i64 [ %n, %shapeptr ], [ %k, %next ]
  %count = phi i64 [ 1, %shapeptr ], [ %count2, %next ]
  %bad = phi i1 [ false, %shapeptr ], [ %bad2, %next ]
  %k = add i64 %i, -1
  %dp = getelementptr i64, ptr %sh, i64 %k
  %d = load i64, ptr %dp, align 8
  %wdp = getelementptr i64, ptr %wsh, i64 %k
  %wd = load i64, ptr %wdp, align 8
  %samed = icmp eq i64 %d, %wd
  br i1 %samed, label %stride, label %r6
stride:
  br i1 %nost, label %next, label %stride1
stride1:
  %sp = getelementptr i64, ptr %st, i64 %k
  %s = load i64, ptr %sp, align 8
  %differ = icmp ne i64 %s, %count
  %many = icmp ne i64 %d, 1
  %wrong = and i1 %differ, %many
  br label %next
next:
  %w = phi i1 [ false, %stride ], [ %wrong, %stride1 ]
  %bad2 = or i1 %bad, %w
  %count2 = mul i64 %count, %d
  %done = icmp eq i64 %k, 0
  br i1 %done, label %strides, label %dim
strides:
  %empty = icmp eq i64 %count2, 0
  br i1 %empty, label %ok, label %strides1
strides1:
  br i1 %bad2, label %r7, label %data
data:
  %p = load ptr, ptr %t, align 8
  %nodata = icmp eq ptr %p, null
  br i1 %nodata, label %r2, label %aligned
aligned:
  %offp = getelementptr i8, ptr %t, i64 40
  %off = load i64, ptr %offp, align 8
  %q = getelementptr i8, ptr %p, i64 %off
  %a = ptrtoint ptr %q to i64
  %mask = add i64 %size, -1
  %low = and i64 %a, %mask
  %fits = icmp eq i64 %low, 0
  br i1 %fits, label %ok, label %r8
ok:
  ret i32 0
r1:
  ret i32 1
r2:
  ret i32 2
r3:
  ret i32 3
r4:
  ret i32 4
r5:
  ret i32 5
r6:
  ret i32 6
r7:
  ret i32 7
r8:
  ret i32 8
}
"""


def entry_attributes(target: Target) -> str:
    """Attribute group #1: code that every CPU of the architecture runs."""
    base = ('"target-cpu"="x86-64" "target-features"="+sse2" '
            if target.triple.startswith("x86_64") else "")
    return f'attributes #1 = {{ nounwind "no-builtins" {base}}}'


def _usable(model: str) -> list[str]:
    """The beginning of every entry: %instance must be aligned and carry init's mark."""
    return ["  %address = ptrtoint ptr %instance to i64",
            "  %low = and i64 %address, 63",
            "  %straight = icmp eq i64 %low, 0",
            "  %some = icmp ne ptr %instance, null",
            "  %readable = and i1 %straight, %some",
            "  br i1 %readable, label %mark, label %refuse",
            "refuse:",
            f"  ret i32 {abi.INVALID_ARGUMENT}",
            "mark:",
            "  %marked = load ptr, ptr %instance, align 64",
            f"  %made = icmp eq ptr %marked, @{model}_model",
            "  br i1 %made, label %start, label %refuse",
            "start:",
            "  %messagep = getelementptr i8, ptr %instance, i64 8",
            f"  store ptr {_EMPTY}, ptr %messagep, align 8"]


_EMPTY = "@.empty"


def init_and_message(program: Program, d: ModelDescription, c: Constants) -> str:
    """NAME_init, NAME_message and, where there is state, NAME_reset. A refused CPU leaves the mark
    @.refused, which message knows."""
    name = d.name
    c.lines.append(f'{_EMPTY} = private unnamed_addr constant [1 x i8] zeroinitializer')
    c.lines.append("@.refused = private constant i64 0")
    null = c.string("the instance is NULL or not aligned to 64 bytes")
    raw = c.string(f"the instance has not been initialised: call {name}_init first")
    state = ["  call void @.state(ptr %instance)"] if program.state_bytes else []
    state += heap_begin(program)
    init = f"""
define i32 @{name}_init(ptr %instance, ptr %options) #1 {{
entry:
  %address = ptrtoint ptr %instance to i64
  %low = and i64 %address, 63
  %straight = icmp eq i64 %low, 0
  %some = icmp ne ptr %instance, null
  %readable = and i1 %straight, %some
  br i1 %readable, label %cpu, label %refuse
refuse:
  ret i32 {abi.INVALID_ARGUMENT}
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
  ret i32 {abi.UNSUPPORTED_CPU}
fill:
  store ptr @{name}_model, ptr %instance, align 64
  store ptr {_EMPTY}, ptr %messagep, align 8
  %default = icmp eq ptr %options, null
  br i1 %default, label %state.begin, label %copy
copy:
  call void @llvm.memcpy.p0.p0.i64(ptr align 8 %mine, ptr align 8 %options, i64 48, i1 false)
  %threads = load i64, ptr %mine, align 8
  %many = icmp sgt i64 %threads, 1
  %forp = getelementptr i8, ptr %instance, i64 24
  %for = load ptr, ptr %forp, align 8
  %used = select i1 %many, ptr %for, ptr null
  store ptr %used, ptr %forp, align 8
  br label %state.begin
state.begin:
{chr(10).join(state)}
  ret i32 {abi.OK}
}}

define ptr @{name}_message(ptr %instance) #1 {{
entry:
  %address = ptrtoint ptr %instance to i64
  %low = and i64 %address, 63
  %straight = icmp eq i64 %low, 0
  %some = icmp ne ptr %instance, null
  %readable = and i1 %straight, %some
  br i1 %readable, label %mark, label %refuse
refuse:
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
    return init + _reset(program) + _CHECK + (_CHECK_MADE if d.allocates else "")


def _reset(program: Program) -> str:
    """@.state, which fills the state with what it begins as, and NAME_reset."""
    if not program.state_bytes:
        return ""
    lines = ["define internal void @.state(ptr %instance) #1 {",
             f"  %state = getelementptr i8, ptr %instance, i64 {HEAD_BYTES}",
             "  call void @llvm.memset.p0.i64(ptr align 64 %state, i8 0, "
             f"i64 {program.state_bytes}, i1 false)"]
    for k, (at, source, size) in enumerate(program.state):
        lines += [f"  %to{k} = getelementptr i8, ptr %state, i64 {at}",
                  f"  %from{k} = getelementptr i8, ptr @{weights_symbol(program)}, i64 {source}",
                  f"  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %to{k}, "
                  f"ptr align 1 %from{k}, i64 {size}, i1 false)"]
    lines += ["  ret void", "}", "",
              f"define i32 @{program.name}_reset(ptr %instance) #1 {{", "entry:",
              *_usable(program.name), "  call void @.state(ptr %instance)",
              f"  ret i32 {abi.OK}", "}", ""]
    return "\n".join(lines)


def _fails(lines: list[str], label: str, message: str) -> None:
    lines += [f"{label}:", f"  store ptr {message}, ptr %messagep, align 8",
              f"  ret i32 {abi.INVALID_ARGUMENT}"]


def _body_call(k: int, pointers: list[str], after: list[str]) -> list[str]:
    """The call, and what follows where it went well."""
    arguments = ", ".join(["ptr %instance", *(f"ptr {p}" for p in pointers)])
    call = [f"  %status = call i32 @.m{k}.body({arguments})"]
    if after:
        call += [f"  %fine = icmp eq i32 %status, {abi.OK}",
                 "  br i1 %fine, label %hand.over, label %end", "hand.over:", *after,
                 "  br label %end", "end:"]
    return [*call, "  ret i32 %status"]


def _made(x: str, v: ValueInfo, shape: str) -> list[str]:
    """{x}.data and {x}.rows from the pair that the body filled; all sizes to the array `shape`."""
    lines = [f"  {x}.data = load ptr, ptr {x}.p, align 8",
             f"  {x}.rowsp = getelementptr i8, ptr {x}.p, i64 8",
             f"  {x}.rows = load i64, ptr {x}.rowsp, align 8"]
    for d, n in enumerate(v.shape):
        lines += [f"  {x}.s{d} = getelementptr i64, ptr {shape}, i64 {d}",
                  f"  store i64 {n if d else f'{x}.rows'}, ptr {x}.s{d}, align 8"]
    return lines


def _tensors_made(made: list[tuple[str, ValueInfo]]) -> list[str]:
    """Fills the aot_tensors of outputs whose size the run decided: data, shape, no strides."""
    lines = []
    for x, v in made:
        lines += [f"  {x}.shapep = getelementptr i8, ptr {x}, i64 24",
                  f"  {x}.shape = load ptr, ptr {x}.shapep, align 8", *_made(x, v, f"{x}.shape"),
                  f"  store ptr {x}.data, ptr {x}, align 8",
                  f"  {x}.stridesp = getelementptr i8, ptr {x}, i64 32",
                  f"  store ptr null, ptr {x}.stridesp, align 8",
                  f"  {x}.offsetp = getelementptr i8, ptr {x}, i64 40",
                  f"  store i64 0, ptr {x}.offsetp, align 8"]
    return lines


def generic_run(k: int, m: MethodDescription, d: ModelDescription, c: Constants) -> str:
    """`@.mK.run(instance, inputs, outputs)`: checks every tensor, then calls the body."""
    lines = [f"define internal i32 @.m{k}.run(ptr %instance, ptr %inputs, ptr %outputs) #1 {{",
             "entry:", *_usable(d.name)]
    failures: list[str] = []
    pointers = []
    for kind, values in (("inputs", m.inputs), ("outputs", m.outputs)):
        if not values:
            continue
        lines += [f"  %no.{kind} = icmp eq ptr %{kind}, null",
                  f"  br i1 %no.{kind}, label %null.{kind}, label %some.{kind}", f"some.{kind}:"]
        _fails(failures, f"null.{kind}", c.string(f"{m.name}: the array of {kind} is NULL"))
        for n, v in enumerate(values):
            x = f"{kind}{n}"
            check = ".check.made" if v.made else ".check"
            lines += [
                f"  %{x} = getelementptr i8, ptr %{kind}, i64 {48 * n}",
                f"  %{x}.info = getelementptr i8, ptr {infos_name(kind, k)}, i64 {32 * n}",
                f"  %{x}.r = call i32 @{check}(ptr %{x}, ptr %{x}.info, i64 {v.dtype.bytes})",
                f"  %{x}.ok = icmp eq i32 %{x}.r, 0",
                f"  br i1 %{x}.ok, label %good.{x}, label %bad.{x}", f"good.{x}:"]
            table = c.strings(f"@.m{k}.{x}", [_complaint(m, kind, v, r) for r in REASONS])
            failures += [f"bad.{x}:", f"  %{x}.k = add i32 %{x}.r, -1",
                         f"  %{x}.mp = getelementptr ptr, ptr {table}, i32 %{x}.k",
                         f"  %{x}.m = load ptr, ptr %{x}.mp, align 8",
                         f"  store ptr %{x}.m, ptr %messagep, align 8",
                         f"  ret i32 {abi.INVALID_ARGUMENT}"]
            pointers.append(x)
    made = [(f"%outputs{n}", v) for n, v in enumerate(m.outputs) if v.made]
    lines[2:2] = [f"  {x}.p = alloca {{ ptr, i64 }}, align 8" for x, _ in made]
    for x in pointers:
        if f"%{x}" in dict(made):
            continue
        lines += [f"  %{x}.d = load ptr, ptr %{x}, align 8",
                  f"  %{x}.op = getelementptr i8, ptr %{x}, i64 40",
                  f"  %{x}.o = load i64, ptr %{x}.op, align 8",
                  f"  %{x}.p = getelementptr i8, ptr %{x}.d, i64 %{x}.o"]
    lines += _body_call(k, [f"%{x}.p" for x in pointers], _tensors_made(made))
    return "\n".join([*lines, *failures, "}", ""])


def _complaint(m: MethodDescription, kind: str, v: ValueInfo, reason: str) -> str:
    return f"{m.name}: {kind[:-1]} {v.name} {reason}; expected a contiguous {v}"


def typed_entry(k: int, m: MethodDescription, d: ModelDescription, c: Constants) -> str:
    """NAME_METHOD(instance, inputs, outputs): plain pointers, scalar inputs by value."""
    symbol = entry_symbols(d.name, tuple(x.name for x in d.methods))[m.name]
    parameters, allocas, stores, pointers, checks, failures = ["ptr %instance"], [], [], [], [], []
    after: list[str] = []
    by_value = {"int": "i64", "float": "double", "bool": "i1 zeroext"}
    for kind, values in (("inputs", m.inputs), ("outputs", m.outputs)):
        for n, v in enumerate(values):
            x = f"%{kind}{n}"
            if kind == "inputs" and v.kind in by_value:
                t = by_value[v.kind].split()[0]
                parameters.append(f"{by_value[v.kind]} {x}")
                allocas.append(f"  {x}.p = alloca i64, align 8")
                if t == "i1":
                    stores.append(f"  {x}.b = zext i1 {x} to i8")
                    stores.append(f"  store i8 {x}.b, ptr {x}.p, align 8")
                else:
                    stores.append(f"  store {t} {x}, ptr {x}.p, align 8")
                pointers.append(f"{x}.p")
                continue
            parameters.append(f"ptr {x}")
            if v.made:
                parameters.append(f"ptr {x}.shape")
                allocas.append(f"  {x}.p = alloca {{ ptr, i64 }}, align 8")
                pointers.append(f"{x}.p")
                checks += [f"  {x}.null = icmp eq ptr {x}, null",
                           f"  {x}.no = icmp eq ptr {x}.shape, null",
                           f"  {x}.bad = or i1 {x}.null, {x}.no",
                           f"  br i1 {x}.bad, label %bad.{x[1:]}, label %good.{x[1:]}",
                           f"good.{x[1:]}:"]
                after += [*_made(x, v, f"{x}.shape"), f"  store ptr {x}.data, ptr {x}, align 8"]
                _fails(failures, f"bad.{x[1:]}", c.string(
                    f"{m.name}: a pointer for output {v.name} or its shape is NULL"))
                continue
            pointers.append(x)
            if 0 in v.shape:
                continue
            label = f"{kind}{n}"
            mask = v.dtype.bytes - 1
            checks += [f"  {x}.null = icmp eq ptr {x}, null",
                       f"  {x}.a = ptrtoint ptr {x} to i64",
                       f"  {x}.low = and i64 {x}.a, {mask}",
                       f"  {x}.odd = icmp ne i64 {x}.low, 0",
                       f"  {x}.bad = or i1 {x}.null, {x}.odd",
                       f"  br i1 {x}.bad, label %bad.{label}, label %good.{label}",
                       f"good.{label}:"]
            text = c.string(_complaint(m, kind, v, "is NULL or not aligned to its element size"))
            _fails(failures, f"bad.{label}", text)
    lines = [f"define i32 @{symbol}({', '.join(parameters)}) #1 {{", "entry:", *allocas,
             *_usable(d.name), *checks, *stores, *_body_call(k, pointers, after), *failures, "}",
             ""]
    return "\n".join(lines)


assert HEAD_BYTES == 64, "init and message spell out the head's layout"
