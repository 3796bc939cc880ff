// SPDX-License-Identifier: Apache-2.0
/* What waits and how far each target is: folded from the log. On the writer. */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "forward/internal.h"

LOGGER_MODULE(forward);

#define EVENT_PREFIX  "forward/event/"
#define TARGET_PREFIX "forward/target/"
enum { KEY_MAX = 128, RECORD_VERSION = 1, TRIM_MAX = 1000 };

/* ---- the list of what waits; locked ---------------------------------------------------------- */

void waiting_release(struct waiting *w) {
    if (--w->refs == 0) {
        mem_free(w->name);
        mem_free(w->json);
        mem_free(w);
    }
}

size_t forward_first_after(const struct forward *f, uint64_t id) {
    size_t from = 0, to = f->n_events;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (f->events[middle]->id <= id) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void list_put(struct forward *f, struct waiting *w) {
    if (f->n_events == f->cap_events) {
        f->cap_events = f->cap_events ? f->cap_events * 2 : 64;
        f->events = mem_array(f->events, f->cap_events, sizeof(struct waiting *));
    }
    size_t at = forward_first_after(f, w->id);
    memmove(f->events + at + 1, f->events + at, (f->n_events - at) * sizeof(struct waiting *));
    f->events[at] = w;
    f->n_events++;
    f->last = w->id > f->last ? w->id : f->last;
}

static struct waiting *list_find(const struct forward *f, uint64_t id, size_t *at) {
    *at = id > 0 ? forward_first_after(f, id - 1) : 0;
    return *at < f->n_events && f->events[*at]->id == id ? f->events[*at] : NULL;
}

static void list_remove_at(struct forward *f, size_t at) {
    waiting_release(f->events[at]);
    f->n_events--;
    memmove(f->events + at, f->events + at + 1, (f->n_events - at) * sizeof(struct waiting *));
}

struct receiver *forward_find(struct forward *f, const char *name) {
    for (size_t i = 0; i < f->n_targets; i++) {
        if (strcmp(f->targets[i]->name, name) == 0) {
            return f->targets[i];
        }
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void *create(struct core *c) {
    struct forward *f = MEM_NEW(struct forward);
    pthread_condattr_t monotonic;
    f->core = c;
    f->started_s = clock_wall_s(core_clock(c));
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (gethostname(f->controller, sizeof f->controller - 1) != 0 || f->controller[0] == '\0') {
        snprintf(f->controller, sizeof f->controller, "weft");
    }
    curl_global_init(CURL_GLOBAL_DEFAULT); /* before there are threads that use it */
    return f;
}

static void target_free(struct receiver *t) {
    courier_join(t);
    object_release((struct object *)(uintptr_t)t->config);
    mem_free(t->name);
    mem_free(t);
}

/* Those whose courier has ended, or all. Unlocked. */
static void bury(struct forward *f, bool all) {
    size_t kept = 0;
    for (size_t i = 0; i < f->n_past; i++) {
        pthread_mutex_lock(&f->lock);
        bool ended = f->past[i]->ended || !f->past[i]->running;
        pthread_mutex_unlock(&f->lock);
        if (ended || all) {
            target_free(f->past[i]);
        } else {
            f->past[kept++] = f->past[i];
        }
    }
    f->n_past = kept;
}

static void destroy(void *self) {
    struct forward *f = self;
    for (size_t i = 0; i < f->n_targets; i++) {
        target_free(f->targets[i]);
    }
    bury(f, true);
    while (f->n_events > 0) {
        list_remove_at(f, f->n_events - 1);
    }
    while (f->n_beside > 0) {
        waiting_release(f->beside[--f->n_beside]);
    }
    mem_free(f->events);
    mem_free(f->past);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

void forward_trim_beside(struct forward *f) {
    size_t n = 0;
    uint64_t all = f->last_beside;
    for (size_t i = 0; i < f->n_targets; i++) {
        all = f->targets[i]->beside < all ? f->targets[i]->beside : all;
    }
    while (n < f->n_beside && f->beside[n]->id <= all) {
        waiting_release(f->beside[n++]);
    }
    f->n_beside -= n;
    memmove(f->beside, f->beside + n, f->n_beside * sizeof f->beside[0]);
}

/* What is told beside the log has no record: it waits in memory alone. */
static void unstored(const struct event *ev, void *arg) {
    struct forward *f = arg;
    if (!ev->unstored) {
        return;
    }
    pthread_mutex_lock(&f->lock);
    forward_trim_beside(f);
    if (f->n_targets > 0 && f->n_beside < FORWARD_BESIDE_KEPT) {
        struct waiting *w = MEM_NEW(struct waiting);
        *w = (struct waiting){.refs = 1,
                              .id = ++f->last_beside,
                              .index = ev->index,
                              .time_s = ev->time_s,
                              .name = mem_strdup(ev->name),
                              .json = mem_strdup(ev->json)};
        f->beside[f->n_beside++] = w;
        pthread_cond_broadcast(&f->wake);
    }
    pthread_mutex_unlock(&f->lock);
}

static enum err_code start(void *self, struct err *e) {
    struct forward *f = self;
    f->started = true;
    for (size_t i = 0; i < f->n_events; i++) {
        f->events[i]->ready = true;
    }
    for (size_t i = 0; i < f->n_targets; i++) {
        courier_start(f->targets[i]);
    }
    f->subscription = core_subscribe(f->core, 0, unstored, f);
    return ERR_OK;
}

static void stop(void *self) {
    struct forward *f = self;
    if (f->subscription != 0) {
        core_unsubscribe(f->core, f->subscription);
    }
    for (size_t i = 0; i < f->n_targets; i++) {
        courier_join(f->targets[i]);
    }
    bury(f, true);
}

/* ---- configuration --------------------------------------------------------------------------- */

static enum err_code lacks(struct err *e, const struct object *o, const char *what) {
    char *path = mem_printf("%s/%s", o->doc->path, what);
    enum err_code rc = err_set(e, ERR_INVALID, path, "a target of this type needs it");
    mem_free(path);
    return rc;
}

static enum err_code check_snmp(const struct object *o, const struct forward_target_snmp *c,
                                struct err *e) {
    if (c->host == NULL) {
        return lacks(e, o, "snmp/host");
    }
    if (c->version == FORWARD_TARGET_SNMP_VERSION_V2C) {
        return c->community == NULL ? lacks(e, o, "snmp/community") : ERR_OK;
    }
    if (c->user == NULL) {
        return lacks(e, o, "snmp/user");
    }
    if (c->priv_password != NULL && c->auth_password == NULL) {
        return err_set(e, ERR_INVALID, o->doc->path,
                       "snmp/priv-password needs snmp/auth-password: nothing is encrypted for "
                       "somebody who is not known");
    }
    return !c->inform && c->engine_id == NULL ? lacks(e, o, "snmp/engine-id") : ERR_OK;
}

static enum err_code check_target(const struct object *o, struct err *e) {
    const struct forward_target *t = o->doc->data;
    if (t->type == FORWARD_TARGET_TYPE_SNMP) {
        return check_snmp(o, &t->snmp, e);
    }
    if (t->type == FORWARD_TARGET_TYPE_SYSLOG) {
        return t->syslog.host == NULL ? lacks(e, o, "syslog/host") : ERR_OK;
    }
    if (t->webhook.url == NULL) {
        return lacks(e, o, "webhook/url");
    }
    if (strncmp(t->webhook.url, "https://", 8) != 0 && !t->webhook.clear_text) {
        char *path = mem_printf("%s/webhook/url", o->doc->path);
        err_set(e, ERR_INVALID, path,
                "everybody on the way could read the events; set webhook clear-text true if that "
                "is meant, or use https://");
        mem_free(path);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err_code check(void *self, struct txn *t, struct err *e) {
    struct forward *f = self;
    size_t n = 0;
    bool mine = false;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (op.new_ != NULL && op.new_->doc->kind == &forward_target_kind) {
            ERR_TRY(check_target(op.new_, e));
            mine = true;
        }
    }
    const struct snap *s = txn_snap(t);
    for (const struct object *o = mine ? snap_first_of(s, &forward_target_kind) : NULL;
         o != NULL && o->doc->kind == &forward_target_kind; o = snap_next(s, o)) {
        n++;
    }
    (void)f;
    return n > FORWARD_TARGETS_MAX
               ? err_set(e, ERR_LIMIT, "/weft-forward:event-forwarding/target",
                         "there may be %d targets of events at most", (int)FORWARD_TARGETS_MAX)
               : ERR_OK;
}

static void target_new(struct forward *f, const struct object *o) {
    const struct forward_target *c = o->doc->data;
    struct receiver *t = MEM_NEW(struct receiver);
    t->forward = f;
    t->name = mem_strdup(c->name);
    t->config = object_hold(o);
    t->generation = 1;
    t->now.done = t->stored.done = f->last; /* until its record says otherwise */
    pthread_mutex_lock(&f->lock);
    t->beside = f->last_beside;
    f->targets[f->n_targets++] = t;
    pthread_mutex_unlock(&f->lock);
    if (f->started) {
        courier_start(t);
    }
}

static void target_gone(struct forward *f, struct receiver *t) {
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_targets; i++) {
        if (f->targets[i] == t) {
            f->targets[i] = f->targets[--f->n_targets];
            break;
        }
    }
    t->gone = true;
    atomic_store(&t->stop, true);
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    if (f->n_past == f->cap_past) {
        f->cap_past = f->cap_past ? f->cap_past * 2 : 4;
        f->past = mem_array(f->past, f->cap_past, sizeof(struct receiver *));
    }
    f->past[f->n_past++] = t;
}

static void config(void *self, const struct object *old, const struct object *new_) {
    struct forward *f = self;
    if ((new_ != NULL ? new_ : old)->doc->kind != &forward_target_kind) {
        return;
    }
    bury(f, false);
    const struct forward_target *c = (new_ != NULL ? new_ : old)->doc->data;
    struct receiver *t = forward_find(f, c->name);
    if (new_ == NULL) {
        target_gone(f, t);
    } else if (t == NULL) {
        target_new(f, new_);
    } else {
        pthread_mutex_lock(&f->lock);
        object_release((struct object *)(uintptr_t)t->config);
        t->config = object_hold(new_);
        t->generation++; /* tried at once */
        pthread_cond_broadcast(&f->wake);
        pthread_mutex_unlock(&f->lock);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static size_t event_key(uint64_t id, char out[KEY_MAX]) {
    return (size_t)snprintf(out, KEY_MAX, EVENT_PREFIX "%020" PRIu64, id);
}

static size_t target_key(const char *name, char out[KEY_MAX]) {
    return (size_t)snprintf(out, KEY_MAX, TARGET_PREFIX "%s", name);
}

static void put_json(struct txn *t, const char *key, size_t n, json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT);
    txn_put_state(t, key, n, text, strlen(text));
    free(text); /* jansson's */
    json_decref(o);
}

static json_t *event_json(const struct waiting *w) {
    return json_pack("{s:i, s:I, s:I, s:s, s:s}", "v", RECORD_VERSION, "time",
                     (json_int_t)w->time_s, "index", (json_int_t)w->index, "name", w->name, "data",
                     w->json);
}

static json_t *position_json(const struct position *p) {
    return json_pack("{s:i, s:I, s:I, s:[I, I, I]}", "v", RECORD_VERSION, "done",
                     (json_int_t)p->done, "previous", (json_int_t)p->previous, "gap",
                     (json_int_t)p->gap.lost, (json_int_t)p->gap.first, (json_int_t)p->gap.last);
}

static bool encode(json_t *o, struct buf *out) {
    char *text = json_dumps(o, JSON_COMPACT);
    buf_str(out, text);
    free(text);
    json_decref(o);
    return true;
}

static bool state_encode(void *self, const char *key, size_t n, struct buf *out) {
    struct forward *f = self;
    char text[KEY_MAX];
    size_t at;
    snprintf(text, sizeof text, "%.*s", (int)n, key);
    pthread_mutex_lock(&f->lock);
    json_t *o = NULL;
    if (strncmp(text, EVENT_PREFIX, strlen(EVENT_PREFIX)) == 0) {
        const struct waiting *w =
            list_find(f, strtoull(text + strlen(EVENT_PREFIX), NULL, 10), &at);
        o = w != NULL ? event_json(w) : NULL;
    } else if (strncmp(text, TARGET_PREFIX, strlen(TARGET_PREFIX)) == 0) {
        const struct receiver *t = forward_find(f, text + strlen(TARGET_PREFIX));
        o = t != NULL && t->has_record ? position_json(&t->stored) : NULL;
    }
    pthread_mutex_unlock(&f->lock);
    return o != NULL && encode(o, out);
}

static enum err_code fold_event(struct forward *f, uint64_t id, const json_t *o, struct err *e) {
    json_int_t time_s, index;
    const char *name, *data;
    size_t at;
    if (o == NULL) {
        if (list_find(f, id, &at) != NULL) {
            list_remove_at(f, at);
        }
        if (f->last == id && (f->n_events == 0 || f->events[f->n_events - 1]->id < id)) {
            f->last = id - 1; /* taken back: nobody has seen it */
        }
        return ERR_OK;
    }
    if (json_unpack((json_t *)(uintptr_t)o, "{s:I, s:I, s:s, s:s}", "time", &time_s, "index",
                    &index, "name", &name, "data", &data) != 0) {
        return err_set(e, ERR_INVALID, NULL, "no event of this version");
    }
    struct waiting *w = MEM_NEW(struct waiting);
    *w = (struct waiting){.refs = 1,
                          .id = id,
                          .index = (uint64_t)index,
                          .time_s = time_s,
                          .name = mem_strdup(name),
                          .json = mem_strdup(data)};
    list_put(f, w);
    return ERR_OK;
}

/* The record of a target that is not configured (any more) says nothing. */
static enum err_code fold_position(struct forward *f, const char *name, const json_t *o,
                                   struct err *e) {
    struct receiver *t = forward_find(f, name);
    json_int_t done = 0, previous = 0, lost = 0, first = 0, last = 0;
    if (o != NULL && json_unpack((json_t *)(uintptr_t)o, "{s:I, s:I, s:[I, I, I]}", "done", &done,
                                 "previous", &previous, "gap", &lost, &first, &last) != 0) {
        return err_set(e, ERR_INVALID, NULL, "no position of this version");
    }
    if (t == NULL) {
        return ERR_OK;
    }
    struct position p = {
        (uint64_t)done, (uint64_t)previous, {(uint64_t)lost, (uint64_t)first, (uint64_t)last}};
    if (o == NULL) {
        t->has_record = false;
        return ERR_OK;
    }
    if (!t->has_record || !f->started) {
        t->now =
            p; /* on a node that follows, what the one that leads has recorded is all there is */
    } else if (p.gap.lost > t->stored.gap.lost) {
        t->now.done = p.done > t->now.done ? p.done : t->now.done;
        t->now.gap = p.gap;
        t->lost += p.gap.lost - t->stored.gap.lost;
    } else if (p.gap.lost < t->stored.gap.lost && !t->gap_told) { /* taken back */
        t->now.done = p.done;
        t->now.gap = p.gap;
        t->lost -= t->stored.gap.lost - p.gap.lost;
    }
    t->has_record = true;
    t->stored = p;
    return ERR_OK;
}

static enum err_code state_fold(void *self, const char *key, size_t n, const void *value,
                                size_t len, struct err *e) {
    struct forward *f = self;
    char text[KEY_MAX];
    snprintf(text, sizeof text, "%.*s", (int)n, key);
    json_t *o = value != NULL ? json_loadb(value, len, 0, NULL) : NULL;
    if (value != NULL && json_integer_value(json_object_get(o, "v")) != RECORD_VERSION) {
        json_decref(o);
        return err_set(e, ERR_INVALID, NULL, "not of a version that is known here");
    }
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&f->lock);
    if (strncmp(text, EVENT_PREFIX, strlen(EVENT_PREFIX)) == 0) {
        rc = fold_event(f, strtoull(text + strlen(EVENT_PREFIX), NULL, 10), o, e);
    } else if (strncmp(text, TARGET_PREFIX, strlen(TARGET_PREFIX)) == 0) {
        rc = fold_position(f, text + strlen(TARGET_PREFIX), o, e);
    }
    pthread_mutex_unlock(&f->lock);
    json_decref(o);
    return rc;
}

/* ---- what goes into the log with its cause ----------------------------------------------------
 */

struct sealed { /* the events of one piece of work */
    struct forward *forward;
    uint64_t first, last;
};

static void sealed_after(void *arg, bool committed) {
    struct sealed *s = arg;
    struct forward *f = s->forward;
    pthread_mutex_lock(&f->lock);
    for (size_t i = forward_first_after(f, s->first - 1);
         committed && i < f->n_events && f->events[i]->id <= s->last; i++) {
        f->events[i]->ready = true;
    }
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    mem_free(s);
}

static void delete_event(struct txn *t, const struct waiting *w) {
    char key[KEY_MAX];
    txn_delete_state(t, key, event_key(w->id, key));
}

/* Too many wait: the oldest go, and who lacks them has a gap. */
static void drop(struct txn *t, struct forward *f) {
    uint64_t upto = f->events[FORWARD_DROP - 1]->id;
    char key[KEY_MAX];
    for (size_t i = 0; i < f->n_targets; i++) {
        struct receiver *to = f->targets[i];
        pthread_mutex_lock(&f->lock);
        struct position p = to->now;
        size_t from = forward_first_after(f, p.done);
        uint64_t lost = from < FORWARD_DROP ? FORWARD_DROP - from : 0;
        if (lost > 0) {
            p.gap =
                to->stored.gap.lost > 0 && !to->gap_told ? to->stored.gap : (struct gap){.lost = 0};
            p.gap.first = p.gap.lost > 0 ? p.gap.first : f->events[from]->id;
            p.gap.lost += lost;
            p.gap.last = upto;
            p.done = upto;
        }
        pthread_mutex_unlock(&f->lock);
        if (lost > 0) {
            put_json(t, key, target_key(to->name, key), position_json(&p));
        }
    }
    for (size_t i = 0; i < FORWARD_DROP; i++) {
        delete_event(t, f->events[0]);
    }
    L_WARN_RL(60, "more than %d events wait for targets: the oldest go; see show event-forwarding",
              (int)FORWARD_KEPT);
}

/* Of targets that the change removes nothing stays: while they are there still. */
static enum err_code complete(void *self, struct txn *t, struct err *e) {
    char key[KEY_MAX];
    (void)self;
    (void)e;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (op.new_ == NULL && op.old->doc->kind == &forward_target_kind) {
            const struct forward_target *c = op.old->doc->data;
            txn_delete_state(t, key, target_key(c->name, key));
        }
    }
    return ERR_OK;
}

/* Those that it makes begin with it. */
static void seal_targets(struct txn *t, struct forward *f) {
    char key[KEY_MAX];
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (op.old == NULL && op.new_->doc->kind == &forward_target_kind) {
            const struct forward_target *c = op.new_->doc->data;
            struct position p = {.done = f->last};
            put_json(t, key, target_key(c->name, key), position_json(&p));
        }
    }
}

static void seal(void *self, struct txn *t) {
    struct forward *f = self;
    char key[KEY_MAX];
    seal_targets(t, f);
    if (f->n_targets == 0) {
        return;
    }
    while (f->n_events >= FORWARD_KEPT) {
        drop(t, f);
    }
    struct sealed *s = MEM_NEW(struct sealed);
    *s = (struct sealed){.forward = f, .first = f->last + 1};
    for (size_t i = 0; i < txn_n_events(t); i++) {
        struct waiting w = {.time_s = txn_now_s(t),
                            .index = txn_index(t),
                            .name = (char *)(uintptr_t)txn_event_name(t, i),
                            .json = (char *)(uintptr_t)txn_event_json(t, i)};
        put_json(t, key, event_key(f->last + 1, key), event_json(&w));
    }
    s->last = f->last;
    txn_after(t, sealed_after, s);
}

/* ---- positions ------------------------------------------------------------------------------- */

static enum err_code save(struct txn *t, void *arg, struct err *e) {
    struct forward *f = arg;
    char key[KEY_MAX];
    uint64_t behind = UINT64_MAX;
    (void)e;
    pthread_mutex_lock(&f->lock);
    f->saving = false; /* what comes from now on is for the next one */
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < f->n_targets; i++) {
        struct receiver *to = f->targets[i];
        pthread_mutex_lock(&f->lock);
        struct position p = to->now;
        bool differs = p.done != to->stored.done || p.previous != to->stored.previous ||
                       p.gap.lost != to->stored.gap.lost;
        pthread_mutex_unlock(&f->lock);
        if (differs) {
            put_json(t, key, target_key(to->name, key), position_json(&p));
            pthread_mutex_lock(&f->lock);
            to->gap_told = false;
            pthread_mutex_unlock(&f->lock);
        }
        behind = p.done < behind ? p.done : behind;
    }
    /* What all have goes; the newest stays, for its number. */
    for (size_t i = 0; i < TRIM_MAX && f->n_events > 1 && f->events[0]->id <= behind; i++) {
        delete_event(t, f->events[0]);
    }
    return ERR_OK;
}

static void saved(void *arg, uint64_t index, const struct err *e) {
}

void forward_save(struct forward *f) {
    pthread_mutex_lock(&f->lock);
    bool queued = f->saving;
    f->saving = true;
    pthread_mutex_unlock(&f->lock);
    if (!queued) {
        core_run(f->core, &actor_system, save, saved, f);
    }
}

const struct service forward_service = {.name = "forward",
                                        .state_prefix = "forward/",
                                        .module = "weft-forward",
                                        .create = create,
                                        .destroy = destroy,
                                        .start = start,
                                        .stop = stop,
                                        .complete = complete,
                                        .check = check,
                                        .config = config,
                                        .seal = seal,
                                        .state_encode = state_encode,
                                        .state_fold = state_fold,
                                        .slow = forward_slow,
                                        .prepare = forward_prepare,
                                        .call = forward_call,
                                        .provides = "/weft-forward:event-forwarding/state",
                                        .look = forward_look,
                                        .metrics = forward_metrics};
