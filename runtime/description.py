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
from dataclasses import dataclass

from runtime.dtypes import DType

RUN_TIME_SIZE = -(1 << 63)  # a size that the run decides; only the first of an output's

KINDS = ("tensor", "int", "float", "bool")  # the numbers of aot.h: AOT_KIND_TENSOR ...

# Symbols NAME_x and macros of the generated header that are no methods.
_TAKEN = ("model", "init", "message", "reset", "instance", "create", "destroy", "release",
          "INSTANCE_SIZE")


@dataclass(frozen=True)
class ValueInfo:
    """One input or output. A scalar (kind int, float, bool) has no dims and dtype i64, f64, bool.

    A negative size -1-k is the method's k-th named dim. The first size of an output may be
    RUN_TIME_SIZE: how many rows there are, the data decide."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    kind: str = "tensor"  # one of KINDS

    @property
    def made(self) -> bool:
        """An output whose size the run decides: its memory is the instance's."""
        return RUN_TIME_SIZE in self.shape

    def __str__(self) -> str:
        return self.text()

    def text(self, dim_names: tuple[str, ...] = ()) -> str:
        """'f32[1,3,N]' for a tensor, 'int' for a scalar."""
        if self.kind != "tensor":
            return self.kind
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
        takes = ", ".join(f"{v.name}: {v.text(self.dim_names)}" for v in self.inputs)
        gives = ", ".join(v.text(self.dim_names) for v in self.outputs)
        return f"{self.name}({takes}) -> {gives or 'nothing'}"


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


def entry_symbols(model_name: str, methods: tuple[str, ...]) -> dict[str, str]:
    """Method name -> symbol of its typed entry: 'forward' -> 'digits_forward'.

    A method whose name is taken by something else ('init', 'message') gets underscores appended.
    """
    symbols: dict[str, str] = {}
    taken = set(_TAKEN)
    # Plain names first, so that a method 'init_' keeps its name and 'init' gives way.
    for method in sorted(methods, key=lambda m: c_identifier(m) in _TAKEN):
        name = c_identifier(method)
        while name in taken:
            name += "_"
        taken.add(name)
        symbols[method] = f"{model_name}_{name}"
    return {m: symbols[m] for m in methods}
