"""Methods and functions whose Python form differs from their operator's."""

from __future__ import annotations

from typing import Any

import numpy as np

from aot import dtypes as names
from aot.dispatch import call
from aot.tensor_core import Tensor
from aot.tensor_creation import of_data

_TITLES = {"float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16",
           "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
           "bool": "Bool"}


def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False,
         out: Tensor | None = None, dtype: Any = None) -> Tensor:
    """The p-norm over dims, all of them by default; 'fro' is 2. RuntimeError for 'nuc'."""
    if p in ("fro", None):
        p = 2.0
    if isinstance(p, str):
        raise RuntimeError(f"norm: order {p!r} needs singular values, which are not supported")
    dims = [dim] if isinstance(dim, int) else None if dim is None else list(dim)
    kwargs = {} if out is None else {"out": out}
    return call("aten::linalg_vector_norm", (input, p, dims, keepdim),
                {"dtype": dtype, **kwargs})  # type: ignore[return-value]


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False,
           return_counts: bool = False, dim: int | None = None) -> Any:
    """The distinct elements, or slices along dim, in ascending order."""
    if dim is None:
        found = call("aten::_unique2", (input, sorted, return_inverse, return_counts))
    else:
        found = call("aten::unique_dim", (input, dim, sorted, return_inverse, return_counts))
    values, inverse, counts = found  # type: ignore[misc]
    out = [values]
    if return_inverse:
        out.append(inverse)
    if return_counts:
        out.append(counts)
    return out[0] if len(out) == 1 else tuple(out)


def nonzero(input: Tensor, *, as_tuple: bool = False, out: Tensor | None = None) -> Any:
    """The positions of elements that are not zero, a row each, or a tensor a dim."""
    if as_tuple:
        return tuple(call("aten::nonzero_numpy", (input,)))  # type: ignore[call-overload]
    return call("aten::nonzero", (input,), {} if out is None else {"out": out})


def type_of(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """x.type(): the name of the tensor's type; x.type(dtype): converted."""
    if dtype is None:
        return f"torch.{_TITLES[self.dtype.name]}Tensor"
    if isinstance(dtype, str):
        title = dtype.rpartition(".")[2].removesuffix("Tensor")
        dtype = getattr(names, next(k for k, v in _TITLES.items() if v == title))
    return self.to(dtype)


def new_tensor(self: Tensor, data: Any, *, dtype: Any = None, device: Any = None,
               requires_grad: bool = False) -> Tensor:
    """A tensor of data, of this one's dtype unless another is given."""
    out = of_data(data, self.row if dtype is None else names.as_row(dtype))
    return out.requires_grad_() if requires_grad else out


def new(self: Tensor, *size: Any) -> Tensor:
    return call("aten::new_empty", (self, list(size)))  # type: ignore[return-value]


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple:
    """Parts of one size along dim, or of the sizes given."""
    if isinstance(split_size_or_sections, int):
        return call("aten::split", (tensor, split_size_or_sections, dim))  # type: ignore
    return call("aten::split_with_sizes",
                (tensor, list(split_size_or_sections), dim))  # type: ignore[return-value]


def map_(self: Tensor, tensor: Tensor, function: Any) -> Tensor:
    """Each element becomes function(element, other's element)."""
    pairs = zip(self._values().reshape(-1).tolist(), tensor._values().reshape(-1).tolist())
    self._write(np.array([function(a, b) for a, b in pairs]).reshape(self._data.sizes))
    return self


FUNCTIONS = {"norm": norm, "unique": unique, "nonzero": nonzero, "split": split}
METHODS = {**FUNCTIONS, "type": type_of, "new_tensor": new_tensor, "new": new, "map_": map_}
for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
