"""The structs of include/aot.h for ctypes, and the descriptor of an object as plain data."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from ctypes import c_void_p

from runtime import dtypes
from runtime.description import KINDS, MethodDescription, ModelDescription, ValueInfo
from runtime.dtypes import DType
from runtime.errors import RuntimeFailure

ABI_VERSION = 3
OK, INVALID_ARGUMENT, UNSUPPORTED_CPU, OUT_OF_MEMORY, FAILED = range(5)
IO_ERROR, INVALID_FILE, NOT_FOUND = 5, 6, 7
CPU_DEVICE = 1  # DLPack's kDLCPU
STATEFUL = 1  # aot_model.flags
VALUE_INFO_BYTES = 40  # of an aot_value_info
REPORT_KINDS = ("print", "warn")  # the numbers of aot.h: AOT_PRINT, AOT_WARN
# A saved state begins with these and the state's fingerprint, 8 bytes each.
SAVED_MAGIC, SAVED_VERSION, SAVED_HEAD = int.from_bytes(b"aotstate", "little"), 1, 24

SCALARS = {"int": c_int64, "float": ctypes.c_double, "bool": ctypes.c_bool}  # by kind
_DTYPES = {(d.dlpack, d.bits): d for d in dtypes.ALL}


class Tensor(ctypes.Structure):
    """aot_tensor, DLPack's DLTensor. Pointers are plain addresses."""

    _fields_ = [
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("byte_offset", c_uint64),
    ]


class Options(ctypes.Structure):
    """aot_options."""

    _fields_ = [
        ("threads", c_int64),
        ("parallel_for", c_void_p),
        ("pool", c_void_p),
        ("seed", c_uint64),
        ("report", c_void_p),
        ("report_context", c_void_p),
    ]


class CValueInfo(ctypes.Structure):
    """aot_value_info."""

    _fields_ = [
        ("name", c_char_p),
        ("shape", POINTER(c_int64)),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("kind", c_int32),
        ("reserved", c_int32),
        ("value", c_void_p),
    ]


ReportFunction = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
RunFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p)
InitFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p)
MessageFunction = ctypes.CFUNCTYPE(c_char_p, c_void_p)
ReleaseFunction = ctypes.CFUNCTYPE(None, c_void_p)
ResetFunction = ctypes.CFUNCTYPE(c_int32, c_void_p)
CopyFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p)  # save has this type too
SeedFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, c_uint64)
RestoreFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64)


class CMethod(ctypes.Structure):
    """aot_method."""

    _fields_ = [
        ("name", c_char_p),
        ("inputs", POINTER(CValueInfo)),
        ("outputs", POINTER(CValueInfo)),
        ("num_inputs", c_int32),
        ("num_outputs", c_int32),
        ("arguments", c_char_p),
        ("results", c_char_p),
        ("run", RunFunction),
        ("dim_names", POINTER(c_char_p)),
        ("num_dims", c_int32),
        ("reserved", c_int32),
        ("flops", c_uint64),
    ]


class CModel(ctypes.Structure):
    """aot_model."""

    _fields_ = [
        ("abi_version", c_uint32),
        ("struct_size", c_uint32),
        ("name", c_char_p),
        ("producer", c_char_p),
        ("target_triple", c_char_p),
        ("target_cpu", c_char_p),
        ("cpu_features", POINTER(c_char_p)),
        ("num_cpu_features", c_int32),
        ("num_methods", c_int32),
        ("methods", POINTER(CMethod)),
        ("instance_size", c_uint64),
        ("instance_alignment", c_uint64),
        ("weight_bytes", c_uint64),
        ("arena_bytes", c_uint64),
        ("init", InitFunction),
        ("message", MessageFunction),
        ("flags", c_uint64),
        ("release", ReleaseFunction),
        ("state_size", c_uint64),
        ("reset", ResetFunction),
        ("copy", CopyFunction),
        ("save", CopyFunction),
        ("restore", RestoreFunction),
        ("seed", SeedFunction),
    ]


def dtype_of_c(code: int, bits: int) -> DType:
    """The dtype of DLPack's code and bits; RuntimeFailure for one that no row has."""
    try:
        return _DTYPES[code, bits]
    except KeyError:
        raise RuntimeFailure(f"the compiled model has unknown element type {code}:{bits}") from None


def text(raw: bytes | None) -> str:
    """A C string of an object; NULL is the empty text."""
    return (raw or b"").decode("utf-8", "replace")


def _value(c: CValueInfo) -> ValueInfo:
    shape = tuple(c.shape[i] for i in range(c.ndim))
    dtype, kind = dtype_of_c(c.code, c.bits), KINDS[c.kind]
    value = None
    if c.value is not None and kind in SCALARS:
        value = SCALARS[kind].from_address(c.value).value
    return ValueInfo(text(c.name), dtype, shape, kind, value)


def _method(c: CMethod) -> MethodDescription:
    return MethodDescription(
        name=text(c.name),
        inputs=tuple(_value(c.inputs[i]) for i in range(c.num_inputs)),
        outputs=tuple(_value(c.outputs[i]) for i in range(c.num_outputs)),
        arguments=text(c.arguments),
        results=text(c.results),
        dim_names=tuple(text(c.dim_names[i]) for i in range(c.num_dims)),
        flops=c.flops,
    )


def model_at(address: int) -> CModel:
    """The descriptor at an address; RuntimeFailure if it is of another ABI version."""
    model = CModel.from_address(address)
    if model.abi_version != ABI_VERSION or model.struct_size != ctypes.sizeof(CModel):
        raise RuntimeFailure(
            f"the compiled model has ABI version {model.abi_version}, this runtime reads version "
            f"{ABI_VERSION}: compile the model again, or load it with the runtime of its compiler"
        )
    return model


def describe(model: CModel) -> ModelDescription:
    """All that the object says about itself."""
    return ModelDescription(
        name=text(model.name),
        methods=tuple(_method(model.methods[i]) for i in range(model.num_methods)),
        instance_size=model.instance_size,
        instance_alignment=model.instance_alignment,
        weight_bytes=model.weight_bytes,
        arena_bytes=model.arena_bytes,
        producer=text(model.producer),
        target_triple=text(model.target_triple),
        target_cpu=text(model.target_cpu),
        cpu_features=tuple(text(model.cpu_features[i]) for i in range(model.num_cpu_features)),
        stateful=bool(model.flags & STATEFUL),
        allocates=bool(model.release),
        state_size=model.state_size,
        draws=bool(model.seed),
    )
