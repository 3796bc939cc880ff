// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_junos.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "phone-home/chassis.h"
#include "phone-home/platform_junos_config.h"
#include "phone-home/platform_junos_session.h"
#include "phone-home/platform_lint.h"
#include "phone-home/script.h"

LOGGER_MODULE(junos)

enum {
    INSTALL_MS = 30 * 60 * 1000,
    COMMIT_MS = 5 * 60 * 1000, /* a chassis checks and spreads it */
    PROGRESS_MS = 60 * 1000,   /* between two words on an installation */
    LOCK_MS = 1000,            /* between two tries to lock the candidate configuration */
    LOCK_TRIES = 30,           /* who has it may be a session of ours that is on its way out */
    FAILURES_MAX = 3,          /* looks in a row that may fail before nothing is known any more */
    INHERITED_MAX = 20 << 20,
    PATH_SIZE = CONFIG_PATH_MAX + 32,
    STEPS_MAX = SZTP_MEMBERS_MAX + 6,
    CLOCK_BEGINS_S = 1735689600, /* 2025-01-01: a clock before it was never set */
};

/* What is asked in one look, one after another. */
enum look { LOOK_SYSTEM, LOOK_MEMBERS, LOOK_VERSIONS, LOOK_CONFIGURATION, LOOK_END };

struct junos {
    const struct platform_ops *ops;
    struct loop *loop;
    const struct junos_config *c;
    const char *state_folder;
    struct platform_events events;
    struct list jobs;
    struct platform_script_result result;
    /* what it knows */
    struct junos_session *session; /* of the looks; kept between them */
    struct loop_timer *poll;
    struct junos_state now, next; /* `next` while a look is under way */
    enum look look;
    bool looking, again, known, was_primary, told;
    unsigned failures;
    uint64_t looks; /* begun so far */
    struct err why; /* the last failure */
};

struct step {
    const char *rpc;
    struct buf body;
    int64_t ms;
    enum { ANYTHING, DONE, OUTPUT } expect;
    bool may_fail; /* is a warning then */
    bool secret;   /* the body has what an owner conveyed */
};

/* An order; one at a time is under way, the first of the list. */
struct job {
    struct list link;
    struct junos *h; /* NULL: the platform has gone */
    uint64_t order;
    const char *name;
    void (*begin)(struct job *j);
    /* Looks at an answer, and may add steps; j->err says that it ends here. May be NULL. */
    void (*answered)(struct job *j, const char *rpc, const struct dom *reply);
    struct junos_session *session;
    struct step steps[STEPS_MAX];
    size_t n, at;
    struct junos_state seen; /* what get-configuration told this order */
    bool begun, posted, reboots_us, look_after;
    uint64_t look; /* ends with this look */
    struct err err;
    /* what it is about */
    struct buf data;
    enum sztp_handling handling;
    int64_t confirm_ms, deadline_ms;
    int member;
    enum platform_script which;
    struct script *script;
    struct loop_timer *progress, *again;
    unsigned tries;
    int64_t began;
};

static struct junos *of(struct platform *p) {
    return (struct junos *)p;
}

static const char *in_state(const struct junos *h, const char *name, char out[PATH_SIZE]) {
    snprintf(out, PATH_SIZE, "%s/%s", h->state_folder, name);
    return out;
}

/* Several members: each is named in what is asked. */
static bool stacked(const struct junos *h) {
    return h->now.n_members > 1;
}

/* ---------------------------------------------------------------- looking */

static int own_id(const struct junos *h, const struct junos_state *s) {
    return h->c->member_id >= 0 ? h->c->member_id : s->own;
}

static const struct platform_member *own_member(const struct junos *h,
                                                const struct junos_state *s) {
    for (size_t i = 0; i < s->n_members; i++) {
        if (s->members[i].id == own_id(h, s)) {
            return &s->members[i];
        }
    }
    return NULL;
}

static bool leads(const struct junos *h) {
    const struct platform_member *m = own_member(h, &h->now);
    return h->now.n_members == 0 || (m != NULL && m->role == SZTP_MASTER);
}

