// SPDX-License-Identifier: Apache-2.0
/* What the files of core share with one another; nobody else includes this. */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/logins.h"
#include "core/service.h"
#include "core/target.h"
#include "core/txn.h"
#include "log/log.h"

enum {
    BATCH_WORKS_MAX = 4096,        /* pieces of work under one sync */
    BATCH_BYTES_MAX = 32 << 20,    /* encoded operations under one sync */
    HISTORY_BYTES_MAX = 256 << 20, /* of former versions kept; older commits go first */
    SLOW_CALLS_MAX = 8,            /* worker threads of slow rpcs */
    FOLD_STEP = 16384,             /* operations folded in one go */
    FOLD_EVERY_MS = 200,
    TRIM_EVERY = 20000, /* entries between two looks at how long the log is */
    LOG_KEPT_DEFAULT = 1000000,
    COMMITS_TRACKED = 1024, /* commits whose targets are remembered */
    TOUCH_TEXT_MAX = 1024,  /* bytes said about one target in one change */
    HISTORY_DEFAULT = 50,
};

#define CORE_STATE_PREFIX "core/"
#define MAINTENANCE_KEY   CORE_STATE_PREFIX "maintenance"

/* A piece of work in the queue. */
struct work {
    struct list link;
    struct actor who;
    core_work_fn fn;
    core_done_fn done;
    void *arg;
    bool looks; /* writes nothing */
};

/* One thing to take back when the transaction or its batch fails. */
struct undo {
    enum { UNDO_TREE, UNDO_FOLD, UNDO_STATE } what;
    struct object *old, *new_; /* configuration; references held */
    struct buf key, value;     /* state: what was there */
    bool had_value;
};

struct after {
    void (*fn)(void *arg, bool committed);
    void *arg;
};

struct touched {
    struct target_session *target;
    char *name, *what;
    bool full; /* what says "and more" */
};

struct pending_event {
    char *name, *json;
};

struct txn {
    struct core *core;
    struct work *work;
    struct actor who;
    uint64_t index;
    int64_t now_ns;
    bool force, dry_run;
    bool failed; /* with its batch */
    enum err_code rc;
    struct err err;
    struct log_entry entry;
    struct arena *arena; /* of entry and op bytes */
    struct log_op *ops;
    size_t n_ops, cap_ops, op_bytes;
    struct undo *undo;
    size_t n_undo, cap_undo;
    struct txn_op *changes; /* of the change at hand; references held */
    size_t n_changes, cap_changes;
    struct map change_index; /* path -> place in changes + 1, when there are many */
    struct after *afters;
    size_t n_afters, cap_afters;
    struct touched *touched;
    size_t n_touched, cap_touched;
    struct pending_event *events;
    size_t n_events, cap_events;
    struct buf warnings;
    bool sealed;    /* complete() is over: no more objects may be put */
    bool is_commit; /* has configuration operations */
    bool confirms;  /* changes the confirmed commit that waits */
    char comment[256], label[64];
};

/* Kept for history and rollback: the state record core/commit/N. Immutable. */
struct commit_record {
    _Atomic uint32_t refs;
    struct commit_info info;
    struct buf raw;   /* as stored; the objects' former versions are decoded when asked for */
    size_t before_at; /* where in raw they begin */
    char **targets;   /* names of those concerned */
    size_t n_targets;
    bool knows_targets; /* false: written before they were recorded */
};

struct fate {    /* of a commit that was taken back */
    uint64_t by; /* the commit that did; 0: others had undone it already */
    int64_t time_s;
    char why[256];
};

struct tracked { /* what became of a commit at its targets */
    uint64_t index;
    struct tracked_target {
        char *name; /* one without a session that is not gone: not seen since the start */
        bool applied, refused, gone;
        char *reason;
    } * targets;
    size_t n_targets;
    bool taken_back;
    bool recovered; /* of a former run: a refusal since then need not be about this one */
};

struct waiter {
    struct list link;
    uint64_t index;
    struct timer timer;
    struct core *core;
    void (*done)(void *arg, enum commit_phase phase, const char *text);
    void *arg;
};

struct subscriber {
    struct list link;
    uint64_t handle;
    void (*fn)(const struct event *ev, void *arg);
    void *arg;
};

struct confirm {                  /* the pending confirmed commit */
    uint64_t index, first_before; /* take back everything after log index first_before */
    int64_t deadline_s;           /* by the wall's clock when it was given */
    uint32_t given_s;
    int64_t due;  /* mono ns; not stored */
    uint8_t mode; /* enum change_confirm; CONFIRM_NONE: none pending */
    char user[64];
    uint64_t session;                   /* NETCONF's; 0: none */
    char persist[CORE_PERSIST_MAX + 1]; /* "": it does not outlive its session */
    char **targets;                     /* names of those concerned */
    size_t n_targets;
};
struct take_back;

