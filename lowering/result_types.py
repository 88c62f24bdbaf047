"""The result types of operators, from the types of their arguments.

Nearly all operators return one Tensor. The tables below list the others: those on scalars, strings,
lists and dicts, and those with several results. Tensors come out without dtype or sizes; partial
evaluation, which knows the arguments, finds those.
"""

from __future__ import annotations

from lowering import types
from lowering.types import (
    Bool, Complex, Device, DictType, Float, FutureType, Int, ListType, NoneT, Number, OptionalType,
    Str, Tensor, TensorType, TupleType, Type,
)

_FIXED = {
    Bool: """Bool __contains__ __is__ __isnot__ __not__ allclose can_cast endswith startswith equal
        is_autocast_cpu_enabled is_autocast_enabled is_complex is_conj is_contiguous is_distributed
        is_floating_point is_grad_enabled is_inference is_leaf is_neg is_nonzero is_pinned
        is_non_overlapping_and_dense is_same_size is_scripting is_set_to is_signed isalnum isalpha
        isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper
        has_torch_function is_strides_like_format retains_grad prim::is_cpu prim::is_cuda
        prim::is_ipu prim::is_maia prim::is_meta prim::is_mkldnn prim::is_mps prim::is_mtia
        prim::is_nested prim::is_quantized prim::is_sparse prim::is_sparse_csr prim::is_vulkan
        prim::is_xla prim::is_xpu prim::is_hpu prim::requires_grad""",
    Int: """Int IntImplicit __derive_index __range_length __round_to_zero_floordiv _dimI _dimV _nnz
        _version dense_dim dim sparse_dim element_size factorial find get_device hash initial_seed
        len numel ord output_nr promote_types q_per_channel_axis q_zero_point result_type rfind
        rindex seed storage_offset sym_numel sym_size sym_storage_offset prim::dtype prim::id
        prim::itemsize prim::layout prim::nbytes""",
    Float: "Float FloatImplicit q_scale",
    Complex: "Complex ComplexImplicit",
    Str: """bin capitalize center chr expandtabs format hex join ljust lower lstrip oct
        percentFormat replace rjust rstrip str strip swapcase title upper zfill prim::EnumName
        prim::StringIndex
        prim::type""",
    Number: "item ScalarImplicit _local_scalar_dense",
    Device: "device prim::device",
    NoneT: """__delitem__ Delete _assert_async _assert_scalar _assert_tensor_metadata clear extend
        insert manual_seed record_stream remove retain_grad reverse set_data set_grad_enabled
        update warn _print prim::Print prim::RaiseException""",
    ListType(Int): """Size _infer_size broadcast_shapes _tensor_to_list prim::rangelist""",
    ListType(Str): "rsplit splitlines",
    ListType(Tensor): """chunk broadcast_tensors dsplit hsplit vsplit gradient meshgrid
        nonzero_numpy split_with_sizes tensor_split unbind unsafe_chunk unsafe_split
        unsafe_split_with_sizes unflatten_dense_tensors""",
    ListType(OptionalType(Tensor)): "grad",
    TupleType((Str, Str, Str)): "partition rpartition",
    OptionalType(Int): "prim::index",
    OptionalType(Str): "prim::name",
    types.QScheme: "qscheme",
    types.Generator: "Generator",
}
_FIXED_OF_NAME = {name: type for type, names in _FIXED.items() for name in names.split()}

