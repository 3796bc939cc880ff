// SPDX-License-Identifier: Apache-2.0
/* Certificates of other authorities: a request for one, and whether what comes back fits. */
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "net/pki.h"
#include "net/pki_int.h"
#include "net/tls.h"

enum err_code pki_make_request(const struct pki_request *r, const char *key_file, struct buf *pem,
                               struct err *e) {
    ERR_TRY(pki_check_args(r->common_name, 1, e));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *req = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    BIO *bio = BIO_new(BIO_s_mem());
    GENERAL_NAMES *names = NULL;
    enum err_code rc = key == NULL ? pki_fail(e, NULL, "can't make a key") : ERR_OK;
    ERR_GOTO(rc, rc, out);
    ERR_GOTO(rc, pki_names_of(r->sans, &names, e), out);
    X509_REQ_set_version(req, X509_REQ_VERSION_1);
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8,
                               (const unsigned char *)r->common_name, -1, -1, 0);
    X509_REQ_set_pubkey(req, key);
    bool named = sk_GENERAL_NAME_num(names) > 0;
    if ((named &&
         (X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1 ||
          X509_REQ_add_extensions(req, extensions) != 1)) ||
        X509_REQ_sign(req, key, EVP_sha256()) == 0 || PEM_write_bio_X509_REQ(bio, req) != 1) {
        rc = pki_fail(e, NULL, "can't make the request");
        goto out;
    }
    ERR_GOTO(rc, pki_write_pem(key_file, NULL, key, e), out);
    char *text = NULL;
    long n = BIO_get_mem_data(bio, &text);
    buf_add(pem, text, (size_t)n);
out:
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    BIO_free(bio);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return rc;
}

/* ---- what a certificate says --------------------------------------------------------------------
 */

static void name_text(X509_NAME *name, char out[PKI_TEXT_MAX]) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    long n = BIO_get_mem_data(bio, &text);
    char *copy = mem_printf("%.*s", (int)n, text != NULL ? text : "");
    text_line(out, PKI_TEXT_MAX, copy);
    mem_free(copy);
    BIO_free(bio);
}

