// SPDX-License-Identifier: Apache-2.0
/* What devices ask over HTTP: read, handed to the writer and to a worker, answered. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/http_auth.h"
#include "onboard/server_int.h"
#include "sztp/cms.h"

LOGGER_MODULE(onboard_request);

#define FILES_PATH   "/files/"
#define NOTIFICATION "/notification"
#define JSON_TYPE    "application/yang-data+json"
#define XML_TYPE     "application/yang-data+xml"
#define PRERFC_TYPE  "application/yang.data+xml"
#define EST_PATH     "/.well-known/est/"
#define EST_REQUEST  "application/pkcs10"
#define EST_ANSWER   "application/pkcs7-mime; smime-type=certs-only"
#define CHALLENGE    "Basic realm=\"onboarding\", charset=\"UTF-8\""
enum { BODY_MAX = 256 << 10, RETRY_AFTER_S = 30 };

/* Whose work on the writer it is. */
static const struct actor actor_device = {.user = "device", .source = "onboarding"};

struct exchange {
    struct ask ask; /* first: decide() is given the whole and sees this */
    struct onboard_server *server;
    struct http_req *r; /* NULL: it has gone */
    struct ip_addr source;
    struct buf out; /* the answer's body */
    struct buf ldevid;
    struct err err; /* why there is no answer; code ERR_OK: there is one */
    bool plain;     /* it was to be signed and could not be, which the rule allows */
    bool busy;      /* there is no answer because there are too many devices */
};

