"""Wrong arguments: where PyTorch refuses a sample of its list of errors, the entry refuses it too."""

from __future__ import annotations

import pytest

from lowering.ops import TABLE
from tests.conftest import import_torch

torch = import_torch()

from tests.operator_samples import BORROWED  # noqa: E402
from tests.operator_sweep import ENTRY_ERRORS, describe, opinfos, seed  # noqa: E402
from tests.opinfo_harness import (  # noqa: E402
    NotBound, Sample, bind, build, interpret, reference, supported,
)
from runtime.errors import RuntimeFailure  # noqa: E402

WITH_ERRORS = sorted(n for n in TABLE
                     if any(i.error_inputs_func for i in opinfos().get(BORROWED.get(n, (n,))[0], [])))


def accepted(name: str) -> list[str]:
    """Samples that PyTorch refuses and the entry takes."""
    source, adapt = BORROWED.get(name, (name, None))
    found = []
    for info in opinfos().get(source, []):
        if info.error_inputs_func is None:
            continue
        seed()
        for wrong in info.error_inputs("cpu"):
            s = wrong.sample_input
            sample = Sample([s.input, *s.args], dict(s.kwargs))
            try:
                sample = adapt(sample) if adapt else sample
            except (RuntimeError, IndexError):  # too wrong to be turned into this overload's
                continue
            if sample is None or not supported(sample.args) or not supported(sample.kwargs):
                continue
            try:
                entry, bound = bind(name, sample.args, sample.kwargs)
            except NotBound:
                continue
            try:
                reference(entry, bound)
            except Exception as error:  # the sample is wrong for this overload as well
                message = str(error).splitlines()[0][:150]
                if "Expected a value of type" in message:  # it is another overload's
                    continue
            else:
                continue
            try:
                program, arrays = build(entry, bound)
                interpret(program, arrays)
            except (*ENTRY_ERRORS, RuntimeFailure):
                continue
            found.append(f"{name}.{entry.schema.overload} {describe(sample)}: {message}")
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WITH_ERRORS)
def test_wrong_arguments_are_refused(name: str) -> None:
    wrong = accepted(name)
    assert not wrong, "\n".join(wrong)
