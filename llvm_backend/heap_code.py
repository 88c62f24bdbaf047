"""Memory whose size is known only at run time: blocks that an instance owns, as LLVM IR.

The instance ends with a table of { ptr data, i64 bytes }, one for each block of the program's heap.
A block grows when a run needs more than it has and is kept for the next; NAME_release frees all.
Programs without a heap have none of this, and no undefined malloc and free.
"""

from __future__ import annotations

from llvm_backend.program import HostAllocate, Program, all_statements

HEAD_BYTES = 64  # the part of an instance that aot.h lays out
VERSION_AT = 56  # where in it the number of the code's version is, if it has several
BLOCK_BYTES = 16


def heap_offset(program: Program) -> int:
    """Where in the instance the table begins."""
    arena = -(-program.arena_bytes // 64) * 64
    return HEAD_BYTES + program.state_bytes + arena


def block_address(program: Program, block: int) -> str:
    """The instruction whose value is the address of a block's entry in the table."""
    return f"getelementptr i8, ptr %instance, i64 {heap_offset(program) + BLOCK_BYTES * block}"


def grow(block: str, count: str, row_bytes: int, keep: bool) -> str:
    """The instruction that makes a block large enough; its value is false without memory."""
    name = "extend" if keep else "grow"
    return f"call i1 @.{name}(ptr {block}, i64 {count}, i64 {row_bytes})"


def _needed(rows: str) -> str:
    """%needed bytes for the rows, %none where no memory holds them; %has is what the block has."""
    return f"""  %product = call {{i64, i1}} @llvm.umul.with.overflow.i64(i64 {rows}, i64 %row)
  %needed = extractvalue {{i64, i1}} %product, 0
  %over = extractvalue {{i64, i1}} %product, 1
  %large = icmp ugt i64 %needed, 4611686018427387904
  %never = or i1 %over, %large
  br i1 %never, label %none, label %compare
compare:
  %hasp = getelementptr i8, ptr %block, i64 8
  %has = load i64, ptr %hasp, align 8
  %enough = icmp uge i64 %has, %needed
"""


# Where there are no rows (count 0, or less: then for so many) there are zeros: positions held
# within bounds may read them, and what they read may be a position.
_GROW = """
declare noalias ptr @malloc(i64) #1
declare void @free(ptr) #1
declare {i64, i1} @llvm.umul.with.overflow.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

define internal i1 @.grow(ptr %block, i64 %count, i64 %row) #1 {
entry:
  %minus = sub i64 0, %count
  %some = call i64 @llvm.smax.i64(i64 %count, i64 %minus)
  %rows = call i64 @llvm.smax.i64(i64 %some, i64 1)
""" + _needed("%rows") + """  %made = icmp ne i64 %has, 0
  %keep = and i1 %enough, %made
  br i1 %keep, label %good, label %make
make:
  %old = load ptr, ptr %block, align 8
  call void @free(ptr %old)
  %more = add i64 %needed, 127
  %size = and i64 %more, -64
  %new = call ptr @malloc(i64 %size)
  store ptr %new, ptr %block, align 8
  %failed = icmp eq ptr %new, null
  %kept = select i1 %failed, i64 0, i64 %size
  store i64 %kept, ptr %hasp, align 8
  br i1 %failed, label %none, label %good
good:
  %empty = icmp sle i64 %count, 0
  br i1 %empty, label %clear, label %done
clear:
  %data = load ptr, ptr %block, align 8
  call void @llvm.memset.p0.i64(ptr align 16 %data, i8 0, i64 %needed, i1 false)
  br label %done
done:
  ret i1 true
none:
  ret i1 false
}
"""


# By half more than there was, so that a block that grows row by row is moved a few times only.
_EXTEND = """
define internal i1 @.extend(ptr %block, i64 %count, i64 %row) #1 {
entry:
""" + _needed("%count") + """  br i1 %enough, label %good, label %make
make:
  %old = load ptr, ptr %block, align 8
  %half = lshr i64 %has, 1
  %longer = add i64 %has, %half
  %least = call i64 @llvm.smax.i64(i64 %longer, i64 %needed)
  %more = add i64 %least, 127
  %size = and i64 %more, -64
  %new = call ptr @malloc(i64 %size)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %none, label %move
move:
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 %has, i1 false)
  call void @free(ptr %old)
  store ptr %new, ptr %block, align 8
  store i64 %size, ptr %hasp, align 8
  br label %good
good:
  ret i1 true
none:
  ret i1 false
}
"""


def heap_functions(program: Program) -> str:
    """`@.grow` and `NAME_release`; nothing for a program without a heap."""
    if not program.heap_blocks:
        return ""
    frees = []
    for k in range(program.heap_blocks):
        frees += [f"  %b{k} = {block_address(program, k)}",
                  f"  %p{k} = load ptr, ptr %b{k}, align 8",
                  f"  call void @free(ptr %p{k})",
                  f"  call void @llvm.memset.p0.i64(ptr align 8 %b{k}, i8 0, i64 {BLOCK_BYTES}, "
                  "i1 false)"]
    extends = any(isinstance(s, HostAllocate) and s.keep
                  for m in program.methods for s in all_statements(m.body))
    return _GROW + _EXTEND * extends + "\n".join([
        "", f"define void @{program.name}_release(ptr %instance) #1 {{", "entry:",
        "  %made = call i1 @.usable(ptr %instance)",
        "  br i1 %made, label %all, label %done",
        "all:", *frees, "  br label %done", "done:", "  ret void", "}", ""])


def heap_begin(program: Program) -> list[str]:
    """What init does: no block has memory yet."""
    if not program.heap_blocks:
        return []
    return [f"  %heap = {block_address(program, 0)}",
            "  call void @llvm.memset.p0.i64(ptr align 8 %heap, i8 0, i64 "
            f"{BLOCK_BYTES * program.heap_blocks}, i1 false)"]
