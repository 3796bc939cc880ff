// SPDX-License-Identifier: Apache-2.0
#include "sztp/message.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "sztp/doc.h"
#include "sztp/topology.h"

enum {
    BODY_MAX = 1 << 20,
    ALGORITHMS_MAX = 4096, /* octets of all together */
    KEYS_MAX = 64          /* host keys and anchors of a report */
};

/* AlgorithmIdentifier of a P-256 key (RFC 5480 section 2.1.1) */
static const uint8_t p256[] = {0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                               0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

/* ---- media types --------------------------------------------------------------------------------
 */

static bool one_media(const char *s, size_t n, enum sztp_form *form) {
    static const struct {
        const char *name;
        enum sztp_form form;
    } known[] = {{"application/yang-data+json", SZTP_JSON}, {"application/yang-data+xml", SZTP_XML},
                 {"application/yang.data+json", SZTP_JSON}, {"application/yang.data+xml", SZTP_XML},
                 {"application/json", SZTP_JSON},           {"application/xml", SZTP_XML}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == n && strncasecmp(known[i].name, s, n) == 0) {
            *form = known[i].form;
            return true;
        }
    }
    return false;
}

/* "0.25" in thousandths; up to three digits count */
static int thousandths(const char *p) {
    int q = *p == '1' ? 1000 : 0, unit = 100;
    if (p[0] == '0' && p[1] == '.') {
        for (p += 2; *p >= '0' && *p <= '9' && unit > 0; p++, unit /= 10) {
            q += unit * (*p - '0');
        }
    }
    return q;
}

/* The weight of one element of Accept (RFC 9110 section 12.4.2). */
static int quality(const char *s, size_t n) {
    const char *semi = memchr(s, ';', n);
    while (semi != NULL) {
        const char *p = semi + 1 + strspn(semi + 1, " \t");
        if ((*p == 'q' || *p == 'Q') && p[1] == '=') {
            return thousandths(p + 2);
        }
        semi = memchr(semi + 1, ';', n - (size_t)(semi + 1 - s));
    }
    return 1000;
}

bool sztp_media(const char *type, enum sztp_form *form) {
    int best = 0;
    while (*type != '\0') {
        type += strspn(type, " \t,");
        size_t all = strcspn(type, ","), n = strcspn(type, ",; \t");
        enum sztp_form f;
        if (one_media(type, n, &f) && quality(type, all) > best) {
            best = quality(type, all);
            *form = f;
        }
        type += all;
    }
    return best > 0;
}

/* ---- get-bootstrapping-data, input --------------------------------------------------------------
 */

void sztp_get_free(struct sztp_get *g) {
    buf_free(&g->key_algorithms);
    buf_free(&g->csr);
    *g = (struct sztp_get){0};
}

static enum err_code parse_support(const struct doc *d, const struct dom *n, struct sztp_get *g,
                                   struct err *e) {
    static const struct doc_field outer[] = {{DOC_CSR, "key-generation", DOC_TREE},
                                             {DOC_CSR, "csr-generation", DOC_TREE}};
    static const struct doc_field keys[] = {{DOC_CSR, "supported-algorithms", DOC_TREE}};
    static const struct doc_field formats[] = {{DOC_CSR, "supported-formats", DOC_TREE}};
    static const struct doc_field key[] = {
        {DOC_CSR, "algorithm-identifier", DOC_STRING | DOC_MANY | DOC_MANDATORY}};
    static const struct doc_field format[] = {
        {DOC_CSR, "format-identifier", DOC_STRING | DOC_MANY | DOC_MANDATORY}};
    const struct dom *got[2], *in;
    g->csr_support = true;
    g->csr_p10_ok = true;
    ERR_TRY(doc_fields(d, n, outer, 2, got, e));
    if (got[0] != NULL) {
        ERR_TRY(doc_fields(d, got[0], keys, 1, &in, e));
        if (in != NULL) {
            ERR_TRY(doc_fields(d, in, key, 1, &in, e));
        }
        for (; in != NULL; in = doc_next(in)) {
            if (g->key_algorithms.len > ALGORITHMS_MAX) {
                return doc_fail(in, ERR_LIMIT, e, "too many algorithms");
            }
            ERR_TRY(doc_binary(in, ALGORITHMS_MAX, &g->key_algorithms, e));
        }
    }
    if (got[1] != NULL) {
        ERR_TRY(doc_fields(d, got[1], formats, 1, &in, e));
        if (in != NULL) {
            ERR_TRY(doc_fields(d, in, format, 1, &in, e));
            g->csr_p10_ok = false;
        }
        for (; in != NULL; in = doc_next(in)) {
            g->csr_p10_ok = g->csr_p10_ok || strcmp(doc_identity(in), "p10-csr") == 0;
        }
    }
    return ERR_OK;
}

