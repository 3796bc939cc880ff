// SPDX-License-Identifier: Apache-2.0
/*
 * What an answer may do (spec 3.3): the trust state is raised by servers that were checked and by
 * signed data that hold, lowered by signed data that don't; unsigned onboarding information counts
 * only while it is raised.
 */
#include "phone-home/engine_int.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* This server or finding is of no use; what led to it goes on. */
static void useless(struct phc_engine *g, const char *what, const struct err *e) {
    phc_trouble(g, LOG_WARNING, "%s: %s%s%s%s%s", g->ask.place, what, e->text[0] ? ": " : "",
                e->path, e->path[0] ? ": " : "", e->text);
    phc_next(g);
}

/* ---------------------------------------------------------------- a run begins */

static void refused_start(struct phc_engine *g, const struct phc_event *ev) {
    phc_fail(g, SZTP_BOOTSTRAP_ERROR, "The report of the beginning was not taken: %s",
             ev->error != NULL ? ev->error->text : "another status than 204");
}

/* The record of a run: whose data, and what was read. */
static void open_run(struct phc_engine *g, enum sztp_form form, const void *body, size_t n) {
    struct record *r = &g->r;
    record_end_run(r);
    do {
        g->w.random(g->w.arg, &r->run, sizeof r->run);
    } while (r->run == 0);
    r->source = g->source;
    r->dialect = g->ask.dialect;
    memcpy(r->place, g->ask.place, sizeof r->place);
    memcpy(r->host, g->ask.host, sizeof r->host);
    r->port = g->ask.port;
    r->verify = g->ask.verify;
    buf_add(&r->anchor, g->ask.anchor.data, g->ask.anchor.len);
    r->form = g->ask.form;
    r->level = g->ask.level;
    r->body_form = form;
    buf_add(&r->body, body, n);
    EVP_Digest(body, n, r->digest, NULL, EVP_sha256(), NULL);
    memset(&g->image, 0, sizeof g->image);
    g->tries = 0;
}

/* Data of a server that we know and may tell so (spec 3.4, 2). */
static void bad_data(struct phc_engine *g, const struct err *e) {
    if (g->ask.host[0] == '\0' || g->ask.verify == PHC_PROVISIONAL) {
        useless(g, "its data", e);
        return;
    }
    open_run(g, SZTP_JSON, "", 0);
    phc_tell(g, SZTP_BOOTSTRAP_INITIATED, "Bootstrapping begins.");
    phc_fail(g, SZTP_PARSING_ERROR, "%s%s%s", e->path, e->path[0] ? ": " : "", e->text);
}

/* Onboarding information that may be followed; `body` is what it was read from. */
static void begin_run(struct phc_engine *g, enum sztp_form form, const void *body, size_t n) {
    open_run(g, form, body, n);
    phc_log(g, LOG_NOTICE, "follows the onboarding information of %s", g->r.place);
    /* Spec 3.4, 1: only when it is taken the run goes on; older servers know no such rule. */
    if (phc_reports(g) && g->r.dialect == PHC_RFC8572) {
        phc_tell_must(g, SZTP_BOOTSTRAP_INITIATED, "Bootstrapping begins.", phc_topology,
                      refused_start);
        return;
    }
    phc_tell(g, SZTP_BOOTSTRAP_INITIATED, "Bootstrapping begins.");
    phc_topology(g);
}

/* Redirect information, or onboarding information; takes what `c` owns. */
static void follow(struct phc_engine *g, struct conveyed *c, enum sztp_form form, const void *body,
                   size_t n) {
    if (c->redirect) {
        struct err e = {0};
        struct sztp_server *servers = c->servers;
        size_t n_servers = c->n_servers;
        c->servers = NULL;
        c->n_servers = 0;
        conveyed_free(c);
        phc_enter(g, PHC_ST_REDIRECT);
        phc_log(g, LOG_INFO, "%s redirects to %zu servers", g->ask.place, n_servers);
        if (phc_redirect(g, servers, n_servers, &e) != ERR_OK) {
            useless(g, "redirects", &e);
            return;
        }
        phc_next(g);
        return;
    }
    if (!g->trust) { /* PH-141 */
        phc_trouble(g, LOG_WARNING,
                    "%s gives onboarding information that nobody signed, and can't be trusted",
                    g->ask.place);
        conveyed_free(c);
        phc_leave_recursion(g);
        return;
    }
    if (g->has_info) {
        conveyed_free(&g->info);
    }
    g->info = *c;
    g->has_info = true;
    begin_run(g, form, body, n);
}

/* ---------------------------------------------------------------- RFC 8572 */

