/* A model written by hand against aot.h: what the compiler emits, in C. The runtime's tests use it,
 * so that they stand without the compiler. Compiled together with its generated header, sample.h.
 *
 *   forward(x: f32[2,3]) -> f32[2,3]                  relu
 *   mix(a: f32[4], pair: (i64[2], float), n: int, flag: bool) -> {'sum': T, 'more': [T, (T, N)]}
 *   copy(one tensor of each dtype) -> tuple of the same
 *   add(x: f32[N,2], y: f32[N,2]) -> f32[N,2]         a named dim
 *   square(x: f32[1000]) -> Squares(y=f32[1000], last=f32[])    in parallel
 *   count() -> int                                    a state that calls change
 *   raise(x: bool) -> None                            fails if x
 */
#include <string.h>

#include "sample.h"

#define COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))

struct sample_instance {
    const aot_model *model; /* the head that aot.h tells of */
    const char *message;
    aot_options options;
    int64_t calls;
};

static aot_status refuse(void *memory, const char *message) {
    ((struct sample_instance *)memory)->message = message;
    return AOT_INVALID_ARGUMENT;
}

/* 0 if memory holds no instance; else the old message is forgotten. */
static int begin(void *memory) {
    struct sample_instance *instance = memory;
    if (memory == NULL || (uintptr_t)memory % 64 != 0 || instance->model != &sample_model) return 0;
    instance->message = "";
    return 1;
}

/* Whether a tensor has the type that the info asks for; dims learns the named sizes. */
static int fits(const aot_tensor *t, const aot_value_info *info, int64_t *dims) {
    int64_t stride = 1, elements = 1;
    if (t->device.type != AOT_CPU || t->ndim != info->ndim) return 0;
    if (t->dtype.code != info->dtype.code || t->dtype.bits != info->dtype.bits) return 0;
    if (t->dtype.lanes != 1 || (t->ndim > 0 && t->shape == NULL)) return 0;
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        int64_t want = info->shape[d];
        if (want < 0) {
            if (dims[-1 - want] < 0) dims[-1 - want] = t->shape[d];
            want = dims[-1 - want];
        }
        if (t->shape[d] != want || t->shape[d] < 0) return 0;
        elements *= want;
    }
    for (int32_t d = t->ndim - 1; t->strides != NULL && elements != 0 && d >= 0; d--) {
        if (t->shape[d] != 1 && t->strides[d] != stride) return 0;
        stride *= t->shape[d];
    }
    if (elements == 0) return 1;
    if (t->data == NULL) return 0;
    return ((uintptr_t)t->data + t->byte_offset) % (info->dtype.bits / 8u) == 0;
}

static void *data_of(const aot_tensor *t) { return (char *)t->data + t->byte_offset; }

/* ---- forward --------------------------------------------------------------------------------- */

static const int64_t shape_2_3[] = {2, 3};
static const aot_value_info forward_inputs[] = {
    {"x", shape_2_3, 2, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL}};
static const aot_value_info forward_outputs[] = {
    {"out0", shape_2_3, 2, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL}};

aot_status sample_forward(sample_instance *instance, const float *x, float *out0) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (x == NULL || out0 == NULL) return refuse(instance, "forward: a null pointer");
    for (int i = 0; i < 6; i++) out0[i] = x[i] > 0 ? x[i] : 0;
    return AOT_OK;
}

static aot_status run_forward(void *memory, const aot_tensor *in, aot_tensor *out) {
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (in == NULL || out == NULL) return refuse(memory, "forward: no tensors");
    if (!fits(&in[0], &forward_inputs[0], NULL))
        return refuse(memory, "forward: input 0 'x': expected a contiguous f32[2,3]");
    if (!fits(&out[0], &forward_outputs[0], NULL))
        return refuse(memory, "forward: output 0: expected a contiguous f32[2,3]");
    return sample_forward(memory, data_of(&in[0]), data_of(&out[0]));
}

/* ---- mix ------------------------------------------------------------------------------------- */

static const int64_t shape_4[] = {4}, shape_2[] = {2};
static const aot_value_info mix_inputs[] = {
    {"a", shape_4, 1, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL},
    {"pair.0", shape_2, 1, {AOT_SIGNED, 64, 1}, AOT_KIND_TENSOR, 0, NULL},
    {"pair.1", NULL, 0, {AOT_FLOAT, 64, 1}, AOT_KIND_FLOAT, 0, NULL},
    {"n", NULL, 0, {AOT_SIGNED, 64, 1}, AOT_KIND_INT, 0, NULL},
    {"flag", NULL, 0, {AOT_BOOL, 8, 1}, AOT_KIND_BOOL, 0, NULL}};
