// SPDX-License-Identifier: Apache-2.0
/*
 * The writer: takes all waiting work, runs it, makes it durable under one sync, answers.
 *
 * Work is applied to memory as it runs, so the next piece of the same batch sees it; nothing leaves
 * the process before the append. When the append fails, the whole batch is taken back newest first,
 * each fold by its inverse, and memory is what the log says again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "core/internal.h"

LOGGER_MODULE(writer);

enum { ENTRY_HEAD = 1 << 20 }; /* bytes of a log entry that are not operations, at most */
enum { GIVE_BACK_EVERY_S = 30 };

struct batch {
    struct txn **txns;
    size_t n;
    uint64_t next_index;
    size_t appended; /* entries */
    size_t bytes;
};

/* ---- transactions ---------------------------------------------------------------------------- */

static void *grow(void *p, size_t n, size_t *cap, size_t size) {
    if (n < *cap) {
        return p;
    }
    *cap = *cap ? *cap * 2 : 8;
    return mem_array(p, *cap, size);
}

static struct txn *txn_new(struct core *c, struct work *w, uint64_t index) {
    struct txn *t = MEM_NEW(struct txn);
    t->core = c;
    t->work = w;
    t->who = w->who;
    t->index = index;
    t->now_ns = clock_wall(c->clock);
    t->arena = arena_new();
    return t;
}

void txn_free(struct txn *t) {
    for (size_t i = 0; i < t->n_undo; i++) {
        object_release(t->undo[i].old);
        object_release(t->undo[i].new_);
        buf_free(&t->undo[i].key);
        buf_free(&t->undo[i].value);
    }
    for (size_t i = 0; i < t->n_changes; i++) {
        object_release((struct object *)(uintptr_t)t->changes[i].old);
        object_release((struct object *)(uintptr_t)t->changes[i].new_);
    }
    for (size_t i = 0; i < t->n_touched; i++) {
        mem_free(t->touched[i].name);
        mem_free(t->touched[i].what);
    }
    for (size_t i = 0; i < t->n_events; i++) {
        mem_free(t->events[i].name);
        mem_free(t->events[i].json);
    }
    mem_free(t->undo);
    map_free(&t->change_index, NULL);
    mem_free(t->changes);
    mem_free(t->touched);
    mem_free(t->events);
    mem_free(t->afters);
    mem_free(t->ops);
    buf_free(&t->warnings);
    arena_free(t->arena);
    mem_free(t->work);
    mem_free(t);
}

struct core *txn_core(struct txn *t) {
    return t->core;
}

const struct actor *txn_actor(struct txn *t) {
    return &t->who;
}

int64_t txn_now_s(struct txn *t) {
    return t->now_ns / NS_PER_S;
}

uint64_t txn_index(struct txn *t) {
    return t->index;
}

bool txn_force(struct txn *t) {
    return t->force;
}

struct timers *txn_timers(struct txn *t) {
    return &t->core->timers;
}

const struct snap *txn_snap(struct txn *t) {
    return t->core->tip;
}

const struct object *txn_get(struct txn *t, const char *path) {
    return snap_get(t->core->tip, path);
}

size_t txn_n_ops(struct txn *t) {
    return t->n_changes;
}

struct txn_op txn_op(struct txn *t, size_t i) {
    return t->changes[i];
}

void txn_after(struct txn *t, void (*fn)(void *arg, bool committed), void *arg) {
    t->afters = grow(t->afters, t->n_afters, &t->cap_afters, sizeof *t->afters);
    t->afters[t->n_afters++] = (struct after){fn, arg};
}

void txn_event(struct txn *t, const char *name, const char *json) {
    t->events = grow(t->events, t->n_events, &t->cap_events, sizeof *t->events);
    t->events[t->n_events++] = (struct pending_event){mem_strdup(name), mem_strdup(json)};
}

void txn_warn(struct txn *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&t->warnings, fmt, ap);
    va_end(ap);
    buf_char(&t->warnings, '\n');
}

static void add_op(struct txn *t, uint8_t space, const void *key, size_t key_len, const void *value,
                   size_t len) {
    t->ops = grow(t->ops, t->n_ops, &t->cap_ops, sizeof *t->ops);
    uint8_t *k = arena_alloc(t->arena, key_len), *v = NULL;
    memcpy(k, key, key_len);
    if (value != NULL) {
        v = arena_alloc(t->arena, len ? len : 1);
        memcpy(v, value, len);
    }
    t->ops[t->n_ops++] = (struct log_op){space, k, key_len, v, v ? len : 0};
    t->op_bytes += key_len + len + 16;
}

