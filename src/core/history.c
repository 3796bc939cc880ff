// SPDX-License-Identifier: Apache-2.0
/*
 * Core's own state records:
 *   core/commit/N       who, when, why, the targets concerned, and the former version of each
 *                       object commit N touched
 *   core/fate/N         commit N was taken back: by which commit, when and why
 *   core/confirm        the confirmed commit that waits
 *   core/handsoff/NAME  targets that an operator holds
 * A rollback walks the commit records backwards from today's tree; nothing else is kept for it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "core/go_back.h"
#include "core/internal.h"
#include "core/rights.h"
#include "core/system.h"

LOGGER_MODULE(history);

enum {
    RECORD_VERSION = 1,
    COMMIT_VERSION = 2,  /* 1: without targets */
    CONFIRM_VERSION = 3, /* 1: without the time that was given; 2: without session */
    TAKE_BACK_RETRY_S = 10
};

#define COMMIT_KEY  CORE_STATE_PREFIX "commit/"
#define FATE_KEY    CORE_STATE_PREFIX "fate/"
#define CONFIRM_KEY CORE_STATE_PREFIX "confirm"
#define HELD_KEY    CORE_STATE_PREFIX "handsoff/"

static void record_release(struct commit_record *r) {
    if (r != NULL && atomic_fetch_sub(&r->refs, 1) == 1) {
        for (size_t i = 0; i < r->n_targets; i++) {
            mem_free(r->targets[i]);
        }
        mem_free(r->targets);
        buf_free(&r->raw);
        mem_free(r);
    }
}

static void commit_key(uint64_t index, char out[64]) {
    snprintf(out, 64, COMMIT_KEY "%020" PRIu64, index);
}

static void fate_key(uint64_t index, char out[64]) {
    snprintf(out, 64, FATE_KEY "%020" PRIu64, index);
}

static bool has_prefix(const char *key, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && memcmp(key, prefix, n) == 0;
}

static void take_text(struct cur *c, char *out, size_t size) {
    struct cur s = cur_blob(c);
    snprintf(out, size, "%.*s", (int)cur_left(&s), s.p ? (const char *)s.p : "");
}

static void take_names(struct cur *c, char ***names, size_t *n) {
    uint64_t count = cur_var(c);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        *names = mem_array(*names, i + 1, sizeof **names);
        (*names)[(*n)++] = cur_blob_strdup(c);
    }
}

static void confirm_clear(struct confirm *cf) {
    for (size_t i = 0; i < cf->n_targets; i++) {
        mem_free(cf->targets[i]);
    }
    mem_free(cf->targets);
    *cf = (struct confirm){.mode = CONFIRM_NONE};
}

static enum err_code record_decode(const void *value, size_t len, struct commit_record **out,
                                   struct err *e) {
    struct cur c = cur_of(value, len);
    uint8_t version = cur_u8(&c);
    if (version == 0 || version > COMMIT_VERSION) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "written by a newer version (%u)", version);
    }
    struct commit_record *r = MEM_NEW(struct commit_record);
    atomic_init(&r->refs, 1);
    r->info.index = cur_var(&c);
    r->info.time_s = (int64_t)cur_u64(&c);
    take_text(&c, r->info.user, sizeof r->info.user);
    take_text(&c, r->info.source, sizeof r->info.source);
    take_text(&c, r->info.comment, sizeof r->info.comment);
    take_text(&c, r->info.label, sizeof r->info.label);
    if (version >= 2) {
        r->knows_targets = true;
        take_names(&c, &r->targets, &r->n_targets);
    }
    r->before_at = (size_t)(c.p - (const uint8_t *)value);
    if (c.bad) {
        record_release(r);
        return err_set(e, ERR_MALFORMED, NULL, "the commit record is damaged");
    }
    buf_add(&r->raw, value, len);
    *out = r;
    return ERR_OK;
}

