// SPDX-License-Identifier: Apache-2.0
/*
 * The log: the one durable thing. A line of entries 1, 2, 3, ... each holding what one change did
 * (who, why, when, and operations on keys), and behind it the folded tables: for every (space, key)
 * the value last written. Keys and values are opaque bytes here.
 *
 *     struct log *log;
 *     struct log_lease lease = {.holder = "weftd on host a", .ttl_ns = 10 * NS_PER_S};
 *     log_open("sqlite:/var/lib/weft/log.db", NULL, &log, &err);
 *     log_lease_acquire(log, &lease, &err);
 *     log_append(log, log_head(log), lease.fence, entries, n, &err);
 *
 * Promises, the same for every engine (src/log/conformance.h checks them):
 * - log_append returns ERR_OK only after all entries are on stable storage. They become visible
 *   together or not at all, also after a crash or power cut at any instruction.
 * - After any other return nothing of the batch is visible, now or later, in this process or the
 *   next. (One case is physically out of reach: the disk refuses the sync, then also the sync of
 *   the mark that voids the batch, and then loses power. log_status() tells.)
 * - Indices are contiguous; one writer at a time, the holder of the newest fence.
 *
 * Threads: every function may be called from any thread. Appends, folds and trims exclude each
 * other; reads don't wait for them nor they for reads. Callbacks run on the calling thread; a
 * callback of log_read or log_snapshot may call log_append, log_read and log_snapshot.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

/* What people and their tools want (history, rollback, audit) and what Weft itself keeps. */
enum log_space { LOG_CONFIG = 1, LOG_STATE = 2 };

enum {
    LOG_KEY_MAX = 4096,           /* bytes; a key has at least one */
    LOG_VALUE_MAX = 64 << 20,     /* bytes of one value */
    LOG_TEXT_MAX = 4096,          /* bytes of `who` and of `why` */
    LOG_ENTRY_MAX = 256 << 20,    /* bytes of one encoded entry */
    LOG_ENTRY_OPS_MAX = 16 << 20, /* operations in one entry */
    LOG_BATCH_MAX = 65536,        /* entries in one append */
    LOG_ID_LEN = 16,
};

/* One operation. `value` NULL (with value_len 0) deletes the key; a non-NULL value may have length
 * 0. Memory stays with whoever filled the struct in. */
struct log_op {
    uint8_t space; /* enum log_space */
    const uint8_t *key;
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
};

struct log_entry {
    uint64_t index;  /* set by log_append on success */
    int64_t time_ns; /* wall clock, ns since 1970 UTC; 0 on append: now */
    const char *who; /* UTF-8; NULL on append: "" */
    const char *why; /* the comment; NULL on append: "" */
    uint64_t fence;  /* set by log_append: the token it was written under */
    uint32_t flags;  /* the caller's own, kept as they are */
    /* Set by log_append: the newest entry before this one that has config operations, 0 when there
     * is none. Walking this chain gives the commits without reading the state entries between. */
    uint64_t prev_config;
    const struct log_op *ops;
    size_t n_ops;
};

struct log; /* opaque */

enum { LOG_NODE_MAX = 63, LOG_ABOUT_MAX = 65536 };

struct log_options {
    const struct clock *clock;  /* NULL: clock_real. Stamps entries, ages them for log_trim */
    bool must_exist;            /* don't create: ERR_ABSENT */
    size_t fold_backlog_max;    /* operations; beyond, log_append folds. 0: 200,000 */
    const char *sqlite_vfs;     /* name of a registered SQLite VFS; NULL: the default one */
    uint32_t sqlite_page_size;  /* for a new store; 0: the measured choice */
    uint32_t sqlite_checkpoint; /* WAL frames that start a checkpoint; 0: the measured choice */
    const uint8_t *sqlite_id;   /* for a new store: its id (LOG_ID_LEN bytes); NULL: a random one */
    bool sqlite_lazy; /* a copy of what is durable elsewhere: a crash may take its end away, and
                         nothing else */
    /* Engines with several nodes: how this one is called, 1..LOG_NODE_MAX of a-z 0-9 . -, like no
     * other node of the store. NULL: the machine's name. */
    const char *node;
};

/* Opens or creates (mode 0600) the store `url` names: "sqlite:/path/file". `options` may be NULL.
 * ERR_UNSUPPORTED: written by a newer version, or unknown engine. ERR_LOCKED: open elsewhere.
 * ERR_INVALID: not a store of ours. ERR_IO, ERR_LIMIT: the system's reason is in the text. */
enum err_code log_open(const char *url, const struct log_options *options, struct log **out,
                       struct err *err);
void log_close(struct log *log); /* folds what is left; NULL is allowed */

