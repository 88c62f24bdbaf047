"""The text of a tensor, digit for digit as PyTorch prints it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from aot import dtypes as names
from aot.autograd_names import node_name
from aot.tensor_core import Tensor
from runtime.dtypes import bool_, i64


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()
_PROFILES = {
    "default": _Options(), "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}


def set_printoptions(precision: int | None = None, threshold: float | None = None,
                     edgeitems: int | None = None, linewidth: int | None = None,
                     profile: str | None = None, sci_mode: bool | None = None) -> None:
    """Digits after the point, elements before a summary, elements shown at each end of a summary,
    columns; 'default', 'short' or 'full'; scientific notation always, never or as needed."""
    if profile is not None:
        chosen = _PROFILES[profile]
        for field in ("precision", "threshold", "edgeitems", "linewidth"):
            setattr(_options, field, getattr(chosen, field))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}
    for field, value in given.items():
        if value is not None:
            setattr(_options, field, value)
    _options.sci_mode = sci_mode


class _Format:
    """How the numbers of one tensor are written: all with one width and notation."""

    def __init__(self, shown: np.ndarray, is_float: bool) -> None:
        self.is_float = is_float
        self.whole, self.scientific = is_float, False
        self.width = 1
        flat = shown.reshape(-1)
        if not is_float:
            self.width = max([1, *(len(str(v)) for v in flat.tolist())])
            return
        wide = flat.astype(np.float64)
        sizes = np.abs(wide[np.isfinite(wide) & (wide != 0)])
        if sizes.size:
            self.whole = bool(np.all(sizes == np.ceil(sizes)))
            low, high = sizes.min(), sizes.max()
            self.scientific = bool(
                high / low > 1000.0 or high > 1.0e8 or (not self.whole and low < 1.0e-4))
            if _options.sci_mode is not None:
                self.scientific = _options.sci_mode
            signed = wide[np.isfinite(wide) & (wide != 0)]
            self.width = max([1, *(len(self._number(v)) for v in signed.tolist())])
        else:
            if _options.sci_mode is not None:
                self.scientific = _options.sci_mode

    def _number(self, x: float) -> str:
        if self.scientific:
            return f"{x:.{_options.precision}e}"
        if self.whole:
            text = f"{x:.0f}"
            return text if math.isinf(x) or math.isnan(x) else text + "."
        return f"{x:.{_options.precision}f}"

    def text(self, x: object) -> str:
        if not self.is_float:
            return f"{x}".rjust(self.width)
        return self._number(x).rjust(self.width)  # type: ignore[arg-type]


def _shown(x: np.ndarray) -> np.ndarray:
    """The elements that a summary shows."""
    edge = _options.edgeitems
    for k, n in enumerate(x.shape):
        if n > 2 * edge:
            x = np.concatenate([x.take(range(edge), k), x.take(range(n - edge, n), k)], k)
    return x


def _row(x: np.ndarray, indent: int, summarise: bool, fmt: _Format) -> str:
    element = fmt.width + 2
    a_line = max(1, (_options.linewidth - indent) // element)
    values = x.tolist()
    edge = _options.edgeitems
    if summarise and not edge:
        texts = ["..."]
    elif summarise and len(values) > 2 * edge:
        texts = [*map(fmt.text, values[:edge]), " ...", *map(fmt.text, values[-edge:])]
    else:
        texts = list(map(fmt.text, values))
    lines = [", ".join(texts[k:k + a_line]) for k in range(0, len(texts), a_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _body(x: np.ndarray, indent: int, summarise: bool, fmt: _Format) -> str:
    if x.ndim == 0:
        return fmt.text(x.item())
    if x.ndim == 1:
        return _row(x, indent, summarise, fmt)
    edge = _options.edgeitems
    if summarise and len(x) > 2 * edge:
        parts = [_body(v, indent + 1, summarise, fmt) for v in x[:edge]]
        parts += ["..."] + [_body(v, indent + 1, summarise, fmt) for v in x[-edge:]]
    else:
        parts = [_body(v, indent + 1, summarise, fmt) for v in x]
    return "[" + ("," + "\n" * (x.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def text_of(t: Tensor) -> str:
    """What print(t) shows."""
    prefix = "tensor("
    suffixes = []
    row = t.row
    default = row in (names._default.row, i64, bool_)
    indent = len(prefix)
    if t.numel() == 0:
        if t.ndim != 1:
            suffixes.append(f"size={tuple(t._data.sizes)}")
        if row is not names._default.row:
            suffixes.append(f"dtype={t.dtype}")
        body = "[]"
    else:
        if not default:
            suffixes.append(f"dtype={t.dtype}")
        array = t._values()
        summarise = t.numel() > _options.threshold
        fmt = _Format(_shown(array) if summarise else array, row.is_float)
        body = _body(array, indent, summarise, fmt)
    node = t.grad_fn
    if node is not None:
        suffixes.append(f"grad_fn=<{node.name().rpartition('::')[2]}>")
    elif t._wants_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + body, suffixes, indent)


class _ComplexFormat:
    """How complex numbers are written: both parts with a format of their own, the imaginary one
    without its columns."""

    def __init__(self, shown: np.ndarray) -> None:
        self.real, self.imaginary = _Format(shown.real, True), _Format(shown.imag, True)
        self.width = self.real.width + self.imaginary.width + 2

    def text(self, x: complex) -> str:
        imaginary = self.imaginary._number(x.imag)
        return self.real.text(x.real) + ("" if imaginary[0] == "-" else "+") + imaginary + "j"


def complex_text(z: Any) -> str:
    """What print shows of a complex tensor."""
    suffixes = [] if z.dtype is names.complex64 else [f"dtype={z.dtype}"]
    array = z.numpy_of_values()
    body = "[]"
    if array.size:
        summarise = array.size > _options.threshold
        body = _body(array, 7, summarise, _ComplexFormat(_shown(array) if summarise else array))
    elif z.ndim != 1:
        suffixes.insert(0, f"size={tuple(z.shape)}")
    if not array.size and z.dtype is names.complex64:
        suffixes.append(f"dtype={z.dtype}")
    if z.grad_fn is not None:
        suffixes.append(f"grad_fn=<{node_name(f'aten::{z._made_by}', '', None)}>")
    elif z.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes("tensor(" + body, suffixes, 7)


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Suffixes follow on the last line while they fit."""
    parts = [text]
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > _options.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            column = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            column += len(suffix) + 2
    return "".join(parts) + ")"
