/* The C ABI of compiled models. C99 and C++, no library needed, nothing global that changes.
 *
 * A model called NAME is one object file. It defines
 *
 *     const aot_model NAME_model;      what the object holds: methods, types, sizes, required CPU
 *     aot_status NAME_init(...);       makes an instance in memory of the caller
 *     aot_status NAME_METHOD(...);     one typed entry for each method: plain pointers and scalars
 *     const char *NAME_message(...);   what went wrong in the instance's last call
 *
 * and refers to nothing but memcpy, memmove and memset (and malloc and free, where the data decide
 * how large a tensor is; it then defines NAME_release too; and snprintf, where a message has floats
 * of run time in it; puts and dprintf, where the program prints or warns; and C functions that are
 * operators of the program, where you declared some). The typed prototypes are in the generated
 * NAME.h; this header holds what all models share. A shared library also exports its descriptor as
 * `aot_model_entry`, so that one loader (C, C++, Python) runs any model.
 *
 * Ownership, once for all: THE CALLER OWNS ALL MEMORY. The model allocates nothing, frees nothing
 * and keeps no pointer to inputs, outputs or descriptors of tensors after a call returns. One
 * exception, only in models whose aot_model.release is not NULL: an output whose size the data
 * decide (AOT_RUN_TIME_SIZE) lies in memory that the INSTANCE owns. It is valid until the
 * instance's next call, init or release: copy what you want to keep. The instance uses its blocks
 * again and again; release frees them, to be called before the instance's memory goes and before
 * another init. Names, shapes and messages that a model hands out are constants of the object or
 * lie in the instance; never free them; they live as long as the object is loaded and the
 * instance's memory stands.
 *
 * Threads: weights are constants, all that changes is in the instance. Different instances run at
 * the same time without a lock; one instance runs one call at a time.
 *
 * Runtime sources (aot_pool.h, aot_npy.h, aot_load.h) are extra; models never need them.
 */
#ifndef AOT_H
#define AOT_H

#include <stddef.h>
#include <stdint.h>

#ifndef AOT_FREESTANDING /* define it to do without aot_allocate, aot_release and <stdlib.h> */
#include <stdlib.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows by one when a layout or a meaning in this file changes. */
#define AOT_ABI_VERSION 3u

/* ---- Statuses -------------------------------------------------------------------------------
 * Every call that can fail returns one; 0 is success. After a failed call the instance can be used
 * again, the outputs hold unspecified values, and the message function tells more. */

typedef int32_t aot_status;

enum {
    AOT_OK = 0,
    AOT_INVALID_ARGUMENT = 1, /* a null, misaligned or uninitialised pointer; wrong dtype, shape */
    AOT_UNSUPPORTED_CPU = 2,  /* this CPU lacks an instruction set that the object was built for */
    AOT_OUT_OF_MEMORY = 3,    /* only where something allocates: create helpers, the runtime, and
                               * models with tensors of run-time sizes */
    AOT_FAILED = 4,           /* the model raised: an assert, a `raise`, an index out of range; the
                               * message has the text as PyTorch formats it, and the line */
    AOT_IO_ERROR = 5,         /* runtime sources: a file cannot be read or written */
    AOT_INVALID_FILE = 6,     /* runtime sources: not an .npy file, not a compiled model */
    AOT_NOT_FOUND = 7         /* runtime sources: no such file, method or symbol */
};

/* A short English text for a status; a constant, never NULL. */
static inline const char *aot_status_text(aot_status status) {
    switch (status) {
    case AOT_OK: return "ok";
    case AOT_INVALID_ARGUMENT: return "invalid argument";
    case AOT_UNSUPPORTED_CPU: return "this CPU cannot run the model";
    case AOT_OUT_OF_MEMORY: return "out of memory";
    case AOT_FAILED: return "the model raised an error";
    case AOT_IO_ERROR: return "input or output error";
    case AOT_INVALID_FILE: return "invalid file";
    case AOT_NOT_FOUND: return "not found";
    default: return "unknown status";
    }
}

/* ---- Tensors --------------------------------------------------------------------------------
 * aot_tensor is laid out as DLPack's DLTensor: a pointer to either can be used as the other. */

enum { AOT_SIGNED = 0, AOT_UNSIGNED = 1, AOT_FLOAT = 2, AOT_BFLOAT = 4, AOT_BOOL = 6 };

