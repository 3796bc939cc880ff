// SPDX-License-Identifier: Apache-2.0
/* Certificates that devices ask for. */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "net/pki_int.h"

enum { SERIAL_MAX = 64, RSA_BITS_MIN = 2048 };

static bool strong(EVP_PKEY *key) {
    char group[64];
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    case EVP_PKEY_ED25519:
        return true;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
               (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, SN_secp384r1) == 0 ||
                strcmp(group, SN_secp521r1) == 0);
    default:
        return false;
    }
}

static enum err_code key_of(const void *csr, size_t n, EVP_PKEY **out, struct err *e) {
    const unsigned char *p = csr;
    X509_REQ *req = n > 0 ? d2i_X509_REQ(NULL, &p, (long)n) : NULL;
    if (req == NULL || p != (const unsigned char *)csr + n) {
        X509_REQ_free(req);
        ERR_clear_error();
        return err_set(e, ERR_MALFORMED, NULL, "it is no certificate request (PKCS #10)");
    }
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    enum err_code rc = ERR_OK;
    if (key == NULL || !strong(key)) {
        rc = err_set(e, ERR_INVALID, NULL,
                     "the key of the request is of no kind that is signed here");
    } else if (X509_REQ_verify(req, key) != 1) {
        rc = err_set(e, ERR_INVALID, NULL, "the request is not signed by its own key");
    } else {
        EVP_PKEY_up_ref(key);
        *out = key;
    }
    X509_REQ_free(req);
    ERR_clear_error();
    return rc;
}

static enum err_code print(X509 *x, struct buf *pem, struct err *e) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum err_code rc = ERR_OK;
    if (PEM_write_bio_X509(bio, x) == 1) {
        long n = BIO_get_mem_data(bio, &text);
        buf_add(pem, text, (size_t)n);
    } else {
        rc = pki_fail(e, NULL, "can't encode");
    }
    BIO_free(bio);
    return rc;
}

enum err_code pki_sign_device(const char *ca_cert_file, const char *ca_key_file, const void *csr,
                              size_t n, const struct pki_device *d, struct buf *pem,
                              struct err *e) {
    char cn[SERIAL_MAX + 16], uri[SERIAL_MAX * 3 + 32];
    EVP_PKEY *key = NULL;
    if (strlen(d->serial) == 0 || strlen(d->serial) > SERIAL_MAX) {
        return err_set(e, ERR_INVALID, NULL, "a serial number has 1 to %d bytes", SERIAL_MAX);
    }
    /* A CN has 64 bytes at most (RFC 5280 appendix A); the serial number stands beside it. */
    snprintf(cn, sizeof cn, "device %.57s", d->serial);
    ERR_TRY(pki_check_args(cn, d->days, e));
    ERR_TRY(key_of(csr, n, &key, e));
    int at = snprintf(uri, sizeof uri, "URI:urn:weft:device:");
    for (const char *p = d->serial; *p != '\0'; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("._~-", *p) != NULL;
        at +=
            snprintf(uri + at, sizeof uri - (size_t)at, plain ? "%c" : "%%%02X", (unsigned char)*p);
    }
    char dns[SERIAL_MAX + 8];
    snprintf(dns, sizeof dns, "DNS:%.64s", d->name != NULL ? d->name : "");
    const char *const sans[] = {uri, d->name != NULL ? dns : NULL, NULL};
    struct pki_request r = {.common_name = cn, .sans = sans, .use = PKI_CLIENT, .days = d->days};
    X509 *ca = pki_read_cert(ca_cert_file, e);
    EVP_PKEY *ca_key = ca != NULL ? pki_read_key(ca_key_file, e) : NULL;
    enum err_code rc = ERR_INVALID;
    if (ca_key != NULL) {
        X509 *x = pki_new_cert(cn, d->days, key);
        X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_serialNumber, MBSTRING_UTF8,
                                   (const unsigned char *)d->serial, -1, -1, 0);
        rc = pki_sign_leaf(x, ca, ca_key, &r, e);
        rc = rc == ERR_OK ? print(x, pem, e) : rc;
        X509_free(x);
    }
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return rc;
}
