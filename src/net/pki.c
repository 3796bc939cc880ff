// SPDX-License-Identifier: Apache-2.0
#include "net/pki.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/pki_int.h"
#include "net/tls.h"

enum { CN_MAX = 64, SANS_MAX = 64 }; /* CN: upper bound of RFC 5280 appendix A */

enum err_code pki_fail(struct err *e, const char *file, const char *what) {
    char text[128];
    return err_set(e, ERR_INVALID, file, "%s: %s", what, tls_error_text(text, sizeof(text)));
}

enum err_code pki_write_pem(const char *file, X509 *cert, EVP_PKEY *key, struct err *e) {
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = cert ? PEM_write_bio_X509(bio, cert)
                  : PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    enum err_code rc;
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    if (ok != 1 || n <= 0) {
        rc = pki_fail(e, file, "can't encode");
    } else {
        rc = file_write(file, p, (size_t)n, 0600, e);
        mem_wipe(p, (size_t)n);
    }
    BIO_free(bio);
    return rc;
}

X509 *pki_read_cert(const char *file, struct err *e) {
    BIO *bio = BIO_new_file(file, "r");
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (x == NULL) {
        pki_fail(e, file, "no readable certificate");
    }
    return x;
}

EVP_PKEY *pki_read_key(const char *file, struct err *e) {
    BIO *bio = BIO_new_file(file, "r");
    EVP_PKEY *k = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (k == NULL) {
        pki_fail(e, file, "no readable private key");
    }
    return k;
}

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = x != NULL && X509_add_ext(cert, x, -1) == 1;
    X509_EXTENSION_free(x);
    return ok;
}

/* Serial: RFC 5280 4.1.2.2: positive, at most 20 octets. The start lies five minutes back, for
 * devices whose clocks are a little behind. */
X509 *pki_new_cert(const char *cn, int days, EVP_PKEY *key) {
    X509 *x = X509_new();
    unsigned char serial[16];
    rng_secure(serial, sizeof(serial));
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x01);
    BIGNUM *bn = BN_bin2bn(serial, sizeof(serial), NULL);
    BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
    BN_free(bn);
    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -300);
    X509_time_adj_ex(X509_getm_notAfter(x), days, 0, NULL);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)cn, -1, -1, 0);
    X509_set_pubkey(x, key);
    return x;
}

enum err_code pki_check_args(const char *cn, int days, struct err *e) {
    size_t n = cn ? strlen(cn) : 0;
    if (n == 0 || n > CN_MAX) {
        return err_set(e, ERR_INVALID, NULL, "a common name has 1 to %d bytes, not %zu", CN_MAX, n);
    }
    if (days < 1 || days > PKI_DAYS_MAX) {
        return err_set(e, ERR_INVALID, NULL, "a validity is 1 to %d days, not %d", PKI_DAYS_MAX,
                       days);
    }
    return ERR_OK;
}

static enum err_code sign_ca(X509 *x, EVP_PKEY *key, const char *cert_file, struct err *e) {
    X509_set_issuer_name(x, X509_get_subject_name(x));
    return add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                   add_ext(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                   add_ext(x, x, NID_subject_key_identifier, "hash") &&
                   X509_sign(x, key, EVP_sha256()) != 0
               ? ERR_OK
               : pki_fail(e, cert_file, "can't make the CA");
}

enum err_code pki_make_ca(const char *common_name, int days, const char *cert_file,
                          const char *key_file, struct err *e) {
    ERR_TRY(pki_check_args(common_name, days, e));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        return pki_fail(e, NULL, "can't make a key");
    }
    X509 *x = pki_new_cert(common_name, days, key);
    enum err_code rc = sign_ca(x, key, cert_file, e);
    /* The key first: a certificate whose key is missing would look like a usable CA. */
    rc = rc == ERR_OK ? pki_write_pem(key_file, NULL, key, e) : rc;
    rc = rc == ERR_OK ? pki_write_pem(cert_file, x, NULL, e) : rc;
    X509_free(x);
    EVP_PKEY_free(key);
    return rc;
}