typedef struct aot_dtype {
    uint8_t code;   /* AOT_SIGNED ... AOT_BOOL, DLPack's DLDataTypeCode */
    uint8_t bits;   /* 8, 16, 32, 64; a bool is a byte that holds 0 or 1 */
    uint16_t lanes; /* 1 */
} aot_dtype;

enum { AOT_CPU = 1 }; /* DLPack's kDLCPU */

typedef struct aot_device {
    int32_t type; /* AOT_CPU */
    int32_t id;   /* 0 */
} aot_device;

/* A view of memory that the caller owns. A model takes tensors that are contiguous in C order:
 * strides NULL, or equal to the contiguous ones (dims of size 1 may have any stride). The data
 * begins at (char *)data + byte_offset and needs the alignment of its element type only. A tensor
 * without elements may have data NULL; one without dims may have shape NULL. */
typedef struct aot_tensor {
    void *data;
    aot_device device;
    int32_t ndim;
    aot_dtype dtype;
    int64_t *shape;   /* ndim sizes; a model reads those of inputs and outputs, and writes those of
                       * outputs of run-time sizes only */
    int64_t *strides; /* ndim strides in elements, or NULL: contiguous */
    uint64_t byte_offset;
} aot_tensor;

typedef uint16_t aot_f16;  /* the bits of an IEEE half */
typedef uint16_t aot_bf16; /* the bits of a bfloat16: the upper half of a float */

/* ---- Options of an instance ----------------------------------------------------------------- */

/* Calls task(args, begin, end) on ranges that cover 0 .. count exactly once, on any threads and in
 * any order, and returns when all are done. Tasks do not call it again. Must not be called for
 * count <= 0 or do nothing then. aot_pool.h has one; a host program may give its own. */
typedef void (*aot_task)(void *args, int64_t begin, int64_t end);
typedef void (*aot_parallel_for)(void *pool, aot_task task, void *args, int64_t count);

/* What the program prints (its arguments with blanks between, no newline at the end) and warns of, as
 * UTF-8 that is gone when the callback returns. Called in the thread of the call, in the program's
 * order. Numbers look as TorchScript prints them (1.5, 2., 0.10000000000000001, True); a tensor as
 * `[1.5, 2, 3] f32[3]`: its first 1000 elements in C order with 6 digits, its dtype, its sizes; one
 * whose sizes vary as `<tensor f32[N]>`. Of a string of run time the first 1000 bytes. */
enum { AOT_PRINT = 0, AOT_WARN = 1 };
typedef void (*aot_report)(void *context, int32_t kind, const char *text);

/* All zero: serial, default seed, prints to standard output and warnings to standard error. Copied
 * by init; `pool` and `report_context` stay the caller's and must outlive the instance's last
 * call. */
typedef struct aot_options {
    int64_t threads;               /* how many threads parallel_for has; 0 and 1 mean serial */
    aot_parallel_for parallel_for; /* NULL: serial, whatever `threads` says */
    void *pool;                    /* first argument of parallel_for */
    uint64_t seed;                 /* of the instance's random numbers; 0: the default seed */
    aot_report report;             /* NULL: puts for prints, dprintf to 2 for warnings */
    void *report_context;          /* first argument of report */
} aot_options;

/* ---- What an object says about itself: constants in it --------------------------------------- */

/* A size of an output that the run decides (how many rows a mask selects, half of an image). */
#define AOT_RUN_TIME_SIZE INT64_MIN

enum { AOT_KIND_TENSOR = 0, AOT_KIND_INT = 1, AOT_KIND_FLOAT = 2, AOT_KIND_BOOL = 3,
       AOT_KIND_STRING = 4 };

/* One input or output of a method. A scalar (an int, float or bool of the program) has ndim 0 and
 * dtype i64, f64 or bool; the generic call passes it as a 0-dim tensor, the typed entry by value.
 * shape: ndim sizes, NULL for ndim 0. A negative size -1-k is the method's k-th named dim, known
 * at the call; equal numbers are equal sizes. AOT_RUN_TIME_SIZE: see there. A string has ndim 0 and
 * dtype u8: `data` points to its UTF-8 with a NUL at the end. That of an output is set by the run, to
 * a constant or to a string among the inputs. `value`: NULL, or the
 * one number that a scalar input must have, an int64_t, double or bool by its kind: a method that
 * was compiled for several signatures is chosen by it. */
typedef struct aot_value_info {
    const char *name; /* "x", "state.0" (first member of an argument), "out0" */
    const int64_t *shape;
    int32_t ndim;
    aot_dtype dtype;
    int32_t kind;     /* AOT_KIND_TENSOR ... */
    int32_t reserved; /* 0 */
    const void *value;
} aot_value_info;

