"""Archives that are damaged, or made to do harm: one clear ArchiveError, no crash."""

from __future__ import annotations

import random
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from aot.archive.reader import read_archive
from runtime.errors import ArchiveError
from tests import hand_made as hand
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "archives"


def refused(data: bytes, *words: str) -> str:
    """The message of the ArchiveError that reading `data`, code included, ends in."""
    begun = time.monotonic()
    with pytest.raises(ArchiveError) as caught:
        archive = read_archive(data)
        for method in archive.methods.values():
            method.graph
    message = str(caught.value)
    assert time.monotonic() - begun < 20
    assert len(message) < 800
    for word in words:
        assert word in message, message
    return message


def summary(data: bytes) -> list[object]:
    """What an archive says: its graphs and its tensors."""
    archive = read_archive(data)
    out: list[object] = [str(m.graph) for m in archive.methods.values()]
    out += [str(k) + repr(v) for k, v in archive.root.attributes.items()]
    return out


def test_the_hand_made_archive_is_sound() -> None:
    archive = read_archive(hand.archive())
    assert "aten::relu" in str(archive.methods["forward"].graph)
    assert archive.root.attributes == {"training": False}


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, word",
    [
        (b"", "zip directory was not found"),
        (b"hello", "expected a TorchScript archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "expected a TorchScript archive"),
        (b"PK\5\6" + bytes(17), "damaged"),
        (b"PK\5\6" + bytes(18), "data.pkl"),
    ],
)
def test_no_archive(data: bytes, word: str) -> None:
    refused(data, word)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pt", tmp_path, "a\0b"):
        with pytest.raises(ArchiveError, match="cannot be read"):
            read_archive(path)


def test_text_mode(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_text("x")
    with path.open() as file, pytest.raises(ArchiveError, match="binary mode"):
        read_archive(file)


def test_a_file_of_torch_save() -> None:
    refused(hand.zipped({"data.pkl": b"\x80\x02}.", "version": b"3\n"}), "torch.save")


@pytest.mark.parametrize("version", [b"0\n", b"11\n", b"abc", b"", b"-3", b"9" * 30])
def test_versions(version: bytes) -> None:
    refused(hand.archive(version=version), "version")


def test_every_truncation() -> None:
    data = (FOLDER / "control_script.pt").read_bytes()
    for size in range(len(data)):
        refused(data[:size])


@pytest.mark.parametrize("name", ["control_script.pt", "frozen_constants.pt", "conv_trace.pt"])
def test_flipped_bytes(name: str) -> None:
    """An archive with one wrong byte is refused, or reads as the whole one does."""
    data = (FOLDER / name).read_bytes()
    whole = summary(data)
    source = random.Random(name)
    refusals = 0
    for _ in range(1000):
        damaged = bytearray(data)
        damaged[source.randrange(len(data))] ^= source.randrange(1, 256)
        try:
            assert summary(bytes(damaged)) == whole
        except ArchiveError:
            refusals += 1
    assert refusals > 500


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl", "code/__torch__.py"])
def test_flipped_contents(member: str) -> None:
    """Members whose checksum was made to fit: any end but a crash."""
    source = random.Random(member)
    ends = {True: 0, False: 0}
    for _ in range(700):
        parts = hand.members(
            constants=hand.pickled(hand.tuple_(hand.tensor("0", 6, (2, 3), (3, 1)))),
            constants__0=bytes(24),
        )
        contents = bytearray(parts[member])
        for _ in range(source.choice((1, 1, 2, 4))):
            contents[source.randrange(len(contents))] = source.randrange(256)
        try:
            summary(hand.zipped({**parts, member: bytes(contents)}))
            ends[True] += 1
        except ArchiveError:
            ends[False] += 1
    assert ends[False] > 100


# --- the zip --------------------------------------------------------------------------------------


def test_members_may_be_deflated_and_in_any_root() -> None:
    for root in ("m", "archive", "a/b", "data.pkl"):
        data = hand.zipped(hand.members(), root, zipfile.ZIP_DEFLATED)
        assert summary(data) == summary(hand.archive())


def test_bomb() -> None:
    parts = hand.members()
    parts["constants/0"] = bytes(900 << 20)
    storage = hand.tuple_(hand.tensor("0", 225 << 20, (225 << 20,), (1,)))
    parts["constants.pkl"] = hand.pickled(storage)
    data = hand.zipped(parts, method=zipfile.ZIP_DEFLATED)
    assert len(data) < 1 << 20
    refused(data, "constants/0", "inflates")


def patched(
    data: bytes, signature: bytes, offset: int, layout: str, value: int, at: int = 0
) -> bytes:
    """`data` with a field of the `at`-th zip record of a kind changed."""
    position = -1
    for _ in range(at + 1):
        position = data.index(signature, position + 1)
    position += offset
    size = struct.calcsize(layout)
    return data[:position] + struct.pack(layout, value) + data[position + size :]


@pytest.mark.parametrize(
    "offset, layout, value",
    [
        (10, "<H", 12),  # method: bzip2
        (8, "<H", 1),  # flags: encrypted
        (20, "<L", 1 << 30),  # packed size
        (24, "<L", 1 << 30),  # size
        (24, "<L", 0xFFFFFFFF),
        (42, "<L", 0xFFFFFFF0),  # header's offset
        (16, "<L", 123),  # checksum
        (28, "<H", 60000),  # name's length
    ],
)
def test_directory_fields(offset: int, layout: str, value: int) -> None:
    for at in range(4):
        refused(patched(hand.archive(), b"PK\1\2", offset, layout, value, at))


def test_end_record() -> None:
    data = hand.archive()
    refused(patched(data, b"PK\5\6", 10, "<H", 60000), "damaged")
    refused(patched(data, b"PK\5\6", 12, "<L", 1 << 31), "damaged")
    refused(patched(data, b"PK\5\6", 4, "<H", 1), "damaged")


def test_overlapping_members() -> None:
    data = hand.archive()
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 4)
    # The second entry is made a copy of the first with another name of the same length.
    size = second - first
    name = data[first + 46 : first + 46 + len("m/data.pkl")]
    clone = data[first:second].replace(name, b"m/data.pkk")
    count = struct.pack("<HH", 5, 5)
    end = data.index(b"PK\5\6")
    fixed = data[:end].replace(name, name) + clone + data[end : end + 8] + count
    fixed += struct.pack("<L", end - first + size) + data[end + 16 :]
    refused(fixed)