enum err_code pki_renew_ca(const char *cert_file, const char *key_file, int days, struct err *e) {
    X509 *old = pki_read_cert(cert_file, e), *x = NULL;
    EVP_PKEY *key = old != NULL ? pki_read_key(key_file, e) : NULL;
    enum err_code rc = ERR_INVALID;
    if (key != NULL && X509_check_private_key(old, key) != 1) {
        rc = pki_fail(e, key_file, "the key does not belong to the certificate");
    } else if (key != NULL) {
        x = pki_new_cert("renewed", days, key);
        X509_set_subject_name(x, X509_get_subject_name(old));
        rc = sign_ca(x, key, cert_file, e);
        rc = rc == ERR_OK ? pki_write_pem(cert_file, x, NULL, e) : rc;
    }
    X509_free(x);
    X509_free(old);
    EVP_PKEY_free(key);
    return rc;
}

enum err_code pki_names_of(const char *const *sans, GENERAL_NAMES **out, struct err *e) {
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    enum err_code rc = ERR_OK;
    for (size_t i = 0; sans != NULL && sans[i] != NULL && rc == ERR_OK; i++) {
        const char *s = sans[i], *colon = strchr(s, ':');
        int type = strncmp(s, "DNS:", 4) == 0   ? GEN_DNS
                   : strncmp(s, "IP:", 3) == 0  ? GEN_IPADD
                   : strncmp(s, "URI:", 4) == 0 ? GEN_URI
                                                : -1;
        if (type < 0 || colon[1] == '\0' || i >= SANS_MAX) {
            rc =
                err_set(e, ERR_INVALID, s,
                        "a subject alternative name is DNS:name, IP:address or URI:uri, at most %d "
                        "of them",
                        SANS_MAX);
            break;
        }
        GENERAL_NAME *g = a2i_GENERAL_NAME(NULL, NULL, NULL, type, colon + 1, 0);
        if (g == NULL) {
            rc = pki_fail(e, s, "not a usable subject alternative name");
        } else {
            sk_GENERAL_NAME_push(names, g);
        }
    }
    if (rc != ERR_OK) {
        GENERAL_NAMES_free(names);
        names = NULL;
    }
    *out = names;
    return rc;
}

static enum err_code add_sans(X509 *x, const char *const *sans, struct err *e) {
    GENERAL_NAMES *names;
    ERR_TRY(pki_names_of(sans, &names, e));
    bool bad = sk_GENERAL_NAME_num(names) > 0 &&
               X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1;
    GENERAL_NAMES_free(names);
    return bad ? pki_fail(e, NULL, "can't add the subject alternative names") : ERR_OK;
}

