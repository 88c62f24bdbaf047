"""Programs as machine code: host control flow, state, threads, checks, entries, weights."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace

import numpy as np
import pytest

from llvm_backend import codegen, cpu_check
from llvm_backend.compile import TEXTS, compile_program, program_text
from llvm_backend.elf_weights import attach_weights
from llvm_backend.jit import JitModel, LoadedObject
from llvm_backend.kernel import Kernel, KernelBuilder
from llvm_backend.module import build_module
from llvm_backend.native import native_target
from llvm_backend.program import (Call, Copy, HostCheck, HostIf, HostLoop, Method, Program, Slot,
                                  ValueInfo)
from llvm_backend.target import TARGETS
from runtime import abi
from runtime.dtypes import bool_, f32, i64
from runtime.errors import AotError, CompileError
from runtime.loader import CompiledModel

N = 1000


def elementwise(op: str, arity: int = 2, parallel: bool = False, n: int = N) -> Kernel:
    """out = op(a, b) over n f32."""
    b = KernelBuilder(f"{op}_kernel")
    ins = [b.buffer(f"in{k}", f32, n, False) for k in range(arity)]
    out = b.buffer("out", f32, n, True)
    with b.loop(0, n, 8, "parallel" if parallel else "serial") as f:
        values = [b.load(x, f.counter, 8) for x in ins]
        b.store(out, f.counter, b.emit(op, values, values[0].type))
    return b.kernel


def compare_kernel(op: str, dtype, value) -> Kernel:
    """out = in[0] op value."""
    b = KernelBuilder("compare")
    x, y = b.buffer("x", dtype, 1, False), b.buffer("y", bool_, 1, True)
    b.store(y, 0, b.binary(op, b.load(x, 0), b.const(value, dtype)))
    return b.kernel


def slot(space: str, dtype, size: int, offset: int = 0, index: int = 0) -> Slot:
    return Slot(space, dtype, size, offset, index)


X, Y = slot("input", f32, N), slot("output", f32, N)
TEMP, FLAG = slot("arena", f32, N), slot("arena", bool_, 1, 4096)
COUNT = slot("arena", i64, 1, 4160)
INFO_X, INFO_Y = ValueInfo("x", f32, (10, 100)), ValueInfo("out0", f32, (10, 100))


def program_of(body, inputs=(INFO_X,), outputs=(INFO_Y,), **fields) -> Program:
    names = ",".join(f"{v.name}=T" for v in inputs)
    results = "T" if len(outputs) == 1 else f"({','.join('T' for _ in outputs)})"
    method = Method("forward", list(inputs), list(outputs), body, f"({names})", results)
    return Program("m", [method], arena_bytes=8192, **fields)


def run(program: Program, *arrays, threads: int = 1):
    jit = JitModel(compile_program(program, native_target()))
    return CompiledModel(jit.address, keepalive=jit, threads=threads)(*arrays)


def data(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((10, 100)).astype(np.float32)


def test_calls_copies_and_constants():
    weights = data(1).reshape(-1)
    constants = [(0, np.arange(16, dtype=np.float32)), (64, weights)]
    program = program_of([Call(elementwise("mul"), [X, slot("constant", f32, N, 64), TEMP]),
                          Copy(TEMP, Y)], constants=constants, constant_bytes=4096)
    x = data()
    np.testing.assert_array_equal(run(program, x), x * weights.reshape(10, 100))
    # and in an object, which carries them in a section of its own
    raw, y = Raw(program), np.zeros_like(x)
    assert raw.init(raw.instance, None) == abi.OK
    forward = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3)(raw.entry)
    assert forward(raw.instance, x.ctypes.data, y.ctypes.data) == abi.OK
    np.testing.assert_array_equal(y, x * weights.reshape(10, 100))


@pytest.mark.parametrize("value,sign", ((3.0, 1), (-3.0, -1)))
def test_branches(value, sign):
    x = data()
    x[0, 0] = value
    program = program_of([
        Call(compare_kernel("gt", f32, 0.0), [X, FLAG]),
        HostIf(FLAG, [Copy(X, Y)], [Call(elementwise("neg", 1), [X, Y])])])
    np.testing.assert_array_equal(run(program, x), sign * x)


@pytest.mark.parametrize("trip,stop,turns", ((3, 100, 3), (0, 100, 0), (50, 4, 5), (-2, 9, 0)))
def test_loops_count_and_stop(trip, stop, turns):
    """y = x + x ... while counter <= stop - 1, at most trip times."""
    always = KernelBuilder("always")
    always.store(always.buffer("y", bool_, 1, True), 0, always.const(True, bool_))
    body = [Copy(X, TEMP), Call(always.kernel, [FLAG]),
            HostLoop(trip, FLAG, COUNT, [
                Call(elementwise("add"), [X, TEMP, slot("arena", f32, N, 4224)]),
                Copy(slot("arena", f32, N, 4224), TEMP),
                Call(compare_kernel("lt", i64, stop), [COUNT, FLAG])]),
            Copy(TEMP, Y)]
    program = program_of(body)
    program.arena_bytes = 16384
    x = np.ones((10, 100), np.float32)
    np.testing.assert_array_equal(run(program, x), (turns + 1) * x)


def test_trip_count_from_a_slot_and_nested_branches():
    n = ValueInfo("n", i64, (), "int")
    n_slot = slot("input", i64, 1, index=1)
    body = [Copy(X, TEMP),
            HostLoop(n_slot, None, COUNT, [
                Call(compare_kernel("lt", i64, 2), [COUNT, FLAG]),
                HostIf(FLAG, [Call(elementwise("add"), [X, TEMP, Y]), Copy(Y, TEMP)], [])]),
            Copy(TEMP, Y)]
    program = program_of(body, inputs=(INFO_X, n))
    x = data()
    jit = JitModel(compile_program(program, native_target()))
    model = CompiledModel(jit.address, keepalive=jit)
    for count, times in ((0, 1), (1, 2), (2, 3), (7, 3)):
        np.testing.assert_allclose(model(x, count), times * x, rtol=1e-6)


def test_a_failed_check_is_an_error_with_its_message():
    program = program_of([Call(compare_kernel("gt", f32, 0.0), [X, FLAG]),
                          HostCheck(FLAG, 'AssertionError: x[0] must be "positive"\n'),
                          Copy(X, Y)])
    x = np.ones((10, 100), np.float32)
    np.testing.assert_array_equal(run(program, x), x)
    with pytest.raises(AotError, match='must be "positive"'):
        run(program, -x)


def test_state_persists_and_init_resets_it():
    """A running sum in the state, started from a constant."""
    total = slot("state", f32, N, 64)
    start = data(5).reshape(-1)
    program = program_of([Call(elementwise("add"), [X, total, TEMP]), Copy(TEMP, total),
                          Copy(TEMP, Y)],
                         constants=[(0, start)], constant_bytes=4032, state=[(64, 0, 4 * N)],
                         state_bytes=4096)
    jit = JitModel(compile_program(program, native_target()))
    model = CompiledModel(jit.address, keepalive=jit)
    assert model.description.stateful
    x = data()
    first = x + start.reshape(10, 100)
    np.testing.assert_array_equal(model(x), first)
    np.testing.assert_array_equal(model(x), x + first)
    model.reset()
    np.testing.assert_array_equal(model(x), first)


@pytest.mark.parametrize("threads", (1, 2, 4))
def test_parallel_kernels_run_on_any_number_of_threads(threads):
    program = program_of([Call(elementwise("mul", parallel=True), [X, X, TEMP]),
                          Call(elementwise("add", parallel=True), [TEMP, X, Y])])
    x = data()
    np.testing.assert_allclose(run(program, x, threads=threads), x * x + x, rtol=1e-6, atol=1e-7)


def test_a_call_may_overwrite_its_input():
    """The memory plan reuses a dead operand's memory: such buffers are not declared apart."""
    kernel = elementwise("mul")
    program = program_of([Copy(X, TEMP), Call(kernel, [TEMP, X, TEMP]), Copy(TEMP, Y)])
    text = build_module(program, native_target()).text
    head = next(line for line in text.splitlines() if "mul_kernel(" in line and "define" in line)
    assert [" noalias" in p for p in head.split(",")] == [False, True, False]
    x = data()
    np.testing.assert_array_equal(run(program, x), x * x)


