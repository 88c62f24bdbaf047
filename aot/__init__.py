"""aot: an ahead-of-time compiler for TorchScript archives.

    aot.jit.load(path)     the module of an archive, to look at and to call; no PyTorch
    aot.compile(module, example_inputs=(x,))    machine code of it, to call and to save
    aot.load_library(path)     a compiled library; needs numpy alone

Names are imported when first used: `import aot` is light, and LLVM is loaded by the first compile.
"""

from __future__ import annotations

import importlib

from aot.version import VERSION as __version__

# Name -> the module that has it; None as the attribute means the module itself.
_LAZY: dict[str, tuple[str, str | None]] = {
    "jit": ("aot.jit", None),
    "compile": ("aot.compile", "compile"),
    "load_library": ("runtime.loader", "load_library"),
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'aot' has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = importlib.import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
