// SPDX-License-Identifier: Apache-2.0
/* Opening and closing, recovery, and the doors that other threads use. The writer is writer.c. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "core/internal.h"

LOGGER_MODULE(core);

const struct actor actor_system = {.user = "system", .source = "weftd", .superuser = true};

enum { LEASE_TTL_S = 5, LEASE_RENEW_S = 1 };

struct recovery {
    struct core *core;
    struct err *err;
    enum err_code rc;
    uint64_t folded;
    uint64_t config_at, state_at; /* the index that each space was read at */
    bool caught_up;
};

static bool recover_object(const uint8_t *key, size_t key_len, const uint8_t *value,
                           size_t value_len, uint64_t modified, void *arg) {
    struct recovery *r = arg;
    struct core *c = r->core;
    char *path = mem_strndup((const char *)key, key_len);
    struct object *o = NULL;
    r->rc = object_decode(c->model, path, value, value_len, modified, &o, r->err);
    if (r->rc == ERR_OK) {
        core_swap_object(c, NULL, o);
        for (size_t i = 0; i < c->n_services; i++) {
            c->services[i].service->config(c->services[i].self, NULL, o);
        }
        r->folded++;
    }
    object_release(o);
    mem_free(path);
    return r->rc == ERR_OK;
}

static bool recover_commit(const struct log_entry *en, void *arg) {
    struct recovery *r = arg;
    if (en->index != r->config_at + 1) {
        r->rc =
            err_set(r->err, ERR_UNAVAILABLE, NULL, "the log was cut while it was read; try again");
    } else {
        r->rc = role_fold_config(r->core, en, r->err);
    }
    r->config_at = en->index;
    return r->rc == ERR_OK;
}

/* State stands on configuration: what was committed between the reading of the two comes first. */
static enum err_code catch_up_config(struct recovery *r) {
    if (!r->caught_up && r->state_at > r->config_at) {
        enum err_code rc =
            log_read(r->core->log, r->config_at + 1, r->state_at, recover_commit, r, r->err);
        r->rc = rc != ERR_OK ? rc : r->rc;
    }
    r->caught_up = true;
    return r->rc;
}

static bool config_before(const struct log_entry *en, void *arg) {
    *(uint64_t *)arg = en->prev_config;
    return false;
}

static bool recover_state(const uint8_t *key, size_t key_len, const uint8_t *value,
                          size_t value_len, uint64_t modified, void *arg) {
    struct recovery *r = arg;
    (void)modified;
    if (catch_up_config(r) != ERR_OK) {
        return false;
    }
    r->rc = core_fold_state(r->core, key, key_len, value, value_len, r->err);
    r->folded++;
    return r->rc == ERR_OK;
}

/* The newest commit up to the index that was read; others may have appended since. */
static enum err_code newest_commit(struct recovery *r, uint64_t *index) {
    *index = log_config_head(r->core->log);
    while (*index > r->state_at) {
        uint64_t before = *index;
        ERR_TRY(log_read(r->core->log, before, before, config_before, index, r->err));
        if (*index == before) {
            return err_set(r->err, ERR_UNAVAILABLE, NULL,
                           "the log was cut while it was read; try again");
        }
    }
    return ERR_OK;
}

static enum err_code recover(struct core *c, struct err *e) {
    struct recovery r = {.core = c, .err = e};
    uint64_t newest;
    int64_t start = clock_mono(&clock_real);
    ERR_TRY(log_snapshot(c->log, LOG_CONFIG, "", 0, &r.config_at, recover_object, &r, e));
    ERR_TRY(r.rc);
    ERR_TRY(log_snapshot(c->log, LOG_STATE, "", 0, &r.state_at, recover_state, &r, e));
    ERR_TRY(r.rc);
    ERR_TRY(catch_up_config(&r)); /* there was no state at all */
    ERR_TRY(newest_commit(&r, &newest));
    atomic_store(&c->head, r.state_at);
    /* The configuration's index is that of its last commit, whatever state was written since. */
    snap_set_index(c->tip, newest);
    L_INFO("%zu objects and %llu records in all, up to log index %llu, read in %lld ms",
           snap_count(c->tip), (unsigned long long)r.folded, (unsigned long long)r.state_at,
           (long long)((clock_mono(&clock_real) - start) / NS_PER_MS));
    return ERR_OK;
}