enum { SIGNED, MODEL, OS_NAME, OS_VERSION, NONCE, SUPPORT, P10, CMC, CMP, GET_FIELDS };
static const struct doc_field get_fields[GET_FIELDS] = {
    [SIGNED] = {DOC_SERVER, "signed-data-preferred", DOC_EMPTY},
    [MODEL] = {DOC_SERVER, "hw-model", DOC_STRING},
    [OS_NAME] = {DOC_SERVER, "os-name", DOC_STRING},
    [OS_VERSION] = {DOC_SERVER, "os-version", DOC_STRING},
    [NONCE] = {DOC_SERVER, "nonce", DOC_STRING},
    [SUPPORT] = {DOC_CSR, "csr-support", DOC_TREE},
    [P10] = {DOC_CSR, "p10-csr", DOC_STRING},
    [CMC] = {DOC_CSR, "cmc-csr", DOC_STRING},
    [CMP] = {DOC_CSR, "cmp-csr", DOC_STRING}};

/* One of the choices of RFC 9646, or none. */
static enum err_code parse_csr(const struct doc *d, const struct dom **got, struct sztp_get *g,
                               struct err *e) {
    const struct dom *first = NULL;
    for (int i = SUPPORT; i <= CMP; i++) {
        if (got[i] != NULL && first != NULL) {
            return doc_fail(got[i], ERR_ELEMENT, e, "excludes %s", first->name);
        }
        first = got[i] != NULL ? got[i] : first;
    }
    if (got[SUPPORT] != NULL) {
        return parse_support(d, got[SUPPORT], g, e);
    }
    if (first != NULL) {
        g->csr_format = got[P10] != NULL   ? SZTP_CSR_P10
                        : got[CMC] != NULL ? SZTP_CSR_CMC
                                           : SZTP_CSR_CMP;
        ERR_TRY(doc_binary(first, SZTP_CSR_MAX, &g->csr, e));
        return g->csr.len == 0 ? doc_fail(first, ERR_INVALID, e, "is empty") : ERR_OK;
    }
    return ERR_OK;
}

static enum err_code parse_get(const struct doc *d, struct sztp_get *g, struct err *e) {
    const struct dom *got[GET_FIELDS];
    struct buf nonce = BUF_INIT;
    enum err_code rc;
    ERR_GOTO(rc, doc_fields(d, d->root, get_fields, GET_FIELDS, got, e), out);
    g->signed_preferred = got[SIGNED] != NULL;
    ERR_GOTO(rc, doc_text(got[MODEL], g->hw_model, sizeof g->hw_model, e), out);
    ERR_GOTO(rc, doc_text(got[OS_NAME], g->os_name, sizeof g->os_name, e), out);
    ERR_GOTO(rc, doc_text(got[OS_VERSION], g->os_version, sizeof g->os_version, e), out);
    ERR_GOTO(rc, doc_binary(got[NONCE], BODY_MAX, &nonce, e), out);
    if (nonce.len > 0 && (nonce.len < SZTP_NONCE_MIN || nonce.len > SZTP_NONCE_MAX)) {
        rc = doc_fail(got[NONCE], ERR_INVALID, e, "has %zu octets, and is to have %d to %d",
                      nonce.len, SZTP_NONCE_MIN, SZTP_NONCE_MAX);
        goto out;
    }
    g->nonce_len = nonce.len;
    if (nonce.len > 0) {
        memcpy(g->nonce, nonce.data, nonce.len);
    }
    rc = parse_csr(d, got, g, e);
out:
    buf_free(&nonce);
    return rc;
}

