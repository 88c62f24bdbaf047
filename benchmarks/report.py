"""The tables of a run, as Markdown, from its record (the JSON that a run writes)."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.limits import LIMITS

OURS = "aot"
PEERS = [name for name in ENGINES if name not in (OURS, "numpy")]
ALLOWED_ERROR = 1e-4
_SHORT_CALL = 100e-6  # seconds; in longer ones two processes differ by more than Python adds

Record = dict[str, Any]


def best_peer(entry: Record) -> tuple[str, float] | None:
    """The peer of least median, and that median in seconds."""
    found = [(r["median"], name) for name, r in entry["engines"].items()
             if name != OURS and not r["failure"] and r["error"] <= ALLOWED_ERROR * 10]
    return (min(found)[1], min(found)[0]) if found else None


def ratio(entry: Record) -> float | None:
    """How many times faster than the best peer we are; None where one of the two has no figure."""
    ours, best = entry["engines"].get(OURS), best_peer(entry)
    if ours is None or ours["failure"] or best is None:
        return None
    return best[1] / ours["median"]


def over_frozen(entry: Record) -> float | None:
    ours, frozen = entry["engines"].get(OURS), entry["engines"].get("frozen")
    if not ours or not frozen or ours["failure"] or frozen["failure"]:
        return None
    return frozen["median"] / ours["median"]


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds >= 1e-4 else f"{seconds * 1e3:.4f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def latency_table(record: Record, threads: int) -> str:
    """A row a model: every engine's median (minimum), ratios, the share of the wall, the error."""
    entries = [e for e in record["rows"] if e["threads"] == threads]
    engines = [n for n in ENGINES if any(n in e["engines"] for e in entries)]
    head = ["model", *engines, "best peer / aot", "frozen / aot", "share of the wall", "error"]
    lines = [_line(head), _line(["---"] * len(head))]
    for entry in entries:
        cells = [entry["row"]]
        cells += [_cell(name, entry["engines"].get(name)) for name in engines]
        ours = entry["engines"].get(OURS, {})
        share = "-"
        if ours and not ours["failure"]:
            share = f"{100 * entry['wall_seconds'] / ours['median']:.0f} %"
        lines.append(_line([*cells, _times(ratio(entry)), _times(over_frozen(entry)), share,
                            _error(ours)]))
    ratios = [r for r in map(ratio, entries) if r is not None]
    frozen = [r for r in map(over_frozen, entries) if r is not None]
    lines.append(_line(["**geometric mean**", *[""] * len(engines),
                        f"**{geometric_mean(ratios):.2f}**",
                        f"**{geometric_mean(frozen):.2f}**", "", ""]))
    return "\n".join(lines)


def _cell(engine: str, result: Record | None) -> str:
    if result is None or result["failure"]:
        return "" if result is None or engine == "numpy" else "fails"
    wrong = "" if result["error"] <= ALLOWED_ERROR else f" WRONG {result['error']:.0e}"
    return f"{_ms(result['median'])} ({_ms(result['minimum'])}){wrong}"


def _error(ours: Record) -> str:
    if not ours:
        return "-"
    if ours["failure"]:
        return ours["failure"][:60]
    return f"{ours['error']:.1e}" + ("" if ours["error"] <= ALLOWED_ERROR else " **WRONG**")


def threads_table(record: Record) -> str:
    """How many times faster each engine is with more threads than with one."""
    counts = sorted({e["threads"] for e in record["rows"]})
    if len(counts) < 2:
        return ""
    one, most = counts[0], counts[-1]
    by_row = {(e["row"], e["threads"]): e["engines"] for e in record["rows"]}
    engines = [n for n in ENGINES if any(n in e["engines"] for e in record["rows"])]
    lines = [_line(["model", *engines]), _line(["---"] * (len(engines) + 1))]
    for row in dict.fromkeys(e["row"] for e in record["rows"]):
        cells = [row]
        for name in engines:
            few, many = (by_row.get((row, n), {}).get(name) for n in (one, most))
            good = few and many and not few["failure"] and not many["failure"]
            cells.append(f"{few['median'] / many['median']:.2f}" if good else "")
        lines.append(_line(cells))
    return "\n".join(lines)


