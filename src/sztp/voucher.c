// SPDX-License-Identifier: Apache-2.0
#include "sztp/voucher.h"

#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "sztp/cms_int.h"
#include "sztp/doc.h"

enum { VOUCHER_MAX = 1 << 20, PINNED_MAX = 65536 };

static const struct {
    enum voucher_assertion assertion;
    const char *name;
} assertions[] = {
    {VOUCHER_VERIFIED, "verified"}, {VOUCHER_LOGGED, "logged"}, {VOUCHER_PROXIMITY, "proximity"}};

const char *voucher_assertion_name(enum voucher_assertion a) {
    for (size_t i = 0; i < 3; i++) {
        if (assertions[i].assertion == a) {
            return assertions[i].name;
        }
    }
    return "";
}

bool voucher_assertion_parse(const char *name, enum voucher_assertion *out) {
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(assertions[i].name, name) == 0) {
            *out = assertions[i].assertion;
            return true;
        }
    }
    return false;
}

void voucher_free(struct voucher *v) {
    buf_free(&v->pinned);
    *v = (struct voucher){.created_on = 0};
}

static enum err_code parse_time(const struct dom *n, int64_t *out, struct err *e) {
    const int64_t last = INT64_C(253402300799); /* of the year 9999 */
    if (n != NULL && (!time_parse(n->text, out) || *out <= 0 || *out > last)) {
        return doc_fail(n, ERR_INVALID, e, "is no date and time of RFC 3339, from 1970 on");
    }
    return ERR_OK;
}

/* Octets into a field of fixed size. */
static enum err_code parse_octets(const struct dom *n, size_t min, size_t max, uint8_t *out,
                                  size_t *len, struct err *e) {
    struct buf b = BUF_INIT;
    if (n == NULL) {
        return ERR_OK;
    }
    enum err_code rc = doc_binary(n, VOUCHER_MAX, &b, e);
    if (rc == ERR_OK && (b.len < min || b.len > max)) {
        rc = doc_fail(n, ERR_INVALID, e, "has %zu octets, and is to have %zu to %zu", b.len, min,
                      max);
    } else if (rc == ERR_OK) {
        memcpy(out, b.data, b.len);
        *len = b.len;
    }
    buf_free(&b);
    return rc;
}

enum { CREATED, EXPIRES, ASSERTION, SERIAL, ISSUER, PINNED, CHECKS, NONCE, RENEWAL, FIELDS };
static const struct doc_field fields[FIELDS] = {
    [CREATED] = {DOC_VOUCHER, "created-on", DOC_STRING | DOC_MANDATORY},
    [EXPIRES] = {DOC_VOUCHER, "expires-on", DOC_STRING},
    [ASSERTION] = {DOC_VOUCHER, "assertion", DOC_STRING | DOC_MANDATORY},
    [SERIAL] = {DOC_VOUCHER, "serial-number", DOC_STRING | DOC_MANDATORY},
    [ISSUER] = {DOC_VOUCHER, "idevid-issuer", DOC_STRING},
    [PINNED] = {DOC_VOUCHER, "pinned-domain-cert", DOC_STRING | DOC_MANDATORY},
    [CHECKS] = {DOC_VOUCHER, "domain-cert-revocation-checks", DOC_BOOL},
    [NONCE] = {DOC_VOUCHER, "nonce", DOC_STRING},
    [RENEWAL] = {DOC_VOUCHER, "last-renewal-date", DOC_STRING}};

static enum err_code parse(const struct doc *d, struct voucher *v, struct err *e) {
    const struct dom *got[FIELDS];
    ERR_TRY(doc_fields(d, d->root, fields, FIELDS, got, e));
    ERR_TRY(parse_time(got[CREATED], &v->created_on, e));
    ERR_TRY(parse_time(got[EXPIRES], &v->expires_on, e));
    ERR_TRY(parse_time(got[RENEWAL], &v->last_renewal, e));
    if (!voucher_assertion_parse(got[ASSERTION]->text, &v->assertion)) {
        return doc_fail(got[ASSERTION], ERR_INVALID, e, "is verified, logged or proximity");
    }
    ERR_TRY(doc_text(got[SERIAL], v->serial, sizeof v->serial, e));
    if (v->serial[0] == '\0') {
        return doc_fail(got[SERIAL], ERR_INVALID, e, "is empty");
    }
    ERR_TRY(parse_octets(got[ISSUER], 1, VOUCHER_ISSUER_MAX, v->issuer, &v->issuer_len, e));
    ERR_TRY(doc_binary(got[PINNED], PINNED_MAX, &v->pinned, e));
    if (v->pinned.len == 0) {
        return doc_fail(got[PINNED], ERR_INVALID, e, "is empty");
    }
    ERR_TRY(doc_bool(got[CHECKS], &v->check_revocation, e));
    ERR_TRY(
        parse_octets(got[NONCE], VOUCHER_NONCE_MIN, VOUCHER_NONCE_MAX, v->nonce, &v->nonce_len, e));
    if (got[NONCE] != NULL && got[EXPIRES] != NULL) {
        return doc_fail(got[EXPIRES], ERR_CONSTRAINT, e, "excludes a nonce");
    }
    if (got[RENEWAL] != NULL && got[EXPIRES] == NULL) {
        return doc_fail(got[RENEWAL], ERR_CONSTRAINT, e, "needs expires-on");
    }
    return ERR_OK;
}

