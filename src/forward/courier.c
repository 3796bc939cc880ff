// SPDX-License-Identifier: Apache-2.0
/* A target's thread: takes what waits, sends it, moves the target's position; backs off when it
 * can't. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "forward/internal.h"

LOGGER_MODULE(forward);

enum {
    SKIPPED_UNSAVED = 500
}; /* so many that it does not want are looked at again after a crash */

struct batch {
    const struct object *config; /* held */
    uint64_t generation;
    struct gap gap; /* told alone, before anything else */
    char gap_json[160];
    struct waiting *held[FORWARD_BATCH];
    struct message messages[FORWARD_BATCH];
    size_t n;
    uint64_t scanned; /* all up to this one were looked at */
    uint64_t beside;  /* of those that are told beside the log; 0: it is none of them */
};

size_t sender_send(struct sender *s, const struct forward_target *t, const struct message *m,
                   size_t n, struct err *e) {
    switch (t->type) {
    case FORWARD_TARGET_TYPE_WEBHOOK:
        return webhook_send(s, t, m, n, e);
    case FORWARD_TARGET_TYPE_SYSLOG:
        return syslog_send(s, t, m, n, e);
    default:
        return snmp_notify(s, t, m, n, e);
    }
}

void sender_close(struct sender *s) {
    webhook_close(s);
    syslog_close(s);
}

static void add(struct batch *b, struct waiting *w, uint64_t id, uint64_t previous,
                enum forward_severity severity) {
    w->refs++;
    b->held[b->n] = w;
    b->messages[b->n++] = (struct message){.id = id,
                                           .previous = previous,
                                           .index = w->index,
                                           .time_s = w->time_s,
                                           .name = w->name,
                                           .json = w->json,
                                           .severity = severity};
}

/* Locked. What was told beside the log goes first, by itself: it has no id, and no part in the
 * chain of those that have one. True: there is something, if only to be passed over. */
static bool take_beside(const struct receiver *t, struct batch *b) {
    const struct forward *f = t->forward;
    const struct forward_target *c = t->config->doc->data;
    for (size_t i = 0; i < f->n_beside && b->n < FORWARD_BATCH; i++) {
        struct waiting *w = f->beside[i];
        enum forward_severity severity = message_severity(w->name, w->json);
        if (w->id <= t->beside) {
            continue;
        }
        b->beside = w->id;
        if (message_wanted(c, w->name, severity)) {
            add(b, w, 0, t->now.previous, severity);
        }
    }
    return b->beside > 0;
}

/* Locked. Fills `b` with what comes next; false: nothing does. */
static bool take(struct receiver *t, struct batch *b) {
    struct forward *f = t->forward;
    const struct forward_target *c = t->config->doc->data;
    *b = (struct batch){.config = NULL, .scanned = t->now.done};
    if (c->disabled) {
        return false;
    }
    uint64_t previous = t->now.previous;
    bool beside = take_beside(t, b);
    if (!beside && t->now.gap.lost > 0) {
        b->gap = t->now.gap;
        snprintf(b->gap_json, sizeof b->gap_json,
                 "{\"lost\":\"%llu\",\"first\":\"%llu\",\"last\":\"%llu\"}",
                 (unsigned long long)b->gap.lost, (unsigned long long)b->gap.first,
                 (unsigned long long)b->gap.last);
        b->messages[b->n++] =
            (struct message){.id = b->gap.last,
                             .previous = previous,
                             .index = f->n_events > 0 ? f->events[0]->index : 0,
                             .time_s = clock_wall_s(core_clock(f->core)),
                             .name = "weft-forward:gap",
                             .json = b->gap_json,
                             .severity = message_severity("weft-forward:gap", "{}")};
    }
    size_t seen = 0;
    for (size_t i = forward_first_after(f, t->now.done);
         !beside && b->gap.lost == 0 && i < f->n_events && f->events[i]->ready &&
         b->n < FORWARD_BATCH && seen < FORWARD_SCAN;
         i++, seen++) {
        struct waiting *w = f->events[i];
        enum forward_severity severity = message_severity(w->name, w->json);
        b->scanned = w->id;
        if (message_wanted(c, w->name, severity)) {
            add(b, w, w->id, previous, severity);
            previous = w->id;
        }
    }
    if (b->n == 0 && seen == 0 && !beside) {
        return false;
    }
    b->config = object_hold(t->config);
    b->generation = t->generation;
    return true;
}

struct told { /* an event about the target itself */
    char name[64], reason[256];
    bool failing;
};

static enum err_code tell(struct txn *t, void *arg, struct err *e) {
    struct told *told = arg;
    struct buf b = BUF_INIT;
    (void)e;
    buf_str(&b, "{\"target\":");
    text_json(&b, told->name);
    if (told->failing) {
        buf_str(&b, ",\"reason\":");
        text_json(&b, told->reason);
    }
    buf_char(&b, '}');
    txn_event(t, told->failing ? "weft-forward:target-failing" : "weft-forward:target-working",
              buf_cstr(&b));
    buf_free(&b);
    return ERR_OK;
}

static void told(void *arg, uint64_t index, const struct err *e) {
    mem_free(arg);
}

static void tell_of(struct receiver *t, bool failing, const char *reason) {
    struct told *what = MEM_NEW(struct told);
    what->failing = failing;
    snprintf(what->name, sizeof what->name, "%s", t->name);
    snprintf(what->reason, sizeof what->reason, "%s", reason);
    core_run(t->forward->core, &actor_system, tell, told, what);
}

