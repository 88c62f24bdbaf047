"""TorchScript functions under partial evaluation against PyTorch: what the tests of it share.

Each function runs three ways: with everything known (run_method), as a tensor program with the
numbers compiled in, and as one with the numbers given at run time.
"""

from __future__ import annotations

import io

import numpy as np
import pytest

from aot.archive.reader import read_archive
from lowering.evaluate import InputSpec, evaluate, run_method
from lowering.interpreter import run_program
from runtime import structure
from runtime.dtypes import dtype_of_numpy, to_compute, to_storage
from tests.conftest import import_torch

torch = import_torch()


def load(fn):
    """Our Function of a Python function or module, by way of an archive."""
    scripted = fn if isinstance(fn, torch.jit.ScriptFunction) else torch.jit.script(fn)
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    archive = read_archive(buffer.getvalue())
    return scripted, archive.root.type.methods["forward"], archive.root


def to_ours(x):
    if isinstance(x, torch.Tensor):
        return x.detach().numpy().copy()
    if isinstance(x, (list, tuple)):
        return type(x)(map(to_ours, x))
    return {k: to_ours(v) for k, v in x.items()} if isinstance(x, dict) else x


def spec(x, arrays, numbers_at_run_time):
    if isinstance(x, torch.Tensor):
        array = x.detach().numpy()
        dtype = dtype_of_numpy(array.dtype)
        arrays.append(to_compute(array, dtype))
        return InputSpec("", "tensor", dtype, tuple(x.shape))
    if isinstance(x, (list, tuple)):
        kind = "list" if isinstance(x, list) else "tuple"
        return InputSpec("", kind, items=tuple(spec(v, arrays, numbers_at_run_time) for v in x))
    if isinstance(x, dict):
        items = tuple(spec(v, arrays, numbers_at_run_time) for v in x.values())
        return InputSpec("", "dict", items=items, keys=tuple(x))
    if numbers_at_run_time and isinstance(x, (bool, int, float)):
        kind = type(x).__name__
        arrays.append(np.array(x, {"int": np.int64, "float": np.float64, "bool": np.bool_}[kind]))
        return InputSpec("", kind)
    return InputSpec("", "constant", value=x)


def agree(ours, theirs, where="result", rel=1e-12):
    if isinstance(theirs, torch.Tensor):
        assert np.shape(ours) == tuple(theirs.shape), where
        assert str(np.asarray(ours).dtype) == str(theirs.dtype).removeprefix("torch."), where
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5,
                                   atol=1e-5, err_msg=where)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, (list, tuple)) and len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs)):
            agree(a, b, f"{where}[{i}]", rel)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for k in theirs:
            agree(ours[k], theirs[k], f"{where}[{k!r}]", rel)
    else:
        assert type(ours) is type(theirs), (where, ours, theirs)
        if isinstance(theirs, float):
            assert ours == pytest.approx(theirs, rel=rel, abs=rel, nan_ok=True), where
        else:
            assert ours == theirs, (where, ours, theirs)


def program_of(function, root, args, numbers_at_run_time=True):
    arrays: list = []
    specs = [spec(x, arrays, numbers_at_run_time) for x in args]
    return evaluate(function, root, specs), arrays


def run_compiled(program, arrays):
    values = []
    for value, array in zip(program.body.results, run_program(program, arrays)):
        values.append(array.item() if value.wrapped else to_storage(array, value.dtype))
    return structure.build(structure.parse(program.output_structure), iter(values))


def compare(fn, *args, run_time=True):
    scripted, function, root = load(fn)

    def copy(x):
        if isinstance(x, torch.Tensor):
            return x.clone()
        if isinstance(x, (list, tuple)):
            return type(x)(map(copy, x))
        return dict(x) if isinstance(x, dict) else x

    expected = scripted(*map(copy, args))
    agree(run_method(function, [root, *map(to_ours, args)]), expected, "run_method")
    agree(run_compiled(*program_of(function, root, args, False)), expected, "numbers known")
    if run_time:
        program, arrays = program_of(function, root, args, True)
        agree(run_compiled(program, arrays), expected, "numbers at run time")
        return program
    return None


def kinds(program):
    def walk(region):
        for op in region.ops:
            yield type(op).__name__
            for inner in op.regions():
                yield from walk(inner)

    return list(walk(program.body))


X = torch.arange(12.0).reshape(3, 4) - 5
