// SPDX-License-Identifier: Apache-2.0
/* Opening a store, and opening it again after its storage failed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/lock_file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/sqlite_int.h"

LOGGER_MODULE(log_open)

enum {
    PAGE_SIZE_DEFAULT = 4096,
    CHECKPOINT_DEFAULT = 2000, /* frames; bench/log_commit.c has the measurements */
    FOLD_BACKLOG_DEFAULT = 200000,
};

enum err_code sq_sync_dir(const char *path, struct err *err) {
    const char *slash = strrchr(path, '/');
    size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    char *dir = slash ? mem_strndup(path, n) : mem_strdup(".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    int e = errno;
    if (fd >= 0) {
        close(fd);
    }
    mem_free(dir);
    return rc == 0 ? ERR_OK : err_errno(err, e, path, "can't sync the directory");
}

enum err_code sq_set_meta(sqlite3 *db, const char *path, const char *name, int64_t value,
                          struct err *err) {
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(db, path, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)", &stmt,
                       err));
    sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, value);
    enum err_code rc = sq_run(stmt, path, "can't keep a setting", err);
    sqlite3_finalize(stmt);
    return rc;
}

static enum err_code get_meta(struct sq_store *s, const char *name, uint64_t *out,
                              struct err *err) {
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT value FROM meta WHERE name='%s'", name);
    int64_t v;
    ERR_TRY(sq_int(s->db, s->path, sql, &v, err));
    *out = (uint64_t)v;
    return ERR_OK;
}

/* A lock on the store itself would collide with SQLite's own. */
static enum err_code lock_store(struct sq_store *s, struct err *err) {
    char *name = mem_printf("%s-lock", s->path), holder[LOCK_HOLDER_MAX];
    enum err_code rc = lock_file(name, &s->lock_fd, holder, err);
    if (rc == ERR_LOCKED) {
        err_set(err, rc, s->path, "the log is open in another place (process %s)", holder);
    }
    mem_free(name);
    return rc;
}

static enum err_code create_file(const char *path, bool must_exist, struct err *err) {
    if (must_exist) {
        if (access(path, F_OK) != 0) {
            return err_set(err, ERR_ABSENT, path, "there is no such log");
        }
        return ERR_OK;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_errno(err, errno, path, "can't open the log");
    }
    close(fd);
    return ERR_OK;
}

static enum err_code create_schema(struct sq_store *s, const struct log_options *options,
                                   struct err *err) {
    char sql[192];
    uint32_t page_size = options->sqlite_page_size ? options->sqlite_page_size : PAGE_SIZE_DEFAULT;
    snprintf(sql, sizeof sql, "PRAGMA page_size=%u; PRAGMA journal_mode=WAL", page_size);
    ERR_TRY(sq_exec(s->db, s->path, sql, err));
    snprintf(sql, sizeof sql, "BEGIN; PRAGMA application_id=%d; PRAGMA user_version=%d;",
             SQ_APPLICATION_ID, SQ_FORMAT);
    ERR_TRY(sq_exec(s->db, s->path, sql, err));
    ERR_TRY(sq_exec(s->db, s->path,
                    "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
                    "CREATE TABLE log(idx INTEGER PRIMARY KEY, row BLOB NOT NULL);",
                    err));
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(s->db, s->path, "INSERT INTO meta VALUES('id', ?1)", &stmt, err));
    uint8_t id[LOG_ID_LEN];
    if (options->sqlite_id != NULL) {
        memcpy(id, options->sqlite_id, sizeof id);
    } else {
        rng_secure(id, sizeof id);
    }
    sqlite3_bind_blob(stmt, 1, id, sizeof id, SQLITE_STATIC);
    enum err_code rc = sq_run(stmt, s->path, "can't create the log", err);
    sqlite3_finalize(stmt);
    ERR_TRY(rc);
    ERR_TRY(sq_exec(s->db, s->path, "COMMIT", err));
    return sq_sync_dir(s->path, err);
}

