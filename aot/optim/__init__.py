"""aot.optim: what changes parameters by their gradients."""

from __future__ import annotations

from aot.optim import lr_scheduler
from aot.optim.adam import Adam, Adamax, AdamW
from aot.optim.adaptive import Adadelta, Adagrad, RMSprop
from aot.optim.optimizer import Optimizer
from aot.optim.sgd import SGD

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Optimizer", "RMSprop", "SGD",
           "lr_scheduler"]