def test_alignment_comes_from_the_slots():
    kernel = elementwise("mul")
    body = [Call(kernel, [TEMP, slot("arena", f32, N, 4096), slot("arena", f32, 16, 32)])]
    head = next(line for line in build_module(program_of(body), native_target()).text
                .splitlines() if "define" in line and "mul_kernel(" in line)
    assert re.findall(r"align (\d+)", head) == ["64", "64", "32"]
    wanting = elementwise("mul")
    wanting.buffers[0].align = 64
    with pytest.raises(ValueError, match="wants alignment 64"):
        build_module(program_of([Call(wanting, [X, TEMP, Y])]), native_target())


def test_equal_kernels_are_one_function():
    program = program_of([Call(elementwise("mul"), [X, X, TEMP]),
                          Call(elementwise("mul"), [TEMP, TEMP, Y]),
                          Call(elementwise("add"), [TEMP, TEMP, Y])])
    built = build_module(program, native_target())
    assert built.kernels == 3  # the second mul's buffers have other alignments
    program = program_of([Call(elementwise("mul"), [X, X, Y]), Call(elementwise("mul"), [X, X, Y])])
    assert build_module(program, native_target()).kernels == 1


class Raw:
    """The C ABI of a program by hand."""

    def __init__(self, program: Program):
        names = ["m_model", "m_init", "m_message", "m_forward"]
        target = native_target()
        artifact = compile_program(program, target)
        self.loaded = LoadedObject(artifact.object_bytes(), names)
        at = self.loaded.addresses
        self.model = abi.model_at(at["m_model"])
        self.init = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(at["m_init"])
        self.message = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(at["m_message"])
        self.entry = at["m_forward"]
        self.memory = np.full(self.model.instance_size + 128, 0xAA, np.uint8)
        self.instance = self.memory.ctypes.data + -self.memory.ctypes.data % 64


