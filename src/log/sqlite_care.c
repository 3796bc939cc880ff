// SPDX-License-Identifier: Apache-2.0
/* Trimming, backup and restore. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/replica.h"
#include "log/sqlite_int.h"

LOGGER_MODULE(log_care)

enum {
    TRIM_ROWS = 2000, /* in one transaction: appends wait no longer than that */
    /* A restored log may lack leases that were taken after the backup. Their number is unknown, so
     * its fences start this much higher. */
    FENCE_JUMP = 1000000,
};

static struct sq_store *store_of(struct log *log) {
    return CONTAINER_OF(log, struct sq_store, log);
}

/* ---- trim ---- */

struct plan {
    uint64_t limit; /* nothing above is touched */
    uint64_t floor; /* oldest config entry to keep */
    uint64_t *kept; /* the config entries in [floor, limit], newest first */
    size_t n_kept, cap;
};

/* Walks the chain of config entries back from the newest and decides where it is cut. */
static enum err_code make_plan(struct sq_store *s, const struct log_keep *keep, struct plan *p,
                               struct err *err) {
    int64_t now = clock_wall(s->log.clock);
    uint64_t at = s->config_head, commits = 0;
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    struct log_decoded d = {0};
    p->floor = p->limit + 1;
    ERR_TRY(sq_pool_get(&s->log_readers, &db, err));
    enum err_code rc;
    ERR_GOTO(rc, sq_prepare(db, s->path, "SELECT row FROM log WHERE idx=?1", &stmt, err), out);
    while (at != 0 && at >= s->floor) {
        sqlite3_bind_int64(stmt, 1, (sqlite3_int64)at);
        int step = sqlite3_step(stmt);
        if (step != SQLITE_ROW) {
            rc = step == SQLITE_DONE ? err_set(err, ERR_MALFORMED, s->path,
                                               "config entry %" PRIu64 " is missing", at)
                                     : sq_fail(db, step, s->path, "can't read the log", err);
            break;
        }
        rc = log_entry_decode(sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0),
                              at, &d, err);
        sqlite3_reset(stmt);
        if (rc != ERR_OK) {
            break;
        }
        commits++;
        if (at <= p->limit) {
            if (commits > keep->commits && d.entry.time_ns <= now - keep->age_ns) {
                break;
            }
            if (p->n_kept == p->cap) {
                p->cap = p->cap * 2 + 64;
                p->kept = mem_array(p->kept, p->cap, sizeof *p->kept);
            }
            p->kept[p->n_kept++] = at;
            p->floor = at;
        }
        at = d.entry.prev_config;
    }
out:
    log_decoded_free(&d);
    sqlite3_finalize(stmt);
    sq_pool_put(&s->log_readers, db);
    return rc;
}

/* Deletes up to TRIM_ROWS of the entries from..to. The marks that tell a check what may be missing
 * go into the same transaction. */
static enum err_code delete_some(struct sq_store *s, uint64_t from, uint64_t to, uint64_t floor,
                                 uint64_t *end, uint64_t *dropped, struct err *err) {
    char sql[256];
    int64_t last;
    *end = to;
    snprintf(sql, sizeof sql,
             "SELECT idx FROM log WHERE idx BETWEEN %" PRIu64 " AND %" PRIu64
             " ORDER BY idx LIMIT 1 OFFSET %d",
             from, to, TRIM_ROWS - 1);
    ERR_TRY(sq_int(s->db, s->path, sql, &last, err));
    if (last != 0) {
        *end = (uint64_t)last;
    }
    ERR_TRY(sq_run(s->begin, s->path, "can't trim", err));
    uint64_t trimmed = *end > s->trimmed ? *end : s->trimmed;
    uint64_t new_floor = floor > s->floor ? floor : s->floor;
    ERR_TRY(sq_set_meta(s->db, s->path, "trimmed", (int64_t)trimmed, err));
    ERR_TRY(sq_set_meta(s->db, s->path, "floor", (int64_t)new_floor, err));
    snprintf(sql, sizeof sql, "DELETE FROM log WHERE idx BETWEEN %" PRIu64 " AND %" PRIu64, from,
             *end);
    ERR_TRY(sq_exec(s->db, s->path, sql, err));
    uint64_t n = (uint64_t)sqlite3_changes64(s->db);
    ERR_TRY(sq_run(s->commit, s->path, "can't trim", err));
    s->trimmed = trimmed;
    s->floor = new_floor;
    *dropped += n;
    return ERR_OK;
}

