"""Measures this project beside its peers, in one run: `python -m benchmarks [ROW]... [--quick]`.

    pip install -e .[bench]              the peers; torchvision and silero-vad for their rows
    python -m benchmarks --list          the rows
    python -m benchmarks --quick         one batch size, without torch.compile; with --no-costs
                                         five minutes on two idle cores
    python -m benchmarks                 everything, costs for the rows of --quick: a quarter of an
                                         hour, and the first time the making of models and of
                                         torch.compile's code

Writes OUT/benchmarks.json, .md and .svg (one thread) and prints the report. Exit status 1 if one of
our answers is wrong or missing.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.metadata
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import artifacts, call_overhead
from benchmarks.chart import chart
from benchmarks.engines import ENGINES
from benchmarks.machine import Machine
from benchmarks.race import ROOT, Pace, Result, Worker, race
from benchmarks.report import ALLOWED_ERROR, OURS, Record, best_peer, markdown, ratio
from benchmarks.row_names import ROWS, SLOW
from tests.conformance.launcher import Launcher


def main() -> int:
    options = _options()
    if options.list:
        print("\n".join(ROWS))
        return 0
    launcher = Launcher()  # before anything large is imported or measured
    names = options.rows or [n for n in ROWS if not (options.quick and n in SLOW)]
    work, out = Path(options.work).resolve(), Path(options.out)
    subprocess.run([sys.executable, "-m", "benchmarks.prepare", str(work), *names], cwd=ROOT,
                   check=True)
    left_out = [n for n in names if not (work / n / "row.json").exists()]
    names = [n for n in names if n not in left_out]
    record: Record = {"machine": _machine(options.cpu_time), "versions": _versions(),
                      "left_out": left_out, "walls": {}, "rows": [], "costs": {}, "calls": {}}
    machine = Machine(options.cpu_time)
    for threads in options.threads:
        _race(names, threads, options, machine, record)
    if not options.no_costs:
        for room in ("aot", "lowering", "llvm_backend", "runtime"):  # as an installation has it
            compileall.compile_dir(ROOT / room, quiet=1)
        for name in (n for n in names if n not in SLOW or options.rows):
            record["costs"][name] = _cost(work / name, launcher)
            _save(record, out)
        record["calls"] = call_overhead.figures()
    launcher.close()
    return _report(record, out, options.threads)


def _race(names: list[str], threads: int, options: argparse.Namespace, machine: Machine,
          record: Record) -> None:
    """Runs the rows with so many threads into the record, which is on disk after every row."""
    engines = options.engines or [n for n in ENGINES if not (options.quick and n == "inductor")]
    pace = Pace(5, 0.04) if options.quick else Pace()
    clock = "process_time" if options.cpu_time else "perf_counter"
    workers = [Worker(engine, threads, clock) for engine in engines]
    try:
        for name in names:
            _race_row(name, workers, pace, options, machine, record)
    finally:  # a process that is stopped would outlive this one
        for worker in workers:
            worker.close()


def _race_row(name: str, workers: list[Worker], pace: Pace, options: argparse.Namespace,
              machine: Machine, record: Record) -> None:
    threads = workers[0].threads
    folder = Path(options.work).resolve() / name
    wall = machine.measure(threads)
    record["walls"][str(threads)] = {"flops": wall.flops, "bandwidth": wall.bandwidth}
    results = race(folder, workers, pace)
    facts = json.loads((folder / "row.json").read_text())
    entry = {"row": name, "threads": threads, **facts,
             "engines": {r.engine: _figures(r) for r in results}}
    record["rows"].append(entry)
    for e in record["rows"]:  # by the best rates that were seen
        if e["threads"] == threads:
            e["wall_seconds"] = wall.seconds(e["flops"], e["weight_bytes"])
    _save(record, Path(options.out))
    print(_progress(entry), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    parser.add_argument("--list", action="store_true", help="prints the rows")
    parser.add_argument("--quick", action="store_true",
                        help="fewer rounds, no torch.compile, none of the slow rows")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), metavar="ENGINE",
                        help=" ".join(ENGINES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time instead of the clock's, "
                        "for one thread on a machine that others use")
    parser.add_argument("--no-costs", action="store_true",
                        help="leaves out what artifacts cost: compile time, bytes, cold start")
    parser.add_argument("--work", default="build/benchmarks/models",
                        help="where the models are kept from run to run")
    parser.add_argument("--out", default="build/benchmarks")
    options = parser.parse_args()
    unknown = [n for n in options.rows if n not in ROWS]
    if unknown:
        parser.error(f"unknown row {', '.join(unknown)}; --list prints them")
    return options


def _figures(result: Result) -> Record:
    figures = {"failure": result.failure, "error": result.error,
               "load_seconds": result.load_seconds}
    if result.times:
        figures |= {"median": result.median, "minimum": result.minimum, "calls": len(result.times)}
    elif not result.failure:
        figures["failure"] = "no call was timed"
    return figures


def _progress(entry: Record) -> str:
    ours, best, gain = entry["engines"].get(OURS), best_peer(entry), ratio(entry)
    if ours is None or best is None or gain is None:
        return f"{entry['row']} x{entry['threads']}: {ours and ours['failure'] or 'no peer'}"
    return (f"{entry['row']:22} x{entry['threads']}: {ours['median'] * 1e3:9.4f} ms, best peer "
            f"{best[0]} {best[1] * 1e3:9.4f} ms, ratio {gain:5.2f}, "
            f"{100 * entry['wall_seconds'] / ours['median']:4.0f} % of the wall, "
            f"error {ours['error']:.0e}")


def _cost(folder: Path, launcher: Launcher) -> Record:
    try:
        cost = artifacts.measure(folder.resolve(), launcher)
        return {**asdict(cost), "beside": cost.beside}
    except (RuntimeError, subprocess.CalledProcessError) as e:
        return {"failure": str(e)}


def _machine(cpu_time: bool) -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    clock = ", CPU time on a machine that others used" if cpu_time else ""
    return f"{model}{clock}, Linux {platform.release()}, Python {platform.python_version()}"


def _versions() -> str:
    found = []
    for package in ("aot", "torch", "onnxruntime", "openvino", "numpy", "llvmlite"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return ", ".join(found)


def _save(record: Record, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.json").write_text(json.dumps(record, indent=1) + "\n")


def _report(record: Record, out: Path, threads: list[int]) -> int:
    """Writes and prints the tables, draws the chart; the exit status."""
    _save(record, out)
    text = markdown(record)
    (out / "benchmarks.md").write_text(text)
    (out / "benchmarks.svg").write_text(chart(record, threads[0]))
    print(text)
    bad = record["left_out"] + [e["row"] for e in record["rows"] if OURS in e["engines"] and (
        e["engines"][OURS]["failure"] or e["engines"][OURS]["error"] > ALLOWED_ERROR)]
    if bad:
        print(f"wrong or missing: {', '.join(dict.fromkeys(bad))}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