/* PH-142 with what this device is. */
static enum err_code believe(struct phc_engine *g, const struct trust_data *t,
                             struct cms_content *content, struct err *e) {
    uint8_t akid[VOUCHER_ISSUER_MAX];
    enum trust_clause clause = TRUST_OK;
    struct trust_device d = {
        .serial = g->own.serial,
        .voucher_anchors = g->w.voucher_anchors,
        .nonce = g->ask.nonce,
        .nonce_len = g->ask.nonce_len,
        .assertions = g->c.assertions,
        .now_s = g->w.wall_s(g->w.arg),
        .clock_ok = g->own.clock_ok,
        .key = g->w.device,
    };
    if (g->w.device != NULL) {
        d.idevid_akid = akid;
        d.idevid_akid_len = cms_key_akid(g->w.device, akid, sizeof akid);
    }
    enum err_code rc = trust_signed_data(&d, t, content, &clause, e);
    if (rc != ERR_OK) {
        phc_log(g, LOG_WARNING, "%s: signed data do not hold (%s)", g->ask.place,
                trust_clause_name(clause));
    }
    return rc;
}

static enum sztp_form form_of(const struct cms_content *c) {
    if (c->type == CMS_CI_XML || c->type == CMS_CI_JSON) {
        return c->type == CMS_CI_XML ? SZTP_XML : SZTP_JSON;
    }
    for (size_t i = 0; i < c->bytes.len; i++) {
        if (c->bytes.data[i] == '<' || c->bytes.data[i] == '{') {
            return c->bytes.data[i] == '<' ? SZTP_XML : SZTP_JSON;
        }
    }
    return SZTP_JSON;
}

void phc_take_artifacts(struct phc_engine *g, const struct buf *ci, const struct buf *owner,
                        const struct buf *voucher) {
    struct cms_content content = {0};
    struct err e = {0};
    phc_enter(g, PHC_ST_VALIDATE);
    enum err_code rc =
        cms_open(ci->data, ci->len, CMS_CI_XML | CMS_CI_JSON | CMS_DATA, g->w.device, &content, &e);
    if (rc == ERR_OK && (content.is_signed || owner->len > 0 || voucher->len > 0)) {
        cms_content_free(&content);
        memset(&content, 0, sizeof content);
        struct trust_data t = {.voucher = voucher->data,
                               .voucher_len = voucher->len,
                               .owner = owner->data,
                               .owner_len = owner->len,
                               .ci = ci->data,
                               .ci_len = ci->len};
        rc = believe(g, &t, &content, &e);
        g->trust = rc == ERR_OK; /* PH-140: lowered even when the server itself is trusted */
    }
    if (rc != ERR_OK) {
        cms_content_free(&content);
        bad_data(g, &e);
        return;
    }
    struct conveyed c;
    memset(&c, 0, sizeof c);
    enum sztp_form form = form_of(&content);
    rc = conveyed_parse(form, content.bytes.data, content.bytes.len, g->c.lenient, &c, &e);
    if (rc != ERR_OK) {
        cms_content_free(&content);
        bad_data(g, &e);
        return;
    }
    follow(g, &c, form, content.bytes.data, content.bytes.len);
    cms_content_free(&content);
}

/* ---------------------------------------------------------------- the older dialect */

static enum err_code read_document(struct phc_engine *g, const void *xml, size_t n,
                                   struct conveyed *out, struct err *e) {
    struct prerfc_device d;
    memset(&d, 0, sizeof d);
    enum err_code rc = prerfc_device_parse(xml, n, &d, e);
    if (rc == ERR_OK && d.serial[0] != '\0' && strcmp(d.serial, g->own.serial) != 0 &&
        g->r.run == 0) {
        rc = err_set(e, ERR_REFUSED, "unique-id", "the data are for the device %.64s", d.serial);
    }
    if (rc == ERR_OK) {
        memcpy(g->image_name, d.image_name, sizeof g->image_name);
        *out = d.info;
        memset(&d.info, 0, sizeof d.info);
    }
    prerfc_device_free(&d);
    return rc;
}

void phc_take_document(struct phc_engine *g, const void *xml, size_t n) {
    struct conveyed c;
    struct err e = {0};
    memset(&c, 0, sizeof c);
    phc_enter(g, PHC_ST_VALIDATE);
    if (read_document(g, xml, n, &c, &e) != ERR_OK) {
        bad_data(g, &e);
        return;
    }
    follow(g, &c, SZTP_XML, xml, n);
}

enum err_code phc_parse_body(struct phc_engine *g, struct err *e) {
    struct conveyed c;
    memset(&c, 0, sizeof c);
    const struct record *r = &g->r;
    g->image_name[0] = '\0';
    if (r->dialect == PHC_PRERFC) {
        ERR_TRY(read_document(g, r->body.data, r->body.len, &c, e));
    } else {
        ERR_TRY(conveyed_parse(r->body_form, r->body.data, r->body.len, g->c.lenient, &c, e));
    }
    if (g->has_info) {
        conveyed_free(&g->info);
    }
    g->info = c;
    g->has_info = true;
    memset(&g->image, 0, sizeof g->image);
    return ERR_OK;
}
