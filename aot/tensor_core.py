"""Tensor: a strided window on a storage, with PyTorch's names.

Every operator is a method as well as a function; they come from the operator table when first
used. Views share their base's storage, writes in place count up its version.
"""

from __future__ import annotations

import importlib
from typing import Callable, Iterator

import numpy as np

from aot import dtypes as names
from aot.dtypes import Size
from lowering.objects import StorageData, TensorData, contiguous_strides
from runtime import dtypes
from runtime.dtypes import DType


def _call(name: str, *args: object, **kwargs: object) -> object:
    """An operator's result. Operators are imported by the first call."""
    return importlib.import_module("aot.operator_functions").call(name, args, kwargs)


def _graph():
    return importlib.import_module("aot.autograd_graph")


class TensorClass(type):
    """Tensor's class: what the class itself lacks, `Tensor.relu`, is made from the operator table
    and stays with Tensor."""

    def __getattr__(cls, name: str) -> Callable:
        if name.startswith("__") and name not in _DUNDER:
            raise AttributeError(f"type object 'Tensor' has no attribute '{name}'")
        operators = importlib.import_module("aot.operator_functions")
        if name not in Tensor.__dict__:  # the import may just have brought it
            if not operators.exists(name):
                raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}'")
            setattr(Tensor, name, _method(name))
        return Tensor.__dict__[name]

    def __dir__(cls) -> list[str]:
        operators = importlib.import_module("aot.operator_functions")
        return sorted({*type.__dir__(cls), *operators.names()})


