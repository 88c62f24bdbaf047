"""aot.linalg: matrices and vectors. Operators are here by their names without `linalg_`; what is
made of them is written here."""

from __future__ import annotations

import math
from collections.abc import Sequence

import aot as torch
from aot.linalg_special import LinAlgError
from aot.operator_functions import function, names
from aot.tensor_core import Tensor

__all__ = ["LinAlgError"]


def matrix_power(A: Tensor, n: int) -> Tensor:  # noqa: N803  PyTorch's name
    """A times itself n times; its inverse for n below 0."""
    if n < 0:
        return matrix_power(torch.linalg_inv(A), -n)
    result = torch.eye(A.size(-1), dtype=A.dtype).expand(A.shape)
    while n:
        result, A, n = (result @ A if n % 2 else result), A @ A, n // 2
    return result


def pinv(A: Tensor, *, atol: float | None = None, rtol: float | None = None,  # noqa: N803
         hermitian: bool = False) -> Tensor:
    """The pseudo-inverse; singular values up to max(atol, rtol times the largest) are zero."""
    u, s, vh = torch.linalg_svd(A, False)
    kept = s > _limit(A, s, atol, rtol)
    inverse = torch.where(kept, 1 / torch.where(kept, s, torch.ones_like(s)), torch.zeros_like(s))
    return vh.mT @ (inverse.unsqueeze(-1) * u.mT)


def matrix_rank(A: Tensor, *, atol: float | None = None, rtol: float | None = None,  # noqa: N803
                hermitian: bool = False) -> Tensor:
    """How many singular values are above max(atol, rtol times the largest)."""
    s = torch.linalg_svdvals(A)
    return (s > _limit(A, s, atol, rtol)).sum(-1)


def _limit(A: Tensor, s: Tensor, atol: float | None, rtol: float | None) -> Tensor:  # noqa: N803
    if rtol is None:
        rtol = max(A.shape[-2:]) * torch.finfo(A.dtype).eps if not atol else 0.0
    return torch.clamp(s.amax(-1, keepdim=True) * rtol, min=atol or 0.0)


def matrix_norm(A: Tensor, ord: object = "fro", dim: Sequence[int] = (-2, -1),  # noqa: N803
                keepdim: bool = False, *, dtype: object = None) -> Tensor:
    """The norm of matrices in two dims; 2, -2 and 'nuc' are of their singular values."""
    if ord not in (2, -2, "nuc"):
        return torch.linalg_matrix_norm(A, ord, list(dim), keepdim, dtype=dtype)
    matrices = (A if dtype is None else A.to(dtype)).movedim(tuple(dim), (-2, -1))
    s = torch.linalg_svdvals(matrices)
    found = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
    if keepdim:
        for d in sorted(d % A.ndim for d in dim):
            found = found.unsqueeze(d)
    return found


def norm(A: Tensor, ord: object = None, dim: object = None, keepdim: bool = False,  # noqa: N803
         *, dtype: object = None) -> Tensor:
    """Of a matrix (two dims), of vectors along a dim, or of all elements."""
    if ord in (2, -2, "nuc") and (isinstance(dim, (tuple, list)) and len(dim) == 2
                                  or dim is None and A.ndim == 2):
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return torch.linalg_norm(A, ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: object = None) -> Tensor:  # noqa: N803
    """How much larger relative errors of A x = b get: |A| |A^-1|, in the norm p (None: 2)."""
    if p in (None, 2, -2):
        s = torch.linalg_svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(A, p) * matrix_norm(torch.linalg_inv(A), p)


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True,  # noqa: N803
                     unitriangular: bool = False) -> Tensor:
    """X with A X = B, or X A = B with left=False; only one triangle of A is read."""
    half = torch.triu(A, unitriangular) if upper else torch.tril(A, -unitriangular)
    if unitriangular:
        half = half + torch.eye(A.size(-1), dtype=A.dtype)
    if left:
        return torch.linalg_solve(half, B)
    return torch.linalg_solve(half.mT, B.mT).mT


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:  # noqa: N803
    """The inverse of A as a map from its last dims to its first `ind` ones."""
    rows, columns = A.shape[:ind], A.shape[ind:]
    if math.prod(rows) != math.prod(columns):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == "
                           f"prod(self.shape[:ind]), but got {math.prod(columns)} != "
                           f"{math.prod(rows)}")
    return torch.linalg_inv(A.reshape(math.prod(rows), -1)).reshape([*columns, *rows])


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:  # noqa: N803
    """X with tensordot(A, X) = B."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))  # noqa: N806
    shape = A.shape[B.ndim:]
    return torch.linalg_solve(A.reshape(-1, math.prod(shape)), B.reshape(-1)).reshape(list(shape))


def matrix_exp(A: Tensor) -> Tensor:  # noqa: N803
    """exp of matrices: a Taylor series of A / 2^k, squared k times."""
    largest = float(A.detach().abs().sum(-1).max()) if A.numel() else 0.0
    halvings = max(0, math.ceil(math.log2(largest)) + 2) if largest > 0 else 0
    A = A / 2**halvings  # noqa: N806
    term = result = torch.eye(A.size(-1), dtype=A.dtype).expand(A.shape)
    for k in range(1, 19):
        term = term @ A / k
        result = result + term
    for _ in range(halvings):
        result = result @ result
    return result


def __getattr__(name: str) -> object:
    value = None if name.startswith("_") else function(f"linalg_{name}")
    if value is None:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    own = (n.removeprefix("linalg_") for n in names() if n.startswith("linalg_"))
    return sorted({*globals(), *own})
