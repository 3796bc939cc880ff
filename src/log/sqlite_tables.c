// SPDX-License-Identifier: Apache-2.0
/* The folded tables: what every key holds at one index. They are a cache of the log that outlives
 * trimming; while the log reaches back to its first entry they can be thrown away and made anew. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "log/sqlite_int.h"

LOGGER_MODULE(log_tables)

enum {
    /* A fold keeps the last operation on each key and sorts by key before it touches the tables:
     * the larger the piece, the fewer pages are written twice. Both bound its memory. */
    PIECE_OPS = 131072,
    PIECE_BYTES = 64 << 20,
    T_CHECKPOINT_FRAMES = 8000,
};

#define CAN_T "can't fold"

static struct sq_store *store_of(struct log *log) {
    return CONTAINER_OF(log, struct sq_store, log);
}

/* ---- opening ---- */

enum err_code sq_tables_create(sqlite3 *db, const char *path, const uint8_t id[LOG_ID_LEN],
                               struct err *err) {
    ERR_TRY(
        sq_exec(db, path,
                "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; BEGIN;"
                "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;" SQ_FOLDED_TABLE,
                err));
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", SQ_APPLICATION_ID,
             SQ_FORMAT);
    ERR_TRY(sq_exec(db, path, sql, err));
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(db, path, "INSERT INTO meta VALUES('log', ?1)", &stmt, err));
    sqlite3_bind_blob(stmt, 1, id, LOG_ID_LEN, SQLITE_STATIC);
    enum err_code rc = sq_run(stmt, path, "can't create the tables", err);
    sqlite3_finalize(stmt);
    ERR_TRY(rc);
    return sq_exec(db, path, "COMMIT", err);
}

/* Are these our tables, and not ahead of the log? ERR_ABSENT: the file is empty. */
static enum err_code check_tables(struct sq_store *s, struct err *err) {
    int64_t app, version, folded, folded_ops;
    ERR_TRY(sq_int(s->tdb, s->tables_path, "PRAGMA application_id", &app, err));
    ERR_TRY(sq_int(s->tdb, s->tables_path, "PRAGMA user_version", &version, err));
    if (app == 0 && version == 0) {
        return err_set(err, ERR_ABSENT, s->tables_path, "the folded tables are missing");
    }
    if (version > SQ_FORMAT) {
        return err_set(err, ERR_UNSUPPORTED, s->tables_path,
                       "the tables were written by a newer Weft: they have format %" PRId64
                       ", this program knows formats up to %d",
                       version, SQ_FORMAT);
    }
    sqlite3_stmt *stmt;
    ERR_TRY(
        sq_prepare(s->tdb, s->tables_path, "SELECT value FROM meta WHERE name='log'", &stmt, err));
    bool ours = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == LOG_ID_LEN &&
                memcmp(sqlite3_column_blob(stmt, 0), s->id, LOG_ID_LEN) == 0;
    sqlite3_finalize(stmt);
    ERR_TRY(
        sq_int(s->tdb, s->tables_path, "SELECT value FROM meta WHERE name='folded'", &folded, err));
    ERR_TRY(sq_int(s->tdb, s->tables_path, "SELECT value FROM meta WHERE name='folded_ops'",
                   &folded_ops, err));
    if (!ours) {
        return err_set(err, ERR_MALFORMED, s->tables_path, "the tables belong to another log");
    }
    if ((uint64_t)folded > s->head || ((uint64_t)folded == s->head && folded_ops != 0)) {
        return err_set(err, ERR_MALFORMED, s->tables_path,
                       "the tables are at entry %" PRId64 ", ahead of the log at %" PRIu64, folded,
                       (uint64_t)s->head);
    }
    if ((uint64_t)folded < s->trimmed) {
        return err_set(err, ERR_MALFORMED, s->tables_path,
                       "the tables are at entry %" PRId64
                       ", but the log was trimmed up to %" PRIu64,
                       folded, s->trimmed);
    }
    s->folded = (uint64_t)folded;
    s->folded_ops = (uint64_t)folded_ops;
    return ERR_OK;
}

static enum err_code connect_tables(struct sq_store *s, struct err *err) {
    int fd = open(s->tables_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_errno(err, errno, s->tables_path, "can't open the folded tables");
    }
    close(fd);
    return sq_connect(s->tables_path, s->vfs, SQLITE_OPEN_READWRITE, &s->tdb, err);
}

static void remove_tables(struct sq_store *s) {
    /* Through SQLite's VFS, so that a test VFS knows the files are gone. */
    sqlite3_vfs *vfs = sqlite3_vfs_find(s->vfs);
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *name = mem_printf("%s%s", s->tables_path, suffixes[i]);
        vfs->xDelete(vfs, name, 0);
        mem_free(name);
    }
}

