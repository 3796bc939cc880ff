// SPDX-License-Identifier: Apache-2.0
/* The job engine as a service: its memory is the fold of its records, and what stands beside them
 * (timers, effects that run) is looked at anew whenever something may have changed. */
#include "core/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/internal.h"
#include "core/job_int.h"

LOGGER_MODULE(job);

enum {
    WORKER_THREADS = 8,
    WORKER_QUEUE = JOB_LIVE_MAX,
    PRUNE_EVERY_S = 3600,
    PRUNED_AT_ONCE = 64, /* roots; what ends is more than pruned by that */
    AGAIN_S = 1,         /* after the store did not take something */
    BLOCKED_S = 1,       /* until looking whether an overdue effect has come to an end */
};

/* ---- looking up -------------------------------------------------------------------------------
 */

struct job *job_find(const struct jobs *js, uint64_t id) {
    return map_get_n(&js->by_id, &id, sizeof id);
}

const struct job_known *job_known(const struct jobs *js, const char *definition) {
    return map_get(&js->known, definition);
}

bool job_is_over(enum job_state s) {
    return s == JOB_STATE_DONE || s == JOB_STATE_FAILED || s == JOB_STATE_CANCELLED;
}

bool job_left_undone(const struct job_record *r) {
    for (size_t i = 0; i < r->n_did; i++) {
        if (!r->did[i].undone) {
            return true;
        }
    }
    return false;
}

const char *job_state_name(enum job_state s) {
    static const char *const names[] = {"waiting",      "running", "backing-off", "cancelling",
                                        "rolling-back", "done",    "failed",      "cancelled"};
    return names[s];
}

int64_t job_mono(const struct jobs *js) {
    return clock_mono(core_clock(js->core));
}

/* ---- folding ----------------------------------------------------------------------------------
 */

static void lock_join(struct jobs *js, struct job *j) {
    const char *name = j->r->lock;
    if (name[0] == '\0' || job_is_over(j->r->state)) {
        return;
    }
    struct job_lock *l = map_get(&js->locks, name);
    if (l == NULL) {
        l = MEM_NEW(struct job_lock);
        list_init(&l->jobs);
        map_put(&js->locks, name, l);
    }
    struct list *after = l->jobs.prev; /* by id; nearly always at the end */
    while (after != &l->jobs && CONTAINER_OF(after, struct job, locked)->r->id > j->r->id) {
        after = after->prev;
    }
    list_prepend(after, &j->locked);
    j->lock = l;
    l->holder = j->r->holds ? j : l->holder;
}

static void lock_leave(struct jobs *js, struct job *j) {
    struct job_lock *l = j->lock;
    if (l == NULL) {
        return;
    }
    list_remove(&j->locked);
    l->holder = l->holder == j ? NULL : l->holder;
    if (list_empty(&l->jobs)) {
        mem_free(map_del(&js->locks, j->r->lock));
    }
    j->lock = NULL;
}

static void ended_join(struct jobs *js, struct job *j) {
    js->n_begun += j->r->begun;
    if (!job_is_over(j->r->state)) {
        js->n_live++;
        return;
    }
    js->n_ended++;
    if (j->r->parent != 0) {
        return; /* goes with its root */
    }
    struct list *after = js->ended.prev;
    while (after != &js->ended &&
           CONTAINER_OF(after, struct job, ended)->r->ended_s > j->r->ended_s) {
        after = after->prev;
    }
    list_prepend(after, &j->ended);
}

static void ended_leave(struct jobs *js, struct job *j) {
    js->n_begun -= j->r->begun;
    js->n_live -= !job_is_over(j->r->state);
    js->n_ended -= job_is_over(j->r->state);
    list_remove(&j->ended);
}

static void timer_fired(struct timer *t, void *arg) {
    (void)t;
    job_kick(arg);
}

static struct job *job_new(struct jobs *js, const struct job_record *r) {
    struct job *j = MEM_NEW(struct job);
    j->all = js;
    j->said_ns = -NS_PER_S;
    j->timer = (struct timer){.fire = timer_fired, .arg = j};
    list_init(&j->kids);
    list_init(&j->kin);
    list_init(&j->locked);
    list_init(&j->ended);
    j->parent = job_find(js, r->parent); /* has the lower id, so it was folded before */
    if (j->parent != NULL) {
        list_append(&j->parent->kids, &j->kin);
    }
    map_put_n(&js->by_id, &r->id, sizeof r->id, j);
    return j;
}

