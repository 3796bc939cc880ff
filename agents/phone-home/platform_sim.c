// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_sim.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { SETTLE_MS = 500, ELECT_MS = 2000, JITTER_MS = 40 };

struct sim_event {
    int64_t at;
    uint64_t seq;
    void (*fire)(void *arg, uint64_t a, uint64_t b);
    void *arg;
    uint64_t a, b;
};

static const struct platform_ops ops;

/* ---------------------------------------------------------------- time */

void sim_after(struct sim *s, int64_t ms, void (*fire)(void *arg, uint64_t a, uint64_t b),
               void *arg, uint64_t a, uint64_t b) {
    s->events = mem_array(s->events, s->n_events + 1, sizeof *s->events);
    s->events[s->n_events++] =
        (struct sim_event){.at = s->now_ms + ms + (int64_t)rng_below(&s->rng, JITTER_MS),
                           .seq = s->seq++,
                           .fire = fire,
                           .arg = arg,
                           .a = a,
                           .b = b};
}

bool sim_step(struct sim *s, int64_t limit_ms) {
    size_t first = 0;
    for (size_t i = 1; i < s->n_events; i++) {
        const struct sim_event *e = &s->events[i], *f = &s->events[first];
        if (e->at < f->at || (e->at == f->at && e->seq < f->seq)) {
            first = i;
        }
    }
    if (s->n_events == 0 || s->events[first].at > limit_ms) {
        if (limit_ms > s->now_ms) {
            s->now_ms = limit_ms;
        }
        return false;
    }
    struct sim_event e = s->events[first];
    s->events[first] = s->events[--s->n_events];
    if (e.at > s->now_ms) {
        s->now_ms = e.at;
    }
    e.fire(e.arg, e.a, e.b);
    return true;
}

static void broken(struct sim *s, const char *what) {
    if (s->broken[0] == '\0') {
        snprintf(s->broken, sizeof s->broken, "at %lld ms: %s", (long long)s->now_ms, what);
    }
}

/* ---------------------------------------------------------------- roles */

int sim_primary(const struct sim *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->m[i].up && s->m[i].role == SZTP_MASTER) {
            return (int)i;
        }
    }
    return -1;
}

static int holder(const struct sim *s, enum sztp_role role) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->m[i].role == role) {
            return (int)i;
        }
    }
    return -1;
}

static void members_changed(struct sim *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->m[i].events.members_changed != NULL) {
            s->m[i].events.members_changed(s->m[i].events.arg);
        }
    }
}

static int lowest(const struct sim *s) { /* linecard that is up */
    for (size_t i = 0; i < s->n; i++) {
        if (s->m[i].up && !s->m[i].cut && s->m[i].role == SZTP_LINECARD) {
            return (int)i;
        }
    }
    return -1;
}

static void settle_backup(struct sim *s) {
    int b = holder(s, SZTP_BACKUP);
    if (b >= 0 && (s->m[b].up || s->frozen)) {
        return;
    }
    if (b >= 0) {
        s->m[b].role = SZTP_LINECARD;
    }
    int to = s->frozen ? s->old_master : lowest(s);
    if (to >= 0 && s->m[to].up && s->m[to].role == SZTP_LINECARD) {
        s->m[to].role = SZTP_BACKUP;
    }
}

/* Elects what is to be elected. */
static void settle(void *arg, uint64_t a, uint64_t b) {
    struct sim *s = arg;
    (void)a;
    (void)b;
    if (!s->chassis) {
        return;
    }
    if (sim_primary(s) < 0) {
        int old = holder(s, SZTP_MASTER), to = holder(s, SZTP_BACKUP);
        if (to < 0 || !s->m[to].up) {
            to = old >= 0 && s->m[old].up ? old : lowest(s);
        }
        if (to < 0) {
            return;
        }
        if (old >= 0 && old != to) {
            s->m[old].role = SZTP_LINECARD;
            s->old_master = old;
        }
        s->m[to].role = SZTP_MASTER;
        if (s->m[to].events.primary_changed != NULL) {
            s->m[to].events.primary_changed(s->m[to].events.arg);
        }
    }
    settle_backup(s);
    members_changed(s);
}