static const aot_value_info mix_outputs[] = {
    {"out0", shape_4, 1, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL},
    {"out1", NULL, 0, {AOT_SIGNED, 64, 1}, AOT_KIND_INT, 0, NULL},
    {"out2", NULL, 0, {AOT_BOOL, 8, 1}, AOT_KIND_BOOL, 0, NULL}};

aot_status sample_mix(sample_instance *instance, const float *a, const int64_t *pair_0,
                      double pair_1, int64_t n, bool flag, float *out0, int64_t *out1,
                      bool *out2) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (!a || !pair_0 || !out0 || !out1 || !out2)
        return refuse(instance, "mix: a null pointer");
    for (int i = 0; i < 4; i++) out0[i] = (float)(a[i] * pair_1) + (flag ? (float)n : 0);
    *out1 = n + pair_0[0] + pair_0[1];
    *out2 = !flag;
    return AOT_OK;
}

static aot_status run_mix(void *memory, const aot_tensor *in, aot_tensor *out) {
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (in == NULL || out == NULL) return refuse(memory, "mix: no tensors");
    for (int i = 0; i < COUNT(mix_inputs); i++)
        if (!fits(&in[i], &mix_inputs[i], NULL))
            return refuse(memory, "mix: an input does not fit");
    for (int i = 0; i < COUNT(mix_outputs); i++)
        if (!fits(&out[i], &mix_outputs[i], NULL))
            return refuse(memory, "mix: an output does not fit");
    return sample_mix(memory, data_of(&in[0]), data_of(&in[1]), *(double *)data_of(&in[2]),
                      *(int64_t *)data_of(&in[3]), *(unsigned char *)data_of(&in[4]) != 0,
                      data_of(&out[0]), data_of(&out[1]), data_of(&out[2]));
}

/* ---- copy ------------------------------------------------------------------------------------ */

static const int64_t shape_0_3[] = {0, 3};
#define COPY(name, code, bits) {name, shape_2, 1, {code, bits, 1}, AOT_KIND_TENSOR, 0, NULL}
#define COPIES(prefix)                                                                          \
    {                                                                                           \
        COPY(prefix "0", AOT_FLOAT, 32), COPY(prefix "1", AOT_FLOAT, 64),                       \
        COPY(prefix "2", AOT_FLOAT, 16), COPY(prefix "3", AOT_BFLOAT, 16),                      \
        COPY(prefix "4", AOT_SIGNED, 8), COPY(prefix "5", AOT_SIGNED, 16),                      \
        COPY(prefix "6", AOT_SIGNED, 32), COPY(prefix "7", AOT_SIGNED, 64),                     \
        COPY(prefix "8", AOT_UNSIGNED, 8), COPY(prefix "9", AOT_BOOL, 8),                       \
        {prefix "10", shape_0_3, 2, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL},              \
    }
static const aot_value_info copy_inputs[] = COPIES("a"), copy_outputs[] = COPIES("out");

aot_status sample_copy(sample_instance *instance, const float *a0, const double *a1,
                       const aot_f16 *a2, const aot_bf16 *a3, const int8_t *a4, const int16_t *a5,
                       const int32_t *a6, const int64_t *a7, const uint8_t *a8, const bool *a9,
                       const float *a10, float *out0, double *out1, aot_f16 *out2, aot_bf16 *out3,
                       int8_t *out4, int16_t *out5, int32_t *out6, int64_t *out7, uint8_t *out8,
                       bool *out9, float *out10) {
    const void *from[] = {a0, a1, a2, a3, a4, a5, a6, a7, a8, a9};
    void *to[] = {out0, out1, out2, out3, out4, out5, out6, out7, out8, out9};
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    for (int i = 0; i < 10; i++) {
        if (!from[i] || !to[i]) return refuse(instance, "copy: a null pointer");
        memcpy(to[i], from[i], 2u * copy_inputs[i].dtype.bits / 8);
    }
    (void)a10, (void)out10; /* no elements: may be NULL */
    return AOT_OK;
}

static aot_status run_copy(void *memory, const aot_tensor *in, aot_tensor *out) {
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (in == NULL || out == NULL) return refuse(memory, "copy: no tensors");
    for (int i = 0; i < COUNT(copy_inputs); i++) {
        if (!fits(&in[i], &copy_inputs[i], NULL) || !fits(&out[i], &copy_outputs[i], NULL))
            return refuse(memory, "copy: a tensor does not fit");
        if (copy_inputs[i].ndim == 1)
            memcpy(data_of(&out[i]), data_of(&in[i]), 2u * copy_inputs[i].dtype.bits / 8);
    }
    return AOT_OK;
}