_SEVERAL_TENSORS = {
    2: """_aminmax aminmax _unique _weight_norm_interface adaptive_max_pool1d adaptive_max_pool2d
        adaptive_max_pool3d batch_norm_stats batch_norm_update_stats cummax cummin
        fractional_max_pool2d fractional_max_pool3d geqrf gru histogram kthvalue linalg_cholesky_ex
        linalg_eig linalg_eigh linalg_inv_ex linalg_ldl_factor linalg_lu_factor linalg_qr
        linalg_slogdet linalg_solve_ex log_sigmoid_forward lstm_cell max_pool1d_with_indices
        max_pool2d_with_indices max_pool3d_with_indices mode multilabel_margin_loss_forward
        native_dropout nll_loss2d_forward nll_loss_forward qr rnn_relu rnn_tanh slogdet std_mean
        topk triangular_solve var_mean _pack_padded_sequence _pad_packed_sequence
        _native_multi_head_attention _scaled_dot_product_attention_math _ctc_loss
        _scaled_dot_product_flash_attention_for_cpu frexp sort""",
    3: """_lu_with_info _native_batch_norm_legit _native_batch_norm_legit_no_training _unique2
        _transform_bias_rescale_qkv linalg_ldl_factor_ex linalg_lu linalg_lu_factor_ex linalg_svd
        lstm lu_unpack native_batch_norm native_group_norm native_layer_norm svd unique_consecutive
        unique_dim unique_dim_consecutive _linalg_det _linalg_svd""",
    4: "_embedding_bag _embedding_bag_forward_only embedding_bag linalg_lstsq _linalg_slogdet",
}
_TENSORS_OF_NAME = {
    name: count for count, names in _SEVERAL_TENSORS.items() for name in names.split()
}

# max(x) is a Tensor and max(x, other) too; max(x, dim) is values and indices.
_VALUES_AND_INDICES_WITH_DIM = frozenset(("max", "min", "median", "nanmedian"))

# On scalars: a float, whatever the argument (complex stays complex).
_TO_FLOAT = frozenset(
    """acos acosh asin asinh atan atan2 atanh copysign cos cosh degrees div erf erfc exp expm1 fabs
    fmod gamma ldexp lgamma log log10 log1p log2 mathremainder pow radians round sin sinh sqrt tan
    tanh angle""".split()
)
_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
# On scalars: the wider of the arguments' types.
_TO_WIDER = frozenset(
    """add sub mul neg floordiv remainder gcd __and__ __or__ __xor__ __lshift__ __rshift__
    prim::abs bitwise_not""".split()
)


def result_types(
    kind: str, arguments: list[Type], keywords: dict[str, Type], targets: int = 1
) -> tuple[Type, ...]:
    """The types of an operator's outputs; () where it returns nothing.

    `targets` is how many names the text gives the results of an operator no table knows.
    """
    name = kind.removeprefix("aten::")
    single = _single(name, arguments, keywords)
    if single is not None:
        return () if single == NoneT else (single,)
    first = arguments[0] if arguments else None
    has_tensor = any(map(_is_tensor, arguments)) or any(map(_is_tensor, keywords.values()))
    if name in _VALUES_AND_INDICES_WITH_DIM:
        by_dim = "dim" in keywords or (len(arguments) > 1 and not _is_tensor(arguments[1]))
        return (Tensor, Tensor) if by_dim else (Tensor,)
    if name == "frexp" and first == Float:
        return (Float, Int)
    if name == "modf":
        return (Float, Float)
    if name == "divmod":
        wider = _wider(arguments)
        return (wider, wider)
    if name == "histogramdd":
        return (Tensor, ListType(Tensor))
    if name == "_batch_norm_impl_index":
        return (Tensor, Tensor, Tensor, Tensor, Int)
    if name == "sort" and isinstance(first, ListType):
        return ()
    if name in _TENSORS_OF_NAME:
        return (Tensor,) * _TENSORS_OF_NAME[name]
    if not has_tensor and name in _TO_FLOAT:
        return (_to_float(name, arguments),)
    if not has_tensor and name == "polar":
        return (Number,) if Number in arguments else (Complex,)
    return (Tensor,) * targets


