// SPDX-License-Identifier: Apache-2.0
/*
 * One of several nodes on a shared store (docs/cluster.md): does this one lead or follow?
 *
 *     FOLLOWS ---the lease is had, all is read---> LEADS ---lease, reach or an append lost---> LOST
 *
 * A follower folds what the leader appends into the same memory, on the writer's thread: it is the
 * only one that touches it, whichever role it has. What would change something is refused before
 * it runs. There is no way back from LOST: services keep more in memory than the fold of their
 * records (sessions, timers, what is under way), so what has led starts over, from the store, as
 * after a crash (core.h, on_role). Until it does, what is published is still shown.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/system_int.h"

LOGGER_MODULE(role);

enum {
    LOOK_EVERY_MS = 250,
    FOLLOW_STEP = 1000, /* entries between two looks at the queue */
    HEIR_MS = 2000,     /* so long the others leave the lead to the one that was named */
};

/* May this node take the lead that nobody has? */
static bool is_its_turn(struct core *c) {
    char heir[LOG_NODE_MAX + 1];
    int64_t now = clock_mono(c->clock);
    c->role.vacant_ns = c->role.vacant_ns != 0 ? c->role.vacant_ns : now;
    return c->nodes == NULL || !nodes_has_heir(c->nodes, heir) || strcmp(heir, c->role.node) == 0 ||
           now - c->role.vacant_ns >= HEIR_MS * NS_PER_MS;
}

/* From any thread, the engine's too. */
static void wake(struct core *c) {
    pthread_mutex_lock(&c->lock);
    c->role.news = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static void turned(void *arg) {
    wake(arg);
}

static void appended(const struct log_entry *entries, size_t n, void *arg) {
    struct core *c = arg;
    (void)entries;
    (void)n;
    if (role_of(c) == CORE_FOLLOWS) { /* what a leader appends it knows already */
        wake(c);
    }
}

enum core_role role_of(const struct core *c) {
    return (enum core_role)atomic_load(&c->role.is);
}

static void set_role(struct core *c, enum core_role is) {
    atomic_store(&c->role.is, is);
    if (c->options.on_role != NULL) {
        c->options.on_role(is, c->options.role_arg);
    }
}

/* ---- following ------------------------------------------------------------------------------- */

struct fold_op {
    struct object *old, *new_;
};

/* Objects that changed together: all into the tree, then the services' folds, as in change.c. */
static enum err_code fold_objects(struct core *c, const struct log_entry *en, size_t from, size_t n,
                                  struct err *e) {
    struct fold_op *ops = mem_alloc(n * sizeof *ops);
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        const struct log_op *op = &en->ops[from + i];
        char *path = mem_strndup((const char *)op->key, op->key_len);
        ops[i].old = object_hold(snap_get(c->tip, path));
        if (op->value != NULL) {
            rc =
                object_decode(c->model, path, op->value, op->value_len, en->index, &ops[i].new_, e);
        }
        mem_free(path);
    }
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        core_swap_object(c, ops[i].old, ops[i].new_);
    }
    for (size_t i = 0; i < n; i++) {
        if (rc == ERR_OK && (ops[i].old != NULL || ops[i].new_ != NULL)) {
            core_fold_config(c, ops[i].old, ops[i].new_);
        }
        object_release(ops[i].old);
        object_release(ops[i].new_);
    }
    mem_free(ops);
    return rc;
}

enum err_code role_fold_config(struct core *c, const struct log_entry *en, struct err *e) {
    for (size_t i = 0, n; i < en->n_ops; i += n) {
        for (n = 0; i + n < en->n_ops && en->ops[i + n].space == LOG_CONFIG;) {
            n++;
        }
        if (n > 0) {
            ERR_TRY(fold_objects(c, en, i, n, e));
        } else {
            n = 1;
        }
    }
    return ERR_OK;
}

/* Operations stand in their entry in the order in which the leader folded them. */
static enum err_code fold_entry(struct core *c, const struct log_entry *en, bool *config,
                                struct err *e) {
    for (size_t i = 0, n; i < en->n_ops; i += n) {
        const struct log_op *op = &en->ops[i];
        for (n = 1;
             op->space == LOG_CONFIG && i + n < en->n_ops && en->ops[i + n].space == LOG_CONFIG;) {
            n++;
        }
        if (op->space == LOG_CONFIG) {
            ERR_TRY(fold_objects(c, en, i, n, e));
            *config = true;
        } else {
            ERR_TRY(core_fold_state(c, op->key, op->key_len, op->value, op->value_len, e));
        }
    }
    if (*config) {
        snap_set_index(c->tip, en->index);
    }
    return ERR_OK;
}

