/* Models in shared libraries (`aot-compile --emit lib`), found at run time. Inline: nothing of ours
 * to link, only dlopen (-ldl where the C library is older than glibc 2.34).
 *
 *     aot_library library;
 *     char message[256];
 *     if (aot_library_open("digits.so", &library, message, sizeof message) != AOT_OK) ...
 *     const aot_method *forward = aot_find_method(library.model, "forward");
 *     ... aot_allocate, library.model->init, forward->run ...
 *     aot_library_close(&library);
 *
 * A library is code and runs: open only what you trust.
 */
#ifndef AOT_LOAD_H
#define AOT_LOAD_H

#include "aot.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aot_library {
    void *handle;           /* of dlopen */
    const aot_model *model; /* a constant of the library: gone when it is closed */
} aot_library;

/* Unloads the library. No instance of it may be in use, and its constants are gone. */
static inline void aot_library_close(aot_library *library) {
    if (library->handle != NULL) dlclose(library->handle);
    library->handle = NULL;
    library->model = NULL;
}

/* Loads a library; the caller owns *library and closes it. On a failure both members are NULL and
 * `message` (may be NULL and 0) gets one line. AOT_NOT_FOUND: no such file, or it cannot be loaded;
 * AOT_INVALID_FILE: a library, but no model of this ABI version. A path without '/' is searched for
 * as dlopen does. */
static inline aot_status aot_library_open(const char *path, aot_library *library, char *message,
                                          size_t message_size) {
    aot_status status = AOT_OK;
    library->model = NULL;
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL) {
        const char *why = dlerror();
        if (message != NULL) snprintf(message, message_size, "%s", why ? why : "cannot be loaded");
        return AOT_NOT_FOUND;
    }
    library->model = (const aot_model *)dlsym(library->handle, "aot_model_entry");
    if (library->model == NULL) {
        status = AOT_INVALID_FILE;
        if (message != NULL)
            snprintf(message, message_size, "%s: not a compiled model", path);
    } else if (library->model->abi_version != AOT_ABI_VERSION ||
               library->model->struct_size != sizeof(aot_model)) {
        status = AOT_INVALID_FILE;
        if (message != NULL)
            snprintf(message, message_size, "%s: has ABI version %u, expected %u", path,
                     (unsigned)library->model->abi_version, AOT_ABI_VERSION);
    }
    if (status != AOT_OK) aot_library_close(library);
    return status;
}

/* The method of this name, or NULL. */
static inline const aot_method *aot_find_method(const aot_model *model, const char *name) {
    int32_t m;
    for (m = 0; m < model->num_methods; m++)
        if (strcmp(model->methods[m].name, name) == 0) return &model->methods[m];
    return NULL;
}

#ifdef __cplusplus
}
#endif

#endif /* AOT_LOAD_H */