/* ---- add ------------------------------------------------------------------------------------- */

static const int64_t shape_n_2[] = {-1, 2};
static const char *const add_dims[] = {"N"};
static const aot_value_info add_inputs[] = {
    {"x", shape_n_2, 2, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL},
    {"y", shape_n_2, 2, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL}};
static const aot_value_info add_outputs[] = {
    {"out0", shape_n_2, 2, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL}};

aot_status sample_add(sample_instance *instance, const float *x, const float *y, float *out0,
                      int64_t N) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (N < 0 || (N > 0 && (!x || !y || !out0))) return refuse(instance, "add: a null pointer");
    for (int64_t i = 0; i < 2 * N; i++) out0[i] = x[i] + y[i];
    return AOT_OK;
}

static aot_status run_add(void *memory, const aot_tensor *in, aot_tensor *out) {
    int64_t dims[] = {-1};
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (in == NULL || out == NULL) return refuse(memory, "add: no tensors");
    if (!fits(&in[0], &add_inputs[0], dims) || !fits(&in[1], &add_inputs[1], dims) ||
        !fits(&out[0], &add_outputs[0], dims))
        return refuse(memory, "add: expected x, y and out0 of type f32[N,2] with one N");
    return sample_add(memory, data_of(&in[0]), data_of(&in[1]), data_of(&out[0]), dims[0]);
}

/* ---- square ---------------------------------------------------------------------------------- */

static const int64_t shape_1000[] = {1000};
static const aot_value_info square_inputs[] = {
    {"x", shape_1000, 1, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL}};
static const aot_value_info square_outputs[] = {
    {"out0", shape_1000, 1, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL},
    {"out1", NULL, 0, {AOT_FLOAT, 32, 1}, AOT_KIND_TENSOR, 0, NULL}};

struct square {
    const float *x;
    float *y;
};

static void square_task(void *args, int64_t begin_index, int64_t end) {
    const struct square *s = args;
    for (int64_t i = begin_index; i < end; i++) s->y[i] = s->x[i] * s->x[i];
}

aot_status sample_square(sample_instance *instance, const float *x, float *out0, float *out1) {
    struct square s = {x, out0};
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (!x || !out0 || !out1) return refuse(instance, "square: a null pointer");
    if (instance->options.parallel_for)
        instance->options.parallel_for(instance->options.pool, square_task, &s, 1000);
    else
        square_task(&s, 0, 1000);
    *out1 = out0[999];
    return AOT_OK;
}

static aot_status run_square(void *memory, const aot_tensor *in, aot_tensor *out) {
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (in == NULL || out == NULL) return refuse(memory, "square: no tensors");
    if (!fits(&in[0], &square_inputs[0], NULL) || !fits(&out[0], &square_outputs[0], NULL) ||
        !fits(&out[1], &square_outputs[1], NULL))
        return refuse(memory, "square: expected f32[1000], f32[1000], f32[]");
    return sample_square(memory, data_of(&in[0]), data_of(&out[0]), data_of(&out[1]));
}

/* ---- count, raise ---------------------------------------------------------------------------- */

static const aot_value_info count_outputs[] = {
    {"out0", NULL, 0, {AOT_SIGNED, 64, 1}, AOT_KIND_INT, 0, NULL}};

aot_status sample_count(sample_instance *instance, int64_t *out0) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (!out0) return refuse(instance, "count: a null pointer");
    ++instance->calls;
#ifdef SAMPLE_STATELESS
    *out0 = 1;
#else
    *out0 = instance->calls;
#endif
    return AOT_OK;
}

static aot_status run_count(void *memory, const aot_tensor *in, aot_tensor *out) {
    (void)in;
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (out == NULL || !fits(&out[0], &count_outputs[0], NULL))
        return refuse(memory, "count: output 0: expected an i64[]");
    return sample_count(memory, data_of(&out[0]));
}

static const aot_value_info raise_inputs[] = {
    {"x", NULL, 0, {AOT_BOOL, 8, 1}, AOT_KIND_BOOL, 0, NULL}};

aot_status sample_raise(sample_instance *instance, bool x) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (!x) return AOT_OK;
    instance->message = "sample.py:3: AssertionError: x must be false";
    return AOT_FAILED;
}

static aot_status run_raise(void *memory, const aot_tensor *in, aot_tensor *out) {
    (void)out;
    if (!begin(memory)) return AOT_INVALID_ARGUMENT;
    if (in == NULL || !fits(&in[0], &raise_inputs[0], NULL))
        return refuse(memory, "raise: input 0 'x': expected a bool[]");
    return sample_raise(memory, *(unsigned char *)data_of(&in[0]) != 0);
}