static void end_jobs_of_look(struct junos *h, uint64_t looked);
static void begin_look(struct junos *h);

static void look_over(struct junos *h) {
    h->looking = false;
    if (h->again) {
        h->again = false;
        begin_look(h);
    } else {
        loop_timer_start(h->poll, h->c->poll_ms);
    }
}

static bool same_members(const struct junos_state *a, const struct junos_state *b) {
    bool same = a->n_members == b->n_members;
    for (size_t i = 0; same && i < a->n_members; i++) {
        const struct platform_member *m = &a->members[i], *n = &b->members[i];
        same = m->id == n->id && m->role == n->role && m->up == n->up &&
               strcmp(m->serial, n->serial) == 0 && strcmp(m->os_version, n->os_version) == 0;
    }
    return same;
}

static void publish(struct junos *h) {
    bool members = !h->known || !same_members(&h->now, &h->next);
    h->now = h->next;
    h->known = true;
    h->failures = 0;
    bool primary = leads(h), changed = !h->told || primary != h->was_primary;
    h->told = true;
    h->was_primary = primary;
    uint64_t looked = h->looks;
    look_over(h);
    end_jobs_of_look(h, looked);
    struct platform_events ev = h->events;
    if (members) {
        ev.members_changed(ev.arg);
    }
    if (changed) {
        ev.primary_changed(ev.arg);
    }
}

static void look_failed(struct junos *h, const struct err *e) {
    h->why = *e;
    L_WARN_RL(60, "the device can't be looked at: %s", e->text);
    if (++h->failures >= FAILURES_MAX && h->known) {
        L_WARN("nothing is known of the device any more until it answers");
        h->known = false;
    }
    uint64_t looked = h->looks;
    look_over(h);
    end_jobs_of_look(h, looked);
}

static void ask_look(struct junos *h);

static void on_look(void *arg, const struct dom *reply, const struct err *e) {
    struct junos *h = arg;
    struct err why = {0};
    enum err_code rc = ERR_OK;
    if (e != NULL && h->look == LOOK_MEMBERS && e->code == ERR_REFUSED) {
        h->next.n_members = 0; /* a device that knows no virtual chassis */
    } else if (e != NULL) {
        rc = e->code;
        why = *e;
    } else if (h->look == LOOK_SYSTEM) {
        rc = junos_read_system(reply, &h->next, &why);
    } else if (h->look == LOOK_MEMBERS) {
        rc = junos_read_members(reply, &h->next, &why);
    } else if (h->look == LOOK_VERSIONS) {
        rc = junos_read_versions(reply, &h->next, &why);
    } else {
        rc = junos_read_configuration(reply, &h->next, &why);
    }
    if (rc != ERR_OK) {
        look_failed(h, &why);
        return;
    }
    h->look++;
    ask_look(h);
}

static void ask_look(struct junos *h) {
    static const struct {
        const char *rpc, *body;
    } looks[] = {
        [LOOK_SYSTEM] = {"get-system-information", "<get-system-information/>"},
        [LOOK_MEMBERS] = {"get-virtual-chassis-information", "<get-virtual-chassis-information/>"},
        [LOOK_VERSIONS] = {"get-software-information", "<get-software-information/>"},
        [LOOK_CONFIGURATION] = {"get-configuration", junos_get_configuration},
    };
    if (h->look == LOOK_END) {
        publish(h);
        return;
    }
    const char *body = looks[h->look].body;
    if (h->look == LOOK_VERSIONS && h->next.n_members > 1) {
        body = "<get-software-information><all-members/></get-software-information>";
    }
    junos_session_ask(h->session, looks[h->look].rpc, body, strlen(body), true, h->c->answer_ms,
                      on_look, h);
}

static void begin_look(struct junos *h) {
    if (h->looking) {
        h->again = true;
        return;
    }
    loop_timer_stop(h->poll);
    if (h->session != NULL && junos_session_dead(h->session)) {
        junos_session_free(h->session);
        h->session = NULL;
    }
    if (h->session == NULL) {
        h->session = junos_session_new(h->loop, h->c);
    }
    h->looking = true;
    h->looks++;
    h->look = LOOK_SYSTEM;
    h->next = h->now;
    ask_look(h);
}

