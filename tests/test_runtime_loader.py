"""The loader in Python: values in, values out, errors, threads, state, replaced files."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from llvm_backend.linking import write_shared_library
from runtime import abi, call, instances, pool
from runtime.errors import InputError, RuntimeFailure, TargetError
from runtime.loader import CompiledLibrary, CompiledModel, load_library
from tests.conftest import ROOT, import_torch
from tests.sample_model import COPIED, SAMPLE, sample_object

X = np.array([[1, -1, 2], [-3, 4, -5]], np.float32)
RELU = np.maximum(X, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sample.so with state, free.so without: its calls run at the same time."""
    path = tmp_path_factory.mktemp("loader")
    write_shared_library(sample_object(path), path / "sample.so", "sample")
    write_shared_library(sample_object(path, "-DSAMPLE_STATELESS"), path / "free.so", "sample")
    return path


@pytest.fixture
def model(folder: Path) -> CompiledLibrary:
    return load_library(folder / "sample.so")


def test_what_the_object_says_is_what_was_described(model: CompiledLibrary) -> None:
    assert model.description == SAMPLE
    assert model.name == "sample" and list(model.methods) == [m.name for m in SAMPLE.methods]
    assert "forward(x: f32[2,3]) -> f32[2,3]" in repr(model)
    assert repr(model.add) == "<method add(x: f32[N,2], y: f32[N,2]) -> f32[N,2]>"


def test_calls_and_structures(model: CompiledLibrary) -> None:
    assert np.array_equal(model(X), RELU) and np.array_equal(model(x=X), RELU)
    out = model.mix(np.arange(4, dtype=np.float32), (np.array([10, 20]), 0.5), n=-3, flag=True)
    assert list(out) == ["sum", "more"] and out["sum"].tolist() == [-3, -2.5, -2, -1.5]
    assert out["more"] == [27, (False, None)]
    assert type(out["more"][0]) is int and type(out["more"][1][0]) is bool
    squares = model.square(np.arange(1000, dtype=np.float32))
    assert type(squares).__name__ == "Squares" and squares._fields == ("y", "last")
    assert squares.last.shape == () and squares.last == 999.0**2
    assert model.methods["raise"](False) is None
    with pytest.raises(AttributeError, match="nothing"):
        model.nothing


def test_every_dtype(model: CompiledLibrary) -> None:
    arrays = [np.asarray([1, 0], d.storage) for d in COPIED] + [np.zeros((0, 3), np.float32)]
    for result, array in zip(model.methods["copy"](*arrays), arrays):
        assert result.dtype == array.dtype and np.array_equal(result, array)
        assert result.flags.owndata and result.flags.writeable and result.flags.c_contiguous


def test_results_are_new_arrays(model: CompiledLibrary) -> None:
    first = model(X)
    second = model(-X)
    assert np.array_equal(first, RELU) and np.array_equal(second, np.maximum(-X, 0))


def misaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


class WithArray:
    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return X


class WithDlpack:
    def __dlpack__(self, **kwargs) -> object:
        return X.copy().__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize(
    "value",
    [X.T.copy().T, X[::-1][::-1], np.repeat(X, 2, 1)[:, ::2], X.astype(">f4"), misaligned(X),
     read_only(X), X.view(np.recarray), WithArray(), WithDlpack(), memoryview(X)],
    ids=["fortran", "flipped", "strided", "big-endian", "misaligned", "read-only", "subclass",
         "__array__", "__dlpack__", "memoryview"],
)
def test_all_kinds_of_arrays(model: CompiledLibrary, value: object) -> None:
    assert np.array_equal(model(value), RELU)


def test_scalars(model: CompiledLibrary) -> None:
    a, pair = np.zeros(4, np.float32), np.array([0, 0])
    for n in (7, np.int32(7), np.uint8(7), np.array(7)):
        assert model.mix(a, (pair, 1), n, np.bool_(False))["more"][0] == 7
    for limit in (2**63 - 1, -(2**63)):
        assert model.mix(a, [pair, np.float32(1)], limit, False)["more"][0] == limit


