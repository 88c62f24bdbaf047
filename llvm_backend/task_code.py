"""Tasks that may run at the same time, as LLVM IR: the function that parallel_for is given."""

from __future__ import annotations

TASK_END_BYTES = 16  # how a task ended: the address of its message, and its status


def tasks_function(name: str, arguments: list[str], count: int) -> str:
    """`@NAME(args, begin, end)`: runs tasks as parallel_for wants it. args: pointers to what each
    is given, and to how they end."""
    lines = [f"define internal void @{name}(ptr %args, i64 %begin, i64 %end) #1 {{", "entry:"]
    for k, a in enumerate([*arguments, "%ends"]):
        lines += [f"  %p{k} = getelementptr ptr, ptr %args, i64 {k}",
                  f"  {a} = load ptr, ptr %p{k}, align 8"]
    lines += ["  br label %head", "head:",
              "  %n = phi i64 [ %begin, %entry ], [ %next, %turn ]",
              "  %more = icmp slt i64 %n, %end", "  br i1 %more, label %begins, label %done",
              "begins:", f"  %at = mul i64 %n, {TASK_END_BYTES}",
              "  %message = getelementptr i8, ptr %ends, i64 %at",
              "  %statusp = getelementptr i8, ptr %message, i64 8",
              "  store ptr null, ptr %message, align 8",
              "  switch i64 %n, label %done [" + " ".join(
                  f"i64 {n}, label %task{n}" for n in range(count)) + "]"]
    given = ", ".join(f"ptr {a}" for a in [*arguments, "%message"])
    for n in range(count):
        lines += [f"task{n}:", f"  %s{n} = call i32 @{name}.{n}({given})", "  br label %turn"]
    statuses = ", ".join(f"[ %s{n}, %task{n} ]" for n in range(count))
    lines += ["turn:", f"  %status = phi i32 {statuses}",
              "  store i32 %status, ptr %statusp, align 8", "  %next = add i64 %n, 1",
              "  br label %head", "done:", "  ret void", "}", ""]
    return "\n".join(lines)
