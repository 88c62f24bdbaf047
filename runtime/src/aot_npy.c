/* Reader and writer of .npy files, see aot_npy.h. C99 and POSIX files.
 *
 * The format (numpy.lib.format): "\x93NUMPY", major, minor, header length (2 bytes in version 1,
 * else 4, little endian), the header: a Python dict literal with exactly the keys 'descr',
 * 'fortran_order' and 'shape', then the elements.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "aot_npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_HEADER = 65536,     /* NumPy itself stops at 10,000 */
    FIRST_PIECE = 1 << 20,  /* bytes allocated at once for a file that does not tell its size */
    TEMPORARY_NAMES = 1000, /* tried before giving up */
    NAME_ROOM = 32          /* for ".tmp-PID-N" */
};

/* ---- Messages -------------------------------------------------------------------------------- */

typedef struct reporter {
    const char *path;
    char *message;
    size_t size;
} reporter;

/* Writes "PATH: ..." and hands the status back. */
__attribute__((format(printf, 3, 4))) static aot_status fail(const reporter *to, aot_status status,
                                                             const char *format, ...) {
    if (to->message == NULL || to->size == 0) return status;
    int used = snprintf(to->message, to->size, "%s: ", to->path);
    if (used >= 0 && (size_t)used < to->size) {
        va_list values;
        va_start(values, format);
        vsnprintf(to->message + used, to->size - (size_t)used, format, values);
        va_end(values);
    }
    return status;
}

/* ---- Header ---------------------------------------------------------------------------------- */

typedef struct header {
    aot_dtype dtype;
    int swapped;
    int fortran;
    int32_t ndim;
    int64_t shape[AOT_NPY_MAX_DIMS];
    int seen[3]; /* descr, fortran_order, shape */
} header;

typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

static void skip_blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

/* Steps over blanks and then `mark` if it is there. */
static int take(cursor *c, char mark) {
    skip_blanks(c);
    if (c->at == c->end || *c->at != mark) return 0;
    c->at++;
    return 1;
}

/* A quoted string without escapes into text; 0 if there is none or it does not fit. */
static int take_string(cursor *c, char *text, size_t room) {
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return 0;
    const char quote = *c->at++;
    size_t length = 0;
    while (c->at < c->end && *c->at != quote) {
        if (length + 1 >= room || *c->at == '\\') return 0;
        text[length++] = *c->at++;
    }
    if (c->at == c->end) return 0;
    c->at++;
    text[length] = '\0';
    return 1;
}

static int take_word(cursor *c, const char *word) {
    const size_t length = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return 0;
    c->at += length;
    return 1;
}

/* A size: decimal digits, below 2^63; an L behind it is Python 2's. */
static int take_size(cursor *c, int64_t *size) {
    skip_blanks(c);
    if (c->at == c->end || *c->at < '0' || *c->at > '9') return 0;
    int64_t value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        const int digit = *c->at - '0';
        if (value > (INT64_MAX - digit) / 10) return 0;
        value = value * 10 + digit;
    }
    if (c->at < c->end && *c->at == 'L') c->at++;
    *size = value;
    return 1;
}

static int host_is_big_endian(void) {
    const uint16_t one = 1;
    return *(const unsigned char *)&one == 0;
}

/* '<f4' and the like. 0 for a type that models have not. */
static int parse_descr(const char *descr, header *h) {
    static const struct {
        char text[3];
        uint8_t code, bits;
    } types[] = {
        {"f2", AOT_FLOAT, 16},    {"f4", AOT_FLOAT, 32},    {"f8", AOT_FLOAT, 64},
        {"i1", AOT_SIGNED, 8},    {"i2", AOT_SIGNED, 16},   {"i4", AOT_SIGNED, 32},
        {"i8", AOT_SIGNED, 64},   {"u1", AOT_UNSIGNED, 8},  {"u2", AOT_UNSIGNED, 16},
        {"b1", AOT_BOOL, 8},      {"V2", AOT_BFLOAT, 16},
    };
    if (strlen(descr) != 3 || strchr("<>|=", descr[0]) == NULL) return 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(descr + 1, types[i].text) != 0) continue;
        if (descr[0] == '|' && types[i].bits > 8 && types[i].code != AOT_BFLOAT) return 0;
        h->dtype = aot_dtype_of(types[i].code, types[i].bits);
        h->swapped = host_is_big_endian() ? descr[0] == '<' : descr[0] == '>';
        return 1;
    }
    return 0;
}

static int take_shape(cursor *c, header *h) {
    if (!take(c, '(')) return 0;
    h->ndim = 0;
    while (!take(c, ')')) {
        if (h->ndim == AOT_NPY_MAX_DIMS) return 0;
        if (!take_size(c, &h->shape[h->ndim])) return 0;
        h->ndim++;
        if (take(c, ',')) continue;
        if (h->ndim < 2) return 0; /* "(3)" is a number, not a tuple */
        if (!take(c, ')')) return 0;
        return 1;
    }
    return 1;
}

