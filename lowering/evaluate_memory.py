"""Where partial evaluation puts what it computes: regions of TensorOps, storages, and a journal.

Reading a view derives it from its storage's current value, once a version; writing through a view
gives the storage a new value. Evaluating a branch whose condition is known only at run time keeps a
journal of everything that was there before and changed, so that the other branch starts from the
same state and the two can be merged.
"""

from __future__ import annotations

import itertools
import re
from contextlib import contextmanager
from typing import Callable, Iterator, TypeVar

import numpy as np

from lowering import build as B
from lowering.abstract import AbstractTensor, Future, Storage
from lowering.computed_sizes import computed_size
from lowering.evaluate_aliases import Twin, connect, disconnect, spread, twins_of
from lowering.interpreter import run_op
from lowering.objects import ScriptObject, StorageData, TensorData
from lowering.random_stream import Stream
from lowering.random_words import INITIAL
from lowering.sizes import Size, in_use, is_dynamic
from lowering.tensor_ir import Check, Constant, Generic, Region, Scan, Scatter, Sort, Tasks, Value
from lowering.views import View
from runtime import dtypes
from runtime.dtypes import DType

T = TypeVar("T")

# Ops on constants of at most this many elements are computed at once: sizes that a trace carries as
# tensors become numbers again. Larger constants are a later pass's business.
FOLD_ELEMENTS = 1024
LARGEST_SIZE = 1 << 40  # of a dim that the program computes


class Frame:
    """The journal of one branch: what existed before it, as it was."""

    def __init__(self) -> None:
        self.serial = Storage._serials
        self.storages: dict[Storage, Value] = {}
        self.containers: dict[int, tuple[object, object]] = {}  # id -> (container, copy)
        self.born: dict[int, object] = {}  # lists and dicts made in the branch, by id
        self.stale: dict[Storage, bool] = {}  # storages whose `stale` changed -> what it was
        self.links: list[tuple[Storage, Storage]] = []  # rivals noted
        self.twins: list[Twin] = []  # noted


