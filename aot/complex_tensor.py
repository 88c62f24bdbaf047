"""Complex tensors: pairs of real ones, in the layout of view_as_real

What is done to a complex tensor is done to its real and imaginary parts, gradients included: the
gradient of a real number by z is that by its real part plus j times that by its imaginary part.
Results lie in memory of their own; only `real`, `imag` and view_as_real are windows.
"""

from __future__ import annotations

import builtins
import cmath
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from aot import dtypes as names
from aot.dispatch import SPECIAL, NotReal, call
from aot.printing import complex_text
from aot.tensor_core import Tensor
from lowering.objects import TensorData
from runtime import dtypes

_DTYPES = {dtypes.f32: names.complex64, dtypes.f64: names.complex128}
_ROWS = {"complex64": dtypes.f32, "complex128": dtypes.f64}
Part = Any  # a real Tensor or a number


class ComplexTensor:
    """A tensor of complex64 or complex128; `pairs` is real, with a last dim of 2."""

    def __init__(self, pairs: Tensor, name: str = "") -> None:
        self._pairs, self._made_by = pairs, name

    @classmethod
    def from_numpy(cls, array: np.ndarray) -> ComplexTensor:
        """The complex numbers of an array; its memory, where it is contiguous."""
        pairs = np.ascontiguousarray(array)[..., None].view(array.real.dtype)
        return cls(Tensor._of_data(TensorData.from_numpy(pairs)))

    # What it is

    @property
    def dtype(self) -> names.dtype:
        return _DTYPES[self._pairs.row]

    @property
    def shape(self) -> names.Size:
        return names.Size(self._pairs.shape[:-1])

    @property
    def ndim(self) -> int:
        return self._pairs.ndim - 1

    @property
    def device(self) -> names.device:
        return self._pairs.device

    @property
    def real(self) -> Tensor:
        return self._pairs.select(-1, 0)

    @property
    def imag(self) -> Tensor:
        return self._pairs.select(-1, 1)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return math.prod(self.shape)

    def is_complex(self) -> bool:
        return True

    def is_floating_point(self) -> bool:
        return False

    def numpy(self) -> np.ndarray:
        """The same memory, where it is contiguous, as a numpy array of complex numbers."""
        array = self._pairs.contiguous().numpy()
        return array.view(np.result_type(array.dtype, np.complex64))[..., 0]

    def tolist(self) -> Any:
        return self.numpy_of_values().tolist()

    def numpy_of_values(self) -> np.ndarray:
        """A copy as a numpy array of complex numbers."""
        values = self._pairs._values()
        out = np.empty(values.shape[:-1], np.result_type(values.dtype, np.complex64))
        out.real, out.imag = values[..., 0], values[..., 1]
        return out

    def item(self) -> builtins.complex:
        """The number of a tensor of one element."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to "
                               "Scalar")
        return self.numpy_of_values().reshape(-1)[0].item()

    __complex__ = item

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return complex_text(self)

    # Gradients

    @property
    def requires_grad(self) -> bool:
        return self._pairs.requires_grad

    @property
    def grad_fn(self) -> object:
        return self._pairs.grad_fn

    @property
    def grad(self) -> ComplexTensor | None:
        return None if self._pairs.grad is None else ComplexTensor(self._pairs.grad)

    def requires_grad_(self, requires_grad: bool = True) -> ComplexTensor:
        self._pairs.requires_grad_(requires_grad)
        return self

    def backward(self, gradient: ComplexTensor | None = None) -> None:
        if gradient is None:
            raise RuntimeError("grad can be implicitly created only for real scalar outputs but "
                               f"got {self.dtype}")
        self._pairs.backward(gradient._pairs)

    def detach(self) -> ComplexTensor:
        return ComplexTensor(self._pairs.detach())

    # Operators

    def __getitem__(self, index: object) -> ComplexTensor:
        return _joined(self.real[index], self.imag[index], "select")

    def __setitem__(self, index: object, value: object) -> None:
        real, imaginary = _parts(value)
        self.real[index] = real
        self.imag[index] = imaginary

    def __getattr__(self, name: str) -> Callable:
        """A method: an operator that complex tensors know."""
        if name.startswith("_") or name not in _OPERATORS and name not in _PARTWISE:
            raise AttributeError(f"complex tensors have no attribute {name!r} here")
        return lambda *args, **kwargs: operate(f"aten::{name}", (self, *args), kwargs)


def _binary(name: str, turned: bool = False) -> Callable:
    def method(self: ComplexTensor, other: object) -> Any:
        return operate(f"aten::{name}", (other, self) if turned else (self, other), {})

    return method


for _symbol, _name in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div"),
                       ("matmul", "matmul"), ("pow", "pow"), ("eq", "eq"), ("ne", "ne"),
                       ("lt", "lt"), ("le", "le"), ("gt", "gt"), ("ge", "ge")):
    setattr(ComplexTensor, f"__{_symbol}__", _binary(_name))
    if len(_symbol) > 2:
        setattr(ComplexTensor, f"__r{_symbol}__", _binary(_name, turned=True))
ComplexTensor.__neg__ = lambda self: operate("aten::neg", (self,), {})  # type: ignore[attr-defined]
ComplexTensor.__abs__ = lambda self: operate("aten::abs", (self,), {})  # type: ignore[attr-defined]
ComplexTensor.__hash__ = object.__hash__  # type: ignore[method-assign]


# Making


def _joined(real: Part, imaginary: Part, name: str = "") -> ComplexTensor:
    if not isinstance(real, Tensor):
        real = imaginary * 0 + real
    if not isinstance(imaginary, Tensor):
        imaginary = real * 0 + imaginary
    if real.row is not imaginary.row:
        both = dtypes.f64 if dtypes.f64 in (real.row, imaginary.row) else dtypes.f32
        real, imaginary = real.to(names.of_row(both)), imaginary.to(names.of_row(both))
    return ComplexTensor(call("aten::stack", ([real, imaginary], -1)), name)  # type: ignore


def complex(real: Tensor, imag: Tensor) -> ComplexTensor:  # noqa: A001  PyTorch's name
    """real + j imag."""
    if real.row is not imag.row or real.row not in _DTYPES:
        raise RuntimeError("Expected both inputs to be Float or Double tensors but got "
                           f"{real.dtype} and {imag.dtype}")
    return _joined(real, imag, "complex")


def polar(abs: Tensor, angle: Tensor) -> ComplexTensor:  # noqa: A002  PyTorch's names
    """abs (cos angle + j sin angle)."""
    return _joined(abs * angle.cos(), abs * angle.sin(), "polar")


def view_as_complex(x: Tensor) -> ComplexTensor:
    """A real tensor with a last dim of 2 as a complex one, on the same memory."""
    if x.ndim == 0 or x.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    return ComplexTensor(x, "view_as_complex")


def view_as_real(z: ComplexTensor) -> Tensor:
    """The pairs of a complex tensor, on the same memory."""
    if not isinstance(z, ComplexTensor):
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return _renamed(z._pairs.view(list(z._pairs.shape)), "ViewAsRealBackward0")


def is_complex(x: object) -> bool:
    return isinstance(x, ComplexTensor)


def of_numbers(data: object, dtype: names.dtype | None = None) -> ComplexTensor:
    """A tensor of nested sequences of numbers."""
    array = np.array(data, np.complex128)
    row = _ROWS[dtype.name] if dtype is not None else names._default.row
    pairs = np.stack([array.real, array.imag], -1).astype(row.storage)
    return ComplexTensor(Tensor._of_array(np.ascontiguousarray(pairs), row))


# Operators


def _parts(x: object) -> tuple[Part, Part]:
    if isinstance(x, ComplexTensor):
        return x.real, x.imag
    if type(x).__name__ == "complex":
        return x.real, x.imag  # type: ignore[attr-defined]
    return x, 0.0


def _scaled(x: object, by: Any) -> tuple[Part, Part]:
    real, imaginary = _parts(x)
    return (real, imaginary) if by == 1 else (real * by, imaginary * by)


def _add(a: object, b: object, *, alpha: Any = 1) -> ComplexTensor:
    (ar, ai), (br, bi) = _parts(a), _scaled(b, alpha)
    return _joined(ar + br, ai + bi, "add")


def _sub(a: object, b: object, *, alpha: Any = 1) -> ComplexTensor:
    (ar, ai), (br, bi) = _parts(a), _scaled(b, alpha)
    return _joined(ar - br, ai - bi, "sub")


def _product(multiply: Callable, name: str) -> Callable:
    def operator(a: object, b: object) -> ComplexTensor:
        (ar, ai), (br, bi) = _parts(a), _parts(b)
        if not isinstance(a, ComplexTensor) and isinstance(a, Tensor):
            return _joined(multiply(ar, br), multiply(ar, bi), name)
        if not isinstance(b, ComplexTensor) and isinstance(b, Tensor):
            return _joined(multiply(ar, br), multiply(ai, br), name)
        return _joined(multiply(ar, br) - multiply(ai, bi), multiply(ar, bi) + multiply(ai, br),
                       name)

    return operator


def _div(a: object, b: object) -> ComplexTensor:
    (ar, ai), (br, bi) = _parts(a), _parts(b)
    if type(b).__name__ in ("int", "float", "bool", "Tensor"):
        return _joined(ar / br, ai / br, "div")
    size = br * br + bi * bi
    return _joined((ar * br + ai * bi) / size, (ai * br - ar * bi) / size, "div")


def _renamed(t: Any, name: str) -> Tensor:
    """A result whose node has the name of the operator that it stands for."""
    if t.grad_fn is not None:
        t.grad_fn._name = name
    return t


def _abs(z: ComplexTensor) -> Tensor:
    return _renamed(call("aten::hypot", (z.real, z.imag)), "AbsBackward0")


def _angle(z: ComplexTensor) -> Tensor:
    return _renamed(call("aten::atan2", (z.imag, z.real)), "AngleBackward0")


def _exp(z: ComplexTensor) -> ComplexTensor:
    size = z.real.exp()
    return _joined(size * z.imag.cos(), size * z.imag.sin(), "exp")


def _log(z: ComplexTensor) -> ComplexTensor:
    return _joined(_abs(z).log(), _angle(z), "log")


def _sqrt(z: ComplexTensor) -> ComplexTensor:
    root, half = _abs(z).sqrt(), _angle(z) / 2
    return _joined(root * half.cos(), root * half.sin(), "sqrt")


def _pow(z: object, n: object) -> ComplexTensor:
    if isinstance(n, int) and 0 < n <= 8 and isinstance(z, ComplexTensor):
        out = z
        for _ in range(n - 1):
            out = _OPERATORS["mul"](out, z)
        out._made_by = "pow"
        return out
    logarithm = _log(z) if isinstance(z, ComplexTensor) else z.log() if isinstance(  # type: ignore
        z, Tensor) else cmath.log(z)  # type: ignore[arg-type]
    return _exp(_OPERATORS["mul"](n, logarithm))


def _equal(a: object, b: object) -> Tensor:
    (ar, ai), (br, bi) = _parts(a), _parts(b)
    return call("aten::logical_and", (ar == br, ai == bi))  # type: ignore[return-value]


def _to(z: ComplexTensor, *args: object, **kwargs: object) -> object:
    wanted = next((x for x in (*args, *kwargs.values()) if isinstance(x, (int, names.dtype))), None)
    code = getattr(wanted, "code", wanted)
    if code in (9, 10):
        row = names.float32 if code == 9 else names.float64
        return ComplexTensor(z._pairs.to(row), "to")
    return z if wanted is None else z.real.to(names.of_row(dtypes.dtype_of_code(code)))


_OPERATORS: dict[str, Callable] = {
    "add": _add, "sub": _sub, "mul": _product(lambda a, b: a * b, "mul"), "div": _div,
    "true_divide": _div, "matmul": _product(lambda a, b: a @ b, "mm"),
    "mm": _product(lambda a, b: a @ b, "mm"), "bmm": _product(lambda a, b: a @ b, "bmm"),
    "rsub": lambda a, b: _sub(b, a), "neg": lambda z: ComplexTensor(-z._pairs, "neg"),
    "conj": lambda z: _joined(z.real, -z.imag, "conj"), "abs": _abs, "angle": _angle,
    "real": lambda z: z.real, "imag": lambda z: z.imag, "exp": _exp, "log": _log, "sqrt": _sqrt,
    "pow": _pow, "square": lambda z: _pow(z, 2), "reciprocal": lambda z: _div(1.0, z),
    "eq": _equal, "ne": lambda a, b: _equal(a, b).logical_not(), "to": _to,
    "view_as_real": view_as_real, "is_complex": is_complex,
    "resolve_conj": lambda z: z, "conj_physical": lambda z: _joined(z.real, -z.imag, "conj"),
}
# What is done to both parts alike.
_PARTWISE = frozenset(
    """reshape view permute transpose t unsqueeze squeeze flatten select slice narrow expand repeat
    roll flip index_select gather cat stack contiguous clone split chunk unbind sum mean cumsum diag
    diagonal tril triu swapaxes movedim index zeros_like""".split())


def operate(name: str, args: tuple, kwargs: dict) -> Any:
    """The result of an operator of whose arguments one is complex. NotImplementedError for
    operators not known here."""
    short = name.partition("::")[2]
    operator = _OPERATORS.get(short)
    if operator is not None:
        return operator(*args, **kwargs)
    if short not in _PARTWISE:
        raise NotImplementedError(f'"{short}" not implemented for complex tensors')
    halves = [call(name, tuple(_half(x, k) for x in args),
                   {key: _half(x, k) for key, x in kwargs.items()}) for k in (0, 1)]
    if isinstance(halves[0], tuple):
        return tuple(_joined(re, im, short) for re, im in zip(*halves))
    return _joined(*halves, short)  # type: ignore[arg-type]


def _half(x: object, k: int) -> object:
    if isinstance(x, (list, tuple)) and any(isinstance(v, ComplexTensor) for v in x):
        return [_half(v, k) for v in x]
    return _parts(x)[k] if isinstance(x, ComplexTensor) else x


SPECIAL.update({"aten::complex": complex, "aten::view_as_complex": view_as_complex})
NotReal.types, NotReal.operate = (ComplexTensor,), staticmethod(operate)
