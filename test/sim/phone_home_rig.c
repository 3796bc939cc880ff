// SPDX-License-Identifier: Apache-2.0
#include "phone_home_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

enum { LATENCY_MS = 20, LOOKUP_MS = 100, DOWNLOAD_MS = 3000, RESTART_MS = 1000 };

/* What is under way for a client: one reply, to its order, in its life. */
struct reply {
    struct rig_process *p;
    uint64_t life, order;
    bool found; /* of a lookup: what the source has */
    enum phc_source source;
    struct err error;
    int status;
    const char *type;
    struct buf body;
    int64_t retry_after_ms;
    const char *path;
    bool checksum;
    struct reply *next, **at; /* all that are under way, to be freed at the end */
};
static struct reply *replies;

static void feed(struct rig_process *p, const struct phc_event *ev);

static int64_t now_ms(void *arg) {
    return ((struct rig *)arg)->sim->now_ms;
}

static int64_t wall_s(void *arg) {
    const struct rig *r = arg;
    return r->wall_start_s + r->sim->now_ms / 1000;
}

static void chance(void *arg, void *p, size_t n) {
    struct rig *r = arg;
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)p)[i] = (uint8_t)rng_next(&r->rng);
    }
}

/* ---------------------------------------------------------------- replies */

static struct reply *reply_new(struct rig_process *p, uint64_t order) {
    struct reply *y = MEM_NEW(struct reply);
    y->p = p;
    y->life = p->life;
    y->order = order;
    y->next = replies;
    y->at = &replies;
    if (replies != NULL) {
        replies->at = &y->next;
    }
    replies = y;
    return y;
}

static void reply_free(struct reply *y) {
    *y->at = y->next;
    if (y->next != NULL) {
        y->next->at = y->at;
    }
    buf_free(&y->body);
    mem_free(y);
}

static bool heard(const struct rig_process *p, uint64_t life, uint64_t order) {
    if (p->g == NULL || p->dead || p->life != life) {
        return false;
    }
    for (size_t i = 0; i < p->n_cancelled; i++) {
        if (p->cancelled[i] == order) {
            return false;
        }
    }
    return true;
}

static void deliver(void *arg, uint64_t a, uint64_t b) {
    struct reply *y = arg;
    struct rig *r = y->p->rig;
    (void)a;
    (void)b;
    for (size_t i = 0; y->found && i < r->n_found[y->source]; i++) {
        if (heard(y->p, y->life, y->order)) {
            feed(y->p, &(struct phc_event){.kind = PHC_EV_FOUND,
                                           .order = y->order,
                                           .found = &r->found[y->source][i]});
        }
    }
    if (heard(y->p, y->life, y->order)) {
        feed(y->p, &(struct phc_event){.kind = PHC_EV_DONE,
                                       .order = y->order,
                                       .error = y->error.code != ERR_OK ? &y->error : NULL,
                                       .status = y->status,
                                       .content_type = y->type,
                                       .body = y->body.data,
                                       .n = y->body.len,
                                       .retry_after_ms = y->retry_after_ms,
                                       .path = y->path,
                                       .checksum = y->checksum});
    }
    reply_free(y);
}

/* ---------------------------------------------------------------- servers */

struct rig_server *rig_server(struct rig *r, const char *host, uint16_t port) {
    for (size_t i = 0; i < r->n_servers; i++) {
        if (strcmp(r->servers[i].host, host) == 0 && r->servers[i].port == port) {
            return &r->servers[i];
        }
    }
    assert_true(r->n_servers < RIG_SERVERS);
    struct rig_server *s = &r->servers[r->n_servers++];
    snprintf(s->host, sizeof s->host, "%s", host);
    s->port = port;
    s->status = 404;
    s->report_status = 204;
    s->type = "application/yang-data+json";
    return s;
}