void history_record(struct txn *t) {
    struct core *c = t->core;
    struct buf b = BUF_INIT, object = BUF_INIT;
    buf_u8(&b, COMMIT_VERSION);
    buf_var(&b, t->index);
    buf_u64(&b, (uint64_t)(t->now_ns / NS_PER_S));
    buf_blob_str(&b, t->who.user);
    buf_blob_str(&b, t->who.source);
    buf_blob_str(&b, t->comment);
    buf_blob_str(&b, t->label);
    buf_var(&b, t->n_touched);
    for (size_t i = 0; i < t->n_touched; i++) {
        buf_blob_str(&b, t->touched[i].name);
    }
    buf_var(&b, t->n_changes);
    for (size_t i = 0; i < t->n_changes; i++) {
        const struct txn_op *op = &t->changes[i];
        buf_blob_str(&b, op->old ? op->old->doc->path : op->new_->doc->path);
        buf_clear(&object);
        if (op->old != NULL) {
            object_encode(op->old, &object);
        }
        buf_var(&b, op->old ? op->old->modified : 0);
        buf_blob(&b, buf_cstr(&object), object.len);
    }
    char key[64];
    commit_key(t->index, key);
    txn_put_state(t, key, strlen(key), buf_cstr(&b), b.len);
    while (
        c->n_history > 1 &&
        (c->n_history > c->options.history || c->history_bytes > HISTORY_BYTES_MAX) &&
        /* What may still be taken back must stay whole. */
        (c->confirm.mode == CONFIRM_NONE || c->history[0]->info.index < c->confirm.first_before)) {
        uint64_t oldest = c->history[0]->info.index;
        fate_key(oldest, key);
        txn_delete_state(t, key, strlen(key));
        commit_key(oldest, key);
        txn_delete_state(t, key, strlen(key));
    }
    buf_free(&b);
    buf_free(&object);
}

/* The number at the end of a key. */
static uint64_t key_index(const char *key, size_t len) {
    uint64_t n = 0, digit = 1;
    for (; len > 0 && key[len - 1] >= '0' && key[len - 1] <= '9'; len--, digit *= 10) {
        n += digit * (uint64_t)(key[len - 1] - '0');
    }
    return n;
}

/* Where the commit with this index is, or would be; from the end, where it nearly always is. */
static size_t place_of(const struct core *c, uint64_t index) {
    size_t i = c->n_history;
    while (i > 0 && c->history[i - 1]->info.index >= index) {
        i--;
    }
    return i;
}

static enum err_code fold_commit(struct core *c, uint64_t index, const void *value, size_t len,
                                 struct err *e) {
    struct commit_record *r = NULL;
    if (value != NULL) {
        ERR_TRY(record_decode(value, len, &r, e));
    }
    size_t i = place_of(c, index);
    bool there = i < c->n_history && c->history[i]->info.index == index;
    c->history_bytes -= there ? c->history[i]->raw.len : 0;
    c->history_bytes += r != NULL ? r->raw.len : 0;
    if (there && r != NULL) {
        record_release(c->history[i]);
        c->history[i] = r;
    } else if (there) {
        record_release(c->history[i]);
        memmove(&c->history[i], &c->history[i + 1], (--c->n_history - i) * sizeof c->history[0]);
    } else if (r != NULL) {
        c->history = mem_array(c->history, c->n_history + 1, sizeof c->history[0]);
        memmove(&c->history[i + 1], &c->history[i], (c->n_history++ - i) * sizeof c->history[0]);
        c->history[i] = r;
    }
    return ERR_OK;
}

const struct fate *history_fate(const struct core *c, uint64_t index) {
    return map_get_n(&c->fates, &index, sizeof index);
}

static enum err_code fold_fate(struct core *c, uint64_t index, const void *value, size_t len,
                               struct err *e) {
    if (value == NULL) {
        mem_free(map_del_n(&c->fates, &index, sizeof index));
        return ERR_OK;
    }
    struct cur p = cur_of(value, len);
    if (cur_u8(&p) != RECORD_VERSION) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "written by another version");
    }
    struct fate *f = MEM_NEW(struct fate);
    f->by = cur_var(&p);
    f->time_s = (int64_t)cur_u64(&p);
    take_text(&p, f->why, sizeof f->why);
    if (p.bad) {
        mem_free(f);
        return err_set(e, ERR_MALFORMED, NULL, "the record is damaged");
    }
    mem_free(map_put_n(&c->fates, &index, sizeof index, f));
    return ERR_OK;
}

