"""Tensors in Python: one program in both libraries prints the same."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()

# Expressions over m (the library), x (3x4 floats), n (a 2x3x4 tensor of ints), b (a mask of x's
# shape), v (a vector of 4). What they give is compared by its text.
EXPRESSIONS = """
x[0] ; x[-1, 2] ; x[:, 1] ; x[1:, ::2] ; x[..., 0] ; x[None].shape ; x[:, None, 1:3] ; x[b]
x[[0, 2]] ; x[m.tensor([0, 2]), 1:] ; x[:, m.tensor([3, 0])]
x[m.tensor([0, 1]), m.tensor([2, 3])] ; x[m.tensor(1)] ; n[0, ..., 1] ; n[..., [1, 0], :]
n[:, m.tensor([[0, 1], [2, 0]])] ; x[True].shape ; x[False].shape ; x[()] ; x[1:1] ; n[b[0, :2]]
x[2][3] ; x[-2:] ; x[0:10:3] ; n[1][None, :, 0] ; x + 1 ; 1 + x ; x - 2.5 ; 2 - x ; x * 3 ; x / 2
2 / x ; x // 0.3 ; 7 // (n + 1) ; x % 0.7 ; n % 4 ; 7 % (n + 1) ; x ** 2 ; 2 ** x ; -x ; +x
abs(x - 1) ; ~b ; ~n ; b & b ; b | ~b ; n ^ 3 ; n << 2 ; n >> 1 ; 1 << n ; x < 0.5 ; x <= 0.5
x > v ; x >= v ; x == x ; x != v ; n == 3 ; x @ v ; x @ x.t() ; v @ v ; n / 2 ; n + 0.5 ; n + True
b + 1 ; b * 2.5 ; x.int() + n[0] ; v.double() + x ; x.half() + 1 ; n.to(m.int8) * 100
n.float().mean() ; (x > 0.5).sum() ; m.tensor(3) + x.double() ; m.tensor(2.5) + n
m.tensor([1, 2]) / m.tensor([3, 4]) ; m.tensor(5) // 2 ; m.tensor(1) + 1.5 ; x.shape ; x.size(0)
x.size() ; x.stride() ; x.t().stride() ; x.dim() ; x.ndim ; x.numel() ; len(x) ; x.dtype ; n.dtype
b.dtype ; x.device ; x.is_contiguous() ; x.t().is_contiguous() ; x.nelement() ; x.element_size()
x.storage_offset() ; x[1:].storage_offset() ; x.is_floating_point() ; x.layout ; x.requires_grad
x.is_leaf ; x.grad ; x.itemsize ; x.nbytes ; x.T.shape ; x.mT.shape ; n.data.shape ; x.tolist()
n[0, 0].tolist() ; x[0, 0].item() ; n[1, 2, 3].item() ; b[0, 0].item() ; int(n[0, 0, 1])
float(x[0, 1]) ; bool(b[0, 0]) ; list(v) ; [i for i in n[0, 0]] ; 3 in n ; v.numpy()
n.numpy().dtype ; m.zeros(2, 3) ; m.zeros([2, 3]) ; m.zeros((2,), dtype=m.int64) ; m.ones(2, 2)
m.full((2, 2), 7) ; m.full((2,), 1.5) ; m.full((2,), True) ; m.arange(5) ; m.arange(1, 10, 3)
m.arange(0, 1, 0.25) ; m.arange(3.0) ; m.linspace(0, 1, 5) ; m.logspace(0, 2, 3) ; m.eye(3)
m.eye(2, 3) ; m.empty(0) ; m.zeros_like(x) ; m.ones_like(n) ; m.full_like(x, 3) ; m.tensor([1, 2])
m.tensor([1.5, 2]) ; m.tensor([True, False]) ; m.tensor([[1, 2], [3, 4]], dtype=m.float16)
m.tensor(3.25) ; m.tensor([]) ; m.tensor([[], []]).shape ; m.tensor(7).dtype ; m.as_tensor([1, 2])
m.from_numpy(v.numpy()) ; m.tril(x) ; m.triu(x, 1) ; m.cat([x, x]) ; m.cat((x, x), dim=1)
m.stack([v, v]) ; m.stack([v, v], 1) ; x.view(4, 3) ; x.view(-1) ; x.view(2, -1) ; x.reshape(2, 6)
x.reshape([6, 2]) ; x.t().reshape(-1) ; x.flatten() ; n.flatten(1) ; x.unsqueeze(0).shape
x.unsqueeze(-1).shape ; x[None].squeeze().shape ; n.permute(2, 0, 1).shape
n.permute([2, 0, 1]).stride() ; n.transpose(0, 2).shape ; x.t() ; n.mT.shape
x.expand(2, 3, 4).shape ; v.expand(3, -1) ; x.repeat(2, 1) ; v.repeat(2, 2).shape
v.tile((2,)).shape ; x.split(2) ; x.split([1, 2]) ; x.chunk(2, 1) ; x.unbind()
n.movedim(0, 2).shape ; x.flip(0) ; x.roll(1) ; x.narrow(1, 1, 2) ; x.select(0, 1)
x.unfold(1, 2, 1) ; x.diagonal() ; v.diag() ; x.swapaxes(0, 1).shape ; x.sum() ; x.sum(0)
x.sum(dim=1, keepdim=True) ; x.sum((0, 1)) ; n.sum() ; b.sum() ; x.mean() ; x.mean(-1) ; x.prod()
x.max() ; x.max(0) ; x.min(1) ; x.argmax() ; x.argmin(1) ; x.amax(1) ; x.std() ; x.var(0)
x.norm() ; x.norm(1) ; x.norm(dim=1) ; x.cumsum(0) ; x.cumprod(1) ; x.median() ; x.median(1)
x.mode(1) ; x.sort(1) ; x.sort(descending=True) ; x.argsort() ; x.topk(2) ; x.kthvalue(2)
b.any() ; b.all(0) ; n.unique() ; x.nonzero().shape ; m.nonzero(b) ; m.nonzero(b, as_tuple=True)
x.clamp(0.2, 0.6) ; x.clamp(min=0.5) ; x.clip(max=0.5) ; x.round() ; x.floor() ; x.ceil()
x.sign() ; x.sqrt() ; x.exp() ; x.log() ; x.sigmoid() ; x.tanh() ; x.relu() ; x.softmax(0)
x.log_softmax(-1) ; x.logsumexp(1) ; x.erf() ; m.where(b, x, v) ; m.where(b, 1.0, 0.0)
x.masked_fill(b, 0) ; x.masked_select(b) ; x.gather(1, n[0] % 4)
x.index_select(0, m.tensor([2, 0])) ; m.zeros(3, 4).scatter(1, n[0] % 4, x)
x.take(m.tensor([0, 5])) ; x.lerp(x + 1, 0.5) ; m.addmm(v[:3], x, x.t())
m.bmm(x[None], x.t()[None]) ; m.einsum("ij,kj->ik", x, x) ; m.outer(v, v) ; m.dot(v, v) ; x.mv(v)
x.mm(x.t()) ; m.matmul(x, v) ; m.maximum(x, v) ; m.minimum(x, v) ; x.float() ; x.double()
x.half() ; x.long() ; x.int() ; x.bool() ; x.to(m.int32) ; x.to("cpu").dtype
x.to(m.float64).dtype ; x.type_as(n) ; n.to(x) ; x.bfloat16() ; x.type(m.int64) ; x.cpu().shape
m.equal(x, x) ; m.equal(x, v) ; m.allclose(x, x + 1e-9) ; m.isclose(x, v) ; m.is_tensor(x)
x.equal(x) ; m.result_type(x, 1) ; m.result_type(n, 1.5) ; m.promote_types(m.int8, m.uint8)
m.can_cast(m.float32, m.int64) ; m.get_default_dtype() ; m.finfo(m.float16).max
m.iinfo(m.int8).min ; m.Size([1, 2]) + m.Size([3]) ; m.Size([2, 3]).numel()
m.broadcast_shapes((3, 1), (4,)) ; m.meshgrid(v, v, indexing="ij")[0] ; m.isnan(x).any()
m.isinf(x).any() ; x.new_zeros(2) ; x.new_tensor([1, 2]) ; x.new_full((2,), 3) ; m.float32
m.device("cpu") ; m.device("cpu", 0) ; x.view(m.Size([4, 3])).shape ; m.numel(x) ; x.ravel()
m.sum(x, dim=0) ; m.mean(x, 1) ; m.max(x, v) ; m.sin(input=x) ; m.add(x, v, alpha=2) ; m.sub(x, 1)
m.nn.functional.relu(x - 0.5) ; m.nn.functional.one_hot(n[0] % 3) ; m.tensordot(x, x, dims=2)
m.pi ; m.bitwise_and(n, 3) ; m.logical_not(b) ; m.remainder(n, 5) ; m.fmod(n, 5) ; m.square(x)
m.bincount(n[0, 0]) ; m.chunk(x, 3) ; m.hstack((v, v)) ; m.vstack((v, v)) ; m.count_nonzero(n)
m.diff(v) ; m.cdist(x, x).shape ; m.std_mean(x) ; m.searchsorted(v.sort().values, x)
m.histc(x, 3) ; m.cov(x)
"""



def arguments(m):
    rng = np.random.default_rng(5)
    x = m.from_numpy(rng.random((3, 4)).astype(np.float32))
    n = m.from_numpy(rng.integers(0, 9, (2, 3, 4)))
    b = m.from_numpy(rng.random((3, 4)) > 0.5)
    v = m.from_numpy(rng.random(4).astype(np.float32))
    return {"m": m, "x": x, "n": n, "b": b, "v": v}


CASES = [e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split(" ; ")]
NOT_HERE = {"m.histc(x, 3)", "m.cov(x)"}


@pytest.mark.parametrize("expression", [c for c in CASES if c not in NOT_HERE])
def test_expression(expression):
    texts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for m in (aot, torch):
            texts.append(repr(eval(expression, {}, arguments(m))))
    assert texts[0] == texts[1]


STATEMENTS = [
    "x[0] = 5", "x[:, 1] = v[:3]", "x[b] = 0", "x[1:, ::2] = 7.5", "x[m.tensor([0, 2])] = v",
    "x[m.tensor([0, 2]), 1] = 9", "x += 1", "x -= v", "x *= 2", "x /= 4", "x **= 2", "n //= 2",
    "n %= 4", "x[0] += 10", "x.add_(1)", "x.mul_(v)", "x.zero_()", "x.fill_(3)", "x.copy_(v)",
    "x.relu_()", "x.clamp_(0.3, 0.6)", "x.t_()", "x.unsqueeze_(0)", "x.masked_fill_(b, -1)",
    "x.view(-1)[3] = 100", "x.t()[1] = 4", "y = x[0]; y[:] = 2",
    "x.index_fill_(0, m.tensor([1]), 3)", "x.scatter_(1, n[0] % 4, 1.5)",
    "x.index_add_(0, m.tensor([0, 0]), x[:2] * 1)", "x.sub_(v, alpha=2)",
    "x.addmm_(x, m.ones(4, 4))", "x.exp_().log_()", "x.squeeze_()", "n &= 3", "b |= ~b",
    "x[...] = 1", "x[None, 0] = 3", "n[0, :, 1] = m.tensor([7, 8, 9])", "x.data[0] = 1",
    "x.detach()[1] = 8", "m.add(x, 1, out=x)", "m.exp(v, out=x[0])",
    "x.index_put_((m.tensor([0]), m.tensor([1])), v[0])", "x.transpose_(0, 1)", "x.resize_(2, 2)",
    "x.swapaxes(0, 1).add_(1)", "n[n > 4] = 0", "x[1, 2] = v[0]",
    "x[:2, :2] = m.tensor([[1., 2.], [3., 4.]])", "x[0], x[1] = x[1].clone(), x[0].clone()",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statement(statement):
    texts = []
    for m in (aot, torch):
        names = arguments(m)
        names["x"], names["n"], names["b"] = (names[k].clone() for k in "xnb")
        exec(statement, {}, names)
        texts.append([repr(names[k]) for k in "xnbv"] + [names["x"].stride(), names["x"]._version])
    assert texts[0] == texts[1]


ERRORS = [
    "x[5]", "x[0, 9]", "x[0, 0, 0]", "x[1.5]", "x + m.ones(5)", "x @ v[:3]", "x.view(5)",
    "x.t().view(12)", "n.add_(0.5)", "x.add_(m.ones(2, 3, 4))", "bool(x)", "len(x[0, 0])",
    "x.item()", "m.cat([x, v])", "m.tensor([[1], [2, 3]])", "m.zeros(-1)", "x.sum(7)",
    "x.expand(2, 2)", "iter(x[0, 0])", "x.undefined_name", "m.undefined_name", "v.squeeze(3)",
    "m.stack([x, v])", "x.unflatten(0, (2, 2))", "x.expand(2, 3, 4).add_(1)", "x[m.tensor([9])]",
    "m.nonsense(x)", "x.mm(v)",
]


@pytest.mark.parametrize("expression", ERRORS)
def test_error(expression):
    kinds = []
    for m in (aot, torch):
        with pytest.raises(Exception) as caught:
            eval(expression, {}, arguments(m))
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


def test_memory_is_shared_with_numpy():
    array = np.arange(6.0).reshape(2, 3)
    x = aot.from_numpy(array)
    x[0, 0] = 9
    assert array[0, 0] == 9
    x.numpy()[1, 1] = 7
    assert x[1, 1].item() == 7
    assert aot.from_numpy(array.T).stride() == (1, 3)
    assert np.asarray(x).base is not None


def test_versions_and_views():
    for m in (aot, torch):
        x = m.zeros(2, 3)
        view = x[0]
        view.add_(1)
        assert x._version == view._version == 1 and x[0, 0] == 1
        assert x.data_ptr() == view.data_ptr() and x[1].data_ptr() != view.data_ptr()


def test_copies_are_deep():
    x = aot.rand(3, requires_grad=True)
    y = copy.deepcopy(x)
    with aot.no_grad():
        y.add_(1)
    assert not aot.equal(x, y) and y.requires_grad
    with pytest.raises(RuntimeError):
        copy.deepcopy(x * 2)


def test_default_dtype():
    try:
        aot.set_default_dtype(aot.float64)
        torch.set_default_dtype(torch.float64)
        for make in (lambda m: m.zeros(2), lambda m: m.tensor([1.5]), lambda m: m.ones(1) + 1,
                     lambda m: m.linspace(0, 1, 3), lambda m: m.full((1,), 0.5), lambda m: m.eye(2),
                     lambda m: m.nn.Linear(2, 2).weight.dtype):
            assert repr(make(aot)) == repr(make(torch))
    finally:
        aot.set_default_dtype(aot.float32)
        torch.set_default_dtype(torch.float32)


def test_importing_is_light():
    import subprocess
    import sys

    code = ("import sys, time; t = time.perf_counter(); import aot; t = time.perf_counter() - t\n"
            "assert 'llvmlite' not in sys.modules and 'numpy' not in sys.modules, 'loaded'\n"
            "assert t < 0.15, t\n"
            "aot.nn.Linear(2, 2)(aot.ones(1, 2)).sum().backward()\n"
            "assert 'llvmlite' not in sys.modules and 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_methods_are_found_in_the_class_too() -> None:
    x = aot.tensor([[-1.0, 2.0]])
    assert aot.Tensor.relu(x).tolist() == [[0.0, 2.0]]
    assert [t.item() for t in map(aot.Tensor.sum, [x, x])] == [1.0, 1.0]
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'rellu'"):
        aot.Tensor.rellu  # noqa: B018


def test_dir_lists_what_the_operator_table_brings() -> None:
    for where, name in ((aot, "relu"), (aot, "ones"), (aot.Tensor, "relu"), (aot.ones(1), "sum"),
                        (aot.linalg, "inv"), (aot.special, "erf")):
        assert name in dir(where)
        assert callable(getattr(where, name))
