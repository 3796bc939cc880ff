// SPDX-License-Identifier: Apache-2.0
#include "core/logins.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/internal.h"
#include "core/system.h"

struct slot {
    char user[64], source[96];
    const char *why;
    uint64_t count;   /* not recorded yet */
    uint64_t writing; /* of them, those of the record that is on its way */
    int64_t first_s;  /* of those not recorded */
    bool recorded;    /* once: what follows waits for the timer */
};

struct logins {
    struct core *core;
    pthread_mutex_t lock;
    struct slot slots[LOGINS_SLOTS], others; /* others: those for which there was no slot */
    size_t n;
    bool queued, ran;
    bool timed; /* the timer will come back to what is not recorded */
    bool all;   /* it has: this time everything is recorded */
    struct timer timer;
};

static void flush_fire(struct timer *t, void *arg) {
    struct logins *l = arg;
    (void)t;
    pthread_mutex_lock(&l->lock);
    l->timed = false;
    pthread_mutex_unlock(&l->lock);
    logins_flush(l, true);
}

struct logins *logins_new(struct core *c) {
    struct logins *l = MEM_NEW(struct logins);
    l->core = c;
    l->timer = (struct timer){.fire = flush_fire, .arg = l};
    l->others.why = "more users and sources than are told apart";
    snprintf(l->others.user, sizeof l->others.user, "(others)");
    snprintf(l->others.source, sizeof l->others.source, "several");
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void logins_free(struct logins *l) {
    if (l != NULL) {
        timer_disarm(&l->core->timers, &l->timer);
        pthread_mutex_destroy(&l->lock);
        mem_free(l);
    }
}

/* "restconf 192.0.2.7:4711" without the port, which is another one each time. */
static void without_port(const char *source, char *out, size_t size) {
    snprintf(out, size, "%s", source);
    char *colon = strrchr(out, ':');
    if (colon != NULL && colon[1] != '\0' && colon[1 + strspn(colon + 1, "0123456789")] == '\0') {
        *colon = '\0';
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_slot(struct txn *t, struct slot *s) {
    char result[320], since[TIME_TEXT_MAX];
    s->writing = s->count;
    if (s->count == 1) {
        snprintf(result, sizeof result, "failed: %s", s->why);
    } else {
        snprintf(result, sizeof result, "failed %" PRIu64 " times since %s: %s", s->count,
                 time_format(s->first_s, 0, since), s->why);
    }
    audit_put_login(t, s->user, s->source, result);
}

static enum err_code flush_work(struct txn *t, void *arg, struct err *e) {
    struct logins *l = arg;
    (void)e;
    pthread_mutex_lock(&l->lock);
    l->ran = true;
    for (size_t i = 0; i <= l->n; i++) {
        struct slot *s = i < l->n ? &l->slots[i] : &l->others;
        if (s->count > 0 && (l->all || !s->recorded)) {
            put_slot(t, s);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return ERR_OK;
}

static void slot_written(struct slot *s, int64_t now_s) {
    s->recorded |= s->writing > 0;
    s->count -= s->writing;
    s->first_s = now_s;
}

static void flush_done(void *arg, uint64_t index, const struct err *e) {
    struct logins *l = arg;
    int64_t now_s = clock_wall_s(l->core->clock);
    (void)index;
    pthread_mutex_lock(&l->lock);
    for (size_t i = l->n + 1; i-- > 0;) {
        struct slot *s = i < l->n ? &l->slots[i] : &l->others;
        bool idle = l->all && l->ran && s->count == 0; /* a whole minute without one */
        if (e == NULL && s->writing > 0) {
            slot_written(s, now_s);
        }
        s->writing = 0;
        if (idle && i < l->n) {
            *s = l->slots[--l->n];
        } else if (idle) {
            s->recorded = false;
        }
    }
    l->queued = false;
    if (l->ran && !l->timed && (l->n > 0 || l->others.count > 0)) {
        /* Not when the queue was full: then this is not the writer's thread, and the next failure
         * tries again. */
        l->timed = true;
        timer_arm(&l->core->timers, &l->timer, LOGINS_EVERY_S * NS_PER_S);
    }
    pthread_mutex_unlock(&l->lock);
}

void logins_flush(struct logins *l, bool all) {
    pthread_mutex_lock(&l->lock);
    bool wanted = !l->queued && (l->n > 0 || l->others.count > 0);
    if (wanted) {
        l->queued = true;
        l->ran = false;
        l->all = all;
    }
    pthread_mutex_unlock(&l->lock);
    if (wanted) {
        core_run(l->core, &actor_system, flush_work, flush_done, l);
    }
}

/* ---- counting -------------------------------------------------------------------------------- */

static struct slot *find_slot(struct logins *l, const char *user, const char *source,
                              const char *why, bool *is_new) {
    for (size_t i = 0; i < l->n; i++) {
        struct slot *s = &l->slots[i];
        if (strcmp(s->user, user) == 0 && strcmp(s->source, source) == 0 &&
            strcmp(s->why, why) == 0) {
            return s;
        }
    }
    *is_new = true;
    if (l->n == LOGINS_SLOTS) {
        *is_new = !l->others.recorded && l->others.count == 0;
        return &l->others;
    }
    struct slot *s = &l->slots[l->n++];
    *s = (struct slot){.why = why};
    snprintf(s->user, sizeof s->user, "%s", user);
    snprintf(s->source, sizeof s->source, "%s", source);
    return s;
}

void login_failed(struct core *c, const char *user, const char *source, const char *why) {
    struct logins *l = c->logins;
    char from[sizeof l->others.source], name[sizeof l->others.user];
    without_port(source, from, sizeof from);
    text_line(name, sizeof name, user ? user : "(unknown)");
    bool now = false;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find_slot(l, name, from, why, &now);
    if (s->count++ == 0) {
        s->first_s = clock_wall_s(c->clock);
    }
    now |= !l->timed;
    pthread_mutex_unlock(&l->lock);
    if (now) {
        logins_flush(l, false);
    }
}
