"""What compiled models print and warn of, when they run in Python: to sys.stdout and `warnings`."""

from __future__ import annotations

import ctypes
import sys
import warnings

from runtime import abi


def _report(context: int | None, kind: int, raw: bytes) -> None:
    text = abi.text(raw)
    if abi.REPORT_KINDS[kind] == "print":
        sys.stdout.write(text + "\n")
    else:
        warnings.warn(text, stacklevel=3)


_function = abi.ReportFunction(_report)
REPORT = ctypes.cast(_function, ctypes.c_void_p).value  # for aot_options.report
