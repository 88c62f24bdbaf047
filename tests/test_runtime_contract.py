"""What the LLVM back end emits keeps the promises of aot.h, and so does the hand-written model.

tests/c/contract.c holds any shared library against them. The programs here are built of kernels and
host code directly, so that a failure is the back end's.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import aot
from llvm_backend.compile import compile_program
from llvm_backend.header import header_text
from llvm_backend.kernel import Kernel, KernelBuilder
from llvm_backend.linking import write_executable, write_shared_library
from llvm_backend.native import resolve_target
from llvm_backend.program import Call, Copy, HostCheck, Method, Program, Slot, ValueInfo
from runtime import dtypes
from runtime.c_compiler import SOURCE_DIR
from runtime.errors import RuntimeFailure
from runtime.loader import load_library
from tests.conftest import ROOT, require
from tests.sample_model import C_DIR, COPIED, WARNINGS, compile_c, run, sample_object

N = 1000


def relu() -> Kernel:
    """y = max(x, 0) over N elements, in parallel."""
    b = KernelBuilder("relu")
    x = b.buffer("x", dtypes.f32, N, False)
    y = b.buffer("y", dtypes.f32, N, True)
    with b.loop(0, N, kind="parallel") as f:
        b.store(y, f.counter, b.binary("max", b.load(x, f.counter), b.const(0.0, dtypes.f32)))
    return b.kernel


def scale_and_add() -> Kernel:
    """out = w[0] * s + n, through a scratch element."""
    b = KernelBuilder("scale_and_add")
    w = b.buffer("w", dtypes.f64, 1, False)
    s = b.buffer("s", dtypes.f64, 1, False)
    n = b.buffer("n", dtypes.i64, 1, False)
    out = b.buffer("out", dtypes.f64, 1, True)
    product = b.binary("mul", b.load(w, 0), b.load(s, 0))
    b.store(out, 0, b.add(product, b.cast(b.load(n, 0), dtypes.f64)))
    return b.kernel


def increment() -> Kernel:
    b = KernelBuilder("increment")
    counter = b.buffer("counter", dtypes.i64, 1, True)
    b.store(counter, 0, b.add(b.load(counter, 0), b.const(1)))
    return b.kernel


def tensor_methods() -> list[Method]:
    x, y = (ValueInfo(n, dtypes.f32, (10, 100)) for n in ("x", "out0"))
    forward = Method("forward", [x], [y], [], "(x=T)", "T")
    arena = Slot("arena", dtypes.f32, N, 64)
    forward.body = [Call(relu(), [Slot("input", dtypes.f32, N), arena]),
                    Copy(arena, Slot("output", dtypes.f32, N))]

    ins = [ValueInfo(f"a{i}", d, (3, 1)) for i, d in enumerate(COPIED)]
    outs = [ValueInfo(f"out{i}", d, (3, 1)) for i, d in enumerate(COPIED)]
    body = [Copy(Slot("input", d, 3, index=i), Slot("output", d, 3, index=i))
            for i, d in enumerate(COPIED)]
    copy = Method("copy", ins + [ValueInfo("none", dtypes.f32, (0, 3))], outs, body,
                  "(" + ",".join(f"a{i}=T" for i in range(10)) + ",none=T)",
                  "[" + ",".join("T" * 10) + "]")

    scalars = [ValueInfo("s", dtypes.f64, (), "float"), ValueInfo("n", dtypes.i64, (), "int"),
               ValueInfo("flag", dtypes.bool_, (), "bool"), ValueInfo("t", dtypes.f32, ())]
    results = [ValueInfo("out0", dtypes.f64, (), "float"), ValueInfo("out1", dtypes.f32, ()),
               ValueInfo("out2", dtypes.bool_, (), "bool")]
    mix = Method("mix", scalars, results, [
        Call(scale_and_add(), [Slot("constant", dtypes.f64, 1), Slot("input", dtypes.f64, 1),
                               Slot("input", dtypes.i64, 1, index=1),
                               Slot("arena", dtypes.f64, 1)]),
        Copy(Slot("arena", dtypes.f64, 1), Slot("output", dtypes.f64, 1)),
        Copy(Slot("input", dtypes.f32, 1, index=3), Slot("output", dtypes.f32, 1, index=1)),
        Copy(Slot("input", dtypes.bool_, 1, index=2), Slot("output", dtypes.bool_, 1, index=2)),
    ], "(s=T,n=T,flag=T,t=T)", "{'sum':T,'rest':(T,T)}")

    check = Method("init", [ValueInfo("ok", dtypes.bool_, (), "bool")], [],
                   [HostCheck(Slot("input", dtypes.bool_, 1), "net.py:7: it is not ok")],
                   "(ok=T)", "N")
    return [forward, copy, mix, check]


def count_method() -> Method:
    state = Slot("state", dtypes.i64, 1)
    return Method("count", [], [ValueInfo("out0", dtypes.i64, (), "int")],
                  [Call(increment(), [state]), Copy(state, Slot("output", dtypes.i64, 1))],
                  "()", "T")


def program(stateful: bool) -> Program:
    constants = [(0, np.array([2.5])), (64, np.array([41]))]
    if not stateful:
        return Program("model", tensor_methods(), constants, 128, 64 + 4 * N)
    return Program("model", [*tensor_methods(), count_method()], constants, 128, 64 + 4 * N,
                   state=[(0, 64, 8)], state_bytes=64)


@pytest.fixture(scope="module", params=[False, True], ids=["stateless", "stateful"])
def built(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.o, model.h, model.so."""
    folder = tmp_path_factory.mktemp("contract")
    artifact = compile_program(program(request.param), resolve_target("native"))
    (folder / "model.o").write_bytes(artifact.object_bytes())
    (folder / "model.h").write_text(header_text(artifact.description), "utf-8")
    write_shared_library(artifact.object_bytes(), folder / "model.so", "model")
    assert load_library(folder / "model.so").description == artifact.description
    return folder


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checker") / "contract"
    compile_c(["-std=c99", "-pedantic", "-g", "-O1", "-Wconversion", *WARNINGS, "-pthread",
               C_DIR / "contract.c", SOURCE_DIR / "aot_pool.c", "-ldl", "-o", path])
    return path


