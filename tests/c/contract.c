/* Holds a compiled model against the promises of aot.h, whatever the model computes.
 *
 *     contract MODEL.so          prints "ok", or the promise that is broken
 *
 * For each method without named dims: the descriptor is sound; calls write all of the outputs and
 * nothing around them, leave inputs alone, and give the same bits on two instances, with data that
 * is aligned to its element only, through byte_offset and strides, on any number of threads, and
 * from four threads at once; every field of every tensor is checked; NULL, misaligned and
 * uninitialised instances are refused; a failed call leaves the instance usable. Inputs are small
 * positive numbers, so that they can be indices.
 */
#include "aot_load.h"
#include "aot_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define REQUIRE(condition)                                                                  \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            printf("%s:%d: broken promise, method %s, value %d: %s\n", __FILE__, __LINE__,  \
                   method_name, value_index, #condition);                                   \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

enum { GUARD = 64, MARK = 0xA5, OLD = 0x5A };

static const char *method_name = "";
static int value_index = -1;

/* A tensor with marked memory before and behind its elements. */
typedef struct guarded {
    aot_tensor tensor;
    unsigned char *memory; /* GUARD bytes, elements, GUARD bytes, and room to shift by an element */
    size_t bytes;
    unsigned char *copy; /* of the elements, to compare with */
} guarded;

static size_t byte_count(const aot_value_info *info) {
    size_t bytes = info->dtype.bits / 8;
    for (int32_t d = 0; d < info->ndim; d++) bytes *= (size_t)info->shape[d];
    return bytes;
}

static void fill(guarded *g) {
    static uint32_t state = 1;
    const aot_dtype dtype = g->tensor.dtype;
    unsigned char *data = g->tensor.data;
    for (size_t at = 0; at < g->bytes; at += dtype.bits / 8) {
        state = state * 1664525u + 1013904223u;
        const int number = (int)(state >> 30) & 1; /* 0 or 1: a bool, an index */
        const float real = (float)(state >> 8) / 16777216.0f;
        const double wide = real;
        uint32_t bits;
        memcpy(&bits, &real, 4);
        const uint16_t brain = (uint16_t)(bits >> 16), half = (uint16_t)(0x3000 + (state >> 24));
        memset(data + at, 0, dtype.bits / 8);
        if (dtype.code == AOT_BFLOAT) memcpy(data + at, &brain, 2);
        else if (dtype.code != AOT_FLOAT) data[at] = (unsigned char)number;
        else if (dtype.bits == 16) memcpy(data + at, &half, 2);
        else if (dtype.bits == 32) memcpy(data + at, &real, 4);
        else memcpy(data + at, &wide, 8);
    }
}

static guarded make(const aot_value_info *info) {
    guarded g;
    g.bytes = byte_count(info);
    g.memory = aot_allocate(2 * GUARD + g.bytes + 8, 64);
    g.copy = aot_allocate(g.bytes, 64);
    int64_t *shape = calloc((size_t)info->ndim + 1, sizeof *shape);
    if (!g.memory || !g.copy || !shape) exit(2);
    memset(g.memory, MARK, 2 * GUARD + g.bytes + 8);
    if (info->ndim) memcpy(shape, info->shape, (size_t)info->ndim * sizeof *shape);
    g.tensor = aot_tensor_of(g.memory + GUARD, info->dtype, info->ndim, shape);
    return g;
}

static void release(guarded *g) {
    aot_release(g->memory);
    aot_release(g->copy);
    free(g->tensor.shape);
}

/* Whether the memory around `bytes` elements at `data` still has its marks. */
static int untouched_around(const guarded *g, const unsigned char *data) {
    for (const unsigned char *p = g->memory; p < g->memory + 2 * GUARD + g->bytes + 8; p++)
        if ((p < data || p >= data + g->bytes) && *p != MARK) return 0;
    return 1;
}

typedef struct call {
    const aot_model *model;
    const aot_method *method;
    void *instance;
    guarded *in, *out;
    aot_tensor *inputs, *outputs;
} call;

static aot_status run(const call *c) {
    return c->method->run(c->instance, c->inputs, c->outputs);
}

