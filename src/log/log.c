// SPDX-License-Identifier: Apache-2.0
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "log/engine.h"

static const struct log_engine *engines[LOG_ENGINES_MAX] = {&log_sqlite};
static size_t n_engines = 1;

void log_engine_add(const struct log_engine *engine) {
    for (size_t i = 0; i < n_engines; i++) {
        if (engines[i] == engine) {
            return;
        }
    }
    if (n_engines < LOG_ENGINES_MAX) {
        engines[n_engines++] = engine;
    }
}

static const struct log_engine *engine_of(const char *url, const char **rest, struct err *err) {
    for (size_t i = 0; i < n_engines; i++) {
        size_t n = strlen(engines[i]->scheme);
        if (strncmp(url, engines[i]->scheme, n) == 0 && url[n] == ':') {
            *rest = url + n + 1;
            return engines[i];
        }
    }
    err_set(err, ERR_UNSUPPORTED, url,
            "no such log engine; a log is named like sqlite:/var/lib/weft/log.db");
    return NULL;
}

enum err_code log_open(const char *url, const struct log_options *options, struct log **out,
                       struct err *err) {
    static const struct log_options none = {0};
    *out = NULL;
    const char *rest;
    const struct log_engine *engine = engine_of(url, &rest, err);
    if (engine == NULL) {
        return ERR_UNSUPPORTED;
    }
    struct log *log;
    ERR_TRY(engine->open(rest, options ? options : &none, &log, err));
    log->engine = engine;
    log->clock = options && options->clock ? options->clock : &clock_real;
    pthread_mutex_init(&log->watch_lock, NULL);
    list_init(&log->watches);
    log->on_turn = NULL;
    pthread_rwlock_init(&log->in_use, NULL);
    if (engine->started != NULL) {
        enum err_code rc = engine->started(log, err);
        if (rc != ERR_OK) {
            log_close(log);
            return rc;
        }
    }
    *out = log;
    return ERR_OK;
}

struct log_watch {
    struct list link;
    log_watch_fn *each;
    void *arg;
};

void log_close(struct log *log) {
    if (log == NULL) {
        return;
    }
    if (log->engine->stop != NULL) {
        log->engine->stop(log);
    }
    LIST_FOREACH_SAFE (l, &log->watches) {
        mem_free(CONTAINER_OF(l, struct log_watch, link));
    }
    pthread_mutex_destroy(&log->watch_lock);
    pthread_rwlock_destroy(&log->in_use);
    log->engine->close(log);
}

/* Callbacks of a reader may call us: only log_reopen would wait for readers, and it does not, so
 * holding this more than once is safe. */
static void enter(struct log *log) {
    pthread_rwlock_rdlock(&log->in_use);
}

static enum err_code leave(struct log *log, enum err_code rc) {
    pthread_rwlock_unlock(&log->in_use);
    return rc;
}

enum err_code log_reopen(struct log *log, struct err *err) {
    if (pthread_rwlock_trywrlock(&log->in_use) != 0) {
        return err_set(err, ERR_LOCKED, NULL,
                       "a backup, a check or another reader has the log open");
    }
    return leave(log, log->engine->reopen(log, err));
}

enum err_code log_restore(const char *path, const char *url, struct err *err) {
    const char *rest;
    const struct log_engine *engine = engine_of(url, &rest, err);
    return engine ? engine->restore(path, rest, err) : ERR_UNSUPPORTED;
}

void log_id(struct log *log, uint8_t out[LOG_ID_LEN]) {
    log->engine->id(log, out);
}

uint64_t log_head(struct log *log) {
    return log->engine->head(log);
}

uint64_t log_config_head(struct log *log) {
    return log->engine->config_head(log);
}

enum err_code log_lease_acquire(struct log *log, struct log_lease *lease, struct err *err) {
    if (lease->holder == NULL || lease->holder[0] == '\0' || strlen(lease->holder) > 255) {
        return err_set(err, ERR_INVALID, "lease", "a holder is named by 1 to 255 bytes");
    }
    if (lease->ttl_ns <= 0) {
        return err_set(err, ERR_INVALID, "lease", "the time to live must be above zero");
    }
    enter(log);
    return leave(log, log->engine->lease_acquire(log, lease, err));
}