def test_pytorch_tensors(model: CompiledLibrary) -> None:
    torch = import_torch()
    assert np.array_equal(model(torch.from_numpy(X)), RELU)
    assert np.array_equal(model(torch.from_numpy(X.T.copy()).T), RELU)
    with pytest.raises(InputError, match="x.*f32.2,3.*Tensor.*(grad|detach)"):
        model(torch.from_numpy(X).requires_grad_())
    bf16 = torch.ones(2, dtype=torch.bfloat16)
    arrays = [np.asarray([1, 0], d.storage) for d in COPIED] + [np.zeros((0, 3), np.float32)]
    with pytest.raises(InputError, match=r"'a3'.*bfloat16.*view\(torch.uint16\)"):
        model.methods["copy"](*arrays[:3], bf16, *arrays[4:])
    out = model.methods["copy"](*arrays[:3], bf16.view(torch.uint16), *arrays[4:])
    assert out[3].tolist() == [0x3F80, 0x3F80]


PAIR = (np.array([1, 2]), 0.5)
A = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "message"),
    [
        ("forward", (), {}, r"forward: expected 1 argument \(x\), missing: x"),
        ("forward", (X, X), {}, r"forward: expected 1 argument \(x\), found 2"),
        ("forward", (), {"z": X}, r"unknown argument 'z': expected 1 argument \(x\)"),
        ("forward", (X,), {"x": X}, "argument 'x' is given twice"),
        ("count", (1,), {}, "count: expected no arguments, found 1"),
        ("forward", (X.astype(np.float64),), {},
         r"argument 'x': expected f32\[2,3\], found f64\[2,3\]: convert it, x.astype\(np.float32"),
        ("forward", (X.astype(np.uint16),), {}, r"found uint16\[2,3\]"),
        ("forward", (X.astype(np.complex64),), {}, r"found complex64\[2,3\]"),
        ("forward", (X[:1],), {}, r"argument 'x': expected f32\[2,3\], found f32\[1,3\]$"),
        ("forward", (X[0],), {}, r"found f32\[3\]$"),
        ("forward", (X.T,), {}, r"found f32\[3,2\]$"),
        ("forward", (X.tolist(),), {}, r"found list: make it an array, np.asarray\(x, np.float32"),
        ("forward", (None,), {}, r"expected f32\[2,3\], found NoneType$"),
        ("forward", ("x",), {}, r"found str$"),
        ("forward", (np.array(["a"]),), {}, r"found <U1\[1\]"),
        ("mix", (A, PAIR, 1.5, True), {}, "mix: argument 'n': expected an int, found float"),
        ("mix", (A, PAIR, 2**63, True), {}, "argument 'n': 9223372036854775808 does not fit"),
        ("mix", (A, PAIR, 1, 1), {}, "argument 'flag': expected a bool, found int"),
        ("mix", (A, (PAIR[0], "x"), 1, True), {}, "argument 'pair.1': expected a float, found str"),
        ("mix", (A, (PAIR[0], 10**400), 1, True), {}, "does not fit into a float"),
        ("mix", (A, PAIR[:1], 1, True), {}, "argument 'pair': expected a tuple of 2, found 1 item"),
        ("mix", (A, 3, 1, True), {}, "argument 'pair': expected a tuple of 2, found int"),
        ("add", (np.zeros((3, 2), np.float32), np.zeros((4, 2), np.float32)), {},
         r"argument 'y': expected f32\[N,2\] where N is 3, as in 'x', found 4"),
        ("add", (np.zeros((3, 3), np.float32), np.zeros((3, 2), np.float32)), {},
         r"argument 'x': expected f32\[N,2\], found f32\[3,3\]"),
    ],
)
def test_what_does_not_fit_is_named(
    model: CompiledLibrary, method: str, args: tuple, kwargs: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.methods[method](*args, **kwargs)
    assert np.array_equal(model(X), RELU)  # and nothing is broken


def test_named_dims(model: CompiledLibrary) -> None:
    for n in (3, 0, 1, 1000):
        x = np.full((n, 2), 2, np.float32)
        assert np.array_equal(model.add(x, x), x + x)


def test_a_raise_in_the_model(model: CompiledLibrary) -> None:
    with pytest.raises(RuntimeFailure, match="sample.py:3: AssertionError: x must be false"):
        model.methods["raise"](True)
    assert np.array_equal(model(X), RELU)


def test_state_and_reset(model: CompiledLibrary) -> None:
    assert [model.count() for _ in range(3)] == [1, 2, 3]
    other = CompiledLibrary(model.path)
    assert other.count() == 1 and model.count() == 4
    model.reset()
    assert model.count() == 1
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(lambda _: model.count(), range(400))) == list(range(2, 402))