/* Runs again with clean outputs; they must equal the copies bit for bit. */
static void same_answers(call *c, aot_status expected) {
    for (int32_t i = 0; i < c->method->num_outputs; i++) {
        memset(c->out[i].memory, MARK, 2 * GUARD + c->out[i].bytes + 8);
        memset((char *)c->outputs[i].data + c->outputs[i].byte_offset, OLD, c->out[i].bytes);
    }
    REQUIRE(run(c) == expected);
    for (int32_t i = 0; i < c->method->num_outputs && expected == AOT_OK; i++) {
        value_index = i;
        const unsigned char *data = (unsigned char *)c->outputs[i].data + c->outputs[i].byte_offset;
        REQUIRE(memcmp(data, c->out[i].copy, c->out[i].bytes) == 0);
        REQUIRE(untouched_around(&c->out[i], data));
    }
    for (int32_t i = 0; i < c->method->num_inputs; i++) {
        value_index = i;
        const unsigned char *data = (unsigned char *)c->inputs[i].data + c->inputs[i].byte_offset;
        REQUIRE(memcmp(data, c->in[i].copy, c->in[i].bytes) == 0);
        REQUIRE(untouched_around(&c->in[i], data));
    }
    value_index = -1;
}

/* The outputs hold marks before this call and other bytes before all later ones: an element that a
 * call does not write is found because it differs. */
static aot_status first_answers(call *c) {
    const aot_status status = run(c);
    REQUIRE(status == AOT_OK || status == AOT_FAILED);
    REQUIRE((status == AOT_OK) == (c->model->message(c->instance)[0] == '\0'));
    for (int32_t i = 0; i < c->method->num_outputs; i++)
        memcpy(c->out[i].copy, c->out[i].tensor.data, c->out[i].bytes);
    return status;
}

static void refuse_bad_tensors(call *c) {
    int64_t other[65], strides[65] = {0};
    for (int32_t n = 0; n < c->method->num_inputs + c->method->num_outputs; n++) {
        const int output = n >= c->method->num_inputs;
        aot_tensor *t = output ? &c->outputs[n - c->method->num_inputs] : &c->inputs[n];
        const aot_tensor good = *t;
        const size_t bytes = output ? c->out[n - c->method->num_inputs].bytes : c->in[n].bytes;
        value_index = n;
        for (int kind = 0; kind < 10; kind++) {
            *t = good;
            int32_t d;
            switch (kind) {
            case 0: t->device.type = 2; break;
            case 1: t->ndim++; t->shape = other; memset(other, 0, sizeof other); break;
            case 2: t->ndim = -1; break;
            case 3: t->dtype.code = (uint8_t)(good.dtype.code ^ 1); break;
            case 4: t->dtype.bits = (uint8_t)(good.dtype.bits == 64 ? 32 : 64); break;
            case 5: t->dtype.lanes = 2; break;
            case 6:
                if (bytes == 0) continue;
                t->data = NULL;
                break;
            case 7:
                if (good.ndim == 0) continue;
                t->shape = NULL;
                break;
            case 8:
                if (good.ndim == 0) continue;
                memcpy(other, good.shape, (size_t)good.ndim * sizeof *other);
                other[good.ndim - 1]++;
                t->shape = other;
                break;
            default: /* the last dim with more than one element gets a wrong stride */
                for (d = good.ndim - 1; d >= 0 && good.shape[d] < 2; d--) continue;
                if (d < 0 || bytes == 0) continue;
                for (int32_t k = 0; k < good.ndim; k++) strides[k] = k == d ? 7919 : 1;
                t->strides = strides;
            }
            REQUIRE(run(c) == AOT_INVALID_ARGUMENT);
            REQUIRE(c->model->message(c->instance)[0] != '\0');
        }
        *t = good;
        if (good.dtype.bits > 8 && bytes > 0) {
            t->byte_offset = 1;
            REQUIRE(run(c) == AOT_INVALID_ARGUMENT);
        }
        *t = good;
    }
    value_index = -1;
    if (c->method->num_inputs) REQUIRE(c->method->run(c->instance, NULL, c->outputs) != AOT_OK);
    if (c->method->num_outputs) REQUIRE(c->method->run(c->instance, c->inputs, NULL) != AOT_OK);
}

