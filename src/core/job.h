// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs: what takes longer than a change and must not be forgotten. One engine for all services,
 * itself a service (state "jobs/", module weft-job); weftd lists it before those that use it.
 *
 * A *definition* is a constant table of steps. A *job* is one record in the log. A step goes
 *
 *     recorded "step begins, epoch e"  --durable-->  effect  -->  recorded "step: done, result"
 *
 * so after a crash at any instruction it is either not begun, or begun and to be repeated. Hence
 * the one rule for those who write steps: an effect may be repeated, and an undo may be asked for
 * what was done, half done or not done at all. Each effect has a token that is never given twice;
 * what comes with an old one is refused.
 *
 *     forward   each step's result is kept for the later ones; it may name the next step, and make
 *               children, for which the job waits before it goes on
 *     failure   (also of a child) and cancelling undo what was begun, newest first, children
 *               before the step that made them
 *     retry     of a failed job: from its first step; where undoing failed, the undoing
 */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include "core/service.h"

extern const struct service job_service;

enum {
    JOB_NAME_MAX = 63,            /* bytes in names of definitions, steps and locks */
    JOB_INPUT_MAX = 16384,        /* bytes of a job's input */
    JOB_RESULT_MAX = 4096,        /* ... of a step's result */
    JOB_TEXT_MAX = 255,           /* ... of what is said about progress */
    JOB_RECORD_MAX = 65536,       /* ... of a stored job */
    JOB_STEPS_MAX = 256,          /* steps that one job may begin */
    JOB_CHILDREN_MAX = 64,        /* children that one step may make */
    JOB_DEPTH_MAX = 4,            /* children of children ... */
    JOB_LIVE_MAX = 10000,         /* jobs that have not ended */
    JOB_KEPT_MAX = 10000,         /* jobs that have; the oldest go first */
    JOB_KEPT_S = 7 * 86400,       /* and after that time */
    JOB_RESUMES_MAX = 16,         /* starts of the controller during one attempt */
    JOB_SECONDS_MAX = 30 * 86400, /* of deadlines, back-offs and delays */
};

struct job_effect; /* one run of a step's function */

/* On a worker's thread, where it may block until its deadline. ERR_OK: the step is done, or ends
 * later (job_later). An error is tried again while there are attempts, but ERR_INVALID,
 * ERR_REFUSED, ERR_DENIED and ERR_UNSUPPORTED, for which time is no cure. */
typedef enum err_code (*job_fn)(struct job_effect *x, struct err *e);

struct job_step {
    const char *name;
    job_fn run;
    job_fn undo;            /* NULL: nothing to undo */
    uint32_t deadline_s;    /* of one attempt, 1..JOB_SECONDS_MAX */
    uint32_t attempts;      /* 1..; of run and, once more, of undo */
    uint32_t backoff_s;     /* after the first failure; doubled each time ... */
    uint32_t backoff_max_s; /* ... up to this; 0: it is not doubled */
};

struct job_definition {
    const char *name;  /* "system-backup"; never changes: records carry it, as they do step names */
    const char *title; /* for people */
    const struct job_step *steps; /* one follows the other unless it says otherwise */
    size_t n_steps;
    const char *no_retry; /* why a failed one can't be begun again; NULL: it can */
};

/* From a service's start(). Both outlive the core; `arg` is for the steps (job_arg). Nothing where
 * the engine does not run. A table that is wrong (no steps, names twice) ends the process. */
void job_register(struct core *c, const struct job_definition *d, void *arg);

struct job_order {
    const struct job_definition *definition;
    const char *input; /* text for the steps, by custom JSON; NULL: "" */
    const char *lock;  /* jobs with the same one run one after the other, oldest first; its children
                          run under it as well; NULL: none */
    uint32_t after_s;  /* not before that many seconds from now */
};
/* Inside work: the job is there when the transaction is durable, and starts then. */
enum err_code job_start(struct txn *t, const struct job_order *o, uint64_t *id, struct err *e);
enum err_code job_cancel(struct txn *t, uint64_t id, struct err *e);
enum err_code job_retry(struct txn *t, uint64_t id, struct err *e);
/* Is there such a job, and has it not ended? On the writer's thread. */
bool job_lives(struct core *c, uint64_t id);
/* How many have not ended. On the writer's thread. */
size_t jobs_live(struct core *c);

/* ---- for steps; from any thread ---------------------------------------------------------------
 */

struct job_token { /* a target that can fence keeps the greatest epoch it saw of a job */
    uint64_t id;
    uint32_t step;  /* place in the definition's table */
    uint64_t epoch; /* grows with each effect of the job, whoever runs it */
};
const struct job_token *job_token(const struct job_effect *x);
void *job_arg(const struct job_effect *x);
struct core *job_core(const struct job_effect *x);
const char *job_input(const struct job_effect *x);
/* What this step, or the last one of that name before it, left; NULL: it was not done. */
const char *job_result(const struct job_effect *x, const char *step);
uint32_t job_attempt(const struct job_effect *x); /* 1: the first */
/* On the writer's thread: what `step` has left in each child that earlier steps made, in order;
 * NULL: it was not done, or the child is not known any more. */
void job_each_child(const struct job_effect *x, const char *step,
                    void (*fn)(void *arg, uint64_t id, const char *result), void *arg);
/* Somebody cancelled the job, the deadline is over, or the controller stops: come to an end. An
 * error counts for nothing while it stops: the attempt is begun again at the next start. */
bool job_told_to_stop(const struct job_effect *x);
/* Kept at most once a second; the last one counts. `percent` 0..100. */
void job_progress(struct job_effect *x, unsigned percent, const char *text);

/* For run(), before it returns: what the step leaves; the step that follows, "" being the end of
 * the job; a child, which starts when the step is done. Wrong ones make the step fail. */
void job_set_result(struct job_effect *x, const char *text);
void job_set_next(struct job_effect *x, const char *step);
void job_add_child(struct job_effect *x, const struct job_definition *d, const char *input);

/* Called by run() or undo() that then returns ERR_OK: it has only begun, and job_step_done tells
 * what came of it, at the latest in the stop() of the service. Until job_release, `x` may be
 * used. */
struct job_effect *job_later(struct job_effect *x);
void job_release(struct job_effect *x);
/* `why` NULL: it is done, with what was set in `x`. Nothing happens when the token is an old one,
 * as after the deadline or a restart. The second form is for those who kept the token alone. */
void job_step_ended(struct job_effect *x, const struct err *why);
void job_step_done(struct core *c, const struct job_token *token, const char *result,
                   const struct err *why);

#endif