/* One method. `arguments` and `results` tell how the flat lists of values make up the method's
 * Python arguments and result; a C program need not look at them:
 *
 *     structure = "T"                                  the next value of the list
 *               | "S"                                  the next value of the list, a string
 *               | "?" structure                        None unless the next value, a bool, is true
 *               | "L"                                  the next value, a tensor, as a list of numbers
 *               | "R"                                  the same as a list of tensors, its rows
 *               | "C"                                  the next value, a tensor of pairs, as complex
 *               | "N"                                  None
 *               | string                               this constant string
 *               | "(" [structure {"," structure}] ")"  tuple: "(T)" has one member, "()" none
 *               | "[" [structure {"," structure}] "]"  list
 *               | "{" [key ":" structure {"," ...}] "}"  dict, in this order
 *               | [name] "(" field "=" structure {"," ...} ")"  named tuple
 *     key       = string | [-] digits
 *     string    = "'" characters "'"                   with \' and \\ for ' and \
 *
 * No blanks. `arguments` is a named tuple without a name: "(x=T,state=(T,T))", or "()".
 *
 * run: the generic call. inputs and outputs are arrays of num_inputs and num_outputs tensors with
 * the dtypes and shapes of the infos, inputs only read, outputs written; no output may overlap an
 * input or another output. Of an output with a size AOT_RUN_TIME_SIZE, `shape` must point to
 * ndim numbers; run writes them, and data, strides and byte_offset, whatever they were: the
 * memory is the instance's, valid until its next call, init or release. Checks the instance, every
 * tensor's device, dtype, ndim, shape, strides, and data; AOT_INVALID_ARGUMENT and a message that
 * names the value if one does not fit.
 *
 * A program may write into a tensor that it is given, as x.add_(1) does. The model only reads its
 * inputs: what the program leaves in them are further outputs, after those that `results` counts,
 * with the names of the inputs. Copy them back where the change is wanted; Python's loader does.
 *
 * A method that was compiled for several signatures is as many rows of one name, next to each other;
 * aot_pick_method finds the row for given inputs. Weights and state are shared. */
typedef struct aot_method {
    const char *name; /* "forward" */
    const aot_value_info *inputs;
    const aot_value_info *outputs;
    int32_t num_inputs;
    int32_t num_outputs;
    const char *arguments;
    const char *results;
    aot_status (*run)(void *instance, const aot_tensor *inputs, aot_tensor *outputs);
    const char *const *dim_names; /* of the named dims; NULL if there are none */
    int32_t num_dims;
    int32_t reserved; /* 0 */
    uint64_t flops;   /* arithmetic operations of one call, as the compiler counts; 0: not known */
} aot_method;

/* aot_model.flags. A model that remembers something from call to call (buffers that calls change,
 * random numbers) gives the same answers only if the calls go to the same instance in order. */
enum { AOT_STATEFUL = 1 };

/* The descriptor, a constant: NAME_model.
 *
 * init: makes an instance in `instance_size` bytes at `instance`, aligned to `instance_alignment`.
 * options may be NULL (all zero). Checks the CPU: AOT_UNSUPPORTED_CPU. Called again, it puts the
 * model's state (buffers that calls change, random numbers) back to the archive's, as NAME_reset does
 * in models that have state. A call that fails leaves the state as it was. Where `release`
 * is NULL there is nothing to tear down: the caller frees or reuses the memory when it likes.
 *
 * release: NULL, or frees the memory that calls allocated for tensors of run-time sizes, outputs
 * included; the instance can be called again. To be called before another init and before the
 * instance's memory is freed. NULL and instances without an init are left alone.
 *
 * reset, copy, save, restore: NULL in models without state. reset puts the state back to the
 * archive's. copy gives `to` the state of `from`; both have been initialised, and `to` keeps its
 * options. save writes the state to state_size bytes, of any alignment; restore reads it, into an
 * instance of the same model in this or another process. The bytes carry a version and what the
 * state is made of: other bytes, or another size, give AOT_INVALID_ARGUMENT and leave the state.
 *
 * seed: NULL in models without random numbers, or begins those of the instance anew: the numbers
 * are those of PyTorch's CPU generator after torch.manual_seed(seed). init and reset begin with the
 * seed of the options. The generator is part of the state that copy, save and restore handle.
 *
 * message: what went wrong in the last init or run of this instance, "" if nothing did; never
 * NULL, valid until the instance's next call. May be called after a failed init. */