/* The document, whose top element is to be that one. */
static enum err_code open_body(struct doc *d, enum sztp_form form, const void *p, size_t n,
                               size_t max, bool lenient, enum doc_module m, const char *name,
                               struct err *e) {
    enum err_code rc = doc_read(d, form, p, n, max, lenient, e);
    if (rc == ERR_OK && !doc_is(d, d->root, m, name)) {
        rc = doc_fail(d->root, ERR_UNKNOWN, e, "is not \"%s\" of its module", name);
    }
    return rc;
}

enum err_code sztp_get_parse(enum sztp_form form, const void *p, size_t n, struct sztp_get *out,
                             struct err *e) {
    struct doc d;
    *out = (struct sztp_get){0};
    enum err_code rc = open_body(&d, form, p, n, BODY_MAX, false, DOC_SERVER, "input", e);
    rc = rc == ERR_OK ? parse_get(&d, out, e) : rc;
    doc_free(&d);
    if (rc != ERR_OK) {
        sztp_get_free(out);
    }
    return rc;
}

static void print_support(struct doc_out *o, const struct sztp_get *g) {
    doc_open(o, DOC_CSR, "csr-support");
    if (g->key_algorithms.len > 0) {
        struct cur c = cur_of(g->key_algorithms.data, g->key_algorithms.len);
        doc_open(o, DOC_CSR, "key-generation");
        doc_open(o, DOC_CSR, "supported-algorithms");
        doc_list(o, DOC_CSR, "algorithm-identifier");
        while (cur_left(&c) >= 2) { /* short forms of DER: what we put there ourselves */
            size_t n = (size_t)c.p[1] + 2;
            const uint8_t *one = cur_bytes(&c, n);
            if (one == NULL) {
                break;
            }
            doc_put_binary(o, DOC_CSR, "algorithm-identifier", one, n);
        }
        doc_close(o);
        doc_close(o);
        doc_close(o);
    }
    if (g->csr_p10_ok) {
        doc_open(o, DOC_CSR, "csr-generation");
        doc_open(o, DOC_CSR, "supported-formats");
        doc_list(o, DOC_CSR, "format-identifier");
        doc_put_identity(o, DOC_CSR, "format-identifier", DOC_TYPES, "p10-csr");
        doc_close(o);
        doc_close(o);
        doc_close(o);
    }
    doc_close(o);
}

void sztp_get_print(const struct sztp_get *g, enum sztp_form form, struct buf *out) {
    static const char *const csr[] = {"", "p10-csr", "cmc-csr", "cmp-csr"};
    struct doc_out o;
    doc_begin(&o, form, out);
    doc_open(&o, DOC_SERVER, "input");
    if (g->signed_preferred) {
        doc_put_empty(&o, DOC_SERVER, "signed-data-preferred");
    }
    const struct {
        const char *name, *value;
    } texts[] = {{"hw-model", g->hw_model}, {"os-name", g->os_name}, {"os-version", g->os_version}};
    for (size_t i = 0; i < 3; i++) {
        if (texts[i].value[0] != '\0') {
            doc_put(&o, DOC_SERVER, texts[i].name, texts[i].value);
        }
    }
    if (g->nonce_len > 0) {
        doc_put_binary(&o, DOC_SERVER, "nonce", g->nonce, g->nonce_len);
    }
    if (g->csr_format != SZTP_CSR_NONE) {
        doc_put_binary(&o, DOC_CSR, csr[g->csr_format], g->csr.data, g->csr.len);
    } else if (g->csr_support) {
        print_support(&o, g);
    }
    doc_close(&o);
    doc_end(&o);
}

/* ---- get-bootstrapping-data, output -------------------------------------------------------------
 */

void sztp_answer_free(struct sztp_answer *a) {
    buf_free(&a->ci);
    buf_free(&a->owner);
    buf_free(&a->voucher);
    *a = (struct sztp_answer){.level = SZTP_MINIMAL};
}