static void exchange_free(struct exchange *x) {
    struct onboard_server *s = x->server;
    ask_clear(&x->ask);
    buf_free(&x->out);
    buf_free(&x->ldevid);
    mem_free(x);
    server_left(s);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void respond_error(struct http_req *r, bool prerfc, enum sztp_form form, int status,
                          const char *tag, const char *text, bool csr) {
    struct buf b = BUF_INIT;
    struct http_field f[3];
    size_t n = 0;
    char after[16];
    const char *type = status == 401 || tag == NULL ? "protocol" : "application";
    sztp_error_print(prerfc ? SZTP_XML : form, type, tag != NULL ? tag : "operation-failed", text,
                     csr, &b);
    f[n++] = (struct http_field){"content-type", prerfc             ? PRERFC_TYPE
                                                 : form == SZTP_XML ? XML_TYPE
                                                                    : JSON_TYPE};
    if (status == 401) {
        f[n++] = (struct http_field){"www-authenticate", CHALLENGE};
    } else if (status == 429 || status == 503) {
        snprintf(after, sizeof after, "%d", RETRY_AFTER_S);
        f[n++] = (struct http_field){"retry-after", after};
    }
    http_respond_fields(r, status, f, n, b.data, b.len);
    buf_free(&b);
}

/* Which form an error has, of a request of which not more is known than its head. */
static enum sztp_form form_of(const struct http_req *r) {
    enum sztp_form form = SZTP_JSON;
    const char *accept = http_header(r, "accept"), *type = http_header(r, "content-type");
    if (accept == NULL || !sztp_media(accept, &form)) {
        if (type == NULL || !sztp_media(type, &form)) {
            form = SZTP_JSON;
        }
    }
    return form;
}

static bool is_prerfc(const struct http_req *r) {
    return strncmp(http_path(r), PRERFC_PATH, strlen(PRERFC_PATH)) == 0;
}

/* A request of which no more is known than its head. */
static void note_head(struct door *d, const struct http_req *r, int status, const char *why) {
    const struct http_peer *p = http_peer(r);
    notes_add(d->server, &p->addr,
              &(struct request_note){.source = p->text,
                                     .method = http_method(r),
                                     .path = http_raw_path(r),
                                     .serial = "",
                                     .outcome = why,
                                     .status = status});
}

void request_turned_away(const struct http_peer *peer, const char *why, void *arg) {
    struct door *d = arg;
    char outcome[TLS_NAME_MAX + 400], name[TLS_NAME_MAX], serial[CMS_SERIAL_MAX + 1] = "";
    snprintf(outcome, sizeof outcome, "TLS: %s", why);
    if (peer->tls != NULL) {
        bool claims = cms_serial_of(peer->tls->der, peer->tls->der_len, CMS_SERIAL_ANY, serial,
                                    NULL) == ERR_OK;
        snprintf(outcome, sizeof outcome, "its certificate is refused: %s; it claims to be %s (%s)",
                 why, claims ? serial : "nobody", tls_subject(peer->tls, name));
        serial[claims ? CMS_SERIAL_MAX : 0] = '\0';
    }
    notes_add(d->server, &peer->addr,
              &(struct request_note){.source = peer->text,
                                     .method = "TLS",
                                     .path = "",
                                     .serial = serial,
                                     .outcome = outcome,
                                     .status = 0});
}

void request_write_error(struct http_req *r, int status, const char *why, void *arg) {
    struct door *d = arg;
    if (d != NULL) {
        note_head(d, r, status, why);
    }
    respond_error(r, is_prerfc(r), form_of(r), status,
                  status == 413   ? "too-big"
                  : status == 503 ? "resource-denied"
                                  : "malformed-message",
                  why, false);
}

static bool bad_csr(const struct err *e) {
    return e->code != ERR_OK && strcmp(e->app_tag, ANSWER_BAD_CSR) == 0;
}

/* What HTTP says of an answer that could not be made. */
static int error_status(const struct err *e) {
    int status = err_code_http(e->code);
    return bad_csr(e) ? 400 : status >= 500 ? status : 500;
}

/* RFC 7030 section 4.2.3 */
static void respond_certs(struct http_req *r, const struct buf *body) {
    const struct http_field f[] = {{"content-type", EST_ANSWER},
                                   {"content-transfer-encoding", "base64"}};
    http_respond_fields(r, 200, f, 2, body->data, body->len);
}

/* The end of it, on the loop. */
static void finish(void *arg) {
    struct exchange *x = arg;
    struct ask *a = &x->ask;
    struct http_req *r = x->r;
    if (a->stranger_fault) {
        source_slowed(x->server, &x->source, true);
    }
    if (r == NULL) {
        exchange_free(x);
        return;
    }
    http_req_set_ops(r, NULL, NULL);
    int status = error_status(&x->err);
    if (bad_csr(&x->err)) {
        respond_error(r, false, a->form, status, "invalid-value", x->err.text, false);
    } else if (x->err.code != ERR_OK) {
        respond_error(
            r, a->prerfc, a->form, status, "operation-failed",
            status == 503 ? x->err.text : "What this device is to be given can't be made.", false);
    } else if (a->status == 0 && a->kind == ASK_RENEW) {
        respond_certs(r, &x->out);
    } else if (a->status == 0) {
        http_respond(r, 200,
                     a->prerfc             ? PRERFC_TYPE
                     : a->form == SZTP_XML ? XML_TYPE
                                           : JSON_TYPE,
                     x->out.data, x->out.len);
    } else if (a->tag == NULL) {
        http_respond(r, a->status, NULL, NULL, 0);
    } else {
        respond_error(r, a->prerfc, a->form, a->status, a->tag, a->text, a->want_csr);
    }
    exchange_free(x);
}

/* ---- on a worker, and on the writer ---------------------------------------------------------- */

/* Once for each error: as long as it stays the same, a device that asks again is no news. */
static void tell_error(struct txn *t, const struct exchange *x, json_t *o, const char *text,
                       const char *because) {
    char line[ONBOARD_BECAUSE_MAX];
    text_line(line, sizeof line, text);
    if (strcmp(known_text(o, "answer-error"), line) == 0) {
        return;
    }
    json_object_set_new(o, "answer-error", json_string(line));
    device_event(t, "weft-onboard:device-waiting", x->ask.serial,
                 (const char *const[]){"hw-model", x->ask.get.hw_model, "source", x->ask.source,
                                       "because", because, NULL});
}

static void record_error(struct onboard *ob, struct txn *t, const struct exchange *x, json_t *o) {
    const char *serial = x->ask.serial;
    char text[ERR_TEXT_MAX + ERR_PATH_MAX], because[ONBOARD_BECAUSE_MAX];
    snprintf(text, sizeof text, "%.400s%s%.600s", x->err.path, x->err.path[0] != '\0' ? ": " : "",
             x->err.text);
    snprintf(because, sizeof because, "what rule %s gives can't be made: %.500s", x->ask.plan->rule,
             text);
    known_set_status(t, o, ONBOARD_ONBOARDING_STATUS_WAITING);
    json_object_del(o, "answer");
    json_object_set_new(o, "because", json_string(because));
    run_failed(o, text);
    if (!x->busy) {
        tell_error(t, x, o, text, because);
    }
    known_put(t, serial, o);
    /* It was noted as given when it was decided on. */
    known_log_amend(ob, t, serial, x->ask.logged, "answer-error", because);
    run_moved(ob, t, serial, "answer-error", text);
    if (!x->busy) { /* that passes by itself */
        const struct known *k = known_get(ob, serial);
        target_reported(ob, t, serial, ONBOARD_ONBOARDING_STATUS_FAILED, k->given, text);
    }
    request_amend(ob, t, x->ask.number, error_status(&x->err), text);
}

static void record_renewal(struct onboard *ob, struct txn *t, struct exchange *x) {
    char text[ERR_TEXT_MAX + ERR_PATH_MAX];
    snprintf(text, sizeof text, "%.400s%s%.600s", x->err.path, x->err.path[0] != '\0' ? ": " : "",
             x->err.text);
    renew_recorded(ob, t, &x->ask, buf_cstr(&x->ldevid), error_status(&x->err),
                   x->err.code != ERR_OK ? text : NULL);
}

static enum err_code record_outcome(struct txn *t, void *arg, struct err *e) {
    struct exchange *x = arg;
    struct onboard *ob = core_service_state(txn_core(t), "onboard");
    const char *serial = x->ask.serial;
    const struct known *k = known_get(ob, serial);
    char what[ONBOARD_WHAT_MAX];
    (void)e;
    if (k == NULL || k->json == NULL) {
        return ERR_OK; /* forgotten meanwhile */
    }
    if (x->ask.kind == ASK_RENEW) {
        record_renewal(ob, t, x);
        return ERR_OK;
    }
    json_t *o = known_load(k);
    if (x->err.code != ERR_OK) {
        record_error(ob, t, x, o);
        return ERR_OK;
    }
    if (x->plain) {
        plan_what(x->ask.plan, false, what);
        json_object_set_new(o, "answer", json_string(what));
        known_log(ob, t, serial, "not-signed", "there was no voucher for its nonce");
        request_amend(ob, t, x->ask.number, 200, what);
    }
    if (x->ask.plan->failed_before && json_object_del(o, "answer-error") == 0) {
        device_event(t, "weft-onboard:device-answered", serial,
                     (const char *const[]){"rule", known_text(o, "rule"), "answer",
                                           known_text(o, "answer"), "source", x->ask.source,
                                           "because", known_text(o, "because"), NULL});
    }
    if (x->ldevid.len > 0) {
        json_object_set_new(o, "ldevid-certificate", json_string(buf_cstr(&x->ldevid)));
        known_log(ob, t, serial, "certificate", "its certificate request was signed");
    }
    known_put(t, serial, o);
    return ERR_OK;
}

static void recorded(void *arg, uint64_t index, const struct err *e) {
    struct exchange *x = arg;
    (void)index;
    if (e != NULL && x->err.code == ERR_OK) {
        x->err = *e; /* a certificate that is not kept is not given either */
    }
    loop_post(x->server->cfg.loop, finish, x);
}

static void make(void *arg) {
    struct exchange *x = arg;
    struct ask *a = &x->ask;
    struct given g = {.signer = NULL};
    enum err_code rc = a->kind == ASK_RENEW
                           ? renew_make(a, &x->ldevid, &x->out, &x->err)
                           : answer_make(a->plan, a->address, a->port, &a->get.csr, &g, &x->err);
    rc = rc == ERR_OK && a->kind != ASK_RENEW ? answer_print(a, &g, &x->out, &x->err) : rc;
    x->err.code = rc;
    if (rc == ERR_OK) {
        x->err.app_tag[0] = '\0';
    }
    if (rc != ERR_OK) {
        L_WARN("device %s gets no answer: %s: %s", a->serial, x->err.path, x->err.text);
    }
    buf_add(&x->ldevid, g.ldevid.data, g.ldevid.len);
    x->plain = rc == ERR_OK && a->plan->sign && g.signer == NULL;
    given_free(&g);
    if (rc != ERR_OK || x->ldevid.len > 0 || x->plain || a->plan->failed_before) {
        core_run(x->server->cfg.core, &actor_device, record_outcome, recorded, x);
    } else {
        loop_post(x->server->cfg.loop, finish, x);
    }
}

static void decided(void *arg, uint64_t index, const struct err *e) {
    struct exchange *x = arg;
    (void)index;
    x->err.code = ERR_OK;
    if (e != NULL) {
        x->err = *e;
        x->err.code = ERR_UNAVAILABLE;
    } else if (x->ask.status == 0) {
        if (workers_run(x->server->cfg.workers, make, x)) {
            return;
        }
        err_set(&x->err, ERR_UNAVAILABLE, NULL, "too many devices at once; try again");
        x->busy = true;
        core_run(x->server->cfg.core, &actor_device, record_outcome, recorded, x);
        return;
    }
    loop_post(x->server->cfg.loop, finish, x);
}

/* ---- reading a request ----------------------------------------------------------------------- */

static void closed(struct http_req *r, bool aborted, void *arg) {
    struct exchange *x = arg;
    (void)r;
    (void)aborted;
    x->r = NULL;
}

static void closed_unread(struct http_req *r, bool aborted, void *arg) {
    (void)r;
    (void)aborted;
    exchange_free(arg);
}

static const struct http_req_ops running_ops = {.closed = closed};
static const struct http_req_ops reading_ops = {.closed = closed_unread};

/* Who it is, as it says. */
static void note_refusal(struct exchange *x, int status, const char *text) {
    struct ask *a = &x->ask;
    char serial[CMS_SERIAL_MAX + 1] = "";
    if (a->path_serial[0] != '\0' || a->has_basic) {
        snprintf(serial, sizeof serial, "%.*s", CMS_SERIAL_MAX,
                 a->path_serial[0] != '\0' ? a->path_serial : a->user);
    } else if (a->has_cert &&
               cms_serial_of(a->cert.data, a->cert.len, CMS_SERIAL_ANY, serial, NULL) != ERR_OK) {
        serial[0] = '\0';
    }
    notes_add(x->server, &x->source,
              &(struct request_note){.source = a->source,
                                     .method = a->method,
                                     .path = a->path,
                                     .serial = serial,
                                     .outcome = text,
                                     .status = status});
}

/* Answers what nobody needs to be asked about. */
static void refuse(struct exchange *x, int status, const char *tag, const char *text) {
    struct http_req *r = x->r;
    note_refusal(x, status, text);
    http_req_set_ops(r, NULL, NULL);
    respond_error(r, x->ask.prerfc, x->ask.form, status, tag, text, false);
    exchange_free(x);
}

static void submit(struct exchange *x) {
    struct core_turn turn;
    core_turn(x->server->cfg.core, &turn);
    if (turn.role != CORE_LEADS) {
        refuse(x, 503, "operation-failed", "this controller does not lead; ask another one");
        return;
    }
    http_req_set_ops(x->r, &running_ops, x);
    core_run(x->server->cfg.core, &actor_device, decide, decided, x);
}

static enum err_code parse_get(struct exchange *x, enum sztp_form form, const struct buf *body,
                               struct err *e) {
    x->ask.kind = ASK_GET;
    return sztp_get_parse(form, body->data, body->len, &x->ask.get, e);
}

/* Whom of a chassis it is about: for the writer, and in front of the message. */
static void about(struct ask *a, const struct sztp_member *m) {
    a->message[0] = '\0';
    a->has_member = m != NULL && m->serial[0] != '\0';
    if (a->has_member) {
        struct buf text = BUF_INIT;
        a->member = *m;
        sztp_member_text(m, &text);
        snprintf(a->message, sizeof a->message, "%s", buf_cstr(&text));
        buf_free(&text);
    }
}

static enum err_code parse_report(struct exchange *x, enum sztp_form form, const struct buf *body,
                                  struct err *e) {
    struct sztp_report report = {.type = SZTP_INFORMATIONAL};
    struct ask *a = &x->ask;
    a->kind = ASK_REPORT;
    enum err_code rc = sztp_report_parse(form, body->data, body->len, &report, e);
    if (rc == ERR_OK) {
        a->progress = report.type;
        about(a, report.has_member ? &report.member : NULL);
        size_t n = strlen(a->message);
        snprintf(a->message + n, sizeof a->message - n, "%s", report.text);
        a->host_keys = report.host_keys;
        a->anchors = report.anchors;
        report.host_keys = report.anchors = (struct buf)BUF_INIT;
    }
    sztp_report_free(&report);
    return rc;
}

static enum err_code parse_notification(struct exchange *x, const struct buf *body, struct err *e) {
    struct prerfc_notification n = {.member.id = -1};
    struct ask *a = &x->ask;
    struct buf text = BUF_INIT;
    a->kind = ASK_REPORT;
    enum err_code rc = prerfc_notification_parse(body->data, body->len, &n, e);
    if (rc == ERR_OK) {
        /* Whether the run ends is not said: errors that are about the whole end it. */
        a->progress = sztp_notification_progress(n.type, !sztp_notification_member(n.type));
        prerfc_notification_text(&n, &text);
        about(a, n.has_member ? &n.member : NULL);
        snprintf(a->message, sizeof a->message, "%s: %s", sztp_notification_name(n.type),
                 buf_cstr(&text));
        a->host_keys = n.host_keys;
        a->anchors = n.anchors;
        n.host_keys = n.anchors = (struct buf)BUF_INIT;
    }
    buf_free(&text);
    prerfc_notification_free(&n);
    return rc;
}

static enum err_code parse_renewal(struct exchange *x, const struct buf *body, struct err *e) {
    struct buf *csr = &x->ask.get.csr;
    enum err_code rc =
        cms_unbase64(body->data != NULL ? (const char *)body->data : "", body->len, csr, e);
    return rc == ERR_OK && csr->len == 0 ? err_set(e, ERR_MALFORMED, NULL, "there is no request")
                                         : rc;
}

static void on_body(struct http_req *r, struct buf *body, void *arg) {
    struct exchange *x = arg;
    struct ask *a = &x->ask;
    struct err e;
    enum err_code rc;
    char text[ERR_TEXT_MAX];
    const char *type = http_header(r, "content-type");
    if (a->kind != ASK_RENEW && type == NULL && (body->len > 0 || a->kind != ASK_GET)) {
        refuse(x, 415, "operation-not-supported", "The body has no media type.");
        return;
    }
    if (a->kind == ASK_RENEW) {
        rc = parse_renewal(x, body, &e);
    } else if (type == NULL) {
        rc = ERR_OK; /* all input is optional (RFC 8040 section 3.6.1) */
    } else if (a->prerfc) {
        rc = parse_notification(x, body, &e);
    } else {
        enum sztp_form form = SZTP_JSON;
        sztp_media(type, &form); /* was looked at before */
        rc = a->kind == ASK_GET ? parse_get(x, form, body, &e) : parse_report(x, form, body, &e);
    }
    if (rc != ERR_OK) {
        snprintf(text, sizeof text, "%.200s%s%.500s", e.path, e.path[0] != '\0' ? ": " : "",
                 e.text);
        refuse(x, 400, err_code_tag(rc), text);
        return;
    }
    submit(x);
}

/* ---- routing --------------------------------------------------------------------------------- */

static bool has_role(const struct onboard_listener *l, enum onboard_listener_role role) {
    for (size_t i = 0; i < l->n_role; i++) {
        if (l->role[i] == role) {
            return true;
        }
    }
    return false;
}

static bool has_dialect(const struct onboard_listener *l, enum onboard_listener_dialect dialect) {
    for (size_t i = 0; i < l->n_dialect; i++) {
        if (l->dialect[i] == dialect) {
            return true;
        }
    }
    return false;
}

/* The host part of an authority. */
static void host_of(const char *authority, char out[SZTP_NAME_MAX + 1]) {
    const char *end = authority + strlen(authority);
    if (authority[0] == '[') {
        const char *close = strchr(++authority, ']');
        end = close != NULL ? close : end;
    } else {
        const char *colon = strchr(authority, ':');
        end = colon != NULL ? colon : end;
    }
    snprintf(out, SZTP_NAME_MAX + 1, "%.*s", (int)(end - authority), authority);
    for (const char *p = out; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr(".-:", *p) == NULL) {
            out[0] = '\0'; /* it would go into what others read */
            break;
        }
    }
}