enum err_code log_lease_renew(struct log *log, const struct log_lease *lease, struct err *err) {
    enter(log);
    return leave(log, log->engine->lease_renew(log, lease, err));
}

enum err_code log_lease_release(struct log *log, const struct log_lease *lease, struct err *err) {
    enter(log);
    return leave(log, log->engine->lease_release(log, lease, err));
}

void log_turn(struct log *log, struct log_turn *out) {
    log->engine->turn(log, out);
}

void log_on_turn(struct log *log, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&log->watch_lock);
    log->on_turn = fn;
    log->on_turn_arg = arg;
    pthread_mutex_unlock(&log->watch_lock);
}

void log_turned(struct log *log) {
    pthread_mutex_lock(&log->watch_lock);
    if (log->on_turn != NULL) {
        log->on_turn(log->on_turn_arg);
    }
    pthread_mutex_unlock(&log->watch_lock);
}

enum err_code log_announce(struct log *log, const void *about, size_t len, struct err *err) {
    if (len > LOG_ABOUT_MAX) {
        return err_set(err, ERR_TOO_BIG, "node", "%zu bytes about a node; at most %d are allowed",
                       len, LOG_ABOUT_MAX);
    }
    return log->engine->announce != NULL ? log->engine->announce(log, about, len, err) : ERR_OK;
}

enum err_code log_nodes(struct log *log, log_node_fn *each, void *arg, struct err *err) {
    return log->engine->nodes != NULL ? log->engine->nodes(log, each, arg, err) : ERR_OK;
}

enum err_code log_members(struct log *log, log_member_fn *each, void *arg, struct err *err) {
    return log->engine->members != NULL ? log->engine->members(log, each, arg, err) : ERR_OK;
}

enum err_code log_remove(struct log *log, uint64_t fence, struct err *err) {
    return log->engine->remove != NULL
               ? log->engine->remove(log, fence, err)
               : err_set(err, ERR_UNSUPPORTED, NULL, "this store is files: move them aside");
}

static enum err_code check_op(const struct log_op *op, struct err *err) {
    if (op->space != LOG_CONFIG && op->space != LOG_STATE) {
        return err_set(err, ERR_INVALID, NULL, "there is no space %u", op->space);
    }
    if (op->key == NULL || op->key_len == 0) {
        return err_set(err, ERR_INVALID, NULL, "a key has at least one byte");
    }
    if (op->key_len > LOG_KEY_MAX) {
        return err_set(err, ERR_TOO_BIG, NULL, "a key of %zu bytes; at most %d are allowed",
                       op->key_len, LOG_KEY_MAX);
    }
    if (op->value == NULL && op->value_len != 0) {
        return err_set(err, ERR_INVALID, NULL, "a delete carries a value length");
    }
    if (op->value_len > LOG_VALUE_MAX) {
        return err_set(err, ERR_TOO_BIG, NULL, "a value of %zu bytes; at most %d are allowed",
                       op->value_len, LOG_VALUE_MAX);
    }
    return ERR_OK;
}

static enum err_code check_entry(const struct log_entry *e, size_t at, struct err *err) {
    char path[64];
    snprintf(path, sizeof path, "entry %zu of the batch", at + 1);
    if (e->n_ops > LOG_ENTRY_OPS_MAX) {
        return err_set(err, ERR_TOO_BIG, path, "%zu operations; at most %d are allowed", e->n_ops,
                       LOG_ENTRY_OPS_MAX);
    }
    if ((e->who && strlen(e->who) > LOG_TEXT_MAX) || (e->why && strlen(e->why) > LOG_TEXT_MAX)) {
        return err_set(err, ERR_TOO_BIG, path, "who or why is longer than %d bytes", LOG_TEXT_MAX);
    }
    size_t bytes = 2 * (size_t)LOG_TEXT_MAX + 128;
    for (size_t i = 0; i < e->n_ops; i++) {
        enum err_code rc = check_op(&e->ops[i], err);
        if (rc != ERR_OK) {
            snprintf(path, sizeof path, "entry %zu of the batch, operation %zu", at + 1, i + 1);
            err_prefix_path(err, path);
            return rc;
        }
        bytes += e->ops[i].key_len + e->ops[i].value_len + 21;
        if (bytes > LOG_ENTRY_MAX) {
            return err_set(err, ERR_TOO_BIG, path, "the entry is larger than %d bytes",
                           LOG_ENTRY_MAX);
        }
    }
    return ERR_OK;
}