static void note_report(struct rig *r, const struct phc_request *q) {
    if (r->n_reports == RIG_REPORTS) { /* long runs: the oldest half goes */
        for (size_t i = 0; i < RIG_REPORTS / 2; i++) {
            buf_free(&r->reports[i].raw);
        }
        r->n_reports = RIG_REPORTS / 2;
        memmove(r->reports, r->reports + r->n_reports, r->n_reports * sizeof *r->reports);
        memset(r->reports + r->n_reports, 0, r->n_reports * sizeof *r->reports);
    }
    struct rig_report *to = &r->reports[r->n_reports++];
    struct err e = {0};
    snprintf(to->host, sizeof to->host, "%s", q->host);
    buf_add(&to->raw, q->body->data, q->body->len);
    to->member = -1;
    if (strcmp(q->path, SZTP_PATH_TELL) == 0) {
        struct sztp_report got = {0};
        enum sztp_form form;
        assert_true(sztp_media(q->content_type, &form));
        assert_int_equal(sztp_report_parse(form, q->body->data, q->body->len, &got, &e), ERR_OK);
        to->progress = got.type;
        memcpy(to->text, got.text, sizeof to->text);
        to->member = got.has_member ? got.member.id : -1;
        to->role = got.member.role;
        memcpy(to->serial, got.member.serial, sizeof to->serial);
        sztp_report_free(&got);
        return;
    }
    struct prerfc_notification got = {0};
    assert_int_equal(prerfc_notification_parse(q->body->data, q->body->len, &got, &e), ERR_OK);
    to->prerfc = true;
    to->notification = got.type;
    to->member = got.has_member ? got.member.id : -1;
    to->role = got.member.role;
    memcpy(to->serial, got.member.serial, sizeof to->serial);
    memcpy(to->text, got.text, sizeof to->text);
    prerfc_notification_free(&got);
}

static bool certificate_holds(const struct rig_server *s, const struct phc_request *q) {
    switch (q->verify) {
    case PHC_PROVISIONAL:
        return true;
    case PHC_BUILT_IN:
        return s->built_in;
    case PHC_ANCHOR:
        return q->anchor != NULL && q->anchor->len == s->anchor.len &&
               memcmp(q->anchor->data, s->anchor.data, s->anchor.len) == 0;
    }
    return false;
}

static void request(struct rig_process *p, uint64_t order, const struct phc_request *q) {
    struct rig *r = p->rig;
    struct reply *y = reply_new(p, order);
    struct rig_server *s = NULL;
    bool report = strcmp(q->path, SZTP_PATH_GET) != 0 && strcmp(q->method, "POST") == 0;
    for (size_t i = 0; i < r->n_servers && s == NULL; i++) {
        if (strcmp(r->servers[i].host, q->host) == 0 && r->servers[i].port == q->port) {
            s = &r->servers[i];
        }
    }
    if (s == NULL || (!report && s->status == 0)) {
        err_set(&y->error, ERR_UNAVAILABLE, NULL, "no connection");
    } else if (!certificate_holds(s, q)) {
        err_set(&y->error, ERR_AUTH, NULL, "the certificate is of somebody else");
    } else if (report && s->report_fails > 0) {
        s->report_fails--;
        err_set(&y->error, ERR_UNAVAILABLE, NULL, "no connection");
    } else if (report) {
        s->posts++;
        note_report(r, q);
        y->status =
            s->no_members && r->reports[r->n_reports - 1].member >= 0 ? 400 : s->report_status;
    } else {
        s->gets++;
        if (s->answer != NULL) {
            s->answer(s, q, s->arg);
        }
        y->status = s->status;
        y->type = s->type;
        y->retry_after_ms = s->retry_after_ms;
        buf_add(&y->body, s->body.data, s->body.len);
    }
    sim_after(r->sim, LATENCY_MS, deliver, y, 0, 0);
}

void rig_answer(struct rig_server *s, const struct conveyed *c, enum sztp_level level) {
    struct buf json = BUF_INIT;
    struct sztp_answer a = {.level = level};
    struct err e = {0};
    conveyed_print(c, SZTP_JSON, &sztp_profile_default, &json);
    assert_int_equal(cms_wrap(CMS_CI_JSON, json.data, json.len, &a.ci, &e), ERR_OK);
    buf_clear(&s->body);
    sztp_answer_print(&a, SZTP_JSON, &sztp_profile_default, &s->body);
    s->status = 200;
    sztp_answer_free(&a);
    buf_free(&json);
}

void rig_answer_prerfc(struct rig_server *s, const struct conveyed *c, const char *image_name) {
    struct prerfc_device d = {.info = *c};
    struct err e = {0};
    snprintf(d.image_name, sizeof d.image_name, "%s", image_name);
    buf_clear(&s->body);
    assert_int_equal(prerfc_device_print(&d, &s->body, &e), ERR_OK);
    s->status = 200;
    s->report_status = 201;
    s->type = "application/yang.data+xml";
}

