// SPDX-License-Identifier: Apache-2.0
#include "core/target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "core/internal.h"

LOGGER_MODULE(target);

enum { BACKOFF_FIRST_S = 1, BACKOFF_MAX_S = 60, ANSWER_S = 30, SEND_GAP_MS = 10 };

struct target_session {
    struct core *core;
    const struct target_codec *codec;
    char *name;
    void *arg;
    enum target_state state;
    uint64_t desired, applied, in_flight, refused;
    uint64_t synced_to; /* the full exchange that is going on holds everything up to here */
    char *reason;
    int64_t since_s;
    uint32_t failures;
    bool connected, synced;
    struct timer timer; /* answer time-out, back-off, or the gap between two sends */
};

/* As weft-system.yang calls them: to be told apart, sending and waiting are not for people. */
static const char *const state_names[] = {
    [TARGET_DOWN] = "down",      [TARGET_SYNCING] = "syncing", [TARGET_IN_STEP] = "applied",
    [TARGET_SENDING] = "behind", [TARGET_WAITING] = "behind",  [TARGET_REFUSED] = "refused",
    [TARGET_HELD] = "held"};

const char *target_state_name(enum target_state s) {
    return state_names[s];
}

static struct tracked *tracked_at(struct core *c, uint64_t i) {
    return &c->tracked[i % COMMITS_TRACKED];
}

static void set_state(struct target_session *t, enum target_state s) {
    if (t->state != s) {
        t->state = s;
        t->since_s = clock_wall_s(t->core->clock);
    }
}

static void set_reason(struct target_session *t, const char *why) {
    mem_free(t->reason);
    t->reason = mem_strdup(why ? why : "");
}

static void send_now(struct target_session *t) {
    t->in_flight = t->desired;
    set_state(t, TARGET_SENDING);
    timer_arm(&t->core->timers, &t->timer, ANSWER_S * NS_PER_S);
    t->codec->send(t, t->arg, t->applied, t->in_flight);
}

/* Sends if there is something to send and nothing stands against it. */
static void pump(struct target_session *t) {
    if (!t->connected || !t->synced || t->state == TARGET_SENDING || t->state == TARGET_WAITING ||
        t->state == TARGET_HELD) {
        return;
    }
    if (t->applied >= t->desired) {
        set_state(t, TARGET_IN_STEP);
    } else if (t->refused < t->desired) {
        /* Changes that follow one another at once become one message. */
        set_state(t, TARGET_WAITING);
        timer_arm(&t->core->timers, &t->timer, SEND_GAP_MS * NS_PER_MS);
    } else {
        set_state(t, TARGET_REFUSED);
    }
}

static void failed(struct target_session *t, const char *why) {
    uint32_t shift = t->failures < 6 ? t->failures : 6;
    int64_t wait = (int64_t)BACKOFF_FIRST_S << shift;
    t->failures++;
    set_reason(t, why);
    set_state(t, TARGET_WAITING);
    timer_arm(&t->core->timers, &t->timer,
              (wait < BACKOFF_MAX_S ? wait : BACKOFF_MAX_S) * NS_PER_S);
}

static void timer_fire(struct timer *timer, void *arg) {
    struct target_session *t = arg;
    (void)timer;
    if (t->state == TARGET_SENDING) {
        failed(t, "no answer in time");
        targets_progress(t->core);
    } else if (t->state == TARGET_WAITING && t->connected) {
        send_now(t);
    }
}

struct target_session *target_new(struct core *c, const struct target_codec *codec,
                                  const char *name, void *arg) {
    struct target_session *t = MEM_NEW(struct target_session);
    t->core = c;
    t->codec = codec;
    t->name = mem_strdup(name);
    t->arg = arg;
    t->state = history_held(c, name) ? TARGET_HELD : TARGET_DOWN;
    t->since_s = clock_wall_s(c->clock);
    /* What was committed before is unknown to it until it has synchronised. */
    t->desired = core_head(c);
    t->reason = mem_strdup("");
    t->timer = (struct timer){.fire = timer_fire, .arg = t};
    map_put(&c->targets, name, t);
    return t;
}

