"""The generated C header of a model, OUT.h: one file that a C or C++ program includes.

It carries aot.h in itself (under that file's include guard), so that nothing else is needed, and
below it what is particular to the model: sizes, descriptor, typed entry points.
"""

from __future__ import annotations

from math import prod

from runtime.c_compiler import INCLUDE_DIR
from runtime.description import (
    MethodDescription,
    ModelDescription,
    TypedEntry,
    ValueInfo,
    c_identifier,
    typed_entries,
)

_C_TYPES = {
    "f16": "aot_f16",
    "bf16": "aot_bf16",
    "f32": "float",
    "f64": "double",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "u8": "uint8_t",
    "bool": "bool",
}

# Names that a parameter must not have: words of C and C++, macros of common headers, our types.
_RESERVED = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while bool true false NULL alignas alignof asm typeof nullptr
    static_assert thread_local constexpr
    and and_eq bitand bitor catch class compl concept const_cast consteval constinit co_await
    co_return co_yield decltype delete dynamic_cast explicit export friend mutable namespace new
    noexcept not not_eq operator or or_eq private protected public reinterpret_cast requires
    static_cast template this throw try typeid typename using virtual wchar_t char8_t char16_t
    char32_t xor xor_eq
    linux unix i386 near far min max interface small errno stdin stdout stderr assert complex I
    EOF INFINITY NAN HUGE_VAL BUFSIZ RAND_MAX EXIT_SUCCESS EXIT_FAILURE CHAR_BIT DOMAIN OVERFLOW
    int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ptrdiff_t uintptr_t
    aot_f16 aot_bf16 aot_status aot_tensor aot_options aot_model instance
    """.split()
)


def header_text(model: ModelDescription) -> str:
    """The header of a model, as text."""
    aot_h = (INCLUDE_DIR / "aot.h").read_text("utf-8")
    guard = f"AOT_MODEL_{model.name}_H"
    entries = typed_entries(model)
    prototypes = "\n\n".join(_entry(model, entry) for entry in entries)
    return f"""\
/* The compiled model '{model.name}': made by {_comment(model.producer)}, do not edit.
 * For {_comment(model.target_cpu)} ({_comment(model.target_triple)}).
 *
 * Link the object file, include this header; nothing else is needed. In short:
 *
 *     {model.name}_instance *model;
 *     aot_status status = {model.name}_create(&model, NULL);
 *     if (status != AOT_OK) ... aot_status_text(status) ...
{_usage(model, entries)} *     {model.name}_destroy(model);
 *
 * Ownership: the caller owns all memory{_exception(model)}. Threads: one call at a time for one \
instance; different
 * instances run at the same time. What a status means is in the first part, which all models share.
 */
#ifndef {guard}
#define {guard}

{aot_h.rstrip()}

/* ==== {model.name} {"=" * max(0, 88 - len(model.name))} */

#if AOT_ABI_VERSION != {_abi_version(aot_h)}u
#error "{model.name} was compiled for another version of aot.h than the one included before"
#endif

#ifndef __cplusplus
#include <stdbool.h>
#endif

#ifdef __cplusplus
extern "C" {{
#endif

/* An instance: {model.name}_INSTANCE_SIZE bytes that begin at a multiple of \
{model.name}_INSTANCE_ALIGNMENT.
 * Weights are constants of the object ({model.weight_bytes} bytes) and shared by all instances. */
typedef struct {model.name}_instance {model.name}_instance;
#define {model.name}_INSTANCE_SIZE {model.instance_size}u
#define {model.name}_INSTANCE_ALIGNMENT {model.instance_alignment}u

/* What the model says about itself, for generic callers. */
extern const aot_model {model.name}_model;

/* Makes an instance in memory that the caller owns; options NULL: one thread. Called again, puts
 * the model's state back to the start. AOT_INVALID_ARGUMENT, AOT_UNSUPPORTED_CPU. */
aot_status {model.name}_init({model.name}_instance *instance, const aot_options *options);

/* What went wrong in the instance's last call; "" if nothing did. A constant or in the instance:
 * valid until its next call, never freed. */
const char *{model.name}_message(const {model.name}_instance *instance);
{_state(model)}{_release(model)}{_foreign(model)}
{prototypes}

#ifndef AOT_FREESTANDING

/* Allocates and initialises an instance. The caller owns *instance and gives it to
 * {model.name}_destroy; NULL after a failure. AOT_OUT_OF_MEMORY, and what init returns. */
static inline aot_status {model.name}_create(
    {model.name}_instance **instance, const aot_options *options) {{
    aot_status status = AOT_OUT_OF_MEMORY;
    void *memory = aot_allocate({model.name}_INSTANCE_SIZE, {model.name}_INSTANCE_ALIGNMENT);
    if (memory != NULL) status = {model.name}_init(({model.name}_instance *)memory, options);
    if (status != AOT_OK) {{
        aot_release(memory);
        memory = NULL;
    }}
    *instance = ({model.name}_instance *)memory;
    return status;
}}

/* Frees what {model.name}_create made; NULL is allowed. */
static inline void {model.name}_destroy({model.name}_instance *instance) {{
{_release_call(model)}    aot_release(instance);
}}

#endif /* AOT_FREESTANDING */

#ifdef __cplusplus
}}
#endif

