"""Program: kernels, constants, a memory plan and host code; one entry point a method.

Everything that a run touches is a `Slot`: a piece of one of six memories. Scalars are 0-d
tensors in the arena, so host control flow reads a bool or an i64 from a slot. Slots of the arena
may overlap where the memory plan found lifetimes apart. The state keeps its contents from call to
call; init fills it. The heap is blocks of run-time sizes: HostAllocate makes each large enough
before it is used; the instance keeps them, to be used again, until NAME_release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from llvm_backend.kernel import Kernel
from llvm_backend.target import Target
from runtime.description import ValueInfo
from runtime.dtypes import DType
from runtime.foreign import ForeignFunction
from runtime.named_dims import NamedDim

SPACES = ("input", "output", "arena", "constant", "state", "heap")


@dataclass(frozen=True)
class Slot:
    """`size` elements of dtype at `offset` bytes of a memory; input and output count arguments."""

    space: str  # one of SPACES
    dtype: DType
    size: int
    offset: int = 0  # bytes, in the arena, the constants and the state (a multiple of 64)
    index: int = 0  # which input or output, or block of the heap


@dataclass
class Call:
    """Runs a kernel; slots in the order of its buffers."""

    kernel: Kernel
    slots: list[Slot]


@dataclass
class Copy:
    """Moves all bytes of one slot to another of the same size (memcpy)."""

    source: Slot
    target: Slot


@dataclass
class HostIf:
    """`condition` is a bool slot."""

    condition: Slot
    then: list[HostStmt]
    otherwise: list[HostStmt]


@dataclass
class HostLoop:
    """for (n = 0; n < trip && condition; n++) { counter = n; body }.

    trip: an int or an i64 slot, read once; condition: a bool slot read before every iteration (the
    body rewrites it) or None; counter: an i64 slot written before every iteration, or None."""

    trip: int | Slot
    condition: Slot | None
    counter: Slot | None
    body: list[HostStmt]


@dataclass
class TextHole:
    """A place in a message for what a slot holds: a number (i64, f64, bool), in one of the forms of
    lowering/texts.py, or for the form 'elements' all of the slot."""

    slot: Slot
    form: str


@dataclass
class HostCheck:
    """Ends the run with status AOT_FAILED and `message` unless the bool slot holds true. Of the
    kinds 'print' and 'warn', tells the message to the host program and goes on."""

    condition: Slot
    message: tuple[str | TextHole, ...]
    kind: str = "raise"


@dataclass
class HostAllocate:
    """Makes a block of the heap at least max(1, count) rows long; what it held is lost, unless it
    is to `keep` that: it then becomes longer by so much that many small steps cost little.

    count: an i64 slot. Ends the run with AOT_OUT_OF_MEMORY where there is no such memory."""

    block: int
    count: Slot
    row_bytes: int
    keep: bool = False


@dataclass
class HostDeliver:
    """Output number `output`, of a run-time size, is this block; i64 slots hold those sizes that
    the run decides, in the order of dims."""

    output: int
    block: int
    sizes: list[Slot]


@dataclass
class TensorArgument:
    """A tensor for a C function: row-major in a slot, with sizes that are known or in i64 slots."""

    slot: Slot
    dims: list[int | Slot]


@dataclass
class HostForeign:
    """Calls a C function. arguments: as its parameters, TensorArguments, numbers, slots of numbers,
    texts, None, lists of those; results: TensorArguments, and slots for what is no tensor. Ends the
    run with the status that it gives, unless that is AOT_OK; `where` ends the message."""

    function: ForeignFunction
    arguments: list
    results: list[TensorArgument | Slot]
    where: str


@dataclass
class HostTasks:
    """Bodies that may run at the same time, where the instance has threads. One that fails ends the
    run when all are done, the first of them with its message."""

    bodies: list[list[HostStmt]]


@dataclass
class HostVersions:
    """A method's whole body, for several CPUs: the instance knows which one it runs."""

    bodies: list[list[HostStmt]]
    targets: list[Target]


HostStmt = (Call | Copy | HostIf | HostLoop | HostCheck | HostAllocate | HostDeliver
            | HostForeign | HostTasks | HostVersions)


def all_statements(body: list[HostStmt]) -> Iterator[HostStmt]:
    """The statements, and those inside branches, loops, tasks and versions, in order."""
    for s in body:
        yield s
        if isinstance(s, HostIf):
            yield from all_statements([*s.then, *s.otherwise])
        elif isinstance(s, HostLoop):
            yield from all_statements(s.body)
        elif isinstance(s, (HostTasks, HostVersions)):
            for body in s.bodies:
                yield from all_statements(body)


@dataclass
class Method:
    """An entry point. Structures tell how tensors make up arguments and results (see aot.h). Named
    dims are i64 slots of the space input, after the inputs."""

    name: str
    inputs: list[ValueInfo]
    outputs: list[ValueInfo]
    body: list[HostStmt]
    input_structure: str
    output_structure: str
    dims: list[NamedDim] = field(default_factory=list)


@dataclass
class Program:
    """What the back end turns into an object. `constants` are laid out back to back, 64-aligned.

    state: (offset in the state, offset in the constants, bytes) of what init copies; the rest of
    the state_bytes (a multiple of 64) is zeroed."""

    name: str
    methods: list[Method]
    constants: list[tuple[int, np.ndarray]] = field(default_factory=list)  # (byte offset, data)
    constant_bytes: int = 0
    arena_bytes: int = 0
    state: list[tuple[int, int, int]] = field(default_factory=list)
    state_bytes: int = 0
    heap_blocks: int = 0
    state_fingerprint: int = 0  # of what the state is made of: saved states carry it
    generator: dict[str, int] = field(default_factory=dict)  # where parts of it are in the state
    strings: list[str] = field(default_factory=list)  # by the numbers that strings of run time have

    def kernels(self) -> list[Kernel]:
        """Every kernel called, in the order of first call."""
        found: dict[int, Kernel] = {}
        for m in self.methods:
            for s in all_statements(m.body):
                if isinstance(s, Call):
                    found.setdefault(id(s.kernel), s.kernel)
        return list(found.values())
