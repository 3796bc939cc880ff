// SPDX-License-Identifier: Apache-2.0
/* Calls, looks, completion values and metrics: work that is routed to the service it belongs to. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger_out.h"
#include "core/internal.h"
#include "core/nacm.h"
#include "core/rights.h"
#include "core/system.h"

static struct service_slot *owner_of(struct core *c, const char *module) {
    for (size_t i = 0; i < c->n_services; i++) {
        const char *m = c->services[i].service->module;
        if (m != NULL && strcmp(m, module) == 0) {
            return &c->services[i];
        }
    }
    return NULL;
}

static enum err_code not_here(struct err *e, const char *path) {
    return err_set(e, ERR_UNSUPPORTED, path, "the service that answers this does not run here");
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct call_run {
    struct core *core;
    struct call *call;
    void (*done)(struct call *cl, void *arg);
    void *arg;
    enum err_code prepared; /* what the slow part came to */
    struct err err;
};

struct call *call_new(const struct actor *who) {
    struct call *cl = MEM_NEW(struct call);
    cl->who = *who;
    cl->arena = arena_new();
    return cl;
}

void call_free(struct call *cl) {
    if (cl != NULL) {
        buf_free(&cl->text);
        buf_free(&cl->json);
        mem_free(cl->cursor);
        arena_free(cl->arena);
        mem_free(cl);
    }
}

enum right call_right(const struct node *rpc) {
    const char *r = rpc->command ? rpc->command->right : NULL;
    return r == NULL                 ? RIGHT_EXEC
           : strcmp(r, "read") == 0  ? RIGHT_READ
           : strcmp(r, "write") == 0 ? RIGHT_WRITE
                                     : RIGHT_EXEC;
}

static enum err_code call_work(struct txn *t, void *arg, struct err *e) {
    struct call_run *r = arg;
    const struct node *rpc = r->call->in.rpc;
    char path[256];
    snprintf(path, sizeof path, "/%s:%s", rpc->module, rpc->name);
    if (r->prepared != ERR_OK) {
        *e = r->err;
        return r->prepared;
    }
    ERR_TRY(rights_check(t->core->tip, &r->call->who, call_right(rpc), path, e));
    if (call_right(rpc) != RIGHT_READ) {
        ERR_TRY(maintenance_allows(t->core, rpc, e));
    }
    struct service_slot *s = owner_of(t->core, rpc->module);
    if (s == NULL || s->service->call == NULL) {
        return not_here(e, path);
    }
    t->force = r->call->force;
    ERR_TRY(s->service->call(s->self, t, r->call, e));
    if (call_right(rpc) != RIGHT_READ && !r->call->outside) {
        audit_put(t, path, "done");
    }
    return ERR_OK;
}

/* A refused action is worth remembering as well; mere questions are not. */
static void note(struct core *c, const struct call *cl, const char *result) {
    char path[256];
    if (call_right(cl->in.rpc) != RIGHT_READ) {
        snprintf(path, sizeof path, "/%s:%s", cl->in.rpc->module, cl->in.rpc->name);
        audit_note(c, &cl->who, path, result);
    }
}

static void call_done(void *arg, uint64_t index, const struct err *e) {
    struct call_run *r = arg;
    (void)index;
    r->call->err.code = ERR_OK;
    if (e != NULL) {
        r->call->err = *e;
        mem_free(r->call->cursor); /* perhaps what prepare() left there for call() */
        r->call->cursor = NULL;
        note(r->core, r->call, e->text);
    } else if (r->call->outside) {
        note(r->core, r->call, "done");
    }
    r->done(r->call, r->arg);
    mem_free(r);
}