/* ---------------------------------------------------------------- power */

static void boot(void *arg, uint64_t member, uint64_t b) {
    struct sim *s = arg;
    struct sim_member *m = &s->m[member];
    (void)b;
    if (m->slot[0] != '\0') {
        if (m->fault.returns_old > 0) {
            m->fault.returns_old--;
        } else {
            memcpy(m->version, m->slot, sizeof m->version);
        }
        m->slot[0] = '\0';
    }
    if (m->fault.wrong_serial) {
        snprintf(m->serial, sizeof m->serial, "OTHER%d", m->id);
    }
    m->up = true;
    if (s->chassis && m->role == SZTP_MASTER && sim_primary(s) != m->id) {
        m->role = SZTP_LINECARD;
    }
    /* Who was primary alone stays it; with others up somebody has been elected meanwhile. */
    sim_after(s, sim_primary(s) < 0 ? ELECT_MS : SETTLE_MS, settle, s, 0, 0);
    members_changed(s);
    s->booted(s->arg, m->id);
}

static void go_down(struct sim *s, int member, bool ordered) {
    struct sim_member *m = &s->m[member];
    if (!m->up) {
        return;
    }
    m->up = false;
    memset(&m->events, 0, sizeof m->events);
    m->life++;
    s->down(s->arg, member);
    if (m->role == SZTP_MASTER) {
        s->old_master = member;
        sim_after(s, SETTLE_MS, settle, s, 0, 0);
    } else if (m->role == SZTP_BACKUP) {
        sim_after(s, SETTLE_MS, settle, s, 0, 0);
    }
    if (!ordered || !m->fault.never_returns) {
        sim_after(s, s->boot_ms + (ordered ? m->fault.late_ms : 0), boot, s, (uint64_t)member, 0);
    }
    members_changed(s);
}

void sim_power_cut(struct sim *s, int member) {
    go_down(s, member, false);
}

void sim_link(struct sim *s, int member, bool cut) {
    s->m[member].cut = cut;
    members_changed(s);
}

/* ---------------------------------------------------------------- what a client asks */

static struct sim_member *self(struct platform *p) {
    return (struct sim_member *)((char *)p - offsetof(struct sim_member, ops));
}

static void free_platform(struct platform *p) {
    sim_attach(self(p)->sim, self(p)->id, NULL);
}

static enum err_code identity(struct platform *p, struct platform_identity *out, struct err *e) {
    struct sim_member *m = self(p);
    (void)e;
    memset(out, 0, sizeof *out);
    memcpy(out->serial, m->serial, sizeof out->serial);
    memcpy(out->os_version, m->version, sizeof out->os_version);
    snprintf(out->model, sizeof out->model, "sim-box");
    snprintf(out->os_name, sizeof out->os_name, "sim-os");
    out->chassis = m->sim->chassis;
    out->primary = !m->sim->chassis || m->role == SZTP_MASTER;
    out->factory_default = m->sim->config == SIM_DEFAULT;
    out->clock_ok = m->sim->clock_ok;
    out->frozen = m->sim->frozen;
    out->member_id = m->id;
    return ERR_OK;
}

static enum err_code members(struct platform *p, struct platform_member *out, size_t max, size_t *n,
                             struct err *e) {
    struct sim *s = self(p)->sim;
    (void)e;
    *n = 0;
    for (size_t i = 0; i < s->n && i < max; i++) {
        const struct sim_member *m = &s->m[i];
        struct platform_member *o = &out[(*n)++];
        memset(o, 0, sizeof *o);
        o->id = m->id;
        o->role = m->role;
        o->up = m->up && !m->cut;
        memcpy(o->serial, m->serial, sizeof o->serial);
        memcpy(o->os_version, m->version, sizeof o->os_version);
    }
    return ERR_OK;
}

