/* The threads that share work with its caller.
 *
 * A caller lays its work open, begins with it, and in the end waits only for helpers that are at a step. A helper that
 * wakes late, or finds its processor taken, holds nobody up: the caller does its steps too. Helpers serve all callers,
 * and there are no more than the largest team or the processors ask for, however many threads call at once; who finds
 * none works alone.
 *
 * Who has nothing to do looks out for work for fa_pool.patience nanoseconds, giving way to whoever else wants the
 * processor, and then sleeps. Threads that spin without a bound, and those of another pool that do (NumPy's BLAS has
 * one), take each other's processors.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Part of a piece of work: n items from first on, by the thread of that number in the team. */
typedef void (*fa_task)(const void *context, ptrdiff_t first, ptrdiff_t n, int thread);

enum {
    FA_STRETCHES = 64,    /* the most: they lie on the caller's stack */
    FA_AWAITED = 1 << 30, /* in fa_work.inside: the caller sleeps until the last helper has left */
    FA_TRIES = 100        /* to take the lock before sleeping for it */
};

typedef struct fa_work {
    fa_task run;
    const void *context;
    ptrdiff_t n, step, steps;
    int stretches;   /* of steps: each thread begins with its own and goes on with what is left of the others */
    int team;        /* the most that take part, the caller included */
    int joined;      /* those that have come, the caller included: the next one's number */
    intptr_t inside; /* helpers that have come and not left */
    struct fa_work *next;
    struct {
        _Alignas(64) ptrdiff_t next; /* a step */
    } stretch[FA_STRETCHES];
} fa_work;

/* What more than one thread writes is written under the lock, or atomically (busy, callers, fa_work.inside). */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t opened, left;
    fa_work *open;       /* work that wants more helpers */
    intptr_t open_count; /* its pieces */
    int helpers;         /* threads of the pool; of them: */
    int asleep;          /* who has to be woken */
    int busy;            /* who works */
    int callers;         /* threads in fa_spread */
    int processors;      /* that this process may use */
    int64_t patience;
    int64_t last; /* when fa_warm was asked last */
} fa_pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .opened = PTHREAD_COND_INITIALIZER,
    .left = PTHREAD_COND_INITIALIZER,
    .processors = 1,
};

static int64_t fa_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fa_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* "yield" does nothing on most */
#endif
}

/* The lock is held for a few instructions, but who sleeps for it wakes tens of microseconds later. */
static void fa_lock(void) {
    for (int i = 0; i < FA_TRIES; i++) {
        if (!pthread_mutex_trylock(&fa_pool.lock)) return;
        fa_pause();
    }
    pthread_mutex_lock(&fa_pool.lock);
}

static void fa_unlock(void) { pthread_mutex_unlock(&fa_pool.lock); }

/* Wait actively, as long as the patience lasts, until a number is positive or zero; whether it is. */
static int fa_await(const intptr_t *number, int positive, int give_way) {
    int64_t end = 0;
    for (unsigned i = 0; (__atomic_load_n(number, __ATOMIC_ACQUIRE) > 0) != positive; i++) {
        if (i % 16 == 0) {
            int64_t now = fa_now();
            if (!end) end = now + fa_pool.patience;
            if (now >= end) return 0;
            if (give_way) sched_yield();
        }
        fa_pause();
    }
    return 1;
}

static void fa_take_part(fa_work *w, int stretch, int thread) {
    for (int k = 0; k < w->stretches; k++, stretch++) {
        if (stretch >= w->stretches) stretch = 0;
        ptrdiff_t end = w->steps * (stretch + 1) / w->stretches, i;
        while ((i = __atomic_fetch_add(&w->stretch[stretch].next, 1, __ATOMIC_RELAXED)) < end) {
            ptrdiff_t first = i * w->step;
            w->run(w->context, first, first + w->step < w->n ? w->step : w->n - first, thread);
        }
    }
}

/* Let nobody else join, if the work is still open; the lock is held. */
static void fa_close(fa_work *w) {
    fa_work **p = &fa_pool.open;
    while (*p && *p != w) p = &(*p)->next;
    if (!*p) return;
    *p = w->next;
    __atomic_store_n(&fa_pool.open_count, fa_pool.open_count - 1, __ATOMIC_RELAXED);
}