static void job_free(struct job *j) {
    job_drop_effect(j);
    timer_disarm(core_timers(j->all->core), &j->timer);
    LIST_FOREACH_SAFE (l, &j->kids) {
        CONTAINER_OF(l, struct job, kin)->parent = NULL;
        list_remove(l);
    }
    list_remove(&j->kin);
    job_record_free(j->r);
    mem_free(j);
}

/* `r` NULL: the record goes. */
static void fold_job(struct jobs *js, uint64_t id, struct job_record *r) {
    struct job *j = job_find(js, id);
    if (j == NULL && r == NULL) {
        return;
    }
    if (j == NULL) {
        j = job_new(js, r);
    } else {
        lock_leave(js, j);
        ended_leave(js, j);
    }
    if (r == NULL) {
        map_del_n(&js->by_id, &id, sizeof id);
        job_free(j);
        return;
    }
    job_record_free(j->r);
    j->r = r;
    lock_join(js, j);
    ended_join(js, j);
}

static bool is_key(const char *key, size_t len, const char *what) {
    return len == strlen(what) && memcmp(key, what, len) == 0;
}

/* The number in the key of a job; 0: it is none. */
static uint64_t id_of(const char *key, size_t len) {
    size_t skip = strlen(JOB_KEY);
    char digits[24] = "";
    if (len != skip + 20 || memcmp(key, JOB_KEY, skip) != 0) {
        return 0;
    }
    memcpy(digits, key + skip, 20);
    return strspn(digits, "0123456789") == 20 ? strtoull(digits, NULL, 10) : 0;
}

static bool state_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    struct jobs *js = self;
    if (is_key(key, key_len, JOB_ID_KEY)) {
        buf_u64(out, js->last_id);
        return js->last_id != 0;
    }
    const struct job *j = job_find(js, id_of(key, key_len));
    if (j != NULL) {
        job_record_encode(j->r, out);
    }
    return j != NULL;
}

static enum err_code state_fold(void *self, const char *key, size_t key_len, const void *value,
                                size_t len, struct err *e) {
    struct jobs *js = self;
    struct job_record *r = NULL;
    uint64_t id = id_of(key, key_len);
    if (is_key(key, key_len, JOB_ID_KEY)) {
        struct cur c = cur_of(value, len);
        js->last_id = value != NULL ? cur_u64(&c) : 0;
        return c.bad || cur_left(&c) > 0
                   ? err_set(e, ERR_INVALID, NULL, "is damaged: it is no number of 8 bytes")
                   : ERR_OK;
    }
    if (id == 0) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "is not a record of this version");
    }
    if (value != NULL) {
        ERR_TRY(job_record_decode(value, len, &r, e));
        if (r->id != id) {
            job_record_free(r);
            return err_set(e, ERR_INVALID, NULL, "is damaged: it says to be another job");
        }
    }
    fold_job(js, id, r);
    return ERR_OK;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

struct look_again {
    struct jobs *all;
    uint64_t id;
};

/* Durable or undone: either way what must happen now follows from the record. */
static void saved(void *arg, bool committed) {
    struct look_again *l = arg;
    struct job *j = job_find(l->all, l->id);
    if (j != NULL && !l->all->stopping) {
        if (committed) {
            if (j->r->state == JOB_STATE_CANCELLING) {
                job_stop_effect(j);
            }
            job_launch(j);
            job_arm(j, false);
        } else {
            timer_arm(core_timers(l->all->core), &j->timer, AGAIN_S * NS_PER_S);
        }
    }
    mem_free(l);
}

static void put(struct txn *t, uint64_t id, const struct buf *value) {
    char key[64];
    snprintf(key, sizeof key, JOB_KEY "%020" PRIu64, id);
    if (value != NULL) {
        txn_put_state(t, key, strlen(key), value->data, value->len);
    } else {
        txn_delete_state(t, key, strlen(key));
    }
}

void job_save(struct jobs *js, struct txn *t, struct job_record *r) {
    struct buf b = BUF_INIT;
    struct look_again *l = MEM_NEW(struct look_again);
    *l = (struct look_again){js, r->id};
    job_record_encode(r, &b);
    put(t, r->id, &b);
    buf_free(&b);
    job_record_free(r);
    txn_after(t, saved, l);
}

void job_event(struct txn *t, const char *name, const struct job_record *r) {
    struct jobs *js = core_service_state(txn_core(t), "jobs");
    struct buf b = BUF_INIT;
    job_summary_json(js, r, &b);
    txn_event(t, name, buf_cstr(&b));
    buf_free(&b);
}