/* The dict. The message says which part of it is wrong. */
static aot_status parse_header(const char *text, size_t size, header *h, const reporter *to) {
    cursor c = {text, text + size};
    if (!take(&c, '{')) return fail(to, AOT_INVALID_FILE, "damaged .npy header: no dict");
    while (!take(&c, '}')) {
        char key[16], descr[16];
        int which;
        if (!take_string(&c, key, sizeof key) || !take(&c, ':'))
            return fail(to, AOT_INVALID_FILE, "damaged .npy header: no key");
        if (strcmp(key, "descr") == 0) {
            which = 0;
            skip_blanks(&c);
            if (c.at < c.end && *c.at == '[')
                return fail(to, AOT_INVALID_FILE, "record arrays cannot be an input of a model");
            if (!take_string(&c, descr, sizeof descr))
                return fail(to, AOT_INVALID_FILE, "damaged .npy header: no element type");
            if (!parse_descr(descr, h)) {
                for (char *p = descr; *p; p++) /* it goes to a terminal */
                    if ((unsigned char)*p < 32 || (unsigned char)*p > 126) *p = '?';
                return fail(to, AOT_INVALID_FILE,
                            "element type '%s' is not supported: expected float16/32/64, "
                            "int8/16/32/64, uint8, uint16 (bfloat16's bits) or bool",
                            descr);
            }
        } else if (strcmp(key, "fortran_order") == 0) {
            which = 1;
            h->fortran = take_word(&c, "True");
            if (!h->fortran && !take_word(&c, "False"))
                return fail(to, AOT_INVALID_FILE, "damaged .npy header: fortran_order");
        } else if (strcmp(key, "shape") == 0) {
            which = 2;
            if (!take_shape(&c, h))
                return fail(to, AOT_INVALID_FILE,
                            "damaged .npy header: the shape is no tuple of at most %d sizes",
                            (int)AOT_NPY_MAX_DIMS);
        } else {
            return fail(to, AOT_INVALID_FILE, "damaged .npy header: unknown key");
        }
        if (h->seen[which]++) return fail(to, AOT_INVALID_FILE, "damaged .npy header: key twice");
        if (take(&c, ',')) continue;
        if (take(&c, '}')) break;
        return fail(to, AOT_INVALID_FILE, "damaged .npy header: no comma");
    }
    skip_blanks(&c);
    if (c.at != c.end) return fail(to, AOT_INVALID_FILE, "damaged .npy header: text behind it");
    if (!h->seen[0] || !h->seen[1] || !h->seen[2])
        return fail(to, AOT_INVALID_FILE, "damaged .npy header: a key is missing");
    return AOT_OK;
}

/* Elements and bytes; 0 if they do not fit into an int64 (and so in no memory). */
static int array_size(const header *h, int64_t *elements, int64_t *bytes) {
    int64_t count = 1;
    for (int32_t i = 0; i < h->ndim; i++)
        if (h->shape[i] == 0) count = 0;
    for (int32_t i = 0; i < h->ndim && count != 0; i++) {
        if (h->shape[i] > INT64_MAX / 16 / count) return 0;
        count *= h->shape[i];
    }
    *elements = count;
    *bytes = count * (h->dtype.bits / 8);
    return 1;
}

/* ---- Elements -------------------------------------------------------------------------------- */

/* `bytes` bytes of the file into new memory. A regular file must have them left before they are
 * allocated; from a pipe, memory grows as the data comes. */
static aot_status read_bytes(FILE *file, int64_t bytes, void **data, const reporter *to) {
    struct stat status;
    int64_t room = bytes < FIRST_PIECE ? bytes : FIRST_PIECE;
    if (fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode)) {
        const long at = ftell(file);
        const int64_t left = at < 0 || at > status.st_size ? 0 : (int64_t)status.st_size - at;
        if (left < bytes)
            return fail(to, AOT_INVALID_FILE,
                        "truncated: expected %lld bytes of elements, found %lld", (long long)bytes,
                        (long long)left);
        room = bytes;
    }
    unsigned char *memory = aot_allocate((uint64_t)room, 64);
    int64_t got = 0;
    while (memory != NULL) {
        got += (int64_t)fread(memory + got, 1, (size_t)(room - got), file);
        if (got < room || room == bytes) break;
        const int64_t more = room > bytes / 2 ? bytes : room * 2;
        unsigned char *larger = aot_allocate((uint64_t)more, 64);
        if (larger != NULL) memcpy(larger, memory, (size_t)got);
        aot_release(memory);
        memory = larger;
        room = more;
    }
    if (memory == NULL)
        return fail(to, AOT_OUT_OF_MEMORY, "no memory for %lld bytes", (long long)bytes);
    if (got < bytes) {
        aot_release(memory);
        if (ferror(file)) return fail(to, AOT_IO_ERROR, "cannot be read: %s", strerror(errno));
        return fail(to, AOT_INVALID_FILE, "truncated: expected %lld bytes of elements, found %lld",
                    (long long)bytes, (long long)got);
    }
    *data = memory;
    return AOT_OK;
}

