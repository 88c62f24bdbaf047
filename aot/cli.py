"""aot-compile: an archive in, an artifact out.

Exit status 0, or 2 with one clear message a problem. No traceback for anything that a user can do;
an internal error says that it is a bug, and leaves a report with the command that replays it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import stat
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from aot import output
from aot.compiler import compile_archive
from aot.inputs import EXAMPLES, Input, parse_inputs
from aot.options import CompileOptions, check_name, environment, name_of_path
from aot.progress import Progress, progress_for
from aot.version import VERSION
from llvm_backend.linking import write_file
from llvm_backend.target import PRECISIONS
from runtime.errors import AotError, ArchiveError, CompileError, InputError
from runtime.loader import load_library

PROGRAM = "aot-compile"
BINARIES = ("obj", "lib", "exe")
TEXTS = ("graph", "code", "tensor", "kernels", "llvm", "asm")
ROUNDS = 3  # of --verify, over a model that keeps state from call to call
FAILED = 2
INTERRUPTED = 130

_EPILOG = f"""\
--emit obj writes OUT.o and OUT.h, lib OUT.so and OUT.h, exe OUT; the other kinds are texts of one
stage each, for OUT or standard output. One --input an argument, in order: {EXAMPLES}.
A traced archive carries its example inputs; without --input they give the shapes. Several methods
share weights and state: --method encode --input x:f32[1,4] --method reset.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = environment().debug
    try:
        arguments = _parser().parse_args(argv)
        _run(arguments)
        sys.stdout.flush()
        return 0
    except AotError as error:
        return _fail(str(error), debug)
    except BrokenPipeError:
        # The reader of our text has seen enough; Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError:
        return _fail("not enough memory to compile this", debug)
    except RecursionError:
        return _fail("the program is nested too deeply to compile", debug)
    except Exception as error:  # the last resort: a bug of ours, reported as one
        write_report = importlib.import_module("aot.crash").write_report
        report = write_report(argv, error, environment().crash_dir)
        summary = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        where = f"the report is in {report}" if report else "no report could be written"
        return _fail(f"internal error, a bug in aot: {summary}; {where}", debug)


def _fail(message: str, debug: int) -> int:
    if debug:
        traceback.print_exc()
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return FAILED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CompileError(f"{message} (see {PROGRAM} --help)")


class _InOrder(argparse.Action):
    """--method and --input, which belong together by their order: (option, value) pairs."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        words = getattr(namespace, "signature", None) or []
        namespace.signature = [*words, (self.dest, values)]


def _methods(words: list[tuple[str, str]]) -> list[tuple[str, tuple[Input, ...] | None]]:
    """The methods with their inputs. One method's inputs may stand before its name."""
    names = [value for kind, value in words if kind == "method"] or ["forward"]
    inputs: list[list[str]] = [[] for _ in names]
    at = -1
    for kind, value in words:
        if kind == "method":
            at += 1
        elif at < 0 and len(names) > 1:
            raise InputError(f"--input {value} stands before the first --method: of several "
                             "methods, each is followed by its inputs")
        else:
            inputs[max(at, 0)].append(value)
    return [(name, parse_inputs(given) if given else None) for name, given in zip(names, inputs)]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Compiles a TorchScript archive ahead of time.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL.pt", help="an archive that torch.jit.save wrote")
    add("-o", metavar="OUT", dest="out", help="where to write; default: the model's name, here")
    add("--emit", choices=BINARIES + TEXTS, default="obj", help="what to write (default: obj)")
    add("--input", metavar="NAME:DTYPE[DIMS]", action=_InOrder, help="an argument")
    add("--method", action=_InOrder,
        help="a method to compile (default: forward); the inputs after it are its own")
    add("--name", metavar="C_IDENTIFIER", help="prefix of all symbols (default: OUT's name)")
    add("--cpu", default="native", metavar="CPU[,CPU]",
        help="native, x86-64-v3, ...; of several the artifact picks one when an instance is made "
        "(default: native)")
    add("--threads", type=int, default=1, metavar="N", help="threads to divide loops for")
    add("--precision", choices=PRECISIONS, default="f32",
        help="what products keep their weights in; less than f32 rounds them (default: f32)")
    add("--operator", action="append", default=[], metavar="SCHEMA[=RULE]",
        help="an operator of the archive that is a C function, mylib_clip2 for 'mylib::clip2("
        "Tensor x, float lo) -> Tensor'; its result may have a rule: '... = f32[x.size(0), 2]'")
    add("--operator-source", action="append", default=[], metavar="FILE.c",
        help="C code of such operators, for --emit lib and exe and for --verify")
    add("--operator-library", action="append", default=[], metavar="LIB.so",
        help="a shared library of such operators")
    add("--tune", action="store_true",
        help="first measure which schedules of products run fastest on this machine; later "
        "compilations use what was found")
    add("--tune-db", default="", metavar="FILE",
        help="where that is kept and read (default: tuned.json in the cache's folder)")
    add("--no-cache", action="store_true", help="compile anew, and keep nothing for the next time")
    add("--verify", action="store_true", help="run the result against the interpreter")
    add("-v", "--verbose", action="store_true", help="say what is done and how long it takes")
    add("--version", action="version", version=f"{PROGRAM} {VERSION}")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    begun = time.monotonic()
    archive = Path(arguments.model)
    _check_readable(archive)
    emit = arguments.emit
    to_stdout = emit in TEXTS and arguments.out in (None, "-")
    stem = output.stem(archive, arguments.out, emit)
    files = [] if to_stdout else output.files(stem, emit)
    for file in files:
        output.check_writable(file, archive)
    if arguments.name is not None:
        check_name(arguments.name)
    named_after = stem if emit in BINARIES else Path(archive.stem)
    (method, inputs), *others = _methods(getattr(arguments, "signature", None) or [])
    options = CompileOptions(
        inputs=inputs,
        method=method,
        more_methods=tuple(others),
        name=arguments.name or name_of_path(named_after.name),
        cpu=arguments.cpu,
        threads=arguments.threads,
        precision=arguments.precision,
        cache=not arguments.no_cache,
        tune_db=arguments.tune_db,
    )
    if arguments.operator:
        declare = importlib.import_module("aot.library").c_operator_of_text
        for text in arguments.operator:
            declare(text, arguments.operator_source, arguments.operator_library)
    progress = progress_for(arguments.verbose)
    try:
        _compile(archive, options, arguments, None if to_stdout else stem, progress, begun)
    finally:
        progress.finish()