/* "192.0.2.1:4711", "[2001:db8::1]:4711": the address. */
static void address_of(const char *text, struct ip_addr *out) {
    char host[SZTP_NAME_MAX + 1];
    host_of(text, host);
    if (ip_addr_parse(host, out, NULL) != ERR_OK) {
        *out = (struct ip_addr){.family = 0};
    }
}

/* What another node has seen. */
static void who_was_seen(struct exchange *x, const char *passed) {
    struct ask *a = &x->ask;
    const char *from = http_header(x->r, "weft-peer"), *first = strchr(passed, ';'),
               *second = first != NULL ? strchr(first + 1, ';') : NULL;
    snprintf(a->source, sizeof a->source, "%s", from != NULL ? from : "");
    address_of(a->source, &x->source);
    if (second != NULL && second[1] != '\0' &&
        cms_unbase64(second + 1, strlen(second + 1), &a->cert, NULL) == ERR_OK) {
        a->has_cert = true;
        snprintf(a->fingerprint, sizeof a->fingerprint, "%.*s", (int)(second - first - 1),
                 first + 1);
    }
}

static void who_is_seen(struct exchange *x) {
    struct ask *a = &x->ask;
    const struct http_peer *p = http_peer(x->r);
    snprintf(a->source, sizeof a->source, "%s", p->text);
    x->source = p->addr;
    if (p->tls != NULL && p->tls->verified && p->tls->der != NULL) {
        a->has_cert = true;
        buf_add(&a->cert, p->tls->der, p->tls->der_len);
        snprintf(a->fingerprint, sizeof a->fingerprint, "%s", p->tls->fingerprint);
    }
}

