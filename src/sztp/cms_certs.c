// SPDX-License-Identifier: Apache-2.0
/* Sets of certificates, and what a certificate says. */
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sztp/cms_int.h"

struct cms_certs *cms_certs_new(void) {
    struct cms_certs *c = MEM_NEW(struct cms_certs);
    c->certs = sk_X509_new_null();
    c->crls = sk_X509_CRL_new_null();
    return c;
}

void cms_certs_free(struct cms_certs *c) {
    if (c != NULL) {
        sk_X509_pop_free(c->certs, X509_free);
        sk_X509_CRL_pop_free(c->crls, X509_CRL_free);
        mem_free(c);
    }
}

size_t cms_certs_count(const struct cms_certs *c) {
    return (size_t)sk_X509_num(c->certs);
}

X509 *cms_x509_of(const void *der, size_t n) {
    const unsigned char *p = der;
    X509 *x = n > 0 && n <= CMS_DER_MAX ? d2i_X509(NULL, &p, (long)n) : NULL;
    if (x != NULL && p != (const unsigned char *)der + n) {
        X509_free(x);
        x = NULL;
    }
    ERR_clear_error();
    return x;
}

static enum err_code too_many(struct err *e) {
    return err_set(e, ERR_LIMIT, NULL, "more than %d certificates and revocation lists",
                   CMS_CERTS_MAX);
}

static bool full(const struct cms_certs *c) {
    return sk_X509_num(c->certs) + sk_X509_CRL_num(c->crls) >= CMS_CERTS_MAX;
}

enum err_code cms_certs_add_der(struct cms_certs *c, const void *der, size_t n, struct err *e) {
    X509 *x = cms_x509_of(der, n);
    if (x == NULL) {
        return err_set(e, ERR_MALFORMED, NULL, "is no certificate in DER");
    }
    if (full(c)) {
        X509_free(x);
        return too_many(e);
    }
    sk_X509_push(c->certs, x);
    return ERR_OK;
}

enum err_code cms_certs_add_crl(struct cms_certs *c, const void *der, size_t n, struct err *e) {
    const unsigned char *p = der;
    X509_CRL *l = n > 0 && n <= CMS_DER_MAX ? d2i_X509_CRL(NULL, &p, (long)n) : NULL;
    bool good = l != NULL && p == (const unsigned char *)der + n;
    ERR_clear_error();
    if (!good || full(c)) {
        X509_CRL_free(l);
        return good ? too_many(e) : err_set(e, ERR_MALFORMED, NULL, "is no revocation list in DER");
    }
    sk_X509_CRL_push(c->crls, l);
    return ERR_OK;
}

static bool signed_by_one(X509_CRL *l, const struct cms_certs *c) {
    bool found = false;
    for (int i = 0; i < sk_X509_num(c->certs) && !found; i++) {
        X509 *x = sk_X509_value(c->certs, i);
        found = X509_NAME_cmp(X509_CRL_get_issuer(l), X509_get_subject_name(x)) == 0 &&
                X509_CRL_verify(l, X509_get0_pubkey(x)) == 1;
    }
    ERR_clear_error();
    return found;
}

enum err_code cms_certs_check_crls(const struct cms_certs *c, int64_t *ends_s, struct err *e) {
    char name[256];
    *ends_s = INT64_MAX;
    for (int i = 0; i < sk_X509_CRL_num(c->crls); i++) {
        X509_CRL *l = sk_X509_CRL_value(c->crls, i);
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(l);
        struct tm tm;
        if (!signed_by_one(l, c)) {
            X509_NAME_oneline(X509_CRL_get_issuer(l), name, sizeof name);
            return err_set(e, ERR_INVALID, NULL,
                           "the revocation list of %s is not signed by one of the certificates",
                           name);
        }
        if (next != NULL && ASN1_TIME_to_tm(next, &tm) == 1 && timegm(&tm) < *ends_s) {
            *ends_s = timegm(&tm);
        }
    }
    return sk_X509_CRL_num(c->crls) > 0
               ? ERR_OK
               : err_set(e, ERR_ABSENT, NULL, "there is no revocation list in it");
}

