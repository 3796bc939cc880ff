// SPDX-License-Identifier: Apache-2.0
/* What happens, as it happens, until somebody presses Ctrl-C. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/rights.h"
#include "core/system.h"
#include "north/cli/run.h"

/* ---- events */

enum { EVENTS_WAITING = 1000 };
struct event_line {
    struct event_line *next;
    char text[];
};
struct monitor { /* between the writer, which adds, and the command, which takes */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct event_line *first, **last;
    size_t n, dropped;
};

static void on_event(const struct event *ev, void *arg) {
    struct monitor *m = arg;
    char time[TIME_TEXT_MAX];
    time_format(ev->time_s, 0, time);
    char *text = mem_printf("%s %s %s\n", time, ev->name, ev->json ? ev->json : "");
    size_t n = strlen(text) + 1;
    pthread_mutex_lock(&m->lock);
    if (m->n == EVENTS_WAITING) {
        m->dropped++;
    } else {
        struct event_line *l = mem_alloc(sizeof *l + n);
        memcpy(l->text, text, n);
        *m->last = l;
        m->last = &l->next;
        m->n++;
    }
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->lock);
    mem_free(text);
}

void cmd_monitor_events(struct run *r) {
    if (!run_ready(r, NULL)) {
        return;
    }
    struct err e;
    if (rights_check(r->rights, &r->s->who, RIGHT_READ, "/", &e) != ERR_OK) {
        run_fault(r, &e);
        return;
    }
    run_note(r, "Ctrl-C ends this");
    struct monitor m = {.last = &m.first};
    pthread_mutex_init(&m.lock, NULL);
    pthread_cond_init(&m.cond, NULL);
    uint64_t handle = core_subscribe(r->cli->core, 0, on_event, &m);
    while (!run_stopped(r)) {
        if (r->cli->o.pump != NULL) {
            run_pause(r->s); /* nobody else makes events */
        }
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec += 100 * 1000000L;
        ts.tv_sec += ts.tv_nsec / 1000000000L;
        ts.tv_nsec %= 1000000000L;
        pthread_mutex_lock(&m.lock);
        if (m.first == NULL && r->cli->o.pump == NULL) {
            pthread_cond_timedwait(&m.cond, &m.lock, &ts);
        }
        struct event_line *list = m.first;
        size_t dropped = m.dropped;
        m.first = NULL;
        m.last = &m.first;
        m.n = m.dropped = 0;
        pthread_mutex_unlock(&m.lock);
        while (list != NULL) {
            struct event_line *next = list->next;
            run_text(r, list->text, strlen(list->text));
            mem_free(list);
            list = next;
        }
        if (dropped > 0) {
            run_printf(r, "(%zu %s left out: the terminal is too slow)\n", dropped,
                       text_plural(dropped, "event was", "events were"));
        }
        r->s->used_s = clock_wall_s(core_clock(r->cli->core));
    }
    core_unsubscribe(r->cli->core, handle);
    while (m.first != NULL) {
        struct event_line *next = m.first->next;
        mem_free(m.first);
        m.first = next;
    }
    pthread_cond_destroy(&m.cond);
    pthread_mutex_destroy(&m.lock);
}

/* ---- the log */

static void on_log_line(const char *line, void *arg) {
    buf_printf(arg, "%s\n", line);
}

void cmd_monitor_log(struct run *r) {
    struct err e;
    if (!run_ready(r, NULL)) {
        return;
    }
    if (rights_check(r->rights, &r->s->who, RIGHT_READ, "/weft-system:show-log", &e) != ERR_OK) {
        run_fault(r, &e);
        return;
    }
    run_note(r, "Ctrl-C ends this");
    uint64_t seen = UINT64_MAX;
    while (!run_stopped(r)) {
        struct buf out = BUF_INIT;
        logring_after(&seen, on_log_line, &out);
        run_text(r, (const char *)out.data, out.len);
        buf_free(&out);
        run_pause(r->s);
    }
}