void target_free(struct target_session *t) {
    if (t == NULL) {
        return;
    }
    struct core *c = t->core;
    timer_disarm(&c->timers, &t->timer);
    if (map_get(&c->targets, t->name) == t) {
        map_del(&c->targets, t->name);
    }
    for (uint64_t i = c->tracked_first; i < c->tracked_next && !c->closing; i++) {
        struct tracked *tr = tracked_at(c, i);
        for (size_t k = 0; k < tr->n_targets; k++) {
            tr->targets[k].gone |= strcmp(tr->targets[k].name, t->name) == 0;
        }
    }
    mem_free(t->name);
    mem_free(t->reason);
    mem_free(t);
}

void target_touch(struct target_session *t, struct txn *txn, const char *what) {
    for (size_t i = 0; i < txn->n_touched; i++) {
        if (txn->touched[i].target == t && strcmp(txn->touched[i].name, t->name) == 0) {
            char *was = txn->touched[i].what;
            size_t n = strlen(was);
            if (!txn->touched[i].full) { /* a change may touch it a hundred thousand times */
                bool fits = n + strlen(what) < TOUCH_TEXT_MAX;
                txn->touched[i].what = mem_printf("%s; %s", was, fits ? what : "and more");
                txn->touched[i].full = !fits;
                mem_free(was);
            }
            return;
        }
    }
    if (txn->n_touched == txn->cap_touched) {
        txn->cap_touched = txn->cap_touched ? txn->cap_touched * 2 : 4;
        txn->touched = mem_array(txn->touched, txn->cap_touched, sizeof *txn->touched);
    }
    txn->touched[txn->n_touched++] =
        (struct touched){t, mem_strdup(t->name), mem_strdup(what), false};
}

void target_connected(struct target_session *t) {
    t->connected = true;
    t->synced = false;
    t->synced_to = core_head(t->core);
    t->failures = 0;
    timer_disarm(&t->core->timers, &t->timer);
    if (t->state != TARGET_HELD) {
        set_state(t, TARGET_SYNCING);
    }
}

void target_synced(struct target_session *t) {
    /* What was committed while the exchange went on may have missed it: that is sent again. */
    t->synced = true;
    t->applied = t->synced_to > t->applied ? t->synced_to : t->applied;
    t->desired = t->desired > t->applied ? t->desired : t->applied;
    if (t->state != TARGET_HELD) {
        set_state(t, TARGET_IN_STEP);
        pump(t);
    }
    if (t->state == TARGET_IN_STEP) {
        set_reason(t, ""); /* why it was away says nothing any more */
    }
    targets_progress(t->core);
}

void target_lost(struct target_session *t, const char *why) {
    t->connected = t->synced = false;
    t->in_flight = 0;
    timer_disarm(&t->core->timers, &t->timer);
    set_reason(t, why);
    if (t->state != TARGET_HELD) {
        set_state(t, TARGET_DOWN);
    }
    targets_progress(t->core);
}

void target_applied(struct target_session *t, uint64_t revision) {
    if (revision > t->applied) {
        t->applied = revision;
    }
    if (t->state == TARGET_SENDING && revision >= t->in_flight) {
        timer_disarm(&t->core->timers, &t->timer);
        t->failures = 0;
        set_state(t, TARGET_IN_STEP);
        set_reason(t, "");
        pump(t);
    } else if (t->state == TARGET_WAITING && t->applied >= t->desired) {
        timer_disarm(&t->core->timers, &t->timer); /* it came late, and there is no more to say */
        t->failures = 0;
        set_reason(t, "");
        set_state(t, TARGET_IN_STEP);
    }
    targets_progress(t->core);
}

void target_refused(struct target_session *t, uint64_t revision, const char *why) {
    L_WARN("%s %s refuses revision %" PRIu64 ": %s", t->codec->type, t->name, revision, why);
    if (revision > t->refused) {
        t->refused = revision;
        set_reason(t, why);
    }
    if (t->state == TARGET_SENDING && revision >= t->in_flight) {
        timer_disarm(&t->core->timers, &t->timer);
        set_state(t, TARGET_REFUSED);
        pump(t);
    }
    targets_progress(t->core);
}

