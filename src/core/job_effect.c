// SPDX-License-Identifier: Apache-2.0
/* Effects: what runs outside the writer, what it may ask, and how its result comes back. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/job_int.h"

enum { AGAIN_S = 1 }; /* until an answer that the store did not take is brought again */

/* ---- life --------------------------------------------------------------------------------------
 */

void job_release(struct job_effect *x) {
    if (x == NULL || atomic_fetch_sub(&x->refs, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < x->n_children; i++) {
        mem_free(x->children[i].input);
    }
    mem_free(x->children);
    mem_free(x->result);
    mem_free(x->next);
    mem_free(x->progress);
    job_record_free(x->r);
    mem_free(x);
}

static void hold(struct job_effect *x) {
    atomic_fetch_add(&x->refs, 1);
}

void job_stop_effect(struct job *j) {
    if (j->effect != NULL) {
        atomic_store(&j->effect->stop, true);
    }
}

void job_drop_effect(struct job *j) {
    job_stop_effect(j);
    job_release(j->effect);
    j->effect = NULL;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void answer_free(struct job_answer *a) {
    job_release(a->effect);
    mem_free(a->result);
    mem_free(a);
}

void job_answers_free(struct jobs *js) {
    LIST_FOREACH_SAFE (l, &js->answers) {
        list_remove(l);
        answer_free(CONTAINER_OF(l, struct job_answer, link));
    }
}

static enum err_code answer_work(struct txn *t, void *arg, struct err *e) {
    struct job_answer *a = arg;
    (void)e;
    job_result_came(a->all, t, a);
    return ERR_OK;
}

/* On the writer, or, when its queue is full, on the thread that has the answer. */
static void answer_over(void *arg, uint64_t index, const struct err *e) {
    struct job_answer *a = arg;
    struct jobs *js = a->all;
    (void)index;
    pthread_mutex_lock(&js->lock);
    a->queued = false; /* on failure the timer takes it up again */
    if (e == NULL) {
        list_remove(&a->link);
    }
    pthread_mutex_unlock(&js->lock);
    if (e == NULL) {
        struct job *j = job_find(js, a->token.id);
        if (j != NULL && a->effect != NULL && j->effect == a->effect) {
            job_release(j->effect);
            j->effect = NULL;
        }
        answer_free(a);
    }
}

static void drain(struct jobs *js) {
    for (;;) {
        struct job_answer *next = NULL;
        pthread_mutex_lock(&js->lock);
        LIST_FOREACH (l, &js->answers) {
            struct job_answer *a = CONTAINER_OF(l, struct job_answer, link);
            if (!a->queued) {
                a->queued = true;
                next = a;
                break;
            }
        }
        pthread_mutex_unlock(&js->lock);
        if (next == NULL) {
            return;
        }
        struct core_stats st;
        core_stats(js->core, &st);
        if (st.queue_depth >= CORE_QUEUE_MAX) { /* it would come back at once, for ever */
            pthread_mutex_lock(&js->lock);
            next->queued = false;
            pthread_mutex_unlock(&js->lock);
            return;
        }
        core_run(js->core, &actor_system, answer_work, answer_over, next);
    }
}

void job_answers_watch(struct jobs *js) {
    drain(js);
    pthread_mutex_lock(&js->lock);
    bool none = list_empty(&js->answers);
    pthread_mutex_unlock(&js->lock);
    if ((!none || js->n_begun > 0) && !js->stopping) {
        timer_arm(core_timers(js->core), &js->answer_timer, AGAIN_S * NS_PER_S);
    }
}

static void post(struct jobs *js, const struct job_token *token, struct job_effect *x,
                 const char *result, const struct err *why) {
    struct job_answer *a = MEM_NEW(struct job_answer);
    *a = (struct job_answer){.all = js, .token = *token, .effect = x, .queued = true};
    a->result = result != NULL ? mem_strdup(result) : NULL;
    if (x != NULL) {
        hold(x);
    }
    if (why != NULL) {
        a->err.path[0] = '\0';
        text_linef(a->err.text, sizeof a->err.text, "%s%s%s", why->path,
                   why->path[0] != '\0' ? ": " : "", why->text);
        a->err.code = why->code != ERR_OK ? why->code : ERR_INTERNAL;
    }
    pthread_mutex_lock(&js->lock);
    list_append(&js->answers, &a->link);
    pthread_mutex_unlock(&js->lock);
    core_run(js->core, &actor_system, answer_work, answer_over, a);
}

void job_step_ended(struct job_effect *x, const struct err *why) {
    atomic_store(&x->returned, true);
    post(x->all, &x->token, x, NULL, why);
}

void job_step_done(struct core *c, const struct job_token *token, const char *result,
                   const struct err *why) {
    struct jobs *js = core_service_state(c, "jobs");
    if (js != NULL) {
        post(js, token, NULL, result, why);
    }
}

/* ---- running -----------------------------------------------------------------------------------
 */

static void effect_main(void *arg) {
    struct job_effect *x = arg;
    struct err e = {.code = ERR_OK};
    atomic_store(&x->running, true);
    enum err_code rc = (x->undo ? x->step->undo : x->step->run)(x, &e);
    atomic_store(&x->returned, true);
    if (rc != ERR_OK && atomic_load(&x->all->stopping)) {
        /* Perhaps for that reason: the attempt is begun again at the next start. */
    } else if (rc != ERR_OK) {
        e.code = rc;
        post(x->all, &x->token, x, NULL, &e);
    } else if (!atomic_load(&x->later)) {
        post(x->all, &x->token, x, NULL, NULL);
    }
    job_release(x);
}

/* The last step begun and not undone is the one that runs, forward or back. */
static const struct job_did *at_hand(const struct job_record *r) {
    size_t i = r->n_did;
    while (i > 0 && r->did[i - 1].undone) {
        i--;
    }
    return i > 0 ? &r->did[i - 1] : NULL;
}

void job_launch(struct job *j) {
    struct jobs *js = j->all;
    const struct job_did *d = at_hand(j->r);
    const struct job_known *known = job_known(js, j->r->definition);
    if (!j->r->begun || j->live_epoch != j->r->epoch || j->launched_epoch == j->r->epoch ||
        d == NULL || known == NULL) {
        return;
    }
    const struct job_step *steps = known->definition->steps;
    size_t i = 0;
    while (i < known->definition->n_steps && strcmp(steps[i].name, d->step) != 0) {
        i++;
    }
    if (i == known->definition->n_steps) {
        return; /* can't be: it was looked up when it was begun */
    }
    struct job_effect *x = MEM_NEW(struct job_effect);
    *x = (struct job_effect){.refs = 2,
                             .all = js,
                             .core = js->core,
                             .token = {j->r->id, (uint32_t)i, j->r->epoch},
                             .step = &steps[i],
                             .arg = known->arg,
                             .undo = j->r->state == JOB_STATE_ROLLING_BACK,
                             .r = job_record_copy(j->r),
                             .stop = j->r->state == JOB_STATE_CANCELLING};
    job_drop_effect(j);
    j->effect = x;
    j->launched_epoch = j->r->epoch;
    j->deadline_ns = job_mono(js) + steps[i].deadline_s * NS_PER_S;
    if (!timer_armed(&js->answer_timer)) {
        timer_arm(core_timers(js->core), &js->answer_timer, AGAIN_S * NS_PER_S);
    }
    if (js->workers == NULL) {
        effect_main(x);
    } else if (!workers_run(js->workers, effect_main, x)) {
        struct err e;
        err_set(&e, ERR_UNAVAILABLE, NULL, "no thread could be made for it");
        atomic_store(&x->returned, true);
        post(js, &x->token, x, NULL, &e);
        job_release(x);
    }
}

/* ---- what steps may ask ------------------------------------------------------------------------
 */

const struct job_token *job_token(const struct job_effect *x) {
    return &x->token;
}

void *job_arg(const struct job_effect *x) {
    return x->arg;
}

struct core *job_core(const struct job_effect *x) {
    return x->core;
}

const char *job_input(const struct job_effect *x) {
    return x->r->input;
}

static const char *result_of(const struct job_record *r, const char *step) {
    for (size_t i = r->n_did; i-- > 0;) {
        const struct job_did *d = &r->did[i];
        if (d->done && !d->undone && strcmp(d->step, step) == 0) {
            return d->result;
        }
    }
    return NULL;
}

const char *job_result(const struct job_effect *x, const char *step) {
    return result_of(x->r, step);
}

void job_each_child(const struct job_effect *x, const char *step,
                    void (*fn)(void *arg, uint64_t id, const char *result), void *arg) {
    for (size_t i = 0; i < x->r->n_did; i++) {
        const struct job_did *d = &x->r->did[i];
        for (size_t k = 0; k < d->n_children; k++) {
            const struct job *c = job_find(x->all, d->children[k]);
            fn(arg, d->children[k], c != NULL ? result_of(c->r, step) : NULL);
        }
    }
}

uint32_t job_attempt(const struct job_effect *x) {
    return x->r->attempt;
}

bool job_told_to_stop(const struct job_effect *x) {
    return atomic_load(&x->stop);
}

void job_set_result(struct job_effect *x, const char *text) {
    job_set_text(&x->result, text);
}

void job_set_next(struct job_effect *x, const char *step) {
    job_set_text(&x->next, step);
}

void job_add_child(struct job_effect *x, const struct job_definition *d, const char *input) {
    x->children = mem_array(x->children, x->n_children + 1, sizeof *x->children);
    x->children[x->n_children++] =
        (struct job_child){.definition = d, .input = mem_strdup(input ? input : "")};
}

struct job_effect *job_later(struct job_effect *x) {
    atomic_store(&x->later, true);
    hold(x);
    return x;
}

/* ---- progress ----------------------------------------------------------------------------------
 */

struct said {
    struct jobs *all;
    uint64_t id;
};

static enum err_code said_work(struct txn *t, void *arg, struct err *e) {
    struct said *s = arg;
    struct job *j = job_find(s->all, s->id);
    (void)t;
    (void)e;
    if (j != NULL && !s->all->stopping) {
        job_arm(j, true); /* which fires when a second has passed since the last record */
    }
    return ERR_OK;
}

static void said_over(void *arg, uint64_t index, const struct err *e) {
    (void)index;
    (void)e; /* the next one will be told */
    mem_free(arg);
}

void job_progress(struct job_effect *x, unsigned percent, const char *text) {
    char line[JOB_TEXT_MAX + 1];
    text_line(line, sizeof line, text ? text : "");
    pthread_mutex_lock(&x->all->lock);
    bool first = !x->said;
    x->said = true;
    x->percent = percent > 100 ? 100 : percent;
    job_set_text(&x->progress, line);
    pthread_mutex_unlock(&x->all->lock);
    if (first) {
        struct said *s = MEM_NEW(struct said);
        *s = (struct said){x->all, x->token.id};
        core_run_look(x->core, &actor_system, said_work, said_over, s);
    }
}

static bool take_words(struct job_effect *x, struct job_record *r) {
    pthread_mutex_lock(&x->all->lock);
    bool said = x->said;
    x->said = false;
    if (said) {
        r->percent = x->percent;
        job_set_text(&r->progress, x->progress);
    }
    pthread_mutex_unlock(&x->all->lock);
    return said;
}

bool job_take_progress(struct job *j, struct job_record *r) {
    struct job_effect *x = j->effect;
    int64_t now = job_mono(j->all);
    if (x == NULL || x->token.epoch != r->epoch || !r->begun || now - j->said_ns < NS_PER_S ||
        !take_words(x, r)) {
        return false;
    }
    j->said_ns = now;
    return true;
}

void job_last_words(struct job_effect *x, struct job_record *r) {
    if (x != NULL) {
        take_words(x, r);
    }
}