static void *fa_help(void *number) {
    int own = (int)(intptr_t)number;
    fa_lock();
    for (;;) {
        fa_work *w = fa_pool.open;
        if (!w) {
            fa_unlock();
            int came = fa_await(&fa_pool.open_count, 1, 1);
            fa_lock();
            if (came) continue;
            __atomic_store_n(&fa_pool.asleep, fa_pool.asleep + 1, __ATOMIC_RELAXED);
            while (!fa_pool.open) pthread_cond_wait(&fa_pool.opened, &fa_pool.lock);
            __atomic_store_n(&fa_pool.asleep, fa_pool.asleep - 1, __ATOMIC_RELAXED);
            continue;
        }
        __atomic_add_fetch(&fa_pool.busy, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&w->inside, 1, __ATOMIC_RELAXED);
        int thread = w->joined;
        if (thread + 1 == w->team) fa_close(w);
        __atomic_store_n(&w->joined, thread + 1, __ATOMIC_RELEASE);
        fa_unlock();
        fa_take_part(w, w->stretches > 1 ? 1 + own % (w->stretches - 1) : 0, thread);
        __atomic_sub_fetch(&fa_pool.busy, 1, __ATOMIC_RELAXED);
        /* With this the work may be gone. */
        int awaited = __atomic_sub_fetch(&w->inside, 1, __ATOMIC_ACQ_REL) == FA_AWAITED;
        if (!awaited) fa_await(&fa_pool.open_count, 1, 1);
        fa_lock();
        if (awaited) pthread_cond_broadcast(&fa_pool.left);
    }
    return NULL;
}

/* Start helpers that are counted already, as many as the system grants. Signals are for the threads of the program. */
static void fa_hire(int number, int count) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    for (; count > 0 && !pthread_create(&thread, NULL, fa_help, (void *)(intptr_t)number); number++, count--)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (count > 0) {
        fa_lock();
        __atomic_store_n(&fa_pool.helpers, fa_pool.helpers - count, __ATOMIC_RELAXED);
        fa_unlock();
    }
}

/* Lay work open to as many helpers as there is room for, and wake or start those that do not look out for it. */
static void fa_open(fa_work *w) {
    fa_lock();
    int busy = __atomic_load_n(&fa_pool.busy, __ATOMIC_RELAXED), asleep = fa_pool.asleep, all = fa_pool.helpers;
    int most = w->team > fa_pool.processors ? w->team : fa_pool.processors;
    int room = most - __atomic_load_n(&fa_pool.callers, __ATOMIC_RELAXED) - busy;
    if (w->team > room) w->team = room > 0 ? 1 + room : 1;
    int helpers = w->team - 1, awake = all - busy - asleep;
    int wake = helpers > awake ? helpers - awake : 0, hire = wake > asleep ? wake - asleep : 0;
    if (helpers > 0) {
        w->next = fa_pool.open;
        fa_pool.open = w;
        __atomic_store_n(&fa_pool.open_count, fa_pool.open_count + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&fa_pool.helpers, all + hire, __ATOMIC_RELAXED);
    }
    fa_unlock();
    for (wake -= hire; wake > 0; wake--) pthread_cond_signal(&fa_pool.opened);
    if (hire > 0) fa_hire(all, hire);
}

/* Run n items in steps by a team: as many for each thread, in one stretch, or (dynamic) as they come. */
static void fa_spread(fa_task run, const void *context, ptrdiff_t n, ptrdiff_t step, int team, int dynamic) {
    fa_work w;
    w.run = run, w.context = context, w.n = n, w.step = step, w.steps = (n + step - 1) / step;
    w.team = team < w.steps ? team : (int)w.steps, w.joined = 1, w.inside = 0;
    w.stretches = dynamic ? 1 : w.team < FA_STRETCHES ? w.team : FA_STRETCHES;
    for (int s = 0; s < w.stretches; s++) w.stretch[s].next = w.steps * s / w.stretches;
    __atomic_add_fetch(&fa_pool.callers, 1, __ATOMIC_RELAXED);
    fa_open(&w);
    fa_take_part(&w, 0, 0);
    if (__atomic_load_n(&w.joined, __ATOMIC_ACQUIRE) < w.team) {
        fa_lock();
        fa_close(&w);
        fa_unlock();
    }
    if (!fa_await(&w.inside, 0, 0) && __atomic_fetch_or(&w.inside, FA_AWAITED, __ATOMIC_ACQ_REL) != 0) {
        fa_lock();
        while (__atomic_load_n(&w.inside, __ATOMIC_ACQUIRE) != FA_AWAITED)
            pthread_cond_wait(&fa_pool.left, &fa_pool.lock);
        fa_unlock();
    }
    __atomic_sub_fetch(&fa_pool.callers, 1, __ATOMIC_RELAXED);
}

/* Whether helpers look out for work, or somebody asked so lately that the next question may be expected as soon. */
static int fa_warm(void) {
    if (__atomic_load_n(&fa_pool.helpers, __ATOMIC_RELAXED) > __atomic_load_n(&fa_pool.asleep, __ATOMIC_RELAXED))
        return 1;
    int64_t now = fa_now(), before = __atomic_exchange_n(&fa_pool.last, now, __ATOMIC_RELAXED);
    return now - before < 2 * fa_pool.patience;
}