static enum err_code count_unfolded(struct sq_store *s, struct err *err);

/* A full disk is no reason to stay away: nothing is lost that is still in the write-ahead log. */
static enum err_code settle_tables(struct sq_store *s, struct err *err) {
    struct err e;
    enum err_code rc = sq_settle_wal(s->tdb, s->tables_path, &e);
    if (rc == ERR_LIMIT) {
        L_WARN("%s: %s", e.path, e.text);
        return ERR_OK;
    }
    if (rc != ERR_OK && err != NULL) {
        *err = e;
    }
    return rc;
}

enum err_code sq_tables_open(struct sq_store *s, const struct log_options *options,
                             struct err *err) {
    ERR_TRY(connect_tables(s, err));
    struct err why;
    enum err_code rc = check_tables(s, &why);
    if (rc != ERR_OK && rc != ERR_UNSUPPORTED && s->trimmed == 0) {
        if (rc != ERR_ABSENT) {
            L_WARN("%s: %s; they are made anew from the log", why.path, why.text);
        }
        sqlite3_close(s->tdb);
        s->tdb = NULL;
        remove_tables(s);
        ERR_TRY(connect_tables(s, err));
        ERR_TRY(sq_tables_create(s->tdb, s->tables_path, s->id, err));
        s->folded = s->folded_ops = 0;
    } else if (rc != ERR_OK) {
        if (err != NULL) {
            *err = why;
        }
        return rc;
    }
    ERR_TRY(sq_exec(s->tdb, s->tables_path,
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=" SQ_SYNC_TABLES
                    "; PRAGMA cache_size=-16384",
                    err));
    s->t_wal = (struct sq_wal){.frames = 0};
    sq_wal_watch(s->tdb, &s->t_wal);
    const char *p = s->tables_path;
    ERR_TRY(settle_tables(s, err));
    ERR_TRY(sq_prepare(s->tdb, p, "BEGIN IMMEDIATE", &s->t_begin, err));
    ERR_TRY(sq_prepare(s->tdb, p,
                       "INSERT OR REPLACE INTO folded(space, key, idx, sum, value)"
                       " VALUES(?1, ?2, ?3, ?4, ?5)",
                       &s->t_put, err));
    ERR_TRY(sq_prepare(s->tdb, p, "DELETE FROM folded WHERE space=?1 AND key=?2", &s->t_del, err));
    ERR_TRY(sq_prepare(s->tdb, p,
                       "INSERT OR REPLACE INTO meta(name, value)"
                       " VALUES('folded', ?1), ('folded_ops', ?2)",
                       &s->t_mark, err));
    ERR_TRY(sq_prepare(s->tdb, p, "COMMIT", &s->t_commit, err));
    ERR_TRY(sq_sync_dir(p, err));
    return count_unfolded(s, err);
}

void sq_tables_close(struct sq_store *s) {
    sq_pool_drain(&s->table_readers);
    sqlite3_finalize(s->t_begin);
    sqlite3_finalize(s->t_put);
    sqlite3_finalize(s->t_del);
    sqlite3_finalize(s->t_mark);
    sqlite3_finalize(s->t_commit);
    s->t_begin = s->t_put = s->t_del = s->t_mark = s->t_commit = NULL;
    if (s->tdb != NULL && s->broken) {
        sqlite3_db_config(s->tdb, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    sqlite3_close(s->tdb);
    s->tdb = NULL;
}

/* ---- folding ---- */

struct fold_op {
    struct log_op op; /* key and value in the piece's arena */
    uint64_t modified;
    size_t seq;
};

struct piece {
    struct arena *rows;
    struct fold_op *ops;
    size_t n, cap, bytes;
    uint64_t folded, folded_ops; /* where the tables are when it is in */
};

/* Walks the entries that are not in the tables yet; `each` gets the number of operations to skip.
 */
static enum err_code walk_unfolded(struct sq_store *s, uint64_t upto,
                                   bool (*each)(struct sq_store *s, const struct log_entry *e,
                                                size_t skip, const uint8_t *row, size_t row_len,
                                                void *arg),
                                   void *arg, struct err *err) {
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    struct log_decoded d = {0};
    ERR_TRY(sq_pool_get(&s->log_readers, &db, err));
    enum err_code code;
    ERR_GOTO(code,
             sq_prepare(db, s->path,
                        "SELECT idx, row FROM log WHERE idx > ?1 AND idx <= ?2 ORDER BY idx", &stmt,
                        err),
             out);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)s->folded);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)upto);
    int rc;
    uint64_t next = s->folded + 1;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const uint8_t *row = sqlite3_column_blob(stmt, 1);
        size_t row_len = (size_t)sqlite3_column_bytes(stmt, 1);
        uint64_t index = (uint64_t)sqlite3_column_int64(stmt, 0);
        if (index != next) {
            code = err_set(err, ERR_MALFORMED, s->path,
                           "entry %" PRIu64 " is missing and was not folded yet", next);
            goto out;
        }
        ERR_GOTO(code, log_entry_decode(row, row_len, index, &d, err), out);
        size_t skip = index == s->folded + 1 ? (size_t)s->folded_ops : 0;
        if (!each(s, &d.entry, skip, row, row_len, arg)) {
            goto out;
        }
        next++;
    }
    if (rc != SQLITE_DONE) {
        code = sq_fail(db, rc, s->path, "can't read the log", err);
    } else if (next <= upto) {
        code = err_set(err, ERR_MALFORMED, s->path,
                       "entry %" PRIu64 " is missing and was not folded yet", next);
    }