/* Tensors given in other ways that mean the same. */
static void other_ways(call *c, aot_status expected) {
    int64_t strides[2][64];
    guarded *all[2] = {c->in, c->out};
    aot_tensor *tensors[2] = {c->inputs, c->outputs};
    const int32_t counts[2] = {c->method->num_inputs, c->method->num_outputs};
    for (int way = 0; way < 3; way++) {
        for (int side = 0; side < 2; side++) {
            for (int32_t i = 0; i < counts[side]; i++) {
                guarded *g = &all[side][i];
                aot_tensor *t = &tensors[side][i];
                const int shift = g->tensor.dtype.bits / 8; /* aligned to the element, no more */
                *t = g->tensor;
                memset(g->memory, MARK, 2 * GUARD + g->bytes + 8);
                if (way == 0) t->data = g->memory + GUARD + shift;
                if (way == 1) {
                    t->data = g->memory;
                    t->byte_offset = (uint64_t)(GUARD + shift);
                }
                if (way == 2 && i == 0 && t->ndim > 0) {
                    int64_t stride = 1;
                    for (int32_t d = t->ndim - 1; d >= 0; d--) {
                        strides[side][d] = t->shape[d] == 1 ? -99 : stride;
                        stride *= t->shape[d];
                    }
                    t->strides = strides[side];
                }
                if (side == 0) memcpy((char *)t->data + t->byte_offset, g->copy, g->bytes);
            }
        }
        same_answers(c, expected);
    }
    for (int side = 0; side < 2; side++)
        for (int32_t i = 0; i < counts[side]; i++) {
            guarded *g = &all[side][i];
            memset(g->memory, MARK, 2 * GUARD + g->bytes + 8);
            if (side == 0) memcpy(g->tensor.data, g->copy, g->bytes);
            tensors[side][i] = g->tensor;
        }
}

/* ---- Four threads at once, an instance each, one pool ---- */

typedef struct caller {
    const call *of; /* inputs and expected outputs, only read */
    const aot_options *options;
    const char *complaint;
} caller;

static void *call_often(void *argument) {
    caller *me = argument;
    const call *c = me->of;
    const size_t outputs = (size_t)c->method->num_outputs;
    void *instance = aot_allocate(c->model->instance_size, c->model->instance_alignment);
    aot_tensor *mine = calloc(outputs + 1, sizeof *mine);
    if (!instance || !mine) exit(2);
    for (size_t i = 0; i < outputs; i++) {
        mine[i] = c->out[i].tensor;
        if ((mine[i].data = aot_allocate(c->out[i].bytes, 64)) == NULL) exit(2);
    }
    if (c->model->init(instance, me->options) != AOT_OK) me->complaint = "init failed";
    for (int n = 0; n < 5 && me->complaint == NULL; n++) {
        if (c->method->run(instance, c->inputs, mine) != AOT_OK) me->complaint = "run failed";
        for (size_t i = 0; i < outputs; i++)
            if (memcmp(mine[i].data, c->out[i].copy, c->out[i].bytes) != 0)
                me->complaint = "another answer";
    }
    for (size_t i = 0; i < outputs; i++) aot_release(mine[i].data);
    free(mine);
    aot_release(instance);
    return NULL;
}

static void threads_at_once(const call *c, const aot_options *options) {
    enum { COUNT = 4 };
    pthread_t threads[COUNT];
    caller callers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        callers[i].of = c;
        callers[i].options = i < 2 ? options : NULL; /* two share the pool, two are serial */
        callers[i].complaint = NULL;
        REQUIRE(pthread_create(&threads[i], NULL, call_often, &callers[i]) == 0);
    }
    for (int i = 0; i < COUNT; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < COUNT; i++) REQUIRE(callers[i].complaint == NULL);
}

static void refuse_bad_instances(call *c) {
    void *good = c->instance;
    unsigned char *raw = aot_allocate(c->model->instance_size + 64, 64);
    if (raw == NULL) exit(2);
    memset(raw, 0, c->model->instance_size + 64);
    void *bad[] = {NULL, raw, raw + 8, (char *)good + 16};
    for (int i = 0; i < 4; i++) {
        c->instance = bad[i];
        REQUIRE(run(c) == AOT_INVALID_ARGUMENT);
        REQUIRE(c->model->message(bad[i]) && c->model->message(bad[i])[0]);
    }
    REQUIRE(c->model->init(NULL, NULL) == AOT_INVALID_ARGUMENT);
    REQUIRE(c->model->init(raw + 8, NULL) == AOT_INVALID_ARGUMENT);
    aot_release(raw);
    c->instance = good;
}