def test_emitted_model(built: Path, contract: Path) -> None:
    result = run([contract, built / "model.so"])
    assert (result.returncode, result.stdout) == (0, "ok\n")


@pytest.mark.parametrize("flags", [[], ["-DSAMPLE_STATELESS"]], ids=["stateful", "stateless"])
def test_hand_written_model(tmp_path: Path, contract: Path, flags: list[str]) -> None:
    write_shared_library(sample_object(tmp_path, *flags), tmp_path / "sample.so", "sample")
    result = run([contract, tmp_path / "sample.so"])
    assert (result.returncode, result.stdout) == (0, "ok\n")


def test_a_broken_promise_is_found(tmp_path: Path, contract: Path) -> None:
    """The checker checks: each of these changes to the hand-written model is caught."""
    text = (C_DIR / "sample.c").read_text("utf-8")
    changes = [
        ("i < 6; i++) out0", "i < 5; i++) out0"),  # an element not written
        ("i < 6; i++) out0", "i < 7; i++) out0"),  # one too many
        ("t->ndim != info->ndim", "0"),
        ("t->device.type != AOT_CPU", "0"),
        ("t->dtype.lanes != 1", "0"),
        ("t->strides[d] != stride", "0"),
        ("(info->dtype.bits / 8u) == 0", "1u == 0"),
        ("if (t->data == NULL) return 0;", ""),
        ("return (char *)t->data + t->byte_offset;", "return t->data;"),
        ("instance->model != &sample_model) return 0;", "0) return 0;"),
        ("instance->calls = 0;", ""),
    ]
    sample_object(tmp_path)  # for its header
    for old, new in changes:
        assert text.count(old) >= 1, old
        (tmp_path / "broken.c").write_text(text.replace(old, new), "utf-8")
        state = [] if "calls" in old else ["-DSAMPLE_STATELESS"]
        compile_c(["-std=c99", "-shared", "-fPIC", f"-I{tmp_path}", *state,
                   "-Wl,--defsym,aot_model_entry=sample_model", tmp_path / "broken.c",
                   "-o", tmp_path / "broken.so"])
        result = run([contract, tmp_path / "broken.so"])
        assert result.returncode != 0, f"not noticed: {old} -> {new}"