typedef struct aot_model {
    uint32_t abi_version; /* AOT_ABI_VERSION; look at nothing else if it is another one */
    uint32_t struct_size; /* sizeof(aot_model) */
    const char *name;     /* "digits" */
    const char *producer; /* "aot 0.1.0" */
    const char *target_triple;
    const char *target_cpu;
    const char *const *cpu_features; /* instruction sets that init asks for: "avx2", "fma" */
    int32_t num_cpu_features;
    int32_t num_methods;
    const aot_method *methods;
    uint64_t instance_size;      /* bytes, the arena included */
    uint64_t instance_alignment; /* a power of two, at least 64 */
    uint64_t weight_bytes;       /* constants in the object, as packed */
    uint64_t arena_bytes;        /* largest scratch memory of a method; part of instance_size */
    aot_status (*init)(void *instance, const aot_options *options);
    const char *(*message)(const void *instance);
    uint64_t flags;       /* AOT_STATEFUL or 0 */
    void (*release)(void *instance);
    uint64_t state_size;  /* bytes of a saved state; 0: nothing is kept from call to call */
    aot_status (*reset)(void *instance);
    aot_status (*copy)(void *to, const void *from);
    aot_status (*save)(const void *instance, void *bytes);
    aot_status (*restore)(void *instance, const void *bytes, uint64_t size);
    aot_status (*seed)(void *instance, uint64_t seed);
} aot_model;

/* ---- Layout, for those who write these structs from a compiler -------------------------------
 * LP64 (x86-64, AArch64), little endian. tests/c/layout.c asserts every figure.
 *
 *   aot_tensor (48, align 8)        data 0, device.type 8, device.id 12, ndim 16, dtype.code 20,
 *                                   dtype.bits 21, dtype.lanes 22, shape 24, strides 32,
 *                                   byte_offset 40
 *     LLVM { ptr, i32, i32, i32, i8, i8, i16, ptr, ptr, i64 }
 *   aot_options (48, align 8)       threads 0, parallel_for 8, pool 16, seed 24, report 32,
 *                                   report_context 40
 *     LLVM { i64, ptr, ptr, i64, ptr, ptr }
 *   aot_value_info (40, align 8)    name 0, shape 8, ndim 16, dtype.code 20, dtype.bits 21,
 *                                   dtype.lanes 22, kind 24, reserved 28, value 32
 *     LLVM { ptr, ptr, i32, i8, i8, i16, i32, i32, ptr }
 *   aot_method (80, align 8)        name 0, inputs 8, outputs 16, num_inputs 24, num_outputs 28,
 *                                   arguments 32, results 40, run 48, dim_names 56, num_dims 64,
 *                                   reserved 68, flops 72
 *     LLVM { ptr, ptr, ptr, i32, i32, ptr, ptr, ptr, ptr, i32, i32, i64 }
 *   aot_model (176, align 8)        abi_version 0, struct_size 4, name 8, producer 16,
 *                                   target_triple 24, target_cpu 32, cpu_features 40,
 *                                   num_cpu_features 48, num_methods 52, methods 56,
 *                                   instance_size 64, instance_alignment 72, weight_bytes 80,
 *                                   arena_bytes 88, init 96, message 104, flags 112,
 *                                   release 120, state_size 128, reset 136, copy 144, save 152,
 *                                   restore 160, seed 168
 *     LLVM { i32, i32, ptr, ptr, ptr, ptr, ptr, i32, i32, ptr, i64, i64, i64, i64, ptr, ptr,
 *            i64, ptr, i64, ptr, ptr, ptr, ptr, ptr }
 *
 * An instance begins with this head (64 bytes); the rest is the object's own business. init writes
 * all of it; every entry checks `model` first, so that memory without an init is refused:
 *
 *   { const aot_model *model; const char *message; aot_options options; }
 *     LLVM { ptr, ptr, i64, ptr, ptr, i64, ptr, ptr }
 *
 * Typed entries: aot_status NAME_METHOD(NAME_instance *instance, ARGUMENTS, RESULTS), values in the
 * order of the infos. Tensor in: const T *; scalar in: int64_t, double, bool by value; tensor or
 * scalar out: T *; tensor out of a run-time size: const T **, int64_t * (set to where the instance
 * has its elements, and to its ndim sizes). T: float, double, aot_f16, aot_bf16, int8_t ...
 * int64_t, uint8_t, bool. Sizes of named dims come last, int64_t each. A null pointer to a value
 * that has elements, a null or misaligned instance, and one without an init give
 * AOT_INVALID_ARGUMENT. Signatures of one method whose prototypes agree and whose numbers tell them
 * apart have one entry; else the others' are called NAME_METHOD_2, NAME_METHOD_3 and so on.
 *
 * message(NULL) and message(instance without an init) are constants that say so. */

