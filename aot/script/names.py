"""What the names of Python's and of this library's modules mean to the compiler."""

from __future__ import annotations

import builtins
import math
import types as python_types
import warnings

from aot.script.values import Cast, Operator, Special
from lowering import types
from lowering.schema_table import schemas_of

_CASTS = {
    int: Cast(types.Int, "aten::Int"), float: Cast(types.Float, "aten::Float"),
    bool: Cast(types.Bool, "aten::Bool"), str: Cast(types.Str, "aten::str"),
    complex: Cast(types.Complex, "aten::Complex"),
}
_SPECIAL_BUILTINS = """print range len enumerate zip isinstance getattr hasattr list tuple dict abs
    min max reversed super""".split()
_OPERATOR_BUILTINS = """sorted round ord chr hash hex oct bin divmod pow""".split()
_BUILTINS: dict[object, object] = {
    **_CASTS,
    **{getattr(builtins, n): Special(n) for n in _SPECIAL_BUILTINS},
    **{getattr(builtins, n): Operator(f"aten::{n}") for n in _OPERATOR_BUILTINS},
    builtins.all: Operator("aten::all"), builtins.any: Operator("aten::any"),
    builtins.sum: Operator("aten::sum"),
}
_JIT = {
    "annotate": "annotate", "isinstance": "isinstance", "is_scripting": "is_scripting",
    "is_tracing": "is_tracing", "fork": "fork", "_fork": "fork", "wait": "wait", "_wait": "wait",
    "Attribute": "annotate", "_unwrap_optional": "unwrap_optional",
}
# Names of torch.nn.functional that are operators, where the operator's name is another.
_FUNCTIONAL = {"logsigmoid": "log_sigmoid"}
_FUNCTIONAL_OPERATORS = frozenset(
    """adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear celu_ channel_shuffle conv1d
    conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity elu_
    gelu hardshrink hardtanh_ leaky_relu_ linear logsigmoid native_channel_shuffle one_hot
    pairwise_distance pdist pixel_shuffle pixel_unshuffle prelu relu_ rrelu_
    scaled_dot_product_attention selu_ softplus softshrink threshold_""".split()
)
# Functions of the torch module that PyTorch writes in Python.
_COMPILED = frozenset("cdist norm stft tensordot unique unique_consecutive lu".split())
_PREFIXES = {"linalg": "linalg_", "fft": "fft_", "special": "special_", "_VF": "", "_C._nn": "",
             "_C": "", "Tensor": ""}


def special_callable(obj: object) -> Special | None:
    """The compiler's own function for functions of Python's library."""
    return Special("warn") if obj is warnings.warn else None


def builtin(obj: object) -> object | None:
    """What a function of Python's builtins means; None for other objects."""
    try:
        return _BUILTINS.get(obj)
    except TypeError:
        return None


def library_path(module: object) -> str | None:
    """'' for aot (or torch), 'nn.functional' for aot.nn.functional ...; None for other modules."""
    name = getattr(module, "__name__", "")
    root, _, rest = name.partition(".")
    return rest if root in ("aot", "torch") else None


def library_member(path: str, name: str) -> object | None:
    """What `torch.<path>.<name>` means; None if it is known by its Python object only."""
    if path == "jit":
        return Special(_JIT[name]) if name in _JIT else None
    if path.startswith("ops."):
        full = f"{path.removeprefix('ops.')}::{name}"
        return Operator(full) if schemas_of(full) else None
    if path == "utils" or path.startswith("jit"):
        return None
    if path == "nn.functional":
        if name in _FUNCTIONAL_OPERATORS:
            return Operator(f"aten::{_FUNCTIONAL.get(name, name)}")
        return None
    if path == "nn" or path.startswith("nn."):
        return None
    if path in _PREFIXES:
        return _operator(_PREFIXES[path] + name)
    if path == "":
        if name in ("device", "Size", "dtype", "layout"):
            return Operator("aten::device") if name == "device" else None
        if name in _COMPILED:
            return None
        if name == "_assert":
            return Special("assert_")
        if name in ("is_grad_enabled", "set_grad_enabled", "manual_seed"):
            return _operator(name)
        return _operator(name)
    return None


def _operator(name: str) -> Operator | None:
    for space in ("aten", "prim"):
        if schemas_of(f"{space}::{name}"):
            return Operator(f"{space}::{name}")
    return None


def math_member(name: str) -> object | None:
    """What `math.<name>` means."""
    value = getattr(math, name, None)
    if isinstance(value, float):
        return value
    name = "mathremainder" if name == "remainder" else name
    return _operator(name)


def is_module(obj: object) -> bool:
    return isinstance(obj, python_types.ModuleType)
