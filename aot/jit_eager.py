"""Runs a Graph on tensors, operator by operator, so that gradients flow through it.

What the compiled code and the numpy interpreter cannot do, this can: every operator goes through
the dispatcher and leaves its mark on the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import aot.complex_tensor  # noqa: F401  operators that make complex tensors
import aot.random_operators  # noqa: F401  operators that draw random numbers
from aot import dispatch, dtypes, random
from aot.grad_mode import is_grad_enabled
from aot.tensor_core import Tensor
from aot.tensor_creation import tensor
from lowering import evaluate_containers, evaluate_nested, evaluate_prims, evaluate_tensors, types
from lowering.abstract import Future, Raised
from lowering.evaluate_texts import text_of
from lowering.evaluator import Env, Evaluator
from lowering.graph import Block, Function, Node
from lowering.objects import (
    NamedTupleValue, ScriptObject, TensorData, TypedDict, TypedList,
)  # fmt: skip
from lowering.types import Type
from runtime.errors import AotError, CompileError, RuntimeFailure

_NO_LIMIT = 2**63 - 1


def run_eagerly(
    function: Function, args: Sequence[object], wrap: Callable[[object, str, TensorData], Tensor],
    shown: Callable[[ScriptObject], object]
) -> object:
    """The result of a function on tensors. `wrap` gives the tensor for an object's attribute, so
    that gradients reach the tensors that others know, and `shown` what Python knows a module's
    object as. RuntimeFailure where the program raises."""
    evaluator = _EagerEvaluator(wrap, shown)
    try:
        result = evaluator.call(function, list(args), {})
    except Raised as e:
        raise RuntimeFailure(f"{e.message}\n{e.where}".rstrip()) from None
    finally:
        evaluator.keep_containers()
    return copied(result, [x for x in args if isinstance(x, (TypedList, TypedDict))])


def copied(x: object, shared: Sequence[object]) -> object:
    """A result for Python: lists and dicts are new ones, but for those that the caller gave."""
    if any(x is s for s in shared):
        return x
    if isinstance(x, TypedDict):
        return TypedDict({k: copied(v, shared) for k, v in x.items()}, x.key, x.value)
    if isinstance(x, dict):
        return {k: copied(v, shared) for k, v in x.items()}
    if isinstance(x, TypedList):
        return TypedList([copied(v, shared) for v in x], x.element)
    if isinstance(x, list):
        return [copied(v, shared) for v in x]
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([copied(v, shared) for v in x], x.type)
    return tuple(copied(v, shared) for v in x) if type(x) is tuple else x


class _EagerEvaluator(Evaluator):
    """The evaluator with tensors in place of abstract ones; lists and dicts are the program's."""

    def __init__(self, wrap: Callable[[object, str, TensorData], Tensor],
                 shown: Callable[[ScriptObject], object]) -> None:
        super().__init__(eager=True)
        self.wrap, self.shown = wrap, shown
        self.constants: dict[int, Tensor] = {}
        self.containers: dict[tuple, tuple[ScriptObject, str, object]] = {}

    def keep_containers(self) -> None:
        """Puts the lists and dicts that the program has seen back into the attributes they are."""
        for instance, name, value in self.containers.values():
            plain = _as_data(value)
            before = instance.attributes.get(name)
            if isinstance(before, TypedList) and isinstance(plain, list):
                plain = TypedList(plain, before.element)
            elif isinstance(before, TypedDict) and isinstance(plain, dict):
                plain = TypedDict(plain, before.key, before.value)
            instance.attributes[name] = plain

    def run_block(self, block: Block, args: list, env: Env) -> list:
        env.update(zip(block.params, args))
        for node in block.nodes:
            self.run_node(node, env)
        return [env[v] for v in block.outputs]

    def run_node(self, node: Node, env: Env) -> None:
        self.node = node
        try:
            if node.kind == "prim::If":
                block = node.blocks[0 if bool(env[node.inputs[0]]) else 1]
                results = self.run_block(block, [], env)
            elif node.kind == "prim::Loop":
                results = self._loop(node, env)
            else:
                result = self.operate(node, [env[v] for v in node.inputs])
                if len(node.outputs) == 1:
                    env[node.outputs[0]] = result
                    return
                results = result if node.outputs else ()  # type: ignore[assignment]
        except Raised as e:
            e.where = e.where or self.place(node)
            raise
        except AotError:
            raise
        except (TypeError, ValueError, IndexError, RuntimeError, KeyError, AttributeError) as e:
            self.node = node
            raise CompileError(self._wrong(node, [], e)) from e
        env.update(zip(node.outputs, results))

    def _loop(self, node: Node, env: Env) -> list:
        limit, condition, *carried = [env[v] for v in node.inputs]
        turn, body = 0, node.blocks[0]
        while turn < limit and condition:
            condition, *carried = self.run_block(body, [turn, *carried], env)
            condition, turn = bool(condition), turn + 1
        return carried

    def operate(self, node: Node, args: list) -> object:
        own = _OWN.get(node.kind)
        if own is not None:
            return own(self, node, args)
        prim = evaluate_prims.TABLE.get(node.kind)
        if prim is not None and not (node.kind == "prim::type" and isinstance(args[0], Tensor)):
            return prim(self, node, args)
        count = len(args) - len(node.kwarg_names)
        kwargs = dict(zip(node.kwarg_names, args[count:]))
        return self.operate_with(node.kind, args[:count], kwargs, node)

    def operate_with(self, kind: str, args: list, kwargs: dict, node: Node | None = None) -> object:
        first = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(first, (list, tuple, dict, str)) and kind in evaluate_containers.TABLE:
            return evaluate_containers.compute(self, node, kind, args, kwargs)
        if evaluate_nested.concerns(kind, args):
            return evaluate_nested.compute(self, kind, args, kwargs)
        if kind in _DRAWS:
            wanted = {k: v for k, v in kwargs.items() if k in ("dtype", "size")}
            return _DRAWS[kind](*args[:_POSITIONAL.get(kind, len(args))], **wanted)
        if kind in _ON_TENSORS and isinstance(first, Tensor):
            return _ON_TENSORS[kind](*args)
        if kind == "aten::tensor" and not isinstance(first, Tensor):
            wanted = kwargs.get("dtype")
            return tensor(first, dtype=dtypes.of_code(wanted) if type(wanted) is int else wanted)
        if _makes_tensor(node) or _holds_tensor([*args, *kwargs.values()]):
            result = dispatch.call(kind, tuple(args), kwargs)
            return tuple(result) if _is_record(result) else result
        return super().operate_with(kind, args, kwargs, node)

    def tensor(self, x: object) -> object:
        """A constant of the program as the program's values are here."""
        if isinstance(x, TensorData):
            if id(x) not in self.constants:
                self.constants[id(x)] = Tensor._of_data(x)
            return self.constants[id(x)]
        if isinstance(x, list):
            return [self.tensor(v) for v in x]
        if isinstance(x, NamedTupleValue):
            return NamedTupleValue([self.tensor(v) for v in x], x.type)
        if isinstance(x, tuple):
            return tuple(self.tensor(v) for v in x)
        if isinstance(x, dict):
            return {k: self.tensor(v) for k, v in x.items()}
        return x