struct phc_finding *rig_find(struct rig *r, enum phc_source s) {
    assert_true(r->n_found[s] < RIG_FINDINGS);
    return &r->found[s][r->n_found[s]++];
}

void rig_configured(struct rig *r, const char *host, uint16_t port) {
    struct phc_finding *f =
        r->n_found[PHC_CONFIGURED] > 0 ? &r->found[PHC_CONFIGURED][0] : rig_find(r, PHC_CONFIGURED);
    f->anchored = true;
    f->dialect = r->config.dialect;
    f->servers = mem_array(f->servers, f->n_servers + 1, sizeof *f->servers);
    struct sztp_server *s = &f->servers[f->n_servers++];
    memset(s, 0, sizeof *s);
    snprintf(s->address, sizeof s->address, "%s", host);
    s->port = port;
}

/* ---------------------------------------------------------------- actions */

static void platform(struct rig_process *p, const struct phc_action *a) {
    static const char *const names[] = {"freeze", "thaw",    "install",  "reboot",    "script",
                                        "apply",  "confirm", "rollback", "replicate", "key"};
    struct rig *r = p->rig;
    struct platform *pl = (struct platform *)(void *)&r->sim->m[p->member].ops;
    const struct platform_ops *ops = r->sim->m[p->member].ops;
    if (r->n_orders < sizeof r->orders / sizeof r->orders[0]) {
        r->orders[r->n_orders++] = names[a->u.platform.op];
    }
    switch (a->u.platform.op) {
    case PHC_FREEZE:
        ops->freeze(pl, a->order);
        break;
    case PHC_THAW:
        ops->thaw(pl, a->order);
        break;
    case PHC_INSTALL:
        assert_string_equal(a->u.platform.image, "/state/image");
        ops->install(pl, a->order, a->u.platform.members[0], a->u.platform.image,
                     a->u.platform.os_version);
        break;
    case PHC_REBOOT:
        ops->reboot(pl, a->order, a->u.platform.members, a->u.platform.n_members);
        break;
    case PHC_SCRIPT:
        ops->script(pl, a->order, a->u.platform.which, a->u.platform.p, a->u.platform.n,
                    a->u.platform.deadline_ms);
        break;
    case PHC_APPLY:
        ops->apply(pl, a->order, a->u.platform.p, a->u.platform.n, a->u.platform.handling,
                   a->u.platform.deadline_ms);
        break;
    case PHC_CONFIRM:
        ops->confirm(pl, a->order);
        break;
    case PHC_ROLLBACK:
        ops->rollback(pl, a->order);
        break;
    case PHC_REPLICATE:
        ops->replicate(pl, a->order, a->u.platform.p, a->u.platform.n);
        break;
    case PHC_KEY:
        ops->key(pl, a->order, a->u.platform.p, a->u.platform.n);
        break;
    }
}

static void download(struct rig_process *p, uint64_t order, const struct phc_download *d) {
    struct rig *r = p->rig;
    struct reply *y = reply_new(p, order);
    snprintf(r->downloaded[r->n_downloads % 8], sizeof r->downloaded[0], "%s", d->uri);
    r->n_downloads++;
    if (r->download_fails > 0) {
        r->download_fails--;
        err_set(&y->error, ERR_UNAVAILABLE, NULL, "no connection");
    } else if (r->checksum_fails > 0) {
        r->checksum_fails--;
        y->checksum = true;
        err_set(&y->error, ERR_INVALID, NULL, "other bytes than those wanted");
    } else {
        y->path = "/state/image";
    }
    sim_after(r->sim, DOWNLOAD_MS, deliver, y, 0, 0);
}