def _single(name: str, args: list[Type], keywords: dict[str, Type]) -> Type | None:
    """The type where there is one result (or none: NoneType) and a rule for it; None otherwise."""
    fixed = _FIXED_OF_NAME.get(name)
    if fixed is not None:
        return fixed
    first = args[0] if args else None
    if isinstance(first, OptionalType) and not _is_tensor(first):
        first = first.element
    has_tensor = any(map(_is_tensor, args)) or any(map(_is_tensor, keywords.values()))
    if isinstance(first, (ListType, DictType)) or first == Str:
        found = _of_container(name, first, args, keywords)
        if found is not None:
            return found
    if name in ("size", "stride", "sym_size", "sym_stride"):
        return Int if len(args) > 1 or "dim" in keywords else ListType(Int)
    if name in ("split", "where") and _is_tensor(first):
        one_argument = len(args) + len(keywords) == 1
        return ListType(Tensor) if name == "split" or one_argument else Tensor
    if name == "wait" and isinstance(first, FutureType):
        return first.element
    if name in ("__getitem__", "select") and isinstance(first, TupleType) and first.elements:
        return first.elements[0]
    if name == "dict" and not args:
        return DictType(Str, Tensor)
    if name == "prim::rangelist":
        return ListType(Int)
    if name in ("prim::unchecked_cast", "prim::unchecked_unwrap_optional", "_unwrap_optional"):
        return first
    if name == "prim::NumToTensor":
        return Tensor
    if name == "prim::EnumValue" and isinstance(first, types.EnumType):
        return first.value_type
    if has_tensor:
        return None
    if name in _COMPARISONS or name in ("isnan", "isinf", "isfinite"):
        return Bool
    if name in ("ceil", "floor"):
        return Number if first == Number else Int
    if name == "prim::abs" and first == Complex:
        return Float
    if name == "mul" and isinstance(args[-1], ListType):
        return args[-1]
    if name in _TO_WIDER or name in ("prim::min", "prim::max"):
        return _wider(args)
    return None


def _of_container(
    name: str, first: Type, args: list[Type], keywords: dict[str, Type]
) -> Type | None:
    if name in ("copy", "list") and first != Str:
        return first
    if name in _COMPARISONS:
        return Bool
    if name in ("index", "count") and not _is_tensor(args[0]) and first != ListType(Tensor):
        return Int
    if name in ("add", "add_", "mul", "mul_", "slice", "sorted"):
        return first
    if isinstance(first, ListType):
        return _of_list(name, first, args)
    if isinstance(first, DictType):
        return _of_dict(name, first, args, keywords)
    return {"__getitem__": Str, "list": ListType(Str), "split": ListType(Str)}.get(name)


def _of_list(name: str, first: ListType, args: list[Type]) -> Type | None:
    if name in ("append", "_set_item", "set_"):
        return first
    if name in ("__getitem__", "select", "pop"):
        return first.element
    if name in ("prim::min", "prim::max"):
        return first if len(args) > 1 else first.element
    if name in ("all", "any") and not _is_tensor(first.element):
        return Bool
    if name == "sum":
        return Int if first.element == Bool else first.element
    if name == "dict" and isinstance(first.element, TupleType):
        return DictType(*first.element.elements)
    if name in ("atleast_1d", "atleast_2d", "atleast_3d", "_to_cpu"):
        return first
    return None


def _of_dict(
    name: str, first: DictType, args: list[Type], keywords: dict[str, Type]
) -> Type | None:
    if name in ("__getitem__", "pop", "setdefault"):
        return first.value
    if name == "get":
        with_default = len(args) > 2 or "default_value" in keywords
        return first.value if with_default else OptionalType(first.value)
    if name == "items":
        return ListType(TupleType((first.key, first.value)))
    if name == "popitem":
        return TupleType((first.key, first.value))
    if name == "keys":
        return ListType(first.key)
    if name == "values":
        return ListType(first.value)
    if name == "dict":
        return first
    if name == "_set_item":
        return NoneT
    return None


def _is_tensor(type: Type | None) -> bool:
    return isinstance(type, TensorType) or (
        isinstance(type, OptionalType) and isinstance(type.element, TensorType)
    )


def _to_float(name: str, args: list[Type]) -> Type:
    if args == [Number] and name not in ("fabs", "gamma", "degrees", "radians"):
        return Number
    return Complex if Complex in args and name != "angle" else Float


def _wider(args: list[Type]) -> Type:
    numbers = [a.element if isinstance(a, OptionalType) else a for a in args]
    for type in (Number, Complex, Float):
        if type in numbers:
            return type
    return Bool if numbers and all(t == Bool for t in numbers) else Int
