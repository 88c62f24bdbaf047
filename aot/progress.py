"""What a person sees while the compiler works, and the line that sums it up.

Stages report to a Progress; the plain one is silent. On a terminal one line is rewritten in place;
with -v every stage gets a line with its time. All of it goes to standard error, so that texts on
standard output stay clean.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from typing import TextIO

REDRAW_SECONDS = 0.08  # often enough to look alive, seldom enough to cost nothing


@dataclass(frozen=True)
class Stats:
    """The figures of one compilation; bytes of the machine code, of packed constants, of
    scratch."""

    kernels: int
    flops: int
    code_bytes: int
    weight_bytes: int
    arena_bytes: int

    def line(self, name: str, seconds: float) -> str:
        """'digits: 7 kernels, 1.6 MFLOP, 21.4 KB code, 94.1 KB weights, 12.0 KB arena, 0.84 s'."""
        parts = [
            f"{self.kernels} kernel{'' if self.kernels == 1 else 's'}",
            *([f"{_scaled(self.flops, 1000)}FLOP"] if self.flops else []),
            f"{_scaled(self.code_bytes, 1024)}B code",
            f"{_scaled(self.weight_bytes, 1024)}B weights",
            f"{_scaled(self.arena_bytes, 1024)}B arena",
            f"{seconds:.2f} s",
        ]
        return f"{name}: {', '.join(parts)}"


class Progress:
    """Silent. `stage` begins a named stage; `step` says that one of its `total` items is done."""

    def stage(self, name: str, total: int = 0) -> None:
        pass

    def step(self, item: str = "") -> None:
        pass

    def finish(self) -> None:
        """No stage follows; what was drawn is taken away. May be called twice."""


class TerminalProgress(Progress):
    """One line, rewritten in place: '[ 2.3 s] kernels 17/41 conv2d_3'."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.begun = time.monotonic()
        self.drawn = 0.0
        self.name = ""
        self.total = self.done = 0
        self.width = 0

    def stage(self, name: str, total: int = 0) -> None:
        self.name, self.total, self.done = name, total, 0
        self._draw("")

    def step(self, item: str = "") -> None:
        self.done += 1
        if time.monotonic() - self.drawn >= REDRAW_SECONDS:
            self._draw(item)

    def finish(self) -> None:
        if self.width:
            self._write("")
        self.width = 0

    def _draw(self, item: str) -> None:
        self.drawn = time.monotonic()
        count = f" {self.done}/{self.total}" if self.total else ""
        self._write(f"[{self.drawn - self.begun:5.1f} s] {self.name}{count} {item}".rstrip())

    def _write(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]
        self.stream.write("\r" + line.ljust(self.width) + ("\r" if not line else ""))
        self.stream.flush()
        self.width = len(line)


class VerboseProgress(Progress):
    """A line a stage, with its time: 'lower 0.214 s (41 kernels)'."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.name = ""
        self.begun = 0.0
        self.done = 0

    def stage(self, name: str, total: int = 0) -> None:
        self.finish()
        self.name, self.begun, self.done = name, time.monotonic(), 0

    def step(self, item: str = "") -> None:
        self.done += 1

    def finish(self) -> None:
        if self.name:
            count = f" ({self.done})" if self.done else ""
            print(f"{self.name}: {time.monotonic() - self.begun:.3f} s{count}", file=self.stream)
        self.name = ""


def progress_for(verbose: bool, stream: TextIO | None = None) -> Progress:
    """Verbose if asked for; else drawn if the stream (standard error) is a terminal; else
    silent."""
    stream = stream or sys.stderr
    if verbose:
        return VerboseProgress(stream)
    return TerminalProgress(stream) if stream.isatty() else Progress()


def _scaled(amount: float, base: int) -> str:
    """'512 ', '1.5 K', '23.4 M': the number and the prefix that a unit follows."""
    if amount < base:
        return f"{int(amount)} "
    for prefix in ("K", "M", "G", "T"):
        amount /= base
        if amount < base:
            break
    return f"{amount:.1f} {prefix}"
