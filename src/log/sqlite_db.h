// SPDX-License-Identifier: Apache-2.0
/* Connections to SQLite as this engine uses them: errors with the system's reason, pools of reading
 * connections, and the two things SQLite has no call for: writing the WAL file out to its full size
 * before it is needed, and voiding the tail of a WAL whose sync failed. */
#ifndef LOG_SQLITE_DB_H
#define LOG_SQLITE_DB_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Our name in the file header ("Weft"), and the version of everything stored: see docs/log.md. */
enum { SQ_APPLICATION_ID = 0x57656674, SQ_FORMAT = 1 };

/* Fills `err` from the last failure on `db`; `rc` is what the call returned. */
enum err_code sq_fail(sqlite3 *db, int rc, const char *path, const char *what, struct err *err);
bool sq_is_sync_error(sqlite3 *db);

enum err_code sq_connect(const char *path, const char *vfs, int flags, sqlite3 **out,
                         struct err *err);
enum err_code sq_exec(sqlite3 *db, const char *path, const char *sql, struct err *err);
enum err_code sq_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **out,
                         struct err *err);
/* First column of the first row of `sql`, 0 when there is none or it is NULL. */
enum err_code sq_int(sqlite3 *db, const char *path, const char *sql, int64_t *out, struct err *err);
/* Steps a statement that returns no rows and resets it. */
enum err_code sq_run(sqlite3_stmt *stmt, const char *path, const char *what, struct err *err);

/* Reading connections, so that a long reader holds up nobody. */
struct sq_pool {
    const char *path, *vfs;
    pthread_mutex_t lock;
    sqlite3 *idle[8];
    size_t n_idle;
};
void sq_pool_init(struct sq_pool *p, const char *path, const char *vfs);
void sq_pool_drain(struct sq_pool *p); /* closes what is idle */
void sq_pool_free(struct sq_pool *p);
enum err_code sq_pool_get(struct sq_pool *p, sqlite3 **out, struct err *err);
void sq_pool_put(struct sq_pool *p, sqlite3 *db); /* ends its transaction */

/* Where the good part of a WAL ends: known after each commit, needed after a failed one. */
struct sq_wal {
    uint32_t page_size;
    int frames;      /* up to the last good commit */
    int last_frames; /* as the WAL hook said at the last commit */
    uint8_t salt[8]; /* of the header at that commit; SQLite changes it when it starts over */
};
void sq_wal_watch(sqlite3 *db, struct sq_wal *w); /* installs the hook, in place of SQLite's own */
void sq_wal_good(sqlite3 *db, struct sq_wal *w);  /* a commit succeeded */
/* Makes the frames written since the last good commit unreadable, so that no recovery brings them
 * back, and syncs that. False: the mark is written but could not be synced, or not even written. */
bool sq_wal_void(sqlite3 *db, const struct sq_wal *w);
/* Moves all that a last run left in the WAL into the file and starts the WAL over. After a sync
 * error in that run nobody knows which of its pages reached the disk; this writes them all anew. */
enum err_code sq_settle_wal(sqlite3 *db, const char *path, struct err *err);
/* Writes zeroes up to `bytes`: commits then overwrite blocks the file has already, and a sync need
 * not journal a new file size. Failing is harmless. */
void sq_wal_prepare(sqlite3 *db, int64_t bytes);

#endif
