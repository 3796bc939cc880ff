// SPDX-License-Identifier: Apache-2.0
/* What the files of the job engine share. */
#ifndef CORE_JOB_INT_H
#define CORE_JOB_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "core/job.h"
#include "core/txn.h"
#include "core/workers.h"
#include "model/kinds.h"

#define JOB_PREFIX "jobs/"
#define JOB_KEY    "jobs/job/"
#define JOB_ID_KEY "jobs/last-id"

enum { JOB_VERSION = 1 };

/* ---- the record (job_record.c) ----------------------------------------------------------------
 */

struct job_did { /* a step that was begun */
    char *step, *result;
    bool done, undone;
    uint64_t *children;
    size_t n_children;
};

struct job_record {
    uint64_t id, parent; /* parent 0: none */
    char *definition, *lock, *input, *user, *source;
    int64_t created_s, started_s, ended_s; /* UTC; 0: not yet */
    enum job_state state;
    enum job_state end; /* what rolling back ends in */
    char *reason;
    bool holds; /* its lock */
    char *next; /* the step to begin; "": the end */
    /* The effect that runs, or ran last. */
    bool begun; /* recorded, and no result */
    uint64_t epoch;
    char *owner;
    uint32_t attempt, resumes;
    int64_t due_s;   /* nothing is begun before that, */
    uint32_t wait_s; /* nor longer after the start than that; 0: at once */
    uint32_t percent;
    char *progress;
    struct job_did *did;
    size_t n_did;
};

void job_record_encode(const struct job_record *r, struct buf *out);
/* ERR_UNSUPPORTED: written by a newer version; ERR_INVALID: damaged. */
enum err_code job_record_decode(const void *p, size_t len, struct job_record **out, struct err *e);
void job_record_free(struct job_record *r);
struct job_record *job_record_copy(const struct job_record *r);
void job_set_text(char **field, const char *text); /* replaces; NULL: "" */
struct job_did *job_record_push(struct job_record *r, const char *step);

/* ---- memory ------------------------------------------------------------------------------------
 */

struct job_lock {
    struct list jobs; /* live, by id */
    struct job *holder;
};

struct job_known { /* a registered definition */
    const struct job_definition *definition;
    void *arg;
};

struct job {
    struct job_record *r;  /* the fold */
    struct job *parent;    /* NULL: none, or not known any more */
    struct list kids, kin; /* children; among those of the parent */
    struct list locked;    /* in job_lock.jobs */
    struct list ended;     /* of roots, in jobs.ended */
    struct job_lock *lock;
    /* Of this process; nothing of it is stored. */
    struct jobs *all;
    struct timer timer;
    bool queued;               /* a look at it is in the writer's queue */
    uint64_t live_epoch;       /* the effect that was begun here */
    uint64_t launched_epoch;   /* ... and was started */
    struct job_effect *effect; /* that runs here, perhaps one whose result nobody wants any more */
    int64_t deadline_ns;       /* of the one that was started */
    int64_t due_ns;            /* monotonic form of r->due_s */
    int64_t due_of;            /* ... of that one */
    int64_t said_ns;           /* when progress was recorded; before 0: not yet */
};

struct job_effect {
    _Atomic unsigned refs;
    struct jobs *all;
    struct core *core;
    struct job_token token;
    const struct job_step *step;
    void *arg;
    bool undo;
    struct job_record *r; /* as it was when the effect was begun; immutable */
    _Atomic bool stop, running, returned, later;
    /* Under jobs.lock */
    bool said;
    unsigned percent;
    char *progress;
    /* What run() sets. */
    char *result, *next; /* NULL: not set */
    struct job_child {
        const struct job_definition *definition;
        char *input;
    } * children;
    size_t n_children;
};

/* A result on its way to the writer: it stays in the inbox until it is recorded or refused. */
struct job_answer {
    struct list link;
    struct jobs *all;
    struct job_token token;
    struct job_effect *effect; /* NULL: `result` only */
    char *result;
    bool queued;
    struct err err; /* .code ERR_OK: done */
};

struct jobs {
    struct core *core;
    struct map by_id;  /* the id's bytes -> struct job */
    struct map locks;  /* name -> struct job_lock */
    struct map known;  /* name -> struct job_known */
    struct list ended; /* roots that ended, by when */
    size_t n_live, n_ended;
    size_t n_begun; /* effects that were begun and have no result */
    uint64_t last_id;
    struct workers *workers; /* NULL: in the caller's thread */
    _Atomic bool stopping;
    struct timer prune_timer, answer_timer;
    pthread_mutex_t lock;
    struct list answers;
    uint64_t n_started, n_done, n_failed, n_cancelled, n_refused; /* since the start */
};

struct job *job_find(const struct jobs *js, uint64_t id);
const struct job_known *job_known(const struct jobs *js, const char *definition);
bool job_is_over(enum job_state s);
bool job_left_undone(const struct job_record *r); /* a step that was begun and not undone */
const char *job_state_name(enum job_state s);
int64_t job_mono(const struct jobs *js);
/* Puts the record; afterwards the job is looked at once it is durable. Frees `r`. */
void job_save(struct jobs *js, struct txn *t, struct job_record *r);
void job_event(struct txn *t, const char *name, const struct job_record *r);
/* Looks at a job soon: begins what is due, gives up what is late. Level-triggered. */
void job_kick(struct job *j);
/* Sets the timer to the next moment at which something may have to be done. `looked`: what is due
 * by now was just looked at, and what it waits for will say so. */
void job_arm(struct job *j, bool looked);
/* An effect whose time is over still runs here: never two of one job at once. */
bool job_blocked(const struct job *j);
int64_t job_due_ns(struct job *j); /* monotonic; 0: at once */
/* Takes ended jobs away that are too many or too old, and sees to it that it is called again. */
void job_prune(struct jobs *js, struct txn *t);

/* job_run.c */
/* Takes every step that can be taken now, in the transaction. */
void job_advance(struct jobs *js, struct txn *t, uint64_t id);
enum err_code job_make(struct jobs *js, struct txn *t, const struct job_order *o, uint64_t parent,
                       uint64_t *id, struct err *e);
/* job_effect.c */
void job_launch(struct job *j);
/* While there are effects or answers it sees to it that each answer comes to the writer. */
void job_answers_watch(struct jobs *js);
void job_answers_free(struct jobs *js);
void job_stop_effect(struct job *j); /* tells it */
void job_drop_effect(struct job *j); /* and forgets it */
/* Moves what the effect said into the record; true: there was something, and it may be recorded. */
bool job_take_progress(struct job *j, struct job_record *r);
/* ... at the effect's end, when a record is written anyway. `x` may be NULL. */
void job_last_words(struct job_effect *x, struct job_record *r);
/* An effect has ended, perhaps one that nobody waits for any more. */
void job_result_came(struct jobs *js, struct txn *t, const struct job_answer *a);

/* job_show.c */
enum err_code job_call(void *self, struct txn *t, struct call *cl, struct err *e);
enum err_code job_look(void *self, struct txn *t, struct look *l, struct err *e);
void job_values(void *self, struct txn *t, struct values *v);
struct job **job_sorted(const struct jobs *js, size_t *n); /* newest first; mem_free it */
void job_metrics(void *self, struct buf *out);
void job_summary_json(const struct jobs *js, const struct job_record *r, struct buf *out);

#endif
