// SPDX-License-Identifier: Apache-2.0
/*
 * How a job goes on. Everything here works on a copy of the record, takes all steps that can be
 * taken at this moment, and puts the copy once; no effect starts before that is durable.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/job_int.h"
#include "core/system.h"

LOGGER_MODULE(job_run);

enum {
    ROOM = 8192, /* of a record, for what is added while it is undone */
    REASON_MAX = 1024,
};

struct walk {
    struct jobs *js;
    struct txn *t;
    struct job *j;
    struct job_record *r; /* the copy */
    bool changed;
};

static struct walk walk_of(struct jobs *js, struct txn *t, struct job *j) {
    return (struct walk){js, t, j, job_record_copy(j->r), false};
}

static void walk_end(struct walk *w) {
    if (w->changed) {
        bool over = job_is_over(w->r->state);
        job_save(w->js, w->t, w->r);
        if (over) {
            job_prune(w->js, w->t);
        }
    } else {
        job_record_free(w->r);
        if (!w->js->stopping) {
            job_arm(w->j, true);
        }
    }
}

static void say(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct walk *w, const char *fmt, ...) {
    char raw[REASON_MAX], line[REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    text_line(line, sizeof line, raw);
    job_set_text(&w->r->reason, line);
}

static const struct job_step *step_named(const struct walk *w, const char *name) {
    const struct job_known *k = job_known(w->js, w->r->definition);
    for (size_t i = 0; k != NULL && i < k->definition->n_steps; i++) {
        if (strcmp(k->definition->steps[i].name, name) == 0) {
            return &k->definition->steps[i];
        }
    }
    return NULL;
}

/* The step that runs or ran last, or in rolling back the one to undo. */
static struct job_did *at_hand(struct job_record *r) {
    size_t i = r->n_did;
    while (i > 0 && r->did[i - 1].undone) {
        i--;
    }
    return i > 0 ? &r->did[i - 1] : NULL;
}

/* ---- ends --------------------------------------------------------------------------------------
 */

/* Whoever has waited longest for the lock. */
static void kick_next(const struct job *j) {
    int64_t now = job_mono(j->all);
    if (j->lock == NULL) {
        return;
    }
    LIST_FOREACH (l, &j->lock->jobs) {
        struct job *o = CONTAINER_OF(l, struct job, locked);
        if (o != j && job_due_ns(o) <= now && job_known(j->all, o->r->definition) != NULL) {
            job_kick(o);
            return;
        }
    }
}

static bool finish(struct walk *w, enum job_state state) {
    struct job_record *r = w->r;
    struct jobs *js = w->js;
    r->state = state;
    r->ended_s = txn_now_s(w->t);
    r->begun = r->holds = false;
    r->due_s = 0;
    r->wait_s = 0;
    if (state == JOB_STATE_DONE) {
        r->percent = 100;
        job_set_text(&r->reason, "");
    }
    js->n_done += state == JOB_STATE_DONE;
    js->n_failed += state == JOB_STATE_FAILED;
    js->n_cancelled += state == JOB_STATE_CANCELLED;
    w->changed = true;
    job_event(w->t, "weft-job:job-ended", r);
    if (w->j->parent != NULL) {
        job_kick(w->j->parent);
    }
    kick_next(w->j);
    L_DBG("job %" PRIu64 " %s: %s %s", r->id, r->definition, job_state_name(state), r->reason);
    return false;
}

static bool roll_back(struct walk *w, enum job_state end) {
    struct job_record *r = w->r;
    r->state = JOB_STATE_ROLLING_BACK;
    r->end = end;
    r->begun = false;
    r->attempt = r->resumes = 0;
    r->due_s = 0;
    r->wait_s = 0;
    w->changed = true;
    return true;
}

/* ---- attempts ----------------------------------------------------------------------------------
 */

/* May it act under its lock? Takes the lock when it is free and nobody has waited longer. */
static bool has_lock(struct walk *w) {
    const struct job_lock *l = w->j->lock;
    if (w->r->lock[0] == '\0' || w->r->holds) {
        return true;
    }
    if (l == NULL || l->holder != NULL) {
        return false;
    }
    LIST_FOREACH (i, &l->jobs) {
        struct job *o = CONTAINER_OF(i, struct job, locked);
        if (o == w->j) {
            break;
        }
        if (job_due_ns(o) <= job_mono(w->js) && job_known(w->js, o->r->definition) != NULL) {
            job_kick(o);
            return false;
        }
    }
    w->r->holds = true;
    return true;
}

static bool too_early(const struct walk *w) {
    if (w->r->due_s == 0) {
        return false;
    }
    /* One that was set just now is looked at when it is durable. */
    return w->r->due_s != w->j->r->due_s || job_due_ns(w->j) > job_mono(w->js);
}

static void begin_effect(struct walk *w) {
    struct job_record *r = w->r;
    r->begun = true;
    r->epoch++;
    r->due_s = 0;
    r->wait_s = 0;
    job_set_text(&r->owner, w->js->core->lease.holder);
    w->j->live_epoch = r->epoch;
    w->changed = true;
}

static bool attempt_failed(struct walk *w, enum err_code code, const char *text) {
    struct job_record *r = w->r;
    const struct job_did *d = at_hand(r);
    const struct job_step *s = d != NULL ? step_named(w, d->step) : NULL;
    bool final =
        code == ERR_INVALID || code == ERR_REFUSED || code == ERR_DENIED || code == ERR_UNSUPPORTED;
    bool back = r->state == JOB_STATE_ROLLING_BACK;
    r->begun = false;
    r->resumes = 0;
    w->changed = true;
    if (r->state == JOB_STATE_CANCELLING) {
        return roll_back(w, JOB_STATE_CANCELLED);
    }
    if (s != NULL && r->attempt < s->attempts && !final) {
        uint64_t wait = s->backoff_s, most = s->backoff_max_s;
        for (uint32_t i = 1; i < r->attempt && wait < most; i++) {
            wait *= 2;
        }
        r->wait_s = (uint32_t)(wait > most && most > s->backoff_s ? most : wait);
        r->due_s = txn_now_s(w->t) + (int64_t)r->wait_s;
        r->state = back ? r->state : JOB_STATE_BACKING_OFF;
        say(w, "%s%s, attempt %" PRIu32 ": %s", back ? "undoing " : "", d->step, r->attempt, text);
        return false; /* its time is known once this is folded */
    }
    say(w, "%s%s: %s", back ? "undoing " : "", d ? d->step : r->next, text);
    return back ? finish(w, JOB_STATE_FAILED) : roll_back(w, JOB_STATE_FAILED);
}

/* A batch that failed may have named a newer effect, which never was. */
static bool job_is_ours(const struct job *j, uint64_t epoch) {
    return j->live_epoch == epoch || j->launched_epoch == epoch;
}

/* An effect was begun and has no result: true when the job goes on without it. */
static bool watch(struct walk *w) {
    struct job_record *r = w->r;
    struct job *j = w->j;
    bool ours = job_is_ours(j, r->epoch);
    if (!ours && r->state == JOB_STATE_CANCELLING) {
        return roll_back(w, JOB_STATE_CANCELLED);
    }
    if (!ours) { /* of a former run of the controller */
        const struct job_did *d = at_hand(r);
        if (w->js->stopping || job_known(w->js, r->definition) == NULL) {
            return false;
        }
        if (d == NULL || step_named(w, d->step) == NULL) {
            return attempt_failed(w, ERR_UNSUPPORTED, "there is no such step in this version");
        }
        if (r->resumes >= JOB_RESUMES_MAX) {
            return attempt_failed(w, ERR_REFUSED, "the controller stopped too often while it ran");
        }
        r->resumes++;
        begin_effect(w);
        return false;
    }
    if (j->launched_epoch != r->epoch || job_mono(w->js) < j->deadline_ns) {
        return false;
    }
    const struct job_step *s = step_named(w, at_hand(r)->step);
    if (j->effect != NULL && !atomic_load(&j->effect->running)) {
        j->deadline_ns = job_mono(w->js) + s->deadline_s * NS_PER_S; /* waits for a thread */
        return false;
    }
    char text[64];
    snprintf(text, sizeof text, "not done within %" PRIu32 " s", s->deadline_s);
    job_stop_effect(j);
    return attempt_failed(w, ERR_TIMEOUT, text);
}

/* ---- forward -----------------------------------------------------------------------------------
 */

/* True when all that the step made have ended; *bad: one that did not end well. */
static bool children_over(const struct walk *w, const struct job_did *d, const struct job **bad) {
    bool over = true;
    *bad = NULL;
    for (size_t i = 0; i < d->n_children; i++) {
        const struct job *c = job_find(w->js, d->children[i]);
        if (c == NULL) {
            continue;
        }
        over = over && job_is_over(c->r->state);
        if (job_is_over(c->r->state) && c->r->state != JOB_STATE_DONE) {
            *bad = c;
        }
    }
    return over;
}

static bool begin(struct walk *w) {
    struct job_record *r = w->r;
    const struct job_step *s = step_named(w, r->next);
    if (s == NULL) {
        say(w, "there is no step \"%s\" in this version of %s", r->next, r->definition);
        return roll_back(w, JOB_STATE_FAILED);
    }
    if (r->attempt == 0) {
        if (r->n_did >= JOB_STEPS_MAX) {
            say(w, "it has begun %d steps: it goes round in circles", JOB_STEPS_MAX);
            return roll_back(w, JOB_STATE_FAILED);
        }
        job_record_push(r, s->name);
    }
    r->attempt++;
    r->state = JOB_STATE_RUNNING;
    if (r->started_s == 0) {
        r->started_s = txn_now_s(w->t);
        w->js->n_started++;
        job_event(w->t, "weft-job:job-started", r);
    }
    begin_effect(w);
    return false;
}

static bool go_on(struct walk *w) {
    struct job_record *r = w->r;
    const struct job_did *d = r->n_did > 0 ? &r->did[r->n_did - 1] : NULL;
    const struct job *bad = NULL;
    if (w->js->stopping || too_early(w) || job_known(w->js, r->definition) == NULL) {
        return false;
    }
    bool over = d == NULL || children_over(w, d, &bad);
    if (bad != NULL) {
        say(w, "%s: job %" PRIu64 ", which it made, is %s: %s", d->step, bad->r->id,
            job_state_name(bad->r->state), bad->r->reason);
        return roll_back(w, JOB_STATE_FAILED);
    }
    if (!over || job_blocked(w->j) || !has_lock(w)) {
        return false;
    }
    return r->next[0] == '\0' ? finish(w, JOB_STATE_DONE) : begin(w);
}

/* ---- back --------------------------------------------------------------------------------------
 */

static void turn_back(struct walk *parent, struct job *child) {
    struct walk w = walk_of(parent->js, parent->t, child);
    if (w.r->state == JOB_STATE_DONE) {
        w.r->ended_s = 0;
        roll_back(&w, JOB_STATE_CANCELLED);
    } else if (w.r->begun) {
        w.r->state = JOB_STATE_CANCELLING;
        w.changed = true;
    } else {
        roll_back(&w, JOB_STATE_CANCELLED);
    }
    say(&w, "job %" PRIu64 ", which made it, goes back", parent->r->id);
    walk_end(&w);
    job_kick(child);
}

/* True when the children of a step stand in the way of its undoing no more. */
static bool children_undone(struct walk *w, const struct job_did *d, const struct job **stuck) {
    bool ready = true;
    for (size_t i = 0; i < d->n_children; i++) {
        struct job *c = job_find(w->js, d->children[i]);
        if (c == NULL || c->r->state == JOB_STATE_CANCELLED) {
            continue;
        }
        if (c->r->state == JOB_STATE_FAILED) {
            *stuck = job_left_undone(c->r) ? c : *stuck;
            continue;
        }
        ready = false;
        if (c->r->state != JOB_STATE_CANCELLING && c->r->state != JOB_STATE_ROLLING_BACK) {
            turn_back(w, c);
        }
    }
    return ready;
}

static bool undo_next(struct walk *w) {
    struct job_record *r = w->r;
    struct job_did *d = at_hand(r);
    const struct job *stuck = NULL;
    if (d == NULL) {
        return finish(w, r->end);
    }
    if (w->js->stopping || job_known(w->js, r->definition) == NULL || too_early(w) ||
        job_blocked(w->j) || !has_lock(w) || !children_undone(w, d, &stuck)) {
        return false;
    }
    if (stuck != NULL) {
        say(w, "undoing %s: job %" PRIu64 ", which it made, could not be undone: %s", d->step,
            stuck->r->id, stuck->r->reason);
        return finish(w, JOB_STATE_FAILED);
    }
    const struct job_step *s = step_named(w, d->step);
    if (s == NULL) {
        say(w, "undoing %s: there is no such step in this version", d->step);
        return finish(w, JOB_STATE_FAILED);
    }
    if (s->undo == NULL) {
        d->undone = true;
        return w->changed = true;
    }
    r->attempt++;
    begin_effect(w);
    return false;
}

/* ---- the walk ----------------------------------------------------------------------------------
 */

/* True: look again at once. */
static bool one(struct walk *w) {
    switch (w->r->state) {
    case JOB_STATE_WAITING:
    case JOB_STATE_BACKING_OFF:
        return go_on(w);
    case JOB_STATE_RUNNING:
        return watch(w);
    case JOB_STATE_CANCELLING:
        return w->r->begun ? watch(w) : roll_back(w, JOB_STATE_CANCELLED);
    case JOB_STATE_ROLLING_BACK:
        return w->r->begun ? watch(w) : undo_next(w);
    default:
        return false;
    }
}

void job_advance(struct jobs *js, struct txn *t, uint64_t id) {
    struct job *j = job_find(js, id);
    if (j == NULL || job_is_over(j->r->state)) {
        return;
    }
    struct walk w = walk_of(js, t, j);
    while (one(&w)) {
    }
    if (job_take_progress(j, w.r)) {
        w.changed = true;
        job_event(t, "weft-job:job-progress", w.r);
    }
    walk_end(&w);
}

/* ---- results -----------------------------------------------------------------------------------
 */

static enum err_code make_children(struct walk *w, const struct job_effect *x, struct err *e) {
    if (x->n_children > JOB_CHILDREN_MAX) {
        return err_set(e, ERR_LIMIT, NULL, "it makes %zu jobs, a step may make %d", x->n_children,
                       JOB_CHILDREN_MAX);
    }
    for (size_t i = 0; i < x->n_children; i++) {
        uint64_t id;
        const struct job_order o = {.definition = x->children[i].definition,
                                    .input = x->children[i].input};
        ERR_TRY(job_make(w->js, w->t, &o, w->r->id, &id, e));
        struct job_did *d = &w->r->did[w->r->n_did - 1];
        d->children = mem_array(d->children, d->n_children + 1, sizeof *d->children);
        d->children[d->n_children++] = id;
    }
    return ERR_OK;
}

/* The step after the one that is done; "" at the end. */
static const char *following(const struct walk *w, const char *step) {
    const struct job_definition *def = job_known(w->js, w->r->definition)->definition;
    for (size_t i = 0; i + 1 < def->n_steps; i++) {
        if (strcmp(def->steps[i].name, step) == 0) {
            return def->steps[i + 1].name;
        }
    }
    return "";
}

static enum err_code take_result(struct walk *w, const struct job_answer *a, struct err *e) {
    struct job_record *r = w->r;
    const struct job_effect *x = a->effect;
    struct job_did *d = &r->did[r->n_did - 1];
    const char *result = x != NULL ? x->result : a->result;
    const char *next = x != NULL && x->next != NULL ? x->next : following(w, d->step);
    if (result != NULL && strlen(result) > JOB_RESULT_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "its result has %zu bytes, %d are allowed",
                       strlen(result), JOB_RESULT_MAX);
    }
    if (next[0] != '\0' && step_named(w, next) == NULL) {
        return err_set(e, ERR_INVALID, NULL, "it names \"%s\" as the next step, which there is not",
                       next);
    }
    if (x != NULL && r->state != JOB_STATE_CANCELLING) {
        ERR_TRY(make_children(w, x, e));
        d = &r->did[r->n_did - 1];
    }
    d->done = true;
    job_set_text(&d->result, result);
    job_set_text(&r->next, next);
    struct buf b = BUF_INIT;
    job_record_encode(r, &b);
    size_t n = b.len;
    buf_free(&b);
    return n > JOB_RECORD_MAX - ROOM
               ? err_set(e, ERR_TOO_BIG, NULL, "the job's record would have more than %d bytes",
                         JOB_RECORD_MAX - ROOM)
               : ERR_OK;
}