static void act(struct rig_process *p, const struct phc_action *a) {
    struct rig *r = p->rig;
    switch (a->kind) {
    case PHC_SAVE:
        buf_clear(&p->disk);
        buf_add(&p->disk, a->u.save.p, a->u.save.n);
        break;
    case PHC_LOOKUP: {
        struct reply *y = reply_new(p, a->order);
        y->found = true;
        y->source = a->u.lookup;
        r->lookups[a->u.lookup]++;
        sim_after(r->sim, LOOKUP_MS, deliver, y, 0, 0);
        break;
    }
    case PHC_REQUEST:
        request(p, a->order, &a->u.request);
        break;
    case PHC_DOWNLOAD:
        download(p, a->order, &a->u.download);
        break;
    case PHC_PLATFORM:
        platform(p, a);
        break;
    case PHC_LOG:
        if (r->n_lines == RIG_LINES) {
            mem_free(r->lines[0]);
            memmove(r->lines, r->lines + 1, --r->n_lines * sizeof *r->lines);
        }
        if (r->n_lines < RIG_LINES) {
            r->lines[r->n_lines++] =
                mem_printf("%7lld %d %s", (long long)r->sim->now_ms, p->member, a->u.log.text);
        }
        if (getenv("RIG_LOG") != NULL) {
            fprintf(stderr, "%8.1f s  %d  %s\n", (double)r->sim->now_ms / 1000, p->member,
                    a->u.log.text);
        }
        break;
    case PHC_LEGACY:
        r->legacy++;
        break;
    case PHC_DISABLE:
        p->disabled = true;
        break;
    case PHC_CANCEL:
        p->cancelled[p->n_cancelled++ % 64] = a->order;
        if (p->n_cancelled > 64) {
            p->n_cancelled = 64;
        }
        break;
    }
}

/* ---------------------------------------------------------------- lives */

static void end_process(struct rig_process *p) {
    phc_free(p->g);
    p->g = NULL;
    p->dead = false;
    p->life++;
    p->n_cancelled = 0;
}

static void start_process(void *arg, uint64_t life, uint64_t b);

static void strike(void *arg, uint64_t life, uint64_t b) {
    struct rig_process *p = arg;
    (void)b;
    if (p->g == NULL || p->life != life) {
        return; /* it was gone already */
    }
    if (p->rig->kill == RIG_POWER) {
        sim_power_cut(p->rig->sim, p->member);
        return;
    }
    end_process(p);
    sim_attach(p->rig->sim, p->member, NULL);
    sim_after(p->rig->sim, RESTART_MS, start_process, p, p->life, 0);
}

static void pump(struct rig_process *p) {
    struct rig *r = p->rig;
    struct phc_action a;
    while (!p->dead && phc_action(p->g, &a)) {
        act(p, &a);
        if (a.kind == PHC_LOG) { /* nothing to be lost there */
            continue;
        }
        if (++r->actions == r->kill_at) {
            r->killed = true;
            p->dead = true;
            sim_after(r->sim, 0, strike, p, p->life, 0);
        }
    }
}

static void feed(struct rig_process *p, const struct phc_event *ev) {
    if (p->g != NULL && !p->dead) {
        phc_event(p->g, ev);
        pump(p);
    }
}

static void order_done(void *arg, uint64_t order, const struct err *e) {
    struct rig_process *p = arg;
    if (heard(p, p->life, order)) {
        feed(p, &(struct phc_event){.kind = PHC_EV_DONE, .order = order, .error = e});
    }
}

static void members_changed(void *arg) {
    feed(arg, &(struct phc_event){.kind = PHC_EV_MEMBERS});
}

static void primary_changed(void *arg) {
    feed(arg, &(struct phc_event){.kind = PHC_EV_PRIMARY});
}

static void start_process(void *arg, uint64_t life, uint64_t b) {
    struct rig_process *p = arg;
    struct rig *r = p->rig;
    (void)b;
    if (p->g != NULL || p->life != life || !r->sim->m[p->member].up || p->disabled) {
        return;
    }
    struct platform_events ev = {.done = order_done,
                                 .members_changed = members_changed,
                                 .primary_changed = primary_changed,
                                 .arg = p};
    struct phc_world w = {.now_ms = now_ms,
                          .wall_s = wall_s,
                          .random = chance,
                          .platform = sim_attach(r->sim, p->member, &ev),
                          .voucher_anchors = r->voucher_anchors,
                          .device = r->device,
                          .arg = r};
    p->g = phc_new(&r->config, &w, p->disk.data, p->disk.len);
    feed(p, &(struct phc_event){.kind = PHC_EV_START});
}

static void booted(void *arg, int member) {
    struct rig *r = arg;
    sim_after(r->sim, RESTART_MS, start_process, &r->p[member], r->p[member].life, 0);
}

static void down(void *arg, int member) {
    end_process(&((struct rig *)arg)->p[member]);
}

