"""aot: an ahead-of-time compiler for TorchScript archives.

    aot.jit.load(path)     the module of an archive, to look at and to call; no PyTorch
    aot.compile(module, example_inputs=(x,))    machine code of it, to call and to save
    aot.load_library(path)     a compiled library; needs numpy alone
    aot.tensor, aot.nn, aot.relu ...    tensors, layers and operators, by PyTorch's names

Names are imported when first used: `import aot` is light, and LLVM is loaded by the first compile.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from aot.version import VERSION as __version__

# Module -> the names that it has.
_MODULES: dict[str, str] = {
    "aot.compiler": "compile",
    "runtime.loader": "load_library",
    "aot.tensor_core": "Tensor",
    "aot.dtypes": "dtype device layout memory_format Size finfo iinfo get_default_dtype "
    "set_default_dtype uint8 int8 int16 short int32 int64 long float16 half float32 float64 double "
    "bfloat16 complex64 complex128 cfloat cdouble strided contiguous_format preserve_format "
    "channels_last channels_last_3d",
    "aot.grad_mode": "no_grad enable_grad inference_mode set_grad_enabled is_grad_enabled "
    "is_inference_mode_enabled",
    "aot.tensor_creation": "tensor as_tensor asarray from_numpy from_dlpack zeros ones empty full "
    "arange linspace logspace eye zeros_like ones_like empty_like full_like",
    "aot.tensor_functions": "is_tensor is_storage is_floating_point numel typename "
    "is_nonzero result_type promote_types can_cast broadcast_shapes broadcast_tensors meshgrid "
    "einsum block_diag cartesian_prod tensordot is_inference get_num_threads set_num_threads "
    "_assert",
    "aot.complex_tensor": "ComplexTensor complex polar view_as_complex view_as_real is_complex",
    "aot.printing": "set_printoptions",
    "aot.random": "Generator manual_seed seed initial_seed default_generator get_rng_state "
    "set_rng_state rand randn randint randperm rand_like randn_like randint_like normal",
    "aot.serialization": "save load",
}
# Name -> the module that has it; None as the attribute means the module itself.
_LAZY: dict[str, tuple[str, str | None]] = {
    "jit": ("aot.jit", None),
    "nn": ("aot.nn", None),
    "autograd": ("aot.autograd", None),
    "optim": ("aot.optim", None),
    "linalg": ("aot.linalg", None),
    "special": ("aot.special", None),
    "random": ("aot.random", None),
    "cuda": ("aot.cuda", None),
    "float": ("aot.dtypes", "float_"),
    "int": ("aot.dtypes", "int_"),
    "bool": ("aot.dtypes", "bool_"),
    **{name: (module, name) for module, names in _MODULES.items() for name in names.split()},
}
_NUMBERS = {"inf": float("inf"), "nan": float("nan"), "pi": 3.141592653589793,
            "e": 2.718281828459045, "newaxis": None}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        module_name, attribute = _LAZY[name]
        module = importlib.import_module(module_name)
        value = module if attribute is None else getattr(module, attribute)
    elif name in _NUMBERS:
        value = _NUMBERS[name]
    else:
        value = None
        if (Path(__file__).parent / f"{name}.py").exists():
            value = importlib.import_module(f"aot.{name}")
        elif not name.startswith("__"):
            value = importlib.import_module("aot.operator_functions").function(name)
        if value is None:
            raise AttributeError(f"module 'aot' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    operators = importlib.import_module("aot.operator_functions").names()
    return sorted({*globals(), *_LAZY, *_NUMBERS, *operators})