def _makes_tensor(node: Node | None) -> bool:
    """Whether the operator's result is a tensor, so that no arithmetic of numbers can be meant."""
    if node is None or not node.outputs:
        return False
    return isinstance(node.outputs[0].type, types.TensorType)


def _holds_tensor(values: list) -> bool:
    return any(
        isinstance(x, Tensor) or (isinstance(x, (list, tuple)) and _holds_tensor(list(x)))
        for x in values
    )


def _is_record(x: object) -> bool:
    return isinstance(x, tuple) and type(x) is not tuple


def _constant(ev: _EagerEvaluator, node: Node, args: list) -> object:
    return ev.tensor(node.attributes.get("value"))


def _get_attr(ev: _EagerEvaluator, node: Node, args: list) -> object:
    instance, name = args[0], node.attributes["name"]
    if isinstance(instance, NamedTupleValue):
        return getattr(instance, name)  # type: ignore[arg-type]
    assert isinstance(instance, ScriptObject)
    if name not in instance.attributes:
        return ev.tensor(instance.type.constants[name])  # type: ignore[index]
    value = instance.attributes[name]  # type: ignore[index]
    if isinstance(value, TensorData):
        return ev.wrap(instance, name, value)  # type: ignore[arg-type]
    if not isinstance(value, (list, tuple, dict)):
        return value
    key = (id(instance), name)
    if key not in ev.containers:  # one list stays one list, with tensors for its TensorData
        ev.containers[key] = instance, name, _held(ev, instance, value)
    return ev.containers[key][2]


def _set_attr(ev: _EagerEvaluator, node: Node, args: list) -> object:
    instance, value = args
    name = node.attributes["name"]
    ev.containers.pop((id(instance), name), None)
    if isinstance(value, (list, tuple, dict)):
        ev.containers[id(instance), name] = instance, name, value
    instance.attributes[name] = value._data if isinstance(value, Tensor) else value
    return None


def _held(ev: _EagerEvaluator, instance: object, x: object) -> object:
    """An attribute's list or dict with tensors in it; parameters are those the module shows."""
    if isinstance(x, TensorData):
        return ev.wrap(instance, "", x)
    if isinstance(x, list):
        return [_held(ev, instance, v) for v in x]
    if isinstance(x, dict):
        return {k: _held(ev, instance, v) for k, v in x.items()}
    if type(x) is tuple:
        return tuple(_held(ev, instance, v) for v in x)
    return ev.tensor(x)


def _as_data(x: object) -> object:
    """A value of the program as its objects hold it."""
    if isinstance(x, Tensor):
        return x._data
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue(map(_as_data, x), x.type)
    if isinstance(x, (list, tuple)):
        return tuple(map(_as_data, x)) if isinstance(x, tuple) else list(map(_as_data, x))
    return {k: _as_data(v) for k, v in x.items()} if isinstance(x, dict) else x


