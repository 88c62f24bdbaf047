"""The entries of a method around its body, as LLVM IR: the generic run and the typed ones.

Both refuse what does not fit before anything is touched. They are compiled for the baseline CPU
(attribute group #1).
"""

from __future__ import annotations

from llvm_backend.descriptor import Constants, infos_name
from llvm_backend.entry_check import REASONS
from llvm_backend.instance_code import EMPTY
from llvm_backend.ir_text import literal
from llvm_backend.target import Target
from runtime import abi
from runtime.description import (
    RUN_TIME_SIZE, MethodDescription, ModelDescription, TypedEntry, ValueInfo,
)
from runtime.named_dims import NamedDim

_BY_VALUE = {"int": "i64", "float": "double", "bool": "i1 zeroext"}


def entry_attributes(target: Target) -> str:
    """Attribute group #1: code that every CPU of the architecture runs."""
    base = ('"target-cpu"="x86-64" "target-features"="+sse2" '
            if target.triple.startswith("x86_64") else "")
    return f'attributes #1 = {{ nounwind "no-builtins" {base}}}'


class _Entry:
    """The text of one entry: values are numbered, and exits refuse a call with a message."""

    def __init__(self, c: Constants):
        self.constants = c
        self.places: list[str] = []  # on the stack
        self.lines: list[str] = []
        self.exits: list[str] = []
        self.count = 0

    def text(self, head: str) -> str:
        return "\n".join([f"define {head} #1 {{", "entry:", *self.places, *self.lines, *self.exits,
                          "}", ""])

    def value(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def place(self, kind: str) -> str:
        self.count += 1
        self.places.append(f"  %p{self.count} = alloca {kind}, align 8")
        return f"%p{self.count}"

    def field(self, pointer: str, offset: int) -> str:
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def load(self, kind: str, pointer: str) -> str:
        return self.value(f"load {kind}, ptr {pointer}, align 8")

    def store(self, kind: str, x: object, pointer: str) -> None:
        self.lines.append(f"  store {kind} {x}, ptr {pointer}, align 8")

    def split(self, condition: str) -> tuple[str, str]:
        """Ends the block; the labels of where it goes on if the condition holds, and if not."""
        self.count += 1
        yes, no = f"yes{self.count}", f"no{self.count}"
        self.lines.append(f"  br i1 {condition}, label %{yes}, label %{no}")
        return yes, no

    def begin(self) -> None:
        """%instance must be one that init has made."""
        yes, no = self.split(self.value("call i1 @.usable(ptr %instance)"))
        self.exits += [f"{no}:", f"  ret i32 {abi.INVALID_ARGUMENT}"]
        self.lines.append(f"{yes}:")
        self.store("ptr", EMPTY, self._message())

    def _message(self) -> str:
        return self.field("%instance", 8)

    def require(self, condition: str, message: str) -> None:
        """Refuses the call with a message, a pointer, unless the condition holds."""
        yes, no = self.split(condition)
        at = f"%m{self.count}"
        self.exits += [f"{no}:", f"  {at} = getelementptr i8, ptr %instance, i64 8",
                       f"  store ptr {message}, ptr {at}, align 8",
                       f"  ret i32 {abi.INVALID_ARGUMENT}"]
        self.lines.append(f"{yes}:")

    def some(self, pointer: str) -> str:
        return self.value(f"icmp ne ptr {pointer}, null")

    def both(self, a: str, b: str) -> str:
        return self.value(f"and i1 {a}, {b}")

    def run(self, k: int, pointers: list[str], made: list[tuple[str, str, str, ValueInfo]],
            strings: tuple[list[tuple[str, str]], list[tuple[str, str]]]) -> None:
        """Calls the body. made: what the body fills for an output of run-time sizes, where to put
        its data and its sizes, and what it is. strings: those of the inputs with the places for
        their numbers; places of numbers, and where to put those strings."""
        arguments = "".join(f", ptr {p}" for p in pointers)
        asked, told = strings
        given = self.place(f"[{len(asked)} x ptr]") if asked else "null"
        for j, (text, slot) in enumerate(asked):
            self.store("ptr", text, self.field(given, 8 * j))
            self.store("i64", self.value(f"call i64 @.string.number(ptr {given}, i64 {j})"), slot)
        if asked:
            self.lines.append(f"  call void @.string.begin(ptr %instance, ptr {given})")
        status = self.value(f"call i32 @.m{k}.body(ptr %instance{arguments})")
        if made or told:
            yes, no = self.split(self.value(f"icmp eq i32 {status}, {abi.OK}"))
            self.exits += [f"{no}:", f"  ret i32 {status}"]
            self.lines.append(f"{yes}:")
        for pair, data, shape, v in made:
            self.store("ptr", self.load("ptr", pair), data)
            found = 0
            for d, n in enumerate(v.shape):
                if n == RUN_TIME_SIZE:
                    found += 8
                    n = self.load("i64", self.field(pair, found))
                self.store("i64", n, self.field(shape, 8 * d))
        for slot, where in told:
            number = self.load("i64", slot)
            text = self.value(f"call ptr @.string.text(i64 {number}, ptr {given})")
            self.store("ptr", text, where)
        self.lines.append(f"  ret i32 {status}")


def generic_run(k: int, d: ModelDescription, rules: list[NamedDim], c: Constants) -> str:
    """`@.mK.run(instance, inputs, outputs)`: checks every tensor, then calls the body."""
    e, m = _Entry(c), d.methods[k]
    e.begin()
    pointers, made = [], []
    dims = e.place(f"[{max(1, len(rules))} x i64]")
    sizes = [e.field(dims, 8 * n) for n in range(len(rules))]
    for size in sizes:
        e.store("i64", -1, size)
    for kind, values in (("inputs", m.inputs), ("outputs", m.outputs)):
        if values:
            e.require(e.some(f"%{kind}"), c.string(f"{m.name}: the array of {kind} is NULL"))
        for n, v in enumerate(values):
            tensor = e.field(f"%{kind}", 48 * n)
            if v.kind == "str" and kind == "outputs":  # the run sets it, whatever it was
                e.store("ptr", EMPTY, tensor)
                e.store("i64", 0, e.field(tensor, 40))
            info = e.field(infos_name(kind, k), abi.VALUE_INFO_BYTES * n)
            reason = e.value(f"call i32 @.check(ptr {tensor}, ptr {info}, i64 {v.dtype.bytes}, "
                             f"i1 {str(v.made).lower()}, ptr {dims})")
            table = c.strings(f"@.m{k}.{kind}{n}",
                              ["", *(_complaint(d, m, kind, v, r) for r in REASONS)])
            complaint = e.load("ptr", e.value(f"getelementptr ptr, ptr {table}, i32 {reason}"))
            e.require(e.value(f"icmp eq i32 {reason}, 0"), complaint)
            pointers.append((tensor, v))
        if kind == "inputs":
            _check_dims(e, m, rules, sizes)
    given: list[str] = []
    asked, told = [], []
    for number, (tensor, v) in enumerate(pointers):
        if v.kind == "str":
            given.append(e.place("i64"))
            if number < len(m.inputs):
                data, offset = e.load("ptr", tensor), e.load("i64", e.field(tensor, 40))
                text = e.value(f"getelementptr i8, ptr {data}, i64 {offset}")
                asked.append((text, given[-1]))
            else:
                told.append((given[-1], tensor))
        elif v.made:
            given.append(e.place(_made_type(v)))
            e.store("ptr", "null", e.field(tensor, 32))  # strides
            e.store("i64", 0, e.field(tensor, 40))  # byte_offset
            made.append((given[-1], tensor, e.load("ptr", e.field(tensor, 24)), v))
        else:
            data, offset = e.load("ptr", tensor), e.load("i64", e.field(tensor, 40))
            given.append(e.value(f"getelementptr i8, ptr {data}, i64 {offset}"))
    given[len(m.inputs):len(m.inputs)] = sizes
    e.run(k, given, made, (asked, told))
    return e.text(f"internal i32 @.m{k}.run(ptr %instance, ptr %inputs, ptr %outputs)")


def _check_dims(e: _Entry, m: MethodDescription, rules: list[NamedDim], sizes: list[str]) -> None:
    """Refuses a call whose named dims are not as they have to be."""
    for rule, size in zip(rules, sizes):
        n = e.load("i64", size)
        good = e.value(f"icmp sge i64 {n}, {rule.low}")
        if rule.high is not None:
            good = e.both(good, e.value(f"icmp sle i64 {n}, {rule.high}"))
        if rule.multiple != 1:
            rest = e.value(f"urem i64 {n}, {rule.multiple}")
            good = e.both(good, e.value(f"icmp eq i64 {rest}, 0"))
        where = next((f"dim {d} of input {v.name}" for v in m.inputs for d, s in enumerate(v.shape)
                      if s < 0 and m.dim_names[-1 - s] == rule.name), "")
        e.require(good, e.constants.string(f"{m.name}: {where} has another size; expected that "
                                           f"{rule.rule}"))


def _made_type(v: ValueInfo) -> str:
    """What the body fills: a pointer, and the sizes of run time in order."""
    return f"[{1 + v.shape.count(RUN_TIME_SIZE)} x i64]"


def _complaint(d: ModelDescription, m: MethodDescription, kind: str, v: ValueInfo,
               reason: str) -> str:
    tensor = "a contiguous " if v.kind == "tensor" else ""
    expected = v.text(m.dim_names)
    text = f"{m.name}: {kind[:-1]} {v.name} {reason}; expected {tensor}{expected}"
    signatures = [x.takes for x in d.methods if x.name == m.name]
    return text if len(signatures) == 1 else f"{text}; {m.name} takes {' or '.join(signatures)}"


def typed_entry(entry: TypedEntry, d: ModelDescription, rules: list[list[NamedDim]],
                c: Constants) -> str:
    """NAME_METHOD(instance, inputs, outputs, dims): plain pointers, scalar inputs and named dims by
    value. Of several methods it runs the one whose numbers are given."""
    e, methods = _Entry(c), [d.methods[k] for k in entry.methods]
    e.begin()
    parameters, given, made, first = ["ptr %instance"], [], [], methods[0]
    asked, told = [], []
    for kind, values in (("in", first.inputs), ("out", first.outputs)):
        for n, v in enumerate(values):
            x = f"%{kind}{n}"
            if kind == "in" and v.kind in _BY_VALUE:
                parameters.append(f"{_BY_VALUE[v.kind]} {x}")
                given.append(e.place("i64"))
                if v.kind == "bool":
                    e.store("i8", e.value(f"zext i1 {x} to i8"), given[-1])
                else:
                    e.store(_BY_VALUE[v.kind], x, given[-1])
            elif v.kind == "str":
                parameters.append(f"ptr {x}")
                given.append(e.place("i64"))
                if kind == "in":
                    asked.append((x, given[-1]))
                else:
                    told.append((given[-1], x))
            elif v.made:
                parameters += [f"ptr {x}", f"ptr {x}.shape"]
                given.append(e.place(_made_type(v)))
                made.append((given[-1], x, f"{x}.shape", n))
            else:
                parameters.append(f"ptr {x}")
                given.append(x)
    sizes = [e.place("i64") for _ in first.dim_names]
    for n, size in enumerate(sizes):
        parameters.append(f"i64 %dim{n}")
        e.store("i64", f"%dim{n}", size)
    given[len(first.inputs):len(first.inputs)] = sizes
    for k, m in zip(entry.methods, methods):
        numbers = [(f"%in{n}", v) for n, v in enumerate(m.inputs) if v.value is not None]
        if numbers and len(methods) > 1:
            yes, other = e.split(_equal(e, numbers))
            e.lines.append(f"{yes}:")
        elif numbers:
            e.require(_equal(e, numbers), c.string(f"{m.name} takes {m.takes}"))
        _check_pointers(e, d, m)
        _check_dims(e, m, rules[k], sizes)
        e.run(k, given, [(pair, x, shape, m.outputs[n]) for pair, x, shape, n in made],
              (asked, told))
        if numbers and len(methods) > 1:
            e.lines.append(f"{other}:")
    if len(methods) > 1:
        takes = " or ".join(m.takes for m in methods)
        e.store("ptr", c.string(f"{first.name} takes {takes}"), e.field("%instance", 8))
        e.lines.append(f"  ret i32 {abi.INVALID_ARGUMENT}")
    return e.text(f"i32 @{entry.symbol}({', '.join(parameters)})")


def _equal(e: _Entry, numbers: list[tuple[str, ValueInfo]]) -> str:
    """Whether all inputs have the number that they must have."""
    holds = "true"
    for x, v in numbers:
        compare = "fcmp oeq" if v.kind == "float" else "icmp eq"
        assert v.value is not None
        same = e.value(f"{compare} {_BY_VALUE[v.kind].split()[0]} {x}, {literal(v.value, v.dtype)}")
        holds = e.both(holds, same)
    return holds


def _check_pointers(e: _Entry, d: ModelDescription, m: MethodDescription) -> None:
    for kind, values in (("inputs", m.inputs), ("outputs", m.outputs)):
        for n, v in enumerate(values):
            x = f"%{kind[:-1].removesuffix('put')}{n}"
            if v.made:
                message = f"{m.name}: a pointer for output {v.name} or its shape is NULL"
                good = e.both(e.some(x), e.some(f"{x}.shape"))
            elif 0 in v.shape or (kind == "inputs" and v.kind in _BY_VALUE):
                continue
            elif v.kind == "str":
                message, good = _complaint(d, m, kind, v, "is NULL"), e.some(x)
            else:
                message = _complaint(d, m, kind, v, "is NULL or not aligned to its element size")
                low = e.value(f"and i64 {e.value(f'ptrtoint ptr {x} to i64')}, {v.dtype.bytes - 1}")
                good = e.both(e.some(x), e.value(f"icmp eq i64 {low}, 0"))
            e.require(good, e.constants.string(message))