enum err_code log_append(struct log *log, uint64_t expected_head, uint64_t fence,
                         struct log_entry *entries, size_t n, struct err *err) {
    if (n == 0 || n > LOG_BATCH_MAX) {
        return err_set(err, n ? ERR_TOO_BIG : ERR_INVALID, "batch",
                       "a batch has 1 to %d entries, not %zu", LOG_BATCH_MAX, n);
    }
    for (size_t i = 0; i < n; i++) {
        ERR_TRY(check_entry(&entries[i], i, err));
    }
    enter(log);
    return leave(log, log->engine->append(log, expected_head, fence, entries, n, err));
}

enum err_code log_read(struct log *log, uint64_t from, uint64_t to, log_read_fn *each, void *arg,
                       struct err *err) {
    enter(log);
    return leave(log, log->engine->read(log, from, to, each, arg, err));
}

enum err_code log_snapshot(struct log *log, enum log_space space, const void *prefix,
                           size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                           struct err *err) {
    if (space != LOG_CONFIG && space != LOG_STATE) {
        return err_set(err, ERR_INVALID, NULL, "there is no space %d", (int)space);
    }
    if (prefix_len > LOG_KEY_MAX) {
        return err_set(err, ERR_TOO_BIG, NULL, "a prefix of %zu bytes; keys have at most %d",
                       prefix_len, LOG_KEY_MAX);
    }
    enter(log);
    return leave(log, log->engine->snapshot(log, space, prefix, prefix_len, at, each, arg, err));
}

enum err_code log_fold(struct log *log, size_t max_ops, size_t *left, struct err *err) {
    enter(log);
    return leave(log, log->engine->fold(log, max_ops, left, err));
}

enum err_code log_trim(struct log *log, const struct log_keep *keep, uint64_t *dropped,
                       struct err *err) {
    enter(log);
    return leave(log, log->engine->trim(log, keep, dropped, err));
}

struct log_watch *log_watch(struct log *log, log_watch_fn *each, void *arg) {
    struct log_watch *w = MEM_NEW(struct log_watch);
    w->each = each;
    w->arg = arg;
    pthread_mutex_lock(&log->watch_lock);
    list_append(&log->watches, &w->link);
    pthread_mutex_unlock(&log->watch_lock);
    return w;
}

void log_unwatch(struct log *log, struct log_watch *watch) {
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&log->watch_lock);
    list_remove(&watch->link);
    pthread_mutex_unlock(&log->watch_lock);
    mem_free(watch);
}

void log_notify(struct log *log, const struct log_entry *entries, size_t n) {
    pthread_mutex_lock(&log->watch_lock);
    LIST_FOREACH (l, &log->watches) {
        struct log_watch *w = CONTAINER_OF(l, struct log_watch, link);
        w->each(entries, n, w->arg);
    }
    pthread_mutex_unlock(&log->watch_lock);
}

void log_status(struct log *log, struct log_status *out) {
    *out = (struct log_status){0};
    enter(log);
    log->engine->status(log, out);
    leave(log, ERR_OK);
}

enum err_code log_backup(struct log *log, const char *path, uint64_t *at, struct err *err) {
    enter(log);
    return leave(log, log->engine->backup(log, path, at, err));
}

enum err_code log_check(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                        struct err *err) {
    enter(log);
    return leave(log, log->engine->check(log, finding, arg, findings, err));
}
