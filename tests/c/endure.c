/* Calls a compiled model many times, its methods by turns, and watches its memory.
 *
 *     endure MODEL.so CALLS       prints the numbers of calls that went well and that the model
 *                                 refused, of messages told, and the growth of the heap and of the
 *                                 resident memory, in bytes, after the first tenth of the calls
 *
 * Inputs and outputs lie in blocks of exactly their size. Integers are small, now and then too large
 * for an index; numbers that choose a signature are those. State is copied, saved and restored on
 * the way. Exit status 1 if something does not keep a promise of aot.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "aot_load.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REQUIRE(condition)                                                              \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);             \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

enum { MOST_DIMS = 64 };

typedef struct value {
    aot_tensor tensor;
    int64_t shape[MOST_DIMS];
    size_t bytes;
    int made; /* by the run */
} value;

static uint64_t state = 88172645463325252u;

static uint64_t number(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static void fill(value *v, const aot_value_info *info) {
    const size_t size = info->dtype.bits / 8u;
    char *data = v->tensor.data;
    if (info->value != NULL) {
        memcpy(data, info->value, size);
        return;
    }
    for (size_t at = 0; at < v->bytes; at += size) {
        const uint64_t bits = number();
        const float real = (float)(bits >> 40) / 8388608.0f - 1.0f;
        const double wide = real;
        const uint16_t half = (uint16_t)(0x3800u + (bits >> 56));
        int64_t whole = (int64_t)(bits >> 62) & 1;
        if (bits % 4096 == 0) whole = 100; /* for most indices too large */
        if (info->dtype.code == AOT_BOOL) whole &= 1;
        if (info->dtype.code == AOT_BFLOAT || (info->dtype.code == AOT_FLOAT && size == 2))
            memcpy(data + at, &half, 2);
        else if (info->dtype.code == AOT_FLOAT)
            memcpy(data + at, size == 4 ? (const void *)&real : (const void *)&wide, size);
        else
            memcpy(data + at, &whole, size); /* little endian */
    }
}

static void make(value *v, const aot_value_info *info) {
    REQUIRE(info->ndim <= MOST_DIMS);
    v->bytes = info->dtype.bits / 8u;
    v->made = info->ndim > 0 && info->shape[0] == AOT_RUN_TIME_SIZE;
    for (int32_t d = 0; d < info->ndim; d++) {
        v->shape[d] = info->shape[d];
        v->bytes *= v->made ? 0 : (size_t)info->shape[d];
    }
    void *data = v->bytes ? malloc(v->bytes) : NULL;
    REQUIRE(data != NULL || v->bytes == 0);
    v->tensor = aot_tensor_of(data, info->dtype, info->ndim, v->shape);
}

static void told(void *context, int32_t kind, const char *text) {
    (void)kind;
    *(long *)context += text[0] != 0;
}

static long resident(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static long heap(void) {
    const struct mallinfo2 info = mallinfo2(); /* counts what free keeps for the thread as used */
    return (long)(info.uordblks + info.hblkhd);
}

static void *instance_of(const aot_model *model, const aot_options *options) {
    void *instance = aot_allocate(model->instance_size, model->instance_alignment);
    REQUIRE(instance != NULL && model->init(instance, options) == AOT_OK);
    return instance;
}

/* Through another instance and back. */
static void move_state(const aot_model *model, void *instance, void *other, char *bytes) {
    if (model->state_size == 0) return;
    REQUIRE(model->copy(other, instance) == AOT_OK && model->save(other, bytes) == AOT_OK);
    REQUIRE(model->restore(instance, bytes, model->state_size - 1) == AOT_INVALID_ARGUMENT);
    REQUIRE(model->restore(instance, bytes, model->state_size) == AOT_OK);
}

int main(int argc, char **argv) {
    char message[256], *bytes;
    long good = 0, refused = 0, messages = 0, before[2] = {0, 0};
    aot_options options = {0};
    aot_library library;
    const long calls = argc == 3 ? atol(argv[2]) : 0;
    if (calls <= 0) return 2;
    if (aot_library_open(argv[1], &library, message, sizeof message) != AOT_OK) {
        fprintf(stderr, "%s\n", message);
        return 2;
    }
    const aot_model *model = library.model;
    const size_t count = (size_t)model->num_methods;
    value **in = calloc(count, sizeof *in), **out = calloc(count, sizeof *out);
    REQUIRE(in != NULL && out != NULL && (bytes = malloc(model->state_size + 1)) != NULL);
    options.report = told;
    options.report_context = &messages;
    void *instance = instance_of(model, &options), *other = instance_of(model, &options);
    for (size_t m = 0; m < count; m++) {
        const aot_method *method = &model->methods[m];
        in[m] = calloc((size_t)method->num_inputs + 1, sizeof(value));
        out[m] = calloc((size_t)method->num_outputs + 1, sizeof(value));
        REQUIRE(in[m] != NULL && out[m] != NULL);
        for (int32_t i = 0; i < method->num_inputs; i++) make(&in[m][i], &method->inputs[i]);
        for (int32_t i = 0; i < method->num_outputs; i++) make(&out[m][i], &method->outputs[i]);
    }
    for (long n = 0; n < calls; n++) {
        const size_t m = (size_t)n % count;
        const aot_method *method = &model->methods[m];
        aot_tensor inputs[64], outputs[64];
        REQUIRE(method->num_inputs <= 64 && method->num_outputs <= 64);
        for (int32_t i = 0; i < method->num_inputs; i++) {
            fill(&in[m][i], &method->inputs[i]);
            inputs[i] = in[m][i].tensor;
        }
        for (int32_t i = 0; i < method->num_outputs; i++) outputs[i] = out[m][i].tensor;
        const aot_status status = method->run(instance, inputs, outputs);
        REQUIRE(status == AOT_OK || status == AOT_FAILED);
        REQUIRE((status == AOT_OK) == (model->message(instance)[0] == 0));
        good += status == AOT_OK;
        refused += status == AOT_FAILED;
        for (int32_t i = 0; i < method->num_outputs && status == AOT_OK; i++) {
            size_t size = method->outputs[i].dtype.bits / 8u; /* every byte can be read */
            unsigned char sum = 0;
            for (int32_t d = 0; d < outputs[i].ndim; d++) size *= (size_t)outputs[i].shape[d];
            for (size_t k = 0; k < size; k++) sum ^= ((unsigned char *)outputs[i].data)[k];
            state += sum & 1; /* valgrind sees it if a byte was never written */
            if (state == 0) state = 1;
        }
        if (n % 1000 == 17) move_state(model, instance, other, bytes);
        if (n % 5000 == 4999 && model->reset != NULL) REQUIRE(model->reset(instance) == AOT_OK);
        if (n == calls / 10) before[1] = resident(), before[0] = heap(); /* in this order */
    }
    printf("%ld %ld %ld %ld %ld\n", good, refused, messages, heap() - before[0],
           resident() - before[1]);
    if (model->release != NULL) model->release(instance), model->release(other);
    for (size_t m = 0; m < count; m++) {
        for (int32_t i = 0; i < model->methods[m].num_inputs; i++) free(in[m][i].tensor.data);
        for (int32_t i = 0; i < model->methods[m].num_outputs; i++) free(out[m][i].tensor.data);
        free(in[m]);
        free(out[m]);
    }
    free(in);
    free(out);
    free(bytes);
    aot_release(instance);
    aot_release(other);
    aot_library_close(&library);
    return 0;
}