/* Rights are checked before the slow part as well: nobody without them may make us work. */
static void run_slow(struct call_run *r) {
    struct call *cl = r->call;
    struct service_slot *s = owner_of(r->core, cl->in.rpc->module);
    char path[256];
    snprintf(path, sizeof path, "/%s:%s", cl->in.rpc->module, cl->in.rpc->name);
    struct snap *now = core_snapshot(r->core);
    r->prepared = rights_check(now, &cl->who, call_right(cl->in.rpc), path, &r->err);
    snap_release(now);
    if (r->prepared == ERR_OK && call_right(cl->in.rpc) != RIGHT_READ) {
        r->prepared = maintenance_allows(r->core, cl->in.rpc, &r->err);
    }
    if (r->prepared == ERR_OK) {
        r->prepared = s->service->prepare(s->self, cl, &r->err);
    }
    /* What is said, was done already or is refused needs no writer that may write: a node that
     * follows, or whose store can't be written, answers it too. */
    if (cl->outside || r->prepared != ERR_OK || call_right(cl->in.rpc) == RIGHT_READ) {
        core_run_look(r->core, &cl->who, call_work, call_done, r);
    } else {
        core_run(r->core, &cl->who, call_work, call_done, r);
    }
}

static void *slow_main(void *arg) {
    struct core *c = ((struct call_run *)arg)->core;
    run_slow(arg);
    atomic_fetch_sub(&c->slow_running, 1);
    return NULL;
}

static void start_slow(struct call_run *r) {
    struct core *c = r->core;
    pthread_t thread;
    if (!c->options.threaded) {
        run_slow(r);
        return;
    }
    if (atomic_fetch_add(&c->slow_running, 1) >= SLOW_CALLS_MAX ||
        pthread_create(&thread, NULL, slow_main, r) != 0) {
        atomic_fetch_sub(&c->slow_running, 1);
        r->prepared = err_set(&r->err, ERR_UNAVAILABLE, NULL,
                              "%d long requests are running already; try again", SLOW_CALLS_MAX);
        core_run_look(c, &r->call->who, call_work, call_done, r);
        return;
    }
    pthread_detach(thread);
}

bool core_call_is_leaders(struct core *c, const struct node *rpc) {
    struct service_slot *s = owner_of(c, rpc->module);
    bool slow = s != NULL && s->service->slow != NULL && s->service->slow(rpc);
    bool write = slow && s->service->slow_write != NULL && s->service->slow_write(rpc);
    return write || (!slow && (call_right(rpc) != RIGHT_READ || (s != NULL && s->service->live)));
}

void core_call(struct core *c, struct call *cl, void (*done)(struct call *cl, void *arg),
               void *arg) {
    struct call_run *r = MEM_NEW(struct call_run);
    *r = (struct call_run){.core = c, .call = cl, .done = done, .arg = arg};
    struct service_slot *s = owner_of(c, cl->in.rpc->module);
    if (s != NULL && s->service->slow != NULL && s->service->slow(cl->in.rpc)) {
        start_slow(r);
    } else if (call_right(cl->in.rpc) == RIGHT_READ) {
        core_run_look(c, &cl->who, call_work, call_done, r);
    } else {
        core_run(c, &cl->who, call_work, call_done, r);
    }
}

/* ---- looks ----------------------------------------------------------------------------------- */

struct look_run {
    struct look *look;
    void (*done)(struct look *l, void *arg);
    void *arg;
};

struct look *look_new(const struct actor *who, const char *path) {
    struct look *l = MEM_NEW(struct look);
    l->who = *who;
    l->path = mem_strdup(path);
    return l;
}

void look_free(struct look *l) {
    if (l != NULL) {
        mem_free(l->path);
        buf_free(&l->json);
        mem_free(l);
    }
}

/* Does the instance path `path` lie at or below the schema path `schema`? Keys are skipped. */
static bool provides(const char *schema, const char *path) {
    while (*schema != '\0') {
        if (*path == '=') {
            path += strcspn(path, "/");
        }
        if (*path++ != *schema++) {
            return false;
        }
    }
    return *path == '\0' || *path == '/' || *path == '=';
}

/* Does `schema` lie below the instance path `path`? */
static bool is_above(const char *path, const char *schema) {
    while (*path != '\0') {
        if (*path == '=') {
            path += strcspn(path, "/");
        } else if (*path++ != *schema++) {
            return false;
        }
    }
    return *schema == '/';
}