static void check_descriptor(const aot_model *m) {
    REQUIRE(m->name && *m->name && m->producer && m->target_triple && m->target_cpu);
    REQUIRE(m->num_methods > 0 && m->methods && m->init && m->message);
    REQUIRE(m->instance_size >= 64 && m->instance_alignment >= 64);
    REQUIRE((m->instance_alignment & (m->instance_alignment - 1)) == 0);
    REQUIRE(m->arena_bytes <= m->instance_size && m->release == NULL && m->flags <= AOT_STATEFUL);
    for (int32_t i = 0; i < m->num_cpu_features; i++) REQUIRE(m->cpu_features[i][0]);
    for (int32_t i = 0; i < m->num_methods; i++) {
        const aot_method *method = &m->methods[i];
        REQUIRE(method->name && *method->name && method->run);
        method_name = method->name;
        REQUIRE(method->arguments && method->results && method->reserved == 0);
        REQUIRE(!method->num_inputs == !method->inputs && !method->num_outputs == !method->outputs);
        for (int32_t n = 0; n < method->num_inputs + method->num_outputs; n++) {
            const int32_t k = n - method->num_inputs;
            const aot_value_info *v = k < 0 ? &method->inputs[n] : &method->outputs[k];
            value_index = n;
            REQUIRE(v->name && *v->name && v->dtype.lanes == 1 && v->reserved == 0);
            REQUIRE(v->ndim >= 0 && v->ndim <= 64 && (v->ndim == 0 || v->shape));
            REQUIRE(v->kind == AOT_KIND_TENSOR || v->ndim == 0);
        }
        value_index = -1;
    }
}

static void check_method(const aot_model *model, const aot_method *method, aot_pool *pool) {
    const aot_options options = aot_pool_options(pool);
    call c = {0};
    c.model = model;
    c.method = method;
    method_name = method->name;
    if (method->num_dims > 0) return;
    c.instance = aot_allocate(model->instance_size, model->instance_alignment);
    c.in = calloc((size_t)method->num_inputs + 1, sizeof *c.in);
    c.out = calloc((size_t)method->num_outputs + 1, sizeof *c.out);
    c.inputs = calloc((size_t)method->num_inputs + 1, sizeof *c.inputs);
    c.outputs = calloc((size_t)method->num_outputs + 1, sizeof *c.outputs);
    if (!c.instance || !c.in || !c.out || !c.inputs || !c.outputs) exit(2);
    memset(c.instance, 0xFF, model->instance_size); /* init must not count on zeros */
    for (int32_t i = 0; i < method->num_inputs; i++) {
        c.in[i] = make(&method->inputs[i]);
        fill(&c.in[i]);
        memcpy(c.in[i].copy, c.in[i].tensor.data, c.in[i].bytes);
        c.inputs[i] = c.in[i].tensor;
    }
    for (int32_t i = 0; i < method->num_outputs; i++) {
        c.out[i] = make(&method->outputs[i]);
        c.outputs[i] = c.out[i].tensor;
    }
    refuse_bad_instances(&c); /* the good one is not initialised yet, but never touched */
    REQUIRE(model->init(c.instance, NULL) == AOT_OK);
    REQUIRE(model->message(c.instance)[0] == '\0');
    const aot_status status = first_answers(&c);
    if (!(model->flags & AOT_STATEFUL)) same_answers(&c, status);
    refuse_bad_instances(&c);
    refuse_bad_tensors(&c);
    REQUIRE(model->init(c.instance, NULL) == AOT_OK); /* back to the start, state too */
    same_answers(&c, status);
    REQUIRE(model->init(c.instance, &options) == AOT_OK);
    same_answers(&c, status); /* the same bits on any number of threads */
    if (!(model->flags & AOT_STATEFUL)) other_ways(&c, status);
    if (!(model->flags & AOT_STATEFUL) && status == AOT_OK) threads_at_once(&c, &options);

    void *second = aot_allocate(model->instance_size, model->instance_alignment);
    if (second == NULL) exit(2);
    memset(second, OLD, model->instance_size);
    REQUIRE(model->init(second, NULL) == AOT_OK);
    aot_release(c.instance);
    c.instance = second;
    same_answers(&c, status);
    aot_release(second);
    for (int32_t i = 0; i < method->num_inputs; i++) release(&c.in[i]);
    for (int32_t i = 0; i < method->num_outputs; i++) release(&c.out[i]);
    free(c.in);
    free(c.out);
    free(c.inputs);
    free(c.outputs);
}

int main(int argc, char **argv) {
    aot_library library;
    aot_pool *pool;
    char message[256];
    if (argc != 2 || aot_pool_create(&pool, 3) != AOT_OK) return 2;
    if (aot_library_open(argv[1], &library, message, sizeof message) != AOT_OK) {
        printf("%s\n", message);
        return 2;
    }
    check_descriptor(library.model);
    for (int32_t m = 0; m < library.model->num_methods; m++)
        check_method(library.model, &library.model->methods[m], pool);
    aot_pool_destroy(pool);
    aot_library_close(&library);
    puts("ok");
    return 0;
}