def _check_readable(archive: Path) -> None:
    try:
        mode = archive.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ArchiveError(f"{archive}: is a directory; expected an archive of torch.jit.save")
        if not stat.S_ISREG(mode):
            raise ArchiveError(f"{archive}: is not a regular file")
        with archive.open("rb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ArchiveError(f"{archive}: {reason or error}") from None


def _compile(
    archive: Path,
    options: CompileOptions,
    arguments: argparse.Namespace,
    stem: Path | None,
    progress: Progress,
    begun: float,
) -> None:
    """Compiles and writes: to the files of `stem`, or the text to standard output without one."""
    emit = arguments.emit
    if emit in ("graph", "code"):  # these are of the archive, before anything is compiled
        progress.stage("read")
        module = importlib.import_module("aot.jit").load(archive)
        pipeline = importlib.import_module("aot.pipeline")
        text = pipeline.archive_text(module, options, emit, archive)
        progress.finish()
        _write_text(text, stem)
        return
    if arguments.tune:
        tune = importlib.import_module("aot.tune")
        outcomes = tune.tune_archive(archive, options, progress)
        progress.finish()
        print(tune.table(outcomes), file=sys.stderr if stem is None else sys.stdout)
    compiled = compile_archive(archive, options, progress)
    if emit in TEXTS:
        text = compiled.text(emit)
        progress.finish()
        _write_text(text, stem)
        return
    assert stem is not None
    targets = output.files(stem, emit)
    progress.stage("write")
    if emit == "exe":  # whatever its name ends in
        compiled.save_program(targets[0])
    else:
        compiled.save(targets[0])
    if arguments.verify:
        progress.stage("verify")
        artifact = load_library(targets[0], options.threads) if emit == "lib" else compiled
        verify = importlib.import_module("aot.verify")
        outcome = verify.verify_methods(artifact.methods, compiled.methods,
                                        ROUNDS if compiled.changes_module else 1,
                                        options.precision)
    progress.finish()
    if arguments.verify:
        print(outcome)
    if arguments.verbose or sys.stderr.isatty():
        seconds = time.monotonic() - begun
        print(compiled.stats.line(options.name, seconds), file=sys.stderr)


def _write_text(text: str, stem: Path | None) -> None:
    text = text if text.endswith("\n") else text + "\n"
    if stem is None:
        sys.stdout.write(text)
    else:
        write_file(text, stem)


if __name__ == "__main__":
    sys.exit(main())
