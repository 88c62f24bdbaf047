"""Archives made by hand, byte by byte, for the tests that damage them."""

from __future__ import annotations

import io
import struct
import zipfile



def zipped(members: dict[str, bytes], root: str = "m", method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of the members below `root`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, contents in members.items():
            archive.writestr(f"{root}/{name}", contents)
    return buffer.getvalue()


def global_(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    encoded = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def tuple_(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def instance(class_name: str, attributes: dict[str, bytes]) -> bytes:
    """An object of a class `__torch__.NAME` with pickled attributes."""
    items = b"".join(text(k) + v for k, v in attributes.items())
    return global_("__torch__", class_name) + b")\x81}(" + items + b"ub"


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    parts = text("storage"), global_("torch", kind), text(key), text("cpu"), integer(count)
    return tuple_(*parts) + b"Q"


def tensor(
    key: str, count: int, sizes: tuple, strides: tuple, offset: int = 0, kind: str = "FloatStorage"
) -> bytes:
    arguments = tuple_(
        storage(key, count, kind),
        integer(offset),
        tuple_(*map(integer, sizes)),
        tuple_(*map(integer, strides)),
        b"\x89",
        global_("collections", "OrderedDict") + b")R",
    )
    return global_("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


FORWARD = """\
class M(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.M,
    x: Tensor) -> Tensor:
    return torch.relu(x)
"""


def members(
    code: str | bytes = FORWARD,
    data: bytes | None = None,
    constants: bytes = b"\x80\x02).",
    version: bytes = b"3\n",
    **more: bytes,
) -> dict[str, bytes]:
    """The members of an archive of one module of class `__torch__.M`."""
    if data is None:
        data = pickled(instance("M", {"training": b"\x89"}))
    out = {
        "data.pkl": data,
        "code/__torch__.py": code.encode() if isinstance(code, str) else code,
        "constants.pkl": constants,
        "version": version,
    }
    out.update({name.replace("__", "/"): value for name, value in more.items()})
    return out


def archive(**parts) -> bytes:
    """A minimal archive; see `members`."""
    return zipped(members(**parts))


def with_attribute(declared: str, value: bytes, **more: bytes) -> bytes:
    """An archive whose module has an attribute `a` of the declared type, pickled as `value`."""
    code = f"class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  a : {declared}\n"
    return archive(code=code, data=pickled(instance("M", {"a": value})), **more)


def with_body(
    body: str, signature: str = "x: Tensor", returns: str = "Tensor", **more: bytes
) -> bytes:
    """An archive whose `forward` has these statements."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    code = "class M(Module):\n  def forward(self: __torch__.M,\n"
    code += f"    {signature}) -> {returns}:\n{lines}"
    return archive(code=code, data=pickled(instance("M", {})), **more)