static void lease_fire(struct timer *t, void *arg) {
    struct core *c = arg;
    struct err e;
    if (c->store.writable && role_of(c) == CORE_LEADS &&
        log_lease_renew(c->log, &c->lease, &e) != ERR_OK) {
        L_WARN_RL(10, "the lease of the log was not renewed: %s", e.text);
    }
    timer_arm(&c->timers, t, LEASE_RENEW_S * NS_PER_S);
}

static void publish_first(struct core *c) {
    c->published = snap_hold(c->tip);
    history_publish(c);
}

static enum err_code start_services(struct core *c, struct err *e) {
    for (; c->n_started < c->n_services; c->n_started++) {
        const struct service *s = c->services[c->n_started].service;
        if (s->start != NULL) {
            ERR_TRY(s->start(c->services[c->n_started].self, e));
        }
    }
    return ERR_OK;
}

enum err_code core_start(struct core *c, struct err *e) {
    timer_arm(&c->timers, &c->lease_timer, LEASE_RENEW_S * NS_PER_S);
    targets_recovered(c);
    confirm_start(c);
    ERR_TRY(start_services(c, e));
    targets_started(c);
    confirm_recovered(c);
    return ERR_OK;
}

void core_stop(struct core *c) {
    c->closing = true;
    timer_disarm(&c->timers, &c->lease_timer);
    timer_disarm(&c->timers, &c->confirm_timer);
    for (; c->n_started > 0; c->n_started--) {
        const struct service_slot *s = &c->services[c->n_started - 1];
        if (s->service->stop != NULL) {
            s->service->stop(s->self);
        }
    }
}

static void create_services(struct core *c) {
    const struct service *const *s = c->options.services;
    for (size_t n = 0; s != NULL && s[n] != NULL; n++) {
        c->services = mem_array(c->services, n + 1, sizeof *c->services);
        c->services[n] = (struct service_slot){s[n], s[n]->create(c)};
        c->n_services = n + 1;
    }
}

static void core_free(struct core *c) {
    for (size_t i = c->n_services; i-- > 0;) {
        c->services[i].service->destroy(c->services[i].self);
    }
    logins_free(c->logins);
    targets_free(c);
    events_free(c);
    history_free(c);
    refs_free(c);
    index_free(c);
    timers_free(&c->timers);
    snap_release(c->tip);
    snap_release(c->published);
    if (c->log != NULL) {
        role_close(c);
    }
    log_close(c->log);
    mem_free(c->services);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->events_lock);
    pthread_cond_destroy(&c->wake);
    pthread_cond_destroy(&c->fold_wake);
    mem_free(c);
}

static enum err_code start_threads(struct core *c, struct err *e) {
    if (pthread_create(&c->folder, NULL, folder_main, c) != 0) {
        return err_set(e, ERR_LIMIT, NULL, "the folder's thread could not be made");
    }
    if (pthread_create(&c->thread, NULL, writer_main, c) != 0) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_signal(&c->fold_wake);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->folder, NULL);
        return err_set(e, ERR_LIMIT, NULL, "the writer's thread could not be made");
    }
    pthread_setname_np(c->folder, "folder");
    pthread_setname_np(c->thread, "writer");
    return ERR_OK;
}

enum err_code core_open(const struct core_options *o, struct core **out, struct err *e) {
    struct core *c = MEM_NEW(struct core);
    c->options = *o;
    c->options.history = o->history ? o->history : HISTORY_DEFAULT;
    c->options.log_kept = o->log_kept ? o->log_kept : LOG_KEPT_DEFAULT;
    c->clock = o->clock ? o->clock : &clock_real;
    c->model = o->model;
    c->tip = snap_empty();
    list_init(&c->queue);
    list_init(&c->waiters);
    list_init(&c->subscribers);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->events_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_cond_init(&c->fold_wake, &attr);
    pthread_condattr_destroy(&attr);
    timers_init(&c->timers, c->clock);
    store_start(c);
    c->logins = logins_new(c);

