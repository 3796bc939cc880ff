// SPDX-License-Identifier: Apache-2.0
/* What the files of net/pki.h share. */
#ifndef NET_PKI_INT_H
#define NET_PKI_INT_H

#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/pki.h"

/* ERR_INVALID with OpenSSL's own sentence, whose queue it empties. */
enum err_code pki_fail(struct err *e, const char *file, const char *what);
enum err_code pki_check_args(const char *cn, int days, struct err *e);
/* One of both; mode 0600. */
enum err_code pki_write_pem(const char *file, X509 *cert, EVP_PKEY *key, struct err *e);
X509 *pki_read_cert(const char *file, struct err *e);
EVP_PKEY *pki_read_key(const char *file, struct err *e);
/* Checks the names one by one, so that an error points at the bad one. */
enum err_code pki_names_of(const char *const *sans, GENERAL_NAMES **out, struct err *e);
/* Version, random serial, subject, times, key. */
X509 *pki_new_cert(const char *cn, int days, EVP_PKEY *key);
/* Issuer, extensions, names, signature; its end is cut to the authority's. */
enum err_code pki_sign_leaf(X509 *x, X509 *ca, EVP_PKEY *ca_key, const struct pki_request *r,
                            struct err *e);

#endif
