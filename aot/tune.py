"""--tune: the cost model's choices checked by measurement.

Every product of a program (matrix products, convolutions) is compiled with the knobs that the cost
model chooses and with others near them, and timed on this machine, weights coming from where they
come from in the program. The fastest are kept in the database (aot/tuned.py), which compilations
read.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aot import output, tuned
from aot.options import CompileOptions
from aot.pipeline import products_of
from aot.progress import Progress
from lowering.schedule.contraction import schedule_product
from lowering.schedule.knobs import Knobs, candidates, knobs_fit, knobs_of
from lowering.schedule.product import Product
from lowering.schedule.storage import MemoryBuffer
from llvm_backend.jit import KernelFunction, KernelLibrary, check_runs_here
from llvm_backend.target import Target
from runtime.dtypes import to_storage
from runtime.errors import CompileError

_TILES = 10  # that are tried for each kernel
_ROUNDS, _TURN = 5, 0.002  # every candidate runs so often, for so many seconds
_DUEL = 15  # rounds of the cost model's choice and the fastest, by turns
_LEAST = 1.03  # what must be gained to be kept: less may be chance
_TOLERANCE = 1e-3  # relative, between candidates: they add up in another order
_MOST_COPIES = 64  # of weights


@dataclass(frozen=True)
class Outcome:
    """A kernel: its text, the CPU, what the cost model chose, what was fastest, and how many times
    faster that was; seconds of a call with the former."""

    kernel: str
    cpu: str
    chosen: Knobs
    fastest: Knobs
    ratio: float
    seconds: float


def tune_archive(path: Path, options: CompileOptions, progress: Progress) -> list[Outcome]:
    """Measures the products of an archive's methods, and keeps the fastest knobs of each in the
    database. CompileError where it cannot be written."""
    database = tuned.database(options, make=True)
    if database is None:
        raise CompileError("--tune: there is no folder to keep what is found; give --tune-db FILE")
    output.check_writable(database, path)
    progress.stage("read")
    module = importlib.import_module("aot.jit").load(path)
    outcomes = []
    measured: dict[str, tuned.Rows] = {}
    for name, target, products, weights in products_of(module, options, path, progress, measured):
        check_runs_here(target)
        progress.stage(f"tune {name}", len(products))
        found: tuned.Rows = {}
        for text, product in products.items():
            outcome = _measured(text, product, name, target, weights)
            progress.step(text)
            found[text] = outcome.fastest.row()
            outcomes.append(outcome)
        measured[name] = found
        tuned.keep_rows(database, name, found)
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """The outcomes, those that gained most time first, and a line that sums them up."""
    lines = [("kernel", "cost model", "us", "fastest", "ratio")]
    for o in sorted(outcomes, key=lambda o: o.seconds / o.ratio - o.seconds):
        fastest = str(o.fastest) if o.fastest != o.chosen else "the same"
        lines.append((o.kernel, str(o.chosen), f"{o.seconds * 1e6:.1f}", fastest,
                      f"{o.ratio:.2f}"))
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines]
    gained = [o for o in outcomes if o.fastest != o.chosen]
    before = sum(o.seconds for o in outcomes)
    after = sum(o.seconds / o.ratio for o in outcomes)
    return "\n".join([*text, f"tune: {len(gained)} of {len(outcomes)} kernels faster, one call of "
                             f"each {before * 1e3:.3f} -> {after * 1e3:.3f} ms"])


def _measured(text: str, product: Product, name: str, target: Target, weights: int) -> Outcome:
    """weights: bytes of the program's; so far apart in time a kernel reads its own again."""
    tried = [k for k in candidates(product, target, _TILES) if knobs_fit(k, product, target)]
    chosen = tried[0]
    runs = _runnable(product, tried, target, weights)
    _check_answers(runs, text)
    best = [min(_seconds(run) for _ in range(2)) for run in runs]
    for _ in range(_ROUNDS - 2):
        limit = 1.5 * min(best)  # what is far behind is given up
        best = [min(t, _seconds(run)) if t < limit else t for t, run in zip(best, runs)]
    k = best.index(min(best))
    ratio = 1.0
    if k and best[0] > _LEAST * best[k]:
        pairs = [(_seconds(runs[0]), _seconds(runs[k])) for _ in range(_DUEL)]
        ratio = statistics.median(a / b for a, b in pairs)
    if ratio < _LEAST:
        k, ratio = 0, 1.0
    return Outcome(text, name, chosen, tried[k], ratio, best[0])