def _module_item(ev: _EagerEvaluator, node: Node, args: list) -> object:
    container, key = args
    children = {k: v for k, v in container.attributes.items() if isinstance(v, ScriptObject)}
    return children[key] if isinstance(key, str) else list(children.values())[key]


def _python_op(ev: _EagerEvaluator, node: Node, args: list) -> object:
    """A function that is not compiled gets tensors, and modules for their objects."""
    given = [ev.shown(x) if isinstance(x, ScriptObject) and x.type.is_module else x for x in args]
    return node.attributes["value"](*given)  # type: ignore[operator]


def _isinstance(ev: _EagerEvaluator, node: Node, args: list) -> object:
    return any(_is(args[0], t) for t in node.attributes["types"])  # type: ignore[union-attr]


def _is(x: object, t: Type) -> bool:
    if isinstance(x, Tensor):
        if isinstance(t, types.OptionalType):
            return _is(x, t.element)
        if isinstance(t, types.UnionType):
            return any(_is(x, e) for e in t.elements)
        return isinstance(t, types.TensorType) or t == types.Any
    if isinstance(x, list) and isinstance(t, types.ListType):
        return all(_is(v, t.element) for v in x)
    if isinstance(x, tuple) and isinstance(t, types.TupleType):
        return len(x) == len(t.elements) and all(map(_is, x, t.elements))
    return evaluate_prims.value_is(x, t)


def _num_to_tensor(ev: _EagerEvaluator, node: Node, args: list) -> object:
    return dispatch.call("aten::scalar_tensor", (args[0],), {"dtype": 4 if isinstance(
        args[0], int) else 7})


def _to_list(ev: _EagerEvaluator, node: Node, args: list) -> object:
    return args[0].tolist()


def _fork(ev: _EagerEvaluator, node: Node, args: list) -> object:
    return Future(ev.run_graph(node.attributes["Subgraph"], args))  # type: ignore[arg-type]


def _enter(ev: _EagerEvaluator, node: Node, args: list) -> object:
    return evaluate_prims.TABLE[node.kind](ev, node, args)


_OWN: dict[str, Callable] = {
    "prim::Constant": _constant,
    "prim::GetAttr": _get_attr,
    "prim::SetAttr": _set_attr,
    "prim::ModuleContainerIndex": _module_item,
    "prim::isinstance": _isinstance,
    "prim::NumToTensor": _num_to_tensor,
    "prim::tolist": _to_list,
    "aten::tolist": _to_list,
    "prim::fork": _fork,
    "aten::wait": lambda ev, node, args: args[0].value if isinstance(args[0], Future) else args[0],
    "prim::unchecked_cast": lambda ev, node, args: args[0],
    "prim::unchecked_unwrap_optional": lambda ev, node, args: args[0],
    "prim::Print": lambda ev, node, args: print(*args),
    "prim::PythonOp": _python_op,
    "aten::is_grad_enabled": lambda ev, node, args: is_grad_enabled(),
    "aten::str": lambda ev, node, args: text_of(ev.memory, args[0]),
}
_ON_TENSORS: dict[str, Callable] = {
    "aten::size": lambda t, dim=None: list(t.shape) if dim is None else t.size(dim),
    "aten::stride": lambda t, dim=None: list(t.stride()) if dim is None else t.stride(dim),
    "aten::is_contiguous": lambda t, memory_format=0: t.is_contiguous(),
    "aten::dim": lambda t: t.dim(),
    "prim::ndim": lambda t: t.dim(),
    "aten::len": len,
    "aten::numel": lambda t: t.numel(),
    "aten::Int": int, "aten::Float": float, "aten::Bool": bool,
    "aten::IntImplicit": int, "aten::FloatImplicit": float,
    "aten::ScalarImplicit": lambda t: t.item(),
    "aten::item": lambda t: t.item(),
    "prim::dtype": lambda t: t.row.torch_code,
    "prim::device": lambda t: evaluate_tensors.CPU,
    "prim::layout": lambda t: 0,
    "prim::requires_grad": lambda t: t.requires_grad,
    "aten::is_floating_point": lambda t: t.is_floating_point(),
    "aten::is_complex": lambda t: t.is_complex(),
    "aten::__is__": lambda a, b: a is b,
    "aten::__isnot__": lambda a, b: a is not b,
    "aten::_unwrap_optional": lambda t: t,
    **{f"prim::is_{name}": lambda t: False for name in
       "cuda sparse quantized mkldnn meta nested mps xla vulkan".split()},
}
# Random numbers come from the process's generator.
_DRAWS: dict[str, Callable] = {
    f"aten::{name}": getattr(random, name)
    for name in "rand randn randint randperm rand_like randn_like randint_like normal".split()
}
_POSITIONAL = {"aten::rand": 1, "aten::randn": 1, "aten::randperm": 1, "aten::rand_like": 1,
               "aten::randn_like": 1}
