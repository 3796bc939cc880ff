// SPDX-License-Identifier: Apache-2.0
/*
 * What the server and syslog are told. Reports wait in the record, so that one that was not taken
 * before a loss of power is sent after it; they leave one after another, in order, beside the run.
 */
#include "phone-home/engine_int.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* What the older dialect calls it; SZTP_NOTIFICATION_COUNT: nothing. */
static enum sztp_notification notification_of(enum sztp_progress p) {
    switch (p) {
    case SZTP_BOOTSTRAP_INITIATED:
        return SZTP_N_BOOTSTRAP_INITIATED;
    case SZTP_PARSING_ERROR:
        return SZTP_N_VALIDATION_ERROR;
    case SZTP_BOOT_IMAGE_MISMATCH:
        return SZTP_N_IMAGE_MISMATCH;
    case SZTP_BOOT_IMAGE_WARNING:
    case SZTP_BOOT_IMAGE_ERROR:
        return SZTP_N_IMAGE_DOWNLOAD_ERROR;
    case SZTP_PRE_SCRIPT_WARNING:
    case SZTP_POST_SCRIPT_WARNING:
        return SZTP_N_SCRIPT_WARNING;
    case SZTP_PRE_SCRIPT_ERROR:
    case SZTP_POST_SCRIPT_ERROR:
        return SZTP_N_SCRIPT_ERROR;
    case SZTP_CONFIG_WARNING:
        return SZTP_N_CONFIG_WARNING;
    case SZTP_CONFIG_COMPLETE:
        return SZTP_N_CONFIGURATION_APPLIED;
    case SZTP_CONFIG_ERROR:
        return SZTP_N_CONFIGURATION_FAILED;
    case SZTP_BOOTSTRAP_COMPLETE:
        return SZTP_N_BOOTSTRAP_COMPLETE;
    case SZTP_BOOTSTRAP_ERROR:
        return SZTP_N_BOOTSTRAP_FAILED;
    case SZTP_INFORMATIONAL:
    case SZTP_BOOTSTRAP_WARNING:
        return SZTP_N_INFORMATIONAL;
    default:
        return SZTP_NOTIFICATION_COUNT;
    }
}

static int priority_of(enum sztp_progress p) {
    const char *name = sztp_progress_name(p);
    size_t n = strlen(name);
    if (n > 6 && strcmp(name + n - 6, "-error") == 0) {
        return LOG_ERR;
    }
    return n > 8 && strcmp(name + n - 8, "-warning") == 0 ? LOG_WARNING : LOG_INFO;
}

bool phc_reports(const struct phc_engine *g) {
    return g->r.run != 0 && g->r.host[0] != '\0' && g->r.verify != PHC_PROVISIONAL;
}

/* RFC 8572's "minimal" leaves out what neither ends a run nor warns. */
static bool wanted(const struct phc_engine *g, const struct record_report *r) {
    if (!phc_reports(g)) {
        return false;
    }
    if (g->r.dialect == PHC_PRERFC) {
        return r->notification != SZTP_NOTIFICATION_COUNT;
    }
    return g->r.level == SZTP_VERBOSE || r->progress == SZTP_BOOTSTRAP_INITIATED ||
           sztp_progress_terminal(r->progress) || priority_of(r->progress) < LOG_INFO;
}

static struct sztp_member member_of(const struct record_report *r) {
    struct sztp_member m = {.id = r->member, .role = r->role};
    memcpy(m.serial, r->serial, sizeof m.serial);
    return m;
}

static struct prerfc_notification notification(const struct record_report *r) {
    struct prerfc_notification n;
    memset(&n, 0, sizeof n);
    n.type = r->notification;
    n.has_member = r->member >= 0;
    n.member = member_of(r);
    memcpy(n.text, r->text, sizeof n.text);
    return n;
}

/* The oldest that nothing depends on goes when there is no room. */
static void make_room(struct phc_engine *g) {
    struct record *r = &g->r;
    if (r->n_reports < RECORD_REPORTS_MAX) {
        return;
    }
    size_t i = g->tell.order != 0 ? 1 : 0; /* the first may be on its way */
    memmove(&r->reports[i], &r->reports[i + 1], (r->n_reports - i - 1) * sizeof r->reports[0]);
    r->n_reports--;
    phc_log(g, LOG_WARNING, "%s takes no reports: one is dropped", r->place);
}