/* Whose file is it, and can we read it? Nothing is written before that is known. */
static enum err_code check_format(struct sq_store *s, const struct log_options *options,
                                  struct err *err) {
    int64_t app, version, tables;
    ERR_TRY(sq_int(s->db, s->path, "PRAGMA application_id", &app, err));
    ERR_TRY(sq_int(s->db, s->path, "PRAGMA user_version", &version, err));
    ERR_TRY(sq_int(s->db, s->path, "SELECT count(*) FROM sqlite_schema", &tables, err));
    if (app == 0 && version == 0 && tables == 0) {
        if (options->must_exist) {
            return err_set(err, ERR_ABSENT, s->path, "the file holds no log");
        }
        return create_schema(s, options, err);
    }
    if (app != SQ_APPLICATION_ID) {
        return err_set(err, ERR_INVALID, s->path, "the file is a database, but not a Weft log");
    }
    if (version > SQ_FORMAT) {
        return err_set(err, ERR_UNSUPPORTED, s->path,
                       "the log was written by a newer Weft: it has format %" PRId64
                       ", this program (" WEFT_VERSION ") knows formats up to %d; nothing was "
                       "changed, start the newer program",
                       version, SQ_FORMAT);
    }
    return ERR_OK;
}

static enum err_code read_id(struct sq_store *s, uint8_t id[LOG_ID_LEN], struct err *err) {
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(s->db, s->path, "SELECT value FROM meta WHERE name='id'", &stmt, err));
    int rc = sqlite3_step(stmt);
    bool good = rc == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == LOG_ID_LEN;
    if (good) {
        memcpy(id, sqlite3_column_blob(stmt, 0), LOG_ID_LEN);
    }
    sqlite3_finalize(stmt);
    if (!good) {
        return err_set(err, ERR_MALFORMED, s->path, "the log has lost its id");
    }
    return ERR_OK;
}

/* Head, head of the config chain, and the counters, as they are on the disk. */
struct position {
    uint64_t head, config_head, fence, trimmed, floor;
};

static enum err_code read_position(struct sq_store *s, struct position *p, struct err *err) {
    *p = (struct position){.head = 0};
    ERR_TRY(get_meta(s, "fence", &p->fence, err));
    ERR_TRY(get_meta(s, "trimmed", &p->trimmed, err));
    ERR_TRY(get_meta(s, "floor", &p->floor, err));
    sqlite3_stmt *stmt;
    ERR_TRY(sq_prepare(s->db, s->path, "SELECT idx, row FROM log ORDER BY idx DESC LIMIT 1", &stmt,
                       err));
    int rc = sqlite3_step(stmt);
    enum err_code code = ERR_OK;
    if (rc == SQLITE_ROW) {
        struct log_decoded d = {0};
        uint64_t head = (uint64_t)sqlite3_column_int64(stmt, 0);
        code = log_entry_decode(sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1),
                                head, &d, err);
        if (code == ERR_OK) {
            p->head = head;
            p->config_head = log_entry_has_config(&d.entry) ? head : d.entry.prev_config;
        } else {
            err_prefix_path(err, " ");
            err_prefix_path(err, s->path);
        }
        log_decoded_free(&d);
    } else if (rc != SQLITE_DONE) {
        code = sq_fail(s->db, rc, s->path, "can't read the newest entry", err);
    }
    sqlite3_finalize(stmt);
    return code;
}

/* Are all entries behind `acknowledged` from appends of ours that failed? Our fence tells them from
 * what anybody else may have written. */
static enum err_code all_ours(struct sq_store *s, uint64_t acknowledged, struct err *err) {
    sqlite3_stmt *stmt;
    struct log_decoded d = {0};
    ERR_TRY(sq_prepare(s->db, s->path, "SELECT idx, row FROM log WHERE idx > ?1 ORDER BY idx",
                       &stmt, err));
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)acknowledged);
    enum err_code code = ERR_OK;
    int rc;
    while (code == ERR_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        uint64_t index = (uint64_t)sqlite3_column_int64(stmt, 0);
        code = log_entry_decode(sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1),
                                index, &d, err);
        if (code == ERR_OK && d.entry.fence != s->fence) {
            code = err_set(err, ERR_CONFLICT, s->path,
                           "somebody else has written entry %" PRIu64 " (fence %" PRIu64
                           ", ours is %" PRIu64 ")",
                           index, d.entry.fence, s->fence);
        }
    }
    if (code == ERR_OK && rc != SQLITE_DONE) {
        code = sq_fail(s->db, rc, s->path, "can't read the log", err);
    }
    log_decoded_free(&d);
    sqlite3_finalize(stmt);
    return code;
}