static enum err_code parse_answer(const struct doc *d, struct sztp_answer *a, struct err *e) {
    enum { LEVEL, CI, OWNER, VOUCHER, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [LEVEL] = {DOC_SERVER, "reporting-level", DOC_STRING},
        [CI] = {DOC_SERVER, "conveyed-information", DOC_STRING | DOC_MANDATORY},
        [OWNER] = {DOC_SERVER, "owner-certificate", DOC_STRING},
        [VOUCHER] = {DOC_SERVER, "ownership-voucher", DOC_STRING}};
    const struct dom *got[FIELDS];
    ERR_TRY(doc_fields(d, d->root, fields, FIELDS, got, e));
    if (got[LEVEL] != NULL) {
        const char *text = got[LEVEL]->text;
        if (strcmp(text, "minimal") != 0 && strcmp(text, "verbose") != 0) {
            return doc_fail(got[LEVEL], ERR_INVALID, e, "is minimal or verbose");
        }
        a->level = text[0] == 'v' ? SZTP_VERBOSE : SZTP_MINIMAL;
    }
    ERR_TRY(doc_binary(got[CI], CMS_DER_MAX, &a->ci, e));
    ERR_TRY(doc_binary(got[OWNER], CMS_DER_MAX, &a->owner, e));
    ERR_TRY(doc_binary(got[VOUCHER], CMS_DER_MAX, &a->voucher, e));
    for (int i = CI; i <= VOUCHER; i++) {
        const struct buf *b = i == CI ? &a->ci : i == OWNER ? &a->owner : &a->voucher;
        if (got[i] != NULL && b->len == 0) {
            return doc_fail(got[i], ERR_INVALID, e, "is empty");
        }
    }
    if ((got[OWNER] != NULL) != (got[VOUCHER] != NULL)) {
        return doc_fail(d->root, ERR_MISSING, e,
                        "owner-certificate and ownership-voucher come together");
    }
    return ERR_OK;
}

enum err_code sztp_answer_parse(enum sztp_form form, const void *p, size_t n, bool lenient,
                                struct sztp_answer *out, struct err *e) {
    struct doc d;
    *out = (struct sztp_answer){.level = SZTP_MINIMAL};
    enum err_code rc = open_body(&d, form, p, n, (size_t)CMS_DER_MAX * 4 / 3 * 3, lenient,
                                 DOC_SERVER, "output", e);
    rc = rc == ERR_OK ? parse_answer(&d, out, e) : rc;
    doc_free(&d);
    if (rc != ERR_OK) {
        sztp_answer_free(out);
    }
    return rc;
}

void sztp_answer_print(const struct sztp_answer *a, enum sztp_form form,
                       const struct sztp_profile *p, struct buf *out) {
    struct doc_out o;
    p = p != NULL ? p : &sztp_profile_default;
    doc_begin(&o, form, out);
    doc_open(&o, DOC_SERVER, "output");
    if (!p->omit_reporting_level) {
        doc_put(&o, DOC_SERVER, "reporting-level",
                a->level == SZTP_VERBOSE ? "verbose" : "minimal");
    }
    doc_put_binary(&o, DOC_SERVER, "conveyed-information", a->ci.data, a->ci.len);
    if (a->owner.len > 0 && a->voucher.len > 0) {
        doc_put_binary(&o, DOC_SERVER, "owner-certificate", a->owner.data, a->owner.len);
        doc_put_binary(&o, DOC_SERVER, "ownership-voucher", a->voucher.data, a->voucher.len);
    }
    doc_close(&o);
    doc_end(&o);
}

/* ---- report-progress ----------------------------------------------------------------------------
 */

void sztp_report_free(struct sztp_report *r) {
    buf_free(&r->host_keys);
    buf_free(&r->anchors);
    *r = (struct sztp_report){.type = SZTP_INFORMATIONAL};
}

static enum err_code parse_keys(const struct doc *d, const struct dom *n, struct buf *out,
                                struct err *e) {
    enum { ALGORITHM, DATA, FIELDS };
    static const struct doc_field list[] = {{DOC_SERVER, "ssh-host-key", DOC_TREE | DOC_MANY}};
    static const struct doc_field key[FIELDS] = {
        [ALGORITHM] = {DOC_SERVER, "algorithm", DOC_STRING | DOC_MANDATORY},
        [DATA] = {DOC_SERVER, "key-data", DOC_STRING | DOC_MANDATORY}};
    const struct dom *got[FIELDS], *k;
    size_t count = 0;
    ERR_TRY(doc_fields(d, n, list, 1, &k, e));
    for (; k != NULL; k = doc_next(k)) {
        if (++count > KEYS_MAX) {
            return doc_fail(k, ERR_LIMIT, e, "more than %d host keys", KEYS_MAX);
        }
        ERR_TRY(doc_fields(d, k, key, FIELDS, got, e));
        buf_str(out, count == 1 ? "[{\"algorithm\":" : ",{\"algorithm\":");
        text_json(out, got[ALGORITHM]->text);
        buf_str(out, ",\"key-data\":");
        text_json(out, got[DATA]->text);
        buf_char(out, '}');
    }
    buf_str(out, count > 0 ? "]" : "");
    return ERR_OK;
}