static enum err_code delete_range(struct sq_store *s, uint64_t from, uint64_t to, uint64_t floor,
                                  uint64_t *dropped, struct err *err) {
    while (from <= to) {
        uint64_t end = to;
        pthread_mutex_lock(&s->lock);
        enum err_code rc =
            s->broken ? sq_broken(s, true, err)
                      : sq_committed(s, delete_some(s, from, to, floor, &end, dropped, err));
        pthread_mutex_unlock(&s->lock);
        ERR_TRY(rc);
        from = end + 1;
    }
    return ERR_OK;
}

static enum err_code trim_locked(struct sq_store *s, const struct log_keep *keep, uint64_t *dropped,
                                 struct err *err) {
    if (s->broken) {
        return sq_broken(s, false, err);
    }
    ERR_TRY(sq_fold_locked(s, UINT64_MAX, 0, err));
    /* What is dropped here lives on in the tables alone. */
    ERR_TRY(sq_tables_sync(s, err));
    uint64_t head = s->folded; /* a head that others may have left behind by now */
    uint64_t spare = keep->entries > 1 ? keep->entries : 1;
    struct plan p = {.limit = head > spare ? head - spare : 0};
    if (p.limit == 0) {
        return ERR_OK;
    }
    enum err_code rc = make_plan(s, keep, &p, err);
    if (rc == ERR_OK) {
        uint64_t from = 1;
        rc = delete_range(s, from, p.floor - 1, p.floor, dropped, err);
        for (size_t i = p.n_kept; rc == ERR_OK && i-- > 0;) {
            /* Behind a kept config entry: state entries up to the next one, or to the limit. */
            uint64_t to = i > 0 ? p.kept[i - 1] - 1 : p.limit;
            from = p.kept[i] + 1 > s->trimmed ? p.kept[i] + 1 : s->trimmed + 1;
            rc = delete_range(s, from, to, p.floor, dropped, err);
        }
    }
    mem_free(p.kept);
    return rc;
}

enum err_code sq_trim(struct log *log, const struct log_keep *keep, uint64_t *dropped,
                      struct err *err) {
    struct sq_store *s = store_of(log);
    uint64_t n = 0;
    pthread_mutex_lock(&s->fold_lock);
    enum err_code rc = trim_locked(s, keep, &n, err);
    pthread_mutex_unlock(&s->fold_lock);
    if (dropped != NULL) {
        *dropped = n;
    }
    return rc;
}

/* ---- backup ---- */

/* Copies all rows of `folded` from one connection to another, which has a transaction open. */
static enum err_code copy_folded(sqlite3 *from, const char *from_path, sqlite3 *to,
                                 const char *to_path, struct err *err) {
    sqlite3_stmt *get, *put = NULL;
    ERR_TRY(sq_prepare(from, from_path,
                       "SELECT space, key, idx, sum, value FROM folded ORDER BY space, key", &get,
                       err));
    enum err_code code;
    int rc = SQLITE_DONE;
    ERR_GOTO(code,
             sq_prepare(to, to_path, "INSERT INTO folded VALUES(?1, ?2, ?3, ?4, ?5)", &put, err),
             out);
    while ((rc = sqlite3_step(get)) == SQLITE_ROW) {
        for (int i = 0; i < 5; i++) {
            sqlite3_bind_value(put, i + 1, sqlite3_column_value(get, i));
        }
        ERR_GOTO(code, sq_run(put, to_path, "can't copy the tables", err), out);
    }
    if (rc != SQLITE_DONE) {
        code = sq_fail(from, rc, from_path, "can't read the folded tables", err);
    }
out:
    sqlite3_finalize(get);
    sqlite3_finalize(put);
    return code;
}

struct backup {
    struct sq_store *s;
    sqlite3 *log, *tables; /* readers, each in a transaction */
    uint64_t head, folded;
};