/* For a log that needs_reopen: closes its files and opens them again. It stays the same `log`,
 * keeps its watches, and its lock against other processes meanwhile. After ERR_OK it holds exactly
 * what was acknowledged, whatever a failed append had left has been removed, and nobody has the
 * lease: acquire it, which writes, and so shows whether the storage works again. ERR_LOCKED:
 * somebody reads just now (a backup, a check); try again soon. ERR_CONFLICT: what is there is not
 * what was acknowledged: another store, entries that are missing, or somebody else's. After that
 * and after every other error the log takes no entries and this may be tried again. */
enum err_code log_reopen(struct log *log, struct err *err);

/* 16 random bytes made when the store was created and anew when it was restored from a backup: an
 * index is only comparable with another one under the same id. */
void log_id(struct log *log, uint8_t out[LOG_ID_LEN]);
uint64_t log_head(struct log *log);        /* index of the newest entry; 0: none yet */
uint64_t log_config_head(struct log *log); /* newest entry with config operations; 0: none */

/* The right to write. Acquiring takes it from whoever had it: their fence is stale from then on.
 * In the sqlite engine the process that has the store open gets it at once. Fences grow for ever,
 * over restarts and restores too. `ttl_ns` > 0 is how long an engine with several nodes waits
 * before another may take over; renew in time. ERR_LOCKED: another node holds it. */
struct log_lease {
    const char *holder; /* for people, <= 255 bytes */
    int64_t ttl_ns;
    uint64_t fence; /* set by log_lease_acquire */
};
enum err_code log_lease_acquire(struct log *log, struct log_lease *lease, struct err *err);
enum err_code log_lease_renew(struct log *log, const struct log_lease *lease, struct err *err);
enum err_code log_lease_release(struct log *log, const struct log_lease *lease, struct err *err);

/* ---- several nodes ---------------------------------------------------------------------------
 *
 * Some engines (etcd) let several nodes have one store open. Each reads, folds and watches it; the
 * holder of the lease appends, and its fence goes with every append, so that nothing of a node that
 * was paused, cut off or replaced becomes true, whatever it believes. What others append comes
 * through log_watch on a thread of the engine's, in order and without gaps, after log_read shows
 * it. log_reopen on such a store catches up with the others: entries beyond what was acknowledged
 * here are no conflict but theirs (or an append of our own that was in doubt and came true), and
 * come through log_watch as well. The sqlite engine has one node, which always leads once it has
 * the lease. */
struct log_turn {
    bool shared;                   /* the engine has several nodes */
    bool leads;                    /* this node holds the lease, and knows it to last */
    bool reached;                  /* the others' storage answers */
    char leader[LOG_NODE_MAX + 1]; /* as far as is known; "": nobody */
    uint64_t fence;                /* the newest that is known */
    int64_t heard_ns; /* monotonic: up to then what is read here was known to be the newest */
    int64_t until_ns; /* monotonic: the lease lasts at least till then; 0: it is not ours */
};
void log_turn(struct log *log, struct log_turn *out);

/* Calls `fn` from a thread of the engine's (or the one that acquires or releases) after shared,
 * leads, reached, leader or fence have changed. One at a time; NULL ends it, and no call is under
 * way when that returns. Don't call the log in it except log_turn. */
void log_on_turn(struct log *log, void (*fn)(void *arg), void *arg);

/* What this node tells the others of itself, at most LOG_ABOUT_MAX bytes, kept as long as it lives:
 * a node that dies is gone from the list after its time to live. ERR_UNAVAILABLE: not reached; the
 * engine says it itself when it can. */
enum err_code log_announce(struct log *log, const void *about, size_t len, struct err *err);

/* Calls `each` for the nodes that live, by name, this one included. */
struct log_node {
    const char *name;
    const uint8_t *about;
    size_t about_len;
    bool leads, self;
};
typedef void log_node_fn(const struct log_node *node, void *arg);
enum err_code log_nodes(struct log *log, log_node_fn *each, void *arg, struct err *err);

/* Calls `each` for the servers that hold the store, each asked by itself, which may take a second
 * for one that does not answer; none for a store in files. */
struct log_member {
    const char *address; /* "host:port", "[2001:db8::1]:2379" */
    bool answers;        /* the rest is about one that does, `why` about one that doesn't */
    bool leads, has_leader;
    const char *version, *why;
    uint64_t bytes; /* its database */
};
typedef void log_member_fn(const struct log_member *member, void *arg);
enum err_code log_members(struct log *log, log_member_fn *each, void *arg, struct err *err);

/* Appends n (1..LOG_BATCH_MAX) entries as one durable batch under one sync; they get the indices
 * expected_head + 1 ... expected_head + n. On success fills in index, time_ns, fence, prev_config.
 * ERR_CONFLICT: the head is not expected_head. ERR_UNAVAILABLE: the fence is not that of the lease
 * held now, or the log must be reopened first (log_status). ERR_LIMIT: the disk is full; a later
 * append may succeed. ERR_INVALID, ERR_TOO_BIG: the entry and operation are named. ERR_IO. */