@pytest.mark.parametrize("threads", [1, 3])
def test_many_threads_at_once(folder: Path, threads: int) -> None:
    model = load_library(folder / "free.so", threads=threads)
    start = threading.Barrier(4)

    def work(seed: int) -> bool:
        start.wait()
        rng = np.random.default_rng(seed)
        good = True
        for _ in range(100):
            x = rng.standard_normal(1000).astype(np.float32)
            out = model.square(x)
            good &= np.array_equal(out.y, x * x) and out.last == x[-1] * x[-1]
            a = rng.standard_normal((2, 3)).astype(np.float32)
            good &= np.array_equal(model(a), np.maximum(a, 0))
        return good

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(work, range(4)))


def test_idle_instances_are_few(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_library(folder / "free.so")
    kept = model._instances
    taken = [kept.acquire() for _ in range(50)]
    assert len({instance.address for instance in taken}) == 50
    assert all(instance.address % 64 == 0 for instance in taken)
    for instance in taken:
        kept.release(instance)
    assert len(kept._free) == max(4, pool.cpu_count())


def test_a_descriptor_in_this_process(folder: Path) -> None:
    """How the JIT uses the loader: an address, and what keeps the code alive."""

    class Engine:
        pass

    library = ctypes.CDLL(str(folder / "sample.so"))
    address = ctypes.addressof(ctypes.c_char.in_dll(library, "sample_model"))
    engine = Engine()
    alive = weakref.ref(engine)
    model = CompiledModel(address, engine, threads=2)
    del engine
    assert alive() is not None and np.array_equal(model(X), RELU)
    x = np.arange(1000, dtype=np.float32)
    assert np.array_equal(model.square(x).y, x * x)
    gc.disable()  # nothing may wait for the collector: instances can be large
    try:
        del model
        assert alive() is None
    finally:
        gc.enable()


def test_a_method_keeps_its_model(folder: Path) -> None:
    forward = load_library(folder / "free.so").methods["forward"]
    assert np.array_equal(forward(X), RELU)


def test_a_replaced_file_is_loaded_anew(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.so"
    shutil.copy(folder / "sample.so", path)
    old = load_library(path)
    shutil.copy(folder / "free.so", tmp_path / "next.so")
    os.replace(tmp_path / "next.so", path)
    new = load_library(path)
    assert old.description.stateful and not new.description.stateful
    assert np.array_equal(old(X), RELU) and np.array_equal(new(X), RELU)
    assert load_library(path).description == new.description
    assert os.listdir(tmp_path) == ["model.so"]


def test_files_that_are_no_model(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}/none.so: No such file or directory"):
        load_library(tmp_path / "none.so")
    with pytest.raises(InputError, match="not a file"):
        load_library(tmp_path)
    (tmp_path / "text.so").write_text("text")
    with pytest.raises(InputError, match="text.so: cannot be loaded"):
        load_library(tmp_path / "text.so")
    (tmp_path / "empty.c").write_text("int x;\n")
    subprocess.run(["cc", "-shared", "-fPIC", tmp_path / "empty.c", "-o", tmp_path / "empty.so"],
                   check=True)
    with pytest.raises(InputError, match="empty.so: not a compiled model"):
        load_library(tmp_path / "empty.so")


def test_truncated_libraries(folder: Path, tmp_path: Path) -> None:
    """dlopen would map them and the process would die at the first missing page."""
    whole = (folder / "sample.so").read_bytes()
    for length in [0, 10, 63, 64, 100, *range(256, len(whole), 997)]:
        path = tmp_path / f"m{length}.so"
        path.write_bytes(whole[:length])
        try:
            model = load_library(path)
        except InputError as error:
            assert f"m{length}.so: " in str(error)
        else:  # only symbols and debug information are missing
            assert length > len(whole) // 4 and np.array_equal(model(X), RELU)
    assert length > 10000


def test_another_abi_version(folder: Path) -> None:
    library = ctypes.CDLL(str(folder / "sample.so"))
    model = abi.CModel.from_buffer_copy(abi.CModel.in_dll(library, "sample_model"))
    for field, value in (("abi_version", abi.ABI_VERSION + 1), ("struct_size", 120)):
        changed = abi.CModel.from_buffer_copy(model)
        setattr(changed, field, value)
        with pytest.raises(RuntimeFailure, match="ABI version"):
            CompiledModel(ctypes.addressof(changed))


def test_a_cpu_that_does_not_fit(tmp_path: Path) -> None:
    code = sample_object(tmp_path, "-DSAMPLE_NEEDS_BETTER_CPU")
    write_shared_library(code, tmp_path / "m.so", "sample")
    with pytest.raises(TargetError, match="cannot run 'sample'.*x86-64.*lacks avx1024"):
        load_library(tmp_path / "m.so")


@pytest.mark.parametrize("threads", [-1, 5000, "2", 1.0, True])
def test_thread_counts(folder: Path, threads: object) -> None:
    with pytest.raises(InputError, match="threads: expected"):
        load_library(folder / "sample.so", threads=threads)


def test_the_pool_is_compiled_once_where_no_library_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pool, "_pools", {})
    options = pool.pool_options(2)
    assert options.threads == 2 and options.pool and options.parallel_for
    (built,) = (tmp_path / "aot").iterdir()
    assert built.name.startswith("aot_pool-") and (tmp_path / "aot").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(pool, "_pools", {})
    monkeypatch.setenv("CC", "/no/compiler")
    assert pool.pool_options(2).pool
    assert pool.pool_options(1).pool is None


def test_instances_without_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(instances, "Instance", no_memory)
    with pytest.raises(RuntimeFailure, match="no memory for an instance of 'sample'"):
        load_library(folder / "sample.so")


def test_the_quick_way_to_an_array_is_right() -> None:
    for array in (X, X[1:], np.zeros(()), np.zeros((0, 3)), read_only(X), X.view(np.recarray)):
        assert call._quick_address(array) == call._slow_address(array)
    assert call._address is call._quick_address


def test_needs_neither_the_compiler_nor_llvm(folder: Path) -> None:
    """In a process where nothing but the runtime and numpy can be imported."""
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('aot', 'lowering', 'llvm_backend', 'llvmlite', 'torch'):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np
from runtime.loader import load_library
print(load_library({str(folder / "sample.so")!r})(np.full((2, 3), 5, np.float32)).sum())
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "30.0\n"), result.stderr


def test_calls_release_the_lock_of_the_interpreter(folder: Path) -> None:
    """A call that waits inside the model lets other Python threads run."""
    model = load_library(folder / "free.so")
    entered, leave = threading.Event(), threading.Event()

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    def parallel_for(pool_: int, task: int, args: int, count: int) -> None:
        entered.set()
        assert leave.wait(30)
        task_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        task_type(task)(args, 0, count)

    kept = model._instances
    kept.options.threads = 2
    kept.options.parallel_for = ctypes.cast(parallel_for, ctypes.c_void_p).value
    kept._free.clear()
    x = np.arange(1000, dtype=np.float32)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(model.square, x)
        assert entered.wait(30)
        assert np.array_equal(model(X), RELU)  # on another instance, while the first is inside
        leave.set()
        assert np.array_equal(running.result(30).y, x * x)