def test_duplicate_members() -> None:
    data = hand.archive().replace(b"m/constants.pkl", b"m/data.pkl-copy")
    refused(data.replace(b"m/data.pkl-copy", b"m/data.pkl\0copy"), "constants.pkl")
    twice = hand.zipped({**hand.members(), "versiox": b"3\n"}).replace(b"m/versiox", b"m/version")
    refused(twice, "two members")


# --- pickles --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module, name",
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen"),
     ("torch.hub", "load"), ("__builtin__", "exec"), ("builtins", "getattr"), ("torch", "load")],
)
def test_foreign_names(module: str, name: str, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    call = hand.global_(module, name) + hand.tuple_(hand.text(f"touch {witness}")) + b"R"
    refused(hand.archive(data=hand.pickled(call)), f"{module}.{name}", "nothing was executed")
    assert not witness.exists()


@pytest.mark.parametrize(
    "pickle",
    [
        b"",
        b"\x80\x02",
        b"\x80\x04N.",
        b"\x80\x02.",
        b"\x80\x02NN.",
        b"\x80\x02X\xff\xff\xff\xffab.",  # a text longer than the pickle
        b"\x80\x02\x8a\xff\x01.",  # an integer longer than the pickle
        b"\x80\x02(((.",
        b"\x80\x02h\x05.",  # never remembered
        b"\x80\x02(q\x00t.",  # a mark remembered
        b"\x80\x02}]Ns.",  # a list as a key
        b"\x80\x02X\x01\x00\x00\x00\xff.",  # not UTF-8
        b"\x80\x02cos",  # a name without an end
        b"\x80\x02NQ.",  # None as a storage
        b"\x80\x02NNR.",  # None called
        b"\x80\x02N)\x81.",  # None constructed
        b"\x80\x02NNb.",  # None filled
        b"\x80\x02\x94.",  # an opcode of protocol 4
        b"\x80\x02i__main__\nx\n.",  # INST
    ],
)
def test_broken_pickles(pickle: bytes) -> None:
    refused(hand.archive(data=pickle), "data.pkl")
    refused(hand.archive(constants=pickle), "constants.pkl")


def test_far_memo_index() -> None:
    refused(hand.archive(data=b"\x80\x02Nr\xff\xff\xff\xff0."), "data.pkl")


def test_memo_bomb() -> None:
    """Sixty-four lists, each holding the last one twice: 2**64 values when unfolded."""
    pickle = b"]q\x00"
    for i in range(64):
        pickle += b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    value = hand.tuple_(pickle)
    refused(hand.archive(constants=hand.pickled(value)), "unfolds")
    refused(hand.with_attribute("List[Tensor]", b"(" + pickle + b"t\x85"), "unfolds")


def test_deep_nesting() -> None:
    refused(hand.archive(constants=hand.pickled(b")" + b"\x85" * 1_000_000)), "nested")
    deep = b"](" * 100_000 + b"e" * 100_000
    refused(hand.archive(constants=hand.pickled(hand.tuple_(deep))), "nested")


def test_a_list_inside_itself() -> None:
    refused(hand.archive(constants=hand.pickled(hand.tuple_(b"]q\x00h\x00a"))), "itself")


def test_copying_bomb() -> None:
    """A list of 20,000 values, copied by 20,000 calls."""
    call = hand.global_("torch.jit._pickle", "build_intlist") + b"q\x01"
    pickle = b"](" + b"K\x01" * 20_000 + b"eq\x00(" + call
    pickle += b"h\x01h\x00\x85R" * 20_000 + b"t"
    refused(hand.archive(constants=hand.pickled(pickle)), "copies")


# --- tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count, sizes, strides, offset",
    [
        (6, (2, 3), (3, 1), 1),  # one element too far
        (6, (2, 3), (3, 2), 0),
        (6, (2, 3), (-3, 1), 3),
        (6, (2, -3), (3, 1), 0),
        (6, (2, 3), (3,), 0),
        (6, (2, 3), (3, 1), -1),
        (6, (0,), (1,), 7),
        (7, (2, 3), (3, 1), 0),  # more elements than bytes
        (1 << 60, (2,), (1,), 0),
        (6, (1 << 40, 1 << 40), (0, 0), 0),  # repeats without end
        (6, (2,) * 65, (0,) * 65, 0),
    ],
)
def test_tensors_beyond_their_storage(
    count: int, sizes: tuple, strides: tuple, offset: int
) -> None:
    value = hand.tensor("0", count, sizes, strides, offset)
    refused(hand.with_attribute("Tensor", value, data__0=bytes(24)), "data.pkl")


