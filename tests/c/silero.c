/* Runs a voice detector over a recorded stream and compares: silero signal.bin expected.bin.
 *
 * signal.bin: for each chunk an int64 rate, an int64 that asks for a reset before it, and its
 * samples; expected.bin: a float for each. Prints the largest error and, for each rate, the number
 * of chunks and the shortest and the median time of one in microseconds. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "silero.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MOST = 100000 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    static double times[2][MOST];
    size_t counts[2] = {0, 0};
    int64_t head[2];
    float samples[512], speech, expected;
    double worst = 0;
    silero_instance *model;
    FILE *signal = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *answers = argc == 3 ? fopen(argv[2], "rb") : NULL;
    if (signal == NULL || answers == NULL) return 2;
    if (silero_create(&model, NULL) != AOT_OK) return 3;
    while (fread(head, sizeof head, 1, signal) == 1) {
        const int low = head[0] == 8000;
        const size_t length = low ? 256 : 512;
        if (fread(samples, sizeof *samples, length, signal) != length) return 4;
        if (fread(&expected, sizeof expected, 1, answers) != 1) return 5;
        if (head[1] && silero_reset_states(model) != AOT_OK) return 6;
        const double start = now();
        if (silero_forward(model, samples, head[0], &speech) != AOT_OK) {
            fprintf(stderr, "%s\n", silero_message(model));
            return 7;
        }
        times[low][counts[low]++ % MOST] = now() - start;
        if (!(fabs((double)speech - expected) <= worst)) worst = fabs((double)speech - expected);
    }
    printf("%.9g", worst);
    for (int low = 0; low < 2; low++) {
        qsort(times[low], counts[low], sizeof(double), compare);
        printf(" %zu %.3f %.3f", counts[low], times[low][0], times[low][counts[low] / 2]);
    }
    printf("\n");
    silero_destroy(model);
    fclose(signal);
    fclose(answers);
    return 0;
}
