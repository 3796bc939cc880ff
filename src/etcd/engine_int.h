// SPDX-License-Identifier: Apache-2.0
/*
 * The engine inside. What is true stands in etcd; `rep` is a sqlite store with a copy of it, which
 * serves everything that reads.
 *
 * Keys below /weft/NAME/:
 *   head          version, id of the log, newest index, what is added to revisions for a fence
 *   leader        name of the node that leads; under its lease
 *   node/NAME     how far its copy is, and what it says of itself; under its lease
 *   e/INDEX       a batch: form 0 and its rows, or form 1, fence, number of parts
 *   q/INDEX/FENCE/N   part N of a batch that was too large for one value
 *   base          index, fence, number of parts, bytes, CRC-32C of the newest base
 *   b/INDEX/N     part N of a base: a backup (log_backup) up to INDEX, for copies that come too
 * late
 *
 * Locks, in this order: `lock` for whatever moves the head (an append, catching up, taking the
 * lead); `session_lock` while a lease is granted or renewed, so that there is one at a time;
 * `view_lock` for what log_turn answers, taken for moments only.
 */
#ifndef ETCD_ENGINE_INT_H
#define ETCD_ENGINE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "etcd/client.h"
#include "etcd/engine.h"

enum {
    SESSION_TTL_S = 4, /* of the lease under which a node is there, and leads */
    LEADS_MS = 2400,   /* after the last renewal was sent, a leader stops by its own clock */
    RENEW_MS = 800,    /* also what a leader gives etcd for one answer: a member may be silent */
    LOOK_MS = 100,     /* how often a follower asks where the head is */
    CALL_MS = 3000,    /* a look, over all members */
    APPEND_MS = 1500,  /* one append; then nobody knows, and it is found out */
    KEY_MAX = 192,
    NODE_HEAD = 9,            /* bytes of node/NAME before what the node says of itself */
    ET_BATCH_MAX = 512 << 20, /* bytes of one batch as encoded */
};

struct head { /* the value of `head` */
    uint8_t id[LOG_ID_LEN];
    uint64_t index, fence_base;
    int64_t mod; /* its mod revision; 0: there is none */
};

struct etcd_log {
    struct log log; /* first */
    struct log *rep;
    struct etcd *etcd;
    struct etcd_url url;
    char prefix[96], node[LOG_NODE_MAX + 1], replica[1024];

    pthread_mutex_t lock;
    struct head head; /* as far as we know; index: what was acknowledged or read here */
    bool broken, in_doubt;
    char reason[256];
    uint64_t appends;    /* since the last compaction */
    size_t base_bytes;   /* appended since the last base */
    uint64_t base_index; /* of the newest base; 0: none */
    _Atomic uint64_t shown_head;

    pthread_mutex_t session_lock;
    int64_t renewed_ns; /* with session_lock: when the last renewal that was answered was sent */
    pthread_mutex_t view_lock;
    struct log_turn
        view;           /* leads: as of the last look; log_turn compares until_ns with the clock */
    uint64_t fence;     /* ours, while view.leads */
    int64_t leader_mod; /* mod revision of `leader` when we took it */
    int64_t taken_ns;   /* monotonic: when that was; looks from before say nothing about it */
    int64_t session;    /* etcd's id of our lease; 0: none now */
    uint8_t *about;
    size_t about_len;
    bool announce; /* the node's key is to be written */
    /* the keeper's own */
    int64_t announced_lease; /* that its key was last written under; 0: not yet */
    unsigned namesakes;      /* looks in a row that found it written by somebody else */

    pthread_t keeper;
    bool keeping;
    pthread_cond_t wake; /* with view_lock; monotonic */
    bool stop;
};

struct mine { /* our right to write, as it is now */
    bool leads;
    uint64_t fence;
    int64_t leader_mod, until_ns, session;
};
struct mine et_mine(struct etcd_log *s);
int64_t et_now(void);

