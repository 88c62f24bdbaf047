"""The function that is written for a method's calls; test_runtime_loader.py has what it is given."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

from llvm_backend.linking import write_shared_library
from runtime import call
from runtime.call_code import call_function
from runtime.description import MethodDescription, ValueInfo
from runtime.dtypes import f32, i64
from runtime.errors import InputError
from runtime.loader import CompiledLibrary, load_library
from runtime.structure import parse
from tests.sample_model import sample_object

X = np.array([[1, -1, 2], [-3, 4, -5]], np.float32)
RELU = np.maximum(X, 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CompiledLibrary:
    folder = tmp_path_factory.mktemp("call")
    write_shared_library(sample_object(folder), folder / "sample.so", "sample")
    return load_library(folder / "sample.so")


def test_addresses_the_slow_way(model: CompiledLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numpy's objects are laid out otherwise, addresses are asked for."""
    monkeypatch.setattr(call, "_address", call._slow_address)
    other = load_library(model.path)
    assert np.array_equal(other(X), RELU)
    assert other.square(np.arange(1000, dtype=np.float32)).last == 999.0**2


def _call_without_a_model(results: str, *inputs: ValueInfo):
    """A call whose model writes nothing, and the list of what it did."""
    done: list[str] = []

    class Cell:
        value = 7

    class Frame:
        cells = [Cell() for _ in range(len(inputs) + 3)]
        addresses = ()

    class Instance:
        frames = [Frame()]

    outputs = (ValueInfo("a", f32, (2,)), ValueInfo("n", i64, (), "int"), ValueInfo("b", f32, (3,)))
    method = MethodDescription("f", inputs, outputs, "()", results)
    names = {
        "acquire": lambda: done.append("acquire") or Instance, "index": 0, "name": "f",
        "release": lambda instance: done.append("release"), "run": lambda: done.append("run"),
        "address": lambda array: array.size, "failure": None, "make_frame": None,
        "fit0": lambda value: done.append("fit") or value,
    }
    return call_function(method, parse(results), "address({x})", names), done


@pytest.mark.parametrize(
    ("results", "shape"),
    [
        ("(T,T,T)", lambda a, n, b: (a, n, b)),
        ("[T,(T,[T])]", lambda a, n, b: [a, (n, [b])]),
        ("{'x y':T,3:(T,N),'z':[T,'it\\'s']}",
         lambda a, n, b: {"x y": a, 3: (n, None), "z": [b, "it's"]}),
        ("P(y=T,class=(T),z=T)", None),
    ],
)
def test_results_are_put_together_as_their_structure_says(results: str, shape) -> None:
    function, done = _call_without_a_model(results)
    value = function()
    assert done == ["acquire", "run", "release"]
    if shape is None:
        assert type(value).__name__ == "P" and value._fields == ("y", "_1", "z")
        assert value.y.shape == (2,) and value._1 == (7,) and value.z.shape == (3,)
        return
    flat: list[np.ndarray] = []

    def arrays(x: object) -> None:
        if isinstance(x, np.ndarray):
            flat.append(x)
        elif isinstance(x, (list, tuple, dict)):
            for item in x.values() if isinstance(x, dict) else x:
                arrays(item)

    arrays(value)
    assert [a.shape for a in flat] == [(2,), (3,)]
    assert repr(value) == repr(shape(flat[0], 7, flat[1]))


def test_only_what_does_not_fit_is_made_to_fit() -> None:
    function, done = _call_without_a_model("(T,T,T)", ValueInfo("x", f32, (2, 3)))
    function(X)
    assert "fit" not in done
    for other in (X.T, X.astype(np.float64), X[:, ::-1], X.tolist()):
        done.clear()
        with pytest.raises(AttributeError) if isinstance(other, list) else nullcontext():
            function(other)
        assert done[0] == "fit"


def test_a_failing_call_gives_its_instance_back(model: CompiledLibrary) -> None:
    for _ in range(3):
        with pytest.raises(InputError):
            model(X[:1])
        with pytest.raises(Exception, match="x must be false"):
            model.methods["raise"](True)
    answers: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: answers.append(model(X)))
    thread.start()
    thread.join(10)
    assert len(answers) == 1, "the model's only instance is still taken"


def test_names_of_methods_are_attributes(model: CompiledLibrary) -> None:
    assert model.forward is model.methods["forward"]
    assert callable(model.reset) and model.reset() is None  # ours, whatever methods there are
    with pytest.raises(AttributeError, match="CompiledLibrary has no attribute or method 'no'"):
        model.no


def test_a_call_takes_microseconds(model: CompiledLibrary) -> None:
    """CPU time; benchmarks/call_overhead.py has the figures: 1 to 2 beside the C call."""
    best = 1.0
    for _ in range(50):
        begun = time.thread_time()
        for _ in range(200):
            model(X)
        best = min(best, (time.thread_time() - begun) / 200)
    assert best < 5e-6