static void who_asks(struct exchange *x, const struct onboard_listener *l, const char *passed) {
    struct ask *a = &x->ask;
    const char *auth = http_header(x->r, "authorization");
    if (passed != NULL) {
        who_was_seen(x, passed);
    } else {
        who_is_seen(x);
    }
    snprintf(a->method, sizeof a->method, "%s", http_method(x->r));
    snprintf(a->path, sizeof a->path, "%s", http_raw_path(x->r));
    if (l->public_address != NULL) {
        snprintf(a->address, sizeof a->address, "%s", l->public_address);
    } else {
        host_of(http_authority(x->r), a->address);
    }
    a->port = l->port;
    if (auth != NULL && strncasecmp(auth, "Basic ", 6) == 0) {
        a->has_basic = http_auth_basic(auth + 6, a->user, a->password);
    }
}

static struct exchange *exchange_new(struct door *d, struct http_req *r, const char *passed) {
    const struct onboard_listener *l = d->config->doc->data;
    struct exchange *x = MEM_NEW(struct exchange);
    x->server = d->server;
    x->server->open++;
    x->r = r;
    x->ask.form = form_of(r);
    x->ask.gives = (has_role(l, ONBOARD_LISTENER_ROLE_BOOTSTRAP) ? PLAN_BUNDLE : 0U) |
                   (has_role(l, ONBOARD_LISTENER_ROLE_REDIRECT) ? PLAN_REDIRECT : 0U);
    who_asks(x, l, passed);
    return x;
}

