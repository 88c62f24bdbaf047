"""Module's rules: attributes, walking, state, hooks, conversion, printing; the same in PyTorch."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")


def net(m):
    class Block(m.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.linear = m.nn.Linear(width, width)
            self.scale = m.nn.Parameter(m.ones(1))
            self.register_buffer("count", m.zeros(1))
            self.register_buffer("cache", m.zeros(2), persistent=False)
            self.register_parameter("nothing", None)
            self.act = m.nn.ReLU()

        def forward(self, x):
            return self.act(self.linear(x)) * self.scale

        def extra_repr(self):
            return "a block"

    class Net(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Block(3)
            self.blocks = m.nn.ModuleList([Block(3), Block(3), m.nn.Tanh()])
            self.named = m.nn.ModuleDict({"a": m.nn.Dropout(0.1), "b": self.first})
            self.weights = m.nn.ParameterList([m.zeros(2), m.ones(1, 3)])
            self.seq = m.nn.Sequential(OrderedDict(x=m.nn.Identity(), y=m.nn.Linear(3, 1)))
            self.note = "text"

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.seq(self.first(x))

    m.manual_seed(0)
    return Net()


PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


@program
def prints(m):
    n = net(m)
    return [repr(n), repr(n.seq[:1]), repr(m.nn.ModuleList([m.nn.ReLU()] * 3)), repr(m.nn.Sequential()),
            repr(m.nn.ParameterDict({"k": m.zeros(2, 2)})), repr(n.first.scale), repr(n.blocks[-1:])]


@program
def walks(m):
    n = net(m)
    return [[k for k, _ in n.named_modules()], [k for k, _ in n.named_parameters()],
            [k for k, _ in n.named_buffers()], [k for k, _ in n.named_children()],
            [k for k, _ in n.named_parameters(recurse=False)], list(n.state_dict()),
            [k for k, _ in n.named_parameters("p", remove_duplicate=False)],
            len(list(n.modules())), type(n.get_submodule("blocks.0.linear")).__name__,
            tuple(n.get_parameter("seq.y.weight").shape), n.get_buffer("first.count").tolist()]


@program
def runs(m):
    return [net(m)(m.ones(2, 3))]


@program
def attributes(m):
    n = net(m)
    n.extra = m.nn.Linear(1, 1)
    n.first.scale = m.nn.Parameter(m.zeros(3))
    n.first.count = m.ones(4)
    del n.weights
    n.seq = None
    n.plain = m.ones(2)
    return [[k for k, _ in n.named_parameters()], list(n.state_dict()), hasattr(n, "weights"),
            "plain" in n.state_dict(), n.first.count, "extra" in dict(n.named_children())]


@program
def modes(m):
    n = net(m)
    n.eval()
    before = [x.training for x in n.modules()]
    n.blocks.train()
    n.requires_grad_(False)
    return [before, [x.training for x in n.modules()], [p.requires_grad for p in n.parameters()]]


@program
def converts(m):
    n = net(m).double()
    a = [str(p.dtype) for p in n.parameters()] + [str(b.dtype) for b in n.buffers()]
    p = n.first.scale
    n.half()
    return [a, n.first.scale is p, str(p.dtype), str(n.to(m.float32).first.scale.dtype),
            str(n.to("cpu", m.bfloat16).seq[1].weight.dtype)]


@program
def applies(m):
    n, seen = net(m), []
    n.apply(lambda x: seen.append(type(x).__name__))
    return [seen]


@program
def loads_state(m):
    n, other = net(m), net(m)
    state = n.state_dict()
    state["first.scale"] = state["first.scale"] + 5
    result = other.load_state_dict(state)
    state["new"] = m.ones(1)
    del state["seq.y.bias"]
    loose = other.load_state_dict(state, strict=False)
    return [repr(result), other.first.scale.detach(), repr(loose), loose.missing_keys,
            loose.unexpected_keys]


@program
def hooks(m):
    layer, seen = m.nn.Linear(2, 2), []
    with m.no_grad():
        layer.weight.fill_(1), layer.bias.fill_(0)
    handles = [
        layer.register_forward_pre_hook(lambda mod, args: (args[0] + 1,)),
        layer.register_forward_hook(lambda mod, args, out: out * 2),
        layer.register_forward_hook(lambda mod, args, kwargs, out: seen.append(len(kwargs)),
                                    with_kwargs=True),
        layer.register_full_backward_hook(lambda mod, gi, go: seen.append(go[0].sum().item())),
    ]
    x = m.ones(1, 2, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    for h in handles:
        h.remove()
    return [y.detach(), seen, layer(x).detach(), x.grad]


@program
def containers(m):
    s = m.nn.Sequential(m.nn.ReLU(), m.nn.Tanh())
    s.append(m.nn.Sigmoid())
    s.insert(0, m.nn.Identity())
    s[1] = m.nn.GELU()
    del s[0]
    lst = m.nn.ModuleList([m.nn.ReLU()])
    lst += [m.nn.Tanh()]
    lst.insert(0, m.nn.Identity())
    d = m.nn.ModuleDict([("a", m.nn.ReLU())])
    d["b"] = m.nn.Tanh()
    return [repr(s), len(s), repr(lst), repr(d), list(d), "a" in d, repr(s + s), repr(lst[-1])]


@program
def copies(m):
    n = net(m)
    c = copy.deepcopy(n)
    with m.no_grad():
        c.first.scale.add_(1)
    return [n.first.scale.detach(), c.first.scale.detach(), c.named["b"] is c.first]


@program
def initialises(m):
    m.manual_seed(1)
    w = m.empty(6, 5)
    init = m.nn.init
    made = [init.xavier_uniform_(w), init.kaiming_uniform_(w, a=1), init.uniform_(w, -2, 3),
            init.constant_(w, 2), init.eye_(w), init.zeros_(w), init.ones_(w),
            init.kaiming_normal_(m.empty(3, 4), mode="fan_out", nonlinearity="relu"),
            init.xavier_normal_(m.empty(3, 4)), init.normal_(m.empty(3, 3)),
            init.trunc_normal_(m.empty(3, 3)), init.dirac_(m.empty(2, 2, 3)),
            init.calculate_gain("leaky_relu", 0.2)]
    return [x.clone() if hasattr(x, "clone") else x for x in made]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    for a, b in zip(PROGRAMS[name](aot), PROGRAMS[name](torch), strict=True):
        if hasattr(a, "detach"):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
        else:
            assert a == b


ERRORS = {
    "no_init": lambda m: setattr(type("M", (m.nn.Module,), {"__init__": lambda self: None})(), "a",
                                 m.nn.Linear(1, 1)),
    "not_a_parameter": lambda m: setattr(m.nn.Linear(1, 1), "weight", m.ones(1)),
    "dotted": lambda m: m.nn.Module().register_buffer("a.b", m.ones(1)),
    "taken": lambda m: m.nn.Linear(1, 1).register_buffer("in_features", m.ones(1)),
    "missing": lambda m: m.nn.Linear(1, 1).nothing,
    "no_forward": lambda m: m.nn.Module()(1),
    "keys": lambda m: m.nn.Linear(2, 1).load_state_dict({"weight": m.ones(3, 3), "x": m.ones(1)}),
    "groups": lambda m: m.nn.Conv2d(3, 4, 1, groups=2),
    "dropout": lambda m: m.nn.Dropout(2),
    "batch": lambda m: m.nn.BatchNorm1d(2)(m.ones(1, 2)),
    "integers": lambda m: m.nn.Linear(1, 1).to(m.int64),
    "not_leaf": lambda m: m.nn.Module().register_parameter("a", m.ones(1)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    found = []
    for m in (aot, torch):
        with pytest.raises(Exception) as caught:
            ERRORS[name](m)
        found.append((caught.type, str(caught.value).replace("aot.tensor_core", "torch")))
    (kind, text), (expected_kind, expected_text) = found
    assert kind is expected_kind
    assert text[:30] == expected_text[:30]


def test_modules_pickle():
    layer = aot.nn.Sequential(aot.nn.Linear(2, 3), aot.nn.BatchNorm1d(3))
    again = pickle.loads(pickle.dumps(layer))
    assert repr(again) == repr(layer)
    assert aot.equal(again[0].weight, layer[0].weight)


def test_batch_norm_counts_batches():
    layers = [m.nn.BatchNorm2d(2, momentum=None) for m in (aot, torch)]
    x = np.random.default_rng(0).random((3, 2, 2, 2)).astype(np.float32)
    for _ in range(3):
        ours, theirs = layers[0](aot.from_numpy(x)), layers[1](torch.from_numpy(x))
    assert layers[0].num_batches_tracked.item() == 3
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layers[0].running_var.numpy(), layers[1].running_var.numpy(), 1e-5)
