// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/replica.h"
#include "log/sqlite_int.h"

LOGGER_MODULE(log)

enum {
    CHECKPOINT_LATE = 4, /* times as many frames as start one: an append moves them itself */
    CHECKPOINT_ROUNDS = 4,
    CHECKPOINT_REST = 200, /* frames moved while appends wait */
};

/* ---- small helpers ---- */

void sq_note(struct sq_store *s, bool locked, const char *why) {
    if (!locked) {
        pthread_mutex_lock(&s->lock);
    }
    snprintf(s->reason, sizeof s->reason, "%s", why);
    if (!locked) {
        pthread_mutex_unlock(&s->lock);
    }
}

void sq_break(struct sq_store *s, bool locked, const char *why) {
    L_ERR("%s takes no more entries until it is opened again: %s", s->path, why);
    sq_note(s, locked, why);
    s->broken = true;
}

enum err_code sq_broken(struct sq_store *s, bool locked, struct err *err) {
    if (!locked) {
        pthread_mutex_lock(&s->lock);
    }
    enum err_code rc = err_set(err, ERR_UNAVAILABLE, s->path,
                               "the log must be opened again: its storage failed (%s)", s->reason);
    if (!locked) {
        pthread_mutex_unlock(&s->lock);
    }
    return rc;
}

static struct sq_store *store_of(struct log *log) {
    return CONTAINER_OF(log, struct sq_store, log);
}

static void sq_close(struct log *log) {
    struct sq_store *s = store_of(log);
    struct err err;
    if (!s->broken && sq_fold(log, 0, NULL, &err) != ERR_OK) {
        L_WARN("%s: the tables are behind, the next start brings them up: %s", err.path, err.text);
    }
    sq_store_free(s);
}

/* ---- position and lease ---- */

static void sq_id(struct log *log, uint8_t out[LOG_ID_LEN]) {
    memcpy(out, store_of(log)->id, LOG_ID_LEN);
}

static uint64_t sq_head(struct log *log) {
    return store_of(log)->head;
}

static uint64_t sq_config_head(struct log *log) {
    return store_of(log)->config_head;
}

/* After a failed commit: leaves the connection idle and the batch invisible for good. */
static void after_failure(struct sq_store *s) {
    bool sync_failed = sq_is_sync_error(s->db);
    if (!sqlite3_get_autocommit(s->db)) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (sync_failed) {
        s->in_doubt = !sq_wal_void(s->db, &s->wal);
        sq_break(s, true, "a sync failed");
        return;
    }
    struct err e;
    int64_t newest = 0;
    enum err_code rc =
        sq_int(s->db, s->path, "SELECT idx FROM log ORDER BY idx DESC LIMIT 1", &newest, &e);
    if (!sqlite3_get_autocommit(s->db) || rc != ERR_OK || (uint64_t)newest != s->head) {
        s->in_doubt = rc != ERR_OK;
        sq_break(s, true, rc == ERR_OK ? "a batch could not be rolled back" : e.text);
    }
}

enum err_code sq_committed(struct sq_store *s, enum err_code rc) {
    if (rc == ERR_OK) {
        s->syncs++;
        sq_wal_good(s->db, &s->wal);
        s->log_frames = s->wal.frames;
    } else {
        after_failure(s);
    }
    return rc;
}

static enum err_code write_fence(struct sq_store *s, uint64_t fence, struct err *err) {
    ERR_TRY(sq_run(s->begin, s->path, "can't begin", err));
    ERR_TRY(sq_set_meta(s->db, s->path, "fence", (int64_t)fence, err));
    return sq_run(s->commit, s->path, "can't write the fence", err);
}

