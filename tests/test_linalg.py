"""aot.linalg and aot.special: results and gradients are PyTorch's."""

from __future__ import annotations

import pytest

import aot
from tests.conftest import import_torch
from tests.test_nn_utils import both, same

torch = import_torch()


def positive(t, n: int = 3):
    x = t.randn(2, n, n, dtype=t.float64)
    return x @ x.mT + t.eye(n, dtype=t.float64)




CASES = {
    "cholesky": lambda t, a: t.linalg.cholesky(a),
    "cholesky upper": lambda t, a: t.linalg.cholesky(a, upper=True),
    "eigh values": lambda t, a: t.linalg.eigh(a).eigenvalues,
    "eigh vectors": lambda t, a: t.linalg.eigh(a).eigenvectors.abs(),
    "eigh": lambda t, a: (lambda r: r.eigenvectors * r.eigenvalues.unsqueeze(-2).exp()
                          @ r.eigenvectors.mT)(t.linalg.eigh(a)),
    "eigvalsh": lambda t, a: t.linalg.eigvalsh(a),
    "svdvals": lambda t, a: t.linalg.svdvals(a[:, :2]),
    "svd wide": lambda t, a: (lambda u, s, vh: u * s.unsqueeze(-2).sqrt() @ vh)(
        *t.linalg.svd(a[:, :2], full_matrices=False)),
    "svd tall": lambda t, a: (
        lambda u, s, vh: u.abs().sum(-1) + (vh.abs() * s.unsqueeze(-1)).sum())(
        *t.linalg.svd(a[:, :, :2], full_matrices=False)),
    "qr": lambda t, a: (lambda q, r: q.abs().sum() + r.abs())(*t.linalg.qr(a[:, :, :2])),
    "slogdet": lambda t, a: t.linalg.slogdet(a).logabsdet,
    "det": lambda t, a: t.linalg.det(a),
    "inv": lambda t, a: t.linalg.inv(a),
    "solve": lambda t, a: t.linalg.solve(a, a[:, :, :1] + 1),
    "pinv": lambda t, a: t.linalg.pinv(a[:, :2]),
    "matrix_power": lambda t, a: t.linalg.matrix_power(a, 5) + t.linalg.matrix_power(a, -2),
    "matrix_exp": lambda t, a: t.linalg.matrix_exp(a / 3),
    "cond": lambda t, a: t.linalg.cond(a) + t.linalg.cond(a, -2),
    "solve_triangular": lambda t, a: t.linalg.solve_triangular(a, a + 1, upper=True)
    + t.linalg.solve_triangular(a, a + 1, upper=False, left=False, unitriangular=True),
    "norm": lambda t, a: t.linalg.norm(a) + t.linalg.norm(a, 2, (1, 2))
    + t.linalg.norm(a, dim=-1).sum(),
    "matrix_norm": lambda t, a: t.linalg.matrix_norm(a, "nuc") + t.linalg.matrix_norm(a, -2)
    + t.linalg.matrix_norm(a, 1) + t.linalg.matrix_norm(a, 2, (0, 1)).sum(),
    "tensorinv": lambda t, a: t.linalg.tensorinv(a[0].reshape(3, 1, 3), ind=1),
    "tensorsolve": lambda t, a: t.linalg.tensorsolve(a[0].reshape(3, 1, 3), a[1, :1].mT),
    "vector_norm": lambda t, a: t.linalg.vector_norm(a, 3),
    "multi_dot": lambda t, a: t.linalg.multi_dot([a[0], a[1], a[0]]),
    "cross": lambda t, a: t.linalg.cross(a, a + 1),
    "expit": lambda t, a: t.special.expit(a) + t.special.entr(a.abs()) + t.special.erf(a),
}


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients(name: str) -> None:
    def run(t):
        a = positive(t).requires_grad_()
        out = CASES[name](t, a)
        out.square().sum().backward()
        return out, a.grad

    same(*both(run))


def test_results_have_names() -> None:
    def run(t):
        a = positive(t, 2)[0].float()
        return [repr(type(x)).rpartition(".")[2] for x in (t.linalg.eigh(a), t.linalg.qr(a))] + [
            t.linalg.matrix_rank(t.ones(3, 3)),
            t.linalg.svd(t.ones(2, 3)).Vh.shape, t.linalg.qr(a, mode="r").Q.shape]

    same(*both(run))
    assert repr(aot.linalg.slogdet(aot.eye(2))) == repr(torch.linalg.slogdet(torch.eye(2)))


def test_what_has_none() -> None:
    for error, match, call in (
            (aot.linalg.LinAlgError, "leading minor of order 1", lambda: aot.linalg.cholesky(
                -aot.eye(2))),
            (RuntimeError, "A must be batches of square matrices, but they are 2 by 3",
             lambda: aot.linalg.eigh(aot.ones(2, 3))),
            (AttributeError, "no attribute 'nothing'", lambda: aot.linalg.nothing)):
        with pytest.raises(error, match=match):
            call()
