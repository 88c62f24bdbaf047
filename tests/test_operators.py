"""Every entry of the operator table against PyTorch: a few samples of each overload and dtype
through the interpreter, one through compiled code.

The whole sweep is tests/conformance/operators.py.
"""

from __future__ import annotations

import pytest

from lowering.ops import TABLE
from tests.conftest import import_torch

torch = import_torch()

from tests.operator_sweep import sweep  # noqa: E402  (imports torch)


# torchvision's are compared with it by the conformance table; here test_detection_operators.py does.
NAMES = sorted(name for name in TABLE if name.startswith("aten::"))


def few(dtype: torch.dtype) -> int:
    return 5 if dtype is torch.float32 else 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_operator(name: str) -> None:
    report = sweep(name, few)
    assert not report.failures, "\n".join(report.failures)
    assert not report.unchecked(), f"no sample reaches {report.unchecked()}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_operator_compiled(name: str) -> None:
    """One sample of each overload through plain and optimised code; conformance has the others."""
    report = sweep(name, lambda dtype: int(dtype is torch.float32), ("unoptimised", "optimised"))
    assert not report.failures, "\n".join(report.failures)
    assert not report.unchecked(), f"no sample reaches {report.unchecked()}"


def torch_schemas() -> dict[str, str]:
    """PyTorch's schema text by qualified name and overload, symbolic ints as ints."""
    found = {}
    for schema in torch._C._jit_get_all_schemas():
        text = str(schema).replace("SymInt", "int").replace("SymBool", "bool")
        found[text.partition("(")[0]] = text
    return found


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_pytorchs(name: str) -> None:
    """Names, types, order and defaults of the arguments are what archives call."""
    known = torch_schemas_once()
    for entry in TABLE[name]:
        head = entry.name + (f".{entry.schema.overload}" if entry.schema.overload else "")
        ours = entry.schema.text.strip()
        ours = ours if ours.startswith("aten::") else f"aten::{ours}"
        assert head in known, f"PyTorch has no {head}"
        assert ours == known[head]


_known: dict[str, str] = {}


def torch_schemas_once() -> dict[str, str]:
    if not _known:
        _known.update(torch_schemas())
    return _known
