/* A thread pool whose parallel_for fits aot_options. Optional: link aot_pool.c for it.
 *
 *     aot_pool *pool;
 *     if (aot_pool_create(&pool, 4) == AOT_OK) {
 *         aot_options options = aot_pool_options(pool);
 *         ... NAME_init(instance, &options) ... calls ...
 *         aot_pool_destroy(pool);
 *     }
 *
 * One pool can serve many instances and threads. The thread that calls parallel_for works too, and
 * never waits for a worker that has not begun; when the pool is busy with another thread's loop,
 * the calling thread runs its loop alone. Workers that find no work look for new work for about
 * 50 microseconds, then sleep. On Linux they keep off the CPU of the thread that wakes them, within
 * the CPUs that the thread which made the pool might use. A forked child runs its loops serially:
 * it makes its own pool if it wants one.
 */
#ifndef AOT_POOL_H
#define AOT_POOL_H

#include "aot.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aot_pool aot_pool;

/* A pool of `threads` threads, the caller's included; 0: as many as CPUs this process may use.
 * The caller owns *pool and destroys it. AOT_INVALID_ARGUMENT: pool NULL, threads negative or more
 * than 1024. AOT_OUT_OF_MEMORY: no memory or no threads; *pool is NULL then. */
aot_status aot_pool_create(aot_pool **pool, int64_t threads);

/* Ends the threads and frees the pool; NULL is allowed. No parallel_for may be running. */
void aot_pool_destroy(aot_pool *pool);

/* How many threads work in a loop, the calling one included. */
int64_t aot_pool_threads(const aot_pool *pool);

/* As aot_parallel_for asks; `pool` is an aot_pool *. Safe from any thread, from tasks too. */
void aot_pool_parallel_for(void *pool, aot_task task, void *args, int64_t count);

/* Options that run an instance's loops in this pool, which must outlive the instance's calls. */
static inline aot_options aot_pool_options(aot_pool *pool) {
    aot_options options;
    options.threads = aot_pool_threads(pool);
    options.parallel_for = aot_pool_parallel_for;
    options.pool = pool;
    options.seed = 0;
    options.report = NULL;
    options.report_context = NULL;
    return options;
}

#ifdef __cplusplus
}
#endif

#endif /* AOT_POOL_H */