static void on_poll(void *arg) {
    begin_look(arg);
}

/* ---------------------------------------------------------------- what it knows */

static enum err_code unknown(const struct junos *h, struct err *e) {
    return err_set(e, ERR_UNAVAILABLE, NULL, "it has not answered yet%s%s",
                   h->why.text[0] != '\0' ? ": " : "", h->why.text);
}

static enum err_code identity(struct platform *p, struct platform_identity *out, struct err *e) {
    const struct junos *h = of(p);
    const struct platform_member *m = own_member(h, &h->now);
    memset(out, 0, sizeof *out);
    if (!h->known) {
        return unknown(h, e);
    }
    out->chassis = h->now.n_members > 0;
    if (out->chassis && (m == NULL || !m->up)) {
        return err_set(e, ERR_UNAVAILABLE, NULL,
                       "the virtual chassis does not tell which member this is%s",
                       h->c->member_id < 0 ? ": member-id must be configured" : "");
    }
    memcpy(out->serial, m != NULL ? m->serial : h->now.serial, sizeof out->serial);
    memcpy(out->model, h->now.model, sizeof out->model);
    memcpy(out->os_name, h->now.os_name, sizeof out->os_name);
    memcpy(out->os_version,
           m != NULL && m->os_version[0] != '\0' ? m->os_version : h->now.os_version,
           sizeof out->os_version);
    out->primary = leads(h);
    out->factory_default = h->now.phone_home || !h->now.root_set;
    out->clock_ok = clock_wall_s(&clock_real) >= CLOCK_BEGINS_S;
    out->frozen = h->now.frozen;
    out->member_id = m != NULL ? m->id : 0;
    return ERR_OK;
}

static enum err_code members(struct platform *p, struct platform_member *out, size_t max, size_t *n,
                             struct err *e) {
    const struct junos *h = of(p);
    struct platform_identity id;
    *n = 0;
    ERR_TRY(identity(p, &id, e));
    for (size_t i = 0; i < h->now.n_members && *n < max; i++) {
        out[(*n)++] = h->now.members[i];
    }
    if (h->now.n_members == 0 && max > 0) {
        *n = 1;
        chassis_alone(&id, out);
    }
    return ERR_OK;
}

static enum err_code inherited(struct platform *p, struct buf *out, struct err *e) {
    char file[PATH_SIZE];
    return file_read(in_state(of(p), "inherited", file), INHERITED_MAX, out, e);
}

static void inherited_clear(struct platform *p) {
    char file[PATH_SIZE];
    unlink(in_state(of(p), "inherited", file));
    file_sync_folder_of(file, NULL);
}

/* ---------------------------------------------------------------- orders */

/* What it holds, but not itself. */
static void job_clear(struct job *j) {
    list_remove(&j->link);
    for (size_t i = 0; i < j->n; i++) {
        buf_free(&j->steps[i].body);
    }
    loop_timer_free(j->progress);
    loop_timer_free(j->again);
    junos_session_free(j->session);
    script_cancel(j->script);
    buf_free(&j->data);
}

static void begin_first(struct junos *h);

static void end(struct job *j) {
    struct junos *h = j->h;
    struct platform_events ev = h->events;
    uint64_t order = j->order;
    struct err e = j->err;
    if (e.code != ERR_OK) {
        L_WARN("%s: %s", j->name, e.text);
    }
    job_clear(j);
    mem_free(j);
    begin_first(h);
    ev.done(ev.arg, order, e.code != ERR_OK ? &e : NULL);
}

static void end_posted(void *arg) {
    struct job *j = arg;
    if (j->h == NULL) {
        mem_free(j);
        return;
    }
    end(j);
}

/* Well, or with j->err; not from inside the call that gave the order. */
static void end_later(struct job *j) {
    j->posted = true;
    loop_post(j->h->loop, end_posted, j);
}