void target_failed(struct target_session *t, uint64_t revision, const char *why) {
    (void)revision;
    if (t->state == TARGET_SENDING) {
        failed(t, why);
    }
    targets_progress(t->core);
}

void target_hold(struct target_session *t, struct txn *txn, bool held) {
    history_set_held(txn, t->name, held);
}

/* The fold of that record, so that the session follows when it is undone. */
void targets_held(struct core *c, const char *name, size_t len, bool held) {
    struct target_session *t = map_get_n(&c->targets, name, len);
    if (t == NULL || held == (t->state == TARGET_HELD)) {
        return;
    }
    timer_disarm(&c->timers, &t->timer);
    set_state(t, held            ? TARGET_HELD
                 : !t->connected ? TARGET_DOWN
                 : !t->synced    ? TARGET_SYNCING
                                 : TARGET_IN_STEP);
    pump(t);
}

void target_info(const struct target_session *t, struct target_info *out) {
    *out = (struct target_info){.name = t->name,
                                .type = t->codec->type,
                                .state = t->state,
                                .desired = t->desired,
                                .applied = t->applied,
                                .refused = t->refused,
                                .reason = t->reason,
                                .since_s = t->since_s,
                                .failures = t->failures};
}

struct target_session *target_next(struct core *c, const struct target_session *after) {
    struct target_session *best = NULL;
    MAP_FOREACH (e, &c->targets) {
        struct target_session *t = e->value;
        if ((after == NULL || strcmp(t->name, after->name) > 0) &&
            (best == NULL || strcmp(t->name, best->name) < 0)) {
            best = t;
        }
    }
    return best;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(struct target_session *const *)a)->name,
                  (*(struct target_session *const *)b)->name);
}

struct target_session **targets_sorted(struct core *c, size_t *n) {
    struct target_session **all = mem_alloc((c->targets.count + 1) * sizeof *all);
    *n = 0;
    MAP_FOREACH (e, &c->targets) {
        all[(*n)++] = e->value;
    }
    qsort(all, *n, sizeof *all, by_name);
    return all;
}

/* ---- commits and their targets --------------------------------------------------------------- */

static void tracked_clear(struct tracked *tr) {
    for (size_t i = 0; i < tr->n_targets; i++) {
        mem_free(tr->targets[i].name);
        mem_free(tr->targets[i].reason);
    }
    mem_free(tr->targets);
    *tr = (struct tracked){.index = 0};
}

/* A new place at the end of the ring, with room for n targets. */
static struct tracked *track(struct core *c, uint64_t index, size_t n) {
    if (c->tracked == NULL) {
        c->tracked = mem_alloc(COMMITS_TRACKED * sizeof *c->tracked);
    }
    if (c->tracked_next - c->tracked_first == COMMITS_TRACKED) {
        tracked_clear(tracked_at(c, c->tracked_first++));
    }
    struct tracked *tr = tracked_at(c, c->tracked_next++);
    tr->index = index;
    tr->targets = n > 0 ? mem_alloc(n * sizeof *tr->targets) : NULL;
    return tr;
}