struct following {
    struct core *core;
    struct err *err;
    enum err_code rc;
    uint64_t at; /* folded up to here */
    size_t n;
    bool config;
};

static bool follow_entry(const struct log_entry *en, void *arg) {
    struct following *f = arg;
    bool config = false;
    if (en->index != f->at + 1) {
        f->rc = err_set(f->err, ERR_ABSENT, NULL,
                        "the log goes on at entry %" PRIu64 ", and memory is at %" PRIu64,
                        en->index, f->at);
        return false;
    }
    f->rc = fold_entry(f->core, en, &config, f->err);
    if (f->rc != ERR_OK) {
        char where[48];
        snprintf(where, sizeof where, "log entry %" PRIu64, en->index);
        err_prefix_path(f->err, where);
        return false;
    }
    f->at = en->index;
    f->config |= config;
    return ++f->n < FOLLOW_STEP;
}

/* A step of what others appended. *more: there may be more. After an error memory is not what the
 * log says at any index, and nobody may be shown it. */
static enum err_code follow(struct core *c, bool *more, struct err *e) {
    struct following f = {.core = c, .err = e, .at = core_head(c)};
    *more = false;
    if (log_head(c->log) <= f.at) {
        return ERR_OK;
    }
    ERR_TRY(log_read(c->log, f.at + 1, UINT64_MAX, follow_entry, &f, e));
    ERR_TRY(f.rc);
    *more = f.n == FOLLOW_STEP;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->head, f.at);
    if (f.config) {
        snap_release(c->published);
        c->published = snap_hold(c->tip);
    }
    pthread_mutex_unlock(&c->lock);
    history_publish(c);
    c->stats.followed += f.n;
    stats_show(c);
    return ERR_OK;
}

/* ---- leading and losing it ------------------------------------------------------------------- */

void role_lost(struct core *c, const char *why) {
    if (role_of(c) == CORE_LOST) {
        return;
    }
    L_WARN("this node %s: %s", role_of(c) == CORE_LEADS ? "leads no more" : "can't follow", why);
    pthread_mutex_lock(&c->lock);
    text_line(c->role.why, sizeof c->role.why, why);
    c->role.lost_ns = clock_mono(c->clock);
    pthread_mutex_unlock(&c->lock);
    c->role.stop_due = true; /* not here: the batch that failed has not been answered */
    timer_disarm(&c->timers, &c->store.retry);
    set_role(c, CORE_LOST);
}

static enum err_code tell_leader(struct txn *t, void *arg, struct err *e) {
    struct core *c = t->core;
    struct buf b = BUF_INIT;
    (void)arg;
    (void)e;
    buf_str(&b, "{\"node\":");
    text_json(&b, c->role.node);
    if (c->role.former[0] != '\0' && strcmp(c->role.former, c->role.node) != 0) {
        buf_str(&b, ",\"former\":");
        text_json(&b, c->role.former);
    }
    buf_printf(&b, ",\"fence\":\"%" PRIu64 "\"}", c->lease.fence);
    txn_event(t, "weft-system:leader-changed", buf_cstr(&b));
    buf_free(&b);
    char heir[LOG_NODE_MAX + 1];
    if (c->nodes != NULL && nodes_has_heir(c->nodes, heir)) {
        nodes_put_heir(t, NULL);
    }
    return ERR_OK;
}

/* True: it leads. */
static bool try_to_lead(struct core *c) {
    struct err e;
    bool more = true;
    if (log_lease_acquire(c->log, &c->lease, &e) != ERR_OK) {
        L_DBG("not ours to lead: %s", e.text);
        return false;
    }
    while (more) { /* what the leader before appended last */
        if (follow(c, &more, &e) != ERR_OK) {
            role_lost(c, e.text);
            return false;
        }
    }
    atomic_store(&c->role.is, CORE_LEADS);
    if (core_start(c, &e) != ERR_OK) {
        role_lost(c, e.text);
        return false;
    }
    logins_flush(c->logins, true); /* those that failed while it followed */
    L_INFO("this node leads, with fence %" PRIu64 ", from log index %" PRIu64, c->lease.fence,
           core_head(c));
    set_role(c, CORE_LEADS);
    core_run(c, &actor_system, tell_leader, NULL, NULL);
    return true;
}

