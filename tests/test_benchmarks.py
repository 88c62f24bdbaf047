"""The benchmarks' tables say what was measured, and a wrong answer stands in its row."""

from __future__ import annotations

import json
import os
import shutil
import signal
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

import aot
from benchmarks import chart, machine, race, report, row_names, worker
from tests.conftest import ROOT


def figures(median: float, error: float = 0.0, failure: str = "") -> dict:
    if failure:
        return {"failure": failure, "error": error}
    return {"failure": "", "error": error, "median": median, "minimum": median / 2, "calls": 9}


def record(ours: dict) -> dict:
    engines = {"aot": ours, "frozen": figures(4e-3), "onnxruntime": figures(3e-3),
               "openvino": figures(0, failure="no such layer")}
    row = {"row": "mlp_b1", "threads": 1, "flops": 10, "wall_seconds": 1e-3, "engines": engines}
    return {"machine": "M", "versions": "V", "rows": [row], "costs": {}, "calls": {},
            "left_out": ["gru"], "walls": {"1": {"flops": 2e11, "bandwidth": 4e10}}}


def test_ratios_are_of_medians_to_the_best_peer_and_to_frozen() -> None:
    entry = record(figures(2e-3))["rows"][0]
    assert report.best_peer(entry) == ("onnxruntime", 3e-3)
    assert report.ratio(entry) == pytest.approx(1.5)
    assert report.over_frozen(entry) == pytest.approx(2.0)


def test_a_wrong_answer_and_a_failure_stand_in_the_row() -> None:
    text = report.markdown(record(figures(2e-3, error=0.5)))
    row = next(line for line in text.splitlines() if line.startswith("| mlp_b1"))
    assert "WRONG" in row and "50 %" in row and "fails" in row
    assert "- mlp_b1, openvino: no such layer" in text
    assert "- gru: its package" in text
    assert "WRONG" not in report.markdown(record(figures(2e-3)))


def test_costs_stand_beside_their_limits() -> None:
    found = record(figures(2e-3))
    assert "cost" not in report.markdown(found)
    cost = {"compile_seconds": 0.3, "compile_memory": 1e8, "again_seconds": 0.4, "beside": 2e6,
            "object_bytes": 5e5, "code_bytes": 9e4, "constant_bytes": 4e5, "arena_bytes": 1e3,
            "cold_start": 4e-3, "resident": 3e6, "call_seconds": 2e-6, "call_overhead": 1e-6}
    found["costs"] = {"mlp_b1": cost, "gru": {"failure": "no compiler"}}
    found["calls"] = {"relu": {"C": 0.5, "f(x)": 1.5, "g(x)": 1.75}}
    text = report.markdown(found)
    assert "| mlp_b1 | 0.30 | 100 | 0.40 | 500 | 90 |" in text and "| gru | no compiler |" in text
    assert "| relu | `g(x)` | 1.75 | 0.50 | 1.25 |" in text
    lines = [line for line in text.splitlines() if line.startswith("|") and "hold" in line]
    assert [line.endswith("| holds |") for line in lines] == [True, True, False, True]
    assert "mlp_b1" in lines[0] and "from the cache" in lines[2] and "1.25 us" in lines[3]


def test_the_chart_is_well_formed_and_its_bars_are_speeds() -> None:
    tree = xml.etree.ElementTree.fromstring(chart.chart(record(figures(2e-3))))
    widths = [float(r.get("width", "0")) for r in tree.iter("{http://www.w3.org/2000/svg}rect")
              if len(r)]
    assert len(widths) == 3
    assert widths[1] / widths[0] == pytest.approx(0.5, rel=0.01)


def test_the_wall_is_arithmetic_or_weights_that_no_cache_holds() -> None:
    wall = machine.Wall(flops=1e9, bandwidth=1e9, cache=1000)
    assert wall.seconds(10**9, 900) == pytest.approx(1.0)
    assert wall.seconds(10**6, 10**10) == pytest.approx(10.0)


def test_every_slow_row_is_a_row() -> None:
    assert set(row_names.SLOW) < set(row_names.ROWS)


def test_a_worker_answers_and_measures_the_error(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/digits/digits.pt", tmp_path / "model.pt")
    images = np.load(ROOT / "examples/digits/images.npy")[:1]
    compiled = aot.compile(tmp_path / "model.pt")
    x = np.zeros(compiled.inputs[0].shape, np.float32)
    x.reshape(-1)[: images.size] = images.reshape(-1)[: x.size]
    np.savez(tmp_path / "inputs.npz", x)
    wanted = np.asarray(compiled.interpret(x))
    np.savez(tmp_path / "expected.npz", wanted)
    (tmp_path / "row.json").write_text(json.dumps({"constants": [None]}))
    assert worker.largest_error(wanted + np.abs(wanted).max(), tmp_path) == pytest.approx(1.0)
    assert worker.largest_error(wanted[:, :1], tmp_path) == float("inf")
    ours = race.Worker("aot", 1)
    try:
        result, = race.race(tmp_path, [ours], race.Pace(2, 0.01))
        missing, = race.race(tmp_path / "missing", [ours], race.Pace(1, 0.01))
    finally:
        ours.close()
    assert not result.failure and result.error < 1e-5
    assert 0 < result.minimum <= result.median
    assert "FileNotFoundError" in missing.failure and not missing.times


def test_a_worker_is_stopped_while_it_is_not_its_turn(tmp_path: Path) -> None:
    ours = race.Worker("aot", 1)
    try:
        ours.ask({"load": str(tmp_path / "missing")})
        status = os.waitid(os.P_PID, ours.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert status is not None and status.si_status == signal.SIGSTOP
        assert ours.ask({"time": 0.01})["times"] == []
    finally:
        ours.close()
    assert ours.process.returncode == 0