/* What it changed is known before it is over. */
static void over(struct job *j) {
    struct junos *h = j->h;
    junos_session_free(j->session);
    j->session = NULL;
    if (j->err.code == ERR_OK && j->look_after) {
        j->look = h->looks + 1;
        begin_look(h);
        return;
    }
    end_later(j);
}

static void end_jobs_of_look(struct junos *h, uint64_t looked) {
    LIST_FOREACH (at, &h->jobs) {
        struct job *j = CONTAINER_OF(at, struct job, link);
        if (j->look != 0 && j->look <= looked && !j->posted) {
            end_later(j);
        }
    }
}

static struct step *step(struct job *j, const char *rpc, int64_t ms) {
    struct step *s = &j->steps[j->n++];
    s->rpc = rpc;
    s->ms = ms;
    return s;
}

static struct step *simple_step(struct job *j, const char *rpc, const char *body) {
    struct step *s = step(j, rpc, j->h->c->answer_ms);
    buf_str(&s->body, body);
    return s;
}

static void next_step(struct job *j);

static void on_again(void *arg) {
    next_step(arg);
}

/* Somebody else has what the step needs: once more, a little later. */
static bool try_again(struct job *j, const struct err *e) {
    if (e->code != ERR_LOCKED || ++j->tries > LOCK_TRIES) {
        return false;
    }
    if (j->again == NULL) {
        j->again = loop_timer_new(j->h->loop, on_again, j);
    }
    loop_timer_start(j->again, LOCK_MS);
    return true;
}

static bool expected(struct job *j, const struct step *s, const struct dom *reply) {
    return s->expect == ANYTHING ||
           (s->expect == OUTPUT ? junos_read_output(reply, s->rpc, &j->err)
                                : junos_read_done(reply, s->rpc, &j->err)) == ERR_OK;
}

static void on_step(void *arg, const struct dom *reply, const struct err *e) {
    struct job *j = arg;
    if (e != NULL && try_again(j, e)) {
        return;
    }
    const struct step *s = &j->steps[j->at++];
    if (e != NULL && j->reboots_us && j->at == j->n &&
        (e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT)) {
        over(j); /* it is on its way down */
        return;
    }
    if (e != NULL && s->may_fail && e->code == ERR_REFUSED) {
        L_WARN("%s: %s", j->name, e->text);
    } else if (e != NULL) {
        j->err = *e;
    } else if (!expected(j, s, reply)) {
        if (s->may_fail) {
            L_WARN("%s: %s", j->name, j->err.text);
            j->err.code = ERR_OK;
        }
    } else if (j->answered != NULL) {
        j->answered(j, s->rpc, reply);
    }
    next_step(j);
}

static void next_step(struct job *j) {
    if (j->err.code != ERR_OK || j->at == j->n) {
        over(j);
        return;
    }
    struct step *s = &j->steps[j->at];
    if (j->session == NULL) {
        j->session = junos_session_new(j->h->loop, j->h->c);
    }
    junos_session_ask(j->session, s->rpc, s->body.data, s->body.len, s->secret, s->ms, on_step, j);
}

static void begin_first(struct junos *h) {
    if (!list_empty(&h->jobs)) {
        struct job *j = CONTAINER_OF(h->jobs.next, struct job, link);
        if (!j->begun) {
            j->begun = true;
            j->began = clock_mono(&clock_real);
            j->begin(j);
            if (j->script == NULL) {
                next_step(j);
            }
        }
    }
}

static struct job *job_new(struct platform *p, uint64_t order, const char *name,
                           void (*begin)(struct job *j)) {
    struct job *j = MEM_NEW(struct job);
    j->h = of(p);
    j->order = order;
    j->name = name;
    j->begin = begin;
    j->member = -1;
    return j;
}

static void submit(struct job *j) {
    list_append(&j->h->jobs, &j->link);
    begin_first(j->h);
}

/* ---------------------------------------------------------------- configuration */

static void lock_step(struct job *j) {
    simple_step(j, "lock", "<lock><target><candidate/></target></lock>")->expect = DONE;
    j->look_after = true;
}

