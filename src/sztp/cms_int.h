// SPDX-License-Identifier: Apache-2.0
/* What the files of src/sztp share of OpenSSL's structures. */
#ifndef SZTP_CMS_INT_H
#define SZTP_CMS_INT_H

#include <openssl/cms.h>
#include <openssl/x509v3.h>

#include "sztp/cms.h"

struct cms_key {
    X509 *cert;
    STACK_OF(X509) * chain; /* what stands above it, without itself */
    EVP_PKEY *key;
};

struct cms_certs {
    STACK_OF(X509) * certs;
    STACK_OF(X509_CRL) * crls;
};

/* Fails with OpenSSL's own sentence behind `what`, and empties its queue. */
enum err_code cms_fail(struct err *e, enum err_code code, const char *what);

/* DER as ContentInfo, after decryption where it is EnvelopedData. Nothing may stand behind it.
 * ERR_MALFORMED, ERR_TOO_BIG, ERR_DENIED. CMS_ContentInfo_free. */
enum err_code cms_peel(const void *der, size_t n, const struct cms_key *me, CMS_ContentInfo **out,
                       bool *was_encrypted, struct err *e);
/* The content of one of the types `allowed`, in SignedData or bare. */
enum err_code cms_content_of(CMS_ContentInfo *cms, unsigned allowed, struct cms_content *out,
                             struct err *e);
bool cms_is_signed_data(const CMS_ContentInfo *cms);
/* NULL: no certificate, or something behind it. */
X509 *cms_x509_of(const void *der, size_t n);

#endif
