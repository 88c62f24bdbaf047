"""What a program says about itself, as data (`describe_program`) and as LLVM constants."""

from __future__ import annotations

from llvm_backend.foreign_code import foreign_functions
from llvm_backend.ir_text import literal
from llvm_backend.program import (
    Call, HostIf, HostLoop, HostStmt, HostTasks, HostVersions, Method, Program,
)
from llvm_backend.target import Target
from llvm_backend.text_code import text_bytes, text_offset
from llvm_backend.versions import versions_of
from runtime import abi
from runtime.description import KINDS, MethodDescription, ModelDescription, ValueInfo

PRODUCER = "aot 0.1.0"
ALIGNMENT = 64
VALUE_TYPE = "{ ptr, ptr, i32, i8, i8, i16, i32, i32, ptr }"
METHOD_TYPE = "{ ptr, ptr, ptr, i32, i32, ptr, ptr, ptr, ptr, i32, i32, i64 }"
MODEL_TYPE = ("{ i32, i32, ptr, ptr, ptr, ptr, ptr, i32, i32, ptr, i64, i64, i64, i64, ptr, ptr, "
              "i64, ptr, i64, ptr, ptr, ptr, ptr, ptr }")


def _flops(statements: list[HostStmt]) -> int:
    """Operations of a run; a branch counts as its longer side, a loop of unknown length once."""
    total = 0
    for s in statements:
        if isinstance(s, Call):
            total += s.kernel.flops
        elif isinstance(s, HostVersions):
            total += _flops(s.bodies[0])
        elif isinstance(s, HostTasks):
            total += sum(map(_flops, s.bodies))
        elif isinstance(s, HostIf):
            total += max(_flops(s.then), _flops(s.otherwise))
        elif isinstance(s, HostLoop):
            total += _flops(s.body) * (s.trip if isinstance(s.trip, int) else 1)
    return total


def _method(m: Method) -> MethodDescription:
    return MethodDescription(m.name, tuple(m.inputs), tuple(m.outputs),
                             m.input_structure, m.output_structure,
                             tuple(d.name for d in m.dims), 0 if m.dims else _flops(m.body))


def describe_program(program: Program, target: Target) -> ModelDescription:
    """target: the row that says what a CPU must have; with several versions the least of them."""
    versions = versions_of(program)
    size = text_offset(program) + text_bytes(program)
    return ModelDescription(
        name=program.name,
        methods=tuple(_method(m) for m in program.methods),
        instance_size=-(-size // ALIGNMENT) * ALIGNMENT,
        instance_alignment=ALIGNMENT,
        weight_bytes=program.constant_bytes,
        arena_bytes=program.arena_bytes,
        producer=PRODUCER,
        target_triple=target.triple,
        target_cpu=", ".join(t.cpu for t in versions) or target.cpu,
        cpu_features=target.features,
        stateful=program.state_bytes > 0,
        allocates=program.heap_blocks > 0,
        state_size=abi.SAVED_HEAD + program.state_bytes if program.state_bytes else 0,
        draws=bool(program.generator),
        foreign=tuple(foreign_functions(program)),
    )


class Constants:
    """Private constants of a module; equal strings are one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._strings: dict[str, str] = {}

    def string(self, text: str) -> str:
        """The name of a NUL-terminated UTF-8 string."""
        if text not in self._strings:
            raw = text.encode("utf-8") + b"\0"
            body = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:02X}"
                           for c in raw)
            name = f"@.s{len(self._strings)}"
            self._strings[text] = name
            self.lines.append(
                f'{name} = private unnamed_addr constant [{len(raw)} x i8] c"{body}"')
        return self._strings[text]

    def array(self, name: str, element: str, values: list[str]) -> str:
        """A private array; 'null' if it has no elements."""
        if not values:
            return "null"
        body = ", ".join(f"{element} {v}" for v in values)
        self.lines.append(f"{name} = private constant [{len(values)} x {element}] [{body}]")
        return name

    def strings(self, name: str, texts: list[str]) -> str:
        return self.array(name, "ptr", [self.string(t) for t in texts])


def _infos(c: Constants, name: str, values: tuple[ValueInfo, ...]) -> str:
    rows = []
    for k, v in enumerate(values):
        shape = c.array(f"{name}.shape{k}", "i64", [str(n) for n in v.shape])
        rows.append(
            f"{{ ptr {c.string(v.name)}, ptr {shape}, i32 {len(v.shape)}, i8 {v.dtype.dlpack}, "
            f"i8 {v.dtype.bits}, i16 1, i32 {KINDS.index(v.kind)}, i32 0, "
            f"ptr {_number(c, f'{name}.value{k}', v)} }}")
    return c.array(name, VALUE_TYPE, rows)


def _number(c: Constants, name: str, v: ValueInfo) -> str:
    """The constant with the number that an input must have; 'null' where it may have any."""
    if v.value is None:
        return "null"
    kind = {"int": "i64", "float": "double", "bool": "i8"}[v.kind]
    value = int(v.value) if v.kind == "bool" else literal(v.value, v.dtype)
    c.lines.append(f"{name} = private constant {kind} {value}, align 8")
    return name


def infos_name(kind: str, index: int) -> str:
    """The constant that holds the value infos of a method; kind: inputs or outputs."""
    return f"@.m{index}.{kind}"


def descriptor(c: Constants, d: ModelDescription) -> None:
    """Appends the constant NAME_model and all that it points to."""
    methods = []
    for k, m in enumerate(d.methods):
        inputs = _infos(c, infos_name("inputs", k), m.inputs)
        outputs = _infos(c, infos_name("outputs", k), m.outputs)
        dims = c.strings(f"@.m{k}.dims", list(m.dim_names))
        methods.append(
            f"{{ ptr {c.string(m.name)}, ptr {inputs}, ptr {outputs}, i32 {len(m.inputs)}, "
            f"i32 {len(m.outputs)}, ptr {c.string(m.arguments)}, ptr {c.string(m.results)}, "
            f"ptr @.m{k}.run, ptr {dims}, i32 {len(m.dim_names)}, i32 0, i64 {m.flops} }}")
    table = c.array("@.methods", METHOD_TYPE, methods)
    features = c.strings("@.features", list(d.cpu_features))
    fields = [
        f"i32 {abi.ABI_VERSION}", "i32 176", f"ptr {c.string(d.name)}",
        f"ptr {c.string(d.producer)}", f"ptr {c.string(d.target_triple)}",
        f"ptr {c.string(d.target_cpu)}", f"ptr {features}", f"i32 {len(d.cpu_features)}",
        f"i32 {len(d.methods)}", f"ptr {table}", f"i64 {d.instance_size}",
        f"i64 {d.instance_alignment}", f"i64 {d.weight_bytes}", f"i64 {d.arena_bytes}",
        f"ptr @{d.name}_init", f"ptr @{d.name}_message",
        f"i64 {abi.STATEFUL if d.stateful else 0}",
        f"ptr @{d.name}_release" if d.allocates else "ptr null",
        f"i64 {d.state_size}",
        *(f"ptr @{d.name}_{x}" if d.state_size else "ptr null"
          for x in ("reset", "copy_state", "save_state", "restore_state")),
        f"ptr @{d.name}_seed" if d.draws else "ptr null",
    ]
    c.lines.append(f"@{d.name}_model = constant {MODEL_TYPE} {{ {', '.join(fields)} }}, align 8")
