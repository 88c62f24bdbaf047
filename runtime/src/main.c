/* The standalone program around one model: .npy files in, .npy files out. `--help` tells how.
 *
 * Compiled with -DAOT_MODEL=SYMBOL, that of the descriptor of the model whose object it is linked
 * with, and with aot_npy.c and aot_pool.c.
 * Exit: 0 fine; 1 the model or the machine failed (CPU, memory, output file, the model raised);
 * 2 the command line or an input file does not fit. Errors go to standard error, one line each.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "aot.h"
#include "aot_npy.h"
#include "aot_pool.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

extern const aot_model AOT_MODEL;

enum { FINE = 0, FAILED = 1, USAGE = 2, WARM_UP = 10, TEXT = 1024 };

static const char *program = "model";

typedef struct command {
    const aot_method *method;
    const char *prefix;
    long bench;
    long threads;
    int help;
    char **inputs; /* points into argv */
    int num_inputs;
} command;

/* Everything a call needs; release() gives it back. */
typedef struct call {
    void *instance;
    aot_pool *pool;
    int64_t *dims;       /* sizes of the method's named dims, -1 until an input tells */
    aot_npy *arrays;     /* what the input files hold */
    aot_tensor *inputs;  /* views of arrays */
    aot_tensor *outputs; /* own their shape, and their data but where its size is of run time */
    int ready;           /* the instance has been initialised */
} call;

/* ---- Texts ----------------------------------------------------------------------------------- */

