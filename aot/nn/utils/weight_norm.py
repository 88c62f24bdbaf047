"""Weights as a length times a direction (Salimans and Kingma 2016)"""

from __future__ import annotations

from typing import Any

import aot as torch
from aot.nn.modules.module import Module
from aot.nn.parameter import Parameter


class _WeightNorm:
    """A hook that puts the weight together before each forward."""

    def __init__(self, name: str, dim: int) -> None:
        self.name, self.dim = name, dim

    def weight_of(self, module: Module) -> Any:
        length, direction = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return torch._weight_norm(direction, length, self.dim)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.weight_of(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replaces the parameter `name` by `name_g`, its norms over all dims but `dim` (None: over
    all), and `name_v`, which says the direction. RuntimeError if it is so already."""
    hooks = module._forward_pre_hooks.values()
    if any(isinstance(hook, _WeightNorm) and hook.name == name for hook in hooks):
        raise RuntimeError("Cannot register two weight_norm hooks on the same parameter "
                           f"{name}")
    hook = _WeightNorm(name, -1 if dim is None else dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(_length(weight, hook.dim).data))
    module.register_parameter(f"{name}_v", Parameter(weight.data))
    setattr(module, name, hook.weight_of(module))
    module.register_forward_pre_hook(hook)
    return module


def _length(weight: Any, dim: int) -> Any:
    if dim == -1:
        return weight.norm()
    return torch.norm_except_dim(weight, 2, dim)


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Makes the parameter one again. ValueError if `weight_norm` was not applied."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, _WeightNorm) and hook.name == name:
            weight = hook.weight_of(module)
            delattr(module, name)
            del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
            setattr(module, name, Parameter(weight.data))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
