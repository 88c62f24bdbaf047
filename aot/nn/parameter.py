"""Tensors that a Module keeps as its own: Parameter, Buffer."""

from __future__ import annotations

from aot.tensor_core import Tensor


class Parameter(Tensor):
    """A tensor that, set as a Module's attribute, becomes one of its parameters."""

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        if data is None:
            data = Tensor()
        self._setup(data._data)
        self._wants_grad = bool(requires_grad)

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that, set as a Module's attribute, becomes one of its buffers."""

    def __init__(self, data: Tensor | None = None, persistent: bool = True) -> None:
        if data is None:
            data = Tensor()
        self._setup(data._data)
        self.persistent = persistent