static struct undo *add_undo(struct txn *t, int what) {
    t->undo = grow(t->undo, t->n_undo, &t->cap_undo, sizeof *t->undo);
    struct undo *u = &t->undo[t->n_undo++];
    *u = (struct undo){.what = what};
    return u;
}

void core_swap_object(struct core *c, const struct object *old, const struct object *new_) {
    c->tip = snap_replace(c->tip, old, new_);
    refs_swap(c, old, new_);
    index_swap(c, old, new_);
}

void txn_apply_object(struct txn *t, const struct object *old, const struct object *new_) {
    struct undo *u = add_undo(t, UNDO_TREE);
    u->old = object_hold(old);
    u->new_ = object_hold(new_);
    core_swap_object(t->core, old, new_);
}

void core_fold_config(struct core *c, const struct object *old, const struct object *new_) {
    for (size_t i = 0; i < c->n_services; i++) {
        c->services[i].service->config(c->services[i].self, old, new_);
    }
}

void txn_fold_object(struct txn *t, const struct object *old, const struct object *new_) {
    struct undo *u = add_undo(t, UNDO_FOLD);
    u->old = object_hold(old);
    u->new_ = object_hold(new_);
    core_fold_config(t->core, old, new_);
}

static struct service_slot *slot_of(struct core *c, const void *key, size_t len) {
    for (size_t i = 0; i < c->n_services; i++) {
        const char *prefix = c->services[i].service->state_prefix;
        size_t n = prefix ? strlen(prefix) : 0;
        if (n > 0 && len >= n && memcmp(key, prefix, n) == 0) {
            return &c->services[i];
        }
    }
    return NULL;
}

static bool is_core_key(const void *key, size_t len) {
    size_t n = strlen(CORE_STATE_PREFIX);
    return len >= n && memcmp(key, CORE_STATE_PREFIX, n) == 0;
}

enum err_code core_fold_state(struct core *c, const void *key, size_t key_len, const void *value,
                              size_t len, struct err *e) {
    if (is_core_key(key, key_len)) {
        return history_fold(c, key, key_len, value, len, e);
    }
    struct service_slot *s = slot_of(c, key, key_len);
    if (s == NULL) {
        /* A role that does not run here: its records wait in the store. */
        return ERR_OK;
    }
    enum err_code rc = s->service->state_fold(s->self, key, key_len, value, len, e);
    if (rc != ERR_OK) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "state record \"%.*s\": ", (int)key_len, (const char *)key);
        err_prefix_path(e, buf_cstr(&b));
        buf_free(&b);
    }
    return rc;
}

static bool encode_state(struct core *c, const void *key, size_t key_len, struct buf *out) {
    if (is_core_key(key, key_len)) {
        return history_encode(c, key, key_len, out);
    }
    struct service_slot *s = slot_of(c, key, key_len);
    return s != NULL && s->service->state_encode(s->self, key, key_len, out);
}

/* A record we encoded ourselves can't be unreadable; if it is, memory and log would part ways. */
static void must_fold(struct core *c, const void *key, size_t key_len, const void *value,
                      size_t len) {
    struct err e;
    if (core_fold_state(c, key, key_len, value, len, &e) != ERR_OK) {
        L_ERR("%s %s: stopping before memory and log differ", e.path, e.text);
        abort();
    }
}

static void put_state(struct txn *t, const char *key, size_t key_len, const void *value,
                      size_t len) {
    struct undo *u = add_undo(t, UNDO_STATE);
    buf_add(&u->key, key, key_len);
    u->had_value = encode_state(t->core, key, key_len, &u->value);
    if (value == NULL && !u->had_value) {
        return; /* nothing there to delete */
    }
    add_op(t, LOG_STATE, key, key_len, value, len);
    must_fold(t->core, key, key_len, value, len);
}

void txn_put_state(struct txn *t, const char *key, size_t key_len, const void *value, size_t len) {
    put_state(t, key, key_len, value ? value : "", len);
}

void txn_delete_state(struct txn *t, const char *key, size_t key_len) {
    put_state(t, key, key_len, NULL, 0);
}

