// SPDX-License-Identifier: Apache-2.0
/* Requests to a server for data, in the dialects, and what its answers mean. */
#include "phone-home/engine_int.h"

#include <stdio.h>
#include <string.h>

const char *phc_media(enum sztp_form form) {
    return form == SZTP_JSON ? "application/yang-data+json" : "application/yang-data+xml";
}

char *phc_prerfc_path(struct phc_engine *g, struct arena *mem, const char *more) {
    static const char hex[] = "0123456789ABCDEF";
    struct buf b = BUF_INIT;
    buf_str(&b, PRERFC_PATH);
    for (const char *c = g->own.serial; *c != '\0'; c++) { /* a key of RFC 8040 section 3.5.3 */
        if ((*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
            strchr("-._~", *c) != NULL) {
            buf_char(&b, *c);
        } else {
            buf_char(&b, '%');
            buf_char(&b, hex[(uint8_t)*c >> 4]);
            buf_char(&b, hex[(uint8_t)*c & 15]);
        }
    }
    buf_str(&b, more);
    char *path = arena_strdup(mem, buf_cstr(&b));
    buf_free(&b);
    return path;
}

static struct buf *buf_in(struct arena *mem, const struct buf *b) {
    struct buf *to = arena_alloc(mem, sizeof *to);
    to->data = arena_alloc(mem, b->len > 0 ? b->len : 1);
    to->len = to->cap = b->len;
    if (b->len > 0) {
        memcpy(to->data, b->data, b->len);
    }
    return to;
}

void phc_request(struct phc_engine *g, struct phc_request *q, struct arena *mem, const char *host,
                 uint16_t port, enum phc_verify verify, const struct buf *anchor) {
    q->host = arena_strdup(mem, host);
    q->port = port;
    q->verify = verify;
    q->anchor = verify == PHC_ANCHOR ? buf_in(mem, anchor) : NULL;
    /* A password is for servers that we know, unless the owner says otherwise. */
    bool told = verify != PHC_PROVISIONAL || g->c.user_to_untrusted;
    q->user = told ? arena_strdup(mem, g->own.serial) : NULL;
    q->deadline_ms = PHC_REQUEST_MS;
    q->max_body = PHC_BODY_MAX;
}

static void answered(struct phc_engine *g, const struct phc_event *ev);

static void ask_prerfc(struct phc_engine *g) {
    struct phc_item *it = phc_order(g, PHC_REQUEST, PHC_REQUEST_MS + PHC_GRACE_MS, answered);
    struct phc_request *q = &it->a.u.request;
    phc_request(g, q, it->mem, g->ask.host, g->ask.port, g->ask.verify, &g->ask.anchor);
    q->method = "GET";
    q->path = phc_prerfc_path(g, it->mem, "");
    q->accept = "application/yang.data+xml";
}

static void ask_rfc8572(struct phc_engine *g) {
    struct sztp_get get = {0};
    /* What the device is, only servers that are trusted are told (PH-145): the others get what they
     * need for signed data (PH-120). */
    if (g->ask.verify != PHC_PROVISIONAL) {
        memcpy(get.hw_model, g->own.model, sizeof get.hw_model);
        memcpy(get.os_name, g->own.os_name, sizeof get.os_name);
        memcpy(get.os_version, g->own.os_version, sizeof get.os_version);
    } else {
        get.signed_preferred = true;
        if (g->ask.nonce_len == 0) {
            g->ask.nonce_len = SZTP_NONCE_MIN;
            g->w.random(g->w.arg, g->ask.nonce, g->ask.nonce_len);
        }
        memcpy(get.nonce, g->ask.nonce, g->ask.nonce_len);
        get.nonce_len = g->ask.nonce_len;
    }
    if (g->ask.csr == CSR_OFFERED) {
        get.csr_support = get.csr_p10_ok = true;
        phc_csr_algorithms(&get.key_algorithms);
    } else if (g->ask.csr == CSR_SENT) {
        struct err e = {0};
        get.csr_format = SZTP_CSR_P10;
        if (phc_csr_make(g, &get.csr, &e) != ERR_OK) {
            phc_trouble(g, LOG_ERR, "no request for a certificate can be made: %s", e.text);
            get.csr_format = SZTP_CSR_NONE;
        }
    }
    struct phc_item *it = phc_order(g, PHC_REQUEST, PHC_REQUEST_MS + PHC_GRACE_MS, answered);
    struct phc_request *q = &it->a.u.request;
    phc_request(g, q, it->mem, g->ask.host, g->ask.port, g->ask.verify, &g->ask.anchor);
    q->method = "POST";
    q->path = SZTP_PATH_GET;
    q->accept = q->content_type = phc_media(SZTP_JSON);
    sztp_get_print(&get, SZTP_JSON, &it->bytes);
    struct buf *body = arena_alloc(it->mem, sizeof *body);
    *body = it->bytes; /* the item owns the bytes */
    q->body = body;
    sztp_get_free(&get);
}

void phc_ask(struct phc_engine *g) {
    if (g->ask.dialect == PHC_PRERFC) {
        ask_prerfc(g);
        return;
    }
    /* RFC 9646: only who is known may sign a certificate for us. */
    if (g->ask.tries == 0 && g->ask.csr == CSR_NO && g->ask.verify != PHC_PROVISIONAL &&
        phc_keeps_keys(g)) {
        g->ask.csr = CSR_OFFERED;
    }
    ask_rfc8572(g);
}

static void next_server(struct phc_engine *g, const char *why) {
    phc_trouble(g, LOG_WARNING, "%s: %s", g->ask.place, why);
    phc_next(g);
}

static enum sztp_form form_of(const struct phc_event *ev) {
    enum sztp_form form;
    if (ev->content_type != NULL && sztp_media(ev->content_type, &form)) {
        return form;
    }
    const char *p = ev->body; /* a static file's type may be anything */
    for (size_t i = 0; i < ev->n; i++) {
        if (strchr(" \t\r\n\xef\xbb\xbf", p[i]) == NULL || p[i] == '\0') {
            return p[i] == '<' ? SZTP_XML : SZTP_JSON;
        }
    }
    return SZTP_JSON;
}

/* 400 of RFC 9646 section 2. True: the request is sent once more in another form. */
static bool csr_asked(struct phc_engine *g, const struct phc_event *ev) {
    struct sztp_error se = {0};
    struct err e = {0};
    bool known = sztp_error_parse(form_of(ev), ev->body, ev->n, &se, &e) == ERR_OK;
    if (g->ask.csr == CSR_OFFERED) {
        if (known && se.csr_request && se.csr_p10) {
            phc_log(g, LOG_INFO, "%s asks for a certificate request", g->ask.place);
            g->ask.csr = CSR_SENT;
        } else { /* it may not know what we offered */
            g->ask.csr = CSR_NO;
        }
        return true;
    }
    if (g->ask.csr == CSR_SENT) {
        phc_csr_drop(g);
        phc_log(g, LOG_NOTICE, "%s refused the certificate request: its key is deleted",
                g->ask.place);
    }
    return false;
}

static void refused(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->retry_after_ms > g->retry_after_ms) {
        g->retry_after_ms = ev->retry_after_ms;
    }
    if (g->ask.dialect == PHC_PRERFC) {
        bool may_pass = ev->status == 500 ||
                        (ev->status == 0 && (ev->error == NULL || ev->error->code == ERR_TIMEOUT));
        if (may_pass && ++g->ask.tries < PHC_TRIES_PRERFC) { /* PH-115 */
            phc_timer(g, PHC_PAUSE_MS, phc_ask);
            return;
        }
    } else if (ev->status == 400 && csr_asked(g, ev)) {
        g->ask.tries++;
        phc_ask(g);
        return;
    }
    char why[ERR_TEXT_MAX];
    struct sztp_error se = {0};
    struct err e = {0};
    if (ev->status == 0) {
        snprintf(why, sizeof why, "%s", ev->error != NULL ? ev->error->text : "no answer");
    } else if (g->ask.dialect == PHC_RFC8572 && ev->n > 0 &&
               sztp_error_parse(form_of(ev), ev->body, ev->n, &se, &e) == ERR_OK) {
        snprintf(why, sizeof why, "answers %d: %.60s: %.600s", ev->status, se.tag, se.text);
    } else {
        snprintf(why, sizeof why, "answers %d%s", ev->status,
                 ev->status == 404 ? ": it does not know this device" : "");
    }
    next_server(g, why);
}

static void answered(struct phc_engine *g, const struct phc_event *ev) {
    phc_enter(g, PHC_ST_FETCH);
    if (ev->error != NULL || ev->status != 200) {
        refused(g, ev);
        return;
    }
    if (g->ask.verify == PHC_PROVISIONAL) {
        g->trust = false; /* PH-143 */
    } else {
        g->trust = true; /* PH-140 */
    }
    if (g->ask.dialect == PHC_PRERFC) {
        g->ask.form = SZTP_XML;
        g->ask.level = SZTP_VERBOSE;
        phc_take_document(g, ev->body, ev->n);
        return;
    }
    struct sztp_answer a;
    struct err e = {0};
    memset(&a, 0, sizeof a);
    g->ask.form = form_of(ev);
    if (sztp_answer_parse(g->ask.form, ev->body, ev->n, g->c.lenient, &a, &e) != ERR_OK) {
        char why[ERR_TEXT_MAX + 40];
        snprintf(why, sizeof why, "its answer can't be read: %s", e.text);
        next_server(g, why);
        return;
    }
    g->ask.level = a.level;
    phc_take_artifacts(g, &a.ci, &a.owner, &a.voucher);
    sztp_answer_free(&a);
}