static void refuse_method(struct exchange *x, const char *allowed) {
    struct buf b = BUF_INIT;
    struct http_req *r = x->r;
    note_refusal(x, 405, "This method is not for this resource.");
    bool xml = x->ask.prerfc || x->ask.form == SZTP_XML;
    sztp_error_print(xml ? SZTP_XML : SZTP_JSON, "protocol", "operation-not-supported",
                     "This method is not for this resource.", false, &b);
    struct http_field f[] = {{"content-type", x->ask.prerfc ? PRERFC_TYPE
                                              : xml         ? XML_TYPE
                                                            : JSON_TYPE},
                             {"allow", allowed}};
    http_respond_fields(r, 405, f, 2, b.data, b.len);
    buf_free(&b);
    exchange_free(x);
}

/* False: it was answered. */
static bool admit(struct exchange *x, const char *method, bool body) {
    const char *type = http_header(x->r, "content-type");
    enum sztp_form form;
    if (strcmp(http_method(x->r), method) != 0) {
        refuse_method(x, method);
        return false;
    }
    if (source_slowed(x->server, &x->source, false) && !x->ask.has_cert) {
        refuse(x, 429, "resource-denied", "Too many failures from this address; try again later.");
        return false;
    }
    if (body && type != NULL && (!sztp_media(type, &form) || (x->ask.prerfc && form != SZTP_XML))) {
        refuse(x, 415, "operation-not-supported", "The body has a media type that is not known.");
        return false;
    }
    return true;
}