static enum err_code parse_anchors(const struct doc *d, const struct dom *n, struct buf *out,
                                   struct err *e) {
    static const struct doc_field list[] = {
        {DOC_SERVER, "trust-anchor-cert", DOC_STRING | DOC_MANY}};
    const struct dom *a;
    size_t count = 0;
    ERR_TRY(doc_fields(d, n, list, 1, &a, e));
    for (; a != NULL; a = doc_next(a)) {
        if (++count > KEYS_MAX) {
            return doc_fail(a, ERR_LIMIT, e, "more than %d trust anchors", KEYS_MAX);
        }
        buf_char(out, count == 1 ? '[' : ',');
        text_json(out, a->text);
    }
    buf_str(out, count > 0 ? "]" : "");
    return ERR_OK;
}

void sztp_text_cut(char out[SZTP_MESSAGE_MAX + 1], const char *text) {
    size_t n = 0;
    int step;
    while (text[n] != '\0' && (step = utf8_step((const uint8_t *)text + n, strlen(text + n))) > 0 &&
           n + (size_t)step <= SZTP_MESSAGE_MAX) {
        n += (size_t)step;
    }
    memcpy(out, text, n);
    out[n] = '\0';
}

static enum err_code parse_report(const struct doc *d, struct sztp_report *r, struct err *e) {
    enum { TYPE, TEXT, KEYS, ANCHORS, MEMBER, FIELDS };
    static const struct doc_field fields[FIELDS] = {
        [TYPE] = {DOC_SERVER, "progress-type", DOC_STRING | DOC_MANDATORY},
        [TEXT] = {DOC_SERVER, "message", DOC_STRING},
        [KEYS] = {DOC_SERVER, "ssh-host-keys", DOC_TREE},
        [ANCHORS] = {DOC_SERVER, "trust-anchor-certs", DOC_TREE},
        [MEMBER] = {DOC_WEFT, "virtual-chassis-member", DOC_TREE}};
    const struct dom *got[FIELDS];
    ERR_TRY(doc_fields(d, d->root, fields, FIELDS, got, e));
    if (!sztp_progress_parse(got[TYPE]->text, &r->type)) {
        return doc_fail(got[TYPE], ERR_INVALID, e, "is no progress type of RFC 8572");
    }
    if (got[TEXT] != NULL) {
        sztp_text_cut(r->text, got[TEXT]->text);
    }
    if (got[KEYS] != NULL) {
        ERR_TRY(parse_keys(d, got[KEYS], &r->host_keys, e));
    }
    if (got[ANCHORS] != NULL) {
        ERR_TRY(parse_anchors(d, got[ANCHORS], &r->anchors, e));
    }
    if (got[MEMBER] != NULL) {
        r->has_member = true;
        ERR_TRY(topology_parse_member(d, got[MEMBER], &r->member, e));
    }
    if (r->type != SZTP_BOOTSTRAP_COMPLETE && (r->host_keys.len > 0 || r->anchors.len > 0)) {
        return doc_fail(got[r->host_keys.len > 0 ? KEYS : ANCHORS], ERR_ELEMENT, e,
                        "comes with bootstrap-complete alone");
    }
    return ERR_OK;
}

enum err_code sztp_report_parse(enum sztp_form form, const void *p, size_t n,
                                struct sztp_report *out, struct err *e) {
    struct doc d;
    *out = (struct sztp_report){.type = SZTP_INFORMATIONAL};
    enum err_code rc = open_body(&d, form, p, n, BODY_MAX, false, DOC_SERVER, "input", e);
    rc = rc == ERR_OK ? parse_report(&d, out, e) : rc;
    doc_free(&d);
    if (rc != ERR_OK) {
        sztp_report_free(out);
    }
    return rc;
}

