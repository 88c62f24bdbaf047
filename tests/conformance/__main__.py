"""The long tables against PyTorch, as Markdown; exit status 1 if a line does not hold.

python -m tests.conformance
    [archives|programs|memory|operators|modules|models|scripted|sizes|detection|cpus]...
    [--only TEXT] [--seconds S]
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

from tests.conformance import (
    corpus_table, cpus_table, detection_table, memory_table, operators_table, programs_table,
    scripted_table, sizes_table, table,
)  # fmt: skip

# table -> (title, module with CASES, cases that share a process)
SUITES = {
    "modules": ("torch.nn modules", "modules_table", 16),
    "models": ("torchvision classification", "torchvision_table", 1),
}
TABLES = ("archives", "programs", "memory", "operators", *SUITES, "scripted", "sizes",
          "detection", "cpus")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="|".join(TABLES))
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases whose name has TEXT in it"
    )
    parser.add_argument("--seconds", type=float, default=240.0, help="time for one case")
    options = parser.parse_args()
    os.environ["AOT_CACHE_MB"] = "0"  # the tables are of the compiler, its seconds among them
    chosen = options.tables or TABLES
    unknown = set(chosen) - set(TABLES)
    if unknown:
        parser.error(f"unknown table {', '.join(sorted(unknown))}")
    print(f"{platform.machine()}, {os.cpu_count()} processors, one thread", flush=True)
    failed = 0
    for name in chosen:
        if name == "archives":
            failed += corpus_table.print_table()
            continue
        if name == "programs":
            failed += programs_table.print_table()
            continue
        if name == "memory":
            failed += memory_table.print_table(options.only)
            continue
        if name == "operators":
            failed += operators_table.print_table(options.only)
            continue
        if name == "scripted":
            failed += scripted_table.print_table(options.only, options.seconds)
            continue
        if name == "sizes":
            failed += sizes_table.print_table(options.only, options.seconds)
            continue
        if name == "detection":
            failed += detection_table.print_table(options.only, options.seconds)
            continue
        if name == "cpus":
            failed += cpus_table.print_table(options.only)
            continue
        title, suite, batch = SUITES[name]
        cases = importlib.import_module(f"tests.conformance.{suite}").CASES
        cases = [case for case in cases if options.only in case.name]
        failed += table.print_table(title, suite, cases, options.seconds, batch)
    print(f"\n{failed} failed" if failed else "\nall hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