static const char *dtype_text(aot_dtype dtype) {
    static const struct {
        uint8_t code, bits;
        const char *text;
    } names[] = {
        {AOT_FLOAT, 16, "f16"}, {AOT_FLOAT, 32, "f32"},   {AOT_FLOAT, 64, "f64"},
        {AOT_SIGNED, 8, "i8"},  {AOT_SIGNED, 16, "i16"},  {AOT_SIGNED, 32, "i32"},
        {AOT_SIGNED, 64, "i64"}, {AOT_UNSIGNED, 8, "u8"}, {AOT_UNSIGNED, 16, "u16"},
        {AOT_BFLOAT, 16, "bf16"}, {AOT_BOOL, 8, "bool"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == dtype.code && names[i].bits == dtype.bits) return names[i].text;
    return "unknown";
}

/* "f32[1,3,N]". A negative size is a named dim; `method` may be NULL where there are none. */
static const char *type_text(aot_dtype dtype, int32_t ndim, const int64_t *shape,
                             const aot_method *method, char *text) {
    size_t used = (size_t)snprintf(text, TEXT, "%s[", dtype_text(dtype));
    for (int32_t i = 0; i < ndim && used < TEXT; i++) {
        const char *comma = i ? "," : "";
        const int64_t k = -1 - shape[i];
        if (shape[i] == AOT_RUN_TIME_SIZE)
            used += (size_t)snprintf(text + used, TEXT - used, "%s?", comma);
        else if (shape[i] < 0 && method != NULL && k < method->num_dims)
            used += (size_t)snprintf(text + used, TEXT - used, "%s%s", comma, method->dim_names[k]);
        else
            used += (size_t)snprintf(text + used, TEXT - used, "%s%lld", comma,
                                     (long long)shape[i]);
    }
    if (used < TEXT) snprintf(text + used, TEXT - used, "]");
    return text;
}

static const char *info_text(const aot_value_info *info, const aot_method *method, char *text) {
    static const char *const kinds[] = {"", "int", "float", "bool", "str"};
    if (info->value != NULL && info->kind == AOT_KIND_INT)
        snprintf(text, TEXT, "int=%lld", (long long)*(const int64_t *)info->value);
    else if (info->value != NULL && info->kind == AOT_KIND_FLOAT)
        snprintf(text, TEXT, "float=%.17g", *(const double *)info->value);
    else if (info->value != NULL)
        snprintf(text, TEXT, "bool=%s", *(const unsigned char *)info->value ? "true" : "false");
    if (info->value != NULL) return text;
    if (info->kind > AOT_KIND_TENSOR && info->kind <= AOT_KIND_STRING) return kinds[info->kind];
    return type_text(info->dtype, info->ndim, info->shape, method, text);
}

static void print_help(const aot_model *model) {
    char text[TEXT];
    printf("usage: %s [--bench N] [--threads N] [--method NAME] [-o PREFIX] INPUT...\n"
           "\n"
           "Runs the compiled model '%s' (%s, for %s).\n"
           "An INPUT is an .npy file or, for an int, float or bool, the value itself.\n"
           "\n"
           "  -o PREFIX      write the outputs to PREFIX.0.npy, PREFIX.1.npy ... (default: out)\n"
           "  --bench N      then run N times more and print the median and minimum time\n"
           "  --threads N    run on N threads; 0: on all CPUs (default: 1)\n"
           "  --method NAME  the method to run (default: the first)\n"
           "  --help         print this text\n"
           "\n"
           "methods:\n",
           program, model->name, model->producer, model->target_cpu);
    for (int32_t m = 0; m < model->num_methods; m++) {
        const aot_method *method = &model->methods[m];
        printf("  %s\n", method->name);
        for (int32_t i = 0; i < method->num_inputs; i++)
            printf("    input %d   %s: %s\n", i, method->inputs[i].name,
                   info_text(&method->inputs[i], method, text));
        for (int32_t i = 0; i < method->num_outputs; i++)
            printf("    output %d  %s: %s\n", i, method->outputs[i].name,
                   info_text(&method->outputs[i], method, text));
    }
}

/* ---- Command line ---------------------------------------------------------------------------- */

static int parse_count(const char *option, const char *text, long least, long most, long *value) {
    char *end;
    errno = 0;
    *value = text == NULL ? 0 : strtol(text, &end, 10);
    if (text != NULL && *text != '\0' && *end == '\0' && errno == 0 && *value >= least &&
        *value <= most)
        return FINE;
    fprintf(stderr, "%s: %s: expected a number from %ld to %ld, found %s\n", program, option, least,
            most, text == NULL ? "nothing" : text);
    return USAGE;
}

static const aot_method *find_method(const aot_model *model, const char *name) {
    for (int32_t m = 0; m < model->num_methods; m++)
        if (strcmp(model->methods[m].name, name) == 0) return &model->methods[m];
    fprintf(stderr, "%s: --method: the model has no method '%s', only", program, name);
    for (int32_t m = 0; m < model->num_methods; m++)
        fprintf(stderr, "%s %s", m ? "," : "", model->methods[m].name);
    fprintf(stderr, "\n");
    return NULL;
}

/* argv into *c; the inputs are moved to the front of argv + 1. */
static int parse_command(const aot_model *model, int argc, char **argv, command *c) {
    int only_inputs = 0;
    c->method = &model->methods[0];
    c->prefix = "out";
    c->threads = 1;
    c->inputs = argv + 1;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        const int number = isdigit((unsigned char)word[0]) ||
                           (word[0] == '-' && (isdigit((unsigned char)word[1]) || word[1] == '.'));
        if (only_inputs || word[0] != '-' || number) {
            c->inputs[c->num_inputs++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_inputs = 1;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            c->help = 1;
        } else if (strcmp(word, "--bench") == 0) {
            if (parse_count(word, value, 1, 1000000000, &c->bench) != FINE) return USAGE;
            i++;
        } else if (strcmp(word, "--threads") == 0) {
            if (parse_count(word, value, 0, 1024, &c->threads) != FINE) return USAGE;
            i++;
        } else if (strcmp(word, "-o") == 0 || strcmp(word, "--method") == 0) {
            if (value == NULL) {
                fprintf(stderr, "%s: %s: expected a name\n", program, word);
                return USAGE;
            }
            if (word[1] == 'o') c->prefix = value;
            else if ((c->method = find_method(model, value)) == NULL) return USAGE;
            i++;
        } else {
            fprintf(stderr, "%s: unknown option %s, see --help\n", program, word);
            return USAGE;
        }
    }
    return FINE;
}

/* ---- Inputs and outputs ---------------------------------------------------------------------- */

/* The text of an int, float, bool or string into *array; 0 if it is not one. */
static int parse_scalar(const char *text, const aot_value_info *info, aot_npy *array) {
    char *end = NULL;
    errno = 0;
    const long long integer = strtoll(text, &end, 10);
    const int is_integer = *text != '\0' && *end == '\0' && errno == 0;
    const double real = strtod(text, &end);
    const int is_real = *text != '\0' && *end == '\0';
    const int is_true = strcmp(text, "true") == 0 || strcmp(text, "True") == 0;
    const int is_false = strcmp(text, "false") == 0 || strcmp(text, "False") == 0;
    if (info->kind == AOT_KIND_INT ? !is_integer
        : info->kind == AOT_KIND_FLOAT ? !is_real
        : info->kind == AOT_KIND_BOOL ? !is_true && !is_false
                                      : info->kind != AOT_KIND_STRING)
        return 0;
    memset(array, 0, sizeof *array);
    array->data = aot_allocate(info->kind == AOT_KIND_STRING ? strlen(text) + 1 : 8, 64);
    if (array->data == NULL) return 0;
    array->dtype = info->dtype;
    array->elements = 1;
    if (info->kind == AOT_KIND_STRING) strcpy(array->data, text);
    else if (info->kind == AOT_KIND_INT) *(int64_t *)array->data = integer;
    else if (info->kind == AOT_KIND_FLOAT) *(double *)array->data = real;
    else *(unsigned char *)array->data = (unsigned char)is_true;
    return 1;
}

static int same_dtype(aot_dtype found, aot_dtype expected) {
    if (found.bits != expected.bits) return 0;
    return found.code == expected.code ||
           (expected.code == AOT_BFLOAT && found.code == AOT_UNSIGNED);
}

static const char *scalar_text(int32_t kind) {
    return kind == AOT_KIND_INT     ? "an int of 64 bits"
           : kind == AOT_KIND_FLOAT ? "a float"
                                    : "true or false";
}

/* Compares what a file holds with what the method takes, and learns the named dims. */
static int check_input(const command *c, call *k, int32_t index, const char *source) {
    const aot_value_info *info = &c->method->inputs[index];
    aot_npy *array = &k->arrays[index];
    char expected[TEXT], found[TEXT];
    int fits = same_dtype(array->dtype, info->dtype) && array->ndim == info->ndim;
    for (int32_t d = 0; fits && d < info->ndim; d++) {
        int64_t want = info->shape[d];
        if (want < 0) {
            int64_t *dim = &k->dims[-1 - want];
            if (*dim < 0) *dim = array->shape[d];
            want = *dim;
        }
        fits = array->shape[d] == want;
    }
    if (fits) return FINE;
    fprintf(stderr, "%s: %s: input %d '%s': expected %s, found %s\n", program, source, index,
            info->name, info_text(info, c->method, expected),
            type_text(array->dtype, array->ndim, array->shape, NULL, found));
    for (int32_t d = 0; d < c->method->num_dims; d++)
        if (k->dims[d] >= 0)
            fprintf(stderr, "  where %s is %lld\n", c->method->dim_names[d], (long long)k->dims[d]);
    return USAGE;
}

static int read_inputs(const command *c, call *k) {
    const aot_method *method = c->method;
    char message[TEXT];
    int result = FINE;
    if (c->num_inputs != method->num_inputs) {
        fprintf(stderr, "%s: expected %d inputs, found %d\n", program, method->num_inputs,
                c->num_inputs);
        for (int32_t i = 0; i < method->num_inputs; i++)
            fprintf(stderr, "  input %d '%s': %s\n", i, method->inputs[i].name,
                    info_text(&method->inputs[i], method, message));
        return USAGE;
    }
    for (int32_t i = 0; i < method->num_inputs; i++) { /* all of them: every problem is told */
        const char *source = c->inputs[i];
        if (!parse_scalar(source, &method->inputs[i], &k->arrays[i])) {
            const aot_value_info *info = &method->inputs[i];
            const aot_status status = aot_npy_read(source, &k->arrays[i], message, sizeof message);
            if (status == AOT_NOT_FOUND && info->kind != AOT_KIND_TENSOR)
                fprintf(stderr, "%s: input %d '%s': expected an .npy file or %s, found %s\n",
                        program, i, info->name, scalar_text(info->kind), source);
            else if (status != AOT_OK)
                fprintf(stderr, "%s: %s\n", program, message);
            if (status != AOT_OK) {
                result = USAGE;
                continue;
            }
        }
        if (check_input(c, k, i, source) != FINE) result = USAGE;
        k->arrays[i].dtype = method->inputs[i].dtype; /* uint16 bits become bfloat16 */
        k->inputs[i] = aot_npy_view(&k->arrays[i]);
    }
    return result;
}

/* Whether a word of the command line fits an input of a method that may be another one. */
static int word_fits(const char *source, const aot_value_info *info) {
    aot_npy array = {0};
    char message[TEXT];
    int fits = parse_scalar(source, info, &array) ||
               aot_npy_read(source, &array, message, sizeof message) == AOT_OK;
    if (fits && same_dtype(array.dtype, info->dtype)) {
        array.dtype = info->dtype;
        const aot_tensor view = aot_npy_view(&array);
        fits = aot_fits(&view, info);
    } else {
        fits = 0;
    }
    aot_npy_free(&array);
    return fits;
}

/* Of a method that was compiled for several signatures, takes the first that the inputs fit. */
static int pick_signature(const aot_model *model, command *c) {
    const char *name = c->method->name;
    char text[TEXT];
    int count = 0;
    for (int32_t m = 0; m < model->num_methods; m++)
        count += strcmp(model->methods[m].name, name) == 0;
    if (count == 1) return FINE;
    for (int32_t m = 0; m < model->num_methods; m++) {
        const aot_method *method = &model->methods[m];
        int32_t i = 0;
        if (strcmp(method->name, name) != 0 || method->num_inputs != c->num_inputs) continue;
        while (i < method->num_inputs && word_fits(c->inputs[i], &method->inputs[i])) i++;
        if (i < method->num_inputs) continue;
        c->method = method;
        return FINE;
    }
    fprintf(stderr, "%s: the inputs fit no signature of %s; it takes one of\n", program, name);
    for (int32_t m = 0; m < model->num_methods; m++) {
        const aot_method *method = &model->methods[m];
        if (strcmp(method->name, name) != 0) continue;
        for (int32_t i = 0; i < method->num_inputs; i++)
            fprintf(stderr, "%s%s: %s", i ? ", " : "  ", method->inputs[i].name,
                    info_text(&method->inputs[i], method, text));
        fprintf(stderr, "%s\n", method->num_inputs == 0 ? "  nothing" : "");
    }
    return USAGE;
}

static int make_outputs(const aot_method *method, call *k) {
    for (int32_t i = 0; i < method->num_outputs; i++) {
        const aot_value_info *info = &method->outputs[i];
        uint64_t bytes = info->dtype.bits / 8;
        int64_t *shape = calloc((size_t)info->ndim + 1, sizeof *shape);
        if (shape == NULL) return FAILED;
        k->outputs[i] = aot_tensor_of(NULL, info->dtype, info->ndim, shape);
        if (aot_is_made(info)) continue; /* the run makes it */
        for (int32_t d = 0; d < info->ndim; d++) {
            shape[d] = info->shape[d] < 0 ? k->dims[-1 - info->shape[d]] : info->shape[d];
            if (shape[d] < 0) return FAILED;
            if (shape[d] != 0 && bytes > UINT64_MAX / (uint64_t)shape[d]) return FAILED;
            bytes *= (uint64_t)shape[d];
        }
        k->outputs[i].data = aot_allocate(bytes, 64);
        if (k->outputs[i].data == NULL) return FAILED;
    }
    return FINE;
}

static int write_outputs(const command *c, const call *k) {
    char text[TEXT];
    const size_t room = strlen(c->prefix) + 32;
    char *path = malloc(room);
    int result = path == NULL ? FAILED : FINE;
    for (int32_t i = 0; result == FINE && i < c->method->num_outputs; i++) {
        const aot_tensor *out = &k->outputs[i];
        if (c->method->outputs[i].kind == AOT_KIND_STRING) {
            printf("%s: %s\n", c->method->outputs[i].name, (const char *)out->data);
            continue;
        }
        snprintf(path, room, "%s.%d.npy", c->prefix, i);
        if (aot_npy_write(path, out, text, sizeof text) != AOT_OK) {
            fprintf(stderr, "%s: %s\n", program, text);
            result = FAILED;
        } else {
            printf("%s: %s -> %s\n", c->method->outputs[i].name,
                   type_text(out->dtype, out->ndim, out->shape, NULL, text), path);
        }
    }
    free(path);
    return result;
}

/* ---- Running --------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static int model_failed(const aot_model *model, const call *k, aot_status status) {
    const char *message = model->message(k->instance);
    fprintf(stderr, "%s: %s%s%s\n", program, aot_status_text(status), *message ? ": " : "",
            message);
    return FAILED;
}

static int bench(const aot_model *model, const command *c, const call *k) {
    double *times = malloc((size_t)c->bench * sizeof *times);
    aot_status status = AOT_OK;
    if (times == NULL) {
        fprintf(stderr, "%s: no memory for %ld times\n", program, c->bench);
        return FAILED;
    }
    for (long i = 0; i < WARM_UP && i < c->bench && status == AOT_OK; i++)
        status = c->method->run(k->instance, k->inputs, k->outputs);
    for (long i = 0; i < c->bench && status == AOT_OK; i++) {
        const double start = milliseconds();
        status = c->method->run(k->instance, k->inputs, k->outputs);
        times[i] = milliseconds() - start;
    }
    if (status == AOT_OK) {
        const long half = c->bench / 2;
        qsort(times, (size_t)c->bench, sizeof *times, compare_doubles);
        const double median = c->bench % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
        printf("bench: %ld runs, median %.4f ms, minimum %.4f ms", c->bench, median, times[0]);
        if (c->method->flops > 0 && median > 0)
            printf(", %.1f GFLOP/s", (double)c->method->flops / (median * 1e6));
        printf("\n");
    }
    free(times);
    return status == AOT_OK ? FINE : model_failed(model, k, status);
}

static int execute(const aot_model *model, command *c, call *k) {
    if (pick_signature(model, c) != FINE) return USAGE;
    const aot_method *method = c->method;
    const size_t inputs = (size_t)method->num_inputs, outputs = (size_t)method->num_outputs;
    aot_options options = {0};
    k->instance = aot_allocate(model->instance_size, model->instance_alignment);
    k->dims = calloc((size_t)method->num_dims + 1, sizeof *k->dims);
    k->arrays = calloc(inputs + 1, sizeof *k->arrays);
    k->inputs = calloc(inputs + 1, sizeof *k->inputs);
    k->outputs = calloc(outputs + 1, sizeof *k->outputs);
    if (!k->instance || !k->dims || !k->arrays || !k->inputs || !k->outputs) {
        fprintf(stderr, "%s: no memory: the model needs %llu bytes\n", program,
                (unsigned long long)model->instance_size);
        return FAILED;
    }
    for (int32_t d = 0; d < method->num_dims; d++) k->dims[d] = -1;
    int result = read_inputs(c, k);
    if (result != FINE) return result;
    if (make_outputs(method, k) != FINE) {
        fprintf(stderr, "%s: no memory for the outputs\n", program);
        return FAILED;
    }
    if (c->threads != 1) {
        if (aot_pool_create(&k->pool, c->threads) != AOT_OK) {
            fprintf(stderr, "%s: %ld threads cannot be started\n", program, c->threads);
            return FAILED;
        }
        options = aot_pool_options(k->pool);
    }
    aot_status status = model->init(k->instance, &options);
    k->ready = status == AOT_OK;
    if (status == AOT_OK) status = method->run(k->instance, k->inputs, k->outputs);
    if (status != AOT_OK) return model_failed(model, k, status);
    result = write_outputs(c, k);
    if (result == FINE && c->bench > 0) result = bench(model, c, k);
    return result;
}

static void release(const aot_model *model, const aot_method *method, call *k) {
    aot_pool_destroy(k->pool);
    for (int32_t i = 0; k->arrays && i < method->num_inputs; i++) aot_npy_free(&k->arrays[i]);
    for (int32_t i = 0; k->outputs && i < method->num_outputs; i++) {
        const aot_value_info *info = &method->outputs[i];
        if (!aot_is_made(info)) aot_release(k->outputs[i].data);
        free(k->outputs[i].shape);
    }
    free(k->outputs);
    free(k->inputs);
    free(k->arrays);
    free(k->dims);
    if (k->ready && model->release != NULL) model->release(k->instance);
    aot_release(k->instance);
}

int main(int argc, char **argv) {
    const aot_model *model = &AOT_MODEL;
    command c = {0};
    call k = {0};
    if (argc > 0) program = argv[0];
    int result = parse_command(model, argc, argv, &c);
    if (result == FINE && c.help) {
        print_help(model);
    } else if (result == FINE) {
        result = execute(model, &c, &k);
        release(model, c.method, &k);
    }
    if (fflush(stdout) != 0 && result == FINE) {
        fprintf(stderr, "%s: standard output cannot be written: %s\n", program, strerror(errno));
        result = FAILED;
    }
    return result;
}
