"""A method's body as LLVM IR: kernel calls, copies, branches, loops and checks over slots.

    define internal i32 @.mK.body(ptr %instance, ptr %in0, ..., ptr %out0, ...)

Tasks that may run at the same time are functions @.mK.tasksT.N of the same arguments, and one more:
where the address of a message goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvm_backend.artifact import weights_name
from llvm_backend.descriptor import Constants
from llvm_backend.emit_kernel import COMPUTED
from llvm_backend.foreign_code import ForeignCall
from llvm_backend.heap_code import HEAD_BYTES, VERSION_AT, block_address, grow
from llvm_backend.program import (
    Call, Copy, HostAllocate, HostCheck, HostDeliver, HostForeign, HostIf, HostLoop, HostStmt,
    HostTasks, HostVersions, Method, Program, Slot,
)
from llvm_backend.task_code import TASK_END_BYTES, tasks_function
from llvm_backend.text_code import element_type, fill, text_offset
from runtime import abi


@dataclass(frozen=True)
class KernelSymbol:
    """How to call an emitted kernel; trips is trip_count: None for a function without a range,
    COMPUTED for one that has another one beside it which tells."""

    name: str
    trips: int | None


_ALL = (1 << 63) - 1  # turns: as many as there are


def range_task(symbol: KernelSymbol, buffers: int) -> str:
    """`@NAME.task(args, begin, end)`: a parallel kernel as parallel_for wants it."""
    lines = [f"define internal void @{symbol.name}.task(ptr %args, i64 %begin, i64 %end) #1 {{"]
    for k in range(buffers):
        lines += [f"  %p{k} = getelementptr ptr, ptr %args, i64 {k}",
                  f"  %b{k} = load ptr, ptr %p{k}, align 8"]
    arguments = "".join(f"ptr %b{k}, " for k in range(buffers))
    lines += [f"  call void @{symbol.name}({arguments}i64 %begin, i64 %end)", "  ret void", "}", ""]
    return "\n".join(lines)


def method_body(k: int, method: Method, program: Program, symbols: dict[int, KernelSymbol],
                constants: Constants) -> str:
    """The function's text; `symbols` maps id(kernel) to what was emitted for it."""
    return _Body(method, program, symbols, constants).run(k)


