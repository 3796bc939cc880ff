// SPDX-License-Identifier: Apache-2.0
/*
 * A certificate of the owner's authority (RFC 9646): the key is made here, on P-256, kept in the
 * record until the device has its configuration or the server refuses, and goes to the platform
 * alone, before the configuration that has the certificate.
 */
#include "phone-home/engine_int.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/rng.h"

void phc_csr_algorithms(struct buf *out) {
    /* AlgorithmIdentifier{id-ecPublicKey, prime256v1} (RFC 5480 section 2.1.1) */
    static const uint8_t p256[] = {0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                   0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    buf_add(out, p256, sizeof p256);
}

bool phc_keeps_keys(const struct phc_engine *g) {
    return (*(const struct platform_ops *const *)g->w.platform)->key != NULL;
}

void phc_csr_drop(struct phc_engine *g) {
    if (g->r.csr_key.data != NULL) {
        mem_wipe(g->r.csr_key.data, g->r.csr_key.cap);
    }
    buf_free(&g->r.csr_key);
}

static EVP_PKEY *key_read(const struct buf *pem) {
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static EVP_PKEY *key_make(struct buf *pem) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_secmem());
    char *p = NULL;
    if (key != NULL && bio != NULL &&
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long n = BIO_get_mem_data(bio, &p);
        buf_add(pem, p, n > 0 ? (size_t)n : 0);
    } else {
        EVP_PKEY_free(key);
        key = NULL;
    }
    BIO_free(bio);
    return key;
}

enum err_code phc_csr_make(struct phc_engine *g, struct buf *der, struct err *e) {
    bool fresh = g->r.csr_key.len == 0;
    EVP_PKEY *key = fresh ? key_make(&g->r.csr_key) : key_read(&g->r.csr_key);
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = req != NULL ? X509_REQ_get_subject_name(req) : NULL;
    const unsigned char *serial = (const unsigned char *)g->own.serial;
    unsigned char *out = NULL;
    int n = -1;
    if (key != NULL && name != NULL && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        X509_NAME_add_entry_by_txt(name, "serialNumber", MBSTRING_UTF8, serial, -1, -1, 0) == 1 &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, serial, -1, -1, 0) == 1 &&
        X509_REQ_set_pubkey(req, key) == 1 && X509_REQ_sign(req, key, EVP_sha256()) > 0) {
        n = i2d_X509_REQ(req, &out);
    }
    if (n > 0) {
        buf_add(der, out, (size_t)n);
    }
    OPENSSL_free(out);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return n > 0 ? ERR_OK
                 : err_set(e, ERR_INTERNAL, NULL, "no key and certificate request could be made");
}