#endif /* {guard} */
"""


def _exception(model: ModelDescription) -> str:
    return (" but outputs of run-time sizes, which are\n * the instance's until its next call, "
            "init, release or destroy" if model.allocates else "")


def _state(model: ModelDescription) -> str:
    """The prototypes that have to do with what an instance keeps from call to call."""
    if not model.state_size:
        return ""
    name = model.name
    return f"""
/* What the instance keeps from call to call. reset puts it back to the start, as init does, and
 * nothing else. copy_state gives it to another instance, which has been initialised. save_state
 * writes {name}_STATE_SIZE bytes, of any alignment; restore_state reads them again, in this process
 * or another, and leaves the state as it was where they are no such. AOT_INVALID_ARGUMENT. */
#define {name}_STATE_SIZE {model.state_size}u
aot_status {name}_reset({name}_instance *instance);
aot_status {name}_copy_state({name}_instance *to, const {name}_instance *from);
aot_status {name}_save_state(const {name}_instance *instance, void *bytes);
aot_status {name}_restore_state({name}_instance *instance, const void *bytes, uint64_t size);
{_seed(model)}"""


def _seed(model: ModelDescription) -> str:
    if not model.draws:
        return ""
    return f"""
/* Begins the instance's random numbers anew: those of PyTorch's CPU generator after
 * torch.manual_seed(seed). init and reset begin with the seed of the options. */
aot_status {model.name}_seed({model.name}_instance *instance, uint64_t seed);
"""


def _release(model: ModelDescription) -> str:
    """The prototype of NAME_release, of models that allocate."""
    if not model.allocates:
        return ""
    return f"""
/* Frees the memory that calls allocated for tensors of run-time sizes, outputs included; the \
instance
 * can be called again. To be called before another init and before the instance's memory goes
 * ({model.name}_destroy does). NULL and an instance without an init are left alone. */
void {model.name}_release({model.name}_instance *instance);
"""


def _foreign(model: ModelDescription) -> str:
    """The prototypes of the C functions that the model calls."""
    if not model.foreign:
        return ""
    lines = "\n".join(f.declaration(_RESERVED) for f in model.foreign)
    return f"""
/* Operators of the program that are C functions: YOU SUPPLY THEM, in a file that is linked with the
 * model's object. Tensors come row-major, with strides; a const one is only read. Of a result, data
 * and sizes are there and the function writes the elements; of what is no tensor, the number.
 * NAME_shape writes the sizes that its operator's rule leaves open. Return AOT_OK; any other status
 * ends the model's call with that status, and *message, if it is set, becomes part of the model's
 * message: a text that stays until the call returns. Functions keep no pointers and are called by
 * several threads at once where several instances run. */
{lines}
"""


def _release_call(model: ModelDescription) -> str:
    return f"    {model.name}_release(instance);\n" if model.allocates else ""


def _abi_version(aot_h: str) -> int:
    """The number in `#define AOT_ABI_VERSION 1u`."""
    (line,) = [s for s in aot_h.splitlines() if s.startswith("#define AOT_ABI_VERSION")]
    return int(line.split()[-1].rstrip("u"))


def _comment(text: str) -> str:
    """A text that cannot end or open the comment around it."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ").replace("\\", "/")