struct rig *rig_new(size_t members, bool chassis, uint64_t seed) {
    struct rig *r = MEM_NEW(struct rig);
    r->sim = sim_new(members, chassis, seed);
    r->sim->booted = booted;
    r->sim->down = down;
    r->sim->arg = r;
    rng_seed(&r->rng, seed ^ 0x9e3779b97f4a7c15u);
    r->wall_start_s = 1800000000;
    phc_config_default(&r->config);
    r->reports = mem_array(NULL, RIG_REPORTS, sizeof *r->reports);
    memset(r->reports, 0, RIG_REPORTS * sizeof *r->reports);
    r->lines = mem_array(NULL, RIG_LINES, sizeof *r->lines);
    for (int i = 0; i < SZTP_MEMBERS_MAX; i++) {
        r->p[i].rig = r;
        r->p[i].member = i;
    }
    return r;
}

void rig_free(struct rig *r) {
    for (size_t i = 0; i < SZTP_MEMBERS_MAX; i++) {
        end_process(&r->p[i]);
        buf_free(&r->p[i].disk);
    }
    while (replies != NULL) {
        reply_free(replies);
    }
    for (size_t i = 0; i < r->n_servers; i++) {
        buf_free(&r->servers[i].body);
        buf_free(&r->servers[i].anchor);
    }
    for (int s = 0; s < PHC_SOURCES; s++) {
        for (size_t i = 0; i < r->n_found[s]; i++) {
            phc_finding_free(&r->found[s][i]);
        }
    }
    for (size_t i = 0; i < r->n_reports; i++) {
        buf_free(&r->reports[i].raw);
    }
    for (size_t i = 0; i < r->n_lines; i++) {
        mem_free(r->lines[i]);
    }
    mem_free(r->reports);
    mem_free(r->lines);
    sim_free(r->sim);
    mem_free(r);
}

void rig_start(struct rig *r) {
    for (size_t i = 0; i < r->sim->n; i++) {
        start_process(&r->p[i], r->p[i].life, 0);
    }
}

void rig_event(struct rig *r, int member, enum phc_event_kind kind) {
    feed(&r->p[member], &(struct phc_event){.kind = kind});
}

/* ---------------------------------------------------------------- running */

struct phc_engine *rig_engine(const struct rig *r) {
    int p = r->sim->chassis ? sim_primary(r->sim) : 0;
    return p < 0 ? NULL : r->p[p].g;
}

enum phc_state rig_state(const struct rig *r) {
    const struct phc_engine *g = rig_engine(r);
    return g != NULL ? phc_state(g) : PHC_ST_IDLE;
}

bool rig_done(const struct rig *r) {
    for (size_t i = 0; i < r->sim->n; i++) {
        if (r->p[i].disabled) {
            return true;
        }
    }
    return false;
}

/* The pause between rounds: no order is under way and nothing is left in force. */
static bool pausing(const struct rig *r) {
    const struct phc_engine *g = rig_engine(r);
    if (g == NULL || r->n_lines == 0) {
        return false;
    }
    const char *last = r->lines[r->n_lines - 1];
    return (phc_state(g) == PHC_ST_FAIL && strstr(last, "looks again in") != NULL) ||
           (phc_state(g) == PHC_ST_IDLE && rig_logged(r, RIG_CONFIGURED) > 0);
}

bool rig_run(struct rig *r, int64_t ms, bool pause) {
    int64_t end = r->sim->now_ms + ms;
    while (r->sim->now_ms < end) {
        if (rig_done(r) || (pause && pausing(r))) {
            return true;
        }
        int64_t limit = end;
        for (size_t i = 0; i < r->sim->n; i++) {
            const struct rig_process *p = &r->p[i];
            int64_t due = p->g != NULL && !p->dead ? phc_deadline(p->g) : -1;
            if (due >= 0 && due < limit) {
                limit = due;
            }
        }
        if (sim_step(r->sim, limit)) {
            continue;
        }
        for (size_t i = 0; i < r->sim->n; i++) {
            struct rig_process *p = &r->p[i];
            if (p->g != NULL && !p->dead && phc_deadline(p->g) >= 0 &&
                phc_deadline(p->g) <= r->sim->now_ms) {
                feed(p, &(struct phc_event){.kind = PHC_EV_TIME});
            }
        }
    }
    return rig_done(r);
}

size_t rig_count(const struct rig *r, const char *text) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_reports; i++) {
        n += strcmp(r->reports[i].text, text) == 0;
    }
    return n;
}

size_t rig_logged(const struct rig *r, const char *part) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_lines; i++) {
        n += strstr(r->lines[i], part) != NULL;
    }
    return n;
}