class Memory:
    """Regions under construction, innermost last, and the state of the program."""

    def __init__(self, eager: bool = False):
        self.eager = eager  # everything is known: ops are run when they are built
        self.root = Region()
        self.regions = [self.root]
        self.frames: list[Frame] = []
        self.origin: object = None
        self.attributes: dict[int, tuple[ScriptObject, dict[str, object]]] = {}
        self.names: dict[int, str] = {}  # of tensors of the module, by identity
        self.strings: list[str] = []  # that strings of run time may be, see abstract.Choice
        self._used_names: set[str] = set()
        self._spliced: dict[Region, Region] = {}
        self._versions = itertools.count(1)
        self._waiting: list[Future] = []  # forks that nobody has awaited
        self.sizes: dict[Value, Size] = {}  # numbers of run time that are sizes of tensors
        self.generator = INITIAL  # what random operators draw from
        self.stream = Stream(lambda part: self.read(self.constant(getattr(self.generator, part))),
                             lambda part, x: self.write(
                                 self.constant(getattr(self.generator, part)), x))
        self._constants: dict[tuple, Storage] = {}
        self._windows: dict[StorageData, set[tuple]] = {}

    # Building ops

    @property
    def region(self) -> Region:
        return self.regions[-1]

    @contextmanager
    def inside(self, region: Region) -> Iterator[Region]:
        """What is built in the block goes to `region`."""
        self.regions.append(region)
        try:
            with B.collect(region):
                yield region
            if region not in self.regions[:-1]:
                for future in [f for f in self._waiting if f.task[1] is region]:
                    self.start(future)  # it may be awaited outside, which cannot reach in
        finally:
            self.regions.pop()

    def postpone(self, future: Future, op: Tasks) -> None:
        """Notes that the op that computes a fork's result belongs to the current region."""
        future.task = op, self.region
        self._waiting.append(future)

    def start(self, future: Future) -> None:
        """Puts the op where its region now ends, unless it is there already."""
        if future.task is None:
            return
        op, region = future.task
        while region in self._spliced:
            region = self._spliced[region]
        region.ops.append(op)
        future.task = None
        self._waiting.remove(future)

    def splice(self, region: Region) -> None:
        """Appends a finished inner region's ops to the current one."""
        self.region.ops.extend(region.ops)
        self._spliced[region] = self.region

    def build(self, fn: Callable[[], T]) -> T:
        """fn(); the ops it appends are marked with their origin, and folded if constant."""
        region = self.region
        mark = len(region.ops)
        result = fn()
        if len(region.ops) > mark:
            for op in itertools.islice(region.ops, mark, None):
                for value in op.results:
                    value.origin = self.origin
            self._fold(region, mark)
        return result

    def _fold(self, region: Region, mark: int) -> None:
        """Runs the ops after `mark` now if all they read is known and small."""
        ops = region.ops[mark:]
        if not self.eager and any(
                is_dynamic(v.shape) for op in ops for v in (*op.results, *op.operands())):
            return
        env: dict[Value, np.ndarray] = {}
        if not self.eager and not all(_foldable(op) for op in ops):
            return
        defined = {v for op in ops for v in op.results}
        for op in ops:
            reads = [*op.operands(), *(v for r in op.regions() for v in r.reads())]
            for v in reads:
                if v in env or v in defined:
                    continue
                if not isinstance(v.op, Constant) or (
                    not self.eager and v.numel > FOLD_ELEMENTS
                ):
                    return
                env[v] = v.op.data
        with np.errstate(all="ignore"):
            for op in ops:
                for v, array in zip(op.results, run_op(op, env)):
                    env[v] = array
        del region.ops[mark:]
        for op in ops:
            for v in op.results:
                v.shape = env[v].shape  # sizes of run time are known now
                folded = op
                if not isinstance(op, Constant):
                    folded = Constant(env[v] if self.eager else np.array(env[v]), v.dtype)
                    folded.results = [v]
                    v.op = folded
                if not self.eager:
                    region.ops.append(folded)

    # Tensors

    def tensor(self, value: Value) -> AbstractTensor:
        """A new tensor whose whole storage is `value`."""
        if value.wrapped:
            value = self.build(lambda: B.cast(value, value.dtype))
        return AbstractTensor(Storage(value))

    def view(self, base: AbstractTensor, view: View) -> AbstractTensor:
        base.has_views = True
        out = AbstractTensor(base.storage, base, view)
        out.requires_grad = base.requires_grad
        return out

    def constant(self, data: TensorData) -> AbstractTensor:
        """The tensor of a parameter, buffer or constant of the program; one storage a window."""
        window = (data.offset, data.sizes, data.strides)
        key = (data.storage, *window)
        storage = self._constants.get(key)
        if storage is None:
            array = dtypes.to_compute(data.numpy(), data.dtype)
            with self.inside(self.root):
                value = B.constant(array, data.dtype)
            if self.eager:
                self.root.ops.pop()
            name = self.names.get(id(data)) or data.storage.name
            if name:
                value.name = self._unique(name)
            storage = self._constants[key] = Storage(
                value, None if data.is_contiguous else data.strides, data
            )
            storage.serial = 0  # it was there before whatever branch reads it first
            self._windows.setdefault(data.storage, set()).add(window)
        out = AbstractTensor(storage)
        out.requires_grad = data.requires_grad
        return out

    def preload(self, data: TensorData, storage: Storage) -> None:
        """Makes a storage stand for a parameter or buffer."""
        window = (data.offset, data.sizes, data.strides)
        self._constants[(data.storage, *window)] = storage
        self._windows.setdefault(data.storage, set()).add(window)

    def _unique(self, name: str) -> str:
        """The name as an identifier that no other constant has."""
        name = base = re.sub(r"\W", "_", name if not name[0].isdigit() else f"_{name}")
        count = 1
        while name in self._used_names:
            name, count = f"{base}_{count}", count + 1
        self._used_names.add(name)
        return name

    def constants(self) -> list[Storage]:
        """The storages of parameters, buffers and constants that were read."""
        return list(self._constants.values())

    def number(self, x: int | float | bool, dtype: DType | None = None) -> Value:
        """A known number as a 0-d wrapped Value."""
        dtype = dtype or (
            dtypes.bool_ if isinstance(x, bool) else dtypes.f64 if isinstance(x, float)
            else dtypes.i64
        )
        value = self.build(lambda: B.constant(np.array(x, dtype.compute), dtype))
        value.wrapped = True
        return value

    def size_number(self, n: int | Size) -> int | Value:
        """A dim as a number of the program: a Size becomes one of run time."""
        if not isinstance(n, Size):
            return n
        value = self.build(lambda: B.full((), n, dtypes.i64))
        value.wrapped = True
        self.sizes[value] = n
        return value

    def dim_of(self, x: object, new: bool) -> object:
        """A number given as a dim: one of run time that came from a Size is that again. new: of a
        tensor that is made, which may have any size."""
        if not isinstance(x, Value):
            return x
        if x not in self.sizes:
            size = computed_size(x)
            if size is None and x.dtype is dtypes.i64:
                size = in_use(x)
            if isinstance(size, int):
                return size
            if size is not None:
                self.sizes[x] = size
        if x not in self.sizes and new:
            message = "Trying to create tensor with negative dimension, or one that no memory holds"
            self.build(lambda: B.check(
                B.pointwise(lambda n: (n >= 0) & (n < LARGEST_SIZE), x), message))
            self.sizes[x] = B.as_size(x)
        return self.sizes.get(x, x)

    def _is_open(self, region: Region) -> bool:
        while region in self._spliced:
            region = self._spliced[region]
        return region in self.regions

    def read(self, t: AbstractTensor) -> Value:
        """The tensor's value now. ValueError where it cannot be told."""
        if t.storage.stale:
            raise ValueError("a tensor is read that was written in place through another one, or "
                             "not, depending on run-time data")
        if t.view is None:
            return t.storage.current
        if t.cache is not None:
            version, region, value = t.cache
            if version == t.storage.version and self._is_open(region):
                return value
        assert t.base is not None
        base, view = self.read(t.base), t.view
        value = self.build(lambda: view.get(base))
        t.cache = (t.storage.version, self.region, value)
        return value

    def write(self, t: AbstractTensor, x: Value, spreads: bool = True) -> None:
        """Gives the tensor the value x, of its shape and dtype, in place. ValueError where the
        memory overlaps itself. Tensors that may lie in the same memory get it too (spreads)."""
        assert x.shape == t.shape and x.dtype is t.dtype, (x, t)
        if t.view is None:
            self.set_current(t.storage, x, spreads)
            return
        assert t.base is not None
        base, view = self.read(t.base), t.view
        value = self.build(lambda: view.put(base, x))
        self.write(t.base, value, spreads)
        t.cache = (t.storage.version, self.region, x)

    def set_current(self, storage: Storage, value: Value, spreads: bool = False) -> None:
        """Gives a storage a new value, and (spreads) its twins. What may be the same storage under
        conditions that are not known becomes stale."""
        if isinstance(storage.source, TensorData):
            if len(self._windows[storage.source.storage]) > 1:
                raise ValueError("a parameter or buffer is written in place whose memory other "
                                 "parameters or buffers share")
            storage.written = True
        if self.frames and storage.serial <= self.frames[-1].serial:
            self.frames[-1].storages.setdefault(storage, storage.current)
        storage.current = value
        storage.version = next(self._versions)
        self.set_stale(storage, False)
        for rival in rivals(storage):
            self.set_stale(rival, True)
        if spreads and storage.twins:
            spread(self, storage)

    def link(self, a: Storage, b: Storage) -> None:
        """Notes that a and b may be one storage, depending on run-time data."""
        if a is not b and b not in a.rivals:
            a.rivals.add(b)
            b.rivals.add(a)
            if self.frames:
                self.frames[-1].links.append((a, b))

    def pair(self, twin: Twin) -> None:
        """Notes that two tensors are one where a condition holds."""
        connect(twin)
        if self.frames:
            self.frames[-1].twins.append(twin)

    def set_stale(self, storage: Storage, stale: bool) -> None:
        if storage.stale is not stale:
            if self.frames:
                self.frames[-1].stale.setdefault(storage, storage.stale)
            storage.stale = stale

    # Other state

    def made(self, container: object) -> None:
        """To be called when a list or dict is made: nothing outside the branch knows it."""
        if self.frames:
            self.frames[-1].born[id(container)] = container

    def mutate(self, container: object) -> None:
        """To be called before a list or dict changes."""
        if not self.frames:
            return
        frame, key = self.frames[-1], id(container)
        if key not in frame.containers and key not in frame.born:
            frame.containers[key] = (container, container.copy())  # type: ignore[attr-defined]

    def written_attributes(self, obj: ScriptObject) -> dict[str, object]:
        """The attributes of an object that the program has set, a dict that changes with it."""
        return self.attributes.setdefault(id(obj), (obj, {}))[1]

    @contextmanager
    def frame(self) -> Iterator[Frame]:
        """A journal for the block; what changed in it is undone at its end by `undo`."""
        frame = Frame()
        self.frames.append(frame)
        try:
            yield frame
        finally:
            self.frames.pop()

    def undo(self, frame: Frame) -> tuple[dict[Storage, Value], dict[int, tuple[object, object]]]:
        """Restores what the frame's block changed; returns the values that it left."""
        storages = {s: s.current for s in frame.storages}
        for storage, old in frame.storages.items():
            storage.current = old
            storage.version = next(self._versions)
        containers = {}
        for key, (container, old) in frame.containers.items():
            containers[key] = (container, container.copy())  # type: ignore
            replace_content(container, old)
        for storage, was in frame.stale.items():
            storage.stale = was
        for a, b in frame.links:
            a.rivals.discard(b)
            b.rivals.discard(a)
        for twin in frame.twins:
            disconnect(twin)
        return storages, containers


def related(storage: Storage) -> set[Storage]:
    """All storages that may be this one, directly or by way of others, and itself."""
    return _reached(storage, lambda s: s.rivals.union(twins_of(s)))


def rivals(storage: Storage) -> set[Storage]:
    """The storages that may be this one under conditions that are not known."""
    if not storage.rivals and not storage.twins:
        return set()
    return related(storage) - _reached(storage, twins_of)


def _reached(storage: Storage, neighbours: Callable) -> set[Storage]:
    found, todo = {storage}, [storage]
    while todo:
        fresh = neighbours(todo.pop()) - found
        found |= fresh
        todo += fresh
    return found


def replace_content(container: object, content: object) -> None:
    """Makes a list or dict equal to another one."""
    if isinstance(container, list):
        container[:] = content  # type: ignore
    else:
        container.clear()  # type: ignore
        container.update(content)  # type: ignore


def _foldable(op) -> bool:
    if isinstance(op, (Generic, Sort, Scan, Scatter, Constant)):
        if isinstance(op, Generic):
            points = 1
            for n in op.domain:
                points *= n
            if points > 64 * FOLD_ELEMENTS:
                return False
        return all(v.numel <= FOLD_ELEMENTS for v in op.results)
    return isinstance(op, Check)