/* ---- undoing --------------------------------------------------------------------------------- */

static void txn_undo(struct txn *t) {
    struct core *c = t->core;
    for (size_t i = t->n_undo; i-- > 0;) {
        struct undo *u = &t->undo[i];
        if (u->what == UNDO_TREE) {
            core_swap_object(c, u->new_, u->old);
        } else if (u->what == UNDO_FOLD) {
            core_fold_config(c, u->new_, u->old);
        } else if (u->had_value) {
            must_fold(c, u->key.data, u->key.len, buf_cstr(&u->value), u->value.len);
        } else {
            must_fold(c, u->key.data, u->key.len, NULL, 0);
        }
    }
    t->n_ops = 0;
}

/* ---- one piece of work ----------------------------------------------------------------------- */

/* Turns the change's objects into log operations, once it is known that it stands. */
void txn_encode_changes(struct txn *t) {
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < t->n_changes; i++) {
        struct txn_op *op = &t->changes[i];
        const struct doc *d = op->new_ ? op->new_->doc : op->old->doc;
        if (op->new_ != NULL) {
            buf_clear(&b);
            object_encode(op->new_, &b);
            add_op(t, LOG_CONFIG, d->path, d->path_len, buf_cstr(&b), b.len);
        } else {
            add_op(t, LOG_CONFIG, d->path, d->path_len, NULL, 0);
        }
    }
    buf_free(&b);
}

/* What the log would refuse must not take the rest of the batch with it. */
static enum err_code check_size(struct txn *t) {
    bool too_big = t->n_ops > LOG_ENTRY_OPS_MAX || t->op_bytes > LOG_ENTRY_MAX - ENTRY_HEAD;
    for (size_t i = 0; i < t->n_ops && !too_big; i++) {
        too_big = t->ops[i].key_len > LOG_KEY_MAX || t->ops[i].value_len > LOG_VALUE_MAX;
    }
    return too_big
               ? err_set(&t->err, ERR_TOO_BIG, NULL,
                         "%zu objects and %zu MiB are too much for one change; make it in parts",
                         t->n_changes, t->op_bytes >> 20)
               : ERR_OK;
}

static enum err_code run_to_the_end(struct txn *t) {
    ERR_TRY(t->work->fn(t, t->work->arg, &t->err));
    if (t->n_changes > 0 && !t->dry_run) {
        ERR_TRY(change_finish(t, &t->err)); /* nothing when it was done already */
        t->is_commit = t->n_changes > 0;
    }
    if (t->is_commit) {
        history_record(t);
    }
    events_seal(t);
    return check_size(t);
}

/* True when it has something for the log. */
static bool run_work(struct txn *t) {
    enum core_role role = role_of(t->core);
    /* Where services don't run, neither does their work. One that lost the lead goes on like one
     * whose store is broken: services get to know what has ended, and nothing is written. */
    t->rc =
        role != CORE_FOLLOWS || t->work->looks ? run_to_the_end(t) : role_refusal(t->core, &t->err);
    if (t->rc != ERR_OK || t->dry_run) {
        txn_undo(t);
        t->core->stats.refused += t->rc != ERR_OK;
        return false;
    }
    if (t->n_ops > 0 &&
        (t->core->store.needs_reopen || t->work->looks || role_of(t->core) == CORE_LOST)) {
        /* Nothing can be appended: refused before anybody sees it. */
        txn_undo(t);
        t->rc = t->work->looks
                    ? err_set(&t->err, ERR_INTERNAL, NULL, "what only looks has tried to write")
                : role_of(t->core) == CORE_LOST ? role_refusal(t->core, &t->err)
                                                : store_refusal(t->core, &t->err);
        return false;
    }
    t->entry = (struct log_entry){.time_ns = t->now_ns,
                                  .who = t->who.user,
                                  .why = t->comment,
                                  .ops = t->ops,
                                  .n_ops = t->n_ops};
    return t->n_ops > 0;
}

static struct work *take_work(struct core *c) {
    pthread_mutex_lock(&c->lock);
    struct work *w = NULL;
    if (!list_empty(&c->queue)) {
        w = CONTAINER_OF(c->queue.next, struct work, link);
        list_remove(&w->link);
        c->queued--;
    }
    pthread_mutex_unlock(&c->lock);
    return w;
}

