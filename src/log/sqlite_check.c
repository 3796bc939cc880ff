// SPDX-License-Identifier: Apache-2.0
/* fsck: everything the store says about itself, held against everything else it says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "log/sqlite_int.h"

struct check {
    struct sq_store *s;
    log_finding_fn *finding;
    void *arg;
    size_t n;
    sqlite3 *log, *tables; /* each in one transaction: the check sees one state */
    uint64_t folded, folded_ops;
    uint64_t trimmed, floor, fence;
    sqlite3_stmt *refold;
    bool rows_damaged;
};

static void __attribute__((format(printf, 3, 4)))
found(struct check *c, const char *where, const char *fmt, ...) {
    if (c->n++ >= LOG_FINDINGS_MAX || c->finding == NULL) {
        return;
    }
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->finding(where, text, c->arg);
}

static enum err_code check_pages(struct check *c, sqlite3 *db, const char *path, struct err *err) {
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(db, path, "PRAGMA integrity_check(100)", &stmt, err));
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text != NULL && strcmp(text, "ok") != 0) {
            found(c, path, "%s", text);
        }
    }
    if (rc != SQLITE_DONE) {
        found(c, path, "the integrity check stopped: %s", sqlite3_errmsg(db));
    }
    sqlite3_finalize(stmt);
    return ERR_OK;
}

/* Replays one entry into the temporary table that the folded tables are then compared with. */
static enum err_code replay(struct check *c, const struct log_entry *e, struct err *err) {
    if (e->index <= c->trimmed || e->index > c->folded + 1) {
        return ERR_OK;
    }
    size_t n = e->index <= c->folded ? e->n_ops : c->folded_ops;
    for (size_t i = 0; i < n && i < e->n_ops; i++) {
        const struct log_op *op = &e->ops[i];
        sqlite3_bind_int(c->refold, 1, op->space);
        sqlite3_bind_blob64(c->refold, 2, op->key, op->key_len, SQLITE_STATIC);
        sqlite3_bind_int64(c->refold, 3, (sqlite3_int64)e->index);
        sqlite3_bind_null(c->refold, 4);
        if (op->value != NULL) {
            sqlite3_bind_blob64(c->refold, 4, op->value, op->value_len, SQLITE_STATIC);
        }
        ERR_TRY(sq_run(c->refold, c->s->tables_path, "can't replay the log", err));
    }
    return ERR_OK;
}

static enum err_code check_entries(struct check *c, struct err *err) {
    const char *path = c->s->path;
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(c->log, path, "SELECT idx, row FROM log ORDER BY idx", &stmt, err));
    struct log_decoded d = {0};
    struct err row_err;
    uint64_t next = c->trimmed + 1, config = 0, fence = 0;
    bool config_known = true;
    enum err_code code = ERR_OK;
    int rc;
    while (code == ERR_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        uint64_t index = (uint64_t)sqlite3_column_int64(stmt, 0);
        if (index > c->trimmed) {
            if (index != next) {
                found(c, path, "entries %" PRIu64 " to %" PRIu64 " are missing", next, index - 1);
                c->rows_damaged = true;
            }
            next = index + 1;
        }
        if (log_entry_decode(sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1),
                             index, &d, &row_err) != ERR_OK) {
            found(c, path, "%s: %s", row_err.path, row_err.text);
            c->rows_damaged = true;
            config_known = false;
            continue;
        }
        const struct log_entry *e = &d.entry;
        bool trimmed_away = config == 0 && e->prev_config < c->floor;
        if (config_known && e->prev_config != config && !trimmed_away) {
            found(c, path,
                  "entry %" PRIu64 " follows config entry %" PRIu64 ", but the one before it is "
                  "%" PRIu64,
                  index, e->prev_config, config);
        }
        config_known = true;
        config = log_entry_has_config(e) ? index : e->prev_config;
        if (e->fence < fence || e->fence > c->fence) {
            found(c, path, "entry %" PRIu64 " was written under fence %" PRIu64 " out of order",
                  index, e->fence);
        }
        fence = e->fence;
        code = replay(c, e, err);
    }
    if (code == ERR_OK && rc != SQLITE_DONE) {
        found(c, path, "reading the entries stopped: %s", sqlite3_errmsg(c->log));
        c->rows_damaged = true;
    }
    if (next <= c->folded) {
        found(c, path, "the tables hold entry %" PRIu64 ", but the log ends at %" PRIu64, c->folded,
              next - 1);
        c->rows_damaged = true;
    }
    log_decoded_free(&d);
    sqlite3_finalize(stmt);
    return code;
}