static enum err_code inherited(struct platform *p, struct buf *out, struct err *e) {
    const struct sim_member *m = self(p);
    if (m->inherited.len == 0) {
        return err_set(e, ERR_ABSENT, NULL, "nothing was left");
    }
    buf_add(out, m->inherited.data, m->inherited.len);
    return ERR_OK;
}

static void inherited_clear(struct platform *p) {
    buf_free(&self(p)->inherited);
}

static const struct platform_script_result *script_result(struct platform *p) {
    return &self(p)->result;
}

static void lint(struct platform *p, const void *config, size_t n, struct buf *out) {
    (void)config;
    (void)n;
    if (self(p)->sim->lint_says != NULL) {
        buf_str(out, self(p)->sim->lint_says);
    }
}

/* ---------------------------------------------------------------- orders */

enum what {
    W_FREEZE,
    W_THAW,
    W_INSTALL,
    W_REBOOT,
    W_SCRIPT,
    W_APPLY,
    W_CONFIRM,
    W_ROLLBACK,
    W_REPLICATE,
    W_KEY,
    W_ZEROIZE
};
struct job {
    enum what what;
    struct sim_member *by;
    uint64_t life, order;
    int members[SZTP_MEMBERS_MAX];
    bool stays[SZTP_MEMBERS_MAX]; /* does not listen */
    size_t n;
    char version[SZTP_NAME_MAX + 1];
    enum platform_script which;
    struct buf bytes;
    int64_t confirm_ms;
};

static void unconfirmed(void *arg, uint64_t applies, uint64_t b) {
    struct sim *s = arg;
    (void)b;
    if (s->config == SIM_APPLIED && s->applies == applies) {
        s->config = SIM_DEFAULT;
    }
}

static bool counted(unsigned *left, struct err *e, const char *text) {
    if (*left == 0) {
        return false;
    }
    (*left)--;
    err_set(e, ERR_REFUSED, NULL, "%s", text);
    return true;
}

static void do_install(struct sim *s, struct job *j, struct err *e) {
    struct sim_member *m = &s->m[j->members[0]];
    if (!m->up || m->cut) {
        err_set(e, ERR_UNAVAILABLE, NULL, "the member is away");
    } else if (!counted(&m->fault.install_fails, e, "no room for the image")) {
        m->installs++;
        memcpy(m->slot, j->version[0] ? j->version : s->image_version, sizeof m->slot);
    }
}

static bool among(const struct job *j, int member) {
    for (size_t i = 0; i < j->n; i++) {
        if (j->members[i] == member) {
            return true;
        }
    }
    return false;
}

/* PH-042, PH-044: what an order to reboot must never do. */
static void check_reboot(struct sim *s, const struct job *j) {
    int p = holder(s, SZTP_MASTER), b = holder(s, SZTP_BACKUP);
    bool primary = p >= 0 && among(j, p), backup = b >= 0 && among(j, b);
    size_t others = 0;
    for (size_t i = 0; i < s->n; i++) {
        others += (int)i != p && s->m[i].up;
    }
    if (primary && others > 0 && (b < 0 || !s->m[b].up || backup)) {
        broken(s, "the primary is rebooted while no backup is up");
    }
    if (primary && j->n > 1) {
        broken(s, "the primary is rebooted together with others");
    }
    if (backup && j->n > 1) {
        broken(s, "the backup is rebooted together with others");
    }
    if ((primary || backup) && s->chassis && !s->frozen) {
        broken(s, "a reboot while roles may change");
    }
}

static void do_replicate(struct sim *s, struct job *j, struct err *e) {
    int b = holder(s, SZTP_BACKUP);
    s->replicates++;
    if (counted(&s->replicate_fails, e, "the backup's disk is full")) {
        return;
    }
    if (b < 0 || !s->m[b].up) {
        err_set(e, ERR_UNAVAILABLE, NULL, "there is no backup");
        return;
    }
    buf_clear(&s->m[b].inherited);
    buf_add(&s->m[b].inherited, j->bytes.data, j->bytes.len);
}

