"""The table of operators: every sample of PyTorch's database through the engines.

python -m tests.conformance operators [--only TEXT]

The interpreter runs every sample; compiled code (unoptimised and optimised) the first few of each
overload and dtype. Each operator runs in a process of its own, so that a crash costs its row only.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import warnings
from collections.abc import Callable

from lowering.ops import TABLE

# Engines, and how many samples of an overload and dtype they run (None: all). torch.float32 gets
# the first number, the other dtypes the second.
PASSES = (
    (("interpreter",), None, None),
    (("unoptimised", "optimised"), 4, 1),
)


def print_table(only: str = "", seconds: float = 600.0) -> int:
    """Prints a line an operator that fails and a summary; the number of operators that fail."""
    warnings.simplefilter("ignore")
    sweep = importlib.import_module("tests.operator_sweep").sweep  # imports PyTorch
    names = [n for n in sorted(TABLE) if only in n]
    print("\n## Operators\n\n| operator | engines | passed | failed | first failure |\n"
          "|---|---|---|---|---|")
    totals = {"+".join(engines): [0, 0] for engines, _, _ in PASSES}
    wrong: set[str] = set()
    for name in names:
        for k, (engines, _, _) in enumerate(PASSES):
            row = _run(sweep, name, k, seconds)
            label = "+".join(engines)
            totals[label][0] += row["passed"]
            totals[label][1] += len(row["failures"])
            if row["failures"] or row["unchecked"]:
                wrong.add(name)
                first = (row["failures"] or [f"no sample reaches {row['unchecked']}"])[0]
                print(f"| {name} | {label} | {row['passed']} | {len(row['failures'])} | "
                      f"{first[:300].replace('|', '/')} |", flush=True)
    entries = sum(len(TABLE[n]) for n in names)
    print(f"\n{len(names)} operators, {entries} overloads")
    for label, (passed, failed) in totals.items():
        print(f"{label}: {passed} samples passed, {failed} failed")
    return len(wrong)


def _run(sweep: Callable, name: str, which: int, seconds: float) -> dict:
    """One operator in a process of its own, forked so that PyTorch is imported once."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(int(seconds))
        with os.fdopen(write, "w") as out:
            json.dump(_sweep(sweep, name, which), out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as source:
        text = source.read()
    status = os.waitpid(child, 0)[1]
    if status or not text:
        what = f"not done after {seconds:.0f} s" if status == signal.SIGALRM else (
            f"the process ended with status {status}")
        return {"passed": 0, "failures": [what], "unchecked": []}
    return json.loads(text)


def _sweep(sweep: Callable, name: str, which: int) -> dict:
    engines, most, most_others = PASSES[which]

    def limit(dtype) -> int | None:
        return most if str(dtype) == "torch.float32" else most_others

    report = sweep(name, limit, engines)
    return {"passed": report.passed, "failures": report.failures, "unchecked": report.unchecked()}