static enum err_code backup_begin(struct backup *b, struct err *err) {
    struct sq_store *s = b->s;
    int64_t folded, head;
    struct err e;
    /* Under this lock nothing is trimmed, so the log's view reaches back to the tables', also when
     * they are behind because nothing can be written. */
    pthread_mutex_lock(&s->fold_lock);
    enum err_code rc = sq_fold_locked(s, UINT64_MAX, 0, &e);
    if (rc == ERR_MALFORMED) {
        if (err != NULL) {
            *err = e;
        }
        goto out;
    }
    ERR_GOTO(rc, sq_pool_get(&s->table_readers, &b->tables, err), out);
    ERR_GOTO(rc, sq_exec(b->tables, s->tables_path, "BEGIN", err), out);
    ERR_GOTO(rc,
             sq_int(b->tables, s->tables_path, "SELECT value FROM meta WHERE name='folded'",
                    &folded, err),
             out);
    ERR_GOTO(rc, sq_pool_get(&s->log_readers, &b->log, err), out);
    ERR_GOTO(rc, sq_exec(b->log, s->path, "BEGIN", err), out);
    ERR_GOTO(rc, sq_int(b->log, s->path, "SELECT max(idx) FROM log", &head, err), out);
    b->folded = (uint64_t)folded;
    b->head = (uint64_t)head;
out:
    pthread_mutex_unlock(&s->fold_lock);
    return rc;
}

static enum err_code backup_write(struct backup *b, sqlite3 *to, const char *path,
                                  struct err *err) {
    ERR_TRY(sq_exec(to, path, "PRAGMA synchronous=" SQ_SYNC_LOG, err));
    sqlite3_backup *copy = sqlite3_backup_init(to, "main", b->log, "main");
    if (copy == NULL) {
        return sq_fail(to, sqlite3_errcode(to), path, "can't begin the backup", err);
    }
    int rc = sqlite3_backup_step(copy, -1);
    int end = sqlite3_backup_finish(copy);
    if (rc != SQLITE_DONE || end != SQLITE_OK) {
        return sq_fail(to, rc != SQLITE_DONE ? rc : end, path, "can't write the backup", err);
    }
    /* One file that needs nothing beside it. */
    ERR_TRY(
        sq_exec(to, path, "PRAGMA journal_mode=DELETE; PRAGMA journal_mode=MEMORY; BEGIN", err));
    ERR_TRY(sq_exec(to, path, SQ_FOLDED_TABLE, err));
    ERR_TRY(copy_folded(b->tables, b->s->tables_path, to, path, err));
    ERR_TRY(sq_set_meta(to, path, "folded", (int64_t)b->folded, err));
    return sq_exec(to, path, "COMMIT", err);
}

static enum err_code publish(const char *from, const char *to, struct err *err) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0) {
        if (errno == EEXIST) {
            return err_set(err, ERR_EXISTS, to, "the file exists already");
        }
        return err_errno(err, errno, to, "can't give the file its name");
    }
    return sq_sync_dir(to, err);
}

/* SQLite leaves the side files of the copy's first moments as WAL database lying about. */
static void remove_partial(const char *partial) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *name = mem_printf("%s%s", partial, suffixes[i]);
        unlink(name);
        mem_free(name);
    }
}

enum err_code sq_backup(struct log *log, const char *path, uint64_t *at, struct err *err) {
    struct backup b = {.s = store_of(log)};
    if (access(path, F_OK) == 0) {
        return err_set(err, ERR_EXISTS, path, "the file exists already");
    }
    char suffix[9];
    rng_token(suffix, 8);
    char *partial = mem_printf("%s.partial-%s", path, suffix);
    sqlite3 *to = NULL;
    enum err_code rc;
    int fd = open(partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = err_errno(err, errno, path, "can't create the backup");
        mem_free(partial);
        return rc;
    }
    close(fd);
    ERR_GOTO(rc, backup_begin(&b, err), out);
    ERR_GOTO(rc, sq_connect(partial, b.s->vfs, SQLITE_OPEN_READWRITE, &to, err), out);
    ERR_GOTO(rc, backup_write(&b, to, partial, err), out);
    sqlite3_close(to);
    to = NULL;
    ERR_GOTO(rc, publish(partial, path, err), out);
    if (at != NULL) {
        *at = b.head;
    }
out:
    sqlite3_close(to);
    if (b.tables != NULL) {
        sq_pool_put(&b.s->table_readers, b.tables);
    }
    if (b.log != NULL) {
        sq_pool_put(&b.s->log_readers, b.log);
    }
    remove_partial(partial);
    mem_free(partial);
    return rc;
}

/* ---- restore ---- */

