"""Copies of views (`permute_copy` is `permute` and a copy), and as_strided's inverse."""

from __future__ import annotations

from lowering.build import cast
from lowering.ops import slicing, view  # noqa: F401  (their entries must stand in the table)
from lowering.ops.table import TABLE, aten
from lowering.tensor_ir import Value
from lowering.views import View

# Operators whose name and arguments the copying one shares.
_VIEWS = ("alias detach view permute t transpose.int squeeze squeeze.dim squeeze.dims "
          "unsqueeze expand diagonal as_strided select.int slice.Tensor unfold split.Tensor "
          "split_with_sizes unbind.int").split()


def _copied(function):
    """The function's views read, each as a tensor of its own."""
    def call(x, *args, **kwargs):
        result = function(x, *args, **kwargs)
        if isinstance(result, (list, tuple)):
            return [_read(x, r) for r in result]
        return _read(x, result)

    return call


def _read(x: Value, result) -> Value:
    return result.get(x) if isinstance(result, View) else result


def _declare() -> None:
    for text in _VIEWS:
        name, _, overload = text.partition(".")
        entry = next(e for e in TABLE[f"aten::{name}"] if e.schema.overload == overload)
        arguments = entry.schema.text.partition("(")[2].rpartition(") ->")[0]
        arguments = arguments.replace("Tensor(a) self", "Tensor self").replace(
            "Tensor(a -> *) self", "Tensor self")
        returns = "Tensor[]" if entry.schema.returns[0][0].endswith("[]") else "Tensor"
        dot = f".{overload}" if overload else ""
        aten(f"{name}_copy{dot}({arguments}) -> {returns}")(_copied(entry.function))


_declare()


@aten("as_strided_scatter(Tensor self, Tensor src, int[] size, int[] stride, "
      "int? storage_offset=None) -> Tensor")
def as_strided_scatter(x, src, size, stride, storage_offset=None):
    part = view.as_strided.__wrapped__(x, size, stride, storage_offset)
    return part.put(x, cast(src, x.dtype))
