"""Archives with recorded calls: which load, which run, which compile, and how far off they are.

An archive NAME.pt has NAME.npz beside it, whose `meta` is JSON in bytes: a list of calls, each with
method, args and out; the tensors in it are the file's other arrays. Calls are replayed in order on
one module, so that a module that keeps state is followed through it. Needs no PyTorch.

    python -m tests.conformance.corpus_table ARCHIVE.pt    (one, as JSON; the table runs this)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from runtime.dtypes import dtype_of_numpy
from tests.conformance.compare import TOLERANCE, BFloat16, argument, relative_error

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT.parent / "shared" / "corpus", ROOT / "tests" / "archives")
# These must compile and agree; of the others the table tells what works.
MUST_COMPILE = ("01", "02", "03", "08", "13", "16", "19")
SECONDS = 120


def archives() -> list[Path]:
    """The archives of the first folder that there is, with recorded calls."""
    folder = next((f for f in FOLDERS if f.is_dir()), None)
    found = sorted(folder.glob("*.pt")) if folder else []
    return [path for path in found if path.with_suffix(".npz").exists()]


def decode(value: dict[str, Any], arrays: Any) -> Any:
    """A recorded value as numpy and Python values."""
    kind = value["t"]
    if kind == "tensor":
        array = arrays[value["k"]]
        return BFloat16(array) if value.get("dtype") == "torch.bfloat16" else array
    if kind == "none":
        return None
    if kind in ("tuple", "list"):
        items = [decode(item, arrays) for item in value["v"]]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return {decode(k, arrays): decode(v, arrays) for k, v in value["v"]}
    return value["v"]


def read_calls(path: Path) -> list[tuple[str, list[Any], Any]]:
    """(method, arguments, expected result) of every recorded call."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        script = json.loads(bytes(arrays["meta"]).decode())
        return [
            (
                call["method"],
                [argument(decode(value, arrays)) for value in call["args"]],
                decode(call["out"], arrays),
            )
            for call in script["calls"]
        ]


def plain(value: Any) -> Any:
    """A result of ours as tuples, lists, dicts and numpy arrays."""
    if isinstance(value, (tuple, list)):
        return tuple(plain(v) for v in value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    simple = value is None or isinstance(value, (str, bool, int, float))
    return value if simple else np.asarray(value)


def call_together(path: Path, calls: list[tuple[str, list[Any], Any]]) -> list[tuple]:
    """(name, found, expected) of all calls on one artifact of all methods, which share a state.
    Arguments that are left out take their defaults; numbers are given at run time."""
    import aot

    module = aot.jit.load(str(path))
    methods: dict[str, list[str]] = {}
    complete = []
    for method, arguments, expected in calls:
        parameters = module.method(method).function.parameters[1:]
        values = [*arguments, *(p.default for p in parameters[len(arguments):])]
        complete.append((method, values, expected))
        methods.setdefault(method, [_word(p.name, v) for p, v in zip(parameters, values)])
    compiled = aot.compile(module, methods=methods)
    return [(f"{method} #{i}", plain(compiled.methods[method](*values)), expected)
            for i, (method, values, expected) in enumerate(complete)]


def _word(name: str, value: Any) -> str:
    """The --input word of a tensor or a number."""
    if isinstance(value, np.ndarray):
        dims = ",".join(map(str, value.shape))
        return f"{name}:{dtype_of_numpy(value.dtype).name}[{dims}]"
    return f"{name}:{type(value).__name__}"


def attempt(outcome: dict[str, str], stage: str, action: Callable[[], str]) -> None:
    """Records what `action` returns, or its error in one line. An earlier error ends it all."""
    try:
        outcome[stage] = action()
    except Exception as error:  # every kind of failure is a result here
        outcome[stage] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        outcome["failed"] = outcome.get("failed", "") + stage + " "


def check(path: Path) -> dict[str, str]:
    """Loads, interprets and compiles one archive; a text for each, and the stages that failed."""
    import aot

    outcome: dict[str, str] = {}
    loaded: list[Any] = []
    calls = read_calls(path)

    def load() -> str:
        loaded.append(aot.jit.load(str(path)))
        return "yes"

    def interpret() -> str:
        return _largest(
            (f"{method} #{i}", plain(getattr(loaded[0], method)(*arguments)), expected)
            for i, (method, arguments, expected) in enumerate(calls)
        )

    def compile_all() -> str:
        compiled: dict[str, Any] = {}
        begun = time.monotonic()
        if "stateful" in path.stem:
            return f"{_largest(call_together(path, calls))}, {time.monotonic() - begun:.1f} s"
        results = []
        for i, (method, arguments, expected) in enumerate(calls):
            key = method + repr([getattr(a, "shape", a) for a in arguments])
            if key not in compiled:
                module = aot.jit.load(str(path))
                compiled[key] = aot.compile(
                    module, example_inputs=tuple(arguments), method=method, threads=1
                )
            results.append((f"{method} #{i}", plain(compiled[key](*arguments)), expected))
        return f"{_largest(results)}, {time.monotonic() - begun:.1f} s"

    attempt(outcome, "loads", load)
    if loaded:
        attempt(outcome, "interpreted", interpret)
        attempt(outcome, "compiled", compile_all)
    return outcome


def _largest(results: Any) -> str:
    """The largest relative error of (name, found, expected); raises where one is too large."""
    worst = 0.0
    for name, found, expected in results:
        error = relative_error(found, expected, name)
        if not error <= TOLERANCE:
            raise ValueError(f"{name}: error {error:.1e} is above {TOLERANCE:g}")
        worst = max(worst, error)
    return f"{worst:.1e}"


def check_in_child(path: Path) -> dict[str, str]:
    """`check` in a process of its own: a crash or a hang is a result like any other."""
    command = [sys.executable, "-m", "tests.conformance.corpus_table", str(path)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"loads": f"not done after {SECONDS} s", "failed": "all"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return {"loads": f"status {done.returncode}: {last}", "failed": "all"}
    return json.loads(done.stdout.splitlines()[-1])


def print_table() -> int:
    """Prints the table; returns how many lines that must hold do not."""
    paths = archives()
    print(
        f"\n## Archives with recorded calls ({paths[0].parent.name if paths else 'none found'})\n"
    )
    print("| archive | loads | interpreted: largest error | compiled: largest error, time |")
    print("|---|---|---|---|", flush=True)
    failed = 0
    for path in paths:
        outcome = check_in_child(path)
        cells = [
            outcome.get(s, "").replace("|", "\\|") for s in ("loads", "interpreted", "compiled")
        ]
        print(f"| {path.stem} | {' | '.join(cells)} |", flush=True)
        must = path.stem.startswith(MUST_COMPILE) or path.is_relative_to(FOLDERS[1])
        failed += outcome.get("loads") != "yes" or (must and "failed" in outcome)
    print(f"\n{len(paths) - failed} of {len(paths)} do what they must")
    return failed if paths else 1


if __name__ == "__main__":
    print(json.dumps(check(Path(sys.argv[1]))))
