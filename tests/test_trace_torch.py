"""Traces are what PyTorch records: `.graph` and `.code`, of every module on the way."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest

import aot
from runtime.errors import AotError
from tests.conftest import import_torch
from tests.traced_programs import functions, modules

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")  # each use of torch.jit warns that it is old

FUNCTIONS = list(functions(aot))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MODULES = list(modules(aot))


def shown(x: Any) -> str:
    """A graph or code without what depends on the machine and on what was traced before."""
    text = re.sub(r"(, scope: \S+)? # .*", "", str(x))
    return re.sub(r"___torch_mangle_\d+\.", "", text)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    texts = []
    for t in (torch, aot):
        t.manual_seed(3)
        traced = t.jit.trace(functions(t)[name], t.rand(3, 4))
        texts.append((shown(traced.graph), shown(traced.code)))
    assert texts[1] == texts[0]


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    texts = []
    for t in (torch, aot):
        module, inputs = modules(t)[name]
        t.manual_seed(3)
        traced = t.jit.trace(module, inputs)
        texts.append([
            (path, shown(m.graph), shown(m.code)) for path, m in traced.named_modules()
            if has_forward(m)
        ])
        texts[-1].append(repr(traced))
    assert texts[1] == texts[0]


def has_forward(module: Any) -> bool:
    try:
        return bool(module.code)
    except (AttributeError, RuntimeError, AotError):
        return False
