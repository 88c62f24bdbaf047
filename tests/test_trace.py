"""What tracing says where a trace would not be the program, and what may be traced."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import aot
from aot.tracer import TraceError, TracingCheckError
from runtime.errors import InputError

TracerWarning = aot.jit.TracerWarning


def warnings_of(function, *inputs) -> list[str]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        aot.jit.trace(function, inputs, check_trace=False)
    assert all(w.filename == __file__ for w in seen)
    return [str(w.message) for w in seen if issubclass(w.category, TracerWarning)]


@pytest.mark.parametrize("kind, function", [
    ("boolean", lambda x: x if x.sum() > 0 else -x),
    ("integer", lambda x: x * int(x.sum())),
    ("float", lambda x: x * float(x.sum())),
    ("number", lambda x: x * x.sum().item()),
    ("list", lambda x: x * x.tolist()[0][0]),
    ("index", lambda x: [x * k for k in range(x.size(0))]),
])
def test_values_that_become_pythons(kind: str, function) -> None:
    (message,) = warnings_of(function, aot.rand(2, 3))
    assert message.startswith(f"Converting a tensor to a Python {kind} might cause the trace to be "
                              "incorrect. We can't record the data flow of Python values")


def test_lengths_and_rows() -> None:
    (message,) = warnings_of(lambda x: x * len(x), aot.rand(2, 3))
    assert message.startswith("Using len to get tensor shape might cause the trace to be incorrect")
    (message,) = warnings_of(lambda x: sum(row for row in x), aot.rand(2, 3))
    assert message.startswith("Iterating over a tensor might cause the trace to be incorrect")


def test_tensors_are_as_before_afterwards() -> None:
    x = aot.rand(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZeroDivisionError):
            aot.jit.trace(lambda x: 1 / 0, x)
        assert bool(x.sum() > 0) and len(x) == 2 and type(x.size(0)) is int
    assert not aot.jit.is_tracing()


def test_sizes_are_recorded() -> None:
    traced = aot.jit.trace(lambda x: x.view(x.size(1), x.shape[0], 1), aot.rand(2, 3))
    assert traced(aot.rand(4, 5)).shape == (5, 4, 1)


def test_a_check_that_finds_another_result() -> None:
    seen = []

    def counts(x):
        seen.append(0)
        return x * aot.tensor(float(len(seen) > 2))

    with pytest.raises(TracingCheckError, match="Graphs differed across invocations"):
        step = iter(range(9))
        aot.jit.trace(lambda x: x + 1 if next(step) % 2 else x * 2, aot.rand(3))
    with pytest.warns(TracerWarning, match="Output nr 1. of the traced function does not match"):
        aot.jit.trace(counts, aot.rand(3))
    with pytest.warns(TracerWarning, match="3 of 3 elements differ, by up to 2"):
        aot.jit.trace(lambda x: x if x.sum() > 0 else -x, aot.ones(3),
                      check_inputs=[(-aot.ones(3),)])


def test_containers_as_results() -> None:
    with pytest.raises(TraceError, match="Encountering a dict at the output of the tracer"):
        aot.jit.trace(lambda x: {"a": x}, aot.rand(3))
    traced = aot.jit.trace(lambda x: {"a": x, "b": x + 1}, aot.zeros(3), strict=False)
    assert traced(aot.ones(3))["b"].tolist() == [2, 2, 2]
    with pytest.raises(TraceError, match="Only tensors, lists, tuples of tensors"):
        aot.jit.trace(lambda x: 3, aot.rand(3))


def test_what_cannot_be_traced() -> None:
    with pytest.raises(TraceError, match="Type 'int' cannot be traced. Only Tensors and"):
        aot.jit.trace(lambda x, n: x * n, (aot.rand(3), 2))
    weight = aot.rand(3, requires_grad=True)
    with pytest.raises(TraceError, match="Cannot insert a Tensor that requires grad as a constant"):
        aot.jit.trace(lambda x: x * weight, aot.rand(3))
    gate = aot.jit.script(aot.nn.ReLU())
    with pytest.raises(TraceError, match="not part of the active trace"):
        aot.jit.trace(lambda x: gate(x), aot.rand(3))
    with pytest.raises(InputError, match="2 example inputs are given, the function takes 1"):
        aot.jit.trace(lambda x: x, (aot.rand(3), aot.rand(3)))
    with pytest.raises(RuntimeError, match="example_inputs or example_kwarg_inputs"):
        aot.jit.trace(lambda x: x)


class Two(aot.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = aot.nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(x)

    def weighted(self, x, y):
        return self.linear(x) * y


def test_several_methods() -> None:
    module = Two()
    x, y = aot.rand(2, 3), aot.rand(2, 3)
    traced = aot.jit.trace_module(module, {"forward": x, "weighted": (x, y)})
    assert traced.method_names() == ["forward", "weighted"]
    assert traced.linear.method_names() == ["forward", "forward1"]
    assert aot.allclose(traced.weighted(x, y), module.weighted(x, y))
    assert aot.allclose(traced(x), module(x))


def test_methods_and_named_inputs() -> None:
    module = Two()
    x = aot.rand(2, 3)
    by_method = aot.jit.trace(module.forward, x)
    by_name = aot.jit.trace(module, example_kwarg_inputs={"x": x})
    assert by_method.code == by_name.code and aot.allclose(by_name(x=x), module(x))


def test_weights_are_shared_with_the_module() -> None:
    module = Two()
    traced = aot.jit.trace(module, aot.rand(2, 3))
    x = aot.rand(2, 3)
    with aot.no_grad():
        before = traced(x)
        module.linear.weight.mul_(2)
        assert not aot.allclose(traced(x), before)
        assert aot.allclose(traced(x), module(x))
    traced(x).sum().backward()
    assert module.linear.weight.grad is not None
    assert aot.allclose(module.linear.bias.grad, aot.full((3,), 2.0))


def test_another_thread_is_not_recorded() -> None:
    """Its calls leave no nodes, its tensors stay tensors."""
    ready, done = threading.Event(), threading.Event()
    sizes = []

    def other() -> None:
        ready.wait(10)
        y = aot.ones(2, 2)
        sizes.append((type(y.size(0)), bool((y + y).sum() > 0)))
        done.set()

    def function(x):
        ready.set()
        done.wait(10)
        return x + 1

    thread = threading.Thread(target=other)
    thread.start()
    traced = aot.jit.trace(function, aot.rand(3), check_trace=False)
    thread.join()
    assert sizes == [(int, True)]
    assert [n.kind for n in traced.graph.nodes()] == ["prim::Constant"] * 2 + ["aten::add"]


def test_example_inputs_are_not_touched() -> None:
    x = aot.zeros(3)
    aot.jit.trace(lambda x: x.clone().add_(1), x)
    assert x.tolist() == [0, 0, 0]
    assert np.allclose(aot.jit.trace(lambda x: x + 1, x)(np.ones(3, np.float32)), 2)


def test_the_operator_trace_is_not_hidden() -> None:
    aot.jit.trace(lambda x: x + 1, aot.ones(2))
    assert aot.trace(aot.eye(3)).item() == 3.0