static void succeeded(struct walk *w, const struct job_answer *a) {
    struct job_record *r = w->r;
    struct err e = {.code = ERR_OK};
    r->begun = false;
    r->attempt = r->resumes = 0;
    w->changed = true;
    if (r->state == JOB_STATE_ROLLING_BACK) {
        at_hand(r)->undone = true;
    } else if (take_result(w, a, &e) != ERR_OK) {
        say(w, "%s: %s", r->did[r->n_did - 1].step, e.text);
        roll_back(w, r->state == JOB_STATE_CANCELLING ? JOB_STATE_CANCELLED : JOB_STATE_FAILED);
    } else if (r->state == JOB_STATE_CANCELLING) {
        roll_back(w, JOB_STATE_CANCELLED);
    } else {
        r->state = JOB_STATE_WAITING;
        job_set_text(&r->reason, "");
    }
}

void job_result_came(struct jobs *js, struct txn *t, const struct job_answer *a) {
    struct job *j = job_find(js, a->token.id);
    if (j == NULL || !j->r->begun || j->r->epoch != a->token.epoch ||
        !job_is_ours(j, a->token.epoch) || job_known(js, j->r->definition) == NULL) {
        js->n_refused++;
        if (j != NULL) {
            job_kick(j); /* it may have waited for the end of just this */
        }
        return;
    }
    struct walk w = walk_of(js, t, j);
    job_last_words(a->effect, w.r);
    if (a->err.code == ERR_OK) {
        succeeded(&w, a);
    } else {
        attempt_failed(&w, a->err.code, a->err.text);
    }
    while (one(&w)) {
    }
    walk_end(&w);
}