static struct step *load_step(struct job *j) {
    struct step *s = step(j, "load-configuration", j->h->c->answer_ms);
    s->expect = DONE;
    s->secret = true;
    return s;
}

static void commit_step(struct job *j, const char *what) {
    struct step *s = step(j, "commit-configuration", COMMIT_MS);
    junos_body_commit(what, stacked(j->h), j->confirm_ms, &s->body);
    s->expect = DONE;
    s->secret = true;
    simple_step(j, "unlock", "<unlock><target><candidate/></target></unlock>")->may_fail = true;
}

static void configuration_step(struct job *j) {
    simple_step(j, "get-configuration", junos_get_configuration)->secret = true;
}

static void freeze(struct job *j) {
    if (stacked(j->h)) {
        lock_step(j);
        junos_body_freeze(&j->h->now, &load_step(j)->body);
        commit_step(j, "roles are held");
    }
}

static void order_freeze(struct platform *p, uint64_t order) {
    submit(job_new(p, order, "roles are held", freeze));
}

static void thaw_answered(struct job *j, const char *rpc, const struct dom *reply) {
    if (strcmp(rpc, "get-configuration") == 0 &&
        junos_read_configuration(reply, &j->seen, &j->err) == ERR_OK && j->seen.frozen) {
        lock_step(j);
        junos_body_thaw(&load_step(j)->body);
        commit_step(j, "roles are free");
    }
}

static void order_thaw(struct platform *p, uint64_t order) {
    struct job *j = job_new(p, order, "roles are freed", configuration_step);
    j->answered = thaw_answered;
    submit(j);
}

static void apply_answered(struct job *j, const char *rpc, const struct dom *reply) {
    if (strcmp(rpc, "get-configuration") != 0 ||
        junos_read_configuration(reply, &j->seen, &j->err) != ERR_OK) {
        return;
    }
    lock_step(j);
    if (junos_body_load(j->data.data, j->data.len, j->handling, &load_step(j)->body, &j->err) !=
        ERR_OK) {
        return;
    }
    if (j->seen.frozen) { /* a new configuration does not free the roles in passing */
        junos_body_freeze(&j->h->now, &load_step(j)->body);
    }
    commit_step(j, "apply");
    j->look_after = false; /* time runs until it is confirmed */
}

static void apply(struct job *j) {
    enum junos_format format;
    const char *action;
    size_t at;
    if (junos_config_parse(j->data.data, j->data.len, &format, &at, &action, &j->err) == ERR_OK) {
        configuration_step(j);
    }
}

static void order_apply(struct platform *p, uint64_t order, const void *config, size_t n,
                        enum sztp_handling handling, int64_t confirm_ms) {
    struct job *j = job_new(p, order, "the configuration is applied", apply);
    buf_add(&j->data, config, n);
    j->handling = handling;
    j->confirm_ms = confirm_ms;
    j->answered = apply_answered;
    submit(j);
}

static void history(struct job *j) {
    simple_step(j, "get-commit-information", "<get-commit-information/>");
}

static void confirm_answered(struct job *j, const char *rpc, const struct dom *reply) {
    struct junos_history h;
    if (strcmp(rpc, "get-commit-information") == 0 &&
        junos_read_history(reply, &h, &j->err) == ERR_OK) {
        if (h.newest == JUNOS_APPLY) {
            configuration_step(j);
        } else if (h.newest != JUNOS_CONFIRM) { /* that would be the order once more */
            err_set(&j->err, ERR_CONFLICT, NULL,
                    "the configuration was taken back or changed before it was confirmed");
        }
    } else if (strcmp(rpc, "get-configuration") == 0 &&
               junos_read_configuration(reply, &j->seen, &j->err) == ERR_OK) {
        lock_step(j);
        if (j->seen.phone_home) { /* or the device's own client would begin again */
            junos_body_no_phone_home(&load_step(j)->body);
        }
        commit_step(j, "confirm");
    }
}

static void order_confirm(struct platform *p, uint64_t order) {
    struct job *j = job_new(p, order, "the configuration is confirmed", history);
    j->answered = confirm_answered;
    submit(j);
}

