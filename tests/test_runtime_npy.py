"""The .npy reader and writer in C against numpy: every dtype, order, version, and hostile files."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from runtime import abi, dtypes
from runtime.c_compiler import C_FLAGS, SOURCE_DIR
from tests.sample_model import WARNINGS, compile_c

MAX_DIMS = 64


class Npy(ctypes.Structure):
    """aot_npy."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.c_int64 * MAX_DIMS),
        ("elements", ctypes.c_int64),
    ]


class Reader:
    """aot_npy.c through ctypes."""

    def __init__(self, library: Path):
        self.c = ctypes.CDLL(str(library))
        self.c.aot_npy_free.restype = None

    def read(self, path: Path | str) -> tuple[int, str, np.ndarray | None]:
        """(status, message, a copy of the array)"""
        array, message = Npy(), ctypes.create_string_buffer(b"untouched", 512)
        status = self.c.aot_npy_read(str(path).encode(), ctypes.byref(array), message,
                                     ctypes.c_size_t(512))
        if status != abi.OK:
            assert not array.data
            return status, message.value.decode(), None
        assert array.data % 64 == 0
        shape = tuple(array.shape[: array.ndim])
        assert array.elements == int(np.prod(shape))
        kind = (array.code, array.bits)
        numpy_type = np.dtype("u2") if kind == (1, 16) else abi.dtype_of_c(*kind).storage
        size = array.elements * numpy_type.itemsize
        copy = np.frombuffer(ctypes.string_at(array.data, size), numpy_type).reshape(shape)
        self.c.aot_npy_free(ctypes.byref(array))
        assert not array.data
        return status, message.value.decode(), copy

    def write(self, path: Path | str, array: np.ndarray, code: int) -> tuple[int, str]:
        shape = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
        tensor = abi.Tensor(
            data=array.ctypes.data, device_type=1, ndim=array.ndim, code=code,
            bits=array.itemsize * 8, lanes=1, shape=ctypes.addressof(shape),
        )
        message = ctypes.create_string_buffer(512)
        status = self.c.aot_npy_write(str(path).encode(), ctypes.byref(tensor), message,
                                      ctypes.c_size_t(512))
        return status, message.value.decode()


@pytest.fixture(scope="module")
def npy(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    path = tmp_path_factory.mktemp("npy") / "npy.so"
    compile_c([*C_FLAGS, *WARNINGS, "-pedantic", "-shared", SOURCE_DIR / "aot_npy.c", "-o", path])
    return Reader(path)


def numbers(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    values = np.random.default_rng(7).integers(-100, 100, shape)
    return np.asarray(values % 2 == 0 if dtype == np.bool_ else values, dtype)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (3, 1, 4), (0,), (2, 0, 3)], ids=str)
