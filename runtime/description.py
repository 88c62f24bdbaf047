"""What a compiled model says about itself, as plain data; the C form is in include/aot.h.

The compiler fills a `ModelDescription`; from it come the constants in the object (the descriptor
NAME_model), the generated header, and what the loader prints. The loader reads the same back from
an object with `runtime.abi.describe`.

    ModelDescription(
        name="digits",                       # a C identifier
        methods=(
            MethodDescription(
                name="forward",
                inputs=(ValueInfo("x", dtypes.f32, (1, 1, 8, 8)),),
                outputs=(ValueInfo("out0", dtypes.f32, (1, 10)),),
                arguments="(x=T)",           # grammar: runtime/structure.py
                results="T",
            ),
        ),
        instance_size=4096, target_cpu="x86-64-v3", cpu_features=("avx2", "fma"), ...
    )
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.dtypes import DType
from runtime.foreign import ForeignFunction
from runtime.structure import leaf_count, parse

RUN_TIME_SIZE = -(1 << 63)  # a size of an output that the run decides

KINDS = ("tensor", "int", "float", "bool", "str")  # the numbers of aot.h: AOT_KIND_TENSOR ...

# Symbols NAME_x and macros of the generated header that are no methods.
_TAKEN = ("model", "init", "message", "reset", "copy_state", "save_state", "restore_state",
          "instance", "create", "destroy", "release", "INSTANCE_SIZE", "INSTANCE_ALIGNMENT",
          "STATE_SIZE")


@dataclass(frozen=True)
class ValueInfo:
    """One input or output. A scalar (kind int, float, bool) has no dims and dtype i64, f64, bool; a
    string (kind str) no dims and dtype u8.

    A negative size -1-k is the method's k-th named dim. Sizes of an output may be
    RUN_TIME_SIZE: the run decides them, and its memory is the instance's."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    kind: str = "tensor"  # one of KINDS
    value: int | float | bool | None = None  # the one number that a scalar input must have

    @property
    def made(self) -> bool:
        """An output whose size the run decides: its memory is the instance's."""
        return RUN_TIME_SIZE in self.shape

    def __str__(self) -> str:
        return self.text()

    def text(self, dim_names: tuple[str, ...] = ()) -> str:
        """'f32[1,3,N]' for a tensor, 'int' for a scalar."""
        if self.kind != "tensor":
            return self.kind if self.value is None else f"{self.kind}={self.value}"
        sizes = []
        for size in self.shape:
            if size >= 0:
                sizes.append(str(size))
            elif size == RUN_TIME_SIZE:
                sizes.append("?")
            else:
                k = -1 - size
                sizes.append(dim_names[k] if k < len(dim_names) else f"d{k}")
        return f"{self.dtype.name}[{','.join(sizes)}]"


@dataclass(frozen=True)
class MethodDescription:
    """One entry point. `arguments` and `results` are structure texts (runtime/structure.py)."""

    name: str
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    arguments: str
    results: str
    dim_names: tuple[str, ...] = ()
    flops: int = 0  # arithmetic operations of one call, 0 if not known

    def __str__(self) -> str:
        gives = ", ".join(v.text(self.dim_names) for v in self.outputs)
        return f"{self.name}{self.takes} -> {gives or 'nothing'}"

    @property
    def num_results(self) -> int:
        """How many outputs make up the result. Those after them are what the program leaves in the
        inputs of their names."""
        return leaf_count(parse(self.results))

    @property
    def takes(self) -> str:
        """'(x: f32[1,512], sr: int=16000)'"""
        values = (f"{v.name}: {v.text(self.dim_names)}" for v in self.inputs)
        return f"({', '.join(values)})"


@dataclass(frozen=True)
class ModelDescription:
    """A model: the fields of aot_model. Sizes in bytes."""

    name: str
    methods: tuple[MethodDescription, ...]
    instance_size: int
    instance_alignment: int = 64
    weight_bytes: int = 0
    arena_bytes: int = 0
    producer: str = "aot"
    target_triple: str = ""
    target_cpu: str = ""
    cpu_features: tuple[str, ...] = ()
    stateful: bool = False
    allocates: bool = False  # it has a NAME_release
    state_size: int = 0  # of a saved state; 0 where nothing is kept from call to call
    draws: bool = False  # random numbers
    foreign: tuple[ForeignFunction, ...] = ()  # that it calls; the compiler knows, not the object

    def method(self, name: str) -> MethodDescription:
        """The method of this name; KeyError otherwise."""
        for m in self.methods:
            if m.name == name:
                return m
        raise KeyError(name)

    def __str__(self) -> str:
        return "\n".join([f"model {self.name} for {self.target_cpu}", *map(str, self.methods)])


def is_c_identifier(text: str) -> bool:
    """True if C can use the text as a name of ours (no keyword test: names get a prefix)."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text) is not None


def c_identifier(text: str) -> str:
    """A Python name as a C name: 'größe' becomes 'gr_u00f6_u00dfe', 'layer.0' 'layer_0'."""

    def plain(c: str) -> str:
        if re.match(r"[A-Za-z0-9_]", c):
            return c
        return "_" if ord(c) < 128 else f"_u{ord(c):04x}"

    name = "".join(plain(c) for c in text) or "_"
    return "_" + name if name[0].isdigit() else name


@dataclass(frozen=True)
class TypedEntry:
    """A typed entry point: its symbol, and the methods that it runs, as positions in the model's
    list. Of several it chooses by the numbers that are given."""

    symbol: str
    methods: tuple[int, ...]


def typed_entries(model: ModelDescription) -> list[TypedEntry]:
    """The typed entries of a model. Signatures of one method share one where their prototypes agree
    and their numbers tell them apart; else those after the first are NAME_METHOD_2 and so on."""
    groups: list[tuple[str, list[int]]] = []
    for k, m in enumerate(model.methods):
        for name, rows in groups:
            if name == m.name and all(_told_apart(model.methods[r], m) for r in rows):
                rows.append(k)
                break
        else:
            groups.append((m.name, [k]))
    symbols = entry_symbols(model.name, [name for name, _ in groups])
    return [TypedEntry(symbol, tuple(rows)) for symbol, (_, rows) in zip(symbols, groups)]


def _told_apart(a: MethodDescription, b: MethodDescription) -> bool:
    prototypes = [[[(v.kind, v.dtype, v.made, v.made and len(v.shape)) for v in values]
                   for values in (m.inputs, m.outputs)] + [m.dim_names] for m in (a, b)]
    return prototypes[0] == prototypes[1] and any(
        None not in (x.value, y.value) and x.value != y.value for x, y in zip(a.inputs, b.inputs))


def entry_symbols(model_name: str, methods: Sequence[str]) -> list[str]:
    """The symbols of typed entries, in order: 'forward' -> 'digits_forward', a second 'forward' ->
    'digits_forward_2'. A name that is taken by something else ('init') gets underscores."""
    names = [c_identifier(m) + (f"_{n + 1}" if (n := list(methods[:k]).count(m)) else "")
             for k, m in enumerate(methods)]
    found: dict[int, str] = {}
    taken = set(_TAKEN)
    # Plain names first, so that a method 'init_' keeps its name and 'init' gives way.
    for k in sorted(range(len(names)), key=lambda k: (
            names[k] in _TAKEN, methods[k] in methods[:k])):
        while names[k] in taken:
            names[k] += "_"
        taken.add(names[k])
        found[k] = f"{model_name}_{names[k]}"
    return [found[k] for k in range(len(names))]
