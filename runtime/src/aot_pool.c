/* The thread pool of aot_pool.h: C99, pthreads, GCC/Clang's __atomic builtins.
 *
 * One loop runs at a time. Its owner gives each thread a share, the n-th thread always the n-th
 * part of the iterations: what a thread has written in one loop it reads again in the next, from
 * its own core's caches. Threads take from the front of their shares; who has none left takes from
 * the back of another's, so that the owner never waits for a worker that sleeps or is late.
 *
 * A share is a word that holds the first and the last of what is left, changed by compare-and-swap.
 * Whoever takes some of it may read the loop beside it: that stays as it is until all that were
 * taken are done. A forked child, which has no workers and perhaps a locked mutex, runs its loops
 * alone.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu */
#endif
#include "aot_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_THREADS = 1024,
    PIECES = 4, /* of a share at least: what may be taken from a thread that is disturbed */
    SPIN_NANOSECONDS = 50000,
    APART = 128 /* bytes: two cache lines, as CPUs fetch them in pairs */
};

/* What a thread is to do; one message from core to core. */
struct share {
    uint64_t left; /* atomic: the first piece, and above it the end; equal: none */
    aot_task task;
    void *args;
    int64_t count; /* iterations of the loop */
    int64_t piece; /* iterations of a piece */
    char space[APART - 5 * 8];
};

struct aot_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work; /* a loop was published, or stop */
    pthread_cond_t done; /* no piece is pending any more */
    struct share *shares; /* for each thread; the first is the owner's */
    struct worker {
        struct aot_pool *pool;
        pthread_t thread;
        int64_t number; /* of its share */
    } *workers;
    int64_t threads; /* workers + the calling thread */
    pid_t process;   /* that started the workers */
    int busy;        /* atomic: a loop is running */
#if defined(__linux__)
    cpu_set_t cpus; /* where the workers may run; empty if that is unknown */
    int kept_free;  /* the one of them that was left to the owner last, or -1 */
#endif
    char space[APART];

    int64_t pending; /* atomic: pieces of the loop that are not done */
    char space_after[APART];

    int64_t sleeping; /* atomic, written under the mutex: workers that wait for `work` */
    int waiting;      /* atomic, written under the mutex: the owner waits for `done` */
    int stop;         /* atomic, written under the mutex */
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

static uint64_t span(uint64_t begin, uint64_t end) { return end << 32 | begin; }

static int is_empty(const struct share *share) {
    const uint64_t left = __atomic_load_n(&share->left, __ATOMIC_SEQ_CST);
    return (uint32_t)left >= left >> 32;
}

/* Takes some of a share and runs it: its owner half of what is left, from the front; others a piece
 * from the back. Returns how many pieces that were; 0: none was left. */