def test_reads_what_numpy_writes_and_writes_what_numpy_reads(
    npy: Reader, tmp_path: Path, dtype: dtypes.DType, shape: tuple[int, ...]
) -> None:
    array = numbers(shape, dtype.storage)
    np.save(tmp_path / "in.npy", array)
    status, message, read = npy.read(tmp_path / "in.npy")
    assert (status, message) == (abi.OK, "untouched")
    assert read.dtype == array.dtype and read.shape == shape
    assert np.array_equal(read, array)

    status, message = npy.write(tmp_path / "out.npy", array, dtype.dlpack)
    assert (status, message) == (abi.OK, "")
    again = np.load(tmp_path / "out.npy", allow_pickle=False)
    assert again.dtype == array.dtype and again.shape == shape and np.array_equal(again, array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npy", "out.npy"]


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 5, 1, 2), (0, 3), (2,)], ids=str)
@pytest.mark.parametrize("dtype", ["f4", "i8", "b1", "f2"])
def test_fortran_order_is_transposed(
    npy: Reader, tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    array = numbers(shape, np.dtype(dtype))
    np.save(tmp_path / "in.npy", np.asfortranarray(array))
    assert np.array_equal(npy.read(tmp_path / "in.npy")[2], array)


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">i2", ">i4", ">i8", ">u2"])
def test_big_endian_is_swapped(npy: Reader, tmp_path: Path, dtype: str) -> None:
    array = numbers((3, 5), np.dtype(dtype))
    np.save(tmp_path / "in.npy", array)
    assert b">" in (tmp_path / "in.npy").read_bytes()[:128]
    assert np.array_equal(npy.read(tmp_path / "in.npy")[2], array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(npy: Reader, tmp_path: Path, version: tuple[int, int]) -> None:
    array = numbers((4, 2), np.dtype("f4"))
    with open(tmp_path / "in.npy", "wb") as f:
        np.lib.format.write_array(f, array, version=version)
    assert np.array_equal(npy.read(tmp_path / "in.npy")[2], array)


def test_sixty_four_dims(npy: Reader, tmp_path: Path) -> None:
    status, _, read = npy.read(file_of(tmp_path, shape="(" + "1, " * 64 + ")", data=b"\0" * 4))
    assert status == abi.OK and read.size == 1
    status, message, _ = npy.read(file_of(tmp_path, shape="(" + "1, " * 65 + ")", data=b"\0" * 4))
    assert status == abi.INVALID_FILE and "at most 64" in message


def test_void_of_two_bytes_is_bfloat16(npy: Reader, tmp_path: Path) -> None:
    _, _, read = npy.read(file_of(tmp_path, descr="'<V2'", shape="(1,)", data=b"\x80\x3f"))
    assert read.dtype == np.uint16 and read[0] == 0x3F80


def test_bools_become_zero_or_one(npy: Reader, tmp_path: Path) -> None:
    path = file_of(tmp_path, descr="'|b1'", shape="(3,)", data=b"\0\1\xff")
    assert npy.read(path)[2].view(np.uint8).tolist() == [0, 1, 1]


def file_of(
    folder: Path, descr: str = "'<f4'", order: str = "False", shape: str = "(2, 3)",
    data: bytes = b"\0" * 24, header: str | None = None, start: bytes | None = None,
) -> Path:
    """An .npy file with parts of one's own."""
    if header is None:
        header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    raw = header.encode("latin-1")
    if start is None:
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw))
    (folder / "x.npy").write_bytes(start + raw + data)
    return folder / "x.npy"


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        GOOD.replace("'", '"'),
        "{'shape':(2,3),'descr':'<f4','fortran_order':False}",
        " {'descr': '=f4', 'fortran_order': False, 'shape': (2L, 3L,) , } \n",
    ],
)
def test_headers_as_others_write_them(npy: Reader, tmp_path: Path, header: str) -> None:
    status, _, read = npy.read(file_of(tmp_path, header=header))
    assert status == abi.OK and read.shape == (2, 3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (dict(start=b""), "not an .npy file"),
        (dict(start=b"\x93NUMPX\x01\x00\x10\x00"), "not an .npy file"),
        (dict(start=b"\x93NUMPY\x04\x00\x10\x00"), "version 4.0"),
        (dict(start=b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), "4294967295 bytes long"),
        (dict(start=b"\x93NUMPY\x01\x00\xff\xff"), "truncated in its header"),
        (dict(start=b"\x93NUMPY\x02\x00\x10\x00", header="", data=b""), "truncated in its header"),
        (dict(data=b"\0" * 23), "expected 24 bytes of elements, found 23"),
        (dict(data=b""), "expected 24 bytes of elements, found 0"),
        (dict(descr="'|O'"), "element type"),
        (dict(descr="'<c8'"), "element type"),
        (dict(descr="'<f16'"), "element type"),
        (dict(descr="'<u4'"), "element type"),
        (dict(descr="'|f4'"), "element type"),
        (dict(descr="'f4'"), "element type"),
        (dict(descr="'\x1b[31m'"), "element type"),
        (dict(descr="'" + "f" * 5000 + "'"), "no element type"),
        (dict(descr="[('a', '<f4')]"), "record arrays"),
        (dict(descr="4"), "no element type"),
        (dict(order="Maybe"), "fortran_order"),
        (dict(shape="(2, -3)"), "shape"),
        (dict(shape="(3)"), "shape"),
        (dict(shape="[2, 3]"), "shape"),
        (dict(shape="(2, 3"), "shape"),
        (dict(shape="(,)"), "shape"),
        (dict(shape="(9223372036854775808,)"), "shape"),
        (dict(shape="(9223372036854775807,)"), "too large"),
        (dict(shape="(4294967296, 4294967296)"), "too large"),
        (dict(shape="(4294967296, 4294967296, 4294967296, 4294967296)"), "too large"),
        (dict(shape="(3037000500, 3037000500)"), "too large"),
        (dict(shape="(1000000000000,)"), "expected 4000000000000 bytes"),
        (dict(header=""), "no dict"),
        (dict(header="{}"), "missing"),
        (dict(header="{'descr': '<f4', 'shape': (2, 3)}"), "missing"),
        (dict(header=GOOD[:-1] + ", 'shape': (2, 3)}"), "twice"),
        (dict(header=GOOD[:-1] + ", 'more': 1}"), "unknown key"),
        (dict(header=GOOD + " x"), "behind"),
        (dict(header=GOOD[:-1]), "no comma"),
        (dict(header=GOOD.replace(",", " ")), "no comma"),
        (dict(header="{'descr"), "no key"),
        (dict(header="{'descr':"), "element type"),
        (dict(header="{'descr': '<f4'"), "no comma"),
        (dict(header="__import__('os').system('true')"), "no dict"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_hostile_files(npy: Reader, tmp_path: Path, parts: dict, message: str) -> None:
    status, said, _ = npy.read(file_of(tmp_path, **parts))
    assert status == abi.INVALID_FILE
    assert message in said and said.startswith(f"{tmp_path}/x.npy: ") and said.isprintable()


@pytest.mark.parametrize("order", ["True", "False"])
def test_no_elements_but_huge_sizes(npy: Reader, tmp_path: Path, order: str) -> None:
    """More than numpy can express, so it is looked at as it is."""
    path = file_of(tmp_path, shape="(9223372036854775807, 0, 9223372036854775807)", data=b"",
                   order=order)
    array = Npy()
    status = npy.c.aot_npy_read(str(path).encode(), ctypes.byref(array), None, ctypes.c_size_t(0))
    assert status == abi.OK and array.elements == 0 and array.shape[0] == 2**63 - 1
    npy.c.aot_npy_free(ctypes.byref(array))


def test_every_truncation_and_many_flips(npy: Reader, tmp_path: Path) -> None:
    """Never a crash; the status says ok or invalid. Flips of the data are other numbers."""
    np.save(tmp_path / "good.npy", numbers((3, 4), np.dtype("i4")))
    good = (tmp_path / "good.npy").read_bytes()
    path = tmp_path / "bad.npy"
    for length in range(len(good)):
        path.write_bytes(good[:length])
        assert npy.read(path)[0] == abi.INVALID_FILE
    rng = np.random.default_rng(3)
    for _ in range(2000):
        bad = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            bad[rng.integers(0, 128)] = rng.integers(0, 256)
        path.write_bytes(bad)
        assert npy.read(path)[0] in (abi.OK, abi.INVALID_FILE, abi.OUT_OF_MEMORY)


def test_missing_file_folder_and_nulls(npy: Reader, tmp_path: Path) -> None:
    status, message, _ = npy.read(tmp_path / "none.npy")
    assert (status, message) == (abi.NOT_FOUND, f"{tmp_path}/none.npy: No such file or directory")
    status, message, _ = npy.read(tmp_path)
    assert status == abi.IO_ERROR and "Is a directory" in message
    assert npy.c.aot_npy_read(None, None, None, ctypes.c_size_t(0)) == abi.INVALID_ARGUMENT
    assert npy.c.aot_npy_write(None, None, None, ctypes.c_size_t(0)) == abi.INVALID_ARGUMENT
    npy.c.aot_npy_free(None)
    array = Npy()
    path = str(file_of(tmp_path, header="{}")).encode()  # no room for a message
    assert npy.c.aot_npy_read(path, ctypes.byref(array), None, ctypes.c_size_t(0)) != abi.OK
    small = ctypes.create_string_buffer(b"#" * 20, 20)
    npy.c.aot_npy_read(path, ctypes.byref(array), small, ctypes.c_size_t(8))
    assert len(small.value) == 7 and small.raw[8:] == b"#" * 12


def test_pipe(npy: Reader, tmp_path: Path) -> None:
    array = numbers((1 << 19,), np.dtype("f4"))  # more than the first piece
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    np.save(tmp_path / "x.npy", array)
    raw = (tmp_path / "x.npy").read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(raw,), daemon=True)
    writer.start()
    status, _, read = npy.read(pipe)
    writer.join()
    assert status == abi.OK and np.array_equal(read, array)


def test_writing(npy: Reader, tmp_path: Path) -> None:
    array = numbers((2, 3), np.dtype("f4"))
    status, message = npy.write(tmp_path / "no" / "x.npy", array, 2)
    assert status == abi.IO_ERROR and "No such file or directory" in message
    assert npy.write(tmp_path / "x.npy", array, 9)[0] == abi.INVALID_ARGUMENT
    (tmp_path / "x.npy").write_bytes(b"old")
    assert npy.write(tmp_path / "x.npy", array, 2) == (abi.OK, "")
    assert np.array_equal(np.load(tmp_path / "x.npy"), array)
    assert npy.write("/dev/null", array, 2) == (abi.OK, "")
    assert Path("/dev/null").is_char_device()
    if Path("/dev/full").exists():
        status, message = npy.write("/dev/full", array, 2)
        assert status == abi.IO_ERROR and "No space left" in message
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]