struct store { /* can it be written? see store.c */
    bool writable, needs_reopen, in_doubt, full;
    char why[256];
    int64_t since_s;      /* not since then */
    uint64_t refused;     /* since then */
    size_t refused_bytes; /* of the batch that failed */
    unsigned tries;
    struct timer retry;
};

struct role {       /* of this node; see role.c */
    bool shared;    /* there may be others */
    _Atomic int is; /* enum core_role; the writer changes it */
    bool stop_due;  /* services are still to be stopped */
    char node[LOG_NODE_MAX + 1];
    char former[LOG_NODE_MAX + 1]; /* who led when this node looked last */
    int64_t vacant_ns;             /* since when nobody leads, monotonic; 0: somebody does */
    struct log_watch *watch;
    struct timer timer;
    /* under core's lock */
    bool news; /* others appended, or the turn may have changed */
    char why[256];
    int64_t lost_ns; /* monotonic */
};

struct service_slot {
    const struct service *service;
    void *self;
};

struct kind_index;

struct nodes;

struct core {
    struct nodes *nodes; /* system_nodes.c's; NULL: the system service is not there */
    struct core_options options;
    const struct clock *clock;
    const struct model *model;
    struct log *log;
    struct log_lease lease;
    struct store store;
    struct role role;
    struct timers timers;
    struct service_slot *services;
    size_t n_services;

    /* the writer's own */
    struct snap *tip;               /* newest, perhaps not durable yet */
    struct map referrers;           /* object path -> struct map {referring path -> leaf path} */
    struct map made;                /* owner path -> struct map {made path -> ""} */
    struct kind_index *indexes;     /* by the kind's id: its leaves that are weft:index */
    struct map by_value;            /* leaf and value -> struct map {object path -> ""} */
    struct commit_record **history; /* oldest first */
    size_t n_history;
    size_t history_bytes;
    struct tracked *tracked; /* ring of COMMITS_TRACKED in commit order */
    uint64_t tracked_first, tracked_next;
    struct list waiters;
    struct confirm confirm, confirm_last; /* last: index, deadline_s and due of the one before */
    struct take_back *take_back;          /* under way, or waiting to be tried again */
    bool confirming;                      /* all targets have applied; the confirmation is queued */
    struct timer confirm_timer, lease_timer;
    struct map targets;      /* name -> struct target_session */
    struct map held_targets; /* by name; an operator said: send nothing */
    struct logins *logins;
    struct map fates; /* commit index (its bytes) -> struct fate */
    struct core_stats stats;
    size_t n_started; /* services */
    bool closing;

    /* shared; under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue;
    size_t queued, queue_peak;
    struct core_stats shown_stats;        /* those of the last batch */
    struct core_maintenance maintenance;  /* only the writer writes it */
    struct snap *published;               /* newest durable */
    struct commit_record **shown_history; /* for other threads, newest first; references held */
    size_t n_shown;
    uint64_t confirm_index;
    int64_t confirm_shown_due; /* mono ns */
    bool stop;
    pthread_t thread, folder;
    int64_t give_back_ns;     /* monotonic: no look at free memory before; the writer's */
    uint64_t trim_next;       /* head at which it is worth looking again; the folder's */
    pthread_cond_t fold_wake; /* at the end only: it looks by itself */
    _Atomic uint64_t head;
    _Atomic int slow_running;

    /* events; under events_lock */
    pthread_mutex_t events_lock;
    struct list subscribers;
    struct event *ring;
    size_t ring_len;
    uint64_t event_seq, next_handle;
};

/* writer.c */
size_t writer_batch(struct core *c); /* one batch; 0: nothing was queued */
void *writer_main(void *arg);
void *folder_main(void *arg);
/* Drops the oldest log entries beyond those kept. Nothing of core's needs them:
 * state and history are in the tables. */
void trim_log(struct core *c);
/* Puts an object into (or out of) the tree; the services' folds follow by txn_fold_object. */
void txn_apply_object(struct txn *t, const struct object *old, const struct object *new_);
void txn_fold_object(struct txn *t, const struct object *old, const struct object *new_);
/* The change's objects become operations of the log entry; between their folds and what services
 * put because of them, as followers fold in this order. */
void txn_encode_changes(struct txn *t);
void txn_free(struct txn *t);
/* One piece of memory for both directions: tree, indexes. */
void core_swap_object(struct core *c, const struct object *old, const struct object *new_);
enum err_code core_fold_state(struct core *c, const void *key, size_t key_len, const void *value,
                              size_t len, struct err *e);

/* Lets other threads see the figures as they are now. */
void stats_show(struct core *c);

void core_fold_config(struct core *c, const struct object *old, const struct object *new_);

/* core.c: what begins and ends with leading */
enum err_code core_start(struct core *c, struct err *e);
void core_stop(struct core *c);