static int64_t run_some(struct share *share, int own) {
    uint64_t left = __atomic_load_n(&share->left, __ATOMIC_RELAXED), begin, end, rest;
    do {
        begin = (uint32_t)left;
        end = left >> 32;
        if (begin >= end) return 0;
        rest = own ? span(begin + (end - begin + 1) / 2, end) : span(begin, end - 1);
    } while (!__atomic_compare_exchange_n(&share->left, &left, rest, 1, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    if (own)
        end = (uint32_t)rest;
    else
        begin = end - 1;
    const int64_t stop = (int64_t)end * share->piece;
    share->task(share->args, (int64_t)begin * share->piece,
                stop < share->count ? stop : share->count);
    return (int64_t)(end - begin);
}

/* Runs what is left of a loop: of the thread's own share, then of the others'. */
static void run_shares(aot_pool *pool, int64_t own) {
    int64_t done = 0;
    for (int64_t n = 0; n < pool->threads; n++) {
        const int64_t whose = own + n < pool->threads ? own + n : own + n - pool->threads;
        for (int64_t some; (some = run_some(&pool->shares[whose], n == 0)) > 0;) done += some;
    }
    if (done == 0) return;
    /* Release: the owner that reads 0 sees what the tasks wrote. */
    if (__atomic_sub_fetch(&pool->pending, done, __ATOMIC_SEQ_CST) == 0 && own != 0 &&
        __atomic_load_n(&pool->waiting, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Looks for work, or a stop, for a short time. */
static void spin_for_work(aot_pool *pool, const struct share *share) {
    const int64_t end = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 64; i++) {
            if (!is_empty(share)) return;
            relax();
        }
        if (__atomic_load_n(&pool->stop, __ATOMIC_RELAXED)) return;
    } while (nanoseconds() < end);
}

static void *work(void *argument) {
    const struct worker *worker = argument;
    aot_pool *pool = worker->pool;
    struct share *share = &pool->shares[worker->number];
    for (;;) {
        spin_for_work(pool, share);
        if (is_empty(share)) {
            int stop;
            pthread_mutex_lock(&pool->mutex);
            /* Either the owner sees that this one sleeps, or this one sees its share. */
            __atomic_store_n(&pool->sleeping, pool->sleeping + 1, __ATOMIC_SEQ_CST);
            while (!(stop = pool->stop) && is_empty(share))
                pthread_cond_wait(&pool->work, &pool->mutex);
            __atomic_store_n(&pool->sleeping, pool->sleeping - 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&pool->mutex);
            if (stop) return NULL;
        }
        run_shares(pool, worker->number);
    }
}

/* Keeps workers that will wake off the calling thread's CPU. The kernel likes to put them there,
 * behind the thread that woke them, while other CPUs are idle. */
static void make_room(aot_pool *pool) {
#if defined(__linux__)
    const int here = sched_getcpu();
    if (here < 0 || here == pool->kept_free || !CPU_ISSET((size_t)here, &pool->cpus)) return;
    cpu_set_t others = pool->cpus;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) == 0) return;
    for (int64_t i = 0; i < pool->threads - 1; i++)
        pthread_setaffinity_np(pool->workers[i].thread, sizeof others, &others);
    pool->kept_free = here;
#else
    (void)pool;
#endif
}

/* Divides a loop into shares and wakes who sleeps. */
static void publish(aot_pool *pool, aot_task task, void *args, int64_t count) {
    int64_t piece = count / (pool->threads * PIECES);
    if (piece < 1) piece = 1;
    const int64_t pieces = (count + piece - 1) / piece;
    __atomic_store_n(&pool->pending, pieces, __ATOMIC_RELAXED);
    for (int64_t n = pool->threads - 1; n >= 0; n--) {
        struct share *share = &pool->shares[n];
        share->task = task;
        share->args = args;
        share->count = count;
        share->piece = piece;
        __atomic_store_n(&share->left, span((uint64_t)(n * pieces / pool->threads),
                                            (uint64_t)((n + 1) * pieces / pool->threads)),
                         __ATOMIC_SEQ_CST);
    }
    if (__atomic_load_n(&pool->sleeping, __ATOMIC_SEQ_CST) > 0) {
        make_room(pool);
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
}

void aot_pool_parallel_for(void *argument, aot_task task, void *args, int64_t count) {
    aot_pool *pool = argument;
    if (count <= 0) return;
    /* A count near INT64_MAX would overflow; such a loop never ends anyway. */
    if (count == 1 || pool == NULL || pool->threads == 1 || count > INT64_MAX / 2 ||
        pool->process != getpid() || __atomic_exchange_n(&pool->busy, 1, __ATOMIC_ACQUIRE)) {
        task(args, 0, count);
        return;
    }
    publish(pool, task, args, count);
    run_shares(pool, 0);
    /* Most often the others are about to finish too: look a while before sleeping. */
    for (int64_t end = nanoseconds() + SPIN_NANOSECONDS;;) {
        if (__atomic_load_n(&pool->pending, __ATOMIC_ACQUIRE) == 0) break;
        if (nanoseconds() > end) {
            pthread_mutex_lock(&pool->mutex);
            __atomic_store_n(&pool->waiting, 1, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&pool->pending, __ATOMIC_SEQ_CST) > 0)
                pthread_cond_wait(&pool->done, &pool->mutex);
            __atomic_store_n(&pool->waiting, 0, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&pool->mutex);
            break;
        }
        relax();
    }
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
    for (; started < pool->threads - 1; started++) {
        struct worker *worker = &pool->workers[started];
        worker->pool = pool;
        worker->number = started + 1;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void stop_workers(aot_pool *pool, int64_t started) {
    pthread_mutex_lock(&pool->mutex);
    __atomic_store_n(&pool->stop, 1, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int64_t i = 0; i < started; i++) pthread_join(pool->workers[i].thread, NULL);
}

static void free_memory(aot_pool *pool) {
    free(pool->shares);
    free(pool->workers);
    free(pool);
}

static void free_pool(aot_pool *pool) {
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free_memory(pool);
}

aot_status aot_pool_create(aot_pool **out, int64_t threads) {
    if (out == NULL) return AOT_INVALID_ARGUMENT;
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS) return AOT_INVALID_ARGUMENT;
    aot_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) return AOT_OUT_OF_MEMORY;
    pool->threads = threads == 0 ? usable_cpus() : threads;
    pool->process = getpid();
#if defined(__linux__)
    pool->kept_free = -1;
    if (sched_getaffinity(0, sizeof pool->cpus, &pool->cpus) != 0) CPU_ZERO(&pool->cpus);
#endif
    pool->workers = calloc((size_t)pool->threads, sizeof *pool->workers);
    void *shares = NULL;
    if (posix_memalign(&shares, APART, (size_t)pool->threads * sizeof *pool->shares) == 0)
        pool->shares = memset(shares, 0, (size_t)pool->threads * sizeof *pool->shares);
    if (pool->workers == NULL || pool->shares == NULL) {
        free_memory(pool);
        return AOT_OUT_OF_MEMORY;
    }
    /* With default attributes these only fail for lack of memory, which glibc never reports. */
    if (pthread_mutex_init(&pool->mutex, NULL) != 0 ||
        pthread_cond_init(&pool->work, NULL) != 0 || pthread_cond_init(&pool->done, NULL) != 0) {
        free_memory(pool);
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
        free_memory(pool);
        return;
    }
    stop_workers(pool, pool->threads - 1);
    free_pool(pool);
}

int64_t aot_pool_threads(const aot_pool *pool) { return pool == NULL ? 1 : pool->threads; }
