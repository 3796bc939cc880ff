// SPDX-License-Identifier: Apache-2.0
/*
 * Core: the one writer, and the doors to it.
 *
 * All authoritative memory (configuration objects, indexes, the services' tables) belongs to one
 * thread, the writer. Whatever changes anything is a piece of *work* that the writer runs inside a
 * transaction (core/txn.h):
 *
 *     loop threads              writer thread                                     log
 *     core_run(fn, done) ---->  queue -> take all waiting -> for each: fn(txn)
 *                               (refused: undone at once, the others go on)
 *                               one entry per work that changed something  ---->  one append, one
 * sync publish snapshot, run txn_after(), done()  <----  durable
 *
 * No done() runs before the sync that makes its batch durable, so nobody is ever shown what a crash
 * could take back; work that only looks (core_run_look) runs after it. When the append fails the
 * whole batch is undone in reverse and every done() gets the error, with the reason and since when
 * the store can't be written. Looks are answered all the same, and the store is tried again by
 * itself (store.c).
 *
 * Readers of configuration take a snapshot: an immutable tree, valid in any thread until released.
 * State that services keep is read by work that writes nothing (see core_call and providers).
 *
 * Without a thread (`threaded` false) the caller drives the writer by core_step() and the fake
 * clock: simulations run thousands of entities in one process that way.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "core/object.h"
#include "model/model.h"

struct core;
struct service;
struct txn;

/* Who asks, and with which rights. Filled in by the dialect after authentication
 * (core/rights.h). Flat and copyable. */
struct actor {
    char user[64];   /* "admin", "system", "bng:SYSTEM-ID" */
    char source[96]; /* "cli unix", "restconf 192.0.2.7:4711" */
    char token[65];  /* id of the token that was shown; "": it was another credential */
    char
        as[33]; /* the user whose roles count, where PAM let in one who is no user of ours; or "" */
    int64_t ends_s; /* when the certificate that was shown ends, UTC; 0: no certificate */
    uint64_t due;   /* rights_due(): the password that has ended; 0: none */
    bool superuser; /* may do everything: the local administrator and Weft itself */
};
extern const struct actor actor_system;

/* On a store of one node: leads, always. */
enum core_role {
    CORE_FOLLOWS, /* folds what the leader appends; changes and calls are refused and name it */
    CORE_LEADS,
    CORE_LOST, /* led, or could not follow: to be closed and opened anew. Until then looks are
                  answered from what was there last */
};

struct core_options {
    const char *store;                     /* log URL, e.g. "sqlite:/var/lib/weft/log.db" */
    const struct clock *clock;             /* &clock_real, or a fake one; outlives the core */
    const struct model *model;             /* outlives the core */
    bool threaded;                         /* false: the caller runs core_step() */
    const struct service *const *services; /* NULL-terminated; outlive the core */
    uint32_t history;                      /* commits kept for rollback; 0: 50 */
    uint64_t log_kept;                     /* newest log entries kept; 0: 1,000,000 */
    const char *node;  /* of a shared store: see log_options; NULL: the machine's name */
    const char *relay; /* "ADDRESS:PORT" where other nodes pass requests on to; NULL: nowhere */
    /* The role has changed. On the writer's thread, or in core_open; must not call core. NULL: none
     */
    void (*on_role)(enum core_role role, void *arg);
    void *role_arg;
};

/* Opens the log, folds it into memory, starts the writer, and services where this node leads: on a
 * shared store it does so at once when nobody else does. */
enum err_code core_open(const struct core_options *o, struct core **out, struct err *e);
/* Finishes queued work, stops services, closes the log. */
void core_close(struct core *c);
/* Unthreaded only: fires due timers, runs everything queued; returns how many pieces of work ran.
 */
size_t core_step(struct core *c);
/* Unthreaded only: ns until the next timer, -1: none. */
int64_t core_next_timer(struct core *c);

const struct model *core_model(const struct core *c);
const struct clock *core_clock(const struct core *c);
/* The state a service made in its create(); NULL when it does not run here. */
void *core_service_state(struct core *c, const char *service);

/* ---- work ---------------------------------------------------------------------------------- */

/* Runs on the writer. Returning anything but ERR_OK undoes all that was put through `t`. */
typedef enum err_code (*core_work_fn)(struct txn *t, void *arg, struct err *e);
/* Runs on the writer after durability. `e` is NULL on success. `index` is the log index of the
 * entry, or that of the last entry when the work changed nothing. */