static enum err_code add_bio(struct cms_certs *c, BIO *bio, struct err *e) {
    STACK_OF(X509_INFO) *all = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    enum err_code rc =
        all == NULL ? cms_fail(e, ERR_MALFORMED, "is no PEM text of certificates") : ERR_OK;
    size_t added = 0;
    for (int i = 0; i < sk_X509_INFO_num(all) && rc == ERR_OK; i++) {
        /* One may hold both; a key beside them is nobody's business here. */
        X509_INFO *one = sk_X509_INFO_value(all, i);
        if (one->x509 != NULL && !full(c)) {
            X509_up_ref(one->x509);
            sk_X509_push(c->certs, one->x509);
            added++;
        } else if (one->x509 != NULL) {
            rc = too_many(e);
        }
        if (one->crl != NULL && !full(c)) {
            X509_CRL_up_ref(one->crl);
            sk_X509_CRL_push(c->crls, one->crl);
            added++;
        } else if (one->crl != NULL && rc == ERR_OK) {
            rc = too_many(e);
        }
    }
    if (rc == ERR_OK && added == 0) {
        rc = err_set(e, ERR_MALFORMED, NULL, "holds no certificate");
    }
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    ERR_clear_error();
    return rc;
}

enum err_code cms_certs_add_pem(struct cms_certs *c, const void *pem, size_t n, struct err *e) {
    if (n > CMS_DER_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "is larger than %d bytes", CMS_DER_MAX);
    }
    BIO *bio = BIO_new_mem_buf(n > 0 ? pem : "", (int)n);
    enum err_code rc = add_bio(c, bio, e);
    BIO_free(bio);
    return rc;
}

enum err_code cms_certs_add_file(struct cms_certs *c, const char *pem_file, struct err *e) {
    BIO *bio = BIO_new_file(pem_file, "r");
    enum err_code rc =
        bio != NULL ? add_bio(c, bio, e) : cms_fail(e, ERR_IO, "the file can't be read");
    if (rc != ERR_OK) {
        err_prefix_path(e, pem_file);
    }
    BIO_free(bio);
    return rc;
}

/* By the older structure, in which the order of certificates stays what it is. */
enum err_code cms_certs_print(const struct cms_certs *c, struct buf *der, struct err *e) {
    PKCS7 *p7 = PKCS7_new();
    bool ok = PKCS7_set_type(p7, NID_pkcs7_signed) == 1;
    if (ok) {
        p7->d.sign->contents->type = OBJ_nid2obj(NID_pkcs7_data);
    }
    for (int i = 0; i < sk_X509_num(c->certs) && ok; i++) {
        ok = PKCS7_add_certificate(p7, sk_X509_value(c->certs, i)) == 1;
    }
    for (int i = 0; i < sk_X509_CRL_num(c->crls) && ok; i++) {
        ok = PKCS7_add_crl(p7, sk_X509_CRL_value(c->crls, i)) == 1;
    }
    int n = ok ? i2d_PKCS7(p7, NULL) : -1;
    enum err_code rc = n > 0 ? ERR_OK : cms_fail(e, ERR_INTERNAL, "can't encode certificates");
    if (rc == ERR_OK) {
        unsigned char *at = buf_extend(der, (size_t)n);
        i2d_PKCS7(p7, &at);
    }
    PKCS7_free(p7);
    return rc;
}

enum err_code cms_certs_parse(const void *der, size_t n, const struct cms_key *me,
                              struct cms_certs **out, struct err *e) {
    CMS_ContentInfo *cms;
    bool encrypted;
    *out = NULL;
    ERR_TRY(cms_peel(der, n, me, &cms, &encrypted, e));
    enum err_code rc = ERR_OK;
    struct cms_certs *c = MEM_NEW(struct cms_certs);
    if (!cms_is_signed_data(cms)) {
        rc = err_set(e, ERR_INVALID, NULL, "is no SignedData, which certificates come in");
    } else {
        c->certs = CMS_get1_certs(cms);
        c->crls = CMS_get1_crls(cms);
    }
    c->certs = c->certs != NULL ? c->certs : sk_X509_new_null();
    c->crls = c->crls != NULL ? c->crls : sk_X509_CRL_new_null();
    if (rc == ERR_OK && sk_X509_num(c->certs) + sk_X509_CRL_num(c->crls) > CMS_CERTS_MAX) {
        rc = too_many(e);
    } else if (rc == ERR_OK && sk_X509_num(c->certs) == 0) {
        rc = err_set(e, ERR_INVALID, NULL, "holds no certificate");
    }
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    if (rc != ERR_OK) {
        cms_certs_free(c);
        c = NULL;
    }
    *out = c;
    return rc;
}

static bool issued(X509 *issuer, X509 *x) {
    bool yes =
        X509_check_issued(issuer, x) == X509_V_OK && X509_verify(x, X509_get0_pubkey(issuer)) == 1;
    ERR_clear_error();
    return yes;
}