static struct tracked *find_tracked(struct core *c, uint64_t index) {
    uint64_t low = c->tracked_first, high = c->tracked_next;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (tracked_at(c, mid)->index < index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < c->tracked_next && tracked_at(c, low)->index == index ? tracked_at(c, low) : NULL;
}

void targets_committed(struct txn *t) {
    struct core *c = t->core;
    if (!t->is_commit && t->n_touched == 0) {
        return;
    }
    struct tracked *tr = track(c, t->index, t->n_touched);
    for (size_t i = 0; i < t->n_touched; i++) {
        /* It may have been freed since, by an earlier answer of this batch. */
        struct target_session *ts = map_get(&c->targets, t->touched[i].name);
        tr->targets[tr->n_targets++] = (struct tracked_target){
            .name = mem_strdup(t->touched[i].name), .gone = ts == NULL, .reason = NULL};
        if (ts != NULL) {
            ts->desired = t->index;
            pump(ts);
        }
    }
}

void targets_taken_back(struct core *c, uint64_t from, uint64_t before) {
    for (uint64_t i = c->tracked_first; i < c->tracked_next; i++) {
        struct tracked *tr = tracked_at(c, i);
        tr->taken_back |= tr->index >= from && tr->index < before;
    }
}

static void track_name(struct tracked *tr, const char *name) {
    for (size_t i = 0; i < tr->n_targets; i++) {
        if (strcmp(tr->targets[i].name, name) == 0) {
            return;
        }
    }
    tr->targets = mem_array(tr->targets, tr->n_targets + 1, sizeof *tr->targets);
    tr->targets[tr->n_targets++] = (struct tracked_target){.name = mem_strdup(name)};
}

static bool may_be_taken_back(const struct core *c, uint64_t index) {
    return c->confirm.mode != CONFIRM_NONE && c->confirm.first_before <= index;
}

void targets_recovered(struct core *c) {
    const struct confirm *cf = &c->confirm;
    for (size_t i = 0; i < c->n_history; i++) {
        const struct commit_record *r = c->history[i];
        bool waits = cf->mode != CONFIRM_NONE && cf->index == r->info.index;
        if (!r->knows_targets && !waits) {
            continue;
        }
        struct tracked *tr = track(c, r->info.index, r->n_targets);
        tr->recovered = !may_be_taken_back(c, r->info.index);
        for (size_t k = 0; k < r->n_targets; k++) {
            track_name(tr, r->targets[k]);
        }
        for (size_t k = 0; waits && k < cf->n_targets; k++) {
            track_name(tr, cf->targets[k]);
        }
    }
}

/* Targets that no service knows any more are gone. Not for a commit that may be taken back: that
 * one wants to hear it from each of them. */
void targets_started(struct core *c) {
    for (uint64_t i = c->tracked_first; i < c->tracked_next; i++) {
        struct tracked *tr = tracked_at(c, i);
        for (size_t k = 0; tr->recovered && k < tr->n_targets; k++) {
            tr->targets[k].gone = map_get(&c->targets, tr->targets[k].name) == NULL;
        }
    }
}

/* Looks at the sessions; what was seen once (applied, refused) stays so for this commit. */
static enum commit_phase phase_of(struct core *c, struct tracked *tr, struct buf *text) {
    bool pending = false, refused = false;
    for (size_t i = 0; i < tr->n_targets; i++) {
        struct tracked_target *tt = &tr->targets[i];
        struct target_session *ts = tt->gone ? NULL : map_get(&c->targets, tt->name);
        if (ts != NULL && !tt->refused && !tt->applied) {
            if (ts->applied >= tr->index) {
                tt->applied = true;
            } else if (ts->refused >= tr->index && !tr->recovered) {
                tt->refused = true;
                tt->reason = mem_strdup(ts->reason);
            }
        }
        bool waits = !tt->gone && !tt->applied && !tt->refused;
        refused |= tt->refused;
        pending |= waits;
        if (text != NULL) {
            const char *state = tt->refused           ? "refused"
                                : tt->applied         ? "applied"
                                : waits && ts != NULL ? target_state_name(ts->state)
                                : waits               ? "not seen since the start"
                                                      : "gone";
            const char *why = tt->refused ? tt->reason : waits && ts != NULL ? ts->reason : "";
            buf_printf(text, "%s: %s%s%s\n", tt->name, state, why[0] ? ": " : "", why);
        }
    }
    if (tr->taken_back) {
        return COMMIT_TAKEN_BACK;
    }
    return refused ? COMMIT_REFUSED : pending ? COMMIT_PENDING : COMMIT_APPLIED;
}

enum commit_phase commit_phase_of(struct core *c, uint64_t index, struct buf *text) {
    struct tracked *tr = find_tracked(c, index);
    enum commit_phase phase = tr != NULL ? phase_of(c, tr, text) : COMMIT_UNKNOWN;
    return history_fate(c, index) != NULL ? COMMIT_TAKEN_BACK : phase;
}

static void finish_waiter(struct waiter *w, enum commit_phase phase, const char *text) {
    list_remove(&w->link);
    timer_disarm(&w->core->timers, &w->timer);
    w->done(w->arg, phase, text);
    mem_free(w);
}

static void check_waiter(struct waiter *w, bool time_over) {
    struct buf text = BUF_INIT;
    struct core *c = w->core;
    enum commit_phase phase = commit_phase_of(c, w->index, &text);
    /* A refusal of a commit that is being taken back is told once that is done. */
    bool going_back = phase == COMMIT_REFUSED && c->confirm.mode == CONFIRM_BY_TARGETS &&
                      c->confirm.first_before <= w->index;
    if (time_over || (phase != COMMIT_PENDING && !going_back)) {
        finish_waiter(w, phase, buf_cstr(&text));
    }
    buf_free(&text);
}

static void waiter_fire(struct timer *t, void *arg) {
    (void)t;
    check_waiter(arg, true);
}

/* Which refusal, and by whom, for the history of the take-back. */
static void refusal_text(struct core *c, struct buf *out) {
    for (uint64_t i = c->tracked_first; i < c->tracked_next; i++) {
        struct tracked *tr = tracked_at(c, i);
        for (size_t k = 0; tr->index >= c->confirm.first_before && k < tr->n_targets; k++) {
            if (tr->targets[k].refused) {
                buf_printf(out, "%s%s refused: %s", out->len ? "; " : "", tr->targets[k].name,
                           tr->targets[k].reason);
            }
        }
    }
}

static void confirm_by_targets(struct core *c) {
    if (c->confirm.mode != CONFIRM_BY_TARGETS || c->take_back != NULL) {
        return;
    }
    bool all = true, refused = false;
    for (uint64_t i = c->tracked_first; i < c->tracked_next; i++) {
        struct tracked *tr = tracked_at(c, i);
        if (tr->index >= c->confirm.first_before && !tr->taken_back) {
            enum commit_phase p = phase_of(c, tr, NULL);
            all &= p == COMMIT_APPLIED;
            refused |= p == COMMIT_REFUSED;
        }
    }
    if (refused) {
        struct buf why = BUF_INIT;
        refusal_text(c, &why);
        confirm_take_back(c, buf_cstr(&why));
        buf_free(&why);
    } else if (all) {
        confirm_by_targets_done(c);
    }
}

void targets_progress(struct core *c) {
    if (c->closing) {
        return;
    }
    confirm_by_targets(c);
    LIST_FOREACH_SAFE (l, &c->waiters) {
        check_waiter(CONTAINER_OF(l, struct waiter, link), false);
    }
}

struct wait_start {
    struct core *core;
    struct waiter *waiter;
    int64_t timeout_ns;
};

static enum err_code wait_work(struct txn *t, void *arg, struct err *e) {
    (void)t;
    (void)arg;
    (void)e;
    return ERR_OK;
}

static void wait_done(void *arg, uint64_t index, const struct err *e) {
    struct wait_start *ws = arg;
    struct core *c = ws->core;
    (void)index;
    if (e != NULL) { /* the queue was full */
        ws->waiter->done(ws->waiter->arg, COMMIT_UNKNOWN, e->text);
        mem_free(ws->waiter);
    } else {
        list_append(&c->waiters, &ws->waiter->link);
        timer_arm(&c->timers, &ws->waiter->timer, ws->timeout_ns);
        check_waiter(ws->waiter, false);
    }
    mem_free(ws);
}

void core_commit_wait(struct core *c, uint64_t index, int64_t timeout_ns,
                      void (*done)(void *arg, enum commit_phase phase, const char *text),
                      void *arg) {
    struct waiter *w = MEM_NEW(struct waiter);
    *w = (struct waiter){.index = index, .core = c, .done = done, .arg = arg};
    w->timer = (struct timer){.fire = waiter_fire, .arg = w};
    struct wait_start *ws = MEM_NEW(struct wait_start);
    *ws = (struct wait_start){c, w, timeout_ns};
    core_run_look(c, &actor_system, wait_work, wait_done, ws);
}

void targets_free(struct core *c) {
    LIST_FOREACH_SAFE (l, &c->waiters) {
        finish_waiter(CONTAINER_OF(l, struct waiter, link), COMMIT_UNKNOWN, "shutting down");
    }
    MAP_FOREACH (e, &c->targets) {
        target_free(e->value);
    }
    map_free(&c->targets, NULL);
    for (uint64_t i = c->tracked_first; i < c->tracked_next; i++) {
        tracked_clear(tracked_at(c, i));
    }
    mem_free(c->tracked);
}