static void do_script(struct sim *s, struct job *j, struct err *e) {
    s->scripts[j->which]++;
    buf_clear(&j->by->result.output);
    buf_str(&j->by->result.output, "said");
    if (s->config == SIM_DEFAULT && j->which == PLATFORM_POST && s->applies > 0) {
        broken(s, "the post script runs without the configuration");
    }
    j->by->result.status = counted(&s->script_fails[j->which], e, "exit status 1") ? 1 : 0;
}

static void do_apply(struct sim *s, struct job *j, struct err *e) {
    if (counted(&s->apply_fails, e, "line 3: no such interface")) {
        return;
    }
    s->config = SIM_APPLIED;
    s->applies++;
    buf_clear(&s->text);
    buf_add(&s->text, j->bytes.data, j->bytes.len);
    sim_after(s, j->confirm_ms, unconfirmed, s, s->applies, 0);
}

static void effect(struct sim *s, struct job *j, struct err *e) {
    switch (j->what) {
    case W_FREEZE:
        s->freezes++;
        s->frozen = !counted(&s->freeze_fails, e, "the configuration is locked") || s->frozen;
        break;
    case W_THAW:
        s->thaws++;
        if (!counted(&s->thaw_fails, e, "the configuration is locked")) {
            s->frozen = false;
            sim_after(s, SETTLE_MS, settle, s, 0, 0);
        }
        break;
    case W_INSTALL:
        do_install(s, j, e);
        break;
    case W_REBOOT:
        check_reboot(s, j);
        for (size_t i = 0; i < j->n; i++) {
            unsigned *left = &s->m[j->members[i]].fault.reboot_fails;
            j->stays[i] = counted(left, e, "does not listen");
        }
        break;
    case W_SCRIPT:
        do_script(s, j, e);
        break;
    case W_APPLY:
        do_apply(s, j, e);
        break;
    case W_CONFIRM:
        if (!counted(&s->confirm_fails, e, "nothing to confirm")) {
            s->config = s->config == SIM_DEFAULT ? SIM_DEFAULT : SIM_CONFIRMED;
        }
        break;
    case W_ROLLBACK:
        s->rollbacks++;
        if (!counted(&s->rollback_fails, e, "the configuration is locked")) {
            s->config = SIM_DEFAULT;
        }
        break;
    case W_REPLICATE:
        do_replicate(s, j, e);
        break;
    case W_KEY:
        s->keys++;
        if (!counted(&s->key_fails, e, "no room for the key")) {
            buf_clear(&s->key);
            buf_add(&s->key, j->bytes.data, j->bytes.len);
        }
        break;
    case W_ZEROIZE:
        s->config = SIM_DEFAULT;
        s->frozen = false;
        break;
    }
}

static void ended(void *arg, uint64_t a, uint64_t b) {
    struct job *j = arg;
    struct sim *s = j->by->sim;
    struct err e = {0};
    (void)a;
    (void)b;
    if (j->by->up) { /* what a member that lost its power was about to do is not done */
        effect(s, j, &e);
        bool own = j->what == W_REBOOT && among(j, j->by->id);
        if (!own && j->life == j->by->life && j->by->events.done != NULL) {
            j->by->events.done(j->by->events.arg, j->order, e.code != ERR_OK ? &e : NULL);
        }
        for (size_t i = 0; j->what == W_REBOOT && i < j->n; i++) {
            if (j->stays[i]) {
                continue;
            }
            s->m[j->members[i]].reboots++;
            go_down(s, j->members[i], true);
        }
    }
    buf_free(&j->bytes);
    mem_free(j);
}

static struct job *order(struct platform *p, enum what what, uint64_t n, int64_t ms) {
    struct sim_member *m = self(p);
    struct job *j = MEM_NEW(struct job);
    j->what = what;
    j->by = m;
    j->life = m->life;
    j->order = n;
    sim_after(m->sim, ms, ended, j, 0, 0);
    return j;
}

static void freeze(struct platform *p, uint64_t n) {
    order(p, W_FREEZE, n, 200);
}

static void thaw(struct platform *p, uint64_t n) {
    order(p, W_THAW, n, 200);
}