static void print_keys(struct doc_out *o, const struct sztp_report *r) {
    json_t *keys = json_loadb((const char *)r->host_keys.data, r->host_keys.len, 0, NULL), *k;
    size_t i;
    doc_open(o, DOC_SERVER, "ssh-host-keys");
    doc_list(o, DOC_SERVER, "ssh-host-key");
    json_array_foreach(keys, i, k) {
        const char *algorithm = json_string_value(json_object_get(k, "algorithm"));
        const char *data = json_string_value(json_object_get(k, "key-data"));
        doc_open(o, DOC_SERVER, "ssh-host-key");
        doc_put(o, DOC_SERVER, "algorithm", algorithm != NULL ? algorithm : "");
        doc_put(o, DOC_SERVER, "key-data", data != NULL ? data : "");
        doc_close(o);
    }
    doc_close(o);
    doc_close(o);
    json_decref(keys);
}

static void print_anchors(struct doc_out *o, const struct sztp_report *r) {
    json_t *all = json_loadb((const char *)r->anchors.data, r->anchors.len, 0, NULL), *a;
    size_t i;
    doc_open(o, DOC_SERVER, "trust-anchor-certs");
    doc_list(o, DOC_SERVER, "trust-anchor-cert");
    json_array_foreach(all, i, a) {
        doc_put(o, DOC_SERVER, "trust-anchor-cert", json_is_string(a) ? json_string_value(a) : "");
    }
    doc_close(o);
    doc_close(o);
    json_decref(all);
}

void sztp_report_print(const struct sztp_report *r, enum sztp_form form, struct buf *out) {
    struct doc_out o;
    bool ends = r->type == SZTP_BOOTSTRAP_COMPLETE;
    doc_begin(&o, form, out);
    doc_open(&o, DOC_SERVER, "input");
    doc_put(&o, DOC_SERVER, "progress-type", sztp_progress_name(r->type));
    if (r->text[0] != '\0') {
        doc_put(&o, DOC_SERVER, "message", r->text);
    }
    if (ends && r->host_keys.len > 0) {
        print_keys(&o, r);
    }
    if (ends && r->anchors.len > 0) {
        print_anchors(&o, r);
    }
    if (r->has_member) {
        doc_open(&o, DOC_WEFT, "virtual-chassis-member");
        topology_print_member(&o, &r->member);
        doc_close(&o);
    }
    doc_close(&o);
    doc_end(&o);
}

/* ---- errors -------------------------------------------------------------------------------------
 */

static void print_csr_request(struct doc_out *o) {
    doc_open(o, DOC_RESTCONF, "error-info");
    doc_open(o, DOC_CSR, "csr-request");
    doc_open(o, DOC_CSR, "key-generation");
    doc_open(o, DOC_CSR, "selected-algorithm");
    doc_put_binary(o, DOC_CSR, "algorithm-identifier", p256, sizeof p256);
    doc_close(o);
    doc_close(o);
    doc_open(o, DOC_CSR, "csr-generation");
    doc_open(o, DOC_CSR, "selected-format");
    doc_put_identity(o, DOC_CSR, "format-identifier", DOC_TYPES, "p10-csr");
    for (int i = 0; i < 4; i++) {
        doc_close(o);
    }
}

void sztp_error_print(enum sztp_form form, const char *type, const char *tag, const char *text,
                      bool csr, struct buf *out) {
    struct doc_out o;
    doc_begin(&o, form, out);
    doc_open(&o, DOC_RESTCONF, "errors");
    doc_list(&o, DOC_RESTCONF, "error");
    doc_open(&o, DOC_RESTCONF, "error");
    doc_put(&o, DOC_RESTCONF, "error-type", type);
    doc_put(&o, DOC_RESTCONF, "error-tag", tag);
    if (text != NULL && text[0] != '\0') {
        doc_put(&o, DOC_RESTCONF, "error-message", text);
    }
    if (csr) {
        print_csr_request(&o);
    }
    doc_close(&o);
    doc_close(&o);
    doc_close(&o);
    doc_end(&o);
}

