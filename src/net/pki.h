// SPDX-License-Identifier: Apache-2.0
/*
 * A small certificate authority for first start and for tests: P-256 keys, X.509 v3, SHA-256.
 * Everything is written as PEM; files are made 0600 and replaced atomically, so a crash leaves the
 * old file or the new one.
 */
#ifndef NET_PKI_H
#define NET_PKI_H

#include "base/err.h"

enum { PKI_DAYS_MAX = 36500 };

enum pki_use { PKI_SERVER = 1, PKI_CLIENT = 2 }; /* may be added up */

/* Makes a self-signed CA (basicConstraints CA, pathlen 0; keyCertSign, cRLSign). `days` is
 * 1..PKI_DAYS_MAX. Existing files are replaced. */
enum err_code pki_make_ca(const char *common_name, int days, const char *cert_file,
                          const char *key_file, struct err *e);

struct pki_request {
    const char *common_name; /* 1..64 bytes */
    const char *const
        *sans;    /* NULL-terminated: "DNS:host", "IP:192.0.2.1", "URI:..."; may be NULL */
    unsigned use; /* PKI_SERVER | PKI_CLIENT */
    int days;     /* 1..PKI_DAYS_MAX; cut to the CA's own end */
};
/* Makes a key and a certificate signed by the CA in the two files. */
enum err_code pki_issue(const char *ca_cert_file, const char *ca_key_file,
                        const struct pki_request *r, const char *cert_file, const char *key_file,
                        struct err *e);

/* Seconds from `now_s` (since 1970) until the certificate in the file ends; negative when it has.
 */
enum err_code pki_expires_in(const char *cert_file, long long now_s, long long *seconds,
                             struct err *e);
/* Has this authority signed it? */
enum err_code pki_issued_by(const char *cert_file, const char *ca_file, bool *yes, struct err *e);
/* Would a client that dials `name`, a host name or an address, find it in the certificate? */
enum err_code pki_has_name(const char *cert_file, const char *name, bool *has, struct err *e);
/* SHA-256 fingerprint, lower-case hex, for people to compare. */
enum err_code pki_fingerprint(const char *cert_file, char out[65], struct err *e);

#endif
