"""Putting a state_dict's values into a module and those below it."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any, Mapping

from aot.grad_mode import no_grad
from aot.tensor_core import Tensor


class _IncompatibleKeys(namedtuple("IncompatibleKeys", "missing_keys unexpected_keys")):
    """Names that the module has and the dict lacks, and the other way round."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def load_into(module: Any, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> Any:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    metadata = getattr(state_dict, "_metadata", None)
    state = OrderedDict(state_dict)
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []

    def load(m: Any, prefix: str) -> None:
        known = {} if metadata is None else metadata.get(prefix[:-1], {})
        for hook in m._load_state_dict_pre_hooks.values():
            hook(state, prefix, known, strict, missing, unexpected, errors)
        _load_own(m, state, prefix, strict, missing, unexpected, errors, assign)
        for name, child in m._modules.items():
            if child is not None:
                load(child, f"{prefix}{name}.")
        for hook in m._load_state_dict_post_hooks.values():
            hook(m, _IncompatibleKeys(missing, unexpected))

    load(module, "")
    if strict:
        if unexpected:
            listed = ", ".join(f'"{k}"' for k in unexpected)
            errors.insert(0, f"Unexpected key(s) in state_dict: {listed}. ")
        if missing:
            listed = ", ".join(f'"{k}"' for k in missing)
            errors.insert(0, f"Missing key(s) in state_dict: {listed}. ")
    if errors:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t"
                           + "\n\t".join(errors))
    return _IncompatibleKeys(missing, unexpected)


def _load_own(m: Any, state: dict, prefix: str, strict: bool, missing: list[str],
              unexpected: list[str], errors: list[str], assign: bool) -> None:
    buffers = {n: b for n, b in m._buffers.items() if n not in m._non_persistent_buffers_set}
    for name, value in (*m._parameters.items(), *buffers.items()):
        if value is None:
            continue
        key = prefix + name
        if key not in state:
            missing.append(key)
            continue
        given = state[key]
        if not isinstance(given, Tensor):
            errors.append(f'While copying the parameter named "{key}", expected torch.Tensor or '
                          f"Tensor-like object from checkpoint but received {type(given)}")
            continue
        if value.ndim == 0 and given.shape == (1,):
            given = given[0]
        if given.shape != value.shape:
            errors.append(f"size mismatch for {key}: copying a param with shape {given.shape} from "
                          f"checkpoint, the shape in current model is {value.shape}.")
            continue
        with no_grad():
            if assign:
                value._data = given._data
            else:
                value.copy_(given)
    for key in state:
        if key.startswith(prefix) and key != prefix + "_extra_state":
            first, *rest = key[len(prefix):].split(".", 1)
            if rest and first not in m._modules or not rest and (
                    first not in m._parameters and first not in buffers):
                unexpected.append(key)
