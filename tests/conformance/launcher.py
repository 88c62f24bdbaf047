"""Runs commands and measures them, from a process that is small itself.

A child's peak memory counts what its parent had when it was forked, so that the worker, which holds
PyTorch, cannot measure the compiler. It asks this one, over a pipe: a command a line, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Finished:
    """A command's exit status, wall time, peak memory, and what it wrote to standard error."""

    status: int
    seconds: float
    megabytes: float
    messages: str


class Launcher:
    """The worker's end. Start it before anything large is imported."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, command: list[str], folder: str, environment: dict[str, str]) -> Finished:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([command, folder, environment]) + "\n")
        self.process.stdin.flush()
        return Finished(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate()


def serve() -> None:
    for line in sys.stdin:
        command, folder, environment = json.loads(line)
        with tempfile.TemporaryFile() as messages:
            begun = time.monotonic()
            child = subprocess.Popen(
                command, cwd=folder, env=environment, stderr=messages, stdout=messages
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - begun
            child.returncode = os.waitstatus_to_exitcode(status)
            messages.seek(0)
            text = messages.read().decode(errors="replace").strip()
        print(json.dumps([child.returncode, seconds, usage.ru_maxrss / 1024, text]), flush=True)


if __name__ == "__main__":
    serve()
