"""The object and class of TorchScript that a module has when it is traced.

Parameters and buffers share memory with the module's; of its other attributes only `training`
counts, since a trace holds all else as constants.
"""

from __future__ import annotations

from aot.jit_module import ScriptModule
from aot.nn.modules.module import Module
from aot.script.compiler import PROGRAM, qualified_name
from aot.tensor_core import Tensor
from lowering import types
from lowering.objects import ScriptObject, TensorData
from lowering.types import ClassType, OptionalType, Type


def traced_object(module: Module, known: dict[int, ScriptObject]) -> ScriptObject:
    """The module's object, its submodules' below it; a module that stands in two places is one
    object. Each module gets a class of its own, since each is traced on its own."""
    if isinstance(module, ScriptModule):
        return module.object
    if id(module) in known:
        return known[id(module)]
    attributes: dict[str, object] = {}
    declared: dict[str, Type] = {}
    for held in (module._parameters, module._buffers):
        for name, tensor in held.items():
            if tensor is not None:
                attributes[name] = shared_data(tensor)
                declared[name] = types.Tensor
    parameters = tuple(n for n, t in module._parameters.items() if t is not None)
    buffers = tuple(n for n, t in module._buffers.items() if t is not None)
    attributes["training"] = module.training
    declared["training"] = types.Bool
    attributes["_is_full_backward_hook"] = None
    declared["_is_full_backward_hook"] = OptionalType(types.Bool)
    for name, child in module._modules.items():
        if child is not None:
            instance = traced_object(child, known)
            attributes[name], declared[name] = instance, instance.type
    name = PROGRAM.unique(qualified_name(type(module)))
    cls = ClassType(name, True, declared, parameters=parameters, buffers=buffers)
    known[id(module)] = ScriptObject(cls, attributes)
    return known[id(module)]


def shared_data(tensor: Tensor) -> TensorData:
    """The tensor's data, which also says whether it wants gradients."""
    tensor._data.requires_grad = tensor.requires_grad
    return tensor._data
