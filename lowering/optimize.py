"""The tensor passes, in order."""

from __future__ import annotations

from typing import Callable

from lowering.passes.fold_constants import fold_constants
from lowering.passes.fuse import fuse
from lowering.passes.rewriting import remove_dead
from lowering.passes.share_common import share_common
from lowering.tensor_ir import Region, TensorProgram

# Why this order: what is written twice is folded once; folding turns rearranged weights into
# constants, which fusion must not take apart again; fusion sees no op that nobody reads.
PASSES: tuple[tuple[str, Callable[[Region], None]], ...] = (
    ("share_common", share_common),
    ("fold_constants", fold_constants),
    ("remove_dead", remove_dead),
    ("fuse", fuse),
)


def optimize(program: TensorProgram, without: frozenset[str] = frozenset(),
             after: Callable[[str, TensorProgram], None] | None = None) -> None:
    """Runs all passes in place, but for those named; `after` is called with each one's name."""
    for name, run in PASSES:
        if name not in without:
            run(program.body)
            if after is not None:
                after(name, program)
