"""The values of partial evaluation.

int, float, bool, str, None, complex, list, dict, tuple, NamedTupleValue, ScriptObject, EnumValue,
DeviceValue and Function stand for themselves: they are known. What is known only when the program
runs is

    AbstractTensor     a tensor: a storage, and how the tensor lies in it
    AbstractComplex    a complex tensor: a real one with a last dim of 2
    AbstractNested     a nested tensor: a padded one and a mask
    tensor_ir.Value    a number: 0-d and `wrapped`, of dtype i64 (int), f64 (float) or bool
    Choice             a string: one of those in the program, or one that the caller gives
    Rows               what a list of a run-time length holds in place of its elements
    Maybe              None or a value, depending on run-time data
    Unknown            a value that cannot be told; harmless until something uses it
    Future             the result of a fork
"""

from __future__ import annotations

from lowering.index_algebra import contiguous_strides
from lowering.tensor_ir import Constant, Shape, Value
from lowering.texts import Text
from lowering.views import View
from runtime.dtypes import DType, bool_


class Storage:
    """What tensors that alias each other share. In-place operators give it a new `current`.

    version changes with every new value. `serial` grows with creation, so that storages made inside
    a branch are told from those that outlive it. `strides` are those of the memory, None where
    contiguous. `twins`: the tensors in it that are tensors in other storages where a condition
    holds (lowering/evaluate_aliases.py). `rivals`: storages that may be this one under conditions
    that are not known; `stale`: a rival was written since, so the value can no longer be told.
    `source`: the TensorData of a parameter or buffer, None otherwise; `written`: it was written in
    place.
    """

    __slots__ = ("current", "version", "serial", "strides", "rivals", "twins", "stale",
                 "source", "written")
    _serials = 0

    def __init__(self, current: Value, strides: tuple[int, ...] | None = None,
                 source: object = None):
        Storage._serials += 1
        self.current = current
        self.version = 0
        self.serial = Storage._serials
        self.strides = strides
        self.rivals: set[Storage] = set()
        self.twins: list = []
        self.stale = False
        self.source = source
        self.written = False


class AbstractTensor:
    """A tensor: the whole of a storage (base is None), or a view of another tensor."""

    __slots__ = ("storage", "base", "view", "cache", "requires_grad", "has_views")

    def __init__(self, storage: Storage, base: AbstractTensor | None = None,
                 view: View | None = None):
        self.storage, self.base, self.view = storage, base, view
        self.cache: tuple | None = None  # (storage version, region, Value) of the last read
        self.requires_grad = False
        self.has_views = False

    @property
    def shape(self) -> Shape:
        return self.storage.current.shape if self.view is None else self.view.shape

    @property
    def dtype(self) -> DType:
        return self.storage.current.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    def strides(self) -> tuple[int, ...] | None:
        """Strides in the storage's memory; None where no strides can express the view."""
        if self.view is None:
            return self.storage.strides or contiguous_strides(self.shape)
        assert self.base is not None
        below = self.base.strides()
        return None if below is None else self.view.strides(below)

    @property
    def is_contiguous(self) -> bool:
        strides = self.strides()
        if self.numel == 0:
            return True
        return strides is not None and all(
            n == 1 or s == t
            for n, s, t in zip(self.shape, strides, contiguous_strides(self.shape))
        )

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)}>"


class AbstractComplex:
    """A complex tensor; `pairs` holds real and imaginary parts along its last dim."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: AbstractTensor):
        self.pairs = pairs


class AbstractNested:
    """A nested tensor: rows of unequal lengths. `padded` (b, t, d) holds them, `kept` (b, t), of
    bool, tells which positions are theirs, `aligned` (0-d) whether these are the first of each."""

    __slots__ = ("padded", "kept", "aligned")

    def __init__(self, padded: AbstractTensor, kept: AbstractTensor, aligned: AbstractTensor):
        self.padded, self.kept, self.aligned = padded, kept, aligned


class Choice:
    """A string known only at run time. `number`, a 0-d i64 Value, is its position in the program's
    strings (Memory.strings); a caller's string that is none of them has a number after those."""

    __slots__ = ("number",)

    def __init__(self, number: Value):
        self.number = number


class Rows:
    """The elements of a list of a run-time length, as rows of a tensor that nobody writes in place.
    number: they are numbers of the program (i64, f64 or bool), else tensors."""

    __slots__ = ("data", "number")

    def __init__(self, data: AbstractTensor, number: bool):
        self.data, self.number = data, number


class Maybe:
    """None, or `value` where the 0-d bool `present` holds; elsewhere the value means nothing."""

    __slots__ = ("present", "value")

    def __init__(self, present: Value, value: object):
        self.present, self.value = present, value


class Unknown:
    """A value that cannot be told. Using it is an error with `problem`; where `problem` is None the
    error is recorded already and what uses the value is unknown too."""

    __slots__ = ("problem",)

    def __init__(self, problem: str | None):
        self.problem = problem


# What a path leaves undefined because it raises or is never read: merges with anything.
UNINITIALIZED = Unknown("a value is used that its path through the program never sets")


class Future:
    """The result of a fork, or what it raised. `task`: the op that computes it, and the region for
    it, while nobody has awaited it."""

    __slots__ = ("value", "raised", "task")

    def __init__(self, value: object, raised: Raised | None = None):
        self.value, self.raised = value, raised
        self.task: tuple | None = None


class Raised(Exception):
    """The program raises here, on the path that is being evaluated. `where`: the place, and the
    calls that led there, a line each."""

    def __init__(self, message: str | Text, where: str = ""):
        super().__init__(message)
        self.message, self.where = message, where


def is_number(x: object) -> bool:
    """A Python number or a number of run time."""
    return isinstance(x, (int, float, Value))


def number_type(x: object) -> type:
    """int, float or bool, for numbers known and unknown."""
    if isinstance(x, Value):
        return bool if x.dtype is bool_ else float if x.dtype.is_float else int
    return bool if isinstance(x, bool) else type(x)


def known_array(x: Value):
    """The array of a Value that is a constant, else None."""
    return x.op.data if isinstance(x.op, Constant) else None


def describe(x: object) -> str:
    """A value's type, for messages."""
    if isinstance(x, AbstractTensor):
        return f"Tensor {x.dtype}{list(x.shape)}"
    if isinstance(x, AbstractComplex):
        return f"complex Tensor {list(x.pairs.shape[:-1])}"
    if isinstance(x, AbstractNested):
        return f"nested Tensor {x.padded.dtype}{list(x.padded.shape)}"
    if isinstance(x, Value):
        return f"run-time {number_type(x).__name__}"
    if isinstance(x, Choice):
        return "run-time str"
    if isinstance(x, Maybe):
        return f"Optional[{describe(x.value)}]"
    if isinstance(x, (list, tuple)) and not hasattr(x, "type"):
        kinds = list(dict.fromkeys(describe(v) for v in x))
        inner = ", ".join(kinds[:3]) + (", ..." if len(kinds) > 3 else "")
        return f"[{inner}]" if isinstance(x, list) else f"({inner})"
    if isinstance(x, Text):
        return "run-time str"
    if x is None or isinstance(x, Unknown):
        return "None" if x is None else "?"
    return type(x).__name__