/* ---- looking at a job -------------------------------------------------------------------------
 */

static enum err_code look_work(struct txn *t, void *arg, struct err *e) {
    struct look_again *l = arg;
    (void)e;
    if (!l->all->stopping) {
        job_advance(l->all, t, l->id);
    }
    return ERR_OK;
}

static void look_over(void *arg, uint64_t index, const struct err *e) {
    struct look_again *l = arg;
    struct job *j = job_find(l->all, l->id);
    (void)index;
    if (j != NULL) {
        j->queued = false;
        if (!l->all->stopping && e != NULL) {
            timer_arm(core_timers(l->all->core), &j->timer, AGAIN_S * NS_PER_S);
        }
    }
    mem_free(l);
}

void job_kick(struct job *j) {
    if (j->queued || j->all->stopping) {
        return;
    }
    struct look_again *l = MEM_NEW(struct look_again);
    *l = (struct look_again){j->all, j->r->id};
    j->queued = true; /* before: it may be refused at once */
    core_run(j->all->core, &actor_system, look_work, look_over, l);
}

/* What was recorded as a time of day becomes an interval once. */
int64_t job_due_ns(struct job *j) {
    if (j->due_of != j->r->due_s) {
        int64_t left = j->r->due_s - clock_wall_s(core_clock(j->all->core));
        left = left < 0 ? 0 : left > (int64_t)j->r->wait_s ? (int64_t)j->r->wait_s : left;
        j->due_of = j->r->due_s;
        j->due_ns = job_mono(j->all) + left * NS_PER_S;
    }
    return j->r->due_s == 0 ? 0 : j->due_ns;
}

static bool waits_for_time(const struct job *j) {
    return !job_is_over(j->r->state) && !j->r->begun && j->r->due_s != 0;
}

bool job_blocked(const struct job *j) {
    return j->effect != NULL && !atomic_load(&j->effect->returned);
}

void job_arm(struct job *j, bool looked) {
    int64_t now = job_mono(j->all), at = INT64_MAX;
    if (job_is_over(j->r->state)) {
        at = INT64_MAX;
    } else if (!j->r->begun && job_blocked(j)) {
        at = now + BLOCKED_S * NS_PER_S;
    } else if (waits_for_time(j) && !(looked && job_due_ns(j) <= now)) {
        at = job_due_ns(j);
    } else if (j->r->begun && j->launched_epoch == j->r->epoch) {
        at = j->deadline_ns;
    }
    pthread_mutex_lock(&j->all->lock);
    bool said = j->effect != NULL && j->effect->said && j->r->begun &&
                j->effect->token.epoch == j->r->epoch;
    pthread_mutex_unlock(&j->all->lock);
    int64_t say = j->said_ns + NS_PER_S;
    at = said && say < at ? say : at;
    if (at == INT64_MAX) {
        timer_disarm(core_timers(j->all->core), &j->timer);
    } else {
        timer_arm(core_timers(j->all->core), &j->timer, at > now ? at - now : 0);
    }
}

/* ---- retention --------------------------------------------------------------------------------
 */

static void drop(struct txn *t, struct job *j) {
    LIST_FOREACH_SAFE (l, &j->kids) {
        drop(t, CONTAINER_OF(l, struct job, kin));
    }
    put(t, j->r->id, NULL);
}

void job_prune(struct jobs *js, struct txn *t) {
    int64_t again_s = PRUNE_EVERY_S;
    for (unsigned i = 0; !list_empty(&js->ended); i++) {
        struct job *oldest = CONTAINER_OF(js->ended.next, struct job, ended);
        if (js->n_ended <= JOB_KEPT_MAX && txn_now_s(t) - oldest->r->ended_s < JOB_KEPT_S) {
            break;
        }
        if (i == PRUNED_AT_ONCE) {
            again_s = AGAIN_S;
            break;
        }
        drop(t, oldest);
    }
    if (!js->stopping && (again_s == AGAIN_S || !timer_armed(&js->prune_timer))) {
        timer_arm(core_timers(js->core), &js->prune_timer, again_s * NS_PER_S);
    }
}

static enum err_code prune_work(struct txn *t, void *arg, struct err *e) {
    job_prune(arg, t);
    return ERR_OK;
}

static void prune_fire(struct timer *timer, void *arg) {
    struct jobs *js = arg;
    core_run(js->core, &actor_system, prune_work, NULL, js);
}