def test_typed_entry_and_refusals():
    kinds = (ValueInfo("n", i64, (), "int"), ValueInfo("flag", bool_, (), "bool"))
    b = KernelBuilder("mix")
    x, n = b.buffer("x", f32, N, False), b.buffer("n", i64, 1, False)
    flag = b.buffer("flag", bool_, 1, False)
    y = b.buffer("y", f32, N, True)
    scale = b.cast(b.load(n, 0), f32)
    scale = b.select(b.load(flag, 0), scale, b.unary("neg", scale))
    with b.loop(0, N) as f:
        b.store(y, f.counter, b.mul(b.load(x, f.counter), scale))
    program = program_of([Call(b.kernel, [X, slot("input", i64, 1, index=1),
                                          slot("input", bool_, 1, index=2), Y])],
                         inputs=(INFO_X, *kinds))
    raw = Raw(program)
    forward = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                               ctypes.c_bool, ctypes.c_void_p)(raw.entry)
    x_data, y_data = data(), np.zeros((10, 100), np.float32)
    xp, yp = x_data.ctypes.data, y_data.ctypes.data
    assert b"NULL" in raw.message(None)
    assert forward(raw.instance, xp, 3, True, yp) == abi.INVALID_ARGUMENT  # without an init
    assert b"m_init" in raw.message(raw.instance)
    assert forward(None, xp, 3, True, yp) == abi.INVALID_ARGUMENT
    assert raw.init(None, None) == raw.init(raw.instance + 8, None) == abi.INVALID_ARGUMENT
    assert raw.init(raw.instance, None) == abi.OK and raw.message(raw.instance) == b""
    assert forward(raw.instance + 8, xp, 3, True, yp) == abi.INVALID_ARGUMENT
    for sign, flag in ((1, True), (-1, False)):
        assert forward(raw.instance, xp, 3, flag, yp) == abi.OK
        np.testing.assert_array_equal(y_data, sign * 3 * x_data)
    for arguments, what in (((None, 3, True, yp), b"input x"),
                            ((xp, 3, True, None), b"output out0"),
                            ((xp + 2, 3, True, yp), b"input x")):
        assert forward(raw.instance, *arguments) == abi.INVALID_ARGUMENT
        assert what in raw.message(raw.instance) and b"f32[10,100]" in raw.message(raw.instance)
    assert forward(raw.instance, xp, 3, True, yp) == abi.OK and raw.message(raw.instance) == b""
    assert (raw.memory[-64:] == 0xAA).all()