out:
    log_decoded_free(&d);
    sqlite3_finalize(stmt);
    sq_pool_put(&s->log_readers, db);
    return code;
}

static bool count_entry(struct sq_store *s, const struct log_entry *e, size_t skip,
                        const uint8_t *row, size_t row_len, void *arg) {
    *(size_t *)arg += e->n_ops > skip ? e->n_ops - skip : 0;
    return true;
}

static enum err_code count_unfolded(struct sq_store *s, struct err *err) {
    size_t n = 0;
    ERR_TRY(walk_unfolded(s, s->head, count_entry, &n, err));
    s->unfolded_ops = n;
    return ERR_OK;
}

struct collect {
    struct piece *piece;
    size_t max_ops;
};

static bool collect_entry(struct sq_store *s, const struct log_entry *e, size_t skip,
                          const uint8_t *row, size_t row_len, void *arg) {
    const struct collect *c = arg;
    struct piece *p = c->piece;
    size_t room = c->max_ops - p->n;
    size_t n = e->n_ops - skip < room ? e->n_ops - skip : room;
    if (n > 0) {
        uint8_t *copy = arena_alloc(p->rows, row_len);
        memcpy(copy, row, row_len);
        p->bytes += row_len;
        if (p->n + n > p->cap) {
            p->cap = p->n + n + p->cap / 2;
            p->ops = mem_array(p->ops, p->cap, sizeof *p->ops);
        }
        for (size_t i = 0; i < n; i++) {
            struct fold_op *f = &p->ops[p->n];
            *f = (struct fold_op){.op = e->ops[skip + i], .modified = e->index, .seq = p->n};
            f->op.key = copy + (f->op.key - row);
            f->op.value = f->op.value ? copy + (f->op.value - row) : NULL;
            p->n++;
        }
    }
    if (skip + n < e->n_ops) {
        p->folded = e->index - 1;
        p->folded_ops = skip + n;
        return false;
    }
    p->folded = e->index;
    p->folded_ops = 0;
    return p->n < c->max_ops && p->bytes < PIECE_BYTES;
}

static int by_key(const void *va, const void *vb) {
    const struct fold_op *a = va, *b = vb;
    if (a->op.space != b->op.space) {
        return a->op.space < b->op.space ? -1 : 1;
    }
    size_t n = a->op.key_len < b->op.key_len ? a->op.key_len : b->op.key_len;
    int c = memcmp(a->op.key, b->op.key, n);
    if (c != 0) {
        return c;
    }
    if (a->op.key_len != b->op.key_len) {
        return a->op.key_len < b->op.key_len ? -1 : 1;
    }
    return a->seq < b->seq ? -1 : 1;
}

static bool same_key(const struct fold_op *a, const struct fold_op *b) {
    return a->op.space == b->op.space && a->op.key_len == b->op.key_len &&
           memcmp(a->op.key, b->op.key, a->op.key_len) == 0;
}