static bool writes(const struct txn *t) {
    return t->rc == ERR_OK && !t->dry_run && t->n_ops > 0;
}

static enum err_code append_batch(struct core *c, struct batch *b, struct err *e) {
    struct log_entry *entries = mem_alloc((b->n + 1) * sizeof *entries);
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (writes(b->txns[i])) {
            entries[n++] = b->txns[i]->entry;
        }
    }
    enum err_code rc = ERR_OK;
    if (n > 0) {
        rc = log_append(c->log, core_head(c), c->lease.fence, entries, n, e);
        if (rc == ERR_OK) {
            b->appended = n;
            store_appended(c);
        }
    }
    mem_free(entries);
    return rc;
}

/* Is it the storage that failed, and not a batch the log would never take? */
static bool is_storage(enum err_code rc) {
    return rc != ERR_INVALID && rc != ERR_TOO_BIG;
}

/* A full store is no reason for another node to lead. */
static bool still_leads(struct core *c) {
    struct log_turn t;
    log_turn(c->log, &t);
    return t.leads;
}

static void batch_failed(struct core *c, struct batch *b, const struct err *why) {
    L_WARN_RL(5, "a batch of %zu requests was not written: %s", b->n, why->text);
    c->stats.append_errors++;
    bool storage = is_storage(why->code), after_write = false;
    if (storage && c->role.shared && (why->code != ERR_LIMIT || !still_leads(c))) {
        role_lost(c, why->text);
    } else if (storage) {
        store_failed(c, why, b->bytes);
    }
    for (size_t i = 0; i < b->n; i++) {
        struct txn *t = b->txns[i];
        after_write |= writes(t);
        t->failed = after_write && t->rc == ERR_OK && !t->dry_run && !t->work->looks;
    }
    for (size_t i = b->n; i-- > 0;) {
        struct txn *t = b->txns[i];
        if (t->failed) { /* it wrote, or saw what had been written */
            txn_undo(t);
            t->rc = role_of(c) == CORE_LOST ? role_refusal_in_doubt(c, &t->err)
                    : storage               ? store_refusal_in_doubt(c, &t->err)
                                            : err_set(&t->err, ERR_INTERNAL, NULL,
                                                      "the log does not take this: %s", why->text);
        }
    }
    /* The same objects as in the published one, but the index of what failed must go as well. */
    snap_release(c->tip);
    c->tip = snap_hold(c->published);
}

static void publish(struct core *c, struct batch *b) {
    /* Not the log's: a follower has entries there that are not folded yet. */
    uint64_t head = core_head(c) + b->appended;
    bool commits = false, confirms = false;
    for (size_t i = 0; i < b->n; i++) {
        struct txn *t = b->txns[i];
        if (t->rc == ERR_OK && !t->dry_run) {
            commits |= t->is_commit;
            confirms |= t->confirms;
            c->stats.commits += t->is_commit;
            c->stats.config_ops += t->n_changes;
            c->stats.state_ops += t->n_ops - t->n_changes;
        }
    }
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->head, head);
    if (commits) {
        snap_release(c->published);
        c->published = snap_hold(c->tip);
    }
    pthread_mutex_unlock(&c->lock);
    if (commits || confirms) {
        history_publish(c);
        confirm_start(c);
    }
}

static void answer(struct core *c, struct txn *t) {
    if (t->work->looks) {
        run_work(t); /* at what is published, or was before the batch failed */
    }
    bool committed = t->rc == ERR_OK && !t->dry_run;
    if (committed) {
        targets_committed(t);
        events_publish(t);
    }
    for (size_t i = 0; i < t->n_afters; i++) {
        t->afters[i].fn(t->afters[i].arg, committed);
    }
    if (t->work->done != NULL) {
        uint64_t index = committed && t->n_ops > 0 ? t->index : core_head(c);
        t->work->done(t->work->arg, index, t->rc == ERR_OK ? NULL : &t->err);
    }
    txn_free(t);
}

void stats_show(struct core *c) {
    pthread_mutex_lock(&c->lock);
    c->shown_stats = c->stats;
    pthread_mutex_unlock(&c->lock);
}

