// SPDX-License-Identifier: Apache-2.0
/* Certificates for tests: what a maker of devices, an owner and a device have, and wrong ones. */
#ifndef SZTP_TEST_PKI_H
#define SZTP_TEST_PKI_H

#include "sztp/cms_int.h"

struct test_cert {
    X509 *x;
    EVP_PKEY *key;
};
struct test_wanted {
    const char *cn;
    const char *serial;             /* subject's serialNumber; NULL: none */
    const char *hardware;           /* hardwareModuleName's; NULL: none */
    const struct test_cert *issuer; /* NULL: itself */
    bool ca;
    const char *key_usage;    /* "critical,digitalSignature"; NULL: none */
    int64_t from_s, for_s;    /* validity: begin, relative to now, and its length; 0: 30 days */
    bool rsa;                 /* else P-256 */
    const char *crl_at;       /* URI:... of a distribution point; NULL: none */
    const EVP_PKEY *same_key; /* use this key; NULL: a new one */
};
/* Ends the test when something fails. test_cert_free. */
struct test_cert test_cert(const struct test_wanted *w);
void test_cert_free(struct test_cert *c);
void test_cert_pem(const struct test_cert *c, struct buf *out);
void test_cert_der(const struct test_cert *c, struct buf *out);
void test_key_pem(const struct test_cert *c, struct buf *out);
/* With what stands above it, NULL: nothing. */
struct cms_key *test_cms_key(const struct test_cert *c, const struct test_cert *above);
/* A set of one to three certificates; NULL ends it. */
struct cms_certs *test_certs(const struct test_cert *a, const struct test_cert *b,
                             const struct test_cert *c);
/* A revocation list of an authority with one certificate on it, or none; good for `for_s` seconds
 * from `from_s` relative to now. PEM. */
void test_crl_pem(const struct test_cert *ca, const struct test_cert *revoked, int64_t from_s,
                  int64_t for_s, struct buf *out);

#endif