static void add(struct phc_engine *g, const struct record_report *report) {
    struct prerfc_notification n = notification(report);
    struct buf line = BUF_INIT;
    prerfc_notification_text(&n, &line); /* PH-083 */
    int priority = priority_of(report->progress);
    if (priority < LOG_INFO) {
        phc_trouble(g, priority, "%s", buf_cstr(&line));
    } else {
        phc_log(g, priority, "%s", buf_cstr(&line));
    }
    buf_free(&line);
    if (!wanted(g, report)) {
        return;
    }
    make_room(g);
    struct record_report *r = &g->r.reports[g->r.n_reports++];
    *r = *report;
    r->seq = ++g->r.seq;
    phc_tell_pump(g);
}

static void fill(struct record_report *r, enum sztp_progress type, const char *text) {
    memset(r, 0, sizeof *r);
    r->progress = type;
    r->notification = notification_of(type);
    r->member = -1;
    text_line(r->text, sizeof r->text, text);
}

void phc_tell(struct phc_engine *g, enum sztp_progress type, const char *fmt, ...) {
    char text[SZTP_MESSAGE_MAX + 1];
    struct record_report r;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fill(&r, type, text);
    add(g, &r);
}

void phc_tell_must(struct phc_engine *g, enum sztp_progress type, const char *text,
                   phc_step *arrived, phc_done *failed) {
    struct record_report r;
    fill(&r, type, text);
    r.must = true;
    g->must.arrived = arrived;
    g->must.failed = failed;
    add(g, &r);
}

void phc_tell_member(struct phc_engine *g, const struct record_member *m,
                     enum sztp_notification type, bool ends, const char *text) {
    struct record_report r;
    fill(&r, sztp_notification_progress(type, ends), text);
    r.notification = type;
    r.member = m->id;
    r.role = m->role;
    memcpy(r.serial, m->serial, sizeof r.serial);
    add(g, &r);
}

void phc_tell_chassis(struct phc_engine *g, const char *text) {
    struct record_report r;
    fill(&r, sztp_notification_progress(SZTP_N_VC_BOOTSTRAP_FAILED, true), text);
    r.notification = SZTP_N_VC_BOOTSTRAP_FAILED;
    add(g, &r);
}

/* ---------------------------------------------------------------- on their way */

static void send(struct phc_engine *g, const struct record_report *r) {
    const struct record *run = &g->r;
    struct phc_item *it = phc_push(g, PHC_REQUEST);
    struct phc_request *q = &it->a.u.request;
    it->a.order = ++g->last_order;
    g->tell.order = it->a.order;
    g->tell.due = phc_now(g) + PHC_REQUEST_MS + PHC_GRACE_MS;
    phc_request(g, q, it->mem, run->host, run->port, run->verify, &run->anchor);
    q->method = "POST";
    if (run->dialect == PHC_PRERFC) {
        struct prerfc_notification n = notification(r);
        prerfc_notification_print(&n, &it->bytes);
        q->path = phc_prerfc_path(g, it->mem, "/notification");
        q->content_type = q->accept = "application/yang.data+xml";
    } else {
        struct sztp_report report;
        memset(&report, 0, sizeof report);
        report.type = r->progress;
        memcpy(report.text, r->text, sizeof report.text);
        /* The topology came in our augmentation of the answer, so that server knows this one. */
        report.has_member = run->chassis && r->member >= 0;
        report.member = member_of(r);
        sztp_report_print(&report, run->form, &it->bytes);
        q->path = SZTP_PATH_TELL;
        q->content_type = q->accept = phc_media(run->form);
    }
    struct buf *body = arena_alloc(it->mem, sizeof *body);
    *body = it->bytes;
    q->body = body;
}

void phc_tell_pump(struct phc_engine *g) {
    if (g->tell.order == 0 && g->r.n_reports > 0 && g->tell.retry_at <= phc_now(g)) {
        send(g, &g->r.reports[0]);
    }
}

static void empty(struct phc_engine *g) {
    if (g->r.n_reports == 0 && g->tell.order == 0 && g->drain.then != NULL) {
        phc_step *then = g->drain.then;
        g->drain.then = NULL;
        then(g);
    }
}