/* ---- orders ------------------------------------------------------------------------------------
 */

static enum err_code check_order(struct jobs *js, const struct job_order *o, uint64_t parent,
                                 struct err *e) {
    size_t input = o->input ? strlen(o->input) : 0, lock = o->lock ? strlen(o->lock) : 0;
    unsigned depth = 1;
    for (const struct job *p = job_find(js, parent); p != NULL; p = p->parent) {
        depth++;
    }
    if (job_known(js, o->definition->name) == NULL) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "there are no jobs \"%s\" here",
                       o->definition->name);
    }
    if (input > JOB_INPUT_MAX || lock > JOB_NAME_MAX || o->after_s > JOB_SECONDS_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL,
                       "a job's input has at most %d bytes, its lock %d, its delay %d s",
                       JOB_INPUT_MAX, JOB_NAME_MAX, JOB_SECONDS_MAX);
    }
    if (depth > JOB_DEPTH_MAX) {
        return err_set(e, ERR_LIMIT, NULL, "jobs make jobs %d deep at most", JOB_DEPTH_MAX);
    }
    if (js->n_live >= JOB_LIVE_MAX) {
        return err_set(e, ERR_LIMIT, NULL, "%d jobs have not ended yet; try again later",
                       JOB_LIVE_MAX);
    }
    return ERR_OK;
}