static void rollback_answered(struct job *j, const char *rpc, const struct dom *reply) {
    struct junos_history h;
    if (strcmp(rpc, "get-commit-information") == 0 &&
        junos_read_history(reply, &h, &j->err) == ERR_OK && h.last == JUNOS_APPLY) {
        lock_step(j);
        buf_printf(&load_step(j)->body, "<load-configuration rollback=\"%u\"/>", h.at + 1);
        commit_step(j, "rollback");
    }
}

static void order_rollback(struct platform *p, uint64_t order) {
    struct job *j = job_new(p, order, "the configuration is taken back", history);
    j->answered = rollback_answered;
    submit(j);
}

/* ---------------------------------------------------------------- images and reboots */

static void on_progress(void *arg) {
    const struct job *j = arg;
    L_INFO("%s: goes on since %lld s", j->name,
           (long long)((clock_mono(&clock_real) - j->began) / NS_PER_S));
}

static void install(struct job *j) {
    struct step *s = step(j, "request-package-add", INSTALL_MS);
    junos_body_install(buf_cstr(&j->data), stacked(j->h) ? j->member : -1, j->h->c->validate,
                       &s->body);
    s->expect = OUTPUT;
    j->progress = loop_timer_new(j->h->loop, on_progress, j);
    loop_timer_repeat(j->progress, PROGRESS_MS);
    L_INFO("%s: member %d", j->name, j->member);
}

static void order_install(struct platform *p, uint64_t order, int member, const char *image,
                          const char *os_version) {
    struct job *j = job_new(p, order, "the image is installed", install);
    j->member = member;
    buf_str(&j->data, image);
    submit(j);
}

static void nothing(struct job *j) {
}

static void order_reboot(struct platform *p, uint64_t order, const int *ids, size_t n) {
    struct junos *h = of(p);
    struct job *j = job_new(p, order, "reboot", nothing);
    for (size_t i = 0; i < h->now.n_members && stacked(h); i++) {
        const struct platform_member *m = &h->now.members[i];
        for (size_t k = 0; k < n && m->up; k++) { /* who is away is on its way */
            if (ids[k] == m->id && m->id != own_id(h, &h->now)) {
                junos_body_reboot(m->id, &step(j, "request-reboot", h->c->answer_ms)->body);
                break;
            }
        }
    }
    for (size_t k = 0; k < n; k++) { /* our own last: it ends the session */
        if (!j->reboots_us && (!stacked(h) || ids[k] == own_id(h, &h->now))) {
            junos_body_reboot(stacked(h) ? ids[k] : -1,
                              &step(j, "request-reboot", h->c->answer_ms)->body);
            j->reboots_us = true;
        }
    }
    submit(j);
}

static void order_zeroize(struct platform *p, uint64_t order) {
    struct job *j = job_new(p, order, "back to factory default", nothing);
    simple_step(j, "request-system-zeroize", "<request-system-zeroize/>");
    j->reboots_us = true;
    submit(j);
}

/* ---------------------------------------------------------------- the next primary */

static void replicate(struct job *j) {
    struct junos *h = j->h;
    char from[PATH_SIZE], to[PATH_SIZE];
    bool backup = false;
    if (!stacked(h)) {
        return;
    }
    if (file_write(in_state(h, "handover", from), j->data.data, j->data.len, 0600, &j->err) !=
        ERR_OK) {
        return;
    }
    in_state(h, "inherited", to);
    /* To all: another one may be backup when it matters. The backup must have it. */
    for (size_t i = 0; i < h->now.n_members; i++) {
        const struct platform_member *m = &h->now.members[i];
        if (m->up && m->id != own_id(h, &h->now)) {
            struct step *s = step(j, "file-copy", h->c->answer_ms);
            junos_body_copy(from, m->id, to, &s->body);
            s->expect = OUTPUT;
            s->may_fail = m->role != SZTP_BACKUP;
            backup = backup || m->role == SZTP_BACKUP;
        }
    }
    if (!backup) {
        err_set(&j->err, ERR_UNAVAILABLE, NULL, "the virtual chassis has no backup now");
    }
}