/* keys.c: keys, values, and the requests made of them */
int key_of(const struct etcd_log *s, char out[KEY_MAX], const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void head_encode(const struct head *h, struct buf *out);
enum err_code head_decode(const Weft__Etcd__KeyValue *kv, struct head *out, struct err *e);

/* A transaction under construction; keys and values are copied. */
struct et_txn {
    struct arena *arena;
    Weft__Etcd__TxnRequest q;
    Weft__Etcd__Compare *compares[4];
    Weft__Etcd__RequestOp *success[6], *failure[6];
};
void et_begin(struct et_txn *b);
void et_end(struct et_txn *b);
void et_if_mod(struct et_txn *b, const char *key, int64_t mod); /* 0: it must not exist */
/* The ids of stores of this name that were taken away, newest last: their copies are of no use.
 * Appends them to `out`, LOG_ID_LEN bytes each. */
enum { FORMER_MAX = 16 };
enum err_code et_former(struct etcd_log *s, struct buf *out, struct err *e);
void et_put_key(struct et_txn *b, const char *key, const void *value, size_t n, int64_t lease);
void et_del_key(struct et_txn *b, const char *key);
void et_del_range(struct et_txn *b, const char *from, const char *to);
void et_get_key(struct et_txn *b, bool on_success, const char *key);
/* The only pair of the n-th answer, a range of one key; NULL: there is none. */
const Weft__Etcd__KeyValue *et_got(const Weft__Etcd__TxnResponse *r, size_t n);

/* How each member is (members.c). */
enum err_code et_members(struct log *log, log_member_fn *each, void *arg, struct err *e);

/* One key with a plain value. */
enum err_code key_put(struct etcd_log *s, const char *key, const void *value, size_t n,
                      int64_t lease, struct err *e);
enum err_code key_delete_range(struct etcd_log *s, const char *from, const char *to, struct err *e);
/* Calls `each` for all keys below "FOLDER/", by name, in as many messages as it takes; a name is
 * what stands behind that slash. They are not of one moment: who comes or goes meanwhile may be
 * told or not. ERR_MALFORMED: keys that were not asked for or are out of their order. */
typedef void key_each_fn(const char *name, const Weft__Etcd__KeyValue *kv, void *arg);
enum err_code key_each(struct etcd_log *s, const char *folder, key_each_fn *each, void *arg,
                       struct err *e);
/* `found` false: there is none; `out` is replaced. */
enum err_code key_get(struct etcd_log *s, const char *key, struct buf *out, bool *found,
                      struct err *e);

/* follow.c: what others appended; with `lock` held */
struct looked {
    struct head head;
    int64_t leader_mod;
    int64_t leader_lease;
    char leader[LOG_NODE_MAX + 1];
    int64_t asked_ns;
};
/* INDEX of e/INDEX; 0: that is not such a key. */
uint64_t et_batch_index(const struct etcd_log *s, const ProtobufCBinaryData *key);
enum err_code et_look(struct etcd_log *s, int64_t ms, struct looked *out, struct err *e);
void et_view_update(struct etcd_log *s, const struct looked *l); /* not with view_lock held */
/* Copies what is missing here up to h->index, and tells the watchers. */
enum err_code et_catch_up(struct etcd_log *s, const struct head *h, struct err *e);
/* Renews the session, or begins one. *session and *sent_ns (monotonic: when that was asked for) may
 * be NULL. */
enum err_code et_renew(struct etcd_log *s, int64_t *session, int64_t *sent_ns, struct err *e);
void *et_keeper(void *arg);
/* We lead no more. Takes view_lock. */
void et_lost_lease(struct etcd_log *s);
/* Says that it takes no more entries until it is opened again; with `lock`. */
void et_break(struct etcd_log *s, const char *why);

/* open.c */
enum err_code etcd_log_open(const char *rest, const struct log_options *options, struct log **out,
                            struct err *err);
enum err_code etcd_log_started(struct log *log, struct err *err);
void etcd_log_stop(struct log *log);
void etcd_log_close(struct log *log);
enum err_code etcd_log_reopen(struct log *log, struct err *err);
enum err_code etcd_log_restore(const char *path, const char *rest, struct err *err);

/* base.c */
/* Is it time for a new base? Then writes one, and drops what it makes superfluous. */
enum err_code base_care(struct etcd_log *s, struct err *e);
/* Puts the backup `path` into etcd as the base of `index`, without the key `base`. */
enum err_code base_upload(struct etcd_log *s, const char *path, uint64_t index, uint64_t fence,
                          struct buf *value, struct err *e);
/* Makes the copy out of the base. ERR_ABSENT: there is none. */
enum err_code base_adopt(struct etcd_log *s, const uint8_t id[LOG_ID_LEN], struct err *e);
enum err_code base_known(struct etcd_log *s, struct err *e); /* reads base_index */

#endif
