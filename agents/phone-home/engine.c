// SPDX-License-Identifier: Apache-2.0
#include "phone-home/engine_int.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* ---------------------------------------------------------------- actions */

int64_t phc_now(const struct phc_engine *g) {
    return g->w.now_ms(g->w.arg);
}

static void item_free(struct phc_item *it) {
    arena_free(it->mem);
    buf_free(&it->bytes);
}

/* Actions that were handed out live until the next event. */
static void forget_done(struct phc_engine *g) {
    if (g->head == 0) {
        return;
    }
    for (size_t i = 0; i < g->head; i++) {
        item_free(&g->queue[i]);
    }
    g->n_queue -= g->head;
    memmove(g->queue, g->queue + g->head, g->n_queue * sizeof *g->queue);
    g->head = 0;
}

struct phc_item *phc_push(struct phc_engine *g, enum phc_action_kind kind) {
    g->queue = mem_array(g->queue, g->n_queue + 1, sizeof *g->queue);
    struct phc_item *it = &g->queue[g->n_queue++];
    memset(it, 0, sizeof *it);
    it->a.kind = kind;
    it->mem = arena_new();
    return it;
}

struct phc_item *phc_order(struct phc_engine *g, enum phc_action_kind kind, int64_t ms,
                           phc_done *done) {
    struct phc_item *it = phc_push(g, kind);
    it->a.order = ++g->last_order;
    g->main.order = it->a.order;
    g->main.due = phc_now(g) + ms;
    g->main.done = done;
    return it;
}

struct phc_action *phc_platform(struct phc_engine *g, enum phc_op op, phc_done *done) {
    int64_t ms = op == PHC_INSTALL                       ? PHC_INSTALL_MS
                 : op == PHC_SCRIPT                      ? g->c.script_ms + PHC_GRACE_MS
                 : op == PHC_APPLY || op == PHC_ROLLBACK ? PHC_LONG_MS
                                                         : PHC_SHORT_MS;
    struct phc_item *it = phc_order(g, PHC_PLATFORM, ms, done);
    it->a.u.platform.op = op;
    return &it->a;
}

void phc_cancel(struct phc_engine *g, uint64_t order) {
    if (order == 0) {
        return;
    }
    for (size_t i = g->head; i < g->n_queue; i++) { /* not begun: it never is */
        if (g->queue[i].a.order == order) {
            item_free(&g->queue[i]);
            memmove(&g->queue[i], &g->queue[i + 1], (g->n_queue - i - 1) * sizeof *g->queue);
            g->n_queue--;
            return;
        }
    }
    phc_push(g, PHC_CANCEL)->a.order = order;
}

void phc_quiet(struct phc_engine *g) {
    phc_cancel(g, g->main.order);
    g->main.order = 0;
    g->timer.due = -1;
    g->wait_due = -1;
    g->on_members = NULL;
}

void phc_timer(struct phc_engine *g, int64_t ms, phc_step *then) {
    g->timer.due = phc_now(g) + ms;
    g->timer.then = then;
}

void phc_enter(struct phc_engine *g, enum phc_state s) {
    g->state = s;
}

void phc_save(struct phc_engine *g) {
    int64_t now = phc_now(g);
    g->r.state = g->state;
    g->r.saved_s = g->w.wall_s(g->w.arg);
    g->r.wait_ms = g->wait_due < 0 ? -1 : g->wait_due > now ? g->wait_due - now : 0;
    struct phc_item *it = phc_push(g, PHC_SAVE);
    record_print(&g->r, &it->bytes);
    it->a.u.save.p = it->bytes.data;
    it->a.u.save.n = it->bytes.len;
}

static void log_line(struct phc_engine *g, int priority, const char *line) {
    struct phc_item *it = phc_push(g, PHC_LOG);
    it->a.u.log.priority = priority;
    it->a.u.log.text = arena_strdup(it->mem, line);
}

void phc_log(struct phc_engine *g, int priority, const char *fmt, ...) {
    char line[SZTP_MESSAGE_MAX + 1];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    char shown[sizeof line];
    text_line(shown, sizeof shown, line);
    log_line(g, priority, shown);
}

void phc_trouble(struct phc_engine *g, int priority, const char *fmt, ...) {
    char line[sizeof g->last_error];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    text_line(g->last_error, sizeof g->last_error, line);
    log_line(g, priority, g->last_error);
}

bool phc_action(struct phc_engine *g, struct phc_action *out) {
    if (g->head == g->n_queue) {
        return false;
    }
    *out = g->queue[g->head++].a;
    return true;
}

/* ---------------------------------------------------------------- chance, platform */

uint64_t phc_below(struct phc_engine *g, uint64_t n) {
    uint64_t v;
    g->w.random(g->w.arg, &v, sizeof v);
    return v % n; /* of 64 bits and a small n: even enough for pauses */
}

