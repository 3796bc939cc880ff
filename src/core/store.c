// SPDX-License-Identifier: Apache-2.0
/*
 * Can the store be written? When an append fails, memory is what was published and stays so; what
 * would write is refused with the reason and the time since, everything else goes on. A timer tries
 * again with back-off until it works:
 *
 *     writable ---append failed---> unwritable ---log_reopen when the log says so, lease--->
 * writable |    ^
 *                                     +----+ 1 s, 2 s, ... 30 s
 *
 * A full disk leaves the log open: each change that comes tries it as well. After a failed sync
 * nothing may be appended before the log was opened again and holds exactly what was acknowledged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "core/internal.h"

LOGGER_MODULE(store);

enum {
    RETRY_FIRST_S = 1,
    RETRY_MAX_S = 30,
    IN_USE_RETRY_MS = 200,
    ROOM_SPARE = 1 << 20 /* bytes that must be free besides those of what was refused */
};

static void show(struct core *c) {
    const struct store *st = &c->store;
    c->stats.writable = st->writable;
    c->stats.unwritable_since_s = st->writable ? 0 : st->since_s;
    text_line(c->stats.unwritable_why, sizeof c->stats.unwritable_why, st->writable ? "" : st->why);
    stats_show(c);
}

static void tell(struct core *c, const char *name, const char *why) {
    struct buf b = BUF_INIT;
    char since[TIME_TEXT_MAX];
    buf_printf(&b, "{\"since\":\"%s\"", time_format(c->store.since_s, 0, since));
    if (why != NULL) {
        buf_str(&b, ",\"reason\":");
        text_json(&b, why);
    } else {
        buf_printf(&b, ",\"refused\":\"%" PRIu64 "\"", c->store.refused);
    }
    buf_char(&b, '}');
    events_tell(c, name, buf_cstr(&b));
    buf_free(&b);
}

static void retry_later(struct core *c) {
    unsigned shift = c->store.tries < 5 ? c->store.tries : 5;
    int64_t s = (int64_t)RETRY_FIRST_S << shift;
    c->store.tries++;
    timer_arm(&c->timers, &c->store.retry, (s < RETRY_MAX_S ? s : RETRY_MAX_S) * NS_PER_S);
}

/* The storage's own sentence, and whether the log wants to be opened again. */
static void look_at_log(struct core *c, const struct err *why) {
    struct store *st = &c->store;
    struct log_status ls;
    log_status(c->log, &ls);
    st->needs_reopen = ls.needs_reopen;
    st->in_doubt = ls.in_doubt;
    bool says_reopen = ls.needs_reopen && why->code == ERR_UNAVAILABLE;
    text_line(st->why, sizeof st->why, says_reopen ? ls.reason : why->text);
    st->full = why->code == ERR_LIMIT;
}

void store_failed(struct core *c, const struct err *why, size_t bytes) {
    struct store *st = &c->store;
    look_at_log(c, why);
    st->refused_bytes = bytes;
    if (st->writable) {
        st->writable = false;
        st->since_s = clock_wall_s(c->clock);
        st->refused = 0;
        c->stats.store_outages++;
        L_ERR("the store can't be written: %s", st->why);
        tell(c, "weft-system:store-unwritable", st->why);
    }
    if (!timer_armed(&st->retry)) {
        retry_later(c);
    }
    show(c);
}

static void works_again(struct core *c) {
    struct store *st = &c->store;
    if (!st->writable) {
        st->writable = true;
        st->needs_reopen = st->in_doubt = st->full = false;
        timer_disarm(&c->timers, &st->retry);
        L_WARN("the store can be written again, after %" PRId64 " s and %" PRIu64 " refusals",
               clock_wall_s(c->clock) - st->since_s, st->refused);
        tell(c, "weft-system:store-writable-again", NULL);
        confirm_hurry(c);
        show(c);
    }
}

void store_appended(struct core *c) {
    works_again(c);
    c->store.tries = 0; /* after a mere probe the next outage goes on with the back-off */
}

