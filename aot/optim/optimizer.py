"""Optimizer: groups of parameters with options, a state for each parameter, and steps."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from aot.grad_mode import enable_grad, no_grad
from aot.tensor_core import Tensor
from aot.tensor_creation import tensor


class Optimizer:
    """What all optimisers share. Subclasses say how one parameter changes (`_update`), and whether
    weight decay is a part of the gradient (`_decays_gradient`).

    `param_groups` is a list of dicts: 'params', and options that may differ from group to group.
    `state` has a dict for each parameter.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        """ValueError for no parameters, or parameters that are no leaves or in two groups."""
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of "
                            f"Tensors or dicts, but got {type(params).__name__}")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(given[0], dict):
            given = [{"params": given}]
        for group in given:
            self.add_param_group(dict(group))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters, with options of their own where the dict has some."""
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and isinstance(params[0], tuple):  # named_parameters()
            param_group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is "
                                f"{type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in known:
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append({"params": params, **self.defaults,
                                  **{k: v for k, v in param_group.items() if k != "params"}})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients or, with set_to_none=False, makes them zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    p.grad = p.grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes each parameter that has a gradient. `closure` computes the loss again, and the
        gradients; its result is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update(p, self._gradient(p, group), self.state[p], group)
        return loss

    def _gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """The direction to go down: the gradient, with weight decay where it belongs to it."""
        grad = -p.grad if group["maximize"] else p.grad
        if group["weight_decay"] and self._decays_gradient(group):
            grad = grad.add(p, alpha=group["weight_decay"])
        return grad

    def _decays_gradient(self, group: dict[str, Any]) -> bool:
        return True

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        raise NotImplementedError

    # --- state --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state and the options as plain dicts; parameters are numbers in their order."""
        numbers = {id(p): k for k, p in enumerate(self._parameters())}
        groups = [{**{k: v for k, v in group.items() if k != "params"},
                   "params": [numbers[id(p)] for p in group["params"]]}
                  for group in self.param_groups]
        return {"state": {numbers[id(p)]: values for p, values in self.state.items() if values},
                "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave, of this library or of PyTorch. ValueError if it is of
        other groups of parameters."""
        groups = copy.deepcopy(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(new["params"]) != len(old["params"])
               for new, old in zip(groups, self.param_groups)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the "
                             "size of optimizer's group")
        numbers = [k for group in groups for k in group["params"]]
        by_number = dict(zip(numbers, self._parameters()))
        self.state = defaultdict(dict)
        for k, values in state_dict["state"].items():
            p = by_number[k]
            self.state[p] = {name: _fitting(name, v, p) for name, v in values.items()}
        for new, old in zip(groups, self.param_groups):
            old.update({k: v for k, v in new.items() if k != "params"})

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        groups = [
            "\n".join([f"Parameter Group {k}", *(f"    {name}: {group[name]}"
                                                for name in sorted(group) if name != "params")])
            for k, group in enumerate(self.param_groups)]
        return f"{type(self).__name__} (\n" + "\n\n".join(groups) + "\n)"


def _fitting(name: str, value: Any, p: Tensor) -> Any:
    """A loaded value as the parameter's state has it; the count of steps stays float32."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().clone()
    return value if name == "step" or not p.is_floating_point() else value.to(p.dtype)


def check_positive(**options: float | tuple[float, ...]) -> None:
    """ValueError for an option below zero."""
    words = {"lr": "learning rate", "eps": "epsilon value", "weight_decay": "weight_decay value",
             "momentum": "momentum value"}
    for name, value in options.items():
        if not value >= 0:  # type: ignore[operator]
            raise ValueError(f"Invalid {words.get(name, name + ' value')}: {value}")


def count_step(state: dict[str, Any]) -> int:
    """One step more; how many there were. The count is a tensor, as in PyTorch's files."""
    if "step" not in state:
        state["step"] = tensor(0.0)
    state["step"] += 1
    return int(state["step"].item())
