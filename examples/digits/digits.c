/* Reads handwritten digits with a compiled model; C99, no Python, no PyTorch.
 *
 *     aot-compile digits.pt --name digits -o digits                  # digits.o, digits.h
 *     cc -std=c99 digits.c digits.o aot_npy.c -o digits              # aot_npy.c reads the images
 *     ./digits images.npy labels.npy
 *
 * The model is one function, `digits_forward`: 64 floats in, 10 floats out, the digit is where the
 * largest one is. All memory is ours; the object allocates nothing.
 */
#include "digits.h" /* generated; carries aot.h */

#include "aot_npy.h"

#include <stdio.h>
#include <time.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10, SHOWN = 8, IN_A_ROW = 4, GAP = 3 };

/* Draws up to IN_A_ROW images side by side, two characters a pixel, ink from ' ' to '@'. */
static void draw(const float *images, const int *answers, const int64_t *labels, int count) {
    static const char ink[] = " .:-=+*#%@";
    for (int y = 0; y < SIDE; y++) {
        for (int i = 0; i < count; i++) {
            for (int x = 0; x < SIDE; x++) {
                const float pixel = images[i * PIXELS + y * SIDE + x]; /* 0 to 1 */
                const char c = ink[pixel <= 0 ? 0 : pixel >= 1 ? 9 : (int)(pixel * 9.99f)];
                printf("%c%c", c, c);
            }
            printf("%*s", GAP, "");
        }
        printf("\n");
    }
    for (int i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, answers[i] == labels[i] ? "reads %d" : "reads %d (is %d)",
                 answers[i], (int)labels[i]);
        printf("%-*s", 2 * SIDE + GAP, text);
    }
    printf("\n\n");
}

static int largest(const float *logits) {
    int best = 0;
    for (int k = 1; k < CLASSES; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

/* Reads every image; returns how many were read right, -1 if the model failed. */
static int read_all(const float *images, const int64_t *labels, int64_t count) {
    digits_instance *model;
    int right = 0, answers[IN_A_ROW];
    aot_status status = digits_create(&model, NULL);
    if (status != AOT_OK) {
        fprintf(stderr, "digits: %s\n", aot_status_text(status));
        return -1;
    }
    const clock_t start = clock();
    for (int64_t i = 0; i < count && status == AOT_OK; i++) {
        float logits[CLASSES];
        status = digits_forward(model, images + i * PIXELS, logits);
        right += largest(logits) == labels[i];
    }
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;

    for (int64_t i = 0; i < count && i < SHOWN && status == AOT_OK; i++) {
        float logits[CLASSES];
        const int64_t column = i % IN_A_ROW, first = i - column;
        status = digits_forward(model, images + i * PIXELS, logits);
        answers[column] = largest(logits);
        if (column + 1 == IN_A_ROW || i + 1 == count || i + 1 == SHOWN)
            draw(images + first * PIXELS, answers, labels + first, (int)column + 1);
    }
    if (status != AOT_OK)
        fprintf(stderr, "digits: %s: %s\n", aot_status_text(status), digits_message(model));
    else
        printf("%d of %d digits read right, %.1f microseconds each\n", right, (int)count,
               1e6 * seconds / (double)count);
    digits_destroy(model);
    return status == AOT_OK ? right : -1;
}

static int is_array(const char *path, const aot_npy *array, int code, int bits, int ndim) {
    if (array->dtype.code == code && array->dtype.bits == bits && array->ndim == ndim) return 1;
    fprintf(stderr, "digits: %s: expected %s%d with %d dims\n", path,
            code == AOT_FLOAT ? "float" : "int", bits, ndim);
    return 0;
}

int main(int argc, char **argv) {
    aot_npy images, labels;
    char message[256];
    int result = 1;
    if (argc != 3) {
        fprintf(stderr, "usage: %s IMAGES.npy LABELS.npy\n", argv[0]);
        return 2;
    }
    if (aot_npy_read(argv[1], &images, message, sizeof message) != AOT_OK) {
        fprintf(stderr, "digits: %s\n", message);
        return 2;
    }
    if (aot_npy_read(argv[2], &labels, message, sizeof message) != AOT_OK) {
        fprintf(stderr, "digits: %s\n", message);
        aot_npy_free(&images);
        return 2;
    }
    if (!is_array(argv[1], &images, AOT_FLOAT, 32, 4) ||
        !is_array(argv[2], &labels, AOT_SIGNED, 64, 1)) {
        result = 2;
    } else if (images.shape[1] != 1 || images.shape[2] != SIDE || images.shape[3] != SIDE ||
               images.shape[0] != labels.shape[0] || images.shape[0] < 1) {
        fprintf(stderr, "digits: expected images [N,1,8,8] and N labels\n");
        result = 2;
    } else if (read_all(images.data, labels.data, images.shape[0]) >= 0) {
        result = 0;
    }
    aot_npy_free(&images);
    aot_npy_free(&labels);
    return result;
}
