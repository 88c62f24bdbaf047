"""Interprets the pickles of an archive: a closed list of opcodes, nothing is executed.

The machine knows what protocol 2 needs to write TorchScript's values. A GLOBAL and a persistent id
are handed to the caller, who knows the closed list of names; REDUCE, NEWOBJ and BUILD go there too.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

_INT32 = Struct("<i")
_UINT32 = Struct("<I")
_UINT16 = Struct("<H")
_DOUBLE = Struct(">d")

_MAX_DEPTH = 200  # of containers inside containers
_MAX_VALUES_PER_BYTE = 64  # a pickle whose shared containers unfold to more is a bomb


class PickleError(Exception):
    """What is wrong with a pickle, and at which byte."""


class Meaning(Protocol):
    """What names and constructions mean; each may raise PickleError."""

    def find_global(self, module: str, name: str) -> object: ...

    def load_persistent(self, key: object) -> object: ...

    def call(self, function: object, arguments: object) -> object: ...

    def new_object(self, cls: object, arguments: tuple) -> object: ...

    def build(self, instance: object, state: object) -> None: ...


_MARK = object()


class PickleReader:
    """Reads one pickle; see `read`."""

    def __init__(self, data: bytes, meaning: Meaning) -> None:
        self.data = data
        self.meaning = meaning
        self.position = 0
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def read(self) -> object:
        """The pickled value; PickleError if the bytes are not such a pickle."""
        data = self.data
        while True:
            start = self.position
            if start >= len(data):
                raise PickleError("the pickle ends without a STOP")
            self.position += 1
            operation = _OPERATIONS.get(data[start])
            try:
                if data[start] == 0x2E:
                    return self._stop()
                if operation is None:
                    raise PickleError(f"opcode {data[start]:#04x} is not one TorchScript writes")
                operation(self)
            except PickleError as error:
                raise PickleError(f"byte {start}: {error}") from None
            except (IndexError, KeyError):
                raise PickleError(f"byte {start}: the pickle's stack or memo is wrong") from None
            except (TypeError, ValueError, OverflowError) as error:
                raise PickleError(f"byte {start}: {error}") from None

    # --- operands -----------------------------------------------------------------------------

    def _bytes(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            left = len(self.data) - self.position
            raise PickleError(f"expected {count} bytes, the pickle has {left}")
        out = self.data[self.position : end]
        self.position = end
        return out

    def _number(self, layout: Struct) -> int | float:
        return layout.unpack(self._bytes(layout.size))[0]

    def _line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise PickleError("a name without an end")
        line = self.data[self.position : end]
        self.position = end + 1
        return line.decode("utf-8")

    def _pop(self) -> object:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("a mark stands where a value should")
        return value

    def _pop_to_mark(self) -> list[object]:
        stack = self.stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is _MARK:
                values = stack[i + 1 :]
                del stack[i:]
                return values
        raise PickleError("no mark on the stack")

    def _top(self, *types: type) -> object:
        top = self.stack[-1]
        if not isinstance(top, types):
            wanted = types[0].__name__
            raise PickleError(f"expected a {wanted} on the stack, found {type(top).__name__}")
        return top

    # --- operations ---------------------------------------------------------------------------

    def _stop(self) -> object:
        value = self._pop()
        if self.stack:
            raise PickleError("values are left on the stack at the end")
        return value

    def _proto(self) -> None:
        version = self._bytes(1)[0]
        if version != 2:
            raise PickleError(f"expected pickle protocol 2, found {version}")

    def _push(self, value: object) -> None:
        self.stack.append(value)

    def _put(self, index: int) -> None:
        if self.stack[-1] is _MARK:
            raise PickleError("a mark cannot be remembered")
        self.memo[index] = self.stack[-1]

    def _long(self) -> None:
        self._push(int.from_bytes(self._bytes(self._bytes(1)[0]), "little", signed=True))

    def _text(self) -> None:
        # surrogatepass: what Python's pickle of a lone surrogate looks like
        self._push(self._bytes(self._number(_UINT32)).decode("utf-8", "surrogatepass"))

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[key] = value

    def _set_items(self) -> None:
        values = self._pop_to_mark()
        if len(values) % 2:
            raise PickleError("a key without a value")
        self._top(dict).update(zip(values[::2], values[1::2]))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._push(self.meaning.call(function, arguments))

    def _new_object(self) -> None:
        arguments, cls = self._pop(), self._pop()
        if not isinstance(arguments, tuple):
            raise PickleError("the arguments of a construction are not a tuple")
        self._push(self.meaning.new_object(cls, arguments))

    def _build(self) -> None:
        state = self._pop()
        instance = self.stack[-1]
        self.meaning.build(instance, state)

    def _global(self) -> None:
        module = self._line()
        self._push(self.meaning.find_global(module, self._line()))


_OPERATIONS = {
    0x80: PickleReader._proto,
    0x63: PickleReader._global,  # 'c'
    0x71: lambda r: r._put(r._bytes(1)[0]),  # 'q'
    0x72: lambda r: r._put(r._number(_UINT32)),  # 'r'
    0x68: lambda r: r._push(r.memo[r._bytes(1)[0]]),  # 'h'
    0x6A: lambda r: r._push(r.memo[r._number(_UINT32)]),  # 'j'
    0x28: lambda r: r.stack.append(_MARK),  # '('
    0x29: lambda r: r._push(()),  # ')'
    0x74: lambda r: r._push(tuple(r._pop_to_mark())),  # 't'
    0x85: lambda r: r._tuple(1),
    0x86: lambda r: r._tuple(2),
    0x87: lambda r: r._tuple(3),
    0x7D: lambda r: r._push({}),  # '}'
    0x5D: lambda r: r._push([]),  # ']'
    0x73: PickleReader._set_item,  # 's'
    0x75: PickleReader._set_items,  # 'u'
    0x61: PickleReader._append,  # 'a'
    0x65: PickleReader._appends,  # 'e'
    0x58: PickleReader._text,  # 'X'
    0x4E: lambda r: r._push(None),  # 'N'
    0x88: lambda r: r._push(True),
    0x89: lambda r: r._push(False),
    0x4B: lambda r: r._push(r._bytes(1)[0]),  # 'K'
    0x4D: lambda r: r._push(r._number(_UINT16)),  # 'M'
    0x4A: lambda r: r._push(r._number(_INT32)),  # 'J'
    0x8A: PickleReader._long,
    0x47: lambda r: r._push(r._number(_DOUBLE)),  # 'G'
    0x51: lambda r: r._push(r.meaning.load_persistent(r._pop())),  # 'Q'
    0x52: PickleReader._reduce,  # 'R'
    0x81: PickleReader._new_object,
    0x62: PickleReader._build,  # 'b'
}


def refuse_bombs(roots: list[object], size: int) -> None:
    """Refuse containers that contain themselves, nest too deep, or unfold to too many values.

    Containers can be shared through the memo, so a pickle of `size` bytes may stand for a huge
    tree. Objects are leaves here; the dicts of their attributes belong into `roots`.
    """
    limit = _MAX_VALUES_PER_BYTE * (size + 1024)
    finished: dict[int, tuple[int, int]] = {}  # id -> (values when unfolded, depth)
    open_now: set[int] = set()
    pending: list[tuple[object, bool]] = [(root, False) for root in roots]
    while pending:
        value, done = pending.pop()
        key = id(value)
        if done:
            count, depth = 1, 0
            for child in _children(value):
                child_count, child_depth = finished.get(id(child), (1, 0))
                count += child_count
                depth = max(depth, child_depth)
            if count > limit:
                raise PickleError(f"the value unfolds to more than {limit} values")
            # A shared container may have been finished at another depth than it is met at here.
            if depth + 1 > _MAX_DEPTH:
                raise PickleError(f"containers are nested more than {_MAX_DEPTH} deep")
            finished[key] = (count, depth + 1)
            open_now.discard(key)
        elif key in open_now:
            raise PickleError("a container contains itself")
        elif key not in finished and isinstance(value, (list, tuple, dict)):
            open_now.add(key)
            if len(open_now) > _MAX_DEPTH:
                raise PickleError(f"containers are nested more than {_MAX_DEPTH} deep")
            pending.append((value, True))
            for child in _children(value):
                if isinstance(child, (list, tuple, dict)):
                    pending.append((child, False))


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value)


def read_pickle(data: bytes, meaning: Meaning) -> object:
    """The value a pickle stands for; PickleError if it is not one TorchScript writes."""
    return PickleReader(data, meaning).read()