bool core_look_is_leaders(struct core *c, const char *path) {
    bool root = strcmp(path, "/") == 0;
    for (size_t i = 0; i < c->n_services; i++) {
        const struct service *s = c->services[i].service;
        if (s->live && s->provides != NULL &&
            (root || provides(s->provides, path) || is_above(path, s->provides))) {
            return true;
        }
    }
    return false;
}

static enum err_code look_work(struct txn *t, void *arg, struct err *e) {
    struct look *l = ((struct look_run *)arg)->look;
    ERR_TRY(rights_check(t->core->tip, &l->who, RIGHT_READ, l->path, e));
    for (size_t i = 0; i < t->core->n_services; i++) {
        const struct service *s = t->core->services[i].service;
        if (s->provides != NULL && s->look != NULL && provides(s->provides, l->path)) {
            return s->look(t->core->services[i].self, t, l, e);
        }
    }
    return not_here(e, l->path);
}

static void look_done(void *arg, uint64_t index, const struct err *e) {
    struct look_run *r = arg;
    (void)index;
    r->look->err.code = ERR_OK;
    if (e != NULL) {
        r->look->err = *e;
    }
    r->done(r->look, r->arg);
    mem_free(r);
}

void core_look(struct core *c, struct look *l, void (*done)(struct look *l, void *arg), void *arg) {
    struct look_run *r = MEM_NEW(struct look_run);
    *r = (struct look_run){l, done, arg};
    core_run_look(c, &l->who, look_work, look_done, r);
}

/* ---- values ---------------------------------------------------------------------------------- */

struct values_run {
    struct values *values;
    void (*done)(struct values *v, void *arg);
    void *arg;
};

struct values *values_new(const struct actor *who, const struct node *leaf) {
    struct values *v = MEM_NEW(struct values);
    v->who = *who;
    v->leaf = leaf;
    return v;
}

void values_add(struct values *v, const char *name, const char *value) {
    v->names = mem_array(v->names, v->n_given + 1, sizeof *v->names);
    v->values = mem_array(v->values, v->n_given + 1, sizeof *v->values);
    v->names[v->n_given] = mem_strdup(name);
    v->values[v->n_given++] = mem_strdup(value);
}

void values_free(struct values *v) {
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < v->n_given; i++) {
        mem_free(v->names[i]);
        mem_free(v->values[i]);
    }
    mem_free(v->names);
    mem_free(v->values);
    buf_free(&v->out);
    mem_free(v);
}

static enum err_code values_work(struct txn *t, void *arg, struct err *e) {
    struct values *v = ((struct values_run *)arg)->values;
    const struct node *rpc = v->leaf;
    (void)e;
    while (rpc->parent != NULL && rpc->type != NODE_RPC) {
        rpc = rpc->parent;
    }
    char path[256];
    snprintf(path, sizeof path, "/%s:%s", rpc->module, rpc->name);
    struct service_slot *s = owner_of(t->core, rpc->module);
    if (s != NULL && s->service->values != NULL &&
        rights_allow(t->core->tip, &v->who, call_right(rpc), path)) {
        s->service->values(s->self, t, v);
    }
    return ERR_OK;
}

static void values_done(void *arg, uint64_t index, const struct err *e) {
    struct values_run *r = arg;
    (void)index;
    (void)e; /* no values then */
    r->done(r->values, r->arg);
    mem_free(r);
}

void core_values(struct core *c, struct values *v, void (*done)(struct values *v, void *arg),
                 void *arg) {
    struct values_run *r = MEM_NEW(struct values_run);
    *r = (struct values_run){v, done, arg};
    core_run_look(c, &v->who, values_work, values_done, r);
}

/* ---- metrics --------------------------------------------------------------------------------- */

struct metrics_run {
    struct buf *out;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
};

static void one(struct buf *out, const char *name, const char *type, const char *help, uint64_t v) {
    buf_printf(out, "# HELP weft_%s %s\n# TYPE weft_%s %s\nweft_%s %" PRIu64 "\n", name, help, name,
               type, name, v);
}