static void read_body(struct exchange *x) {
    http_req_set_ops(x->r, &reading_ops, x);
    http_collect(x->r, BODY_MAX, on_body, x);
}

/* The older dialect: the device's resource, or the notification below it. */
static void prerfc(struct exchange *x) {
    struct ask *a = &x->ask;
    char serial[CMS_SERIAL_MAX + sizeof NOTIFICATION + 1];
    const char *rest = http_path(x->r) + strlen(PRERFC_PATH);
    size_t n = strlen(rest), m = strlen(NOTIFICATION);
    bool tells = n > m && strcmp(rest + n - m, NOTIFICATION) == 0;
    snprintf(serial, sizeof serial, "%s", rest);
    if (tells && n < sizeof serial) {
        serial[n - m] = '\0';
    }
    a->prerfc = true;
    a->form = SZTP_XML;
    if (n >= sizeof serial || strlen(serial) > CMS_SERIAL_MAX) {
        refuse(x, 404, "data-missing", "There is nothing for this device.");
        return;
    }
    snprintf(a->path_serial, sizeof a->path_serial, "%s", serial);
    if (!admit(x, tells ? "POST" : "GET", tells)) {
        return;
    }
    a->kind = tells ? ASK_REPORT : ASK_GET;
    if (tells) {
        read_body(x);
    } else {
        submit(x);
    }
}