static int64_t seconds(const ASN1_TIME *t) {
    struct tm tm = {0};
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void describe(X509 *x, struct pki_info *out) {
    unsigned char md[32];
    unsigned n = sizeof md;
    *out = (struct pki_info){.not_before = seconds(X509_get0_notBefore(x)),
                             .not_after = seconds(X509_get0_notAfter(x)),
                             .authority = X509_check_ca(x) == 1};
    name_text(X509_get_subject_name(x), out->subject);
    name_text(X509_get_issuer_name(x), out->issuer);
    struct tls_peer *p = tls_peer_of_cert(x);
    for (unsigned i = 0; i < p->n_sans; i++) {
        size_t at = strlen(out->names);
        snprintf(out->names + at, sizeof out->names - at, "%s%s", at > 0 ? " " : "",
                 p->sans[i].value);
    }
    tls_peer_free(p);
    if (X509_digest(x, EVP_sha256(), md, &n) == 1) {
        for (unsigned i = 0; i < n; i++) {
            snprintf(out->fingerprint + (size_t)2 * i, 3, "%02x", md[i]);
        }
    }
}

enum err_code pki_describe(const char *cert_file, struct pki_info *out, struct err *e) {
    X509 *x = pki_read_cert(cert_file, e);
    if (x == NULL) {
        return ERR_INVALID;
    }
    describe(x, out);
    X509_free(x);
    return ERR_OK;
}

enum err_code pki_describe_der(const void *der, size_t n, struct pki_info *out, struct err *e) {
    const unsigned char *p = der;
    X509 *x = n > 0 && n <= INT_MAX ? d2i_X509(NULL, &p, (long)n) : NULL;
    if (x == NULL) {
        ERR_clear_error();
        return err_set(e, ERR_MALFORMED, NULL, "is no certificate in DER");
    }
    describe(x, out);
    X509_free(x);
    return ERR_OK;
}

/* ---- what somebody gave -------------------------------------------------------------------------
 */

/* PEM as it is, or out of Base64 without line ends. */
static BIO *open_text(const char *text, struct err *e) {
    size_t n = strlen(text);
    BIO *bio = BIO_new(BIO_s_mem());
    if (n > PKI_PEM_MAX) {
        err_set(e, ERR_LIMIT, "certificate", "is larger than %d bytes", (int)PKI_PEM_MAX);
    } else if (strstr(text, "-----BEGIN") != NULL) {
        BIO_write(bio, text, (int)n);
        return bio;
    } else {
        unsigned char *raw = mem_alloc(n + 4);
        int got =
            n > 0 && n % 4 == 0 ? EVP_DecodeBlock(raw, (const unsigned char *)text, (int)n) : -1;
        if (got > 0) {
            BIO_write(bio, raw, got);
            mem_free(raw);
            return bio;
        }
        mem_free(raw);
        ERR_clear_error();
        err_set(e, ERR_MALFORMED, "certificate",
                "is neither PEM nor the Base64 of a PEM file (base64 -w0 FILE)");
    }
    BIO_free(bio);
    return NULL;
}

/* All certificates in it; NULL: there is none, or something else. */
static STACK_OF(X509) * read_all(const char *text, struct err *e) {
    BIO *bio = open_text(text, e);
    if (bio == NULL) {
        return NULL;
    }
    STACK_OF(X509) *all = sk_X509_new_null();
    X509 *x;
    while (sk_X509_num(all) <= PKI_CHAIN_MAX &&
           (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        sk_X509_push(all, x);
    }
    unsigned long last = ERR_peek_last_error();
    bool whole = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    int n = sk_X509_num(all);
    BIO_free(bio);
    if (n > PKI_CHAIN_MAX) {
        err_set(e, ERR_LIMIT, "certificate", "there are more than %d certificates in it",
                (int)PKI_CHAIN_MAX);
    } else if (n == 0 || !whole) {
        err_set(e, ERR_MALFORMED, "certificate", "certificate %d in it can't be read", n + 1);
    } else {
        ERR_clear_error();
        return all;
    }
    ERR_clear_error();
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

static enum err_code write_all(STACK_OF(X509) * all, struct buf *pem, struct err *e) {
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = 1;
    for (int i = 0; i < sk_X509_num(all) && ok == 1; i++) {
        ok = PEM_write_bio_X509(bio, sk_X509_value(all, i));
    }
    char *text = NULL;
    long n = BIO_get_mem_data(bio, &text);
    buf_add(pem, text, (size_t)n);
    BIO_free(bio);
    return ok == 1 ? ERR_OK : pki_fail(e, NULL, "can't encode");
}

static enum err_code check_time(const struct pki_info *i, int64_t now_s, struct err *e) {
    char at[TIME_TEXT_MAX];
    if (now_s > i->not_after) {
        return err_set(e, ERR_INVALID, "certificate", "%s has ended, at %s", i->subject,
                       time_format(i->not_after, 0, at));
    }
    return now_s < i->not_before
               ? err_set(e, ERR_INVALID, "certificate",
                         "%s is good only from %s on; is the clock of this machine right?",
                         i->subject, time_format(i->not_before, 0, at))
               : ERR_OK;
}

enum err_code pki_check_anchor(const char *text, int64_t now_s, struct pki_info *out,
                               struct buf *pem, struct err *e) {
    STACK_OF(X509) *all = read_all(text, e);
    if (all == NULL) {
        return e->code;
    }
    enum err_code rc = ERR_OK;
    describe(sk_X509_value(all, 0), out);
    if (sk_X509_num(all) != 1) {
        rc = err_set(e, ERR_INVALID, "certificate",
                     "an anchor is one certificate, and there are %d in it", sk_X509_num(all));
    } else if (!out->authority) {
        rc = err_set(e, ERR_INVALID, "certificate", "%s is no authority and can't vouch for others",
                     out->subject);
    } else {
        rc = check_time(out, now_s, e);
    }
    rc = rc == ERR_OK ? write_all(all, pem, e) : rc;
    sk_X509_pop_free(all, X509_free);
    return rc;
}

static enum err_code check_key(X509 *x, const char *key_file, struct err *e) {
    EVP_PKEY *key = pki_read_key(key_file, e);
    if (key == NULL) {
        return ERR_INVALID;
    }
    int fits = X509_check_private_key(x, key);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return fits == 1 ? ERR_OK
                     : err_set(e, ERR_INVALID, "certificate",
                               "is for another key than that of the request");
}

static enum err_code check_names(X509 *x, const char *const *names, struct err *e) {
    for (size_t i = 0; names[i] != NULL; i++) {
        if (X509_check_host(x, names[i], 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) != 1 &&
            X509_check_ip_asc(x, names[i], 0) != 1) {
            return err_set(e, ERR_INVALID, "certificate",
                           "is not for %s: clients that use this name would not trust it",
                           names[i]);
        }
    }
    return ERR_OK;
}

static enum err_code check_chain(STACK_OF(X509) * all, const struct pki_wanted *w, struct err *e) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    enum err_code rc = ERR_OK;
    for (size_t i = 0; w->anchors[i] != NULL; i++) {
        X509_STORE_load_file(store, w->anchors[i]); /* one that is unreadable vouches for nobody */
    }
    ERR_clear_error();
    if (X509_STORE_CTX_init(ctx, store, sk_X509_value(all, 0), all) != 1) {
        rc = pki_fail(e, NULL, "can't be verified");
    } else {
        X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_purpose(p, X509_PURPOSE_SSL_SERVER);
        X509_VERIFY_PARAM_set_time(p, (time_t)w->now_s);
        X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_PARTIAL_CHAIN);
        if (X509_verify_cert(ctx) != 1) {
            int why = X509_STORE_CTX_get_error(ctx);
            X509 *at = X509_STORE_CTX_get_current_cert(ctx);
            struct pki_info i = {.subject = "it"};
            if (at != NULL) {
                describe(at, &i);
            }
            rc = err_set(e, ERR_INVALID, "certificate", "%s: %s%s", i.subject,
                         X509_verify_cert_error_string(why),
                         why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
                                 why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
                                 why == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
                                 why == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
                                 why == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
                             ? "; its authority is to be added as an anchor first, or the chain "
                               "between is missing"
                             : "");
        }
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return rc;
}

enum err_code pki_check_server(const char *text, const struct pki_wanted *w, struct buf *pem,
                               struct err *e) {
    STACK_OF(X509) *all = read_all(text, e);
    if (all == NULL) {
        return e->code;
    }
    enum err_code rc;
    struct pki_info i;
    X509 *leaf = sk_X509_value(all, 0);
    describe(leaf, &i);
    ERR_GOTO(rc, check_key(leaf, w->key_file, e), out);
    ERR_GOTO(rc, check_time(&i, w->now_s, e), out);
    ERR_GOTO(rc, check_chain(all, w, e), out);
    ERR_GOTO(rc, check_names(leaf, w->names, e), out);
    rc = write_all(all, pem, e);
out:
    sk_X509_pop_free(all, X509_free);
    return rc;
}

bool pki_key_fits(const char *cert_file, const char *key_file) {
    struct err ignore;
    X509 *x = pki_read_cert(cert_file, &ignore);
    EVP_PKEY *key = x != NULL ? pki_read_key(key_file, &ignore) : NULL;
    bool fits = key != NULL && X509_check_private_key(x, key) == 1;
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return fits;
}
