/* The thread pool of aot_pool.h: C99, pthreads, GCC/Clang's __atomic builtins.
 *
 * One loop runs at a time. Its owner publishes it under the mutex, wakes the workers, and takes
 * ranges of iterations from a shared counter like everybody else. A worker joins a loop under the
 * mutex (active++), so when the owner has run out of ranges it closes the loop to late workers and
 * waits only for those inside, never for one that sleeps. A forked child, which has no workers and
 * perhaps a locked mutex, runs its loops alone.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "aot_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_THREADS = 1024,
    RANGES_PER_THREAD = 4, /* smaller ranges even out unequal iterations and a disturbed core */
    SPIN_NANOSECONDS = 50000
};

struct aot_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work; /* a loop was published, or stop */
    pthread_cond_t done; /* the last worker left a closed loop */
    pthread_t *workers;
    int64_t threads; /* workers + the calling thread */
    pid_t process;   /* that started the workers */

    int busy;            /* atomic: a loop is running */
    uint32_t generation; /* atomic, written under the mutex: counts published loops */
    int stop;            /* atomic, written under the mutex */

    /* The loop; written under the mutex while no worker is inside. */
    int open; /* workers may join */
    aot_task task;
    void *args;
    int64_t count;
    int64_t range;  /* iterations taken at once */
    int64_t next;   /* atomic: first iteration that nobody has taken */
    int64_t active; /* atomic, written under the mutex: workers inside */
};

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes ranges and runs them until none is left. */
static void take_ranges(aot_pool *pool) {
    const int64_t count = pool->count, range = pool->range;
    for (;;) {
        /* No overflow: next stays below count + threads * range, see aot_pool_parallel_for. */
        int64_t begin = __atomic_fetch_add(&pool->next, range, __ATOMIC_RELAXED);
        if (begin >= count) return;
        pool->task(pool->args, begin, range < count - begin ? begin + range : count);
    }
}

/* Looks for a generation other than `seen`, or a stop, for a short time. */
static void spin_for_work(aot_pool *pool, uint32_t seen) {
    const int64_t end = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 64; i++) {
            if (__atomic_load_n(&pool->generation, __ATOMIC_RELAXED) != seen) return;
            if (__atomic_load_n(&pool->stop, __ATOMIC_RELAXED)) return;
            relax();
        }
    } while (nanoseconds() < end);
}

static void *work(void *argument) {
    aot_pool *pool = argument;
    uint32_t seen = 0;
    for (;;) {
        spin_for_work(pool, seen);
        pthread_mutex_lock(&pool->mutex);
        while (pool->generation == seen && !pool->stop)
            pthread_cond_wait(&pool->work, &pool->mutex);
        if (pool->stop) {
            pthread_mutex_unlock(&pool->mutex);
            return NULL;
        }
        seen = pool->generation;
        const int joined = pool->open;
        if (joined) __atomic_store_n(&pool->active, pool->active + 1, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&pool->mutex);
        if (!joined) continue;

        take_ranges(pool);

        pthread_mutex_lock(&pool->mutex);
        /* Release: the owner that reads 0 without the mutex sees what the tasks wrote. */
        __atomic_store_n(&pool->active, pool->active - 1, __ATOMIC_RELEASE);
        if (pool->active == 0 && !pool->open) pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
    }
}

void aot_pool_parallel_for(void *argument, aot_task task, void *args, int64_t count) {
    aot_pool *pool = argument;
    if (count <= 0) return;
    /* A count near INT64_MAX would overflow the counter; such a loop never ends anyway. */
    if (count == 1 || pool == NULL || pool->threads == 1 || count > INT64_MAX / 2 ||
        pool->process != getpid() || __atomic_exchange_n(&pool->busy, 1, __ATOMIC_ACQUIRE)) {
        task(args, 0, count);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->task = task;
    pool->args = args;
    pool->count = count;
    pool->range = count / (pool->threads * RANGES_PER_THREAD);
    if (pool->range < 1) pool->range = 1;
    __atomic_store_n(&pool->next, 0, __ATOMIC_RELAXED);
    pool->open = 1;
    __atomic_store_n(&pool->generation, pool->generation + 1, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);

    take_ranges(pool);

    pthread_mutex_lock(&pool->mutex);
    pool->open = 0;
    pthread_mutex_unlock(&pool->mutex);
    /* Most often the others are about to finish too: look a while before sleeping. */
    for (int64_t end = nanoseconds() + SPIN_NANOSECONDS;;) {
        if (__atomic_load_n(&pool->active, __ATOMIC_ACQUIRE) == 0) break;
        if (nanoseconds() > end) break;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (pool->active > 0) pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    __atomic_store_n(&pool->busy, 0, __ATOMIC_RELEASE);
}

/* How many CPUs this process may use; at least 1. */
static int64_t usable_cpus(void) {
    long count = 0;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
    if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
    if (count > MAX_THREADS) count = MAX_THREADS;
    return count < 1 ? 1 : count;
}

/* Starts the workers with all signals blocked, so that the host program's own threads get them.
 * Returns how many started. */
static int64_t start_workers(aot_pool *pool) {
    sigset_t all, before;
    int64_t started = 0;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return 0;
    while (started < pool->threads - 1 &&
           pthread_create(&pool->workers[started], NULL, work, pool) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void stop_workers(aot_pool *pool, int64_t started) {
    pthread_mutex_lock(&pool->mutex);
    __atomic_store_n(&pool->stop, 1, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int64_t i = 0; i < started; i++) pthread_join(pool->workers[i], NULL);
}

static void free_pool(aot_pool *pool) {
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

aot_status aot_pool_create(aot_pool **out, int64_t threads) {
    if (out == NULL) return AOT_INVALID_ARGUMENT;
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS) return AOT_INVALID_ARGUMENT;
    aot_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) return AOT_OUT_OF_MEMORY;
    pool->threads = threads == 0 ? usable_cpus() : threads;
    pool->process = getpid();
    pool->workers = calloc((size_t)pool->threads, sizeof *pool->workers);
    if (pool->workers == NULL) {
        free(pool);
        return AOT_OUT_OF_MEMORY;
    }
    /* With default attributes these only fail for lack of memory, which glibc never reports. */
    if (pthread_mutex_init(&pool->mutex, NULL) != 0 ||
        pthread_cond_init(&pool->work, NULL) != 0 || pthread_cond_init(&pool->done, NULL) != 0) {
        free(pool->workers);
        free(pool);
        return AOT_OUT_OF_MEMORY;
    }
    const int64_t started = start_workers(pool);
    if (started < pool->threads - 1) {
        stop_workers(pool, started);
        free_pool(pool);
        return AOT_OUT_OF_MEMORY;
    }
    *out = pool;
    return AOT_OK;
}

void aot_pool_destroy(aot_pool *pool) {
    if (pool == NULL) return;
    if (pool->process != getpid()) {
        /* A forked child has no workers to join, and the condition variables count sleepers that
         * are not there: destroying them would wait forever. Only memory is given back. */
        free(pool->workers);
        free(pool);
        return;
    }
    stop_workers(pool, pool->threads - 1);
    free_pool(pool);
}

int64_t aot_pool_threads(const aot_pool *pool) { return pool == NULL ? 1 : pool->threads; }