def cost_table(record: Record) -> str:
    """What artifacts cost, a row a model."""
    head = ["model", "compile s", "compile MB", "again s", "object kB", "code kB", "weights kB",
            "arena kB", "cold start ms", "C process MB", "beside weights and arena MB", "call us",
            "Python adds us"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row, c in record["costs"].items():
        if "failure" in c:
            lines.append(_line([row, c["failure"][:80], *[""] * (len(head) - 2)]))
            continue
        kb = [f"{c[k] / 1000:.0f}" for k in
              ("object_bytes", "code_bytes", "constant_bytes", "arena_bytes")]
        short = c["call_seconds"] < _SHORT_CALL
        lines.append(_line([
            row, f"{c['compile_seconds']:.2f}", f"{c['compile_memory'] / 1e6:.0f}",
            f"{c['again_seconds']:.2f}", *kb, f"{c['cold_start'] * 1e3:.1f}",
            f"{c['resident'] / 1e6:.1f}", f"{c['beside'] / 1e6:.1f}",
            f"{c['call_seconds'] * 1e6:.1f}", f"{c['call_overhead'] * 1e6:.1f}" if short else ""]))
    return "\n".join(lines)


def call_table(record: Record) -> str:
    """What a call from Python adds to the C call, for models that take next to no time."""
    lines = [_line(["model", "call", "us", "C us", "adds us"]), _line(["---"] * 5)]
    for model, ways in record["calls"].items():
        lines += [_line([model, f"`{way}`", f"{t:.2f}", f"{ways['C']:.2f}", f"{t - ways['C']:.2f}"])
                  for way, t in ways.items() if way != "C"]
    return "\n".join(lines)


def limits_table(record: Record) -> str:
    """What the project promises of costs, beside what was measured."""
    lines = [_line(["limit", "at most", "measured", ""]), _line(["---"] * 4)]
    for limit in LIMITS:
        found = limit.measured(record)
        if found is not None:
            holds = "holds" if found <= limit.most else "**does not hold**"
            lines.append(_line([limit.text, f"{limit.most:g} {limit.unit}",
                                f"{found:.3g} {limit.unit}", holds]))
    return "\n".join(lines)


def failures(record: Record) -> str:
    found = dict.fromkeys(f"- {e['row']}, {name}: {r['failure']}" for e in record["rows"]
                          for name, r in e["engines"].items() if r["failure"] and name != "numpy")
    return "\n".join([*found, *[f"- {row}: its package is not installed"
                                for row in record["left_out"]]])


def markdown(record: Record) -> str:
    """The whole report."""
    parts = [f"# Benchmarks\n\n{record['machine']}. {record['versions']}.\n"
             "Latency in ms: median (minimum) of calls by turns. Errors are relative to the "
             "largest magnitude of PyTorch's answer. The wall is the model's arithmetic at the "
             "measured rate of multiply-adds, or its weights at the measured bandwidth where no "
             "cache holds them; Winograd needs less arithmetic than a convolution has, so a share "
             "can be above 100 %."]
    for threads, wall in record["walls"].items():
        parts.append(f"## {threads} thread{'s' * (int(threads) > 1)}\n\nMultiply-adds: "
                     f"{wall['flops'] / 1e9:.0f} GFLOP/s. Memory: {wall['bandwidth'] / 1e9:.1f} "
                     f"GB/s.\n\n{latency_table(record, int(threads))}")
    if threads_table(record):
        parts.append(f"## What threads gain\n\n{threads_table(record)}")
    if record["costs"]:
        parts.append("## What artifacts cost\n\nThe command line on two cores, code for one "
                     "thread. Again: the same command once more, from the cache. Cold start: a C "
                     f"process from exec to its end, its answer written.\n\n{cost_table(record)}"
                     f"\n\n{limits_table(record)}")
    if record["calls"]:
        parts.append(f"## What a call from Python adds\n\n{call_table(record)}")
    if failures(record):
        parts.append(f"## What failed\n\n{failures(record)}")
    return "\n\n".join(parts) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
