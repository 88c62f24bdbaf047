/* The thread pool: every iteration exactly once, from one thread, from several at once, from inside
 * a task, after a fork, on few CPUs; no CPU time when idle. Prints "ok". */
#define _GNU_SOURCE
#include "aot_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUIRE(condition)                                                             \
    do {                                                                               \
        if (!(condition)) {                                                            \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);             \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

enum { MOST = 5000 };

struct loop {
    unsigned char hits[MOST];
    aot_pool *pool;
};

static void hit(void *args, int64_t begin, int64_t end) {
    struct loop *loop = args;
    for (int64_t i = begin; i < end; i++) loop->hits[i]++;
}

static void run_once(struct loop *loop, int64_t count) {
    memset(loop->hits, 0, sizeof loop->hits);
    aot_pool_parallel_for(loop->pool, hit, loop, count);
    for (int64_t i = 0; i < MOST; i++) REQUIRE(loop->hits[i] == (i < count));
}

/* A task that runs a loop of its own: must not hang, must not run anything twice. */
static void nested(void *args, int64_t begin, int64_t end) {
    struct loop *loops = args;
    for (int64_t i = begin; i < end; i++) run_once(&loops[i], 100 + i);
}

static void *many_loops(void *args) {
    for (int64_t n = 0; n < 200; n++) run_once(args, n * 7 % MOST);
    return NULL;
}

#if defined(__linux__)
struct places {
    pthread_t caller;
    int cpus[64]; /* of iterations that workers ran; -1: the caller did */
};

static void note_cpu(void *args, int64_t begin, int64_t end) {
    struct places *places = args;
    for (int64_t i = begin; i < end; i++)
        places->cpus[i] = pthread_equal(pthread_self(), places->caller) ? -1 : sched_getcpu();
}

/* Workers stay where the thread that made the pool might run, be it one CPU, whoever wakes them. */
static void within_affinity(void) {
    cpu_set_t before, one;
    struct places places = {.caller = pthread_self()};
    aot_pool *pool;
    const int only = sched_getcpu();
    REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)only, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    REQUIRE(aot_pool_create(&pool, 3) == AOT_OK);
    REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
    for (int turn = 0; turn < 20; turn++) {
        aot_pool_parallel_for(pool, note_cpu, &places, 64);
        for (int i = 0; i < 64; i++) REQUIRE(places.cpus[i] == -1 || places.cpus[i] == only);
        const struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL); /* the workers fall asleep, the next turn wakes them */
    }
    aot_pool_destroy(pool);
}
#endif

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void) {
    static struct loop loops[8];
    aot_pool *pool = (aot_pool *)1;
    REQUIRE(aot_pool_create(NULL, 2) == AOT_INVALID_ARGUMENT);
    REQUIRE(aot_pool_create(&pool, -1) == AOT_INVALID_ARGUMENT && pool == NULL);
    REQUIRE(aot_pool_create(&pool, 1 << 20) == AOT_INVALID_ARGUMENT);
    REQUIRE(aot_pool_create(&pool, 0) == AOT_OK && aot_pool_threads(pool) >= 1);
    aot_pool_destroy(pool);
    aot_pool_destroy(NULL);
    REQUIRE(aot_pool_threads(NULL) == 1);

    for (int64_t threads = 1; threads <= 8; threads = threads * 2 + (threads == 1)) {
        REQUIRE(aot_pool_create(&pool, threads) == AOT_OK);
        REQUIRE(aot_pool_threads(pool) == threads);
        for (int i = 0; i < 8; i++) loops[i].pool = pool;
        const int64_t counts[] = {0, -5, 1, 2, 3, 7, 64, 1000, MOST};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) run_once(&loops[0], counts[i]);
        for (int i = 0; i < 300; i++) run_once(&loops[0], 1 + i % 20);
        aot_pool_parallel_for(pool, nested, loops, 8);
        pthread_t callers[4];
        for (int i = 0; i < 4; i++)
            REQUIRE(!pthread_create(&callers[i], NULL, many_loops, &loops[i]));
        for (int i = 0; i < 4; i++) REQUIRE(!pthread_join(callers[i], NULL));
        aot_pool_destroy(pool);
    }
    loops[0].pool = NULL;
    run_once(&loops[0], 100);

    REQUIRE(aot_pool_create(&pool, 3) == AOT_OK);
    loops[0].pool = pool;
    run_once(&loops[0], 1000);
#ifndef NO_FORK /* thread sanitizer cannot follow a fork of a threaded process */
    const pid_t child = fork();
    if (child == 0) {
        run_once(&loops[0], 1000);
        aot_pool_destroy(pool);
        _exit(42);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42);
    run_once(&loops[0], 1000);
#endif
#if defined(__linux__)
    within_affinity();
#endif
    const struct timespec pause = {0, 300000000};
    nanosleep(&pause, NULL); /* let the workers fall asleep */
    const double before = cpu_seconds();
    nanosleep(&pause, NULL);
    const double idle = cpu_seconds() - before;
#ifndef NO_IDLE_TEST
    REQUIRE(idle < 0.05);
#else
    (void)idle;
#endif
    aot_pool_destroy(pool);
    puts("ok");
    return 0;
}
