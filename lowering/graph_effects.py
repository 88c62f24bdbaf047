"""Which nodes of a Graph do more than compute their outputs."""

from __future__ import annotations

from lowering.graph import Node

_EFFECTS = frozenset(
    """prim::SetAttr prim::RaiseException prim::Print prim::CallMethod prim::CallFunction
    prim::PythonOp prim::Enter prim::Exit prim::fork prim::ModuleContainerIndex
    aten::wait aten::append aten::extend aten::insert aten::pop aten::popitem aten::clear
    aten::remove aten::reverse aten::_set_item aten::Delete aten::__delitem__ aten::update
    aten::setdefault aten::warn aten::manual_seed aten::set_grad_enabled aten::set_data
    aten::_print""".split()
)
# They advance the random generator: their number and order are part of the meaning.
_RANDOM = frozenset(
    """rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial
    poisson dropout feature_dropout alpha_dropout feature_alpha_dropout rrelu native_dropout
    _fused_dropout randint_like binomial seed""".split()
)
# The argument that says whether an operator with two faces trains.
_TRAINING_ARGUMENT = {
    "batch_norm": 5, "instance_norm": 5, "dropout": 2, "feature_dropout": 2, "alpha_dropout": 2,
    "feature_alpha_dropout": 2, "rrelu": 3, "_batch_norm_impl_index": 5, "native_batch_norm": 5,
}
_KNOWN_NAMESPACES = ("aten", "prim", "torchvision")


def has_effect(node: Node) -> bool:
    """Whether the node must stay although nothing reads its outputs.

    True for mutation, exceptions, output, calls and random numbers, and for what is not known. What
    is nested in a node is not looked at.
    """
    if node.blocks:
        return False
    if node.kind in _EFFECTS or "out" in node.kwarg_names:
        return True
    namespace, _, name = node.kind.partition("::")
    if namespace not in _KNOWN_NAMESPACES:
        return True
    if namespace == "prim":
        return False
    if is_in_place(node) or not node.outputs:
        return True
    if name in _TRAINING_ARGUMENT:
        return not _says_no_training(node, _TRAINING_ARGUMENT[name])
    return name in _RANDOM


def draws_random_numbers(node: Node) -> bool:
    """Whether running the node advances the random generator."""
    name = node.kind.partition("::")[2]
    if name in _TRAINING_ARGUMENT and "norm" not in name:
        return not _says_no_training(node, _TRAINING_ARGUMENT[name])
    return name.rstrip("_") in _RANDOM or name in ("uniform_", "exponential_", "random_")


def is_in_place(node: Node) -> bool:
    """Whether an operator writes into its first argument: `aten::add_`, not `aten::__and__`."""
    name = node.kind.partition("::")[2]
    if name.startswith("__i") and name.endswith("__"):  # __iand__, __ior__ ...
        return name not in ("__is__", "__isnot__")
    return name.endswith("_") and not name.endswith("__")


def _says_no_training(node: Node, index: int) -> bool:
    value = node.keywords.get("training")
    if value is None and index < len(node.positional):
        value = node.positional[index]
    return value is not None and value.is_constant and value.constant is False
