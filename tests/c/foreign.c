/* Operators of tests/test_foreign_operators.py: C functions that a compiled model calls. */
#include <stdbool.h>
#include <string.h>

#include FOREIGN_HEADER

static int64_t numel(const aot_tensor *x) {
    int64_t n = 1;
    for (int32_t d = 0; d < x->ndim; d++) n *= x->shape[d];
    return n;
}

static bool row_major(const aot_tensor *x) {
    int64_t stride = 1;
    for (int32_t d = x->ndim; d-- > 0;) {
        if (x->strides[d] != stride) return false;
        stride *= x->shape[d];
    }
    return x->byte_offset == 0 && x->device.type == AOT_CPU && x->dtype.lanes == 1;
}

/* x where it is at least lo, else lo. */
aot_status testc_clip(const aot_tensor *x, double lo, aot_tensor *out0, const char **message) {
    const float *from = x->data;
    float *to = out0->data;
    if (lo > 100) {
        *message = "lo is too large";
        return AOT_FAILED;
    }
    if (!row_major(x) || !row_major(out0) || numel(x) != numel(out0)) return 77;
    for (int64_t k = 0; k < numel(x); k++) to[k] = from[k] < (float)lo ? (float)lo : from[k];
    return AOT_OK;
}

/* The positive elements, each n times, and how many there are. */
aot_status testc_positive_shape(const aot_tensor *x, int64_t n, int64_t *out0_sizes,
                                const char **message) {
    const float *from = x->data;
    (void)message;
    out0_sizes[0] = n < 0 ? -9 : 0;
    for (int64_t k = 0; k < numel(x); k++) out0_sizes[0] += from[k] > 0;
    return AOT_OK;
}

aot_status testc_positive(const aot_tensor *x, int64_t n, aot_tensor *out0, int64_t *out1,
                          const char **message) {
    const float *from = x->data;
    float *to = out0->data;
    (void)message;
    *out1 = 0;
    for (int64_t k = 0; k < numel(x); k++) {
        if (!(from[k] > 0)) continue;
        for (int64_t i = 0; i < n; i++) *to++ = from[k];
        ++*out1;
    }
    return *out1 == out0->shape[0] ? AOT_OK : 78;
}

/* A digit for each argument, so that each shows that it came through. */
aot_status testc_all(const aot_tensor *x, const aot_tensor *y, const aot_tensor *zs,
                     int64_t zs_count, int64_t n, double f, bool b, const char *s,
                     const int64_t *i, const double *g, const int64_t *ns, int64_t ns_count,
                     const double *fs, int64_t fs_count, aot_tensor *out0, int64_t *out1,
                     double *out2, bool *out3, const char **message) {
    float *to = out0->data;
    (void)message;
    memset(to, 0, sizeof(float) * (size_t)numel(out0));
    to[0] = ((const float *)x->data)[0];
    to[1] = y == NULL ? -1 : ((const float *)y->data)[0];
    for (int64_t k = 0; k < zs_count; k++) to[2] += ((const float *)zs[k].data)[zs[k].shape[0] - 1];
    to[3] = (float)n;
    to[4] = (float)f;
    to[5] = b ? 1 : 0;
    to[6] = (float)strlen(s);
    to[7] = i == NULL ? -1 : (float)*i;
    to[8] = g == NULL ? -1 : (float)*g;
    for (int64_t k = 0; k < ns_count; k++) to[9] = to[9] * 10 + (float)ns[k];
    for (int64_t k = 0; k < fs_count; k++) to[10] += (float)fs[k];
    *out1 = n + 1;
    *out2 = f * 2;
    *out3 = !b;
    return AOT_OK;
}