def test_emitted_model_under_valgrind(built: Path, contract: Path) -> None:
    """The baseline CPU's code: valgrind does not know every newer instruction."""
    require(shutil.which("valgrind") is not None, "valgrind")
    code = compile_program(program(False), resolve_target("x86-64")).object_bytes()
    write_shared_library(code, built / "baseline.so", "model")
    result = run(["valgrind", "-q", "--error-exitcode=9", contract, built / "baseline.so"])
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_undefined_symbols_and_no_globals(built: Path) -> None:
    require(shutil.which("nm") is not None and shutil.which("size") is not None, "binutils")
    undefined = re.findall(r"U (\S+)", run(["nm", "-u", built / "model.o"]).stdout)
    assert set(undefined) <= {"memcpy", "memmove", "memset"}
    listed = run(["size", "-A", built / "model.o"]).stdout
    sizes = dict(re.findall(r"^(\S+)\s+(\d+)", listed, re.M))
    # Constants with addresses in them are relocated, then read-only.
    assert int(sizes[".text"]) > 0 and int(sizes[".data.rel.ro"]) >= 128
    assert not [n for n in sizes if n in (".data", ".bss", ".tdata", ".tbss") and sizes[n] != "0"]


def test_typed_entries(built: Path, tmp_path: Path) -> None:
    """The generated header's prototypes are what the object defines."""
    (tmp_path / "host.c").write_text(
        '#include "model.h"\n#include <stdio.h>\n#include <string.h>\n'
        "int main(void) {\n"
        "    static float x[1000], y[1000];\n"
        "    double sum;\n"
        "    float t = 3, t_out;\n"
        "    bool flag;\n"
        "    model_instance *m;\n"
        "    x[0] = -1, x[999] = 5;\n"
        "    if (model_create(&m, NULL) != AOT_OK) return 1;\n"
        "    if (model_forward(m, x, y) != AOT_OK || y[0] != 0 || y[999] != 5) return 2;\n"
        "    if (model_mix(m, 4.0, -7, true, &t, &sum, &t_out, &flag) != AOT_OK) return 3;\n"
        "    if (sum != 3.0 || t_out != 3 || !flag) return 4;\n"
        "    if (model_mix(m, 4.0, -7, false, &t, &sum, &t_out, &flag) || flag) return 5;\n"
        "    if (model_init_(m, true) != AOT_OK) return 6;\n"
        "    if (model_init_(m, false) != AOT_FAILED) return 7;\n"
        '    if (strcmp(model_message(m), "net.py:7: it is not ok")) return 8;\n'
        "    if (model_forward(m, NULL, y) != AOT_INVALID_ARGUMENT) return 9;\n"
        '    if (!strstr(model_message(m), "x")) return 10;\n'
        "    if (model_forward(NULL, x, y) != AOT_INVALID_ARGUMENT) return 11;\n"
        "    model_destroy(m);\n"
        '    puts("ok");\n'
        "    return 0;\n"
        "}\n"
    )
    for cxx in (False, True):
        require(shutil.which("g++" if cxx else "cc") is not None, "a compiler")
        compile_c([*WARNINGS, "-pedantic", f"-I{built}", *(["-x", "c++"] if cxx else ["-std=c99"]),
                   tmp_path / "host.c", "-x", "none", built / "model.o",
                   "-o", tmp_path / "host"], cxx=cxx)
        result = run([tmp_path / "host"])
        assert (result.returncode, result.stdout) == (0, "ok\n")


def test_loader_and_program(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_library(built / "model.so", threads=2)
    x = np.random.default_rng(1).standard_normal((10, 100)).astype(np.float32)
    assert np.array_equal(model(x), np.maximum(x, 0))
    assert model.mix(2.0, 1, flag=True, t=np.float32(4)) == {"sum": 6.0, "rest": (4.0, True)}
    with pytest.raises(RuntimeFailure, match="net.py:7: it is not ok"):
        model.methods["init"](False)
    if model.description.stateful:
        assert [model.count(), model.count()] == [42, 43]
        model.reset()
        assert model.count() == 42
    monkeypatch.chdir(tmp_path)
    write_executable((built / "model.o").read_bytes(), tmp_path / "model", "model")
    np.save("x.npy", x)
    assert run(["./model", "--threads", "2", "x.npy"]).stdout == "out0: f32[10,100] -> out.0.npy\n"
    assert np.array_equal(np.load("out.0.npy"), np.maximum(x, 0))


@pytest.mark.parametrize("archive", ["conv_trace", "transformer_trace", "recurrent_script"])
def test_compiled_archives(archive: str, tmp_path: Path, contract: Path) -> None:
    """The whole compiler's output: parallel loops, arenas, several results."""
    folder = ROOT / "tests" / "archives"
    recorded = np.load(folder / f"{archive}.npz")
    inputs = tuple(recorded[name] for name in recorded if name.startswith("c0_in_"))
    aot.compile(folder / f"{archive}.pt", example_inputs=inputs, threads=2).save(tmp_path / "m.so")
    result = run([contract, tmp_path / "m.so"])
    assert (result.returncode, result.stdout) == (0, "ok\n")