enum err_code store_refusal(struct core *c, struct err *e) {
    struct store *st = &c->store;
    char since[TIME_TEXT_MAX];
    st->refused++;
    return err_set(e, ERR_UNAVAILABLE, NULL, "the store can't be written since %s: %s",
                   time_format(st->since_s, 0, since), st->why);
}

enum err_code store_refusal_in_doubt(struct core *c, struct err *e) {
    struct err plain;
    enum err_code rc = store_refusal(c, &plain);
    return c->store.in_doubt
               ? err_set(e, rc, NULL,
                         "%s; the disk would not even take it back: should the controller end "
                         "before the store works again, this may be there at the next start",
                         plain.text)
               : err_set(e, rc, NULL, "%s", plain.text);
}

/* Memory goes on from where it is: the log must be there too. */
static enum err_code check_head(struct core *c, struct err *e) {
    uint64_t head = log_head(c->log);
    return head == core_head(c)
               ? ERR_OK
               : err_set(e, ERR_CONFLICT, NULL,
                         "the log ends at entry %" PRIu64 " and memory at %" PRIu64, head,
                         core_head(c));
}

/* What was refused for want of room would be refused again when there is no more now. */
static enum err_code check_room(struct core *c, struct err *e) {
    struct log_status ls;
    log_status(c->log, &ls);
    if (!c->store.full || ls.free_bytes >= 2 * c->store.refused_bytes + ROOM_SPARE) {
        return ERR_OK;
    }
    return err_set(e, ERR_LIMIT, NULL, "the disk is full: %" PRIu64 " KiB are free",
                   ls.free_bytes >> 10);
}

static enum err_code try_again(struct core *c, struct err *e) {
    if (c->store.needs_reopen) {
        ERR_TRY(log_reopen(c->log, e));
        c->store.needs_reopen = false;
        c->stats.store_reopens++;
        L_INFO("the log is open again, up to entry %" PRIu64, log_head(c->log));
    }
    ERR_TRY(check_head(c, e));
    ERR_TRY(check_room(c, e));
    return log_lease_acquire(c->log, &c->lease, e); /* writes, so it shows whether that works */
}

static void retry_fire(struct timer *t, void *arg) {
    struct core *c = arg;
    struct err e;
    (void)t;
    if (c->store.writable || role_of(c) != CORE_LEADS) {
        return;
    }
    enum err_code rc = try_again(c, &e);
    if (rc == ERR_OK) {
        works_again(c);
    } else if (rc == ERR_LOCKED) {
        timer_arm(&c->timers, &c->store.retry, IN_USE_RETRY_MS * NS_PER_MS);
    } else {
        L_WARN_RL(60, "the store still can't be written: %s", e.text);
        store_failed(c, &e, c->store.refused_bytes);
    }
}

void store_start(struct core *c) {
    c->store.writable = true;
    c->store.retry = (struct timer){.fire = retry_fire, .arg = c};
    c->stats.writable = c->shown_stats.writable = true;
}

void store_look(struct core *c) {
    struct log_status ls;
    if (c->store.needs_reopen) {
        return;
    }
    log_status(c->log, &ls);
    if (ls.needs_reopen) {
        struct err e;
        err_set(&e, ERR_UNAVAILABLE, NULL, "%s", ls.reason);
        store_failed(c, &e, 0);
    }
}

static enum err_code look_work(struct txn *t, void *arg, struct err *e) {
    (void)arg;
    (void)e;
    store_look(t->core);
    return ERR_OK;
}

void store_look_soon(struct core *c) {
    core_run_look(c, &actor_system, look_work, NULL, NULL);
}

void store_close(struct core *c) {
    struct err e;
    timer_disarm(&c->timers, &c->store.retry);
    /* What was refused must not be there at the next start, if that can be had. */
    if (c->store.needs_reopen && log_reopen(c->log, &e) != ERR_OK) {
        L_WARN("the log could not be opened again before the end: %s", e.text);
    }
}
