/* The pool without Python: every property that test_pool.py asks for, by name. Exit status 0 is success. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int refused; /* the system grants no thread */
static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    return refused ? EAGAIN : pthread_create(thread, attributes, run, argument);
}
#define pthread_create create
#include "pool.h"
#undef pthread_create

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

enum { ITEMS = 5000, TEAM = 200 };

/* ------------------------------------------------------------------------------------ each item once */

typedef struct {
    int done[ITEMS], inside[TEAM];
    ptrdiff_t n, step;
    int team;
} counts;

static void count(const void *context, ptrdiff_t first, ptrdiff_t n, int thread) {
    counts *c = (counts *)context;
    CHECK(0 <= thread && thread < c->team);
    CHECK(first % c->step == 0 && n == (first + c->step < c->n ? c->step : c->n - first));
    CHECK(__atomic_add_fetch(&c->inside[thread], 1, __ATOMIC_RELAXED) == 1); /* a number is one thread's */
    for (ptrdiff_t i = first; i < first + n; i++) c->done[i]++;
    __atomic_sub_fetch(&c->inside[thread], 1, __ATOMIC_RELAXED);
}

static void all_once(counts *c, ptrdiff_t n, ptrdiff_t step, int team, int dynamic) {
    memset(c, 0, sizeof *c);
    c->n = n, c->step = step, c->team = team;
    fa_spread(count, c, n, step, team, dynamic);
    for (ptrdiff_t i = 0; i < ITEMS; i++) CHECK(c->done[i] == (i < n));
}

static void *storm(void *seed) {
    unsigned state = (unsigned)(intptr_t)seed;
    counts *c = malloc(sizeof *c);
    for (int k = 0; k < 400; k++) {
        ptrdiff_t n = 1 + rand_r(&state) % ITEMS, step = 1 + rand_r(&state) % (int)n;
        int team = k % 50 == 0 ? TEAM : 2 + rand_r(&state) % 4;
        all_once(c, n, step, team, rand_r(&state) % 2);
        if (k % 20 == 0) usleep((unsigned)rand_r(&state) % 400); /* helpers fall asleep */
    }
    free(c);
    return NULL;
}

static void storm_of(int threads) {
    pthread_t thread[32];
    for (int i = 0; i < threads; i++) CHECK(!pthread_create(&thread[i], NULL, storm, (void *)(intptr_t)(i + 1)));
    for (int i = 0; i < threads; i++) CHECK(!pthread_join(thread[i], NULL));
    CHECK(fa_pool.callers == 0 && fa_pool.busy == 0 && !fa_pool.open && !fa_pool.open_count);
}

/* ------------------------------------------------------------------------------------ who waits for whom */

static int held, entered; /* threads stay in a step of `hold` as long as held is set */
static void hold(const void *context, ptrdiff_t first, ptrdiff_t n, int thread) {
    (void)context, (void)first, (void)n, (void)thread;
    __atomic_add_fetch(&entered, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&held, __ATOMIC_SEQ_CST) || __atomic_load_n(&entered, __ATOMIC_SEQ_CST) < 2) usleep(100);
}
static void *hold_two(void *unused) {
    fa_spread(hold, NULL, 2, 1, 2, 0);
    return unused;
}

static int helpers_asleep(void) {
    fa_lock();
    int all = fa_pool.asleep == fa_pool.helpers;
    fa_unlock();
    return all;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    static counts c;
    fa_pool.processors = argc > 2 ? atoi(argv[2]) : 2;
    fa_pool.patience = 50000;
    if (!strcmp(what, "once")) {
        for (int team = 2; team <= TEAM; team += team < 8 ? 1 : 64)
            for (int dynamic = 0; dynamic < 2; dynamic++)
                for (ptrdiff_t n = 2; n <= ITEMS; n = n * 3 - 1)
                    for (ptrdiff_t step = 1; step < n; step = step * 4 + 1) all_once(&c, n, step, team, dynamic);
    } else if (!strcmp(what, "storm")) {
        storm_of(12);
        CHECK(fa_pool.helpers <= TEAM - 1); /* twelve callers, and no more helpers than one of them asks for */
    } else if (!strcmp(what, "bounded")) {
        for (int k = 0; k < 100; k++) all_once(&c, ITEMS, 7, 2, 0);
        CHECK(fa_pool.helpers == 1);
    } else if (!strcmp(what, "alone")) {
        /* The only helper is held at a step of other work: a caller with its own does not wait for it. */
        pthread_t other;
        held = 1;
        CHECK(!pthread_create(&other, NULL, hold_two, NULL));
        while (__atomic_load_n(&entered, __ATOMIC_SEQ_CST) < 2) usleep(100);
        all_once(&c, ITEMS, 7, 2, 0);
        CHECK(fa_pool.helpers == 1 && fa_pool.busy == 1);
        __atomic_store_n(&held, 0, __ATOMIC_SEQ_CST);
        CHECK(!pthread_join(other, NULL));
    } else if (!strcmp(what, "late")) {
        /* A helper that is woken and never comes: there is none behind the number. */
        fa_pool.helpers = fa_pool.asleep = 1;
        all_once(&c, ITEMS, 7, 2, 0);
        all_once(&c, ITEMS, 7, 2, 1);
    } else if (!strcmp(what, "sleep")) {
        all_once(&c, ITEMS, 1, 4, 0);
        while (!helpers_asleep()) usleep(1000); /* the test's limit is the bound */
        CHECK(fa_pool.helpers == 3);
        hold_two(NULL); /* and can be woken: held until two have entered */
        CHECK(entered == 2 && fa_pool.helpers == 3);
    } else if (!strcmp(what, "awaited")) {
        /* The caller sleeps, too, while a helper is long at a step. */
        pthread_t other;
        fa_pool.patience = 0;
        held = 1;
        CHECK(!pthread_create(&other, NULL, hold_two, NULL));
        while (__atomic_load_n(&entered, __ATOMIC_SEQ_CST) < 2) usleep(100);
        __atomic_store_n(&held, 0, __ATOMIC_SEQ_CST);
        CHECK(!pthread_join(other, NULL));
        for (int k = 0; k < 2000; k++) all_once(&c, 64, 1, 4, k % 2);
    } else if (!strcmp(what, "refused")) {
        refused = 1;
        all_once(&c, ITEMS, 7, 4, 0);
        CHECK(fa_pool.helpers == 0);
        refused = 0;
        all_once(&c, ITEMS, 7, 4, 0);
        CHECK(fa_pool.helpers == 3);
    } else if (!strcmp(what, "warm")) {
        fa_pool.patience = 0;
        CHECK(!fa_warm() && !fa_warm());
        fa_pool.patience = (int64_t)1 << 60;
        CHECK(fa_warm()); /* asked just now */
        fa_pool.last = 0, fa_pool.patience = 1;
        CHECK(!fa_warm());
    } else if (!strcmp(what, "exit")) {
        for (int k = 0; k < 50; k++) all_once(&c, ITEMS, 1, 8, 0); /* and out, while they look out for more */
    } else {
        return 2;
    }
    return 0;
}