enum err_code job_make(struct jobs *js, struct txn *t, const struct job_order *o, uint64_t parent,
                       uint64_t *id, struct err *e) {
    const struct actor *who = txn_actor(t);
    const struct job *p = job_find(js, parent);
    struct buf n = BUF_INIT;
    ERR_TRY(check_order(js, o, parent, e));
    *id = js->last_id + 1;
    buf_u64(&n, *id);
    txn_put_state(t, JOB_ID_KEY, strlen(JOB_ID_KEY), n.data, n.len);
    buf_free(&n);
    struct job_record *r = MEM_NEW(struct job_record);
    r->id = *id;
    r->parent = parent;
    job_set_text(&r->definition, o->definition->name);
    job_set_text(&r->lock, o->lock);
    job_set_text(&r->input, o->input);
    job_set_text(&r->user, p != NULL ? p->r->user : who->user);
    job_set_text(&r->source, p != NULL ? p->r->source : who->source);
    job_set_text(&r->reason, NULL);
    job_set_text(&r->owner, NULL);
    job_set_text(&r->progress, NULL);
    job_set_text(&r->next, o->definition->steps[0].name);
    r->created_s = txn_now_s(t);
    r->state = JOB_STATE_WAITING;
    r->end = JOB_STATE_FAILED;
    if (o->after_s > 0) {
        r->due_s = r->created_s + (int64_t)o->after_s;
        r->wait_s = o->after_s;
    }
    job_save(js, t, r);
    job_kick(job_find(js, *id));
    return ERR_OK;
}

