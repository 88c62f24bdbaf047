"""Factorisations of matrices: Cholesky, QR, eigenvalues, singular values; with their derivatives"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aot import autograd_graph
from aot.dispatch import SPECIAL, new_tensor
from aot.return_types import return_type
from aot.tensor_core import Tensor

Array = np.ndarray


class LinAlgError(RuntimeError):
    """A matrix that has no such factorisation."""


def _t(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def _square(t: Tensor, name: str) -> Array:
    sizes = t._data.sizes
    if len(sizes) < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if sizes[-1] != sizes[-2]:
        raise RuntimeError(f"linalg.{name}: A must be batches of square matrices, but they are "
                           f"{sizes[-2]} by {sizes[-1]} matrices")
    return t._values()


def _results(name: str, fields: str, t: Tensor, arrays: Sequence[Array], back: Callable) -> object:
    """Tensors of the arrays, whose gradients (arrays or None) `back` turns into that of t."""
    outs = [new_tensor(np.array(a, order="C"), t.row) for a in arrays]

    def step(grads: list) -> list:
        upper = [None if g is None else g._values() for g in grads]
        return [new_tensor(back(*upper, *[None] * (len(arrays) - len(upper))), t.row)]

    edge = autograd_graph.edge_of(t)
    if autograd_graph.is_grad_enabled() and edge is not None:
        title = "".join(part.capitalize() for part in f"linalg_{name}".split("_"))
        node = autograd_graph.FunctionNode(f"{title}Backward0", [edge], step, len(outs))
        for k, out in enumerate(outs):
            out._node, out._nr = node, k
    if len(outs) == 1:
        return outs[0]
    declared = ", ".join(f"Tensor {field}" for field in fields.split())
    made = return_type(f"aten::linalg_{name}", f"linalg_{name}(Tensor A) -> ({declared})")
    assert made is not None
    return made(outs)


def _zero(grad: Array | None, like: Array) -> Array:
    return np.zeros_like(like) if grad is None else grad


def _cholesky(t: Tensor, *, upper: bool = False) -> object:
    """L with A = L L^T; only the lower half of A is read."""
    a = _square(t, "cholesky")
    half = np.tril(a)
    a = half + _t(np.tril(a, -1))
    try:
        low = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        orders = range(1, a.shape[-1] + 1)
        order = next((k for k in orders if (np.linalg.det(a[..., :k, :k]) <= 0).any()), 1)
        raise LinAlgError(
            "linalg.cholesky: The factorization could not be completed because the input is not "
            f"positive-definite (the leading minor of order {order} is not positive-definite)."
        ) from None

    def back(grad: Array) -> Array:
        """L^-T phi(L^T G) L^-1, made symmetric (Murray 2016)."""
        grad = _t(grad) if upper else grad
        inner = np.tril(_t(low) @ grad)
        inner[..., range(inner.shape[-1]), range(inner.shape[-1])] *= 0.5
        inverse = np.linalg.inv(low)
        found = _t(inverse) @ inner @ inverse
        return (found + _t(found)) / 2

    return _results("cholesky", "L", t, [_t(low) if upper else low], back)


def _symmetric(t: Tensor, name: str, half: str) -> tuple[Array, Array]:
    a = _square(t, name)
    return np.linalg.eigh(a, UPLO=half)


def _eigh(t: Tensor, UPLO: str = "L") -> object:  # noqa: N803  the schema's name
    """Eigenvalues in ascending order, and eigenvectors as columns."""
    values, vectors = _symmetric(t, "eigh", UPLO)

    def back(by_values: Array | None, by_vectors: Array | None) -> Array:
        inner = np.zeros_like(vectors)
        if by_vectors is not None:
            gaps = values[..., None, :] - values[..., :, None]
            with np.errstate(divide="ignore"):
                inner = _t(vectors) @ by_vectors * np.where(gaps == 0, 0, 1 / gaps)
        if by_values is not None:
            inner = inner + by_values[..., None] * np.eye(values.shape[-1], dtype=values.dtype)
        return vectors @ inner @ _t(vectors)

    return _results("eigh", "eigenvalues eigenvectors", t, [values, vectors], back)


def _eigvalsh(t: Tensor, UPLO: str = "L") -> object:  # noqa: N803
    values, vectors = _symmetric(t, "eigvalsh", UPLO)
    return _results("eigvalsh", "eigenvalues", t, [values],
                    lambda grad: vectors * grad[..., None, :] @ _t(vectors))


def _svd_gradient(u: Array, s: Array, vh: Array, gu: Array | None, gs: Array | None,
                  gvh: Array | None) -> Array:
    """The gradient of A = U S V^T (Townsend 2016), for the first min(m, n) vectors."""
    k, v = s.shape[-1], _t(vh)
    eye = np.eye(k, dtype=s.dtype)
    squares = (s**2)[..., None, :] - (s**2)[..., :, None]
    with np.errstate(divide="ignore"):
        gaps = np.where(squares == 0, 0, 1 / squares)
    inner = _zero(gs, s)[..., None] * eye
    gu, gv = _zero(gu, u), _zero(None if gvh is None else _t(gvh), v)
    by_u, by_v = _t(u) @ gu, _t(v) @ gv
    inner = inner + (gaps * (by_u - _t(by_u))) * s[..., None, :]
    inner = inner + s[..., :, None] * (gaps * (by_v - _t(by_v)))
    found = u @ inner @ vh
    if u.shape[-2] > k:
        found = found + (gu - u @ by_u) / s[..., None, :] @ vh
    if v.shape[-2] > k:
        found = found + u / s[..., None, :] @ _t(gv - v @ by_v)
    return found


def _svd(t: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> object:
    u, s, vh = np.linalg.svd(t._values(), full_matrices=full_matrices)
    k = s.shape[-1]

    def back(gu: Array | None, gs: Array | None, gvh: Array | None) -> Array:
        return _svd_gradient(u[..., :k], s, vh[..., :k, :], gu if gu is None else gu[..., :k], gs,
                             gvh if gvh is None else gvh[..., :k, :])

    return _results("svd", "U S Vh", t, [u, s, vh], back)


def _svdvals(t: Tensor, *, driver: str | None = None) -> object:
    u, s, vh = np.linalg.svd(t._values(), full_matrices=False)
    return _results("svdvals", "S", t, [s], lambda grad: u * grad[..., None, :] @ vh)


def _qr(t: Tensor, mode: str = "reduced") -> object:
    a = t._values()
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' "
                           "(default), 'r', or 'complete'")
    if mode == "r":
        r = np.linalg.qr(a, "r")
        q = np.zeros(0, a.dtype)
    else:
        q, r = np.linalg.qr(a, mode)

    def back(gq: Array | None, gr: Array | None) -> Array:
        """(Gq + Q copyltu(M)) R^-T, M = R Gr^T - Gq^T Q (Liao et al. 2019)."""
        if mode != "reduced" or a.shape[-2] < a.shape[-1]:
            raise RuntimeError(f"the derivative of qr is not there for mode '{mode}' and wide "
                               "matrices")
        gq, gr = _zero(gq, q), _zero(gr, r)
        inner = r @ _t(gr) - _t(gq) @ q
        inner = np.tril(inner) + _t(np.tril(inner, -1))
        return _t(np.linalg.solve(r, _t(gq + q @ inner)))

    return _results("qr", "Q R", t, [q, r], back)


def _slogdet(t: Tensor) -> object:
    a = _square(t, "slogdet")
    sign, logarithm = np.linalg.slogdet(a)
    return _results("slogdet", "sign logabsdet", t, [np.asarray(sign, a.dtype),
                                                     np.asarray(logarithm, a.dtype)],
                    lambda gs, gl: _zero(gl, logarithm)[..., None, None] * _t(np.linalg.inv(a)))


SPECIAL.update({
    "aten::linalg_cholesky": _cholesky, "aten::linalg_eigh": _eigh,
    "aten::linalg_eigvalsh": _eigvalsh, "aten::linalg_svd": _svd,
    "aten::linalg_svdvals": _svdvals, "aten::linalg_qr": _qr, "aten::linalg_slogdet": _slogdet,
})