int64_t phc_backoff(struct phc_engine *g, unsigned n) {
    int64_t ms = g->c.backoff_min_ms;
    for (unsigned i = 0; i < n && ms < g->c.backoff_max_ms; i++) {
        ms *= 2;
    }
    if (ms > g->c.backoff_max_ms) {
        ms = g->c.backoff_max_ms;
    }
    return ms / 2 + (int64_t)phc_below(g, (uint64_t)(ms - ms / 2) + 1);
}

bool phc_look(struct phc_engine *g) {
    struct err e = {0};
    struct platform *p = g->w.platform;
    const struct platform_ops *ops = *(const struct platform_ops *const *)p;
    struct platform_identity own = {0};
    size_t n = 0;
    if (ops->identity(p, &own, &e) != ERR_OK) {
        phc_trouble(g, LOG_WARNING, "the device does not tell who it is: %s", e.text);
        return false;
    }
    if (own.chassis && ops->members(p, g->live, SZTP_MEMBERS_MAX, &n, &e) != ERR_OK) {
        phc_trouble(g, LOG_WARNING, "the virtual chassis does not tell its members: %s", e.text);
        return false;
    }
    g->own = own;
    if (n == 0) { /* one box is a chassis of one */
        chassis_alone(&own, &g->live[n++]);
    }
    g->n_live = n;
    return true;
}

/* ---------------------------------------------------------------- a life begins */

struct phc_engine *phc_new(const struct phc_config *c, const struct phc_world *w,
                           const void *record, size_t n) {
    struct phc_engine *g = MEM_NEW(struct phc_engine);
    g->c = *c;
    if (g->c.redirects_max > PHC_LEVELS_MAX - 2) {
        g->c.redirects_max = PHC_LEVELS_MAX - 2;
    }
    g->w = *w;
    g->timer.due = g->wait_due = g->inherited_wait = -1;
    record_init(&g->r);
    if (n > 0) {
        g->damaged = record_parse(record, n, &g->r, &g->unfit) != ERR_OK;
        if (!g->damaged && g->r.state != PHC_ST_DONE &&
            record_check_age(&g->r, w->wall_s(w->arg), c->record_max_age_ms, &g->unfit) != ERR_OK) {
            record_free(&g->r);
            g->damaged = true;
        }
    }
    return g;
}

void phc_free(struct phc_engine *g) {
    if (g == NULL) {
        return;
    }
    g->head = g->n_queue;
    forget_done(g);
    mem_free(g->queue);
    phc_find_clear(g);
    buf_free(&g->ask.anchor);
    if (g->has_info) {
        conveyed_free(&g->info);
    }
    record_free(&g->r);
    mem_free(g);
}

/* Somebody else is the primary: what we remember is of a run that is theirs now. */
static bool other_primary(const struct phc_engine *g) {
    for (size_t i = 0; i < g->n_live; i++) {
        if (g->live[i].up && g->live[i].role == SZTP_MASTER &&
            strcmp(g->live[i].serial, g->own.serial) != 0) {
            return true;
        }
    }
    return false;
}

static void not_primary(struct phc_engine *g) {
    phc_quiet(g);
    phc_tell_stop(g);
    phc_find_clear(g);
    phc_enter(g, PHC_ST_IDLE);
    if (other_primary(g) && (g->r.run != 0 || g->damaged)) {
        record_end_run(&g->r);
        g->damaged = false;
        phc_save(g);
        phc_log(g, LOG_NOTICE,
                "another member is the primary of the virtual chassis now, and goes on");
    }
}

/* The record that the former primary left, if there is a fit one, takes the place of ours. */
static void take_over(struct phc_engine *g) {
    struct platform *p = g->w.platform;
    const struct platform_ops *ops = *(const struct platform_ops *const *)p;
    struct buf b = BUF_INIT;
    struct record r;
    struct err e = {0};
    enum err_code rc = ops->inherited(p, &b, &e);
    if (rc == ERR_ABSENT) {
        return;
    }
    g->taken_over = true; /* whatever it is, it is looked at once */
    record_init(&r);
    if (rc == ERR_OK) {
        rc = record_parse(b.data, b.len, &r, &e);
    }
    if (rc == ERR_OK && r.state != PHC_ST_DONE) {
        rc = record_check_age(&r, g->w.wall_s(g->w.arg), g->c.record_max_age_ms, &e);
    }
    buf_free(&b);
    if (rc != ERR_OK) {
        phc_trouble(g, LOG_WARNING, "what the former primary left is of no use: %s", e.text);
        record_free(&r);
        return;
    }
    record_free(&g->r);
    g->r = r;
    g->damaged = false;
    g->state = r.state;
    g->inherited_wait = -1;
    phc_save(g);
    phc_log(g, LOG_NOTICE, "goes on where the former primary was (%s)", phc_state_name(r.state));
}