    enum err_code rc;
    struct log_options lo = {.clock = c->clock, .node = o->node};
    const char *vfs = getenv("WEFT_SQLITE_VFS"); /* fault injection in tests */
    lo.sqlite_vfs = vfs != NULL && vfs[0] != '\0' ? vfs : NULL;
    ERR_GOTO(rc, log_open(o->store, &lo, &c->log, e), fail);
    c->lease = (struct log_lease){.holder = o->node != NULL ? o->node : "weftd",
                                  .ttl_ns = LEASE_TTL_S * NS_PER_S};
    c->lease_timer = (struct timer){.fire = lease_fire, .arg = c};
    if (!role_open(c)) {
        ERR_GOTO(rc, log_lease_acquire(c->log, &c->lease, e), fail);
    }
    create_services(c);
    index_start(c);
    ERR_GOTO(rc, recover(c, e), fail);
    publish_first(c);
    if (c->role.shared) {
        role_start(c);
    } else {
        ERR_GOTO(rc, core_start(c, e), fail);
    }
    if (o->threaded) {
        ERR_GOTO(rc, start_threads(c, e), fail);
    }
    *out = c;
    return ERR_OK;
fail:
    core_stop(c);
    core_free(c);
    return rc;
}

void core_close(struct core *c) {
    if (c == NULL) {
        return;
    }
    if (c->options.threaded) {
        while (atomic_load(&c->slow_running) > 0) {
            nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
        }
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_signal(&c->wake);
        pthread_cond_signal(&c->fold_wake);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
        pthread_join(c->folder, NULL);
    }
    core_stop(c);
    while (writer_batch(c) > 0) {
    }
    logins_flush(c->logins, true);
    while (writer_batch(c) > 0) {
    }
    store_close(c);
    core_free(c);
}

size_t core_step(struct core *c) {
    size_t ran = 0, n;
    do {
        role_look(c); /* before the timers of one that should lead no more */
        timers_run(&c->timers);
        role_look(c);
        n = writer_batch(c);
        ran += n;
    } while (n > 0);
    struct err e;
    if (log_fold(c->log, FOLD_STEP, NULL, &e) != ERR_OK) {
        store_look(c);
    }
    trim_log(c);
    return ran;
}

int64_t core_next_timer(struct core *c) {
    return timers_next(&c->timers);
}

const struct model *core_model(const struct core *c) {
    return c->model;
}

const struct clock *core_clock(const struct core *c) {
    return c->clock;
}

void *core_service_state(struct core *c, const char *service) {
    for (size_t i = 0; i < c->n_services; i++) {
        if (strcmp(c->services[i].service->name, service) == 0) {
            return c->services[i].self;
        }
    }
    return NULL;
}

struct timers *core_timers(struct core *c) {
    return &c->timers;
}

uint64_t core_head(struct core *c) {
    return atomic_load(&c->head);
}

struct snap *core_snapshot(struct core *c) {
    pthread_mutex_lock(&c->lock);
    struct snap *s = snap_hold(c->published);
    pthread_mutex_unlock(&c->lock);
    return s;
}

static void queue(struct core *c, const struct actor *who, core_work_fn fn, core_done_fn done,
                  void *arg, bool looks) {
    pthread_mutex_lock(&c->lock);
    bool full = c->queued >= CORE_QUEUE_MAX;
    if (!full) {
        struct work *w = MEM_NEW(struct work);
        *w = (struct work){.who = *who, .fn = fn, .done = done, .arg = arg, .looks = looks};
        list_append(&c->queue, &w->link);
        c->queued++;
        c->queue_peak = c->queued > c->queue_peak ? c->queued : c->queue_peak;
        if (c->queued == 1) {
            pthread_cond_signal(&c->wake);
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (full && done != NULL) {
        struct err e;
        err_set(&e, ERR_UNAVAILABLE, NULL, "%d requests are waiting already; try again",
                CORE_QUEUE_MAX);
        done(arg, core_head(c), &e);
    }
}

void core_run(struct core *c, const struct actor *who, core_work_fn fn, core_done_fn done,
              void *arg) {
    queue(c, who, fn, done, arg, false);
}

void core_run_look(struct core *c, const struct actor *who, core_work_fn fn, core_done_fn done,
                   void *arg) {
    queue(c, who, fn, done, arg, true);
}

enum err_code core_backup(struct core *c, const char *path, struct err *e) {
    return log_backup(c->log, path, NULL, e);
}

void core_stats(struct core *c, struct core_stats *out) {
    pthread_mutex_lock(&c->lock);
    *out = c->shown_stats;
    out->queue_depth = c->queued;
    out->queue_peak = c->queue_peak;
    out->objects = snap_count(c->published);
    pthread_mutex_unlock(&c->lock);
    out->head = core_head(c);
}
