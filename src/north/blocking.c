// SPDX-License-Identifier: Apache-2.0
#include "north/blocking.h"

#include <pthread.h>

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    enum err_code rc;
    struct err *e;
};

static void wait_begin(struct wait *w) {
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
}

static void wait_over(struct wait *w) {
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

/* The writer always answers, so there is no way out but that. */
static void wait_for(const struct blocking *b, struct wait *w) {
    pthread_mutex_lock(&w->lock);
    while (!w->done) {
        if (b->pump != NULL) {
            pthread_mutex_unlock(&w->lock);
            b->pump(b->pump_arg);
            pthread_mutex_lock(&w->lock);
        } else {
            pthread_cond_wait(&w->cond, &w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
}

static void change_done(struct change *ch, void *arg) {
    (void)ch;
    wait_over(arg);
}

void blocking_change(const struct blocking *b, struct change *ch) {
    struct wait w = {.done = false};
    wait_begin(&w);
    core_change(b->core, ch, change_done, &w);
    wait_for(b, &w);
}

static void call_done(struct call *cl, void *arg) {
    (void)cl;
    wait_over(arg);
}

void blocking_call(const struct blocking *b, struct call *cl) {
    struct wait w = {.done = false};
    wait_begin(&w);
    core_call(b->core, cl, call_done, &w);
    wait_for(b, &w);
}

static void look_done(struct look *l, void *arg) {
    (void)l;
    wait_over(arg);
}

void blocking_look(const struct blocking *b, struct look *l) {
    struct wait w = {.done = false};
    wait_begin(&w);
    core_look(b->core, l, look_done, &w);
    wait_for(b, &w);
}

static void confirm_done(void *arg, uint64_t index, const struct err *e) {
    struct wait *w = arg;
    (void)index;
    w->rc = e != NULL ? e->code : ERR_OK;
    if (e != NULL) {
        *w->e = *e;
    }
    wait_over(w);
}

enum err_code blocking_confirm(const struct blocking *b, const struct actor *who,
                               const struct confirmer *by, struct err *e) {
    struct wait w = {.e = e};
    wait_begin(&w);
    core_confirm(b->core, who, by, confirm_done, &w);
    wait_for(b, &w);
    return w.rc;
}

enum err_code blocking_confirm_cancel(const struct blocking *b, const struct actor *who,
                                      const struct confirmer *by, struct err *e) {
    struct wait w = {.e = e};
    wait_begin(&w);
    core_confirm_cancel(b->core, who, by, confirm_done, &w);
    wait_for(b, &w);
    return w.rc;
}
