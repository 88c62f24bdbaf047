"""Archives travel both ways: what either library writes the other one loads, runs and saves again.

Each program is made by both libraries: layers that are scripted, modules and functions that are
traced, mixed ones, attributes of every kind, frozen modules.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import aot
from tests.conftest import import_torch
from tests.nn_samples import LAYERS
from tests.test_script_against_torch import SAMPLES, load
from tests.traced_programs import functions, modules

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")  # each use of torch.jit warns that it is old

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MODULES = list(modules(aot))
VALUES = SAMPLES / "archives_values.py"
VALUE_NAMES = re.findall(r'^    "(\w[\w ]*)": \(|"(\w[\w ]*)": \((?=\w)', VALUES.read_text(), re.M)
VALUE_NAMES = [a or b for a, b in VALUE_NAMES]
# PyTorch cannot script them alone, or not with these arguments; the last ones take long.
LEFT_OUT = {"LSTM", "LSTMDeep", "GRU", "RNN", "GaussianNLLLoss", "AdaptiveAvgPool2d", "Hardtanh",
            "Transformer", "TransformerEncoder", "TransformerEncoderLayer",
            "TransformerDecoderLayer", "MultiheadAttention", "MultiheadAttentionWide"}
CASES = [
    *[("layer", n) for n in LAYERS if n not in LEFT_OUT],
    *[("module", n) for n in MODULES],
    *[("function", n) for n in list(functions(aot))[::3]],
    *[("value", n) for n in VALUE_NAMES],
]


def test_there_are_enough() -> None:
    assert len({kind for kind, _ in CASES}) == 4 and len(VALUE_NAMES) >= 20
    assert len(CASES) >= 200


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    return {t: load(VALUES, t.__name__, folder, "archive_sample").MODULES for t in (aot, torch)}


def program(t: Any, kind: str, name: str, values: dict) -> tuple[Any, list]:
    """The program as `t` (aot or torch) makes it, and arguments: tensors are numpy arrays."""
    t.manual_seed(0)
    if kind == "layer":
        make, inputs = LAYERS[name]
        module = make(t.nn).eval()
        t.manual_seed(1)
        given = [x(t) if callable(x) else t.randn(x) for x in inputs]
        return t.jit.script(module), plain(given)
    if kind == "function":
        x = t.rand(3, 4)
        return t.jit.trace(functions(t)[name], x), plain([x])
    if kind == "module":
        module, inputs = modules(t)[name]
        return t.jit.trace(module, inputs), plain(list(inputs))
    make, inputs = values[t][name]
    scripted = t.jit.script(make().eval())
    if name == "frozen":
        scripted = t.jit.freeze(scripted)
    t.manual_seed(1)
    return scripted, plain([t.rand(x) if isinstance(x, tuple) else x for x in inputs])


def saved(module: Any) -> bytes:
    """The archive, whichever library's the module is."""
    buffer = io.BytesIO()
    module.save(buffer) if hasattr(module, "save_to_buffer") and isinstance(
        module, (aot.jit.ScriptModule, aot.jit.ScriptFunction)) else torch.jit.save(module, buffer)
    return buffer.getvalue()


def loaded_by(t: Any, archive: bytes) -> Any:
    return t.jit.load(io.BytesIO(archive))


def run(module: Any, given: list) -> list:
    """The results of two calls, as plain values: what the first one changes, the second one sees."""
    out = []
    for _ in range(2):
        if isinstance(module, aot.jit.ScriptModule):
            result = module(*to_aot(given))
        else:
            result = module(*to_torch(given))
        out.append(plain(result))
    return out


@pytest.fixture(autouse=True)
def nothing_compiled():
    """Calls run operator by operator: what is compiled is another table's business."""
    before = aot.jit.set_fusion_strategy([])
    yield
    aot.jit.set_fusion_strategy(before)


def to_aot(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return aot.from_numpy(x.copy())
    if isinstance(x, (list, tuple)):
        return type(x)(map(to_aot, x))
    return {k: to_aot(v) for k, v in x.items()} if isinstance(x, dict) else x


def to_torch(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return torch.from_numpy(x.copy())
    if isinstance(x, (list, tuple)):
        return type(x)(map(to_torch, x))
    return {k: to_torch(v) for k, v in x.items()} if isinstance(x, dict) else x


def plain(x: Any) -> Any:
    if isinstance(x, (aot.Tensor, torch.Tensor)):
        x = x.detach()
        return (x.float() if "bfloat16" in str(x.dtype) else x).numpy().copy()
    if isinstance(x, tuple):
        return tuple(plain(v) for v in x)
    if isinstance(x, list):
        return [plain(v) for v in x]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return x


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    elif isinstance(expected, (list, tuple)):
        assert isinstance(found, (list, tuple)) and len(found) == len(expected)
        for a, b in zip(found, expected):
            same(a, b)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        same(list(found.values()), list(expected.values()))
    else:
        assert found == expected


def code(module: Any) -> dict[str, str]:
    """The code of all methods of a loaded module and those below it, without mangled names."""
    if isinstance(module, aot.jit.ScriptModule):
        cls = module.object.type
        names = [n for n in module.method_names()
                 if n not in (*cls.forward_hooks, *cls.forward_pre_hooks)]
        texts = {n: module.method(n).code for n in names}
    else:
        texts = {n: module._c._get_method(n).code for n in module._c._method_names()}
    found = {name: re.sub(r"___torch_mangle_\d+\.", "", text) for name, text in texts.items()}
    for child, below in module._modules.items():
        found |= {f"{child}.{name}": text for name, text in code(below).items()}
    return found


Load = Callable[[bytes], Any]


@pytest.mark.parametrize("kind, name", CASES)
def test_both_ways(kind: str, name: str, values: dict) -> None:
    for here, there in ((aot, torch), (torch, aot)):
        made, given = program(here, kind, name, values)
        archive = saved(made)
        at_home = loaded_by(here, archive)
        abroad = loaded_by(there, archive)
        again = saved(abroad)  # as it was loaded: a call may change it
        texts = code(at_home)
        assert code(abroad) == texts
        expected = run(at_home, given)
        same(run(abroad, given), expected)
        back = loaded_by(here, again)
        assert code(back) == texts
        same(run(back, given), expected)


def test_extra_files() -> None:
    notes = {"note.txt": "grüße", "raw/data.bin": b"\0\1"}
    for here, there in ((aot, torch), (torch, aot)):
        buffer = io.BytesIO()
        here.jit.save(here.jit.script(here.nn.Linear(2, 2)), buffer, _extra_files=dict(notes))
        found = dict.fromkeys(notes, "")
        there.jit.load(io.BytesIO(buffer.getvalue()), _extra_files=found)
        assert {k: v if isinstance(v, bytes) else v.encode() for k, v in found.items()} == {
            "note.txt": "grüße".encode(), "raw/data.bin": b"\0\1"}
