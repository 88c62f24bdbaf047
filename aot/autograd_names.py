"""The names of grad_fn: TanhBackward0, AddmmBackward0."""

from __future__ import annotations

import re

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
    "rms_norm": "mul", "float": "to_copy", "double": "to_copy", "half": "to_copy",
    "einsum": "view", "special_expit": "sigmoid", "log_sigmoid": "log_sigmoid",
    "norm": "linalg_vector_norm",  # what Python's norm calls
    "_cast_Double": "to_copy", "_cast_Half": "to_copy", "_cdist_forward": "cdist",
    "_convolution_mode": "convolution", "_weight_norm": "weight_norm_interface",
    "adjoint": "transpose", "arccosh": "acosh", "arcsinh": "asinh", "arctan2": "atan2",
    "arctanh": "atanh", "as_tensor": "to_copy", "atleast_1d": "view", "meshgrid": "expand",
    "broadcast_tensors": "expand", "cartesian_prod": "stack", "combinations": "stack",
    "chain_matmul": "view", "column_stack": "cat", "row_stack": "cat", "cosine_similarity": "sum",
    "cross": "linalg_cross", "det": "linalg_det", "diagflat": "diag_embed", "dsplit": "slice",
    "hsplit": "slice", "vsplit": "slice", "fix": "trunc", "fliplr": "flip", "flipud": "flip",
    "float_power": "pow", "frobenius_norm": "norm", "pairwise_distance": "linalg_vector_norm",
    "ger": "mul",
    "gru_cell": "add", "rnn_relu_cell": "relu", "rnn_tanh_cell": "tanh", "msort": "sort",
    "inverse": "linalg_inv_ex", "linalg_inv": "linalg_inv_ex", "kron": "unsafe_view",
    "linalg_diagonal": "diagonal", "linalg_matrix_norm": "linalg_vector_norm",
    "linalg_multi_dot": "view", "linalg_solve": "linalg_solve_ex", "matrix_H": "transpose",
    "nanmean": "div", "nll_loss_forward": "nll_loss", "pad": "constant_pad_nd",
    "prelu": "prelu_kernel", "quantile": "squeeze", "nanquantile": "squeeze",
    "take_along_dim": "gather", "tensordot": "view", "unsafe_chunk": "unsafe_split",
    "special_digamma": "digamma", "special_psi": "digamma", "special_erf": "erf",
    "special_erfc": "erfc", "special_erfinv": "erfinv", "special_exp2": "exp2",
    "special_expm1": "expm1", "special_gammaln": "lgamma", "special_log1p": "log1p",
    "special_log_softmax": "log_softmax", "special_logit": "logit", "special_round": "round",
    "special_logsumexp": "logsumexp", "special_multigammaln": "mvlgamma", "special_sinc": "sinc",
    "special_softmax": "softmax", "special_xlogy": "xlogy", "max_pool1d_with_indices": "squeeze",
    "scaled_dot_product_attention": "scaled_dot_product_flash_attention_for_cpu",
    "lstm": "transpose", "gru": "transpose", "where": "where", "greater": "gt",
}
# The overloads whose node does not end in 0; an empty overload is the operator's plain form.
_NUMBERED = {
    ("sum", "dim_IntList"): 1, ("mean", "dim"): 1, ("max", ""): 1, ("min", ""): 1,
    ("prod", "dim_int"): 1, ("pow", "Tensor_Tensor"): 1, ("pow", "Scalar"): 2,
    ("clamp", ""): 1, ("norm", "ScalarOpt_dim"): 1, ("div", "Tensor_mode"): 2,
    ("masked_fill", "Tensor"): 1, ("fill", "Tensor"): 1, ("scatter", "value"): 1,
    ("squeeze", "dim"): 1, ("squeeze", "dims"): 2, ("median", ""): 0, ("median", "dim"): 1,
    ("std", "correction"): 0, ("var", "correction"): 0, ("index_fill", "int_Scalar"): 0,
    ("index_fill", "int_Tensor"): 1, ("split", "Tensor"): 0, ("lerp", "Tensor"): 1,
    ("_convolution", ""): 1, ("_convolution", "deprecated"): 1, ("adaptive_avg_pool1d", ""): 1,
    ("adaptive_max_pool1d", ""): 1, ("avg_pool1d", ""): 1, ("max_pool1d", ""): 1,
    ("max_pool1d_with_indices", ""): 1, ("clamp_max", "Tensor"): 1, ("clamp_min", "Tensor"): 1,
    ("clip", ""): 1, ("copysign", "Scalar"): 1, ("cosine_similarity", ""): 1,
    ("divide", "Tensor_mode"): 2, ("float_power", "Tensor_Tensor"): 1,
    ("float_power", "Scalar"): 2, ("fmod", "Tensor"): 1, ("frobenius_norm", "dim"): 1,
    ("nanmedian", "dim"): 1, ("pairwise_distance", ""): 1, ("quantile", ""): 4,
    ("quantile", "scalar"): 4, ("nanquantile", ""): 4, ("nanquantile", "scalar"): 4,
    ("remainder", "Tensor"): 1, ("round", "decimals"): 1, ("special_round", "decimals"): 1,
    ("rsub", "Scalar"): 1, ("sort", "stable"): 1, ("xlogy", "Scalar_Other"): 2,
    ("xlogy", "Scalar_Self"): 1,
}
# Ranks of what convolutions take without a batch.
_UNBATCHED = {"1d": 2, "2d": 3, "3d": 4}


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
                 "squeeze_" if rank == 1 else "mm" if rank == other == 2 else "unsafe_view")
    elif (short, overload) in (("max", "other"), ("min", "other")):
        short = f"{short}imum"
    elif short.startswith("conv") and short[-2:] in _UNBATCHED and rank == _UNBATCHED[short[-2:]]:
        return "SqueezeBackward1"
    elif short == "atleast_2d" or short == "atleast_3d":
        short = "unsqueeze" if rank else "view"
    elif short == "split" and overload == "sizes":
        short = "split_with_sizes"
    elif short == "nll_loss_nd" or short == "cross_entropy_loss":
        short = "nll_loss2d" if rank == 4 else "nll_loss"
    number = 4 if short == "squeeze_" else _NUMBERED.get((short, overload), 0)
    short = _COMPUTED_BY.get(short, short)
    words = "".join(w[:1].upper() + w[1:] for w in short.strip("_").split("_"))
    words = re.sub(r"(\d)([a-z])", lambda m: m[1] + m[2].upper(), words)
    return f"{words}Backward{number}"
