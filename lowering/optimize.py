"""The tensor passes, in order."""

from __future__ import annotations

from typing import Callable

from lowering.passes.fold_constants import fold_constants
from lowering.passes.fuse import fuse
from lowering.passes.group_tasks import group_tasks
from lowering.passes.narrow_weights import narrow_weights
from lowering.passes.rewriting import remove_dead
from lowering.passes.row_groups import gather_row_groups
from lowering.passes.share_common import share_common
from lowering.passes.split_pointwise import split_pointwise
from lowering.passes.winograd import winograd
from lowering.tensor_ir import Region, TensorProgram
from llvm_backend.target import Target

# Why this order: what is written twice is folded once; folding turns rearranged weights into
# constants, which fusion must not take apart again; fusion sees no op that nobody reads, and makes
# one function of what is applied to a concatenation before it is split. Weights are narrowed when
# fusion is done, which looks for plain ones. Winograd's transforms come late, since they take along
# what was fused behind a convolution; they leave narrow weights alone, as they would enlarge the
# error. Chains of rows are put together last: they are made of the ops that are left.
# What is forked comes first of all: ops of tasks that are none are ops like the others.
PASSES: tuple[tuple[str, Callable[[Region, Target], None]], ...] = (
    ("group_tasks", group_tasks),
    ("share_common", lambda region, _: share_common(region)),
    ("fold_constants", lambda region, _: fold_constants(region)),
    ("remove_dead", lambda region, _: remove_dead(region)),
    ("fuse", lambda region, _: fuse(region)),
    ("split_pointwise", lambda region, _: split_pointwise(region)),
    ("narrow_weights", narrow_weights),
    ("winograd", winograd),
    ("gather_row_groups", gather_row_groups),
)


def optimize(program: TensorProgram, target: Target, without: frozenset[str] = frozenset(),
             after: Callable[[str, TensorProgram], None] | None = None) -> None:
    """Runs all passes in place, but for those named; `after` is called with each one's name."""
    for name, run in PASSES:
        if name not in without:
            run(program.body, target)
            if after is not None:
                after(name, program)