typedef void (*core_done_fn)(void *arg, uint64_t index, const struct err *e);

/* From any thread. `done` may be NULL; it is always called exactly once otherwise. The queue is
 * bounded (CORE_QUEUE_MAX): beyond it done gets ERR_UNAVAILABLE. */
enum { CORE_QUEUE_MAX = 65536 };
void core_run(struct core *c, const struct actor *who, core_work_fn fn, core_done_fn done,
              void *arg);

/* The same for work that puts nothing: it runs when what came with it is durable or undone, and
 * also while the store can't be written. What it puts all the same is undone, and an error. */
void core_run_look(struct core *c, const struct actor *who, core_work_fn fn, core_done_fn done,
                   void *arg);

/* ---- change -------------------------------------------------------------------------------- */

/* A change as dialects bring it: edits on instance paths (model/model.h), decoded against a
 * snapshot in the caller's thread, and again by the writer when the objects have moved meanwhile.
 */
struct change_edit {
    struct model_edit edit;    /* strings live in the change's arena */
    bool check_generation;     /* If-Match and candidates: the object that holds the target ... */
    uint64_t generation;       /* ... must have this modified index (0: must be absent;
                                  CHANGE_ANY: must be there); above objects, the index of the last
                                  configuration commit */
    struct edit_result result; /* out */
};
#define CHANGE_ANY UINT64_MAX

enum change_mode { CHANGE_COMMIT, CHANGE_DRY_RUN };
enum change_confirm { CONFIRM_NONE, CONFIRM_BY_PERSON, CONFIRM_BY_TARGETS };

/* Who confirms, or takes back, the commit that waits (RFC 6241 8.4): the NETCONF session that made
 * it, or whoever knows the id under which it persists. */
struct confirmer {
    uint64_t session; /* 0: no NETCONF session */
    char *persist_id; /* NULL: none given */
};
enum { CORE_CONFIRM_SECONDS_MAX = 86400, CORE_PERSIST_MAX = 255 };

struct change_target { /* a target whose desired state the change touches, or touched */
    char *name;
    char *what; /* one line */
};

struct change {
    /* in */
    struct actor who;
    char *comment; /* NULL: none */
    enum change_mode mode;
    enum change_confirm confirm; /* taken back unless confirmed / applied in time */
    uint32_t confirm_s;          /* 1..CORE_CONFIRM_SECONDS_MAX */
    char *persist; /* CONFIRM_BY_PERSON: it waits under this id, also when the session has ended;
                      NULL: it goes with the session, when there is one */
    struct confirmer confirmer; /* freed with the change */
    bool force;                 /* past guard rails that may be passed (APM-018 ...) */
    char *label;                /* "rollback 3", "load override": for the history; or NULL */
    /* A place that the change as a whole depends on, which none of its edits need name; checked
     * like an edit's generation. NULL: none. */
    const char *pinned;
    uint64_t pinned_generation;
    struct change_edit *edits;
    size_t n_edits;
    struct arena *arena; /* freed with the change */
    /* out, valid in `done` and after */
    uint64_t index; /* log index; 0 on dry run or failure; unchanged: the head */
    bool unchanged; /* nothing differed, nothing was written */
    int64_t time_s; /* of the commit, UTC */
    struct err err;
    size_t bad_edit; /* the edit that `err` is about; SIZE_MAX: none, or the change as a whole */
    struct buf diff; /* dry run: set/delete lines, "+ set ..." "- delete ..." */
    struct change_target *targets; /* dry run and commit */
    size_t n_targets;
    struct buf warnings; /* lines */
    /* private to core */
    struct change_private *priv;
};

struct change *change_new(const struct actor *who);
void change_free(struct change *ch);
/* Copies everything. `body` may be NULL. Returns the edit for further fields (insert, point, child,
 * check_generation); valid until the next change_add. */
struct change_edit *change_add(struct change *ch, enum edit_op op, const char *path,
                               const char *body, size_t len, enum model_format format);
/* Decodes against the newest snapshot in this thread; errors come at once (ch->err). */
enum err_code core_change_prepare(struct core *c, struct change *ch);
/* Queues it (preparing it first when the caller did not). `done` as in core_run, with `ch` itself
 * filled in; the change stays the caller's. */
void core_change(struct core *c, struct change *ch, void (*done)(struct change *ch, void *arg),
                 void *arg);

/* ---- call: an RPC of the model, run by its service ------------------------------------------ */