/* RFC 7030: what there is of it, below EST_PATH. */
static void renewal(struct exchange *x) {
    const char *what = http_path(x->r) + strlen(EST_PATH),
               *type = http_header(x->r, "content-type");
    struct http_req *r = x->r;
    struct err e;
    if (strcmp(what, "cacerts") == 0) {
        if (strcmp(http_method(r), "GET") != 0) {
            refuse_method(x, "GET");
        } else if (renew_authority(&x->out, &e) != ERR_OK) {
            refuse(x, 500, "operation-failed", "The authority's certificate can't be read.");
        } else {
            http_req_set_ops(r, NULL, NULL);
            respond_certs(r, &x->out);
            exchange_free(x);
        }
    } else if (strcmp(what, "simplereenroll") != 0) {
        refuse(x, 404, "invalid-value", "There is no such resource here.");
    } else if (strcmp(http_method(r), "POST") != 0) {
        refuse_method(x, "POST");
    } else if (type == NULL || strncasecmp(type, EST_REQUEST, strlen(EST_REQUEST)) != 0) {
        refuse(x, 415, "operation-not-supported", "The body is to be " EST_REQUEST ".");
    } else {
        x->ask.kind = ASK_RENEW;
        read_body(x);
    }
}

/* True: it was, to the node that leads. */
static bool passed_on(struct door *d, struct http_req *r) {
    const struct onboard_listener *l = d->config->doc->data;
    const struct onboard_server_config *cfg = &d->server->cfg;
    const struct tls_peer *p = http_peer(r)->tls;
    struct core_turn turn;
    core_turn(cfg->core, &turn);
    if (turn.role == CORE_LEADS || cfg->relay == NULL) {
        return false;
    }
    struct buf value = BUF_INIT;
    buf_printf(&value, "%s;", l->name);
    if (p != NULL && p->verified && p->der != NULL) {
        buf_printf(&value, "%s;", p->fingerprint);
        cms_base64(p->der, p->der_len, &value);
    } else {
        buf_char(&value, ';');
    }
    bool taken = cfg->relay(r, ONBOARD_DEVICE_FIELD, buf_cstr(&value), cfg->relay_arg);
    buf_free(&value);
    return taken;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A file is asked for at a node that follows: is what lies here what the leader has hashed? */
struct file_asked {
    struct door *door; /* lives as long as `r` */
    struct onboard_server *server;
    struct http_req *r; /* NULL: it has gone */
    const char *name;   /* in `path` */
    char path[320];     /* VERSION/NAME */
    enum files_match match;
};

static void file_give(struct door *d, struct http_req *r, const char *name,
                      enum files_match match) {
    struct core_turn turn;
    core_turn(d->server->cfg.core, &turn);
    if (match == FILES_SAME || turn.role == CORE_LEADS) {
        download_begin(r, name);
    } else if (!passed_on(d, r)) {
        request_write_error(r, 503,
                            "the version of the file that was asked for is not here, and no node "
                            "is known that leads",
                            NULL);
    }
}

static void file_looked(void *arg) {
    struct file_asked *f = arg;
    if (f->r != NULL) {
        http_req_set_ops(f->r, NULL, NULL);
        file_give(f->door, f->r, f->name, f->match);
    }
    server_left(f->server);
    mem_free(f);
}

static void file_look(void *arg) {
    struct file_asked *f = arg;
    char version[FILES_VERSION + 1];
    snprintf(version, sizeof version, "%s", f->path);
    f->match = files_match(f->name, version, true);
    loop_post(f->server->cfg.loop, file_looked, f);
}

static void file_closed(struct http_req *r, bool aborted, void *arg) {
    struct file_asked *f = arg;
    (void)r;
    (void)aborted;
    f->r = NULL;
}

static const struct http_req_ops file_ops = {.closed = file_closed};

/* The file has to be read for that: on a worker. */
static void file_ask(struct door *d, struct http_req *r, const char *path) {
    struct file_asked *f = MEM_NEW(struct file_asked);
    f->door = d;
    f->server = d->server;
    f->r = r;
    snprintf(f->path, sizeof f->path, "%s", path);
    f->name = f->path + FILES_VERSION + 1;
    http_req_set_ops(r, &file_ops, f);
    f->server->open++;
    if (!workers_run(f->server->cfg.workers, file_look, f)) {
        f->match = FILES_OTHER; /* the leader knows */
        file_looked(f);
    }
}

/* NAME, or VERSION/NAME as devices are told. The node that leads gives what it has, which it hashed
 * for them; one that follows what is the same, and passes on the rest. */
static void file_begin(struct door *d, struct http_req *r, const char *path, const char *passed) {
    char version[FILES_VERSION + 1];
    const char *name = files_split(path, version);
    struct core_turn turn;
    core_turn(d->server->cfg.core, &turn);
    if (passed != NULL || turn.role == CORE_LEADS || d->server->cfg.relay == NULL) {
        download_begin(r, name);
        return;
    }
    if (version[0] == '\0') { /* asked for by name alone */
        if (files_has(name) || !passed_on(d, r)) {
            download_begin(r, name);
        }
        return;
    }
    enum files_match match = files_match(name, version, false);
    if (match == FILES_UNKNOWN) {
        file_ask(d, r, path);
    } else {
        file_give(d, r, name, match);
    }
}

void request_begin(struct door *d, struct http_req *r, const char *passed) {
    const struct onboard_listener *l = d->config->doc->data;
    const char *path = http_path(r);
    bool bootstrap = has_role(l, ONBOARD_LISTENER_ROLE_BOOTSTRAP),
         redirect = has_role(l, ONBOARD_LISTENER_ROLE_REDIRECT);
    bool get = strcmp(path, SZTP_PATH_GET) == 0, tell = strcmp(path, SZTP_PATH_TELL) == 0;
    if (has_role(l, ONBOARD_LISTENER_ROLE_IMAGES) &&
        strncmp(path, FILES_PATH, strlen(FILES_PATH)) == 0) {
        if (strcmp(http_method(r), "GET") == 0 || strcmp(http_method(r), "HEAD") == 0) {
            file_begin(d, r, path + strlen(FILES_PATH), passed);
        } else {
            struct http_field allow = {"allow", "GET, HEAD"};
            http_respond_fields(r, 405, &allow, 1, NULL, 0);
        }
        return;
    }
    if (passed == NULL && http_header(r, ONBOARD_DEVICE_FIELD) != NULL) {
        static const char why[] = "only a controller's own certificate may say which device asks";
        note_head(d, r, 403, why);
        respond_error(r, is_prerfc(r), form_of(r), 403, "access-denied", why, false);
        return;
    }
    if (passed == NULL && passed_on(d, r)) {
        return;
    }
    struct exchange *x = exchange_new(d, r, passed);
    if (has_role(l, ONBOARD_LISTENER_ROLE_RENEW) &&
        strncmp(path, EST_PATH, strlen(EST_PATH)) == 0) {
        renewal(x);
    } else if (is_prerfc(r) && (bootstrap || redirect) &&
               has_dialect(l, ONBOARD_LISTENER_DIALECT_PRERFC)) {
        prerfc(x);
    } else if ((get || tell) && (bootstrap || redirect) &&
               has_dialect(l, ONBOARD_LISTENER_DIALECT_RFC8572)) {
        x->ask.kind = get ? ASK_GET : ASK_REPORT;
        if (admit(x, "POST", true)) {
            read_body(x);
        }
    } else {
        x->ask.prerfc = is_prerfc(r);
        refuse(x, 404, "invalid-value", "There is no such resource here.");
    }
}
