"""Functions that are no operators: questions about dtypes, threads and modes."""

from __future__ import annotations

from typing import Sequence

from aot import dtypes as names
from aot.dispatch import call
from aot.tensor_core import Tensor
from lowering import build as B
from lowering.tensor_ir import Value


def _assert(condition: object, message: object) -> None:
    """AssertionError with the message unless the condition holds."""
    assert condition, message


def is_tensor(x: object) -> bool:
    return isinstance(x, Tensor)


def is_storage(x: object) -> bool:
    return False


def is_floating_point(input: Tensor) -> bool:
    return input.is_floating_point()


def numel(input: Tensor) -> int:
    return input.numel()


def typename(x: object) -> str:
    if isinstance(x, Tensor):
        return x.type()  # type: ignore[return-value]
    module = type(x).__module__
    if module.partition(".")[0] == "aot":
        module = "torch" + module[3:]
    return type(x).__name__ if module == "builtins" else f"{module}.{type(x).__name__}"


def is_nonzero(input: Tensor) -> bool:
    return bool(input)


def result_type(a: object, b: object) -> names.dtype:
    """The dtype of an operator on two tensors or numbers."""
    def operand(x):
        return Value(x._data.sizes, x.row) if isinstance(x, Tensor) else x

    return names.of_row(B.result_type(operand(a), operand(b)))


def promote_types(a: names.dtype, b: names.dtype) -> names.dtype:
    return names.of_row(names.rows.promote(names.as_row(a), names.as_row(b)))


def can_cast(a: names.dtype, b: names.dtype) -> bool:
    """Whether values of `a` may be written into a tensor of `b`."""
    return B.category(names.as_row(a)) <= B.category(names.as_row(b))


def broadcast_shapes(*shapes: Sequence[int]) -> names.Size:
    fixed = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return names.Size(B.broadcast_shape(*fixed))


def broadcast_tensors(*tensors: Tensor) -> list[Tensor]:
    return call("aten::broadcast_tensors", (_flat(tensors),))  # type: ignore[return-value]


def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple:
    return tuple(call("aten::meshgrid", (_flat(tensors),), {"indexing": indexing}))  # type: ignore


def einsum(equation: str, *operands: Tensor) -> Tensor:
    return call("aten::einsum", (equation, _flat(operands)))  # type: ignore[return-value]


def block_diag(*tensors: Tensor) -> Tensor:
    return call("aten::block_diag", (_flat(tensors),))  # type: ignore[return-value]


def cartesian_prod(*tensors: Tensor) -> Tensor:
    return call("aten::cartesian_prod", (_flat(tensors),))  # type: ignore[return-value]


def _flat(tensors: tuple) -> list:
    one = len(tensors) == 1 and isinstance(tensors[0], (list, tuple))
    return list(tensors[0] if one else tensors)


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence = 2) -> Tensor:
    """Sums products over `dims` last dims of a and first of b, or over the two lists of dims."""
    if isinstance(dims, int):
        first, second = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        first, second = list(dims[0]), list(dims[1])
    return call("aten::tensordot", (a, b, first, second))  # type: ignore[return-value]


def is_inference(input: Tensor) -> bool:
    return False


def get_num_threads() -> int:
    return 1


def set_num_threads(count: int) -> None:
    """Eager operators run in numpy, which has its own threads."""