/* ---- Conveniences, inline: nothing to link --------------------------------------------------- */

static inline aot_dtype aot_dtype_of(int code, int bits) {
    aot_dtype dtype;
    dtype.code = (uint8_t)code;
    dtype.bits = (uint8_t)bits;
    dtype.lanes = 1;
    return dtype;
}

/* A contiguous view of data. Borrows data and shape: both must outlive it. */
static inline aot_tensor aot_tensor_of(void *data, aot_dtype dtype, int32_t ndim, int64_t *shape) {
    aot_tensor tensor;
    tensor.data = data;
    tensor.device.type = AOT_CPU;
    tensor.device.id = 0;
    tensor.ndim = ndim;
    tensor.dtype = dtype;
    tensor.shape = shape;
    tensor.strides = NULL;
    tensor.byte_offset = 0;
    return tensor;
}

/* Whether the run says where an output is: it is a string or has a size AOT_RUN_TIME_SIZE. */
static inline int aot_is_made(const aot_value_info *info) {
    int32_t i;
    if (info->kind == AOT_KIND_STRING) return 1;
    for (i = 0; i < info->ndim; i++)
        if (info->shape[i] == AOT_RUN_TIME_SIZE) return 1;
    return 0;
}

/* Whether a tensor has the type, sizes and number that an input asks for. */
static inline int aot_fits(const aot_tensor *tensor, const aot_value_info *info) {
    const char *found, *wanted = (const char *)info->value;
    int32_t i;
    if (tensor->ndim != info->ndim || tensor->dtype.code != info->dtype.code ||
        tensor->dtype.bits != info->dtype.bits)
        return 0;
    for (i = 0; i < info->ndim; i++)
        if (tensor->shape == NULL || (info->shape[i] >= 0 && tensor->shape[i] != info->shape[i]))
            return 0;
    if (wanted == NULL) return 1;
    if (tensor->data == NULL) return 0;
    found = (const char *)tensor->data + tensor->byte_offset;
    for (i = 0; i < info->dtype.bits / 8; i++)
        if (found[i] != wanted[i]) return 0;
    return 1;
}

/* The first method of this name whose inputs these tensors fit, or NULL: what picks among the
 * signatures of a method. Its infos then tell what outputs it wants. */
static inline const aot_method *aot_pick_method(const aot_model *model, const char *name,
                                                const aot_tensor *inputs, int32_t num_inputs) {
    int32_t m, i;
    for (m = 0; m < model->num_methods; m++) {
        const aot_method *method = &model->methods[m];
        for (i = 0; name[i] != 0 && name[i] == method->name[i]; i++) continue;
        if (name[i] != method->name[i] || num_inputs != method->num_inputs) continue;
        for (i = 0; i < num_inputs && aot_fits(&inputs[i], &method->inputs[i]); i++) continue;
        if (i == num_inputs) return method;
    }
    return NULL;
}

#ifndef AOT_FREESTANDING

/* size bytes aligned to alignment (a power of two), or NULL: no memory. The caller owns them and
 * gives them back to aot_release, not to free. */
static inline void *aot_allocate(uint64_t size, uint64_t alignment) {
    void *block, *aligned;
    uintptr_t address;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    if ((alignment & (alignment - 1)) != 0 || alignment > SIZE_MAX / 4) return NULL;
    if (size > SIZE_MAX / 2 - alignment - sizeof(void *)) return NULL;
    block = malloc((size_t)(size + alignment + sizeof(void *)));
    if (block == NULL) return NULL;
    address = (uintptr_t)block + sizeof(void *);
    address = (address + (uintptr_t)alignment - 1) & ~((uintptr_t)alignment - 1);
    aligned = (void *)address;
    ((void **)aligned)[-1] = block; /* the word below the aligned memory remembers the block */
    return aligned;
}

/* Gives back what aot_allocate gave; NULL is allowed. */
static inline void aot_release(void *memory) {
    if (memory != NULL) free(((void **)memory)[-1]);
}

#endif /* AOT_FREESTANDING */

#ifdef __cplusplus
}
#endif

#endif /* AOT_H */