def _usage(model: ModelDescription, entries: list[TypedEntry]) -> str:
    """The comment lines that call the first method."""
    if not model.methods:
        return ""
    names = ", ".join(["model", *_parameters(model.methods[0])])
    return (f" *     status = {entries[0].symbol}({names});\n"
            f" *     if (status != AOT_OK) ... {model.name}_message(model) ...\n")


def _parameters(method: MethodDescription) -> dict[str, str]:
    """The C name of every parameter after the instance -> its declaration, in order."""
    taken = set(_RESERVED)
    declared: dict[str, str] = {}

    def declare(name: str, left: str) -> None:
        c_name = c_identifier(name)
        while c_name in taken:
            c_name += "_"
        taken.add(c_name)
        declared[c_name] = f"{left}{c_name}" if left.endswith("*") else f"{left} {c_name}"

    for value in method.inputs:
        c_type = _C_TYPES[value.dtype.name]
        if value.kind == "str":
            declare(value.name, "const char *")
        else:
            declare(value.name, f"const {c_type} *" if value.kind == "tensor" else c_type)
    results = method.num_results
    for k, value in enumerate(method.outputs):
        c_type = _C_TYPES[value.dtype.name]
        if k >= results:
            declare(f"{value.name}_after", f"{c_type} *")
            continue
        if value.kind == "str":
            declare(value.name, "const char **")
            continue
        declare(value.name, f"const {c_type} **" if value.made else f"{c_type} *")
        if value.made:
            declare(f"{value.name}_shape", "int64_t *")
    for name in method.dim_names:
        declare(name, "int64_t")
    return declared


def _value_line(c_name: str, value: ValueInfo, method: MethodDescription, direction: str) -> str:
    text = value.text(method.dim_names)
    if c_name.endswith("_shape") and value.made and not value.name.endswith("_shape"):
        return f" *   {c_name:<12} {direction:<3} its {len(value.shape)} sizes"
    if value in method.outputs[method.num_results:] and direction == "out":
        text += f", what the program leaves in {value.name}"
    elif value.kind == "tensor" and all(size >= 0 for size in value.shape):
        count = prod(value.shape)
        text += f", {count} element{'s' * (count != 1)}"
    return f" *   {c_name:<12} {direction:<3} {_comment(text)}"


def _entry(model: ModelDescription, entry: TypedEntry) -> str:
    """Comment and prototype of a typed entry."""
    methods = [model.methods[k] for k in entry.methods]
    method = methods[0]
    parameters = _parameters(method)
    values = [(v, "in") for v in method.inputs]
    for v in method.outputs:
        values += [(v, "out")] * (2 if v.made else 1)
    lines = [f"/* The method '{_comment(method.name)}'. Tensors are contiguous in C order; no "
             "output may overlap another tensor."]
    if len(methods) > 1:
        lines += [" * The numbers choose the signature:",
                  *(f" *   {_comment(str(m))}" for m in methods)]
    else:
        lines += [_value_line(n, v, method, way) for n, (v, way) in zip(parameters, values)]
    if any(v.made for v in method.outputs):
        lines += [" *   Where a size is ?, the data decide it: *out is set to elements that the "
                  "instance owns,",
                  " *   valid until its next call, init, release or destroy, and out_shape to all "
                  "sizes. Both may",
                  " *   hold anything before. AOT_OUT_OF_MEMORY where there is no memory for them."]
    if any(v.kind == "str" for v in method.outputs):
        lines += [" *   A string that comes out is a constant of the object, or one that came in."]
    dims = list(parameters)[len(values):]
    lines += [f" *   {c_name:<12} in  the size {_comment(name)}"
              for c_name, name in zip(dims, method.dim_names)]
    lines[-1] += " */"
    opening = f"aot_status {entry.symbol}("
    arguments = [f"{model.name}_instance *instance", *parameters.values()]
    indent = len(opening)
    if indent > 60:  # a long name: the arguments begin on a line of their own
        indent = 4
        opening += "\n" + " " * indent
    return "\n".join(lines) + "\n" + opening + _filled(arguments, indent) + ");"


def _filled(words: list[str], indent: int) -> str:
    """The words with commas between, broken into lines of at most 100 columns."""
    text, column = "", indent
    for i, word in enumerate(words):
        piece = word + ("," if i + 1 < len(words) else "")
        if i and column + 1 + len(piece) > 96:
            text += "\n" + " " * indent
            column = indent
        elif i:
            text += " "
            column += 1
        text += piece
        column += len(piece)
    return text
