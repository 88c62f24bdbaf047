"""Nests whose addresses bend are cut where they do, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from lowering import build as B
from lowering import expr as E
from lowering.index_algebra import contiguous_strides
from lowering.interpreter import run_program
from lowering.schedule.nest import nest_of
from lowering.schedule.pieces import affine_pieces
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import f32
from tests.compiled_engines import run_compiled

I = E.index


def reflected(i: E.Expr, n: int, by: int) -> E.Expr:
    from_start = E.unary("abs", i - by)
    return E.minimum(from_start, E.const(2 * n - 2) - from_start)


def clamped(i: E.Expr, n: int, by: int) -> E.Expr:
    return E.minimum(E.maximum(i - by, 0), n - 1)


def wrapped(i: E.Expr, n: int, by: int) -> E.Expr:
    return (i + (n - by)) % n


PADDINGS = {"reflect": reflected, "replicate": clamped, "circular": wrapped}


def padded(kind: str, rows: int, columns: int, by: int) -> tuple[TensorProgram, list[np.ndarray]]:
    """x[4, rows, columns] padded on four sides, times 2."""
    x = np.random.default_rng(rows).standard_normal((4, rows, columns)).astype(np.float32)
    region = Region([Value(x.shape, f32)])
    at = PADDINGS[kind]
    with B.collect(region):
        y = B.generic((4, rows + 2 * by, columns + 2 * by), 3, E.load(region.params[0], [
            I(0), at(I(1), rows, by), at(I(2), columns, by)]) * 2)
        region.results = [y]
    return TensorProgram("forward", region, ["x"], "", ""), [x]


@pytest.mark.parametrize("kind", PADDINGS)
@pytest.mark.parametrize("rows, columns, by", [(56, 56, 1), (19, 133, 3), (5, 40, 2), (200, 60, 4)])
@pytest.mark.parametrize("cpu, threads", [("native", 1), ("native", 2), ("x86-64-v2", 1)])
def test_padding_is_what_the_interpreter_says(kind, rows, columns, by, cpu, threads) -> None:
    program, arrays = padded(kind, rows, columns, by)
    expected, = run_program(program, arrays)
    found, = run_compiled(padded(kind, rows, columns, by)[0], arrays, True, cpu, threads)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", PADDINGS)
def test_the_middle_reads_at_fixed_distances(kind) -> None:
    program, _ = padded(kind, 56, 60, 2)
    op = program.body.ops[-1]
    storages = {v: Storage(MemoryBuffer(f32, v.numel, "arena"), contiguous_strides(v.shape))
                for v in (program.body.params[0], op.out)}
    pieces = affine_pieces(nest_of(op, storages))
    assert len(pieces) == 9
    assert sum(piece.points for piece in pieces) == op.out.numel
    middle = max(pieces, key=lambda piece: piece.points)
    assert middle.points == 4 * 56 * 60
    load, = middle.accesses()
    assert all(atom.op == "index" for atom in middle.algebra.affine(load.args[0])[0])


def test_short_and_straight_nests_stay_whole() -> None:
    program, _ = padded("reflect", 4, 5, 1)
    op = program.body.ops[-1]
    storages = {v: Storage(MemoryBuffer(f32, v.numel, "arena"), contiguous_strides(v.shape))
                for v in (program.body.params[0], op.out)}
    assert len(affine_pieces(nest_of(op, storages))) == 1