/* Reports that the run waits for are made anew by the step that waits. */
static void drop_musts(struct record *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_reports; i++) {
        if (!r->reports[i].must) {
            r->reports[n++] = r->reports[i];
        }
    }
    r->n_reports = n;
}

static void resume(struct phc_engine *g) {
    enum phc_state at = g->r.state;
    struct err e = {0};
    drop_musts(&g->r);
    phc_enter(g, PHC_ST_RESUME);
    if (phc_parse_body(g, &e) != ERR_OK) {
        phc_trouble(g, LOG_ERR, "the saved data can't be read: %s", e.text);
        phc_leave(g, AFTER_NEXT);
        return;
    }
    if (at > PHC_ST_CONFIG && g->info.has_config && g->own.factory_default) {
        at = PHC_ST_CONFIG; /* it was taken back, by time or by who was the primary */
    }
    if (at < PHC_ST_REPORT && g->own.chassis && !g->own.frozen) {
        at = PHC_ST_TEMPCFG; /* another member was the primary meanwhile, and began clean */
    }
    phc_log(g, LOG_NOTICE, "resumes the run of %s at %s", g->r.place, phc_state_name(at));
    switch (at) {
    case PHC_ST_TEMPCFG:
        phc_freeze(g);
        break;
    case PHC_ST_PRE:
        phc_pre(g);
        break;
    case PHC_ST_CONFIG:
        phc_config_apply(g);
        break;
    case PHC_ST_POST:
        phc_post(g);
        break;
    case PHC_ST_REPORT:
        phc_complete(g);
        break;
    default:
        phc_resume_upgrade(g);
        break;
    }
    phc_tell_pump(g);
}

/* A run that can be resumed: its data had been taken. */
static bool resumable(enum phc_state s) {
    return s >= PHC_ST_TEMPCFG && s <= PHC_ST_REPORT;
}

static void start_clean(struct phc_engine *g) {
    if (!g->own.factory_default) {
        phc_trouble(g, LOG_NOTICE,
                    "the device is configured: bootstrapping begins in factory default alone");
        phc_enter(g, PHC_ST_IDLE);
        return;
    }
    phc_discover(g);
}

void phc_after_clean(struct phc_engine *g) {
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, phc_after_clean);
        return;
    }
    start_clean(g);
}

/* Configured, and nothing holds the roles: another primary ended the run, and could not say so. */
static bool finished_elsewhere(const struct phc_engine *g) {
    return !g->own.frozen && !g->own.factory_default;
}

void phc_start(struct phc_engine *g) {
    phc_quiet(g);
    phc_enter(g, PHC_ST_IDLE);
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, phc_start);
        return;
    }
    if (!g->own.primary) {
        not_primary(g);
        return;
    }
    if (g->own.chassis) {
        take_over(g);
    }
    if (g->unfit.code != ERR_OK) {
        phc_trouble(g, LOG_WARNING, "starts anew: %s", g->unfit.text);
        g->unfit.code = ERR_OK;
    }
    if (g->r.state == PHC_ST_DONE) {
        phc_enter(g, PHC_ST_DONE);
        phc_push(g, PHC_DISABLE);
        return;
    }
    g->inherited_wait = g->r.wait_ms;
    if (g->own.chassis && g->r.run != 0 && g->r.state != PHC_ST_REPORT && finished_elsewhere(g)) {
        record_end_run(&g->r);
        phc_save(g);
    }
    if (g->r.run != 0 && resumable(g->r.state)) {
        resume(g);
        return;
    }
    if (g->r.run == 0) { /* what an unknown former life may have left */
        g->r.frozen = g->own.chassis;
        g->r.applied = g->damaged;
    }
    g->damaged = false;
    if (g->r.frozen || g->r.applied || g->r.run != 0) {
        g->r.applied |= g->own.frozen && !g->own.factory_default;
        g->after = AFTER_START;
        phc_enter(g, PHC_ST_FAIL);
        phc_undo(g);
        return;
    }
    phc_after_clean(g);
}

/* ---------------------------------------------------------------- events */

/* The former primary's copy goes when ours is durable, and something was heard since. */
static void clear_inherited(struct phc_engine *g) {
    if (g->taken_over) {
        struct platform *p = g->w.platform;
        (*(const struct platform_ops *const *)p)->inherited_clear(p);
        g->taken_over = false;
    }
}

static void on_done(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->order == 0) {
        return;
    }
    if (ev->order == g->tell.order) {
        phc_tell_done(g, ev);
    } else if (ev->order == g->main.order) {
        phc_done *done = g->main.done;
        g->main.order = 0;
        done(g, ev);
    }
}

