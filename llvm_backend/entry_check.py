"""The check of one tensor that a generic call is given, as LLVM IR."""

from __future__ import annotations

REASONS = ("is NULL", "has data NULL", "is not in CPU memory", "has another dtype",
           "has another number of dims", "has another shape", "is not contiguous",
           "is not aligned to its element size", "has another value")

# .check(tensor, info, bytes of an element, whether the run makes it, the named dims): 0, or 1 + the
# index of a reason in REASONS. What the run makes gets its data, sizes and strides from there. A
# named dim is -1 until a tensor has told it.
CHECK = """
define internal i32 @.check(ptr %t, ptr %info, i64 %size, i1 %made, ptr %dims) #1 {
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
  br i1 %noshape, label %r6, label %given
given:
  br i1 %made, label %ok, label %dim
dim:
  %i = phi i64 [ %n, %given ], [ %k, %next ]
  %count = phi i64 [ 1, %given ], [ %count2, %next ]
  %bad = phi i1 [ false, %given ], [ %bad2, %next ]
  %k = add i64 %i, -1
  %dp = getelementptr i64, ptr %sh, i64 %k
  %d = load i64, ptr %dp, align 8
  %wdp = getelementptr i64, ptr %wsh, i64 %k
  %wd = load i64, ptr %wdp, align 8
  %named = icmp slt i64 %wd, 0
  br i1 %named, label %name, label %fixed
fixed:
  %samed = icmp eq i64 %d, %wd
  br i1 %samed, label %stride, label %r6
name:
  %which = xor i64 %wd, -1
  %namep = getelementptr i64, ptr %dims, i64 %which
  %known = load i64, ptr %namep, align 8
  %fresh = icmp eq i64 %known, -1
  br i1 %fresh, label %first, label %again
first:
  store i64 %d, ptr %namep, align 8
  %natural = icmp sge i64 %d, 0
  br i1 %natural, label %stride, label %r6
again:
  %agrees = icmp eq i64 %d, %known
  br i1 %agrees, label %stride, label %r6
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
  br i1 %fits, label %number, label %r8
number:
  %numberp = getelementptr i8, ptr %info, i64 32
  %asked = load ptr, ptr %numberp, align 8
  %any = icmp eq ptr %asked, null
  br i1 %any, label %ok, label %long
long:
  %eight = icmp eq i64 %size, 8
  br i1 %eight, label %number8, label %number1
number8:
  %x8 = load i64, ptr %q, align 8
  %y8 = load i64, ptr %asked, align 8
  %same8 = icmp eq i64 %x8, %y8
  br i1 %same8, label %ok, label %r9
number1:
  %x1 = load i8, ptr %q, align 1
  %y1 = load i8, ptr %asked, align 1
  %same1 = icmp eq i8 %x1, %y1
  br i1 %same1, label %ok, label %r9
ok:
  ret i32 0
""" + "".join(f"r{k + 1}:\n  ret i32 {k + 1}\n" for k in range(len(REASONS))) + "}\n"