static void look_as_follower(struct core *c, const struct log_turn *t) {
    struct err e;
    bool more;
    struct log_status st;
    log_status(c->log, &st);
    if (st.needs_reopen && t->reached) { /* it was away for too long: what it needs is gone */
        role_lost(c, st.reason);
    } else if (follow(c, &more, &e) != ERR_OK) {
        role_lost(c, e.text);
    } else if (more) {
        wake(c);
    } else if (t->reached && (t->leader[0] == '\0' || strcmp(t->leader, c->role.node) == 0)) {
        if (is_its_turn(c)) {
            try_to_lead(c);
        }
    } else {
        c->role.vacant_ns = 0;
    }
}

void role_look(struct core *c) {
    if (!c->role.shared) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->role.news = false;
    pthread_mutex_unlock(&c->lock);
    struct log_turn t;
    log_turn(c->log, &t);
    if (role_of(c) == CORE_FOLLOWS) {
        if (t.leader[0] != '\0') {
            snprintf(c->role.former, sizeof c->role.former, "%s", t.leader);
        }
        look_as_follower(c, &t);
    } else if (role_of(c) == CORE_LEADS && !t.leads) {
        role_lost(c, t.reached ? "another node may lead now" : "the store is out of reach");
    }
    if (c->role.stop_due) {
        c->role.stop_due = false;
        core_stop(c);
    }
}

/* Also how a lease that is over by our own clock is noticed when nothing else happens. */
static void look_fire(struct timer *timer, void *arg) {
    struct core *c = arg;
    role_look(c);
    timer_arm(&c->timers, timer, LOOK_EVERY_MS * NS_PER_MS);
}

bool role_open(struct core *c) {
    struct log_turn t;
    log_turn(c->log, &t);
    c->role.shared = t.shared;
    atomic_init(&c->role.is, t.shared ? CORE_FOLLOWS : CORE_LEADS);
    text_line(c->role.node, sizeof c->role.node, c->options.node != NULL ? c->options.node : "");
    if (t.shared) {
        log_on_turn(c->log, turned, c);
        c->role.watch = log_watch(c->log, appended, c);
    }
    return t.shared;
}

void role_start(struct core *c) {
    c->role.timer = (struct timer){.fire = look_fire, .arg = c};
    timer_arm(&c->timers, &c->role.timer, LOOK_EVERY_MS * NS_PER_MS);
    system_cluster_announce(c);
    if (!try_to_lead(c)) {
        struct log_turn t;
        log_turn(c->log, &t);
        L_INFO("this node follows; %s", t.leader[0] != '\0' ? t.leader : "nobody leads yet");
    }
}

void role_close(struct core *c) {
    if (c->role.shared) {
        log_on_turn(c->log, NULL, NULL);
        log_unwatch(c->log, c->role.watch);
    }
}

enum err_code role_refusal(struct core *c, struct err *e) {
    struct log_turn t;
    log_turn(c->log, &t);
    if (role_of(c) == CORE_LOST) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "this node takes no changes any more: %s",
                       c->role.why);
    }
    if (!t.reached || clock_mono(c->clock) - t.heard_ns >= CORE_STALE_S * NS_PER_S) {
        return err_set(e, ERR_UNAVAILABLE, NULL,
                       "this node is cut off from the store and takes no changes");
    }
    if (t.leader[0] == '\0') {
        return err_set(e, ERR_UNAVAILABLE, NULL, "no node leads at the moment; try again");
    }
    return err_set(e, ERR_UNAVAILABLE, NULL, "this node only follows; ask %s, which leads",
                   t.leader);
}

enum err_code role_refusal_in_doubt(struct core *c, struct err *e) {
    return err_set(e, ERR_UNAVAILABLE, NULL,
                   "this node lost the lead while it wrote (%s): look whether this was done before "
                   "you try again",
                   c->role.why);
}

void core_turn(struct core *c, struct core_turn *out) {
    struct log_turn t;
    log_turn(c->log, &t);
    *out = (struct core_turn){
        .role = role_of(c), .shared = t.shared, .reached = t.reached, .fence = t.fence};
    snprintf(out->leader, sizeof out->leader, "%s", t.leader);
    if (out->shared) {
        pthread_mutex_lock(&c->lock);
        int64_t heard =
            out->role == CORE_LOST && c->role.lost_ns < t.heard_ns ? c->role.lost_ns : t.heard_ns;
        pthread_mutex_unlock(&c->lock);
        int64_t now = clock_mono(c->clock);
        out->stale_ns = now > heard ? now - heard : 0;
        out->silent_ns = now > t.heard_ns ? now - t.heard_ns : 0;
    }
}