enum err_code cms_certs_one_chain(const struct cms_certs *c, struct err *e) {
    int n = sk_X509_num(c->certs), roots = 0;
    X509 *at = NULL;
    for (int i = 0; i < n; i++) {
        X509 *x = sk_X509_value(c->certs, i);
        if (issued(x, x)) {
            roots++;
            at = x;
        }
    }
    if (roots != 1) {
        return err_set(e, ERR_INVALID, NULL,
                       "%d self-signed certificates in it, and there is to be "
                       "one, the chain's root",
                       roots);
    }
    for (int steps = 1; steps < n; steps++) {
        X509 *below = NULL;
        for (int i = 0; i < n; i++) {
            X509 *x = sk_X509_value(c->certs, i);
            if (x != at && issued(at, x)) {
                if (below != NULL) {
                    return err_set(e, ERR_INVALID, NULL, "more than one chain of certificates");
                }
                below = x;
            }
        }
        if (below == NULL) {
            return err_set(e, ERR_INVALID, NULL, "certificates that are not of one chain");
        }
        at = below;
    }
    return ERR_OK;
}

void cms_certs_to_pem(const struct cms_certs *c, struct buf *pem) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    for (int i = 0; i < sk_X509_num(c->certs); i++) {
        PEM_write_bio_X509(bio, sk_X509_value(c->certs, i));
    }
    for (int i = 0; i < sk_X509_CRL_num(c->crls); i++) {
        PEM_write_bio_X509_CRL(bio, sk_X509_CRL_value(c->crls, i));
    }
    long n = BIO_get_mem_data(bio, &text);
    buf_add(pem, text, n > 0 ? (size_t)n : 0);
    BIO_free(bio);
}

static void add_x509(X509 *x, struct buf *der) {
    int n = x != NULL ? i2d_X509(x, NULL) : -1;
    if (n > 0) {
        unsigned char *at = buf_extend(der, (size_t)n);
        i2d_X509(x, &at);
    }
}

void cms_certs_der(const struct cms_certs *c, size_t i, struct buf *der) {
    add_x509(sk_X509_value(c->certs, (int)i), der);
}

void cms_key_cert(const struct cms_key *k, struct buf *der) {
    add_x509(k->cert, der);
}

/* ---- a device's serial number -------------------------------------------------------------------
 */

/* Copies what may be a serial number: a word of printable characters that fits. */
static bool take(const unsigned char *p, long n, char out[CMS_SERIAL_MAX + 1]) {
    if (p == NULL || n <= 0 || n > CMS_SERIAL_MAX) {
        return false;
    }
    memcpy(out, p, (size_t)n);
    out[n] = '\0';
    for (const char *s = out; *s != '\0';) {
        size_t step = text_printable(s);
        if (step == 0 || *s == ' ') {
            return false;
        }
        s += step;
    }
    return strlen(out) == (size_t)n;
}

static bool of_subject(const X509_NAME *name, int nid, char out[CMS_SERIAL_MAX + 1]) {
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0) {
        return false;
    }
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    bool ok = n > 0 && take(utf8, n, out);
    OPENSSL_free(utf8);
    return ok;
}

/* HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING }
 * (RFC 4108 section 5). */
static bool of_module(const ASN1_TYPE *v, char out[CMS_SERIAL_MAX + 1]) {
    if (v == NULL || v->type != V_ASN1_SEQUENCE) {
        return false;
    }
    const unsigned char *p = v->value.sequence->data, *end = p + v->value.sequence->length;
    long n;
    int tag, class;
    if ((ASN1_get_object(&p, &n, &tag, &class, (long)(end - p)) & 0x80) != 0 ||
        tag != V_ASN1_SEQUENCE ||
        (ASN1_get_object(&p, &n, &tag, &class, (long)(end - p)) & 0x80) != 0 ||
        tag != V_ASN1_OBJECT) {
        return false;
    }
    p += n;
    return p < end && (ASN1_get_object(&p, &n, &tag, &class, (long)(end - p)) & 0x80) == 0 &&
           tag == V_ASN1_OCTET_STRING && take(p, n, out);
}

static bool of_hardware(const STACK_OF(X509_EXTENSION) * x, char out[CMS_SERIAL_MAX + 1]) {
    static const unsigned char oid[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x04};
    GENERAL_NAMES *names = X509V3_get_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool ok = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !ok; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type == GEN_OTHERNAME && OBJ_length(g->d.otherName->type_id) == sizeof oid &&
            memcmp(OBJ_get0_data(g->d.otherName->type_id), oid, sizeof oid) == 0) {
            ok = of_module(g->d.otherName->value, out);
        }
    }
    GENERAL_NAMES_free(names);
    return ok;
}

