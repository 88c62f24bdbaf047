"""Random TorchScript programs (tests/random_scripts.py): how many of them agree with PyTorch.

Each is interpreted, compiled, and compiled without optimisation, and called several times. They run
in processes of their own, so that one that ends its process costs its own row only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = 300
GROUP = 25  # programs a process
SECONDS = 300  # for a group


def run_group(first: int, last: int) -> dict[int, str]:
    """What is wrong with each program of these seeds; empty where nothing is."""
    found: dict[int, str] = {}
    while first < last:
        command = [sys.executable, "-W", "ignore", "-m", "tests.random_script_engines",
                   str(first), str(last)]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                                  timeout=SECONDS)
            text, end = done.stdout, f"the process ended with status {done.returncode}"
        except subprocess.TimeoutExpired as e:
            text, end = (e.stdout or b"").decode(), f"not done after {SECONDS} s"
        for seed, line in re.findall(r"^(\d+): (.*)$", text, re.MULTILINE):
            found[int(seed)] = "" if line == "agrees" else line
            first = int(seed) + 1
        if first < last:
            found[first] = end
            first += 1
    return found


def print_table() -> int:
    """Prints what does not agree; returns how many programs that are."""
    print("\n## Random TorchScript programs\n", flush=True)
    start = time.monotonic()
    groups = range(0, PROGRAMS, GROUP)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = pool.map(lambda first: run_group(first, min(first + GROUP, PROGRAMS)), groups)
        found = {seed: text for part in parts for seed, text in part.items()}
    wrong = {seed: text for seed, text in sorted(found.items()) if text}
    if wrong:
        print("| seed | what is wrong |\n|---|---|")
    for seed, text in wrong.items():
        print(f"| {seed} | {text[:300].replace('|', chr(92) + '|')} |")
    print(f"{len(found) - len(wrong)} of {PROGRAMS} programs agree: interpreted, compiled, and "
          f"compiled without optimisation; {time.monotonic() - start:.0f} s")
    return PROGRAMS - len(found) + len(wrong)