enum err_code job_start(struct txn *t, const struct job_order *o, uint64_t *id, struct err *e) {
    struct jobs *js = core_service_state(txn_core(t), "jobs");
    if (js == NULL) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "no jobs run here");
    }
    return job_make(js, t, o, 0, id, e);
}

static enum err_code find_root(struct txn *t, uint64_t id, const char *what, struct job **out,
                               struct err *e) {
    struct jobs *js = core_service_state(txn_core(t), "jobs");
    struct job *j = js != NULL ? job_find(js, id) : NULL;
    if (j == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no job %" PRIu64, id);
    }
    if (j->r->parent != 0) {
        return err_set(e, ERR_INVALID, NULL, "job %" PRIu64 " is part of job %" PRIu64 ": %s that",
                       id, j->r->parent, what);
    }
    *out = j;
    return ERR_OK;
}

enum err_code job_cancel(struct txn *t, uint64_t id, struct err *e) {
    struct job *j;
    ERR_TRY(find_root(t, id, "cancel", &j, e));
    if (job_is_over(j->r->state) || j->r->state == JOB_STATE_CANCELLING ||
        j->r->state == JOB_STATE_ROLLING_BACK) {
        return err_set(e, ERR_REFUSED, NULL, "job %" PRIu64 " is %s: there is nothing to cancel",
                       id, job_state_name(j->r->state));
    }
    struct walk w = walk_of(j->all, t, j);
    say(&w, "cancelled by %s", txn_actor(t)->user);
    if (w.r->begun) {
        w.r->state = JOB_STATE_CANCELLING;
        w.changed = true;
    } else {
        roll_back(&w, JOB_STATE_CANCELLED);
    }
    while (one(&w)) {
    }
    walk_end(&w);
    return ERR_OK;
}

