/* NumPy's .npy files, versions 1 to 3, for every element type of models. Optional: link aot_npy.c.
 *
 * Reading trusts nothing in a file: header lengths, shapes and sizes are checked against each other
 * and against the bytes that are really there before memory is allocated. Big-endian files are
 * swapped, Fortran order is transposed, bools become 0 or 1, and half precision is 'f2'. bfloat16,
 * which NumPy has not, is written as uint16 bits and read from uint16 ('u2': AOT_UNSIGNED, 16) or
 * from the 2-byte void that ml_dtypes writes ('V2': AOT_BFLOAT, 16).
 */
#ifndef AOT_NPY_H
#define AOT_NPY_H

#include "aot.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { AOT_NPY_MAX_DIMS = 64 }; /* as many as NumPy has */

/* An array that aot_npy_read made; C order, native byte order. */
typedef struct aot_npy {
    void *data; /* 64-byte aligned, from aot_allocate; not NULL even if there are no elements */
    aot_dtype dtype;
    int32_t ndim;
    int64_t shape[AOT_NPY_MAX_DIMS];
    int64_t elements;
} aot_npy;

/* Reads a file. On success the caller owns array->data and gives it back with aot_npy_free; on a
 * failure array->data is NULL and `message` (message_size bytes, may be NULL and 0) gets one line
 * that names the file and what is wrong. AOT_NOT_FOUND, AOT_IO_ERROR, AOT_INVALID_FILE,
 * AOT_OUT_OF_MEMORY, AOT_INVALID_ARGUMENT (path or array NULL). */
aot_status aot_npy_read(const char *path, aot_npy *array, char *message, size_t message_size);

/* Frees array->data and sets it to NULL. */
void aot_npy_free(aot_npy *array);

/* A tensor that views the array, which must outlive it. */
aot_tensor aot_npy_view(aot_npy *array);

/* Writes a contiguous tensor (strides NULL), first to a temporary file beside `path`, then renamed:
 * a reader sees the old file or the whole new one. Borrows the tensor. AOT_IO_ERROR,
 * AOT_INVALID_ARGUMENT (NULL, unknown dtype, strided); `message` as above. */
aot_status aot_npy_write(const char *path, const aot_tensor *tensor, char *message,
                         size_t message_size);

#ifdef __cplusplus
}
#endif

#endif /* AOT_NPY_H */