static enum err_code sq_lease_acquire(struct log *log, struct log_lease *lease, struct err *err) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc;
    if (s->broken) {
        rc = sq_broken(s, true, err);
    } else {
        rc = sq_committed(s, write_fence(s, s->fence + 1, err));
    }
    if (rc == ERR_OK) {
        lease->fence = ++s->fence;
        s->leased = true;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static enum err_code stale(struct sq_store *s, uint64_t fence, struct err *err) {
    return err_set(err, ERR_UNAVAILABLE, s->path,
                   "the right to write is gone: fence %" PRIu64 ", the newest is %" PRIu64 "%s",
                   fence, s->fence, s->leased ? "" : " and nobody holds it");
}

/* Locked. */
static enum err_code check_lease(struct sq_store *s, const struct log_lease *lease,
                                 struct err *err) {
    return s->leased && lease->fence == s->fence ? ERR_OK : stale(s, lease->fence, err);
}

static enum err_code sq_lease_renew(struct log *log, const struct log_lease *lease,
                                    struct err *err) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = check_lease(s, lease, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static enum err_code sq_lease_release(struct log *log, const struct log_lease *lease,
                                      struct err *err) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = check_lease(s, lease, err);
    s->leased = s->leased && rc != ERR_OK;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- appending ---- */

static void stamp(struct sq_store *s, struct log_entry *e, uint64_t index, uint64_t prev_config,
                  int64_t now) {
    e->index = index;
    e->fence = s->fence;
    e->prev_config = prev_config;
    if (e->time_ns == 0) {
        e->time_ns = now;
    }
}

static enum err_code write_batch(struct sq_store *s, const struct log_entry *entries, size_t n,
                                 int64_t now, struct err *err) {
    ERR_TRY(sq_run(s->begin, s->path, "can't begin", err));
    uint64_t config = s->config_head;
    for (size_t i = 0; i < n; i++) {
        struct log_entry e = entries[i];
        stamp(s, &e, s->head + 1 + i, config, now);
        if (log_entry_has_config(&e)) {
            config = e.index;
        }
        buf_clear(&s->row);
        log_entry_encode(&s->row, &e);
        sqlite3_bind_int64(s->insert, 1, (sqlite3_int64)e.index);
        sqlite3_bind_blob64(s->insert, 2, s->row.data, s->row.len, SQLITE_STATIC);
        ERR_TRY(sq_run(s->insert, s->path, "can't append", err));
    }
    return sq_run(s->commit, s->path, "can't make the batch durable", err);
}

static void checkpoint_failed(struct sq_store *s, sqlite3 *db, bool locked, int rc) {
    if (sq_is_sync_error(db)) {
        sq_break(s, locked, "a sync failed while moving entries from the write-ahead log");
        return;
    }
    /* Nothing is lost: the WAL keeps growing until this works again. */
    struct err e;
    sq_fail(db, rc, s->path, "can't move entries out of the write-ahead log", &e);
    sq_note(s, locked, e.text);
    L_WARN_RL(10, "%s: %s", e.path, e.text);
}

/* False: it failed. BUSY is no failure, somebody else is doing it. *moved: frames in the file. */
static bool checkpoint(struct sq_store *s, sqlite3 *db, bool locked, int *moved) {
    int in_wal;
    int rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_PASSIVE, &in_wal, moved);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        checkpoint_failed(s, db, locked, rc);
        return false;
    }
    return true;
}

/* Only log rows are in this file, so a checkpoint writes few pages, most of them many times in the
 * WAL. Still it takes as long as dozens of batches, so it goes on beside them; what they have added
 * meanwhile is little, and moved while they wait: then the next append starts the WAL over. */
static void checkpoint_behind(struct sq_store *s) {
    int moved = 0, left = s->log_frames;
    if (left < s->checkpoint_frames) {
        return;
    }
    for (int i = 0; i < CHECKPOINT_ROUNDS && left > CHECKPOINT_REST; i++) {
        if (s->broken || !checkpoint(s, s->cdb, false, &moved)) {
            return;
        }
        left = s->log_frames - moved;
    }
    if (left > CHECKPOINT_REST) {
        return; /* a long reader holds it up, or there are more entries than the disk can move */
    }
    pthread_mutex_lock(&s->lock);
    if (!s->broken) {
        checkpoint(s, s->cdb, true, &moved);
    }
    pthread_mutex_unlock(&s->lock);
}

bool sq_checkpoint_behind(struct sq_store *s) {
    checkpoint_behind(s);
    return !s->broken;
}

/* Nobody folds, or far too slowly: then here, and before a batch instead of after one, so that the
 * answers to the last batch are out. */