/* Removes what an append left that failed without our being able to void it: whoever asked was told
 * that it failed. */
static enum err_code drop_refused(struct sq_store *s, struct position *p, struct err *err) {
    char sql[96];
    ERR_TRY(all_ours(s, s->head, err));
    L_WARN("%s: entries %" PRIu64 "..%" PRIu64
           " are of an append that failed and was answered so; they are removed",
           s->path, s->head + 1, p->head);
    snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; DELETE FROM log WHERE idx > %" PRIu64 "; COMMIT",
             (uint64_t)s->head);
    ERR_TRY(sq_exec(s->db, s->path, sql, err));
    sq_wal_good(s->db, &s->wal);
    return read_position(s, p, err);
}

/* A store that is opened again must hold what was acknowledged before, and no more. */
static enum err_code match_acknowledged(struct sq_store *s, const uint8_t id[LOG_ID_LEN],
                                        struct position *p, struct err *err) {
    if (memcmp(id, s->id, LOG_ID_LEN) != 0) {
        return err_set(err, ERR_CONFLICT, s->path, "another log has taken the place of ours");
    }
    if (p->head > s->head) {
        ERR_TRY(drop_refused(s, p, err));
    }
    if (p->head != s->head || p->config_head != s->config_head) {
        return err_set(err, ERR_CONFLICT, s->path,
                       "the log ends at entry %" PRIu64 ", but %" PRIu64 " were acknowledged",
                       p->head, (uint64_t)s->head);
    }
    return ERR_OK;
}

static enum err_code open_checkpointer(struct sq_store *s, struct err *err) {
    int64_t version; /* reading is what makes SQLite look at the WAL */
    ERR_TRY(sq_connect(s->path, s->vfs, SQLITE_OPEN_READWRITE, &s->cdb, err));
    ERR_TRY(sq_exec(s->cdb, s->path, "PRAGMA synchronous=" SQ_SYNC_LOG, err));
    sqlite3_wal_autocheckpoint(s->cdb, 0);
    return sq_int(s->cdb, s->path, "PRAGMA user_version", &version, err);
}

static enum err_code open_log_file(struct sq_store *s, const struct log_options *options,
                                   struct err *err) {
    ERR_TRY(sq_connect(s->path, s->vfs, SQLITE_OPEN_READWRITE, &s->db, err));
    ERR_TRY(check_format(s, options, err));
    ERR_TRY(sq_exec(s->db, s->path,
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=" SQ_SYNC_LOG
                    "; PRAGMA cache_size=-8192",
                    err));
    if (options->sqlite_lazy) {
        ERR_TRY(sq_exec(s->db, s->path, "PRAGMA synchronous=" SQ_SYNC_TABLES, err));
    }
    sq_wal_watch(s->db, &s->wal);
    int64_t page_size;
    ERR_TRY(sq_int(s->db, s->path, "PRAGMA page_size", &page_size, err));
    s->wal = (struct sq_wal){.page_size = (uint32_t)page_size};
    s->log_frames = 0;
    ERR_TRY(sq_settle_wal(s->db, s->path, err));
    uint8_t id[LOG_ID_LEN];
    struct position p;
    ERR_TRY(read_id(s, id, err));
    ERR_TRY(read_position(s, &p, err));
    if (s->opened) {
        ERR_TRY(match_acknowledged(s, id, &p, err));
    } else {
        memcpy(s->id, id, LOG_ID_LEN);
    }
    s->head = p.head;
    s->config_head = p.config_head;
    s->fence = p.fence > s->fence ? p.fence : s->fence;
    s->trimmed = p.trimmed;
    s->floor = p.floor;
    s->checkpoint_frames =
        options->sqlite_checkpoint ? (int)options->sqlite_checkpoint : CHECKPOINT_DEFAULT;
    sq_wal_prepare(s->db, 32 + (int64_t)s->checkpoint_frames * (page_size + 24));
    ERR_TRY(open_checkpointer(s, err));
    ERR_TRY(sq_prepare(s->db, s->path, "BEGIN IMMEDIATE", &s->begin, err));
    ERR_TRY(
        sq_prepare(s->db, s->path, "INSERT INTO log(idx, row) VALUES(?1, ?2)", &s->insert, err));
    return sq_prepare(s->db, s->path, "COMMIT", &s->commit, err);
}