static enum err_code check_folded_rows(struct check *c, struct err *err) {
    const char *path = c->s->tables_path;
    sqlite3_stmt *stmt;
    ERR_TRY(
        sq_prepare(c->tables, path, "SELECT space, key, idx, sum, value FROM folded", &stmt, err));
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int space = sqlite3_column_int(stmt, 0);
        const void *key = sqlite3_column_blob(stmt, 1);
        size_t key_len = (size_t)sqlite3_column_bytes(stmt, 1);
        uint64_t modified = (uint64_t)sqlite3_column_int64(stmt, 2);
        const void *value = sqlite3_column_blob(stmt, 4);
        size_t value_len = (size_t)sqlite3_column_bytes(stmt, 4);
        int shown = key_len < 200 ? (int)key_len : 200;
        if (sqlite3_column_int64(stmt, 3) !=
            log_folded_sum((uint8_t)space, key, key_len, value, value_len, modified)) {
            found(c, path, "the row of key %.*s has a wrong checksum", shown, (const char *)key);
        }
        if (modified > c->folded + (c->folded_ops != 0) || modified == 0) {
            found(c, path, "the row of key %.*s was written by entry %" PRIu64 ", which is not in",
                  shown, (const char *)key, modified);
        }
    }
    if (rc != SQLITE_DONE) {
        found(c, path, "reading the tables stopped: %s", sqlite3_errmsg(c->tables));
    }
    sqlite3_finalize(stmt);
    return ERR_OK;
}

static enum err_code compare(struct check *c, const char *sql, const char *what, struct err *err) {
    const char *path = c->s->tables_path;
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(c->tables, path, sql, &stmt, err));
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)c->trimmed);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int n = sqlite3_column_bytes(stmt, 0);
        found(c, path, "%s: key %.*s, entry %lld", what, n < 200 ? n : 200,
              (const char *)sqlite3_column_blob(stmt, 0), (long long)sqlite3_column_int64(stmt, 1));
    }
    if (rc != SQLITE_DONE) {
        found(c, path, "comparing the tables stopped: %s", sqlite3_errmsg(c->tables));
    }
    sqlite3_finalize(stmt);
    return ERR_OK;
}

static enum err_code compare_tables(struct check *c, struct err *err) {
    ERR_TRY(compare(c,
                    "SELECT r.key, r.idx FROM temp.refold r LEFT JOIN folded f"
                    " ON f.space=r.space AND f.key=r.key WHERE ?1>=0 AND r.value IS NOT NULL"
                    " AND (f.idx IS NOT r.idx OR f.value IS NOT r.value)",
                    "the tables don't hold what the log wrote", err));
    ERR_TRY(compare(c,
                    "SELECT r.key, r.idx FROM temp.refold r JOIN folded f"
                    " ON f.space=r.space AND f.key=r.key WHERE ?1>=0 AND r.value IS NULL",
                    "the tables hold what the log deleted", err));
    return compare(c,
                   "SELECT f.key, f.idx FROM folded f LEFT JOIN temp.refold r"
                   " ON f.space=r.space AND f.key=r.key WHERE f.idx>?1 AND r.key IS NULL",
                   "the tables hold what the log never wrote", err);
}

/* Folds what can be folded and opens both transactions, between which nothing is trimmed. */
static enum err_code begin(struct check *c, struct err *err) {
    struct sq_store *s = c->s;
    struct err e;
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&s->fold_lock);
    if (sq_fold_locked(s, UINT64_MAX, 0, &e) != ERR_OK) {
        found(c, e.path, "%s", e.text);
    }
    c->folded = s->folded;
    c->folded_ops = s->folded_ops;
    pthread_mutex_lock(&s->lock);
    c->trimmed = s->trimmed;
    c->floor = s->floor;
    c->fence = s->fence;
    pthread_mutex_unlock(&s->lock);
    int64_t ignored;
    ERR_GOTO(rc, sq_connect(s->path, s->vfs, SQLITE_OPEN_READWRITE, &c->log, err), out);
    ERR_GOTO(rc, sq_connect(s->tables_path, s->vfs, SQLITE_OPEN_READWRITE, &c->tables, err), out);
    ERR_GOTO(rc, sq_exec(c->log, s->path, "BEGIN", err), out);
    ERR_GOTO(rc, sq_int(c->log, s->path, "SELECT max(idx) FROM log", &ignored, err), out);
    ERR_GOTO(rc,
             sq_exec(c->tables, s->tables_path,
                     "BEGIN; CREATE TEMP TABLE refold(space INTEGER, key BLOB, idx INTEGER,"
                     " value BLOB, PRIMARY KEY(space, key)) WITHOUT ROWID",
                     err),
             out);
    ERR_GOTO(rc, sq_int(c->tables, s->tables_path, "SELECT count(*) FROM meta", &ignored, err),
             out);
    rc = sq_prepare(c->tables, s->tables_path,
                    "INSERT OR REPLACE INTO temp.refold VALUES(?1, ?2, ?3, ?4)", &c->refold, err);
out:
    pthread_mutex_unlock(&s->fold_lock);
    return rc;
}

enum err_code sq_check(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                       struct err *err) {
    struct check c = {.s = CONTAINER_OF(log, struct sq_store, log), .finding = finding, .arg = arg};
    enum err_code rc;
    ERR_GOTO(rc, begin(&c, err), out);
    ERR_GOTO(rc, check_pages(&c, c.log, c.s->path, err), out);
    ERR_GOTO(rc, check_pages(&c, c.tables, c.s->tables_path, err), out);
    ERR_GOTO(rc, check_entries(&c, err), out);
    ERR_GOTO(rc, check_folded_rows(&c, err), out);
    if (!c.rows_damaged) {
        rc = compare_tables(&c, err);
    }
out:
    sqlite3_finalize(c.refold);
    sqlite3_close(c.log);
    sqlite3_close(c.tables);
    if (findings != NULL) {
        *findings = c.n;
    }
    return rc;
}