static enum err_code metrics_work(struct txn *t, void *arg, struct err *e) {
    struct metrics_run *m = arg;
    struct core *c = t->core;
    struct core_stats s;
    (void)e;
    core_stats(c, &s);
    one(m->out, "log_head", "counter", "Index of the newest durable log entry.", s.head);
    one(m->out, "commits_total", "counter", "Configuration commits since the start.", s.commits);
    one(m->out, "works_total", "counter", "Pieces of work run by the writer.", s.works);
    one(m->out, "batches_total", "counter", "Batches made durable under one sync.", s.batches);
    one(m->out, "refused_total", "counter", "Pieces of work that were refused.", s.refused);
    one(m->out, "append_errors_total", "counter", "Batches the store did not take.",
        s.append_errors);
    one(m->out, "redecoded_total", "counter", "Changes decoded again because objects had moved.",
        s.redecoded);
    one(m->out, "queue_depth", "gauge", "Pieces of work waiting.", s.queue_depth);
    one(m->out, "queue_peak", "gauge", "Most pieces of work that ever waited.", s.queue_peak);
    one(m->out, "objects", "gauge", "Configuration objects.", s.objects);
    one(m->out, "store_writable", "gauge", "1 while the store takes appends.", s.writable);
    one(m->out, "store_unwritable_since_seconds", "gauge",
        "Since when the store can't be written, in seconds since 1970; 0 while it can.",
        (uint64_t)s.unwritable_since_s);
    struct logger_counts lines;
    logger_counts(&lines);
    one(m->out, "log_lines_unwritten_total", "counter", "Log lines that the log file did not take.",
        lines.not_written);
    one(m->out, "log_lines_unsent_total", "counter", "Log lines that a syslog server did not take.",
        lines.not_sent);
    one(m->out, "maintenance", "gauge", "1 while changes are refused for maintenance.",
        core_maintenance(c, NULL));
    one(m->out, "store_outages_total", "counter", "Times that the store could not be written.",
        s.store_outages);
    one(m->out, "store_reopens_total", "counter", "Times that the log was opened again.",
        s.store_reopens);
    struct core_turn turn;
    core_turn(c, &turn);
    one(m->out, "leads", "gauge", "1 while this node leads; others follow it.",
        turn.role == CORE_LEADS);
    one(m->out, "fence", "gauge", "The newest right to write that this node knows of.", turn.fence);
    one(m->out, "stale_seconds", "gauge",
        "So long ago what this node shows was known to be the newest.",
        (uint64_t)(turn.stale_ns / NS_PER_S));
    one(m->out, "followed_total", "counter", "Log entries of other nodes that were folded.",
        s.followed);
    struct log_status st;
    log_status(c->log, &st);
    one(m->out, "store_bytes", "gauge", "Storage in use.", st.bytes);
    one(m->out, "store_unfolded_ops", "gauge", "Operations not yet folded into the tables.",
        st.unfolded_ops);
    for (size_t i = 0; i < c->n_services; i++) {
        if (c->services[i].service->metrics != NULL) {
            c->services[i].service->metrics(c->services[i].self, m->out);
        }
    }
    return ERR_OK;
}

static void metrics_done(void *arg, uint64_t index, const struct err *e) {
    struct metrics_run *m = arg;
    (void)index;
    (void)e;
    pthread_mutex_lock(&m->lock);
    m->done = true;
    pthread_cond_signal(&m->ready);
    pthread_mutex_unlock(&m->lock);
}

void core_metrics(struct core *c, struct buf *out) {
    struct metrics_run m = {.out = out};
    pthread_mutex_init(&m.lock, NULL);
    pthread_cond_init(&m.ready, NULL);
    core_run_look(c, &actor_system, metrics_work, metrics_done, &m);
    if (!c->options.threaded) {
        core_step(c);
    }
    pthread_mutex_lock(&m.lock);
    while (!m.done) {
        pthread_cond_wait(&m.ready, &m.lock);
    }
    pthread_mutex_unlock(&m.lock);
    pthread_mutex_destroy(&m.lock);
    pthread_cond_destroy(&m.ready);
}