static void swap_bytes(unsigned char *data, int64_t elements, int size) {
    for (int64_t i = 0; i < elements; i++, data += size) {
        for (int a = 0, b = size - 1; a < b; a++, b--) {
            const unsigned char byte = data[a];
            data[a] = data[b];
            data[b] = byte;
        }
    }
}

/* Fortran order to C order, into new memory; NULL: no memory. */
static void *transpose(const unsigned char *data, const header *h, int64_t elements, int size) {
    int64_t strides[AOT_NPY_MAX_DIMS], index[AOT_NPY_MAX_DIMS];
    int64_t stride = size, from = 0;
    unsigned char *result = aot_allocate((uint64_t)(elements * size), 64);
    if (result == NULL) return NULL;
    for (int32_t d = 0; d < h->ndim; d++) {
        strides[d] = stride;
        index[d] = 0;
        if (elements != 0) stride *= h->shape[d];
    }
    for (int64_t i = 0; i < elements; i++) {
        memcpy(result + i * size, data + from, (size_t)size);
        for (int32_t d = h->ndim - 1; d >= 0; d--) {
            from += strides[d];
            if (++index[d] < h->shape[d]) break;
            from -= strides[d] * h->shape[d];
            index[d] = 0;
        }
    }
    return result;
}

static aot_status read_file(FILE *file, aot_npy *array, const reporter *to) {
    unsigned char start[12];
    char *text;
    header h;
    int64_t bytes;
    if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0) {
        if (ferror(file)) return fail(to, AOT_IO_ERROR, "cannot be read: %s", strerror(errno));
        return fail(to, AOT_INVALID_FILE, "not an .npy file");
    }
    if (start[6] < 1 || start[6] > 3)
        return fail(to, AOT_INVALID_FILE, ".npy version %d.%d is not supported: expected 1, 2 or 3",
                    start[6], start[7]);
    uint64_t length = (uint64_t)start[8] | (uint64_t)start[9] << 8;
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2)
            return fail(to, AOT_INVALID_FILE, "truncated in its header");
        length |= (uint64_t)start[10] << 16 | (uint64_t)start[11] << 24;
    }
    if (length > MAX_HEADER)
        return fail(to, AOT_INVALID_FILE, "damaged .npy header: %llu bytes long",
                    (unsigned long long)length);
    text = malloc(length == 0 ? 1 : (size_t)length);
    if (text == NULL) return fail(to, AOT_OUT_OF_MEMORY, "no memory for its header");
    if (fread(text, 1, (size_t)length, file) != length) {
        free(text);
        return fail(to, AOT_INVALID_FILE, "truncated in its header");
    }
    memset(&h, 0, sizeof h);
    aot_status status = parse_header(text, (size_t)length, &h, to);
    free(text);
    if (status != AOT_OK) return status;

    if (!array_size(&h, &array->elements, &bytes))
        return fail(to, AOT_INVALID_FILE, "damaged .npy header: the shape is too large");
    status = read_bytes(file, bytes, &array->data, to);
    if (status != AOT_OK) return status;

    const int size = h.dtype.bits / 8;
    if (h.swapped && size > 1) swap_bytes(array->data, array->elements, size);
    if (h.fortran && h.ndim > 1) {
        void *result = transpose(array->data, &h, array->elements, size);
        aot_release(array->data);
        array->data = result;
        if (result == NULL)
            return fail(to, AOT_OUT_OF_MEMORY, "no memory for %lld bytes", (long long)bytes);
    }
    if (h.dtype.code == AOT_BOOL) {
        unsigned char *bools = array->data;
        for (int64_t i = 0; i < array->elements; i++) bools[i] = bools[i] != 0;
    }
    array->dtype = h.dtype;
    array->ndim = h.ndim;
    memcpy(array->shape, h.shape, sizeof h.shape);
    return AOT_OK;
}

aot_status aot_npy_read(const char *path, aot_npy *array, char *message, size_t message_size) {
    const reporter to = {path, message, message_size};
    if (path == NULL || array == NULL) return AOT_INVALID_ARGUMENT;
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return fail(&to, errno == ENOENT ? AOT_NOT_FOUND : AOT_IO_ERROR, "%s", strerror(errno));
    const aot_status status = read_file(file, array, &to);
    fclose(file);
    return status;
}