static enum err_code write_piece(struct sq_store *s, struct piece *p, struct err *err) {
    if (p->n > 1) {
        qsort(p->ops, p->n, sizeof *p->ops, by_key);
    }
    ERR_TRY(sq_run(s->t_begin, s->tables_path, CAN_T, err));
    for (size_t i = 0; i < p->n; i++) {
        const struct log_op *op = &p->ops[i].op;
        if (i + 1 < p->n && same_key(&p->ops[i], &p->ops[i + 1])) {
            continue;
        }
        sqlite3_stmt *stmt = op->value ? s->t_put : s->t_del;
        sqlite3_bind_int(stmt, 1, op->space);
        sqlite3_bind_blob64(stmt, 2, op->key, op->key_len, SQLITE_STATIC);
        if (op->value != NULL) {
            uint64_t modified = p->ops[i].modified;
            sqlite3_bind_int64(stmt, 3, (sqlite3_int64)modified);
            sqlite3_bind_int64(stmt, 4,
                               log_folded_sum(op->space, op->key, op->key_len, op->value,
                                              op->value_len, modified));
            sqlite3_bind_blob64(stmt, 5, op->value, op->value_len, SQLITE_STATIC);
        }
        ERR_TRY(sq_run(stmt, s->tables_path, CAN_T, err));
    }
    sqlite3_bind_int64(s->t_mark, 1, (sqlite3_int64)p->folded);
    sqlite3_bind_int64(s->t_mark, 2, (sqlite3_int64)p->folded_ops);
    ERR_TRY(sq_run(s->t_mark, s->tables_path, CAN_T, err));
    return sq_run(s->t_commit, s->tables_path, CAN_T, err);
}

static void tables_failed(struct sq_store *s) {
    if (sq_is_sync_error(s->tdb)) {
        sq_break(s, false, "a sync of the folded tables failed");
    }
    if (!sqlite3_get_autocommit(s->tdb)) {
        sqlite3_exec(s->tdb, "ROLLBACK", NULL, NULL, NULL);
    }
}

static enum err_code checkpoint_tables(struct sq_store *s, int above, struct err *err) {
    if (s->t_wal.last_frames < above) {
        return ERR_OK;
    }
    int rc = sqlite3_wal_checkpoint_v2(s->tdb, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY) {
        return ERR_OK;
    }
    sq_fail(s->tdb, rc, s->tables_path, "can't move tables out of the write-ahead log", err);
    tables_failed(s);
    return err ? err->code : ERR_IO;
}

static enum err_code fold_piece(struct sq_store *s, uint64_t upto, size_t max_ops, size_t *done,
                                struct err *err) {
    struct piece p = {.rows = arena_new(), .folded = s->folded, .folded_ops = s->folded_ops};
    struct collect c = {.piece = &p, .max_ops = max_ops};
    enum err_code rc = walk_unfolded(s, upto, collect_entry, &c, err);
    if (rc == ERR_OK) {
        rc = write_piece(s, &p, err);
        if (rc == ERR_OK) {
            s->folded = p.folded;
            s->folded_ops = p.folded_ops;
            s->unfolded_ops -= p.n;
            *done = p.n;
        } else {
            tables_failed(s);
        }
    }
    arena_free(p.rows);
    mem_free(p.ops);
    ERR_TRY(rc);
    return checkpoint_tables(s, T_CHECKPOINT_FRAMES, err);
}

enum err_code sq_fold_locked(struct sq_store *s, uint64_t upto, size_t max_ops, struct err *err) {
    size_t left = max_ops ? max_ops : SIZE_MAX;
    uint64_t head = s->head;
    upto = upto < head ? upto : head;
    while (s->folded < upto && left > 0) {
        size_t done = 0;
        if (s->broken) {
            return sq_broken(s, false, err);
        }
        ERR_TRY(fold_piece(s, upto, left < PIECE_OPS ? left : PIECE_OPS, &done, err));
        left -= done;
    }
    return ERR_OK;
}

enum err_code sq_fold(struct log *log, size_t max_ops, size_t *left, struct err *err) {
    struct sq_store *s = store_of(log);
    pthread_mutex_lock(&s->fold_lock);
    enum err_code rc = sq_fold_locked(s, UINT64_MAX, max_ops, err);
    bool sound = sq_checkpoint_behind(s);
    if (rc == ERR_OK && !sound) {
        rc = sq_broken(s, false, err);
    }
    pthread_mutex_unlock(&s->fold_lock);
    if (left != NULL) {
        *left = s->unfolded_ops;
    }
    return rc;
}

enum err_code sq_tables_sync(struct sq_store *s, struct err *err) {
    /* A commit under FULL syncs the WAL, and with it every commit before. */
    ERR_TRY(sq_exec(s->tdb, s->tables_path, "PRAGMA synchronous=" SQ_SYNC_LOG, err));
    enum err_code rc = sq_run(s->t_begin, s->tables_path, CAN_T, err);
    if (rc == ERR_OK) {
        sqlite3_bind_int64(s->t_mark, 1, (sqlite3_int64)s->folded);
        sqlite3_bind_int64(s->t_mark, 2, (sqlite3_int64)s->folded_ops);
        rc = sq_run(s->t_mark, s->tables_path, CAN_T, err);
    }
    if (rc == ERR_OK) {
        rc = sq_run(s->t_commit, s->tables_path, CAN_T, err);
    }
    if (rc != ERR_OK) {
        tables_failed(s);
    }
    sqlite3_exec(s->tdb, "PRAGMA synchronous=" SQ_SYNC_TABLES, NULL, NULL, NULL);
    return rc;
}

