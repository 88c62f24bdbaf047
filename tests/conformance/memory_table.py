"""The recorded archives' artifacts under valgrind and in a host with sanitizers.

Each archive is compiled for the arguments of all its recorded calls, one artifact; tests/c/endure.c
calls it with blocks of exactly the inputs' and outputs' sizes, and moves its state about. Code for
x86-64-v3, which valgrind knows. The artifact itself has no sanitizer's instrumentation: valgrind sees
what it reads and writes, the sanitizers what the host and the C library do for it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conformance.corpus_table import archives, read_calls

ROOT = Path(__file__).resolve().parents[2]
CALLS = 24
SECONDS = 300
COMPILE = ["cc", "-std=c99", "-g", "-O1", f"-I{ROOT / 'runtime' / 'include'}",
           str(ROOT / "tests" / "c" / "endure.c"), "-ldl", "-o"]
VALGRIND = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect,possible"]
ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def build(archive: Path, library: Path) -> int:
    """Compiles all methods for all recorded signatures; how many there are."""
    import aot
    from aot.inputs import input_of_value

    module = aot.jit.load(str(archive))
    methods: dict[str, list[list[str]]] = {}
    for method, arguments, _ in read_calls(archive):
        names = [p.name for p in module.method(method).function.parameters[1:]]
        words = [str(input_of_value(value, name)) for value, name in zip(arguments, names)]
        found = methods.setdefault(method, [])
        if words not in found:
            found.append(words)
    given = {method: words if len(words) > 1 else words[0] for method, words in methods.items()}
    aot.compile(module, methods=given, cpu="x86-64-v3").save(library)
    return sum(map(len, methods.values()))


def run(command: list[str]) -> str:
    """'clean', or what went wrong in one line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s"
    if done.returncode == 0 and not done.stderr:
        return "clean"
    lines = done.stderr.strip().splitlines() or ["no message"]
    return f"status {done.returncode}: {lines[0]}"


def print_table(only: str = "") -> int:
    """Prints the table; returns how many archives are not clean."""
    paths = [path for path in archives() if only in path.stem]
    print("\n## Memory of the archives' artifacts\n")
    print(f"| archive | signatures | {CALLS} calls under valgrind | address, undefined | seconds |")
    print("|---|---|---|---|---|", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, checked = str(folder / "endure"), str(folder / "endure-address")
        subprocess.run([*COMPILE, plain], check=True)
        subprocess.run([*COMPILE, checked, *ADDRESS], check=True)
        for path in paths:
            begun, library = time.monotonic(), folder / "m.so"
            try:
                signatures: int | str = build(path, library)
            except Exception as error:  # every kind of failure is a result here
                signatures = " ".join(f"{type(error).__name__}: {error}".split())[:120]
                outcomes = ["", ""]
            else:
                outcomes = [run([*VALGRIND, plain, str(library), str(CALLS)]),
                            run([checked, str(library), str(CALLS)])]
            failed += outcomes != ["clean", "clean"]
            cells = [path.stem, str(signatures), *outcomes, f"{time.monotonic() - begun:.1f}"]
            print(f"| {' | '.join(c.replace('|', '/') for c in cells)} |", flush=True)
    print(f"\n{len(paths) - failed} of {len(paths)} are clean")
    return failed if paths else 1


if __name__ == "__main__":
    sys.exit(print_table(*sys.argv[1:]))