/* role.c; on the writer's thread, but for role_of */
bool role_open(struct core *c); /* true: there may be other nodes, and role_start comes later */
void role_start(struct core *c);
void role_close(struct core *c);
enum core_role role_of(const struct core *c);
void role_look(struct core *c); /* follows, leads or stops as it is its turn */
void role_lost(struct core *c, const char *why);
/* Why nothing may be changed here. */
enum err_code role_refusal(struct core *c, struct err *e);
/* ... to one whose append failed with the lead. */
enum err_code role_refusal_in_doubt(struct core *c, struct err *e);
/* Folds an entry's configuration only. */
enum err_code role_fold_config(struct core *c, const struct log_entry *en, struct err *e);

/* store.c; on the writer's thread */
void store_start(struct core *c);
void store_close(struct core *c);
/* An append of `bytes` failed, or the log's background work: no more writing for now. */
void store_failed(struct core *c, const struct err *why, size_t bytes);
void store_appended(struct core *c);
/* Fills in why nothing can be written, and since when; counts it. */
enum err_code store_refusal(struct core *c, struct err *e);
/* ... to one whose append failed, and perhaps stays in the file. */
enum err_code store_refusal_in_doubt(struct core *c, struct err *e);
/* Has the log's background work broken it? */
void store_look(struct core *c);
void store_look_soon(struct core *c); /* from any thread */

/* refs.c */
void refs_swap(struct core *c, const struct object *old, const struct object *new_);
void refs_free(struct core *c);
/* Dangling references of new objects, and references left to deleted ones. */
enum err_code refs_check(struct txn *t, struct err *e);
/* Path of some object that refers to `path`, or NULL; `at` gets the leaf. */
const char *refs_referrer(struct core *c, const char *path, const char **at);
/* Objects made by `owner`: calls fn with each path. */
void refs_each_made(struct core *c, const char *owner, void (*fn)(const char *path, void *arg),
                    void *arg);

/* index.c */
void index_start(struct core *c); /* before the first object */
void index_swap(struct core *c, const struct object *old, const struct object *new_);
void index_free(struct core *c);

/* change.c */
/* Runs complete, references, check, fold on what was put; shared by changes and take-back. */
enum err_code change_finish(struct txn *t, struct err *e);
enum err_code change_put(struct txn *t, const struct object *old, struct doc *doc,
                         const char *owner, struct err *e);
/* Puts a former version back, owner and all. */
enum err_code change_restore(struct txn *t, const struct object *now, const struct object *then,
                             struct err *e);

/* history.c: core's own state records, through the same fold as a service's */
enum err_code history_fold(struct core *c, const char *key, size_t key_len, const void *value,
                           size_t len, struct err *e);
bool history_encode(struct core *c, const char *key, size_t key_len, struct buf *out);
void history_record(struct txn *t); /* adds the commit's state records */
void history_publish(struct core *c);
/* What became of a commit that was taken back, also in a former run; NULL: it was not. Borrowed. */
const struct fate *history_fate(const struct core *c, uint64_t index);
void history_free(struct core *c);
bool history_held(struct core *c, const char *name);
void history_set_held(struct txn *t, const char *name, bool held);
void confirm_set(struct txn *t, const struct confirm *cf); /* mode NONE: deletes it */
void confirm_start(struct core *c);                        /* arms its timer */
void confirm_take_back(struct core *c, const char *why);
void confirm_hurry(struct core *c); /* a take-back that the store refused may be tried at once */
/* May `who` confirm what waits? Its author may, and whoever may change anything. */
enum err_code confirm_allowed(const struct txn *t, const struct actor *who,
                              const struct confirmer *by, struct err *e);
/* After a start: what waited for a session of the former process is taken back. */
void confirm_recovered(struct core *c);
void confirm_by_targets_done(struct core *c); /* queues the confirmation, once */
/* The configuration before commit `index`; release it. */
enum err_code history_before(struct core *c, uint64_t index, struct snap **out, struct err *e);

/* maintenance.c */
/* ERR_UNAVAILABLE while it is on, but for requests that maintenance is for. */
enum err_code maintenance_allows(struct core *c, const struct node *rpc, struct err *e);
void maintenance_encode(const struct core *c, struct buf *out);
enum err_code maintenance_fold(struct core *c, const void *value, size_t len, struct err *e);

/* target.c */
void targets_committed(struct txn *t); /* after durability */
void targets_free(struct core *c);
void targets_progress(struct core *c); /* waiters and confirm-by-targets look again */
void targets_taken_back(struct core *c, uint64_t from, uint64_t before);
void targets_recovered(struct core *c); /* those of the commits that are kept */
void targets_started(struct core *c);   /* all sessions that will be there are */
void targets_held(struct core *c, const char *name, size_t len, bool held);
enum commit_phase commit_phase_of(struct core *c, uint64_t index, struct buf *text);

/* events.c */
/* The work stands: what it has to tell is known, and may go into the same entry of the log. */
void events_seal(struct txn *t);
void events_publish(struct txn *t);
/* One that belongs to no transaction. `json` members "{...}". On the writer's thread. */
void events_tell(struct core *c, const char *name, const char *json);
void events_free(struct core *c);

#endif
