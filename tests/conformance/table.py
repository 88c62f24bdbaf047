"""Runs the cases of a suite in worker processes and prints the table.

A case that crashes its worker, or is not done in time, costs its own row only.
"""

from __future__ import annotations

import math
import selectors
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from tests.conformance.case import Case, Row
from tests.conformance.compare import TOLERANCE

HEADER = (
    "model", "compile s", "peak MB", "largest relative error", "ours ms (min)",
    "TorchScript frozen ms (min)", "TorchScript / ours", "",
)  # fmt: skip


def run_cases(suite: str, cases: Sequence[Case], seconds: float, batch: int = 1) -> Iterable[Row]:
    """A row a case, in order. `batch` cases share a process; each has `seconds` to finish."""
    waiting = list(cases)
    while waiting:
        group = [case.name for case in waiting[:batch]]
        done = 0
        for row in _run_worker(suite, group, seconds):
            done += 1
            yield row
        waiting = waiting[done:]


def _run_worker(suite: str, names: list[str], seconds: float) -> Iterable[Row]:
    """Rows of one worker; when it dies or stalls, a last row that says so. At least one row."""
    command = [sys.executable, "-m", "tests.conformance.worker", suite, *names]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert child.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(child.stdout, selectors.EVENT_READ)
    done, deadline = 0, time.monotonic() + seconds
    try:
        while done < len(names):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                yield Row(names[done], error=f"not done after {seconds:.0f} s")
                return
            line = child.stdout.readline()
            if not line:
                yield Row(names[done], error=f"the process ended with status {child.wait()}")
                return
            if line.startswith("row "):
                done, deadline = done + 1, time.monotonic() + seconds
                yield Row.from_json(line[4:])
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def failure(case: Case, row: Row) -> str:
    """Why the row does not hold, or ''."""
    if row.error:
        return row.error
    if row.relative_error is None or not row.relative_error <= TOLERANCE:
        return f"error above {TOLERANCE:g}"
    # Both figures must say slower: the machine may be shared.
    if case.faster and row.ours > row.torchscript and row.ours_min > row.torchscript_min:
        return "slower than TorchScript"
    if case.seconds and (row.compile_seconds or math.inf) > case.seconds:
        return f"compiling took more than {case.seconds:g} s"
    if case.megabytes and (row.peak_megabytes or math.inf) > case.megabytes:
        return f"compiling took more than {case.megabytes:g} MB"
    return ""


def print_table(title: str, suite: str, cases: Sequence[Case], seconds: float, batch: int) -> int:
    """Prints the table as its rows come in; returns how many do not hold."""
    print(f"\n## {title}\n")
    print(f"| {' | '.join(HEADER)} |")
    print(f"|{'---|' * len(HEADER)}", flush=True)
    ratios, failed = [], 0
    for case, row in zip(cases, run_cases(suite, cases, seconds, batch)):
        problem = failure(case, row)
        failed += bool(problem)
        cells = [
            row.name,
            _number(row.compile_seconds, ".2f"),
            _number(row.peak_megabytes, ".0f"),
            _number(row.relative_error, ".1e"),
            _timing(row.ours, row.ours_min),
            _timing(row.torchscript, row.torchscript_min),
            _number(row.torchscript / row.ours, ".2f") if row.ours and row.torchscript else "",
            " ".join(problem.split())[:300].replace("|", "\\|"),
        ]
        if row.ours and row.torchscript:
            ratios.append(row.torchscript / row.ours)
        print(f"| {' | '.join(cells)} |", flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan
    print(f"\n{len(cases) - failed} of {len(cases)} hold; geometric mean of the ratios {mean:.2f}")
    return failed


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _timing(median: float | None, least: float | None) -> str:
    return "" if median is None or least is None else f"{median:.3f} ({least:.3f})"
