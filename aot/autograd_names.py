"""The names of grad_fn: TanhBackward0, AddmmBackward0."""

from __future__ import annotations

# Operators that PyTorch computes by another one, which gives its name to the node.
_COMPUTED_BY = {
    "linear": "addmm", "matmul": "mm", "reshape": "view", "view_as": "view", "reshape_as": "view",
    "flatten": "view", "unflatten": "view", "ravel": "view", "conv1d": "convolution",
    "conv2d": "convolution", "conv3d": "convolution", "_convolution": "convolution",
    "conv_transpose1d": "convolution", "conv_transpose2d": "convolution",
    "conv_transpose3d": "convolution", "batch_norm": "native_batch_norm",
    "layer_norm": "native_layer_norm", "group_norm": "native_group_norm",
    "instance_norm": "view", "max_pool2d": "max_pool2d_with_indices", "max_pool1d": "squeeze",
    "max_pool3d": "max_pool3d_with_indices", "square": "pow", "numpy_T": "permute",
    "mT": "transpose", "mH": "transpose", "swapaxes": "transpose", "swapdims": "transpose",
    "movedim": "permute", "moveaxis": "permute", "contiguous": "clone", "to": "to_copy",
    "chunk": "split", "tensor_split": "slice", "narrow": "slice", "subtract": "sub",
    "multiply": "mul", "divide": "div", "true_divide": "div", "negative": "neg",
    "cross_entropy_loss": "nll_loss", "nll_loss_nd": "nll_loss", "dropout": "mul",
    "expand_as": "expand", "broadcast_to": "expand", "concat": "cat", "concatenate": "cat",
    "softmax": "softmax", "log_softmax": "log_softmax", "clip": "clamp", "absolute": "abs",
    "adaptive_avg_pool1d": "squeeze", "avg_pool1d": "squeeze", "relu6": "hardtanh",
    "selu": "elu", "arctan": "atan", "arcsin": "asin", "arccos": "acos", "outer": "mul",
    "vstack": "cat", "hstack": "cat", "dstack": "cat", "tile": "repeat", "type_as": "to_copy",
    "adaptive_max_pool1d": "squeeze", "fill": "fill", "copy": "copy", "stack": "stack",
    "_unsafe_view": "unsafe_view", "_softmax": "softmax", "_log_softmax": "log_softmax",
    "rms_norm": "fused_rms_norm", "float": "to_copy", "double": "to_copy", "half": "to_copy",
    "einsum": "view", "special_expit": "sigmoid", "log_sigmoid": "log_sigmoid",
    "scaled_dot_product_attention": "scaled_dot_product_flash_attention_for_cpu",
    "lstm": "transpose", "gru": "transpose", "where": "where", "greater": "gt",
}
# The overloads whose node does not end in 0; an empty overload is the operator's plain form.
_NUMBERED = {
    ("sum", "dim_IntList"): 1, ("mean", "dim"): 1, ("max", ""): 1, ("min", ""): 1,
    ("prod", "dim_int"): 1, ("pow", "Tensor_Tensor"): 1, ("pow", "Scalar"): 1,
    ("clamp", ""): 1, ("norm", "ScalarOpt_dim"): 1, ("div", "Tensor_mode"): 2,
    ("masked_fill", "Tensor"): 1, ("fill", "Tensor"): 1, ("scatter", "value"): 1,
    ("squeeze", "dim"): 1, ("squeeze", "dims"): 2, ("median", ""): 0, ("median", "dim"): 1,
    ("std", "correction"): 0, ("var", "correction"): 0, ("index_fill", "int_Scalar"): 0,
    ("index_fill", "int_Tensor"): 1, ("split", "Tensor"): 0, ("lerp", "Tensor"): 1,
}


def node_name(name: str, overload: str, plan: object) -> str:
    """The name of an operator's node, as PyTorch prints it."""
    short = name.rpartition("::")[2]
    rank = len(plan.params[0].shape) if plan is not None and plan.params else 0  # type: ignore
    if short == "linear" and plan is not None:
        biased = len(plan.params) == 3  # type: ignore[attr-defined]
        short = ("addmm" if biased else "mm") if rank == 2 else "view" if biased else "unsafe_view"
    elif short == "matmul" and plan is not None:
        other = len(plan.params[1].shape)  # type: ignore[attr-defined]
        short = ("dot" if rank == other == 1 else "mv" if (rank, other) == (2, 1) else
                 "squeeze" if rank == 1 else "mm" if rank == other == 2 else "unsafe_view")
    elif short == "square":
        short = "pow"
    elif short == "nll_loss_nd" or short == "cross_entropy_loss":
        short = "nll_loss2d" if rank == 4 else "nll_loss"
    number = _NUMBERED.get((short, overload), 0)
    short = _COMPUTED_BY.get(short, short)
    words = "".join(w[:1].upper() + w[1:] for w in short.strip("_").split("_"))
    return f"{words}Backward{number}"