def test_storages() -> None:
    refused(hand.with_attribute("Tensor", hand.tensor("9", 1, (1,), (1,))), "data/9")
    refused(
        hand.with_attribute("Tensor", hand.tensor("0", 6, (6,), (1,), kind="LongStorage"),
                            data__0=bytes(24)), "48 bytes")
    outside = hand.tensor("../version", 0, (0,), (1,))
    refused(hand.with_attribute("Tensor", outside), "data/../version")
    bare = hand.with_attribute("Tensor", hand.storage("0", 6), data__0=bytes(24))
    refused(bare, "expected Tensor")


# --- attributes -----------------------------------------------------------------------------------


def test_attributes_of_other_types() -> None:
    refused(hand.with_attribute("int", hand.text("a")), "M.a", "expected int", "found a str")
    refused(hand.with_attribute("int", b"\x88"), "expected int")
    refused(hand.with_attribute("List[int]", hand.integer(3)), "expected List[int]")
    refused(hand.with_attribute("Tuple[int, int]", hand.tuple_(hand.integer(3))), "Tuple[int, int]")
    refused(hand.with_attribute("__torch__.N", b"N"), "__torch__.N is used")
    refused(hand.with_attribute("Lisp[int]", b"N"), "Lisp[...]")
    refused(hand.archive(data=hand.pickled(hand.instance("M", {}))), "training")
    refused(hand.archive(data=hand.pickled(hand.instance("M", {"b": b"N"}))), "no attribute 'b'")
    refused(hand.archive(data=hand.pickled(hand.instance("N", {}))), "__torch__.N")
    refused(hand.archive(data=hand.pickled(b"N")), "expected a module")


# --- code -----------------------------------------------------------------------------------------

DEEP = 50_000