/* Undoing goes on, here and in the children whose undoing failed. */
static void resume_undoing(struct jobs *js, struct txn *t, struct job *j) {
    struct walk w = walk_of(js, t, j);
    w.r->ended_s = 0;
    roll_back(&w, w.r->end);
    walk_end(&w);
    job_kick(j);
    LIST_FOREACH (l, &j->kids) {
        struct job *c = CONTAINER_OF(l, struct job, kin);
        if (c->r->state == JOB_STATE_FAILED && job_left_undone(c->r)) {
            resume_undoing(js, t, c);
        }
    }
}

enum err_code job_retry(struct txn *t, uint64_t id, struct err *e) {
    struct job *j;
    ERR_TRY(find_root(t, id, "retry", &j, e));
    struct jobs *js = j->all;
    const struct job_known *known = job_known(js, j->r->definition);
    if (j->r->state != JOB_STATE_FAILED) {
        return err_set(e, ERR_REFUSED, NULL, "job %" PRIu64 " is %s: only a failed one is retried",
                       id, job_state_name(j->r->state));
    }
    if (known == NULL) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "there are no jobs \"%s\" here", j->r->definition);
    }
    if (known->definition->no_retry != NULL) {
        return err_set(e, ERR_REFUSED, NULL, "job %" PRIu64 " can't be begun again: %s", id,
                       known->definition->no_retry);
    }
    if (js->n_live >= JOB_LIVE_MAX) {
        return err_set(e, ERR_LIMIT, NULL, "%d jobs have not ended yet; try again later",
                       JOB_LIVE_MAX);
    }
    if (job_left_undone(j->r)) {
        resume_undoing(js, t, j);
        return ERR_OK;
    }
    struct job_record *r = job_record_copy(j->r);
    for (size_t i = 0; i < r->n_did; i++) {
        mem_free(r->did[i].step);
        mem_free(r->did[i].result);
        mem_free(r->did[i].children);
    }
    r->n_did = 0;
    r->state = JOB_STATE_WAITING;
    r->ended_s = r->started_s = 0;
    r->attempt = r->resumes = r->percent = 0;
    job_set_text(&r->progress, NULL);
    job_set_text(&r->reason, NULL);
    job_set_text(&r->next, known->definition->steps[0].name);
    job_save(js, t, r);
    job_kick(j);
    return ERR_OK;
}
