/*
 * Ranges of rows to threads: the whole team or one thread, nothing between. The only file
 * that knows OpenMP. A long call goes in steps, between which it can be interrupted.
 *
 * A fork copies the parent's OpenMP runtime without its threads, and the next parallel
 * region of the child would wait for them forever. So a child never enters one.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fastlogits.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __linux__
#include <sched.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif
#ifndef _WIN32
#include <pthread.h>
#endif

static fl_interrupted *is_interrupted; /* may be NULL */
static int forked;        /* whether this process is a fork of one that loaded the library */
static int quota_threads; /* the cgroup's quota of processors, rounded up; 0: none */
static int set_by_user;   /* OMP_NUM_THREADS says how many; OpenMP, too, reads it once */

#ifndef _WIN32
static void in_child(void) { forked = 1; }
#endif

#ifdef __linux__
static int read_quota(void)
{
    long long quota = -1, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) != 2) /* "max 100000" */
            quota = -1;
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
        if (fscanf(f, "%lld", &quota) != 1)
            quota = -1;
        fclose(f);
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r"))) {
            if (fscanf(f, "%lld", &period) != 1)
                quota = -1;
            fclose(f);
        }
    }
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}
#endif

void fl_parallel_init(fl_interrupted *interrupted)
{
    const char *value = getenv("OMP_NUM_THREADS");
    set_by_user = value && *value;
    is_interrupted = interrupted;
#ifdef __linux__
    quota_threads = read_quota();
#endif
#ifndef _WIN32
    pthread_atfork(NULL, NULL, in_child);
#endif
}

int fl_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

#ifdef _OPENMP
static int at_most(int n, int limit) { return limit > 0 && limit < n ? limit : n; }
#endif

/* OMP_NUM_THREADS if set, else the least of what OpenMP says, the affinity mask and the
   cgroup's quota. Asked anew at each call, but for the environment and the quota, which are read
   once; a limit set through OpenMP counts always. */
int fl_default_threads(void)
{
    int n = 1;
#ifdef _OPENMP
    n = omp_get_max_threads();
    if (!set_by_user) {
#ifdef __linux__
        cpu_set_t set;
        if (sched_getaffinity(0, sizeof set, &set) == 0)
            n = at_most(n, CPU_COUNT(&set));
#endif
        n = at_most(n, quota_threads);
    }
#endif
    return n < 1 ? 1 : n;
}

/* More would be of no use, and some runtimes crash where they find no room for the team. */
#define MAX_THREADS 1024

typedef struct {
    fl_task *task;
    void *context;
    ptrdiff_t step;
    atomic_int stopped;
} steps;

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* One thread's share. Steps are doubled while one takes far less than FL_PATIENCE. */
static void run_share(steps *all, ptrdiff_t begin, ptrdiff_t end, int asks)
{
    ptrdiff_t step = all->step;
    if (end - begin <= step) {
        all->task(all->context, begin, end);
        return;
    }
    double before = milliseconds(), asked = before;
    while (begin < end && !atomic_load_explicit(&all->stopped, memory_order_relaxed)) {
        const ptrdiff_t next = end - begin < step ? end : begin + step;
        all->task(all->context, begin, next);
        begin = next;
        const double now = milliseconds();
        if (now - before < FL_PATIENCE / 8.0)
            step *= 2;
        before = now;
        if (asks && is_interrupted && now - asked > FL_PATIENCE) {
            asked = now;
            if (is_interrupted())
                atomic_store_explicit(&all->stopped, 1, memory_order_relaxed);
        }
    }
}

int fl_parallel(fl_task *task, void *context, ptrdiff_t n, ptrdiff_t step, int n_threads)
{
    steps all = {.task = task, .context = context, .step = step};
    atomic_init(&all.stopped, 0);
#ifdef _OPENMP
    /* Inside somebody else's parallel region the cores are taken already. */
    const int n_team = n_threads < MAX_THREADS ? n_threads : MAX_THREADS;
    /* The whole team for few rows too: threads that a smaller one has no place for end, and to
       start them again for the next call takes half a millisecond. */
    if (n > 1 && n_team > 1 && !forked && !omp_in_parallel()) {
#pragma omp parallel num_threads(n_team)
        {
            const ptrdiff_t team = omp_get_num_threads(), me = omp_get_thread_num();
            const ptrdiff_t share = n / team, more = n % team;
            const ptrdiff_t begin = me * share + (me < more ? me : more);
            const ptrdiff_t end = begin + share + (me < more);
            if (begin < end)
                run_share(&all, begin, end, me == 0);
        }
        return !atomic_load_explicit(&all.stopped, memory_order_relaxed);
    }
#else
    (void)n_threads;
#endif
    run_share(&all, 0, n, 1);
    return !atomic_load_explicit(&all.stopped, memory_order_relaxed);
}