void aot_npy_free(aot_npy *array) {
    if (array == NULL) return;
    aot_release(array->data);
    array->data = NULL;
}

aot_tensor aot_npy_view(aot_npy *array) {
    return aot_tensor_of(array->data, array->dtype, array->ndim, array->shape);
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* The header's text, padded so that the elements begin at a multiple of 64. Returns its length with
 * the ten bytes before it, 0 if the tensor has no .npy form. */
static size_t format_header(const aot_tensor *tensor, char *text, size_t room) {
    static const char kinds[] = {[AOT_SIGNED] = 'i', [AOT_UNSIGNED] = 'u', [AOT_FLOAT] = 'f',
                                 [AOT_BFLOAT] = 'u', [AOT_BOOL] = 'b'};
    const aot_dtype dtype = tensor->dtype;
    if (dtype.code >= sizeof kinds || kinds[dtype.code] == 0) return 0;
    if (dtype.bits != 8 && dtype.bits != 16 && dtype.bits != 32 && dtype.bits != 64) return 0;
    if (tensor->ndim < 0 || tensor->ndim > AOT_NPY_MAX_DIMS) return 0;
    for (int32_t i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] < 0) return 0;
    const char order = dtype.bits == 8 ? '|' : host_is_big_endian() ? '>' : '<';
    int used = snprintf(text, room, "%10s{'descr': '%c%c%d', 'fortran_order': False, 'shape': (",
                        "", order, kinds[dtype.code], dtype.bits / 8);
    for (int32_t i = 0; i < tensor->ndim; i++)
        used += snprintf(text + used, room - (size_t)used, "%lld%s", (long long)tensor->shape[i],
                         tensor->ndim == 1 ? "," : i + 1 < tensor->ndim ? ", " : "");
    used += snprintf(text + used, room - (size_t)used, "), }");
    size_t length = (size_t)used;
    while ((length + 1) % 64 != 0) text[length++] = ' ';
    text[length++] = '\n';
    memcpy(text, "\x93NUMPY\x01\x00", 8);
    text[8] = (char)((length - 10) & 255);
    text[9] = (char)((length - 10) >> 8);
    return length;
}

/* Opens a new file beside `path` whose name it puts into `name`; NULL and errno if it cannot. */
static FILE *open_temporary(const char *path, char *name, size_t room) {
    for (int n = 0; n < TEMPORARY_NAMES; n++) {
        snprintf(name, room, "%s.tmp-%ld-%d", path, (long)getpid(), n);
        const int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (descriptor >= 0) {
            FILE *file = fdopen(descriptor, "wb");
            if (file == NULL) {
                close(descriptor);
                remove(name);
            }
            return file;
        }
        if (errno != EEXIST) break;
    }
    return NULL;
}

aot_status aot_npy_write(const char *path, const aot_tensor *tensor, char *message,
                         size_t message_size) {
    const reporter to = {path, message, message_size};
    char header_text[64 + 24 * AOT_NPY_MAX_DIMS + 128];
    uint64_t elements = 1;
    if (path == NULL || tensor == NULL) return AOT_INVALID_ARGUMENT;
    const size_t header_size = format_header(tensor, header_text, sizeof header_text);
    if (header_size == 0 || tensor->strides != NULL)
        return fail(&to, AOT_INVALID_ARGUMENT, "only contiguous tensors can be written");
    for (int32_t i = 0; i < tensor->ndim; i++) elements *= (uint64_t)tensor->shape[i];
    const size_t bytes = (size_t)elements * (tensor->dtype.bits / 8);

    /* A device or pipe (/dev/null, /dev/stdout) is written to, never replaced. */
    struct stat existing;
    const int replace = stat(path, &existing) != 0 || S_ISREG(existing.st_mode);
    const size_t room = strlen(path) + NAME_ROOM;
    char *name = malloc(room);
    if (name == NULL) return fail(&to, AOT_OUT_OF_MEMORY, "no memory");
    FILE *file = replace ? open_temporary(path, name, room) : fopen(path, "wb");
    if (file == NULL) {
        free(name);
        return fail(&to, AOT_IO_ERROR, "cannot be written: %s", strerror(errno));
    }
    int ok = fwrite(header_text, 1, header_size, file) == header_size;
    if (ok && bytes != 0)
        ok = fwrite((const char *)tensor->data + tensor->byte_offset, 1, bytes, file) == bytes;
    int error = errno;
    if (fclose(file) != 0 && ok) { /* the last bytes may meet a full disk only here */
        ok = 0;
        error = errno;
    }
    if (ok && replace && rename(name, path) != 0) {
        ok = 0;
        error = errno;
    }
    if (!ok && replace) remove(name);
    free(name);
    if (!ok) return fail(&to, AOT_IO_ERROR, "cannot be written: %s", strerror(error));
    return AOT_OK;
}
