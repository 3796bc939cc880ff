// SPDX-License-Identifier: Apache-2.0
/* Certificates that devices ask for: the key is the request's, the names are ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "net/pki.h"

static char dir[64], ca[96], ca_key[96];

static int set_up(void **state) {
    struct err e;
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/pki-device-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(ca_key, sizeof ca_key, "%s/ca.key", dir);
    return pki_make_ca("test CA", 30, ca, ca_key, &e) != ERR_OK;
}

static int tear_down(void **state) {
    (void)state;
    unlink(ca);
    unlink(ca_key);
    return rmdir(dir);
}

/* A request with that key that wants to be called admin; `broken`: with a wrong signature. */
static void request(EVP_PKEY *key, bool broken, struct buf *der) {
    X509_REQ *r = X509_REQ_new();
    EVP_PKEY *other = EVP_EC_gen("P-256");
    unsigned char *p = NULL;
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(r), "CN", MBSTRING_UTF8,
                               (const unsigned char *)"admin", -1, -1, 0);
    X509_REQ_set_pubkey(r, key);
    X509_REQ_sign(r, broken ? other : key, EVP_sha256());
    int n = i2d_X509_REQ(r, &p);
    buf_add(der, p, (size_t)n);
    OPENSSL_free(p);
    X509_REQ_free(r);
    EVP_PKEY_free(other);
}

static enum err_code sign(const struct buf *csr, const char *serial, int days, struct buf *pem,
                          struct err *e) {
    struct pki_device d = {.serial = serial, .days = days};
    return pki_sign_device(ca, ca_key, csr->data, csr->len, &d, pem, e);
}

static X509 *read_pem(struct buf *pem) {
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(x);
    return x;
}

static void names_are_ours(void **state) {
    struct buf csr = BUF_INIT, pem = BUF_INIT;
    struct err e;
    char subject[256];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    (void)state;
    request(key, false, &csr);
    assert_int_equal(ERR_OK, sign(&csr, "PE37/16", 365, &pem, &e));
    X509 *x = read_pem(&pem);
    assert_int_equal(1, EVP_PKEY_eq(X509_get0_pubkey(x), key));
    X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof subject);
    assert_string_equal("/CN=device PE37\\/16/serialNumber=PE37\\/16", subject);
    GENERAL_NAMES *sans = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(1, sk_GENERAL_NAME_num(sans));
    const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, 0);
    assert_int_equal(GEN_URI, g->type);
    assert_memory_equal("urn:weft:device:PE37%2F16",
                        ASN1_STRING_get0_data(g->d.uniformResourceIdentifier), 25);
    GENERAL_NAMES_free(sans);
    assert_int_equal(0, X509_check_ca(x));
    X509_free(x);
    EVP_PKEY_free(key);
    buf_free(&pem);
    buf_free(&csr);
}

static void what_is_wrong_is_not_signed(void **state) {
    struct buf csr = BUF_INIT, pem = BUF_INIT;
    struct err e;
    EVP_PKEY *good = EVP_EC_gen("P-256"), *weak = EVP_RSA_gen(1024), *odd = EVP_EC_gen("secp256k1");
    (void)state;
    buf_str(&csr, "no request");
    assert_int_equal(ERR_MALFORMED, sign(&csr, "S1", 1, &pem, &e));
    buf_clear(&csr);
    assert_int_equal(ERR_MALFORMED, sign(&csr, "S1", 1, &pem, &e));
    request(good, true, &csr);
    assert_int_equal(ERR_INVALID, sign(&csr, "S1", 1, &pem, &e));
    buf_clear(&csr);
    request(weak, false, &csr);
    assert_int_equal(ERR_INVALID, sign(&csr, "S1", 1, &pem, &e));
    buf_clear(&csr);
    request(odd, false, &csr);
    assert_int_equal(ERR_INVALID, sign(&csr, "S1", 1, &pem, &e));
    buf_clear(&csr);
    request(good, false, &csr);
    buf_char(&csr, '\0');
    assert_int_equal(ERR_MALFORMED, sign(&csr, "S1", 1, &pem, &e));
    csr.len--;
    assert_int_equal(ERR_INVALID, sign(&csr, "", 1, &pem, &e));
    assert_int_equal(ERR_INVALID, sign(&csr, "S1", 0, &pem, &e));
    assert_int_equal(0, pem.len);
    EVP_PKEY_free(good);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(odd);
    buf_free(&csr);
    buf_free(&pem);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_are_ours),
                                       cmocka_unit_test(what_is_wrong_is_not_signed)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