/* Leaves that we don't know are those of later versions, and no error. */
enum err_code voucher_parse(const void *json, size_t n, struct voucher *out, struct err *e) {
    struct doc d;
    *out = (struct voucher){.created_on = 0};
    enum err_code rc = doc_read(&d, SZTP_JSON, json, n, VOUCHER_MAX, true, e);
    if (rc == ERR_OK && !doc_is(&d, d.root, DOC_VOUCHER, "voucher")) {
        rc = doc_fail(d.root, ERR_UNKNOWN, e, "is no voucher of ietf-voucher");
    }
    rc = rc == ERR_OK ? parse(&d, out, e) : rc;
    doc_free(&d);
    if (rc != ERR_OK) {
        voucher_free(out);
    }
    return rc;
}

static void put_time(struct doc_out *o, const char *name, int64_t t) {
    char text[TIME_TEXT_MAX];
    if (t != 0) {
        doc_put(o, DOC_VOUCHER, name, time_format(t, 0, text));
    }
}

void voucher_print(const struct voucher *v, struct buf *json) {
    struct doc_out o;
    doc_begin(&o, SZTP_JSON, json);
    doc_open(&o, DOC_VOUCHER, "voucher");
    put_time(&o, "created-on", v->created_on);
    put_time(&o, "expires-on", v->expires_on);
    doc_put(&o, DOC_VOUCHER, "assertion", voucher_assertion_name(v->assertion));
    doc_put(&o, DOC_VOUCHER, "serial-number", v->serial);
    if (v->issuer_len > 0) {
        doc_put_binary(&o, DOC_VOUCHER, "idevid-issuer", v->issuer, v->issuer_len);
    }
    doc_put_binary(&o, DOC_VOUCHER, "pinned-domain-cert", v->pinned.data, v->pinned.len);
    doc_put_raw(&o, DOC_VOUCHER, "domain-cert-revocation-checks",
                v->check_revocation ? "true" : "false");
    if (v->nonce_len > 0) {
        doc_put_binary(&o, DOC_VOUCHER, "nonce", v->nonce, v->nonce_len);
    }
    put_time(&o, "last-renewal-date", v->last_renewal);
    doc_close(&o);
    doc_end(&o);
}

/* What an authority must see to before it signs (RFC 8366 section 5.3). */
static enum err_code check(const struct voucher *v, struct err *e) {
    struct tm tm = {0};
    X509 *x = cms_x509_of(v->pinned.data, v->pinned.len);
    int dated = x != NULL ? ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) : 0;
    X509_free(x);
    if (x == NULL || dated != 1) {
        return err_set(e, ERR_INVALID, "pinned-domain-cert", "is no certificate in DER");
    }
    if (v->serial[0] == '\0') {
        return err_set(e, ERR_MISSING, "serial-number", "a voucher is for one device");
    }
    if (voucher_assertion_name(v->assertion)[0] == '\0' || v->created_on <= 0) {
        return err_set(e, ERR_MISSING, v->created_on <= 0 ? "created-on" : "assertion",
                       "is to be there");
    }
    if (v->nonce_len > 0 && v->expires_on != 0) {
        return err_set(e, ERR_CONSTRAINT, "expires-on", "excludes a nonce");
    }
    if (v->nonce_len > 0 &&
        (v->nonce_len < VOUCHER_NONCE_MIN || v->nonce_len > VOUCHER_NONCE_MAX)) {
        return err_set(e, ERR_INVALID, "nonce", "has %d to %d octets", VOUCHER_NONCE_MIN,
                       VOUCHER_NONCE_MAX);
    }
    if (v->expires_on != 0 && v->expires_on <= v->created_on) {
        return err_set(e, ERR_INVALID, "expires-on", "lies before the voucher was made");
    }
    if (v->last_renewal != 0 && v->expires_on == 0) {
        return err_set(e, ERR_CONSTRAINT, "last-renewal-date", "needs expires-on");
    }
    if (v->expires_on > (int64_t)timegm(&tm)) {
        char at[TIME_TEXT_MAX];
        return err_set(e, ERR_INVALID, "expires-on",
                       "lies behind the end of the pinned certificate, %s",
                       time_format((int64_t)timegm(&tm), 0, at));
    }
    return ERR_OK;
}

enum err_code voucher_issue(const struct voucher *v, const struct cms_key *masa, struct buf *vcj,
                            struct err *e) {
    struct buf json = BUF_INIT;
    ERR_TRY(check(v, e));
    voucher_print(v, &json);
    enum err_code rc = cms_sign(CMS_VOUCHER_JSON, json.data, json.len, masa, vcj, e);
    buf_free(&json);
    return rc;
}