@dataclass
class _Run:
    """A candidate, ready to be called again and again; `result` is what it writes, `memory` what
    its calls work on."""

    call: Callable[[], None]
    result: np.ndarray
    memory: list[np.ndarray]
    calls: int = 1  # that one measurement makes


def _seconds(run: _Run) -> float:
    """Of a call, in CPU time: others may use the machine."""
    begun = time.thread_time()
    for _ in range(run.calls):
        run.call()
    seconds = (time.thread_time() - begun) / run.calls
    run.calls = max(1, int(_TURN / max(seconds, 1e-7)))
    return seconds


def _runnable(product: Product, tried: list[Knobs], target: Target, weights: int) -> list[_Run]:
    """The candidates as machine code, on the same memory but for what each packs for itself."""
    plans = [schedule_product(product, knobs, target, f"c{n}") for n, knobs in enumerate(tried)]
    kernels = [kernel for plan in plans for kernel, _ in plan]
    functions = iter(KernelLibrary(kernels, target).functions)
    arrays: dict[MemoryBuffer, np.ndarray] = {}
    random = np.random.default_rng(0)

    def filled(memory: MemoryBuffer) -> np.ndarray:
        if memory not in arrays:
            if memory.source is not None:
                source = MemoryBuffer(memory.source.dtype, memory.source.size, "constant",
                                      data=filled(memory.source))
                values = MemoryBuffer(memory.dtype, memory.size, "constant", source=source,
                                      packing=memory.packing).contents()
            elif memory.dtype.is_float:
                values = to_storage(random.standard_normal(memory.size).astype(
                    memory.dtype.compute), memory.dtype)
            else:
                values = np.zeros(memory.size, memory.dtype.storage)
            arrays[memory] = _aligned(values)
        return arrays[memory]

    runs = []
    for plan in plans:
        # A call uses the next copy of the weights, which caches have lost by then.
        packed = {m for _, used in plan for m in used if m.packing is not None}
        size = sum(filled(m).nbytes for m in packed)
        count = min(max(1, -(-min(weights, 2 * target.l3) // max(size, 1))), _MOST_COPIES)
        copies = [{m: _aligned(filled(m)) for m in packed} for _ in range(count if packed else 1)]
        steps = [(next(functions), used) for _, used in plan]
        turns = [[f.bound(*(copy.get(m, filled(m)) for m in used)) for f, used in steps]
                 for copy in copies]
        memory = [a for held in (arrays, *copies) for a in held.values()]
        runs.append(_Run(_in_turn(turns), filled(product.nest.store), memory))
    return runs


def _in_turn(turns: list[list[Callable[[], None]]]) -> Callable[[], None]:
    at = 0

    def call() -> None:
        nonlocal at
        for function in turns[at]:
            function()
        at = (at + 1) % len(turns)

    return call


def _check_answers(runs: list[_Run], text: str) -> None:
    """All candidates compute the same; also warms them up."""
    start, wanted = runs[0].result.copy(), None
    for run in runs:
        run.result[:] = start
        run.call()
        if run.result.dtype.kind != "f":
            continue
        if wanted is None:
            wanted = run.result.copy()
        error = np.abs(run.result - wanted).max(initial=0.0)
        if not error <= _TOLERANCE * np.abs(wanted).max(initial=0.0):
            raise AssertionError(f"knobs change the result of {text} by {error}")


def _aligned(values: np.ndarray) -> np.ndarray:
    raw = np.empty(values.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    array = raw[start:start + values.nbytes].view(values.dtype)
    array[:] = values
    return array