/* The first of the queue is done with. */
static void shift(struct phc_engine *g, const struct phc_event *failed) {
    struct record *r = &g->r;
    bool must = r->reports[0].must;
    g->tell.tries = 0;
    g->tell.retry_at = 0;
    r->n_reports--;
    memmove(&r->reports[0], &r->reports[1], r->n_reports * sizeof r->reports[0]);
    phc_tell_pump(g);
    if (must && g->must.arrived != NULL) {
        phc_step *arrived = g->must.arrived;
        g->must.arrived = NULL;
        if (failed == NULL) {
            arrived(g);
        } else {
            g->must.failed(g, failed);
        }
    }
    empty(g);
}

static bool taken(const struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        return false;
    }
    if (g->r.dialect == PHC_PRERFC) { /* PH-114 */
        return ev->status == 200 || ev->status == 201 || ev->status == 204;
    }
    return ev->status == 204; /* PH-122 */
}

/* A folder of files behind a web server, say: there is nothing that would take reports. RFC 8572
 * section 5.6 wants 204, so it is borne only where that was set. */
static bool takes_none(const struct phc_engine *g, const struct phc_event *ev) {
    return g->c.lenient && g->r.dialect == PHC_RFC8572 && ev->error == NULL &&
           (ev->status == 404 || ev->status == 405 || ev->status == 501);
}

void phc_tell_done(struct phc_engine *g, const struct phc_event *ev) {
    g->tell.order = 0;
    if (g->r.n_reports == 0) {
        return;
    }
    if (takes_none(g, ev)) {
        if (g->r.reports[0].must) {
            phc_log(g, LOG_NOTICE, "%s takes no reports (%d): goes on without", g->r.place,
                    ev->status);
        }
        shift(g, NULL);
        return;
    }
    if (taken(g, ev)) {
        shift(g, NULL);
        return;
    }
    struct record_report *r = &g->r.reports[0];
    if (ev->status == 400 && r->member >= 0 && g->r.dialect == PHC_RFC8572) {
        r->member = -1; /* it knows the topology, and not whom a report is about */
        phc_tell_pump(g);
        return;
    }
    bool passes = ev->status == 0 || ev->status >= 500 || ev->status == 429;
    unsigned max = !r->must                                 ? PHC_TRIES_REPORT
                   : r->progress == SZTP_BOOTSTRAP_COMPLETE ? PHC_TRIES_MUST
                                                            : PHC_TRIES_REPORT;
    if (passes && ++g->tell.tries < max) {
        g->tell.retry_at = phc_now(g) + PHC_PAUSE_MS;
        return;
    }
    phc_log(g, LOG_WARNING, "%s does not take the report %s: %s (%d)", g->r.place,
            sztp_progress_name(r->progress), ev->error != NULL ? ev->error->text : "status",
            ev->status);
    shift(g, ev);
}

void phc_tell_time(struct phc_engine *g) {
    int64_t now = phc_now(g);
    if (g->tell.order != 0 && g->tell.due <= now) {
        struct err e = {0};
        err_set(&e, ERR_TIMEOUT, NULL, "no answer");
        struct phc_event ev = {.kind = PHC_EV_DONE, .order = g->tell.order, .error = &e};
        phc_cancel(g, g->tell.order);
        phc_tell_done(g, &ev);
    }
    phc_tell_pump(g);
    if (g->drain.then != NULL && g->drain.due <= now) {
        phc_log(g, LOG_WARNING, "%zu reports to %s are dropped: it does not take them",
                g->r.n_reports, g->r.place);
        phc_step *then = g->drain.then;
        phc_tell_stop(g);
        then(g);
    }
}

void phc_tell_stop(struct phc_engine *g) {
    phc_cancel(g, g->tell.order);
    memset(&g->tell, 0, sizeof g->tell);
    memset(&g->must, 0, sizeof g->must);
    g->drain.then = NULL;
    g->r.n_reports = 0;
}

void phc_drain(struct phc_engine *g, phc_step *then) {
    if (g->r.n_reports == 0 && g->tell.order == 0) {
        then(g);
        return;
    }
    g->drain.due = phc_now(g) + PHC_DRAIN_MS;
    g->drain.then = then;
    phc_tell_pump(g);
}
