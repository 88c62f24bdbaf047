"""Layers as functions. Those written here choose between operators or check their arguments; every
other name is the operator of that name.

The sources are TorchScript: the script compiler reads them."""

from __future__ import annotations

import importlib

from aot.nn import functional_activations, functional_attention, functional_layers
from aot.nn import functional_losses, functional_pooling, functional_resize
from aot.nn import functional_sequences, functional_unpooling

# Names that differ from their operator's.
_OPERATORS = {"logsigmoid": "log_sigmoid", "softmax_": "softmax"}


def _adopt() -> None:
    """The functions of the other files belong to this module: archives name them after it."""
    for source in (functional_activations, functional_layers, functional_pooling, functional_losses,
                   functional_resize, functional_attention, functional_sequences,
                   functional_unpooling):
        own = {name: value for name, value in vars(source).items()
               if callable(value) and getattr(value, "__module__", "") == source.__name__}
        for value in own.values():
            value.__module__ = __name__
        globals().update(own)


_adopt()


def __getattr__(name: str) -> object:
    value = None
    if not name.startswith("__"):  # the operators are imported by the first that is asked for
        operators = importlib.import_module("aot.operator_functions")
        value = operators.function(_OPERATORS.get(name, name))
    if value is None:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    globals()[name] = value
    return value