class Tensor(metaclass=TensorClass):
    """An n-dimensional array of one dtype on the CPU."""

    __array_priority__ = 1000

    def __init__(self, data: object = None, *more: object) -> None:
        if isinstance(data, TensorData):
            source = data
        else:
            source = importlib.import_module("aot.tensor_creation").legacy(data, *more)._data
        self._setup(source)

    def _setup(self, data: TensorData) -> None:
        self._data = data
        self._wants_grad = False
        self.grad: Tensor | None = None
        self._node = None  # what computed it, for backward()
        self._nr = 0  # which result of the node it is
        self._base: Tensor | None = None  # the tensor that it is a view of
        self._generation = 0  # of a base: how often its history was rewritten in place
        self._hooks: dict[int, Callable] | None = None

    @classmethod
    def _of_data(cls, data: TensorData) -> Tensor:
        self = Tensor.__new__(cls)
        self._setup(data)
        return self

    @classmethod
    def _of_array(cls, array: np.ndarray, row: DType) -> Tensor:
        """A tensor that takes over a contiguous array of the storage type."""
        sizes = array.shape
        storage = StorageData(row, array.reshape(-1))
        return cls._of_data(TensorData(storage, 0, sizes, contiguous_strides(sizes)))

    def _window(self, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        """A view on the same storage; offset and strides in elements."""
        return Tensor._of_data(TensorData(self._data.storage, offset, sizes, strides))

    def _write(self, array: np.ndarray) -> None:
        """Sets all elements from an array in the interpreter's form, broadcast and cast."""
        storage = self._data.storage
        if not storage.array.flags.writeable:
            storage.array = storage.array.copy()
        if any(s == 0 and n > 1 for s, n in zip(self._data.strides, self._data.sizes)):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a "
                "single memory location. Please clone() the tensor before performing the operation."
            )
        with np.errstate(all="ignore"):
            self._data.numpy()[...] = dtypes.to_storage(array, self.row)
        storage.version += 1

    # What it is

    @property
    def row(self) -> DType:
        """The dtype's row in the table of dtypes."""
        return self._data.storage.dtype  # type: ignore[return-value]

    @property
    def dtype(self) -> names.dtype:
        return names.of_row(self._data.dtype)

    @property
    def device(self) -> names.device:
        return names.cpu

    @property
    def layout(self) -> names.layout:
        return names.strided

    @property
    def shape(self) -> Size:
        return Size(self._data.sizes)

    @property
    def ndim(self) -> int:
        return len(self._data.sizes)

    @property
    def itemsize(self) -> int:
        return self.row.bytes

    @property
    def nbytes(self) -> int:
        return self.row.bytes * self._data.numel

    is_cuda = is_sparse = is_quantized = is_mkldnn = is_meta = is_nested = is_xla = is_mps = False
    is_cpu = True
    names = property(lambda self: (None,) * self.ndim)

    def size(self, dim: int | None = None) -> Size | int:
        if dim is None:
            return self.shape
        return self._data.sizes[self._dim(dim)]

    def stride(self, dim: int | None = None) -> tuple[int, ...] | int:
        if dim is None:
            return self._data.strides
        return self._data.strides[self._dim(dim)]

    def _dim(self, dim: int) -> int:
        n = max(self.ndim, 1)
        if not self.ndim and -1 <= dim < 1:
            raise IndexError("dimension specified as 0 but tensor has no dimensions")
        if not -n <= dim < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], "
                             f"but got {dim})")
        return dim % n

    def storage_offset(self) -> int:
        return self._data.offset

    def dim(self) -> int:
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        return self._data.numel

    nelement = numel

    def element_size(self) -> int:
        return self.row.bytes

    def data_ptr(self) -> int:
        return self._data.storage.array.ctypes.data + self._data.offset * self.row.bytes

    def is_contiguous(self, memory_format: object = None) -> bool:
        return self._data.is_contiguous

    def is_floating_point(self) -> bool:
        return self.row.is_float

    def is_complex(self) -> bool:
        return False

    def is_signed(self) -> bool:
        return self.row.kind in "fi"

    def is_inference(self) -> bool:
        return False

    def is_set_to(self, other: Tensor) -> bool:
        a, b = self._data, other._data
        return (a.storage is b.storage and a.offset == b.offset and a.sizes == b.sizes
                and a.strides == b.strides)

    def get_device(self) -> int:
        return -1

    @property
    def T(self) -> Tensor:
        return _call("aten::numpy_T", self)  # type: ignore[return-value]

    @property
    def mT(self) -> Tensor:
        return _call("aten::mT", self)  # type: ignore[return-value]

    @property
    def H(self) -> Tensor:
        return _call("aten::matrix_H", self)  # type: ignore[return-value]

    @property
    def data(self) -> Tensor:
        here = self._data
        if not here.storage.array.flags.writeable:
            here.storage.array = here.storage.array.copy()
        storage = StorageData(here.storage.dtype, here.storage.array, here.storage.name)
        return Tensor._of_data(TensorData(storage, here.offset, here.sizes, here.strides))

    @data.setter
    def data(self, other: Tensor) -> None:
        self._data = other._data

    @property
    def _version(self) -> int:
        return self._data.storage.version

    # Gradients

    @property
    def requires_grad(self) -> bool:
        return self._wants_grad or self.grad_fn is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if requires_grad and not self.row.is_float:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if not requires_grad and self.grad_fn is not None:
            raise RuntimeError("you can only change requires_grad flags of leaf variables. If you "
                               "want to use a computed variable in a subgraph that doesn't require "
                               "differentiation use var_no_grad = var.detach().")
        if self.grad_fn is None:
            self._wants_grad = requires_grad
        return self

    @property
    def grad_fn(self):
        base = self._base
        if base is not None and base._generation != self._generation:
            _graph().renew_view(self)
        return self._node

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        return self._nr

    def detach(self) -> Tensor:
        return _call("aten::detach", self)  # type: ignore[return-value]

    def detach_(self) -> Tensor:
        self._node, self._wants_grad, self._base = None, False, None
        return self

    def retain_grad(self) -> None:
        """Keeps .grad of a tensor that is no leaf."""
        _graph().retain_grad(self)

    def register_hook(self, hook: Callable) -> object:
        """hook(grad) is called when the tensor's gradient is known; what it returns replaces it."""
        return _graph().register_hook(self, hook)

    def backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None,
                 create_graph: bool = False, inputs: object = None) -> None:
        """Adds the gradients of this tensor to the .grad of the leaves it was computed from."""
        importlib.import_module("aot.autograd").backward(
            self, gradient, retain_graph, create_graph, inputs=inputs)

    # Python values

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The elements as a numpy array that shares the storage; bfloat16 has no numpy type."""
        if self.requires_grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use "
                               "tensor.detach().numpy() instead.")
        if self.row is dtypes.bf16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        if not self._data.storage.array.flags.writeable:
            self._data.storage.array = self._data.storage.array.copy()
        return self._data.numpy()

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)  # type: ignore[call-overload]

    def __dlpack__(self, **kwargs: object) -> object:
        return self.numpy().__dlpack__(**kwargs)  # type: ignore[arg-type]

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def _values(self) -> np.ndarray:
        return dtypes.to_compute(self._data.numpy(), self.row)

    def item(self) -> int | float | bool:
        """The Python number of a tensor of one element."""
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self._values().reshape(-1)[0].item()

    def tolist(self) -> object:
        return self._values().tolist()

    def _number(self, kind: type) -> object:
        if self.numel() != 1:
            if kind is bool:
                if self.numel() == 0:
                    raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
                raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        converted = _converted.get("hook")
        if converted is not None:
            converted(self, kind)
        return kind(self.item())

    def __bool__(self) -> bool:
        return self._number(bool)  # type: ignore[return-value]

    def __int__(self) -> int:
        return self._number(int)  # type: ignore[return-value]

    def __float__(self) -> float:
        return self._number(float)  # type: ignore[return-value]

    def __index__(self) -> int:
        if self.row.is_float or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return self._number(int)  # type: ignore[return-value]

    def __complex__(self) -> complex:
        return complex(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._data.sizes[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(_call("aten::unbind", self, 0))  # type: ignore[call-overload]

    def __contains__(self, element: object) -> bool:
        return bool((self == element).any())

    def __hash__(self) -> int:
        return id(self)

    def __reversed__(self) -> Tensor:
        dims = list(range(self.ndim))
        return _call("aten::flip", self, dims) if dims else self  # type: ignore[return-value]

    def __deepcopy__(self, memo: dict) -> Tensor:
        if self.grad_fn is not None:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support "
                               "the deepcopy protocol at the moment.")
        known = memo.get(id(self))
        if known is not None:
            return known
        storages = memo.setdefault("storages", {})
        old = self._data.storage
        if id(old) not in storages:
            storages[id(old)] = StorageData(old.dtype, old.array.copy(), old.name)
        here = self._data
        data = TensorData(storages[id(old)], here.offset, here.sizes, here.strides)
        copy = type(self)._of_data(data)
        copy._wants_grad = self._wants_grad
        copy.grad = None if self.grad is None else self.grad.__deepcopy__(memo)
        memo[id(self)] = copy
        return copy

    def __reduce__(self):
        """Pickles by value (the files of aot.save have PyTorch's own format)."""
        return _restore, (type(self), np.array(self._data.numpy()), self.row, self._wants_grad)

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return importlib.import_module("aot.printing").text_of(self)

    def __format__(self, spec: str) -> str:
        if self.ndim == 0 and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    # Indexing

    def __getitem__(self, index: object) -> Tensor:
        return importlib.import_module("aot.tensor_indexing").get(self, index)

    def __setitem__(self, index: object, value: object) -> None:
        importlib.import_module("aot.tensor_indexing").put(self, index, value)

    # Operators by name

    def __getattr__(self, name: str) -> object:
        return getattr(type(self), name).__get__(self)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *dir(type(self))})


