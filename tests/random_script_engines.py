"""Runs random TorchScript programs (random_scripts.py) through PyTorch and through each engine.

What must agree: results in structure, type and value; what a program raises in its message, with
the engines' own words for indices out of range. A program that an engine refuses does not agree.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import aot
from aot.jit_module import ScriptModule
from runtime.errors import AotError, RuntimeFailure
from tests.random_scripts import Program, program

AGREES = "agrees"
FAILED = "PyTorch does not take the program"
LOST = "Expected Tensor but got None"  # an error of PyTorch's interpreter, not of the program
ALWAYS = "the program raises for these inputs: "  # told when compiling, not only when running


@dataclass(frozen=True)
class Raises:
    """What a call raises in place of a result."""

    message: str


@functools.cache
def torch_module() -> ModuleType:
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    return torch


def import_source(source: str, folder: Path, name: str) -> ModuleType:
    """The source as a module; from a file, because scripting reads it."""
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(made: Program) -> Any:
    """The program as PyTorch's ScriptModule. Raises what PyTorch raises."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = import_source(made.source, Path(folder), f"program{made.seed}").M()
        return torch_module().jit.script(module)


def archive(scripted: Any) -> ScriptModule:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch_module().jit.save(scripted, buffer)
    buffer.seek(0)
    return aot.jit.load(buffer)


def arrays(call: list[object]) -> list[Any]:
    """The arguments of a call with arrays for tensors, new ones each time."""
    return [np.array(x[2]).astype(x[0]).reshape(x[1]) if isinstance(x, tuple) else x for x in call]


def expected(scripted: Any, calls: list[list[object]]) -> list[Any]:
    """What PyTorch gives for each call, up to and including the first that raises: what a failed
    call has changed by then stays changed in PyTorch, and not in compiled code."""
    torch = torch_module()
    found: list[Any] = []
    for call in calls:
        given = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arrays(call)]
        try:
            with torch.no_grad(), torch.jit.optimized_execution(False):  # it drops dead errors
                found.append(_plain(scripted(*given)))
        except Exception as e:  # whatever the program raises
            message = str(e).strip().splitlines()[-1]
            return found if message.endswith(LOST) else [*found, Raises(message)]
    return found


def _plain(value: Any) -> Any:
    """Tensors as arrays, copied: the program may write to them in its next call."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if hasattr(value, "numpy"):
        value = value.numpy()
    return value.copy() if isinstance(value, np.ndarray) else value


def words(call: list[object]) -> list[str]:
    """The --input words of a call's arguments: numbers are given at run time, texts are not."""
    names = {"float32": "f32", "float64": "f64", "int64": "i64", "bool": "bool"}
    return [
        f"a{k}:{names[x[0]]}[{','.join(map(str, x[1]))}]" if isinstance(x, tuple)
        else f"a{k}:str={x}" if isinstance(x, str) else f"a{k}:{type(x).__name__}"
        for k, x in enumerate(call)
    ]


def engines(loaded: ScriptModule, made: Program, plain: bool) -> dict[str, Callable]:
    """The ways to run a program, by name. Raises the compiler's errors."""
    optimised = aot.compile(loaded, inputs=words(made.calls[0]))
    found = {"interpreted": optimised.interpret, "optimised": optimised}
    if plain:
        found["plain"] = aot.compile(loaded, inputs=words(made.calls[0]), optimize=False)
    return found


def problem(made: Program, plain: bool = True) -> str:
    """What does not agree, in one line or more; empty where everything does. It begins with FAILED
    for what is no program of TorchScript."""
    try:
        scripted = script(made)
    except Exception as e:  # PyTorch's compiler raises many kinds
        return f"{FAILED}: {e}"
    loaded = archive(scripted)
    wanted = expected(scripted, made.calls)
    try:
        ways = engines(loaded, made, plain)
    except AotError as e:
        text = str(e)
        if wanted and isinstance(wanted[0], Raises) and (ALWAYS in text or _said(wanted[0]) in text):
            return ""
        return f"refused: {text}"
    except Exception as e:  # an internal error
        return f"compiler: {type(e).__name__}: {e}"
    for name, run in ways.items():
        for k, (call, want) in enumerate(zip(made.calls, wanted)):
            try:
                found: Any = run(*arrays(call))
            except RuntimeFailure as e:
                found = Raises(str(e).strip())
            except Exception as e:  # an internal error
                return f"{name}: call {k}: {type(e).__name__}: {e}"
            difference = differs(found, want)
            if difference:
                return f"{name}: call {k}: {difference}"
    return ""


_POSITIONS = ("index", "out of range", "out of bounds", "KeyError", "pop from empty")


def differs(found: Any, wanted: Any, where: str = "result") -> str:
    """How a result differs from PyTorch's; empty if it does not."""
    if isinstance(wanted, Raises) or isinstance(found, Raises):
        if type(found) is not type(wanted):
            return f"{_brief(found)}, expected {_brief(wanted)}"
        if any(word in wanted.message for word in _POSITIONS):
            return ""
        if _said(wanted) in found.message:
            return ""
        return f"raises {found.message!r}, not {wanted.message!r}"
    if isinstance(wanted, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(found) != len(wanted):
            return f"{where} is {_brief(found)}, expected {_brief(wanted)}"
        parts = [differs(f, w, f"{where}[{i}]") for i, (f, w) in enumerate(zip(found, wanted))]
        return next(filter(None, parts), "")
    if isinstance(wanted, dict):
        if not isinstance(found, dict) or list(found) != list(wanted):
            return f"{where} is {_brief(found)}, expected {_brief(wanted)}"
        return next(filter(None, (differs(found[k], w, f"{where}[{k!r}]")
                                  for k, w in wanted.items())), "")
    if wanted is None or isinstance(wanted, str):
        return "" if found == wanted else f"{where} is {_brief(found)}, expected {wanted!r}"
    f, w = np.asarray(found), np.asarray(wanted)
    if f.shape != w.shape or f.dtype != w.dtype:
        return f"{where} is {_brief(found)}, expected {_brief(wanted)}"
    rough = 1e-4 if w.dtype == np.float32 else 1e-5  # sums of float32 numbers become float64
    if w.dtype.kind != "f":
        rough = 0
    if not np.allclose(f, w, rtol=rough, atol=rough, equal_nan=True):
        return f"{where} is {_brief(found)}, expected {_brief(wanted)}"
    return ""


def _said(raised: Raises) -> str:
    """The message without the class of the exception."""
    return raised.message.rpartition("Error: ")[2].rpartition("Exception: ")[2]


def _brief(value: Any) -> str:
    text = f"{value.dtype} {value.tolist()}" if isinstance(value, np.ndarray) else repr(value)
    return " ".join(text.split())[:300]


def main() -> int:
    """python -m tests.random_script_engines FIRST LAST: a line for each seed, and what is wrong."""
    first, last = map(int, sys.argv[1:3])
    bad = 0
    for seed in range(first, last):
        found = problem(program(seed))
        bad += bool(found)
        print(f"{seed}: {found or AGREES}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
