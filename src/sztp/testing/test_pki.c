// SPDX-License-Identifier: Apache-2.0
#include "sztp/testing/test_pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define NEED(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #x);                         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void extension(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    NEED(ext != NULL && X509_add_ext(x, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

/* HardwareModuleName with a made-up type, as another name of the subject. */
static void hardware(X509 *x, const char *serial) {
    struct buf der = BUF_INIT;
    size_t n = strlen(serial);
    const unsigned char type[] = {0x06, 0x05, 0x2b, 0x06, 0x01, 0x04, 0x01};
    NEED(n < 100);
    buf_u8(&der, 0x30);
    buf_u8(&der, (uint8_t)(sizeof type + 2 + n));
    buf_add(&der, type, sizeof type);
    buf_u8(&der, 0x04);
    buf_u8(&der, (uint8_t)n);
    buf_add(&der, serial, n);
    GENERAL_NAME *g = GENERAL_NAME_new();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    ASN1_TYPE *v = ASN1_TYPE_new();
    ASN1_STRING *s = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
    ASN1_STRING_set(s, der.data, (int)der.len);
    ASN1_TYPE_set(v, V_ASN1_SEQUENCE, s);
    NEED(GENERAL_NAME_set0_othername(g, OBJ_txt2obj("1.3.6.1.5.5.7.8.4", 1), v) == 1);
    sk_GENERAL_NAME_push(names, g);
    NEED(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1);
    GENERAL_NAMES_free(names);
    buf_free(&der);
}

struct test_cert test_cert(const struct test_wanted *w) {
    static long number = 1000;
    struct test_cert c = {.x = X509_new()};
    if (w->same_key != NULL) {
        c.key = EVP_PKEY_dup((EVP_PKEY *)(uintptr_t)w->same_key);
    } else {
        c.key = w->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    }
    NEED(c.key != NULL);
    X509 *issuer = w->issuer != NULL ? w->issuer->x : c.x;
    X509_NAME *name = X509_get_subject_name(c.x);
    X509_set_version(c.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++number);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)w->cn, -1, -1, 0);
    if (w->serial != NULL) {
        X509_NAME_add_entry_by_txt(name, "serialNumber", MBSTRING_ASC,
                                   (const unsigned char *)w->serial, -1, -1, 0);
    }
    int64_t from = w->from_s != 0 ? w->from_s : -3600;
    X509_gmtime_adj(X509_getm_notBefore(c.x), from);
    X509_gmtime_adj(X509_getm_notAfter(c.x), from + (w->for_s != 0 ? w->for_s : 30L * 86400));
    X509_set_pubkey(c.x, c.key);
    X509_set_issuer_name(c.x, X509_get_subject_name(issuer));
    extension(c.x, issuer, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "CA:FALSE");
    extension(c.x, issuer, NID_subject_key_identifier, "hash");
    extension(c.x, issuer, NID_authority_key_identifier, "keyid");
    if (w->key_usage != NULL) {
        extension(c.x, issuer, NID_key_usage, w->key_usage);
    }
    if (w->crl_at != NULL) {
        extension(c.x, issuer, NID_crl_distribution_points, w->crl_at);
    }
    if (w->hardware != NULL) {
        hardware(c.x, w->hardware);
    }
    NEED(X509_sign(c.x, w->issuer != NULL ? w->issuer->key : c.key, EVP_sha256()) != 0);
    return c;
}

void test_cert_free(struct test_cert *c) {
    X509_free(c->x);
    EVP_PKEY_free(c->key);
    *c = (struct test_cert){0};
}

static void take(BIO *bio, struct buf *out) {
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    buf_add(out, p, (size_t)n);
    BIO_free(bio);
}

void test_cert_pem(const struct test_cert *c, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    NEED(PEM_write_bio_X509(bio, c->x) == 1);
    take(bio, out);
}

void test_cert_der(const struct test_cert *c, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    NEED(i2d_X509_bio(bio, c->x) == 1);
    take(bio, out);
}

void test_key_pem(const struct test_cert *c, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    NEED(PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL) == 1);
    take(bio, out);
}

struct cms_key *test_cms_key(const struct test_cert *c, const struct test_cert *above) {
    struct buf cert = BUF_INIT, key = BUF_INIT;
    struct cms_key *k = NULL;
    struct err e;
    test_cert_pem(c, &cert);
    if (above != NULL) {
        test_cert_pem(above, &cert);
    }
    test_key_pem(c, &key);
    NEED(cms_key_of(cert.data, cert.len, key.data, key.len, &k, &e) == ERR_OK);
    buf_free(&cert);
    buf_free(&key);
    return k;
}

struct cms_certs *test_certs(const struct test_cert *a, const struct test_cert *b,
                             const struct test_cert *c) {
    const struct test_cert *all[] = {a, b, c};
    struct cms_certs *out = cms_certs_new();
    for (size_t i = 0; i < 3 && all[i] != NULL; i++) {
        X509_up_ref(all[i]->x);
        sk_X509_push(out->certs, all[i]->x);
    }
    return out;
}

void test_crl_pem(const struct test_cert *ca, const struct test_cert *revoked, int64_t from_s,
                  int64_t for_s, struct buf *out) {
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *t = ASN1_TIME_new();
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x));
    X509_gmtime_adj(t, from_s);
    X509_CRL_set1_lastUpdate(crl, t);
    X509_gmtime_adj(t, from_s + for_s);
    X509_CRL_set1_nextUpdate(crl, t);
    if (revoked != NULL) {
        X509_REVOKED *r = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->x));
        X509_gmtime_adj(t, from_s);
        X509_REVOKED_set_revocationDate(r, t);
        X509_CRL_add0_revoked(crl, r);
    }
    X509_CRL_sort(crl);
    NEED(X509_CRL_sign(crl, ca->key, EVP_sha256()) != 0);
    BIO *bio = BIO_new(BIO_s_mem());
    NEED(PEM_write_bio_X509_CRL(bio, crl) == 1);
    take(bio, out);
    ASN1_TIME_free(t);
    X509_CRL_free(crl);
}