static void fate_encode(const struct fate *f, struct buf *out) {
    buf_u8(out, RECORD_VERSION);
    buf_var(out, f->by);
    buf_u64(out, (uint64_t)f->time_s);
    buf_blob_str(out, f->why);
}

/* All commits from `first` on are taken back by this transaction. */
static void fates_put(struct txn *t, uint64_t first) {
    const struct core *c = t->core;
    struct fate f = {.by = t->n_changes > 0 ? t->index : 0, .time_s = txn_now_s(t)};
    struct buf b = BUF_INIT;
    text_line(f.why, sizeof f.why, t->comment);
    fate_encode(&f, &b);
    for (size_t i = c->n_history; i-- > 0 && c->history[i]->info.index >= first;) {
        char key[64];
        fate_key(c->history[i]->info.index, key);
        txn_put_state(t, key, strlen(key), buf_cstr(&b), b.len);
    }
    buf_free(&b);
}

/* Time that was given runs by the clock that nobody sets. The deadline in the record is for people
 * and for the next start; there what is left is no more than was given, whatever the clock says
 * then. */
static int64_t confirm_due(struct core *c, const struct confirm *cf) {
    if (cf->deadline_s == c->confirm_last.deadline_s && cf->index == c->confirm_last.index) {
        return c->confirm_last.due; /* a change to it was undone */
    }
    int64_t left = cf->deadline_s * NS_PER_S - clock_wall(c->clock);
    int64_t given = (int64_t)cf->given_s * NS_PER_S;
    return clock_mono(c->clock) + (left < given ? left : given);
}

static enum err_code fold_confirm(struct core *c, const void *value, size_t len, struct err *e) {
    struct confirm cf = {.mode = CONFIRM_NONE};
    if (value != NULL) {
        struct cur p = cur_of(value, len);
        uint8_t version = cur_u8(&p);
        if (version == 0 || version > CONFIRM_VERSION) {
            return err_set(e, ERR_UNSUPPORTED, NULL, "written by a newer version (%u)", version);
        }
        cf.mode = cur_u8(&p);
        cf.index = cur_var(&p);
        cf.first_before = cur_var(&p);
        cf.deadline_s = (int64_t)cur_u64(&p);
        take_text(&p, cf.user, sizeof cf.user);
        take_names(&p, &cf.targets, &cf.n_targets);
        cf.given_s = version >= 2 ? (uint32_t)cur_var(&p) : CORE_CONFIRM_SECONDS_MAX;
        if (version >= 3) {
            cf.session = cur_var(&p);
            take_text(&p, cf.persist, sizeof cf.persist);
        }
        if (p.bad) {
            confirm_clear(&cf);
            return err_set(e, ERR_MALFORMED, NULL, "the record is damaged");
        }
        cf.due = confirm_due(c, &cf);
    }
    if (c->confirm.mode != CONFIRM_NONE) {
        c->confirm_last = (struct confirm){
            .index = c->confirm.index, .deadline_s = c->confirm.deadline_s, .due = c->confirm.due};
    }
    confirm_clear(&c->confirm);
    c->confirm = cf;
    return ERR_OK;
}

enum err_code history_fold(struct core *c, const char *key, size_t key_len, const void *value,
                           size_t len, struct err *e) {
    if (has_prefix(key, key_len, COMMIT_KEY)) {
        return fold_commit(c, key_index(key, key_len), value, len, e);
    }
    if (has_prefix(key, key_len, FATE_KEY)) {
        return fold_fate(c, key_index(key, key_len), value, len, e);
    }
    if (has_prefix(key, key_len, CONFIRM_KEY)) {
        return fold_confirm(c, value, len, e);
    }
    if (has_prefix(key, key_len, HELD_KEY)) {
        size_t skip = strlen(HELD_KEY);
        if (value != NULL) {
            map_put_n(&c->held_targets, key + skip, key_len - skip, c);
        } else {
            map_del_n(&c->held_targets, key + skip, key_len - skip);
        }
        targets_held(c, key + skip, key_len - skip, value != NULL);
        return ERR_OK;
    }
    if (has_prefix(key, key_len, MAINTENANCE_KEY)) {
        return maintenance_fold(c, value, len, e);
    }
    return err_set(e, ERR_UNSUPPORTED, NULL, "\"%.*s\" is not a record of this version",
                   (int)key_len, key);
}

