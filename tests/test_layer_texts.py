"""Every layer of nn, scripted and traced by PyTorch and by this project: `.graph` and `.code` of
every method of every module in it are the same, apart from places and the numbers of mangled names.
So is the code of the functions of nn.functional."""

from __future__ import annotations

import inspect
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
        "TransformerDecoderLayer Transformer GaussianNLLLoss".split()
    ],
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


# Functions of nn.functional whose code is not PyTorch's yet.
OTHER_CODE = frozenset(
    """_canonical_mask _in_projection _mha_shape_check affine_grid embedding embedding_bag
    gaussian_nll_loss grid_sample gumbel_softmax interpolate lp_pool3d max_unpool1d max_unpool2d
    max_unpool3d multi_head_attention_forward normalize triplet_margin_with_distance_loss
    upsample""".split()
)
FUNCTIONS = [
    name for name, value in vars(torch.nn.functional).items()
    if inspect.isfunction(value) and value.__code__.co_name == name
    and value.__module__ == "torch.nn.functional"
    and hasattr(aot.nn.functional, name) and name not in OTHER_CODE
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    """Their graphs are numbered by what stands in their Python sources, so the code is compared."""
    try:
        expected = shown(torch.jit.script(getattr(torch.nn.functional, name)).code)
    except RuntimeError:  # PyTorch refuses it, and so must we
        with pytest.raises(ScriptError):
            aot.jit.script(getattr(aot.nn.functional, name))
        return
    assert shown(aot.jit.script(getattr(aot.nn.functional, name)).code) == expected


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