static void install(struct platform *p, uint64_t n, int member, const char *image,
                    const char *os_version) {
    struct job *j = order(p, W_INSTALL, n, self(p)->sim->install_ms);
    (void)image;
    j->members[j->n++] = member;
    snprintf(j->version, sizeof j->version, "%s", os_version);
}

static void reboot(struct platform *p, uint64_t n, const int *list, size_t count) {
    struct job *j = order(p, W_REBOOT, n, 100);
    for (size_t i = 0; i < count; i++) {
        j->members[j->n++] = list[i];
    }
}

static void script(struct platform *p, uint64_t n, enum platform_script which, const void *text,
                   size_t len, int64_t deadline_ms) {
    struct job *j = order(p, W_SCRIPT, n, 300);
    (void)deadline_ms;
    j->which = which;
    buf_add(&j->bytes, text, len);
}

static void apply(struct platform *p, uint64_t n, const void *config, size_t len,
                  enum sztp_handling handling, int64_t confirm_ms) {
    struct job *j = order(p, W_APPLY, n, 500);
    (void)handling;
    j->confirm_ms = confirm_ms;
    buf_add(&j->bytes, config, len);
}

static void confirm(struct platform *p, uint64_t n) {
    order(p, W_CONFIRM, n, 100);
}

static void rollback(struct platform *p, uint64_t n) {
    order(p, W_ROLLBACK, n, 300);
}

static void replicate(struct platform *p, uint64_t n, const void *record, size_t len) {
    buf_add(&order(p, W_REPLICATE, n, 100)->bytes, record, len);
}

static void key(struct platform *p, uint64_t n, const void *pem, size_t len) {
    buf_add(&order(p, W_KEY, n, 100)->bytes, pem, len);
}

static void zeroize(struct platform *p, uint64_t n) {
    order(p, W_ZEROIZE, n, 500);
}

static const struct platform_ops ops = {
    .name = "sim",
    .free = free_platform,
    .identity = identity,
    .members = members,
    .inherited = inherited,
    .inherited_clear = inherited_clear,
    .freeze = freeze,
    .thaw = thaw,
    .install = install,
    .reboot = reboot,
    .script = script,
    .key = key,
    .apply = apply,
    .confirm = confirm,
    .rollback = rollback,
    .replicate = replicate,
    .zeroize = zeroize,
    .script_result = script_result,
    .lint = lint,
};

/* ---------------------------------------------------------------- the world */

struct sim *sim_new(size_t n, bool chassis, uint64_t seed) {
    struct sim *s = MEM_NEW(struct sim);
    rng_seed(&s->rng, seed);
    s->n = n;
    s->chassis = chassis;
    s->old_master = -1;
    s->boot_ms = 60 * 1000;
    s->install_ms = 20 * 1000;
    s->clock_ok = true;
    snprintf(s->image_version, sizeof s->image_version, "2");
    for (size_t i = 0; i < n; i++) {
        struct sim_member *m = &s->m[i];
        m->id = (int)i;
        m->sim = s;
        m->ops = &ops;
        m->up = true;
        m->role = i == 0 ? SZTP_MASTER : i == 1 ? SZTP_BACKUP : SZTP_LINECARD;
        snprintf(m->serial, sizeof m->serial, "SIM%zu", i);
        snprintf(m->version, sizeof m->version, "1");
    }
    return s;
}

void sim_free(struct sim *s) {
    for (size_t i = 0; i < s->n_events; i++) {
        if (s->events[i].fire == ended) {
            struct job *j = s->events[i].arg;
            buf_free(&j->bytes);
            mem_free(j);
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        buf_free(&s->m[i].inherited);
        buf_free(&s->m[i].result.output);
    }
    buf_free(&s->text);
    buf_free(&s->key);
    mem_free(s->events);
    mem_free(s);
}

struct platform *sim_attach(struct sim *s, int member, const struct platform_events *ev) {
    struct sim_member *m = &s->m[member];
    m->life++;
    if (ev == NULL) {
        memset(&m->events, 0, sizeof m->events);
        return NULL;
    }
    m->events = *ev;
    return (struct platform *)(void *)&m->ops;
}