static void confirm_encode(const struct confirm *cf, struct buf *out) {
    buf_u8(out, CONFIRM_VERSION);
    buf_u8(out, cf->mode);
    buf_var(out, cf->index);
    buf_var(out, cf->first_before);
    buf_u64(out, (uint64_t)cf->deadline_s);
    buf_blob_str(out, cf->user);
    buf_var(out, cf->n_targets);
    for (size_t i = 0; i < cf->n_targets; i++) {
        buf_blob_str(out, cf->targets[i]);
    }
    buf_var(out, cf->given_s);
    buf_var(out, cf->session);
    buf_blob_str(out, cf->persist);
}

bool history_encode(struct core *c, const char *key, size_t key_len, struct buf *out) {
    if (has_prefix(key, key_len, COMMIT_KEY)) {
        size_t i = place_of(c, key_index(key, key_len));
        if (i == c->n_history || c->history[i]->info.index != key_index(key, key_len)) {
            return false;
        }
        buf_add(out, c->history[i]->raw.data, c->history[i]->raw.len);
        return true;
    }
    if (has_prefix(key, key_len, FATE_KEY)) {
        const struct fate *f = history_fate(c, key_index(key, key_len));
        if (f != NULL) {
            fate_encode(f, out);
        }
        return f != NULL;
    }
    if (has_prefix(key, key_len, CONFIRM_KEY)) {
        if (c->confirm.mode == CONFIRM_NONE) {
            return false;
        }
        confirm_encode(&c->confirm, out);
        return true;
    }
    if (has_prefix(key, key_len, MAINTENANCE_KEY)) {
        if (c->maintenance.on) {
            maintenance_encode(c, out);
        }
        return c->maintenance.on;
    }
    size_t skip = strlen(HELD_KEY);
    return has_prefix(key, key_len, HELD_KEY) &&
           map_get_n(&c->held_targets, key + skip, key_len - skip) != NULL;
}

void history_publish(struct core *c) {
    struct commit_record **copy = mem_alloc((c->n_history + 1) * sizeof *copy);
    for (size_t i = 0; i < c->n_history; i++) {
        copy[i] = c->history[c->n_history - 1 - i];
        atomic_fetch_add(&copy[i]->refs, 1);
    }
    pthread_mutex_lock(&c->lock);
    struct commit_record **old = c->shown_history;
    size_t n_old = c->n_shown;
    c->shown_history = copy;
    c->n_shown = c->n_history;
    c->confirm_index = c->confirm.mode ? c->confirm.index : 0;
    c->confirm_shown_due = c->confirm.due;
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < n_old; i++) {
        record_release(old[i]);
    }
    mem_free(old);
}

void history_free(struct core *c) {
    for (size_t i = 0; i < c->n_history; i++) {
        record_release(c->history[i]);
    }
    for (size_t i = 0; i < c->n_shown; i++) {
        record_release(c->shown_history[i]);
    }
    mem_free(c->history);
    mem_free(c->shown_history);
    map_free(&c->held_targets, NULL);
    map_free(&c->fates, mem_free);
    confirm_clear(&c->confirm);
    mem_free(c->take_back);
}