/* What the request may ask that we can do: a P-256 key, or the one we have; PKCS #10 whose contents
 * are ours to choose. */
static enum err_code parse_csr_request(const struct doc *d, const struct dom *n,
                                       struct sztp_error *out, struct err *e) {
    static const struct doc_field outer[] = {{DOC_CSR, "key-generation", DOC_TREE},
                                             {DOC_CSR, "csr-generation", DOC_TREE},
                                             {DOC_CSR, "cert-req-info", DOC_STRING}};
    static const struct doc_field key[] = {{DOC_CSR, "selected-algorithm", DOC_TREE}};
    static const struct doc_field csr[] = {{DOC_CSR, "selected-format", DOC_TREE}};
    static const struct doc_field algorithm[] = {{DOC_CSR, "algorithm-identifier", DOC_STRING}};
    static const struct doc_field format[] = {{DOC_CSR, "format-identifier", DOC_STRING}};
    const struct dom *got[3], *in = NULL;
    struct buf der = BUF_INIT;
    out->csr_request = true;
    ERR_TRY(doc_fields(d, n, outer, 3, got, e));
    bool ok = got[2] == NULL;
    if (got[0] != NULL) {
        ERR_TRY(doc_fields(d, got[0], key, 1, &in, e));
        if (in != NULL) {
            ERR_TRY(doc_fields(d, in, algorithm, 1, &in, e));
        }
        enum err_code rc = doc_binary(in, ALGORITHMS_MAX, &der, e);
        ok = ok && der.len == sizeof p256 && memcmp(der.data, p256, sizeof p256) == 0;
        buf_free(&der);
        ERR_TRY(rc);
    }
    in = NULL;
    if (got[1] != NULL) {
        ERR_TRY(doc_fields(d, got[1], csr, 1, &in, e));
    }
    if (in != NULL) {
        ERR_TRY(doc_fields(d, in, format, 1, &in, e));
    }
    out->csr_p10 = ok && (in == NULL || strcmp(doc_identity(in), "p10-csr") == 0);
    return ERR_OK;
}

static enum err_code parse_error(const struct doc *d, struct sztp_error *out, struct err *e) {
    enum { TAG, TEXT, INFO, FIELDS };
    static const struct doc_field list[] = {
        {DOC_RESTCONF, "error", DOC_TREE | DOC_MANY | DOC_MANDATORY}};
    static const struct doc_field fields[FIELDS] = {
        [TAG] = {DOC_RESTCONF, "error-tag", DOC_STRING},
        [TEXT] = {DOC_RESTCONF, "error-message", DOC_STRING},
        [INFO] = {DOC_RESTCONF, "error-info", DOC_TREE | DOC_STRING | DOC_EMPTY}};
    static const struct doc_field info[] = {{DOC_CSR, "csr-request", DOC_TREE}};
    const struct dom *got[FIELDS], *one;
    ERR_TRY(doc_fields(d, d->root, list, 1, &one, e));
    ERR_TRY(doc_fields(d, one, fields, FIELDS, got, e));
    if (got[TAG] != NULL) {
        text_line(out->tag, sizeof out->tag, got[TAG]->text);
    }
    if (got[TEXT] != NULL) {
        sztp_text_cut(out->text, got[TEXT]->text);
    }
    if (got[INFO] != NULL && got[INFO]->child != NULL) {
        ERR_TRY(doc_fields(d, got[INFO], info, 1, &one, e));
        if (one != NULL) {
            return parse_csr_request(d, one, out, e);
        }
    }
    return ERR_OK;
}

enum err_code sztp_error_parse(enum sztp_form form, const void *p, size_t n, struct sztp_error *out,
                               struct err *e) {
    struct doc d;
    *out = (struct sztp_error){.csr_request = false};
    enum err_code rc = open_body(&d, form, p, n, BODY_MAX, true, DOC_RESTCONF, "errors", e);
    rc = rc == ERR_OK ? parse_error(&d, out, e) : rc;
    doc_free(&d);
    if (rc != ERR_OK) {
        *out = (struct sztp_error){.csr_request = false};
        err_set(e, ERR_MALFORMED, NULL, "is no list of errors of RESTCONF");
    }
    return rc == ERR_OK ? ERR_OK : ERR_MALFORMED;
}