static void checkpoint_before(struct sq_store *s) {
    int moved;
    if (s->log_frames >= CHECKPOINT_LATE * s->checkpoint_frames) {
        checkpoint(s, s->db, true, &moved);
    }
}

static enum err_code append_locked(struct sq_store *s, uint64_t expected_head, uint64_t fence,
                                   struct log_entry *entries, size_t n, struct err *err) {
    if (s->broken) {
        return sq_broken(s, true, err);
    }
    if (!s->leased || fence != s->fence) {
        return stale(s, fence, err);
    }
    if (s->head != expected_head) {
        return err_set(err, ERR_CONFLICT, s->path,
                       "the log has moved on: its head is %" PRIu64 ", not %" PRIu64,
                       (uint64_t)s->head, expected_head);
    }
    checkpoint_before(s);
    if (s->broken) {
        return sq_broken(s, true, err);
    }
    int64_t now = clock_wall(s->log.clock);
    ERR_TRY(sq_committed(s, write_batch(s, entries, n, now, err)));
    uint64_t config = s->config_head;
    size_t ops = 0;
    for (size_t i = 0; i < n; i++) {
        stamp(s, &entries[i], s->head + 1 + i, config, now);
        if (log_entry_has_config(&entries[i])) {
            config = entries[i].index;
        }
        ops += entries[i].n_ops;
    }
    s->config_head = config;
    s->unfolded_ops += ops;
    s->head += n;
    log_notify(&s->log, entries, n);
    return ERR_OK;
}

static enum err_code sq_append(struct log *log, uint64_t expected_head, uint64_t fence,
                               struct log_entry *entries, size_t n, struct err *err) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = append_locked(s, expected_head, fence, entries, n, err);
    pthread_mutex_unlock(&s->lock);
    /* Nobody folds: do a piece here, so that a restart stays short. Somebody folds, but slower than
     * we append: wait for it only when it is far behind. A failure belongs to the tables, not to
     * this batch, which is durable. */
    size_t behind = s->unfolded_ops;
    if (rc != ERR_OK || behind <= s->fold_backlog_max) {
        return rc;
    }
    if (behind > 4 * s->fold_backlog_max) {
        pthread_mutex_lock(&s->fold_lock);
    } else if (pthread_mutex_trylock(&s->fold_lock) != 0) {
        return rc;
    }
    struct err e;
    if (sq_fold_locked(s, UINT64_MAX, s->fold_backlog_max / 4 + 1, &e) != ERR_OK) {
        sq_note(s, false, e.text);
        L_WARN_RL(10, "can't fold: %s: %s", e.path, e.text);
    }
    pthread_mutex_unlock(&s->fold_lock);
    return rc;
}

/* ---- a copy of another log (log/replica.h) ---- */

static enum err_code write_given(struct sq_store *s, const struct log_entry *entries, size_t n,
                                 struct err *err) {
    ERR_TRY(sq_run(s->begin, s->path, "can't begin", err));
    for (size_t i = 0; i < n; i++) {
        buf_clear(&s->row);
        log_entry_encode(&s->row, &entries[i]);
        sqlite3_bind_int64(s->insert, 1, (sqlite3_int64)entries[i].index);
        sqlite3_bind_blob64(s->insert, 2, s->row.data, s->row.len, SQLITE_STATIC);
        ERR_TRY(sq_run(s->insert, s->path, "can't append", err));
    }
    if (entries[n - 1].fence > s->fence) { /* it grows: a backup of the copy must know it */
        ERR_TRY(sq_set_meta(s->db, s->path, "fence", (int64_t)entries[n - 1].fence, err));
    }
    return sq_run(s->commit, s->path, "can't keep the batch", err);
}