size_t core_history(struct core *c, struct commit_info *out, size_t max) {
    pthread_mutex_lock(&c->lock);
    size_t n = c->n_shown < max ? c->n_shown : max;
    for (size_t i = 0; i < n; i++) {
        out[i] = c->shown_history[i]->info;
    }
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* ---- going back ------------------------------------------------------------------------------ */

/* Puts what `r` says was there before into `*s`. */
static enum err_code undo_record(struct core *c, const struct commit_record *r, struct snap **s,
                                 struct err *e) {
    struct cur p = cur_of(r->raw.data + r->before_at, r->raw.len - r->before_at);
    uint64_t n = cur_var(&p);
    enum err_code rc = ERR_OK;
    for (uint64_t i = 0; i < n && rc == ERR_OK; i++) {
        char *path = cur_blob_strdup(&p);
        uint64_t modified = cur_var(&p);
        struct cur bytes = cur_blob(&p);
        struct snap *next = NULL;
        const struct kind *k = path_kind(path);
        if (p.bad) {
            rc = err_set(e, ERR_MALFORMED, path, "the record of commit %" PRIu64 " is damaged",
                         r->info.index);
        } else if (cur_left(&bytes) == 0) {
            next = k ? snap_del(*s, k, path) : snap_hold(*s);
        } else {
            struct object *o = NULL;
            rc = object_decode(c->model, path, bytes.p, cur_left(&bytes), modified, &o, e);
            next = rc == ERR_OK ? snap_put(*s, o) : NULL;
            object_release(o);
        }
        if (next != NULL) {
            snap_release(*s);
            *s = next;
        }
        mem_free(path);
    }
    return rc;
}

/* Configuration as it was before all of `records` (newest first) with index > `index`. */
static enum err_code go_back(struct core *c, struct commit_record **records, size_t n,
                             uint64_t index, struct snap **s, struct err *e) {
    for (size_t i = 0; i < n && records[i]->info.index > index; i++) {
        ERR_TRY(undo_record(c, records[i], s, e));
    }
    return ERR_OK;
}

/* After commit `index`, or before it. */
static enum err_code snapshot_beside(struct core *c, uint64_t index, bool before, struct snap **out,
                                     struct err *e) {
    pthread_mutex_lock(&c->lock);
    struct snap *s = snap_hold(c->published);
    size_t n = c->n_shown;
    struct commit_record **records = mem_alloc((n + 1) * sizeof *records);
    bool known = !before && index == snap_index(s);
    for (size_t i = 0; i < n; i++) {
        records[i] = c->shown_history[i];
        atomic_fetch_add(&records[i]->refs, 1);
        known |= records[i]->info.index == index;
    }
    pthread_mutex_unlock(&c->lock);
    enum err_code rc = ERR_OK;
    if (!known) {
        rc = err_set(e, ERR_ABSENT, NULL, "commit %" PRIu64 " is not among the %zu that are kept",
                     index, n);
    } else {
        rc = go_back(c, records, n, before ? index - 1 : index, &s, e);
    }
    for (size_t i = 0; i < n; i++) {
        record_release(records[i]);
    }
    mem_free(records);
    if (rc != ERR_OK) {
        snap_release(s);
        return rc;
    }
    *out = snap_at_index(s, before ? index - 1 : index);
    snap_release(s);
    return ERR_OK;
}

enum err_code core_snapshot_at(struct core *c, uint64_t index, struct snap **out, struct err *e) {
    return snapshot_beside(c, index, false, out, e);
}

enum err_code history_before(struct core *c, uint64_t index, struct snap **out, struct err *e) {
    return snapshot_beside(c, index, true, out, e);
}

/* ---- confirmed commits ----------------------------------------------------------------------- */

void confirm_set(struct txn *t, const struct confirm *cf) {
    t->confirms = true;
    if (cf->mode == CONFIRM_NONE) {
        txn_delete_state(t, CONFIRM_KEY, strlen(CONFIRM_KEY));
        return;
    }
    struct buf b = BUF_INIT;
    confirm_encode(cf, &b);
    txn_put_state(t, CONFIRM_KEY, strlen(CONFIRM_KEY), buf_cstr(&b), b.len);
    buf_free(&b);
}

/* A take-back that the store or a service refused is tried again until it works or somebody
 * confirms; meanwhile nothing else may queue another one. */
struct take_back {
    struct core *core;
    uint64_t index, first;
    bool queued;
    core_done_fn done; /* whoever waits for it; NULL: nobody */
    void *arg;
    char why[ERR_TEXT_MAX];
    struct txn *t;
    struct err *e;
    enum err_code rc;
};

static void take_back_queue(struct core *c);

static void confirm_fire(struct timer *timer, void *arg) {
    struct core *c = arg;
    (void)timer;
    if (c->take_back != NULL) {
        take_back_queue(c);
    } else if (c->confirm.mode == CONFIRM_NONE) {
        return;
    } else if (clock_mono(c->clock) >= c->confirm.due) {
        confirm_take_back(c, "it was not confirmed in time");
    } else {
        c->confirming = false; /* perhaps the store takes it now */
        confirm_start(c);      /* or it was extended */
        targets_progress(c);
    }
}

void confirm_start(struct core *c) {
    c->confirm_timer.fire = confirm_fire;
    c->confirm_timer.arg = c;
    if (c->take_back != NULL && c->take_back->index != c->confirm.index &&
        !c->take_back->queued) { /* confirmed, or extended by a later one, while it waited */
        mem_free(c->take_back);
        c->take_back = NULL;
    }
    if (c->confirm.mode == CONFIRM_NONE) {
        timer_disarm(&c->timers, &c->confirm_timer);
    } else if (c->take_back == NULL) {
        int64_t left = c->confirm.due - clock_mono(c->clock);
        timer_arm(&c->timers, &c->confirm_timer, left > 0 ? left : 0);
    }
}

static void restore_object(const struct object *now, const struct object *then, void *arg) {
    struct take_back *tb = arg;
    if (tb->rc == ERR_OK && !(now && then && doc_equal(now->doc, then->doc))) {
        tb->rc = change_restore(tb->t, now, then, tb->e);
    }
}

#define TAKEN_BACK "commit %" PRIu64 " taken back"

uint64_t commit_takes_back(const struct commit_info *ci) {
    uint64_t index = strtoull(ci->label + strcspn(ci->label, "0123456789"), NULL, 10);
    char label[sizeof ci->label];
    snprintf(label, sizeof label, TAKEN_BACK, index);
    return strcmp(label, ci->label) == 0 ? index : 0;
}

/* Nobody waits for an answer: it goes where people look afterwards. */
static void tell_what_is_gone(struct txn *t, struct buf *said) {
    char action[32];
    snprintf(action, sizeof action, "commit %" PRIu64, txn_index(t));
    for (const char *l = buf_cstr(said), *end; *l != '\0'; l = end + 1) {
        end = strchr(l, '\n');
        char *line = mem_strndup(l, (size_t)(end - l));
        audit_put(t, action, line);
        L_WARN("%s: %s", action, line);
        mem_free(line);
    }
}

static enum err_code take_back_work(struct txn *t, void *arg, struct err *e) {
    struct take_back *tb = arg;
    struct core *c = t->core;
    tb->first = 0;
    if (c->confirm.mode == CONFIRM_NONE || c->confirm.index != tb->index) {
        return ERR_OK; /* confirmed meanwhile */
    }
    tb->first = c->confirm.first_before;
    t->force = true;
    snprintf(t->label, sizeof t->label, TAKEN_BACK, tb->index);
    text_line(t->comment, sizeof t->comment, tb->why);
    struct commit_record **newest = mem_alloc((c->n_history + 1) * sizeof *newest);
    for (size_t i = 0; i < c->n_history; i++) {
        newest[i] = c->history[c->n_history - 1 - i];
    }
    struct snap *then = snap_hold(c->tip), *now = snap_hold(c->tip);
    struct buf said = BUF_INIT;
    enum err_code rc = go_back(c, newest, c->n_history, tb->first - 1, &then, e);
    mem_free(newest);
    if (rc == ERR_OK) {
        rc = snap_go_back(c->model, now, &then, &said, e);
    }
    if (rc == ERR_OK) {
        tb->t = t;
        tb->e = e;
        tb->rc = ERR_OK;
        snap_diff(now, then, restore_object, tb);
        rc = tb->rc;
    }
    snap_release(then);
    snap_release(now);
    if (rc == ERR_OK && t->n_changes > 0) {
        rc = change_finish(t, e);
    }
    if (rc == ERR_OK) {
        fates_put(t, tb->first);
        confirm_set(t, &(struct confirm){.mode = CONFIRM_NONE});
        audit_commit(t);
        tell_what_is_gone(t, &said);
    }
    buf_free(&said);
    return rc;
}

static void take_back_done(void *arg, uint64_t index, const struct err *e) {
    struct take_back *tb = arg;
    struct core *c = tb->core;
    tb->queued = false;
    if (tb->done != NULL) {
        tb->done(tb->arg, index, e);
        tb->done = NULL;
    }
    if (e != NULL) {
        L_ERR("commit %" PRIu64 " could not be taken back, trying again in %d s: %s %s", tb->index,
              TAKE_BACK_RETRY_S, e->path, e->text);
        timer_arm(&c->timers, &c->confirm_timer, TAKE_BACK_RETRY_S * NS_PER_S);
        return;
    }
    if (tb->first != 0) {
        L_WARN("commit %" PRIu64 " was taken back by commit %" PRIu64 ": %s", tb->index, index,
               tb->why);
        targets_taken_back(c, tb->first, index);
    }
    c->take_back = NULL;
    mem_free(tb);
    confirm_start(c);
    targets_progress(c);
}

void confirm_hurry(struct core *c) {
    if (c->take_back != NULL && !c->take_back->queued) {
        timer_arm(&c->timers, &c->confirm_timer, 0);
    }
}

static void take_back_queue(struct core *c) {
    c->take_back->queued = true;
    core_run(c, &actor_system, take_back_work, take_back_done, c->take_back);
}

void confirm_take_back(struct core *c, const char *why) {
    if (c->take_back != NULL) {
        return;
    }
    struct take_back *tb = MEM_NEW(struct take_back);
    tb->core = c;
    tb->index = c->confirm.index;
    text_line(tb->why, sizeof tb->why, why);
    c->take_back = tb;
    take_back_queue(c);
}

enum err_code confirm_allowed(const struct txn *t, const struct actor *who,
                              const struct confirmer *by, struct err *e) {
    const struct core *c = t->core;
    const struct confirm *cf = &c->confirm;
    const char *id = by->persist_id;
    if (cf->mode == CONFIRM_NONE && id != NULL) {
        return err_set(e, ERR_INVALID, NULL, "no commit waits under that persist-id");
    }
    if (id != NULL && strcmp(id, cf->persist) != 0) {
        return err_set(e, ERR_INVALID, NULL, "the commit that waits has another persist-id");
    }
    if (id == NULL && cf->persist[0] != '\0') {
        return err_set(e, ERR_IN_USE, NULL,
                       "a confirmed commit of %s waits under a persist-id; give that", cf->user);
    }
    if (id == NULL && by->session != 0 && cf->session != 0 && by->session != cf->session) {
        return err_set(e, ERR_IN_USE, NULL, "a confirmed commit waits for session %" PRIu64,
                       cf->session);
    }
    if (who->superuser || strcmp(who->user, c->confirm.user) == 0 ||
        rights_allow_below(c->tip, who, RIGHT_WRITE, "/")) {
        return ERR_OK;
    }
    return err_set(e, ERR_DENIED, NULL, "%s has no right to confirm the commit of %s", who->user,
                   c->confirm.user);
}

struct confirming {
    struct core *core;
    uint64_t index; /* confirm only this one; 0: whatever waits */
    core_done_fn done;
    void *arg;
    struct confirmer by;
    bool cancel;
};

static enum err_code confirm_work(struct txn *t, void *arg, struct err *e) {
    const struct confirming *cf = arg;
    const struct confirm *now = &t->core->confirm;
    if (now->mode == CONFIRM_NONE || (cf->index != 0 && cf->index != now->index)) {
        return err_set(e, ERR_ABSENT, NULL, "no commit waits to be confirmed");
    }
    if (cf->index == 0) {
        ERR_TRY(confirm_allowed(t, &t->who, &cf->by, e));
    }
    if (cf->cancel) {
        return ERR_OK; /* the rest is a change of its own, behind this */
    }
    confirm_set(t, &(struct confirm){.mode = CONFIRM_NONE});
    audit_put(t, "commit confirm", "done");
    return ERR_OK;
}

static void confirm_done(void *arg, uint64_t index, const struct err *e) {
    struct confirming *cf = arg;
    struct core *c = cf->core;
    if (cf->cancel && e == NULL && c->take_back == NULL) {
        confirm_take_back(c, "it was cancelled");
        c->take_back->done = cf->done;
        c->take_back->arg = cf->arg;
    } else if (cf->done != NULL) {
        cf->done(cf->arg, index, e);
    }
    mem_free(cf->by.persist_id);
    mem_free(cf);
}

static void confirm_queue(struct core *c, const struct actor *who, const struct confirmer *by,
                          bool cancel, core_done_fn done, void *arg) {
    struct confirming *cf = MEM_NEW(struct confirming);
    *cf = (struct confirming){.core = c, .done = done, .arg = arg, .cancel = cancel};
    if (by != NULL) {
        cf->by.session = by->session;
        cf->by.persist_id = by->persist_id != NULL ? mem_strdup(by->persist_id) : NULL;
    }
    core_run(c, who, confirm_work, confirm_done, cf);
}

void core_confirm(struct core *c, const struct actor *who, const struct confirmer *by,
                  core_done_fn done, void *arg) {
    confirm_queue(c, who, by, false, done, arg);
}

void core_confirm_cancel(struct core *c, const struct actor *who, const struct confirmer *by,
                         core_done_fn done, void *arg) {
    confirm_queue(c, who, by, true, done, arg);
}

struct session_over {
    struct core *core;
    uint64_t session;
};

static void session_over(void *arg, uint64_t index, const struct err *e) {
    struct session_over *so = arg;
    const struct confirm *cf = &so->core->confirm;
    (void)index;
    (void)e;
    if (cf->mode == CONFIRM_BY_PERSON && cf->session == so->session && cf->persist[0] == '\0') {
        confirm_take_back(so->core, "its session has ended");
    }
    mem_free(so);
}

static enum err_code nothing(struct txn *t, void *arg, struct err *e) {
    (void)t;
    (void)arg;
    (void)e;
    return ERR_OK;
}

void core_session_gone(struct core *c, uint64_t session) {
    struct session_over *so = MEM_NEW(struct session_over);
    *so = (struct session_over){c, session};
    core_run(c, &actor_system, nothing, session_over, so);
}

void confirm_recovered(struct core *c) {
    const struct confirm *cf = &c->confirm;
    if (cf->mode == CONFIRM_BY_PERSON && cf->session != 0 && cf->persist[0] == '\0') {
        confirm_take_back(c, "its session ended with the former process");
    }
}

static void all_applied_done(void *arg, uint64_t index, const struct err *e) {
    struct core *c = arg;
    (void)index;
    if (e == NULL || e->code == ERR_ABSENT) {
        c->confirming = false;
    } else { /* the store's trouble: not again with each batch, but soon */
        timer_arm(&c->timers, &c->confirm_timer, NS_PER_S);
    }
}

void confirm_by_targets_done(struct core *c) {
    if (c->confirming || c->take_back != NULL) {
        return;
    }
    c->confirming = true;
    struct confirming *cf = MEM_NEW(struct confirming);
    *cf = (struct confirming){
        .core = c, .index = c->confirm.index, .done = all_applied_done, .arg = c};
    core_run(c, &actor_system, confirm_work, confirm_done, cf);
}

uint64_t core_confirm_pending(struct core *c, int64_t *deadline_s) {
    pthread_mutex_lock(&c->lock);
    uint64_t index = c->confirm_index;
    int64_t due = c->confirm_shown_due;
    pthread_mutex_unlock(&c->lock);
    if (deadline_s != NULL) { /* as the clock on the wall will show it */
        int64_t at = clock_wall(c->clock) + due - clock_mono(c->clock);
        *deadline_s = index != 0 ? (at + NS_PER_S / 2) / NS_PER_S : 0;
    }
    return index;
}

/* ---- held targets ----------------------------------------------------------------------------
 */

bool history_held(struct core *c, const char *name) {
    return map_get(&c->held_targets, name) != NULL;
}

void history_set_held(struct txn *t, const char *name, bool held) {
    struct buf key = BUF_INIT;
    buf_printf(&key, "%s%s", HELD_KEY, name);
    if (held) {
        txn_put_state(t, buf_cstr(&key), key.len, "\x01", 1);
    } else {
        txn_delete_state(t, buf_cstr(&key), key.len);
    }
    buf_free(&key);
}