static enum err_code copy_file(const char *from, const char *to, struct err *err) {
    int in = open(from, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe does not hold us up */
    if (in < 0) {
        int e = errno;
        return e == ENOENT ? err_set(err, ERR_ABSENT, from, "there is no such backup")
                           : err_errno(err, e, from, "can't open the backup");
    }
    struct stat st;
    if (fstat(in, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(in);
        return err_set(err, ERR_INVALID, from, "a backup is a plain file, and this is none");
    }
    enum err_code rc = ERR_OK;
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) {
        rc = err_errno(err, errno, to, "can't create the log");
    }
    static const size_t size = 1 << 18;
    uint8_t *bytes = mem_alloc(size);
    while (rc == ERR_OK) {
        ssize_t n = read(in, bytes, size);
        if (n == 0) {
            break;
        }
        if (n < 0) {
            rc = err_errno(err, errno, from, "can't read the backup");
        }
        for (ssize_t done = 0, w; rc == ERR_OK && done < n; done += w) {
            w = write(out, bytes + done, (size_t)(n - done));
            if (w < 0) {
                rc = err_errno(err, errno, to, "can't write the log");
            }
        }
    }
    if (rc == ERR_OK && fsync(out) != 0) {
        rc = err_errno(err, errno, to, "can't sync the log");
    }
    mem_free(bytes);
    close(in);
    if (out >= 0) {
        close(out);
    }
    return rc;
}

/* SQLite takes a file whose last page is cut off for one that ends in zeroes. */
static enum err_code check_whole(sqlite3 *db, const char *path, struct err *err) {
    int64_t pages, size;
    struct stat st;
    ERR_TRY(sq_int(db, path, "PRAGMA page_count", &pages, err));
    ERR_TRY(sq_int(db, path, "PRAGMA page_size", &size, err));
    if (stat(path, &st) != 0) {
        return err_errno(err, errno, path, "can't be read");
    }
    return st.st_size == pages * size
               ? ERR_OK
               : err_set(err, ERR_MALFORMED, path,
                         "the backup is not whole: it has %" PRId64 " bytes and says %" PRId64,
                         (int64_t)st.st_size, pages * size);
}

static enum err_code check_backup(sqlite3 *db, const char *path, struct err *err) {
    int64_t app, version, folded, foreign;
    enum err_code rc = sq_int(db, path, "PRAGMA application_id", &app, err);
    if (rc != ERR_OK && rc != ERR_INVALID) { /* INVALID: it is no database */
        return rc;
    }
    if (rc == ERR_OK) {
        ERR_TRY(sq_int(db, path, "PRAGMA user_version", &version, err));
    }
    if (rc != ERR_OK || app != SQ_APPLICATION_ID) {
        return err_set(err, ERR_INVALID, path, "the file is not a backup of a Weft log");
    }
    if (version > SQ_FORMAT) {
        return err_set(err, ERR_UNSUPPORTED, path,
                       "the backup was written by a newer Weft: format %" PRId64
                       ", this program knows formats up to %d",
                       version, SQ_FORMAT);
    }
    ERR_TRY(check_whole(db, path, err));
    ERR_TRY(
        sq_int(db, path, "SELECT count(*) FROM sqlite_schema WHERE name='folded'", &folded, err));
    if (folded != 1) {
        return err_set(err, ERR_INVALID, path,
                       "the file is a Weft log itself, not a backup made by Weft");
    }
    ERR_TRY(sq_int(db, path, "SELECT count(*) FROM sqlite_schema WHERE type IN('trigger','view')",
                   &foreign, err));
    if (foreign > 0) {
        return err_set(err, ERR_INVALID, path,
                       "somebody has put triggers or views into the backup; Weft makes none");
    }
    return ERR_OK;
}

/* Takes the tables out of the backup into their own file. `same` NULL: makes the log a new one. */
static enum err_code split(sqlite3 *db, const char *path, const char *tables_path,
                           const uint8_t *same, struct err *err) {
    uint8_t id[LOG_ID_LEN];
    int64_t folded, fence;
    sqlite3 *tdb = NULL;
    sqlite3_stmt *stmt = NULL;
    if (same != NULL) {
        memcpy(id, same, sizeof id);
    } else {
        rng_secure(id, sizeof id);
    }
    ERR_TRY(sq_int(db, path, "SELECT value FROM meta WHERE name='folded'", &folded, err));
    ERR_TRY(sq_int(db, path, "SELECT value FROM meta WHERE name='fence'", &fence, err));
    enum err_code rc;
    ERR_GOTO(rc,
             sq_connect(tables_path, NULL, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &tdb, err),
             out);
    ERR_GOTO(rc, sq_tables_create(tdb, tables_path, id, err), out);
    ERR_GOTO(rc, sq_exec(tdb, tables_path, "PRAGMA synchronous=" SQ_SYNC_LOG "; BEGIN", err), out);
    ERR_GOTO(rc, copy_folded(db, path, tdb, tables_path, err), out);
    ERR_GOTO(rc, sq_set_meta(tdb, tables_path, "folded", folded, err), out);
    ERR_GOTO(rc, sq_exec(tdb, tables_path, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)", err), out);

    ERR_GOTO(rc, sq_exec(db, path, "PRAGMA journal_mode=WAL; BEGIN; DROP TABLE folded", err), out);
    ERR_GOTO(rc, sq_exec(db, path, "DELETE FROM meta WHERE name='folded'", err), out);
    ERR_GOTO(rc, sq_set_meta(db, path, "fence", same ? fence : fence + FENCE_JUMP, err), out);
    ERR_GOTO(rc, sq_prepare(db, path, "UPDATE meta SET value=?1 WHERE name='id'", &stmt, err), out);
    sqlite3_bind_blob(stmt, 1, id, sizeof id, SQLITE_STATIC);
    ERR_GOTO(rc, sq_run(stmt, path, "can't give the log its id", err), out);
    sqlite3_finalize(stmt);
    stmt = NULL;
    ERR_GOTO(rc, sq_exec(db, path, "COMMIT; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)", err), out);
out:
    sqlite3_finalize(stmt);
    sqlite3_close(tdb);
    return rc;
}

static void first_finding(const char *where, const char *text, void *arg) {
    struct err *first = arg;
    if (first->code == ERR_OK) {
        err_set(first, ERR_MALFORMED, where, "the backup is damaged: %s", text);
    }
}

static enum err_code check_restored(const char *path, struct err *err) {
    static const struct log_options none = {.must_exist = true};
    struct sq_store *s;
    struct err first = {0};
    size_t findings = 0;
    ERR_TRY(sq_store_open(path, &none, &s, err));
    s->log.clock = &clock_real;
    enum err_code rc = sq_check(&s->log, first_finding, &first, &findings, err);
    if (rc == ERR_OK) {
        rc = sq_exec(s->db, path, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    }
    if (rc == ERR_OK) {
        rc = sq_exec(s->tdb, s->tables_path, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    }
    sq_store_free(s);
    if (rc == ERR_OK && findings > 0) {
        if (err != NULL) {
            *err = first;
        }
        return ERR_MALFORMED;
    }
    return rc;
}

static void unlink_all(const char *path, bool all) {
    static const char *const suffixes[] = {"-wal",        "-shm",    "-lock", "-tables-wal",
                                           "-tables-shm", "-tables", ""};
    size_t n = sizeof suffixes / sizeof suffixes[0];
    for (size_t i = 0; i < (all ? n : n - 2); i++) {
        char *name = mem_printf("%s%s", path, suffixes[i]);
        unlink(name);
        mem_free(name);
    }
}

static enum err_code restore(const char *path, const char *rest, const uint8_t *same,
                             struct err *err) {
    if (access(rest, F_OK) == 0) {
        return err_set(err, ERR_EXISTS, rest, "there is a log already; move it away first");
    }
    char *made = mem_printf("%s.restoring", rest);
    char *made_tables = mem_printf("%s-tables", made);
    char *tables = mem_printf("%s-tables", rest);
    sqlite3 *db = NULL;
    unlink_all(made, true); /* of an attempt that was cut off */
    unlink(tables);         /* worth nothing without its log */
    enum err_code rc;
    ERR_GOTO(rc, copy_file(path, made, err), out);
    ERR_GOTO(rc, sq_connect(made, NULL, SQLITE_OPEN_READWRITE, &db, err), out);
    ERR_GOTO(rc, check_backup(db, path, err), out);
    ERR_GOTO(rc, split(db, made, made_tables, same, err), out);
    sqlite3_close(db);
    db = NULL;
    ERR_GOTO(rc, check_restored(made, err), out);
    unlink_all(made, false);
    ERR_GOTO(rc, publish(made_tables, tables, err), out);
    rc = publish(made, rest, err);
out:
    sqlite3_close(db);
    unlink_all(made, true);
    mem_free(made);
    mem_free(made_tables);
    mem_free(tables);
    return rc;
}

enum err_code sq_restore(const char *path, const char *rest, struct err *err) {
    return restore(path, rest, NULL, err);
}

enum err_code log_replica_adopt(const char *backup, const char *path, const uint8_t id[LOG_ID_LEN],
                                struct err *err) {
    return restore(backup, path, id, err);
}
