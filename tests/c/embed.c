/* A C99 host of the sample model: typed entries, generic calls, several instances, misuse, a pool.
 * Prints "ok". Linked with sample.o and aot_pool.c. */
#include "sample.h"

#include "aot_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define REQUIRE(condition)                                                             \
    do {                                                                               \
        if (!(condition)) {                                                            \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);             \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static const float input[6] = {1, -1, 2, -3, 4, -5};
static const float relu[6] = {1, 0, 2, 0, 4, 0};

static void misuse(void) {
    float y[6];
    unsigned char *memory = aot_allocate(sample_INSTANCE_SIZE, sample_INSTANCE_ALIGNMENT);
    REQUIRE(memory != NULL);
    memset(memory, 0, sample_INSTANCE_SIZE);
    sample_instance *instance = (sample_instance *)(void *)memory;
    REQUIRE(strstr(sample_message(NULL), "NULL"));
    REQUIRE(strstr(sample_message(instance), "not initialised"));
    REQUIRE(sample_init(NULL, NULL) == AOT_INVALID_ARGUMENT);
    REQUIRE(sample_forward(NULL, input, y) == AOT_INVALID_ARGUMENT);
    REQUIRE(sample_forward(instance, input, y) == AOT_INVALID_ARGUMENT); /* not initialised */
    REQUIRE(sample_init(instance, NULL) == AOT_OK && !*sample_message(instance));
    REQUIRE(sample_forward(instance, NULL, y) == AOT_INVALID_ARGUMENT);
    REQUIRE(strstr(sample_message(instance), "null pointer"));
    REQUIRE(sample_forward(instance, input, y) == AOT_OK && !*sample_message(instance));
    REQUIRE(sample_raise(instance, true) == AOT_FAILED);
    REQUIRE(strstr(sample_message(instance), "sample.py:3"));
    REQUIRE(sample_raise(instance, false) == AOT_OK);
    aot_release(memory);
}

static void generic(void) {
    const aot_model *model = &sample_model;
    const aot_method *forward = &model->methods[0];
    float y[7] = {0};
    float x[7] = {99, 1, -1, 2, -3, 4, -5};
    int64_t shape[] = {2, 3}, wrong[] = {3, 2}, strides[] = {3, 1}, odd[] = {1, 2};
    REQUIRE(model->abi_version == AOT_ABI_VERSION && model->struct_size == sizeof *model);
    void *instance = aot_allocate(model->instance_size, model->instance_alignment);
    REQUIRE(instance != NULL && model->init(instance, NULL) == AOT_OK);
    aot_tensor in = aot_tensor_of(x + 1, aot_dtype_of(AOT_FLOAT, 32), 2, shape);
    aot_tensor out = aot_tensor_of(y, aot_dtype_of(AOT_FLOAT, 32), 2, shape);
    REQUIRE(forward->run(instance, &in, &out) == AOT_OK && !memcmp(y, relu, sizeof relu));

    aot_tensor t = in; /* the same by offset and with strides */
    t.data = x;
    t.byte_offset = sizeof(float);
    t.strides = strides;
    memset(y, 0, sizeof y);
    REQUIRE(forward->run(instance, &t, &out) == AOT_OK && !memcmp(y, relu, sizeof relu));

    aot_tensor bad[9];
    for (int i = 0; i < 9; i++) bad[i] = in;
    bad[0].data = NULL;
    bad[1].ndim = 1;
    bad[2].shape = wrong;
    bad[3].strides = odd;
    bad[4].dtype.bits = 64;
    bad[5].dtype.code = AOT_SIGNED;
    bad[6].device.type = 2;
    bad[7].byte_offset = 1;
    bad[8].dtype.lanes = 2;
    for (int i = 0; i < 9; i++) {
        REQUIRE(forward->run(instance, &bad[i], &out) == AOT_INVALID_ARGUMENT);
        REQUIRE(strstr(model->message(instance), "'x'"));
        REQUIRE(forward->run(instance, &in, &bad[i]) == AOT_INVALID_ARGUMENT);
    }
    REQUIRE(forward->run(instance, NULL, &out) == AOT_INVALID_ARGUMENT);
    REQUIRE(forward->run(instance, &in, NULL) == AOT_INVALID_ARGUMENT);
    REQUIRE(forward->run(NULL, &in, &out) == AOT_INVALID_ARGUMENT);
    REQUIRE(forward->run((char *)instance + 8, &in, &out) == AOT_INVALID_ARGUMENT);
    aot_release(instance);
}

struct caller {
    sample_instance *instance;
    int failed;
};

static void *many_calls(void *args) {
    struct caller *caller = args;
    for (int n = 0; n < 200; n++) {
        float x[1000], y[1000], last;
        int64_t count;
        for (int i = 0; i < 1000; i++) x[i] = (float)(i + n);
        if (sample_square(caller->instance, x, y, &last) != AOT_OK) caller->failed = 1;
        for (int i = 0; i < 1000; i++)
            if (y[i] != (float)(i + n) * (float)(i + n)) caller->failed = 1;
        if (last != y[999]) caller->failed = 1;
        if (sample_count(caller->instance, &count) != AOT_OK || count != n + 1) caller->failed = 1;
    }
    return NULL;
}

/* Four threads with an instance each share one pool. */
static void threads(void) {
    aot_pool *pool;
    pthread_t thread[4];
    struct caller callers[4];
    REQUIRE(aot_pool_create(&pool, 3) == AOT_OK);
    const aot_options options = aot_pool_options(pool);
    for (int i = 0; i < 4; i++) {
        callers[i].failed = 0;
        REQUIRE(sample_create(&callers[i].instance, i ? &options : NULL) == AOT_OK);
    }
    for (int i = 0; i < 4; i++) REQUIRE(!pthread_create(&thread[i], NULL, many_calls, &callers[i]));
    for (int i = 0; i < 4; i++) REQUIRE(!pthread_join(thread[i], NULL));
    for (int i = 0; i < 4; i++) {
        REQUIRE(!callers[i].failed);
        sample_destroy(callers[i].instance);
    }
    aot_pool_destroy(pool);
}

int main(void) {
    sample_instance *instance;
    float y[6];
    REQUIRE(sample_create(&instance, NULL) == AOT_OK);
    REQUIRE(sample_forward(instance, input, y) == AOT_OK && !memcmp(y, relu, sizeof relu));
    const float a[4] = {1, 2, 3, 4};
    const int64_t pair[2] = {10, 20};
    int64_t sum;
    bool flag;
    REQUIRE(sample_mix(instance, a, pair, 0.5, 3, true, y, &sum, &flag) == AOT_OK);
    REQUIRE(y[0] == 3.5f && y[3] == 5.0f && sum == 33 && flag == false);
    REQUIRE(sample_add(instance, a, a, y, 2) == AOT_OK && y[3] == 8.0f);
    REQUIRE(sample_add(instance, NULL, NULL, NULL, 0) == AOT_OK);
    sample_destroy(instance);
    sample_destroy(NULL);
    misuse();
    generic();
    threads();
    puts("ok");
    return 0;
}
