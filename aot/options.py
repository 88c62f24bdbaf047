"""Every knob, one sentence each: those of a compilation, and those of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Optional

from aot.inputs import Input
from llvm_backend.target import PRECISIONS
from runtime.description import c_identifier, is_c_identifier
from runtime.errors import CompileError

MAX_NAME = 200  # of a model, so that the symbols made from it stay readable


@dataclass(frozen=True)
class CompileOptions:
    """What is compiled, and for which machine. All fields change the code but the last group."""

    # One spec an argument, or None: the example inputs that a traced archive carries.
    inputs: tuple[Input, ...] | None = None
    # The method that is compiled.
    method: str = "forward"
    # Prefix of every symbol of the artifact, a C identifier.
    name: str = "model"
    # Rows of the target table, or native, the machine that compiles; several are put into one
    # artifact, which picks when an instance is made: "x86-64-v4,x86-64-v3".
    cpu: str = "native"
    # Threads that parallel loops are divided for; 1 leaves no parallel loop.
    threads: int = 1
    # What products keep their weights in: f32 is as the program has them, the others round them.
    precision: str = "f32"
    # False leaves out every optimisation: the slow code that the fast one is compared with.
    optimize: bool = True
    # Names of tensor passes that are left out, for finding the one that breaks something.
    without: frozenset[str] = field(default_factory=frozenset)
    # Further methods of the artifact: (name, inputs), or the same with other inputs. All share
    # weights and state.
    more_methods: tuple[tuple[str, Optional[tuple[Input, ...]]], ...] = ()

    # These change no code:
    # Check every stage's invariants after every pass.
    check: bool = False
    # Whether machine code may come from the cache, and is kept there.
    cache: bool = True
    # FILE: the database of measured knobs; its rows change the code. "": the one of the cache's
    # folder, if --tune has made one.
    tune_db: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        for name, inputs in self.methods:
            count = self.methods.count((name, inputs))
            if count > 1:
                raise CompileError(f"--method {name} is given {count} times with the same inputs")
        if self.precision not in PRECISIONS:
            raise CompileError(f"--precision {self.precision}: expected {' or '.join(PRECISIONS)}")
        if self.precision != "f32" and not self.optimize:
            raise CompileError("code without optimisation has the program's own precision")
        if not 1 <= self.threads <= 1024:
            raise CompileError(f"--threads {self.threads}: expected a number from 1 to 1024")

    @property
    def methods(self) -> tuple[tuple[str, Optional[tuple[Input, ...]]], ...]:
        """All methods, in order, with their inputs."""
        return ((self.method, self.inputs), *self.more_methods)


@dataclass(frozen=True)
class Environment:
    """What the environment variables say."""

    # AOT_DEBUG=1..6: tracebacks and times, then also Graph, TensorOps, kernels, LLVM IR, assembly,
    # on stderr.
    debug: int = 0
    # AOT_DUMP=FOLDER: every stage is written into the folder as text.
    dump: str = ""
    # AOT_CRASH_DIR=FOLDER: where the report of an internal error is written; the current folder
    # when not set.
    crash_dir: str = "."
    # AOT_CACHE=FOLDER: where compilations are kept, and the thread pool of calls from Python; 0
    # keeps none. Not set: the folder aot in XDG_CACHE_HOME or ~/.cache (runtime/cache_folder.py).
    cache: str = ""
    # AOT_CACHE_MB=N: compilations take at most N megabytes there, those used last; 0 keeps none.
    cache_megabytes: int = 2048


def environment() -> Environment:
    """The environment variables, read anew at each call; one that is not understood counts as not
    set."""
    return Environment(
        debug=min(_number("AOT_DEBUG", 0), 6),
        dump=os.environ.get("AOT_DUMP", ""),
        crash_dir=os.environ.get("AOT_CRASH_DIR", ".") or ".",
        cache=os.environ.get("AOT_CACHE", ""),
        cache_megabytes=_number("AOT_CACHE_MB", Environment.cache_megabytes),
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() else default


def check_name(name: str) -> None:
    """Raises CompileError unless `name` can be the prefix of C symbols."""
    if not is_c_identifier(name):
        expected = "a C identifier (a letter, then letters, digits and _)"
        raise CompileError(f"--name '{name}': expected {expected}")
    if len(name) > MAX_NAME:
        raise CompileError(f"--name: expected at most {MAX_NAME} characters, found {len(name)}")


def name_of_path(stem: str) -> str:
    """A C identifier made from a file's stem: 'resnet-18' becomes 'resnet_18'."""
    name = c_identifier(stem)
    return (name if name[0].isalpha() else "m" + name)[:MAX_NAME]