static void on_time(struct phc_engine *g) {
    int64_t now = phc_now(g);
    phc_tell_time(g);
    if (g->main.order != 0 && g->main.due <= now) {
        struct err e = {0};
        err_set(&e, ERR_TIMEOUT, NULL, "it did not end in time");
        struct phc_event ev = {.kind = PHC_EV_DONE, .order = g->main.order, .error = &e};
        phc_cancel(g, g->main.order);
        on_done(g, &ev);
    }
    if (g->timer.due >= 0 && g->timer.due <= now) {
        g->timer.due = -1;
        g->timer.then(g);
    }
}

static void on_primary(struct phc_engine *g) {
    bool was = g->own.primary;
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, phc_start);
    } else if (!g->own.primary) {
        not_primary(g);
    } else if (!was) {
        phc_start(g);
    }
}

static void on_stop(struct phc_engine *g) {
    if (g->state == PHC_ST_DONE || !g->own.primary) {
        return;
    }
    phc_log(g, LOG_NOTICE, "stopped by an operator");
    g->r.tried[0] = '\0';
    phc_leave(g, AFTER_IDLE);
}

void phc_event(struct phc_engine *g, const struct phc_event *ev) {
    forget_done(g);
    if (ev->kind == PHC_EV_START) {
        g->started = true;
        phc_start(g);
        return;
    }
    if (!g->started) {
        return;
    }
    if (g->n_queue == 0) { /* all that was given was begun, so what was to be saved is */
        clear_inherited(g);
    }
    switch (ev->kind) {
    case PHC_EV_TIME:
        on_time(g);
        break;
    case PHC_EV_FOUND:
        if (ev->order != 0 && ev->order == g->main.order && g->state == PHC_ST_DISCOVER) {
            phc_found(g, ev->found);
        }
        break;
    case PHC_EV_DONE:
        on_done(g, ev);
        break;
    case PHC_EV_MEMBERS:
        if (g->on_members != NULL) {
            g->on_members(g);
        }
        break;
    case PHC_EV_PRIMARY:
        on_primary(g);
        break;
    case PHC_EV_STOP:
        on_stop(g);
        break;
    case PHC_EV_WAKE:
        phc_wake(g);
        break;
    case PHC_EV_START:
        break;
    }
}

static void earliest(int64_t *at, int64_t due) {
    if (due >= 0 && (*at < 0 || due < *at)) {
        *at = due;
    }
}

int64_t phc_deadline(const struct phc_engine *g) {
    int64_t at = -1;
    if (g->main.order != 0) {
        earliest(&at, g->main.due);
    }
    earliest(&at, g->timer.due);
    if (g->tell.order != 0) {
        earliest(&at, g->tell.due);
    } else if (g->r.n_reports > 0) {
        earliest(&at, g->tell.retry_at);
    }
    if (g->drain.then != NULL) {
        earliest(&at, g->drain.due);
    }
    return at;
}

/* ---------------------------------------------------------------- what it shows */

enum phc_state phc_state(const struct phc_engine *g) {
    return g->state;
}

static json_t *members_json(const struct phc_engine *g) {
    json_t *list = json_array();
    for (size_t i = 0; i < g->r.n_members; i++) {
        const struct record_member *m = &g->r.members[i];
        json_array_append_new(
            list, json_pack("{s:i,s:s,s:s,s:s,s:s}", "member-id", m->id, "serial-id", m->serial,
                            "role", sztp_role_name(m->role), "step", record_step_name(m->step),
                            "result", record_result_name(m->result)));
    }
    return list;
}

unsigned phc_rounds(const struct phc_engine *g) {
    return g->rounds;
}

void phc_status(const struct phc_engine *g, struct buf *json) {
    bool run = g->r.run != 0;
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(phc_state_name(g->state)));
    json_object_set_new(o, "source", json_string(phc_source_name(run ? g->r.source : g->source)));
    json_object_set_new(o, "server", json_string(run ? g->r.place : g->ask.place));
    json_object_set_new(o, "trusted", json_boolean(g->trust || run));
    json_object_set_new(o, "mode",
                        json_string(!run            ? ""
                                    : !g->r.chassis ? "standalone"
                                    : g->r.strict   ? "strict"
                                                    : "default"));
    json_object_set_new(o, "temporary-configuration", json_boolean(g->r.frozen));
    json_object_set_new(o, "members", members_json(g));
    json_object_set_new(o, "reports-waiting", json_integer((json_int_t)g->r.n_reports));
    json_object_set_new(o, "rounds", json_integer(g->rounds));
    json_object_set_new(o, "last-error", json_string(g->last_error));
    char *s = json_dumps(o, JSON_COMPACT);
    buf_str(json, s != NULL ? s : "{}");
    free(s);
    json_decref(o);
}