/* ---- The descriptor -------------------------------------------------------------------------- */

aot_status sample_init(sample_instance *instance, const aot_options *options) {
    static const aot_options serial;
    if (instance == NULL || (uintptr_t)instance % 64 != 0) return AOT_INVALID_ARGUMENT;
    instance->model = &sample_model;
    instance->message = "";
    instance->options = options ? *options : serial;
    instance->calls = 0;
#ifdef SAMPLE_NEEDS_BETTER_CPU
    instance->message = "the CPU lacks avx1024";
    return AOT_UNSUPPORTED_CPU;
#endif
    return AOT_OK;
}

const char *sample_message(const sample_instance *instance) {
    if (instance == NULL) return "the instance is NULL";
    if (instance->model != &sample_model) return "the instance was not initialised";
    return instance->message;
}

/* A saved state is 8 bytes that say so, and the count. */
static const char saved[8] = "sample1";

aot_status sample_reset(sample_instance *instance) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    instance->calls = 0;
    return AOT_OK;
}

aot_status sample_copy_state(sample_instance *to, const sample_instance *from) {
    if (from == NULL || from->model != &sample_model || !begin(to)) return AOT_INVALID_ARGUMENT;
    to->calls = from->calls;
    return AOT_OK;
}

aot_status sample_save_state(const sample_instance *instance, void *bytes) {
    if (instance == NULL || instance->model != &sample_model || bytes == NULL)
        return AOT_INVALID_ARGUMENT;
    memcpy(bytes, saved, sizeof saved);
    memcpy((char *)bytes + sizeof saved, &instance->calls, sizeof instance->calls);
    return AOT_OK;
}

aot_status sample_restore_state(sample_instance *instance, const void *bytes, uint64_t size) {
    if (!begin(instance)) return AOT_INVALID_ARGUMENT;
    if (bytes == NULL || size != sample_STATE_SIZE || memcmp(bytes, saved, sizeof saved) != 0)
        return refuse(instance, "the bytes are no saved state");
    memcpy(&instance->calls, (const char *)bytes + sizeof saved, sizeof instance->calls);
    return AOT_OK;
}

static aot_status reset(void *memory) { return sample_reset(memory); }
static aot_status copy(void *to, const void *from) { return sample_copy_state(to, from); }
static aot_status save(const void *memory, void *bytes) { return sample_save_state(memory, bytes); }
static aot_status restore(void *memory, const void *bytes, uint64_t size) {
    return sample_restore_state(memory, bytes, size);
}
static aot_status init(void *memory, const aot_options *options) {
    return sample_init(memory, options);
}
static const char *message(const void *memory) { return sample_message(memory); }

static const aot_method methods[] = {
    {"forward", forward_inputs, forward_outputs, 1, 1, "(x=T)", "T", run_forward, NULL, 0, 0, 6},
    {"mix", mix_inputs, mix_outputs, 5, 3, "(a=T,pair=(T,T),n=T,flag=T)",
     "{'sum':T,'more':[T,(T,N)]}", run_mix, NULL, 0, 0, 0},
    {"copy", copy_inputs, copy_outputs, 11, 11, "(a0=T,a1=T,a2=T,a3=T,a4=T,a5=T,a6=T,a7=T,a8=T,"
     "a9=T,a10=T)", "(T,T,T,T,T,T,T,T,T,T,T)", run_copy, NULL, 0, 0, 0},
    {"add", add_inputs, add_outputs, 2, 1, "(x=T,y=T)", "T", run_add, add_dims, 1, 0, 0},
    {"square", square_inputs, square_outputs, 1, 2, "(x=T)", "Squares(y=T,last=T)", run_square,
     NULL, 0, 0, 0},
    {"count", NULL, count_outputs, 0, 1, "()", "T", run_count, NULL, 0, 0, 0},
    {"raise", raise_inputs, NULL, 1, 0, "(x=T)", "N", run_raise, NULL, 0, 0, 0}};

static const char *const features[] = {"sse2"};

const aot_model sample_model = {
    AOT_ABI_VERSION, sizeof(aot_model), "sample", "a person", "x86_64-unknown-linux-gnu", "x86-64",
    features, 1, COUNT(methods), methods, sample_INSTANCE_SIZE, 64, 12, 0, init, message,
#ifdef SAMPLE_STATELESS /* so that the loader runs calls at the same time */
    0,
#else
    AOT_STATEFUL,
#endif
    0, sample_STATE_SIZE, reset, copy, save, restore, NULL};