class _Body:
    def __init__(self, method: Method, program: Program, symbols: dict[int, KernelSymbol],
                 constants: Constants):
        self.method, self.program = method, program
        self.symbols, self.constants = symbols, constants
        self.lines: list[str] = []
        self.count = 0
        self.most_buffers = 0
        self.block = "entry"
        self.places: list[str] = []
        self.k = 0
        self.task: int | None = None  # which one of several, in the function of a task
        self.functions: list[str] = []  # of tasks
        names = [f"%in{n}" for n in range(len(method.inputs) + len(method.dims))]
        self.arguments = ["%instance", *names, *(f"%out{n}" for n in range(len(method.outputs)))]

    def run(self, k: int) -> str:
        self.k = k
        text = self.function(f".m{k}.body", self.method.body)
        return "\n".join([*self.functions, text])

    def function(self, name: str, body: list[HostStmt]) -> str:
        """A function of the statements."""
        self.statements(body)
        taken = [f"ptr {a}" for a in self.arguments]
        taken += ["ptr %message"] if self.task is not None else []
        head = [f"define internal i32 @{name}({', '.join(taken)}) noinline #1 {{", "entry:"]
        if self.most_buffers:
            head.append(f"  %args = alloca [{self.most_buffers} x ptr], align 8")
        return "\n".join([*head, *self.places, *self.lines, f"  ret i32 {abi.OK}", "}", ""])

    def fresh(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %t{self.count} = {text}")
        return f"%t{self.count}"

    def place(self, size: int) -> str:
        """The address of so many bytes of the stack."""
        name = f"%place{len(self.places)}"
        self.places.append(f"  {name} = alloca [{size} x i8], align 8")
        return name

    def labels(self, *names: str) -> list[str]:
        self.count += 1
        return [f"{n}{self.count}" for n in names]

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def pointer(self, s: Slot) -> str:
        if s.space in ("input", "output"):
            base = f"%{'in' if s.space == 'input' else 'out'}{s.index}"
            return self.fresh(f"getelementptr i8, ptr {base}, i64 {s.offset}") if s.offset else base
        if s.space == "constant":
            return self.fresh(f"getelementptr i8, ptr @{weights_name(self.program.name)}, "
                              f"i64 {s.offset}")
        if s.space == "heap":
            return self.fresh(f"load ptr, ptr {self.fresh(block_address(self.program, s.index))}, "
                              "align 8")
        start = HEAD_BYTES + (self.program.state_bytes if s.space == "arena" else 0)
        return self.fresh(f"getelementptr i8, ptr %instance, i64 {start + s.offset}")

    def statements(self, body: list[HostStmt]) -> None:
        for s in body:
            if isinstance(s, Call):
                self.call(s)
            elif isinstance(s, Copy):
                self.copy(s)
            elif isinstance(s, HostIf):
                self.branch(s)
            elif isinstance(s, HostLoop):
                self.loop(s)
            elif isinstance(s, HostAllocate):
                self.allocate(s)
            elif isinstance(s, HostDeliver):
                self.deliver(s)
            elif isinstance(s, HostVersions):
                self.versions(s)
            elif isinstance(s, HostForeign):
                self.foreign(s)
            elif isinstance(s, HostTasks):
                self.tasks(s)
            else:
                self.check(s)

    def call(self, s: Call) -> None:
        symbol = self.symbols[id(s.kernel)]
        pointers = [self.pointer(slot) for slot in s.slots]
        arguments = ", ".join(f"ptr {p}" for p in pointers)
        if symbol.trips is None:
            self.lines.append(f"  call void @{symbol.name}({arguments})")
            return
        if symbol.trips == 0:
            return
        counted = symbol.trips == COMPUTED
        arguments += ", " * bool(pointers)
        trips = str(_ALL if counted else symbol.trips)
        whole = f"  call void @{symbol.name}({arguments}i64 0, i64 {trips})"
        if symbol.trips == 1 or self.task is not None:
            self.lines.append(whole)
            return
        self.most_buffers = max(self.most_buffers, len(pointers))
        at = self.fresh("getelementptr i8, ptr %instance, i64 24")
        spread = self.fresh(f"load ptr, ptr {at}, align 8")
        serial = self.fresh(f"icmp eq ptr {spread}, null")
        one, many, done, ask = self.labels("serial", "parallel", "done", "count")
        self.lines.append(f"  br i1 {serial}, label %{one}, label %{ask if counted else many}")
        if counted:
            self.start(ask)
            trips = self.fresh(f"call i64 @{symbol.name}.turns({arguments[:-2]})")
            single = self.fresh(f"icmp sle i64 {trips}, 1")
            self.lines.append(f"  br i1 {single}, label %{one}, label %{many}")
        self.start(one)
        self.lines += [whole, f"  br label %{done}"]
        self.start(many)
        for k, p in enumerate(pointers):
            cell = self.fresh(f"getelementptr ptr, ptr %args, i64 {k}")
            self.lines.append(f"  store ptr {p}, ptr {cell}, align 8")
        at = self.fresh("getelementptr i8, ptr %instance, i64 32")
        pool = self.fresh(f"load ptr, ptr {at}, align 8")
        self.lines += [f"  call void {spread}(ptr {pool}, ptr @{symbol.name}.task, ptr %args, "
                       f"i64 {trips})", f"  br label %{done}"]
        self.start(done)

    def copy(self, s: Copy) -> None:
        size = s.source.size * s.source.dtype.bytes
        if size == 0:
            return
        source, target = self.pointer(s.source), self.pointer(s.target)
        # memmove: a memory plan may let a copy's two slots overlap
        self.lines.append(f"  call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, "
                          f"i64 {size}, i1 false)")

    def bool_of(self, s: Slot) -> str:
        byte = self.fresh(f"load i8, ptr {self.pointer(s)}, align 1")
        return self.fresh(f"icmp ne i8 {byte}, 0")

    def branch(self, s: HostIf) -> None:
        condition = self.bool_of(s.condition)
        then, otherwise, done = self.labels("then", "else", "endif")
        self.lines.append(f"  br i1 {condition}, label %{then}, label %{otherwise}")
        for label, body in ((then, s.then), (otherwise, s.otherwise)):
            self.start(label)
            self.statements(body)
            self.lines.append(f"  br label %{done}")
        self.start(done)

    def versions(self, s: HostVersions) -> None:
        at = self.fresh(f"getelementptr i8, ptr %instance, i64 {VERSION_AT}")
        number = self.fresh(f"load i64, ptr {at}, align 8")
        done, *labels = self.labels("done", *(f"version{n}." for n in range(len(s.bodies))))
        cases = " ".join(f"i64 {n}, label %{x}" for n, x in enumerate(labels) if n)
        self.lines.append(f"  switch i64 {number}, label %{labels[0]} [{cases}]")
        for label, body in zip(labels, s.bodies):
            self.start(label)
            self.statements(body)
            self.lines.append(f"  br label %{done}")
        self.start(done)

    def tasks(self, s: HostTasks) -> None:
        """Side by side where the instance has threads; inside a task, and else, in order."""
        if self.task is not None:
            for body in s.bodies:
                self.statements(body)
            return
        name = f".m{self.k}.tasks{len(self.functions)}"
        for n, body in enumerate(s.bodies):
            task = _Body(self.method, self.program, self.symbols, self.constants)
            task.task = n
            self.functions.append(task.function(f"{name}.{n}", body))
        self.functions.append(tasks_function(name, self.arguments, len(s.bodies)))
        given = self.place(8 * (len(self.arguments) + 1))
        ends = self.place(TASK_END_BYTES * len(s.bodies))
        for n, argument in enumerate([*self.arguments, ends]):
            cell = self.fresh(f"getelementptr ptr, ptr {given}, i64 {n}")
            self.lines.append(f"  store ptr {argument}, ptr {cell}, align 8")
        at = self.fresh("getelementptr i8, ptr %instance, i64 24")
        spread = self.fresh(f"load ptr, ptr {at}, align 8")
        serial = self.fresh(f"icmp eq ptr {spread}, null")
        one, many, done = self.labels("inorder", "sidebyside", "done")
        self.lines.append(f"  br i1 {serial}, label %{one}, label %{many}")
        self.start(one)
        self.lines += [f"  call void @{name}(ptr {given}, i64 0, i64 {len(s.bodies)})",
                       f"  br label %{done}"]
        self.start(many)
        at = self.fresh("getelementptr i8, ptr %instance, i64 32")
        pool = self.fresh(f"load ptr, ptr {at}, align 8")
        self.lines += [f"  call void {spread}(ptr {pool}, ptr @{name}, ptr {given}, "
                       f"i64 {len(s.bodies)})", f"  br label %{done}"]
        self.start(done)
        for n in range(len(s.bodies)):
            end = self.fresh(f"getelementptr i8, ptr {ends}, i64 {TASK_END_BYTES * n}")
            message = self.fresh(f"load ptr, ptr {end}, align 8")
            at = self.fresh(f"getelementptr i8, ptr {end}, i64 8")
            status = self.fresh(f"load i32, ptr {at}, align 8")
            fine = self.fresh(f"icmp eq i32 {status}, {abi.OK}")
            good, bad, said = self.labels("well", "failed", "said")
            self.lines.append(f"  br i1 {fine}, label %{good}, label %{bad}")
            self.start(bad)
            none = self.fresh(f"icmp eq ptr {message}, null")
            silent, = self.labels("silent")
            self.lines.append(f"  br i1 {none}, label %{silent}, label %{said}")
            self.start(said)
            self.tell_failure(message)
            self.lines.append(f"  br label %{silent}")
            self.start(silent)
            self.lines.append(f"  ret i32 {status}")
            self.start(good)

    def loop(self, s: HostLoop) -> None:
        if isinstance(s.trip, int):
            trip = str(s.trip)
        else:
            trip = self.fresh(f"load i64, ptr {self.pointer(s.trip)}, align 8")
        head, test, body, done = self.labels("head", "test", "body", "done")
        n = f"%n{self.count}"
        before = self.block
        self.lines.append(f"  br label %{head}")
        self.start(head)
        phi = len(self.lines)
        more = self.fresh(f"icmp slt i64 {n}, {trip}")
        self.lines.append(f"  br i1 {more}, label %{test}, label %{done}")
        self.start(test)
        if s.condition is not None:
            condition = self.bool_of(s.condition)
            self.lines.append(f"  br i1 {condition}, label %{body}, label %{done}")
        else:
            self.lines.append(f"  br label %{body}")
        self.start(body)
        if s.counter is not None:
            self.lines.append(f"  store i64 {n}, ptr {self.pointer(s.counter)}, align 8")
        self.statements(s.body)
        following = self.fresh(f"add i64 {n}, 1")
        latch = self.block
        self.lines.append(f"  br label %{head}")
        self.lines.insert(phi, f"  {n} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        self.start(done)

    def check(self, s: HostCheck) -> None:
        condition = self.bool_of(s.condition)
        good, bad = self.labels("holds", "fails")
        self.lines.append(f"  br i1 {condition}, label %{good}, label %{bad}")
        self.start(bad)
        message = self.message(s)
        if s.kind == "raise":
            self.tell_failure(message)
            self.lines.append(f"  ret i32 {abi.FAILED}")
        else:
            kind = abi.REPORT_KINDS.index(s.kind)
            self.lines += [f"  call void @.tell(ptr %instance, i32 {kind}, ptr {message})",
                           f"  br label %{good}"]
        self.start(good)

    def text_area(self) -> str:
        """Where messages are written."""
        offset = text_offset(self.program, self.task or 0)
        return self.fresh(f"getelementptr i8, ptr %instance, i64 {offset}")

    def tell_failure(self, message: str) -> None:
        """Notes the address of a message."""
        at = "%message"
        if self.task is None:
            at = self.fresh("getelementptr i8, ptr %instance, i64 8")
        self.lines.append(f"  store ptr {message}, ptr {at}, align 8")

    def message(self, s: HostCheck) -> str:
        """The address of the text: a constant, or where its parts are written one by one."""
        if all(isinstance(p, str) for p in s.message):
            return self.constants.string("".join(map(str, s.message)))
        start = self.text_area()
        end = start
        for part in s.message:
            if isinstance(part, str):
                size: int | str = len(part.encode())
                self.lines.append(f"  call void @llvm.memcpy.p0.p0.i64(ptr {end}, ptr "
                                  f"{self.constants.string(part)}, i64 {size}, i1 false)")
            else:
                data, load = self.pointer(part.slot), ""
                if part.form != "elements":
                    load = self.fresh(f"load {element_type(part)}, ptr {data}, align 1")
                size = self.fresh(fill(part, end, data, load))
            end = self.fresh(f"getelementptr i8, ptr {end}, i64 {size}")
        self.lines.append(f"  store i8 0, ptr {end}, align 1")
        return start

    def foreign(self, s: HostForeign) -> None:
        call = ForeignCall(self.fresh, self.lines.append, self.place, self.pointer,
                           self.constants.string)
        status, said = call.write(s)
        good, bad = self.labels("well", "failed")
        fine = self.fresh(f"icmp eq i32 {status}, {abi.OK}")
        self.lines.append(f"  br i1 {fine}, label %{good}, label %{bad}")
        self.start(bad)
        text = self.text_area()
        call.failed(s, status, said, text)
        self.tell_failure(text)
        self.lines.append(f"  ret i32 {status}")
        self.start(good)

    def allocate(self, s: HostAllocate) -> None:
        block = self.fresh(block_address(self.program, s.block))
        count = self.fresh(f"load i64, ptr {self.pointer(s.count)}, align 8")
        there = self.fresh(grow(block, count, s.row_bytes, s.keep))
        good, bad = self.labels("room", "none")
        self.lines.append(f"  br i1 {there}, label %{good}, label %{bad}")
        self.start(bad)
        self.lines.append(f"  ret i32 {abi.OUT_OF_MEMORY}")
        self.start(good)

    def deliver(self, s: HostDeliver) -> None:
        """The { ptr, i64 ... } that an entry gives for an output of run-time sizes."""
        block = self.fresh(block_address(self.program, s.block))
        data = self.fresh(f"load ptr, ptr {block}, align 8")
        self.lines.append(f"  store ptr {data}, ptr %out{s.output}, align 8")
        for k, size in enumerate(s.sizes):
            n = self.fresh(f"load i64, ptr {self.pointer(size)}, align 8")
            where = self.fresh(f"getelementptr i8, ptr %out{s.output}, i64 {8 + 8 * k}")
            self.lines.append(f"  store i64 {n}, ptr {where}, align 8")