def tensor(a: np.ndarray, strides: bool = False) -> abi.Tensor:
    t = abi.Tensor()
    t.keep = (ctypes.c_int64 * a.ndim)(*a.shape), (ctypes.c_int64 * a.ndim)(
        *(s // a.itemsize for s in a.strides))
    t.data, t.device_type, t.ndim = a.ctypes.data, abi.CPU_DEVICE, a.ndim
    t.code, t.bits, t.lanes = f32.dlpack, 8 * a.itemsize, 1
    t.shape = ctypes.addressof(t.keep[0])
    t.strides = ctypes.addressof(t.keep[1]) if strides else None
    return t


def test_generic_call_checks_every_tensor():
    raw = Raw(program_of([Copy(X, Y)]))
    assert raw.init(raw.instance, None) == abi.OK
    x, y = data(), np.zeros((10, 100), np.float32)

    def call(t: abi.Tensor | None) -> tuple[int, bytes]:
        out = tensor(y)
        status = raw.model.methods[0].run(raw.instance, ctypes.addressof(t) if t else None,
                                          ctypes.addressof(out))
        return status, raw.message(raw.instance)

    assert call(tensor(x)) == call(tensor(x, strides=True)) == (abi.OK, b"")
    np.testing.assert_array_equal(y, x)
    shifted = tensor(x)
    shifted.data, shifted.byte_offset = shifted.data - 40, 40
    y[:] = 0
    assert call(shifted)[0] == abi.OK
    np.testing.assert_array_equal(y, x)

    def broken(**fields) -> abi.Tensor:
        t = tensor(x)
        for name, value in fields.items():
            setattr(t, name, value)
        return t

    wide = np.zeros((10, 200), np.float32)[:, ::2]
    for t, word in ((None, b"NULL"), (broken(data=None), b"data NULL"), (broken(bits=64), b"dtype"),
                    (broken(code=1), b"dtype"), (broken(ndim=1), b"dims"),
                    (broken(shape=None), b"shape"),
                    (tensor(np.zeros((10, 99), np.float32)), b"shape"),
                    (tensor(wide, strides=True), b"contiguous"), (broken(device_type=2), b"CPU"),
                    (broken(byte_offset=1), b"aligned")):
        status, message = call(t)
        assert status == abi.INVALID_ARGUMENT and word in message, (status, message)
    assert call(tensor(x)) == (abi.OK, b"")


def test_a_cpu_without_the_features_is_refused():
    """A feature that no CPU has, checked in place of a real one."""
    program = program_of([Copy(X, Y)])
    impossible = replace(TARGETS["x86-64"], features=("ssse3", "avx512vp2intersect_and_more"))
    cpu_check._BITS["avx512vp2intersect_and_more"] = (7, 0, 3, 0)  # reserved
    try:
        built = build_module(program, impossible)
    finally:
        del cpu_check._BITS["avx512vp2intersect_and_more"]
    code = codegen.object_code(codegen.parse(built.text), codegen.machine_of(TARGETS["x86-64"]))
    loaded = LoadedObject(code, ["m_init", "m_message", "m_forward"])
    memory = np.zeros(built.description.instance_size + 64, np.uint8)
    instance = memory.ctypes.data + -memory.ctypes.data % 64
    at = loaded.addresses
    init = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(at["m_init"])
    message = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(at["m_message"])
    forward = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3)(at["m_forward"])
    assert init(instance, None) == abi.UNSUPPORTED_CPU
    assert b"lacks avx512vp2intersect_and_more" in message(instance)
    x = data()
    assert forward(instance, x.ctypes.data, x.ctypes.data) == abi.INVALID_ARGUMENT


def test_weights_that_no_object_can_hold_are_refused():
    with pytest.raises(CompileError, match="2.50 GiB; an object holds at most"):
        attach_weights(b"", "m.weights", [], 5 << 29)


@pytest.mark.parametrize("name", list(TARGETS))
def test_every_target_gives_an_object_with_the_weights(name):
    weights = np.arange(256, dtype=np.uint8)
    program = program_of([Copy(X, Y)], constants=[(0, weights)], constant_bytes=256)
    artifact = compile_program(program, TARGETS[name])
    written = artifact.object_bytes()
    assert written[:4] == b"\x7fELF" and weights.tobytes() in written
    assert weights.tobytes() not in artifact.code and len(artifact.code) < len(written)
    assert set(artifact.seconds) == {"text", "parse", "optimise", "code"}
    texts = {kind: program_text(program, TARGETS[name], kind) for kind in TEXTS}
    assert "m_forward" in texts["assembly"] and "define i32 @m_forward" in texts["llvm"]
    assert "define" in texts["optimised"] and texts["optimised"] != texts["llvm"]