/* Locked. What came of a batch of which the first `sent` were taken. */
static void account(struct receiver *t, const struct batch *b, size_t sent, const struct err *e,
                    bool *changed) {
    bool all = sent == b->n;
    int64_t now = clock_wall_s(core_clock(t->forward->core));
    if (b->beside > 0) {
        t->beside = all ? b->beside : sent > 0 ? b->held[sent - 1]->id : t->beside;
        forward_trim_beside(t->forward);
    } else if (b->gap.lost > 0 && all) {
        t->now.gap = (struct gap){.lost = 0};
        t->gap_told = true;
        t->now.previous = b->gap.last;
    } else if (sent > 0) {
        t->now.previous = b->messages[sent - 1].id;
    }
    if (b->beside == 0 && b->gap.lost == 0) {
        uint64_t to = all ? b->scanned : sent > 0 ? b->messages[sent - 1].id : t->now.done;
        t->now.done = to > t->now.done ? to : t->now.done;
    }
    if (sent > 0) {
        t->delivered += sent;
        t->last_s = now;
    }
    enum health was = t->health;
    if (!all) {
        t->health = HEALTH_FAILING;
        t->failing_since_s = was == HEALTH_FAILING ? t->failing_since_s : now;
        text_line(t->reason, sizeof t->reason, e->text);
    } else if (b->n > 0) {
        t->health = HEALTH_WORKING;
        t->reason[0] = '\0';
    }
    *changed = (was == HEALTH_FAILING) != (t->health == HEALTH_FAILING);
}

/* Locked. Waits for news, for at most `ms`; 0: as long as it takes. */
static void wait_for(struct forward *f, int64_t ms) {
    if (ms == 0) {
        pthread_cond_wait(&f->wake, &f->lock);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    pthread_cond_timedwait(&f->wake, &f->lock, &until);
}

static int64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Unlocked while it sends. Returns whether all were taken. */
static bool send_batch(struct receiver *t, struct sender *s, struct batch *b) {
    struct forward *f = t->forward;
    struct err e = {.code = ERR_OK};
    bool changed = false;
    pthread_mutex_unlock(&f->lock);
    size_t sent = b->n > 0 ? sender_send(s, b->config->doc->data, b->messages, b->n, &e) : 0;
    pthread_mutex_lock(&f->lock);
    bool stopping = atomic_load(&t->stop);
    if (!stopping || sent == b->n) {
        account(t, b, sent, &e, &changed);
    }
    for (size_t i = 0; i < b->n; i++) {
        if (b->held[i] != NULL) {
            waiting_release(b->held[i]);
        }
    }
    object_release((struct object *)(uintptr_t)b->config);
    bool save = (sent > 0 && b->beside == 0) || t->now.done > t->stored.done + SKIPPED_UNSAVED;
    pthread_mutex_unlock(&f->lock);
    if (changed && !stopping) {
        bool failing = sent < b->n;
        L_AT(failing ? LOGGER_WARN : LOGGER_INFO, "target %s %s%s%s", t->name,
             failing ? "does not take events" : "takes events again", failing ? ": " : "",
             failing ? e.text : "");
        tell_of(t, failing, e.text);
    }
    if (save) {
        forward_save(f);
    }
    pthread_mutex_lock(&f->lock);
    return sent == b->n;
}

static void *run(void *arg) {
    struct receiver *t = arg;
    struct forward *f = t->forward;
    struct sender s = {.controller = f->controller, .started_s = f->started_s, .stop = &t->stop};
    struct batch b;
    int64_t backoff = FORWARD_BACKOFF_MS, not_before = 0;
    uint64_t tried = 0, open_for = 0; /* generations of the configuration */
    pthread_mutex_lock(&f->lock);
    while (!atomic_load(&t->stop)) {
        int64_t left = not_before - monotonic_ms();
        if (left > 0 && tried == t->generation) {
            wait_for(f, left);
            continue;
        }
        if (!take(t, &b)) {
            wait_for(f, 0);
            continue;
        }
        if (open_for != b.generation) { /* another receiver, perhaps */
            sender_close(&s);
            open_for = b.generation;
        }
        tried = b.generation;
        bool good = send_batch(t, &s, &b);
        not_before = good ? 0 : monotonic_ms() + backoff;
        backoff = good                                   ? FORWARD_BACKOFF_MS
                  : backoff * 2 < FORWARD_BACKOFF_MAX_MS ? backoff * 2
                                                         : FORWARD_BACKOFF_MAX_MS;
    }
    t->ended = true;
    pthread_mutex_unlock(&f->lock);
    sender_close(&s);
    return NULL;
}

void courier_start(struct receiver *t) {
    sigset_t all, old;
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_BLOCK, &all, &old);
    t->running = pthread_create(&t->thread, NULL, run, t) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!t->running) {
        L_ERR("no thread for target %s: nothing is sent to it until the next start", t->name);
    }
}

void courier_join(struct receiver *t) {
    if (t->running) {
        pthread_mutex_lock(&t->forward->lock);
        atomic_store(&t->stop, true);
        pthread_cond_broadcast(&t->forward->wake);
        pthread_mutex_unlock(&t->forward->lock);
        pthread_join(t->thread, NULL);
        t->running = false;
    }
}
