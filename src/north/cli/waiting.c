// SPDX-License-Identifier: Apache-2.0
/* Core answers on the writer; a command waits for it in its own thread. */
#include <time.h>

#include "base/clock.h"
#include "north/cli/run.h"

enum { LOOK_MS = 100 }; /* how soon an interruption is seen */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    _Atomic uint32_t refs;
};

struct wait *wait_new(void) {
    struct wait *w = MEM_NEW(struct wait);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    atomic_init(&w->refs, 1);
    return w;
}

struct wait *wait_hold(struct wait *w) {
    atomic_fetch_add(&w->refs, 1);
    return w;
}

void wait_release(struct wait *w) {
    if (atomic_fetch_sub(&w->refs, 1) == 1) {
        pthread_cond_destroy(&w->cond);
        pthread_mutex_destroy(&w->lock);
        mem_free(w);
    }
}

void wait_done(struct wait *w) {
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

bool wait_for(struct run *r, struct wait *w, bool interruptible) {
    pthread_mutex_lock(&w->lock);
    while (!w->done && !(interruptible && run_stopped(r))) {
        if (r->cli->o.pump != NULL) {
            pthread_mutex_unlock(&w->lock);
            r->cli->o.pump(r->cli->o.pump_arg);
            pthread_mutex_lock(&w->lock);
            continue;
        }
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec += LOOK_MS * 1000000L;
        ts.tv_sec += ts.tv_nsec / 1000000000L;
        ts.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&w->cond, &w->lock, &ts);
    }
    bool done = w->done;
    pthread_mutex_unlock(&w->lock);
    return done;
}

void run_pause(struct cli_session *s) {
    const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
    if (s->cli->o.pump != NULL) {
        s->cli->o.pump(s->cli->o.pump_arg);
    } else {
        nanosleep(&look, NULL);
    }
    s->used_s = clock_wall_s(core_clock(s->cli->core));
}

static void change_done(struct change *ch, void *arg) {
    (void)ch;
    wait_done(arg);
    wait_release(arg);
}

void run_change(struct run *r, struct change *ch) {
    struct wait *w = wait_new();
    core_change(r->cli->core, ch, change_done, wait_hold(w));
    wait_for(r, w, false);
    wait_release(w);
}

static void call_done(struct call *cl, void *arg) {
    (void)cl;
    wait_done(arg);
    wait_release(arg);
}

void run_call(struct run *r, struct call *cl) {
    struct wait *w = wait_new();
    core_call(r->cli->core, cl, call_done, wait_hold(w));
    wait_for(r, w, false);
    wait_release(w);
}

static void values_done(struct values *v, void *arg) {
    (void)v;
    wait_done(arg);
    wait_release(arg);
}

void run_values(struct run *r, struct values *v) {
    struct wait *w = wait_new();
    core_values(r->cli->core, v, values_done, wait_hold(w));
    wait_for(r, w, false);
    wait_release(w);
}

struct phase_wait {
    struct wait *w;
    enum commit_phase phase;
    char *text;
    _Atomic uint32_t refs;
};

static void phase_release(struct phase_wait *pw) {
    if (atomic_fetch_sub(&pw->refs, 1) == 1) {
        wait_release(pw->w);
        mem_free(pw->text);
        mem_free(pw);
    }
}

static void phase_done(void *arg, enum commit_phase phase, const char *text) {
    struct phase_wait *pw = arg;
    pw->phase = phase;
    pw->text = mem_strdup(text ? text : "");
    wait_done(pw->w);
    phase_release(pw);
}

bool run_commit_wait(struct run *r, uint64_t index, int64_t timeout_ns, enum commit_phase *phase,
                     char **text) {
    struct phase_wait *pw = MEM_NEW(struct phase_wait);
    pw->w = wait_new();
    atomic_init(&pw->refs, 2);
    core_commit_wait(r->cli->core, index, timeout_ns, phase_done, pw);
    bool done = wait_for(r, pw->w, true);
    if (done) {
        *phase = pw->phase;
        *text = arena_strdup(r->arena, pw->text);
    }
    phase_release(pw);
    return done;
}
