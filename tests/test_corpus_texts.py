"""Archives that PyTorch wrote, loaded by both: every module's every method has the same text of
`.graph`, `.inlined_graph`, `.code` and `.code_with_constants`, apart from source paths and the
numbers of warnings."""

from __future__ import annotations

import pathlib
import re
import warnings

import pytest

from tests.conformance.corpus_table import FOLDERS
from tests.conftest import import_torch

torch = import_torch()

import aot  # noqa: E402

KINDS = ("graph", "inlined_graph", "code", "code_with_constants")
ARCHIVES = [path for folder in FOLDERS for path in sorted(folder.glob("*.pt"))]


def text(method: object, kind: str) -> str:
    """PyTorch counts warnings of the whole process, and places are paths of files."""
    found = getattr(method, kind)
    found = found[0] if kind == "code_with_constants" else found
    return re.sub(r"warn_id=\d+", "", re.sub(r" # .*", "", str(found)))


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_texts(path: pathlib.Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.jit.load(str(path))
    ours = dict(aot.jit.load(str(path)).named_modules())
    compared, unequal = 0, []
    for name, module in theirs.named_modules():
        for method in module._c._method_names():
            for kind in KINDS:
                expected = text(module._c._get_method(method), kind)
                compared += 1
                if text(ours[name].method(method), kind) != expected:
                    unequal.append(f"{name}.{method} {kind}")
    assert compared and not unequal