struct call {
    struct actor who;
    struct arena *arena; /* freed with the call; parse the input into it */
    struct rpc_input in; /* in.rpc, in.data ... (model/model.h) */
    bool force;          /* past guard rails */
    /* out */
    struct err err;
    struct buf text; /* what a terminal shows, in the documented layout; may be empty */
    struct buf json; /* RFC 7951 output members "{...}"; may be empty */
    bool outside;    /* set by prepare(): all was done outside the store, also while that can't be
                        written; the audit trail follows as it can */
    char *cursor;    /* in: NULL at first; out: not NULL when there is more, to call again with
                        (mem_free'd with the call; opaque) */
};
struct call *
call_new(const struct actor *who); /* then rpc_input_parse(..., cl->arena, &cl->in, ...) */
void call_free(struct call *cl);
/* Is it for the node that leads: not something of the node itself, and no question that each can
 * answer? */
bool core_call_is_leaders(struct core *c, const struct node *rpc);
/* Has the config-false data at, below or above this path anything that only that one can say? */
bool core_look_is_leaders(struct core *c, const char *path);
void core_call(struct core *c, struct call *cl, void (*done)(struct call *cl, void *arg),
               void *arg);

/* ---- look ----------------------------------------------------------------------------------- */

/* The newest durable configuration; never NULL; release with snap_release (core/object.h). */
struct snap *core_snapshot(struct core *c);
/* Configuration as it was after commit `index` (within the kept history), or ERR_ABSENT. */
enum err_code core_snapshot_at(struct core *c, uint64_t index, struct snap **out, struct err *e);
uint64_t core_head(struct core *c); /* last durable log index */

/* Renders config-false data: asks the service that provides `path` (a schema path such as
 * /weft-apm:apm/state) and hands JSON of that node to done on the writer. */
struct look {
    struct actor who;
    char *path; /* instance path at or below a provider's schema path */
    struct err err;
    struct buf json;
};
struct look *look_new(const struct actor *who, const char *path);
void look_free(struct look *l);
void core_look(struct core *c, struct look *l, void (*done)(struct look *l, void *arg), void *arg);

/* Values that an rpc's input leaf could take now, from its service's state, for completion. */
struct values {
    struct actor who;
    const struct node *leaf; /* of an rpc's input */
    size_t n_given;          /* what was typed already: leaf names and lexical values */
    char **names, **values;
    struct buf out; /* lines: value, TAB, help, LF */
};
struct values *values_new(const struct actor *who, const struct node *leaf);
void values_add(struct values *v, const char *name, const char *value);
void values_free(struct values *v);
void core_values(struct core *c, struct values *v, void (*done)(struct values *v, void *arg),
                 void *arg);

/* ---- history -------------------------------------------------------------------------------- */

struct commit_info { /* one configuration commit, newest first is 0 as in `rollback 0` */
    uint64_t index;
    int64_t time_s; /* UTC */
    char user[64], source[96];
    char comment[256], label[64];
};
/* Copies up to `max` newest-first into out; returns how many. From any thread. */
size_t core_history(struct core *c, struct commit_info *out, size_t max);
/* The confirmed commit that this one took back; 0: it is another change. Its comment says why. */
uint64_t commit_takes_back(const struct commit_info *ci);

/* What became of commit N at the targets it concerned. Text lines and JSON. Run inside work. */
enum commit_phase {
    COMMIT_PENDING,
    COMMIT_APPLIED,
    COMMIT_REFUSED,
    COMMIT_TAKEN_BACK,
    COMMIT_UNKNOWN
};
/* Calls `done` on the writer once commit `index` is applied by every target concerned, refused by
 * one, taken back, or `timeout_ns` is over (phase COMMIT_PENDING). `text`: a line per target not
 * done or refusing, with the reason. */
void core_commit_wait(struct core *c, uint64_t index, int64_t timeout_ns,
                      void (*done)(void *arg, enum commit_phase phase, const char *text),
                      void *arg);
/* Confirms the pending confirmed commit; ERR_ABSENT when there is none, ERR_IN_USE when it is that
 * of another session or waits under an id, ERR_INVALID when that is another one. `by` is copied;
 * NULL: a person. */
void core_confirm(struct core *c, const struct actor *who, const struct confirmer *by,
                  core_done_fn done, void *arg);
/* Takes it back at once. Errors as above. */
void core_confirm_cancel(struct core *c, const struct actor *who, const struct confirmer *by,
                         core_done_fn done, void *arg);
