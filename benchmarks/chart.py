"""A bar chart of a run as SVG: how fast every engine is, on each row, beside this project.

A bar is our median over the engine's: 1 is our speed, longer is faster. Written by hand, since a
file of rectangles and words needs no plotting library.
"""

from __future__ import annotations

from html import escape

from benchmarks.report import OURS, PEERS, Record

_COLOURS = {
    OURS: "#1b6e4c", "eager": "#c9c9c9", "frozen": "#a3b7cc", "optimize_for_inference": "#6d8fb3",
    "inductor": "#d9a441", "onnxruntime": "#b3563e", "openvino": "#7d5ba6",
}
_LABELS, _WIDTH, _BAR, _GAP, _TOP = 130, 560, 7, 8, 64
_MOST = 1.6  # where the axis ends; a longer bar is cut, with its figure beside it


def chart(record: Record, threads: int = 1) -> str:
    """The SVG document of the rows with so many threads."""
    entries = [e for e in record["rows"]
               if e["threads"] == threads and not e["engines"].get(OURS, {"failure": 1})["failure"]]
    names = [n for n in (OURS, *PEERS) if any(n in e["engines"] for e in entries)]
    height = len(names) * _BAR + _GAP
    total = _TOP + height * len(entries) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABELS + _WIDTH + 60} {total}" '
        f'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="18" font-size="14">Speed beside aot = 1, {threads} '
        f'thread{"s" * (threads > 1)} (longer is faster)</text>',
    ]
    for k, name in enumerate(names):
        x = 8 + (k % 7) * 104
        parts.append(f'<rect x="{x}" y="30" width="9" height="9" fill="{_COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 12}" y="39" font-size="10">{escape(_short(name))}</text>')
    for tick in (0.5, 1.0, 1.5):
        x = _LABELS + _WIDTH * tick / _MOST
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{total - 24}" '
                     'stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{total - 10}" text-anchor="middle">{tick:g}</text>')
    for k, entry in enumerate(entries):
        parts += _group(entry, names, _TOP + k * height)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _group(entry: Record, names: list[str], top: int) -> list[str]:
    """One row's bars, in the order of the legend."""
    ours = entry["engines"][OURS]["median"]
    middle = top + len(names) * _BAR / 2 + 4
    parts = [f'<text x="{_LABELS - 6}" y="{middle:.1f}" text-anchor="end">'
             f'{escape(entry["row"])}</text>']
    for k, name in enumerate(names):
        result = entry["engines"].get(name)
        if result is None or result["failure"]:
            continue
        speed = ours / result["median"]
        width = _WIDTH * min(speed, _MOST) / _MOST
        y = top + k * _BAR
        parts.append(f'<rect x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR - 1}" '
                     f'fill="{_COLOURS[name]}"><title>{escape(name)}: '
                     f'{result["median"] * 1e3:.3f} ms</title></rect>')
        if speed > _MOST:
            parts.append(f'<text x="{_LABELS + width + 3:.1f}" y="{y + _BAR - 1}" font-size="8">'
                         f'{speed:.1f}</text>')
    return parts


def _short(name: str) -> str:
    return {"optimize_for_inference": "opt. for inference", "frozen": "TorchScript frozen",
            "eager": "PyTorch eager", "onnxruntime": "ONNX Runtime",
            "openvino": "OpenVINO", "inductor": "torch.compile"}.get(name, name)