enum err_code log_append(struct log *log, uint64_t expected_head, uint64_t fence,
                         struct log_entry *entries, size_t n, struct err *err);

/* Calls `each` for the entries from..to (inclusive; to = UINT64_MAX: up to the head at the call) in
 * order; it returns false to stop early, which is no error. Trimmed entries are left out; entries
 * and ops live only during the call. ERR_MALFORMED: a row is damaged; its index is in the path. */
typedef bool log_read_fn(const struct log_entry *entry, void *arg);
enum err_code log_read(struct log *log, uint64_t from, uint64_t to, log_read_fn *each, void *arg,
                       struct err *err);

/* Calls `each` for every key of `space` that begins with `prefix`, in memcmp order of the keys.
 * `modified` is the index of the entry that wrote the value. All values belong to one index not
 * older than the head at the call; it is put into *at (may be NULL) before the first call. */
typedef bool log_snapshot_fn(const uint8_t *key, size_t key_len, const uint8_t *value,
                             size_t value_len, uint64_t modified, void *arg);
enum err_code log_snapshot(struct log *log, enum log_space space, const void *prefix,
                           size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                           struct err *err);

/* Folds up to about max_ops operations (0: all) into the tables, and does what else an engine has
 * to do from time to time; call it often, from a thread that nobody waits for. Appends go on
 * meanwhile. *left (may be NULL) gets the number of operations still to be folded. */
enum err_code log_fold(struct log *log, size_t max_ops, size_t *left, struct err *err);

/* Drops history. Kept are: all entries not yet folded, the last `entries` entries of any kind,
 * the last `commits` entries with config operations, and those with config operations that are
 * younger than age_ns. The head itself always stays. *dropped may be NULL. */
struct log_keep {
    uint64_t entries, commits;
    int64_t age_ns;
};
enum err_code log_trim(struct log *log, const struct log_keep *keep, uint64_t *dropped,
                       struct err *err);

/* Calls `each` for all entries appended from now on, in order, once for each batch, after it is
 * durable; on the appending thread (or the engine's, for what other nodes append). Don't append,
 * watch or unwatch in it. */
typedef void log_watch_fn(const struct log_entry *entries, size_t n, void *arg);
struct log_watch; /* opaque */
struct log_watch *log_watch(struct log *log, log_watch_fn *each, void *arg);
void log_unwatch(struct log *log, struct log_watch *watch); /* NULL is allowed */

struct log_status {
    uint64_t head, folded; /* folded: the tables hold everything up to this index */
    uint64_t oldest;       /* oldest entry kept; 0: none */
    size_t unfolded_ops;
    uint64_t fence;      /* newest one given out */
    uint64_t bytes;      /* of storage in use */
    uint64_t free_bytes; /* left on the storage */
    uint64_t syncs;      /* commits made durable since the log was opened */
    bool needs_reopen;   /* no append will succeed before log_reopen */
    bool in_doubt;       /* the failed batch could not be voided durably, see the top */
    char reason[256];    /* why it needs reopening, or the last error of the background work */
};
void log_status(struct log *log, struct log_status *out);

/* Writes a copy, consistent at the index put into *at (may be NULL), to the new file `path` (mode
 * 0600, synced, complete or absent) while appends go on, and also when the log can't be written any
 * more. ERR_EXISTS: path exists. */
enum err_code log_backup(struct log *log, const char *path, uint64_t *at, struct err *err);

/* Makes the store `url` (which must not exist: ERR_EXISTS) from the backup `path`, after checking
 * the backup. The store gets a new id and a fence above all that the original can have given out.
 */
enum err_code log_restore(const char *path, const char *url, struct err *err);

/* Takes the whole store away from all nodes, in one step and only while the lease with this fence
 * is held; the log is then of no use but to be closed, and log_restore can make another one in its
 * place. ERR_UNSUPPORTED: the store is files, which are moved aside instead. */
enum err_code log_remove(struct log *log, uint64_t fence, struct err *err);

/* Checks everything there is to check: storage integrity, checksums, contiguous indices, the chain
 * of config entries, folded tables against the log where it reaches back. Calls `finding` with one
 * sentence for each fault (at most LOG_FINDINGS_MAX). ERR_OK: the check ran; *findings is their
 * number (may be NULL). Appends may go on meanwhile. */
enum { LOG_FINDINGS_MAX = 1000 };
typedef void log_finding_fn(const char *where, const char *text, void *arg);
enum err_code log_check(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                        struct err *err);

#endif