/* A NETCONF session has ended: what it left unconfirmed is taken back, unless it persists. */
void core_session_gone(struct core *c, uint64_t session);
/* The pending confirmed commit: its index and deadline, 0 when none. From any thread. */
uint64_t core_confirm_pending(struct core *c, int64_t *deadline_s);

/* ---- events --------------------------------------------------------------------------------- */

struct event {
    uint64_t seq;   /* +1 per event, survives only as long as the process */
    uint64_t index; /* log index it belongs to */
    int64_t time_s;
    bool unstored;    /* raised beside the log, because that can't be written or is again */
    const char *name; /* notification: "weft-apm:alarm-raised" */
    const char *json; /* members "{...}" */
};
/* Called on the writer thread for every event after it is durable: post it to your own loop and
 * return. `since` > 0 replays what the ring (CORE_EVENTS_KEPT) still has after that seq; when it
 * has lost some, an event named "resync" comes first; CORE_EVENTS_ALL replays all it has. Returns a
 * handle for unsubscribe. */
enum { CORE_EVENTS_KEPT = 8192 };
#define CORE_EVENTS_ALL UINT64_MAX
uint64_t core_subscribe(struct core *c, uint64_t since,
                        void (*fn)(const struct event *ev, void *arg), void *arg);
/* No call of fn begins after this has returned. Not from inside fn. */
void core_unsubscribe(struct core *c, uint64_t handle);

/* Tells those who are subscribed now, beside the log: what is about this process or its machine,
 * and no change. `name` is a notification of the model, `json` its members "{...}"; both are
 * copied. From any thread. */
void core_tell(struct core *c, const char *name, const char *json);

/* ---- maintenance ----------------------------------------------------------------------------- */

struct core_maintenance {
    bool on;
    int64_t since_s; /* UTC */
    char user[64], reason[256];
};
/* Is nothing to be changed for now? `out` may be NULL. From any thread. */
bool core_maintenance(struct core *c, struct core_maintenance *out);
/* ERR_UNAVAILABLE with the reason and who has said so; ERR_OK when it is not so. */
enum err_code core_maintenance_refusal(struct core *c, struct err *e);
/* Inside work: begins it, in the actor's name, or ends it (NULL). */
void core_maintenance_set(struct txn *t, const char *reason);

/* ---- several nodes -------------------------------------------------------------------------- */

struct core_turn {
    enum core_role role;
    bool shared;     /* there may be other nodes */
    bool reached;    /* the store that they share answers */
    char leader[64]; /* as far as is known; "": nobody */
    uint64_t fence;
    int64_t stale_ns;  /* so long ago what is shown here was known to be the newest */
    int64_t silent_ns; /* so long ago the store was heard */
};
enum { CORE_STALE_S = 3 };                             /* from then on those who look are told */
void core_turn(struct core *c, struct core_turn *out); /* from any thread */

/* Who leads and where it takes what is passed on to it; "" each when it is not known or says
 * nothing. Asks the store: not on a loop. ERR_UNAVAILABLE. */
struct core_leader {
    char node[64], relay[128];
};
enum err_code core_find_leader(struct core *c, struct core_leader *out, struct err *e);

/* The nodes that live, and what each says of itself; texts are "" where it says nothing. Asks the
 * store: not on a loop, not on the writer. ERR_UNAVAILABLE. */
struct core_node {
    const char *name, *version, *started, *relay;
    bool leads, self;
};
enum err_code core_nodes(struct core *c, void (*each)(const struct core_node *n, void *arg),
                         void *arg, struct err *e);

/* Looks which nodes there are, and keeps and tells of those that came and went. Where this node
 * leads, else nothing; every few seconds, from a worker: it asks the store. */
void core_nodes_watch(struct core *c);

/* ---- figures -------------------------------------------------------------------------------- */

struct core_stats {
    uint64_t head, batches, works, commits, refused, append_errors, queue_depth, queue_peak,
        objects;
    uint64_t state_ops, config_ops, redecoded;
    uint64_t store_outages, store_reopens;
    uint64_t followed;          /* entries of other nodes' */
    bool writable;              /* false from a failed append until one works again */
    int64_t unwritable_since_s; /* UTC; 0 while it is writable */
    char unwritable_why[256];
};
void core_stats(struct core *c, struct core_stats *out);
/* Prometheus text of core and of every service. From any thread; blocks for the writer. */
void core_metrics(struct core *c, struct buf *out);
/* A consistent copy of the store at `path`, made while running. From any thread but the writer. */
enum err_code core_backup(struct core *c, const char *path, struct err *e);

#endif
