"""Every layer of nn, scripted and traced by PyTorch and by this project: `.graph` and `.code` of
every method of every module in it are the same, apart from places and the numbers of mangled names.
"""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from tests.conftest import import_torch
from tests.nn_samples import LAYERS

torch = import_torch()

import aot  # noqa: E402
from aot.jit import ScriptError  # noqa: E402

# What is not equal yet, and why.
KNOWN = {
    "one number more where an overload fails": ["Conv2dSame script"],
    "one number more": ["BatchNormPlain script"],
    "PyTorch decides between a fast path and this": [
        f"{name} script" for name in
        "MultiheadAttention MultiheadAttentionWide TransformerEncoderLayer TransformerEncoder "
        "TransformerDecoderLayer Transformer".split()
    ],
    "strides of results, names of what is made on the way": [
        f"{name} trace" for name in
        "LSTMDeep MultiheadAttentionWide TransformerEncoderLayer TransformerEncoder "
        "TransformerDecoderLayer Transformer L1Loss MSELoss SmoothL1Loss HuberLoss LPPool2d "
        "GaussianNLLLoss".split()
    ],
    "PyTorch records the parts of a cell": [
        f"{name} trace" for name in "LSTMCell GRUCell RNNCell".split()],
    "the order in which sizes become numbers": ["EmbeddingBag trace"],
    "PyTorch cannot script it, this can": ["GaussianNLLLoss script"],
}
REASONS = {case: reason for reason, cases in KNOWN.items() for case in cases}
CASES = [
    pytest.param(name, how, id=f"{name}-{how}", marks=[
        pytest.mark.xfail(reason=REASONS[f"{name} {how}"], strict=True)
    ] if f"{name} {how}" in REASONS else [])
    for name in LAYERS for how in ("script", "trace")
]


def shown(text: object) -> str:
    """A text without what depends on the machine and on what was compiled before."""
    plain = re.sub(r"(, scope: \S+)? # .*", "", str(text))
    return re.sub(r"___torch_mangle_\d+\.|warn_id=\d+", "", plain)


def texts(t: ModuleType, name: str, how: str) -> dict[str, tuple[str, str]]:
    make, inputs = LAYERS[name]
    t.manual_seed(0)
    layer = make(t.nn)
    if how == "script":
        whole = t.jit.script(layer)
    else:
        given = tuple(i(t) if callable(i) else t.rand(*i) for i in inputs)
        whole = t.jit.trace(layer.eval(), given, check_trace=False)
    found = {}
    for path, module in whole.named_modules():
        names = module._c._method_names() if t is torch else module.method_names()
        for method in names:
            one = module._c._get_method(method) if t is torch else module.method(method)
            found[f"{path}.{method}"] = shown(one.graph), shown(one.code)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, how", CASES)
def test_layer(name: str, how: str) -> None:
    try:
        expected = texts(torch, name, how)
    except RuntimeError:  # PyTorch refuses it, and so must we
        with pytest.raises(ScriptError):
            texts(aot, name, how)
        return
    assert texts(aot, name, how) == expected