/* The element at *p, whatever it is: false when it is none. `in` its content; *p goes behind it. */
static bool element(const uint8_t **p, const uint8_t *end, int tag, int class, const uint8_t **in,
                    long *n) {
    int t, c;
    const uint8_t *at = *p;
    if (at >= end || (ASN1_get_object(&at, n, &t, &c, (long)(end - at)) & 0x81) != 0 ||
        (tag >= 0 && (t != tag || c != class))) {
        return false;
    }
    *in = at;
    *p = at + *n;
    return true;
}

/* Subject and extensions of a certificate. The rest is passed over: OpenSSL would make a key of
 * the public one, which takes half as long as a whole handshake. */
static bool names_of(const uint8_t *p, size_t len, X509_NAME **subject,
                     STACK_OF(X509_EXTENSION) * *extensions) {
    const uint8_t *in, *end = p + len, *start;
    long n;
    if (len > CMS_DER_MAX || !element(&p, end, V_ASN1_SEQUENCE, 0, &in, &n) || p != end) {
        return false;
    }
    p = in;
    if (!element(&p, in + n, V_ASN1_SEQUENCE, 0, &in, &n)) {
        return false;
    }
    p = in;
    end = in + n;
    element(&p, end, 0, V_ASN1_CONTEXT_SPECIFIC, &in, &n); /* version: may be missing */
    /* serial number, signature, issuer, validity; subject, and its key */
    start = p;
    for (unsigned i = 0; i < 6; i++) {
        start = i == 4 ? p : start;
        if (!element(&p, end, i < 4 ? -1 : V_ASN1_SEQUENCE, 0, &in, &n)) {
            return false;
        }
    }
    *subject = d2i_X509_NAME(NULL, &start, (long)(end - start));
    while (*subject != NULL && p < end) {
        if (element(&p, end, 3, V_ASN1_CONTEXT_SPECIFIC, &in, &n)) {
            *extensions = d2i_X509_EXTENSIONS(NULL, &in, n);
            return *extensions != NULL;
        }
        if (!element(&p, end, -1, 0, &in, &n)) { /* an identifier of issuer or subject */
            return false;
        }
    }
    return *subject != NULL;
}

/* Whoever asks has checked the certificate. */
enum err_code cms_serial_of(const void *cert_der, size_t n, unsigned from,
                            char out[CMS_SERIAL_MAX + 1], struct err *e) {
    X509_NAME *subject = NULL;
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    bool good = names_of(cert_der, n, &subject, &extensions), found = false;
    if (good) {
        found = ((from & CMS_SERIAL_SUBJECT) != 0 && of_subject(subject, NID_serialNumber, out)) ||
                ((from & CMS_SERIAL_HARDWARE) != 0 && of_hardware(extensions, out)) ||
                ((from & CMS_SERIAL_CN) != 0 && of_subject(subject, NID_commonName, out));
    }
    X509_NAME_free(subject);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    ERR_clear_error();
    if (!good) {
        return err_set(e, ERR_MALFORMED, NULL, "is no certificate in DER");
    }
    if (!found) {
        out[0] = '\0';
        return err_set(e, ERR_ABSENT, NULL,
                       "no serial number in the certificate's subject or alternative names");
    }
    return ERR_OK;
}

/* 0: none that fits */
static size_t akid_of(X509 *x, uint8_t *out, size_t size) {
    const ASN1_OCTET_STRING *id = X509_get0_authority_key_id(x);
    size_t n = id != NULL ? (size_t)ASN1_STRING_length(id) : 0;
    ERR_clear_error();
    if (n == 0 || n > size) {
        return 0;
    }
    memcpy(out, ASN1_STRING_get0_data(id), n);
    return n;
}

size_t cms_key_akid(const struct cms_key *k, uint8_t *out, size_t size) {
    return akid_of(k->cert, out, size);
}

enum err_code cms_akid_of(const void *cert_der, size_t n, uint8_t out[CMS_AKID_MAX], size_t *len,
                          struct err *e) {
    X509 *x = cms_x509_of(cert_der, n);
    *len = 0;
    if (x == NULL) {
        return err_set(e, ERR_MALFORMED, NULL, "is no certificate in DER");
    }
    *len = akid_of(x, out, CMS_AKID_MAX);
    X509_free(x);
    return *len > 0
               ? ERR_OK
               : err_set(e, ERR_ABSENT, NULL, "the certificate has no authority key identifier");
}