/* ---- reading ---- */

/* The first key behind all that begin with `prefix`; false: there is none. */
static bool prefix_end(struct buf *b, const void *prefix, size_t n) {
    buf_add(b, prefix, n);
    while (b->len > 0) {
        if (b->data[b->len - 1] != 0xff) {
            b->data[b->len - 1]++;
            return true;
        }
        b->len--;
    }
    return false;
}

static enum err_code each_row(struct sq_store *s, sqlite3 *db, sqlite3_stmt *stmt, uint8_t space,
                              log_snapshot_fn *each, void *arg, struct err *err) {
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const void *key = sqlite3_column_blob(stmt, 0);
        size_t key_len = (size_t)sqlite3_column_bytes(stmt, 0);
        uint64_t modified = (uint64_t)sqlite3_column_int64(stmt, 1);
        const void *value = sqlite3_column_blob(stmt, 3);
        size_t value_len = (size_t)sqlite3_column_bytes(stmt, 3);
        uint32_t sum = log_folded_sum(space, key, key_len, value, value_len, modified);
        if (sqlite3_column_int64(stmt, 2) != sum) {
            return err_set(err, ERR_MALFORMED, s->tables_path,
                           "the row of key %.*s, written by entry %" PRIu64
                           ", is damaged: its checksum is wrong",
                           key_len < 200 ? (int)key_len : 200, (const char *)key, modified);
        }
        static const uint8_t empty[1];
        if (!each(key, key_len, value ? value : empty, value_len, modified, arg)) {
            return ERR_OK;
        }
    }
    if (rc != SQLITE_DONE) {
        return sq_fail(db, rc, s->tables_path, "can't read the folded tables", err);
    }
    return ERR_OK;
}

/* Gives a reader whose transaction stands at exactly entry `*at`, with all of it folded. */
static enum err_code begin_snapshot(struct sq_store *s, sqlite3 **db, uint64_t *at,
                                    struct err *err) {
    pthread_mutex_lock(&s->fold_lock);
    enum err_code rc = sq_fold_locked(s, UINT64_MAX, 0, err);
    if (rc == ERR_OK) {
        rc = sq_pool_get(&s->table_readers, db, err);
    }
    int64_t folded = 0;
    if (rc == ERR_OK) {
        rc = sq_exec(*db, s->tables_path, "BEGIN", err);
        if (rc == ERR_OK) {
            rc = sq_int(*db, s->tables_path, "SELECT value FROM meta WHERE name='folded'", &folded,
                        err);
        }
        if (rc != ERR_OK) {
            sq_pool_put(&s->table_readers, *db);
        }
    }
    pthread_mutex_unlock(&s->fold_lock);
    *at = (uint64_t)folded;
    return rc;
}

enum err_code sq_snapshot(struct log *log, enum log_space space, const void *prefix,
                          size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                          struct err *err) {
    struct sq_store *s = store_of(log);
    sqlite3 *db;
    uint64_t index;
    ERR_TRY(begin_snapshot(s, &db, &index, err));
    if (at != NULL) {
        *at = index;
    }
    struct buf end = BUF_INIT;
    bool bounded = prefix_end(&end, prefix, prefix_len);
    sqlite3_stmt *stmt = NULL;
    enum err_code rc = sq_prepare(
        db, s->tables_path,
        bounded ? "SELECT key, idx, sum, value FROM folded WHERE space=?1 AND key>=?2 AND key<?3"
                  " ORDER BY key"
                : "SELECT key, idx, sum, value FROM folded WHERE space=?1 AND key>=?2 ORDER BY key",
        &stmt, err);
    if (rc == ERR_OK) {
        sqlite3_bind_int(stmt, 1, (int)space);
        sqlite3_bind_blob64(stmt, 2, prefix_len > 0 ? prefix : "", prefix_len, SQLITE_STATIC);
        if (bounded) {
            sqlite3_bind_blob64(stmt, 3, end.data, end.len, SQLITE_STATIC);
        }
        rc = each_row(s, db, stmt, (uint8_t)space, each, arg, err);
    }
    sqlite3_finalize(stmt);
    sq_pool_put(&s->table_readers, db);
    buf_free(&end);
    return rc;
}