# A tracer is told when a tensor becomes a Python value: _converted["hook"](tensor, kind).
_converted: dict[str, Callable] = {}
_DUNDER = frozenset(f"__{n}__" for n in "and or xor lshift rshift".split())


def _restore(cls: type, array: np.ndarray, row: DType, wants_grad: bool) -> Tensor:
    out = cls._of_array(array, row)  # type: ignore[attr-defined]
    out._wants_grad = wants_grad
    return out


def _method(name: str) -> Callable:
    full = f"aten::{name}"

    def method(self, *args, **kwargs):
        return _call(full, self, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    return method


def _operator(name: str, swapped: bool = False) -> Callable:
    """A Python operator; NotImplemented for what is neither a tensor nor a number."""
    full = f"aten::{name}"

    def method(self, other):
        if not isinstance(other, (Tensor, int, float, bool, np.generic)):
            return NotImplemented
        return _call(full, other, self) if swapped else _call(full, self, other)

    return method


def _compare(name: str, otherwise: bool | None) -> Callable:
    full = f"aten::{name}"

    def method(self, other):
        if not isinstance(other, (Tensor, int, float, bool, np.generic)):
            return NotImplemented if otherwise is None else otherwise
        return _call(full, self, other)

    return method


def _unary(name: str) -> Callable:
    return lambda self: _call(f"aten::{name}", self)


def _rdiv(self, other):
    if not isinstance(other, (int, float, bool, np.generic)):
        return NotImplemented
    return _call("aten::mul", _call("aten::reciprocal", self), other)


_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide",
           "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "__and__", "or": "__or__",
           "xor": "__xor__", "lshift": "__lshift__", "rshift": "__rshift__"}
for _python, _aten in _BINARY.items():
    setattr(Tensor, f"__{_python}__", _operator(_aten))
    _in_place = f"__i{_python}__" if _aten.startswith("__") else f"{_aten}_"
    if _python not in ("matmul",):
        setattr(Tensor, f"__i{_python}__", _operator(_in_place))
for _python, _aten in {"add": "add", "mul": "mul"}.items():
    setattr(Tensor, f"__r{_python}__", _operator(_aten))
for _python in ("pow", "floordiv", "mod", "matmul", "and", "or", "xor", "lshift", "rshift"):
    setattr(Tensor, f"__r{_python}__", _operator(_BINARY[_python], swapped=True))
Tensor.__rsub__ = _operator("rsub")  # type: ignore[attr-defined]
Tensor.__rtruediv__ = _rdiv  # type: ignore[attr-defined]
for _python, _otherwise in {"lt": None, "le": None, "gt": None, "ge": None, "eq": False,
                            "ne": True}.items():
    setattr(Tensor, f"__{_python}__", _compare(_python, _otherwise))
Tensor.__neg__ = _unary("neg")  # type: ignore[attr-defined]
Tensor.__pos__ = _unary("positive")  # type: ignore[attr-defined]
Tensor.__abs__ = _unary("abs")  # type: ignore[attr-defined]
Tensor.__invert__ = _unary("bitwise_not")  # type: ignore[attr-defined]
