// SPDX-License-Identifier: Apache-2.0
#include "log/sqlite_db.h"

#include <string.h>

enum {
    BUSY_MS = 5000,
    /* SQLite file format, section 4.1: 32 bytes of header, then frames of 24 bytes and a page. */
    WAL_HEADER = 32,
    WAL_SALT_AT = 16,
    WAL_FRAME_HEADER = 24,
};

enum err_code sq_fail(sqlite3 *db, int rc, const char *path, const char *what, struct err *err) {
    const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    int sys = db ? sqlite3_system_errno(db) : 0;
    enum err_code code = ERR_IO;
    switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
        code = ERR_LIMIT;
        break;
    case SQLITE_CORRUPT:
        code = ERR_MALFORMED;
        break;
    case SQLITE_NOTADB:
        code = ERR_INVALID;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = ERR_UNAVAILABLE;
        break;
    default:
        break;
    }
    if ((rc & 0xff) == SQLITE_IOERR && sys != 0) {
        return err_set(err, code, path, "%s: %s (%s)", what, text, strerror(sys));
    }
    return err_set(err, code, path, "%s: %s", what, text);
}

bool sq_is_sync_error(sqlite3 *db) {
    int rc = sqlite3_extended_errcode(db);
    return rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC;
}

enum err_code sq_connect(const char *path, const char *vfs, int flags, sqlite3 **out,
                         struct err *err) {
    sqlite3 *db = NULL;
    int rc =
        sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, vfs);
    if (rc != SQLITE_OK) {
        sq_fail(db, rc, path, "can't open the store", err);
        sqlite3_close(db);
        return err ? err->code : ERR_IO;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    int on = 1;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    /* A backup may come from anywhere: what its schema would have SQLite do is not done. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    *out = db;
    return ERR_OK;
}

enum err_code sq_exec(sqlite3 *db, const char *path, const char *sql, struct err *err) {
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : sq_fail(db, rc, path, sql, err);
}

enum err_code sq_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **out,
                         struct err *err) {
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? ERR_OK : sq_fail(db, rc, path, sql, err);
}

enum err_code sq_int(sqlite3 *db, const char *path, const char *sql, int64_t *out,
                     struct err *err) {
    sqlite3_stmt *stmt;
    *out = 0;
    ERR_TRY(sq_prepare(db, path, sql, &stmt, err));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(stmt, 0);
    }
    enum err_code code = ERR_OK;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        code = sq_fail(db, rc, path, sql, err);
    }
    sqlite3_finalize(stmt);
    return code;
}

enum err_code sq_run(sqlite3_stmt *stmt, const char *path, const char *what, struct err *err) {
    int rc = sqlite3_step(stmt);
    enum err_code code = ERR_OK;
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        code = sq_fail(sqlite3_db_handle(stmt), rc, path, what, err);
    }
    sqlite3_reset(stmt);
    return code;
}

void sq_pool_init(struct sq_pool *p, const char *path, const char *vfs) {
    *p = (struct sq_pool){.path = path, .vfs = vfs};
    pthread_mutex_init(&p->lock, NULL);
}

void sq_pool_drain(struct sq_pool *p) {
    while (p->n_idle > 0) {
        sqlite3_close(p->idle[--p->n_idle]);
    }
}

void sq_pool_free(struct sq_pool *p) {
    sq_pool_drain(p);
    pthread_mutex_destroy(&p->lock);
}

enum err_code sq_pool_get(struct sq_pool *p, sqlite3 **out, struct err *err) {
    pthread_mutex_lock(&p->lock);
    sqlite3 *db = p->n_idle > 0 ? p->idle[--p->n_idle] : NULL;
    pthread_mutex_unlock(&p->lock);
    if (db == NULL) {
        ERR_TRY(sq_connect(p->path, p->vfs, SQLITE_OPEN_READWRITE, &db, err));
        sqlite3_wal_autocheckpoint(db, 0);
        /* Perhaps it is the last one to be closed, of a store whose syncs fail. */
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        enum err_code rc = sq_exec(db, p->path, "PRAGMA query_only=1", err);
        if (rc != ERR_OK) {
            sqlite3_close(db);
            return rc;
        }
    }
    *out = db;
    return ERR_OK;
}

void sq_pool_put(struct sq_pool *p, sqlite3 *db) {
    if (!sqlite3_get_autocommit(db)) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    pthread_mutex_lock(&p->lock);
    if (p->n_idle < sizeof p->idle / sizeof p->idle[0]) {
        p->idle[p->n_idle++] = db;
        db = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    sqlite3_close(db);
}

static int wal_hook(void *arg, sqlite3 *db, const char *name, int frames) {
    ((struct sq_wal *)arg)->last_frames = frames;
    return SQLITE_OK;
}

void sq_wal_watch(sqlite3 *db, struct sq_wal *w) {
    sqlite3_wal_hook(db, wal_hook, w);
}

static sqlite3_file *wal_file(sqlite3 *db) {
    sqlite3_file *f = NULL;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f) != SQLITE_OK ||
        f == NULL || f->pMethods == NULL) {
        return NULL;
    }
    return f;
}

static bool read_salt(sqlite3_file *f, uint8_t salt[8]) {
    memset(salt, 0, 8);
    return f->pMethods->xRead(f, salt, 8, WAL_SALT_AT) == SQLITE_OK;
}

void sq_wal_good(sqlite3 *db, struct sq_wal *w) {
    /* A WAL that was started over has a new salt, and may have more frames than before: a batch can
     * be larger than all that was in it. */
    sqlite3_file *f = wal_file(db);
    if (f != NULL) {
        read_salt(f, w->salt);
    }
    w->frames = w->last_frames;
}

bool sq_wal_void(sqlite3 *db, const struct sq_wal *w) {
    static const uint8_t zero[WAL_FRAME_HEADER];
    sqlite3_file *f = wal_file(db);
    uint8_t salt[8];
    if (f == NULL || !read_salt(f, salt)) {
        return false;
    }
    /* Another salt: the failed transaction had started the file over and wrote from its front. */
    int frames = memcmp(salt, w->salt, sizeof salt) == 0 ? w->frames : 0;
    sqlite3_int64 at =
        WAL_HEADER + (sqlite3_int64)frames * ((sqlite3_int64)w->page_size + WAL_FRAME_HEADER);
    return f->pMethods->xWrite(f, zero, sizeof zero, at) == SQLITE_OK &&
           f->pMethods->xSync(f, SQLITE_SYNC_NORMAL) == SQLITE_OK;
}

enum err_code sq_settle_wal(sqlite3 *db, const char *path, struct err *err) {
    int in_wal = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_RESTART, &in_wal, &moved);
    return rc == SQLITE_OK ? ERR_OK
                           : sq_fail(db, rc, path, "can't settle the write-ahead log", err);
}

void sq_wal_prepare(sqlite3 *db, int64_t bytes) {
    static const uint8_t zero[1 << 16];
    sqlite3_file *f = wal_file(db);
    sqlite3_int64 at;
    if (f == NULL || f->pMethods->xFileSize(f, &at) != SQLITE_OK || at >= bytes) {
        return;
    }
    while (at < bytes) {
        int n = (int)(bytes - at < (int64_t)sizeof zero ? bytes - at : (int64_t)sizeof zero);
        if (f->pMethods->xWrite(f, zero, n, at) != SQLITE_OK) {
            return;
        }
        at += n;
    }
    f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
}