static enum err_code given_locked(struct sq_store *s, const struct log_entry *entries, size_t n,
                                  struct err *err) {
    if (s->broken) {
        return sq_broken(s, true, err);
    }
    for (size_t i = 0; i < n; i++) {
        if (entries[i].index != s->head + 1 + i) {
            return err_set(err, ERR_CONFLICT, s->path,
                           "entry %" PRIu64 " does not follow on %" PRIu64, entries[i].index,
                           s->head + i);
        }
    }
    checkpoint_before(s);
    if (s->broken) {
        return sq_broken(s, true, err);
    }
    ERR_TRY(sq_committed(s, write_given(s, entries, n, err)));
    for (size_t i = 0; i < n; i++) {
        s->unfolded_ops += entries[i].n_ops;
        s->config_head = log_entry_has_config(&entries[i]) ? entries[i].index : s->config_head;
    }
    s->fence = entries[n - 1].fence > s->fence ? entries[n - 1].fence : s->fence;
    s->head += n;
    return ERR_OK;
}

enum err_code log_replica_append(struct log *log, const struct log_entry *entries, size_t n,
                                 struct err *err) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = given_locked(s, entries, n, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- reading ---- */

static enum err_code sq_read(struct log *log, uint64_t from, uint64_t to, log_read_fn *each,
                             void *arg, struct err *err) {
    struct sq_store *s = store_of(log);
    uint64_t head = s->head;
    to = to < head ? to : head;
    if (from > to) {
        return ERR_OK;
    }
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    struct log_decoded d = {0};
    ERR_TRY(sq_pool_get(&s->log_readers, &db, err));
    enum err_code code;
    ERR_GOTO(code,
             sq_prepare(db, s->path,
                        "SELECT idx, row FROM log WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx", &stmt,
                        err),
             out);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)from);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)to);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        code = log_entry_decode(sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1),
                                (uint64_t)sqlite3_column_int64(stmt, 0), &d, err);
        if (code != ERR_OK || !each(&d.entry, arg)) {
            goto out;
        }
    }
    if (rc != SQLITE_DONE) {
        code = sq_fail(db, rc, s->path, "can't read the log", err);
    }
out:
    log_decoded_free(&d);
    sqlite3_finalize(stmt);
    sq_pool_put(&s->log_readers, db);
    return code;
}

/* Asked for with every request of some services, on loops: without the lock, which a commit holds.
 */
static void sq_turn(struct log *log, struct log_turn *out) {
    *out = (struct log_turn){.leads = true,
                             .reached = true,
                             .fence = store_of(log)->fence,
                             .heard_ns = clock_mono(log->clock),
                             .until_ns = INT64_MAX};
}

static void sq_status(struct log *log, struct log_status *out) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->fold_lock);
    out->folded = s->folded;
    pthread_mutex_unlock(&s->fold_lock);
    pthread_mutex_lock(&s->lock);
    out->head = s->head;
    out->unfolded_ops = s->unfolded_ops;
    out->fence = s->fence;
    out->syncs = s->syncs;
    out->needs_reopen = s->broken;
    out->in_doubt = s->in_doubt;
    snprintf(out->reason, sizeof out->reason, "%s", s->reason);
    pthread_mutex_unlock(&s->lock);
    sqlite3 *db;
    int64_t oldest = 0;
    if (sq_pool_get(&s->log_readers, &db, NULL) == ERR_OK) {
        sq_int(db, s->path, "SELECT min(idx) FROM log", &oldest, NULL);
        sq_pool_put(&s->log_readers, db);
    }
    out->oldest = (uint64_t)oldest;
    static const char *const suffixes[] = {"", "-wal", "-tables", "-tables-wal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *name = mem_printf("%s%s", s->path, suffixes[i]);
        struct stat st;
        out->bytes += stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
        mem_free(name);
    }
    struct statvfs fs;
    if (statvfs(s->path, &fs) == 0) {
        out->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    }
}

const struct log_engine log_sqlite = {
    .scheme = "sqlite",
    .open = sq_open,
    .close = sq_close,
    .reopen = sq_reopen,
    .id = sq_id,
    .head = sq_head,
    .config_head = sq_config_head,
    .lease_acquire = sq_lease_acquire,
    .lease_renew = sq_lease_renew,
    .lease_release = sq_lease_release,
    .append = sq_append,
    .read = sq_read,
    .snapshot = sq_snapshot,
    .fold = sq_fold,
    .trim = sq_trim,
    .status = sq_status,
    .turn = sq_turn,
    .backup = sq_backup,
    .restore = sq_restore,
    .check = sq_check,
};