static void order_replicate(struct platform *p, uint64_t order, const void *record, size_t n) {
    struct job *j = job_new(p, order, "the record is handed to the backup", replicate);
    buf_add(&j->data, record, n);
    submit(j);
}

/* ---------------------------------------------------------------- scripts */

static void on_script(void *arg, struct script_result *r, const struct err *e) {
    struct job *j = arg;
    struct platform_script_result *out = &j->h->result;
    j->script = NULL;
    buf_free(&out->output);
    out->status = r->status;
    out->output = r->output;
    r->output = (struct buf)BUF_INIT;
    if (e != NULL) {
        j->err = *e;
    }
    end(j);
}

static void run_script(struct job *j) {
    struct junos *h = j->h;
    const char *name = j->which == PLATFORM_PRE ? "pre-script" : "post-script";
    char file[PATH_SIZE], output[PATH_SIZE + 8], serial[CMS_SERIAL_MAX + 20];
    struct platform_identity id = {.serial = ""};
    identity((struct platform *)h, &id, NULL);
    in_state(h, name, file);
    snprintf(output, sizeof output, "%s.log", file);
    snprintf(serial, sizeof serial, "WEFT_SERIAL=%s", id.serial);
    struct script_config s = {.file = file,
                              .text = buf_cstr(&j->data),
                              .n = j->data.len,
                              .environment = {serial},
                              .output_file = output,
                              .deadline_ms = j->deadline_ms};
    j->script = script_start(h->loop, &s, on_script, j);
}

static void order_script(struct platform *p, uint64_t order, enum platform_script which,
                         const void *text, size_t n, int64_t deadline_ms) {
    struct job *j = job_new(p, order, "script", run_script);
    buf_add(&j->data, text, n);
    j->which = which;
    j->deadline_ms = deadline_ms;
    submit(j);
}

static const struct platform_script_result *script_result(struct platform *p) {
    return &of(p)->result;
}

static void lint(struct platform *p, const void *config, size_t n, struct buf *out) {
    static const char *const suspicious[] = {"virtual-chassis", "mastership-priority",
                                             "preprovisioned", "graceful-switchover",
                                             "no-split-detection"};
    platform_lint(suspicious, sizeof suspicious / sizeof *suspicious, config, n, out);
}

/* ---------------------------------------------------------------- life */

static void free_junos(struct platform *p) {
    struct junos *h = of(p);
    junos_session_free(h->session);
    LIST_FOREACH_SAFE (at, &h->jobs) {
        struct job *j = CONTAINER_OF(at, struct job, link);
        job_clear(j);
        if (j->posted) { /* its end is on its way */
            j->h = NULL;
        } else {
            mem_free(j);
        }
    }
    loop_timer_free(h->poll);
    buf_free(&h->result.output);
    mem_free(h);
}

struct platform *platform_junos_new(struct loop *l, const struct junos_config *c, const char *state,
                                    const struct platform_events *events) {
    static const struct platform_ops ops = {.name = "junos",
                                            .free = free_junos,
                                            .identity = identity,
                                            .members = members,
                                            .inherited = inherited,
                                            .inherited_clear = inherited_clear,
                                            .freeze = order_freeze,
                                            .thaw = order_thaw,
                                            .install = order_install,
                                            .reboot = order_reboot,
                                            .script = order_script,
                                            .apply = order_apply,
                                            .confirm = order_confirm,
                                            .rollback = order_rollback,
                                            .replicate = order_replicate,
                                            .zeroize = order_zeroize,
                                            .script_result = script_result,
                                            .lint = lint};
    struct junos *h = MEM_NEW(struct junos);
    h->ops = &ops;
    h->loop = l;
    h->c = c;
    h->state_folder = state;
    h->events = *events;
    h->now.own = -1;
    list_init(&h->jobs);
    h->poll = loop_timer_new(l, on_poll, h);
    begin_look(h);
    return (struct platform *)h;
}