enum err_code pki_sign_leaf(X509 *x, X509 *ca, EVP_PKEY *ca_key, const struct pki_request *r,
                            struct err *e) {
    if (X509_check_private_key(ca, ca_key) != 1) {
        return pki_fail(e, NULL, "the CA's key does not belong to its certificate");
    }
    if (ASN1_TIME_compare(X509_get0_notAfter(x), X509_get0_notAfter(ca)) > 0) {
        X509_set1_notAfter(x, X509_get0_notAfter(ca));
    }
    X509_set_issuer_name(x, X509_get_subject_name(ca));
    const char *eku = r->use == (PKI_SERVER | PKI_CLIENT) ? "serverAuth,clientAuth"
                      : r->use == PKI_SERVER              ? "serverAuth"
                                                          : "clientAuth";
    if (!add_ext(x, ca, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_ext(x, ca, NID_key_usage, "critical,digitalSignature") ||
        (r->use != PKI_SIGNER && !add_ext(x, ca, NID_ext_key_usage, eku)) ||
        !add_ext(x, ca, NID_subject_key_identifier, "hash") ||
        !add_ext(x, ca, NID_authority_key_identifier, "keyid:always")) {
        return pki_fail(e, NULL, "can't make the certificate");
    }
    if (r->sans != NULL) {
        ERR_TRY(add_sans(x, r->sans, e));
    }
    return X509_sign(x, ca_key, EVP_sha256()) == 0 ? pki_fail(e, NULL, "can't sign") : ERR_OK;
}

enum err_code pki_issue(const char *ca_cert_file, const char *ca_key_file,
                        const struct pki_request *r, const char *cert_file, const char *key_file,
                        struct err *e) {
    ERR_TRY(pki_check_args(r->common_name, r->days, e));
    if (r->use != PKI_SIGNER &&
        (r->use == 0 || (r->use & ~(unsigned)(PKI_SERVER | PKI_CLIENT)) != 0)) {
        return err_set(e, ERR_INVALID, NULL,
                       "a certificate is for servers, clients or both, or for signatures");
    }
    enum err_code rc = ERR_INVALID;
    X509 *ca = pki_read_cert(ca_cert_file, e), *x = NULL;
    EVP_PKEY *ca_key = ca ? pki_read_key(ca_key_file, e) : NULL, *key = NULL;
    if (ca_key == NULL) {
        goto out;
    }
    key = EVP_EC_gen("P-256");
    if (key == NULL) {
        rc = pki_fail(e, NULL, "can't make a key");
        goto out;
    }
    x = pki_new_cert(r->common_name, r->days, key);
    ERR_GOTO(rc, pki_sign_leaf(x, ca, ca_key, r, e), out);
    ERR_GOTO(rc, pki_write_pem(key_file, NULL, key, e), out);
    rc = pki_write_pem(cert_file, x, NULL, e);
out:
    X509_free(x);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    return rc;
}

enum err_code pki_expires_in(const char *cert_file, long long now_s, long long *seconds,
                             struct err *e) {
    X509 *x = pki_read_cert(cert_file, e);
    if (x == NULL) {
        return ERR_INVALID;
    }
    struct tm tm = {0};
    int ok = ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm);
    X509_free(x);
    if (ok != 1) {
        return pki_fail(e, cert_file, "no readable end of validity");
    }
    *seconds = (long long)timegm(&tm) - now_s;
    return ERR_OK;
}

enum err_code pki_issued_by(const char *cert_file, const char *ca_file, bool *yes, struct err *e) {
    X509 *x = pki_read_cert(cert_file, e), *ca = x != NULL ? pki_read_cert(ca_file, e) : NULL;
    bool read = ca != NULL;
    *yes = read && X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(ca)) == 0 &&
           X509_verify(x, X509_get0_pubkey(ca)) == 1;
    ERR_clear_error();
    X509_free(x);
    X509_free(ca);
    return read ? ERR_OK : ERR_INVALID;
}

enum err_code pki_has_name(const char *cert_file, const char *name, bool *has, struct err *e) {
    X509 *x = pki_read_cert(cert_file, e);
    if (x == NULL) {
        return ERR_INVALID;
    }
    *has = X509_check_host(x, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1 ||
           X509_check_ip_asc(x, name, 0) == 1;
    X509_free(x);
    return ERR_OK;
}

enum err_code pki_fingerprint(const char *cert_file, char out[65], struct err *e) {
    X509 *x = pki_read_cert(cert_file, e);
    if (x == NULL) {
        return ERR_INVALID;
    }
    unsigned char md[32];
    unsigned n = sizeof(md);
    int ok = X509_digest(x, EVP_sha256(), md, &n);
    X509_free(x);
    if (ok != 1) {
        return pki_fail(e, cert_file, "can't digest");
    }
    for (unsigned i = 0; i < n; i++) {
        snprintf(out + (size_t)2 * i, 3, "%02x", md[i]);
    }
    return ERR_OK;
}
