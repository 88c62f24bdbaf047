"""The script compiler against PyTorch's: the same source, compiled by both, gives the same text of
`.graph` and `.code`, apart from source paths and the numbers of mangled names."""

from __future__ import annotations

import importlib.util
import inspect
import pathlib
import re
import sys
import types

import pytest

from tests.conftest import import_torch

torch = import_torch()

import aot  # noqa: E402

SAMPLES = pathlib.Path(__file__).parent / "script_samples"
MODULE = "script_sample"


def load(path: pathlib.Path, library: str, folder: pathlib.Path,
         name: str = MODULE) -> types.ModuleType:
    """The sample as a module, with `library` for torch; its classes say it is `name`."""
    text = path.read_text()
    if library == "aot":
        text = re.sub(r"^import torch$", "import aot as torch", text, flags=re.M)
        text = re.sub(r"^from torch ", "from aot ", text, flags=re.M)
        text = re.sub(r"^import torch\.nn", "import aot.nn", text, flags=re.M)
    copy = folder / f"{library}_{path.name}"
    copy.write_text(text)
    spec = importlib.util.spec_from_file_location(name, copy)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def plain(text: object) -> str:
    """The text without places; warnings are numbered in the order in which a process meets them."""
    text = re.sub(r" # .*", "", str(text))
    return re.sub(r"___torch_mangle_\d+\.|warn_id=\d+", "", text)


def is_sample(name: str, value: object) -> bool:
    return inspect.isfunction(value) and re.fullmatch(r"f\d+|f[a-z]", name) is not None


def cases(kind: str) -> list[tuple[str, str]]:
    found = []
    for path in sorted(SAMPLES.glob(f"{kind}_*.py")):
        text = path.read_text()
        short = path.stem.partition("_")[2]
        if kind == "functions":
            found += [(short, n) for n in re.findall(r"^def (f\d+|f[a-z])\(", text, flags=re.M)]
        else:
            listed = re.search(r"^MODULES ?= ?\[(.*)\]$", text, flags=re.M).group(1)
            found += [(short, str(i)) for i in range(listed.count(",") + 1)]
    return found


def named(kind: str) -> list:
    return [pytest.param(short, name, id=f"{short}-{name}")
            for short, name in cases(kind)]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    loaded: dict[tuple[str, str], types.ModuleType] = {}

    def get(file: str, library: str) -> types.ModuleType:
        key = file, library
        if key not in loaded:
            loaded[key] = load(SAMPLES / f"{file}.py", library, folder)
        sys.modules[MODULE] = loaded[key]
        return loaded[key]

    return get


def compiled(script, value) -> tuple[str, str]:
    found = script(value)
    return plain(found.graph), plain(found.code)


@pytest.mark.parametrize("file, name", named("functions"))
def test_function(samples, file: str, name: str) -> None:
    theirs = getattr(samples(f"functions_{file}", "torch"), name)
    try:
        expected = compiled(torch.jit.script, theirs)
    except Exception:
        expected = None  # PyTorch refuses it, and so must we
    ours = getattr(samples(f"functions_{file}", "aot"), name)
    if expected is None:
        with pytest.raises(aot.jit.ScriptError):
            aot.jit.script(ours)
        return
    assert compiled(aot.jit.script, ours) == expected


def methods_of_torch(module) -> dict[str, tuple[str, str]]:
    return {
        f"{name}.{method}": (plain(sub._c._get_method(method).graph),
                             plain(sub._c._get_method(method).code))
        for name, sub in module.named_modules() for method in sub._c._method_names()
    }


def methods(module) -> dict[str, tuple[str, str]]:
    return {
        f"{name}.{method}": (plain(sub.method(method).graph), plain(sub.method(method).code))
        for name, sub in module.named_modules() for method in sub.method_names()
        if method not in (*sub.object.type.forward_hooks, *sub.object.type.forward_pre_hooks)
    }


@pytest.mark.parametrize("file, number", named("modules"))
def test_module(samples, file: str, number: str) -> None:
    theirs = samples(f"modules_{file}", "torch").MODULES[int(number)]
    expected = methods_of_torch(torch.jit.script(theirs().eval()))
    ours = samples(f"modules_{file}", "aot").MODULES[int(number)]
    assert methods(aot.jit.script(ours().eval())) == expected
