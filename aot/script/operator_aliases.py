"""Operators that have a second name: compiled functions call them by their first."""

from __future__ import annotations

from lowering.graph import Graph
from lowering.graph_builder import Builder

# second name -> first name; those in place likewise, with an underscore
_PAIRS = """absolute abs, adjoint mH, arccos acos, arccosh acosh, arcsin asin, arcsinh asinh,
arctan atan, arctan2 atan2, arctanh atanh, clip clamp, concat cat, concatenate cat, det linalg_det,
divide div, fix trunc, ger outer, greater gt, greater_equal ge, inverse linalg_inv, less lt,
less_equal le, linalg_matmul matmul, matrix_exp linalg_matrix_exp,
matrix_power linalg_matrix_power, moveaxis movedim, multiply mul, negative neg, not_equal ne,
orgqr linalg_householder_product, row_stack vstack, special_digamma digamma, special_erf erf,
special_erfc erfc, special_erfinv erfinv, special_exp2 exp2, special_expit sigmoid,
special_expm1 expm1, special_gammainc igamma, special_gammaincc igammac, special_gammaln lgamma,
special_i0 i0, special_log1p log1p, special_log_softmax log_softmax, special_logit logit,
special_multigammaln mvlgamma, special_polygamma polygamma, special_psi digamma,
special_round round, special_sinc sinc, special_softmax softmax, special_xlogy xlogy, subtract sub,
swapaxes transpose, swapdims transpose, true_divide div"""
_FIRST = {f"aten::{second}{suffix}": f"aten::{first}{suffix}"
          for second, first in (pair.split() for pair in _PAIRS.split(","))
          for suffix in ("", "_")}


def use_first_names(graph: Graph) -> bool:
    """`aten::absolute(x)`  ~>  `aten::abs(x)`; True if there was any."""
    changed = False
    for node in list(graph.nodes()):
        first = _FIRST.get(node.kind)
        if first is None:
            continue
        made = Builder(graph, node.owner, node).node(
            first, node.inputs, [v.type for v in node.outputs], node.attributes, node.kwarg_names,
            range=node.range)
        made.overload = node.overload
        for old, new in zip(node.outputs, made.outputs):
            Builder(graph).replace_uses(old, new)
        Builder(graph).erase(node)
        for old, new in zip(node.outputs, made.outputs):
            if old.has_name:
                Builder(graph).set_name(new, old.name)
        changed = True
    return changed
