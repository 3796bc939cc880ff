// SPDX-License-Identifier: Apache-2.0
/*
 * The sqlite engine inside. Two files: PATH holds the entries and nothing else, so that a commit
 * writes the tail of one B-tree; PATH-tables holds what is folded from them and is never synced in
 * the commit path: after a crash it is at most behind, and the log brings it up again. PATH-lock
 * keeps a second daemon out.
 *
 * Locks, in the order they are taken: `fold_lock` (tables, trimming), `lock` (appending).
 */
#ifndef LOG_SQLITE_INT_H
#define LOG_SQLITE_INT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "log/engine.h"
#include "log/entry.h"
#include "log/sqlite_db.h"

#ifdef LOG_SYNC_OFF
/* Only for the build that must lose what it acknowledged (meson -Dsync=false). */
#define SQ_SYNC_LOG    "OFF"
#define SQ_SYNC_TABLES "OFF"
#else
#define SQ_SYNC_LOG    "FULL"
#define SQ_SYNC_TABLES "NORMAL"
#endif

struct sq_store {
    struct log log; /* first */
    char *path, *tables_path, *vfs;
    struct log_options options; /* to open it again */
    bool opened;                /* once; from then on we know what must be there */
    int lock_fd;
    uint8_t id[LOG_ID_LEN];
    size_t fold_backlog_max;

    /* Under `lock`. */
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *begin, *insert, *commit;
    struct sq_wal wal;
    int checkpoint_frames;
    struct buf row;
    _Atomic uint64_t fence; /* changed under lock */
    bool leased;
    bool in_doubt;
    char reason[256];
    uint64_t trimmed; /* entries up to here may be missing when they have no config operations... */
    uint64_t floor;   /* ...and below this one also when they have */
    uint64_t syncs;

    /* Written under `lock`, read anywhere. */
    _Atomic uint64_t head, config_head;
    _Atomic bool broken;
    _Atomic size_t unfolded_ops;
    _Atomic int log_frames; /* in the WAL of `db` */

    /* Under `fold_lock`. */
    pthread_mutex_t fold_lock;
    sqlite3 *cdb; /* moves entries out of the WAL of `db`, beside appends */
    sqlite3 *tdb;
    sqlite3_stmt *t_begin, *t_put, *t_del, *t_mark, *t_commit;
    struct sq_wal t_wal;
    uint64_t folded, folded_ops; /* all of entry `folded`, and folded_ops operations of the next */

    struct sq_pool log_readers, table_readers;
};

/* No append will succeed from now on. Takes `lock` unless it is held already. */
void sq_break(struct sq_store *s, bool locked, const char *why);
enum err_code sq_broken(struct sq_store *s, bool locked, struct err *err);
void sq_note(struct sq_store *s, bool locked, const char *why); /* for log_status */

/* sqlite_tables.c */
#define SQ_FOLDED_TABLE                                                                            \
    "CREATE TABLE folded(space INTEGER, key BLOB, idx INTEGER NOT NULL, sum INTEGER NOT NULL,"     \
    " value BLOB NOT NULL, PRIMARY KEY(space, key)) WITHOUT ROWID;"
enum err_code sq_tables_create(sqlite3 *db, const char *path, const uint8_t id[LOG_ID_LEN],
                               struct err *err);
enum err_code sq_tables_open(struct sq_store *s, const struct log_options *options,
                             struct err *err);
void sq_tables_close(struct sq_store *s);
/* Folds up to entry `upto` (UINT64_MAX: the head), at most about max_ops operations (0: all). With
 * fold_lock held. */
enum err_code sq_fold_locked(struct sq_store *s, uint64_t upto, size_t max_ops, struct err *err);
enum err_code sq_tables_sync(struct sq_store *s, struct err *err); /* fold_lock held */
enum err_code sq_fold(struct log *log, size_t max_ops, size_t *left, struct err *err);
enum err_code sq_snapshot(struct log *log, enum log_space space, const void *prefix,
                          size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                          struct err *err);

/* sqlite_care.c */
enum err_code sq_trim(struct log *log, const struct log_keep *keep, uint64_t *dropped,
                      struct err *err);
enum err_code sq_backup(struct log *log, const char *path, uint64_t *at, struct err *err);
enum err_code sq_restore(const char *path, const char *rest, struct err *err);
/* sqlite_check.c */
enum err_code sq_check(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                       struct err *err);

/* sqlite_open.c */
enum err_code sq_open(const char *rest, const struct log_options *options, struct log **out,
                      struct err *err);
enum err_code sq_reopen(struct log *log, struct err *err);
enum err_code sq_store_open(const char *path, const struct log_options *options,
                            struct sq_store **out, struct err *err);
void sq_store_free(struct sq_store *s); /* closes without a last fold */
enum err_code sq_sync_dir(const char *path, struct err *err);
enum err_code sq_set_meta(sqlite3 *db, const char *path, const char *name, int64_t value,
                          struct err *err);

/* sqlite.c */
/* Ends a transaction of s->db, under `lock`: `rc` is what its steps came to. A failed one is rolled
 * back and made invisible for good. Returns rc. */
enum err_code sq_committed(struct sq_store *s, enum err_code rc);
/* Moves entries out of the log's WAL when there are enough, so that appends need not. With
 * fold_lock held. False: the log takes no more entries. */
bool sq_checkpoint_behind(struct sq_store *s);

#endif