static enum err_code open_files(struct sq_store *s, const struct log_options *options,
                                struct err *err) {
    ERR_TRY(open_log_file(s, options, err));
    return sq_tables_open(s, options, err);
}

static void close_files(struct sq_store *s) {
    sq_tables_close(s);
    sq_pool_drain(&s->log_readers);
    sqlite3_close(s->cdb);
    s->cdb = NULL;
    sqlite3_finalize(s->begin);
    sqlite3_finalize(s->insert);
    sqlite3_finalize(s->commit);
    s->begin = s->insert = s->commit = NULL;
    if (s->db != NULL && s->broken) {
        /* What a failed sync left behind is settled by the next open, not by a last gasp here. */
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    sqlite3_close(s->db);
    s->db = NULL;
}

void sq_store_free(struct sq_store *s) {
    close_files(s);
    sq_pool_free(&s->log_readers);
    sq_pool_free(&s->table_readers);
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->fold_lock);
    buf_free(&s->row);
    mem_free(s->path);
    mem_free(s->tables_path);
    mem_free(s->vfs);
    mem_free(s);
}

enum err_code sq_store_open(const char *path, const struct log_options *options,
                            struct sq_store **out, struct err *err) {
    *out = NULL;
    if (path[0] == '\0') {
        return err_set(err, ERR_INVALID, "sqlite:", "the path of the log is missing");
    }
    struct sq_store *s = MEM_NEW(struct sq_store);
    s->lock_fd = -1;
    s->path = mem_strdup(path);
    s->tables_path = mem_printf("%s-tables", path);
    s->vfs = options->sqlite_vfs ? mem_strdup(options->sqlite_vfs) : NULL;
    s->options = *options;
    s->options.sqlite_vfs = s->vfs;
    s->options.must_exist = true; /* when it is opened again */
    s->fold_backlog_max =
        options->fold_backlog_max ? options->fold_backlog_max : FOLD_BACKLOG_DEFAULT;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->fold_lock, NULL);
    sq_pool_init(&s->log_readers, s->path, s->vfs);
    sq_pool_init(&s->table_readers, s->tables_path, s->vfs);
    enum err_code rc;
    ERR_GOTO(rc, create_file(s->path, options->must_exist, err), failed);
    ERR_GOTO(rc, lock_store(s, err), failed);
    ERR_GOTO(rc, open_files(s, options, err), failed);
    s->opened = true;
    *out = s;
    return ERR_OK;
failed:
    sq_store_free(s);
    return rc;
}

enum err_code sq_open(const char *rest, const struct log_options *options, struct log **out,
                      struct err *err) {
    struct sq_store *s;
    ERR_TRY(sq_store_open(rest, options, &s, err));
    *out = &s->log;
    return ERR_OK;
}

/* log.c sees to it that nobody reads meanwhile: a connection left open would keep SQLite from
 * looking at the write-ahead log again. The lock against other processes is never let go. */
static enum err_code reopen_locked(struct sq_store *s, struct err *err) {
    close_files(s);
    s->leased = false;
    enum err_code rc = create_file(s->path, true, err);
    if (rc == ERR_OK) {
        rc = open_files(s, &s->options, err);
    }
    if (rc == ERR_OK) {
        s->broken = s->in_doubt = false;
        s->reason[0] = '\0';
        return ERR_OK;
    }
    s->broken = true; /* before it is closed: nothing is moved then */
    close_files(s);
    return rc;
}

enum err_code sq_reopen(struct log *log, struct err *err) {
    struct sq_store *s = CONTAINER_OF(log, struct sq_store, log);
    struct err e = {.code = ERR_OK};
    pthread_mutex_lock(&s->fold_lock);
    pthread_mutex_lock(&s->lock);
    enum err_code rc = reopen_locked(s, &e);
    if (rc != ERR_OK) {
        sq_note(s, true, e.text);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->fold_lock);
    if (rc != ERR_OK && err != NULL) {
        *err = e;
    }
    return rc;
}