size_t writer_batch(struct core *c) {
    struct batch b = {.next_index = core_head(c) + 1};
    size_t cap = 0;
    struct work *w;
    bool alone = false; /* while it is not known whether the store takes it */
    while (b.n < BATCH_WORKS_MAX && b.bytes < BATCH_BYTES_MAX && !alone &&
           (w = take_work(c)) != NULL) {
        struct txn *t = txn_new(c, w, b.next_index);
        b.txns = grow(b.txns, b.n, &cap, sizeof(struct txn *));
        b.txns[b.n++] = t;
        if (!w->looks && run_work(t)) {
            alone = !c->store.writable;
            b.next_index++;
            b.bytes += t->op_bytes;
            if (t->is_commit) {
                snap_set_index(c->tip, t->index);
            }
        }
    }
    if (b.n == 0) {
        return 0;
    }
    struct err e = {.code = ERR_OK};
    if (append_batch(c, &b, &e) == ERR_OK) {
        publish(c, &b);
    } else {
        batch_failed(c, &b, &e);
    }
    c->stats.batches++;
    c->stats.works += b.n;
    stats_show(c);
    for (size_t i = 0; i < b.n; i++) {
        answer(c, b.txns[i]);
    }
    stats_show(c);
    if (role_of(c) == CORE_LEADS) {
        targets_progress(c);
    }
    mem_free(b.txns);
    return b.n;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Nobody waits for the writer: a good moment. */
static void give_back(struct core *c) {
    int64_t now = clock_mono(&clock_real);
    if (now >= c->give_back_ns) {
        c->give_back_ns = now + GIVE_BACK_EVERY_S * NS_PER_S;
        mem_give_back();
    }
}

/* Sleeps until there is work, a timer is due or the core is closed; false: closed. */
static bool wait_for_work(struct core *c) {
    int64_t ns = timers_next(&c->timers);
    struct timespec until;
    if (ns >= 0) {
        int64_t due = clock_mono(&clock_real) + ns;
        until = (struct timespec){.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S};
    }
    pthread_mutex_lock(&c->lock);
    bool idle = list_empty(&c->queue);
    pthread_mutex_unlock(&c->lock);
    if (idle) {
        give_back(c);
    }
    pthread_mutex_lock(&c->lock);
    while (!c->stop && list_empty(&c->queue) && !c->role.news) {
        if (ns < 0) {
            pthread_cond_wait(&c->wake, &c->lock);
        } else if (pthread_cond_timedwait(&c->wake, &c->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    bool go_on = !c->stop;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

void *writer_main(void *arg) {
    struct core *c = arg;
    do {
        role_look(c); /* before the timers of one that should lead no more */
        timers_run(&c->timers);
        role_look(c);
        while (writer_batch(c) > 0) {
            timers_run(&c->timers);
            role_look(c);
        }
    } while (wait_for_work(c));
    return NULL;
}

void trim_log(struct core *c) {
    if (core_head(c) < c->trim_next) {
        return;
    }
    struct log_status st;
    struct err e;
    log_status(c->log, &st);
    uint64_t have = st.oldest != 0 ? st.head - st.oldest + 1 : 0;
    c->trim_next = st.head + TRIM_EVERY;
    if (have < c->options.log_kept + TRIM_EVERY) {
        return;
    }
    const struct log_keep keep = {.entries = c->options.log_kept};
    if (log_trim(c->log, &keep, NULL, &e) != ERR_OK) {
        L_WARN_RL(60, "the log could not be trimmed: %s", e.text);
    }
}

/* Folding costs about as much as appending and nobody waits for it: it has a thread of its own, and
 * waits a little, so that what is written many times is folded once. */
void *folder_main(void *arg) {
    struct core *c = arg;
    uint64_t folded = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        int64_t due = clock_mono(&clock_real) + FOLD_EVERY_MS * NS_PER_MS;
        const struct timespec until = {.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S};
        while (!c->stop && pthread_cond_timedwait(&c->fold_wake, &c->lock, &until) != ETIMEDOUT) {
        }
        uint64_t head = core_head(c);
        if (head == folded) {
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        struct err e;
        size_t left = 0;
        do {
            if (log_fold(c->log, FOLD_STEP, &left, &e) != ERR_OK) {
                L_WARN_RL(10, "folding: %s", e.text);
                store_look_soon(c);
                head = folded;
                left = 0;
            }
        } while (left > FOLD_STEP);
        folded = head;
        trim_log(c);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}