/* ---- the service ------------------------------------------------------------------------------
 */

static void answer_fire(struct timer *t, void *arg) {
    job_answers_watch(arg);
}

static void *create(struct core *c) {
    struct jobs *js = MEM_NEW(struct jobs);
    js->core = c;
    list_init(&js->ended);
    list_init(&js->answers);
    pthread_mutex_init(&js->lock, NULL);
    js->prune_timer = (struct timer){.fire = prune_fire, .arg = js};
    js->answer_timer = (struct timer){.fire = answer_fire, .arg = js};
    return js;
}

static void destroy(void *self) {
    struct jobs *js = self;
    MAP_FOREACH (m, &js->by_id) {
        struct job *j = m->value;
        lock_leave(js, j);
        list_remove(&j->ended);
        job_free(j);
    }
    map_free(&js->by_id, NULL);
    map_free(&js->locks, mem_free);
    map_free(&js->known, mem_free);
    job_answers_free(js);
    pthread_mutex_destroy(&js->lock);
    mem_free(js);
}

/* Everybody's definitions are there when the writer comes to this: services start before. */
static enum err_code start(void *self, struct err *e) {
    struct jobs *js = self;
    (void)e;
    if (js->core->options.threaded) {
        js->workers = workers_new("job", WORKER_THREADS, WORKER_QUEUE);
    }
    if (!list_empty(&js->ended)) {
        timer_arm(core_timers(js->core), &js->prune_timer, AGAIN_S * NS_PER_S);
    }
    size_t n;
    struct job **all = job_sorted(js, &n);
    while (n-- > 0) { /* the oldest goes on first */
        if (!job_is_over(all[n]->r->state)) {
            timer_arm(core_timers(js->core), &all[n]->timer, 0);
        }
    }
    mem_free(all);
    return ERR_OK;
}

/* What runs is told and waited for; its result is recorded, but nothing more is begun. */
static void stop(void *self) {
    struct jobs *js = self;
    js->stopping = true;
    MAP_FOREACH (m, &js->by_id) {
        job_stop_effect(m->value);
    }
    workers_free(js->workers);
    js->workers = NULL;
    timer_disarm(core_timers(js->core), &js->prune_timer);
    timer_disarm(core_timers(js->core), &js->answer_timer);
}

static void config(void *self, const struct object *old, const struct object *new_) {
    (void)self; /* nothing is configured */
    (void)old;
    (void)new_;
}

static void check_name(const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > JOB_NAME_MAX) {
        L_ERR("the name of a job's definition or step is missing or too long");
        abort();
    }
}

void job_register(struct core *c, const struct job_definition *d, void *arg) {
    struct jobs *js = core_service_state(c, "jobs");
    if (js == NULL) {
        return;
    }
    check_name(d->name);
    bool ok = d->n_steps > 0 && d->n_steps <= JOB_STEPS_MAX && job_known(js, d->name) == NULL;
    for (size_t i = 0; i < d->n_steps; i++) {
        const struct job_step *s = &d->steps[i];
        check_name(s->name);
        ok = ok && s->run != NULL && s->deadline_s >= 1 && s->deadline_s <= JOB_SECONDS_MAX &&
             s->attempts >= 1 && s->backoff_s <= JOB_SECONDS_MAX &&
             s->backoff_max_s <= JOB_SECONDS_MAX;
        for (size_t k = 0; k < i; k++) {
            ok = ok && strcmp(d->steps[k].name, s->name) != 0;
        }
    }
    if (!ok) {
        L_ERR("the definition of job \"%s\" is wrong", d->name);
        abort();
    }
    struct job_known *known = MEM_NEW(struct job_known);
    *known = (struct job_known){d, arg};
    map_put(&js->known, d->name, known);
}

bool job_lives(struct core *c, uint64_t id) {
    const struct jobs *js = core_service_state(c, "jobs");
    const struct job *j = js != NULL ? job_find(js, id) : NULL;
    return j != NULL && !job_is_over(j->r->state);
}

size_t jobs_live(struct core *c) {
    const struct jobs *js = core_service_state(c, "jobs");
    return js != NULL ? js->n_live : 0;
}

const struct service job_service = {
    .name = "jobs",
    .state_prefix = JOB_PREFIX,
    .module = "weft-job",
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .config = config,
    .state_encode = state_encode,
    .state_fold = state_fold,
    .call = job_call,
    .provides = "/weft-job:jobs",
    .live = true,
    .look = job_look,
    .values = job_values,
    .metrics = job_metrics,
};