@pytest.mark.parametrize(
    "expression",
    [
        "(" * DEEP + "x" + ")" * DEEP,
        "torch.neg(" * DEEP + "x" + ")" * DEEP,
        "-" * DEEP + "x",
        "not " * DEEP + "x",
        "x" + ".a" * DEEP,
        "x" + "[0]" * DEEP,
        "x" + "()" * DEEP,
        "+".join("x" * DEEP),
        "**".join("x" * DEEP),
        "x if x else " * DEEP + "x",
        "lambda: " * DEEP + "x",
        "(\n" + "-\n" * DEEP + "x)",
        "9" * 10_000,
        "x == " * DEEP + "x",
        '"' + "a" * DEEP,
        "x; import os",
        "__import__('os').system('true')",
        "(lambda: x)()",
        "[y for y in x]",
        "x.__class__",
        "self.forward.__globals__",
        "torch.ops.load_library('x')",
        "f'{x}'",
        "...",
        "b'x'",
        "y",
        "CONSTANTS.c0",
        "CONSTANTS.c99999999999999999999",
        "torch.relu(*x)",
        "torch.relu(**x)",
        "uninitialized(int, int)",
        "isinstance(x)",
        "getattr(x)",
        "annotate(int)",
        "fork(x)",
        "__torch__.M.nothing(x)",
        "__torch__.nothing(x)",
        "(self).nothing(x, )",
        "(self).forward()",
        "(self).forward(x, x, x, )",
        "(x, x)[2]",
        "(x, x)[x]",
        "self.nothing",
        "torch.device('::')",
    ],
)
def test_hostile_expressions(expression: str) -> None:
    refused(hand.with_body(f"return {expression}"), "code/__torch__.py")


@pytest.mark.parametrize(
    "body",
    [
        "return x\nreturn x",
        "if x:\n  return x\nelse:\n  pass",
        "import os\nreturn x",
        "del x\nreturn x",
        "global x\nreturn x",
        "try:\n  pass\nfinally:\n  pass",
        "raise x",
        "for a, b in range(3):\n  pass",
        "for i in x:\n  pass",
        "break",
        "a, b = (x, x, x)",
        "a, b, = (x, x, x)",
        "self.q = x",
        "x.y = x",
        "with x:\n  pass",
        "for i in range(3):\n  x = 3\nreturn x",
        "class A:\n  pass",
        "\n".join("  " * i + "if x:" for i in range(150)) + "\n" + "  " * 150 + "pass",
    ],
)
def test_hostile_statements(body: str) -> None:
    refused(hand.with_body(body), "code/__torch__.py")


def test_code_that_is_no_text() -> None:
    refused(hand.archive(code=b"\xff\xfe"), "UTF-8")
    refused(hand.archive(code=b"class M(Module):\n  a\0 : int\n"), "code/__torch__.py")
    refused(hand.archive(code="class M(Module:\n"), "code/__torch__.py:1", "class M(Module:")
    refused(hand.archive(code="class M(Evil):\n  pass\n"), "Evil")


def test_a_class_that_holds_itself() -> None:
    code = "class M(Module):\n  a : Optional[__torch__.M]\n"
    data = hand.pickled(hand.instance("M", {"a": b"N"}))
    archive = read_archive(hand.archive(code=code, data=data))
    assert archive.root.attributes == {"a": None}
    cyclic = hand.global_("__torch__", "M") + b")\x81q\x00}(" + hand.text("a") + b"h\x00ub"
    root = read_archive(hand.archive(code=code, data=hand.pickled(cyclic))).root
    assert root.attributes["a"] is root


def test_a_long_chain_of_classes() -> None:
    lines = [f"class C{i}(Module):\n  a : __torch__.C{i + 1}\n" for i in range(3000)]
    lines += ["class C3000(Module):\n  pass\n"]
    code = "class M(Module):\n  a : __torch__.C0\n" + "".join(lines)
    refused(hand.archive(code=code, data=hand.pickled(hand.instance("M", {"a": b"N"}))), "nested")


def test_checksums_are_checked() -> None:
    data = hand.archive()
    contents = hand.FORWARD.encode()
    changed = contents.replace(b"relu", b"tanh")
    assert zlib.crc32(contents) != zlib.crc32(changed)
    refused(data.replace(contents, changed), "checksum")
